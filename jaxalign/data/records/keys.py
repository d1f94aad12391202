"""Every key of a row that means something, and what becomes of it.

A column is read by the row's shape (`READ`) or by chat templates (`CHAT`). What is left
of a prompt is kept for rewards. What is left of a row to train on is reported as
unread, unless its name says what is trained, and how much: then nobody may pass over
it, and the row is refused (`check_columns`). The keys of messages are in `messages.py`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from jaxalign.data.records import checks
from jaxalign.data.records.checks import Flaw

SIDES = ("chosen", "rejected")

SCORES = ("score_chosen", "score_rejected")
"""Columns whose difference is the margin, in rows of the layout `ultrafeedback`."""

MASKS = ("labels", "loss_mask", "completion_mask", "assistant_masks", "assistant_mask")
"""Columns with one entry per token that say which of them are trained."""

LAYOUT = (
    "attention_mask",
    "position_ids",
    "token_type_ids",
    "special_tokens_mask",
    "seq_lengths",
)
"""Columns that say how token ids are laid out; each is checked against the ids."""

UNTRAINED = -100
"""The label of a token that is not trained."""

IDS = ("input_ids", "ids")
"""What token ids are called, behind `prompt_`, `completion_`, `chosen_`, ..."""


def _of_tokens(*sides: str) -> tuple[str, ...]:
    names = [f"{side}_{name}" for side in sides for name in (*IDS, *MASKS, *LAYOUT)]
    return tuple(names)


_WHOLE = ("input_ids", *MASKS, *LAYOUT, "length")

READ: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "messages": ("messages",),
    "prompt-only": ("prompt",),
    "prompt-completion": ("prompt", "completion"),
    "preference": ("prompt", *SIDES, "margin"),
    "unpaired": ("prompt", "completion", "label"),
    "scored": ("prompt", "completion", "score"),
    "rankings": ("prompt", "completions", "ranks", "scores"),
    "stepwise": ("prompt", "completions", "labels"),
    "tokenised": (*_WHOLE, *_of_tokens("prompt", "completion")),
    "tokenised-pair": (*LAYOUT, *_of_tokens("prompt", *SIDES)),
}
"""The columns that each shape reads."""

CHAT = ("tools", "chat_template_kwargs", "system", "system_prompt")
"""The columns that every row reads whose text a chat template renders."""

# What these hold was rendered before: their `tools` stand in the text already.
_TOKENS = ("tokenised", "tokenised-pair")
_RENDERED = ("text", *_TOKENS)

# Read from `Record.extra` by those who ask a record for numbers.
_READ_LATER = ("win_rate_chosen", "win_rate_rejected")
_READ_AND_KEPT = {"question_answer": ("answer",)}

_MEDIA = (
    *("images", "image", "videos", "video", "audio", "audios"),
    *("pixel_values", "image_grid_thw", "input_features"),
)
_WEIGHTS = (
    *("loss_weight", "loss_weights", "loss_scale", "sample_weight", "example_weight"),
    *("weights", "token_weights"),
)
_SWITCHES = ("train", "trained", "trainable", "train_on", "train_on_turn", "loss")
# Names of masks that trainers do not share.
_OTHER_MASKS = (
    *("mask", "target_mask", "response_mask", "action_mask", "prompt_mask"),
    *("train_mask", "label_mask"),
)
_BORDERS = (
    *("prompt_length", "prompt_len", "prompt_lengths", "source_len", "source_length"),
    *("completion_start", "response_start", "loss_start", "cu_seqlens"),
)


def check_columns(row: Mapping[str, Any], left: Mapping[str, Any], shape: str) -> None:
    """Refuses columns that say what is trained in a way that the shape does not read.

    Args:
      row: columns with a value, under their standard names.
      left: those of them that the shape does not read; see `unread`.
      shape: what the row becomes.

    Raises:
      Flaw: names the column. Pictures, film and sound are refused in every shape, the
        others where rows are trained on.
    """
    for name, value in left.items():
        rule = _RULES.get(name)
        # Nothing of a prompt is trained: rewards may read what they like.
        if rule is not None and (shape != "prompt-only" or rule in _OF_ALL):
            rule(name, value, shape)
    if shape in _TOKENS:
        for name, value in left.items():
            _like_a_mask(name, value)
        # A mask says what is trained, and then a border is a note about it.
        if not any(name in row for name in _masks_of(shape)):
            for name in _BORDERS:
                _border(name, left.get(name))


def unread(
    row: Mapping[str, Any], shape: str, conversational: bool = False
) -> dict[str, Any]:
    """The columns that a row of the shape does not read.

    >>> unread({"prompt": "2 + 2 =", "completion": " 4", "id": 7}, "prompt-completion")
    {'id': 7}
    """
    read = _read(shape, conversational)
    return {k: v for k, v in row.items() if k not in read}


@functools.cache
def _read(shape: str, conversational: bool) -> frozenset[str]:
    read = {*READ[shape], *(CHAT if conversational else ())}
    # The weight is of the loss; a prompt has none, and keeps the column for rewards.
    return frozenset(read if shape == "prompt-only" else {*read, "weight"})


def told(extra: Mapping[str, Any], layout: str = "") -> list[str]:
    """Names of the columns of a trained record that nothing reads.

    Args:
      extra: the record's other columns.
      layout: its layout, as `Format.name`; converters may read a column and keep it.
    """
    read = (*_READ_LATER, *_READ_AND_KEPT.get(layout, ()))
    return [name for name in extra if name not in read]


def margin_of(
    margin: float, extra: Mapping[str, Any], layout: str = ""
) -> tuple[str, ...]:
    """The columns that the margin of a pair is from; the others as for `told`.

    >>> margin_of(2.5, {"score_chosen": 8.5, "score_rejected": 6}, "ultrafeedback")
    ('score_chosen', 'score_rejected')
    """
    if layout == "ultrafeedback" and all(name in extra for name in SCORES):
        better, worse = (checks.number(extra[name], name) for name in SCORES)
        if better - worse == margin:
            return SCORES
    return ("margin",)


def _masks_of(shape: str) -> tuple[str, ...]:
    sides = SIDES if shape == "tokenised-pair" else ("completion",)
    return (*MASKS, *(f"{side}_{mask}" for side in sides for mask in MASKS))


def _for_chat(name: str, value: Any, shape: str) -> None:
    # Empty tools and system texts say nothing that a template could have shown.
    if shape not in _RENDERED and value not in ("", [], (), {}, "[]"):
        raise Flaw(
            f"`{name}` is for chat templates, and the rows are plain text",
            "Pass --conversational yes, or remove the column.",
        )


def _media(name: str, value: Any, shape: str) -> None:
    # Arrow keeps lists of nothing for rows without pictures.
    if value and not (isinstance(value, list) and all(v is None for v in value)):
        raise Flaw(
            f"the row has `{name}`, and only text can be trained on",
            "Remove such rows, or the column if it is not needed.",
        )


def _weight(name: str, value: Any, shape: str) -> None:
    values = value if isinstance(value, list | tuple) else [value]
    numbers = [v for v in values if checks.is_number(v)]
    if any(checks.number(v, name) != 1 for v in numbers):
        raise Flaw(
            f"`{name}` is other than 1, and no loss takes weights yet",
            "Remove the column, or rename it with --columns.",
        )


def _switch(name: str, value: Any, shape: str) -> None:
    # `loss: 0` and `train: "phase 1"` are notes about a row, not switches.
    zeros = (False, 0, "0") if name != "loss" else ()
    off = value is False or str(value).strip().lower() == "false"
    if off or any(value == zero for zero in zeros):
        raise Flaw(
            f"`{name}` is {str(value).lower()}: the row is not to be trained",
            "Remove the row, or the column if it means something else.",
        )


def _history(name: str, value: Any, shape: str) -> None:
    if isinstance(value, list | tuple) and value:
        raise Flaw(
            f"`{name}` holds earlier turns, which this format does not read",
            "Put them into the prompt as messages, or remove the column.",
        )


def _mask(name: str, value: Any, shape: str) -> None:
    listed = isinstance(value, list | tuple) and len(value) > 0
    if shape in _TOKENS and name in _OTHER_MASKS:
        return  # it has ids, and is refused as what it looks like
    if listed and all(isinstance(v, int | float) for v in value):
        raise Flaw(
            f"`{name}` says which tokens are trained, and there are no ids for it",
            "Give the ids in `input_ids` (--format tokenised; for pairs put `chosen_` "
            "and `rejected_` before both), or remove the column.",
        )


def _like_a_mask(name: str, value: Any) -> None:
    """Beside token ids, a list of zeros and ones or with -100 says what is trained."""
    if not isinstance(value, list | tuple) or not value:
        return
    # Lists of true and false count as well: a bool is an int.
    numbers = all(isinstance(v, int) for v in value)
    if numbers and (set(value) <= {0, 1} or UNTRAINED in value):
        raise Flaw(
            f"`{name}` looks like a mask of the token ids, and is not a known one",
            "If it is true where a token is trained, say --columns loss_mask=NAME; "
            "else remove the column.",
        )


def _border(name: str, value: Any) -> None:
    if value is not None:
        raise Flaw(
            f"`{name}` says where something begins, and no mask says what is trained",
            "Add `labels` (-100 where nothing is trained) or `loss_mask`, or remove "
            "the column.",
        )


_Rule: TypeAlias = Callable[[str, Any, str], None]
_OF_ALL: tuple[_Rule, ...] = (_media, _for_chat)
_RULES: dict[str, _Rule] = {
    name: rule
    for rule, names in (
        (_media, _MEDIA),
        (_for_chat, ("tools", "system", "system_prompt")),
        (_weight, _WEIGHTS),
        (_switch, _SWITCHES),
        (_history, ("history",)),
        (_mask, (*MASKS, *_OTHER_MASKS)),
    )
    for name in names
}
