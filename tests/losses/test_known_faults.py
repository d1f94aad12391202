"""Faults that preference losses had elsewhere, by name; ours is free of each.

Others are held by the contract suite (padding in metrics, garbage behind masks) and by
`test_kto` (reference points from matched pairs, of one part, of odd batches).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxalign import losses
from jaxalign.losses import Pair
from jaxalign.training import TrainState, make_train_step
from tests.losses.losses_under_test import lengths_to_mask, pair_inputs

V = 5


def bigram_batch(n=8) -> Any:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, V, size=(2, n, 6)).astype(np.int32)
    masks = [lengths_to_mask(rng, n, 5) for _ in range(2)]
    masks[0][3] = False
    return {"tokens": Pair(*tokens), "mask": Pair(*masks)}


def logps_of(params, tokens):
    table = jax.nn.log_softmax(params)
    return Pair(*(table[t[:, :-1], t[:, 1:]] for t in tokens))


@pytest.mark.parametrize(
    "name",
    ["dpo_nll_loss", "cpo_loss", "orpo_loss", "preferred_ft_loss", "ipo_loss"],
)
def test_gradient_accumulation_changes_the_loss(name):
    """Fault 1: two terms with different denominators, averaged by part."""
    loss = getattr(losses, name)
    params = jnp.asarray(np.random.default_rng(1).normal(size=(V, V)), jnp.float32)
    zeros = jnp.zeros((V, V))

    def objective(params, batch, key):
        del key
        policy = logps_of(params, batch["tokens"])
        ref = logps_of(zeros, batch["tokens"])
        if "ref" in loss.__annotations__:
            return loss(policy, ref, batch["mask"])
        return loss(policy, batch["mask"])

    def update(parts):
        state = TrainState.create(params, optax.sgd(1.0), jax.random.key(0))
        step = make_train_step(objective, optax.sgd(1.0), num_microbatches=parts)
        return jax.jit(step)(state, bigram_batch())[0].params

    whole = update(1)
    assert np.max(np.abs(whole - params)) > 1e-2
    np.testing.assert_allclose(update(4), whole, rtol=1e-5, atol=1e-6)


def test_ipo_is_silently_scaled_by_length_or_divided_by_the_padded_row():
    """Fault 22: both forms exist, each under its name, and neither sees the padding."""
    zeros, ones = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
    mask = Pair(np.array([[1, 1, 0, 0]], bool), np.array([[1, 1, 1, 1]], bool))
    inputs: Any = Pair(ones, -ones), Pair(zeros, zeros), mask
    summed = losses.ipo_loss(*inputs, tau=0.5).loss.value
    np.testing.assert_allclose(summed, (2 + 4 - 1) ** 2)
    per_token = losses.ipo_length_normalised_loss(*inputs, tau=0.5).loss.value
    np.testing.assert_allclose(per_token, (1 + 1 - 1) ** 2)


def test_label_smoothing_is_accepted_and_ignored():
    """Fault 23, a flag that does nothing."""
    inputs: Any = pair_inputs(np.random.default_rng(0), 4, 5)
    for loss in (losses.dpo_loss, losses.robust_dpo_loss, losses.exo_pair_loss):
        smooth = functools.partial(loss, *inputs)
        values = {float(smooth(label_smoothing=x).loss.value) for x in (0.1, 0.3)}
        assert len(values) == 2, loss


def test_the_exponential_part_of_discopop_overflows():
    """Fault 24."""
    zero, mask = jnp.zeros((1, 1)), Pair(*jnp.ones((2, 1, 1), bool))

    def value(h):
        policy = Pair(jnp.reshape(h, (1, 1)), zero)
        return losses.discopop_loss(policy, Pair(zero, zero), mask, beta=1.0).loss.value

    for h in (-1e3, -90.0, 90.0, 1e3):
        loss, slope = jax.value_and_grad(value)(jnp.float32(h))
        np.testing.assert_allclose(loss, max(0.0, -h), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(slope, -1.0 if h < 0 else 0.0, atol=1e-6)


def test_a_likelihood_of_the_prompt_is_trained():
    """ORPO's, elsewhere: what the mask leaves out has no gradient."""
    policy, _, mask = pair_inputs(np.random.default_rng(0), 4, 5)
    mask = Pair(*(np.roll(m, 1, axis=1) for m in mask))
    for m in mask:
        m[:, 0] = False  # the prompt
    grads: Any = jax.grad(lambda p: losses.orpo_loss(p, mask).loss.value)(policy)
    for g, m in zip(grads, mask, strict=True):
        assert not np.any(g[~m])
        assert np.any(g[m])
