"""Alignment by optimal transport: sorted against sorted, over a whole batch."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair, batch_coupled
from jaxalign.losses.links import pairwise_logistic, smoothed
from jaxalign.losses.pairs import pair_metrics
from jaxalign.losses.responses import Pairs, sum_pairs
from jaxalign.ops import Mean
from jaxalign.ops.checks import check_positive, check_range


@batch_coupled
def aot_pair_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> LossOutput:
    """Alignment by optimal transport on pairs: margins dominate the reference's.

        −log σ(m),  m = β [sort(lp(y_w) − lp(y_l)) − sort(lp_ref(y_w) − lp_ref(y_l))]

    Melnyk et al., https://arxiv.org/abs/2406.05882: stochastic dominance of the first
    order, by pairing equal ranks within the batch. Sorting couples the pairs of a
    batch, so parts of a batch do not add up. With label smoothing ε it is
    −(1 − ε) log σ(m) − ε log σ(−m).

    In TRL: `aot`, which sorts within one device's part of the batch.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Scale of the margins, > 0.
      label_smoothing: Probability ε that a preference label is wrong, in [0, 0.5).

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(aot_pair_loss(lp, lp, mask).loss.value)  # policy == ref: log 2
    0.6931472
    """
    check_positive("beta", beta)
    check_range("label_smoothing", label_smoothing, 0, 0.5)
    pairs = sum_pairs(policy, mask, ref)
    refs = sum_pairs(jax.lax.stop_gradient(Pair(*ref)), mask)
    now = pairs.chosen.logps - pairs.rejected.logps
    return _transport(pairs, now, refs.margins, beta, label_smoothing)


@batch_coupled
def aot_unpaired_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> LossOutput:
    """Alignment by optimal transport, chosen against rejected of any prompt.

        −log σ(m),  m = β [sort h(y_w) − sort h(y_l)]

    Melnyk et al., https://arxiv.org/abs/2406.05882: the rewards of the chosen responses
    dominate those of the rejected ones, rank by rank. Which response belongs to which
    does not matter. Sorting couples the batch, so parts of a batch do not add up. With
    label smoothing ε it is −(1 − ε) log σ(m) − ε log σ(−m).

    In TRL: `aot_unpaired`, which sorts within one device's part of the batch.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Scale of the rewards, > 0.
      label_smoothing: Probability ε that a preference label is wrong, in [0, 0.5).

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(aot_unpaired_loss(lp, lp, mask).loss.value)  # policy == ref: log 2
    0.6931472
    """
    check_positive("beta", beta)
    check_range("label_smoothing", label_smoothing, 0, 0.5)
    pairs = sum_pairs(policy, mask, ref)
    chosen, rejected = (x.log_ratios for x in pairs)
    return _transport(pairs, chosen, rejected, beta, label_smoothing)


def _transport(pairs: Pairs, above, below, beta, label_smoothing) -> LossOutput:
    """The loss that `above` should exceed `below` rank by rank, over valid pairs."""
    where = jnp.ravel(pairs.valid)
    # What is void sorts to the end of both, so ranks of valid entries correspond.
    above, below = (
        jnp.sort(jnp.where(where, jnp.ravel(x), jnp.inf)) for x in (above, below)
    )
    rank = jnp.arange(where.size, dtype=jnp.int32)
    counts = rank < jnp.sum(where, dtype=jnp.int32)
    # Zeros first: the void places of both sides are inf, whose difference is NaN.
    gap = jnp.where(counts, above, 0.0) - jnp.where(counts, below, 0.0)
    losses = smoothed(pairwise_logistic, beta * gap, label_smoothing)
    metrics = pair_metrics(pairs, pairs.rewards(beta))
    return LossOutput(Mean.of(losses, where=counts), metrics)
