"""Real models against numbers made elsewhere; only where their folders are at hand."""

import json
import os
import pathlib

import jax
import numpy as np
import pytest

from jaxalign.models import (
    Transformer,
    apply_cached,
    hidden_to_logits,
    init_cache,
    load_params,
    logits,
    read_config,
    unembedding,
)

TOLERANCE, LEAST_MARGIN = 2e-3, 0.05


def compare(folder, reference, length):
    """Log-probs of each text, its last logits, and greedy text up to a near-tie."""
    config = read_config(folder)
    params, model = load_params(folder, config), Transformer(config)
    score = jax.jit(lambda p, x: logits(model, p, x))

    @jax.jit
    def step(params, *args):
        hidden, cache = apply_cached(model, params, *args)
        return hidden_to_logits(hidden, unembedding(model, params)), cache

    for item in json.loads(reference.read_text()):
        ids = np.array([item["ids"]], np.int32)
        padded = np.zeros((1, length), np.int32)
        padded[:, : ids.size] = ids
        scores = np.asarray(score(params, padded), np.float64)[0, : ids.size]
        logps = scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
        got = logps[np.arange(ids.size - 1), ids[0, 1:]]
        np.testing.assert_allclose(got, item["token_logprobs"][1:], atol=TOLERANCE)
        top = item["last_top5"]
        np.testing.assert_allclose(scores[-1, top["ids"]], top["logits"], atol=1e-2)
        check_greedy(step, params, config, padded, ids.size, item)


def check_greedy(step, params, config, padded, n, item):
    cache = init_cache(config, 1, 2 * padded.shape[1])
    out, cache = step(params, padded, np.zeros(1, np.int32), cache)
    out = out[:, n - 1]
    steps = zip(item["greedy_ids"], item["greedy_margins"], strict=True)
    for k, (token, margin) in enumerate(steps):
        if margin >= LEAST_MARGIN:
            assert int(out[0].argmax()) == token, k
        token = np.full((1, 1), token, np.int32)
        out, cache = step(params, token, np.full(1, n + k, np.int32), cache)
        out = out[:, 0]


def test_stories260k(test_data):
    reference = test_data / "reference" / "stories260k.json"
    compare(test_data / "stories260k", reference, 32)


def test_smollm2(test_data):
    folder = os.environ.get("JAXALIGN_SMOLLM2")
    if not folder:
        pytest.skip("JAXALIGN_SMOLLM2 names no folder of SmolLM2-135M-Instruct")
    reference = test_data / "reference" / "smollm2_135m_instruct_bf16.json"
    compare(pathlib.Path(folder), reference, 64)
