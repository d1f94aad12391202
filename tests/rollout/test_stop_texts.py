"""Completions that end at a text, against one that looks after every token."""

import functools

import jax
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rollout import StopTexts, generate
from tests.rollout.models_under_test import DECODER, VOCAB, log_softmax, next_logits
from tests.rollout.models_under_test import params as model_params

# Tokens of one and several characters, of none, and parts of one character's bytes.
WORDS = ["a", "b", "</", "answer", ">", "", "an", "</an", "swer>", "s", " ", "x"]
PIECES = [word.encode() for word in WORDS] + ["é".encode()[:1], "é".encode()[1:]]
PIECES += [b"abc", b"\n", b"\n\n", b"wer", b">b", b"ba", b"c", b"d", b"e"]
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [2, 2]]
KEY = jax.random.key(5)


def decode(ids) -> str:
    return b"".join(PIECES[i] for i in ids).decode("utf-8", "replace")


def sample(stop=(), batch_size=3, prompts=PROMPTS, **options):
    least = options.get("min_new_tokens", 0)
    ends = StopTexts(decode, stop, min_new_tokens=least) if stop else None
    options = {"max_new_tokens": 40, "num_samples": 4, **options}
    return generate(
        DECODER,
        model_params(),
        prompts,
        KEY,
        batch_size=batch_size,
        ends=ends,
        **options,
    )


@functools.cache
def unstopped():
    """Tokens do not depend on what is cut off behind them."""
    return sample(stop_ids=[4], temperature=1.3)


def end_of(ids, stop, least=1):
    """After each token all bytes are looked at, for a text complete from `least` on."""
    early = len(b"".join(PIECES[i] for i in ids[: least - 1]))
    for n in range(least, len(ids) + 1):
        whole = b"".join(PIECES[i] for i in ids[:n])
        for x in map(str.encode, stop):
            if any(whole[:m].endswith(x) for m in range(early + 1, len(whole) + 1)):
                return n
    return None


@pytest.mark.parametrize(
    ("stop", "batch_size"),
    [
        ((">",), 3),
        (("bc", "é"), 3),
        (("nsw", "\n\n", "sx"), 16),
        (("zzz",), 16),
    ],
)
def test_equal_to_looking_after_every_token(stop, batch_size):
    free = unstopped()
    got = sample(stop, batch_size, stop_ids=[4], temperature=1.3)
    found = 0
    for i, ids in enumerate(free.ids()):
        n = end_of(ids, stop)
        found += n is not None
        assert got.ids()[i] == ids[:n]
        np.testing.assert_allclose(got.logps[i, :n], free.logps[i, :n], atol=1e-4)
        assert got.stopped[i] == (n is not None or free.stopped[i])
        by_token = bool(free.stopped[i]) and n in (None, len(ids))
        assert got.by_text[i] == (n is not None and not by_token)
    assert not got.tokens[~got.mask].any()
    assert not got.logps[~got.mask].any()
    assert bool(found) == (stop != ("zzz",))


@pytest.mark.parametrize("stop", [("answer>",), ("nsw", "é"), ("ab\n\n", "sx"), ("c",)])
def test_texts_over_the_borders_of_chunks(stop):
    """However many tokens come at a time."""
    rng, ended = np.random.default_rng(0), 0
    for _ in range(300):
        ids, least = rng.integers(0, VOCAB, 60).tolist(), int(rng.integers(0, 20))
        ends = StopTexts(decode, stop, min_new_tokens=least)
        found, at = None, 0
        while found is None and at < len(ids):
            more = at + int(rng.integers(1, 8))
            found, at = ends(ids[:more], at), min(more, len(ids))
        assert found == end_of(ids, stop, max(least, 1))
        ended += found is not None
    assert ended > 30


def test_log_probabilities_are_the_models():
    got = sample((">",), prompts=[[4]], num_samples=8)
    ended = [i for i in range(8) if got.by_text[i]]
    assert ended
    texts = [[4, *got.ids()[i][:20]] for i in ended]
    for i, scores in zip(ended, next_logits(texts), strict=True):
        n = min(got.lengths[i], 20)
        wanted = log_softmax(scores)[np.arange(n), got.tokens[i, :n]]
        np.testing.assert_allclose(got.logps[i, :n], wanted, atol=1e-4)


def test_no_text_ends_a_completion_before_its_fewest_tokens():
    free = sample(temperature=1.3, min_new_tokens=30)
    got = sample(("a", "b"), temperature=1.3, min_new_tokens=30)
    ends = [end_of(ids, ("a", "b"), 30) for ids in free.ids()]
    assert got.ids() == [ids[:n] for ids, n in zip(free.ids(), ends, strict=True)]
    assert 30 in got.lengths


def test_a_text_that_came_before_the_fewest_tokens_ends_nothing():
    ends = StopTexts(lambda ids: "".join(map(chr, ids)), ["b"], min_new_tokens=5)
    ids = [ord(x) for x in "abcdefghijkl"]
    assert ends(ids, 0) is None
    assert ends(ids[:5], 4) is None
    assert ends([*ids[:6], ord("b"), *ids], 0) == 7
    assert ends([*ids[:4], ord("b"), *ids], 4) == 5
    assert ends.cut("abcdefbb", "abcdef") == "abcdefb"
    # What a token completes counts, also where it began before.
    ends = StopTexts(decode, ["é"], min_new_tokens=3)
    half, other = WORDS.index("x") + 1, WORDS.index("x") + 2
    assert ends([0, half, other], 0) == 3
    assert ends.cut(decode([0, half, other, 11]), decode([0, half])) == "aé"
    assert ends([half, other, 0], 0) is None


def test_a_text_in_the_prompt_ends_nothing():
    got = sample(("</answer>",), prompts=[[2, 3, 4]], num_samples=1, max_new_tokens=3)
    assert got.lengths.tolist() == [3]


def test_what_is_shown_ends_with_the_text():
    ends = StopTexts(decode, ["ab", "bcd"])
    assert ends.cut("xxbcdab", "xx") == "xxbcd"
    assert ends.cut("xxabcd", "xxa") == "xxab"
    assert ends.cut("nothing", "not") == "nothing"


@pytest.mark.parametrize("texts", [(), ("",), ("a", "")])
def test_empty_texts_are_refused(texts):
    with pytest.raises(UserError, match="--stop is an empty text"):
        StopTexts(decode, texts)


def test_the_vocabulary_of_the_test_is_the_models():
    assert len(PIECES) == VOCAB
