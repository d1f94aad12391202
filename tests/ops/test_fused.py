"""The fused loss against the loss of statistics from whole logits."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.losses import LossOutput, sft_loss
from jaxalign.ops import Mean, TokenStats, chunked_stats, fused_token_loss
from tests.ops.cases import OPTIONS, SHAPES, D, setup, whole
from tests.ways import WAYS, by_shard_map


def sft(stats: TokenStats, mask, **terms):
    options = {"label_smoothing": 0.1, "z_loss": 0.05} | terms
    out = sft_loss(
        stats.logps, mask, mean_logps=stats.mean_logps, logz=stats.logz, **options
    )
    assert stats.entropy is not None
    metrics = {
        "accuracy": Mean.of(stats.correct, where=mask),
        "entropy": Mean.of(stats.entropy, where=mask),
    }
    return LossOutput(out.loss, metrics)


def fused(hidden, kernel, targets, mask, **options):
    return fused_token_loss(sft, hidden, kernel, targets, mask, entropy=True, **options)


def sums_and_slopes(loss):
    """Sums, and the total's slopes for what is replicated: kernel and a shift."""

    def total(params, hidden, targets, mask):
        kernel, shift = params
        out = loss(hidden + shift[None, None], kernel, targets, mask)
        return out.loss.total, out

    return jax.value_and_grad(total, has_aux=True)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_fused_loss_is_statistics_then_loss(options):
    hidden, kernel, targets, mask = setup()

    def in_two(hidden, kernel, targets, mask):
        return sft(whole(hidden, kernel, targets, **options), mask)

    def value(loss, hidden, kernel):
        out = loss(hidden, kernel, targets, mask)
        return out.loss.value, out

    def in_one(*xs):
        return fused(*xs, chunk_size=6, **options)

    grad = jax.grad(value, (1, 2), has_aux=True)
    got, expected = (
        jax.jit(lambda h, k, f=f: grad(f, h, k))(hidden, kernel)
        for f in (in_one, in_two)
    )
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)
    # Without a gradient it takes another path.
    chex.assert_trees_all_close(
        jax.jit(in_one)(hidden, kernel, targets, mask), got[1], rtol=1e-6
    )


@pytest.mark.parametrize(("rows", "length", "chunk_size"), SHAPES.values(), ids=SHAPES)
def test_what_fills_up_the_last_chunk_counts_nowhere(rows, length, chunk_size):
    hidden, kernel, targets, _ = setup(rows, length)
    mask = jnp.ones((rows, length), bool)
    loss = functools.partial(fused, chunk_size=chunk_size)
    got = jax.jit(loss)(hidden, kernel, targets, mask)
    expected = jax.jit(lambda *xs: sft(whole(*xs), mask))(hidden, kernel, targets)
    chex.assert_trees_all_close(got, expected, rtol=1e-5)
    assert int(got.loss.weight) == rows * length


@functools.cache
def expected_sums_and_slopes():
    def in_two(hidden, kernel, targets, mask):
        return sft(whole(hidden, kernel, targets), mask)

    return jax.jit(sums_and_slopes(in_two))


@pytest.mark.parametrize(
    ("kind", "way"), [("fused", way) for way in WAYS] + [("chunked", by_shard_map)]
)
def test_every_way_of_running_it_gives_the_same(kind, way):
    hidden, kernel, targets, mask = setup(8, 5)

    def chunked(hidden, kernel, targets, mask):
        stats = chunked_stats(
            hidden, kernel, targets, mask=mask, entropy=True, chunk_size=16
        )
        return sft(stats, mask)

    def in_one(*xs):
        return fused(*xs, chunk_size=16)

    loss = {"fused": in_one, "chunked": chunked}[kind]
    params = kernel, jnp.full(D, 0.1)
    rows = hidden, targets, mask
    got = way(sums_and_slopes(loss), params, rows)

    expected = expected_sums_and_slopes()(params, *rows)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)


def test_chunks_without_a_position_that_counts_are_left_out():
    """Six positions in chunks of two columns: the middle ones are empty, and NaN."""
    hidden, kernel, targets, mask = setup(rows=3, length=6)
    mask = mask.at[:, 0].set(True).at[:, 2:4].set(False).at[:, 5].set(True)
    poisoned = hidden.at[:, 2:4].set(jnp.nan)
    grad = jax.jit(jax.grad(lambda *xs: fused(*xs, chunk_size=6).loss.total, (0, 1)))
    d_hidden, d_kernel = grad(poisoned, kernel, targets, mask)
    expected = jax.grad(lambda h, k: sft(whole(h, k, targets), mask).loss.total, (0, 1))
    chex.assert_trees_all_close(
        (d_hidden, d_kernel), jax.jit(expected)(hidden, kernel), rtol=1e-4, atol=1e-5
    )
    plain = jax.jit(lambda *xs: fused(*xs, chunk_size=6))
    chex.assert_trees_all_close(
        plain(poisoned, kernel, targets, mask),
        sft(whole(hidden, kernel, targets), mask),
        rtol=1e-5,
    )


def test_hyperparameters_may_be_traced():
    hidden, kernel, targets, mask = setup()

    def value(smoothing, fused, kernel):
        def loss(stats, mask):
            return sft(stats, mask, label_smoothing=smoothing)

        if fused:
            out = fused_token_loss(
                loss, hidden, kernel, targets, mask, entropy=True, chunk_size=6
            )
        else:
            out = loss(whole(hidden, kernel, targets), mask)
        return out.loss.value

    def sweep(fused):
        one = jax.value_and_grad(lambda k, x: value(x, fused, k))
        return jax.jit(jax.vmap(one, (None, 0)))(kernel, jnp.array([0.0, 0.3]))

    chex.assert_trees_all_close(sweep(True), sweep(False), rtol=1e-4, atol=1e-5)


def test_half_precision_states_sum_the_gradient_of_the_kernel_in_float32():
    """4,000 equal positions in chunks of 8: a bfloat16 sum would stick at 256."""
    hidden = jnp.ones((1, 4000, D), jnp.bfloat16)
    kernel, targets = jnp.zeros((4, D), jnp.float32), jnp.zeros((1, 4000), jnp.int32)
    mask = jnp.ones((1, 4000), bool)

    def total(hidden, kernel):
        def loss(stats, mask):
            return sft_loss(stats.logps, mask)

        out = fused_token_loss(loss, hidden, kernel, targets, mask, chunk_size=8)
        return out.loss.total

    d_hidden, d_kernel = jax.jit(jax.grad(total, (0, 1)))(hidden, kernel)
    assert d_hidden.dtype == jnp.bfloat16
    expected = 4000 * np.array([-0.75, 0.25, 0.25, 0.25])[:, None]
    np.testing.assert_allclose(d_kernel, np.broadcast_to(expected, (4, D)), rtol=1e-6)


@pytest.mark.parametrize("garbage", [1e30, np.inf])
def test_garbage_in_other_per_token_arrays_is_masked(garbage):
    """As an advantage or an old log-probability may be in padding."""
    hidden, kernel, targets, mask = setup()

    def loss(stats, mask, weights):
        weights = jnp.where(mask, weights, 0.0)
        return sft_loss(stats.logps * weights, mask)

    def gradient(fill):
        weights = jnp.where(mask, 2.0, fill)

        def value(kernel):
            xs = hidden, kernel, targets, mask, weights
            return fused_token_loss(loss, *xs, chunk_size=6).loss.value

        return jax.jit(jax.value_and_grad(value))(kernel)

    chex.assert_trees_all_equal(gradient(garbage), gradient(0.0))
