"""The policy gradient itself, and terms that are added to it."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput
from jaxalign.losses.sampled import (
    policy_output,
    sampled_tokens,
    without_gradient,
)
from jaxalign.ops import (
    Mean,
    check_arrays,
    masked,
    sequence_logps,
    sequence_sum,
    token_mean,
)
from jaxalign.ops.checks import check_not_negative


def reinforce_loss(logps: jax.Array, rewards: jax.Array, mask: jax.Array) -> LossOutput:
    """REINFORCE: the log-probability of a response times its reward.

        L_RL = −E[log π(a|s) · r̂]

    Williams, https://doi.org/10.1007/BF00992696. A surrogate: its value means nothing,
    its gradient is the policy gradient −∇E[r̂] if (1) the responses were sampled from
    the policy as it is now, one update a batch, and (2) r̂ has no gradient, which is
    seen to. There is no baseline and no KL term in it: subtract the one and fold the
    other into r̂ before. The objective of RLHF is E[r] − β KL(π ‖ π_ref), which this
    alone is not.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      rewards: r̂, `[...]`, one for each response, float.
      mask: The tokens of the response, its stop token included, `[..., T]`, bool.

    Returns:
      The mean over responses that have a token; no metrics.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> print(reinforce_loss(logps, jnp.array([0.5]), mask).loss.value)
    1.5
    """
    check_arrays(
        logps=(logps, "float[+, T]"),
        rewards=(rewards, "float[...]"),
        mask=(mask, "bool[+, T]"),
    )
    valid = jnp.any(mask, axis=-1)
    rewards = masked(jax.lax.stop_gradient(rewards), valid)
    return LossOutput(Mean.of(-sequence_logps(logps, mask) * rewards, where=valid), {})


def policy_gradient_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> LossOutput:
    """The policy gradient with an advantage for each token; RLOO's loss, and ReMax's.

        −Σ_t log π(y_t) A_t, the mean over responses

    Eq. 1 of https://arxiv.org/abs/1506.02438; with `ops.rloo_advantages` that of
    https://arxiv.org/abs/2402.14740. There is no ratio and no clip, so the policy must
    be the one that sampled: one update a batch. Its value means nothing.

    In TRL: `RLOOTrainer`, which clips the ratio of whole responses besides.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float; only for
        the metrics, which tell whether the policy has moved since.
      advantages: Of each token, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      weights: Factor of each token's loss, `[..., T]`, bool or float.
      penalty: Further cost of each token, `[..., T]`, float; with its gradient.

    Returns:
      The mean over responses, and the metrics `policy/approxkl_avg`,
      `policy/ratio_capped`, `val/ratio`, `val/ratio_var` and `advantage/abs_mean`.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> advantages = jnp.array([[1.0, 3.0]])
    >>> print(policy_gradient_loss(logps, logps, advantages, mask).loss.value)
    7.0
    """
    tokens = sampled_tokens(logps, old_logps, advantages, mask, weights, penalty)
    return policy_output(-tokens.logps * tokens.advantages, tokens, sequence_sum)


def kl_score_loss(
    logps: jax.Array, ref_logps: jax.Array, mask: jax.Array
) -> LossOutput:
    """A term whose gradient is that of KL(π ‖ π_ref), for responses of any length.

        sg(h(y)) · log π(y),  h(y) = log π(y) − log π_ref(y)

    The derivative of E_π[h] by the score function, as REINFORCE
    (https://doi.org/10.1007/BF00992696) with −h for the reward. The responses must come
    from the policy as it is now; the value means nothing.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      ref_logps: Of the same tokens under the reference, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.

    Returns:
      The mean over responses, and the metric `kl`, the mean of h.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> print(kl_score_loss(logps, 2 * logps, mask).loss.value)
    -9.0
    """
    check_arrays(
        logps=(logps, "float[+, T]"),
        ref_logps=(ref_logps, "float[+, T]"),
        mask=(mask, "bool[+, T]"),
    )
    valid = jnp.any(mask, axis=-1)
    h = jnp.sum(masked(logps, mask) - masked(ref_logps, mask), axis=-1)
    h = jax.lax.stop_gradient(h)
    loss = Mean.of(h * sequence_logps(logps, mask), where=valid)
    return LossOutput(loss, {"kl": Mean.of(h, where=valid)})


def entropy_bonus(
    entropy: jax.Array, mask: jax.Array, *, coef: float = 0.0
) -> LossOutput:
    """A term that rewards policies for being undecided: −c H, the mean over tokens.

    As in Eq. 9 of https://arxiv.org/abs/1707.06347. The entropy is that of the whole
    distribution at each token, as `ops.chunked_stats` gives it.

    Args:
      entropy: In nats, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      coef: Weight c of the entropy, ≥ 0.

    Returns:
      The mean over tokens, and the metric `policy/entropy_avg`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> entropy, mask = jnp.array([[1.0, 3.0]]), jnp.array([[True, True]])
    >>> print(entropy_bonus(entropy, mask, coef=0.5).loss.value)
    -1.0
    """
    check_not_negative("coef", coef)
    check_arrays(entropy=(entropy, "float[+, T]"), mask=(mask, "bool[+, T]"))
    mean = token_mean(entropy, mask)
    metrics = {"policy/entropy_avg": mean}
    return without_gradient(Mean(-coef * mean.total, mean.weight), metrics)


def ptx_term(logps: jax.Array, mask: jax.Array, *, coef: float = 27.8) -> LossOutput:
    """The pretraining term of PPO-ptx: −γ log π of plain text, the mean over tokens.

    Eq. 2 of InstructGPT, https://arxiv.org/abs/2203.02155, with γ = 27.8. The text is a
    stream of its own with a weight of its own, so `combine` adds it to PPO's loss.

    Args:
      logps: Of the tokens of the pretraining text, `[..., T]`, float.
      mask: The tokens to learn, `[..., T]`, bool.
      coef: γ ≥ 0; 0 gives plain PPO.

    Returns:
      The mean over the text's tokens, and the metric `loss/ptx`, without γ.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> logps, mask = jnp.array([[-1.0, -3.0]]), jnp.array([[True, True]])
    >>> print(ptx_term(logps, mask, coef=2.0).loss.value)
    4.0
    """
    return _likelihood(logps, mask, coef, "loss/ptx")


def positive_nll_loss(
    logps: jax.Array, correct: jax.Array, mask: jax.Array, *, coef: float = 0.1
) -> LossOutput:
    """The imitation term of VAPO: −μ log π of the tokens of correct responses.

    https://arxiv.org/abs/2504.05118, with μ = 0.1: the mean over the tokens of correct
    responses alone, a weight of its own, so `combine` adds it to PPO's loss.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      correct: Which responses are right, `[...]`, bool.
      mask: The tokens of the response, `[..., T]`, bool.
      coef: Weight μ of the term, ≥ 0.

    Returns:
      The mean over tokens of correct responses, and the metric `nll_loss`, without μ.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> logps, mask = jnp.array([[-1.0], [-9.0]]), jnp.array([[True], [True]])
    >>> print(positive_nll_loss(logps, jnp.array([True, False]), mask).loss.value)
    0.1
    """
    check_arrays(
        logps=(logps, "float[+, T]"),
        correct=(correct, "bool[...]"),
        mask=(mask, "bool[+, T]"),
    )
    return _likelihood(logps, mask & correct[..., None], coef, "nll_loss")


def _likelihood(logps, mask, coef, name) -> LossOutput:
    check_not_negative("coef", coef)
    check_arrays(logps=(logps, "float[+, T]"), mask=(mask, "bool[+, T]"))
    nll = token_mean(-logps, mask)
    return without_gradient(Mean(coef * nll.total, nll.weight), {name: nll})
