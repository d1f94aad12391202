"""Credit: from the rewards of sampled completions to an advantage for every token.

Pure functions of arrays `[G, K, N]`: G prompts, K completions of each, N tokens at
most. An algorithm is a pair of functions, one of these and a loss. All of them see the
whole global batch, so that group and whitening moments are those of the batch and not
of a part.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxalign.ops import (
    centered_group_advantages,
    gae,
    greedy_baseline_advantages,
    group_advantages,
    masked,
    masked_whiten,
    reinforce_pp_advantages,
    reward_to_go,
    rloo_advantages,
)


class Sampled(NamedTuple):
    """What an iteration knows of its completions.

    Attributes:
      mask: `[G, K, N]` bool, true on the tokens of completions that are used.
      token_rewards: `[G, K, N]`: the score at each completion's last token and, with
        KL in the reward, the penalty of every token.
      baseline: Scalar, a moving mean of the rewards; 0 if there is none.
      values: `[G, K, N]` of the critic, or None.
      greedy: `[G]`, the reward of the greedy completion, or None.
    """

    mask: jax.Array
    token_rewards: jax.Array
    baseline: jax.Array
    values: jax.Array | None = None
    greedy: jax.Array | None = None

    @property
    def valid(self) -> jax.Array:
        """Which completions are used, `[G, K]` bool."""
        return jnp.any(self.mask, axis=-1)

    @property
    def rewards(self) -> jax.Array:
        """The sum of each completion's token rewards, `[G, K]`."""
        return jnp.sum(masked(self.token_rewards, self.mask), axis=-1)


class Credit(NamedTuple):
    """What a loss needs to know of every token, `[G, K, N]` each.

    Attributes:
      advantages: 0 on tokens that are not used.
      returns: What a critic is to say, or None.
    """

    advantages: jax.Array
    returns: jax.Array | None = None


Assign = Callable[[Sampled], Credit]
"""How a method turns rewards into advantages."""


def _per_completion(advantages: jax.Array, sampled: Sampled) -> Credit:
    """Every token of a completion has the advantage `[G, K]` of the whole."""
    chex.assert_equal_shape_prefix([advantages, sampled.mask], 2)
    spread = jnp.broadcast_to(advantages[..., None], sampled.mask.shape)
    return Credit(masked(spread, sampled.mask))


def plain_credit(sampled: Sampled) -> Credit:
    """REINFORCE: the whole reward, without a baseline.

    Args:
      sampled: The completions.

    Returns:
      Advantages A = R on every token.
    """
    return _per_completion(sampled.rewards, sampled)


def baseline_credit(sampled: Sampled) -> Credit:
    """REINFORCE with a moving baseline: the reward minus the mean of earlier ones.

    Args:
      sampled: The completions; `baseline` is read.

    Returns:
      Advantages A = R - b on every token.
    """
    rewards = sampled.rewards
    return _per_completion(rewards - sampled.baseline.astype(rewards.dtype), sampled)


def group_credit(sampled: Sampled) -> Credit:
    """GRPO: rewards in units of their group's standard deviation.

    Args:
      sampled: The completions, K > 1.

    Returns:
      The advantages of `group_advantages`, on every token.
    """
    return _per_completion(group_advantages(sampled.rewards, sampled.valid), sampled)


def centered_credit(sampled: Sampled) -> Credit:
    """Dr. GRPO: rewards minus their group's mean.

    Args:
      sampled: The completions, K > 1.

    Returns:
      The advantages of `centered_group_advantages`, on every token.
    """
    advantages = centered_group_advantages(sampled.rewards, sampled.valid)
    return _per_completion(advantages, sampled)


def rloo_credit(sampled: Sampled) -> Credit:
    """RLOO: rewards minus the mean of the group's others.

    Args:
      sampled: The completions, K > 1.

    Returns:
      The advantages of `rloo_advantages`, on every token.
    """
    return _per_completion(rloo_advantages(sampled.rewards, sampled.valid), sampled)


def remax_credit(sampled: Sampled) -> Credit:
    """ReMax: rewards minus that of the greedy completion to the same prompt.

    Args:
      sampled: The completions; `greedy` is read.

    Returns:
      The advantages of `greedy_baseline_advantages`, on every token.
    """
    if sampled.greedy is None:
        raise ValueError("ReMax needs the rewards of greedy completions")
    advantages = greedy_baseline_advantages(
        sampled.rewards, sampled.greedy, sampled.valid
    )
    return _per_completion(advantages, sampled)


def whitened_to_go_credit(sampled: Sampled) -> Credit:
    """REINFORCE++: rewards to go, whitened over all tokens of the batch.

    Args:
      sampled: The completions.

    Returns:
      Advantages with mean 0 and variance 1 (https://arxiv.org/abs/2501.03262).
    """
    to_go = reward_to_go(sampled.token_rewards, sampled.mask)
    return Credit(reinforce_pp_advantages(to_go, sampled.mask))


def group_to_go_credit(sampled: Sampled) -> Credit:
    """REINFORCE++ with a group baseline: centred in the group first, then whitened.

    Args:
      sampled: The completions, K > 1.

    Returns:
      Advantages with mean 0 and variance 1 (https://arxiv.org/abs/2501.03262).
    """
    # Here the whole reward counts, not what is to come: a group compares completions.
    centred = centered_credit(sampled).advantages
    return Credit(reinforce_pp_advantages(centred, sampled.mask))


def gae_credit(*, discount: float = 1.0, lam: float = 0.95, whiten: bool = True):
    """PPO: generalised advantage estimates; returns come before the whitening.

    Args:
      discount: γ.
      lam: λ.
      whiten: Whether advantages get mean 0 and variance 1 over the whole batch.

    Returns:
      `Sampled -> Credit`, which reads `values`.
    """

    def assign(sampled: Sampled) -> Credit:
        if sampled.values is None:
            raise ValueError("GAE needs the values of a critic")
        advantages, returns = gae(
            sampled.token_rewards,
            sampled.values,
            sampled.mask,
            discount=discount,
            lam=lam,
        )
        if whiten:
            # The critic's targets, `returns`, stay in units of the reward.
            advantages = masked_whiten(advantages, sampled.mask)
        return Credit(advantages, returns)

    return assign


def advantages_of(assign: Assign, **arrays: Any) -> Credit:
    """What a method makes of rewards, for callers who have arrays only.

    Args:
      assign: A credit function of this module.
      **arrays: Those of `Sampled`; `baseline` is 0 by default.

    Returns:
      The `Credit`.

    >>> mask, rewards = jnp.ones((1, 2, 1), bool), jnp.array([[[1.0], [3.0]]])
    >>> out = advantages_of(rloo_credit, mask=mask, token_rewards=rewards)
    >>> print(out.advantages[0, :, 0])
    [-2.  2.]
    """
    return assign(Sampled(**{"baseline": jnp.zeros(()), **arrays}))
