"""REINFORCE and its baselines, a function each; see `algorithms`.

All but REINFORCE++ have no ratio in their loss: one update of the completions is right,
and further ones are of a policy that did not write them.
"""

from functools import partial
from typing import Unpack

from jaxalign import losses
from jaxalign.rl import credit
from jaxalign.rl.algorithm import Algorithm, Options, policy_gradient
from jaxalign.rl.algorithms import IN_GROUPS


def rloo(**options: Unpack[Options]) -> Algorithm:
    """REINFORCE with a leave-one-out baseline, https://arxiv.org/abs/2402.14740.

    Args:
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "REINFORCE with a leave-one-out baseline (RLOO)",
        credit.rloo_credit,
        losses.policy_gradient_loss,
        on_policy=True,
        paper_kl="reward",
        **options,
        **IN_GROUPS,
    )


def reinforce(**options: Unpack[Options]) -> Algorithm:
    """REINFORCE with the whole reward, without a baseline.

    Args:
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "REINFORCE",
        credit.plain_credit,
        losses.policy_gradient_loss,
        on_policy=True,
        paper_kl="reward",
        **options,
    )


def reinforce_baseline(**options: Unpack[Options]) -> Algorithm:
    """REINFORCE, where a moving mean of the rewards is taken off.

    Args:
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "REINFORCE with a moving baseline",
        credit.baseline_credit,
        losses.policy_gradient_loss,
        on_policy=True,
        paper_kl="reward",
        **options,
    )


def reinforce_pp(
    *, clip: float = 0.2, clip_high: float | None = None, **options: Unpack[Options]
) -> Algorithm:
    """REINFORCE++: rewards to go, whitened, https://arxiv.org/abs/2501.03262.

    Args:
      clip: Lower clip of the ratio, in [0, 1].
      clip_high: Upper clip of the ratio, > 0; None for the same.
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "REINFORCE++",
        credit.whitened_to_go_credit,
        partial(losses.ppo_policy_loss, clip=clip, clip_high=clip_high),
        around="batch",
        paper_kl="reward",
        **options,
    )


def reinforce_pp_baseline(
    *, clip: float = 0.2, clip_high: float | None = None, **options: Unpack[Options]
) -> Algorithm:
    """REINFORCE++ with a group baseline, https://arxiv.org/abs/2501.03262.

    Args:
      clip: Lower clip of the ratio, in [0, 1].
      clip_high: Upper clip of the ratio, > 0; None for the same.
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "REINFORCE++ with a group baseline",
        credit.group_to_go_credit,
        partial(losses.ppo_policy_loss, clip=clip, clip_high=clip_high),
        **options,
        **IN_GROUPS,
    )


def remax(**options: Unpack[Options]) -> Algorithm:
    """ReMax: the greedy completion's reward taken off, https://arxiv.org/abs/2310.10505.

    Args:
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "REINFORCE with a greedy baseline (ReMax)",
        credit.remax_credit,
        losses.policy_gradient_loss,
        on_policy=True,
        greedy=True,
        around="greedy",
        paper_kl="reward",
        **options,
    )
