"""Completions compared as text with the accepted answers of a column."""

import re
import unicodedata
from collections.abc import Callable

from jaxalign.rewards.completion import Completion
from jaxalign.rewards.reading.accepted import accepted_answers, opposite_answers
from jaxalign.rewards.reading.plain import plain
from jaxalign.rewards.reading.reply import reply_of

_ARTICLES = ("a", "an", "the")
_CURRENCY, _UNIT = "$€£¥₩₹", "%‰°"
_BLANKLESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
)
_SIGN = rf"(?:(?![{_BLANKLESS}])[^\W_])"  # a letter or a digit
# Between two digits a sign is part of the number, as a sign before the first one is;
# within a word (U.S.A., O'Neill, Jean-Luc) it joins two parts. Languages that set no
# blanks are read character by character.
_TOKEN = re.compile(
    rf"(?P<sign>(?<![\w)])[-+])?(?:(?P<currency>[{_CURRENCY}]) ?(?P<minus>-)?)?"
    r"(?P<number>[0-9]+(?:[.,:/-][0-9]+)*|(?<![\w.])\.[0-9]+)"
    rf"(?P<unit> ?[{_UNIT}{_CURRENCY}])?"
    rf"|(?P<character>[{_BLANKLESS}])"
    rf"|(?P<word>(?!\d){_SIGN}+(?:[-'./&]{_SIGN}+)*)"
    r"(?P<mark>[+#]{1,2}(?!\w)|(?<=\b\w)-(?!\w)|(?<=\b\w\w)-(?!\w))?"
)
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")


def exact_match(
    completions: list[Completion], *, column: str = "answer"
) -> list[float | None]:
    """1 if the completion is an accepted answer, but for white space around it, else 0.

    Args:
      completions: What to score.
      column: Column with the accepted answer, or a list of them; None there: not
        applicable. See `accepted_answers`.

    Returns:
      1, 0 or None for each.

    >>> exact_match([Completion("2 + 2?", " 4", columns={"answer": ["4", "four"]})])
    [1.0]
    """

    def same(text: str, answer: str) -> bool:
        return _composed(text.strip()) == _composed(answer.strip())

    return graded(completions, column, same, whole=True)


def normalized_match(
    completions: list[Completion], *, column: str = "answer"
) -> list[float | None]:
    """1 if the completion is an accepted answer as `normalized` sees it, else 0.

    Args:
      completions: What to score; thoughts are left out, see `reply_of`.
      column: Column with the accepted answer, or a list of them; None there: not
        applicable. See `accepted_answers`.

    Returns:
      1, 0 or None for each.

    >>> normalized_match([Completion("Where?", "The USA.", columns={"answer": "USA"})])
    [1.0]
    """
    return graded(completions, column, is_same)


def contains_answer(
    completions: list[Completion], *, column: str = "answer"
) -> list[float | None]:
    """1 if an accepted answer stands in the completion as whole words, else 0.

    Both are normalised first. A completion that lists every possible answer is right by
    this measure, so use it with a limit on length.

    Args:
      completions: What to score; thoughts are left out, see `reply_of`.
      column: Column with the accepted answer, or a list of them; None there: not
        applicable. See `accepted_answers`.

    Returns:
      1, 0 or None for each.

    >>> contains_answer([Completion("?", "It's the USA!", columns={"answer": "USA"})])
    [1.0]
    """
    return graded(completions, column, is_contained)


def normalized(text: str, joint: str = "") -> str:
    """Small letters, no punctuation, no articles, single blanks; numbers whole.

    The normalisation of Rajpurkar et al. (https://arxiv.org/abs/1606.05250) with two
    changes: it goes by Unicode (`plain`), and nothing is dropped that makes another
    number or name: minus signs, decimals, ranges and dates, currencies, C++ and O-.

    Args:
      text: Any.
      joint: What becomes of a sign within a word: nothing, or a blank.

    >>> normalized("  The  U.S.A. paid “$1,000.50”, or −5 % in C++!")
    'usa paid $1000.50 or -5% in c++'
    """
    return " ".join(_tokens(text, joint))


