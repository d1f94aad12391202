"""What holds for every preference loss.

One program evaluates all of them, for each property: compiling is what takes time.
"""

import functools
import inspect
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import losses
from jaxalign.losses import Pair, is_batch_coupled
from tests.losses.losses_under_test import pair_inputs
from tests.losses.preference_cases import CASES, NAMES, OPTIONS
from tests.ways import WAYS, by_jit

SPLITTING = [way for way in WAYS if way is not by_jit]
GARBAGE = [1e30, np.inf, -np.inf, np.nan]


def pairs(seed, n=3, t=6) -> Any:
    return pair_inputs(np.random.default_rng(seed), n, t)


def totals_and_slopes(scale, *rows):
    """Sums of each loss at `scale * log-probabilities`, and d total / d scale."""

    def total(scale, loss, policy, *rest):
        out = loss(jax.tree.map(lambda x: x * scale, policy), *rest)
        return out.loss.total, out

    grad = jax.value_and_grad(total, has_aux=True)
    return {name: grad(scale, loss, *rows) for name, loss in CASES.items()}


@functools.cache
def sums(way):
    return way(totals_and_slopes, jnp.float32(1.1), pairs(0, 16, 5))


@functools.cache
def jitted():
    """Sums of each loss; value and gradient for policy and reference."""

    def run(policy, ref, mask):
        def one(loss):
            def value(policy, ref):
                out = loss(policy, ref, mask)
                return out.loss.value, out

            return jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(policy, ref)

        return {name: one(loss) for name, loss in CASES.items()}

    return jax.jit(run)


@functools.cache
def computed(kind):
    """The results of `jitted` on one of a few inputs of two shapes."""
    inputs = pairs(2)
    if kind == "plain":
        return jitted()(*inputs)
    if kind == "permuted":
        return jitted()(*jax.tree.map(lambda x: x[np.array([1, 2, 0])], inputs))
    if kind == "all masked":
        policy, ref, mask = inputs
        return jitted()(policy, ref, Pair(*(m & False for m in mask)))
    return jitted()(*(filled(inputs, kind)))


def filled(inputs, garbage):
    """Two more columns, and garbage in all places that are masked."""
    policy, ref, mask = (
        Pair(*(np.pad(x, ((0, 0), (0, 2))) for x in pair)) for pair in inputs
    )

    def poisoned(pair):
        sides = zip(pair, mask, strict=True)
        return Pair(*(np.where(m, x, np.float32(garbage)) for x, m in sides))

    return poisoned(policy), poisoned(ref), mask


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", SPLITTING)
def test_every_way_of_running_it_gives_the_same_sums(name, way):
    if is_batch_coupled(getattr(losses, name)):
        pytest.skip("declared: parts of a batch do not add up")
    chex.assert_trees_all_close(
        sums(way)[name], sums(by_jit)[name], rtol=2e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_masked_changes_neither_loss_nor_gradient_nor_metrics(name, garbage):
    clean, dirty = computed(-1.0)[name], computed(garbage)[name]
    chex.assert_trees_all_equal(dirty, clean)
    cut = jax.tree.map(lambda x: x[:, :-2] if x.ndim == 2 else x, clean)
    chex.assert_trees_all_close(cut, computed("plain")[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_an_all_masked_batch_gives_zero_and_no_nan(name):
    got = computed("all masked")[name]
    chex.assert_trees_all_equal(got, jax.tree.map(jnp.zeros_like, got))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_policy_and_never_the_reference(name):
    policy, ref = computed("plain")[name][1]
    assert any(jnp.any(g != 0) for g in policy)
    assert not any(jnp.any(g != 0) for g in ref)


@pytest.mark.parametrize("name", NAMES)
def test_a_permutation_of_the_batch_permutes_the_gradient(name):
    (plain, (grads, _)), (moved, (moved_grads, _)) = (
        computed(kind)[name] for kind in ("plain", "permuted")
    )
    chex.assert_trees_all_close(moved, plain, rtol=1e-5, atol=1e-6)
    grads = jax.tree.map(lambda g: g[np.array([1, 2, 0])], grads)
    chex.assert_trees_all_close(moved_grads, grads, rtol=1e-5, atol=1e-6)


@functools.cache
def in_half_precision():
    """Each loss on one pair and on 1,000 copies of it, in bfloat16."""
    one = jax.tree.map(
        lambda x: x | True if x.dtype == bool else jnp.asarray(x, jnp.bfloat16),
        pairs(0, 1, 1),
    )
    many = jax.tree.map(lambda x: jnp.repeat(x, 1000, axis=0), one)
    run = jax.jit(lambda *x: {name: loss(*x) for name, loss in CASES.items()})
    return run(*one), run(*many)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_summed_in_float32(name):
    """A running bfloat16 sum sticks at 256 of 1,000 equal terms."""
    one, many = (x[name] for x in in_half_precision())
    chex.assert_trees_all_close(
        many, jax.tree.map(lambda x: 1000 * x, one), rtol=1e-5, atol=1e-4
    )
    assert {x.dtype for x in jax.tree.leaves(many)} == {jnp.dtype(jnp.float32)}


@functools.cache
def traced_and_static():
    """Each hyperparameter at two values: mapped as an array, and as Python numbers."""
    inputs = pairs(0)

    def run(policy, ref, mask):
        def values(name, key):
            loss, default = CASES[name], defaults(name, key)

            def at(x):
                return loss(policy, ref, mask, **{key: x}).loss.value

            numbers = (0.5 * default, 0.8 * default)
            return jax.vmap(at)(jnp.array(numbers)), jnp.stack([*map(at, numbers)])

        return {pair: values(*pair) for pair in OPTIONS}

    return jax.jit(run)(*inputs)


def defaults(name, key):
    default = inspect.signature(CASES[name]).parameters[key].default
    return default or 0.4  # a smoothing of 0 has no half


@pytest.mark.parametrize(("name", "key"), OPTIONS)
def test_hyperparameters_may_be_traced(name, key):
    traced, static = traced_and_static()[name, key]
    np.testing.assert_allclose(traced, static, rtol=1e-5, atol=1e-6)
    if (name, key) not in UNSEEN:
        assert static[0] != static[1]


# Limits that the inputs of this test do not reach.
UNSEEN = {
    ("beta_dpo_loss", "min_beta"),
    ("infonca_loss", "alpha"),
    ("wpo_loss", "max_weight"),
}


@pytest.mark.parametrize("name", NAMES)
def test_other_shapes_and_float_masks_are_refused_while_tracing(name):
    policy, ref, mask = pairs(0)
    longer = pairs(0, 3, 7)[0]
    with pytest.raises(AssertionError, match="shape"):
        jax.eval_shape(CASES[name], longer, ref, mask)
    floats = Pair(*(m.astype(np.float32) for m in mask))
    with pytest.raises(AssertionError, match="bool"):
        jax.eval_shape(CASES[name], policy, ref, floats)
