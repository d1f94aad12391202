"""E9: what each arm begins with, reads and is set beside, with made-up trainings."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from experiments.e09_hybrid import run as e09
from experiments.e09_hybrid.train import RL_PROMPTS, TEXT_PROMPTS
from experiments.enumlm import make_world


@pytest.fixture(scope="module")
def world():
    with jax.enable_x64(True):
        return make_world(1, max_length=3, num_prompts=16)


class Call(NamedTuple):
    """What a training was told."""

    start: Any
    prompts: range
    stream: np.ndarray
    coef: float
    beta: float
    key: jax.Array


class MadeUp:
    """Trainings that end at once; `policy` is one that knows no parameters."""

    def __init__(self, world):
        self.world, self.ppo, self.sft = world, [], []
        self.num_prompts = 16

    def logits(self, params, prompts):
        return self.table({"sft": 0.3, "exact": 0.6}[params])

    def table(self, far):
        """A policy that has gone so far towards reward, for all prompts."""
        towards = np.linspace(-1, 1, self.world.ref_logits[0].size)
        return self.world.ref_logits + far * towards.reshape(1, 7, 3)

    def train_ppo(self, policy, world, start, prompts, stream, coef, beta, key, plan):
        numbers = float(coef), float(beta)
        self.ppo.append(Call(start, prompts, np.asarray(stream), *numbers, key))
        ways = np.linspace(0, 1 / (1 + float(coef)), plan.num_steps + 1)
        return np.stack([self.table(x) for x in ways])

    def train_sft(self, policy, world, start, prompts, stream, key, plan):
        self.sft.append(Call(start, prompts, np.asarray(stream), 0.0, 0.0, key))
        return "sft"

    def train_exactly(self, policy, world, start, beta, plan):
        assert start == "base"
        return "exact"


@pytest.fixture
def made_up(world, monkeypatch):
    found = MadeUp(world)
    monkeypatch.setattr(e09, "POLICY", found)
    base = e09.Base("base", world, 0.5)
    monkeypatch.setattr(e09, "_base", lambda seed, fit_steps: base)
    for name in ("train_ppo", "train_sft", "train_exactly"):
        monkeypatch.setattr(e09, name, getattr(found, name))
    e09._tables.cache_clear()
    with jax.numpy_dtype_promotion("standard"):  # lengths are integers
        yield found
    e09._tables.cache_clear()


CONFIG = e09.Config(num_steps=20, key=3, beta=0.4)


@pytest.mark.parametrize("arm", ["ppo_ptx", "few_texts", "rl_and_sft", "sft_then_rl"])
def test_each_arm_reads_its_own_stream(made_up, arm):
    few = 8 if arm == "few_texts" else 0
    config = dataclasses.replace(CONFIG, arm=arm, coef=0.5, num_texts=few)
    row, _, _ = e09.run(config)
    own = made_up.ppo[0]
    reads_texts = arm in ("ppo_ptx", "few_texts")
    assert own.prompts == (TEXT_PROMPTS if reads_texts else RL_PROMPTS)
    wanted = e09.stream_of(config, made_up.world).astype(np.float32)
    np.testing.assert_array_equal(own.stream, wanted)
    assert (own.coef, own.beta) == (0.5, pytest.approx(0.4))
    assert own.start == ("sft" if arm == "sft_then_rl" else "base")
    assert own.key == jax.random.split(jax.random.key(3))[0]
    for call in made_up.sft:
        assert call.start == "base"
        assert call.prompts == RL_PROMPTS
        assert call.key == jax.random.split(jax.random.key(3))[1]
    assert len(made_up.sft) == (arm == "sft_then_rl")
    assert row["arm"] == arm


def test_a_run_is_set_beside_ppo_alone_on_the_same_seed(made_up):
    row, records, _ = e09.run(dataclasses.replace(CONFIG, coef=1.0))
    rival = made_up.ppo[1]
    assert (rival.start, rival.prompts, rival.coef) == ("base", TEXT_PROMPTS, 0.0)
    assert rival.key == made_up.ppo[0].key
    ends = [e09.measured(made_up.world, made_up.table(x), 0.4) for x in (0.5, 1.0)]
    for name in ("reward", "rise"):
        wanted = ends[0][name] / ends[1][name]
        assert row[f"{name}_share"] == pytest.approx(wanted)
        assert row[name] == pytest.approx(ends[0][name])
    assert [x["step"] for x in records] == [0, 10, 20]
    assert row["step"] == 20
    assert records[0]["rise"] == pytest.approx(0, abs=1e-12)
    curve = [float(x) for x in row["rise_curve"].split()]
    assert curve == pytest.approx([x["rise"] for x in records], rel=1e-3, abs=1e-12)


@pytest.mark.parametrize(("arm", "far"), [("sft", 0.3), ("exact", 0.6)])
def test_without_rl_there_is_one_record(made_up, arm, far):
    row, records, _ = e09.run(dataclasses.replace(CONFIG, arm=arm))
    assert len(records) == 1
    end = e09.measured(made_up.world, made_up.table(far), 0.4)
    assert row["rise"] == pytest.approx(end["rise"])
    assert row["reward"] == pytest.approx(end["reward"])
    assert len(made_up.ppo) == 1  # the rival
