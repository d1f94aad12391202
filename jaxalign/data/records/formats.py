"""Which layout a file has: found from its columns, never guessed."""

import dataclasses
import difflib
from collections.abc import Collection, Mapping
from typing import Any

from jaxalign.data.records.cells import CONTENTS, unwrapped
from jaxalign.data.records.checks import Flaw
from jaxalign.data.records.layouts import LAYOUTS, NAMES, RowLayout, Task
from jaxalign.errors import UserError


@dataclasses.dataclass(frozen=True)
class Format:
    """How rows of one file become records.

    Attributes:
      name: the layout, as `--format` takes it.
      shape: the standard layout behind it; equal to `name` where none is converted.
      conversational: whether text becomes messages for a chat template.
      implicit: whether the prompt is what both sides share.
      columns: new names of columns, as `--columns new=old` gives them.
    """

    name: str
    shape: str
    conversational: bool = False
    implicit: bool = False
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self):
        """As it is printed: `preference (hh), implicit prompt, conversational`."""
        name = self.shape if self.name == self.shape else f"{self.shape} ({self.name})"
        text = "conversational" if self.conversational else "plain"
        kind = "tokens" if self.shape.startswith("tokenised") else text
        return ", ".join([name, *["implicit prompt"] * self.implicit, kind])


# Questions and instructions are no text to go on from: they are asked of a chat model.
_ASKED = (
    "alpaca",
    "dolly",
    "question_answer",
    "sharegpt",
    "hh",
    "ultrafeedback",
    "oasst",
)


def detect(
    columns: Collection[str],
    row: Mapping[str, Any],
    task: Task | None = None,
    *,
    rename: Mapping[str, str] | None = None,
    name: str | None = None,
    conversational: bool | None = None,
) -> Format:
    """The format of a file.

    Args:
      columns: names of all columns.
      row: one row of the file.
      task: what it is wanted for; None admits every task.
      rename: new name -> name in the file.
      name: one of `NAMES`, where the user has set it.
      conversational: False keeps text free of chat templates, True turns it into
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
    row = _unwrapped(renamed(row, rename))
    present = _present(columns, rename)
    found = [x for x in LAYOUTS if x.columns <= present and x.fits(row)]
    # A name that the user gives needs the columns only: `fits` is for guessing.
    if name is not None:
        found = [x for x in LAYOUTS if x.name == name and x.columns <= present]
    found = [x for x in found if x.serves(task)]
    # The more specific layout stays: more columns, or a look into the row.
    found = [x for x in found if not any(y.beats(x) for y in found)]
    if len(found) != 1:
        raise _undecided(found, present, task, name)
    layout = found[0]
    return Format(
        name=layout.name,
        shape=layout.shape,
        conversational=_conversational(layout, row, present, conversational),
        # Sides that hold the prompt; the converter of plain `hh` splits them itself.
        implicit=layout.shape == "preference"
        and (
            layout.name == "ultrafeedback"
            or not present & {"prompt", "instruction", "conversations"}
        )
        and not (layout.name == "hh" and conversational is False),
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
    # A column whose name is taken gives way to the one renamed to it.
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


def _unwrapped(row: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return unwrapped(row, CONTENTS)
    except Flaw:
        return row  # said with its place when the row is read


def _conversational(
    layout: RowLayout, row: Mapping[str, Any], present: set[str], wanted: bool | None
) -> bool:
    if layout.shape.startswith("tokenised") or layout.shape == "text":
        return False
    content = (row.get(k) for k in ("messages", "prompt", "completion", "chosen"))
    spoken = any(isinstance(v, list | tuple | Mapping) for v in content)
    if layout.shape == "rankings" and isinstance(row.get("completions"), list):
        spoken |= any(isinstance(v, list | Mapping) for v in row["completions"])
    # Only a chat template can show a system text.
    spoken |= layout.shape == "messages" or bool(present & {"system", "system_prompt"})
    if wanted is False and spoken:
        raise UserError(
            "--conversational no: the rows hold messages, which only a chat template "
            "can join. Leave it out, or give text columns."
        )
    return spoken or layout.name in _ASKED if wanted is None else wanted


def _undecided(
    found: list[RowLayout], present: set[str], task: Task | None, name: str | None
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
    wanted = [x for x in LAYOUTS if x.serves(task) and name in (None, x.name)]
    options = "; ".join(f"{x.name}: {', '.join(sorted(x.columns))}" for x in wanted)
    what = f"{name or 'known'} format" + (f" for {task}" if task else "")
    return UserError(
        f"the data fits no {what}. {has} Wanted are the columns of one of these: "
        f"{options or 'none'}. Rename with --columns prompt=NAME."
    )
