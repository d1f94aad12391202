"""Divergences in chunks: NumPy for values, autodiff of whole logits for slopes."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.ops import chunked_jsd, chunked_kl
from tests.ops.cases import SHAPES, D, setup
from tests.ways import by_shard_map

OPTIONS = {
    "plain": {},
    "all": {"temperature": 1.7, "softcap": 3.0, "ref_softcap": 5.0, "vocab_size": 9},
}


def two_models(rows=3, length=7):
    hidden, kernel, *_ = setup(rows, length)
    rng = np.random.default_rng(1)
    ref_hidden = jnp.asarray(rng.normal(size=(rows, length, D + 2)), jnp.float32)
    ref_kernel = jnp.asarray(rng.normal(size=(len(kernel), D + 2)), jnp.float32)
    return hidden, kernel, ref_hidden, ref_kernel


def whole(models, temperature=1.0, softcap=None, ref_softcap=None, vocab_size=None):
    hidden, kernel, ref_hidden, ref_kernel = models
    pairs = (hidden, kernel, softcap), (ref_hidden, ref_kernel, ref_softcap)
    for h, k, cap in pairs:
        z = jnp.einsum("rmd,vd->rmv", h, k)[..., :vocab_size]
        z = z if cap is None else cap * jnp.tanh(z / cap)
        yield jax.nn.softmax(z / temperature)


def naive_kl(models, **options):
    p, q = whole(models, **options)
    to_ref = jnp.sum(p * jnp.log(p / q), axis=-1)
    return to_ref, jnp.sum(q * jnp.log(q / p), axis=-1)


def naive_jsd(models, beta, **options):
    p, q = whole(models, **options)
    m = beta * q + (1 - beta) * p
    return beta * jnp.sum(q * jnp.log(q / m), axis=-1) + (1 - beta) * jnp.sum(
        p * jnp.log(p / m), axis=-1
    )


def weighted_slopes(fn, models):
    """A different weight for each token of each result."""
    rng = np.random.default_rng(5)
    _, _, ref_hidden, ref_kernel = models

    def value(hidden, kernel):
        out = jax.tree.leaves(fn(hidden, kernel, ref_hidden, ref_kernel))
        weights = [rng.normal(size=x.shape).astype(np.float32) for x in out]
        return sum(jnp.sum(w * x) for w, x in zip(weights, out, strict=True))

    return jax.jit(jax.value_and_grad(value, (0, 1)))(*models[:2])


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_both_directions_match_numpy(options):
    models = two_models()
    got = jax.jit(lambda *m: chunked_kl(*m, chunk_size=6, **options))(*models)
    for x, y in zip(got, naive_kl(models, **options), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_gradients_of_kl_match_autodiff_of_whole_logits(options):
    models = two_models()
    got = weighted_slopes(lambda *m: chunked_kl(*m, chunk_size=6, **options), models)
    expected = weighted_slopes(lambda *m: naive_kl(m, **options), models)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_generalised_jsd_and_its_gradient(beta):
    models = two_models()
    got = weighted_slopes(
        lambda *m: chunked_jsd(*m, chunk_size=6, mixture=jnp.float32(beta)), models
    )
    expected = weighted_slopes(lambda *m: naive_jsd(m, beta), models)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rows", "length", "chunk_size"), SHAPES.values(), ids=SHAPES)
def test_chunks_of_any_size_give_the_same(rows, length, chunk_size):
    models = two_models(rows, length)
    got = chunked_kl(*models, chunk_size=chunk_size)
    for x, y in zip(got, naive_kl(models), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_nothing_flows_into_the_reference():
    models = two_models()

    def total(ref_hidden, ref_kernel):
        out = chunked_kl(*models[:2], ref_hidden, ref_kernel)
        return jnp.sum(out.to_ref + out.from_ref + chunked_jsd(*models))

    grads = jax.jit(jax.grad(total, (0, 1)))(*models[2:])
    assert not any(g.any() for g in grads)


def test_half_precision_states_sum_the_gradient_of_the_kernel_in_float32():
    """4,000 equal positions in chunks of 8: a bfloat16 sum would stick at 256."""
    hidden = jnp.ones((1, 4000, 1), jnp.bfloat16)
    kernel = jnp.zeros((2, 1))
    ref = jnp.array([[1.0], [-1.0]])

    def total(kernel):
        return chunked_kl(hidden, kernel, hidden, ref, chunk_size=8).from_ref.sum()

    got = jax.jit(jax.grad(total))(kernel)
    q = np.exp(1) / (np.exp(1) + np.exp(-1))
    np.testing.assert_allclose(
        got[:, 0], 4000 * np.array([0.5 - q, q - 0.5]), rtol=1e-2
    )


@pytest.mark.parametrize("size", [1e4, 1e18])
def test_extreme_logits_have_finite_values_and_gradients(size):
    hidden, *rest = two_models()

    def total(hidden, kernel):
        models = hidden, kernel, *rest[1:]
        kl = chunked_kl(*models, chunk_size=6)
        return jnp.mean(kl.to_ref + kl.from_ref + chunked_jsd(*models, chunk_size=6))

    got = jax.jit(jax.value_and_grad(total, (0, 1)))(size * hidden, rest[0])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(got))


def test_over_devices_it_is_the_same_and_the_kernels_gradient_is_not_multiplied():
    hidden, kernel, ref_hidden, ref_kernel = two_models(8, 5)

    def total(params, hidden, ref_hidden):
        models = hidden, params["kernel"], ref_hidden, params["ref"]
        return chunked_kl(*models, chunk_size=16).to_ref.sum()

    def slopes(params, *rows):
        return jax.value_and_grad(total)(params, *rows)

    params, rows = {"kernel": kernel, "ref": ref_kernel}, (hidden, ref_hidden)
    got = by_shard_map(slopes, params, rows)
    chex.assert_trees_all_close(
        got, jax.jit(slopes)(params, *rows), rtol=1e-4, atol=1e-4
    )


def test_no_array_of_all_logits_forward_or_backward():
    """8 x 64 positions and 97 tokens, 32 positions at a time."""
    hidden, ref = jnp.ones((8, 64, 3)), jnp.ones((8, 64, 4))
    kernels = jnp.ones((97, 3)), jnp.ones((97, 4))

    def total(hidden, kernel):
        models = hidden, kernel, ref, kernels[1]
        return jnp.sum(chunked_kl(*models, chunk_size=32).from_ref)

    grad = jax.jit(jax.grad(total, (0, 1)))
    text = grad.lower(hidden, kernels[0]).compile().as_text() or ""
    sizes = [
        np.prod([int(n) for n in dims.split(",")])
        for dims in re.findall(r"\w+\[([\d,]+)\]", text)
    ]
    assert max(sizes) < 8 * 64 * 97 / 4
    assert any(size >= 32 * 97 for size in sizes)
