"""Sampled answers as policy-gradient objectives read them, and who scores them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.objectives.batches import TokenBatch
from jaxalign.objectives.stats import Backbone, packed_stats

Critic = Callable[[Any, TokenBatch], jax.Array]
"""`(params, TokenBatch) -> [R, M]`: the value of the state before each target."""


class RolloutBatch(NamedTuple):
    """Packed rows of prompts with K answers each, and what is known of every token.

    Attributes:
      rows: The `TokenBatch`.
      start: Where each answer's targets begin among the M slots, `[R, P, K]`.
      length: How many they are, `[R, P, K]`; 0 where there is no such answer.
      old_logps: `[R, M]`, log-probability of each target when it was sampled.
      advantages: `[R, M]`.
      ref_logps: `[R, M]` under the reference, or None.
      weights: `[R, M]`, factors on each token's loss, or None.
      values: `[R, M]`, what the critic said when it was sampled, or None.
      returns: `[R, M]`, what the critic is to say, or None.
    """

    rows: TokenBatch
    start: jax.Array
    length: jax.Array
    old_logps: jax.Array
    advantages: jax.Array
    ref_logps: jax.Array | None = None
    weights: jax.Array | None = None
    values: jax.Array | None = None
    returns: jax.Array | None = None

    def mask(self, longest: int | None = None) -> jax.Array:
        """Which slots of `by_response` each answer fills, `[R, P*K, L]` bool."""
        slots = self._slots(longest)
        return slots[None, None] < _flat(self.length)[..., None]

    def by_response(
        self, per_target: jax.Array, longest: int | None = None
    ) -> jax.Array:
        """`[R, M]` values of the target slots -> one row per answer, `[R, P*K, L]`.

        Args:
          per_target: `[R, M]`.
          longest: L, no less than the tokens of any answer; M by default.
        """
        slots = self._slots(longest)
        at = _flat(self.start)[..., None] + slots[None, None]
        at = jnp.minimum(at, per_target.shape[1] - 1)
        taken = jnp.take_along_axis(per_target, at.reshape(at.shape[0], -1), axis=1)
        return taken.reshape(at.shape)

    def _slots(self, longest: int | None) -> jax.Array:
        most = self.rows.target_ids.shape[1]
        return jnp.arange(min(longest or most, most), dtype=jnp.int32)


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(x.shape[0], -1)


class Scores(NamedTuple):
    """What models say of each target, all `[R, M]`.

    Attributes:
      logps: Log-probability under the policy, at the sampling temperature.
      ref_logps: The same under the reference, or None.
      values: Of the critic, or None.
    """

    logps: jax.Array
    ref_logps: jax.Array | None
    values: jax.Array | None


def rollout_scorer(
    backbone: Backbone,
    critic: Critic | None = None,
    *,
    reference: bool = True,
    temperature: float = 1.0,
    chunk_size: int = 512,
):
    """Scores sampled answers with all models in one program.

    Policy and reference are read at the temperature of the sampler: at another one
    ratio and KL would not be those of the distribution that was sampled from.

    Args:
      backbone: Of the policy and of the reference.
      critic: `(params, TokenBatch) -> [R, M]`, or None.
      reference: Whether there is one.
      temperature: Of the sampler.
      chunk_size: Positions whose logits are held at a time.

    Returns:
      `(params, TokenBatch) -> Scores`; `params` is a dict with `policy`, and as far as
      they are there `reference` and `critic`.
    """
    stats = packed_stats(backbone, temperature=temperature, chunk_size=chunk_size)

    def score(params, rows: TokenBatch) -> Scores:
        return Scores(
            stats(params["policy"], rows).logps,
            stats(params["reference"], rows).logps if reference else None,
            critic(params["critic"], rows) if critic is not None else None,
        )

    return score
