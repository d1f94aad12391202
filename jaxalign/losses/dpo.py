"""Direct Preference Optimization, and what differs from it by a term."""

import jax
import jax.numpy as jnp  # noqa: F401, the examples use it

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import debiased, pairwise_logistic, smoothed
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import sum_pairs
from jaxalign.ops.checks import check_not_negative, check_positive, check_range


def dpo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> LossOutput:
    """Direct Preference Optimization; conservative DPO with `label_smoothing`.

        −(1 − ε) log σ(β D) − ε log σ(−β D)

    With ε = 0 Eq. 7 of Rafailov et al., https://arxiv.org/abs/2305.18290, else Eq. 3
    of https://ericmitchell.ai/cdpo.pdf. Responses may differ in padded length.

    A pair counts only if both responses have an unmasked token, so an example
    that merely fills up a batch is left out by masking all of it. No gradient
    flows into `ref`. Only the margin is trained: `logps/chosen` may well fall while
    `logps/rejected` falls faster, which is no fault.

    In TRL: `sigmoid`, which ignores its label smoothing.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0; small is weak.
      label_smoothing: Probability that a preference label is wrong, in [0, 0.5).

    Returns:
      The mean over pairs, and the metrics `rewards/chosen`, `rewards/rejected`,
      `rewards/margins`, `rewards/accuracies`, `logps/chosen`, `logps/rejected`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0, -1.0]]), jnp.array([[-1.0, -9.0]]))
    >>> mask = Pair(jnp.array([[True, True]]), jnp.array([[True, False]]))
    >>> print(dpo_loss(lp, lp, mask).loss.value)  # policy == ref: log 2
    0.6931472
    """
    check_positive("beta", beta)
    check_range("label_smoothing", label_smoothing, 0, 0.5)
    pairs = sum_pairs(policy, mask, ref)
    losses = smoothed(pairwise_logistic, beta * pairs.margins, label_smoothing)
    return pair_output(losses, pairs, pairs.rewards(beta))


def robust_dpo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.1,
) -> LossOutput:
    """Robust DPO: its mean over labels flipped at rate ε is the clean DPO loss.

        [−(1 − ε) log σ(β D) + ε log σ(−β D)] / (1 − 2ε)

    Chowdhury et al., https://arxiv.org/abs/2403.00409. The price of no bias: it is
    unbounded below on finite data, so it needs early stopping or many pairs.

    In TRL: `robust`, with ε = 0 by default.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.
      label_smoothing: Probability ε that a preference label is wrong, in [0, 0.5).

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(robust_dpo_loss(lp, lp, mask).loss.value)  # policy == ref: log 2
    0.6931472
    """
    check_positive("beta", beta)
    check_range("label_smoothing", label_smoothing, 0, 0.5)
    pairs = sum_pairs(policy, mask, ref)
    losses = debiased(pairwise_logistic, beta * pairs.margins, label_smoothing)
    return pair_output(losses, pairs, pairs.rewards(beta))


def dpo_nll_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    nll_weight: float = 1.0,
) -> LossOutput:
    """DPO that also holds on to the chosen response: RPO and iterative RPO.

        −log σ(β D) − η a(y_w)

    Eq. 1 of https://arxiv.org/abs/2404.19733 (η = 1); with a small η (0.005) the
    regularised preference optimisation of https://arxiv.org/abs/2405.16436. The
    likelihood is per token of its own response, so both terms are means over pairs.

    In TRL: `sigmoid` with `sft` of weight η, whose mean is over the batch's tokens.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.
      nll_weight: η, weight of the negative log-likelihood, ≥ 0.

    Returns:
      The mean over pairs, the metrics of `dpo_loss`, and `nll_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(dpo_nll_loss(lp, lp, mask).loss.value)  # log 2 + 1
    1.6931472
    """
    check_positive("beta", beta)
    check_not_negative("nll_weight", nll_weight)
    pairs = sum_pairs(policy, mask, ref)
    nll = -pairs.chosen.mean_logps
    losses = pairwise_logistic(beta * pairs.margins) + nll_weight * nll
    return pair_output(losses, pairs, pairs.rewards(beta), nll_loss=nll)


def unweighted_dpo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
) -> LossOutput:
    """DPO's gradient without the weight that pairs ranked wrongly get; an ablation.

        −β D

    The weight is σ(−β D) in the gradient that follows Eq. 7 of
    https://arxiv.org/abs/2305.18290, which reports that models degenerate without it.
    The loss is unbounded below by design.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Scale of the loss, > 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(unweighted_dpo_loss(lp, lp, mask).loss.value)  # policy == ref
    -0.0
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    return pair_output(-beta * pairs.margins, pairs, pairs.rewards(beta))


def dpop_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    penalty: float = 50.0,
) -> LossOutput:
    """DPO-Positive: the chosen response must not fall below the reference.

        −log σ(β [D − λ max(0, −h(y_w))])

    Pal et al. (Smaug), https://arxiv.org/abs/2402.13228, with λ = 50.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.
      penalty: λ ≥ 0, price of a chosen response less likely than under the reference.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(dpop_loss(lp, lp, mask).loss.value)  # policy == ref: log 2
    0.6931472
    """
    check_positive("beta", beta)
    check_not_negative("penalty", penalty)
    pairs = sum_pairs(policy, mask, ref)
    margins = pairs.margins - penalty * jax.nn.relu(-pairs.chosen.log_ratios)
    losses = pairwise_logistic(beta * margins)
    return pair_output(losses, pairs, pairs.rewards(beta))
