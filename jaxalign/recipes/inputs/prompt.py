"""Prompts, from records to what a model completes and rewards read."""

from collections.abc import Iterable
from typing import Any

from jaxalign.data.records.record import PromptOnly
from jaxalign.data.records.report import ReadReport
from jaxalign.data.text.encode import Encoder
from jaxalign.errors import RowError, UserError
from jaxalign.rl import Prompt


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
            # As in rows that are trained, the BOS stays.
            begin = ids[: encoder.tokenizer.adds_bos and longest > 1]
            end = ids[len(ids) - longest + len(begin) :]
            # `keep_start` gives up the header of the assistant's turn.
            ids = begin + end if on_long == "keep_end" else ids[:longest]
        prompts.append(_prompt(ids, record, encoder.tokenizer.decode(ids), index))
    return prompts, dropped


def _prompt(ids: list[int], record: PromptOnly, text: str, index: int) -> Prompt:
    messages = None
    if not isinstance(record.prompt, str):
        messages = [m.as_dict() for m in record.prompt]
    columns = dict(record.extra)
    return Prompt(ids, text, messages, columns, index, record.where)
