"""Losses of reward models: scores of whole responses against what people said."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair, as_pair
from jaxalign.losses.links import pairwise_logistic
from jaxalign.losses.ranking import plackett_luce_nll
from jaxalign.losses.sampled import without_gradient
from jaxalign.ops import Mean, check_arrays, masked
from jaxalign.ops.checks import check_not_negative, check_range


def bradley_terry_loss(
    scores: Pair[jax.Array],
    valid: jax.Array,
    *,
    margin: jax.Array | None = None,
    center: float = 0.0,
) -> LossOutput:
    """The chosen response should score higher than the rejected one.

        −log σ(s_w − s_l − m) + c (s_w + s_l)²

    Eq. 1 of InstructGPT, https://arxiv.org/abs/2203.02155, with K = 2. The margin m is
    Eq. 2 of Llama 2, https://arxiv.org/abs/2307.09288: larger for clear preferences.
    The centring term holds the mean score near 0, https://arxiv.org/abs/2312.09244,
    where c = 0.01.

    In TRL: `RewardTrainer`, with m as the column `margin` and c as
    `center_rewards_coefficient`.

    Args:
      scores: Of the two responses, each `[...]`, float.
      valid: The pairs that count, `[...]`, bool.
      margin: m ≥ 0 of each pair, `[...]`, float; None for 0.
      center: Weight c of (s_w + s_l)², ≥ 0.

    Returns:
      The mean over pairs, and the metrics `accuracy`, `margin` (s_w − s_l) and
      `mean_reward` (over both sides).

    Raises:
      ValueError: If a Python number is out of its range.

    >>> scores = Pair(jnp.array([1.0]), jnp.array([1.0]))
    >>> print(bradley_terry_loss(scores, jnp.array([True])).loss.value)  # log 2
    0.6931472
    """
    check_not_negative("center", center)
    chosen, rejected = as_pair("scores", scores)
    check_arrays(
        **{"scores.chosen": (chosen, "float[...]")},
        **{"scores.rejected": (rejected, "float[...]")},
        margin=(margin, "float[...]"),
        valid=(valid, "bool[...]"),
    )
    better, worse = (masked(x, valid) for x in (chosen, rejected))
    gap = better - worse
    wanted = gap
    if margin is not None:
        wanted = gap - masked(jax.lax.stop_gradient(margin), valid)
    losses = pairwise_logistic(wanted) + center * jnp.square(better + worse)
    metrics = {
        "accuracy": Mean.of(gap > 0, where=valid),
        "margin": Mean.of(gap, where=valid),
        "mean_reward": Mean.of((better + worse) / 2, where=valid),
    }
    return without_gradient(Mean.of(losses, where=valid), metrics)


def kwise_loss(
    scores: jax.Array, mask: jax.Array, *, ranks: jax.Array | None = None
) -> LossOutput:
    """Bradley–Terry over all pairs of K ranked responses, a mean for each prompt.

        −(1/N) Σ log σ(s_w − s_l), over the N pairs of different rank

    Eq. 1 of InstructGPT, https://arxiv.org/abs/2203.02155, where N = K (K − 1)/2. All
    pairs of a prompt belong into one batch: spread over several, each response would be
    trained on K − 1 times. Ties leave both count and sum.

    Args:
      scores: `[..., K]`, float, ranked best first unless `ranks` are given.
      mask: The responses that are there, `[..., K]`, bool.
      ranks: `[..., K]`, lower is better, equal is a tie; any integer or float type.

    Returns:
      The mean over prompts that have a pair, and the metrics `accuracy` and `margin`
      over pairs and `mean_reward` over responses.

    >>> print(kwise_loss(jnp.zeros(3), jnp.ones(3, bool)).loss.value)  # log 2
    0.6931472
    """
    check_arrays(
        scores=(scores, "float[..., K]"),
        ranks=(ranks, "float|int[..., K]"),
        mask=(mask, "bool[..., K]"),
    )
    if ranks is None:
        ranks = jnp.broadcast_to(jnp.arange(scores.shape[-1]), scores.shape)
    scores = masked(scores, mask)
    pairs = ranks[..., :, None] < ranks[..., None, :]
    pairs &= mask[..., :, None] & mask[..., None, :]
    gaps = scores[..., :, None] - scores[..., None, :]
    count = jnp.sum(pairs, axis=(-2, -1))
    total = jnp.sum(jnp.where(pairs, pairwise_logistic(gaps), 0.0), axis=(-2, -1))
    losses = total / jnp.maximum(count, 1).astype(total.dtype)
    metrics = _ranking_metrics(scores, mask, gaps, pairs)
    return without_gradient(Mean.of(losses, where=count > 0), metrics)


def plackett_luce_loss(
    scores: jax.Array, mask: jax.Array, *, top: int | jax.Array | None = None
) -> LossOutput:
    """The likelihood of a whole ranking, the best first, then the best of the rest.

        −Σ_{k ≤ M} [s_k − log Σ_{j ≥ k} exp s_j]

    App. A.3 of https://arxiv.org/abs/2305.18290. With K = 2 it is `bradley_terry_loss`.
    K may vary, by the mask.

    Args:
      scores: `[..., K]`, ranked best first, float.
      mask: The responses that are there, `[..., K]`, bool.
      top: M, how many places of the ranking are known; those behind may stand in any
        order. None for all.

    Returns:
      The mean over prompts with two responses or more, and the metrics `accuracy` and
      `margin` over pairs and `mean_reward` over responses.

    >>> scores, mask = jnp.zeros(3), jnp.ones(3, bool)
    >>> print(plackett_luce_loss(scores, mask).loss.value)  # one of 3! orders
    1.7917595
    >>> print(plackett_luce_loss(scores, mask, top=1).loss.value)  # one of three
    1.0986123
    """
    check_range("top", top, 1, float("inf"))
    check_arrays(scores=(scores, "float[..., K]"), mask=(mask, "bool[..., K]"))
    scores = masked(scores, mask)
    losses, known = plackett_luce_nll(scores, mask), mask
    if top is not None:
        known = mask & (jnp.cumsum(mask, axis=-1) <= top)
        # The chance of this order among those behind is taken out again.
        losses = losses - plackett_luce_nll(scores, mask & ~known)
    size = mask.shape[-1]
    pairs = known[..., :, None] & mask[..., None, :]
    pairs &= jnp.broadcast_to(jnp.triu(jnp.ones((size, size), bool), 1), pairs.shape)
    gaps = scores[..., :, None] - scores[..., None, :]
    metrics = _ranking_metrics(scores, mask, gaps, pairs)
    valid = jnp.sum(mask, axis=-1) >= 2
    return without_gradient(Mean.of(losses, where=valid), metrics)


def regression_loss(
    scores: jax.Array, targets: jax.Array, known: jax.Array
) -> LossOutput:
    """The squared error of scores against ratings, as of HelpSteer.

        (s_k − target_k)², the mean over known attributes

    Wang et al., https://arxiv.org/abs/2311.09528. Responses may lack some ratings.

    Args:
      scores: `[...]`, or `[..., A]` for A attributes, float.
      targets: The ratings, the same shape, float.
      known: Which ratings there are, the same shape, bool.

    Returns:
      The mean over ratings, and the metric `mean_reward`.

    >>> scores, targets = jnp.array([1.0, 2.0]), jnp.array([3.0, jnp.nan])
    >>> print(regression_loss(scores, targets, jnp.array([True, False])).loss.value)
    4.0
    """
    check_arrays(
        scores=(scores, "float[...]"),
        targets=(targets, "float[...]"),
        known=(known, "bool[...]"),
    )
    scores, targets = masked(scores, known), masked(targets, known)
    losses = jnp.square(scores - jax.lax.stop_gradient(targets))
    metrics = {"mean_reward": Mean.of(scores, where=known)}
    return without_gradient(Mean.of(losses, where=known), metrics)


def _ranking_metrics(scores, mask, gaps, pairs) -> dict[str, Mean]:
    return {
        "accuracy": Mean.of(gaps > 0, where=pairs),
        "margin": Mean.of(gaps, where=pairs),
        "mean_reward": Mean.of(scores, where=mask),
    }
