"""The sampler's log-probs are those of the training forward pass, in every family."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from jaxalign.models import (
    Transformer,
    apply_cached,
    decoding_params,
    init_cache,
    logits,
    unembedding,
)
from jaxalign.rollout import Decoder, decoder_of, generate
from tests.models.cases import CASES, load_case
from tests.rollout.models_under_test import log_softmax
from tests.tiny import make_model, make_params

TEMPERATURE = 4.0
# Positions learnt or rotated, windows, heads in groups; that each family's cache gives
# the logits of transformers is told by tests/models/test_golden.py.
USUAL = ("llama", "gpt2", "gemma3_text")


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=[] if x in USUAL else pytest.mark.slow) for x in CASES],
)
def test_sampled_and_teacher_forced_log_probs_agree(name):
    """With prompts of unequal length, and in slots that were used before."""
    case = load_case(name)
    model = Transformer(case.config)
    decoder = Decoder(
        init_cache=functools.partial(init_cache, case.config),
        apply=functools.partial(apply_cached, model),
        head=functools.partial(unembedding, model),
        max_length=case.config.max_positions,
        prepare=functools.partial(decoding_params, model),
    )
    prompts = [case.inputs[i % 3, :n].tolist() for i, n in enumerate((2, 5, 8, 3, 7))]
    got = generate(
        decoder,
        case.params,
        prompts,
        jax.random.key(0),
        max_new_tokens=16,
        stop_ids=range(0, case.config.vocab_size, 7),
        temperature=TEMPERATURE,
        num_samples=2,
        batch_size=3,
    )
    assert len(set(got.lengths.tolist())) > 2
    texts = np.zeros((10, 24), np.int32)
    for i, ids in enumerate(got.ids()):
        text = prompts[i // 2] + ids
        texts[i, : len(text)] = text
    scores = jax.jit(functools.partial(logits, model))(case.params, texts)
    logps = log_softmax(np.asarray(scores, np.float64) / TEMPERATURE)
    for i, count in enumerate(got.lengths):
        at = len(prompts[i // 2]) - 1 + np.arange(count)
        expected = logps[i, at, got.tokens[i, :count]]
        np.testing.assert_allclose(got.logps[i, :count], expected, atol=1e-4)


def test_padding_may_be_wider_than_the_table_of_positions():
    """18 + 2 tokens fill a table of 20 rows, and a prompt of 18 is padded to 24."""
    made = make_model(learned_positions=True)
    config = dataclasses.replace(made.config, max_positions=20, rotary_dim=0)
    model = Transformer(config)
    params, text = make_params(model), [(7 * i) % 31 for i in range(18)]
    decoder = decoder_of(model)
    key = jax.random.key(0)
    got = generate(decoder, params, [text], key, max_new_tokens=2, temperature=0)
    score = jax.jit(functools.partial(logits, model))
    for _ in range(2):
        text.append(int(score(params, np.array([text]))[0, -1].argmax()))
    assert got.ids() == [text[18:]]
