"""Judges behind an address, as `--reward` and in `evaluate --judge`."""

import collections
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from jaxalign.__main__ import main
from jaxalign.errors import UserError
from jaxalign.recipes.flags.paths import reward as with_paths
from jaxalign.recipes.scoring.asking import served_judge
from jaxalign.recipes.scoring.open_rewards import open_rewards, reward_digests
from jaxalign.rewards import Completion, score
from jaxalign.rewards.served.client import Clients
from tests.rewards.served.server import DROP, Status

KEY = "sk-not-to-be-seen"


def opened(*texts):
    return open_rewards(texts, None)  # pyright: ignore[reportArgumentType]


def text(name, server, more=""):
    return f"{name}(url='{server.url}', model='m', backoff=0.01{more})"


def grade(asked, before):
    """The number of letters a as a grade; babble where there is a z."""
    completion = asked.split("Answer:\n")[-1].strip()
    if "z" in completion:
        return "Well, who knows? I could go on and on about it."
    return f"Some letters. [[{completion.count('a')}]]"


ROWS = [Completion("Why?", x, index=i) for i, x in enumerate(["aaaa", "z", "a", "b"])]


def test_a_grade_is_that_of_the_local_judge_and_babble_is_none(serve):
    server = serve(grade)
    [reward] = opened(text("judge", server, ", lowest=0") + "=2")
    scores = score([reward], ROWS)
    np.testing.assert_array_equal(scores.values["judge"], [0.4, np.nan, 0.1, 0.0])
    np.testing.assert_array_equal(scores.applies, [True, False, True, True])
    assert scores.failed == {"judge": 0}
    assert len(server.seen) == 4


def test_rivals_are_shown_in_both_orders(serve):
    def compare(asked, before):
        first, second = asked.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
        return "[[A]]" if len(first) >= len(second.strip()) else "[[B]]"

    server = serve(compare)
    rows = [Completion("Why?", x) for x in ("long one", "short", "tie!!")]
    [reward] = opened(text("rival_judge", server))
    assert score([reward], rows).total.tolist() == [1.0, 0.25, 0.25]
    assert len(server.seen) == 6


def test_a_rubric(serve):
    server = serve(lambda asked, before: "exact: [[10]]\nshort: [[1]]")
    criteria = ", criteria={exact: '(3) No error.', short: 'One sentence.'}"
    [reward] = opened(text("rubric_judge", server, criteria))
    assert score([reward], ROWS[:1]).total.tolist() == [0.75]
    assert "- exact: No error." in server.seen[0].text


def test_a_judge_says_what_abstains(serve):
    server = serve(lambda asked, before: "[[B]]" if "Ask Ada" in asked else "[[A]]")
    [reward] = opened(text("judged_abstention", server))
    said = "Ask Ada.", "Rome.", "Oslo."
    rows = [Completion("?", x, columns={"answer": "Rome"}) for x in said]
    assert score([reward], rows).total.tolist() == [0.0, 1.0, -1.0]


def test_one_that_fails_is_an_error_or_the_fallback_of_those_alone(serve):
    def some(asked, before):
        bad = "z" in asked.split("Answer:\n")[-1]
        return Status(500, "no luck") if bad else "[[10]]"

    server = serve(some)
    [reward] = opened(text("judge", server, ", attempts=2"))
    with pytest.raises(UserError, match="`judge` cannot go on: the judge m at") as told:
        score([reward], ROWS)
    assert "1 of 4 requests; the last time status 500: no luck" in str(told.value)
    assert "fallback=0" in str(told.value)
    assert len(server.seen) == 5  # what came is kept, and no culprit is sought
    [reward] = opened(text("judge", server, ", attempts=2, fallback=-1"))
    scores = score([reward], ROWS)
    assert scores.total.tolist() == [1.0, -1.0, 1.0, 1.0]
    assert scores.failed == {"judge": 1}
    assert len(server.seen) == 10


def test_the_fingerprint_is_of_what_values_depend_on(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    server = serve(grade)
    file = tmp_path / "template.txt"
    file.write_text("{prompt} {completion}")

    def digest(name="judge", more="", model="m", url=server.url):
        texts = [f"{name}(url='{url}', model={model}{more})"]
        found = reward_digests(texts, opened(*texts))
        assert set(found) <= {f"reward:{name}", f"reward:{file}"}
        return found[f"reward:{name}"]

    base = digest()
    same = ", key=A_KEY, concurrency=2, timeout=9, attempts=1, backoff=1, max_calls=9"
    assert digest(more=same) == base
    template = f", template='{file}'"
    with_template = digest(more=template)
    file.write_text("{prompt} {completion}!")
    others = [
        digest(model="n"),
        digest(url="http://other/v1"),
        digest(more=", parameters={top_p: 0.5}"),
        digest(more=", lowest=0"),
        digest(name="rival_judge"),
        with_template,
        digest(more=template),
    ]
    assert len({base, *others}) == 8


@pytest.mark.parametrize(
    "more", [f", key={KEY}", f", key='{KEY}'", f", key='{KEY}', tipo=1", ", key=NO_KEY"]
)
def test_a_key_in_the_place_of_its_name_is_not_repeated(serve, more):
    with pytest.raises(UserError, match="key=|not understood|no parameter") as caught:
        opened(text("judge", serve(grade), more))
    assert KEY not in str(caught.value)


def test_what_is_of_use_for_served_judges_only(tiny_model):
    with pytest.raises(UserError, match="key is of use only with url"):
        opened(f"judge(model='{tiny_model}', key=A_KEY)")


def test_a_served_model_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    served = "judge(url='http://h', model=m)"
    assert with_paths(served) == served
    assert with_paths("judge(model=m)") == f"judge(model={tmp_path / 'm'})"
    assert reward_digests([served], opened(served)).keys() == {"reward:judge"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("rival_judge(url='http://h')", "`model` is missing"),
        ("rival_judge(model=m)", "`url` is missing"),
        ("judge(url='http://h', model=m, lowest=1)", "`lowest` has no use"),
        ("judge(url='http://h', model=m, timeout=0)", "timeout is 0"),
    ],
)
def test_a_judge_of_evaluate_that_is_not_understood(given, message):
    with pytest.raises(UserError, match=message):
        served_judge(given, Clients())
    assert served_judge("some/folder", Clients()) is None


