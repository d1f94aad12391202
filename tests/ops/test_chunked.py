"""Statistics in chunks against whole logits: NumPy for values, autodiff for slopes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.ops import TokenStats, chunked_stats
from tests.ops.cases import OPTIONS, SHAPES, D, V, setup, whole
from tests.ops.oracle import stats_in_numpy


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_values_match_numpy(options):
    hidden, kernel, targets, _ = setup()
    got = jax.jit(
        lambda *xs: chunked_stats(*xs, entropy=True, chunk_size=6, **options)
    )(hidden, kernel, targets)
    logits = np.einsum("rmd,vd->rmv", *map(np.float64, (hidden, kernel)))
    expected = stats_in_numpy(logits, np.asarray(targets), **options)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(got, name), value, rtol=2e-5, atol=1e-5)


def weighted(stats: TokenStats, seed=5):
    """A different weight for each token of each float field."""
    rng = np.random.default_rng(seed)
    fields = [stats.logps, stats.logz, stats.mean_logps]
    fields += [] if stats.entropy is None else [stats.entropy]
    return sum(jnp.sum(x * rng.normal(size=x.shape).astype(x.dtype)) for x in fields)


def slopes(fn, hidden, kernel, targets):
    def value(hidden, kernel):
        return weighted(fn(hidden, kernel, targets))

    return jax.jit(jax.value_and_grad(value, (0, 1)))(hidden, kernel)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_gradients_match_autodiff_of_whole_logits(options):
    inputs = setup()[:3]

    def chunked(*xs):
        return chunked_stats(*xs, entropy=True, chunk_size=6, **options)

    got = slopes(chunked, *inputs)
    expected = slopes(lambda *xs: whole(*xs, **options), *inputs)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rows", "length", "chunk_size"), SHAPES.values(), ids=SHAPES)
def test_chunks_of_any_size_give_the_same(rows, length, chunk_size):
    inputs = setup(rows, length)[:3]

    def chunked(*xs):
        return chunked_stats(*xs, entropy=True, chunk_size=chunk_size)

    got, expected = slopes(chunked, *inputs), slopes(whole, *inputs)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)


def test_half_precision_states_sum_the_gradient_of_the_kernel_in_float32():
    """4,000 equal positions in chunks of 8: a bfloat16 sum would stick at 256."""
    hidden = jnp.ones((1, 4000, D), jnp.bfloat16)
    kernel, targets = jnp.zeros((4, D), jnp.float32), jnp.zeros((1, 4000), jnp.int32)

    def total(hidden, kernel):
        return chunked_stats(hidden, kernel, targets, chunk_size=8).logps.sum()

    d_hidden, d_kernel = jax.jit(jax.grad(total, (0, 1)))(hidden, kernel)
    assert d_hidden.dtype == jnp.bfloat16
    expected = 4000 * np.array([0.75, -0.25, -0.25, -0.25])[:, None]
    np.testing.assert_allclose(d_kernel, np.broadcast_to(expected, (4, D)), rtol=1e-6)


@pytest.mark.parametrize("size", [1e4, 1e18])
def test_extreme_logits_have_finite_values_and_gradients(size):
    hidden, kernel, targets, _ = setup()

    def chunked(*xs):
        return chunked_stats(*xs, entropy=True, vocab_size=V - 2, chunk_size=6)

    got = slopes(chunked, size * hidden, kernel, targets)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(got))


def test_temperature_may_be_traced():
    hidden, kernel, targets, _ = setup()
    got = jax.jit(
        jax.vmap(lambda x: chunked_stats(hidden, kernel, targets, temperature=x).logps)
    )(jnp.array([0.5, 2.0]))
    for x, t in zip(got, (0.5, 2.0), strict=True):
        expected = whole(hidden, kernel, targets, temperature=t).logps
        np.testing.assert_allclose(x, expected, rtol=1e-5)


def test_float64_stays_float64():
    with jax.enable_x64(True):
        hidden, kernel, targets, _ = setup(dtype=jnp.float64)
        kernel = kernel.astype(jnp.float64)

        def chunked(*xs):
            return chunked_stats(*xs, entropy=True, chunk_size=6)

        got, expected = (slopes(f, hidden, kernel, targets) for f in (chunked, whole))
        chex.assert_trees_all_close(got, expected, rtol=1e-11, atol=1e-11)


def test_arrays_that_do_not_fit_are_refused():
    hidden, kernel, targets, _ = setup()
    with pytest.raises(AssertionError):
        chunked_stats(hidden, kernel.T, targets)
    with pytest.raises(AssertionError):
        chunked_stats(hidden, kernel, targets[:, 1:])


def test_chunks_without_a_position_that_counts_are_left_out():
    """Six positions in chunks of two columns: the middle ones are empty, and NaN."""
    hidden, kernel, targets, mask = setup(rows=3, length=6)
    mask = mask.at[:, 0].set(True).at[:, 2:4].set(False).at[:, 5].set(True)
    poisoned = hidden.at[:, 2:4].set(jnp.nan)

    def value(fn):
        def masked_value(hidden, kernel):
            stats = fn(hidden, kernel)._replace(correct=None)
            return weighted(jax.tree.map(lambda x: jnp.where(mask, x, 0.0), stats))

        return jax.jit(jax.value_and_grad(masked_value, (0, 1)))

    def skipping(hidden, kernel):
        return chunked_stats(
            hidden, kernel, targets, mask=mask, entropy=True, chunk_size=6
        )

    got = value(skipping)(poisoned, kernel)
    expected = value(lambda h, k: whole(h, k, targets))(hidden, kernel)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)
    for nothing in jax.tree.leaves(skipping(poisoned, kernel)):
        assert not np.any(nothing[:, 2:4])
