"""Formulas: the plain numbers among them, and the rest by math-verify."""

import functools
import importlib.util
import re
import warnings

from jaxalign.errors import UserError
from jaxalign.rewards.reading.formula_process import FormulaProcess

_GROUP = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
_STEPS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=\d)(?:\{,\}|\\[,!:; ]|~)(?=\d{3}(?!\d))", ""),  # 1{,}000
        (
            rf"\\(?:text|mathrm|textbf|mathbf|textit|mathit|mbox|operatorname)\s*{_GROUP}",
            r" \1 ",
        ),
        (r"(?<=\d)\s*(?=\\[dtc]?frac)", " "),  # 1\frac{1}{2}
        (r"\\[dtc]?frac\s*(\d)\s*(\d)", r"\1/\2"),
        (
            r"\\[dtc]?frac\s*\{\s*(-?)\s*([\d.]+)\s*\}\s*\{\s*([\d.]+)\s*\}",
            r"\1\2/\3",
        ),
        (r"\\[dtc]?frac\s*\{\s*(-?)\s*([\d.]+)\s*\}\s*(\d)", r"\1\2/\3"),
        (r"\\times\b|\\cdot\b", "×"),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree\b", "°"),
        (r"\^\s*\{\s*([-+]?\d+)\s*\}", r"^\1"),
        (r"\\(?:left|right|displaystyle|quad|qquad|[()\[\],;:! ])", " "),
        (r"\\([$%#&_{}])", r"\1"),
        (r"\\(?:boxed|fbox)\s*" + _GROUP, r" \1 "),
    )
]
_FORMULA = re.compile(
    r"\\|(?<![\w$])[a-zA-Z]\s?\^|\^\s*[({a-zA-Z]|[a-zA-Z)]\s?[*^]\s?\d|_\{|\bsqrt\b|√|π|∞|∪|"
    r"\bpi\b(?=\s*[-+*/)]|$)|\d[a-zA-Z]\s?[-+*/^=]\s?[\da-zA-Z]|[-+*/=]\s?\d*[a-z]\b(?!\w)\s*[-+*/^]|"
    r"[(\[]\s*-?[\w.^/\\]+(?:\s*,\s*-?[\w.^/\\]+)+\s*[)\]]|\{\s*-?\d[\d., ]*\}"
)
_EXTRA = "pip install 'jaxalign[math]'"


def without_latex(text: str) -> str:
    r"""The text with its plain numbers as they are written without LaTeX.

    >>> without_latex(r"$\frac{3}{4}$ of 1{,}000 is 7.5 \times 10^{2}")
    '$3/4$ of 1000 is 7.5 × 10^2'
    """
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return text


def is_formula(text: str) -> bool:
    r"""Whether a text is more than numbers and words: to be read as mathematics.

    >>> [is_formula(x) for x in (r"\frac{3}{4}", "5 m/s", r"\sqrt{2}", "2x + 1")]
    [False, False, True, True]
    """
    return bool(_FORMULA.search(without_latex(text)))


def same_formula(accepted: str, text: str, *, needed: bool) -> bool:
    """Whether a text comes to a formula, as math-verify sees it.

    Args:
      accepted: The formula.
      text: A completion.
      needed: Whether the accepted answer can be compared in no other way.

    Raises:
      UserError: math-verify is not installed, and needed.

    Warns:
      UserWarning: It is not installed, and the text counts as wrong for that.
    """
    if importlib.util.find_spec("math_verify") is None:
        if needed:
            raise UserError(
                f"the accepted answer {accepted!r:.80} is a formula, and formulas are "
                f"compared by math-verify, which is not installed: {_EXTRA}. Or give "
                "answers that are plain numbers."
            )
        _warn()
        return False
    if not text.strip():
        return False
    return FormulaProcess.shared().same(accepted, text)


@functools.cache
def _warn() -> None:
    warnings.warn(
        "a completion ends with a formula, which counts as wrong since math-verify is "
        f"not installed: {_EXTRA}.",
        stacklevel=2,
    )
