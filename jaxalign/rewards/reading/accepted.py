"""The accepted answers of a row, whatever a table made of them."""

import math
from decimal import Decimal
from typing import Any

import numpy as np

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion

_YES_AND_NO = {
    True: ["True", "true", "Yes", "yes"],
    False: ["False", "false", "No", "no"],
}


def accepted_answers(completion: Completion, column: str) -> list[str] | None:
    """The accepted answers of a row, as texts.

    A text, a number, true or false, or a list of such. A table that has missing numbers
    makes 4 a 4.0: that accepts `4` and `4.0`. True accepts `True` and `Yes`, false
    `False` and `No`.

    Args:
      completion: With the row.
      column: Name of the column.

    Returns:
      None where the column holds None, or NaN, which tables make of it.

    Raises:
      UserError: The row has no such column, or what it holds is no answer.

    >>> accepted_answers(Completion("2 + 2?", "4", columns={"answer": 4.0}), "answer")
    ['4', '4.0']
    """
    value = _value(completion, column)
    if value is None:
        return None
    answers = []
    for x in value if isinstance(value, list) else [value]:
        texts = _texts(x)
        if texts is None:
            raise UserError(
                f"row {completion.index}: `{column}` is {value!r:.80}, not an answer "
                "or a list of answers (texts, numbers, true or false). Mend the row, "
                "or name another column: (column=NAME)."
            )
        answers += texts
    return answers


def opposite_answers(completion: Completion, column: str) -> list[str]:
    """What must not stand beside an answer that is true or false: the other one.

    >>> opposite_answers(Completion("?", "x", columns={"answer": True}), "answer")[-1]
    'no'
    """
    value = _value(completion, column)
    return _YES_AND_NO[not value] if isinstance(value, bool) else []


def _value(completion: Completion, column: str) -> Any:
    value = completion.columns.get(column, ...)
    if value is ...:
        has = ", ".join(completion.columns) or "none"
        raise UserError(
            f"row {completion.index} has no column `{column}` with the accepted "
            f"answers; its columns are {has}. Name it: (column=NAME)."
        )
    if isinstance(value, tuple | np.ndarray):
        value = list(value)
    value = _plain(value)
    missing = isinstance(value, float | Decimal) and math.isnan(value)
    return None if missing else value


def _texts(value: Any) -> list[str] | None:
    """A single answer as texts, or None if it is none."""
    value = _plain(value)
    if isinstance(value, bool):
        # Before numbers: to Python True is an int.
        return _YES_AND_NO[value]
    if isinstance(value, str | int):
        return [str(value)]
    if isinstance(value, float | Decimal) and math.isfinite(value):
        whole = [str(int(value))] if value == int(value) else []
        return [*whole, str(value)]
    return None


def _plain(value: Any) -> Any:
    """Python's own number for NumPy's; 0.1 stays 0.1 where it had 32 bits."""
    if isinstance(value, np.floating):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value
