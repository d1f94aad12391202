"""What `evaluate` finds of confidences and abstentions, against float64 and loops."""

import functools
import json
import math

import numpy as np
import pytest

from jaxalign.__main__ import main
from jaxalign.errors import UserError
from jaxalign.recipes.evaluation import run as evaluation
from jaxalign.recipes.evaluation.checkpoint import Checkpoint
from jaxalign.recipes.evaluation.claims import claims_reader, open_reading
from jaxalign.recipes.evaluation.config import Config
from jaxalign.recipes.evaluation.knowing import KNOWN, knowing, known_rows, with_known
from jaxalign.recipes.evaluation.measure import Estimator
from jaxalign.recipes.evaluation.scoring import Written
from jaxalign.rewards import (
    Completion,
    Reward,
    abstention,
    brier,
    confidence_target,
    score,
)

ESTIMATOR = Estimator(0)
SAMPLES = 3


def drawn(seed=0, rows=40, stating=0.8):
    """Completions with what they claim: outcome, and confidence or None."""
    rng = np.random.default_rng(seed)
    completions, outcomes, stated, known = [], [], [], []
    for i in range(rows):
        known.append(bool(rng.random() < 0.6))
        for _ in range(SAMPLES):
            outcome = rng.choice(["correct", "wrong", "abstain"], p=[0.5, 0.3, 0.2])
            q = int(rng.integers(0, 11)) * 10
            text = {"correct": "Rome", "wrong": "Oslo", "abstain": "I don't know"}
            said, q = text[outcome], q if rng.random() < stating else None
            if q is not None:
                said += f". Confidence: {q}%"
            columns = {"answer": "Rome", "easy": known[-1]}
            completions.append(Completion("Where?", said, columns=columns, index=i))
            outcomes.append(str(outcome))
            stated.append(None if q is None or outcome == "abstain" else q / 100)
    return completions, outcomes, stated, known


