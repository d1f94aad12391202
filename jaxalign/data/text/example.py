"""What a record becomes: token sequences with a bool per token that is trained."""

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class TokenSequence:
    """A whole text as tokens.

    Attributes:
      ids: token ids `[n]`, int32.
      trained: whether the loss predicts token t, `[n]` bool. Never true at 0, because
        nothing comes before it.
      clipped: the end was cut off, so there is no stop token.
    """

    ids: np.ndarray
    trained: np.ndarray
    clipped: bool = False

    def __post_init__(self):
        """Checks shapes and types."""
        ok = self.ids.dtype == np.int32 and self.trained.dtype == np.bool_
        if not ok or self.ids.shape != self.trained.shape or self.ids.ndim != 1:
            raise TypeError(
                "ids must be int32 [n] and trained bool [n], got"
                f" {self.ids.dtype} {self.ids.shape},"
                f" {self.trained.dtype} {self.trained.shape}"
            )

    def to_last_target(self) -> "TokenSequence":
        """The same without what follows the last trained token."""
        end = int(np.flatnonzero(self.trained)[-1]) + 1
        return TokenSequence(self.ids[:end], self.trained[:end], self.clipped)

    @property
    def prompt_length(self) -> int:
        """Tokens before the first trained one; all of them if none is trained."""
        return int(self.trained.argmax()) if self.trained.any() else len(self.ids)


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One record, encoded.

    Attributes:
      index: number of the record in its data set; batches carry it as example id.
      sequences: one; or chosen and rejected; or K completions of one prompt, the best
        first.
      labels: what the record says of each sequence, `[K]` float32 by name: `margin` of
        a pair, the same for both sides; `score` of a completion.
      where: file and line, for messages.
      prompt_differs: the template renders the prompt alone otherwise than within the
        whole; the whole was used.
    """

    index: int
    sequences: tuple[TokenSequence, ...]
    labels: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    where: str = ""
    prompt_differs: bool = False
