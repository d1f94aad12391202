"""E11: a row is of its own pairs, loss and step, measured by sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.e11_weights import run as e11
from experiments.enumlm import (
    PairLoss,
    Steps,
    count_preferences,
    make_world,
    tabular,
    train_on_pairs,
)
from experiments.enumlm.learners import Learner


@pytest.fixture(autouse=True)
def promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("arm", ["unlikelihood", "dpo"])
def test_rows_are_of_their_own_pairs_and_steps(monkeypatch, arm):
    """At a constant rate a shorter run is how a longer one began."""
    with jax.enable_x64(True):
        world = make_world(1, max_length=3, num_prompts=2)
        learner = Learner(world, jnp.asarray(world.ref_logits), tabular)
    monkeypatch.setitem(e11.POLICIES, "table", lambda seed: learner)
    config = e11.Config(arm, strength=0.5, n_pairs=60, data_seed=3, step=4, rate=0.4)
    found = e11.run(config)
    rows = {x["step"]: x for x in (*found.earlier, found.row)}
    assert [*rows] == [1, 2, 3, 4]
    loss = {
        "unlikelihood": PairLoss("unlikelihood_loss", "alpha"),
        "dpo": PairLoss("dpo_loss", "beta"),
    }[arm]
    ref = world.ref_logps
    for step in (1, 4):
        with jax.enable_x64(True):
            pairs = jnp.asarray(count_preferences(world, 60, 3))
            steps = Steps(step, 0.4, decay=False)
            trained = train_on_pairs(
                world, pairs, jnp.float64(0.5), loss=loss, steps=steps
            )
            logps = np.asarray(trained.logps)
        wanted = {
            "reward": np.sum(np.exp(logps) * world.rewards, -1).mean(),
            "kl": np.sum(np.exp(logps) * (logps - ref), -1).mean(),
            "forward_kl": np.sum(np.exp(ref) * (ref - logps), -1).mean(),
        }
        assert abs(wanted["kl"] - wanted["forward_kl"]) > 0.01 * wanted["kl"]
        assert {x: rows[step][x] for x in wanted} == pytest.approx(wanted, rel=1e-9)
