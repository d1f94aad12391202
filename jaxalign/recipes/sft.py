"""`jaxalign sft`: supervised fine-tuning on demonstrations."""

import dataclasses

from jaxalign.errors import UserError
from jaxalign.losses import sft_loss
from jaxalign.objectives import bind_token_loss, token_accuracy, token_entropy
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.method import Method
from jaxalign.recipes.policy import Policy
from jaxalign.recipes.training_run import run_training


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Supervised fine-tuning on text, conversations, or prompts with completions."""

    label_smoothing: float = 0.0
    """Share of each target's weight that is spread over the vocabulary."""
    z_loss: float = 0.0
    """Weight of the squared log partition function; PaLM uses 1e-4."""
    entropy: bool = False
    """Log the entropy too, at the cost of a pass over the logits."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        if not 0 <= self.label_smoothing < 1:
            raise UserError(
                f"label_smoothing must be in [0, 1), got {self.label_smoothing}"
            )
        if self.z_loss < 0:
            raise UserError(f"z_loss must be 0 or more, got {self.z_loss}")


def method_of(config: Config) -> Method:
    """What the settings ask for."""

    def objective(policy: Policy):
        return bind_token_loss(
            sft_loss,
            policy.backbone,
            metrics=(token_accuracy, token_entropy),
            chunk_size=config.chunk_size,
            entropy=config.entropy,
            label_smoothing=config.label_smoothing,
            z_loss=config.z_loss,
        )

    return Method(
        name="supervised fine-tuning",
        task="sft",
        main_metric="mean_token_accuracy",
        objective=objective,
    )


def main(config: Config) -> int:
    """Fine-tunes a model; returns the exit code."""
    return run_training(config, method_of(config))
