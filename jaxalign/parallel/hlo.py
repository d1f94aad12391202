"""What a compiled program holds and sends, read from the compiler's own text.

Values on virtual devices say nothing of where arrays lie or how they travel; the
compiled text does.
"""

import functools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
_BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
_SHAPE = re.compile(rf"\b({'|'.join(_BYTES)})\[([\d,]*)\]")
_NAME = r"%?([\w.$-]+)"
_HEADER = re.compile(rf"^(ENTRY )?{_NAME} \(.*\) -> .*{{$")
_INSTRUCTION = re.compile(rf"^\s+(?:ROOT )?{_NAME} = (.*)$")
_OPERATION = re.compile(r"([a-z][\w-]*)\(")
_CALLED = re.compile(
    rf"(?:calls|to_apply|condition|body|true_computation|false_computation)={_NAME}"
)
_BRANCHES = re.compile(r"(?:branch|called)_computations={([^}]*)}")
KINDS = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-permute",
    "reduce-scatter",
)


class Array(NamedTuple):
    """The type and shape of an array on one device."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Its size without padding."""
        return _BYTES[self.dtype] * math.prod(self.shape)

    def __str__(self) -> str:
        """As the compiler writes it."""
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


class Collective(NamedTuple):
    """One exchange between devices.

    Attributes:
      kind: One of `KINDS`.
      arrays: What a device has of it: the whole of what is gathered or reduced.
      loops: The loops that it is in, from the outermost: the `op_name`s of each.
      times: How often it is made, the loops counted.
      source: The `op_name`: what in the program asked for it.
    """

    kind: str
    arrays: tuple[Array, ...]
    loops: tuple[str, ...]
    times: int
    source: str

    @property
    def nbytes(self) -> int:
        """Of one exchange."""
        return sum(x.nbytes for x in self.arrays)


class _Line(NamedTuple):
    """An instruction: its operation, its result's arrays and its text."""

    operation: str
    arrays: tuple[Array, ...]
    text: str


class HloProgram:
    """The computations of a compiled program."""

    def __init__(self, text: str):
        """Takes what `compiled.as_text()` gives."""
        self._lines: dict[str, list[_Line]] = {}
        self._entry, current = "", []
        for line in text.splitlines():
            header = _HEADER.match(line)
            if header:
                current = self._lines.setdefault(header[2], [])
                self._entry = header[2] if header[1] else self._entry
                continue
            found = _INSTRUCTION.match(line)
            if found:
                current.append(_read(found[2]))

    @functools.cached_property
    def arrays(self) -> set[Array]:
        """Every array that an instruction makes, on one device."""
        lines = (line for lines in self._lines.values() for line in lines)
        return {x for line in lines for x in line.arrays}

    def arrays_in(self, loop: str) -> set[Array]:
        """Those that are made in loops whose `op_name` contains `loop`."""
        return {
            array
            for _, line, loops, _ in self._walk(self._entry, (), 1)
            for array in line.arrays
            if any(loop in name for name in loops)
        }

    @functools.cached_property
    def collectives(self) -> list[Collective]:
        """Every exchange, once for each loop that it is in."""
        found: dict[tuple, Collective] = {}
        for number, step in enumerate(self._walk(self._entry, (), 1)):
            where, line, loops, times = step
            kind = _kind(where, line.operation)
            if kind is None:
                continue
            new = Collective(kind, _received(line), loops, times, _source(line.text))
            # A compiler may cut one exchange in pieces, which have one channel.
            channel = re.search(r"channel_id=(\d+)", line.text)
            found[new, channel[1] if channel else f"line {number}"] = new
        return list(found.values())

    @functools.cached_property
    def custom_kernels(self) -> set[str]:
        """What the program calls that the compiler did not write."""
        lines = (line for lines in self._lines.values() for line in lines)
        calls = (line for line in lines if line.operation == "custom-call")
        found = (re.search(r'custom_call_target="([^"]*)"', x.text) for x in calls)
        return {x[1] for x in found if x}

    def _walk(
        self, name: str, loops: tuple[str, ...], times: int
    ) -> Iterator[tuple[str, _Line, tuple[str, ...], int]]:
        for line in self._lines.get(name, ()):
            yield name, line, loops, times
            inside, often = loops, times
            if line.operation == "while":
                inside = (*loops, _source(line.text))
                often = times * self._trips(line.text)
            for called in _called(line.text):
                yield from self._walk(called, inside, often)

    def _trips(self, text: str) -> int:
        """How often a loop runs: it counts up to the constant of its condition."""
        known = re.search(r'known_trip_count"?[:=]\s*{"?n"?[:=]"?(\d+)', text)
        if known:
            return int(known[1])
        condition = re.search(rf"condition={_NAME}", text)
        lines = self._lines.get(condition[1], []) if condition else []
        limits = [
            int(x[1])
            for line in lines
            if line.operation == "constant" and line.arrays[0].dtype in ("s32", "u32")
            for x in [re.search(r"constant\((\d+)\)", line.text)]
            if x
        ]
        return max(limits, default=1)


def _read(text: str) -> _Line:
    """The right-hand side of an instruction: `types operation(operands), attributes`.

    A layout as in `f32[8]{0:T(128)}` looks like a call but for its capital.
    """
    found = _OPERATION.search(text)
    if found is None:
        return _Line("", (), text)
    arrays = tuple(
        Array(dtype, tuple(int(n) for n in shape.split(",") if n))
        for dtype, shape in _SHAPE.findall(text[: found.start()])
    )
    return _Line(found[1], arrays, text)


def _kind(computation: str, operation: str) -> str | None:
    name = operation.removesuffix("-start")
    # TPUs have no such operation: it is a fusion of a sum with the slice that is kept.
    if name == "all-reduce" and computation.startswith("all-reduce-scatter"):
        return "reduce-scatter"
    return name if name in KINDS else None


def _received(line: _Line) -> tuple[Array, ...]:
    """The arrays of an exchange; one that is started may hold its operands as well."""
    if line.operation.removesuffix("-start") in ("all-reduce", line.operation):
        return line.arrays
    # Behind operands and results may stand two numbers of the compiler's own.
    arrays = [x for x in line.arrays if x != Array("u32", ())]
    return tuple(arrays[len(arrays) // 2 :])


def _source(text: str) -> str:
    found = re.search(r'op_name="([^"]*)"', text)
    return found[1] if found else ""


def _called(text: str) -> list[str]:
    names = _CALLED.findall(text)
    for branches in _BRANCHES.findall(text):
        names += [name.strip().lstrip("%") for name in branches.split(",")]
    return names
