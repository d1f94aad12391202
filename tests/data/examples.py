"""Encoded examples for tests of packing and batches, and what a batch holds, slowly."""

import numpy as np
from hypothesis import strategies as st

from jaxalign.data.text.example import Example, TokenSequence


def sequence(ids, trained) -> TokenSequence:
    return TokenSequence(np.array(ids, np.int32), np.array(trained, bool))


def answers(index, prompt, *completions, tail=()) -> Example:
    """An example of several answers to a prompt; the tail of each is not trained."""
    return Example(
        index=index,
        sequences=tuple(
            sequence(
                [*prompt, *c, *tail],
                [False] * len(prompt) + [True] * len(c) + [False] * len(tail),
            )
            for c in completions
        ),
    )


def some_examples(count, sides, seed=0, longest=12):
    rng = np.random.default_rng(seed)

    def tokens(low):
        return rng.integers(1, 50, rng.integers(low, longest)).tolist()

    return [
        answers(100 + i, tokens(1), *(tokens(1) for _ in range(sides)))
        for i in range(count)
    ]


@st.composite
def example_lists(draw, sides=None, max_size=12):
    k = sides or draw(st.sampled_from([1, 2, 3]))
    token = st.integers(1, 3)  # few ids, so that answers share prefixes by chance
    examples = []
    for i in range(draw(st.integers(1, max_size))):
        prompt = draw(st.lists(token, min_size=1, max_size=5))
        sequences = []
        for _ in range(k):
            rest = draw(st.lists(token, min_size=1, max_size=6))
            mask = draw(
                st.lists(st.booleans(), min_size=len(rest), max_size=len(rest)).filter(
                    any
                )
            )
            ids = [*prompt, *rest]
            sequences.append(sequence(ids, [False] * len(prompt) + mask))
        examples.append(Example(index=7 * i, sequences=tuple(sequences)))
    return examples


def read_back(batch):
    """{id: one list per branch of (context, target)} for every target in a batch.

    The context of a target is the list of (position, token) that the row's attention
    rule lets its output see, found by looking at every token of the row.
    """
    found = {}
    num_rows, num_targets = batch.tokens.target_ids.shape
    for r in range(num_rows):
        for m in range(num_targets):
            if not batch.tokens.target_mask[r, m]:
                continue
            i = int(batch.tokens.target_at[r, m])
            segment = int(batch.tokens.segment_ids[r, i])
            assert segment > 0, "a target hangs on padding"
            branch = int(batch.tokens.branch_ids[r, i])
            context = [
                (int(batch.tokens.positions[r, j]), int(batch.tokens.inputs[r, j]))
                for j in range(i + 1)
                if batch.tokens.segment_ids[r, j] == segment
                and batch.tokens.branch_ids[r, j] in (0, branch)
            ]
            example = int(batch.example_ids[r, segment - 1])
            target = int(batch.tokens.target_ids[r, m])
            sides = found.setdefault(example, {})
            sides.setdefault(max(branch, 1), []).append((context, target))
    return found


def alone(example):
    """The same for an example by itself: each sequence read from its start."""
    sides = {}
    for side, x in enumerate(example.sequences):
        for t in range(1, len(x.ids)):
            if x.trained[t]:
                context = [(i, int(x.ids[i])) for i in range(t)]
                sides.setdefault(side + 1, []).append((context, int(x.ids[t])))
    return sides
