"""Optimal transport: sorted against sorted, over the valid pairs of one batch."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.losses import (
    Pair,
    aot_pair_loss,
    aot_unpaired_loss,
    dpo_loss,
    is_batch_coupled,
)
from tests.losses.losses_under_test import pair_inputs
from tests.losses.preference_oracles import log_sigmoid, read_pair

LOSSES = [aot_pair_loss, aot_unpaired_loss]


def batch(n=6) -> Any:
    policy, ref, mask = pair_inputs(np.random.default_rng(0), n, 5)
    mask.chosen[1] = False
    return policy, ref, mask


def aot_in_numpy(loss, inputs, beta):
    pairs = [read_pair(inputs, i) for i in range(len(inputs[0].chosen))]
    pairs = [s for s in pairs if s is not None]
    if loss is aot_pair_loss:
        above = [s.lp_w - s.lp_l for s in pairs]
        below = [(s.lp_w - s.h_w) - (s.lp_l - s.h_l) for s in pairs]
    else:
        above, below = [s.h_w for s in pairs], [s.h_l for s in pairs]
    gaps = zip(sorted(above), sorted(below), strict=True)
    return np.mean([-log_sigmoid(beta * (a - b)) for a, b in gaps])


@pytest.mark.parametrize("loss", LOSSES)
def test_matches_numpy(loss):
    inputs = batch()
    out = jax.jit(lambda *x: loss(*x, beta=0.4))(*inputs)
    np.testing.assert_allclose(
        out.loss.value, aot_in_numpy(loss, inputs, 0.4), rtol=1e-5
    )
    assert out.loss.weight == 5


@pytest.mark.parametrize("loss", LOSSES)
def test_padding_and_order_of_the_batch_change_nothing(loss):
    inputs = batch()

    @jax.jit
    def run(inputs):
        def value(policy):
            return loss(policy, *inputs[1:]).loss.value

        return jax.value_and_grad(value)(inputs[0])

    value, grads = run(inputs)
    order = np.array([4, 1, 0, 5, 3, 2])
    moved = run(jax.tree.map(lambda x: x[order], inputs))
    expected = value, jax.tree.map(lambda g: g[order], grads)
    chex.assert_trees_all_close(moved, expected, rtol=1e-5, atol=1e-8)
    rest = np.array([0, 2, 3, 4, 5])
    without = run(jax.tree.map(lambda x: x[rest], inputs))
    expected = value, jax.tree.map(lambda g: g[rest], grads)
    chex.assert_trees_all_close(without, expected, rtol=1e-5, atol=1e-8)


def test_void_rows_with_garbage_give_no_gradient():
    policy, ref, mask = batch()
    policy = Pair(*(np.where(m, p, np.nan) for p, m in zip(policy, mask, strict=True)))
    for loss in LOSSES:
        grads = jax.grad(lambda p, f=loss: f(p, ref, mask).loss.value)(policy)
        for g, m in zip(grads, mask, strict=True):
            assert np.all(np.isfinite(g))
            assert not np.any(g[~m])


def test_one_pair_alone_is_dpo():
    inputs = jax.tree.map(lambda x: x[:1], batch())
    expected = dpo_loss(*inputs, beta=0.4).loss.value
    for loss in LOSSES:
        np.testing.assert_allclose(
            loss(*inputs, beta=0.4).loss.value, expected, rtol=1e-5
        )


def test_parts_of_a_batch_do_not_add_up_which_is_declared():
    inputs = batch()
    for loss in LOSSES:
        assert is_batch_coupled(loss)
        assert is_batch_coupled(functools.partial(functools.partial(loss), beta=0.2))
        parts = [
            loss(*jax.tree.map(lambda x, s=s: x[s], inputs)).loss
            for s in (slice(0, 3), slice(3, 6))
        ]
        whole = loss(*inputs).loss
        assert (parts[0] + parts[1]).weight == whole.weight
        assert not np.isclose((parts[0] + parts[1]).total, whole.total, rtol=1e-4)
    assert not is_batch_coupled(dpo_loss)


@pytest.mark.parametrize("loss", LOSSES)
def test_an_all_masked_batch_is_zero(loss):
    policy, ref, mask = batch()
    mask = Pair(*(np.zeros_like(m) for m in mask))
    value, grads = jax.value_and_grad(lambda p: loss(p, ref, mask).loss.value)(policy)
    assert value == 0
    assert not any(jnp.any(g != 0) for g in grads)
