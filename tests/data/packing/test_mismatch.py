"""Answers beside other prompts, and pairs as two answers with labels."""

import numpy as np
import pytest

from jaxalign.data.packing.mismatch import with_mismatched
from jaxalign.data.records.build_records import to_records
from jaxalign.data.records.formats import detect
from jaxalign.data.records.read import unpaired
from jaxalign.data.records.record import Unpaired
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import UserError


def example(index, prompt, answer, wanted=1.0):
    ids = np.asarray([*prompt, *answer], np.int32)
    trained = np.arange(len(ids)) >= len(prompt)
    labels = {"desirable": np.asarray([wanted], np.float32)}
    return Example(index, (TokenSequence(ids, trained),), labels)


def some_examples():
    """Three prompts with 4, 3 and 2 answers, mixed, each answer a token of its own."""
    prompts = [[1, 1], [2, 2, 2], [3]]
    order = [0, 1, 0, 2, 1, 0, 1, 2, 0]
    return [
        example(i, prompts[p], [10 + i] * (1 + i % 3), i % 2)
        for i, p in enumerate(order)
    ], order


@pytest.mark.parametrize("seed", range(5))
def test_every_answer_goes_once_to_another_prompt(seed):
    examples, order = some_examples()
    mixed = with_mismatched(examples, max_length=20, seed=seed)
    given = []
    for before, after in zip(examples, mixed, strict=True):
        own, other = after.sequences
        n = before.sequences[0].prompt_length
        assert own is before.sequences[0]
        assert other.ids[:n].tolist() == own.ids[:n].tolist()
        assert other.trained.tolist() == [False] * n + [True] * (len(other.ids) - n)
        answer = other.ids[n:].tolist()
        who = answer[0] - 10
        assert answer == [10 + who] * (1 + who % 3)
        assert order[who] != order[before.index]
        assert after.labels["desirable"].tolist() == [before.index % 2] * 2
        given.append(who)
    assert sorted(given) == list(range(9))


def test_the_order_of_prompts_is_that_of_the_seed():
    examples, _ = some_examples()
    ways = {
        tuple(int(x.sequences[1].ids[-1]) for x in mixed)
        for seed in range(8)
        for mixed in [with_mismatched(examples, max_length=20, seed=seed)]
    }
    assert len(ways) > 1


def test_what_is_too_long_loses_its_end():
    pair = [example(0, [1] * 6, [7]), example(1, [2], [8] * 5)]
    first, second = (
        x.sequences[1] for x in with_mismatched(pair, max_length=8, seed=0)
    )
    assert first.ids.tolist() == [1] * 6 + [8] * 2
    assert second.ids.tolist() == [2, 7]


def test_a_prompt_with_more_than_half_of_the_rows_is_refused():
    rows = [example(i, [1 if i < 3 else i], [9]) for i in range(5)]
    with pytest.raises(UserError, match="3 of 5 rows have the same prompt"):
        with_mismatched(rows, max_length=9, seed=0)


def test_a_pair_is_two_answers_with_labels():
    row = {"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 5", "source": "x"}
    form = detect(row.keys(), row, "unpaired")
    good, bad = unpaired(to_records(row, form, "a.jsonl:1"))
    assert isinstance(good, Unpaired)
    assert isinstance(bad, Unpaired)
    assert (good.prompt, good.completion, good.label) == ("2 + 2 =", " 4", True)
    assert (bad.prompt, bad.completion, bad.label) == ("2 + 2 =", " 5", False)
    assert good.where == bad.where == "a.jsonl:1"
    assert good.extra == {"source": "x"}
    assert good.per_answer == {"desirable": (1.0,)}


def test_rows_with_labels_stay_as_they_are():
    row = {"prompt": "2 + 2 =", "completion": " 5", "label": False}
    form = detect(row.keys(), row, "unpaired")
    (only,) = unpaired(to_records(row, form, "a.jsonl:1"))
    assert isinstance(only, Unpaired)
    assert not only.label
