"""Continuous batching: a slot whose completion is over takes the next prompt."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxalign.rollout import steps
from jaxalign.rollout.decoder import Decoder
from jaxalign.rollout.prompts import Completions, bucket_width
from jaxalign.rollout.steps import Chunk, Limits, Settings, SlotRows
from jaxalign.rollout.stop_texts import Ends
from jaxalign.rollout.waiting import Ready, Waiting


class SamplingProgress(NamedTuple):
    """How far a call of `generate` has come."""

    finished: int
    """Completions that are over."""
    total: int
    """Completions in all."""
    tokens: int
    """Tokens sampled so far."""


class Stopped(Exception):
    """Sampling was asked to stop before all completions were there."""


class Model(NamedTuple):
    """What is sampled from, and how: the same for all slots."""

    decoder: Decoder
    settings: Settings
    params: Any
    limits: Limits
    key: jax.Array
    ends: Ends | None = None


class Engine:
    """Slots of a cache, and the completions that are written in them.

    The host keeps a few numbers of each slot; keys and values stay on the device. The
    cache has as many slots as the longest row needs for the next chunk of steps, out of
    a short list of lengths.
    """

    def __init__(self, model: Model, num_rows: int, completions: Completions):
        """All slots are free.

        Args:
          model: What is sampled from.
          num_rows: Completions in the making at a time.
          completions: Is filled, row by row.
        """
        self._model, self._completions = model, completions
        # In the order of `SlotRows`: five columns of numbers, and `running`.
        columns: Any = *np.zeros((5, num_rows), np.int32), np.zeros(num_rows, bool)
        self._rows = SlotRows(*columns)
        # Which completion a slot writes: prompts are taken in the order of lengths.
        self._completion_of = np.zeros(num_rows, np.int64)
        # Made for the first rows, whose lengths say how long it must be.
        self._cache, self._slots = None, 0
        self._seen: np.ndarray | None = None
        if model.limits.repetition_penalty is not None:
            size = model.decoder.head(model.params)[2]
            self._seen = np.zeros((num_rows, size), bool)

    def run(
        self,
        waiting: Waiting,
        stop: Callable[[], bool] | None,
        progress: Callable[[SamplingProgress], None] | None,
    ) -> None:
        """Fills all completions.

        Raises:
          Stopped: `stop()` was true.
          FloatingPointError: The model's outputs are not finite.
        """
        completions, num_rows = self._completions, len(self._completion_of)
        while waiting or self._rows.running.any():
            if stop is not None and stop():
                raise Stopped("sampling was asked to stop")
            self._admit(waiting.take(int(num_rows - self._rows.running.sum())))
            # A few free slots at a time are worth an admission.
            few = self._rows.running.sum() - max(1, num_rows // 8) if waiting else 0
            self._advance(np.int32(few))
            if progress is not None:
                finished = int(
                    (completions.lengths > 0).sum() - self._rows.running.sum()
                )
                tokens = int(completions.lengths.sum())
                progress(SamplingProgress(finished, len(completions.lengths), tokens))

    def _admit(self, samples: list[Ready]) -> None:
        """Gives each sample a free slot."""
        free = np.flatnonzero(~self._rows.running)[: len(samples)]
        for slot, (prompt, sample, _, _) in zip(free, samples, strict=True):
            n = len(prompt.ids)
            # Decoding reads the prompt's last token; the block holds the ones before.
            new = (prompt.ids[-1], n - 1, n, prompt.index, sample, True)
            for field, value in zip(self._rows, new, strict=True):
                field[slot] = value
            self._completion_of[slot] = prompt.place + sample
            if self._seen is not None:
                # What the slot's former row has seen is no business of the new one.
                self._seen[slot] = False
                self._seen[slot, prompt.ids] = True
        # First the cache grows, if it must: the blocks go into it.
        self._fit()
        # By identity: a block is a tree of arrays, which cannot be hashed.
        blocks = {id(x.block): x.block for x in samples if x.block is not None}
        for block in blocks.values():
            sources, slots = np.zeros((2, len(self._completion_of)), np.int32)
            # Out of range, so that rows without a sample of this block go nowhere.
            slots[:] = len(slots)
            for i, (slot, x) in enumerate(zip(free, samples, strict=True)):
                if x.block is block:
                    sources[i], slots[i] = x.row, slot
            decoder = self._model.decoder
            self._cache = steps.insert(decoder, self._cache, block, sources, slots)

    def _fit(self) -> None:
        """Makes the cache as long as its rows need for the next chunk."""
        rows, limits, settings = self._rows, self._model.limits, self._model.settings
        # The last token is never read, and needs no place.
        ends = rows.prompt_length + limits.max_new_tokens - 1
        ends = np.minimum(rows.position + settings.steps, ends)
        # Of rows that run: an old long one keeps no memory once it is over.
        slots = bucket_width(int(ends[rows.running].max()))
        decoder = self._model.decoder
        if self._cache is None:
            self._cache = steps.empty(decoder, len(self._completion_of), slots)
        elif slots != self._slots:
            self._cache = steps.resize(decoder, self._cache, slots)
        self._slots = slots

    def _advance(self, enough: np.int32) -> None:
        """Decodes until slots are free for others, and writes down what came."""
        decoder, settings, params, limits, key, _ = self._model
        rows, seen = self._rows, self._seen
        self._cache, chunk = steps.decode(
            decoder, settings, params, self._cache, rows, limits, key, enough, seen
        )
        # Copies: the host writes in `running`.
        chunk = Chunk(*map(np.array, chunk))
        before = self._rows
        self._rows = before._replace(
            last=chunk.last, position=chunk.position, running=chunk.running
        )
        completions = self._completions
        for slot in np.flatnonzero(before.running):
            completion = self._completion_of[slot]
            count = chunk.position[slot] - before.position[slot]
            start = completions.lengths[completion]
            at = slice(start, start + count)
            completions.tokens[completion, at] = chunk.tokens[slot, :count]
            completions.logps[completion, at] = chunk.logps[slot, :count]
            completions.lengths[completion] += count
            # The last token alone: rows end at their first stop token.
            completions.stopped[completion] = chunk.last[slot] in limits.stop_ids
            if self._seen is not None:
                self._seen[slot, chunk.tokens[slot, :count]] = True
            self._end_by_text(int(slot), int(completion), int(start))
        self._check_finite(chunk.logps)

    def _end_by_text(self, slot: int, completion: int, looked_at: int) -> None:
        """Cuts a completion where its text ends it, and frees its slot.

        The tokens behind it were sampled for nothing; no other row depends on them.
        """
        completions, ends = self._completions, self._model.ends
        if ends is None:
            return
        length = int(completions.lengths[completion])
        n = ends(completions.tokens[completion, :length].tolist(), looked_at)
        if n is None:
            return
        completions.by_text[completion] = (
            n < length or not completions.stopped[completion]
        )
        completions.tokens[completion, n:], completions.logps[completion, n:] = 0, 0.0
        completions.lengths[completion], completions.stopped[completion] = n, True
        self._rows.running[slot] = False

    def _check_finite(self, logps: np.ndarray) -> None:
        # Free slots and places behind an end hold 0, which is finite.
        bad = np.flatnonzero(~np.isfinite(logps).all(axis=1))
        if len(bad):
            raise FloatingPointError(
                f"the model's log-probabilities are not finite in {len(bad)} of"
                f" {len(logps)} rows, the first of them a completion of prompt"
                f" {self._rows.prompt_index[bad[0]]}"
            )
