"""Which layout a file has: found from its columns, never guessed."""

import dataclasses
import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeAlias, get_args

from jaxalign.data.records.converters import CONVERTERS
from jaxalign.errors import UserError

Task: TypeAlias = Literal[
    "sft", "preference", "prompt", "unpaired", "scored", "rankings", "stepwise"
]
"""What the rows are wanted for; one file can serve several."""

Dress: TypeAlias = Literal["plain", "conversational", "tokens"]
"""Text as it stands, messages for a chat template, or ids made elsewhere."""


@dataclasses.dataclass(frozen=True)
class Format:
    """How rows of one file become records.

    Attributes:
      name: the layout, as `--format` takes it.
      shape: the standard layout behind it; equal to `name` where none is converted.
      dress: plain, conversational or tokens.
      implicit: whether the prompt is what both sides share.
      columns: new names of columns, as `--columns new=old` gives them.
    """

    name: str
    shape: str
    dress: Dress
    implicit: bool = False
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self):
        """As it is printed: `preference (hh), implicit prompt, conversational`."""
        name = self.shape if self.name == self.shape else f"{self.shape} ({self.name})"
        return ", ".join([name, *["implicit prompt"] * self.implicit, self.dress])


def _any_row(row: Mapping[str, Any]) -> bool:
    return True


def _transcripts(row: Mapping[str, Any]) -> bool:
    sides = row.get("chosen"), row.get("rejected")
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
class _Layout:
    name: str
    shape: str
    task: Task
    columns: frozenset[str]
    fits: Callable[[Mapping[str, Any]], bool] = _any_row

    def serves(self, task: Task | None) -> bool:
        """Whether such rows can be used for it; a pair is also two labelled answers."""
        split = task == "unpaired" and self.shape == "preference"
        return split or task in (None, self.task)

    def beats(self, other: "_Layout") -> bool:
        """Whether this one says more about the row than the other one."""
        surer = self.fits is not _any_row and other.fits is _any_row
        same = self.columns == other.columns
        return self.columns > other.columns or (same and surer)


def _layout(name: str, shape: str, task: Task, columns: str, fits=_any_row) -> _Layout:
    return _Layout(name, shape, task, frozenset(columns.split()), fits)


_LAYOUTS = (
    _layout("text", "text", "sft", "text"),
    _layout("messages", "messages", "sft", "messages"),
    _layout("prompt-completion", "prompt-completion", "sft", "prompt completion"),
    _layout("tokenised", "tokenised", "sft", "input_ids"),
    _layout("sharegpt", "messages", "sft", "conversations"),
    _layout("alpaca", "prompt-completion", "sft", "instruction output"),
    _layout("question_answer", "prompt-completion", "sft", "question answer"),
    _layout("oasst", "messages", "sft", "prompt", _is_tree),
    _layout("preference", "preference", "preference", "prompt chosen rejected"),
    _layout("preference", "preference", "preference", "chosen rejected"),
    _layout(
        "tokenised", "tokenised-pair", "preference",
        "chosen_input_ids rejected_input_ids",
    ),
    _layout("sharegpt", "preference", "preference", "conversations chosen rejected"),
    _layout("alpaca", "preference", "preference", "instruction chosen rejected"),
    _layout("hh", "preference", "preference", "chosen rejected", _transcripts),
    _layout(
        "ultrafeedback", "preference", "preference", "prompt chosen rejected",
        _begins_with_prompt,
    ),
    _layout("prompt-only", "prompt-only", "prompt", "prompt", _is_no_tree),
    _layout("alpaca", "prompt-only", "prompt", "instruction"),
    _layout("question_answer", "prompt-only", "prompt", "question"),
    _layout("unpaired", "unpaired", "unpaired", "prompt completion label"),
    _layout("scored", "scored", "scored", "prompt completion score"),
    _layout("rankings", "rankings", "rankings", "prompt completions ranks"),
    _layout("rankings", "rankings", "rankings", "prompt completions scores"),
    _layout("oasst", "rankings", "rankings", "prompt", _is_tree),
    _layout("stepwise", "stepwise", "stepwise", "prompt completions labels"),
)  # fmt: skip

NAMES = tuple(dict.fromkeys(layout.name for layout in _LAYOUTS))
"""What `--format` accepts."""

# Questions and instructions are no text to go on from: they are asked of a chat model.
_ASKED = ("alpaca", "question_answer", "sharegpt", "hh", "ultrafeedback", "oasst")


