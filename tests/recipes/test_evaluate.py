"""`jaxalign evaluate` on a tiny model, with numbers found in other ways."""

import functools
import json
import math

import jax
import numpy as np
import pytest

from jaxalign.__main__ import main
from jaxalign.errors import UserError
from jaxalign.models import Transformer, load_params, logits, read_config, scalar_scores
from jaxalign.recipes.evaluate import Config
from jaxalign.recipes.evaluation import run as evaluation
from jaxalign.rewards import Completion
from jaxalign.training.log import counted


def run(*flags):
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", *map(str, flags)])
    return caught.value.code


def results(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def other_model(draw_model):
    """The same architecture and tokenizer with other weights."""
    return draw_model(7, 3)


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    file = tmp_path_factory.mktemp("rows") / "questions.jsonl"
    rows = [
        {"question": f"what is {i}?", "answer": str(i), "easy": i % 2 == 0}
        for i in range(6)
    ]
    file.write_text("".join(json.dumps(x) + "\n" for x in rows))
    return file


def sums_by_hand(folder, rows, temperature=1.0):
    """Sum of the log-probabilities of each answer, from whole logits in float64."""
    config = read_config(folder)
    longest = max(len(prompt + answer) for prompt, answer in rows)
    padded = [(p + a + [0] * longest)[:longest] for p, a in rows]
    forward = jax.jit(functools.partial(logits, Transformer(config)))
    table = np.asarray(forward(load_params(folder, config), np.array(padded)), float)
    table /= temperature
    table -= table.max(-1, keepdims=True)
    table -= np.log(np.exp(table).sum(-1, keepdims=True))
    return np.array(
        [
            sum(table[i, len(p) + t - 1, token] for t, token in enumerate(a))
            for i, (p, a) in enumerate(rows)
        ]
    )


def encoded(text):
    """The ids of the tiny byte-level tokenizer, special tokens by their names."""
    special = {"<|im_start|>": 258, "<|im_end|>": 259}
    from tokenizers import pre_tokenizers

    order = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    ids = []
    while text:
        for name, i in special.items():
            if text.startswith(name):
                ids.append(i)
                text = text[len(name) :]
                break
        else:
            for piece, _ in pre_tokenizers.ByteLevel(
                add_prefix_space=False, use_regex=False
            ).pre_tokenize_str(text[0]):
                ids += [order[c] for c in piece]
            text = text[1:]
    return ids


def chat(pairs_file):
    for line in pairs_file.read_text().splitlines():
        row = {k: v[0]["content"] for k, v in json.loads(line).items()}
        prompt = f"<|im_start|>user\n{row['prompt']}<|im_end|>\n<|im_start|>assistant\n"
        yield (
            encoded(prompt),
            encoded(row["chosen"] + "<|im_end|>"),
            encoded(row["rejected"] + "<|im_end|>"),
        )


def test_perplexity_and_implicit_rewards(tiny_model, other_model, pairs, tmp_path):
    flags = ["--model", tiny_model, "--data", pairs, "--output-dir", tmp_path]
    assert run(*flags, "--ref", other_model, "--limit", 6, "--beta", 0.5) == 0
    got = results(tmp_path)["measures"]
    rows = list(chat(pairs))[:6]
    answers = [(r[0], r[side]) for side in (1, 2) for r in rows]
    ours, theirs = (sums_by_hand(x, answers) for x in (tiny_model, other_model))
    expected = math.exp(-ours[:6].sum() / sum(len(r[1]) for r in rows))
    assert got["perplexity"]["value"] == pytest.approx(expected, rel=1e-4)
    rewards = 0.5 * (ours - theirs).reshape(2, 6)
    margins = rewards[0] - rewards[1]
    assert got["rewards/chosen"]["value"] == pytest.approx(rewards[0].mean(), rel=1e-3)
    assert got["rewards/margins"]["value"] == pytest.approx(margins.mean(), rel=1e-3)
    assert got["rewards/accuracies"]["value"] == (margins > 0).mean()
    for measure in got.values():
        assert measure["low"] <= measure["value"] <= measure["high"]
        assert measure["rows"] == 6
    assert (tmp_path / "results.png").stat().st_size > 1000
    assert not (tmp_path / "completions.jsonl").exists()


def test_a_reward_model_orders_pairs(reward_model, pairs, tmp_path, capsys):
    flags = ["--model", reward_model, "--data", pairs, "--output-dir", tmp_path]
    assert run(*flags, "--limit", 12) == 0
    got = results(tmp_path)["measures"]
    config = read_config(reward_model)
    sequences = [p + a for p, *answers in list(chat(pairs))[:12] for a in answers]
    longest = max(map(len, sequences))
    padded = np.array([x + [0] * (longest - len(x)) for x in sequences])
    ends = np.array([[len(x) - 1] for x in sequences])
    forward = jax.jit(functools.partial(scalar_scores, Transformer(config)))
    alone = forward(load_params(reward_model, config), padded, ends)
    by_hand = np.asarray(alone, float).reshape(12, 2)
    margins = by_hand[:, 0] - by_hand[:, 1]
    assert 0 < (margins > 0).mean() < 1
    for name, expected in {
        "rewards/accuracies": (margins > 0).mean(),
        "rewards/margins": margins.mean(),
        "rewards/rejected": by_hand[:, 1].mean(),
        "log_loss": np.log(1 + np.exp(-margins)).mean(),
    }.items():
        assert got[name]["value"] == pytest.approx(expected, abs=1e-4)
        assert got[name]["low"] < got[name]["value"] < got[name]["high"]
        assert got[name]["rows"] == 12
    assert run(*flags, "--reward", "stopped") == 2
    assert "it completes no prompt, which --reward" in capsys.readouterr().err


def test_samples_under_rewards_and_a_reference(
    tiny_model, other_model, questions, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(counted, "LINE_EVERY", 0)
    seen: list[Completion] = []
    describe = evaluation.describe
    monkeypatch.setattr(
        evaluation, "describe", lambda c: (seen.append(c), describe(c))[1]
    )
    flags = ["--model", tiny_model, "--data", questions, "--output-dir", tmp_path]
    code = run(
        *flags, "--ref", other_model, "--reward", "stopped", "abstention(wrong=-3)",
        "--known", "easy", "--num-samples", 4, "--max-new-tokens", 8,
        "--temperature", 0.7,
    )  # fmt: skip
    assert code == 0
    found = results(tmp_path)
    text = (tmp_path / "completions.jsonl").read_text()
    lines = [json.loads(x) for x in text.splitlines()]
    assert [x["row"] for x in lines] == [i for i in range(6) for _ in range(4)]
    stopped = np.array([x["rewards"]["stopped"] for x in lines])
    assert [float(x["stopped"]) for x in lines] == stopped.tolist()
    measures = found["measures"]
    assert measures["rewards/stopped/mean"]["value"] == pytest.approx(stopped.mean())
    totals = np.array([sum(x["rewards"].values()) for x in lines])
    assert measures["reward"]["value"] == pytest.approx(totals.mean())
    best = found["best_of_n"]
    assert list(best) == ["1", "2", "4"]
    highest = totals.reshape(6, 4).max(axis=1).mean()
    assert best["4"]["reward"] == pytest.approx(highest)
    assert best["1"]["reward"] == pytest.approx(totals.mean())
    table = found["abstention"]
    assert table["known"]["completions"] == table["unknown"]["completions"] == 12
    wrong = np.mean([x["rewards"]["abstention"] == -3 for x in lines])
    assert table["all"]["wrong"] == pytest.approx(wrong)
    rows = [(list(c.prompt_ids), list(c.ids)) for c in seen]
    ours, theirs = (sums_by_hand(x, rows, 0.7) for x in (tiny_model, other_model))
    assert measures["kl"]["value"] == pytest.approx((ours - theirs).mean(), rel=1e-3)
    assert 0 <= measures["win_rate/reward"]["value"] <= 1
    told = capsys.readouterr().err
    for model in (tiny_model, other_model):
        assert f"completions by {model}: 24/24  " in told
        assert f"log-probs by {model}, batches: " in told


@pytest.mark.slow
def test_a_reward_model_is_a_reward_by_flag_or_by_folder(
    tiny_model, reward_model, questions, tmp_path
):
    flags = ["--model", tiny_model, "--data", questions, "--output-dir", tmp_path]
    flags += ["--max-new-tokens", 4, "--reward-model", reward_model]
    assert run(*flags, "--reward", f"{reward_model}=-1") == 0
    measures = results(tmp_path)["measures"]
    mean = measures["rewards/reward_model/mean"]["value"]
    assert mean == measures["rewards/taste/mean"]["value"] != 0
    assert measures["reward"]["value"] == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_a_model_against_itself_under_a_judge(
    tiny_model, questions, tmp_path, monkeypatch
):
    monkeypatch.setattr("jaxalign.recipes.scoring.judge.LONGEST_VERDICT", 4)
    template = tmp_path / "template.txt"
    template.write_text("{prompt} {first} {second}")
    flags = ["--model", tiny_model, "--data", questions, "--output-dir", tmp_path]
    flags += ["--ref", tiny_model, "--max-new-tokens", 4, "--limit", 3]
    flags += ["--judge", tiny_model, "--judge-template", template]
    assert run(*flags, "--reward", "stopped") == 0
    measures = results(tmp_path)["measures"]
    assert measures["kl"]["value"] == 0
    assert measures["win_rate/reward"]["value"] == 0.5
    assert measures["judge/verdicts"]["value"] == 0  # it has learned nothing
    assert measures["win_rate/judge"] == {
        "value": None, "low": None, "high": None, "rows": 0,
    }  # fmt: skip


@pytest.mark.slow
def test_the_same_seed_gives_the_same_results(tiny_model, questions, tmp_path):
    flags = ["--model", tiny_model, "--data", questions, "--reward", "stopped"]
    flags += ["--max-new-tokens", 8, "--limit", 3, "--num-samples", 4]
    for name in "ab":
        assert run(*flags, "--output-dir", tmp_path / name) == 0
    a, b = (results(tmp_path / name) for name in "ab")
    assert a["measures"] == b["measures"]
    texts = [(tmp_path / name / "completions.jsonl").read_text() for name in "ab"]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": 0}, "limit must be 1 or more, got 0"),
        ({"max_length": 1}, "max_length must be 2 or more"),
        ({"beta": 0.0}, "beta must be positive"),
        ({"judge": "j"}, "Name it with --ref"),
        ({"judge_template": "t"}, "only with --judge MODEL"),
        ({"known": "easy"}, "needs --reward abstention"),
        ({"known": "easy", "reward": ("brier.py:fn",)}, "needs --reward abstention"),
        ({"temperature": 0.0, "num_samples": 2}, "the same completion every time"),
        ({"temperature": math.nan}, "temperature must be 0 or more, got nan"),
        ({"top_p": 0.0}, "top_p must be above 0"),
    ],
)
def test_nonsense_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        Config(model="m", data="d", output_dir="o", **changes)


