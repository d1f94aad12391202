"""Updates from the completions of an iteration: rows, scores, passes, minibatches."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jaxalign.batch import Batch
from jaxalign.data.packing.completions import (
    completion_layouts,
    read_column,
    with_columns,
)
from jaxalign.data.packing.layout import ExampleLayout
from jaxalign.data.packing.order import permutation
from jaxalign.objectives import MixedBatch
from jaxalign.ops import Mean
from jaxalign.rl.devices import Devices
from jaxalign.rl.metrics import with_update
from jaxalign.rl.rollout import Rollout
from jaxalign.rl.rows import PlanRows, RolloutRows
from jaxalign.rl.scorer import TokenScores
from jaxalign.training import TrainState, chaos
from jaxalign.training.step import Step

# Any number that is no purpose of the sampler's keys in `rl.rollout`.
_ORDER = 0x0DE2


class LaidOut(NamedTuple):
    """A rollout as it goes into rows.

    Attributes:
      rows: How it lies there.
      layouts: The examples of all completions that are learnt from.
      mask: `[B, N]` bool, the tokens of all completions.
      used: `[B]` bool, the completions that count.
    """

    rows: RolloutRows
    layouts: list[ExampleLayout]
    mask: np.ndarray
    used: np.ndarray


@dataclasses.dataclass(frozen=True)
class Updates:
    """How parameters follow from a rollout.

    Attributes:
      rows: How completions lie in rows.
      devices: How functions run.
      score: Compiled, `(models, Tokens) -> TokenScores`.
      step: Compiled, `(TrainState, batch) -> (TrainState, metrics)`.
      passes: Over the completions.
      minibatches: Updates in a pass.
      warm_up: `step` for iterations in which the policy stands still.
      warm_up_iterations: How many those are.
      mix: From the number of an update to its rows of another stream, or None.
    """

    rows: PlanRows
    devices: Devices
    score: Callable[[Any, Any], TokenScores]
    step: Step
    passes: int
    minibatches: int
    warm_up: Step | None = None
    warm_up_iterations: int = 0
    mix: Callable[[int], Batch] | None = None

    def lay_out(self, rollout: Rollout) -> LaidOut:
        """The rows of what is learnt from."""
        done, rows = rollout.completions, self.rows(rollout.prompts)
        everything = completion_layouts(
            [x.ids for x in rollout.prompts],
            done.tokens,
            done.lengths,
            together=rows.together,
        )
        per_group = rollout.groups[1] // rows.together
        # Groups left out by dynamic sampling cost no forward pass and no row.
        kept = [x for x in everything if rollout.kept[x.index // per_group]]
        return LaidOut(rows, kept, done.mask, rollout.used)

    def scores(self, models, laid: LaidOut) -> TokenScores:
        """What all models say of every token, as host arrays `[B, N]`."""
        out: dict[str, Any] = {}
        # In parts as large as a minibatch: the same shapes, and no more memory.
        mask, size = laid.mask, self.part_size(len(laid.layouts))
        for start in range(0, len(laid.layouts), size):
            # The order of sampling here; a column finds its completion by number.
            batch = laid.rows.batch(laid.layouts[start : start + size])
            placed = self.devices.place(batch.tokens)
            for name, column in self.score(models, placed)._asdict().items():
                # A model that is not there has no column.
                if column is not None:
                    dense = out.setdefault(name, np.zeros(mask.shape, np.float32))
                    read_column(batch, self.devices.rows(column), dense, mask)
        # No completion may count, in an iteration whose rewards all failed.
        logps = out.get("logps", np.zeros(mask.shape, np.float32))
        return TokenScores(logps, out.get("ref_logps"), out.get("values"))

    def part_size(self, examples: int) -> int:
        """Examples of a minibatch at most."""
        return max(1, -(-examples // self.minibatches))

    def __call__(
        self,
        state: TrainState,
        iteration: int,
        key: jax.Array,
        laid: LaidOut,
        columns: Mapping[str, np.ndarray],
    ) -> tuple[TrainState, dict[str, Mean]]:
        """All updates of an iteration, and the sum of their metrics.

        Args:
          state: Consumed.
          iteration: Its number.
          key: Of the iteration.
          laid: What `lay_out` gave.
          columns: By name, `[B, N]`.
        """
        # Once for all passes: only the order of examples changes between them.
        filled = with_columns(laid.layouts, laid.mask, columns)
        step, mixes = self.step, True
        if self.warm_up is not None and iteration < self.warm_up_iterations:
            step, mixes = self.warm_up, False
        metrics: dict[str, Mean] | None = None
        for number, part in enumerate(self._parts(key, len(filled))):
            batch = _batch(laid, [filled[i] for i in part])
            # Updates are numbered as if no part was ever left out, so that a run that
            # goes on reads the other stream where it would have.
            first = iteration * self.passes * self.minibatches
            whole = self._with_mix(batch, first + number) if mixes else batch
            state, new = step(state, self.devices.place(whole))
            metrics = _with_update(metrics, new)
            chaos.at("update")
        return state, metrics or {}

    def _parts(self, key, size: int) -> Iterator[np.ndarray]:
        """Every pass has an order of its own; parts without an example are left out."""
        for number in range(self.passes):
            noise = jax.random.fold_in(jax.random.fold_in(key, _ORDER), number)
            # Of whole examples, so that completions which are compared stay together.
            order = permutation(size, int(jax.random.bits(noise)), epoch=0)
            # Not padded: a part is packed into rows, and their number is rounded there.
            yield from (x for x in np.array_split(order, self.minibatches) if len(x))

    def _with_mix(self, batch: Batch, number: int):
        if self.mix is None:
            return batch
        return MixedBatch(batch, self.mix(number))


def _batch(laid: LaidOut, layouts: Sequence[ExampleLayout]) -> Batch:
    """Completions that do not count are left out by their length."""
    batch = laid.rows.batch(layouts)
    groups = laid.used.reshape(-1, laid.rows.together)
    # Empty places have the number -1; any count is right for what is not there.
    counts = groups[np.maximum(batch.example_ids, 0)]
    return batch._replace(length=np.where(counts, batch.length, 0))


def critic_alone(
    optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """The same optimizer and state, but nothing moves the policy, not even decay."""

    def update(updates: Any, state, params=None):
        updates, state = optimizer.update(updates, state, params)
        moves: Any = updates
        # Zeroed behind the optimizer: a gradient of 0 would still leave weight decay.
        still = optax.tree.zeros_like(moves["policy"])
        return {**moves, "policy": still}, state

    return optax.GradientTransformation(optimizer.init, update)


_with_update = jax.jit(with_update)
