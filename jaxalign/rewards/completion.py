"""What a reward function is shown."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Completion:
    """One sampled completion, with the row that its prompt came from.

    Attributes:
      prompt: Text of the prompt as the model read it.
      completion: Text of the completion; without special tokens, unless the run is
        asked to keep them.
      messages: The prompt as chat messages (`role`, `content`), or None for plain text.
      ids: Token ids of the completion, a stop token included.
      stopped: Whether a stop token ended it; else it was cut off at its longest.
      columns: The other columns of the row: accepted answers, labels, ...
      index: Number of the row, for messages; all completions of a prompt share it.
      prompt_ids: Token ids of the prompt, for rewards that score tokens.
      step: Iteration of the run that it was sampled in, from 1, or None outside of one.
    """

    prompt: str
    completion: str
    messages: Sequence[Mapping[str, Any]] | None = None
    ids: Sequence[int] | np.ndarray = ()
    stopped: bool = True
    columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    index: int = 0
    prompt_ids: Sequence[int] | np.ndarray = ()
    step: int | None = None

    def __str__(self):
        """Prompt and completion, shortened, as error messages show them.

        >>> print(Completion("2 + 2?", "It is 4.", index=7))
        row 7, prompt '2 + 2?', completion 'It is 4.'
        """
        prompt, text = _short(self.prompt, keep="end"), _short(self.completion)
        return f"row {self.index}, prompt {prompt!r}, completion {text!r}"


def _short(text: str, *, keep: str = "start", size: int = 120) -> str:
    if len(text) <= size:
        return text
    return f"... {text[-size:]}" if keep == "end" else f"{text[:size]} ..."
