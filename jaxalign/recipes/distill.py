"""`jaxalign distill`: a model learns what a larger one would say."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

from jaxalign.data.text.tokenizer import load_tokenizer
from jaxalign.errors import UserError
from jaxalign.objectives import distillation_objective
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.method import Method, Plan, Run
from jaxalign.recipes.own_answers import OwnAnswers
from jaxalign.recipes.paths import Found
from jaxalign.recipes.policy import Policy, open_policy
from jaxalign.recipes.training_run import run_training


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Generalised knowledge distillation (GKD) on data and on the student's answers."""

    teacher: Found
    """Folder of the model to learn from, or its name on the hub."""
    beta: float = 0.5
    """0: KL(teacher, student); 1: KL(student, teacher); between: Jensen-Shannon."""
    lmbda: float = 0.5
    """Share of the updates whose answers the student samples."""
    temperature: float = 1.0
    """Of the sampler, and of both distributions."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        for name in ("beta", "lmbda"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not self.temperature > 0:
            raise UserError(f"temperature must be positive, got {self.temperature}")


def method_of(config: Config) -> Method:
    """What the settings ask for."""
    teacher = open_policy(config.teacher, **config.layout)

    def objective(policy: Policy):
        return distillation_objective(
            policy.backbone,
            teacher.backbone,
            beta=config.beta,
            temperature=config.temperature,
            chunk_size=config.chunk_size,
        )

    def prepare(run: Run, params: Any, folder: Path, plan: Plan) -> Plan:
        del params, folder
        return plan._replace(frozen=run.program.spread(teacher.load()))

    return Method(
        name="generalised knowledge distillation (GKD)",
        task="sft",
        main_metric="on_policy",
        objective=objective,
        prepare=prepare,
        check=lambda run: check_teacher(run, teacher, config.teacher),
        folders={"teacher": teacher.folder},
        around=functools.partial(
            OwnAnswers,
            share=config.lmbda,
            temperature=config.temperature,
        ),
    )


def main(config: Config) -> int:
    """Trains the student; returns the exit code."""
    return run_training(config, method_of(config))


def check_teacher(run: Run, teacher: Policy, name: str) -> None:
    """Refuses a teacher whose ids mean other words, or that reads too little."""
    if not load_tokenizer(teacher.folder).same_words(run.tokenizer):
        raise UserError(
            f"--teacher {name}: its tokenizer has another vocabulary than the "
            "student's, so distributions over tokens cannot be compared. Take both "
            "from one family, or fine-tune on answers that the teacher wrote: "
            "`jaxalign generate` and `jaxalign sft`."
        )
    longest = max(len(x.ids) for e in run.rows.train for x in e.sequences)
    if longest > teacher.config.max_positions:
        raise UserError(
            f"--teacher {name}: it reads {teacher.config.max_positions} tokens, and a "
            f"row has {longest}. Lower --max-length."
        )
