"""Every family against logits that transformers computed, however rows are laid out."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from jaxalign.models import (
    Transformer,
    apply_cached,
    apply_hidden,
    decoding_params,
    hidden_to_logits,
    init_cache,
    logits,
    unembedding,
)
from tests.models.cases import CASES, load_case, place

# Of the families, those that differ in how a cache is read.
USUAL = ("llama", "gpt2", "gpt_neox", "qwen2_window", "gemma3_text", "phi3")
# Layers one after the other in one array: a loop over them, with windows and without.
STACKED = ("llama", "gemma3_text")
DECODED = [
    pytest.param(
        *(name, prepared),
        marks=[] if name in (USUAL if prepared else STACKED) else pytest.mark.slow,
        id=f"{name}-{'as CPUs read it faster' if prepared else 'as it is'}",
    )
    for name in CASES
    for prepared in (False, True)
]
SHAPE = (3, 40)
ALONE = [(0, 0), (1, 0), (2, 0)]
LAYOUTS = {
    "alone": ALONE,
    "right": ALONE,
    "left": [(0, 24), (1, 29), (2, 34)],
    "packed": [(0, 0), (0, 16), (0, 27)],
    "packed apart": [(1, 22), (1, 1), (2, 5)],
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return load_case(request.param)


def test_logits_are_those_of_transformers(case):
    """Alone, padded on either side and packed, by both ways to attend."""
    models = [Transformer(case.config, attention=a) for a in ("naive", "blocked")]

    @jax.jit
    def run(params, *rows):
        return [logits(m, params, *rows) for m in models]

    for name, starts in LAYOUTS.items():
        rows = place(case, SHAPE, starts)
        for got in run(case.params, *rows.arrays):
            wanted = case.logits.get(name, case.logits["alone"])
            np.testing.assert_allclose(rows.pick(got), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_one_plain_sequence_needs_no_ids(name):
    case = load_case(name)
    model = Transformer(case.config)
    got = jax.jit(lambda p, x: logits(model, p, x))(case.params, case.inputs[:1])
    wanted = case.logits["alone"][: case.lengths[0]]
    np.testing.assert_allclose(got[0], wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "prepared"), DECODED)
def test_decoding_with_a_cache(name, prepared):
    """Prompts of unequal length, then token by token: the same logits."""
    check_decoding(load_case(name), prepared=prepared)


def check_decoding(case, *, prepared):
    model = Transformer(case.config)

    @jax.jit
    def step(params, *args):
        hidden, cache = apply_cached(model, params, *args)
        return hidden_to_logits(hidden, unembedding(model, params)), cache

    params = decoding_params(model, case.params) if prepared else case.params
    decode_and_compare(case, functools.partial(step, params))


def decode_and_compare(case, step, width=6):
    prompts = np.minimum(case.lengths - 2, [width, 2, width]).astype(np.int32)
    ids = np.full((3, width), 3, np.int32)
    for i, n in enumerate(prompts):
        ids[i, :n] = case.inputs[i, :n]
    out, cache = step(ids, np.zeros(3, np.int32), init_cache(case.config, 3, 20))
    seen = [np.asarray(out)[np.arange(3), prompts - 1]]
    for k in range(int(max(case.lengths - prompts))):
        at = np.minimum(prompts + k, case.lengths - 1).astype(np.int32)
        ids = np.take_along_axis(case.inputs, at[:, None], 1)
        out, cache = step(ids, at, cache)
        seen.append(np.asarray(out)[:, 0])
    wanted = np.split(case.logits["alone"], np.cumsum(case.lengths)[:-1])
    for i, n in enumerate(prompts):
        got = np.stack([s[i] for s in seen[: case.lengths[i] - n + 1]])
        np.testing.assert_allclose(got, wanted[i][n - 1 :], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_neox"])
def test_bfloat16_is_near(name):
    case = load_case(name)
    model = Transformer(case.config, dtype=jax.numpy.bfloat16, remat="dots")
    rows = place(case, SHAPE, ALONE)
    got = rows.pick(
        jax.jit(lambda p, *a: logits(model, p, *a))(case.params, *rows.arrays)
    )
    wanted = case.logits["alone"]
    assert got.dtype == np.float32
    assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.99


def test_unused_config_fields_are_told_apart():
    """Equal configs are equal keys: a jitted function is compiled once for both."""
    config = load_case("gemma3_text").config
    assert hash(config) == hash(dataclasses.replace(config))
    assert config != dataclasses.replace(config, norm_eps=1e-3)


def test_padding_is_finite_forwards_and_backwards():
    case = load_case("gemma2")
    rows = place(case, SHAPE, [(0, 3), (1, 0), (1, 20)])
    model = Transformer(case.config, remat="full")

    def total(params):
        return apply_hidden(model, params, *rows.arrays).sum()

    value, grads = jax.jit(jax.value_and_grad(total))(case.params)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
