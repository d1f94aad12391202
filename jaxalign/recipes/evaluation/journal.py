"""The completions of an evaluation, one line each, to look at."""

from pathlib import Path
from typing import Any, TypeAlias

from jaxalign.rewards import Completion
from jaxalign.training.folder.own_files import write_json_lines

Line: TypeAlias = dict[str, Any]


def describe(completion: Completion) -> Line:
    """What is known of a completion before it is scored."""
    return {
        "row": completion.index,
        "prompt": completion.prompt,
        "completion": completion.completion,
        "length": len(completion.ids),
        "stopped": completion.stopped,
    }


def keep(lines: list[Line], folder: Path) -> None:
    """Writes `completions.jsonl`."""
    write_json_lines(folder / "completions.jsonl", lines)
