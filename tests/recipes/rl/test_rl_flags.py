"""Flags are keywords of algorithms: by name, with their defaults, help and ranges."""

import inspect
from typing import Any

import pytest

from jaxalign import losses, rl
from jaxalign.__main__ import main
from jaxalign.errors import UserError
from jaxalign.recipes import grpo, online, ppo
from jaxalign.recipes.flags.command_line import field_names
from jaxalign.recipes.rl.flags import keywords

BASE: Any = {"model": "m", "data": "d", "output_dir": "o", "reward": ("stopped",)}
# What people have typed so far.
TYPED = {
    grpo: "epsilon epsilon_high kl kl_estimator kl_coef entropy_coef log_entropy "
    "num_iterations importance_cap",
    ppo: "cliprange cliprange_high dual_clip cliprange_value vf_coef entropy_coef "
    "gamma lam whiten_rewards whiten_advantages kl_coef kl_controller kl_target "
    "kl_horizon num_ppo_epochs critic_warmup importance_cap",
    online: "beta alpha mixture_coef eta num_iterations",
}


@pytest.mark.parametrize("command", TYPED, ids=lambda x: x.__name__.split(".")[-1])
def test_flags_have_the_names_that_users_know(command):
    assert {*TYPED[command].split()} <= field_names(command.Config).keys()


def test_clips_are_those_of_the_losses():
    """Defaults are written down twice, in the loss and in its algorithm."""
    for name, make in grpo.GROUP_ALGORITHMS.items():
        loss = getattr(losses, f"{name}_loss", losses.ppo_policy_loss)
        given = inspect.signature(loss).parameters
        for keyword, (_, default, _) in keywords(make).items():
            if "clip" in keyword:
                assert given[keyword].default == default, (name, keyword)
            if "temperature" in keyword:
                theirs = given[keyword.replace("gate_", "")]
                assert theirs.default == default, (name, keyword)
    given = inspect.signature(losses.ppo_loss).parameters
    for keyword, (_, default, _) in keywords(rl.ppo).items():
        if keyword in given:
            assert given[keyword].default == default, keyword


def test_each_algorithm_gets_what_is_given_and_else_what_it_has():
    for given, expected in (({}, (0.2, 0.28)), ({"epsilon": 0.1}, (0.1, 0.28))):
        config = grpo.Config(**BASE, algorithm="dapo", **given)
        loss: Any = grpo.grpo_algorithm(config).loss
        text = str(inspect.signature(loss))
        assert f"clip: float = {expected[0]}" in text
        assert f"clip_high: float | None = {expected[1]}" in text


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (grpo, {"epsilon": 1.5}, r"^epsilon must be in \[0, 1\], got 1.5"),
        (grpo, {"epsilon_high": 0.0}, "^epsilon_high must be in"),
        (grpo, {"num_iterations": 0}, "^num_iterations must be 1 or more, got 0"),
        *(
            (grpo, {"algorithm": x, "num_iterations": 2}, "^num_iterations must be 1,")
            for x in ("rloo", "reinforce", "reinforce_baseline", "remax")
        ),
        (grpo, {"importance_cap": 0.0}, "^importance_cap must be in"),
        (grpo, {"algorithm": "rloo", "epsilon": 0.1}, "rloo has no epsilon; it has kl"),
        (grpo, {"log_clip": 0.1}, "grpo has no log_clip; it has epsilon, epsilon_high"),
        (ppo, {"num_ppo_epochs": 0}, "^num_ppo_epochs must be 1 or more, got 0"),
        (ppo, {"cliprange": 2.0}, "^cliprange must be in"),
        (ppo, {"cliprange_value": 0.0}, "^cliprange_value must be in"),
        (ppo, {"vf_coef": -1.0}, "^vf_coef must be in"),
        (ppo, {"kl_horizon": 0}, "^kl_horizon must be in"),
        (ppo, {"kl_target": 3.0}, "^kl_target 3 counts only .* --kl-controller adapt"),
        (ppo, {"kl_horizon": 99}, "^kl_horizon 99 counts only"),
        (ppo, {"critic_warmup": -1}, "^critic_warmup must be 0 or more, got -1"),
        (online, {"num_iterations": 0}, "^num_iterations must be 1 or more"),
        (grpo, {"patience": 0}, "^patience must be 1 or more, got 0"),
        (grpo, {"samples": -1}, "^samples must be 0 or more, got -1"),
    ],
)
def test_values_out_of_range_are_refused_by_the_flag_s_name(kind, settings, message):
    with pytest.raises(UserError, match=message):
        kind.Config(**BASE | settings)


def test_the_controller_of_the_kl_may_be_told_its_target_or_its_defaults():
    for given in ({"kl_target": 6.0}, {"kl_controller": "adaptive", "kl_target": 3.0}):
        assert ppo.Config(**BASE | given).kl_target == given["kl_target"]


def test_preference_losses_have_no_kl_term(capsys):
    argv = ["online", "--model", "m", "--data", "d", "--output-dir", "o"]
    with pytest.raises(SystemExit) as end:
        main([*argv, "--reward", "stopped", "--kl-coef", "0.1"])
    assert end.value.code == 2
    assert "kl-coef" in capsys.readouterr().err
