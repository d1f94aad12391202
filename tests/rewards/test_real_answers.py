"""Graders on real questions: against what people judged, and against GSM8K's answers.

EfficientQA's system predictions were judged by people after exact matches with the
answers had been taken out, so those judged right are all right in another wording.
"""

import json
from fractions import Fraction

import pytest

from jaxalign.rewards import Completion, contains_answer, normalized_match, number_match

JUDGED = {"def_correct_predictions": True, "def_incorrect_predictions": False}


def read(file):
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def share_graded_right(grader, rows, predictions, answers):
    completions = [
        Completion(row["question"], text, columns={"answer": row[answers]})
        for row in rows
        for text in row.get(predictions) or []
    ]
    return sum(grader(completions)) / len(completions)


# Grader, column of accepted answers, share of right and of wrong predictions that it
# calls right: as measured, so that a change of the grader is noticed.
@pytest.mark.parametrize(
    ("grader", "answers", "of_right", "of_wrong"),
    [
        (normalized_match, "answer", 19 / 602, 0 / 3414),
        (contains_answer, "answer", 125 / 602, 33 / 3414),
        (normalized_match, "answer_and_def_correct_predictions", 1.0, 1 / 3414),
        (contains_answer, "answer_and_def_correct_predictions", 1.0, 60 / 3414),
    ],
)
def test_agreement_with_people(test_data, grader, answers, of_right, of_wrong):
    rows = read(test_data / "nq_open" / "efficientqa_test.jsonl")
    for predictions, expected in zip(JUDGED, (of_right, of_wrong), strict=True):
        share = share_graded_right(grader, rows, predictions, answers)
        print(f"{grader.__name__}, {answers}: {predictions} graded right: {share:.4f}")
        assert share == pytest.approx(expected, abs=0.02)


def test_every_number_of_gsm8k(test_data):
    rows = [x for s in ("train", "test") for x in read(test_data / f"gsm8k/{s}.jsonl")]
    for row in rows:
        number = Fraction(row["answer"].rpartition("####")[2].replace(",", ""))
        texts = [row["answer"], f"So it is ${number}.", f"Perhaps {number + 1}", "No."]
        completions = [Completion(row["question"], x, columns=row) for x in texts]
        assert number_match(completions) == [1, 1, 0, 0], row["answer"]
