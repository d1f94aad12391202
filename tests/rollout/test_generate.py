"""The sampling loop against whole-sequence recomputation without a cache."""

import jax
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rollout import Decoder, generate
from tests.rollout.models_under_test import (
    DECODER,
    VOCAB,
    log_softmax,
    next_logits,
    params,
)

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [2, 2]]
KEY = jax.random.key(3)


def sample(prompts=PROMPTS, key=KEY, **options):
    options = {"max_new_tokens": 6, "batch_size": 4, **options}
    return generate(DECODER, params(), prompts, key, **options)


def greedy_in_numpy(prompt, new_tokens, stops=(), min_new_tokens=0):
    """The whole sequence is computed again for each token."""
    ids = list(prompt)
    for n in range(new_tokens):
        scores = next_logits([ids])[0][-1]
        if n < min_new_tokens:
            scores[list(stops)] = -np.inf
        ids.append(int(scores.argmax()))
        if ids[-1] in stops:
            break
    return ids[len(prompt) :]


def test_greedy_is_an_argmax_loop_and_stops_at_any_stop_token():
    free = sample(temperature=0)
    assert free.ids() == [greedy_in_numpy(p, 6) for p in PROMPTS]
    assert not free.stopped.any()
    # Two tokens that end different rows at different times, and one that never comes.
    stops = {free.ids()[0][1], free.ids()[2][3]}
    ended = sample(temperature=0, stop_ids=stops)
    assert ended.ids() == [greedy_in_numpy(p, 6, stops) for p in PROMPTS]
    assert len(set(ended.lengths.tolist())) > 1
    last = [ids[-1] in stops for ids in ended.ids()]
    assert ended.stopped.tolist() == last
    assert any(last)
    assert not ended.tokens[~ended.mask].any()
    assert not ended.logps[~ended.mask].any()
    later = sample(temperature=0, stop_ids=stops, min_new_tokens=4)
    assert later.ids() == [greedy_in_numpy(p, 6, stops, 4) for p in PROMPTS]
    assert later.lengths.min() >= 4


@pytest.mark.parametrize("temperature", [0, 0.7, 1.5])
def test_logps_are_those_of_the_sampling_temperature(temperature):
    """Whatever top-k and top-p cut off: training knows nothing of them."""
    got = sample(temperature=temperature, top_k=5, top_p=0.95, stop_ids=[3])
    texts = [p + ids for p, ids in zip(PROMPTS, got.ids(), strict=True)]
    for r, scores in enumerate(next_logits(texts)):
        logps = log_softmax(scores / (temperature or 1))
        start, n = len(PROMPTS[r]), got.lengths[r]
        expected = [logps[start + t - 1, got.tokens[r, t]] for t in range(n)]
        np.testing.assert_allclose(got.logps[r, :n], expected, atol=1e-4)


def test_frequencies_of_the_first_two_tokens():
    draws = 3000
    got = sample(
        [[1, 2, 3]],
        num_samples=draws,
        batch_size=draws,
        max_new_tokens=2,
        temperature=1.3,
    )
    first = np.bincount(got.tokens[:, 0], minlength=VOCAB)
    probs = np.exp(log_softmax(next_logits([[1, 2, 3]])[0][-1] / 1.3))
    assert_frequencies(first, probs)
    common = int(first.argmax())
    behind = got.tokens[got.tokens[:, 0] == common, 1]
    probs = np.exp(log_softmax(next_logits([[1, 2, 3, common]])[0][-1] / 1.3))
    assert_frequencies(np.bincount(behind, minlength=VOCAB), probs)


def assert_frequencies(counts, probs):
    assert len(counts) == len(probs)
    expected = probs * counts.sum()
    often = expected >= 5
    seen = np.r_[counts[often], counts[~often].sum()]
    due = np.r_[expected[often], max(expected[~often].sum(), 1e-9)]
    chi2 = np.sum((seen - due) ** 2 / due)
    assert chi2 < often.sum() + 4 * np.sqrt(2 * often.sum())


def test_the_same_key_gives_the_same_text_in_any_layout():
    whole = sample(num_samples=2)
    by_three = sample(num_samples=2, batch_size=3)
    assert by_three.ids() == whole.ids()
    np.testing.assert_allclose(by_three.logps, whole.logps, atol=1e-4)
    last = sample([PROMPTS[3], PROMPTS[1]], num_samples=2, prompt_indices=[3, 1])
    assert last.ids() == whole.ids()[6:8] + whole.ids()[2:4]
    assert sample(num_samples=2, key=jax.random.key(4)).ids() != whole.ids()
    assert whole.ids()[0] != whole.ids()[1]


def test_one_compilation_per_bucket():
    traced = []

    def apply(params, tokens, *rest):
        traced.append(tokens.shape)
        return DECODER.apply(params, tokens, *rest)

    decoder = Decoder(DECODER.init_cache, apply, DECODER.head, DECODER.max_length)

    def answer(length, **options):
        options = {"max_new_tokens": 3, "batch_size": 2, "top_p": 0.9, **options}
        generate(decoder, params(), [[1] * length], KEY, **options)
        return len(traced)

    once = answer(3)
    assert answer(8, temperature=0.3, top_p=0.5, min_new_tokens=1) == once
    twice = answer(9)
    assert twice > once
    assert answer(12) == twice
    assert {shape for shape in traced if shape[1] > 1} == {(2, 8), (2, 12)}


def test_it_ends_when_all_rows_have_stopped():
    """As many steps as the longest answer, counted where they run."""
    calls = []

    def apply(params, tokens, *rest):
        jax.debug.callback(lambda: calls.append(tokens.shape[1]))
        return DECODER.apply(params, tokens, *rest)

    decoder = Decoder(DECODER.init_cache, apply, DECODER.head, DECODER.max_length)
    got = generate(
        decoder,
        params(),
        PROMPTS,
        KEY,
        max_new_tokens=32,
        stop_ids=range(0, VOCAB, 2),
    )
    jax.effects_barrier()
    assert got.stopped.all()
    assert got.lengths.max() < 16
    assert calls.count(1) == got.lengths.max() - 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts": []}, "no prompts"),
        ({"prompts": [[1], []]}, "Prompt 1 has no tokens"),
        ({"prompts": [[1, VOCAB]]}, "token id 23"),
        ({"prompts": [[1] * 60]}, "context of 64 tokens.*max_new_tokens to 4"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"min_new_tokens": 7}, "min_new_tokens"),
        ({"stop_ids": [-1]}, "stop_ids"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        sample(**options)


def test_a_broken_model_is_an_error_and_no_text():
    broken = jax.tree.map(lambda x: x * float("nan"), params())
    with pytest.raises(FloatingPointError, match="4 of 4 rows"):
        generate(DECODER, broken, PROMPTS, KEY, max_new_tokens=6)
