"""`jaxalign grpo`: policy gradients from several answers to each prompt, no critic."""

import dataclasses
import inspect
from typing import Any, Literal

from jaxalign.errors import UserError
from jaxalign.objectives import bind, group_credit, regularised
from jaxalign.ops import fixed_kl_update, kl_k2, kl_k3, kl_k3_k2
from jaxalign.recipes.rl.algorithms import ALGORITHMS, Algorithm
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.method import Method
from jaxalign.recipes.rl.models import Models
from jaxalign.recipes.rl.run import run_rl
from jaxalign.recipes.rl.settle import (
    LARGEST,
    LARGEST_SCALED,
    Rules,
    truncated_weights,
)
from jaxalign.rewards import informative_groups

ESTIMATORS = {"k2": kl_k2, "k3": kl_k3, "k3_k2": kl_k3_k2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RLConfig):
    """Group-relative and other critic-free policy gradients on sampled answers."""

    algorithm: Literal[
        "grpo",
        "dr_grpo",
        "dapo",
        "gspo",
        "cispo",
        "sapo",
        "gmpo",
        "rloo",
        "reinforce",
        "reinforce_baseline",
        "reinforce_pp",
        "reinforce_pp_baseline",
        "remax",
    ] = "grpo"
    """How rewards become advantages, and the loss."""
    num_generations: int = 8
    """Answers to each prompt."""
    num_iterations: int = 1
    """Passes over the answers before new ones are sampled."""
    epsilon: float | None = None
    """Lower clip of the ratio; by default what the algorithm's paper has."""
    epsilon_high: float | None = None
    """Upper clip of the ratio; by default what the algorithm's paper has."""
    kl: Literal["loss", "reward"] | None = None
    """Where the KL term stands; by default where the algorithm's paper has it."""
    kl_estimator: Literal["k2", "k3", "k3_k2"] = "k3"
    """What stands in the loss; the reward always takes the log-ratio."""
    kl_coef: float = 0.0
    """Strength of the pull towards the first policy; 0 needs no reference."""
    entropy_coef: float = 0.0
    """Weight of the entropy, which is kept up."""
    dynamic_sampling: bool = False
    """Leave out groups whose answers all have one reward, and sample more."""
    max_refills: int = 3
    """How often an iteration may sample again for that."""
    log_entropy: bool = True
    """Log the entropy, at the cost of a pass over the logits."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        algorithm = ALGORITHMS[self.algorithm]
        if algorithm.needs_group and self.num_generations < 2:
            raise UserError(
                f"{self.algorithm} compares the answers to a prompt, and "
                f"num_generations is {self.num_generations}; set it to 2 or more"
            )
        if self.num_iterations < 1:
            raise UserError(
                f"num_iterations must be 1 or more, got {self.num_iterations}"
            )
        for name in ("max_refills", "entropy_coef"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.dynamic_sampling and self.num_generations < 2:
            raise UserError("dynamic_sampling needs num_generations of 2 or more")
        for name in ("epsilon", "epsilon_high"):
            value = getattr(self, name)
            if value is None:
                continue
            if name not in algorithm.clip:
                raise UserError(f"{self.algorithm} clips nothing; leave out {name}")
            if not value > 0:
                raise UserError(f"{name} must be positive, got {value}")


def method_of(config: Config) -> Method:
    """What the settings ask for."""
    algorithm = ALGORITHMS[config.algorithm]
    in_reward = (config.kl or algorithm.kl) == "reward"
    uses_kl = config.kl_coef > 0
    rules = Rules(
        assign=algorithm.assign,
        kl_in_reward=uses_kl and in_reward,
        update_kl=fixed_kl_update,
        weights=truncated_weights(config.importance_cap),
        around=algorithm.around,
        largest=LARGEST_SCALED if algorithm.assign is group_credit else LARGEST,
    )

    def objective(models: Models):
        loss = regularised(
            algorithm.loss,
            kl=None if in_reward or not uses_kl else ESTIMATORS[config.kl_estimator],
            kl_coef=config.kl_coef,
            entropy_coef=config.entropy_coef,
        )
        return bind(
            loss,
            models.policy.backbone,
            sampling_temperature=config.temperature,
            chunk_size=config.chunk_size,
            entropy=config.log_entropy or config.entropy_coef > 0,
            longest=config.max_new_tokens,
            **_hyperparameters(config, algorithm),
        )

    return Method(
        name=algorithm.title,
        rules=rules,
        objective=objective,
        passes=config.num_iterations,
        kl=uses_kl,
        greedy=algorithm.greedy,
        informative=informative_groups if config.dynamic_sampling else None,
        max_refills=config.max_refills,
    )


def main(config: Config) -> int:
    """Trains a policy; returns the exit code."""
    return run_rl(config, method_of(config))


def _hyperparameters(config: Config, algorithm: Algorithm) -> dict[str, Any]:
    """What the loss is called with: the paper's clips unless others are given."""
    given = {"epsilon": config.epsilon, "epsilon_high": config.epsilon_high}
    values: dict[str, Any] = {
        argument: value
        for name, argument in algorithm.clip.items()
        if (value := given[name]) is not None
    }
    if "beta" in inspect.signature(algorithm.loss).parameters:
        values["beta"] = 0.0  # `regularised` has the estimator that was chosen
    if algorithm.fixed_length:
        values["max_length"] = config.max_new_tokens
    return values
