"""Where in a rendered conversation each turn stands.

A template is somebody else's program, so nothing is searched for in its output.
Instead private-use characters go in around the contents (or come out around the
generation blocks), and their places in the output are the answer.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxalign.errors import UserError

BLOCK_BEGIN, BLOCK_END = "\U0010fff0", "\U0010fff1"
"""The characters around the text of a generation block."""

# Private-use plane 16: the even characters open message i, the odd ones close it.
_FIRST_MARK = 0x100000
MAX_MESSAGES = 15_000
_THOUGHTS = ("reasoning_content", "thinking", "reasoning")
MARK = re.compile("[\U00100000-\U0010ffff]")


@dataclasses.dataclass(frozen=True)
class Span:
    """Characters `start` to `end` of a rendered text belong to message `message`."""

    start: int
    end: int
    message: int


@dataclasses.dataclass(frozen=True)
class Rendered:
    """A conversation as text.

    Attributes:
      text: what the tokenizer reads.
      spans: the assistant's turns, in order. Those of generation blocks hold what the
        template's author put there; the others hold the content alone.
      others: where the contents of the other messages stand, as far as known.
    """

    text: str
    spans: tuple[Span, ...]
    others: tuple[Span, ...] = ()


class UnmarkableError(UserError):
    """The template changes the assistant's text so that its place is unknown."""


def with_marks(
    messages: Sequence[Mapping[str, Any]], *, every_role: bool, trimmed: bool
) -> list[dict[str, Any]]:
    """The messages with a mark on both sides of their contents.

    Args:
      messages: made of plain JSON types.
      every_role: else the assistant's contents alone.
      trimmed: leave white space at the ends of a content outside of the marks, for
        templates that trim it.
    """
    marked = []
    for i, message in enumerate(messages):
        message = dict(message)
        if every_role or message.get("role") == "assistant":
            if "content" in message:
                message["content"] = _mark_text(message["content"], i, trimmed)
            for field in _THOUGHTS:
                if isinstance(message.get(field), str):
                    thought = _mark_text(message[field], i + MAX_MESSAGES, trimmed)
                    message[field] = thought
        marked.append(message)
    return marked


def _mark_text(content: Any, i: int, trimmed: bool) -> Any:
    if isinstance(content, list):
        return [
            {**part, "text": _mark_text(part["text"], i, trimmed)}
            if "text" in part
            else part
            for part in content
        ]
    if not content or not content.strip():
        return content
    core = content.strip() if trimmed else content
    head, tail = content.split(core, 1)
    first = _FIRST_MARK + 2 * i
    return f"{head}{chr(first)}{core}{chr(first + 1)}{tail}"


def strip_marks(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without marks, and (place, mark) for each that was in it."""
    pieces, marks, place, last = [], [], 0, 0
    for match in MARK.finditer(marked):
        piece = marked[last : match.start()]
        pieces.append(piece)
        place += len(piece)
        marks.append((place, ord(match.group())))
        last = match.end()
    pieces.append(marked[last:])
    return "".join(pieces), marks


def content_spans(
    marks: Sequence[tuple[int, int]], messages: Sequence[Mapping[str, Any]]
) -> list[Span] | None:
    """Where the contents of `messages` stand, from the places of the marks.

    None if that is not where all of the assistant's text is: the template lost one end
    of a content, wrote down its thoughts, or wrote a tool call without a content.
    """
    places: dict[int, list[int]] = {}
    for place, mark in marks:
        places.setdefault(mark, []).append(place)
    spans = []
    for i, message in enumerate(messages):
        begins = places.get(_FIRST_MARK + 2 * i, [])
        ends = places.get(_FIRST_MARK + 2 * i + 1, [])
        thinks = _FIRST_MARK + 2 * (MAX_MESSAGES + i) in places
        if thinks or len(begins) != len(ends):
            return None
        if begins:
            spans.append(Span(min(begins), max(ends), i))
        elif message.get("role") == "assistant" and message.get("tool_calls"):
            return None
    return spans


def generation_spans(marked: str, messages, name: str) -> Rendered:
    """The rendering without marks, and one span for each assistant turn."""
    text, marks = strip_marks(marked)
    begins = [place for place, mark in marks if mark == ord(BLOCK_BEGIN)]
    ends = [place for place, mark in marks if mark == ord(BLOCK_END)]
    ours = [i for i, m in enumerate(messages) if m.get("role") == "assistant"]
    if not len(begins) == len(ends) == len(ours):
        raise UnmarkableError(
            f"The chat template {name} writes {len(begins)} generation blocks for"
            f" {len(ours)} assistant turns. It must write one for each."
        )
    return Rendered(text, tuple(map(Span, begins, ends, ours)))
