"""What a person should see of the data before the first step."""

import itertools
import re
from collections.abc import Sequence

import numpy as np

from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.data.text.lengths import Spread
from jaxalign.data.text.tokenizer import Tokenizer

# What moves a cursor, colours a screen or turns the direction of writing.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

MARKS = ("[[", "]]")
"""What stands around trained text where it is shown."""


def printable(text: str) -> str:
    r"""Text of the data as it may be printed: control characters are written out.

    Everything that the library prints of somebody's data goes through here. A terminal
    obeys control characters: they colour, move, and hide what was printed before.

    >>> printable("red: \x1b[31m\n")
    'red: \\x1b[31m\n'
    """
    return _CONTROL.sub(lambda match: ascii(match.group())[1:-1], text)


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
    """The share of sequences whose last trained token is a stop token.

    Behind it there may be one more: generation blocks often hold a line feed, too.
    """
    last = [
        bool(stop_ids & set(x.ids[x.trained][-2:].tolist()))
        for e in examples
        for x in e.sequences
    ]
    return float(np.mean(last)) if last else 0.0


def trained_tokens(examples: Sequence[Example]) -> Spread:
    """How many tokens are trained in an example, over all of its sequences."""
    return Spread.of([sum(int(x.trained.sum()) for x in e.sequences) for e in examples])


def marked(tokenizer: Tokenizer, sequence: TokenSequence) -> list[tuple[str, bool]]:
    """The pieces of `segments` for people: printable, with marks around trained ones.

    The marks are text, so that they are seen without colours and in a file.
    """
    begin, end = MARKS
    return [
        (f"{begin}{printable(piece)}{end}" if trained else printable(piece), trained)
        for piece, trained in segments(tokenizer, sequence)
    ]
