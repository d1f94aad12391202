"""Hyperparameters out of range are refused, by name and value."""

import jax
import jax.numpy as jnp
import pytest

from jaxalign.losses import Pair, dpo_loss, sft_loss

LOGPS = jnp.zeros((1, 2))
MASK = jnp.ones((1, 2), bool)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("beta", 0), ("beta", -0.1), ("beta", float("nan")), ("label_smoothing", 0.5)],
)
def test_dpo(keyword, value):
    both = Pair(LOGPS, LOGPS)
    with pytest.raises(ValueError, match=f"{keyword} must be in .* got {value}"):
        dpo_loss(both, both, Pair(MASK, MASK), **{keyword: value})


@pytest.mark.parametrize(("keyword", "value"), [("label_smoothing", 1), ("z_loss", -1)])
def test_sft(keyword, value):
    arrays = {"logz": LOGPS, "mean_logps": LOGPS}
    with pytest.raises(ValueError, match=f"{keyword} must be in .* got {value}"):
        sft_loss(LOGPS, MASK, **arrays, **{keyword: value})


def test_traced_values_pass():
    both = Pair(LOGPS, LOGPS)
    loss = jax.jit(lambda beta: dpo_loss(both, both, Pair(MASK, MASK), beta=beta))
    assert loss(0.5).loss.weight == 1
