"""Preference losses on completions that were sampled just now, on a `Batch`.

The completions of a prompt share a row; the batch's `advantages` are the score of the
whole completion at each of its tokens. Whichever has the higher score is preferred.
Prompts whose completions are equally good are counted as `ties`. They decide nothing,
and losses of pairs leave them out; REBEL regresses on their difference of 0, and in
Nash-MD both win half of the time, so that its pull to the reference is left.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.losses import (
    LossOutput,
    Pair,
    dpo_loss,
    nash_md_loss,
    rebel_loss,
    xpo_loss,
)
from jaxalign.objectives.bind import bind
from jaxalign.objectives.model import Model
from jaxalign.objectives.signatures import check_keywords
from jaxalign.ops import Mean


class Rivals(NamedTuple):
    """K completions of each prompt, side by side.

    Attributes:
      logps: `[R, P, K, L]`, of each token under the policy.
      old_logps: `[R, P, K, L]`, under the policy at the start of the iteration.
      ref_logps: `[R, P, K, L]`, under the reference; None if there is none.
      mask: `[R, P, K, L]` bool.
      scores: `[R, P, K]`.
    """

    logps: jax.Array
    old_logps: jax.Array
    ref_logps: jax.Array | None
    mask: jax.Array
    scores: jax.Array

    @property
    def valid(self) -> jax.Array:
        """Which completions there are, `[R, P, K]` bool."""
        return jnp.any(self.mask, axis=-1)


OnlineLoss = Callable[..., LossOutput]
"""`(Rivals, **hyperparameters) -> LossOutput`."""


def rivals_loss(loss_fn: OnlineLoss) -> Callable[..., LossOutput]:
    """One of the losses below, as a loss of arrays that `bind` can read.

    Args:
      loss_fn: `Rivals -> LossOutput`, its hyperparameters given.

    Returns:
      A loss of `[R, P, K, L]` arrays, with the metrics of `loss_fn` and `ties`, the
      share of the prompts whose completions all have one score. The score of a
      completion is what `advantages` has at its first token.
    """

    def loss(
        logps: jax.Array,
        old_logps: jax.Array,
        advantages: jax.Array,
        mask: jax.Array,
        ref_logps: jax.Array | None = None,
    ) -> LossOutput:
        rivals = Rivals(logps, old_logps, ref_logps, mask, advantages[..., 0])
        out = loss_fn(rivals)
        low, high = _lowest(rivals), _highest(rivals)
        several = jnp.sum(rivals.valid, axis=-1) > 1
        ties = Mean.of(low == high, where=several)
        return LossOutput(out.loss, {**out.metrics, "ties": ties})

    return loss


def online_objective(
    loss_fn: OnlineLoss,
    model: Model,
    *,
    temperature: float = 1.0,
    chunk_size: int = 512,
    longest: int | None = None,
    **hyperparameters: Any,
) -> Any:
    """An objective from one of the losses below, on a `Batch`.

    Args:
      loss_fn: `(Rivals, **hyperparameters) -> LossOutput`.
      model: As for `bind`.
      temperature: Of the sampler; all log-probs are at the same.
      chunk_size: Positions whose logits are held at a time.
      longest: Tokens of the longest completion, which bounds L.
      **hyperparameters: Those of `loss_fn`.

    Returns:
      An objective with the metrics of `rivals_loss`.

    Raises:
      UserError: If the loss lacks a keyword.
    """
    check_keywords(loss_fn, hyperparameters)
    return bind(
        rivals_loss(functools.partial(loss_fn, **hyperparameters)),
        model,
        sampling_temperature=temperature,
        chunk_size=chunk_size,
        longest=longest,
    )


def online_dpo_of_rivals(rivals: Rivals, *, beta: float = 0.1) -> LossOutput:
    """DPO on the best and the worst completion, as in https://arxiv.org/abs/2402.04792."""
    pairs = best_and_worst(rivals, rivals.ref_logps)
    return dpo_loss(pairs.policy, pairs.ref, pairs.mask, beta=beta)