def in_loops(q, right):
    """All measures of predictions in float64, from their definitions."""
    n = len(q)
    width = [[] for _ in range(10)]
    for x, y in zip(q, right, strict=True):
        width[min(int(np.float32(x) * np.float32(10)), 9)].append((x, y))
    order = sorted(range(n), key=lambda i: q[i])
    share = {x: np.mean([right[i] for i in range(n) if q[i] == x]) for x in q}
    mass = [[] for _ in range(10)]
    for rank, i in enumerate(order):
        mass[rank * 10 // n].append((q[i], share[q[i]]))
    ece = [
        sum(abs(sum(y - x for x, y in b)) for b in bins) / n for bins in (width, mass)
    ]
    pairs = [
        (a > b) + (a == b) / 2
        for a, r in zip(q, right, strict=True)
        for b, s in zip(q, right, strict=True)
        if r and not s
    ]
    risk = [
        1 - np.mean([share[q[i]] for i in order[::-1][:k]]) for k in range(1, n + 1)
    ]
    return {
        "ece_equal_width": ece[0],
        "ece_equal_mass": ece[1],
        "brier": np.mean([(x - y) ** 2 for x, y in zip(q, right, strict=True)]),
        "auroc": np.mean(pairs),
        "risk_coverage_area": np.mean(risk),
    }, risk


def found_for(completions, rewards, confidence=False, known=None, known_by_ref=None):
    reading = open_reading(rewards, confidence, known)
    journal = [{} for _ in completions]
    answers = Written(completions, None, SAMPLES)
    if known_by_ref is not None:
        answers, known = with_known(answers, known_by_ref), KNOWN
    scores = score(rewards, completions) if rewards else None
    args = answers, reading, ESTIMATOR, journal
    return knowing(*args, scores=scores, known=known), journal


@pytest.mark.parametrize("reward", [brier, confidence_target, None])
def test_the_measures_of_confidence_are_those_of_the_formulas(reward):
    completions, outcomes, stated, _ = drawn()
    options = {"threshold": 0.5} if reward is confidence_target else {}
    rewards = [Reward("r", functools.partial(reward, **options))] if reward else []
    found, journal = found_for(completions, rewards, confidence=reward is None)
    pairs = [
        (q, outcome == "correct")
        for q, outcome in zip(stated, outcomes, strict=True)
        if q is not None
    ]
    expected, risk = in_loops(*map(list, zip(*pairs, strict=True)))
    for name, value in expected.items():
        measure = found.measures[f"calibration/{name}"]
        assert measure.value == pytest.approx(value, abs=2e-6), name
        assert measure.low < measure.value < measure.high
        assert measure.high - measure.low < 0.4
    answered = [x for x in outcomes if x != "abstain"]
    share = found.measures["calibration/stated"].value
    assert share == pytest.approx(len(pairs) / len(answered))
    mean = found.measures["calibration/confidence"].value
    assert mean == pytest.approx(np.mean([q for q, _ in pairs]))
    curve = found.diagrams["risk_coverage"]
    assert [x["risk"] for x in curve] == pytest.approx(risk, abs=2e-6)
    assert [x["coverage"] for x in curve] == pytest.approx(
        [(k + 1) / len(pairs) for k in range(len(pairs))]
    )
    for bins in (found.diagrams["equal_width"], found.diagrams["equal_mass"]):
        assert sum(x["count"] for x in bins) == len(pairs)
        right = sum(x["accuracy"] * x["count"] for x in bins)
        assert right == pytest.approx(sum(y for _, y in pairs), abs=1e-4)
    assert [x["outcome"] for x in journal] == outcomes
    assert [x["confidence"] for x in journal] == stated


def test_the_interval_is_that_of_rows_redrawn_in_float64():
    """The samples of a row stay together, or the interval would be too narrow."""
    completions = [
        Completion(
            "?",
            f"{'Rome' if i % 2 else 'Oslo'}. Confidence: 80%",
            columns={"answer": "Rome"},
            index=i,
        )
        for i in range(30)
        for _ in range(SAMPLES)
    ]
    found, _ = found_for(completions, [Reward("brier", brier)])
    rng = np.random.default_rng(0)
    errors = np.where(np.arange(30) % 2, 0.2**2, 0.8**2)
    means = rng.choice(errors, (20000, 30)).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    measure = found.measures["calibration/brier"]
    assert measure.low == pytest.approx(low, abs=0.015)
    assert measure.high == pytest.approx(high, abs=0.015)
    assert measure.rows == 30


def test_abstention_against_what_is_known():
    completions, outcomes, _, known = drawn(stating=0)
    by_column, journal = found_for(
        completions, [Reward("abstention", abstention)], known="easy"
    )
    by_ref, _ = found_for(
        completions,
        [Reward("abstention", abstention)],
        known_by_ref=np.array(known),
    )
    assert by_column == by_ref
    n, each = len(outcomes), np.repeat(known, SAMPLES)
    shares = {x: outcomes.count(x) / n for x in ("correct", "abstain", "wrong")}
    over = [o == "abstain" for o, k in zip(outcomes, each, strict=True) if k]
    under = [o != "abstain" for o, k in zip(outcomes, each, strict=True) if not k]
    answered = shares["correct"] + shares["wrong"]
    for name, value in {
        "accuracy": shares["correct"],
        "abstention": shares["abstain"],
        "hallucination": shares["wrong"],
        "truthfulness": shares["correct"] - shares["wrong"],
        "accuracy_of_answers": shares["correct"] / answered,
        "known": np.mean(known),
        "over_abstention": np.mean(over),
        "under_abstention": np.mean(under),
    }.items():
        measure = by_column.measures[f"abstention/{name}"]
        assert measure.value == pytest.approx(value), name
        assert measure.low <= measure.value <= measure.high
    assert by_column.measures["abstention/over_abstention"].rows == sum(known)
    assert by_column.table["known"]["completions"] == SAMPLES * sum(known)
    assert by_column.table["unknown"]["abstain"] == pytest.approx(1 - np.mean(under))
    assert not any(x.startswith("calibration") for x in by_column.measures)
    assert by_column.diagrams == {}
    assert [x["known"] for x in journal] == each.tolist()
    assert "confidence" not in journal[0]


def test_known_is_what_is_right_at_least_half_of_the_time():
    texts = "Rome Rome Oslo Oslo|Rome Oslo Oslo Oslo|Pass Pass Pass Rome|Rome Rome x x"
    samples = [
        Completion("?", x, columns={"answer": "Rome"}, index=i)
        for i, row in enumerate(texts.split("|"))
        for x in row.split()
    ]
    for reward in (abstention, brier):
        outcomes = open_reading([Reward("r", reward)], False, None).outcomes(samples)
        assert outcomes is not None
        assert known_rows(outcomes, 4).tolist() == [True, False, False, True]
    assert open_reading([], False, None).outcomes(samples) is None


def test_a_judge_that_failed_on_an_answer_leaves_it_out():
    def judged_abstention(completions, *, model):
        if any(c.completion == "!" for c in completions):
            raise ValueError("no verdict")
        return abstention(completions)

    rows = [
        Completion("?", x, columns={"answer": "Rome"}, index=i)
        for i, x in enumerate(["Rome", "!", "I don't know", "Oslo", "Rome", "Rome"])
    ]
    function = functools.partial(judged_abstention, model="m")
    found, journal = found_for(rows, [Reward("mine", function, fallback=0.0)])
    assert found.measures["abstention/accuracy"].value == pytest.approx(3 / 5)
    assert found.measures["abstention/accuracy_of_answers"].value == 0.75
    assert found.table["all"]["completions"] == 5
    assert journal[1]["outcome"] is None


def test_samples_without_a_verdict_do_not_make_a_question_unknown():
    outcomes = ["correct", None, None, "wrong", "correct", "wrong"]
    assert known_rows(outcomes, 3).tolist() == [True, False]
    with pytest.raises(UserError, match="of 1 of 2 questions"):
        known_rows([None, None, "correct", None], 2)


def test_confidences_are_held_against_what_the_judge_of_abstentions_said():
    """One number for what is right in a table, whoever says it."""

    def judged_abstention(completions, *, column, match):
        # As a judge that takes this for an answer, where our phrases do not.
        detector = lambda rows: ["Hm" in x.completion for x in rows]  # noqa: E731
        return abstention(completions, column=column, match=match, detector=detector)

    said = ["Rome", "Hm", "Oslo"]
    rows = [
        Completion(
            "?",
            f"{x}. Confidence: 90%",
            columns={"gold": "Rome", "answer": "Oslo"},
            index=i,
        )
        for i, x in enumerate(said)
    ]
    options = {"column": "gold", "match": "contains"}
    function = functools.partial(judged_abstention, **options)
    rewards = [Reward("mine", function)]
    reading = open_reading(rewards, True, None)
    journal = [{} for _ in rows]
    found = knowing(Written(rows, None, 1), reading, ESTIMATOR, journal)
    assert [x["outcome"] for x in journal] == ["correct", "abstain", "wrong"]
    assert [x["confidence"] for x in journal] == [0.9, None, 0.9]
    measures = {k: v.value for k, v in found.measures.items()}
    assert measures["abstention/accuracy_of_answers"] == 0.5
    assert measures["calibration/stated"] == 1
    assert measures["calibration/brier"] == pytest.approx((0.1**2 + 0.9**2) / 2)


def test_what_states_the_confidence_is_no_part_of_the_answer():
    """The number that the completion ends with would be that of the confidence."""
    row = Completion("?", "4. Confidence: 90%", columns={"answer": 4})
    by_number = functools.partial(brier, match="number")
    read = claims_reader([Reward("brier", by_number)], False)
    assert read is not None
    assert read([row]) == [("correct", 0.9)]
    tenths = functools.partial(brier, match="number", tenths=True)
    rewards = [Reward("abstention", abstention), Reward("brier", tenths)]
    read = claims_reader(rewards, False)  # the one that reads confidences
    assert read is not None
    bare = Completion("?", "4. Confidence: 8", columns={"answer": 4})
    assert read([bare]) == [("correct", 0.85)]


def test_where_nobody_states_a_confidence_only_that_is_said():
    rows = [Completion("?", "Rome", columns={"answer": "Rome"})] * SAMPLES
    found, _ = found_for(rows, [], confidence=True)
    calibration = {k for k in found.measures if k.startswith("calibration")}
    assert calibration == {"calibration/stated", "calibration/confidence"}
    assert found.measures["calibration/stated"].value == 0
    assert math.isnan(found.measures["calibration/confidence"].value)
    assert found.diagrams == {}


def test_all_right_has_no_auroc():
    text = "Rome. Confidence: 70%"
    rows = [Completion("?", text, columns={"answer": "Rome"})] * SAMPLES
    found, _ = found_for(rows, [], confidence=True)
    assert math.isnan(found.measures["calibration/auroc"].value)
    assert found.measures["calibration/ece_equal_mass"].value == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"known_by": 0}, "known_by must be 1 or more"),
        ({"known_by": 4}, "name it with --ref"),
        ({"known_by": 4, "ref": "r"}, "name it with --ref"),
        (
            {"known_by": 4, "ref": "r", "known": "easy", "reward": ("brier",)},
            "leave one of them out",
        ),
        ({"known": "easy", "reward": ("stopped",)}, "needs --reward abstention"),
    ],
)
def test_nonsense_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        Config(model="m", data="d", output_dir="o", **changes)


