"""The detector of abstentions on labelled phrases, and on real answers."""

import collections
import json
import re

import pytest

from jaxalign.rewards import abstains
from jaxalign.rewards.reading.stance import cleaned
from jaxalign.rewards.reading.stance_grammar import LANGUAGES, grammar_of, read_grammar
from tests.rewards.labelled import Phrase, is_held_back, read

FIRST = read("english.txt", "others.txt")
HELD_BACK = [x for x in FIRST if is_held_back(x.text)]
MAKING = [x for x in FIRST if not is_held_back(x.text)] + read("later.txt")


def figures(phrases: list[Phrase]) -> tuple[float, float, list[str]]:
    """Precision and recall of abstaining, and what is wrong."""
    found = [(x, abstains(x.text)) for x in phrases]
    right = sum(x.abstains and got for x, got in found)
    precision = right / sum(got for _, got in found)
    recall = right / sum(x.abstains for x, _ in found)
    return precision, recall, [x.text for x, got in found if x.abstains != got]


def test_the_figures_of_the_docstring_are_those_of_the_part_held_back():
    precision, recall, _ = figures(HELD_BACK)
    print(f"held back: precision {precision:.3f}, recall {recall:.3f}")
    stated = re.search(
        r"(\d+) phrases that were held back.*?precision is\s+(0\.\d+) and the recall "
        r"(0\.\d+)",
        " ".join((abstains.__doc__ or "").split()),
    )
    assert stated is not None
    assert int(stated[1]) == len(HELD_BACK)
    assert (stated[2], stated[3]) == (f"{precision:.3f}", f"{recall:.3f}")
    assert min(precision, recall) >= 0.97


@pytest.mark.parametrize("form", ["{} Confidence: 30%", "({1}) {0}", "I'm 7% sure. {}"])
def test_a_stated_confidence_changes_nothing(form):
    """Precision and recall of the part held back stay what they are without it."""
    tag = "<confidence>0.3</confidence>"
    for x in HELD_BACK:
        with_it = form.format(x.text, tag)
        assert abstains(with_it) == abstains(x.text), with_it


def test_both_classes_and_every_language_are_well_represented():
    assert len(HELD_BACK) >= 200
    counts = collections.Counter((x.language, x.abstains) for x in FIRST)
    assert len({language for language, _ in counts}) == len(LANGUAGES)
    assert min(counts.values()) >= 10
    share = sum(x.abstains for x in HELD_BACK) / len(HELD_BACK)
    assert 0.4 < share < 0.7
    assert len({x.text for x in FIRST + MAKING}) >= len(FIRST) + 500


def test_of_the_phrases_that_made_it_hardly_any_is_read_wrongly():
    _, _, wrong = figures(MAKING)
    assert len(wrong) <= 2, wrong


@pytest.mark.parametrize(
    ("before", "text", "behind", "expected"),
    [
        ("", "I don't know", "", True),
        ("He said that ", "I don't know", "", False),
        ("It's not that ", "I don't know", ": Rome", False),
        ("If ", "I don't know", ", I ask.", False),
        ('The song is called "', "I don't know", '".', False),
        ("Rome, but ", "I don't know", " why.", False),
        ("Sorry. Hmm... ", "I don't know", "!", True),
        ("", "I don't know", ", but it is Rome.", False),
        ("", "I don't know", ", but it is a good question.", True),
        ("", "I don't know", " if it is Rome or Milan.", True),
        ("<think>Rome? Milan?</think>", "I don't know", ".", True),
        ("<think>", "I don't know", "</think>Rome", False),
        ("<think>", "I don't know", "", False),
    ],
)
def test_what_stands_around_a_phrase_decides(before, text, behind, expected):
    for phrase in (text, "I do not know", "i’m not sure", "I have no idea"):
        assert abstains(before + phrase + behind) is expected, phrase


@pytest.mark.parametrize("text", ["", " ", "?", "...", "\n\n", '""', "()", "🤷", "“”"])
def test_nothing_is_no_abstention(text):
    assert not abstains(text)


def test_babble_comes_to_an_end():
    for piece in ("i do not ", "not that ", "(", "'a ", "if i say ", "我不", "no lo "):
        assert not abstains(piece * 2000 + "4")


def test_quotes_apostrophes_and_marks():
    assert cleaned("“I don’t” – ‘know’") == "QUOTE – QUOTE"
    assert cleaned("**1. I don´t know**") == "I don't know"
    assert cleaned("«No lo sé»") == "No lo sé"
    assert cleaned("Well. My answer is 'no'.") == "Well. no."
    assert cleaned("Her answer was 'no' then.") == "Her answer was QUOTE then."


def test_every_grammar_is_read():
    for language in LANGUAGES:
        grammar = grammar_of(language)
        assert not grammar.unknown.search("")
        assert not grammar.unsure.search("")
    with pytest.raises(AssertionError, match="no part of a grammar: unknwon"):
        read_grammar("unknwon = ['x']")


def test_real_answers_hardly_ever_abstain(test_data):
    """TruthfulQA's; many of them say "I have no comment" or that a thing is unknown."""
    with (test_data / "truthfulqa" / "questions.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    silent = [x for row in rows for x in row["correct_answers"] if "no comment" in x]
    wrong = [x for row in rows for x in row["incorrect_answers"]]
    assert len(silent) > 70
    assert all(map(abstains, silent))
    assert sum(map(abstains, wrong[:1000])) <= 2
