"""Numbers and formulas compared by value."""

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.reading.accepted import accepted_answers
from jaxalign.rewards.reading.conclusion import conclusion
from jaxalign.rewards.reading.latex import is_formula, same_formula, without_latex
from jaxalign.rewards.reading.numeral import Numeral, numerals
from jaxalign.rewards.reading.reply import reply_of

_PROSE = 4
"""Words from which an accepted answer is a worked solution, whose end counts."""


def number_match(
    completions: list[Completion], *, column: str = "answer"
) -> list[float | None]:
    r"""1 if the number that the completion ends with is that of the answer, else 0.

    The number is the one behind the last `####`, as in GSM8K (Cobbe et al.,
    https://arxiv.org/abs/2110.14168), else in the last `\boxed{}`, else behind the last
    "answer is", else the last one in the text. A completion without a number gets 0.

    Read are signs, decimals, fractions (3/4, ¾, 1 1/2, `\frac{3}{4}`), powers (2e3,
    2 × 10^3), thousands set apart (1,000; 1 000; `1{,}000`; 1.000,50) and a decimal
    comma (3,14). Units and currencies are passed over. A percent sign or a word such
    as million may be left out on one side: 50% is 50 and 0.5, and 5 million is 5 where
    the answer does not say million.

    An answer that is a formula (`\sqrt{2}`, `x^2 + 1`, `(1, 2)`) is compared by
    math-verify, the extra `math`; so is a formula in a completion.

    Args:
      completions: What to score; thoughts are left out, see `reply_of`.
      column: Column with the answer (a number, a formula, or a solution that ends with
        it), or a list of them; None there: not applicable.

    Returns:
      1, 0 or None for each.

    Raises:
      UserError: A row has no such column, or its answer holds no number, or it is a
        formula and math-verify is not installed.

    >>> columns = {"answer": "16 - 3 - 4 = 9, 9 * 2 = 18 #### 18"}
    >>> number_match([Completion("?", "So she makes $18.00.", columns=columns)])
    [1.0]
    """
    values: list[float | None] = []
    for completion in completions:
        wanted = accepted_values(completion, column)
        right = wanted and is_right(completion.completion, wanted)
        values.append(None if wanted is None else float(bool(right)))
    return values


def accepted_values(completion: Completion, column: str) -> list[Numeral | str] | None:
    """The accepted answers of a row as numbers, or as the text of a formula.

    Returns:
      None where the column holds None.

    Raises:
      UserError: None of the answers is either.

    >>> row = Completion("?", "", columns={"answer": ["1,000 km", "x^2"]})
    >>> [str(getattr(x, "value", x)) for x in accepted_values(row, "answer")]
    ['1000', 'x^2']
    """
    answers = accepted_answers(completion, column)
    if answers is None:
        return None
    values = [x for x in map(_accepted, answers) if x is not None]
    if answers and not values:
        raise UserError(
            f"row {completion.index}: `{column}` is {answers[-1]!r:.80}, which holds "
            "no number, or several of which none is marked as the answer. Write the "
            "number alone, or behind ####, or name the column with the number: "
            "(column=NAME)."
        )
    return values


def is_right(text: str, wanted: list[Numeral | str]) -> bool:
    """Whether a completion ends with one of the accepted numbers or formulas.

    >>> is_right("That makes 50%.", numerals("or 0.5"))
    True
    """
    text = reply_of(text)
    found = final_number(text)
    for value in wanted:
        if isinstance(value, Numeral) and found is not None:
            if found.is_same(value):
                return True
        elif isinstance(value, str) or is_formula(conclusion(text).text):
            written = value if isinstance(value, str) else str(value.value)
            if same_formula(written, text, needed=isinstance(value, str)):
                return True
    return False


def final_number(text: str) -> Numeral | None:
    r"""The number that a text comes to; see `number_match`. None without one.

    >>> texts = ["#### -1,200 metres", "5-3 = 2.50", r"so \boxed{\frac{3}{4}}", "none"]
    >>> [str(x.value) if x else None for x in map(final_number, texts)]
    ['-1200', '5/2', '3/4', None]
    """
    found = conclusion(text)
    if found.is_marked and is_formula(found.text):
        return None
    numbers = numerals(without_latex(found.text))
    if not numbers:
        return None
    return numbers[0] if found.first else numbers[-1]


def _accepted(answer: str) -> Numeral | str | None:
    found = conclusion(answer)
    text = without_latex(found.text)
    numbers = numerals(text)
    if is_formula(found.text) or (not numbers and "\\" in answer):
        return answer
    words = [x for x in text.split() if x.isalpha()]
    if len(numbers) == 1 or (numbers and (found.is_marked or len(words) >= _PROSE)):
        return numbers[0] if found.first else numbers[-1]
    return None
