"""Tokens that may not come, and scores that are not the model's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rollout import Decoder, generate, geometric_mixture, penalised
from tests.rollout.models_under_test import (
    DECODER,
    VOCAB,
    log_softmax,
    next_logits,
    params,
)

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [2, 2]]


def sample(decoder: Decoder = DECODER, prompts=PROMPTS, **options):
    options = {"max_new_tokens": 12, "batch_size": 3, **options}
    return generate(decoder, params(), prompts, jax.random.key(3), **options)


def penalised_in_numpy(scores, ids, penalty):
    scores = scores.copy()
    for i in set(ids):
        scores[i] = scores[i] / penalty if scores[i] > 0 else scores[i] * penalty
    return scores


def greedy_in_numpy(prompt, new_tokens, penalty=1.0, never=()):
    ids = list(prompt)
    for _ in range(new_tokens):
        scores = penalised_in_numpy(next_logits([ids])[0][-1], ids, penalty)
        scores[list(never)] = -np.inf
        ids.append(int(scores.argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("penalty", [1.3, 5.0, 0.5])
def test_a_penalty_counts_prompt_and_completion(penalty):
    """Also in slots that others had before."""
    got = sample(temperature=0, repetition_penalty=penalty, batch_size=2)
    assert got.ids() == [greedy_in_numpy(p, 12, penalty) for p in PROMPTS]
    assert got.ids() != sample(temperature=0, batch_size=2).ids()


def test_a_penalty_lasts_over_the_border_of_a_chunk():
    """With somebody who may end rows, chunks have 16 tokens."""
    options = {"max_new_tokens": VOCAB - 1, "ends": lambda ids, looked_at: None}
    got = sample(prompts=[[1]], temperature=0, repetition_penalty=50.0, **options)
    assert got.ids() == [greedy_in_numpy([1], VOCAB - 1, 50.0)]


def test_penalties_leave_the_log_probabilities_alone():
    got = sample(temperature=0.7, repetition_penalty=2.0, min_p=0.01)
    texts = [p + ids for p, ids in zip(PROMPTS, got.ids(), strict=True)]
    for r, scores in enumerate(next_logits(texts)):
        logps = log_softmax(scores / 0.7)[len(PROMPTS[r]) - 1 :]
        expected = [logps[t, token] for t, token in enumerate(got.ids()[r])]
        np.testing.assert_allclose(got.logps[r], expected, atol=1e-4)


def test_a_penalised_logit_is_lower_on_both_sides_of_zero():
    logits = jnp.array([[2.0, -2.0, 2.0, -2.0]])
    seen = jnp.array([[True, True, False]])
    np.testing.assert_array_equal(penalised(logits, seen, 2.0), [[1, -4, 2, -2]])


def first_tokens(draws=2000, **options):
    options |= {"max_new_tokens": 1, "num_samples": draws, "batch_size": draws}
    return sample(prompts=[[1, 2, 3]], **options).tokens[:, 0]


@pytest.mark.parametrize("min_p", [0.02, 0.2, 1.0])
def test_min_p_keeps_those_near_the_likeliest(min_p):
    probs = np.exp(log_softmax(next_logits([[1, 2, 3]])[0][-1] / 2.0))
    kept = set(np.flatnonzero(probs >= min_p * probs.max()).tolist())
    drawn = set(first_tokens(temperature=2.0, min_p=min_p).tolist())
    assert drawn <= kept
    often = probs / probs[list(kept)].sum() > 0.01
    assert {i for i in kept if often[i]} <= drawn


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": 3.0}])
def test_ids_without_a_token_are_never_sampled(options):
    """Of the model's own log-probabilities nothing changes."""
    unused = ((0, 1), (5, 9), (20, VOCAB))
    ids = {i for first, end in unused for i in range(first, end)}
    free = sample(num_samples=4, batch_size=8, **options)
    assert ids & {i for row in free.ids() for i in row}
    got = sample(
        DECODER._replace(unused=unused), num_samples=4, batch_size=8, **options
    )
    assert not ids & {i for row in got.ids() for i in row}
    temperature = options["temperature"] or 1.0
    texts = [PROMPTS[i // 4] + row for i, row in enumerate(got.ids())]
    for r in range(0, 16, 4):
        scores = next_logits([texts[r]])[0] / temperature
        logps = log_softmax(scores)[len(PROMPTS[r // 4]) - 1 :]
        wanted = [logps[t, token] for t, token in enumerate(got.ids()[r])]
        np.testing.assert_allclose(got.logps[r], wanted, rtol=1e-4, atol=3e-4)


def test_tokens_that_never_come():
    got = sample(temperature=0, never_ids=[*range(0, VOCAB, 2), 10**6])
    never = range(0, VOCAB, 2)
    assert got.ids() == [greedy_in_numpy(p, 12, never=never) for p in PROMPTS]
    with pytest.raises(UserError, match="all tokens of the model"):
        sample(never_ids=range(VOCAB))


def test_a_mixture_samples_what_both_have_a_token_for():
    first = DECODER._replace(unused=((0, 8),))
    second = DECODER._replace(unused=((16, VOCAB),))
    both = geometric_mixture(first, second, weight=0.5)
    assert both.unused == ((0, 8), (16, VOCAB))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_p": -0.1}, "min_p must be from 0"),
        ({"min_p": 1.1}, "min_p must be from 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be a positive"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        sample(**options)
