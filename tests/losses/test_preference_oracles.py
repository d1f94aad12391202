"""Pairwise losses against formulas written anew, at defaults and at other values."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import losses
from jaxalign.losses import Pair
from jaxalign.objectives import array_names
from tests.losses import preference_oracles as oracles
from tests.losses.losses_under_test import pair_inputs

# Each loss named <oracle>_loss, with values other than its defaults.
OTHER = {
    "dpo": {"beta": 0.5, "label_smoothing": 0.2},
    "robust_dpo": {"beta": 0.3, "label_smoothing": 0.3},
    "dpo_nll": {"beta": 0.3, "nll_weight": 0.4},
    "unweighted_dpo": {"beta": 0.3},
    "ipo": {"tau": 0.3},
    "ipo_length_normalised": {"tau": 0.3},
    "simpo": {"beta": 3.0, "gamma": 0.4},
    "orpo": {"odds_weight": 0.7},
    "cpo": {"beta": 0.4, "nll_weight": 0.3},
    "cpo_simpo": {"beta": 3.0, "gamma": 0.4, "nll_weight": 0.3},
    "dpop": {"beta": 0.3, "penalty": 2.0},
    "hinge": {"beta": 0.7},
    "slic": {"delta": 3.0, "nll_weight": 0.3},
    "nca_pair": {"beta": 0.3},
    "exo_pair": {"beta": 0.4, "label_smoothing": 0.2},
    "sppo_hard": {"eta": 3.0},
    "apo_zero": {"beta": 0.4},
    "apo_down": {"beta": 0.4},
    "discopop": {"beta": 0.3, "tau": 0.4},
    "f_dpo_reverse_kl": {"beta": 0.4},
    "f_dpo_forward_kl": {"beta": 0.4},
    "f_dpo_js": {"beta": 0.4},
    "f_dpo_alpha": {"beta": 0.4, "alpha": 0.2},
    "ln_dpo": {"beta": 2.0},
    "length_regularised_dpo": {"beta": 0.3, "alpha": 0.2},
    "ld_dpo": {"beta": 0.3, "alpha": 0.2},
    "unlikelihood": {"alpha": 0.3},
}


def arguments(loss, policy, ref, mask) -> Any:
    return (policy, ref, mask) if "ref" in array_names(loss) else (policy, mask)


@pytest.mark.parametrize("name", OTHER)
def test_matches_its_formula(name):
    loss, oracle = getattr(losses, f"{name}_loss"), getattr(oracles, name)
    inputs: Any = pair_inputs(np.random.default_rng(0), 6, 5)
    inputs[2].chosen[1] = False  # not a pair: one side has no token
    inputs[2].rejected[4] = False

    @jax.jit
    def both(*inputs):
        return loss(*inputs), loss(*inputs, **OTHER[name])

    outs = both(*arguments(loss, *inputs))
    for out, values in zip(outs, ({}, OTHER[name]), strict=True):
        expected, count = oracles.mean_loss(lambda s, v=values: oracle(s, **v), inputs)
        np.testing.assert_allclose(out.loss.value, expected, rtol=2e-5)
        pairwise = {k: m for k, m in out.metrics.items() if k != "log_ratio_capped"}
        assert {float(m.weight) for m in (out.loss, *pairwise.values())} == {count}


@pytest.mark.parametrize("name", OTHER)
def test_extreme_log_ratios_give_finite_values_and_gradients(name):
    """Log-probabilities 1e3 apart per token, in float32, in all combinations."""
    loss = getattr(losses, f"{name}_loss")
    low, high = (np.full((1, 2), x, np.float32) for x in (-1e3, -1e-6))
    sides = [
        Pair(np.concatenate(chosen), np.concatenate(rejected))
        for chosen, rejected in (
            ([low, low, high, high, high], [low, high, low, high, low]),
            ([high, high, low, low, high], [high, low, high, low, low]),
        )
    ]
    mask = Pair(*(np.ones((5, 2), bool) for _ in range(2)))
    policy, ref = sides
    inputs = arguments(loss, policy, ref, mask)

    @jax.jit
    def value_and_grad(policy):
        return jax.value_and_grad(lambda p: loss(p, *inputs[1:]).loss.value)(policy)

    for x in jax.tree.leaves(value_and_grad(inputs[0])):
        assert jnp.all(jnp.isfinite(x))
