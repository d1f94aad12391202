"""`jaxalign export`: a run's checkpoint as a Hugging Face folder."""

import dataclasses
from pathlib import Path
from typing import Literal

from jaxalign.errors import UserError
from jaxalign.json_file import read_json
from jaxalign.recipes.flags.paths import Found, Place


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Write the model of a run as a folder that transformers and vLLM load."""

    run: Place
    """The run's folder."""
    output: Place
    """The folder to make; it must be new or empty."""
    step: int | None = None
    """Step of the checkpoint; the newest that verifies by default."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Type of the weights; by default that of the model the run began with."""
    model: Found | None = None
    """Folder of that model now, if it was moved."""
    head: Literal["unembed", "score"] = "unembed"
    """`score` for a run of `jaxalign reward`; scores are written as they were trained,
    without the normalisation that the run's own export has."""


def main(config: Config) -> int:
    """Restores the parameters and writes the folder."""
    from jaxalign.data.text.tokenizer import load_tokenizer
    from jaxalign.models import export_model
    from jaxalign.recipes.inputs.chat_texts import chat_texts, kept_template
    from jaxalign.recipes.reward import pad_token
    from jaxalign.recipes.runs.policy import open_policy
    from jaxalign.training import Checkpoints

    folder = Path(config.run)
    settings = _settings(folder)
    policy = open_policy(
        _model_of(config, settings),
        # As it was trained; `--dtype` is that of the file.
        dtype="float32",
        remat="none",
        attention="blocked",
        # Also for a run under pmap: a checkpoint holds one copy.
        parallel="mesh",
        mesh_sizes={"fsdp": -1},
        head=config.head,
    )
    # The kept text first: the file that the flag named may have changed since.
    given = kept_template(folder) or settings.get("chat_template")
    tokenizer = load_tokenizer(
        policy.folder, chat_template=None if given is None else str(given)
    )
    checkpoints = Checkpoints(folder / "checkpoints")
    # Nothing but the policy is read: moments and a critic are several times as large.
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
        card=card.read_text(encoding="utf-8") if card.is_file() else None,
        # As the run's own export: transformers finds the end of a text by it.
        pad=pad_token(policy, tokenizer) if config.head == "score" else None,
        chat=chat_texts(tokenizer, policy.config.vocab_size, given),
    )
    print(f"step {restored.step} of {folder} is in {config.output}")
    return 0


def _policy_in(leaves: list[str]) -> tuple[str, ...]:
    """Where the policy lies in the state of a run; in RL there may be a critic too.

    >>> _policy_in(["inner/params/policy/a", "inner/params/critic/a", "step"])
    ('inner', 'params', 'policy')
    """
    # The most specific first: each one begins a path in the states of those before.
    places = ("inner", "params", "policy"), ("inner", "params"), ("params",)
    starts = {place: "/".join((*place, "")) for place in places}
    found = (
        x for x, start in starts.items() if any(n.startswith(start) for n in leaves)
    )
    return next(found, ("params",))


def _model_of(config: Config, settings: dict) -> str:
    name = config.model or settings.get("model")
    if name is None:
        raise UserError(
            f"{config.run}/config.json does not say which model the run began with. "
            "Name its folder with --model."
        )
    return name


def _settings(folder: Path) -> dict:
    file = folder / "config.json"
    if not file.exists():
        raise UserError(f"{folder} is not a run folder: it has no config.json.")
    settings = read_json(file)
    for name in ("model", "chat_template"):
        if not isinstance(settings.get(name), str | None):
            raise UserError(
                f"{file}: `{name}` is {settings[name]!r}, no text. Name the model with "
                "--model, or mend the file."
            )
    return settings
