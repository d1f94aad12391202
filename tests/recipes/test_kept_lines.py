"""What commands write for people to read is JSON, and names its file on a full disk."""

import errno
import json
import types
from typing import Any

import numpy as np
import pytest

from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.recipes.evaluation.journal import keep
from jaxalign.recipes.evaluation.report import Results, write
from jaxalign.recipes.scoring.reward_report import ScoreTable
from jaxalign.training.folder import own_files
from jaxalign.training.folder.lock import Lock


def strict(line):
    def refuse(name):
        raise AssertionError(name)

    return json.loads(line, parse_constant=refuse)


def test_scores_that_are_not_finite_are_null(tmp_path):
    ids = np.arange(4, dtype=np.int32)
    answer = TokenSequence(ids, np.array([False, False, True, True]), False)
    example = Example(index=0, sequences=(answer, answer), labels={}, where="row 1")
    run: Any = types.SimpleNamespace(
        config=types.SimpleNamespace(samples=1),
        console=types.SimpleNamespace(print=lambda *args, **options: None),
        folder=types.SimpleNamespace(path=tmp_path),
    )
    policy: Any = types.SimpleNamespace(
        program=types.SimpleNamespace(replicate=lambda params: params)
    )
    tokenizer: Any = types.SimpleNamespace(decode=lambda ids, **options: str(len(ids)))
    rows: Any = types.SimpleNamespace(held_out=[example], train=[])
    scores: Any = np.array([0.5, np.nan])
    table = ScoreTable(run, policy, tokenizer, rows, lambda *args: scores)
    table.show(None, 3)
    text = (tmp_path / "completions" / "step_000003.jsonl").read_text()
    assert [strict(x)["score"] for x in text.splitlines()] == [0.5, None]


def test_an_evaluations_lines_hold_any_text(tmp_path):
    """Half of a surrogate pair, as prompts of data sets have it."""
    keep([{"prompt": "\ud83d ½", "reward": None}], tmp_path / "new")
    (line,) = (tmp_path / "new" / "completions.jsonl").read_text("utf-8").splitlines()
    assert strict(line)["prompt"] == "\ud83d ½"


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (lambda folder: keep([{}], folder), "completions.jsonl"),
        (lambda folder: write(Results({}, {}, {}, {}), folder), "results.json"),
        (lambda folder: Lock(folder / ".lock").acquire(), ".lock"),
    ],
)
def test_a_full_disk_is_told_with_the_file(work, name, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(own_files.os, "fsync", full)
    monkeypatch.setattr("jaxalign.training.folder.lock._lock_for_a_moment", full)
    with pytest.raises(OSError, match="No space left") as raised:
        work(tmp_path)
    assert raised.value.filename == str(tmp_path / name)
