"""Numbers compared as numbers."""

import re
from fractions import Fraction

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.matching import accepted_answers

# A minus behind a word or a number is none: "5-3" holds 5 and 3. Digits behind a letter
# ("m2", "v1.2") are part of a word.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)])[-−])?\$?(?<![A-Za-z_0-9.])"
    r"(?P<size>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?P<power>[eE][-+]?[0-9]{1,2}(?![0-9]))?(?:/(?P<divisor>[0-9]+))?"
)
_LONGEST = 100  # characters; what is longer is babble, and slow to compute with


def number_match(
    completions: list[Completion], *, column: str = "answer"
) -> list[float | None]:
    """1 if the number that the completion ends with is that of the answer, else 0.

    The number is the one behind the last `####`, as in GSM8K (Cobbe et al.,
    https://arxiv.org/abs/2110.14168), else the last one in the text; see
    `final_number`. A completion without a number gets 0.

    Args:
      completions: What to score.
      column: Column with the answer (a number, or text that ends with it), or a list of
        them; None there: not applicable.

    Returns:
      1, 0 or None for each.

    Raises:
      UserError: A row has no such column, or its answer holds no number.

    >>> columns = {"answer": "16 - 3 - 4 = 9, 9 * 2 = 18 #### 18"}
    >>> number_match([Completion("?", "So she makes $18.00.", columns=columns)])
    [1.0]
    """
    values: list[float | None] = []
    for completion in completions:
        wanted = accepted_numbers(completion, column)
        right = wanted and final_number(completion.completion) in wanted
        values.append(None if wanted is None else float(bool(right)))
    return values


def accepted_numbers(completion: Completion, column: str) -> set[Fraction] | None:
    """The numbers that the accepted answers of a row end with; None if it has none."""
    answers = accepted_answers(completion, column)
    if answers is None:
        return None
    numbers = {final_number(x) for x in answers} - {None}
    if not numbers:
        raise UserError(
            f"row {completion.index}: `{column}` is {answers[-1:]!r:.80}, which holds "
            "no number. Name the column with the number: (column=NAME)."
        )
    return {x for x in numbers if x is not None}


def final_number(text: str) -> Fraction | None:
    """The first number behind the last `####`, or else the last number; exact.

    Thousands may be set apart by commas; `$` is passed over, `3/4` and `2e3` are read.

    >>> [str(final_number(x)) for x in ("#### -1,200 metres", "5-3 = 2.50", "none")]
    ['-1200', '5/2', 'None']
    """
    _, mark, tail = text.rpartition("####")
    numbers = [n for m in _NUMBER.finditer(tail) if (n := _value(m)) is not None]
    if not numbers:
        return None
    return numbers[0] if mark else numbers[-1]


def _value(match: re.Match[str]) -> Fraction | None:
    if len(match[0]) > _LONGEST or not int(match["divisor"] or "1"):
        return None
    size = Fraction(match["size"].replace(",", "") + (match["power"] or ""))
    return (-size if match["sign"] else size) / int(match["divisor"] or "1")
