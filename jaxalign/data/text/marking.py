"""Marks around what a conversation says, to find it again in the rendered text.

A template is somebody else's program, so nothing that a row says is searched for in its
output. Private-use characters go in around the texts of a conversation, and their
places in the output are the answer.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from jaxalign.data.text.dialect import THOUGHTS
from jaxalign.errors import UserError

BLOCK = ("\U0010fff0", "\U0010fff1")
"""The characters that the renderer puts around the text of a generation block."""
# Each takes two of the plane's 65,536 characters, and blocks take two at its end.
MAX_UNITS = 32_000

# Private-use plane 16: of unit u the even character 2 u opens, the odd one closes. A
# template that writes JSON in ASCII turns each into two escapes, one that prints a list
# or an object as Python does, into one.
_FIRST = 0x100000
_MARK = re.compile(
    "[\U00100000-\U0010ffff]"
    r"|\\udb[c-f][0-9a-f]\\ud[c-f][0-9a-f]{2}|\\U0010[0-9a-f]{4}"
)
# Templates cut an assistant's text at these tags, so the pieces between them are marked
# one by one.
TAGS = re.compile(
    r"(<\|?/?(?:think|thinking|thought|reasoning)\|?>|\[/?THINK\])", re.IGNORECASE
)
"""Tags around thoughts; a split gives every second piece to a tag."""

Depth = Literal["descriptions", "all", "values", "contents", "assistant"]
"""What is marked: everything; all but the descriptions of tools; no names and nothing
of tools; contents and thoughts; those of the assistant."""


class Unit(NamedTuple):
    """Something that the conversation says.

    Attributes:
      kind: what it is; a `call` is the name of the tool that is called.
      message: the number of its message; of a tool, -1.
      part: the number of the call in its message, or of the tool.
    """

    kind: Literal["content", "thought", "call", "arguments", "tool"]
    message: int
    part: int = 0


class Marked(NamedTuple):
    """A conversation with marks.

    Attributes:
      messages: with marks around their texts.
      tools: with marks around their names, or None.
      units: what was marked, by number.
      pieces: in how many pieces, by number.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    units: list[Unit]
    pieces: list[int]


class Mark(NamedTuple):
    """One mark in a rendered text.

    Attributes:
      place: characters before it.
      unit: the number of its unit.
      closes: it stands behind its unit, not before.
    """

    place: int
    unit: int
    closes: bool


def with_marks(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None,
    depth: Depth,
) -> Marked:
    """The conversation with a mark on both sides of each of its texts.

    White space at the ends of a text stays outside: many templates trim it.

    Raises:
      UserError: there are more texts than marks.
    """
    marking = _Marking(depth)
    marked = [marking.message(m, i) for i, m in enumerate(messages)]
    named = None if tools is None else [marking.tool(x, k) for k, x in enumerate(tools)]
    if len(marking.units) > MAX_UNITS:
        raise UserError(
            f"A conversation has {len(messages)} messages with {len(marking.units)}"
            f" texts in all (limit {MAX_UNITS}). Divide the row."
        )
    return Marked(marked, named, marking.units, marking.pieces)