def detect(
    columns: Collection[str],
    row: Mapping[str, Any],
    task: Task | None = None,
    *,
    rename: Mapping[str, str] | None = None,
    name: str | None = None,
    dress: Dress | None = None,
) -> Format:
    """The format of a file.

    Args:
      columns: names of all columns.
      row: one row of the file.
      task: what it is wanted for; None admits every task.
      rename: new name -> name in the file.
      name: one of `NAMES`, where the user has set it.
      dress: `plain` keeps text free of chat templates, `conversational` turns it into
        messages; None follows the file (questions and instructions are messages).

    Returns:
      The one format that fits.

    Raises:
      UserError: if none fits, or several do; it lists them.

    >>> row = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
    >>> print(detect(row.keys(), row))
    preference, implicit prompt, plain
    """
    rename = dict(rename or {})
    row = renamed(row, rename)
    present = _present(columns, rename)
    found = [x for x in _LAYOUTS if x.columns <= present and x.fits(row)]
    if name is not None:
        found = [x for x in _LAYOUTS if x.name == name and x.columns <= present]
    found = [x for x in found if x.serves(task)]
    found = [x for x in found if not any(y.beats(x) for y in found)]
    if len(found) != 1:
        raise _undecided(found, present, task, name)
    layout = found[0]
    return Format(
        name=layout.name,
        shape=layout.shape,
        dress=_dress(layout, row, present, dress),
        implicit=layout.shape == "preference"
        and (
            layout.name == "ultrafeedback"
            or not present & {"prompt", "instruction", "conversations"}
        )
        and not (layout.name == "hh" and dress == "plain"),
        columns=rename,
    )


def parse_columns(text: str) -> dict[str, str]:
    """The renaming that `--columns` asks for.

    >>> parse_columns("prompt=question,chosen=good")
    {'prompt': 'question', 'chosen': 'good'}
    """
    pairs = [pair.split("=") for pair in text.split(",") if pair.strip()]
    if not all(len(pair) == 2 and all(map(str.strip, pair)) for pair in pairs):
        raise UserError(
            f"--columns {text!r} is not understood. Write new names first: "
            "--columns prompt=question,chosen=good."
        )
    return {new.strip(): old.strip() for new, old in pairs}


def renamed(row: Mapping[str, Any], rename: Mapping[str, str]) -> dict[str, Any]:
    """The row with its columns under their new names.

    >>> renamed({"question": "2 + 2?", "n": 1}, {"prompt": "question"})
    {'n': 1, 'prompt': '2 + 2?'}
    """
    moved = set(rename.values()) | set(rename)
    kept = {k: v for k, v in row.items() if k not in moved}
    return {**kept, **{new: row[old] for new, old in rename.items() if old in row}}


def _present(columns: Collection[str], rename: Mapping[str, str]) -> set[str]:
    for old in rename.values():
        if old not in columns:
            near = difflib.get_close_matches(old, columns, 1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise UserError(
                f"--columns: the data has no column `{old}`; it has "
                f"{', '.join(sorted(columns))}.{hint}"
            )
    return (set(columns) - set(rename.values())) | set(rename)


def _dress(
    layout: _Layout, row: Mapping[str, Any], present: set[str], wanted: Dress | None
) -> Dress:
    if layout.shape.startswith("tokenised"):
        return "tokens"
    if layout.shape == "text":
        return "plain"
    content = (row.get(k) for k in ("messages", "prompt", "completion", "chosen"))
    spoken = any(isinstance(v, list | tuple | Mapping) for v in content)
    if layout.shape == "rankings" and isinstance(row.get("completions"), list):
        spoken |= any(isinstance(v, list | Mapping) for v in row["completions"])
    spoken |= layout.shape == "messages" or "system" in present
    if wanted == "plain" and spoken:
        raise UserError(
            "--dress plain: the rows hold messages, which only a chat template can "
            "join. Leave it out, or give text columns."
        )
    if wanted is not None:
        return wanted
    return "conversational" if spoken or layout.name in _ASKED else "plain"


def _undecided(
    found: list[_Layout], present: set[str], task: Task | None, name: str | None
) -> UserError:
    has = f"The columns are {', '.join(sorted(present)) or 'none'}."
    if name is not None and name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return UserError(f"--format {name}: known are {', '.join(NAMES)}.{hint}")
    if found:
        names = " or ".join(f"{x.name} (for {x.task})" for x in found)
        return UserError(
            f"the data fits several formats: {names}. {has} Choose with --format, or "
            "rename columns with --columns."
        )
    wanted = [x for x in _LAYOUTS if x.serves(task) and name in (None, x.name)]
    options = "; ".join(f"{x.name}: {', '.join(sorted(x.columns))}" for x in wanted)
    what = f"{name or 'known'} format" + (f" for {task}" if task else "")
    return UserError(
        f"the data fits no {what}. {has} Wanted are the columns of one of these: "
        f"{options or 'none'}. Rename with --columns prompt=NAME."
    )


assert {layout.task for layout in _LAYOUTS} == set(get_args(Task))
assert set(CONVERTERS) <= {(x.name, x.shape) for x in _LAYOUTS}
