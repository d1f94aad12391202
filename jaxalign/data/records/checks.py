"""What the values of a row must be before anybody spends a token on them."""

import re
from collections.abc import Mapping
from typing import Any

from jaxalign.data.sources import strict_json
from jaxalign.errors import UserError

# JSON's grammar, not Python's: `007`, `1_000` and `nan` are no numbers.
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")


class Flaw(UserError):
    """What is wrong with a row and how to mend it, before its place is known."""

    def __init__(self, what: str, fix: str):
        """Takes both parts; `to_record` adds the place."""
        super().__init__(f"{what}. {fix}")
        self.what, self.fix = what, fix


def name_of_type(value: Any) -> str:
    """What a value is, in words of JSON.

    >>> name_of_type(5), name_of_type(None), name_of_type(["a"])
    ('a number (5)', 'null', 'a list')
    """
    if value is None:
        return "null"
    # Before numbers, because a bool is one in Python.
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return f"a number ({value})"
    if isinstance(value, str):
        return "text"
    return "an object" if isinstance(value, Mapping) else "a list"


def text(value: Any, field: str, *, blank: bool = False) -> str:
    """`value`, if it is text that a tokenizer can take.

    Raises:
      Flaw: if it is no string, holds NUL or half of a surrogate pair, or is blank
        although `blank` is False.
    """
    if not isinstance(value, str):
        raise Flaw(
            f"`{field}` is {name_of_type(value)}, not text",
            "Write it as a string, or name another column with --columns.",
        )
    if not blank and not value.strip():
        what = "an empty string" if not value else "only white space"
        raise Flaw(f"`{field}` is {what}", "Give it text, or remove the row.")
    if (at := value.find("\0")) >= 0:
        raise Flaw(
            f"`{field}` holds a NUL character at position {at}",
            "Remove it: tr -d '\\000', or \"\\u0000\" in the JSON.",
        )
    # JSON can spell half a pair, Python keeps it, and tokenizers fail on it later.
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Flaw(
            f"`{field}` holds half of a surrogate pair "
            f"(U+{ord(value[error.start]):04X}) at position {error.start}",
            "Write the whole pair, or remove it; text cut in the middle does this.",
        ) from error
    return value


def parsed(value: Any, field: str) -> Any:
    """`value`, or what it says if it is JSON text, as flat file formats need it."""
    if not isinstance(value, str):
        return value
    try:
        return strict_json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Flaw(
            f"`{field}` is text that is not JSON ({error})",
            f"Write `{field}` as JSON, or rename the column if it is another thing.",
        ) from error


def need(row: Mapping[str, Any], column: str) -> Any:
    """The column's value; `Flaw` if the row has none."""
    if row.get(column) is None:
        has = ", ".join(sorted(k for k in row if row[k] is not None))
        raise Flaw(
            f"no `{column}`; the row has {has or 'no column with a value'}",
            f"Add it, or name the column: --columns {column}=NAME.",
        )
    return row[column]


def entries(value: Any, field: str) -> list:
    """`value` as a list with at least one entry, else `Flaw`."""
    if not isinstance(value, list | tuple) or not value:
        what = "an empty list" if value in ([], ()) else name_of_type(value)
        raise Flaw(f"`{field}` is {what}, not a list", "Give it a list with entries.")
    return list(value)


def same_length(a, a_name: str, b, b_name: str) -> None:
    """Raises `Flaw` unless both lists are equally long."""
    if len(a) != len(b):
        raise Flaw(
            f"`{a_name}` has {len(a)} entries and `{b_name}` {len(b)}",
            "Both have one entry for each.",
        )


def is_number(value: Any) -> bool:
    """Whether `value` is a number, or text that is one in JSON, as in a CSV file.

    >>> is_number(2), is_number("2.5"), is_number(True), is_number("007")
    (True, True, False, False)
    """
    if isinstance(value, str):
        return _NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: Any, field: str) -> float:
    """`value` as a finite number, else `Flaw`; the text of a number is one."""
    if not is_number(value):
        raise Flaw(
            f"`{field}` is {name_of_type(value)}, not a number", "Give a number."
        )
    try:
        value = float(value)
    # An integer of more than 308 digits is text of a number and no float.
    except OverflowError:
        value = float("inf")
    # In this form NaN fails, too.
    if not abs(value) < float("inf"):
        raise Flaw(f"`{field}` is {value}, not finite", "Give a finite number.")
    return value


def flag(value: Any, field: str) -> bool:
    """`value` as a bool, else `Flaw`; 0 and 1 and the texts of both count as such."""
    if isinstance(value, str):
        texts = {"true": True, "false": False, "1": True, "0": False}
        value = texts.get(value.strip().lower(), value)
    if not isinstance(value, bool | int) or value not in (0, 1):
        raise Flaw(f"`{field}` is {value!r}, not a boolean", "Write true or false.")
    return bool(value)
