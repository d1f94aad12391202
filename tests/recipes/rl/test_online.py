"""`jaxalign online` from the command line to its folder."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.__main__ import main
from jaxalign.errors import UserError
from jaxalign.recipes import online
from jaxalign.recipes.rl.parts import plan_completion_rows
from jaxalign.recipes.scoring import judge
from jaxalign.rollout import Decoder
from jaxalign.training import read_metrics

ITERATIONS = 12
# A regression to rewards goes past its target in the steps that suit the others.
SMALL_STEPS = ("--optimizer.learning-rate", "0.004", "--max-steps", "30")
JUDGE = '''
from jaxalign.rewards import rival_judge


def respond(requests):
    """Prefers the longer answer, and cannot tell equal ones apart."""
    replies = []
    for request in requests:
        a, b = request.split("Answer A:")[1].split("Answer B:")
        a, b = len(a.strip()), len(b.strip())
        replies.append("[[C]]" if a == b else "[[A]]" if a > b else "[[B]]")
    return replies


longer = rival_judge(respond)
'''


def run(tiny_model, prompts, reward, out, method, *more, steps=ITERATIONS):
    argv = [
        *("online", "--model", str(tiny_model), "--data", str(prompts)),
        *("--output-dir", str(out), "--reward", str(reward), "--method", method),
        *("--conversational", "no", "--max-new-tokens", "4", "--batch-size", "16"),
        *("--max-steps", str(steps), "--optimizer.learning-rate", "0.02"),
        *("--save-steps", "100", "--eval-steps", "100", "--no-export", *more),
    ]
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 0
    lines = read_metrics(out / "metrics.jsonl")
    return [x for x in lines if x["split"] == "train"]


def rises(lines):
    rewards = [x["reward"] for x in lines]
    return np.mean(rewards[-3:]) - np.mean(rewards[:2])


def check_first(line):
    """The policy's own answers have the trainer's log-probabilities."""
    assert line["sampling/sampling_logp_difference/max"] < 1e-4
    assert abs(line["objective/kl"]) < 1e-4
    assert 0 < line["ties"] < 1
    assert line["completions/mean_length"] <= 4


@pytest.mark.slow
def test_nash_md_samples_its_rivals_from_the_mixture(
    tiny_model, prompts, reward_file, tmp_path
):
    out = tmp_path / "run"
    reward = f"{reward_file}:even"
    more = ("--beta", "0.02", "--eval-fraction", "0.2")
    lines = run(tiny_model, prompts, reward, out, "nash_md", *more, steps=4)
    check_first(lines[0])
    # The rivals follow another distribution now; the policy's own answers do not.
    assert lines[-1]["sampling/sampling_logp_difference/max"] < 1e-3
    assert lines[-1]["objective/kl"] > 1e-3
    answers = [
        json.loads(x)
        for x in (out / "completions" / "step_000001.jsonl").read_text().splitlines()
    ]
    assert len(answers) == 16 * 2
    pairs = zip(answers[::2], answers[1::2], strict=True)
    ties = [a["reward"] == b["reward"] for a, b in pairs]
    assert lines[0]["ties"] == pytest.approx(np.mean(ties))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("online_dpo", ()),
        ("iterative_dpo", ()),
        ("iterative_dpo", ("--num-generations", "4")),
        ("xpo", ("--alpha", "1e-4")),
        ("nash_md", ("--beta", "0.02", "--mixture-coef", "0.25")),
        ("rebel", ("--parallel", "pmap", *SMALL_STEPS)),
    ],
)
def test_each_method_learns_what_is_rewarded(
    tiny_model, prompts, reward_file, tmp_path, method, more
):
    reward = f"{reward_file}:even"
    more = (*more, "--num-iterations", "2", "--num-minibatches", "2")
    lines = run(tiny_model, prompts, reward, tmp_path / "run", method, *more)
    if "dpo" in method:
        # The mean over updates of which the first is at the reference.
        assert lines[0]["loss"] == pytest.approx(np.log(2), abs=0.05)
    assert lines[0]["sampling/sampling_logp_difference/max"] < 1e-4
    assert rises(lines) > 0.1


def test_the_mixture_has_the_reference_s_share():
    """Eq. 4 of Nash-MD: (1 - w) log policy + w log reference, in one product."""
    plain = Decoder(
        init_cache=lambda rows, slots: None,
        apply=lambda params, tokens, starts, cache: (params, None),
        head=lambda params: (jnp.eye(2), None, 2),
        max_length=8,
    )
    policy, reference = np.array([[[4.0, 0.0]]]), np.array([[[0.0, 8.0]]])
    for given, share in ((0.25, 0.25), (None, 0.5)):
        config = online.Config(
            model="m",
            data="d",
            output_dir="o",
            reward=("stopped",),
            method="nash_md",
            mixture_coef=given,
        )
        rival: Any = online.online_algorithm(config).rival
        decoder, params_of = rival(plain)
        params = params_of(policy, reference)
        hidden, _ = decoder.apply(params, None, None, (None, None))
        kernel, _, size = decoder.head(params)
        logits = np.asarray(hidden) @ np.asarray(kernel)[:size].T
        expected = [[[(1 - share) * 4, share * 8]]]
        np.testing.assert_allclose(logits, expected, rtol=1e-6)


def test_without_packing_each_prompt_has_a_row():
    """With it several prompts with their completions share one."""

    def rows_of(**changes):
        config = online.Config(
            model="m",
            data="d",
            output_dir="o",
            reward=("stopped",),
            max_new_tokens=4,
            batch_size=16,
            **changes,
        )
        algorithm = online.online_algorithm(config)
        return plan_completion_rows(config, algorithm, 18, 8).counts

    assert {*rows_of(packing=False)} == {16}
    assert min(rows_of(row_length=64)) < 16


@pytest.mark.slow
def test_a_checkpoint_decides(tiny_model, prompts, tmp_path, monkeypatch):
    """As judge of pairs; it is told what to say, for it has learned nothing."""
    namespace: dict[str, Any] = {}
    exec(JUDGE, namespace)
    monkeypatch.setattr(
        judge, "respond_of", lambda checkpoint, size: namespace["respond"]
    )
    reward = f"rival_judge(model='{tiny_model}')"
    lines = run(tiny_model, prompts, reward, tmp_path / "run", "online_dpo", steps=1)
    assert lines[0]["rewards/rival_judge/mean"] == pytest.approx(0.5)
    assert 0 < lines[0]["ties"] < 1


@pytest.mark.slow
def test_a_pairwise_judge_decides(tiny_model, prompts, tmp_path):
    file = tmp_path / "judge.py"
    file.write_text(JUDGE)
    lines = run(
        tiny_model, prompts, f"{file}:longer", tmp_path / "run", "online_dpo", steps=2
    )
    assert lines[0]["reward"] == pytest.approx(0.5)
    assert 0 < lines[0]["ties"] < 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "xpo", "num_generations": 3}, "exactly 2, got 3"),
        ({"num_generations": 1}, "2 or more, got 1"),
        ({"method": "rebel", "beta": 0.1}, "rebel has no beta; it has eta"),
        ({"mixture_coef": 0.1}, "online_dpo has no mixture_coef"),
        ({"method": "nash_md", "mixture_coef": 1.5}, r"mixture_coef must be in"),
        ({"beta": 0.0}, r"beta must be in \(0"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(UserError, match=message):
        online.Config(
            model="m", data="d", output_dir="o", reward=("exact_match",), **settings
        )
