"""What a compiled program needs, as plain data."""

import math
import re
import time
from collections.abc import Callable
from typing import Any

from jaxalign.parallel.hlo import Array, Collective, HloProgram
from jaxalign.recipes.planning.chips import GIB, Chip
from jaxalign.recipes.planning.program import Planned

# Arrays to list; behind the largest few they are much alike.
_MANY = 6


def measured(
    planned: Planned, chip: Chip | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Compiles a program and reads what it holds, sends and calls.

    Args:
      planned: The program.
      chip: What it is for; None where nothing is known of it.
      tell: Is told what is going on.

    Returns:
      JSON data; `fits` is None where the chip is not known.
    """
    out: dict[str, Any] = {"name": planned.name, "planned_for": planned.args}
    start = time.monotonic()
    tell(f"{planned.name}: tracing")
    lowered = planned.lower()
    tell(f"{planned.name}: compiling (minutes, for a large model)")
    try:
        compiled = lowered.compile()
    except Exception as error:
        text = " ".join(str(error).split())
        # XLA tells only in its text that memory is what is lacking.
        if "RESOURCE_EXHAUSTED" not in text and "Ran out of memory" not in text:
            raise
        return out | refused(text, planned)
    out["compile_seconds"] = round(time.monotonic() - start, 1)
    tell(f"{planned.name}: compiled in {out['compile_seconds']} s")
    memory = compiled.memory_analysis()
    program = HloProgram(compiled.as_text() or "")
    sizes = {
        "arguments": memory.argument_size_in_bytes,
        "results": memory.output_size_in_bytes,
        "given_back": memory.alias_size_in_bytes,
    }
    peak = _peak(memory)
    new = sizes["results"] - sizes["given_back"]
    # What is there at the peak: all temporaries together may be more, or told as 0.
    sizes["temporaries"] = max(0, peak - sizes["arguments"] - new)
    sizes["beside"] = planned.beside
    sizes["peak"] = peak + planned.beside
    out["bytes"] = sizes
    out["donated"] = sizes["given_back"] > 0
    out["fits"] = None if chip is None else sizes["peak"] <= chip.memory
    out["share_of_memory"] = None if chip is None else sizes["peak"] / chip.memory
    out["shrink"] = list(planned.grows)
    out["largest_arrays"] = [
        {"array": str(x), "bytes": x.nbytes}
        for x in sorted(program.arrays, key=lambda x: -x.nbytes)[:_MANY]
    ]
    out["collectives"] = _by_kind(program.collectives)
    out["in_loops"] = _loops(program.collectives)
    out["suspicious"] = _suspicious(planned, program)
    out["kernels"] = sorted(
        x
        for x in program.custom_kernels
        if re.search("tpu_custom_call|cudnn|triton", x)
    )
    out["estimate"] = _estimate(planned, program.collectives, chip)
    return out


def _peak(memory) -> int:
    """The compiler's own peak, which it compares with what a device has.

    The sum of the parts may be more: temporaries count as if all were there at once.
    """
    parts = memory.argument_size_in_bytes + memory.output_size_in_bytes
    parts += memory.temp_size_in_bytes - memory.alias_size_in_bytes
    return getattr(memory, "peak_memory_in_bytes", 0) or parts


def refused(text: str, planned: Planned) -> dict[str, Any]:
    """What the compiler says of a program that is too large.

    Args:
      text: Its own words.
      planned: The program.
    """
    found = re.search(
        r"Used ([\d.]+)([KMGT])i?B? of ([\d.]+)([KMGT])"
        r"|\(([\d.]+)([KMGT])\) exceeds available HBM \(([\d.]+)([KMGT])\)",
        text,
    )
    # The numbers stand at the beginning; pages of buffers may follow.
    out: dict[str, Any] = {"fits": False, "compiler_says": text[:400]}
    out["shrink"] = list(planned.grows)
    if found:
        numbers = [x for x in found.groups() if x]
        used, limit = _in_bytes(*numbers[:2]), _in_bytes(*numbers[2:])
        peak = int(used) + planned.beside
        out["bytes"] = {"peak": peak, "beside": planned.beside}
        out["share_of_memory"] = peak / limit
    largest = re.findall(r"Size: ([\d.]+)([KMGT]).*?Shape: (\w+\[[\d,]*\])", text)
    out["largest_arrays"] = [
        {"array": array, "bytes": int(_in_bytes(size, unit))}
        for size, unit, array in largest[:_MANY]
    ]
    return out


def _in_bytes(number: str, unit: str) -> float:
    return float(number) * {"K": 1 << 10, "M": 1 << 20, "G": GIB, "T": GIB << 10}[unit]


def _by_kind(collectives: list[Collective]) -> list[dict[str, Any]]:
    kinds: dict[str, dict[str, Any]] = {}
    for c in collectives:
        row = kinds.setdefault(c.kind, {"kind": c.kind, "count": 0, "bytes": 0})
        row["count"] += c.times
        row["bytes"] += c.times * c.nbytes
        if c.nbytes > row.get("largest_bytes", 0):
            row["largest_bytes"] = c.nbytes
            row["largest"] = str(max(c.arrays, key=lambda x: x.nbytes))
    return sorted(kinds.values(), key=lambda row: -row["bytes"])


def _loops(collectives: list[Collective]) -> dict[str, int]:
    """How many exchanges there are inside loops over layers and over chunks."""
    return {
        what: sum(any(name in loop for loop in c.loops) for c in collectives)
        # The Flax module's name, and that of the scope in `ops`, in XLA's `op_name`s.
        for what, name in (("layers", "Transformer"), ("chunks", "chunks"))
    }


def _suspicious(planned: Planned, program: HloProgram) -> list[str]:
    """What no program of ours should have, in words."""
    found = []
    if any("chunks" in loop for c in program.collectives for loop in c.loops):
        found.append("devices exchange something in each chunk of the unembedding")
    logits = planned.rows * planned.targets * planned.vocab
    square = planned.tokens**2
    for x in program.arrays:
        # The number of entries: all bytes by those of one.
        size = x.nbytes // Array(x.dtype, ()).nbytes
        if size >= logits > 0 and planned.vocab in x.shape and not _kernel(planned, x):
            found.append(f"{x} holds the logits of all positions")
        # Short rows may have all of their scores at once, which take little.
        if planned.tokens > 1024 and x.shape[-2:] == (planned.tokens, planned.tokens):
            found.append(
                f"{x} grows with the square of the length ({square:,} entries)"
            )
    return sorted(set(found))


def _kernel(planned: Planned, x: Array) -> bool:
    """Whether it is an unembedding, a part of its columns, or all of it in pieces."""
    others = [n for n in x.shape if n != planned.vocab]
    if len(others) == 1:
        return not planned.width % others[0]
    rows = [planned.rows, planned.targets]
    return math.prod(others) == planned.width and others != rows


def _estimate(
    planned: Planned, collectives: list[Collective], chip: Chip | None
) -> dict[str, Any]:
    """The longest of three times that cannot be undercut."""
    sent = sum(c.times * c.nbytes for c in collectives)
    out: dict[str, Any] = {"flops": planned.flops, "bytes_exchanged": sent}
    if chip is None:
        return out
    times = {
        "arithmetic": planned.flops / chip.flops,
        "memory": planned.reads / chip.bandwidth,
        "exchange": sent / chip.links,
    }
    longest = max(times.values())
    bound = max(times, key=lambda name: times[name])
    mfu = times["arithmetic"] / longest if longest else 0.0
    return out | {"seconds": longest, "bound_by": bound, "mfu": mfu}
