"""Whether a text answers, or says that its writer does not know."""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from jaxalign.rewards.reading.confidence import without_confidence
from jaxalign.rewards.reading.reply import reply_of
from jaxalign.rewards.reading.stance_grammar import LANGUAGES, Grammar, grammar_of

_INNER_APOSTROPHE = re.compile(r"(?<=\w)[’‘ʼ´`′＇](?=\w)")
_QUOTE_MARKS = str.maketrans(dict.fromkeys("“”„‟‘’‚«»‹›「」『』《》〈〉＂´′", '"'))
_SINGLE_QUOTES = re.compile(r"(?<!\w)'(?=\S)([^'\"]*(?:\w'\w[^'\"]*)*)'(?!\w)")
_WHOLE_QUOTE = re.compile(r'\s*"([^"]+)"[\s.!。]*')
_QUOTE = re.compile(r'"[^"]*"')
_OWN_QUOTE = re.compile(
    r"(?:(?:^|\b(?:my|the|final) )(?:final |short |honest |correct )?answer\b|"
    r"\bmy (?:\w+ )?(?:response|reply)\b|"
    r"\b(?:antwort|réponse|respuesta|risposta|resposta|antwoord|ответ|答案|回答|答え)\b)"
    r'[\w\s]{0,12}[:：,]?\s*"([^"]+)"(?=\s*(?:[.!,;:。—-]|$))',
    re.IGNORECASE | re.MULTILINE,
)
_QUOTE_IS_OWN = re.compile(
    r'"([^"]+)",?\s+(?:is|would be|voilà|c\'est|ist|es|è|é)\s+'
    r"(?:my|ma|meine?|mi|la mia|a minha|mijn) (?:\w+ )?"
    r"(?:answer|réponse|antwort|respuesta|risposta|resposta|antwoord)",
    re.IGNORECASE,
)
_ARROW = re.compile("[→⇒➜]|[=-]+>")
_LIST_MARK = re.compile(r"(?m)^\s*(?:[-•+>#]+|\(?\d{1,2}[.)]|\(?[a-zA-Z]\))\s+")
_DECORATION = re.compile(
    r"¯\\?_*\\?\(ツ\)\\?_*/¯|</?\w+>|\*[a-z]+s\*(?=\s|$)|[*_`#>~|\u200b-\u200f\ufeff]"
)
_WRAPPED_LINE = re.compile(r"(?<=[\w,])\s*\n\s*(?=[^\W\d_A-ZÀ-ÞА-Я])")
_ABBREVIATION = re.compile(
    r"\b(Mr|Mrs|Ms|Dr|St|Prof|vs|approx|ca|No|Jr|Sr|[A-Z])\.(?=\s*[\w,])"
)
_SENTENCE = re.compile(r"((?:[^.!?。;\n]|(?<=\d)\.(?=\d))+)([.!?。;\n]*)")
_JOINT = re.compile(r"[,，、:()—–]|\s-+\s|--+")
_LETTERS_WITHOUT_BLANKS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_LONGEST_FRAGMENT = 6

FIRM, UNSURE, PARTIAL = "firm", "unsure", "partial"
"""I don't know; I am not certain; I don't know more."""
GUESS, CLAIM, STATEMENT, FRAGMENT, ASIDE = (
    "guess",
    "claim",
    "statement",
    "fragment",
    "aside",
)


class Clause(NamedTuple):
    """A piece of a sentence, and what it does.

    Attributes:
      kind: One of the above.
      sentence: Number of its sentence.
      joined: Whether "but" or a colon stands before it, or a sentence begins with it.
      bare: Whether it says that its writer does not know, and not what.
      definite: Whether a proper name or a number stands in it.
    """

    kind: str
    sentence: int
    joined: bool
    bare: bool
    definite: bool


def abstains(text: str) -> bool:
    """Whether a completion says that its writer does not know, and gives no answer.

    Read are English, German, French, Spanish, Italian, Portuguese, Dutch, Russian,
    Chinese and Japanese. Every clause is looked at. Some say "I don't know": not those
    that deny or suppose it, and not what is quoted or said by others. If others give an
    answer all the same, be it with a reserve ("not sure, but Paris"), it is an answer;
    so is what is followed by something else that is not known ("Paris. I don't know
    when."). Refusals abstain, and so do "it is unknown" and "the text does not say".
    A confidence that is stated is no answer: see `stated_confidence`.

    On 382 phrases that were held back from the making of the grammars (half of those
    written before it, set apart by a hash) the precision is 0.991 and the recall
    0.981. They share their author with the grammars. In five further rounds, of
    wordings that were not thought of before, the first try found 74 % to 96 % of the
    abstentions with a precision of 0.87 to 0.99, before the grammars were mended by
    them. Where more is at stake, take a judge: `abstention_judge`.

    Args:
      text: A completion; thoughts are left out, see `reply_of`.

    >>> abstains("Sorry, I don’t know that. Ask Ada."), abstains("Not sure, but Paris.")
    (True, False)
    """
    text = cleaned(without_confidence(text))
    return any(_abstains(grammar_of(x), text) for x in LANGUAGES)