def test_mistakes_exit_with_2(tiny_model, questions, tmp_path, capsys):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "hi"}\n')
    flags = ["--model", tiny_model, "--output-dir", tmp_path]
    for more, message in [
        (["--data", prompts], "the rows hold no completions to measure"),
        (["--data", tmp_path / "none.jsonl"], "none.jsonl"),
        (
            ["--data", questions, "--reward", "abstention", "--known", "hard"],
            "--known hard: row 0 has None there, not true or false; its columns are",
        ),
        (["--data", questions, "--reward", "exact"], "no reward `exact`"),
    ]:
        assert run(*flags, *more) == 2
        assert message in capsys.readouterr().err


def test_a_file_in_the_place_of_the_results_stays(tiny_model, pairs, tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    file.write_text("mine")
    argv = ["--model", str(tiny_model), "--data", str(pairs), "--output-dir", str(file)]
    with pytest.raises(SystemExit) as end:
        main(["evaluate", *argv])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert f"{file}: File exists. Mend the path" in error
    assert [x.name for x in tmp_path.iterdir()] == ["rows.jsonl"]
    assert file.read_text() == "mine"


def test_the_list_of_rewards(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["rewards"])
    assert caught.value.code == 0
    assert "  exact_match(column='answer')\n" in capsys.readouterr().out
