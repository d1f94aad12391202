"""Batches one after the other, made ahead of time."""

from collections.abc import Iterator, Mapping

from jaxalign.batch import Batch
from jaxalign.data.packing.batches import Batches


class BatchIterator(Iterator[Batch]):
    """Batches from `start` on, made ahead of time by grain.

    Its state is one integer, the number of the next step.
    """

    def __init__(self, batches: Batches, *, start: int = 0, buffer: int = 2):
        """Begins at step `start`; `buffer` batches are made in a background thread."""
        self._batches = batches
        self._buffer = buffer
        self.set_state({"step": start})

    def __next__(self) -> Batch:
        """The batch of the next step."""
        batch = next(self._iterator)
        self._step += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """The position: `{"step": number of the next step}`."""
        return {"step": self._step}

    def set_state(self, state: Mapping[str, int]):
        """Goes to a position that `get_state` returned."""
        import grain

        self._step = int(state["step"])
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=self._buffer)
        # grain slices by index: to begin at a late step reads nothing before it.
        source = grain.MapDataset.source(self._batches)[self._step :]
        self._iterator = iter(source.to_iter_dataset(options))
