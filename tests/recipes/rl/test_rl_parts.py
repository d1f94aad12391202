"""What a run is made of: rows that are mixed in, and the rate that is logged."""

import dataclasses
import json
import types
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from rich.console import Console

from jaxalign.models import read_config
from jaxalign.recipes import grpo
from jaxalign.recipes.inputs.rows import make_encoder
from jaxalign.recipes.rl import fit
from jaxalign.recipes.rl.parts import RolloutPlan, plan_rollouts, read_other_rows
from jaxalign.recipes.rl.prompts import Prompts
from jaxalign.rl import Prompt, RLState
from jaxalign.training import OptimizerConfig, make_optimizer


def test_rows_that_are_mixed_in_are_read_as_they_are(tiny_model, tmp_path):
    """Plain prompts, and beside them demonstrations as messages, for each update."""
    file = tmp_path / "talks.jsonl"
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    file.write_text("\n".join([json.dumps({"messages": said})] * 7))
    config = grpo.Config(
        model=str(tiny_model),
        data="none",
        output_dir="none",
        reward=("stopped",),
        conversational="no",
        mix_data=str(file),
        mix_coef=0.5,
        mix_batch_size=4,
    )
    encoder = make_encoder(config, tiny_model, read_config(tiny_model))
    shape: Any = types.SimpleNamespace(tokens=64)
    rows: Any = types.SimpleNamespace(shape=shape, counts=(8,))
    plan = RolloutPlan(rows, iterations=3, updates_per_iteration=2)
    mix = read_other_rows(config, encoder, plan, 1, Console(quiet=True)).mix
    assert mix is not None
    assert (mix.batch_of(5).length > 0).sum() == 4
    with pytest.raises(IndexError, match="step 6 of 6"):
        mix.batch_of(6)


def test_fewer_prompts_than_an_iteration_has_are_told(caplog):
    config = grpo.Config(
        model="m", data="d", output_dir="o", reward=("stopped",), batch_size=4
    )
    algorithm = grpo.grpo_algorithm(config)
    for count, told in ((4, 0), (3, 1)):
        caplog.clear()
        train = [Prompt([1, 2]) for _ in range(count)]
        plan_rollouts(config, algorithm, Prompts(train, [], {}), 1)
        assert len(caplog.records) == told
    assert caplog.messages == [
        "batch_size is 4 and there are 3 prompts to train on: every iteration samples "
        "some of them several times. Lower --batch-size."
    ]


@pytest.mark.parametrize("devices", [(), (2,)], ids=["mesh", "pmap"])
def test_the_rate_that_is_logged_is_the_optimizer_s(monkeypatch, devices):
    """After 3 updates, where the plan has 2 in each of the 4 iterations that were."""
    optimizer, rate = make_optimizer(OptimizerConfig(schedule="linear"), 20)
    params = {"w": jnp.ones(2)}
    opt_state = optimizer.init(params)
    for _ in range(3):
        _, opt_state = optimizer.update(params, opt_state, params)
    opt_state = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (*devices, *x.shape)), opt_state
    )
    state = RLState.create(params, optimizer, jax.random.key(0))
    inner = dataclasses.replace(state.inner, opt_state=opt_state)
    state = dataclasses.replace(state, step=jnp.int32(4), inner=inner)

    def iterate(state, prompts):
        return state, {"num_tokens": 1}

    made, some = [], types.SimpleNamespace
    iterate.sampler = some(sampling=some(num_generations=1))
    monkeypatch.setattr(fit, "run_steps", lambda run, step, *_, **__: made.append(step))
    monkeypatch.setattr(fit, "make_reward_evaluation", lambda *_, **__: None)
    parts: Any = {
        "run": some(
            config=some(batch_size=1, seed=0), key=jax.random.key(0), stop=None
        ),
        "policy": some(program=some(replicate=lambda x: x, unreplicate=None)),
        "iterate": iterate,
        "prompts": some(train=["p"], held_out=[]),
        "plan": some(iterations=10, updates_per_iteration=2),
    }
    fit.fit_iterations(**parts, state=state, rate=rate)
    _, result = made[0](state, {"example_ids": [0]})
    assert result.metrics["lr"] == result.metrics["learning_rate"] == rate(3)
    assert rate(3) != rate(8)
