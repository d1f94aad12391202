"""What a reward function returned, as numbers; what is no number is named."""

import decimal
import math
import numbers
import reprlib
from typing import Any, NamedTuple, TypeAlias


class NoNumber(NamedTuple):
    """One of the values returned cannot be used.

    Attributes:
      what: As the end of a sentence: `returned nan in place of a finite number`.
    """

    what: str


_SHORT = reprlib.Repr()  # of a list of millions it looks at the first few
_SHORT.maxstring = _SHORT.maxother = 60

Value: TypeAlias = float | None | NoNumber


def values_of(result: Any, n: int) -> list[Value] | str:
    """One number, None or fault for each of `n` completions.

    Taken are lists, tuples and the arrays of any library with one axis, and in them
    numbers of any kind: Python's, fractions, decimals, truth values, scalars of array
    libraries.

    Args:
      result: What the function returned.
      n: Number of completions.

    Returns:
      The values; or, if there is not one for each completion, what is wrong with the
      whole, as the end of a sentence.

    >>> values_of((1, True, None), 3)
    [1.0, 1.0, None]
    >>> values_of([1.0], 2)
    'returned 1 value for 2 completions'
    >>> values_of([10**400], 1)[0].what
    'returned a number (int) beyond 1.8e308'
    """
    listed = _as_list(result)
    if listed is None:
        return f"returned {shown(result)}, not a list of {n} numbers"
    if len(listed) != n:
        values = "value" if len(listed) == 1 else "values"
        completions = "completion" if n == 1 else "completions"
        return f"returned {len(listed)} {values} for {n} {completions}"
    return [_value(x) for x in listed]


def shown(x: Any) -> str:
    """What something is, in a line: its text and its type.

    >>> shown("ab"), shown(None)
    ("'ab' (str)", 'None')
    """
    try:
        text = _SHORT.repr(x)
    except Exception as error:
        text = f"something whose repr raises {type(error).__name__}"
    line = in_a_line(text, 60)
    return line if x is None else f"{line} ({type(x).__name__})"


def in_a_line(text: str, size: int) -> str:
    r"""Text without line breaks and control characters, and not too long.

    >>> in_a_line("no\n  such \x1b[1mfile", 20)
    'no such [1mfile'
    """
    # Whoever shows a whole file in an error is not printed in whole.
    start = "".join(x for x in text[: 4 * size] if x.isprintable() or x.isspace())
    line = " ".join(start.split())
    return line if len(line) <= size else line[:size] + " ..."


def _as_list(result: Any) -> list[Any] | None:
    if not isinstance(result, list | tuple) and hasattr(result, "tolist"):
        try:
            result = result.tolist()
        except Exception:  # whatever it is, it is no array
            return None
    return list(result) if isinstance(result, list | tuple) else None


def _value(x: Any) -> Value:
    number = _as_scalar(x)
    if number is None:
        return None
    if not isinstance(number, numbers.Real | decimal.Decimal):
        return NoNumber(f"returned {shown(x)} in place of a number")
    try:
        value = float(number)
    except (OverflowError, ValueError):  # too large; a signalling NaN
        return NoNumber(f"returned a number ({type(number).__name__}) beyond 1.8e308")
    if not math.isfinite(value):
        return NoNumber(f"returned {value} in place of a finite number")
    return value


def _as_scalar(x: Any) -> Any:
    """Scalars and one-element arrays of any library, as Python has them."""
    if isinstance(x, str | bytes | list | tuple | dict | numbers.Real | None):
        return x
    for name in ("item", "tolist"):
        try:
            return getattr(x, name)()
        except Exception:  # not there, or an array of several
            continue
    return x
