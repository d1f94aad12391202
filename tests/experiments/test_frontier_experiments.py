"""E1, E2, E4, E11: what they compute from rows, on rows made up by hand."""

import math

import jax
import pytest

from experiments.e01_frontier import run as e01
from experiments.e02_beta.run import slope_of
from experiments.e04_noise.arms import OTHERS, SWEEPS, TABLE
from experiments.e04_noise.matched import at_matched_kl, efficiency_at, gains
from experiments.e11_weights import run as e11
from experiments.enumlm import make_world
from jaxalign.recipes.flags.loss_flags import pairwise_losses


def test_e01_compares_arms_on_the_same_pairs():
    def row(arm, seed, efficiency):
        same = {"arm": arm, "n_pairs": 100, "beta": 1.0, "data_seed": seed}
        return same | {"efficiency": efficiency, "rho": 0.0}

    rows = [row("dpo", 0, 0.5), row("dpo", 1, 0.25), row("learned_linear", 1, 1.0)]
    (found,) = e01.derive(rows)
    assert found["arm"] == "learned_linear_minus_dpo"
    assert found["data_seed"] == 1
    assert found["efficiency_gain"] == 0.75


@pytest.mark.parametrize("beta", [0.1, 0.7, 4.0])
def test_the_slope_of_the_frontier_is_beta(beta):
    with jax.enable_x64(True):
        assert slope_of(make_world(0), beta) == pytest.approx(beta, rel=1e-5)


def test_e04_matches_losses_at_the_same_kl():
    def row(arm, strength, kl, efficiency):
        same = {"part": "sweep", "arm": arm, "data_seed": 0, "strength": strength}
        return same | {"kl": kl, "efficiency": efficiency}

    dpo = [row("dpo", 2.0, 0.1, 0.9), row("dpo", 1.0, 0.9, 0.7)]
    # 0.3 is half way from 0.1 to 0.9 in log KL.
    assert efficiency_at(dpo, 0.3) == pytest.approx(0.8)
    assert efficiency_at(dpo, 1.0) is None
    twice = [*dpo, row("dpo", 0.5, 0.1, 0.5)]
    assert efficiency_at(twice, 0.3) == pytest.approx(0.8)
    ipo = [row("ipo", 2.0, 0.05, 1.0), row("ipo", 1.0, 0.45, 0.8)]
    found = gains(at_matched_kl([*dpo, *ipo]))
    assert [row["kl_wanted"] for row in found] == [0.15]
    part = math.log(3) / math.log(9)
    dpo_part = math.log(1.5) / math.log(9)
    wanted = (1 - 0.2 * part) - (0.9 - 0.2 * dpo_part)
    assert found[0]["gain_over_dpo"] == pytest.approx(wanted)


def test_e04_runs_every_pairwise_loss_that_it_can_or_says_why_not():
    run = {x.name for x in (*TABLE.values(), *OTHERS.values())}
    coupled = {"aot_pair_loss", "aot_unpaired_loss"}
    same_as_dpo = {"f_dpo_reverse_kl_loss"}
    needs_more = {
        *("bco_loss", "beta_dpo_loss", "mappo_loss", "mixed_preference_loss"),
        *("sppo_soft_loss", "tdpo1_loss", "tdpo2_loss", "wpo_loss"),
    }
    assert run | coupled | same_as_dpo | needs_more == {*pairwise_losses()}
    assert {*SWEEPS} == {*TABLE, *OTHERS}


def test_e11_reads_kl_where_a_reward_is_first_reached():
    run = [{"reward": 1.0, "kl": 2.0}, {"reward": 3.0, "kl": 4.0}]
    assert e11.kl_at(run, 0.5) == 1.0
    assert e11.kl_at(run, 2.0) == 3.0
    assert e11.kl_at(run, 5.0) is None
    steps = e11.reported(3000)
    assert steps[0] == 1
    assert steps[-1] == 3000
    assert steps == sorted(set(steps))


def test_e11_sets_each_run_beside_dpo_on_the_same_pairs():
    def rows(arm, seed, scale):
        same = {"arm": arm, "strength": 1.0, "data_seed": seed}
        return [
            same
            | {"step": step, "reward": step / 100, "kl": scale * step / 100}
            | {"forward_kl": float(step**2)}
            for step in (10, 40, 100)
        ]

    found = e11.derive([*rows("dpo", 3, 1.0), *rows("unweighted", 3, 6.0)])
    (other,) = [x for x in found if x["arm"] == "unweighted, whole run"]
    assert other["kl_ratio"] == pytest.approx(6.0)
    assert other["forward_kl_growth"] == pytest.approx(6.25)
    assert other["kl_growth"] == pytest.approx(2.5)
