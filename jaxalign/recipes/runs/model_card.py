"""The README.md of an exported model, as the hub reads it too."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxalign.errors import UserError
from jaxalign.json_file import read_json

_HUB_NAME = re.compile(r"[\w.\-]+/[\w.\-]+")
# Behind the name may stand a configuration, a split and a weight.
_DATA_ON_THE_HUB = re.compile(r"(?:^|,)\s*hf:([\w.\-]+/[\w.\-]+)")
_CACHED_NAME = re.compile(r"models--([\w.\-]+?)--([\w.\-]+)")
# A licence that the hub has no word for is `other`, and name and link say which.
_OF_THE_LICENCE = ("license", "license_name", "license_link", "language")
# An address is kept whole; of a path of this machine only the last part is.
_ADDRESS_OR_PATH = re.compile(
    r"\w+://\S+|(?<![\w./\\~])(?:~|[A-Za-z]:)?[/\\](?:[^/\\:,;=()'\"\n]+[/\\])*"
)


def model_card(
    method: str,
    config: Mapping[str, Any],
    results: Mapping[str, float],
    versions: Mapping[str, Any],
    *,
    scores: bool = False,
    source: str | Path | None = None,
) -> str:
    """Where a model comes from, as text for people, under what the hub reads.

    No path of the machine that it was made on is in it, only names of files.

    Args:
      method: What was done, such as `Direct Preference Optimization`.
      config: Every setting of the run.
      results: The last evaluation.
      versions: Of the library and what it stands on.
      scores: Whether it is a reward model.
      source: Where the base model lies, if the settings name it on the hub.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        base_model=base_name(config["model"]),
        library_name="transformers",
        pipeline_tag="text-classification" if scores else "text-generation",
        tags=["jaxalign", *(["reward-model"] if scores else [])],
        datasets=_dataset_names(str(config["data"])),
        # An odd licence of the base model must not end a run at its export.
        ignore_metadata_errors=True,
        **licence_of(source or config["model"]),
    )
    said = without_paths(dict(config))
    lines = [
        f"---\n{data.to_yaml()}\n---",
        "",
        "# Model card",
        "",
        f"- Method: {method}, by jaxalign {versions['jaxalign']}",
        f"- Base model: `{data.base_model or said['model']}`; its licence applies to "
        "this model too",
        f"- Data: `{said['data']}`; its licence and terms apply as well",
        *_stop_texts(config),
        *_template_arguments(said),
        "",
        "## Results on held-out rows",
        "",
    ]
    if results:
        lines += ["| metric | value |", "| --- | ---: |"]
        lines += [f"| {k} | {v:.6g} |" for k, v in sorted(results.items())]
    else:
        lines.append("None were held out.")
    settings = json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False)
    packages = ", ".join(f"{k} {v}" for k, v in versions["packages"].items() if v)
    lines += ["", "## Settings", "", "```json", settings, "```", ""]
    return "\n".join([*lines, f"Python {versions['python']}; {packages}.", ""])


def base_name(model: str) -> str | None:
    """The name on the hub of the model that training began with, if it has one.

    Args:
      model: A folder, or a name on the hub. A folder's `config.json` may say where it
        came from.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return model if _HUB_NAME.fullmatch(model) else None
    # The hub's cache has a model's name in the name of its folder.
    cached = _CACHED_NAME.search(str(folder.resolve()))
    if cached:
        return "/".join(cached.groups())
    try:
        said = read_json(folder / "config.json").get("_name_or_path")
    except UserError:
        return None
    # transformers writes there what a model was loaded from, which may be a path.
    return said if isinstance(said, str) and _HUB_NAME.fullmatch(said) else None


def licence_of(model: str | Path) -> dict[str, Any]:
    """What the card of the base model says of its licence and languages, if there."""
    from huggingface_hub import ModelCard

    file = Path(model).expanduser() / "README.md"
    if not file.is_file():
        return {}
    try:
        said = ModelCard.load(file, ignore_metadata_errors=True).data.to_dict()
    except Exception:  # whatever somebody wrote above a README
        return {}
    return {key: said[key] for key in _OF_THE_LICENCE if said.get(key)}


def _dataset_names(data: str) -> list[str] | None:
    """The names on the hub of the rows, where they are not files."""
    if named := _DATA_ON_THE_HUB.findall(data):
        return named
    # A file may be called like a data set of the hub.
    file = bool(re.search(r"\.\w{1,6}$", data)) or Path(data).expanduser().exists()
    return [data] if _HUB_NAME.fullmatch(data) and not file else None


def _stop_texts(config: Mapping[str, Any]) -> list[str]:
    texts = ", ".join(json.dumps(x, ensure_ascii=False) for x in config.get("stop", ()))
    return [f"- Completions ended at {texts}: let a server stop there"] * bool(texts)


def _template_arguments(said: Mapping[str, Any]) -> list[str]:
    given = said.get("chat_template_kwargs")
    line = "- Chats were rendered with the template's arguments `{}`: serve it so, too"
    return [line.format(given)] * bool(given)


def without_paths(value: Any) -> Any:
    """The same settings with names of files in place of paths of this machine.

    >>> without_paths({"data": "/home/me/a.jsonl:0.7", "reward": ("~/b/c.py:f(x=2)",)})
    {'data': 'a.jsonl:0.7', 'reward': ['c.py:f(x=2)']}
    >>> without_paths("gs://bucket/rows, owner/model and ./rows.jsonl")
    'gs://bucket/rows, owner/model and ./rows.jsonl'
    """
    if isinstance(value, str):
        return _ADDRESS_OR_PATH.sub(
            lambda found: found.group() if "://" in found.group() else "", value
        )
    if isinstance(value, Mapping):
        return {key: without_paths(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(x) for x in value]
    return value
