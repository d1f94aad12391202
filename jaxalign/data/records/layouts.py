"""The layouts of rows that are known, and the columns that tell them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

from jaxalign.data.records.converters import CONVERTERS

Task: TypeAlias = Literal[
    "sft", "preference", "prompt", "unpaired", "scored", "rankings", "stepwise"
]
"""What the rows are wanted for; one file can serve several."""


def _any_row(row: Mapping[str, Any]) -> bool:
    return True


def _transcripts(row: Mapping[str, Any]) -> bool:
    sides = row.get("chosen"), row.get("rejected")
    # So begin the transcripts of Anthropic's HH; other pairs of text do not.
    return all(isinstance(s, str) and s.startswith("\n\nHuman:") for s in sides)


def _begins_with_prompt(row: Mapping[str, Any]) -> bool:
    sides = row.get("chosen"), row.get("rejected")
    return all(
        isinstance(s, list) and s and isinstance(s[0], Mapping)
        and s[0].get("role") in ("user", "system")
        for s in sides
    )  # fmt: skip


def _is_tree(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("prompt"), Mapping) and "replies" in row["prompt"]


def _is_no_tree(row: Mapping[str, Any]) -> bool:
    return not _is_tree(row)


@dataclasses.dataclass(frozen=True)
class RowLayout:
    """Columns that tell what a file is.

    Attributes:
      name: as `--format` takes it.
      shape: the standard layout that rows are converted to.
      task: what such rows are for.
      columns: those that must be there.
      fits: what a row must look like besides.
    """

    name: str
    shape: str
    task: Task
    columns: frozenset[str]
    fits: Callable[[Mapping[str, Any]], bool] = _any_row

    def serves(self, task: Task | None) -> bool:
        """Whether they can be used for it; a pair is also two labelled completions."""
        split = task == "unpaired" and self.shape == "preference"
        return split or task in (None, self.task)

    def beats(self, other: "RowLayout") -> bool:
        """Whether this one says more about the row than the other one."""
        surer = self.fits is not _any_row and other.fits is _any_row
        same = self.columns == other.columns
        return self.columns > other.columns or (same and surer)


def _layout(
    name: str, shape: str, task: Task, columns: str, fits=_any_row
) -> RowLayout:
    return RowLayout(name, shape, task, frozenset(columns.split()), fits)


LAYOUTS = (
    _layout("text", "text", "sft", "text"),
    _layout("messages", "messages", "sft", "messages"),
    _layout("prompt-completion", "prompt-completion", "sft", "prompt completion"),
    _layout("tokenised", "tokenised", "sft", "input_ids"),
    _layout("tokenised", "tokenised", "sft", "prompt_ids completion_ids"),
    _layout("tokenised", "tokenised", "sft", "prompt_input_ids completion_input_ids"),
    _layout("sharegpt", "messages", "sft", "conversations"),
    _layout("alpaca", "prompt-completion", "sft", "instruction output"),
    _layout("dolly", "prompt-completion", "sft", "instruction context response"),
    _layout("question_answer", "prompt-completion", "sft", "question answer"),
    _layout("oasst", "messages", "sft", "prompt", _is_tree),
    _layout("preference", "preference", "preference", "prompt chosen rejected"),
    _layout("preference", "preference", "preference", "chosen rejected"),
    _layout(
        "tokenised", "tokenised-pair", "preference",
        "chosen_input_ids rejected_input_ids",
    ),
    _layout("tokenised", "tokenised-pair", "preference", "chosen_ids rejected_ids"),
    _layout("sharegpt", "preference", "preference", "conversations chosen rejected"),
    _layout("alpaca", "preference", "preference", "instruction chosen rejected"),
    _layout("hh", "preference", "preference", "chosen rejected", _transcripts),
    _layout(
        "ultrafeedback", "preference", "preference", "prompt chosen rejected",
        _begins_with_prompt,
    ),
    _layout("prompt-only", "prompt-only", "prompt", "prompt", _is_no_tree),
    _layout("alpaca", "prompt-only", "prompt", "instruction"),
    _layout("dolly", "prompt-only", "prompt", "instruction context response"),
    _layout("question_answer", "prompt-only", "prompt", "question"),
    _layout("unpaired", "unpaired", "unpaired", "prompt completion label"),
    _layout("scored", "scored", "scored", "prompt completion score"),
    _layout("rankings", "rankings", "rankings", "prompt completions ranks"),
    _layout("rankings", "rankings", "rankings", "prompt completions scores"),
    _layout("oasst", "rankings", "rankings", "prompt", _is_tree),
    _layout("stepwise", "stepwise", "stepwise", "prompt completions labels"),
)  # fmt: skip

NAMES = tuple(dict.fromkeys(layout.name for layout in LAYOUTS))
"""What `--format` accepts."""

# Each task has a layout, and no converter is out of reach.
assert {layout.task for layout in LAYOUTS} == set(get_args(Task))
assert set(CONVERTERS) <= {(x.name, x.shape) for x in LAYOUTS}
