"""PPO: a critic foresees rewards, and the ratio to the old policy is clipped."""

from functools import partial

import jax

from jaxalign.errors import UserError
from jaxalign.losses import ppo_loss
from jaxalign.objectives import value_loss
from jaxalign.ops import adaptive_kl_update
from jaxalign.ops.checks import check_positive, check_range
from jaxalign.rl.algorithm import Algorithm, KLController, fixed_kl, truncated_weights
from jaxalign.rl.credit import gae_credit


def ppo(
    *,
    clip: float = 0.2,
    clip_high: float | None = None,
    dual_clip: float | None = None,
    value_clip: float = 0.2,
    value_coef: float = 0.1,
    entropy_coef: float = 0.0,
    gamma: float = 1.0,
    lam: float = 0.95,
    whiten_rewards: bool = False,
    whiten_advantages: bool = True,
    kl_coef: float = 0.05,
    kl_controller: KLController = fixed_kl,
    importance_cap: float | None = None,
    passes: int = 4,
    warm_up: int = 0,
) -> Algorithm:
    """Proximal policy optimization, https://arxiv.org/abs/1707.06347.

    The parameters are `{"policy": ..., "critic": ...}`, and each token pays for its
    distance from the first policy (https://arxiv.org/abs/1909.08593).

    Args:
      clip: Lower clip of the ratio, in [0, 1].
      clip_high: Upper clip of the ratio, > 0; None for the same.
      dual_clip: Highest ratio that counts for tokens with a negative advantage, > 1; 3
        is usual, None: any.
      value_clip: Clip of the change of values, > 0.
      value_coef: Weight of the value loss, >= 0.
      entropy_coef: Weight of the entropy, which is kept up, >= 0.
      gamma: Discount, in [0, 1].
      lam: GAE's mix of one-step errors (0) and whole returns (1).
      whiten_rewards: Divide token rewards by their standard deviation; their mean
        stays.
      whiten_advantages: Give advantages mean 0 and variance 1 over the whole batch.
      kl_coef: Strength of the pull towards the first policy, >= 0.
      kl_controller: How it follows the measured KL; see `adaptive_kl`.
      importance_cap: Weigh tokens by trainer over sampler probability, at most this,
        > 0; 2 is usual, None: not at all.
      passes: Passes over the completions before new ones are sampled.
      warm_up: Iterations in which the critic alone learns.

    Returns:
      The algorithm, for `make_iteration`.
    """
    check_range("gamma", gamma, 0, 1, closed_high=True)
    check_range("lam", lam, 0, 1, closed_high=True)
    check_positive("value_clip", value_clip)  # the value loss calls it `clip`
    if kl_controller is not fixed_kl and not kl_coef:
        raise UserError("an adaptive kl_coef of 0 stays 0; start from 0.15 to 0.2")
    return Algorithm(
        "proximal policy optimization (PPO)",
        gae_credit(discount=gamma, lam=lam, whiten=whiten_advantages),
        partial(
            ppo_loss,
            clip=clip,
            clip_high=clip_high,
            dual_clip=dual_clip,
            value_clip=value_clip,
            value_coef=value_coef,
            entropy_coef=entropy_coef,
        ),
        reference=True,
        kl_coef=kl_coef,
        kl_in_reward=True,
        kl_controller=kl_controller,
        weights=truncated_weights(importance_cap),
        rescale=whiten_rewards,
        passes=passes,
        entropy=True,
        value_loss=partial(value_loss, clip=value_clip, coef=value_coef),
        warm_up=warm_up,
    )


def adaptive_kl(*, target: float = 6.0, horizon: int = 10_000) -> KLController:
    """A controller that raises the coefficient while the KL is above its target.

    Args:
      target: Nats of a completion, > 0.
      horizon: Completions in which the coefficient can change by about a fifth, >= 1.

    Returns:
      A controller, for `ppo`.
    """
    check_positive("target", target)
    check_range("horizon", horizon, 1, float("inf"))

    def update(coef: jax.Array, kl: jax.Array, completions: int) -> jax.Array:
        known = {"target": target, "horizon": horizon, "num_episodes": completions}
        return adaptive_kl_update(coef, kl, **known)

    return update
