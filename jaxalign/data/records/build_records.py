"""From a checked row to its record."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxalign.data.records import checks, contents
from jaxalign.data.records.checks import Flaw
from jaxalign.data.records.converters import CONVERTERS
from jaxalign.data.records.formats import Format, renamed
from jaxalign.data.records.prefix import split_messages, split_text
from jaxalign.data.records.record import (
    Completion,
    Conversation,
    Preference,
    PromptOnly,
    Rankings,
    Record,
    Scored,
    Stepwise,
    Text,
    Tie,
    Tokenised,
    TokenisedPair,
    Unpaired,
)
from jaxalign.errors import RowError


class _TieFlaw(Flaw):
    """A comparison without a winner."""


def to_records(row: Mapping[str, Any], format: Format, where: str) -> list[Record]:
    """The records of one row; message trees give several, or none.

    Args:
      row: as the source gave it.
      format: from `detect`.
      where: file and line.

    Raises:
      RowError: if the row cannot be used.
      Tie: if it compares without a winner.
    """
    try:
        named = renamed(row, format.columns)
        row = {k: v for k, v in named.items() if v is not None}
        empty = {k: None for k in named if k not in row}
        checks.refuse_media(row)
        convert = CONVERTERS.get((format.name, format.shape))
        rows = [row] if convert is None else convert(row, format.dress == "plain")
        records = (
            _BUILDERS[format.shape](r, format, contents.common(r, where)) for r in rows
        )
        return [_with_empty(record, empty) for record in records]
    except Flaw as flaw:
        kind = Tie if isinstance(flaw, _TieFlaw) else RowError
        raise kind(where, flaw.what, flaw.fix) from None
    except RecursionError as error:
        raise RowError(where, "nested too deeply", "Flatten the row.") from error


def _with_empty(record: Record, empty: Mapping[str, None]) -> Record:
    """Prompts keep their empty columns: `answer: null` tells a reward something."""
    if not isinstance(record, PromptOnly):
        return record
    empty = contents.extra(empty, "prompt")
    return dataclasses.replace(record, extra={**empty, **record.extra})


def to_record(row: Mapping[str, Any], format: Format, where: str = "row") -> Record:
    """The record of a row that gives exactly one; see `to_records`.

    >>> row = {"prompt": "2 + 2 =", "completion": " 4"}
    >>> format = Format("prompt-completion", "prompt-completion", "plain")
    >>> to_record(row, format).completion
    ' 4'
    """
    records = to_records(row, format, where)
    if len(records) != 1:
        raise RowError(
            where, f"gives {len(records)} records", "Read it with to_records."
        )
    return records[0]


def _text(row, format: Format, common) -> Text:
    text = checks.text(contents.need(row, "text"), "text")
    return Text(text, **common, extra=contents.extra(row, "text"))


def _conversation(row, format: Format, common) -> Conversation:
    turns = contents.system(
        row, checks.messages(contents.need(row, "messages"), "messages")
    )
    checks.check_order(turns, "messages")
    if all(turn.role in ("system", "developer") for turn in turns):
        raise Flaw("`messages` holds only a system message", "Add a turn of each side.")
    if not any(turn.role == "assistant" for turn in turns):
        raise Flaw(
            "`messages` has no assistant turn to train on",
            "Add one, or remove the row.",
        )
    return Conversation(turns, **common, extra=contents.extra(row, "messages"))


def _prompt_only(row, format: Format, common) -> PromptOnly:
    return PromptOnly(
        contents.prompt(row, format), **common, extra=contents.extra(row, "prompt")
    )


def _completion(row, format: Format, common) -> Completion:
    prompt, completion = (
        contents.prompt(row, format),
        contents.response(row, "completion", format),
    )
    extra = contents.extra(row, "prompt", "completion")
    return Completion(prompt, completion, **common, extra=extra)


def _preference(row, format: Format, common) -> Preference:
    margin = checks.number(row["margin"], "margin") if "margin" in row else None
    if format.implicit:
        sides = [
            contents.content(row, k, format, "assistant")
            for k in ("chosen", "rejected")
        ]
        _no_tie(sides[0] == sides[1], "`chosen` and `rejected` are identical")
        if isinstance(sides[0], str):
            prompt, chosen, rejected = split_text(*sides)  # pyright: ignore
            for side, text in (("chosen", chosen), ("rejected", rejected)):
                checks.text(text, f"{side} behind the shared prompt")
        else:
            parts = split_messages(*sides)  # pyright: ignore
            prompt = contents.checked_prompt(contents.system(row, parts[0]))
            chosen, rejected = parts[1:]
            checks.check_order(chosen, "chosen", first="assistant")
            checks.check_order(rejected, "rejected", first="assistant")
    else:
        prompt = contents.prompt(row, format)
        chosen, rejected = (
            contents.response(row, k, format) for k in ("chosen", "rejected")
        )
        _no_tie(chosen == rejected, "`chosen` and `rejected` are identical")
    if format.name == "ultrafeedback":
        _no_tie(margin == 0, "both sides have the same score")
    extra = contents.extra(row, "prompt", "chosen", "rejected", "margin")
    return Preference(prompt, chosen, rejected, margin, **common, extra=extra)


def _unpaired(row, format: Format, common) -> Unpaired:
    label = checks.flag(contents.need(row, "label"), "label")
    extra = contents.extra(row, "prompt", "completion", "label")
    response = contents.response(row, "completion", format)
    return Unpaired(
        contents.prompt(row, format), response, label, **common, extra=extra
    )


def _scored(row, format: Format, common) -> Scored:
    score = checks.number(contents.need(row, "score"), "score")
    extra = contents.extra(row, "prompt", "completion", "score")
    response = contents.response(row, "completion", format)
    return Scored(contents.prompt(row, format), response, score, **common, extra=extra)


def _rankings(row, format: Format, common) -> Rankings:
    answers = checks.entries(contents.need(row, "completions"), "completions")
    by = "scores" if "scores" in row else "ranks"
    sign = 1.0 if by == "scores" else -1.0
    values = checks.entries(contents.need(row, by), by)
    scores = tuple(sign * checks.number(v, f"{by}[{i}]") for i, v in enumerate(values))
    checks.same_length(answers, "completions", scores, by)
    names = [f"completions[{i}]" for i in range(len(answers))]
    named = dict(zip(names, answers, strict=True))
    completions = tuple(contents.response(named, name, format) for name in names)
    _no_tie(len(set(scores)) < 2, f"all {len(scores)} completions have the same rank")
    extra = contents.extra(row, "prompt", "completions", "ranks", "scores")
    return Rankings(
        contents.prompt(row, format), completions, scores, **common, extra=extra
    )


def _stepwise(row, format: Format, common) -> Stepwise:
    steps = checks.entries(contents.need(row, "completions"), "completions")
    steps = tuple(checks.text(s, f"completions[{i}]") for i, s in enumerate(steps))
    labels = checks.entries(contents.need(row, "labels"), "labels")
    labels = tuple(checks.flag(v, f"labels[{i}]") for i, v in enumerate(labels))
    checks.same_length(steps, "completions", labels, "labels")
    extra = contents.extra(row, "prompt", "completions", "labels")
    return Stepwise(contents.prompt(row, format), steps, labels, **common, extra=extra)


def _tokenised(row, format: Format, common) -> Tokenised:
    extra = contents.extra(row, "input_ids", "loss_mask", "attention_mask")
    return Tokenised(*_ids(row, ""), **common, extra=extra)


def _tokenised_pair(row, format: Format, common) -> TokenisedPair:
    sides = [Tokenised(*_ids(row, f"{side}_")) for side in ("chosen", "rejected")]
    _no_tie(sides[0] == sides[1], "both sides have the same tokens")
    used = [
        f"{s}_{c}" for s in ("chosen", "rejected") for c in ("input_ids", "loss_mask")
    ]
    return TokenisedPair(*sides, **common, extra=contents.extra(row, *used))


def _ids(row: Mapping[str, Any], side: str) -> tuple[tuple[int, ...], Any]:
    ids = checks.entries(contents.need(row, f"{side}input_ids"), f"{side}input_ids")
    for i, token in enumerate(ids):
        if isinstance(token, bool) or not isinstance(token, int) or token < 0:
            raise Flaw(
                f"`{side}input_ids[{i}]` is {token!r}, not a token id",
                "Ids are whole numbers from 0 on.",
            )
    if f"{side}loss_mask" not in row:
        return tuple(ids), None
    mask = checks.entries(row[f"{side}loss_mask"], f"{side}loss_mask")
    checks.same_length(ids, f"{side}input_ids", mask, f"{side}loss_mask")
    return tuple(ids), tuple(
        checks.flag(v, f"{side}loss_mask[{i}]") for i, v in enumerate(mask)
    )


def _no_tie(equal: bool, what: str) -> None:
    if equal:
        raise _TieFlaw(what, "Ties teach nothing and are left out.")


_BUILDERS: dict[str, Callable[..., Record]] = {
    "text": _text,
    "messages": _conversation,
    "prompt-only": _prompt_only,
    "prompt-completion": _completion,
    "preference": _preference,
    "unpaired": _unpaired,
    "scored": _scored,
    "rankings": _rankings,
    "stepwise": _stepwise,
    "tokenised": _tokenised,
    "tokenised-pair": _tokenised_pair,
}
