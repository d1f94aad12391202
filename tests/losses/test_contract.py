"""What holds for every loss: one suite, run over all of them."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.losses.losses_under_test import CASES
from tests.ways import WAYS


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def case(request):
    return request.param


def total_and_slope(case):
    """Sums of the loss at `scale * log-probabilities`, and d total / d scale."""

    def total(scale, first, *rest):
        out = case.loss(jax.tree.map(lambda x: x * scale, first), *rest)
        return out.loss.total, out

    return lambda scale, *rows: jax.value_and_grad(total, has_aux=True)(scale, *rows)


@functools.cache
def jitted_total_and_slope(case):
    return jax.jit(total_and_slope(case))


@functools.cache
def jitted(case):
    return jax.jit(case.loss)


@functools.cache
def jitted_grad(case):
    """The mean and its gradient for every array of floats."""

    def value_and_grad(*inputs):
        leaves, tree = jax.tree.flatten(inputs)
        floats = [x for x in leaves if x.dtype != bool]

        def value(floats):
            rest = iter(floats)
            merged = [x if x.dtype == bool else next(rest) for x in leaves]
            return case.loss(*jax.tree.unflatten(tree, merged)).loss.value

        return jax.value_and_grad(value)(floats)

    return jax.jit(value_and_grad)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_running_it_gives_the_same_sums(case, way):
    rows = case.make_inputs(np.random.default_rng(0), 16, 5)
    scale = jnp.float32(1.1)
    got = way(total_and_slope(case), scale, rows)
    expected = jitted_total_and_slope(case)(scale, *rows)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)


def filled(tree, garbage, columns=0):
    """Garbage in all masked places, after `columns` more of them on the right."""
    masks = {}

    def wider(x):
        fill = False if x.dtype == bool else garbage
        x = np.pad(x, ((0, 0), (0, columns)), constant_values=fill)
        if x.dtype == bool:
            masks[x.shape] = x
        return x

    def poisoned(x):
        if x.dtype == bool:
            return x
        return np.where(masks[x.shape], x, garbage).astype(x.dtype)

    return jax.tree.map(poisoned, jax.tree.map(wider, tree))


@pytest.mark.parametrize("garbage", [0.0, 1e30, np.inf, -np.inf, np.nan])
def test_what_is_masked_changes_neither_loss_nor_gradient_nor_metrics(case, garbage):
    inputs = case.make_inputs(np.random.default_rng(2), 3, 6)
    clean, dirty = (filled(inputs, x, columns=2) for x in (-1.0, garbage))
    chex.assert_trees_all_equal(jitted(case)(*dirty), jitted(case)(*clean))
    got = jitted_grad(case)(*dirty)
    chex.assert_trees_all_equal(got, jitted_grad(case)(*clean))

    value, grads = jitted_grad(case)(*inputs)
    cut = [x[:, :-2] for x in got[1]]
    chex.assert_trees_all_close((got[0], cut), (value, grads), rtol=1e-6)


@pytest.mark.parametrize("garbage", [-1.0, np.nan])
def test_an_all_masked_batch_gives_zero_and_no_nan(case, garbage):
    inputs = case.make_inputs(np.random.default_rng(0), 2, 4)
    inputs = jax.tree.map(
        lambda x: x & False if x.dtype == bool else np.full_like(x, garbage), inputs
    )
    value, grads = jitted_grad(case)(*inputs)
    assert value == 0
    chex.assert_trees_all_equal(grads, jax.tree.map(jnp.zeros_like, grads))
    sums = jitted(case)(*inputs)
    chex.assert_trees_all_equal(sums, jax.tree.map(jnp.zeros_like, sums))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_summed_in_float32(case, dtype):
    """1,000 tokens of the same cost: a running bfloat16 sum sticks at 256 of them."""
    one = jax.tree.map(
        lambda x: x | True if x.dtype == bool else jnp.asarray(x, dtype),
        case.make_inputs(np.random.default_rng(0), 1, 1),
    )
    many = jax.tree.map(lambda x: jnp.repeat(x, 1000, axis=0), one)
    got, single = jitted(case)(*many), jitted(case)(*one)
    chex.assert_trees_all_close(
        got, jax.tree.map(lambda x: 1000 * x, single), rtol=1e-5
    )
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(got))


def test_no_gradient_reaches_what_is_frozen(case):
    inputs = case.make_inputs(np.random.default_rng(0), 3, 4)
    for i in case.frozen:

        def value(x, i=i):
            return case.loss(*inputs[:i], x, *inputs[i + 1 :]).loss.value

        grads = jax.jit(jax.grad(value))(inputs[i])
        chex.assert_trees_all_equal(grads, jax.tree.map(jnp.zeros_like, grads))


def test_hyperparameters_may_be_traced(case):
    inputs = case.make_inputs(np.random.default_rng(0), 3, 4)
    for name, values in case.traced.items():

        def value(x, name=name):
            return case.loss(*inputs, **{name: x}).loss.value

        traced = jax.jit(jax.vmap(value))(jnp.array(values))
        expected = np.array([jax.jit(value)(x) for x in values])
        np.testing.assert_allclose(traced, expected, rtol=1e-6)
        assert expected[0] != expected[1]


def test_no_row_depends_on_another(case):
    """A permutation of the batch permutes the gradient and changes nothing else."""
    inputs = case.make_inputs(np.random.default_rng(3), 5, 4)
    order = np.array([3, 1, 4, 0, 2])
    value, grads = jitted_grad(case)(*inputs)
    got = jitted_grad(case)(*jax.tree.map(lambda x: x[order], inputs))
    expected = value, jax.tree.map(lambda g: g[order], grads)
    chex.assert_trees_all_close(got, expected, rtol=1e-6)


def test_arguments_of_different_shapes_are_refused_at_trace_time(case):
    inputs = case.make_inputs(np.random.default_rng(0), 3, 4)
    longer = case.make_inputs(np.random.default_rng(0), 3, 5)
    for i in range(len(inputs)):
        mixed = *inputs[:i], longer[i], *inputs[i + 1 :]
        with pytest.raises(AssertionError, match="shape"):
            jax.eval_shape(case.loss, *mixed)


def test_a_float_mask_is_refused_at_trace_time(case):
    inputs = jax.tree.map(
        lambda x: x.astype(np.float32),
        case.make_inputs(np.random.default_rng(0), 3, 4),
    )
    with pytest.raises(AssertionError, match="bool"):
        jax.eval_shape(case.loss, *inputs)
