"""Packed and plain batches from lists of token ids, laid out one token at a time."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxalign.losses import Pair
from jaxalign.objectives import PairBatch, PreferenceBatch, TokenBatch, Tokens


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


def token_batch(rows: list[list[Prompted]], length: int, targets: int) -> TokenBatch:
    """Rows of examples, one behind the other."""
    inputs, positions, segments, branches = np.zeros((4, len(rows), length), np.int32)
    ids, at = np.zeros((2, len(rows), targets), np.int32)
    mask = np.zeros((len(rows), targets), bool)
    for r, examples in enumerate(rows):
        t = m = 0
        for number, example in enumerate(examples):
            for slot in slots_of(example):
                inputs[r, t], positions[r, t] = slot.token, slot.position
                segments[r, t], branches[r, t] = number + 1, slot.branch
                if slot.target is not None:
                    ids[r, m], at[r, m], mask[r, m] = slot.target, t, True
                    m += 1
                t += 1
    leaves = inputs, positions, segments, branches, ids, at, mask
    return TokenBatch(*map(jnp.asarray, leaves))


def pair_batch(
    rows: list[list[Prompted]], length: int, targets: int, ref: np.ndarray | None = None
) -> PairBatch:
    """Rows of pairs; `ref[v]` is the reference's log-probability of token v."""
    most = max(1, *(len(examples) for examples in rows))
    starts, lengths = np.zeros((2, 2, len(rows), most), np.int32)
    for r, examples in enumerate(rows):
        m = 0
        for p, example in enumerate(examples):
            for side in (0, 1):
                starts[side, r, p] = m
                lengths[side, r, p] = len(example.responses[side])
                m += len(example.responses[side])
    batch = token_batch(rows, length, targets)
    ref_logps = jnp.zeros(batch.target_ids.shape)
    if ref is not None:
        ref_logps = jnp.where(batch.target_mask, ref[np.asarray(batch.target_ids)], 0)
    where = [Pair(*map(jnp.asarray, x)) for x in (starts, lengths)]
    return PairBatch(batch, where[0], where[1], ref_logps)


def plain_tokens(examples: list[Prompted], side: int, length: int) -> Tokens:
    """One sequence per row: the prompt and response number `side`."""
    inputs, targets = np.zeros((2, len(examples), length), np.int32)
    mask = np.zeros((len(examples), length), bool)
    for r, (prompt, responses) in enumerate(examples):
        whole = prompt + responses[side]
        for t in range(len(whole) - 1):
            inputs[r, t], targets[r, t] = whole[t], whole[t + 1]
            mask[r, t] = t + 1 >= len(prompt)
    return Tokens(*map(jnp.asarray, (inputs, targets, mask)))


def plain_pairs(examples, length: int, ref: np.ndarray) -> PreferenceBatch:
    """One response per row, the reference as in `pair_batch`."""
    tokens = Pair(*(plain_tokens(examples, side, length) for side in (0, 1)))
    return PreferenceBatch(tokens, Pair(*(jnp.asarray(ref)[x.targets] for x in tokens)))
