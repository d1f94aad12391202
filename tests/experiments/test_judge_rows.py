"""E8: what a row says of a policy that a judge or a verifier pays, by sums."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.e08_judge import run as e08
from experiments.e08_judge.judge import NOISE
from experiments.enumlm import make_world


@pytest.fixture(scope="module")
def world():
    with jax.enable_x64(True):
        return make_world(1, max_length=3, num_prompts=2)


@pytest.fixture(autouse=True)
def small(world, monkeypatch):
    monkeypatch.setattr(e08, "make_world", lambda seed: world)
    with jax.numpy_dtype_promotion("standard"):
        yield


def tilted(world, paid, beta):
    """The law π_ref exp(paid / β), normalised."""
    law = np.exp(world.ref_logps + paid / beta)
    return law / law.sum(-1, keepdims=True)


def mean(law, x):
    return np.sum(law * x, -1).mean()


def test_who_is_paid_by_a_judge_is_measured_by_the_gold_reward(world):
    """One that sees some of the gold reward, and likes what is first and long."""
    row = e08.run(e08.Config("one_order", 0.5, 1.0, 0.3)).row
    ref, noise = np.exp(world.ref_logps), np.linspace(-6, 6, 241)
    weights = np.exp(-(noise**2) / 2)
    paid = np.zeros_like(ref)
    n = world.responses.lengths
    for x, y, other in np.ndindex(*ref.shape, ref.shape[1]):
        logit = 0.5 * (world.rewards[x, y] - world.rewards[x, other])
        logit += 1.0 + 0.3 * (float(n[y]) - float(n[other]))
        chance = np.average(1 / (1 + np.exp(-logit - NOISE * noise)), weights=weights)
        paid[x, y] += ref[x, other] * chance
    law = tilted(world, paid, 0.1)
    assert row["reward"] == pytest.approx(mean(law, world.rewards), rel=1e-6)
    assert row["paid"] == pytest.approx(mean(law, paid), rel=1e-6)
    assert row["paid_before"] == pytest.approx(mean(ref, paid), rel=1e-6)
    assert row["kl"] == pytest.approx(mean(law, np.log(law / ref)), rel=1e-6)
    more = mean(law, n) - mean(ref, n)
    assert row["tokens_more"] == pytest.approx(more, rel=1e-6)


@pytest.mark.parametrize("flip", [0.0, 0.3])
def test_a_verifier_that_errs_pays_less_for_what_passes(world, flip):
    """What passes gets 1 − flip on average, and what does not gets flip."""
    row = e08.run(e08.Config("verifier", flip=flip, beta=0.25)).row
    passes = world.rewards > 0.5
    assert 0.2 < passes.mean() < 0.8
    law = tilted(world, np.where(passes, 1 - flip, flip), 0.25)
    assert row["paid"] == pytest.approx(mean(law, passes), rel=1e-9)
    assert row["reward"] == pytest.approx(mean(law, world.rewards), rel=1e-9)


def test_a_row_is_of_its_own_key(world, monkeypatch):
    """With a training that ends at once, with a table that its key draws."""

    def drawn(key):
        return jax.nn.log_softmax(jax.random.normal(key, world.ref_logps.shape))

    def fake(paid, arm, beta, key, plan, flip):
        assert arm == "rloo"
        assert set(np.unique(paid.rewards)) == {0, 1}
        return drawn(key), None

    monkeypatch.setattr(e08, "train", fake)
    base = e08.Config("verifier_rloo", flip=0.1, together=(4, 9), num_steps=1)
    for key in (4, 9):
        row = e08.run(dataclasses.replace(base, key=key)).row
        with jax.enable_x64(True):
            law = np.exp(np.asarray(drawn(jax.random.key(key))))
        assert row["reward"] == pytest.approx(mean(law, world.rewards), rel=1e-9)
        assert row["key"] == key
    e08._trained.cache_clear()


def test_a_taste_for_length_is_measured_from_a_judge_without(world):
    """How many more tokens than the fair judge's policy has, and 0 for that one."""
    rows = [
        e08.run(e08.Config("both_orders", position=1.0, length=q)).row
        for q in (0.0, 0.5)
    ]
    gap = rows[1]["tokens_more"] - rows[0]["tokens_more"]
    assert gap > 0.05
    assert rows[1]["length_error"] == pytest.approx(gap)
    assert rows[0]["length_error"] == 0


def test_what_training_is_told(monkeypatch):
    """The share of errors and β of the configuration, for each key of a program."""
    told = []

    def fake(paid, arm, beta, key, plan, flip):
        told.append((float(beta), float(flip), plan.num_steps))
        return jnp.asarray(paid.ref_logps), None

    monkeypatch.setattr(e08, "train", fake)
    base = e08.Config("verifier_rloo", flip=0.2, beta=0.25, num_steps=2)
    e08.run(base)
    e08._trained.cache_clear()
    assert told == [(0.25, pytest.approx(0.2), 2)]
