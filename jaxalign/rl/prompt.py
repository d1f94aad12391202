"""What is completed, and what rewards are told of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxalign.rewards import Completion


class Prompt(NamedTuple):
    """A prompt with the row that it came from.

    Attributes:
      ids: Its tokens, with the header of the completion's turn.
      text: As the model reads it.
      messages: It as chat messages (`role`, `content`), or None for plain text.
      columns: What else its row holds, for rewards.
      index: Number of its row.
      where: File and line, for messages.
    """

    ids: Sequence[int]
    text: str = ""
    messages: Sequence[Mapping[str, Any]] | None = None
    columns: Mapping[str, Any] = {}
    index: int = 0
    where: str = ""

    def completion(
        self,
        text: str,
        ids: Sequence[int],
        stopped: bool,
        step: int | None = None,
    ) -> Completion:
        """A completion of it, as rewards read it; `step` is the iteration's number."""
        messages = self.messages
        return Completion(
            prompt=self.text,
            completion=text,
            # A reward that changes what it is given changes it for nobody else.
            messages=None if messages is None else [dict(m) for m in messages],
            ids=ids,
            stopped=stopped,
            columns=dict(self.columns),
            index=self.index,
            prompt_ids=self.ids,
            step=step,
        )


def as_prompts(prompts: Sequence[Prompt | Sequence[int]]) -> list[Prompt]:
    """Prompts from lists of token ids, numbered from 0; those that are some stay.

    >>> as_prompts([[5, 7]])[0].ids
    [5, 7]
    """
    return [
        x if isinstance(x, Prompt) else Prompt(list(map(int, x)), index=i)
        for i, x in enumerate(prompts)
    ]
