"""The sampling loop against whole-sequence recomputation without a cache."""

import functools
from typing import Any

import jax
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rollout import SamplingProgress, Stopped, generate, steps
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
    """Whatever else rules tokens out: training knows nothing of it."""
    options: Any = {"top_k": 5, "top_p": 0.95, "min_new_tokens": 3}
    got = sample(temperature=temperature, stop_ids=[3, 8, 9], **options)
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
    """Of slots, order and neighbours, with rows that end early and are refilled."""
    options = {"num_samples": 3, "stop_ids": [3, 8], "max_new_tokens": 9}
    whole = sample(batch_size=None, **options)
    assert len(set(whole.lengths.tolist())) > 2
    for size in (1, 5):
        parted = sample(batch_size=size, **options)
        assert parted.ids() == whole.ids()
        np.testing.assert_allclose(parted.logps, whole.logps, atol=1e-4)
        assert parted.stopped.tolist() == whole.stopped.tolist()
    last = sample([PROMPTS[3], PROMPTS[1]], prompt_indices=[3, 1], **options)
    assert last.ids() == whole.ids()[9:12] + whole.ids()[3:6]
    assert sample(key=jax.random.key(4), **options).ids() != whole.ids()
    assert whole.ids()[0] != whole.ids()[1]


def counting_decoder(calls, at_run_time=False):
    """`DECODER` with the widths of its calls in a list, traced or run."""

    def apply(params, tokens, *rest):
        note = functools.partial(calls.append, tokens.shape)
        jax.debug.callback(note) if at_run_time else note()
        return DECODER.apply(params, tokens, *rest)

    return DECODER._replace(apply=apply)


def programs() -> int:
    made: Any = (steps.prepare, steps.empty, steps.prefill, steps.insert)
    made += (steps.decode, steps.resize)
    return sum(f._cache_size() for f in made)


def test_nothing_is_compiled_after_the_first_time():
    traced = []
    decoder = counting_decoder(traced)

    def answer(lengths, token, **options):
        options = {"max_new_tokens": 40, "batch_size": 2, "top_p": 0.9, **options}
        prompts = [[token] * n for n in lengths]
        generate(decoder, params(), prompts, jax.random.key(token), **options)
        return programs()

    once = answer([3, 8, 2, 1, 10, 3, 12], 1)
    assert {shape for shape in traced if shape[1] > 1} == {(2, 12), (2, 8)}
    other = {"temperature": 0.3, "top_p": 0.5, "min_new_tokens": 40, "stop_ids": [3, 4]}
    assert answer([1, 4, 3, 9, 2, 11, 11], 2, **other) == once
    assert answer([14], 3) == once + 2  # a prefill and an insertion of this width


def test_a_slot_is_refilled_and_a_prompt_is_read_once():
    """One long answer among short ones costs its own steps and no others'."""
    calls = []
    decoder = counting_decoder(calls, at_run_time=True)
    options = {"max_new_tokens": 24, "stop_ids": [3, 8, 9], "num_samples": 4}
    got = generate(decoder, params(), PROMPTS, KEY, batch_size=8, **options)
    jax.effects_barrier()
    taken = sum(width == 1 for _, width in calls)
    lengths = got.lengths.reshape(2, 8)
    assert taken < lengths.max(axis=1).sum()  # batch after batch would take these
    assert taken >= got.lengths.sum() / 8
    prompts_read = sum(rows for rows, width in calls if width > 1)
    assert prompts_read == len(PROMPTS)


def test_progress_is_told_and_stop_is_asked_between_chunks():
    told = []
    options: Any = {"max_new_tokens": 48, "batch_size": 2, "temperature": 0}
    got = sample(progress=told.append, **options)
    assert told[-1] == SamplingProgress(4, 4, int(got.lengths.sum()))
    assert [x.tokens for x in told] == sorted({x.tokens for x in told})
    assert len(told) > 3
    asked = []

    def stop():
        asked.append(True)
        return len(asked) == 3

    told.clear()
    with pytest.raises(Stopped):
        sample(progress=told.append, stop=stop, **options)
    assert len(asked) == 3
    assert len(told) == 2


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
