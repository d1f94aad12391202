"""The confidence that a completion states, and what it says besides."""

import re
from typing import NamedTuple

from jaxalign.rewards.reading.plain import plain

WORDS = {
    "lowest": 0.1,
    "very low": 0.1,
    "low": 0.3,
    "medium": 0.5,
    "moderate": 0.5,
    "high": 0.7,
    "very high": 0.9,
    "highest": 0.9,
    # Kent's estimative probabilities (1964, Studies in Intelligence 8, 49-65).
    "certain": 1.0,
    "almost certain": 0.93,
    "probable": 0.75,
    "about even": 0.5,
    "probably not": 0.3,
    "almost certainly not": 0.07,
    "impossible": 0.0,
}
"""Words that may stand for a number, five steps of confidence and Kent's seven."""

_NUMBER = r"(?P<{0}>[0-9]{{1,3}}(?:[.,][0-9]+)?|[.,][0-9]+)"
_OF = r"\s*(?P<{0}>%|percent\b|per cent\b|(?:/|out of)\s*100?\b)?"
_SURE = (
    r"confidence|certainty|konfidenz|sicherheit|confiance|confianza|fiducia|confiança|"
    r"置信度|信心"
)
_NOUN = rf"(?:{_SURE}|(?P<chance>probability|likelihood))"
_WORDS = "|".join(sorted(map(re.escape, WORDS), key=len, reverse=True))
_ABOUT = r"(?:(?:about|around|roughly|only|just|at most|at least|[~≈<>≤≥]=?) ?)?"
_IN_THIS = (
    r"(?: (?:in|of|about) (?:this|that|it|my|the)(?: \w+)?(?=\s*(?:[.,;:!)]|$)))?"
)
# Of "8 of 10", "1e-3" and "80 to 90" nothing is read in place of a part; but what
# stands there is no part of the answer either: `odd`.
_WHOLE = (
    r"(?![0-9/]|[.,][0-9]|e[-+]?[0-9]|\s*\(?(?:out )?of\s+[0-9]|\s*\bon a scale|"
    r"\s*(?:-|–|to)\s*[0-9])"
)
# What leads up to it, and what follows, goes with it: else a word or two would stay,
# and pass for an answer.
_STATED = re.compile(
    rf"<confidence>\s*{_NUMBER.format('tag')}{_OF.format('tag_of')}\s*</confidence>|"
    r"(?:\b(?:with|at) )?(?:\b(?:a|an|my|the) )?(?:(?:\w{1,30} )?level of )?"
    rf"{_NOUN}(?: (?:level|score|rating|estimate|in (?:this|my) \w+|of being \w+))?"
    # In one way only, or a completion of nothing but blanks would take minutes.
    rf"[\s*_\"']*+(?:(?:[:：=]|\bis\b|\bof\b|\bat\b)[\s*_\"']*+)?{_ABOUT}"
    rf"(?:(?P<open>(?:{_WORDS})\s*\(\s*)?"
    rf"{_NUMBER.format('noun')}{_OF.format('noun_of')}{_WHOLE}"
    r"(?(open)\s*\)|(?:\s*\([0-9.,\s]+%?\s*\))?)|"
    rf"(?P<word>{_WORDS})\b)|"
    rf"(?:{_SURE})[\s*_\"']*+[:：=][\s*_\"']*+"
    r"(?P<odd>[~≈<>≤≥]*[0-9]\S*(?:\s*(?:-|–|to|of|out of)\s*[0-9]\S*)?"
    r"(?:\s+on a scale\b[^.\n]*)?)|"
    rf"(?:\b(?:i am|i'm|i have|with) )?(?:a )?{_ABOUT}{_NUMBER.format('adjective')}"
    r"\s*(?:%|percent\b|per cent\b) (?:confident|sure|certain|certainty|"
    r"confidence(?! (?:interval|limit|band|region))|"
    rf"sicher|sûre?|segur[oa]|sicur[oa])(?: that)?{_IN_THIS}[.!]*",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"(?:\b(?:not|cannot|never|far from|less than|hardly|nowhere near|nicht|pas|no|non|"
    r"não|niet)|n't)\b[\w\s]{0,12}$",
    re.IGNORECASE,
)
_APART = re.compile(r"(?:^|[.,;:!?()\n*_-])\s*$")
_NOTHING = re.compile(r"(?:\W|\b(?:the|a|an|so|it|is|answer)\b)*", re.IGNORECASE)