def evaluate(*flags):
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", *map(str, flags)])
    return caught.value.code


def test_an_evaluation_asks_and_the_same_again_asks_nothing(
    serve, tiny_model, tmp_path, monkeypatch
):
    monkeypatch.setenv("A_KEY", KEY)

    def say(asked, before):
        return f"{KEY} [[A]]" if "Answer A:" in asked else f"{KEY} [[7]]"

    server = serve(say)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"{i}?"}) + "\n" for i in range(3)))
    out = tmp_path / "out"
    flags = ["--model", tiny_model, "--data", rows, "--output-dir", out]
    flags += ["--ref", tiny_model, "--max-new-tokens", 4]
    flags += ["--reward", text("judge", server, ", key=A_KEY")]
    flags += ["--judge", text("rival_judge", server, ", key=A_KEY")]
    assert evaluate(*flags) == 0
    found = json.loads((out / "results.json").read_text())["measures"]
    assert found["rewards/judge/mean"]["value"] == pytest.approx(2 / 3)
    assert found["win_rate/judge"]["value"] == 0.5  # the first place always wins
    assert found["judge/verdicts"]["value"] == 1.0
    asked = len(server.seen)
    assert 4 <= asked <= 9
    assert evaluate(*flags) == 0
    assert len(server.seen) == asked
    files = [x for x in out.rglob("*") if x.is_file()]
    assert any(x.parent.name == "judges" for x in files)
    assert not any(KEY.encode() in x.read_bytes() for x in files)


@pytest.mark.slow
def test_a_request_that_is_refused_costs_its_verdict_and_a_judge_that_fails_no_samples(
    serve, tiny_model, tmp_path
):
    def say(asked, before):
        return Status(400, "too long") if "1?" in asked else "[[A]]"

    server, rows = serve(say), tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"{i}?"}) + "\n" for i in range(3)))
    flags = ["--model", tiny_model, "--data", rows, "--ref", tiny_model]
    flags += ["--reward", "stopped", "--max-new-tokens", 4]
    flags += ["--judge", text("rival_judge", server)]
    assert evaluate(*flags, "--output-dir", tmp_path / "some") == 0
    found = json.loads((tmp_path / "some" / "results.json").read_text())["measures"]
    assert found["judge/verdicts"]["value"] == pytest.approx(2 / 3)
    assert found["win_rate/judge"]["rows"] == 2
    server.say = lambda asked, before: Status(401)
    assert evaluate(*flags, "--output-dir", tmp_path / "none") == 2
    kept = (tmp_path / "none" / "completions.jsonl").read_text().splitlines()
    assert len(kept) == 3


def trainer(folder, model, server, name):
    """A run of GRPO, as a process."""
    data = folder / "prompts.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i}?"}) + "\n" for i in range(8)))
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"JAX_PLATFORMS": "cpu", "JUDGE_KEY": KEY}
    flags = {
        "model": model,
        "data": data,
        "reward": text("judge", server, ", key=JUDGE_KEY, lowest=0, concurrency=2"),
        "conversational": "no",
        "max-new-tokens": 4,
        "batch-size": 4,
        "num-generations": 2,
        "max-steps": 3,
        "save-steps": 1,
        "eval-steps": 3,
        "output-dir": folder / name,
    }
    given = [x for k, v in flags.items() for x in (f"--{k}", str(v))]
    return subprocess.Popen(
        [sys.executable, "-m", "jaxalign", "grpo", *given, "--no-export"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_a_run_that_is_stopped_while_it_waits_goes_on_and_asks_nothing_twice(
    serve, tiny_model, tmp_path
):
    release, hangs = threading.Event(), threading.Event()
    replied = collections.Counter()

    def say(asked, before):
        if not release.is_set() and sum(replied.values()) >= 11:
            hangs.set()
            release.wait(300)
            return DROP
        replied[asked] += 1
        return f"[[{hashlib.sha256(asked.encode()).digest()[0] % 11}]]"

    server = serve(say)
    first = trainer(tmp_path, tiny_model, server, "run")
    assert hangs.wait(240)
    time.sleep(0.5)
    first.send_signal(signal.SIGTERM)
    start = time.monotonic()
    told, _ = first.communicate(timeout=60)
    assert first.returncode == 75, told
    assert time.monotonic() - start < 5
    release.set()
    kept = sum(replied.values())
    assert kept >= 11
    second = trainer(tmp_path, tiny_model, server, "run")
    more, _ = second.communicate(timeout=240)
    assert second.returncode == 0, more
    assert set(replied.values()) == {1}
    assert len(replied) > kept
    straight = trainer(tmp_path, tiny_model, server, "straight")
    log, _ = straight.communicate(timeout=240)
    assert straight.returncode == 0, log
    metrics = [
        (tmp_path / x / "metrics.jsonl").read_text() for x in ("run", "straight")
    ]
    assert metrics[0] == metrics[1]
    files = [x for x in tmp_path.rglob("*") if x.is_file()]
    assert not any(KEY.encode() in x.read_bytes() for x in files)
    assert not any(KEY in x for x in (told, more, log))
