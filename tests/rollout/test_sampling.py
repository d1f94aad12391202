"""The draw: supports against NumPy, frequencies against exact probabilities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.rollout import NUCLEUS_CANDIDATES, sample_tokens, sampling
from tests.rollout.models_under_test import log_softmax

DRAWS = 40_000


def kept_in_numpy(logits, top_k, top_p):
    """The probabilities that are left, one token at a time, in float64."""
    probs = np.exp(log_softmax(logits.astype(np.float64)))
    order = sorted(range(len(probs)), key=lambda i: (-probs[i], i))
    if top_k is not None:
        order = order[:top_k]
    whole = sum(probs[i] for i in order)
    kept, share = [], 0.0
    for i in order:
        kept.append(i)
        share += probs[i] / whole
        if top_p is not None and share >= top_p:
            break
    left = np.zeros(len(probs))
    left[kept] = probs[kept]
    return left / left.sum()


@functools.partial(jax.jit, static_argnames=("top_k", "draws"))
def draw(logits, key, top_k, top_p, draws=DRAWS):
    uniforms = jax.random.uniform(key, (draws, 2))
    rows = jnp.broadcast_to(logits[None], (draws, len(logits)))
    return sample_tokens(rows, uniforms, top_k=top_k, top_p=top_p)


@pytest.mark.parametrize(
    ("top_k", "top_p"),
    [(None, None), (7, None), (1, None), (None, 0.6), (None, 0.999), (9, 0.7)],
)
def test_frequencies_and_support(top_k, top_p):
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=40) * 1.5).astype(np.float32)
    logits[[3, 17]] = -np.inf
    expected = kept_in_numpy(logits, top_k, top_p)
    drawn = draw(logits, jax.random.key(1), top_k, top_p)
    counts = np.bincount(np.asarray(drawn), minlength=40)
    assert counts.sum() == DRAWS
    assert not counts[expected == 0].any()
    inside = expected > 0
    assert counts[inside & (expected > 5e-4)].all()
    chi2 = np.sum((counts - DRAWS * expected)[inside] ** 2 / (DRAWS * expected[inside]))
    free = inside.sum() - 1
    assert chi2 < free + 4 * np.sqrt(2 * free) + 1e-6


def test_a_vocabulary_of_several_blocks():
    rng = np.random.default_rng(1)
    logits = (rng.normal(size=700) * 2).astype(np.float32)
    logits[300:400] = -np.inf
    drawn = draw(logits, jax.random.key(2), None, None, draws=20_000)
    counts = np.bincount(np.asarray(drawn), minlength=700)
    assert len(counts) == 700
    assert not counts[300:400].any()
    expected = np.exp(log_softmax(logits.astype(np.float64))) * 20_000
    often = expected > 20
    chi2 = np.sum((counts - expected)[often] ** 2 / expected[often])
    assert chi2 < often.sum() + 4 * np.sqrt(2 * often.sum())


def test_equal_logits_keep_the_lower_ids():
    drawn = draw(np.zeros(12, np.float32), jax.random.key(0), 4, None)
    assert set(np.asarray(drawn).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_the_ends_of_the_unit_interval_draw_possible_tokens(uniform):
    logits = np.full((1, 600), -np.inf, np.float32)
    logits[0, [5, 301, 302]] = 0.0
    uniforms = jnp.full((1, 2), uniform, jnp.float32)
    token = int(sample_tokens(jnp.asarray(logits), uniforms)[0])
    assert token == (5 if uniform == 0 else 302)


def test_rounding_in_a_long_sum_draws_nothing_of_weight_zero():
    """Entries of a parallel sum can grow where a zero was added: aim right there."""
    rng = np.random.default_rng(0)
    weights = np.exp(rng.normal(size=(64, 1024)) * 4).astype(np.float32)
    weights[rng.random(weights.shape) < 0.5] = 0
    sums = np.asarray(jnp.cumsum(weights, axis=-1))
    before = np.maximum.accumulate(sums, axis=1)[:, :-1]
    steps = (sums[:, 1:] > before) & (weights[:, 1:] == 0)
    rows = np.flatnonzero(steps.any(axis=1))
    if not len(rows):
        pytest.skip("sums are exact on this backend")
    at = steps[rows].argmax(axis=1)
    uniforms = np.nextafter(before[rows, at] / sums[rows, -1], np.float32(1))
    drawn = np.asarray(
        sampling.invert(jnp.asarray(weights[rows]), jnp.asarray(uniforms))
    )
    assert (weights[rows, drawn] > 0).all()


def test_a_nucleus_without_top_k_is_a_share_of_the_whole_vocabulary():
    """Only the likeliest are sorted, but their share is not that of the sorted."""
    n = 3 * NUCLEUS_CANDIDATES
    logits = np.log(np.r_[0.5, np.full(n - 1, 0.5 / (n - 1))]).astype(np.float32)
    drawn = draw(logits, jax.random.key(0), None, 0.6, draws=2_000)
    tokens = set(np.asarray(drawn).tolist())
    beyond = round(0.1 / (0.5 / (n - 1)))
    assert max(tokens) <= beyond
    assert max(tokens) > 0.9 * beyond
