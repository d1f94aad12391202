"""Direct Preference Optimization and its pairwise building block."""

import chex
import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair, check_range
from jaxalign.ops import Mean, masked, sequence_logps


def pairwise_logistic(margin: jax.Array, *, label_smoothing: float = 0.0) -> jax.Array:
    """−log σ(margin), elementwise; Eq. 3 of https://ericmitchell.ai/cdpo.pdf.

    Args:
      margin: By how much the chosen response is preferred, any shape, float.
      label_smoothing: Probability that a label is the wrong way round, in [0, 0.5).

    Returns:
      The same shape.

    >>> print(pairwise_logistic(jnp.zeros(2)))
    [0.6931472 0.6931472]
    """
    agree, disagree = jax.nn.log_sigmoid(margin), jax.nn.log_sigmoid(-margin)
    return -(1 - label_smoothing) * agree - label_smoothing * disagree


def dpo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> LossOutput:
    """Direct Preference Optimization.

    With rᵢ = β Σₜ [log π(yᵢₜ) − log π_ref(yᵢₜ)], the implicit reward of response i,
    the loss of one pair is −log σ(r_chosen − r_rejected): Eq. 7 of Rafailov et al.,
    https://arxiv.org/abs/2305.18290. Responses may differ in padded length.
    `label_smoothing` makes it conservative DPO: Eq. 3 of
    https://ericmitchell.ai/cdpo.pdf.

    A pair counts only if both responses have an unmasked token, so an example
    that merely fills up a batch is left out by masking all of it. No gradient
    flows into `ref`.

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
    check_range("beta", beta, 0, float("inf"), open_low=True)
    check_range("label_smoothing", label_smoothing, 0, 0.5)
    policy, ref, mask = Pair(*policy), Pair(*ref), Pair(*mask)
    for p, r, m in zip(policy, ref, mask, strict=True):
        chex.assert_equal_shape([p, r, m])
        chex.assert_type([p, r, m], [float, float, bool])
    chex.assert_equal_shape_prefix(list(policy), policy.chosen.ndim - 1)

    ref = jax.lax.stop_gradient(ref)
    logps = Pair(*map(sequence_logps, policy, mask))
    # Subtracted token by token: sums of hundreds of nats would lose their low digits.
    log_ratios = Pair(
        *(
            sequence_logps(masked(p, m) - masked(r, m), m)
            for p, r, m in zip(policy, ref, mask, strict=True)
        )
    )
    rewards = Pair(beta * log_ratios.chosen, beta * log_ratios.rejected)
    margins = rewards.chosen - rewards.rejected
    losses = pairwise_logistic(margins, label_smoothing=label_smoothing)

    per_pair = {
        "rewards/chosen": rewards.chosen,
        "rewards/rejected": rewards.rejected,
        "rewards/margins": margins,
        "rewards/accuracies": margins > 0,
        "logps/chosen": logps.chosen,
        "logps/rejected": logps.rejected,
    }
    valid = jnp.any(mask.chosen, axis=-1) & jnp.any(mask.rejected, axis=-1)
    metrics = {name: Mean.of(x, where=valid) for name, x in per_pair.items()}
    return LossOutput(Mean.of(losses, where=valid), metrics)