def is_same(text: str, answer: str) -> bool:
    """Whether the two are equal when normalised, and anything is left of them.

    Jean-Luc is Jean Luc and JeanLuc; 5 is $5, which is not €5.

    >>> is_same("Jean Luc", "jean-luc"), is_same("-5", "5"), is_same("3.14", "314")
    (True, False, False)
    """
    if not _tokens(answer, ""):
        return plain(text).strip() == plain(answer).strip() != ""
    return any(_alike(_tokens(text, x), _tokens(answer, x)) for x in ("", " "))


def is_contained(text: str, answer: str) -> bool:
    """Whether the words of `answer` stand in `text`, in order and side by side.

    >>> is_contained("So it is −5.", "-5"), is_contained("So it is −5.", "5")
    (True, False)
    """
    if all(x in _ARTICLES for x in _tokens(answer, "")):
        return _stands_alone(text, answer.strip())
    # A hyphen may be nothing or a blank: JeanLuc, Jean Luc.
    for joint in ("", " "):
        words, wanted = _tokens(text, joint), _tokens(answer, joint)
        for i in range(len(words) - len(wanted) + 1):
            if _alike(words[i : i + len(wanted)], wanted):
                return True
    return False


def graded(
    completions: list[Completion],
    column: str,
    is_right: Callable[[str, str], bool],
    *,
    whole: bool = False,
) -> list[float | None]:
    """1 where `is_right(completion, answer)` for an accepted answer, else 0; or None.

    Args:
      completions: What to grade.
      column: Column with the accepted answer, or a list of them.
      is_right: Compares two texts.
      whole: Whether thoughts in the completion count.

    Returns:
      None where the column holds None.

    Raises:
      UserError: A row has no such column, or what it holds is no answer.
    """
    values: list[float | None] = []
    for completion in completions:
        answers = accepted_answers(completion, column)
        if answers is None:
            values.append(None)
            continue
        text = completion.completion if whole else reply_of(completion.completion)
        right = any(is_right(text, x) for x in answers) and not any(
            is_right(text, x) for x in opposite_answers(completion, column)
        )
        values.append(float(right))
    return values


def _tokens(text: str, joint: str) -> list[str]:
    tokens = []
    for m in _TOKEN.finditer(plain(text).casefold()):
        if m["word"]:
            tokens += (re.sub(r"[-'./&]", joint, m["word"]) + (m["mark"] or "")).split()
        else:
            tokens.append(m["character"] or _number(m))
    return [x for x in tokens if x not in _ARTICLES] or tokens


def _number(m: re.Match[str]) -> str:
    digits = m["number"]
    if _GROUPED.fullmatch(digits):
        digits = digits.replace(",", "")
    digits = f"0{digits}" if digits[0] == "." else digits
    unit = (m["unit"] or "").strip()
    currency = (m["currency"] or "").strip() or unit.strip(_UNIT)
    minus = "-" if "-" in (m["sign"], m["minus"]) else ""
    return f"{currency}{minus}{digits}{unit.strip(_CURRENCY)}"


def _alike(words: list[str], others: list[str]) -> bool:
    """Whether the words are equal, where a unit may be left out on one side."""
    return len(words) == len(others) and all(
        a == b or (_bare(a) == _bare(b) and (a == _bare(a) or b == _bare(b)))
        for a, b in zip(words, others, strict=True)
    )


def _bare(word: str) -> str:
    return word.lstrip(_CURRENCY).rstrip(_UNIT)


def _stands_alone(text: str, answer: str) -> bool:
    """Whether an answer such as A, which may be an article, is none in the text."""
    if not answer:
        return False
    word = rf"(?<!\w){re.escape(answer)}(?!\w)"
    within = rf"|(?<=[\w,:] ){word}" if answer != answer.lower() else ""
    return bool(re.search(rf"{word}(?!\s+\w){within}", text))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
