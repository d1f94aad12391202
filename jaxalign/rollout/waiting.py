"""Prompts that wait for a slot, prefilled a block at a time."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxalign.rollout.prompts import bucket_width

BLOCK_TOKENS = 8192
"""Most tokens of one prefill, padding included, unless a single prompt has more."""


class QueuedPrompt(NamedTuple):
    """A prompt and the number that its random keys are made of."""

    ids: Sequence[int]
    index: int
    place: int


class Ready(NamedTuple):
    """One sample to be made.

    Attributes:
      prompt: Of which prompt.
      sample: Its number among the prompt's samples.
      block: Keys and values of some prompts, a row each; None where all of them are
        single tokens.
      row: The prompt's row.
    """

    prompt: QueuedPrompt
    sample: int
    block: Any
    row: int


class Waiting:
    """All samples that have no slot yet; the keys and values of a prompt are made once.

    Shorter prompts come first, so that those in a block need little padding.
    """

    def __init__(
        self,
        prompts: Sequence[QueuedPrompt],
        num_samples: int,
        per_block: int,
        prefill: Callable[[np.ndarray], Any],
        whole_rows: Callable[[int], int] = int,
    ):
        """Nothing is computed yet.

        Args:
          prompts: In any order.
          num_samples: Of each prompt.
          per_block: Most prompts of a block; smaller ones are filled up, to compile for
            few shapes.
          prefill: `[P, W]` tokens, padded on the right, to a cache of P rows.
          whole_rows: From the rows that a block shall have to those that it can have.
        """
        self._prompts = deque(sorted(prompts, key=lambda prompt: len(prompt.ids)))
        self._num_samples, self._per_block = num_samples, per_block
        self._prefill, self._whole_rows = prefill, whole_rows
        self._ready: deque[Ready] = deque()

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._ready or self._prompts)

    def take(self, count: int) -> list[Ready]:
        """The next `count` samples, or as many as there are."""
        while len(self._ready) < count and self._prompts:
            self._make_block()
        return [self._ready.popleft() for _ in range(min(count, len(self._ready)))]

    def _make_block(self) -> None:
        """Prefills the next prompts without their last token, which decoding reads."""
        count = min(self._per_block, len(self._prompts))
        width = bucket_width(len(self._prompts[count - 1].ids) - 1)
        # Fewer prompts where they are long; one that is longer still is a block alone.
        rows = max(1, min(self._per_block, BLOCK_TOKENS // width))
        rows = self._whole_rows(rows)
        prompts = [self._prompts.popleft() for _ in range(min(rows, count))]
        tokens = np.zeros((rows, width), np.int32)
        for row, prompt in zip(tokens, prompts, strict=False):
            row[: len(prompt.ids) - 1] = prompt.ids[:-1]
        # Decoding reads the last token, so a single token leaves nothing to prefill.
        alone = all(len(prompt.ids) == 1 for prompt in prompts)
        block = None if alone else self._prefill(tokens)
        self._ready.extend(
            Ready(prompt, sample, block, row)
            for row, prompt in enumerate(prompts)
            for sample in range(self._num_samples)
        )