class Stated(NamedTuple):
    """What a completion says of its own answer.

    Attributes:
      confidence: From 0 to 1; None where none is stated, or none that can be.
      rest: The completion without that.
    """

    confidence: float | None
    rest: str


def stated_confidence(text: str, *, tenths: bool = False) -> Stated:
    """The last confidence that a completion states.

    Read are percents (`Confidence: 85%`, `I am 85% sure`), numbers from 0 to 1
    (`confidence 0.85`, `<confidence>.85</confidence>`), larger ones as percents
    (`Confidence: 85`), shares of ten or a hundred (`8/10`) and the words of `WORDS`
    (`Confidence: high`). What is beyond 1 or 100 % is none.

    Args:
      text: A completion.
      tenths: Whether a bare digit is one of ten tokens: `Confidence: 8` is the middle
        of the ninth tenth, 0.85.

    >>> stated_confidence("It is Rome. Confidence: 85%")
    Stated(confidence=0.85, rest='It is Rome.')
    >>> stated_confidence("Rome. Confidence: 8", tenths=True).confidence
    0.85
    """
    text = plain(text)
    found = _statements(text)
    if not found:
        return Stated(None, text.strip())
    # Earlier ones may have been weighed on the way; the last one is meant.
    return Stated(_value(found[-1], tenths), _without(text, found).strip())


def without_confidence(text: str) -> str:
    """The completion without what states its confidence; as it is if nothing does.

    >>> without_confidence("I don't know. Confidence: 30%")
    "I don't know."
    """
    shown = plain(text)
    found = _statements(shown)
    return _without(shown, found).strip() if found else text


def _statements(text: str) -> list[re.Match[str]]:
    found = [m for m in _STATED.finditer(text) if _is_meant(text[: m.start()], m)]
    if any(m["chance"] for m in found) and _NOTHING.fullmatch(_without(text, found)):
        # "Probability: 0.25" and nothing else: that is the answer.
        found = [m for m in found if not m["chance"]]
    return found


def _is_meant(before: str, m: re.Match[str]) -> bool:
    """Whether it is the writer's confidence, and not denied or part of an answer."""
    if m["adjective"]:
        # "I'm not 100% sure" states no confidence, least of all one of 100 %.
        return not _DENIED.search(before)
    # "It rains with a probability of 0.3", "so the probability is 0.3" are answers.
    return not m["chance"] or (
        bool(_APART.search(before)) and not re.search(r"\bis\b", m[0])
    )


def _without(text: str, found: list[re.Match[str]]) -> str:
    bounds = [0]
    for m in found:
        start, end = m.span()
        in_brackets = text[:start].endswith("(") and text[end:].startswith(")")
        bounds += [start - in_brackets, end + in_brackets]
    pieces = zip(bounds[::2], [*bounds[1::2], len(text)], strict=True)
    return "".join(text[start:end] for start, end in pieces)


def _value(m: re.Match[str], tenths: bool) -> float | None:
    if m["odd"]:
        return None
    if m["word"]:
        return WORDS[m["word"].casefold()]
    written = m["tag"] or m["noun"] or m["adjective"]
    value = float(written.replace(",", "."))
    out_of = m["tag_of"] or m["noun_of"] or ("%" if m["adjective"] else "")
    if tenths and not out_of and re.fullmatch("[0-9]", written):
        # The middle of a tenth, so that neither 0 nor 1 can be stated.
        return (value + 0.5) / 10
    if out_of:
        value /= 10 if re.fullmatch(r"(?:/|out of)\s*10", out_of) else 100
    elif value > 1:
        value /= 100
    return value if value <= 1 else None
