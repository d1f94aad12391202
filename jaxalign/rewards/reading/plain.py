"""One spelling for what Unicode has several of."""

import re
import unicodedata

_INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0e\ufe0f\ufeff]"
)
_APOSTROPHES = str.maketrans(dict.fromkeys("‘’ʼ`´′＇‛", "'"))
_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»‹›「」『』″＂", '"'))
_HYPHENS = str.maketrans(dict.fromkeys("‐‑‒−﹣－⁻", "-"))
# An en dash is a hyphen in 1914–1918, a minus in –5, and else sets clauses apart.
_EN_DASH = re.compile(r"(?<=\w)–(?=\w)|(?<![\w)])–(?=[\d.$€£])")
_SUPERSCRIPT = re.compile("(⁻?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_VULGAR = re.compile(r"(?<=\d)(?=[¼½¾⅐-⅞])")


def plain(text: str) -> str:
    r"""The text with plain digits, quotes, hyphens, minus signs and blanks.

    By compatibility (NFKC), but what would change a number is kept apart: 10² is 10^2
    and 1½ is 1 1/2.

    >>> plain("“−５ °C” – it’s 10² or 1½")
    '"-5 °C" – it\'s 10^2 or 1 1/2'
    """
    text = _INVISIBLE.sub("", _VULGAR.sub(" ", text))
    text = _SUPERSCRIPT.sub(r"^\1\2", text).translate(_QUOTES).translate(_APOSTROPHES)
    text = unicodedata.normalize("NFKC", text.translate(_HYPHENS))
    text = _EN_DASH.sub("-", text.replace("⁄", "/").replace("−", "-"))
    return "".join(
        str(unicodedata.decimal(x)) if x.isdecimal() and not x.isascii() else x
        for x in text
    )