def iterative_dpo_of_rivals(rivals: Rivals, *, beta: float = 0.1) -> LossOutput:
    """DPO on best and worst completion, with the round's first policy as reference.

    As in https://arxiv.org/abs/2401.10020: each round starts from the policy of the one
    before, which writes the completions and is the reference.
    """
    pairs = best_and_worst(rivals, rivals.old_logps)
    return dpo_loss(pairs.policy, pairs.ref, pairs.mask, beta=beta)


def xpo_of_rivals(
    rivals: Rivals, *, beta: float = 0.1, alpha: float = 1e-5
) -> LossOutput:
    """`xpo_loss`; the policy wrote the first completion, the reference the other.

    Xie et al., https://arxiv.org/abs/2405.21046.
    """
    pairs = best_and_worst(rivals, rivals.ref_logps)
    second = pairs.chosen == 1
    arrays = pairs.policy, pairs.ref, pairs.mask, second
    return xpo_loss(*arrays, beta=beta, alpha=alpha)


def rebel_of_rivals(rivals: Rivals, *, eta: float = 1.0) -> LossOutput:
    """`rebel_loss` on two completions and their scores; equal scores count too.

    Gao et al., https://arxiv.org/abs/2404.16767.
    """

    def both(x: jax.Array) -> Pair[jax.Array]:
        return Pair(x[:, :, 0], x[:, :, 1])

    arrays = rivals.logps, rivals.old_logps, rivals.mask, rivals.scores
    return rebel_loss(*map(both, arrays), eta=eta)


def nash_md_of_rivals(rivals: Rivals, *, beta: float = 0.1) -> LossOutput:
    """`nash_md_loss`; the policy wrote the first completion, the mixture the second.

    Munos et al., https://arxiv.org/abs/2312.00886. The preference is 1 or 0, and ½ for
    equal scores.
    """
    assert rivals.ref_logps is not None
    first, second = rivals.scores[..., 0], rivals.scores[..., 1]
    mask = rivals.mask[:, :, 0] & jnp.all(rivals.valid, axis=-1)[..., None]
    won = jnp.where(first == second, 0.5, (first > second).astype(first.dtype))
    arrays = rivals.logps[:, :, 0], rivals.ref_logps[:, :, 0], mask, won
    return nash_md_loss(*arrays, beta=beta)


class Chosen(NamedTuple):
    """A pair of each prompt.

    Attributes:
      policy: Token log-probabilities, both `[R, P, L]`.
      ref: The same under the reference.
      mask: Both `[R, P, L]` bool; no token of a prompt without a winner.
      chosen: `[R, P]`, the number of the better completion.
    """

    policy: Pair[jax.Array]
    ref: Pair[jax.Array]
    mask: Pair[jax.Array]
    chosen: jax.Array


def best_and_worst(rivals: Rivals, ref: jax.Array | None) -> Chosen:
    """The completions with the highest and the lowest score, the first of equals.

    Args:
      rivals: The completions.
      ref: `[R, P, K, L]`, what to take for the reference.
    """
    assert ref is not None
    high, low = _highest(rivals), _lowest(rivals)
    best = jnp.argmax(rivals.valid & (rivals.scores == high[..., None]), axis=-1)
    worst = jnp.argmax(rivals.valid & (rivals.scores == low[..., None]), axis=-1)

    def both(x: jax.Array) -> Pair[jax.Array]:
        index = (best, worst)
        return Pair(
            *(
                jnp.take_along_axis(x, i[..., None, None], axis=2)[:, :, 0]
                for i in index
            )
        )

    decided = (high > low)[..., None]
    mask = Pair(*(x & decided for x in both(rivals.mask)))
    return Chosen(both(rivals.logps), both(ref), mask, best)


def _highest(rivals: Rivals) -> jax.Array:
    return jnp.max(rivals.scores, axis=-1, where=rivals.valid, initial=-jnp.inf)


def _lowest(rivals: Rivals) -> jax.Array:
    return jnp.min(rivals.scores, axis=-1, where=rivals.valid, initial=jnp.inf)
