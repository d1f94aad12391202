"""Real data sets: what is detected, and what becomes of every row."""

import pytest

from jaxalign.data.records.read import detect_format, read_records
from jaxalign.data.records.record import Preference
from jaxalign.data.records.report import ReadReport
from jaxalign.data.sources.source import open_source

REAL = [
    # file, task, options, how the format prints, records, ties, bad rows
    ("hh_rlhf/harmless_base", "preference", {},
     "preference (hh), implicit prompt, conversational", 1805, 0, 4),
    ("hh_rlhf/harmless_base", "preference", {"conversational": False},
     "preference (hh), plain", 1805, 0, 4),
    ("instruct_pref/instruct_pref", "sft", {},
     "prompt-completion (alpaca), conversational", 892, 0, 0),
    ("instruct_pref/instruct_pref", "preference", {},
     "preference (alpaca), conversational", 886, 6, 0),
    ("pandalm/pairs", "preference",
     {"rename": {"chosen": "response1", "rejected": "response2"}},
     "preference (alpaca), conversational", 699, 0, 58),
    ("self_instruct/seed_tasks", "sft", {},
     "prompt-completion (alpaca), conversational", 146, 0, 0),
    ("pararel/qa", "prompt", {},
     "prompt-only (question_answer), conversational", 13189, 0, 0),
    ("selfaware/questions", "sft", {},
     "prompt-completion (question_answer), conversational", 1874, 0, 835),
    ("truthfulqa/questions", "sft", {"rename": {"answer": "best_answer"}},
     "prompt-completion (question_answer), conversational", 658, 0, 0),
    ("movie_reviews/sentences", "sft", {}, "text, plain", 8574, 0, 0),
    ("gsm8k/train", "sft", {},
     "prompt-completion (question_answer), conversational", 5968, 0, 0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "task", "options", "printed", "records", "ties", "bad"), REAL
)
def test_real_files(name, task, options, printed, records, ties, bad, test_data):
    source = open_source(str(test_data / f"{name}.jsonl"))
    format, report = detect_format(source, task, **options), ReadReport()
    assert str(format) == printed
    for _ in read_records(
        source, format, on_bad_row="drop", max_dropped=1, report=report
    ):
        pass
    assert (report.records, report.ties, len(report.bad)) == (records, ties, bad)
    assert report.rows == len(source)


def test_real_hh_pairs_keep_every_word(test_data):
    source = open_source(str(test_data / "hh_rlhf" / "harmless_base.jsonl"))
    format = detect_format(source, "preference", conversational=False)
    early = 0
    for pair in read_records(source, format, on_bad_row="drop"):
        assert isinstance(pair, Preference)
        row = source[int(pair.where.split(":")[-1]) - 1]
        assert f"{pair.prompt}{pair.chosen}" == row["chosen"]
        assert f"{pair.prompt}{pair.rejected}" == row["rejected"]
        header = "\n\nAssistant:"
        last = max(row[side].rindex(header) for side in ("chosen", "rejected"))
        early += len(pair.prompt) != last + len(header)
    assert early == 3
