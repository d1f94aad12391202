"""What arms of E5 to E8 are trained on, and what their numbers are of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import mlp
from experiments.e05_abstention import arms as e05
from experiments.e05_abstention.facts import ANSWERS, IDK, Facts
from experiments.e05_abstention.train import Params, class_logps, finetune, reinforce
from experiments.e06_overoptimisation import curves as e06
from experiments.e06_overoptimisation.proxies import proxy_of
from experiments.e07_forgetting import train as e07
from experiments.e08_judge import run as e08
from experiments.enumlm import make_world


@pytest.fixture(autouse=True)
def promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def some_facts() -> tuple[Facts, Params]:
    truth = jnp.arange(40) % 7
    layers = mlp.init(jax.random.key(1), (8, 32, ANSWERS + 1))
    params = Params(jax.random.normal(jax.random.key(0), (40, 8)), layers)
    return Facts(truth, truth, jnp.ones(40)), params


@pytest.mark.parametrize("paid", range(3))
def test_e05_rewards_are_of_right_none_and_wrong_answers(paid):
    facts, params = some_facts()
    rewards = jnp.zeros(3).at[paid].set(1.0)
    run = jax.jit(
        lambda p: reinforce(jax.random.key(2), p, facts, rewards, 60, anew=False)
    )

    def shares(params):
        law = np.exp(np.asarray(class_logps(params)))[::2]
        right = law[np.arange(20), np.asarray(facts.truth)[::2]]
        return np.array([right, law[:, IDK], 1 - right - law[:, IDK]]).mean(1)

    gain = shares(run(params)) - shares(params)
    assert gain.argmax() == paid
    assert gain[paid] > 0.01


def test_e05_trains_on_the_even_entities():
    _, params = some_facts()
    targets = jnp.where(jnp.arange(40) % 2 == 0, 3, 4)
    run = jax.jit(
        lambda p: finetune(jax.random.key(0), p, targets, jnp.float32(0), 100)
    )
    law = np.exp(np.asarray(class_logps(run(params)))).mean(0)
    assert law[3] > 0.3 > 0.1 > law[4]


def test_e05_seeds_differ_and_arms_are_told_what_they_say(monkeypatch):
    plan = e05.Plan(seeds=(0, 1, 2))
    assert (
        len({x.tobytes() for x in np.asarray(jax.random.key_data(plan.keys(3)))}) == 3
    )
    truth = jnp.array([[1, 2, 3, 4]])
    said = np.zeros((1, 4, ANSWERS + 1))
    said[0, range(4), [1, 2, 9, 9]] = 1
    facts = Facts(truth, truth, jnp.ones((1, 4)))
    monkeypatch.setattr(e05, "_base", lambda *_: (facts, None))
    monkeypatch.setattr(e05, "_probabilities", lambda _: said)
    monkeypatch.setattr(e05, "_finetuned", lambda base, targets, *_: targets)
    told = e05._sft.__wrapped__(e05.Plan(seeds=(0,)))
    assert told["sft"].tolist() == [[1, 2, 3, 4]]
    assert told["r_tuning"].tolist() == [[1, 2, IDK, IDK]]
    found = np.array(e05.THRESHOLDS)
    monkeypatch.setattr(e05, "_rl_of_thresholds", lambda *_: found)
    for t in e05.THRESHOLDS:
        assert e05.trained("threshold", t, plan).after == t


def test_e06_ppo_sees_the_proxy_alone(monkeypatch):
    with jax.enable_x64(True):
        world = make_world(3, max_length=3, num_prompts=2)
        proxy = proxy_of("single", world, 50, 0)
        assert not np.allclose(proxy, proxy_of("single", world, 50, 1))
        seen = []

        def train(given, arm, beta, key, plan):
            seen.append(np.asarray(given.rewards))
            return jnp.asarray(given.ref_logps) + 0 * beta, None

        monkeypatch.setattr(e06, "train", train)
        e06.curve("ppo", world, proxy, 0)
    np.testing.assert_array_equal(seen[0], proxy)


def test_e06_the_reward_of_dpo_prefers_what_was_preferred():
    with jax.enable_x64(True):
        world = make_world(3, max_length=3, num_prompts=2)
        proxy = proxy_of("dpo", world, 1000, 0)
    ref = np.exp(world.ref_logps)
    assert (np.sum(ref * proxy * world.rewards, -1) > 0.5).all()


def test_e06_the_fall_is_from_the_highest_gold_reward_to_the_last():
    gold = np.array([[0.0, 1.0], [2.0, 0.5], [1.5, 0.0]])
    kl, proxy = (
        np.array([[0.1] * 2, [1.0] * 2, [4.0] * 2]),
        np.arange(6.0).reshape(3, 2),
    )
    found = e06.summary(
        "best_of_n", e06.Curve(*(np.repeat(x, 3, 0) for x in (kl, proxy, gold)))
    )
    assert found["peak"] == pytest.approx(1.5)
    assert found["gold_end"] == pytest.approx(0.75)
    assert found["drop"] == pytest.approx(0.75)
    assert found["drop_share"] == 1.0
    assert found["peak_kl"] == pytest.approx((1.0 + 0.1) / 2)


@pytest.fixture(scope="module")
def taught():
    """A seed of E7 after a short pre-training."""
    with jax.numpy_dtype_promotion("standard"):
        return jax.jit(lambda key: e07.pretrain(key, 150))(jax.random.key(4))


def test_e07_what_is_kept_is_the_other_task(taught, monkeypatch):
    # A stand-in that reads its second argument alone: what was before stays the same.
    monkeypatch.setattr(e07, "kl_exact", lambda now, before: jnp.sum(before, -1))
    run = jax.jit(lambda key: e07.teach(key, taught, "sft_canonical", 50))
    found = jax.tree.map(np.asarray, run(jax.random.key(5)))
    np.testing.assert_allclose(found.kl, found.kl[0], rtol=1e-6)
    shares = []
    for task in (taught.kept, taught.changed):
        x, label = task.draw(jax.random.key(6), 2000)
        law = np.exp(np.asarray(e07.logps_of(taught.base, x)))
        shares.append(law[np.arange(2000), np.asarray(label)].mean())
    assert shares[0] - shares[1] > 0.1
    assert found.kept[0] == pytest.approx(shares[0], abs=0.03)


def test_e07_the_oracle_teaches_what_the_base_says_and_rl_what_is_right(taught):
    layers = mlp.init(jax.random.key(9), (e07.INPUTS, 16, e07.CLASSES))
    key = jax.random.key(7)
    x, label = taught.changed.draw(jax.random.split(key)[0], e07.BATCH)
    right = np.asarray(e07.is_right(label))
    base, now = (np.asarray(e07.logps_of(y, x)) for y in (taught.base, layers))
    costs = []
    for logps in (base, now):
        law = np.where(right, np.exp(logps), 0)
        law /= law.sum(1, keepdims=True)
        costs.append(-np.sum(law * now, 1).mean())
    found = float(jax.jit(e07.oracle)(layers, taught, key))
    assert abs(found - costs[0]) < 0.5 * abs(costs[1] - costs[0])
    slope = jax.jit(jax.grad(e07.reinforce))(layers, taught, key)
    moved = jax.tree.map(lambda x, y: x - 0.1 * y, layers, slope)
    after = np.exp(np.asarray(e07.logps_of(moved, x)))
    assert np.sum(after, where=right) > np.sum(np.exp(now), where=right)
    assert (
        len(
            {x.tobytes() for x in np.asarray(jax.random.key_data(e07._keys((0, 1), 0)))}
        )
        == 2
    )


def test_e08_gold_reward_and_what_is_paid(monkeypatch):
    config = e08.Config("verifier", flip=0.2, beta=0.25)
    row = e08.run(config).row
    world = make_world(0)
    passes = (world.rewards > 0.5).astype(float)
    law = np.exp(world.ref_logps + (0.8 * passes + 0.2 * (1 - passes)) / 0.25)
    law /= law.sum(-1, keepdims=True)
    assert row["paid"] == pytest.approx(np.sum(law * passes, -1).mean())
    assert row["reward"] == pytest.approx(np.sum(law * world.rewards, -1).mean())
    of_keys = np.stack([world.ref_logps, np.log(law)])
    monkeypatch.setattr(e08, "_trained", lambda _: of_keys)
    for key, kl in ((4, 0.0), (9, row["kl"])):
        other = e08.Config("verifier_rloo", beta=0.25, key=key, together=(4, 9))
        assert e08.run(other).row["kl"] == pytest.approx(kl, abs=1e-9)
