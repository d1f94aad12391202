"""Updates from the answers of an iteration: rows, scores, passes and minibatches."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxalign.batch import Batch
from jaxalign.data.packing.batches import permutation
from jaxalign.data.packing.completions import (
    AnswerRows,
    answer_layouts,
    read_column,
    with_columns,
)
from jaxalign.data.packing.layout import Layout
from jaxalign.objectives import MixedBatch, Scores
from jaxalign.objectives.rollout_metrics import with_update
from jaxalign.ops import Mean
from jaxalign.recipes.program import Program
from jaxalign.recipes.rl.sampling import Answers
from jaxalign.training import TrainState, chaos

_ORDER = 0x0DE2


@dataclasses.dataclass(frozen=True)
class Updates:
    """How parameters follow from answers.

    Attributes:
      rows: How answers lie in rows.
      program: How functions run on the devices.
      score: Compiled, `(models, Tokens) -> Scores`.
      step: Compiled, `(TrainState, batch) -> (TrainState, metrics)`.
      warm_up: The same for iterations in which the policy stands still.
      warm_up_iterations: How many those are.
      passes: Passes over the answers.
      minibatches: Updates in a pass.
      mix: From the number of an update to its rows of the other stream, or None.
    """

    rows: AnswerRows
    program: Program
    score: Callable[[Any, Any], Scores]
    step: Callable[[TrainState, Any], tuple[TrainState, dict[str, Mean]]]
    passes: int
    minibatches: int
    warm_up: Callable[[TrainState, Any], tuple[TrainState, dict[str, Mean]]] | None = (
        None
    )
    warm_up_iterations: int = 0
    mix: Callable[[int], Batch] | None = None

    def layouts(self, answers: Answers) -> list[Layout]:
        """The examples of all answers that are learnt from."""
        done = answers.completions
        everything = answer_layouts(
            [x.ids for x in answers.prompts],
            done.tokens,
            done.lengths,
            together=self.rows.together,
        )
        per_group = answers.groups[1] // self.rows.together
        return [x for x in everything if answers.kept[x.index // per_group]]

    def scores(self, models, layouts: Sequence[Layout], mask: np.ndarray) -> Scores:
        """What all models say of every token, as host arrays `[B, N]`."""
        out: dict[str, Any] = {}
        size = self.part_size(len(layouts))
        for start in range(0, len(layouts), size):
            batch = self.rows.batch(layouts[start : start + size])
            placed = self.program.place(batch.tokens)
            for name, column in self.score(models, placed)._asdict().items():
                if column is not None:
                    dense = out.setdefault(name, np.zeros(mask.shape, np.float32))
                    read_column(batch, self.program.rows(column), dense, mask)
        logps = out.get("logps", np.zeros(mask.shape, np.float32))
        return Scores(logps, out.get("ref_logps"), out.get("values"))

    def part_size(self, examples: int) -> int:
        """Examples of a minibatch at most."""
        return max(1, -(-examples // self.minibatches))

    def __call__(
        self,
        state: TrainState,
        iteration: int,
        key: jax.Array,
        layouts: Sequence[Layout],
        columns: Mapping[str, np.ndarray],
        mask: np.ndarray,
        used: np.ndarray,
    ) -> tuple[TrainState, dict[str, Mean]]:
        """All updates of an iteration, and the sum of their metrics.

        Args:
          state: Consumed.
          iteration: Its number.
          key: Of the iteration.
          layouts: What `layouts` gave.
          columns: By name, `[B, N]`.
          mask: `[B, N]` bool, the tokens of all answers.
          used: `[B]` bool, the answers that count.
        """
        filled = with_columns(layouts, mask, columns)
        step, mixes = self.step, True
        if self.warm_up is not None and iteration < self.warm_up_iterations:
            step, mixes = self.warm_up, False
        metrics: dict[str, Mean] | None = None
        for number, part in enumerate(self._parts(key, len(filled))):
            batch = self._batch([filled[i] for i in part], used)
            first = iteration * self.passes * self.minibatches
            whole = self._with_mix(batch, first + number) if mixes else batch
            state, new = step(state, self.program.place(whole))
            metrics = _with_update(metrics, new)
            chaos.at("update")
        return state, metrics or {}

    def _parts(self, key, size: int) -> Iterator[np.ndarray]:
        """Every pass has an order of its own; parts without an example are left out."""
        for number in range(self.passes):
            noise = jax.random.fold_in(jax.random.fold_in(key, _ORDER), number)
            order = permutation(size, int(jax.random.bits(noise)), epoch=0)
            yield from (x for x in np.array_split(order, self.minibatches) if len(x))

    def _batch(self, layouts, used: np.ndarray) -> Batch:
        """Completions that do not count are left out by their length."""
        batch = self.rows.batch(layouts)
        groups = used.reshape(-1, self.rows.together)
        counts = groups[np.maximum(batch.example_ids, 0)]
        return batch._replace(length=np.where(counts, batch.length, 0))

    def _with_mix(self, batch: Batch, number: int):
        if self.mix is None:
            return batch
        return MixedBatch(batch, self.mix(number))


_with_update = jax.jit(with_update)