class _Marking:
    """Counts units while it marks them."""

    def __init__(self, depth: Depth):
        self.depth = depth
        self.units: list[Unit] = []
        self.pieces: list[int] = []

    def message(self, message: Mapping[str, Any], i: int) -> dict[str, Any]:
        out, own = dict(message), message.get("role") == "assistant"
        if not own and self.depth == "assistant":
            return out
        for name in THOUGHTS:
            if isinstance(out.get(name), str):
                out[name] = self.around(out[name], Unit("thought", i))
        content, unit = out.get("content"), Unit("content", i)
        if isinstance(content, str):
            out["content"] = self.around(content, unit, own)
        elif isinstance(content, list):
            out["content"] = [self.part(x, unit, own) for x in content]
        calls = out.get("tool_calls")
        if isinstance(calls, list) and self.depth not in ("contents", "assistant"):
            out["tool_calls"] = [self.call(x, i, j) for j, x in enumerate(calls)]
        return out

    def part(self, value: Any, unit: Unit, own: bool) -> Any:
        if isinstance(value, Mapping) and isinstance(value.get("text"), str):
            return {**value, "text": self.around(value["text"], unit, own)}
        return value

    def call(self, call: Any, i: int, j: int) -> Any:
        if not isinstance(call, Mapping):
            return call
        if isinstance(call.get("function"), Mapping):
            return {**call, "function": self.call(call["function"], i, j)}
        out = dict(call)
        if isinstance(out.get("name"), str) and self.depth != "values":
            out["name"] = self.around(out["name"], Unit("call", i, j))
        if "arguments" in out:
            out["arguments"] = self.around(out["arguments"], Unit("arguments", i, j))
        return out

    def tool(self, tool: Mapping[str, Any], k: int) -> dict[str, Any]:
        if self.depth == "descriptions":
            return self.around(tool, Unit("tool", -1, k))
        if isinstance(tool.get("function"), Mapping):
            return {**tool, "function": self.tool(tool["function"], k)}
        if isinstance(tool.get("name"), str) and self.depth == "all":
            return {**tool, "name": self.around(tool["name"], Unit("tool", -1, k))}
        return dict(tool)

    def around(self, value: Any, unit: Unit, cut: bool = False) -> Any:
        """The value with marks around all of its strings; keys stay as they are."""
        if isinstance(value, Mapping):
            return {k: self.around(v, unit, cut) for k, v in value.items()}
        if isinstance(value, list):
            return [self.around(v, unit, cut) for v in value]
        if not isinstance(value, str):
            return value
        # All strings of one object are one unit and share its marks.
        if unit not in self.units[-1:]:
            self.units.append(unit)
            self.pieces.append(0)
        number = min(len(self.units) - 1, MAX_UNITS)  # more of them are refused later
        pieces = TAGS.split(value) if cut else [value]
        self.pieces[-1] += sum(bool(piece.strip()) for piece in pieces[::2])
        return "".join(
            _around(piece, number) if i % 2 == 0 else piece
            for i, piece in enumerate(pieces)
        )


def one_word(message: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A message of the same role that says one word, with the marks of that number."""
    text = _around("x", number)
    if isinstance(message.get("content"), list):
        return {"role": message["role"], "content": [{"type": "text", "text": text}]}
    return {"role": message["role"], "content": text}


def _around(text: str, number: int) -> str:
    core = text.strip()
    if not core:
        return text
    head, tail = text.split(core, 1)
    first = _FIRST + 2 * number
    return f"{head}{chr(first)}{core}{chr(first + 1)}{tail}"


def without_marks(rendered: str) -> tuple[str, list[Mark]]:
    """The text without the marks of its units and blocks, and those of its units."""
    pieces, marks, place, last = [], [], 0, 0
    for match in _MARK.finditer(rendered):
        pieces.append(rendered[last : match.start()])
        place += match.start() - last
        last = match.end()
        if match.group() not in BLOCK:
            number = _code_point(match.group()) - _FIRST
            marks.append(Mark(place, number // 2, bool(number % 2)))
    pieces.append(rendered[last:])
    return "".join(pieces), marks


def without_blocks(rendered: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without the marks of generation blocks, and where the blocks stand."""
    pieces, blocks, place = [], [], 0
    for piece in re.split(f"([{''.join(BLOCK)}])", rendered):
        if piece == BLOCK[0]:
            blocks.append((place, place))
        elif piece == BLOCK[1]:
            blocks[-1] = (blocks[-1][0], place)
        else:
            pieces.append(piece)
            place += len(piece)
    return "".join(pieces), blocks


def _code_point(found: str) -> int:
    """Of a character, or of the escapes that stand for it."""
    if len(found) == 1:
        return ord(found)
    if found.startswith("\\U"):
        return int(found[2:], 16)
    high, low = int(found[2:6], 16), int(found[8:12], 16)
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
