"""How a language says that its speaker does not know: patterns, as data.

The patterns are in `stances/LANGUAGE.toml`: regular expressions, a list of alternatives
for each attribute of `Grammar`.
"""

import functools
import importlib.resources
import re
import tomllib
from typing import Any, NamedTuple

LANGUAGES = (
    "english",
    "german",
    "french",
    "spanish",
    "italian",
    "portuguese",
    "dutch",
    "russian",
    "chinese",
    "japanese",
)
_NEVER = "(?!)"
_COURTESY = r"(?:(?<=[\s,.!?:;(—–-])|^)(?:{})(?=[\s,.!?:;)—–-]|$),?"


class Grammar(NamedTuple):
    """Patterns of one language, searched in clauses without regard to capitals.

    Attributes:
      folds: What is read as what, in this order: spellings, and courtesies as nothing.
      unknown: Says that the speaker does not know, or does not say.
      unsure: Says that the speaker is not certain; an answer may stand beside it.
      vague: Beside `unknown`: what is not known is the exact answer only.
      more: Behind `unknown`: what is not known is something else than the answer.
      denied: Right before `unknown`: it is denied, supposed, or somebody else says it.
      undone: The same, right behind it.
      mention: A sentence about the words, which does not say them.
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

        >>> grammar_of("english").folded("Well, I can't say.")
        'I can not say.'
        """
        for pattern, replacement in self.folds:
            text = pattern.sub(replacement, text)
        return text.strip(" ,")


@functools.cache
def grammar_of(language: str) -> Grammar:
    """The grammar of one of `LANGUAGES`."""
    folder = importlib.resources.files("jaxalign.rewards.reading") / "stances"
    return read_grammar((folder / f"{language}.toml").read_text(encoding="utf-8"))


def read_grammar(toml: str) -> Grammar:
    r"""Compiles the patterns of a language.

    Args:
      toml: A list of alternatives by attribute of `Grammar`. Besides: `adverbs`, up to
        four of which can stand where a pattern has `~`; `courtesies`, which are taken
        out; `folds`, pairs of a pattern and its replacement; and `parts`, which stand
        where a pattern has their name in braces.

    >>> small = read_grammar("unknown = ['i ~do not know']\nadverbs = ['really']")
    >>> bool(small.unknown.search("I really do not know."))
    True
    """
    data = tomllib.loads(toml)
    parts = {k: _either(v) for k, v in data.pop("parts", {}).items()}
    slot = rf"(?:{_either(data.pop('adverbs', [_NEVER]))} ){{0,4}}"

    def compiled(pattern: str) -> re.Pattern[str]:
        for name, part in parts.items():
            pattern = pattern.replace(f"{{{name}}}", part)
        return re.compile(pattern.replace("~", slot), re.IGNORECASE)

    folds = [(compiled(x), y) for x, y in data.pop("folds", [])]
    if courtesies := data.pop("courtesies", []):
        folds.append((compiled(_COURTESY.format("|".join(courtesies))), ""))
        folds += [(compiled("[ ,]+,"), ","), (compiled(" {2,}"), " ")]
    given: dict[str, Any] = {
        name: compiled(_either(data.pop(name, [_NEVER])) + "$" * (name == "denied"))
        for name in Grammar._fields[1:]
    }
    assert not data, f"no part of a grammar: {', '.join(data)}"
    return Grammar(tuple(folds), **given)


def _either(patterns: list[str]) -> str:
    return f"(?:{'|'.join(patterns)})"
