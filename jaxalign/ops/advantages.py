"""Advantages of whole responses: rewards less a baseline.

Groups are the K responses to one prompt, `[..., K]`, with a mask for those that are
there. A group of one has nothing to compare with and gets 0. Rewards get no gradient.
"""

import jax
import jax.numpy as jnp

from jaxalign.errors import UserError
from jaxalign.ops.checks import check_arrays, check_not_negative, check_range
from jaxalign.ops.reduce import Mean, masked


def group_advantages(
    rewards: jax.Array, mask: jax.Array, *, eps: float = 1e-4
) -> jax.Array:
    """GRPO's advantages: (R − mean) / (std + ε) of the group.

    Sec. 4.1.2 of DeepSeekMath, https://arxiv.org/abs/2402.03300, with n − 1 in the
    standard deviation, as the usual implementations have it. Equal rewards give exactly
    0, and no advantage is above (K − 1)/√K. One response that differs from all others
    gets that much, however far it differs: what a mistake costs beside a right answer
    is lost on a policy that seldom answers. `rloo_advantages` keeps it.

    Args:
      rewards: `[..., K]`, float; K ≥ 2.
      mask: The responses that are there, `[..., K]`, bool.
      eps: ε ≥ 0.

    Returns:
      `[..., K]`, 0 where masked.

    Raises:
      UserError: If K is 1.

    >>> print(group_advantages(jnp.array([1.0, 3.0]), jnp.ones(2, bool)))
    [-0.70705...  0.70705...]
    """
    check_not_negative("eps", eps)
    centered, count = _centered(rewards, mask)
    std = sample_std(centered, count)
    # Equal rewards are 0 without an ε too: then all is 0 that is divided.
    return centered / (jnp.where(std > 0, std, 1.0) + eps)


def centered_group_advantages(rewards: jax.Array, mask: jax.Array) -> jax.Array:
    """Dr. GRPO's advantages: R − mean of the group, with no weight for difficulty.

    Liu et al., https://arxiv.org/abs/2503.20783.

    Args:
      rewards: `[..., K]`, float; K ≥ 2.
      mask: The responses that are there, `[..., K]`, bool.

    Returns:
      `[..., K]`, 0 where masked.

    Raises:
      UserError: If K is 1.

    >>> print(centered_group_advantages(jnp.array([1.0, 3.0]), jnp.ones(2, bool)))
    [-1.  1.]
    """
    return _centered(rewards, mask)[0]


def rloo_advantages(rewards: jax.Array, mask: jax.Array) -> jax.Array:
    """Leave-one-out advantages: R less the mean of the others, an unbiased baseline.

        R_k − mean_{j≠k} R_j = K/(K − 1) (R_k − mean R)

    Ahmadian et al., https://arxiv.org/abs/2402.14740. Fold the KL penalty
    into R. Never divide by the standard deviation: it goes to 0 with the numerator.

    Args:
      rewards: `[..., K]`, float; K ≥ 2.
      mask: The responses that are there, `[..., K]`, bool.

    Returns:
      `[..., K]`, 0 where masked.

    Raises:
      UserError: If K is 1.

    >>> print(rloo_advantages(jnp.array([1.0, 3.0]), jnp.ones(2, bool)))
    [-2.  2.]
    """
    centered, count = _centered(rewards, mask)
    return count / jnp.maximum(count - 1, 1) * centered


def greedy_baseline_advantages(
    rewards: jax.Array, greedy_rewards: jax.Array, mask: jax.Array
) -> jax.Array:
    """ReMax's advantages: R less the reward of the prompt's greedy response.

    Algorithm 1 of Li et al., https://arxiv.org/abs/2310.10505.

    Args:
      rewards: `[..., K]`, float.
      greedy_rewards: `[...]`, one for each prompt, float.
      mask: The responses that are there, `[..., K]`, bool.

    Returns:
      `[..., K]`, 0 where masked.

    >>> rewards, mask = jnp.array([[1.0, 3.0]]), jnp.ones((1, 2), bool)
    >>> print(greedy_baseline_advantages(rewards, jnp.array([2.5]), mask))
    [[-1.5  0.5]]
    """
    check_arrays(
        rewards=(rewards, "float[..., K]"),
        greedy_rewards=(greedy_rewards, "float[...]"),
        mask=(mask, "bool[..., K]"),
    )
    rewards, greedy_rewards = jax.lax.stop_gradient((rewards, greedy_rewards))
    baseline = jnp.broadcast_to(greedy_rewards[..., None], rewards.shape)
    return masked(rewards, mask) - masked(baseline, mask)


