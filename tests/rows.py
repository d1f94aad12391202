"""Packed and plain batches from lists of token ids, laid out one token at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.batch import Batch, Tokens


class Prompted(NamedTuple):
    """A prompt (at least one token) and the responses to it."""

    prompt: list[int]
    responses: list[list[int]]


class Slot(NamedTuple):
    """One position of a row, and what it is to predict (None: nothing)."""

    token: int
    position: int
    branch: int
    target: int | None


def random_examples(rng, count, vocab, *, responses, longest=6) -> list[Prompted]:
    """Examples of very unequal length."""

    def tokens():
        return rng.integers(0, vocab, size=rng.integers(1, longest + 1)).tolist()

    return [
        Prompted(tokens(), [tokens() for _ in range(responses)]) for _ in range(count)
    ]


def slots_of(example: Prompted) -> list[Slot]:
    """A single response follows its prompt; several share all but its last token."""
    prompt, responses = example
    n = len(prompt) - 1
    slots = [Slot(prompt[i], i, 0, None) for i in range(n)]
    for k, response in enumerate(responses):
        branch = 0 if len(responses) == 1 else k + 1
        inputs = [prompt[-1], *response[:-1]]
        for i in range(len(response)):
            slots.append(Slot(inputs[i], n + i, branch, response[i]))
    return slots


def packed_batch(
    rows: list[list[Prompted]], length: int, targets: int, ref: np.ndarray | None = None
) -> Batch:
    """Rows of examples, one behind the other.

    `ref[v]` is the reference's log-probability of token v; by default 0.
    """
    inputs, positions, segments, branches = np.zeros((4, len(rows), length), np.int32)
    ids, at = np.zeros((2, len(rows), targets), np.int32)
    mask = np.zeros((len(rows), targets), bool)
    most = max(1, *(len(examples) for examples in rows))
    k = max((len(x.responses) for examples in rows for x in examples), default=1)
    start, span = np.zeros((2, len(rows), most, k), np.int32)
    for r, examples in enumerate(rows):
        t = m = 0
        for number, example in enumerate(examples):
            first = m
            for slot in slots_of(example):
                inputs[r, t], positions[r, t] = slot.token, slot.position
                segments[r, t], branches[r, t] = number + 1, slot.branch
                if slot.target is not None:
                    ids[r, m], at[r, m], mask[r, m] = slot.target, t, True
                    m += 1
                t += 1
            for side, response in enumerate(example.responses):
                start[r, number, side], span[r, number, side] = first, len(response)
                first += len(response)
    numbers = np.full(start.shape[:2], -1, np.int32)
    values = np.zeros(ids.shape) if ref is None else np.where(mask, ref[ids], 0)
    values = values.astype(np.float32 if ref is None else ref.dtype)
    tokens = Tokens(inputs, positions, segments, branches, ids, at, mask)
    batch = Batch(tokens, numbers, start, span, {"ref_logps": values})
    return jax.tree.map(jnp.asarray, batch)


def plain_batch(
    examples: list[Prompted], length: int, ref: np.ndarray | None = None
) -> Batch:
    """Every sequence whole and by itself; the reference as in `packed_batch`."""
    k = max(len(x.responses) for x in examples)
    inputs, targets = np.zeros((2, len(examples), k, length), np.int32)
    mask = np.zeros(inputs.shape, bool)
    for r, (prompt, responses) in enumerate(examples):
        for side, response in enumerate(responses):
            whole = prompt + response
            for t in range(len(whole) - 1):
                inputs[r, side, t], targets[r, side, t] = whole[t], whole[t + 1]
                mask[r, side, t] = t + 1 >= len(prompt)
    rows, slots = len(examples), k * length
    start = np.tile(np.arange(k, dtype=np.int32) * length, (rows, 1, 1))
    values = np.zeros(targets.shape) if ref is None else ref[targets]
    values = values.astype(np.float32 if ref is None else ref.dtype)
    tokens = Tokens(
        inputs,
        np.broadcast_to(np.arange(length, dtype=np.int32), inputs.shape),
        np.ones_like(inputs),
        np.zeros_like(inputs),
        targets.reshape(rows, slots),
        np.tile(np.arange(slots, dtype=np.int32), (rows, 1)),
        mask.reshape(rows, slots),
    )
    numbers = np.arange(rows, dtype=np.int32)[:, None]
    known = {"ref_logps": values.reshape(rows, slots)}
    batch = Batch(tokens, numbers, start, np.full_like(start, length), known)
    return jax.tree.map(jnp.asarray, batch)
