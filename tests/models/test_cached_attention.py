"""Attention to a cache, when a long prompt comes at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.models.cached_attention import LayerCache, cached_attention
from jaxalign.parallel.hlo import HloProgram

ROWS, TOKENS, HEADS, KEY_HEADS, SIZE, SLOTS = 2, 600, 4, 2, 8, 650
STARTS = np.array([0, 37])
SCALE, SOFTCAP = 0.4, 3.0


def oracle(q, keys, values, positions, window):
    """Query by query, in float64."""
    out = np.zeros(q.shape)
    for r, t, h in np.ndindex(q.shape[:3]):
        at, k = positions[r, t], h * KEY_HEADS // HEADS
        first = 0 if window is None else max(0, at - window + 1)
        scores = keys[r, k, first : at + 1] @ q[r, t, h] * SCALE
        weights = np.exp(SOFTCAP * np.tanh(scores / SOFTCAP))
        out[r, t, h] = weights @ values[r, k, first : at + 1] / weights.sum()
    return out


def arrays():
    noise = np.random.default_rng(0).normal
    q = noise(size=(ROWS, TOKENS, HEADS, SIZE))
    k, v = noise(size=(2, ROWS, TOKENS, KEY_HEADS, SIZE))
    old_keys, old_values = noise(size=(2, ROWS, KEY_HEADS, SLOTS, SIZE))
    return q, k, v, old_keys, old_values, STARTS[:, None] + np.arange(TOKENS)


def run(window, q, k, v, keys, values, positions):
    options = {"scale": SCALE, "softcap": SOFTCAP}
    cache = LayerCache(keys, values)
    return cached_attention(q, k, v, cache, positions, window, **options)


def on_device(arrays):
    *floats, positions = arrays
    return *[jnp.asarray(x, jnp.float32) for x in floats], jnp.asarray(positions, "i4")


@pytest.mark.parametrize("window", [None, 100])
def test_a_long_prompt_sees_what_it_may(window):
    q, k, v, keys, values, positions = given = arrays()
    got, cache = jax.jit(functools.partial(run, window))(*on_device(given))
    for r, start in enumerate(STARTS):
        keys[r, :, start : start + TOKENS] = k[r].swapaxes(0, 1)
        values[r, :, start : start + TOKENS] = v[r].swapaxes(0, 1)
    np.testing.assert_allclose(cache.keys, keys, rtol=1e-6)
    wanted = oracle(q, keys, values, positions, window)
    np.testing.assert_allclose(got, wanted, atol=2e-5)


def test_a_long_prompt_never_has_all_of_its_scores():
    lowered = jax.jit(functools.partial(run, None)).lower(*on_device(arrays()))
    program = HloProgram(lowered.compile().as_text() or "")
    largest = max(x.nbytes for x in program.arrays)
    assert largest < 4 * ROWS * HEADS * TOKENS * SLOTS / 2