def batch_baseline_advantages(
    rewards: jax.Array, mask: jax.Array, *, mean: Mean | None = None
) -> jax.Array:
    """R less the mean over the batch, each response itself included.

    That makes them too small by (n − 1)/n in expectation, for n responses.

    Args:
      rewards: Any shape, float.
      mask: The responses that are there, the same shape, bool.
      mean: `Mean.of(rewards, where=mask)` summed over all parts of the batch; None if
        this is all of it.

    Returns:
      The same shape, 0 where masked.

    >>> print(batch_baseline_advantages(jnp.array([1.0, 3.0]), jnp.ones(2, bool)))
    [-1.  1.]
    """
    check_arrays(rewards=(rewards, "float[...]"), mask=(mask, "bool[...]"))
    rewards = jax.lax.stop_gradient(masked(rewards, mask))
    mean = Mean.of(rewards, where=mask) if mean is None else mean
    return jnp.where(mask, rewards - jax.lax.stop_gradient(mean.value), 0.0)


def moving_baseline(baseline: jax.Array, rewards: Mean, *, decay: float) -> jax.Array:
    """The running mean of rewards after one more batch, b ← α b + (1 − α) mean R.

    Args:
      baseline: b, a scalar; subtract the one *before* a batch from its rewards.
      rewards: The batch's mean reward; one of weight 0 leaves b as it is.
      decay: α, in [0, 1).

    Returns:
      The new b.

    >>> rewards = Mean.of(jnp.array([1.0, 3.0]), where=jnp.ones(2, bool))
    >>> print(moving_baseline(jnp.float32(0.0), rewards, decay=0.75))
    0.5
    """
    check_range("decay", decay, 0, 1)
    new = decay * baseline + (1 - decay) * rewards.value
    return jax.lax.stop_gradient(jnp.where(rewards.weight > 0, new, baseline))


def sample_std(centered: jax.Array, count: jax.Array) -> jax.Array:
    """The standard deviation, with n − 1, of what has mean 0.

    It also holds where the squares do not fit into float32.

    Args:
      centered: `[..., K]`, float, 0 where nothing counts.
      count: `[..., 1]`, n.

    Returns:
      `[..., 1]`.

    >>> print(sample_std(jnp.array([-3e30, 3e30]), jnp.array([2.0])))
    [4.24264...e+30]
    """
    # By a power of two, which costs no digit.
    _, power = jnp.frexp(jnp.max(jnp.abs(centered), axis=-1, keepdims=True))
    squares = jnp.square(jnp.ldexp(centered, -power))
    variance = jnp.sum(squares, axis=-1, keepdims=True) / jnp.maximum(count - 1, 1)
    return jnp.ldexp(jnp.sqrt(variance), power)


def _centered(rewards, mask):
    """Rewards less their group's mean `[..., K]`, and the group's size `[..., 1]`."""
    check_arrays(rewards=(rewards, "float[..., K]"), mask=(mask, "bool[..., K]"))
    if rewards.shape[-1] < 2:
        raise UserError(
            "a group needs two responses or more to compare: `rewards` has shape "
            f"{rewards.shape}, with the K responses to a prompt on its last axis"
        )
    rewards = jax.lax.stop_gradient(masked(rewards, mask))
    # Shifted so that equal rewards give exactly 0: the mean of three 0.1 is not 0.1.
    highest = jnp.max(jnp.where(mask, rewards, -jnp.inf), axis=-1, keepdims=True)
    rewards = jnp.where(mask, rewards - highest, 0.0)
    count = jnp.sum(mask, axis=-1, keepdims=True, dtype=rewards.dtype)
    mean = jnp.sum(rewards, axis=-1, keepdims=True) / jnp.maximum(count, 1)
    return jnp.where(mask, rewards - mean, 0.0), count
