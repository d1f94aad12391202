"""Numbers as people and models write them, read exactly."""

import re
from fractions import Fraction
from typing import NamedTuple

from jaxalign.rewards.reading.plain import plain

_LONGEST = 100  # characters; what is longer is babble, and slow to compute with
_CLOSE = Fraction(1, 10**9)  # float columns hold 0.30000000000000004
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_APART = re.compile(r"(?<=\d)[\u00a0\u2009\u202f'’](?=\d{3}(?!\d))")

_WHOLE = (
    r"(?:\d{1,3}(?:,\d{3})+(?![\d])|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)"
    r"|(?<!\d )\d{1,3}(?: \d{3})+(?!\d| \d)|\d+)"
)
# Thousands by points, a decimal comma; else a point, thousands by commas or blanks.
_SIZE = (
    r"(?:\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}(?![\d.])"
    rf"|(?<!\d,)(?!\d{{1,3}}(?:,\d{{3}})+(?!\d))\d+,\d+(?![,\d])|{_WHOLE}(?:\.\d+)?|\.\d+)"
)
# A time, a date, a ratio, a version: no number.
_OTHER = r"(?:\d+(?::\d+)+|\d+(?:/\d+){2,}|\d+(?:-\d+){2,}|\d+(?:\.\d+){2,})"
# A minus behind a word or a number is none: "5-3" holds 5 and 3. Digits behind a letter
# or a sign of a power ("m2", "v1.2", "m^2") are part of a word.
_NUMERAL = re.compile(
    r"(?P<sign>(?<![\w)}])[-+])? ?(?:[$€£¥₩₹] ?(?P<minus>-)?)?(?<![A-Za-z_0-9.^])"
    rf"(?:(?P<whole>\d+)(?: |-| and )(?P<over>\d+) ?/ ?(?P<under>\d+)(?![\d/])"
    rf"|(?P<other>(?!\d{{1,3}}(?:\.\d{{3}}){{2,}}(?![\d.])){_OTHER})"
    rf"|(?P<size>{_SIZE})"
    r"(?:(?P<power>[eE][-+]?\d{1,3}(?!\d))"
    r"|(?: ?[×x*·] ?10)? ?\^ ?[({]?(?P<exponent>[-+]?\d{1,3})(?!\d)[)}]?"
    r"|(?: ?/ ?(?P<divisor>\d+(?:\.\d+)?))?))"
    r"(?: ?(?P<percent>%|percent\b|per ?cent\b|pct\b))?"
    rf"(?: ?(?P<scale>{'|'.join(_SCALES)})\b)?"
)


class Numeral(NamedTuple):
    """A number as it is written.

    Attributes:
      value: The number; 50 for 50 %, 5 for 5 million.
      is_percent: Whether a percent sign stands behind it.
      zeros: What a word such as million behind it multiplies by, in powers of ten.
    """

    value: Fraction
    is_percent: bool = False
    zeros: int = 0

    def is_same(self, accepted: "Numeral") -> bool:
        """Whether the number of a completion is the accepted one.

        >>> five_million = Numeral(Fraction(5), zeros=6)
        >>> five_million.is_same(Numeral(Fraction(5)))
        True
        >>> Numeral(Fraction(5)).is_same(five_million)
        False
        """
        mine, theirs = (
            {self.value * 10**self.zeros},
            {accepted.value * 10**accepted.zeros},
        )
        if self.zeros and not accepted.zeros:
            mine.add(self.value)
        if self.is_percent != accepted.is_percent:
            (mine if self.is_percent else theirs).update(
                {x / 100 for x in (mine if self.is_percent else theirs)}
            )
        return any(abs(x - y) <= _CLOSE * abs(y) for x in mine for y in theirs)


def numerals(text: str) -> list[Numeral]:
    """The numbers of a text, in order.

    >>> [str(x.value) for x in numerals("−1,200 of 3/4, 1½ or 2 × 10³; 5-3 = .5")]
    ['-1200', '3/4', '3/2', '2000', '5', '3', '1/2']
    """
    text = plain(_APART.sub("", text))
    found = (_numeral(m) for m in _NUMERAL.finditer(text))
    return [x for x in found if x is not None]


def _numeral(m: re.Match[str]) -> Numeral | None:
    # A date is matched all the same, so that no part of it is taken for a number.
    if m["other"] or len(m[0]) > _LONGEST:
        return None
    try:
        value = _mixed(m) if m["whole"] else _size(m)
    except ZeroDivisionError:
        return None
    # A minus may stand on either side of the currency: -$5 and $-5.
    if "-" in (m["sign"], m["minus"]):
        value = -value
    return Numeral(value, bool(m["percent"]), _SCALES.get(m["scale"] or "", 0))


def _mixed(m: re.Match[str]) -> Fraction:
    return int(m["whole"]) + Fraction(int(m["over"]), int(m["under"]))


def _size(m: re.Match[str]) -> Fraction:
    value = Fraction(_digits(m["size"]) + (m["power"] or ""))
    if m["exponent"]:
        times_ten = re.search(r"[×x*·] ?10 ?\^", m[0])
        power = Fraction(10 if times_ten else value) ** int(m["exponent"])
        value = value * power if times_ten else power
    return value / Fraction(m["divisor"] or 1)


def _digits(size: str) -> str:
    """Digits with a decimal point, of a number in any country's spelling."""
    size = size.replace(" ", "")
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}", size):
        return size.replace(".", "").replace(",", ".")
    if "," in size and not re.fullmatch(rf"{_WHOLE}(?:\.\d+)?", size):
        return size.replace(",", ".")
    return size.replace(",", "")
