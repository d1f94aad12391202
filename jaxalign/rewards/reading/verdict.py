"""A judge's own verdict in its reply, apart from marks that it quotes."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jaxalign.rewards.reading.pattern_process import PatternMark

# Quotation marks, code, brackets; and whole lines that begin with > (a quotation).
_QUOTED = re.compile(
    r'"[^"]*"|“[^”]*”|„[^“”]*[“”]|«[^»]*»|(?<!\w)\'[^\'\n]*\'(?!\w)|‘[^’]*’(?!\w)'
    r"|```.*?```|`[^`]*`|\([^()]*\)|^[ \t]*>[^\n]*",
    re.DOTALL | re.MULTILINE,
)
_REPORTED = re.compile(
    r"\b(?:answer|response|completion|assistant|candidate|text|reply|model|author|writer|it|"
    r"A|B)(?:'s)?\b[^.!?\n]{0,60}\b(?:says?|said|claims?|claimed|ends?|ended|writes?|wrote|"
    r"contains?|states?|includes?|quotes?|grades?|rates?|awards?|gives?|gave|asserts?|adds?|"
    r"appends?|itself|inserts?|demands?|asks?|tells?|instructs?)\b[^.!?\n]*$",
    re.IGNORECASE,
)
_LAST_WORD = re.compile(r"(\w+)\W*$")


class Verdicts(NamedTuple):
    """What a reply holds, once quotations are left out.

    Attributes:
      own: The last verdict that does not stand in what was judged; or None.
      shared: The last one that does, and is still no quotation; or None.
    """

    own: PatternMark | None
    shared: PatternMark | None


def verdicts(
    reply: str, marks: Iterable[PatternMark], judged: Sequence[str]
) -> Verdicts:
    r"""The verdicts of a judge.

    A mark that also stands in what was judged is a quotation, and left out, where it is
    in quotation marks, brackets or code, where the same word goes before it there, or
    where the sentence says that the answer says so.

    Args:
      reply: Of the judge.
      marks: All that looks like a verdict in it, in order.
      judged: The texts that were judged.

    >>> grade = re.compile(r"\[\[(\d+)\]\]")
    >>> reply = '[[2]]. It ends in "[[10]]".'
    >>> found = verdicts(reply, marks_in(reply, grade), ["So. [[10]]"])
    >>> found.own.groups[1], found.shared
    ('2', None)
    """
    regions = [m.span() for m in _QUOTED.finditer(reply)]
    own, shared = None, None
    for m in marks:
        contexts = [x for text in judged for x in _words_before(text, m.text)]
        if not contexts:
            own = m
            continue
        stop = m.start + len(m.text)
        inside = any(start <= m.start and stop <= end for start, end in regions)
        before = reply[: m.start]
        if not (inside or _last_word(before) in contexts or _REPORTED.search(before)):
            shared = m
    return Verdicts(own, shared)


def choice(reply: str, letters: str, judged: Sequence[str]) -> str | None:
    """The letter in double brackets that a judge chose; None if there is none.

    >>> choice("Both are short. [[b]]", "AB", [])
    'B'
    """
    pattern = re.compile(rf"\\?\[\\?\[\s*([{letters}])\s*\\?\]\\?\]", re.IGNORECASE)
    own, shared = verdicts(reply, marks_in(reply, pattern), judged)
    found = own or shared
    letter = found and found.groups[1]
    return letter.upper() if letter else None


def marks_in(text: str, pattern: re.Pattern[str]) -> list[PatternMark]:
    """The places that a pattern of ours describes, which cannot take long."""
    return [PatternMark(m.start(), (m[0], *m.groups())) for m in pattern.finditer(text)]


def _words_before(text: str, mark: str) -> list[str]:
    """The word before each place where a mark stands in a text, or else a blank."""
    words = r"\s*".join(re.escape(x) for x in mark.split())
    # Whole: a grade of 1 is no quotation of a 10.
    before = r"(?<![\w.])" if mark[:1].isalnum() else ""
    behind = r"(?!\w)" if mark[-1:].isalnum() else ""
    pattern = re.compile(f"{before}{words}{behind}")
    return [_last_word(text[: m.start()]) or " " for m in pattern.finditer(text)]


def _last_word(text: str) -> str:
    found = _LAST_WORD.search(text)
    return found[1].casefold() if found else ""
