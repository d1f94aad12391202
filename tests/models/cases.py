"""The golden checkpoints, and what a test needs of each."""

import dataclasses
import functools
import pathlib

import numpy as np

from jaxalign.models import ModelConfig, load_params, read_config

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "models"
SCORES = GOLDEN.with_name("scores")
CASES = sorted(p.parent.name for p in GOLDEN.glob("*/golden.npz"))


@dataclasses.dataclass(frozen=True)
class Case:
    folder: pathlib.Path
    config: ModelConfig
    params: dict
    inputs: np.ndarray
    lengths: np.ndarray
    logits: dict[str, np.ndarray]


@functools.cache
def load_case(name: str, root: pathlib.Path = GOLDEN) -> Case:
    folder = root / name
    config = read_config(folder)
    with np.load(folder / "golden.npz", allow_pickle=False) as file:
        arrays = dict(file)
    params = load_params(folder, config)
    return Case(
        folder, config, params, arrays.pop("inputs"), arrays.pop("lengths"), arrays
    )


@dataclasses.dataclass(frozen=True)
class Rows:
    """Model inputs `[R, T]`, and where each golden sequence lies in them."""

    inputs: np.ndarray
    positions: np.ndarray
    segment_ids: np.ndarray
    branch_ids: np.ndarray
    where: list[tuple[int, slice]]

    @property
    def arrays(self):
        return self.inputs, self.positions, self.segment_ids, self.branch_ids

    def pick(self, outputs) -> np.ndarray:
        """Outputs of the real tokens, sequence after sequence."""
        return np.concatenate([np.asarray(outputs)[r, at] for r, at in self.where])


def place(case: Case, shape: tuple[int, int], starts: list[tuple[int, int]]) -> Rows:
    """Puts golden sequence i at (row, offset) `starts[i]`, its segment number i + 1."""
    inputs, positions, segments = np.zeros((3, *shape), np.int32)
    where = []
    for i, (row, start) in enumerate(starts):
        length = int(case.lengths[i])
        at = slice(start, start + length)
        inputs[row, at] = case.inputs[i, :length]
        positions[row, at] = np.arange(length)
        segments[row, at] = i + 1
        where.append((row, at))
    return Rows(inputs, positions, segments, np.zeros_like(inputs), where)
