"""`jaxalign online`: preferences between answers that the policy samples."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from jaxalign.errors import UserError
from jaxalign.losses import LossOutput
from jaxalign.objectives import online, online_objective, plain_credit
from jaxalign.ops import fixed_kl_update
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.method import Method
from jaxalign.recipes.rl.models import Models
from jaxalign.recipes.rl.run import run_rl
from jaxalign.recipes.rl.sampling import Rival
from jaxalign.recipes.rl.settle import Rules
from jaxalign.rollout import geometric_mixture


def _reference(config: "Config", models: Models) -> Rival:
    """The frozen reference writes the second answer."""
    del config
    return Rival(models.decoder, lambda policy, reference: reference)


def _mixture(config: "Config", models: Models) -> Rival:
    """The geometric mixture of policy and reference writes it."""
    weight = config.mixture_coef
    both = geometric_mixture(
        models.decoder,
        models.decoder,
        weight=MIXTURE_COEF if weight is None else weight,
    )
    return Rival(both, lambda policy, reference: (policy, reference))


class Algorithm(NamedTuple):
    """One method.

    Attributes:
      title: As the model card says it.
      loss: Answers with scores to a loss; its keywords are settings.
      reference: Whether it measures the distance to the first policy.
      rival: Who writes the second of two answers, if not the policy.
      settings: Of the settings that not all methods have, those that it has.
      two: Whether it compares two answers and no more.
    """

    title: str
    loss: Callable[..., LossOutput]
    reference: bool
    rival: Callable[["Config", Models], Rival] | None = None
    settings: tuple[str, ...] = ("beta",)
    two: bool = False


MIXTURE_COEF = 0.5
ALGORITHMS: Mapping[str, Algorithm] = {
    "online_dpo": Algorithm("online DPO", online.online_dpo, True),
    "iterative_dpo": Algorithm("iterative DPO", online.iterative_dpo, False),
    "xpo": Algorithm(
        "exploratory preference optimization (XPO)",
        online.xpo,
        True,
        _reference,
        ("beta", "alpha"),
        two=True,
    ),
    "nash_md": Algorithm(
        "Nash mirror descent (Nash-MD)",
        online.nash_md,
        True,
        _mixture,
        ("beta", "mixture_coef"),
        two=True,
    ),
    "rebel": Algorithm(
        "regression to relative rewards (REBEL)",
        online.rebel,
        False,
        settings=("eta",),
        two=True,
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RLConfig):
    """Preferences between sampled answers: the higher reward wins, ties are out."""

    method: Literal["online_dpo", "iterative_dpo", "xpo", "nash_md", "rebel"] = (
        "online_dpo"
    )
    """Who answers, and the loss."""
    num_generations: int = 2
    """Answers to each prompt; of more than two the best and the worst are compared."""
    num_iterations: int = 1
    """Passes over the answers before new ones are sampled."""
    beta: float | None = None
    """Strength of the pull towards the reference; 0.1 by default."""
    alpha: float | None = None
    """XPO: weight of the bonus for what the reference finds unlikely; 1e-5."""
    mixture_coef: float | None = None
    """Nash-MD: the reference's share of the mixture that writes the rivals; 0.5."""
    eta: float | None = None
    """REBEL: step size of the implied mirror descent; 1."""
    kl_coef: float = 0.0
    """Not used here: the pull towards the reference is in the loss."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        algorithm = ALGORITHMS[self.method]
        least = "exactly 2" if algorithm.two else "2 or more"
        if self.num_generations < 2 or (algorithm.two and self.num_generations > 2):
            raise UserError(
                f"{self.method} compares answers: num_generations must be {least}, got "
                f"{self.num_generations}"
            )
        if self.num_iterations < 1:
            raise UserError(
                f"num_iterations must be 1 or more, got {self.num_iterations}"
            )
        for name in ("beta", "alpha", "mixture_coef", "eta"):
            value = getattr(self, name)
            if value is not None and name not in algorithm.settings:
                raise UserError(
                    f"{self.method} has no {name}; it has "
                    f"{', '.join(algorithm.settings)}"
                )
        for name in ("beta", "eta"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name} must be positive, got {value}")
        if self.alpha is not None and self.alpha < 0:
            raise UserError(f"alpha must be 0 or more, got {self.alpha}")
        if self.mixture_coef is not None and not 0 <= self.mixture_coef <= 1:
            raise UserError(f"mixture_coef must be in [0, 1], got {self.mixture_coef}")
        for name in ("kl_coef", "mix_data", "importance_cap"):
            if getattr(self, name):
                raise UserError(
                    f"{name} is {getattr(self, name)}, and preference losses have no "
                    "such term; leave it out"
                )


def method_of(config: Config) -> Method:
    """What the settings ask for."""
    algorithm = ALGORITHMS[config.method]
    keywords = inspect.signature(algorithm.loss).parameters
    given = {name: getattr(config, name) for name in algorithm.settings}
    values: dict[str, Any] = {
        k: v for k, v in given.items() if v is not None and k in keywords
    }
    rival = algorithm.rival

    def objective(models: Models):
        return online_objective(
            algorithm.loss,
            models.policy.backbone,
            temperature=config.temperature,
            chunk_size=config.chunk_size,
            longest=config.max_new_tokens,
            **values,
        )

    return Method(
        name=algorithm.title,
        rules=Rules(
            assign=plain_credit,
            kl_in_reward=False,
            update_kl=fixed_kl_update,
            around="group",
        ),
        objective=objective,
        passes=config.num_iterations,
        kl=algorithm.reference,
        rival=None if rival is None else lambda models: rival(config, models),
        together=True,
    )


def main(config: Config) -> int:
    """Trains a policy; returns the exit code."""
    return run_rl(config, method_of(config))
