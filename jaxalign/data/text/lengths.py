"""How long examples are, and what happens to those that are too long."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxalign.data.records.record import Tie
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import RowError, UserError

OnLong = Literal["drop", "error", "keep_end", "keep_start"]
"""What to do with an example whose prompt is too long."""


class TooLongError(RowError):
    """A prompt that leaves no room for its completion."""


@dataclasses.dataclass(frozen=True)
class LengthLimits:
    """How long an example may be, in tokens.

    Attributes:
      max_length: of each whole sequence; None for no limit.
      max_prompt_length: of what stands before the first trained token.
      on_long: for an over-long prompt: leave the example out, stop, or keep the end or
        the start of the prompt. An over-long completion is always cut at its end, gets
        no stop token and is marked as clipped.
    """

    max_length: int | None = None
    max_prompt_length: int | None = None
    on_long: OnLong = "drop"

    def __post_init__(self):
        """Refuses limits that leave room for nothing."""
        if self.max_length is not None and self.max_length < 2:
            raise UserError(f"--max-length is {self.max_length}, at least 2 is needed.")
        if self.max_prompt_length is not None and self.max_prompt_length < 1:
            raise UserError(
                f"--max-prompt-length is {self.max_prompt_length}, at least 1 is"
                " needed."
            )

    def within(self, room: int | None) -> "LengthLimits":
        """The same for a model that reads no more than `room` tokens."""
        known = [x for x in (self.max_length, room) if x is not None]
        return dataclasses.replace(self, max_length=min(known, default=None))


def apply_limits(
    example: Example, limits: LengthLimits, *, bos: bool = False
) -> Example:
    """The example within the limits.

    All sequences lose the same number of prompt tokens, so that a shared prompt stays
    shared. A prompt that is cut keeps at least half of `max_length`.

    Args:
      example: any example.
      limits: what is allowed.
      bos: sequences begin with a BOS, which is kept.

    Raises:
      TooLongError: the prompt is too long and is not to be cut; or nothing would tell
        the completions apart any more.
    """
    most = limits.max_length or max(len(x.ids) for x in example.sequences)
    prompt = max(x.prompt_length for x in example.sequences)
    answer = max(len(x.ids) - x.prompt_length for x in example.sequences)
    # One token at least is left to be trained.
    allowed = min(most - 1, limits.max_prompt_length or most)
    sequences = example.sequences
    if prompt > allowed:
        if limits.on_long in ("drop", "error"):
            raise TooLongError(
                example.where or f"row {example.index}",
                f"its prompt has {prompt} tokens, {allowed} are allowed"
                f" (max_length {limits.max_length}, max_prompt_length"
                f" {limits.max_prompt_length})",
                "Raise the limit, or pass --on-long drop, keep_end or keep_start.",
            )
        # At least two tokens stay, for a BOS and one that predicts the first target.
        keep = max(min(allowed, max(most - answer, most // 2)), min(2, allowed))
        cut = prompt - keep
        at_end = limits.on_long == "keep_start"
        sequences = tuple(_cut_prompt(x, cut, at_end, bos) for x in sequences)
    sequences = tuple(_cut_end(x, most) for x in sequences)
    # Sides that differ only behind the cut teach nothing.
    first = sequences[0].ids
    if len(sequences) > 1 and all(np.array_equal(first, x.ids) for x in sequences):
        uncut = example.sequences
        if [len(x.ids) for x in sequences] == [len(x.ids) for x in uncut]:
            raise Tie(
                example.where or f"row {example.index}",
                "its completions are the same once they are rendered",
                "Remove the row.",
            )
        raise TooLongError(
            example.where or f"row {example.index}",
            f"its completions are the same within max_length {limits.max_length}",
            "Raise --max-length, or pass --on-long drop.",
        )
    return dataclasses.replace(example, sequences=sequences)


def _cut_prompt(x: TokenSequence, cut: int, at_end: bool, bos: bool) -> TokenSequence:
    prompt = x.prompt_length
    # The last token of a prompt predicts the first target, so it stays.
    cut = min(cut, prompt - 1)
    start = prompt - cut if at_end else int(bos and prompt - cut > 1)
    kept = np.ones(len(x.ids), bool)
    kept[start : start + cut] = False
    return TokenSequence(x.ids[kept], x.trained[kept], x.clipped)


def _cut_end(x: TokenSequence, most: int) -> TokenSequence:
    if len(x.ids) <= most:
        return x
    # Tokens behind the last trained one are no loss.
    clipped = x.clipped or bool(x.trained[most:].any())
    return TokenSequence(x.ids[:most], x.trained[:most], clipped)


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median, 95th percentile and maximum of a length in tokens."""

    p50: int
    p95: int
    max: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "Spread":
        """The spread of some lengths.

        >>> Spread.of([1, 2, 3, 4, 100])
        Spread(p50=3, p95=100, max=100)
        """
        if not len(lengths):
            return cls(0, 0, 0)
        ordered = np.sort(lengths)
        # By nearest rank: each of the three is a length that occurs.
        at = np.ceil(np.array([0.5, 0.95, 1.0]) * len(ordered)).astype(int) - 1
        return cls(*(int(x) for x in ordered[at]))

    def __str__(self) -> str:
        """The three numbers in a line."""
        return f"p50 {self.p50}, p95 {self.p95}, max {self.max}"


@dataclasses.dataclass(frozen=True)
class LengthReport:
    """Lengths of prompts, completions and whole sequences, before any limit."""

    prompt: Spread
    completion: Spread
    total: Spread
    over_limit: int = 0

    @classmethod
    def of(cls, examples: Sequence[Example], max_length: int | None = None):
        """The report on `examples`; counts those with a sequence over `max_length`."""
        every = [x for e in examples for x in e.sequences]
        limit = max_length or float("inf")
        return cls(
            prompt=Spread.of([x.prompt_length for x in every]),
            completion=Spread.of([len(x.ids) - x.prompt_length for x in every]),
            total=Spread.of([len(x.ids) for x in every]),
            over_limit=sum(
                any(len(x.ids) > limit for x in e.sequences) for e in examples
            ),
        )
