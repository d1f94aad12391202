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
_NOUN = (
    r"(?:confidence|certainty|probability|likelihood|konfidenz|sicherheit|confiance|"
    r"confianza|fiducia|confiança|置信度|信心)"
)
_WORDS = "|".join(sorted(map(re.escape, WORDS), key=len, reverse=True))
_STATED = re.compile(
    rf"<confidence>\s*{_NUMBER.format('tag')}{_OF.format('tag_of')}\s*</confidence>|"
    rf"{_NOUN}(?: (?:level|score|rating|estimate|in (?:this|my) \w+|of being \w+))?"
    r"[\s*_]*(?:[:：=]|\bis\b|\bof\b|\bat\b)?[\s*_]*(?:about |around |roughly |~ ?)?"
    rf"(?:{_NUMBER.format('noun')}{_OF.format('noun_of')}|(?P<word>{_WORDS})\b)|"
    rf"(?:\bi(?: am|'m) )?(?:about |around |roughly )?{_NUMBER.format('adjective')}"
    r"\s*(?:%|percent\b|per cent\b) (?:confident|sure|certain|confidence|certainty|"
    r"sicher|sûre?|segur[oa]|sicur[oa])(?: that)?[.!]*",
    re.IGNORECASE,
)


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
    found = list(_STATED.finditer(text))
    if not found:
        return Stated(None, text.strip())
    rest = _STATED.sub("", text).strip()
    # Earlier ones may have been weighed on the way; the last one is meant.
    return Stated(_value(found[-1], tenths), rest)


def _value(m: re.Match[str], tenths: bool) -> float | None:
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
