"""Whole runs in little: rewards rise, and what is written down is what happened."""

import json
import math
from typing import Any

import jax
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.recipes import export, grpo, ppo
from jaxalign.recipes.rl.completions_log import CompletionsLog
from jaxalign.recipes.rl.fit import reference_of
from jaxalign.training import read_metrics
from jaxalign.training.optimizer import OptimizerConfig

ITERATIONS = 12


def settings(model, data, rewards, out, **changes):
    return {
        "model": str(model),
        "data": str(data),
        "output_dir": str(out),
        "reward": (f"{rewards}:even",),
        "conversational": "no",
        "max_new_tokens": 4,
        "batch_size": 8,
        "max_steps": ITERATIONS,
        "save_steps": 100,
        "eval_steps": 100,
        "optimizer": OptimizerConfig(learning_rate=0.02),
    } | changes


def lines_of(out, split="train"):
    return [x for x in read_metrics(out / "metrics.jsonl") if x["split"] == split]


def answers_of(out, step):
    file = out / "completions" / f"step_{step:06}.jsonl"
    return [json.loads(x) for x in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def grpo_run(tiny_model, prompts, reward_file, tmp_path_factory):
    """A run, and compilations and iterations in the order in which they came."""
    out = tmp_path_factory.mktemp("grpo") / "run"
    events: list[str] = []

    def heard(event, duration_secs, **_):
        if event.endswith("backend_compile_duration"):
            events.append("compile")

    jax.monitoring.register_event_duration_secs_listener(heard)
    write = CompletionsLog.write

    def noted(self, *arguments):
        events.append("iteration")
        write(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompletionsLog, "write", noted)
        config = grpo.Config(
            **settings(tiny_model, prompts, reward_file, out),
            num_generations=4,
            num_iterations=2,
            num_minibatches=2,
            temperature=0.7,
            kl_coef=0.01,
            importance_cap=2.0,
            entropy_coef=1e-3,
            eval_fraction=0.3,
        )
        assert grpo.main(config) == 0
    jax.monitoring.unregister_event_duration_listener(heard)
    return out, events


def test_grpo_learns_what_is_rewarded(grpo_run):
    rewards = [line["reward"] for line in lines_of(grpo_run[0])]
    assert len(rewards) == ITERATIONS
    assert np.mean(rewards[-3:]) > np.mean(rewards[:2]) + 0.15
    held_out = [line["eval_reward"] for line in lines_of(grpo_run[0], "eval")]
    assert len(held_out) == 2
    assert held_out[1] > held_out[0]


def test_nothing_compiles_once_it_is_warm(grpo_run):
    events = grpo_run[1]
    places = [i for i, x in enumerate(events) if x == "iteration"]
    warm = events[places[ITERATIONS // 2] : places[-1]]
    assert "compile" in events[: places[1]]
    assert "compile" not in warm


@pytest.mark.parametrize(
    ("temperature", "algorithm"),
    [pytest.param(0.5, "grpo", marks=pytest.mark.slow), (2.0, "rloo")],
)
def test_at_first_policy_sampler_and_reference_are_one(
    tiny_model, prompts, reward_file, tmp_path, temperature, algorithm: Any
):
    """Fault 16: the sampler's temperature is in every log-prob, whatever it is."""
    out = tmp_path / "run"
    config = grpo.Config(
        **settings(tiny_model, prompts, reward_file, out, max_steps=1),
        algorithm=algorithm,
        num_generations=4,
        temperature=temperature,
        kl_coef=0.1,
    )
    assert grpo.main(config) == 0
    (line,) = lines_of(out)
    assert line["sampling/sampling_logp_difference/max"] < 1e-4
    assert abs(line["val/ratio"] - 1) < 1e-5
    assert line["policy/approxkl_avg"] < 1e-10
    assert abs(line["kl"]) < 1e-6
    assert abs(line["objective/kl"]) < 1e-4
    assert line.get("clip_ratio/region_mean", 0) == 0
    first = answers_of(out, 1)
    groups = np.reshape([x["reward"] for x in first], (-1, 4))
    if algorithm == "rloo":
        centred = groups - (groups.sum(1, keepdims=True) - groups) / 3
        found = [x["advantage"] for x in first]
        np.testing.assert_allclose(found, centred.ravel(), atol=1e-4)


def test_every_answer_is_kept(grpo_run):
    out, _ = grpo_run
    first = answers_of(out, 1)
    assert len(first) == 8 * 4
    for line in first:
        assert set(line["rewards"]) == {"even"}
        assert line["reward"] == line["rewards"]["even"]
        assert line["stop"] in ("stop_token", "max_new_tokens")
        assert 1 <= line["length"] <= 4
    groups = [first[i : i + 4] for i in range(0, len(first), 4)]
    for group in groups:
        assert len({x["prompt"] for x in group}) == 1
        rewards = np.array([x["reward"] for x in group])
        expected = (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-4)
        found = [x["advantage"] for x in group]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    mean = np.mean([x["reward"] for x in first])
    assert abs(lines_of(out)[0]["reward"] - mean) < 1e-6


def test_the_same_noise_never_comes_twice(grpo_run):
    """Not in two iterations, and not for two samples of a prompt."""
    out, _ = grpo_run
    texts = [[x["completion"] for x in answers_of(out, n)] for n in (1, 2)]
    assert len(set(texts[0])) > 25
    assert texts[0] != texts[1]


GRPO_NAMES = {
    *("loss", "grad_norm", "learning_rate", "epoch", "num_tokens", "skipped_steps"),
    *("entropy", "reward", "reward_std", "frac_reward_zero_std", "kl", "policy_loss"),
    *("rewards/even/mean", "rewards/even/std", "advantage/abs_mean"),
    *(f"completions/{x}_length" for x in ("mean", "min", "max")),
    *(f"completions/{x}_terminated_length" for x in ("mean", "min", "max")),
    "completions/clipped_ratio",
    *(f"clip_ratio/{x}_mean" for x in ("low", "high", "region")),
    *("clip_ratio/low_min", "clip_ratio/high_max", "entropy_coef"),
    *(f"sampling/sampling_logp_difference/{x}" for x in ("mean", "max")),
    *(f"sampling/importance_sampling_ratio/{x}" for x in ("min", "mean", "max")),
}
PPO_NAMES = {
    *(f"objective/{x}" for x in ("kl", "entropy", "non_score_reward", "scores")),
    *("objective/rlhf_reward", "objective/kl_coef"),
    *(f"policy/{x}_avg" for x in ("approxkl", "clipfrac", "entropy")),
    *("loss/policy_avg", "loss/value_avg", "episode", "lr"),
    *(f"val/{x}" for x in ("clipfrac_avg", "ratio", "ratio_var", "num_eos_tokens")),
    *("val/explained_variance", "loss/mix"),
}


def test_metrics_have_their_usual_names(grpo_run, ppo_run):
    assert lines_of(grpo_run[0])[0].keys() >= GRPO_NAMES
    assert lines_of(ppo_run)[-1].keys() >= PPO_NAMES


@pytest.fixture(scope="module")
def ppo_run(tiny_model, prompts, reward_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("ppo") / "run"
    text = prompts.with_name("text.jsonl")
    rows = [{"prompt": f"say {i}", "completion": f" {i} it is"} for i in range(9)]
    text.write_text("\n".join(map(json.dumps, rows)))
    config = ppo.Config(
        **settings(tiny_model, prompts, reward_file, out, batch_size=16),
        num_ppo_epochs=2,
        num_minibatches=2,
        critic_warmup=1,
        kl_controller="adaptive",
        kl_coef=0.01,
        kl_target=0.01,
        kl_horizon=100,
        missing_eos_penalty=0.25,
        mix_data=str(text),
        mix_coef=0.2,
        mix_batch_size=4,
        allow_no_eos=True,
        vf_coef=0.5,
    )
    assert ppo.main(config) == 0
    return out


def test_ppo_learns_what_is_rewarded(ppo_run):
    lines = lines_of(ppo_run)
    rewards = [line["rewards/even/mean"] for line in lines]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:2]) + 0.1
    assert lines[-1]["episode"] == ITERATIONS * 16


def test_a_checkpoint_is_exported_without_the_critic(grpo_run, ppo_run, tmp_path):
    """The same bytes as the run itself wrote at its end."""
    for run in (grpo_run[0], ppo_run):
        out = tmp_path / run.parent.name
        assert export.main(export.Config(run=str(run), output=str(out))) == 0
        weights = [x / "model.safetensors" for x in (run / "export", out)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_mixed_rows_are_learnt_too(ppo_run):
    """PPO-ptx; not while the critic warms up."""
    lines = lines_of(ppo_run)
    assert "loss/mix" not in lines[0]
    assert lines[-1]["loss/mix"] < lines[1]["loss/mix"] - 1


def test_the_clip_shares_of_the_updates_lie_around_their_mean(grpo_run):
    lines = lines_of(grpo_run[0])
    for line in lines:
        assert 0 <= line["clip_ratio/low_min"] <= line["clip_ratio/low_mean"]
        assert line["clip_ratio/high_mean"] <= line["clip_ratio/high_max"] <= 1
        assert line["val/ratio_var"] >= (line["val/ratio"] - 1) ** 2 - 1e-7
    assert any(
        x["clip_ratio/high_max"] > 1.2 * x["clip_ratio/high_mean"] for x in lines
    )


def test_the_policy_stands_still_while_the_critic_warms_up(ppo_run):
    lines = lines_of(ppo_run)
    assert "loss/policy_avg" not in lines[0]
    assert abs(lines[1]["objective/kl"]) < 1e-4
    assert abs(lines[2]["objective/kl"]) > 1e-3


def test_the_controller_raises_the_coefficient_while_kl_is_above_its_target(ppo_run):
    lines = lines_of(ppo_run)
    coefs = [line["objective/kl_coef"] for line in lines]
    for before, after, line in zip(coefs, coefs[1:], lines, strict=False):
        error = np.clip(line["objective/kl"] / 0.01 - 1, -0.2, 0.2)
        assert after == pytest.approx(before * (1 + error * 16 / 100), rel=1e-5)


def test_an_answer_without_an_end_loses_the_penalty(ppo_run):
    for line in answers_of(ppo_run, 1):
        lost = 0.25 if line["stop"] == "max_new_tokens" else 0.0
        assert line["reward"] == pytest.approx(line["rewards"]["even"] - lost, abs=1e-6)


def test_rewards_that_never_differ_are_reported(
    tiny_model, prompts, reward_file, tmp_path
):
    config = grpo.Config(
        **settings(
            tiny_model,
            prompts,
            reward_file,
            tmp_path / "run",
            reward=(f"{reward_file}:same",),
            max_steps=4,
        ),
        num_generations=2,
        patience=3,
        on_dead_signal="stop",
        dynamic_sampling=True,
        max_refills=1,
    )
    with pytest.raises(UserError, match="in 3 iterations in a row"):
        grpo.main(config)
    # Every iteration sampled twice, in vain.
    assert len(answers_of(tmp_path / "run", 1)) == 2 * 8 * 2
    assert lines_of(tmp_path / "run")[0]["rewards/same/mean"] == 1


def test_settings_that_mean_nothing_are_refused(tiny_model, prompts, reward_file):
    common = settings(tiny_model, prompts, reward_file, "nowhere")
    wrong = [
        (grpo.Config, {"num_generations": 1}, "compares the completions"),
        (grpo.Config, {"temperature": 0.0}, "temperature must be positive"),
        (grpo.Config, {"mix_coef": 1.0}, "the two go together"),
        (grpo.Config, {"patience": 0}, "patience must be 1 or more, got 0"),
        (grpo.Config, {"missing_eos_score": math.nan}, "must be a finite number"),
        (grpo.Config, {"missing_eos_penalty": math.inf}, "must be 0 or more, got inf"),
        (grpo.Config, {"num_minibatches": 9}, "an update needs a prompt"),
        (grpo.Config, {"reward": ()}, "no reward is given"),
        (ppo.Config, {"lam": 1.5}, r"lam must be in \[0, 1\]"),
        (ppo.Config, {"dual_clip": 1.0}, "dual_clip must be"),
        (grpo.Config, {"entropy_coef": -1.0}, "entropy_coef must be"),
        (
            ppo.Config,
            {"missing_eos_score": -1.0, "missing_eos_penalty": 1.0},
            "set one",
        ),
        (ppo.Config, {"kl_coef": 0.0, "kl_controller": "adaptive"}, "stays 0"),
        (ppo.Config, {"max_new_tokens": 2000}, "no room for a prompt"),
    ]
    for kind, change, message in wrong:
        with pytest.raises(UserError, match=message):
            kind(**(common | change))


def test_a_dry_run_names_a_reward_that_does_not_exist(tiny_model, prompts, tmp_path):
    options = {"dry_run": True, "reward": ("exact_mach",)}
    given = settings(tiny_model, prompts, "mine.py", tmp_path / "run", **options)
    config = ppo.Config(**given)
    with pytest.raises(UserError, match="Did you mean `exact_match`"):
        ppo.main(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_reference_in_bfloat16_takes_half_the_memory_and_is_near(
    tiny_model, prompts, reward_file, tmp_path, monkeypatch
):
    """Policy and reference differ by rounding alone, in the first iteration."""
    kept = []

    def noted(policy, params, config):
        kept.append(reference_of(policy, params, config))
        return kept[-1]

    monkeypatch.setattr(grpo, "reference_of", noted)
    config = grpo.Config(
        **settings(tiny_model, prompts, reward_file, tmp_path / "run", max_steps=1),
        num_generations=4,
        kl_coef=0.01,
        ref_dtype="bfloat16",
        export=False,
    )
    assert grpo.main(config) == 0
    assert {str(x.dtype) for x in jax.tree.leaves(kept)} == {"bfloat16"}
    kl = lines_of(tmp_path / "run")[0]["kl"]
    assert 0 < abs(kl) < 1e-3
