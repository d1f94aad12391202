"""Losses that compare distributions over the responses of a prompt: NCA and EXO."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_logistic
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import constant, sum_pairs, sum_responses
from jaxalign.ops import Mean
from jaxalign.ops.checks import check_not_negative, check_positive, check_range


def nca_pair_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.01,
) -> LossOutput:
    """Noise-contrastive alignment on pairs: absolute rewards, not only their gap.

        −log σ(β h(y_w)) − ½ log σ(−β h(y_w)) − ½ log σ(−β h(y_l))

    Chen et al., https://arxiv.org/abs/2402.05369, for K = 2 and a reward of one
    response alone.

    In TRL: `nca_pair`, with β = 0.1 by default.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(nca_pair_loss(lp, lp, mask).loss.value)  # policy == ref: 2 log 2
    1.3862944
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    chosen, rejected = rewards = pairs.rewards(beta)
    noise = pairwise_logistic(-chosen) + pairwise_logistic(-rejected)
    return pair_output(pairwise_logistic(chosen) + noise / 2, pairs, rewards)


def exo_pair_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    label_smoothing: float = 1e-3,
) -> LossOutput:
    """Efficient exact optimisation: the reverse KL from policy to preferences.

        q [log σ(β D) − log(1 − ε)] + (1 − q) [log σ(−β D) − log ε],  q = σ(β D)

    The pairwise form of Ji et al., https://arxiv.org/abs/2402.00856, Eq. 16: a mode is
    sought where DPO covers. Without smoothing the divergence is infinite, so ε > 0.

    In TRL: `exo_pair`, whose ε is 0.001 where 0 is given.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.
      label_smoothing: ε in (0, 0.5), probability that a preference label is wrong.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(exo_pair_loss(lp, lp, mask, label_smoothing=0.2).loss.value)
    0.22314...
    """
    check_positive("beta", beta)
    check_range("label_smoothing", label_smoothing, 0, 0.5, open_low=True)
    pairs = sum_pairs(policy, mask, ref)
    losses = pairwise_exo(beta * pairs.margins, label_smoothing=label_smoothing)
    return pair_output(losses, pairs, pairs.rewards(beta))


def pairwise_exo(
    margin: jax.Array, *, label_smoothing: float | jax.Array = 1e-3
) -> jax.Array:
    """KL of the policy's choice between two, σ(m), to a label that is wrong at rate ε.

        q [log q − log(1 − ε)] + (1 − q) [log(1 − q) − log ε],  q = σ(m)

    Eq. 16 of https://arxiv.org/abs/2402.00856.

    Args:
      margin: m, any shape, float.
      label_smoothing: ε in (0, 0.5).

    Returns:
      The same shape.

    >>> print(pairwise_exo(jnp.zeros(1), label_smoothing=0.2))
    [0.22314...]
    """
    agree = jax.nn.log_sigmoid(margin) - jnp.log1p(-label_smoothing)
    disagree = jax.nn.log_sigmoid(-margin) - jnp.log(label_smoothing)
    return jax.nn.sigmoid(margin) * agree + jax.nn.sigmoid(-margin) * disagree


def infonca_loss(
    policy: jax.Array,
    ref: jax.Array,
    mask: jax.Array,
    rewards: jax.Array,
    *,
    beta: float = 0.01,
    alpha: float = 0.01,
) -> LossOutput:
    """InfoNCA: cross entropy from given rewards of K answers to implicit ones.

        −Σ_k softmax(r/α)_k log softmax(β h)_k

    Chen et al., https://arxiv.org/abs/2402.05369. With K = 2 and α = 0 it is
    DPO. Answers without a token are left out; fewer than two do not count.

    Args:
      policy: Token log-probabilities under the policy, `[..., K, T]`, float.
      ref: The same tokens under the frozen reference, `[..., K, T]`, float.
      mask: True on response tokens, `[..., K, T]`, bool.
      rewards: Given reward of each answer, `[..., K]`, float; no gradient.
      beta: Strength of the pull towards the reference, > 0.
      alpha: Temperature of the given rewards, ≥ 0; with 0 only the best ones count.

    Returns:
      The mean over prompts, and the metric `rewards/accuracies`: how often the implicit
      reward is highest where the given one is.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp, mask = jnp.array([[[-1.0], [-2.0]]]), jnp.ones((1, 2, 1), bool)
    >>> print(infonca_loss(lp, lp, mask, jnp.array([[1.0, 0.0]])).loss.value)
    0.6931472
    """
    check_positive("beta", beta)
    check_not_negative("alpha", alpha)
    answers = sum_responses(policy, mask, ref)
    there, rewards = answers.valid, constant("rewards", rewards, answers)
    implicit = beta * answers.log_ratios
    target = _softmax(rewards, there, alpha)
    logs = jax.nn.log_softmax(_absent_low(implicit, there), axis=-1)
    losses = -jnp.sum(jnp.where(there, target * logs, 0.0), axis=-1)
    valid = jnp.sum(there, axis=-1, dtype=jnp.int32) > 1
    hits = jnp.argmax(target, axis=-1) == jnp.argmax(logs, axis=-1)
    metrics = {"rewards/accuracies": Mean.of(hits, where=valid)}
    return LossOutput(Mean.of(losses, where=valid), metrics)


def _softmax(x: jax.Array, there: jax.Array, temperature) -> jax.Array:
    """softmax(x / temperature) over those that are there; at 0 the best ones share."""
    best = jnp.max(_absent_low(x, there), axis=-1, keepdims=True)
    below = jnp.where(there, x - best, 0.0)
    cold = temperature == 0
    scaled = below / jnp.where(cold, 1.0, temperature)
    scaled = jnp.where(cold & (below < 0), jnp.finfo(x.dtype).min / 2, scaled)
    return jax.nn.softmax(_absent_low(scaled, there), axis=-1)


def _absent_low(x: jax.Array, there: jax.Array) -> jax.Array:
    """Finite, so that a prompt without any answer has no NaN gradient."""
    # Half of the lowest, so that a difference with it does not overflow.
    return jnp.where(there, x, jnp.finfo(x.dtype).min / 2)
