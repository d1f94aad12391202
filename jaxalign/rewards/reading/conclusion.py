"""Where in a completion its result stands."""

import re
from typing import NamedTuple

_ANSWER_IS = re.compile(
    r"\banswer\b[^.:=\n]{0,60}?(?:\bis\b|\bwas\b|\bwould be\b|[:=])[\s*_$:=]*",
    re.IGNORECASE,
)
_ARITHMETIC = re.compile(
    r"\s*(?:[-+*/×÷^·]|\\times|\\cdot|\\div|times\b|plus\b|minus\b|divided by\b)"
)
_NUMBER_IN_FRONT = re.compile(
    r"(?!.{0,20}\b(?:between|from|not|n't|either|neither|than|least|most)\b)"
    r"[^\d\n.;]{0,20}?-?[$€£]?[\d][\d.,/]*(?<![.,])%?"
)


class Conclusion(NamedTuple):
    """A part of a text.

    Attributes:
      text: The part that holds the result.
      first: Whether it is the first number there; else the last one.
      is_marked: Whether a mark sets it apart, so that nothing else is in it.
    """

    text: str
    first: bool
    is_marked: bool


def conclusion(text: str) -> Conclusion:
    r"""The part of a text that holds its result.

    What stands behind the last `####`; in the last `\boxed{}`; behind the last "answer
    is"; or all of it.

    >>> conclusion("#### 5 days")
    Conclusion(text=' 5 days', first=True, is_marked=True)
    >>> conclusion(r"\boxed{18} dollars over 3 days").text
    '18'
    >>> conclusion("The answer is 6 + 6 = 12, in 3 days").text
    ' 12, in 3 days'
    """
    _, mark, tail = text.rpartition("####")
    if mark:
        return Conclusion(tail, first=True, is_marked=True)
    box = _boxed(text)
    if box is not None:
        # Of `x = 18` the right side is the result.
        return Conclusion(box.rpartition("=")[2], first=False, is_marked=True)
    for found in reversed(list(_ANSWER_IS.finditer(text))):
        line = text[found.end() :].partition("\n")[0]
        if "=" in line:
            return Conclusion(line.rpartition("=")[2], first=True, is_marked=False)
        number = _NUMBER_IN_FRONT.match(line)
        if number and not _ARITHMETIC.match(line[number.end() :]):
            return Conclusion(line, first=True, is_marked=False)
        break
    return Conclusion(text, first=False, is_marked=False)


def _boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{}`, with the braces in it."""
    start = max(text.rfind(r"\boxed{"), text.rfind(r"\fbox{"))
    if start < 0:
        return None
    start = text.index("{", start) + 1
    depth = 1
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i]
    return None  # cut off
