"""`jaxalign export`: a run's checkpoint as a Hugging Face folder."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

from jaxalign.errors import UserError
from jaxalign.recipes.paths import Found, Place


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Write the model of a run as a folder that transformers and vLLM load."""

    run: Place
    """The run's folder."""
    output: Place
    """The folder to make; it must be new or empty."""
    step: int | None = None
    """Which checkpoint; the newest that verifies by default."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Type of the weights; by default that of the model the run began with."""
    model: Found | None = None
    """Where that model is now, if it was moved."""
    head: Literal["unembed", "score"] = "unembed"
    """`score` for a run of `jaxalign reward`; scores are written as they were trained,
    without the normalisation that the run's own export has."""


def main(config: Config) -> int:
    """Restores the parameters and writes the folder."""
    from jaxalign.models import export_model
    from jaxalign.recipes.policy import open_policy
    from jaxalign.training import Checkpoints

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
    checkpoints = Checkpoints(folder / "checkpoints")
    inside = _policy_in(checkpoints.leaves(config.step))
    target = policy.param_shapes()
    restored = checkpoints.restore(target, step=config.step, inside=inside)
    if restored is None:
        raise UserError(
            f"{folder} has no checkpoint that verifies; a run writes one at its start "
            "and then every --save-steps updates."
        )
    card = folder / "README.md"
    export_model(
        config.output,
        policy.config,
        restored.state,
        source=policy.folder,
        dtype=config.dtype,
        card=card.read_text(encoding="utf-8") if card.exists() else None,
    )
    print(f"step {restored.step} of {folder} is in {config.output}")
    return 0


def _policy_in(leaves: list[str]) -> tuple[str, ...]:
    """Where the policy lies in the state of a run; in RL there may be a critic too.

    >>> _policy_in(["inner/params/policy/a", "inner/params/critic/a", "step"])
    ('inner', 'params', 'policy')
    """
    places = ("inner", "params", "policy"), ("inner", "params"), ("params",)
    starts = {place: "/".join((*place, "")) for place in places}
    found = (
        x for x, start in starts.items() if any(n.startswith(start) for n in leaves)
    )
    return next(found, ("params",))


def _settings(folder: Path) -> dict:
    file = folder / "config.json"
    if not file.exists():
        raise UserError(f"{folder} is not a run folder: it has no config.json.")
    return json.loads(file.read_text(encoding="utf-8"))
