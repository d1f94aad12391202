"""Preference losses on the policy's own completions: the higher reward wins."""

from collections.abc import Callable
from functools import partial
from typing import Any

from jaxalign.losses import LossOutput
from jaxalign.objectives import online, rivals_loss
from jaxalign.ops.checks import check_not_negative, check_positive, check_range
from jaxalign.rl.algorithm import Algorithm
from jaxalign.rl.credit import plain_credit
from jaxalign.rl.rollout import Rival
from jaxalign.rollout import Decoder, geometric_mixture


def online_dpo(*, beta: float = 0.1, passes: int = 1) -> Algorithm:
    """DPO on the best and the worst completion, https://arxiv.org/abs/2402.04792.

    Args:
      beta: Strength of the pull towards the reference, > 0.
      passes: Passes over the completions before new ones are sampled.

    Returns:
      The algorithm, for `make_iteration`.
    """
    check_positive("beta", beta)
    loss = partial(online.online_dpo_of_rivals, beta=beta)
    return _comparing("online DPO", loss, reference=True, passes=passes)


def iterative_dpo(*, beta: float = 0.1, passes: int = 1) -> Algorithm:
    """DPO where the policy before the iteration is the reference.

    https://arxiv.org/abs/2401.10020

    Args:
      beta: Strength of the pull towards the policy before, > 0.
      passes: Passes over the completions before new ones are sampled.

    Returns:
      The algorithm, for `make_iteration`.
    """
    check_positive("beta", beta)
    loss = partial(online.iterative_dpo_of_rivals, beta=beta)
    return _comparing("iterative DPO", loss, passes=passes)


def xpo(*, beta: float = 0.1, alpha: float = 1e-5, passes: int = 1) -> Algorithm:
    """Exploratory preference optimization, https://arxiv.org/abs/2405.21046.

    The frozen reference writes the second completion.

    Args:
      beta: Strength of the pull towards the reference, > 0.
      alpha: Weight of the bonus for what the reference finds unlikely, >= 0.
      passes: Passes over the completions before new ones are sampled.

    Returns:
      The algorithm, for `make_iteration`.
    """
    check_positive("beta", beta)
    check_not_negative("alpha", alpha)
    return _comparing(
        "exploratory preference optimization (XPO)",
        partial(online.xpo_of_rivals, beta=beta, alpha=alpha),
        reference=True,
        rival=_reference,
        completions=(2, 2),
        passes=passes,
    )


def nash_md(
    *, beta: float = 0.1, mixture_coef: float = 0.5, passes: int = 1
) -> Algorithm:
    """Nash mirror descent, https://arxiv.org/abs/2312.00886.

    The geometric mixture of policy and reference writes the second completion. The loss
    has no ratio: it is the gradient for the first update of an iteration, and nearly so
    for others while the policy moves little.

    Args:
      beta: Strength of the pull towards the reference, > 0.
      mixture_coef: The reference's share of the mixture that writes the rivals, in
        [0, 1].
      passes: Passes over the completions before new ones are sampled.

    Returns:
      The algorithm, for `make_iteration`.
    """
    check_positive("beta", beta)
    check_range("mixture_coef", mixture_coef, 0, 1, closed_high=True)

    def mixture(policy: Decoder) -> Rival:
        both = geometric_mixture(policy, policy, weight=mixture_coef)
        return Rival(both, lambda policy, reference: (policy, reference))

    return _comparing(
        "Nash mirror descent (Nash-MD)",
        partial(online.nash_md_of_rivals, beta=beta),
        reference=True,
        rival=mixture,
        on_policy=True,
        completions=(2, 2),
        passes=passes,
    )


def rebel(*, eta: float = 1.0, passes: int = 1) -> Algorithm:
    """Regression to relative rewards, https://arxiv.org/abs/2404.16767.

    Args:
      eta: Step size of the implied mirror descent, > 0.
      passes: Passes over the completions before new ones are sampled.

    Returns:
      The algorithm, for `make_iteration`.
    """
    check_positive("eta", eta)
    return _comparing(
        "regression to relative rewards (REBEL)",
        partial(online.rebel_of_rivals, eta=eta),
        completions=(2, 2),
        passes=passes,
    )


def _reference(policy: Decoder) -> Rival:
    """The frozen reference writes the second completion."""
    return Rival(policy, lambda policy, reference: reference)


def _comparing(name: str, loss: Callable[..., LossOutput], **facts: Any) -> Algorithm:
    """What all of these have in common: scores in the place of advantages."""
    return Algorithm(
        name,
        plain_credit,
        rivals_loss(loss),
        together=True,
        around="group",
        **{"completions": (2, None), **facts},
    )
