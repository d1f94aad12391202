"""Renderings of a conversation, and what of it reaches the text."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxalign.data.text.marking import (
    Depth,
    Mark,
    Marked,
    Unit,
    with_marks,
    without_marks,
)
from jaxalign.data.text.sandbox import Refused
from jaxalign.errors import UserError

Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]]


class Ask(NamedTuple):
    """A rendering that is asked for.

    Attributes:
      messages: in order.
      tools: described, or None.
      header: behind them stands the header of an assistant's turn.
    """

    messages: Messages
    tools: Tools | None
    header: bool = False


Render = Callable[[Sequence[Ask]], list[str | Refused]]
"""Renders several conversations by one template, in one go."""


class UnmarkableError(UserError):
    """The template writes the assistant's text so that its place is unknown."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """A rendering and the marks in it.

    Attributes:
      text: without marks.
      marks: in order.
      marked: the conversation that was rendered.
    """

    text: str
    marks: list[Mark]
    marked: Marked

    def message(self, mark: Mark) -> int:
        """Which message the mark is from; -1 for a tool."""
        return self.marked.units[mark.unit].message

    @functools.cached_property
    def extents(self) -> dict[int, tuple[int, int]]:
        """Of each message of the assistant, the numbers of its first mark and its last.

        Where a unit comes again it is no longer the message: templates write the name
        of a call once more before its result.

        Raises:
          UnmarkableError: marks of another message stand between.
        """
        found: dict[int, tuple[int, int]] = {}
        seen: collections.Counter[tuple[int, bool]] = collections.Counter()
        for k, mark in enumerate(self.marks):
            i = self.message(mark)
            if i < 0 or self.marked.messages[i].get("role") != "assistant":
                continue
            seen[mark.unit, mark.closes] += 1
            if seen[mark.unit, mark.closes] > self.marked.pieces[mark.unit]:
                continue
            first, last = found.get(i, (k, k))
            if any(self.message(x) != i for x in self.marks[last:k]):
                raise UnmarkableError("it writes texts of other messages between")
            found[i] = (first, k)
        return found

    @functools.cached_property
    def numbers(self) -> dict[tuple[int, bool], list[int]]:
        """The numbers of the marks at a unit's beginnings, or at its ends."""
        found: dict[tuple[int, bool], list[int]] = {}
        for k, mark in enumerate(self.marks):
            found.setdefault((mark.unit, mark.closes), []).append(k)
        return found

    @property
    def seen(self) -> set[Unit]:
        """The units of which something is in the text."""
        return {self.marked.units[mark.unit] for mark in self.marks}

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """Where the texts of the units stand."""
        opened: dict[int, int] = {}
        pieces = []
        for mark in self.marks:
            if not mark.closes:
                opened[mark.unit] = mark.place
            elif mark.unit in opened:
                pieces.append((opened.pop(mark.unit), mark.place))
        return pieces


def read_marked(
    render: Render,
    ask: Ask,
    text: str,
    depths: Sequence[Depth],
    first: tuple[Marked, str | Refused],
) -> Reading | None:
    """The rendering with marks that is, without them, the plain one.

    Args:
      render: the template.
      ask: what is rendered.
      text: its plain rendering.
      depths: what to mark, the best first.
      first: the conversation with marks of the first depth, and its rendering.

    Returns:
      The reading of the first depth that leaves the text as it is, or None.
    """
    marked, said = first
    # One turn more than depths: the last rendering is still to be compared.
    for depth in [*depths[1:], None]:
        if isinstance(said, str):
            found, marks = without_marks(said)
            if found == text and all(m.unit < len(marked.units) for m in marks):
                return Reading(text, marks, marked)
        if depth is not None:
            marked = with_marks(ask.messages, ask.tools, depth)
            (said,) = render([Ask(marked.messages, marked.tools, ask.header)])
    return None
