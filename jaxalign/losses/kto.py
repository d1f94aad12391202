"""Kahneman–Tversky Optimization: single responses that are good or bad."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput
from jaxalign.losses.pairs import labelled_output
from jaxalign.losses.responses import check_labels, constant, scalar, sum_responses
from jaxalign.ops import Mean
from jaxalign.ops.checks import check_not_negative, check_positive


def kto_loss(
    policy: jax.Array,
    ref: jax.Array,
    mask: jax.Array,
    desirable: jax.Array,
    z0: jax.Array,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> LossOutput:
    """Kahneman–Tversky Optimization on unpaired responses.

        λ_D [1 − σ(β (h(y) − z₀))] if desirable, else λ_U [1 − σ(β (z₀ − h(y)))]

    Eq. 8 of Ethayarajh et al., https://arxiv.org/abs/2402.01306. The reference point z₀
    estimates KL(π‖π_ref); it is that of the global batch, from
    `kto_reference_point`, so that this loss may be split. It is clamped at 0 and gets
    no gradient. Keep λ_D n_D / (λ_U n_U) within [1, 3/2].

    In TRL: `KTOTrainer`, whose z₀ is another one in each accumulation step.

    Args:
      policy: Token log-probabilities under the policy, `[..., T]`, float.
      ref: The same tokens under the frozen reference, `[..., T]`, float.
      mask: True on response tokens, `[..., T]`, bool.
      desirable: Which responses are good, `[...]`, bool.
      z0: The reference point before it is clamped, a scalar or `[...]`, float.
      beta: Strength of the pull towards the reference, > 0.
      desirable_weight: Weight of desirable responses, λ_D ≥ 0.
      undesirable_weight: Weight of undesirable responses, λ_U ≥ 0.

    Returns:
      The mean over responses, and the metrics `rewards/chosen`, `logps/chosen` of the
      desirable ones, `rewards/rejected`, `logps/rejected` of the others, and `kl`, z₀.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp, mask = jnp.array([[-1.0], [-2.0]]), jnp.array([[True], [True]])
    >>> good = jnp.array([True, False])
    >>> print(kto_loss(lp, lp, mask, good, jnp.array(0.0)).loss.value)
    0.5
    """
    check_positive("beta", beta)
    check_not_negative("desirable_weight", desirable_weight)
    check_not_negative("undesirable_weight", undesirable_weight)
    responses = sum_responses(policy, mask, ref)
    log_ratios = responses.log_ratios
    check_labels("desirable", desirable, responses)
    each = constant if getattr(z0, "ndim", 0) else scalar
    z0 = jnp.maximum(each("z0", z0, responses), 0.0)
    gain = beta * (log_ratios - z0)
    losses = jnp.where(
        desirable,
        desirable_weight * jax.nn.sigmoid(-gain),
        undesirable_weight * jax.nn.sigmoid(gain),
    )
    kl = Mean.of(jnp.broadcast_to(z0, log_ratios.shape), where=responses.valid)
    rewards = beta * log_ratios
    return labelled_output(losses, responses, rewards, desirable, kl=kl)


def kto_reference_point(policy: jax.Array, ref: jax.Array, mask: jax.Array) -> Mean:
    """KTO's estimate of KL(π‖π_ref), from responses that answer another prompt.

        z₀ = max(0, mean h(x_i, y_{i+1}))

    As in https://arxiv.org/abs/2402.01306. The `Mean` is not clamped: add it up
    over the whole batch first; `kto_loss` clamps. No gradient flows.

    Args:
      policy: Token log-probabilities of mismatched responses, `[..., T]`, float.
      ref: The same tokens under the frozen reference, `[..., T]`, float.
      mask: True on response tokens, `[..., T]`, bool.

    Returns:
      The mean log-ratio h over valid responses.

    >>> lp, mask = jnp.array([[-1.0], [-2.0]]), jnp.array([[True], [True]])
    >>> print(kto_reference_point(lp, lp - 1, mask).value)
    1.0
    """
    responses = jax.lax.stop_gradient(sum_responses(policy, mask, ref))
    return Mean.of(responses.log_ratios, where=responses.valid)
