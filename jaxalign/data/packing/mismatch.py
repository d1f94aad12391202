"""Completions beside a prompt that is not theirs, for estimates of a KL divergence."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from jaxalign.data.packing.order import permutation
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import UserError


def with_mismatched(
    examples: Sequence[Example], *, max_length: int, seed: int
) -> list[Example]:
    """Every example with a second sequence: its prompt with another's completion.

    The completions are handed on in a circle in which the rows of one prompt stand
    together, by as many places as the most frequent prompt has rows. So each one is
    used exactly once, and never with its own prompt, also where a prompt has many rows.

    Args:
      examples: With one sequence each.
      max_length: Of a sequence, in tokens; a longer one loses its completion's end.
      seed: Of the order of the prompts in the circle.

    Returns:
      The examples in their order, with two sequences each and the labels of both.

    Raises:
      UserError: More than half of the rows have the same prompt.
    """
    prompts = [_prompt(x.sequences[0]).tobytes() for x in examples]
    counts = Counter(prompts)
    most = max(counts.values(), default=0)
    if 2 * most > len(examples):
        raise UserError(
            f"{most} of {len(examples)} rows have the same prompt, so not every "
            "completion can be put beside another prompt, as the estimate of the KL "
            "divergence needs. Give rows of more prompts, or hold out more of them."
        )
    # `permutation` gives every host the same circle.
    places = permutation(len(counts), seed, 0)
    place = dict(zip(counts, places.tolist(), strict=True))
    circle = sorted(range(len(examples)), key=lambda i: place[prompts[i]])
    out = list(examples)
    for k, i in enumerate(circle):
        # Rows of one prompt stand together and are at most `most`, so `most` places on
        # is another prompt, and half of the circle is enough for that.
        other = examples[circle[(k + most) % len(circle)]]
        joined = _joined(examples[i].sequences[0], other.sequences[0], max_length)
        out[i] = dataclasses.replace(
            examples[i],
            sequences=(examples[i].sequences[0], joined),
            labels={k: np.repeat(v, 2) for k, v in examples[i].labels.items()},
        )
    return out


def _prompt(x: TokenSequence) -> np.ndarray:
    return x.ids[: x.prompt_length]


def _joined(own: TokenSequence, other: TokenSequence, most: int) -> TokenSequence:
    """The prompt of one sequence and what follows that of another."""
    answer = slice(other.prompt_length, other.prompt_length + most - own.prompt_length)
    ids = np.concatenate([_prompt(own), other.ids[answer]])
    untrained = np.zeros(own.prompt_length, bool)
    return TokenSequence(ids, np.concatenate([untrained, other.trained[answer]]))
