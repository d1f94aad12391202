"""Where in a rendered conversation each turn stands.

A template is somebody else's program, so nothing is searched for in its output.
Instead private-use characters go in around the contents (or come out around the
generation blocks), and their places in the output are the answer.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxalign.errors import UserError

BLOCK_BEGIN, BLOCK_END = "\U0010fff0", "\U0010fff1"
"""The characters around the text of a generation block."""

# Private-use plane 16: the even characters open message i, the odd ones close it.
_FIRST_MARK = 0x100000
MAX_MESSAGES = 30_000
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


def with_marks(messages: Sequence[Mapping[str, Any]], roles) -> list:
    """The messages with marks in the contents of those of `roles` (None: all)."""
    marked = []
    for i, message in enumerate(messages):
        if roles is None or message.get("role") in roles:
            message = dict(message)
            for field in ("reasoning_content", "content"):
                if field in message:
                    message[field] = _mark_text(message[field], i)
        marked.append(message)
    return marked


def _mark_text(content, i: int):
    """Marks around what is left when white space is trimmed from both ends."""
    if isinstance(content, list):
        return [
            {**part, "text": _mark_text(part["text"], i)} if "text" in part else part
            for part in content
        ]
    if not content or not content.strip():
        return content
    core = content.strip()
    head, tail = content.split(core, 1) if core != content else ("", "")
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


def content_spans(text, marks, messages) -> Iterator[Span]:
    """Where the contents stand in `text`, from the places of the marks."""
    for i, message in enumerate(messages):
        first = _FIRST_MARK + 2 * i
        places = [place for place, mark in marks if mark in (first, first + 1)]
        if not places:
            continue
        start, end = min(places), max(places)
        content = message.get("content")
        if isinstance(content, str):
            # White space around the content stands outside the marks; where the
            # template kept it, it belongs to the turn.
            head = content[: len(content) - len(content.lstrip())]
            tail = content[len(content.rstrip()) :]
            if head and text.endswith(head, 0, start):
                start -= len(head)
            if tail and text.startswith(tail, end):
                end += len(tail)
        yield Span(start, end, i)


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
