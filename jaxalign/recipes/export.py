"""`jaxalign export`: a run's checkpoint as a Hugging Face folder."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

from jaxalign.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Write the model of a run as a folder that transformers and vLLM load."""

    run: str
    """The run's folder."""
    output: str
    """The folder to make; it must be new or empty."""
    step: int | None = None
    """Which checkpoint; the newest that verifies by default."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Type of the weights; by default that of the model the run began with."""
    model: str | None = None
    """Where that model is now, if it was moved."""
    head: Literal["unembed", "score"] = "unembed"
    """`score` for a run of `jaxalign reward`; scores are written as they were trained,
    without the normalisation that the run's own export has."""


def main(config: Config) -> int:
    """Restores the parameters and writes the folder."""
    import jax

    from jaxalign.models import export_model
    from jaxalign.recipes.loss_flags import memory_of
    from jaxalign.recipes.policy import open_policy
    from jaxalign.training import Checkpoints, OptimizerConfig, make_optimizer

    folder = Path(config.run)
    settings = _settings(folder)
    policy = open_policy(
        config.model or settings["model"],
        dtype="float32",
        remat="none",
        attention="blocked",
        parallel="mesh",
        mesh_sizes={"fsdp": -1},
        head=config.head,
    )
    optimizer, _ = make_optimizer(OptimizerConfig(**settings["optimizer"]), 1)
    memory = memory_of(settings.get("loss"))
    target = policy.shapes(optimizer, jax.random.key(0), memory)
    restored = Checkpoints(folder / "checkpoints").restore(target, step=config.step)
    if restored is None:
        raise UserError(
            f"{folder} has no checkpoint that verifies; a run writes one at its start "
            "and then every --save-steps updates."
        )
    card = folder / "README.md"
    export_model(
        config.output,
        policy.config,
        restored.state.params,
        source=policy.folder,
        dtype=config.dtype,
        card=card.read_text(encoding="utf-8") if card.exists() else None,
    )
    print(f"step {restored.step} of {folder} is in {config.output}")
    return 0


def _settings(folder: Path) -> dict:
    file = folder / "config.json"
    if not file.exists():
        raise UserError(f"{folder} is not a run folder: it has no config.json.")
    return json.loads(file.read_text(encoding="utf-8"))
