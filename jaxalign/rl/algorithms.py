"""Clipped policy gradients over groups, a function each: credit, loss, and facts.

`**options` are those of `policy_gradient`: where the KL term stands and how strong it
is, the entropy term, the importance correction, the passes over the completions.
"""

from functools import partial
from typing import Any, Unpack

from jaxalign import losses
from jaxalign.rl import credit
from jaxalign.rl.algorithm import Algorithm, Options, policy_gradient
from jaxalign.rl.centring import LARGEST_SCALED

IN_GROUPS: Any = {"completions": (2, None), "around": "group"}
"""Of algorithms that compare the completions of a prompt."""
# Rewards are divided by their group's deviation before anything is squared.
_SCALED: Any = {**IN_GROUPS, "largest": LARGEST_SCALED}


def grpo(
    *, clip: float = 0.2, clip_high: float | None = None, **options: Unpack[Options]
) -> Algorithm:
    """Group relative policy optimization, https://arxiv.org/abs/2402.03300.

    Args:
      clip: Lower clip of the ratio, in [0, 1].
      clip_high: Upper clip of the ratio, > 0; None for the same.
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "group relative policy optimization (GRPO)",
        credit.group_credit,
        partial(losses.grpo_loss, clip=clip, clip_high=clip_high),
        **options,
        **_SCALED,
    )


def dr_grpo(
    *, clip: float = 0.2, clip_high: float | None = None, **options: Unpack[Options]
) -> Algorithm:
    """GRPO without length and difficulty bias, https://arxiv.org/abs/2503.20783.

    Args:
      clip: Lower clip of the ratio, in [0, 1].
      clip_high: Upper clip of the ratio, > 0; None for the same.
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "GRPO without length and difficulty bias (Dr. GRPO)",
        credit.centered_credit,
        partial(losses.dr_grpo_loss, clip=clip, clip_high=clip_high),
        fixed_length=True,
        **options,
        **IN_GROUPS,
    )


def dapo(
    *, clip: float = 0.2, clip_high: float | None = 0.28, **options: Unpack[Options]
) -> Algorithm:
    """Decoupled clip policy optimization, https://arxiv.org/abs/2503.14476.

    Args:
      clip: Lower clip of the ratio, in [0, 1].
      clip_high: Upper clip of the ratio, > 0; None for the same.
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "decoupled clip policy optimization (DAPO)",
        credit.group_credit,
        partial(losses.dapo_loss, clip=clip, clip_high=clip_high),
        **options,
        **_SCALED,
    )


def gspo(
    *, clip: float = 3e-4, clip_high: float | None = 4e-4, **options: Unpack[Options]
) -> Algorithm:
    """Group sequence policy optimization, https://arxiv.org/abs/2507.18071.

    Args:
      clip: Lower clip of the ratio of whole completions, in [0, 1].
      clip_high: Upper clip of it, > 0; None for the same.
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "group sequence policy optimization (GSPO)",
        credit.group_credit,
        partial(losses.gspo_loss, clip=clip, clip_high=clip_high),
        **options,
        **_SCALED,
    )


def cispo(
    *, clip: float = 1.0, clip_high: float | None = 4.0, **options: Unpack[Options]
) -> Algorithm:
    """Clipped importance-sampling weights, https://arxiv.org/abs/2506.13585.

    Args:
      clip: Lower clip of the weight, in [0, 1].
      clip_high: Upper clip of the weight, > 0; None for the same.
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "clipped importance-sampling policy optimization (CISPO)",
        credit.group_credit,
        partial(losses.cispo_loss, clip=clip, clip_high=clip_high),
        **options,
        **_SCALED,
    )


def sapo(
    *,
    gate_temperature: float = 1.0,
    negative_gate_temperature: float = 1.05,
    **options: Unpack[Options],
) -> Algorithm:
    """Soft adaptive policy optimization, https://arxiv.org/abs/2511.20347.

    Args:
      gate_temperature: Temperature of the gate of tokens with a positive advantage,
        > 0.
      negative_gate_temperature: Temperature of the gate of the other tokens, > 0.
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    gates = {
        "temperature": gate_temperature,
        "negative_temperature": negative_gate_temperature,
    }
    return policy_gradient(
        "soft adaptive policy optimization (SAPO)",
        credit.group_credit,
        partial(losses.sapo_loss, **gates),
        **options,
        **_SCALED,
    )


def gmpo(
    *,
    log_clip: float = 0.4,
    log_clip_high: float | None = None,
    **options: Unpack[Options],
) -> Algorithm:
    """Geometric-mean policy optimization, https://arxiv.org/abs/2507.20673.

    Args:
      log_clip: Lower clip of the log-ratio, > 0.
      log_clip_high: Upper clip of the log-ratio, > 0; None for the same.
      **options: Those of `policy_gradient`.

    Returns:
      The algorithm, for `make_iteration`.
    """
    return policy_gradient(
        "geometric-mean policy optimization (GMPO)",
        credit.group_credit,
        partial(losses.gmpo_loss, log_clip=log_clip, log_clip_high=log_clip_high),
        **options,
        **_SCALED,
    )
