"""Prompts: from records to the ids that a model completes and what rewards read."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from jaxalign.data.records.record import PromptOnly
from jaxalign.data.records.report import ReadReport
from jaxalign.data.text.encode import Encoder
from jaxalign.errors import RowError, UserError
from jaxalign.rewards import Completion


class Prompt(NamedTuple):
    """A prompt to be completed.

    Attributes:
      ids: Its tokens, with the header of the assistant's turn.
      record: Where it came from.
      text: As the model reads it.
      index: Number of the record.
    """

    ids: list[int]
    record: PromptOnly
    text: str
    index: int

    @property
    def columns(self) -> dict[str, Any]:
        """What else its row holds, for the rewards."""
        # A copy: a reward that writes into it changes no other completion's.
        return dict(self.record.extra)

    def completion(
        self, text: str, ids: list[int], stopped: bool, step: int | None = None
    ) -> Completion:
        """A completion of it, as rewards read it; `step` is the iteration's number."""
        prompt = self.record.prompt
        messages = None
        if not isinstance(prompt, str):
            messages = [m.as_dict() for m in prompt]
        return Completion(
            prompt=self.text,
            completion=text,
            messages=messages,
            ids=ids,
            stopped=stopped,
            columns=self.columns,
            index=self.index,
            prompt_ids=self.ids,
            step=step,
        )


def prompt_ids(record: PromptOnly, encoder: Encoder) -> list[int]:
    """The tokens of a prompt.

    Raises:
      RowError: The template refuses it; names the row.
    """
    try:
        return encoder.prompt(record).tolist()
    except RowError:
        # It names its row already.
        raise
    except UserError as error:
        # Messages say what is wrong in their first sentence, and how to mend it behind.
        what, _, fix = str(error).rstrip(".").partition(". ")
        place = record.where or "the prompt"
        raise RowError(place, what, f"{fix or 'Mend the row'}.") from error


def encode_prompts(
    records: Iterable[Any],
    encoder: Encoder,
    *,
    longest: int | None = None,
    on_long: str = "drop",
    report: ReadReport | None = None,
) -> tuple[list[Prompt], int]:
    """Records as prompts.

    Args:
      records: All of them `PromptOnly`.
      encoder: Of the model.
      longest: Tokens of a prompt at most, 1 or more; None: any number.
      on_long: What happens to a longer one: `drop`, `error`, `keep_end`, `keep_start`.
      report: Of the reading of `records`, which then judges the rows that the template
        refuses as it does other bad ones; None: the first one is an error.

    Returns:
      The prompts, and how many were dropped.

    Raises:
      UserError: A prompt is too long, with `on_long` error, or refused.
    """
    prompts, dropped = [], 0
    for index, record in enumerate(records):
        assert isinstance(record, PromptOnly)
        try:
            ids = prompt_ids(record, encoder)
        except RowError as error:
            if report is None:
                raise
            report.refuse(error)
            continue
        if longest is not None and len(ids) > longest:
            if on_long == "error":
                raise UserError(
                    f"{record.where}: the prompt has {len(ids)} tokens, {longest} are "
                    "allowed. Raise --max-prompt-length or --max-length, or pass "
                    "--on-long drop, keep_end or keep_start."
                )
            if on_long == "drop":
                dropped += 1
                continue
            # `keep_start` gives up the header of the assistant's turn.
            ids = ids[-longest:] if on_long == "keep_end" else ids[:longest]
        # Decoded from the ids: a prompt that was cut is shown as the model reads it.
        prompts.append(Prompt(ids, record, encoder.tokenizer.decode(ids), index))
    return prompts, dropped
