"""The critic-free methods: each is a pair of functions, credit and loss."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from jaxalign import losses, objectives
from jaxalign.recipes.rl.centring import Around

_CLIP = {"epsilon": "clip", "epsilon_high": "clip_high"}


class Algorithm(NamedTuple):
    """One method.

    Attributes:
      title: As the model card says it.
      assign: Rewards to advantages.
      loss: Advantages to a loss.
      kl: Where its paper puts the KL term.
      clip: Our names of the clips it has, and its arguments'.
      needs_group: Whether it compares answers to one prompt.
      greedy: Whether it compares with the greedy answer.
      fixed_length: Whether the loss divides by the longest length there can be.
    """

    title: str
    assign: objectives.Assign
    loss: Callable[..., losses.LossOutput]
    kl: Literal["loss", "reward"]
    clip: Mapping[str, str] = {}
    needs_group: bool = True
    greedy: bool = False
    fixed_length: bool = False

    @property
    def around(self) -> Around:
        """What only the difference of rewards from matters; see `centring`."""
        if self.needs_group:
            return "group"
        if self.greedy:
            return "greedy"
        return "batch" if self.assign is objectives.whitened_to_go_credit else None


ALGORITHMS: Mapping[str, Algorithm] = {
    "grpo": Algorithm(
        "group relative policy optimization (GRPO)",
        objectives.group_credit,
        losses.grpo_loss,
        "loss",
        _CLIP,
    ),
    "dr_grpo": Algorithm(
        "GRPO without length and difficulty bias (Dr. GRPO)",
        objectives.centered_credit,
        losses.dr_grpo_loss,
        "loss",
        _CLIP,
        fixed_length=True,
    ),
    "dapo": Algorithm(
        "decoupled clip policy optimization (DAPO)",
        objectives.group_credit,
        losses.dapo_loss,
        "loss",
        _CLIP,
    ),
    "gspo": Algorithm(
        "group sequence policy optimization (GSPO)",
        objectives.group_credit,
        losses.gspo_loss,
        "loss",
        _CLIP,
    ),
    "cispo": Algorithm(
        "clipped importance-sampling policy optimization (CISPO)",
        objectives.group_credit,
        losses.cispo_loss,
        "loss",
        _CLIP,
    ),
    "sapo": Algorithm(
        "soft adaptive policy optimization (SAPO)",
        objectives.group_credit,
        losses.sapo_loss,
        "loss",
    ),
    "gmpo": Algorithm(
        "geometric-mean policy optimization (GMPO)",
        objectives.group_credit,
        losses.gmpo_loss,
        "loss",
    ),
    "rloo": Algorithm(
        "REINFORCE with a leave-one-out baseline (RLOO)",
        objectives.rloo_credit,
        losses.policy_gradient_loss,
        "reward",
    ),
    "reinforce": Algorithm(
        "REINFORCE",
        objectives.plain_credit,
        losses.policy_gradient_loss,
        "reward",
        needs_group=False,
    ),
    "reinforce_baseline": Algorithm(
        "REINFORCE with a moving baseline",
        objectives.baseline_credit,
        losses.policy_gradient_loss,
        "reward",
        needs_group=False,
    ),
    "reinforce_pp": Algorithm(
        "REINFORCE++",
        objectives.whitened_to_go_credit,
        losses.ppo_policy_loss,
        "reward",
        _CLIP,
        needs_group=False,
    ),
    "reinforce_pp_baseline": Algorithm(
        "REINFORCE++ with a group baseline",
        objectives.group_to_go_credit,
        losses.ppo_policy_loss,
        "loss",
        _CLIP,
    ),
    "remax": Algorithm(
        "REINFORCE with a greedy baseline (ReMax)",
        objectives.remax_credit,
        losses.policy_gradient_loss,
        "reward",
        needs_group=False,
        greedy=True,
    ),
}