def test_results_and_pictures(tiny_model, tmp_path, monkeypatch):
    """A model that is told what to say: the reference knows the even questions."""

    def say(self, prompts, answers, num_samples, keep_special=False):
        texts = []
        for i, ids in enumerate(answers.ids()):
            prompt, sample = prompts[i // num_samples], i % num_samples
            text = f"{prompt.index}. Confidence: {10 * prompt.index}%"
            if num_samples == 4:  # the reference: two of four are right, or one is
                text = str(prompt.index) if sample < 2 - prompt.index % 2 else "x"
            elif prompt.index in (0, 1):
                text = "I don't know"
            elif prompt.index == 2:
                text = "Hm. Confidence: 20%"
            texts.append(prompt.completion(text, ids, True))
        return texts

    monkeypatch.setattr(Checkpoint, "completions", say)
    rows = tmp_path / "rows.jsonl"
    lines = [{"question": f"what is {i}?", "answer": str(i)} for i in range(6)]
    rows.write_text("".join(json.dumps(x) + "\n" for x in lines))
    seeds = []
    plain = Checkpoint.sample

    def sample(self, prompts, sampling, progress):
        seeds.append((sampling.seed, sampling.temperature, sampling.num_samples))
        return plain(self, prompts, sampling, progress)

    monkeypatch.setattr(Checkpoint, "sample", sample)
    out = tmp_path / "out"
    flags = ["--model", tiny_model, "--ref", tiny_model, "--data", rows]
    flags += ["--output-dir", out, "--reward", "brier(match=number)"]
    flags += ["--known-by", 4, "--max-new-tokens", 2, "--temperature", 0.5]
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", *map(str, flags)])
    assert caught.value.code == 0
    assert seeds[:2] == [(0, 0.5, 1), (0, 0.5, 1)]
    assert seeds[2] == (evaluation._KNOWN_SEED, 1.0, 4)
    whole = json.loads((out / "results.json").read_text())
    measures = {k: v["value"] for k, v in whole["measures"].items()}
    assert measures["abstention/known"] == 0.5
    assert measures["abstention/over_abstention"] == pytest.approx(
        1 / 3
    )  # 0 of 0, 2, 4
    assert measures["abstention/under_abstention"] == pytest.approx(2 / 3)
    assert measures["abstention/truthfulness"] == pytest.approx((3 - 1) / 6)
    q, right = np.array([0.2, 0.3, 0.4, 0.5]), np.array([0, 1, 1, 1])
    assert measures["calibration/brier"] == pytest.approx(np.mean((q - right) ** 2))
    assert measures["calibration/auroc"] == 1.0
    assert whole["calibration"]["risk_coverage"][-1]["risk"] == pytest.approx(0.25)
    assert whole["abstention"]["known"]["completions"] == 3
    assert (out / "results.png").stat().st_size > 10000
    lines = [
        json.loads(x) for x in (out / "completions.jsonl").read_text().splitlines()
    ]
    assert [x["confidence"] for x in lines] == [None, None, 0.2, 0.3, 0.4, 0.5]
    assert [x["known"] for x in lines] == [True, False] * 3


def test_rows_without_an_answer_are_refused_before_anything_is_sampled(
    tiny_model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(Checkpoint, "sample", lambda *x: pytest.fail("sampled"))
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "hi"}\n')
    flags = ["--model", tiny_model, "--data", rows, "--output-dir", tmp_path / "o"]
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", *map(str, flags), "--confidence"])
    assert caught.value.code == 2
    assert "answer" in capsys.readouterr().err
