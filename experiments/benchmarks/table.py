"""Measured lines as a table of ratios.

To see it again: `python -m experiments.benchmarks.table results.json`.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

HEADER = "| task | shape | library | speed | peak MB | speed ratio | memory ratio |"


def speed(line: dict[str, Any]) -> float:
    """Tokens per second of dense updates, examples per second of ragged ones.

    >>> speed({"examples_per_s": 2.0})
    2.0
    """
    return line.get("tokens_per_s") or line["examples_per_s"]


def summary(lines: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Median speed and peak memory by library, over the rounds that ended well.

    >>> line = {"lib": "trl", "peak_rss_mb": 90.0}
    >>> summary([line | {"tokens_per_s": 1.0}, line | {"tokens_per_s": 3.0}])
    {'trl': (2.0, 90.0)}
    """
    found: dict[str, tuple[float, float]] = {}
    for library in dict.fromkeys(x["lib"] for x in lines):
        good = [x for x in lines if x["lib"] == library and "error" not in x]
        if good:
            memory = statistics.median(x["peak_rss_mb"] for x in good)
            found[library] = statistics.median(map(speed, good)), memory
    return found


def results_table(lines: list[dict[str, Any]]) -> str:
    """A Markdown table; ratios are ours to the faster peer's and to the leaner's."""
    lines = [x for x in lines if "trial" not in x]
    out = [HEADER, "|" + " --- |" * 7]
    for task, shape in dict.fromkeys((x["task"], x["shape"]) for x in lines):
        mine = [x for x in lines if (x["task"], x["shape"]) == (task, shape)]
        found = summary(mine)
        unit = "examples/s" if task.startswith("ragged") else "tokens/s"
        peers = [x for library, x in found.items() if library != "jaxalign"]
        for library in dict.fromkeys(x["lib"] for x in mine):
            if library not in found:
                out.append(f"| {task} | {shape} | {library} | failed | | | |")
                continue
            rate, memory = found[library]
            ratios = " | "
            if library == "jaxalign" and peers:
                faster, leaner = max(x[0] for x in peers), min(x[1] for x in peers)
                ratios = f"{rate / faster:.2f} | {memory / leaner:.2f}"
            out.append(
                f"| {task} | {shape} | {library} | {rate:.4g} {unit} | {memory:.0f}"
                f" | {ratios} |"
            )
    return "\n".join(out)


if __name__ == "__main__":
    print(results_table(json.loads(Path(sys.argv[1]).read_text())))
