"""Losses bound to a model: `(params, batch, key) -> LossOutput`.

Two kinds of batches are known here. `Tokens` and `PreferenceBatch` hold one sequence
per row and suit any model that is a function. `TokenBatch` and `PairBatch` are the
packed rows that `jaxalign.data` makes: several examples in a row, and a slot for each
trained token only, so that the unembedding never sees another position.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.losses import LossOutput, Pair, dpo_loss, sft_loss
from jaxalign.ops import Mean, TokenStats, chunked_stats, fused_token_loss, token_stats

Objective = Callable[[Any, Any, jax.Array], LossOutput]


class Tokens(NamedTuple):
    """One sequence per row, already shifted: position t of all three is one token.

    Attributes:
      inputs: `[B, T]`, what the model reads.
      targets: `[B, T]`, what it is to predict at each position.
      mask: `[B, T]` bool, which of the predictions count.
    """

    inputs: jax.Array
    targets: jax.Array
    mask: jax.Array


class PreferenceBatch(NamedTuple):
    """Both responses of each pair, prompt included, and what the reference thinks.

    Attributes:
      tokens: Both sides' `Tokens`, whose lengths may differ.
      ref_logps: Their token log-probabilities under the reference, each `[B, T]`.
    """

    tokens: Pair[Tokens]
    ref_logps: Pair[jax.Array]

    @property
    def mask(self) -> Pair[jax.Array]:
        """Which tokens count, each `[B, T]`."""
        return Pair(self.tokens.chosen.mask, self.tokens.rejected.mask)


class TokenBatch(NamedTuple):
    """Packed rows: R rows of T positions with M target slots each.

    Attributes:
      inputs: `[R, T]` token ids.
      positions: `[R, T]`, each token's position in its own sequence.
      segment_ids: `[R, T]`, which example of the row, from 1; 0 is padding.
      branch_ids: `[R, T]`, 0 for a shared prompt or a plain sequence, else the
        number of the response that continues it.
      target_ids: `[R, M]`, the tokens to predict.
      target_at: `[R, M]`, the position in the row whose output predicts each.
      target_mask: `[R, M]` bool, which slots are real.
    """

    inputs: jax.Array
    positions: jax.Array
    segment_ids: jax.Array
    branch_ids: jax.Array
    target_ids: jax.Array
    target_at: jax.Array
    target_mask: jax.Array


class PairBatch(NamedTuple):
    """Packed rows of pairs, each prompt once with both responses behind it.

    Attributes:
      rows: The `TokenBatch`.
      start: Where each response's targets begin among the M slots, both `[R, P]`.
      length: How many they are, both `[R, P]`; 0 where the row holds no such pair.
      target_ref_logps: `[R, M]`, each target's log-probability under the reference.
    """

    rows: TokenBatch
    start: Pair[jax.Array]
    length: Pair[jax.Array]
    target_ref_logps: jax.Array

    @property
    def mask(self) -> Pair[jax.Array]:
        """Which of M token slots each response fills, both `[R, P, M]` bool."""
        slots = jax.lax.broadcasted_iota(
            jnp.int32, (*self.start.chosen.shape, self.rows.target_ids.shape[1]), 2
        )
        return Pair(*(slots < n[..., None] for n in self.length))

    @property
    def ref_logps(self) -> Pair[jax.Array]:
        """The reference's log-probabilities by response, both `[R, P, M]`."""
        return self.by_response(self.target_ref_logps)

    def by_response(self, per_target: jax.Array) -> Pair[jax.Array]:
        """`[R, M]` values of the target slots -> by response, both `[R, P, M]`."""
        rows, slots = per_target.shape

        def take(start):
            at = start[..., None] + jnp.arange(slots, dtype=start.dtype)[None, None]
            at = jnp.minimum(at, slots - 1).reshape(rows, -1)
            taken = jnp.take_along_axis(per_target, at, axis=1)
            return taken.reshape(*start.shape, slots)

        return Pair(take(self.start.chosen), take(self.start.rejected))


class Head(NamedTuple):
    """An unembedding, as `jaxalign.models.unembedding` gives it.

    Attributes:
      kernel: `[V, D]`.
      softcap: Bound on the logits, or None.
      vocab_size: Rows from here on are padding and never predicted.
    """

    kernel: jax.Array
    softcap: float | None
    vocab_size: int


class Backbone(NamedTuple):
    """A model in two parts, so that logits need never be whole.

    Attributes:
      hidden: `(params, TokenBatch) -> [R, T, D]`, the states that the head reads.
      head: `params -> Head`.
    """

    hidden: Callable[[Any, TokenBatch], jax.Array]
    head: Callable[[Any], Head]


def logits_stats(apply_fn: Callable[[Any, jax.Array], jax.Array], **options: Any):
    """Token statistics of any model that is a function giving whole logits.

    Args:
      apply_fn: `(params, [B, T] token ids) -> [B, T, V] logits`.
      **options: Those of `token_stats`.

    Returns:
      `(params, Tokens) -> TokenStats` of `[B, T]` arrays.
    """

    def stats(params, tokens: Tokens) -> TokenStats:
        return token_stats(apply_fn(params, tokens.inputs), tokens.targets, **options)

    return stats


def packed_stats(backbone: Backbone, **options: Any):
    """Token statistics of packed rows, in chunks.

    Args:
      backbone: The model.
      **options: `temperature`, `entropy` and `chunk_size` of `chunked_stats`.

    Returns:
      `(params, TokenBatch) -> TokenStats` of `[R, M]` arrays.
    """

    def stats(params, batch: TokenBatch) -> TokenStats:
        states, head = _at_targets(backbone, params, batch), backbone.head(params)
        return chunked_stats(
            states, head.kernel, batch.target_ids, **_limits(head), **options
        )

    return stats


