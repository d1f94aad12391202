"""Sweeps as plain data: lists of what to change in a config, and how to combine them.

>>> zipped(beta=[0.1, 1.0], steps=[300, 100])
[{'beta': 0.1, 'steps': 300}, {'beta': 1.0, 'steps': 100}]
>>> grid(seed=[0, 1], beta=[0.5])
[{'seed': 0, 'beta': 0.5}, {'seed': 1, 'beta': 0.5}]
>>> chain(grid(arm=["sft"]), grid(arm=["dpo"], beta=[0.1, 0.2]))
[{'arm': 'sft'}, {'arm': 'dpo', 'beta': 0.1}, {'arm': 'dpo', 'beta': 0.2}]
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

C = TypeVar("C")

Overrides = dict[str, Any]


def grid(**axes: Sequence) -> list[Overrides]:
    """Every combination; the last axis changes fastest."""
    names = list(axes)
    points = itertools.product(*axes.values())
    return [dict(zip(names, point, strict=True)) for point in points]


def zipped(**axes: Sequence) -> list[Overrides]:
    """The first values together, then the second ones, and so on; all of one length."""
    points = zip(*axes.values(), strict=True)
    return [dict(zip(axes, point, strict=True)) for point in points]


def chain(*sweeps: Iterable[Overrides]) -> list[Overrides]:
    """One sweep after the other."""
    return list(itertools.chain(*sweeps))


def configs(base: C, sweep: Iterable[Overrides]) -> list[C]:
    """The base config, a dataclass, with each of the overrides."""
    return [dataclasses.replace(base, **overrides) for overrides in sweep]  # type: ignore
