"""Supervised fine-tuning against plain NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.losses import sft_loss
from jaxalign.ops import token_stats


def sft_in_numpy(logits, targets, mask, label_smoothing, z_loss):
    """One token at a time, from probabilities, as the papers write it."""
    costs = []
    for i, t in zip(*np.nonzero(mask), strict=True):
        exps = np.exp(logits[i, t].astype(np.float64))
        z = exps.sum()
        p = exps / z
        smooth = np.full(len(p), label_smoothing / len(p))
        smooth[targets[i, t]] += 1 - label_smoothing
        costs.append(-np.sum(smooth * np.log(p)) + z_loss * np.log(z) ** 2)
    return np.mean(costs)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("z_loss", [0.0, 0.1])
def test_matches_numpy(label_smoothing, z_loss):
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(4, 6, 7)).astype(np.float32)
    targets = rng.integers(0, 7, size=(4, 6))
    mask = jnp.asarray(rng.random((4, 6)) < 0.6)

    @jax.jit
    def loss(logits, targets):
        stats = token_stats(logits, targets)
        return sft_loss(
            stats.logps,
            mask,
            label_smoothing=label_smoothing,
            mean_logps=stats.mean_logps,
            z_loss=z_loss,
            logz=stats.logz,
        )

    out = loss(logits, targets.astype(np.int32))
    expected = sft_in_numpy(logits, targets, np.asarray(mask), label_smoothing, z_loss)
    np.testing.assert_allclose(out.loss.value, expected, rtol=1e-5)
    assert int(out.loss.weight) == int(mask.sum())


def test_the_mean_is_over_tokens_not_over_sequences():
    logps = jnp.array([[-1.0, -1.0, -1.0], [-5.0, -5.0, -5.0]])
    mask = jnp.array([[True, True, True], [True, False, False]])
    np.testing.assert_allclose(sft_loss(logps, mask).loss.value, (3 * 1 + 5) / 4)


def test_a_term_without_its_array_is_refused():
    logps, mask = jnp.zeros((1, 2)), jnp.ones((1, 2), bool)
    with pytest.raises(ValueError, match="label_smoothing"):
        sft_loss(logps, mask, label_smoothing=0.1)
    with pytest.raises(ValueError, match="z_loss"):
        sft_loss(logps, mask, z_loss=0.1)
    with pytest.raises(ValueError, match="z_loss"):
        jax.jit(lambda x: sft_loss(logps, mask, z_loss=x))(0.1)
