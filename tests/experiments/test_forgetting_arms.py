"""E7: what each arm trains on, and what is measured of it, by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import mlp
from experiments.e07_forgetting import run as program
from experiments.e07_forgetting import train as e07
from experiments.e07_forgetting.train import CLASSES, INPUTS, History, Seed, Task


def always(logits: dict[int, float]):
    """A network that says the same to every input."""
    biases = np.zeros(CLASSES, np.float32)
    biases[list(logits)] = list(logits.values())
    return [(jnp.zeros((INPUTS, CLASSES)), jnp.asarray(biases))]


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def tasks():
    changed, kept = (
        Task(3 * jax.random.normal(jax.random.key(k), (CLASSES, INPUTS)))
        for k in (0, 1)
    )
    return changed, kept


def test_the_oracle_samples_the_base_and_not_the_network(tasks):
    """The base says 2 to even clusters and 5 to odd ones, the network both alike."""
    seed = Seed(tasks[0], tasks[1], always({2: 30.0, 5: 30.0}))
    layers = always({2: 1.0, 5: 1.0, 8: 3.0, 7: 3.0})
    chance = softmax(np.asarray(layers[0][1]))[2]
    loss = jax.jit(e07.oracle)(layers, seed, jax.random.key(2))
    assert float(loss) == pytest.approx(-np.log(chance), rel=1e-5)


def right_by(layers, task, rng, size=4000):
    """The chance to name a class of the right parity, of inputs drawn with NumPy."""
    label = rng.integers(CLASSES, size=size)
    noise = e07.SPREAD * rng.normal(size=(size, INPUTS))
    shares = softmax(
        np.asarray(mlp.apply(layers, np.asarray(task.means)[label] + noise))
    )
    return np.where((np.arange(CLASSES) - label[:, None]) % 2 == 0, shares, 0).sum(1)


def test_rl_goes_where_more_is_right(tasks):
    seed = Seed(tasks[0], tasks[1], always({}))
    layers = mlp.init(jax.random.key(3), (INPUTS, 16, CLASSES))
    grads = jax.jit(jax.grad(e07.reinforce))(layers, seed, jax.random.key(4))
    after = jax.tree.map(lambda x, g: x - 0.02 * g, layers, grads)
    before, now = (
        right_by(x, seed.changed, np.random.default_rng(0)).mean()
        for x in (layers, after)
    )
    assert now > before + 0.01


def test_what_is_measured_is_the_other_task_and_the_way_gone(tasks, monkeypatch):
    """A training that ends at once with a network that is known: four numbers."""
    changed, kept = tasks
    reader = [(4 * jnp.asarray(kept.means).T / INPUTS, jnp.zeros(CLASSES))]
    end = always({0: 1.0, 1: 2.0})
    monkeypatch.setattr(
        e07,
        "_adam",
        lambda loss, rate: (
            lambda carry, key: ((end, None), None),
            lambda layers: (layers, None),
        ),
    )
    seed = Seed(changed, kept, reader)
    found = e07.teach(jax.random.key(5), seed, "rl", e07.LOG_EVERY)
    rng = np.random.default_rng(0)

    label = rng.integers(CLASSES, size=4000)
    noise = e07.SPREAD * rng.normal(size=(4000, INPUTS))
    inputs = [np.asarray(x.means)[label] + noise for x in (kept, changed)]
    weights = np.asarray(reader[0][0])
    named = softmax(inputs[0] @ weights)[np.arange(4000), label].mean()
    assert named > 0.8
    shares = softmax(np.asarray(end[0][1]))
    assert found.kept[0] == pytest.approx(named, abs=0.02)
    assert found.kept[1] == pytest.approx(shares.mean(), abs=0.01)
    assert found.new[0] == pytest.approx(
        right_by(reader, changed, rng).mean(), abs=0.03
    )
    assert found.new[1] == pytest.approx(0.5 * shares.sum(), abs=0.03)
    # KL(end ‖ base); the other way round it is another number.
    base = softmax(inputs[1] @ weights)
    way, back = (
        np.sum(p * np.log(p / q), -1).mean()
        for p, q in ((shares, base), (base, shares))
    )
    assert abs(way - back) > 0.2 * way
    assert found.kl[0] == pytest.approx(0, abs=1e-5)
    assert found.kl[1] == pytest.approx(way, rel=0.05)


def test_each_seed_has_its_own_base_and_its_own_samples(monkeypatch):
    """Of two seeds at once, with trainings that give what they draw from their key."""
    monkeypatch.setattr(e07, "pretrain", lambda key, num_steps: jax.random.uniform(key))
    monkeypatch.setattr(
        e07,
        "teach",
        lambda key, seed, arm, num_steps: (jax.random.uniform(key), seed),
    )
    e07.bases.cache_clear()
    taught, bases, *_ = e07.histories("rl", (3, 5), num_steps=7, pretrain_steps=7)
    e07.bases.cache_clear()
    e07.histories.cache_clear()
    for i, seed in enumerate((3, 5)):
        keys = (jax.random.fold_in(jax.random.key(seed), x) for x in (0, 1))
        drawn = [float(jax.random.uniform(key)) for key in keys]
        assert [bases[i], taught[i]] == pytest.approx(drawn)


def test_a_row_is_of_its_seed_and_beside_the_other_arms(monkeypatch):
    """Two seeds, three records; the new rule is right at the second or the third."""
    new = {
        "sft_canonical": [[0.5, 0.96, 0.97], [0.5, 0.8, 0.98]],
        "sft_oracle": [[0.4, 0.95, 0.99], [0.4, 0.95, 0.99]],
        "rl": [[0.3, 0.9, 0.97], [0.3, 0.97, 0.98]],
    }
    kept = {
        "sft_canonical": [[0.98, 0.6, 0.5], [0.97, 0.7, 0.55]],
        "sft_oracle": [[0.98, 0.94, 0.9], [0.97, 0.93, 0.89]],
        "rl": [[0.98, 0.96, 0.86], [0.97, 0.95, 0.85]],
    }

    def histories(arm, together, num_steps, pretrain_steps):
        assert together == (3, 5)
        arrays: Any = map(np.array, (new[arm], kept[arm], kept[arm]))
        return History(*arrays)

    monkeypatch.setattr(program, "histories", histories)
    rows = {
        (arm, key): program.run(program.Config(arm, key, (3, 5))).row
        for arm in new
        for key in (3, 5)
    }
    found = {
        run: [row[x] for x in ("kept", "kept_minus_canonical", "kept_minus_rl")]
        for run, row in rows.items()
    }
    by_hand = {
        ("sft_canonical", 3): [0.6, 0, 0.6 - 0.86],
        ("sft_canonical", 5): [0.55, 0, 0.55 - 0.95],
        ("sft_oracle", 3): [0.94, 0.94 - 0.6, 0.94 - 0.86],
        ("sft_oracle", 5): [0.93, 0.93 - 0.55, 0.93 - 0.95],
        ("rl", 3): [0.86, 0.86 - 0.6, 0],
        ("rl", 5): [0.95, 0.95 - 0.55, 0],
    }
    assert found == {run: pytest.approx(x) for run, x in by_hand.items()}
    assert rows["rl", 5]["step"] == e07.LOG_EVERY
    assert rows["rl", 3]["kept_at_end"] == 0.86
