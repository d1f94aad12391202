"""E10: quality of scores, the data of each model, and what a transformer reads."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.e10_reward_models import run as e10
from experiments.e10_reward_models.linear import fit
from experiments.e10_reward_models.transformer import train
from experiments.enumlm import make_world

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def world():
    return make_world(0, max_length=3, num_prompts=1, noise=0.0)


@pytest.mark.parametrize("scale", [1.0, 0.3, -1.0])
def test_quality_is_what_the_law_of_pairs_makes_it(world, scale):
    """Scores that are multiples of the gold reward, shifted: sums over all pairs."""
    gold, ref = world.rewards[0], np.exp(world.ref_logps[0])
    found = e10.quality(world, scale * gold[None] + 3)
    gap = gold[:, None] - gold[None, :]
    # Two are drawn, and the first of them is the preferred one, with σ(gap).
    law = 2 * ref[:, None] * ref[None, :] / (1 + np.exp(-gap))
    wanted = {
        "accuracy_of_gold": np.sum(law * (gap > 0)),
        "log_loss": np.sum(law * np.logaddexp(0, -scale * gap)),
    }
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=0.02), name
    assert found["tau"] == pytest.approx(np.sign(scale))
    assert found["mean_score"] == pytest.approx(3)
    ties = np.sum(law * (gap == 0))
    right = found["accuracy_of_gold"]
    wanted = right if scale > 0 else 1 - right
    assert found["accuracy"] == pytest.approx(wanted, abs=ties + 0.02)
    assert (found["ece"] < 0.02) == (scale == 1)


def test_each_data_set_has_a_model_of_its_own(world):
    """Of two at once, it is the one of its seed, wherever that stands."""
    one, two = (
        np.asarray(fit("bradley_terry", world, 30, 2, x)) for x in ((3, 8), (8, 3))
    )
    np.testing.assert_allclose(one, two[::-1], atol=1e-4)
    assert np.abs(one[0] - one[1]).max() > 0.1


def test_a_row_sets_an_arm_beside_its_rival(world, monkeypatch):
    """Scores that are made up: those of all pairs vary four times as much."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(5, len(world.rewards[0])))
    gold = world.rewards[0]
    made_up = {
        "plackett_luce": gold + 0.1 * noise,
        "kwise": gold + 0.2 * noise,
        "margin": gold[None],
        "bradley_terry": -gold[None],
    }
    monkeypatch.setattr(e10, "world_of", lambda seed: world)
    monkeypatch.setattr(e10, "_scores", lambda config: (made_up[config.arm], None))
    row = e10.run(e10.Config("plackett_luce", size=4)).row
    assert row["variance_share"] == pytest.approx(0.25)
    assert e10.run(e10.Config("margin")).row["tau_minus_plain"] == pytest.approx(2)


def test_the_best_epoch_is_set_beside_that_of_whole_rankings(world, monkeypatch):
    """Epochs whose scores are the gold reward times something; 1 is best."""
    scales = {"together": (0.2, 0.5, 1.0, 2.0), "shuffled": (0.5, 1.0, 3.0, 4.0)}

    def scores(config):
        curve = np.array(scales[config.arm])[:, None] * world.rewards[0]
        return curve[-1:], curve

    monkeypatch.setattr(e10, "world_of", lambda seed: world)
    monkeypatch.setattr(e10, "_scores", scores)
    base = e10.Config("shuffled", "transformer", num=64, size=9)
    row = e10.run(base).row
    assert (row["best_epoch"], row["epochs_minus_together"]) == (2, -1)
    assert row["log_loss_best"] < row["log_loss"]
    assert len(row["log_loss_curve"].split()) == 4
    rival = e10.run(dataclasses.replace(base, arm="together")).row
    assert (rival["best_epoch"], rival["epochs_minus_together"]) == (3, 0)


def test_a_transformer_reads_each_response_to_its_end_and_learns(world):
    """No two responses have one score, and what follows the end has no part in it.

    Two rankings of three, ten times.
    """
    ranked = np.array([[3, 1, 7], [0, 2, 9]])
    responses = world.responses
    after_end = np.where(responses.mask, responses.token, 1)
    others = dataclasses.replace(responses, token=after_end)
    with jax.enable_x64(False):
        curve, same = (
            train(x, jax.random.key(0), np.tile(ranked, (10, 1, 1, 1)))
            for x in (world, dataclasses.replace(world, responses=others))
        )
    assert (after_end != responses.token).any()
    np.testing.assert_allclose(curve, same, atol=1e-4)
    assert len(np.unique(curve[-1].round(5))) == responses.num_responses
    for best, middle, worst in ranked:
        assert curve[-1][best] > curve[-1][middle] > curve[-1][worst]
