"""Returns and advantages along the tokens of a response, by a scan from its end.

A masked token inside a response (what a tool wrote, say) is stepped over: the token
before it is followed by the next unmasked one. So nothing at a masked position, value
or reward, reaches any other.
"""

import jax
import jax.numpy as jnp

from jaxalign.ops.checks import check_arrays, check_positive, check_range
from jaxalign.ops.reduce import masked


def reward_to_go(
    rewards: jax.Array, mask: jax.Array, *, discount: float = 1.0
) -> jax.Array:
    """The discounted sum of rewards from each token on, G_t = r_t + γ G_{t+1}.

    Args:
      rewards: `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      discount: γ, in [0, 1].

    Returns:
      `[..., T]`, 0 where masked.

    >>> rewards, mask = jnp.array([1.0, 9.0, 4.0]), jnp.array([True, False, True])
    >>> print(reward_to_go(rewards, mask, discount=0.5))
    [3. 0. 4.]
    """
    check_range("discount", discount, 0, 1, closed_high=True)
    check_arrays(rewards=(rewards, "float[..., T]"), mask=(mask, "bool[..., T]"))
    rewards = masked(rewards, mask)

    def step(following, now):
        reward, unmasked = now
        here = reward + discount * following
        return jnp.where(unmasked, here, following), jnp.where(unmasked, here, 0.0)

    return _backwards(step, jnp.zeros_like(rewards[..., 0]), rewards, mask)


def gae(
    rewards: jax.Array,
    values: jax.Array,
    mask: jax.Array,
    *,
    discount: float = 1.0,
    lam: float | jax.Array = 0.95,
) -> tuple[jax.Array, jax.Array]:
    """Generalized advantage estimation.

        δ_t = r_t + γ v_{t+1} − v_t,  A_t = δ_t + γλ A_{t+1}

    Eq. 11, 12 and 16 of Schulman et al., https://arxiv.org/abs/1506.02438. A response
    ends after its last unmasked token, where the value is 0. λ = 1 gives the return
    less the value, λ = 0 the one-step error.

    Args:
      rewards: `[..., T]`, float.
      values: Of the state before each token, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      discount: γ, in [0, 1].
      lam: λ in [0, 1], one for all or `[...]`, one for each response.

    Returns:
      The advantages, not whitened, and the returns A + v to fit the values to, both
      `[..., T]` and 0 where masked.

    >>> rewards, values = jnp.array([0.0, 1.0]), jnp.array([0.5, 0.75])
    >>> advantages, returns = gae(rewards, values, jnp.array([True, True]), lam=1.0)
    >>> print(advantages, returns)
    [0.5  0.25] [1. 1.]
    """
    check_range("discount", discount, 0, 1, closed_high=True)
    check_range("lam", lam, 0, 1, closed_high=True)
    check_arrays(
        rewards=(rewards, "float[..., T]"),
        values=(values, "float[..., T]"),
        mask=(mask, "bool[..., T]"),
    )
    rewards, values = masked(rewards, mask), masked(values, mask)
    lam = jnp.broadcast_to(jnp.asarray(lam, rewards.dtype), rewards.shape[:-1])

    def step(following, now):
        reward, value, unmasked = now
        next_value, next_advantage = following
        error = reward + discount * next_value - value
        here = value, error + discount * lam * next_advantage
        following = jax.tree.map(
            lambda x, y: jnp.where(unmasked, x, y), here, following
        )
        return following, jnp.where(unmasked, here[1], 0.0)

    end = jnp.zeros_like(rewards[..., 0])
    advantages = _backwards(step, (end, end), rewards, values, mask)
    return advantages, advantages + values


def decoupled_gae(
    rewards: jax.Array,
    values: jax.Array,
    mask: jax.Array,
    *,
    discount: float = 1.0,
    critic_lam: float = 1.0,
    alpha: float = 0.05,
) -> tuple[jax.Array, jax.Array]:
    """GAE with one λ for the policy, by length, and another for the critic.

    The policy's is λ = 1 − 1/(α |y|), so that a reward at the end reaches the beginning
    of a response of any length; the critic's returns are unbiased at λ = 1. From VAPO,
    https://arxiv.org/abs/2504.05118. Where α |y| < 1, λ is 0.

    Args:
      rewards: `[..., T]`, float.
      values: Of the state before each token, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      discount: γ, in [0, 1].
      critic_lam: λ of the returns, in [0, 1].
      alpha: α > 0; the larger, the nearer to 1 the policy's λ.

    Returns:
      The policy's advantages and the critic's returns, both `[..., T]` and 0 where
      masked.

    >>> rewards, values = jnp.array([0.0, 1.0]), jnp.array([0.5, 0.75])
    >>> mask = jnp.array([True, True])
    >>> print(decoupled_gae(rewards, values, mask, alpha=0.5)[0])  # λ = 0
    [0.25 0.25]
    """
    check_range("critic_lam", critic_lam, 0, 1, closed_high=True)
    check_positive("alpha", alpha)
    check_arrays(rewards=(rewards, "float[..., T]"), mask=(mask, "bool[..., T]"))
    lengths = jnp.maximum(jnp.sum(mask, axis=-1), 1).astype(jnp.float32)
    policy_lam = jnp.maximum(1 - 1 / (alpha * lengths), 0.0)
    arrays = rewards, values, mask
    advantages, _ = gae(*arrays, discount=discount, lam=policy_lam)
    _, returns = gae(*arrays, discount=discount, lam=critic_lam)
    return advantages, returns


def _backwards(step, start, *arrays):
    """What `step` gives at each token, from the last to the first; time goes last."""
    steps = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), arrays)
    return jnp.moveaxis(jax.lax.scan(step, start, steps, reverse=True)[1], 0, -1)