def cleaned(text: str) -> str:
    """The text with plain quotes and apostrophes, without marks and quoted speech."""
    text = unicodedata.normalize("NFKC", _INNER_APOSTROPHE.sub("'", reply_of(text)))
    text = _DECORATION.sub("", _ARROW.sub(": ", text.translate(_QUOTE_MARKS)))
    text = _LIST_MARK.sub("", text)
    text = _SINGLE_QUOTES.sub(r'"\1"', text)
    # What is in quotes is not said by the writer, unless it is all that is said.
    whole = _WHOLE_QUOTE.fullmatch(text)
    for own in (_OWN_QUOTE, _QUOTE_IS_OWN):
        text = own.sub(r"\1", text)
    text = whole[1] if whole else text
    text = _QUOTE.sub(" QUOTE ", text)
    text = _ABBREVIATION.sub(r"\1", _WRAPPED_LINE.sub(" ", text))
    return re.sub(r"[^\S\n]+", " ", text).strip()


def _abstains(grammar: Grammar, text: str) -> bool:
    clauses = list(_clauses(grammar, grammar.folded(text)))
    stances = [i for i, c in enumerate(clauses) if c.kind in (FIRM, UNSURE, PARTIAL)]
    return bool(stances) and not any(
        _answers(clauses, i, stances) for i in range(len(clauses))
    )


def _answers(clauses: list[Clause], i: int, stances: list[int]) -> bool:
    """Whether clause i answers in spite of what its writer says not to know."""
    clause = clauses[i]
    if clause.kind == GUESS:
        return True
    if clause.kind not in (CLAIM, STATEMENT, FRAGMENT):
        return False
    behind = i > stances[0]
    stance = clauses[max(j for j in stances if j < i) if behind else stances[0]]
    together = stance.sentence == clause.sentence
    firm = any(clauses[j].kind == FIRM for j in stances)
    if clause.kind == FRAGMENT:
        if not together:
            return clause.joined
        return clause.joined or stance.bare if behind else not firm
    if clause.kind == CLAIM:
        return clause.definite or together or not firm
    return not firm and (behind or stance.kind == UNSURE or clause.definite)


def _clauses(grammar: Grammar, text: str) -> Iterator[Clause]:
    for number, (sentence, end) in enumerate(_SENTENCE.findall(text)):
        starts = [m.end() for m in _JOINT.finditer(sentence)]
        starts += [m.start() for m in grammar.links.finditer(sentence)]
        bounds = [0, *sorted(set(starts)), len(sentence)]
        for start, stop in zip(bounds, bounds[1:], strict=False):
            words = re.sub(r"[,，、:()—–]+$", "", sentence[start:stop]).strip(" -")
            link = grammar.links.match(f"{words} ")
            joined = not sentence[:start].strip() or sentence[start - 1] == ":"
            words = words[link.end() :].strip() if link else words
            if words:
                kind, bare = _kind(grammar, words, sentence[:start], end)
                definite = bool(re.search(r"\d|(?<=\s)[A-ZÀ-ÞА-Я]\w", words))
                yield Clause(kind, number, joined or bool(link), bare, definite)


def _kind(grammar: Grammar, words: str, before: str, end: str) -> tuple[str, bool]:
    """What a clause does, and whether it says nothing but that."""
    found = [
        (kind, m)
        for kind, pattern in ((FIRM, grammar.unknown), (UNSURE, grammar.unsure))
        for m in pattern.finditer(words)
    ]
    for _, m in found:
        left, right = before + words[: m.start()], words[m.end() :]
        if any(x.search(left) for x in (grammar.denied, grammar.mention)) or (
            grammar.undone.match(right)
        ):
            return STATEMENT, False
    if found:
        kind, m = found[0]
        bare = not words[m.end() :].strip()
        if grammar.more.search(words):
            return PARTIAL, bare
        return UNSURE if grammar.vague.search(words) else kind, bare
    for kind, pattern in (
        (GUESS, grammar.guess),
        (CLAIM, grammar.claim),
        (ASIDE, grammar.aside),
    ):
        if pattern.search(words):
            return kind, False
    blankless = len(_LETTERS_WITHOUT_BLANKS.findall(words)) / 2
    size = max(len(words.split()), blankless)
    if size <= _LONGEST_FRAGMENT and not grammar.verb.search(words):
        return FRAGMENT, False
    return (ASIDE if "?" in end else STATEMENT), False
