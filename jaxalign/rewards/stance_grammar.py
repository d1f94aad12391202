"""How a language says that its speaker does not know: patterns, as data."""

import re
from collections.abc import Iterable
from typing import NamedTuple

NEVER = "(?!)"


class Grammar(NamedTuple):
    """Patterns of one language, searched in clauses without regard to capitals.

    Attributes:
      folds: Spellings, and what they are read as, in this order.
      unknown: Says that the speaker does not know, or does not say.
      unsure: Says that the speaker is not certain; an answer may stand beside it.
      vague: Beside `unknown`: what is not known is the exact answer only.
      more: Behind `unknown`: what is not known is something else than the answer.
      denied: Before `unknown`: it is denied, supposed, or said by somebody else.
      undone: The same, behind it.
      mention: A sentence about the words and not of them.
      guess: Gives an answer with a reserve.
      claim: Gives an answer.
      aside: Neither: a courtesy, advice, a reason, the question again.
      verb: Makes a short clause a statement; without it, it is a fragment, which may
        be an answer.
      links: Words that begin a clause.
    """

    folds: tuple[tuple[re.Pattern[str], str], ...]
    unknown: re.Pattern[str]
    unsure: re.Pattern[str]
    vague: re.Pattern[str]
    more: re.Pattern[str]
    denied: re.Pattern[str]
    undone: re.Pattern[str]
    mention: re.Pattern[str]
    guess: re.Pattern[str]
    claim: re.Pattern[str]
    aside: re.Pattern[str]
    verb: re.Pattern[str]
    links: re.Pattern[str]

    def folded(self, text: str) -> str:
        """The text in the spelling of the patterns.

        >>> ENGLISH = grammar(folds=[("can't", "can not")])
        >>> ENGLISH.folded("I can't say")
        'I can not say'
        """
        for pattern, replacement in self.folds:
            text = pattern.sub(replacement, text)
        return text


def grammar(
    *, folds: Iterable[tuple[str, str]] = (), adverbs: str = NEVER, **patterns: str
) -> Grammar:
    """Compiles the patterns of a language.

    Args:
      folds: See `Grammar`.
      adverbs: What may stand where a pattern has `~`: up to four such words, each
        with the blank behind it.
      **patterns: Of the other attributes; those that are left out match nothing.
    """
    slot = rf"(?:(?:{adverbs}) ){{0,4}}"

    def compiled(pattern: str) -> re.Pattern[str]:
        return re.compile(pattern.replace("~", slot), re.IGNORECASE)

    given = {name: compiled(patterns.pop(name, NEVER)) for name in Grammar._fields[1:]}
    assert not patterns, f"no part of a grammar: {', '.join(patterns)}"
    return Grammar(tuple((compiled(x), y) for x, y in folds), **given)


def words(text: str) -> str:
    """Alternatives, from words with blanks between them.

    >>> words("say tell")
    '(?:say|tell)'
    """
    return f"(?:{'|'.join(text.split())})"
