"""What a person should see of the data before the first step."""

import itertools
from collections.abc import Sequence

import numpy as np

from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.data.text.lengths import Spread
from jaxalign.data.text.tokenizer import Tokenizer


def segments(tokenizer: Tokenizer, sequence: TokenSequence) -> list[tuple[str, bool]]:
    """The decoded text in pieces, each with whether it is trained.

    Special tokens are written out. A character whose bytes lie in two pieces shows as
    a replacement character.
    """
    pairs = zip(sequence.trained.tolist(), sequence.ids.tolist(), strict=True)
    return [
        (tokenizer.decode([token for _, token in group]), trained)
        for trained, group in itertools.groupby(pairs, key=lambda pair: pair[0])
    ]


def stop_share(examples: Sequence[Example], stop_ids: frozenset[int]) -> float:
    """The share of sequences whose last trained token is a stop token."""
    last = [
        int(x.ids[np.flatnonzero(x.trained)[-1]]) in stop_ids
        for e in examples
        for x in e.sequences
    ]
    return float(np.mean(last)) if last else 0.0


def trained_tokens(examples: Sequence[Example]) -> Spread:
    """How many tokens are trained in an example, over all of its sequences."""
    return Spread.of([sum(int(x.trained.sum()) for x in e.sequences) for e in examples])