def sft_objective(stats_fn: Callable[[Any, Tokens], TokenStats], **hyperparameters):
    """Supervised fine-tuning of any model, on `Tokens`.

    Args:
      stats_fn: `(params, Tokens) -> TokenStats`; see `logits_stats`.
      **hyperparameters: Those of `sft_loss`.

    Returns:
      An objective whose metrics are `mean_token_accuracy` and, if the statistics
      have it, `entropy`.
    """

    def objective(params, batch: Tokens, key) -> LossOutput:
        del key
        return _sft(stats_fn(params, batch), batch.mask, hyperparameters)

    return objective


def packed_sft_objective(
    backbone: Backbone,
    *,
    chunk_size: int = 512,
    entropy: bool = False,
    **hyperparameters,
):
    """Supervised fine-tuning on `TokenBatch`, with the fused unembedding.

    Args:
      backbone: The model.
      chunk_size: Positions whose logits are held at a time.
      entropy: Whether to log the entropy, at the cost of a pass over the logits.
      **hyperparameters: Those of `sft_loss`.

    Returns:
      An objective with the metrics of `sft_objective`.
    """

    def objective(params, batch: TokenBatch, key) -> LossOutput:
        del key
        states, head = _at_targets(backbone, params, batch), backbone.head(params)
        return fused_token_loss(
            lambda stats, mask: _sft(stats, mask, hyperparameters),
            states,
            head.kernel,
            batch.target_ids,
            batch.target_mask,
            chunk_size=chunk_size,
            entropy=entropy,
            **_limits(head),
        )

    return objective


def preference_objective(
    loss_fn: Callable[..., LossOutput],
    stats_fn: Callable[[Any, Tokens], TokenStats],
    **hyperparameters,
):
    """Any pairwise preference loss for any model, on `PreferenceBatch`.

    Args:
      loss_fn: `(policy, ref, mask, **hyperparameters) -> LossOutput`, as `dpo_loss`; or
        without `ref`, as reference-free losses are.
      stats_fn: `(params, Tokens) -> TokenStats`; see `logits_stats`.
      **hyperparameters: Those of `loss_fn`.

    Returns:
      An objective with the metrics of `loss_fn`, `logits/chosen` and
      `logits/rejected`.
    """

    def objective(params, batch: PreferenceBatch, key) -> LossOutput:
        del key
        stats = Pair(*(stats_fn(params, tokens) for tokens in batch.tokens))
        return _preference(loss_fn, batch, stats, hyperparameters)

    return objective


def packed_preference_objective(
    loss_fn: Callable[..., LossOutput],
    backbone: Backbone,
    *,
    chunk_size: int = 512,
    **hyperparameters,
):
    """Any pairwise preference loss, on `PairBatch`.

    Args:
      loss_fn: As for `preference_objective`.
      backbone: The model.
      chunk_size: Positions whose logits are held at a time.
      **hyperparameters: Those of `loss_fn`.

    Returns:
      An objective with the metrics of `preference_objective`.
    """
    stats_fn = packed_stats(backbone, chunk_size=chunk_size)

    def objective(params, batch: PairBatch, key) -> LossOutput:
        del key
        by_side = [batch.by_response(x) for x in stats_fn(params, batch.rows)[:3]]
        stats = Pair(
            *(TokenStats(*xs, jnp.zeros(()), None) for xs in zip(*by_side, strict=True))
        )
        return _preference(loss_fn, batch, stats, hyperparameters)

    return objective


def dpo_objective(stats_fn: Callable[[Any, Tokens], TokenStats], **hyperparameters):
    """DPO for any model, on `PreferenceBatch`; the keywords are those of `dpo_loss`."""
    return preference_objective(dpo_loss, stats_fn, **hyperparameters)


def takes_ref(loss_fn: Callable[..., LossOutput]) -> bool:
    """Whether a preference loss reads the reference, by its own signature.

    >>> takes_ref(dpo_loss)
    True
    """
    return "ref" in inspect.signature(loss_fn).parameters


def _at_targets(backbone: Backbone, params, batch: TokenBatch) -> jax.Array:
    hidden = backbone.hidden(params, batch)
    return jnp.take_along_axis(hidden, batch.target_at[..., None], axis=1)


def _limits(head: Head) -> dict[str, Any]:
    return {"softcap": head.softcap, "vocab_size": head.vocab_size}


def _sft(stats: TokenStats, mask: jax.Array, hyperparameters) -> LossOutput:
    out = sft_loss(
        stats.logps,
        mask,
        mean_logps=stats.mean_logps,
        logz=stats.logz,
        **hyperparameters,
    )
    metrics = {"mean_token_accuracy": Mean.of(stats.correct, where=mask)}
    if stats.entropy is not None:
        metrics["entropy"] = Mean.of(stats.entropy, where=mask)
    return LossOutput(out.loss, {**out.metrics, **metrics})


def _preference(loss_fn, batch, stats: Pair[TokenStats], hyperparameters):
    policy = Pair(*(s.logps for s in stats))
    ref = (batch.ref_logps,) if takes_ref(loss_fn) else ()
    out = loss_fn(policy, *ref, batch.mask, **hyperparameters)
    metrics = {
        f"logits/{side}": Mean.of(s.mean_logps + s.logz, where=mask)
        for side, s, mask in zip(Pair._fields, stats, batch.mask, strict=True)
    }
    return LossOutput(out.loss, {**out.metrics, **metrics})
