"""From a checked row to its record."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxalign.data.records import checks, contents, keys, tokens
from jaxalign.data.records.calls import with_tools
from jaxalign.data.records.cells import unwrapped
from jaxalign.data.records.checks import Flaw
from jaxalign.data.records.converters import CONVERTERS
from jaxalign.data.records.formats import Format, renamed
from jaxalign.data.records.messages import check_roles, messages
from jaxalign.data.records.prefix import split_messages, split_text
from jaxalign.data.records.record import (
    Conversation,
    Preference,
    PromptCompletion,
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
        # A null is a column that the row lacks: Arrow and CSV give every row all of
        # them.
        row = {k: v for k, v in named.items() if v is not None}
        empty = {k: None for k in named if k not in row}
        # The converters read two columns that the shape itself does not know.
        row = unwrapped(row, (*keys.READ[format.shape], "conversations", "history"))
        convert = CONVERTERS.get((format.name, format.shape))
        rows = [row] if convert is None else convert(row, not format.conversational)
        return [_record(x, format, where, empty) for x in rows]
    except Flaw as flaw:
        kind = Tie if isinstance(flaw, _TieFlaw) else RowError
        raise kind(where, flaw.what, flaw.fix) from None
    except RecursionError as error:
        raise RowError(where, "nested too deeply", "Flatten the row.") from error


def _record(row: Mapping[str, Any], format: Format, where: str, empty) -> Record:
    row = with_tools(row) if format.conversational else row
    left = keys.unread(row, format.shape, format.conversational)
    keys.check_columns(row, left, format.shape)
    common = contents.common(row, left, format, where)
    if format.shape == "prompt-only":
        # Prompts keep their empty columns: `answer: null` tells a reward something.
        empty = keys.unread(empty, format.shape, format.conversational)
        common["extra"] = {**empty, **common["extra"]}
    return _BUILDERS[format.shape](row, format, common)


def to_record(row: Mapping[str, Any], format: Format, where: str = "row") -> Record:
    """The record of a row that gives exactly one; see `to_records`.

    >>> row = {"prompt": "2 + 2 =", "completion": " 4"}
    >>> format = Format("prompt-completion", "prompt-completion")
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
    text = checks.text(checks.need(row, "text"), "text")
    return Text(text, **common)


def _conversation(row, format: Format, common) -> Conversation:
    turns = contents.system(row, messages(checks.need(row, "messages"), "messages"))
    check_roles(turns, "messages")
    if all(turn.role in ("system", "developer") for turn in turns):
        raise Flaw("`messages` holds only a system message", "Add a turn of each side.")
    if not any(turn.role == "assistant" and turn.trained for turn in turns):
        raise Flaw(
            "`messages` has no assistant turn to train on",
            "Add one, or remove the row.",
        )
    return Conversation(turns, **common)


def _prompt_only(row, format: Format, common) -> PromptOnly:
    return PromptOnly(contents.prompt(row, format), **common)


def _completion(row, format: Format, common) -> PromptCompletion:
    prompt, completion = (
        contents.prompt(row, format),
        contents.response(row, "completion", format),
    )
    return PromptCompletion(prompt, completion, **common)


def _preference(row, format: Format, common) -> Preference:
    margin = checks.number(row["margin"], "margin") if "margin" in row else None
    if format.implicit:
        if "prompt" in row:
            raise Flaw(
                "the row has a `prompt`, which the first rows have not",
                "Give all rows one, or put those with one into a file of their own.",
            )
        sides = [
            contents.content(row, k, format, "assistant")
            for k in ("chosen", "rejected")
        ]
        # Identical sides have no prompt to be found either; that they tie says more.
        _no_tie(sides[0] == sides[1], "`chosen` and `rejected` are identical")
        if isinstance(sides[0], str):
            prompt, chosen, rejected = split_text(*sides)  # pyright: ignore
            # The cut may leave one side blank, which checks of the whole text cannot
            # see.
            for side, text in (("chosen", chosen), ("rejected", rejected)):
                checks.text(text, f"{side} behind the shared prompt")
        else:
            parts = split_messages(*sides)  # pyright: ignore
            prompt = contents.checked_prompt(contents.system(row, parts[0]))
            chosen, rejected = parts[1:]
            contents.checked_response(chosen, "chosen")
            contents.checked_response(rejected, "rejected")
    else:
        prompt = contents.prompt(row, format)
        chosen, rejected = (
            contents.response(row, k, format) for k in ("chosen", "rejected")
        )
        _no_tie(chosen == rejected, "`chosen` and `rejected` are identical")
    # Here the margin is a difference of scores, and 0 says that neither side won.
    if format.name == "ultrafeedback":
        _no_tie(margin == 0, "both sides have the same score")
    return Preference(prompt, chosen, rejected, margin, **common)


def _unpaired(row, format: Format, common) -> Unpaired:
    label = checks.flag(checks.need(row, "label"), "label")
    response = contents.response(row, "completion", format)
    return Unpaired(contents.prompt(row, format), response, label, **common)


def _scored(row, format: Format, common) -> Scored:
    score = checks.number(checks.need(row, "score"), "score")
    response = contents.response(row, "completion", format)
    return Scored(contents.prompt(row, format), response, score, **common)


def _rankings(row, format: Format, common) -> Rankings:
    answers = checks.entries(checks.need(row, "completions"), "completions")
    if "scores" in row and "ranks" in row:
        raise Flaw("the row has both `scores` and `ranks`", "Keep one of them.")
    by = "scores" if "scores" in row else "ranks"
    # Rank 1 is the best one, and the highest score is.
    sign = 1.0 if by == "scores" else -1.0
    values = checks.entries(checks.need(row, by), by)
    scores = tuple(sign * checks.number(v, f"{by}[{i}]") for i, v in enumerate(values))
    checks.same_length(answers, "completions", scores, by)
    # Each one is read as a column of its own, so that a flaw names its number.
    names = [f"completions[{i}]" for i in range(len(answers))]
    named = dict(zip(names, answers, strict=True))
    completions = tuple(contents.response(named, name, format) for name in names)
    _no_tie(len(set(scores)) < 2, f"all {len(scores)} completions have the same rank")
    return Rankings(contents.prompt(row, format), completions, scores, **common)


def _stepwise(row, format: Format, common) -> Stepwise:
    steps = checks.entries(checks.need(row, "completions"), "completions")
    steps = tuple(checks.text(s, f"completions[{i}]") for i, s in enumerate(steps))
    labels = checks.entries(checks.need(row, "labels"), "labels")
    labels = tuple(checks.flag(v, f"labels[{i}]") for i, v in enumerate(labels))
    checks.same_length(steps, "completions", labels, "labels")
    return Stepwise(contents.prompt(row, format), steps, labels, **common)


def _tokenised(row, format: Format, common) -> Tokenised:
    return dataclasses.replace(tokens.tokenised(row), **common)


def _tokenised_pair(row, format: Format, common) -> TokenisedPair:
    sides = tokens.tokenised_sides(row)
    _no_tie(sides[0] == sides[1], "both sides have the same tokens")
    return TokenisedPair(*sides, **common)


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
