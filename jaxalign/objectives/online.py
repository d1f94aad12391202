"""Preference losses on answers that were sampled just now, on a `Batch`.

The answers to a prompt share a row; the batch's `advantages` are the score of the whole
answer at each of its tokens. Whoever has the higher score is preferred. Prompts whose
answers are equally good decide nothing: they are left out, and counted as `ties`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.batch import Batch
from jaxalign.losses import (
    LossOutput,
    Pair,
    dpo_loss,
    nash_md_loss,
    rebel_loss,
    xpo_loss,
)
from jaxalign.objectives.by_completion import by_completion, completion_mask
from jaxalign.objectives.model import Model, token_statistics
from jaxalign.objectives.signatures import check_keywords
from jaxalign.ops import Mean


class Rivals(NamedTuple):
    """K answers to each prompt, side by side.

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
        """Which answers there are, `[R, P, K]` bool."""
        return jnp.any(self.mask, axis=-1)


OnlineLoss = Callable[..., LossOutput]
"""`(Rivals, **hyperparameters) -> LossOutput`."""


def online_objective(
    loss_fn: OnlineLoss,
    model: Model,
    *,
    temperature: float = 1.0,
    chunk_size: int = 512,
    longest: int | None = None,
    **hyperparameters,
):
    """An objective from one of the losses below, on a `Batch`.

    Args:
      loss_fn: `(Rivals, **hyperparameters) -> LossOutput`.
      model: As for `bind`.
      temperature: Of the sampler; all log-probs are at the same.
      chunk_size: Positions whose logits are held at a time.
      longest: Tokens of the longest answer, which bounds L.
      **hyperparameters: Those of `loss_fn`.

    Returns:
      An objective with the metrics of `loss_fn` and `ties`, the share of the prompts
      whose answers all have one score.

    Raises:
      UserError: If the loss lacks a keyword.
    """
    check_keywords(loss_fn, hyperparameters)
    stats_fn = token_statistics(model, temperature=temperature, chunk_size=chunk_size)

    def objective(params, batch: Batch, key) -> LossOutput:
        del key
        rivals = _rivals(batch, stats_fn(params, batch.tokens).logps, longest)
        out = loss_fn(rivals, **hyperparameters)
        low, high = _lowest(rivals), _highest(rivals)
        several = jnp.sum(rivals.valid, axis=-1) > 1
        ties = Mean.of(low == high, where=several)
        return LossOutput(out.loss, {**out.metrics, "ties": ties})

    return objective


def online_dpo(rivals: Rivals, *, beta: float = 0.1) -> LossOutput:
    """DPO on the best and the worst answer, as in https://arxiv.org/abs/2402.04792."""
    pairs = best_and_worst(rivals, rivals.ref_logps)
    return dpo_loss(pairs.policy, pairs.ref, pairs.mask, beta=beta)


def iterative_dpo(rivals: Rivals, *, beta: float = 0.1) -> LossOutput:
    """DPO on the best and the worst answer, with the round's first policy as reference.

    As in https://arxiv.org/abs/2401.10020: each round starts from the policy of the one
    before, which writes the answers and is the reference.
    """
    pairs = best_and_worst(rivals, rivals.old_logps)
    return dpo_loss(pairs.policy, pairs.ref, pairs.mask, beta=beta)


def xpo(rivals: Rivals, *, beta: float = 0.1, alpha: float = 1e-5) -> LossOutput:
    """`xpo_loss`; the policy wrote the first of two answers, the reference the other.

    Xie et al., https://arxiv.org/abs/2405.21046.
    """
    pairs = best_and_worst(rivals, rivals.ref_logps)
    second = pairs.chosen == 1
    arrays = pairs.policy, pairs.ref, pairs.mask, second
    return xpo_loss(*arrays, beta=beta, alpha=alpha)


def rebel(rivals: Rivals, *, eta: float = 1.0) -> LossOutput:
    """`rebel_loss` on two answers and their scores; equal scores count too.

    Gao et al., https://arxiv.org/abs/2404.16767.
    """

    def both(x: jax.Array) -> Pair[jax.Array]:
        return Pair(x[:, :, 0], x[:, :, 1])

    arrays = rivals.logps, rivals.old_logps, rivals.mask, rivals.scores
    return rebel_loss(*map(both, arrays), eta=eta)


def nash_md(rivals: Rivals, *, beta: float = 0.1) -> LossOutput:
    """`nash_md_loss`; the policy wrote the first answer, the mixture the second.

    Munos et al., https://arxiv.org/abs/2312.00886. The preference is 1 or 0.
    """
    assert rivals.ref_logps is not None
    first, second = rivals.scores[..., 0], rivals.scores[..., 1]
    decided = jnp.all(rivals.valid, axis=-1) & (first != second)
    mask = rivals.mask[:, :, 0] & decided[..., None]
    won = (first > second).astype(first.dtype)
    arrays = rivals.logps[:, :, 0], rivals.ref_logps[:, :, 0], mask, won
    return nash_md_loss(*arrays, beta=beta)


class Chosen(NamedTuple):
    """A pair of each prompt.

    Attributes:
      policy: Token log-probabilities, both `[R, P, L]`.
      ref: The same under the reference.
      mask: Both `[R, P, L]` bool; no token of a prompt without a winner.
      chosen: `[R, P]`, the number of the better answer.
    """

    policy: Pair[jax.Array]
    ref: Pair[jax.Array]
    mask: Pair[jax.Array]
    chosen: jax.Array


def best_and_worst(rivals: Rivals, ref: jax.Array | None) -> Chosen:
    """The answers with the highest and the lowest score, the first of equals.

    Args:
      rivals: The answers.
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


def _rivals(batch: Batch, logps: jax.Array, longest: int | None) -> Rivals:
    def column(name: str) -> jax.Array:
        return by_completion(batch, batch.per_token[name], longest)

    return Rivals(
        by_completion(batch, logps, longest),
        column("old_logps"),
        column("ref_logps") if "ref_logps" in batch.per_token else None,
        completion_mask(batch, longest),
        column("advantages")[..., 0],
    )
