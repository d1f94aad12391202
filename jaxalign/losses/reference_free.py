"""Preference losses without a reference model."""

import jax
import jax.numpy as jnp  # noqa: F401, the examples use it

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_logistic, smoothed
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import sum_pairs
from jaxalign.ops import log1mexp
from jaxalign.ops.checks import check_not_negative, check_positive, check_range


def simpo_loss(
    policy: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
    label_smoothing: float = 0.0,
) -> LossOutput:
    """SimPO: the mean log-probability as reward, and a margin to exceed.

        −log σ(m),  m = β a(y_w) − β a(y_l) − γ

    Eq. 6 of Meng et al., https://arxiv.org/abs/2405.14734. Start with γ/β = 0.5; the
    published range is 0.3 to 0.5 of β in 2 to 10. With label smoothing ε it is
    −(1 − ε) log σ(m) − ε log σ(−m).

    In TRL: `simpo` of `CPOTrainer`, with β = 0.1, γ = 0.5 and an NLL term unless
    `cpo_alpha=0`.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Scale of the rewards, > 0.
      gamma: The target margin, ≥ 0.
      label_smoothing: Probability ε that a preference label is wrong, in [0, 0.5).

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`; a reward is β a(y).

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0, -1.0]]), jnp.array([[-2.0]]))
    >>> mask = Pair(jnp.array([[True, True]]), jnp.array([[True]]))
    >>> print(simpo_loss(lp, mask, beta=2.0, gamma=2.0).loss.value)
    0.6931472
    """
    check_positive("beta", beta)
    check_not_negative("gamma", gamma)
    check_range("label_smoothing", label_smoothing, 0, 0.5)
    pairs = sum_pairs(policy, mask)
    rewards = pairs.each(lambda y: beta * y.mean_logps)
    margins = rewards.chosen - rewards.rejected - gamma
    losses = smoothed(pairwise_logistic, margins, label_smoothing)
    return pair_output(losses, pairs, rewards)


def orpo_loss(
    policy: Pair[jax.Array], mask: Pair[jax.Array], *, odds_weight: float = 0.1
) -> LossOutput:
    """ORPO: likelihood of the chosen response, and its odds against the rejected.

        −a(y_w) − λ log σ(o(y_w) − o(y_l)),  o = a − log(1 − eᵃ)

    Eq. 6 and 7 of Hong et al., https://arxiv.org/abs/2403.07691; the published range of
    λ is 0.1 to 0.25. The likelihood is that of the answer, never of the prompt.

    In TRL: `experimental.orpo.ORPOTrainer`, with λ under the name of β, whose
    likelihood covers prompt and answer.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      odds_weight: Weight λ of the odds ratio, ≥ 0.

    Returns:
      The mean over pairs, the metrics of `dpo_loss` with λ a(y) for a reward, and
      `nll_loss`, `log_odds_ratio` (the log σ), `log_odds_chosen` (what is in it).

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0, -1.0]]), jnp.array([[-1.0]]))
    >>> mask = Pair(jnp.array([[True, True]]), jnp.array([[True]]))
    >>> print(orpo_loss(lp, mask, odds_weight=1.0).loss.value)  # 1 + log 2
    1.6931472
    """
    check_not_negative("odds_weight", odds_weight)
    pairs = sum_pairs(policy, mask)
    log_odds = pairs.each(lambda y: y.mean_logps - log1mexp(y.mean_logps))
    ratio = log_odds.chosen - log_odds.rejected
    nll = -pairs.chosen.mean_logps
    return pair_output(
        nll + odds_weight * pairwise_logistic(ratio),
        pairs,
        pairs.each(lambda y: odds_weight * y.mean_logps),
        nll_loss=nll,
        log_odds_ratio=jax.nn.log_sigmoid(ratio),
        log_odds_chosen=ratio,
    )


def cpo_loss(
    policy: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    nll_weight: float = 1.0,
    label_smoothing: float = 0.0,
) -> LossOutput:
    """Contrastive Preference Optimization: DPO with a uniform reference, and an NLL.

        −log σ(m) − α lp(y_w),  m = β lp(y_w) − β lp(y_l)

    Xu et al., https://arxiv.org/abs/2401.08417, where α = 1. With label smoothing ε
    the first term is −(1 − ε) log σ(m) − ε log σ(−m).

    In TRL: `experimental.cpo.CPOTrainer`, whose NLL is a mean over the batch's tokens.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Scale of the rewards, > 0.
      nll_weight: α, weight of the chosen response's negative log-likelihood, ≥ 0.
      label_smoothing: Probability ε that a preference label is wrong, in [0, 0.5).

    Returns:
      The mean over pairs, the metrics of `dpo_loss` with β lp(y) for a reward, and
      `nll_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0, -1.0]]), jnp.array([[-2.0]]))
    >>> mask = Pair(jnp.array([[True, True]]), jnp.array([[True]]))
    >>> print(cpo_loss(lp, mask).loss.value)  # log 2 + 2
    2.6931472
    """
    check_positive("beta", beta)
    check_not_negative("nll_weight", nll_weight)
    check_range("label_smoothing", label_smoothing, 0, 0.5)
    pairs = sum_pairs(policy, mask)
    nll = -pairs.chosen.logps
    losses = smoothed(pairwise_logistic, beta * pairs.margins, label_smoothing)
    losses += nll_weight * nll
    return pair_output(losses, pairs, pairs.rewards(beta), nll_loss=nll)


def cpo_simpo_loss(
    policy: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
    nll_weight: float = 1.0,
    label_smoothing: float = 0.0,
) -> LossOutput:
    """CPO-SimPO: SimPO's margin with CPO's likelihood of the chosen response.

        −log σ(m) − α a(y_w),  m = β a(y_w) − β a(y_l) − γ

    The sum of Eq. 6 of https://arxiv.org/abs/2405.14734 and the likelihood term of
    https://arxiv.org/abs/2401.08417, here per token as the rewards are. With label
    smoothing ε the first term is −(1 − ε) log σ(m) − ε log σ(−m).

    In TRL: `simpo` of `CPOTrainer`, whose NLL is a mean over the batch's tokens.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Scale of the rewards, > 0.
      gamma: The target margin, ≥ 0.
      nll_weight: α, weight of the chosen response's negative log-likelihood, ≥ 0.
      label_smoothing: Probability ε that a preference label is wrong, in [0, 0.5).

    Returns:
      The mean over pairs, the metrics of `simpo_loss`, and `nll_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0, -1.0]]), jnp.array([[-2.0]]))
    >>> mask = Pair(jnp.array([[True, True]]), jnp.array([[True]]))
    >>> print(cpo_simpo_loss(lp, mask, gamma=2.0).loss.value)  # log 2 + 1
    1.6931472
    """
    check_positive("beta", beta)
    check_not_negative("gamma", gamma)
    check_not_negative("nll_weight", nll_weight)
    check_range("label_smoothing", label_smoothing, 0, 0.5)
    pairs = sum_pairs(policy, mask)
    rewards = pairs.each(lambda y: beta * y.mean_logps)
    margins = rewards.chosen - rewards.rejected - gamma
    nll = -pairs.chosen.mean_logps
    losses = smoothed(pairwise_logistic, margins, label_smoothing) + nll_weight * nll
    return pair_output(losses, pairs, rewards, nll_loss=nll)
