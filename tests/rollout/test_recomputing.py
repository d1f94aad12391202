"""A model without a cache samples what it samples with one."""

import functools
from typing import Any

import jax
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.models import apply_hidden, logits, unembedding
from jaxalign.rollout import generate, geometric_mixture, recomputing_decoder
from tests.rollout.models_under_test import DECODER, MODEL, log_softmax, params
from tests.rollout.test_generate import KEY, PROMPTS, greedy_in_numpy

OF_LOGITS = recomputing_decoder(functools.partial(logits, MODEL), max_length=64)
OF_STATES = recomputing_decoder(
    lambda params, ids: apply_hidden(MODEL, params, ids),
    head=functools.partial(unembedding, MODEL),
    max_length=64,
)


DRAWN = {"num_samples": 3, "temperature": 0.7, "top_p": 0.9, "stop_ids": (3, 11)}
PENALISED = {"repetition_penalty": 1.3, "min_p": 0.05}


@pytest.mark.parametrize(
    ("decoder", "options"),
    [
        (OF_LOGITS, DRAWN),
        *(
            pytest.param(decoder, options, marks=pytest.mark.slow)
            for decoder in (OF_LOGITS, OF_STATES)
            for options in ({"temperature": 0.0}, DRAWN, PENALISED)
            if (decoder, options) != (OF_LOGITS, DRAWN)
        ),
    ],
)
def test_completions_are_those_of_a_cache(decoder, options):
    """Also in slots that another prompt has used before."""
    arguments = params(), PROMPTS, KEY
    settings: Any = {"max_new_tokens": 6, "batch_size": 2, **options}
    got = generate(decoder, *arguments, **settings)
    expected = generate(DECODER, *arguments, **settings)
    assert got.ids() == expected.ids()
    np.testing.assert_allclose(got.logps, expected.logps, atol=1e-4)
    np.testing.assert_array_equal(got.stopped, expected.stopped)


def test_greedy_is_an_argmax_loop():
    arguments = params(), PROMPTS, KEY
    got = generate(OF_LOGITS, *arguments, max_new_tokens=6, temperature=0)
    assert got.ids() == [greedy_in_numpy(p, 6) for p in PROMPTS]


def test_a_table_of_bigrams_is_a_model():
    """Frequencies of second tokens are the row's probabilities."""
    table = jax.numpy.asarray([[0.0, 1.0, -1.0], [0.5, 0.0, 0.0], [0.0, 2.0, 0.0]])
    decoder = recomputing_decoder(lambda table, ids: table[ids])
    settings: Any = {"max_new_tokens": 1, "num_samples": 4000}
    got = generate(decoder, table, [[0]], KEY, **settings)
    shares = np.bincount(got.tokens[:, 0], minlength=3) / 4000
    expected = np.exp(log_softmax(np.asarray(table[0], np.float64)))
    np.testing.assert_allclose(shares, expected, atol=0.03)
    with jax.enable_x64(True):
        settings = {"max_new_tokens": 3, "temperature": 0.0}
        got = generate(
            decoder, np.asarray(table, np.float64), [[1, 2]], KEY, **settings
        )
    assert got.ids() == [[1, 0, 1]]
    with pytest.raises(UserError, match="ids are 0 to 2"):
        generate(decoder, table, [[3]], KEY, max_new_tokens=1)


def test_logits_cannot_be_mixed():
    both = geometric_mixture(OF_LOGITS, OF_LOGITS, weight=0.5)
    with pytest.raises(UserError, match="gives logits"):
        generate(both, (params(), params()), [[1]], KEY, max_new_tokens=1)
