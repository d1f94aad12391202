"""Packed rows and shared prompts: nothing of a sequence depends on its neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.models import Transformer, apply_hidden
from jaxalign.models.visibility import visibility, visible
from tests.models.cases import load_case

PROMPT, ANSWERS = 7, (6, 9, 4)


def shared_prompt_rows(rng, width=40):
    """One row: a short sequence, then a prompt with three answers behind it."""
    inputs, positions, segments, branches = np.zeros((4, 1, width), np.int32)
    at = slice(0, 5)
    inputs[0, at], positions[0, at], segments[0, at] = (
        rng.integers(3, 64, 5),
        range(5),
        1,
    )
    start, spans = 5 + PROMPT, []
    at = slice(5, start)
    inputs[0, at], positions[0, at] = rng.integers(3, 64, PROMPT), range(PROMPT)
    segments[0, at] = 2
    for k, length in enumerate(ANSWERS, start=1):
        at = slice(start, start + length)
        inputs[0, at] = rng.integers(3, 64, length)
        positions[0, at] = np.arange(PROMPT, PROMPT + length)
        segments[0, at], branches[0, at] = 2, k
        spans.append(at)
        start += length
    return (inputs, positions, segments, branches), spans


@pytest.mark.parametrize(
    ("name", "attention"),
    [
        *(("gemma3_text", "naive"), ("gemma3_text", "blocked"), ("gpt2", "blocked")),
        pytest.param("gpt2", "naive", marks=pytest.mark.slow),
        pytest.param("smollm3", "naive", marks=pytest.mark.slow),
        pytest.param("smollm3", "blocked", marks=pytest.mark.slow),
    ],
)
def test_an_answer_behind_a_shared_prompt_is_as_if_alone(name, attention, monkeypatch):
    """Fault 14: attention leaks between the sequences of a row."""
    monkeypatch.setattr("jaxalign.models.attention._BLOCK", 11)
    case = load_case(name)
    model = Transformer(case.config, attention=attention)
    run = jax.jit(lambda p, *rows: apply_hidden(model, p, *rows))
    rows, spans = shared_prompt_rows(np.random.default_rng(0))
    together = run(case.params, *rows)[0]
    alone = np.zeros((4, 3, 40), np.int32)
    for i, span in enumerate(spans):
        n = PROMPT + span.stop - span.start
        alone[0, i, :n] = np.r_[rows[0][0, 5 : 5 + PROMPT], rows[0][0, span]]
        alone[1, i, :n] = np.arange(n)
        alone[2, i, :n] = 1
    expected = run(case.params, *alone)
    for i, span in enumerate(spans):
        length = span.stop - span.start
        wanted = expected[i, PROMPT : PROMPT + length]
        np.testing.assert_allclose(together[span], wanted, atol=2e-5)
        prompt = expected[i, :PROMPT]
        np.testing.assert_allclose(together[5 : 5 + PROMPT], prompt, atol=2e-5)


def sees(segments, branches, positions, window, i, j):
    """The rule, word for word."""
    if j > i or segments[i] == 0 or segments[i] != segments[j]:
        return False
    if branches[j] not in (0, branches[i]):
        return False
    return window is None or positions[i] - positions[j] < window


@pytest.mark.parametrize("window", [None, 1, 4])
def test_who_sees_whom(window):
    (_, positions, segments, branches), _ = shared_prompt_rows(np.random.default_rng(1))
    rows = visibility(jnp.array(positions), jnp.array(segments), jnp.array(branches))
    got = np.asarray(visible(rows, window, 10, 33))
    for i in range(10, 33):
        for j in range(33):
            wanted = sees(segments[0], branches[0], positions[0], window, i, j)
            assert got[0, i - 10, j] == wanted, (i, j)


def test_gradients_agree_between_ways_to_attend_and_what_is_kept(monkeypatch):
    monkeypatch.setattr("jaxalign.models.attention._BLOCK", 11)
    case = load_case("gemma2")
    rows, _ = shared_prompt_rows(np.random.default_rng(2))
    ways = [("naive", "none")]
    ways += [("blocked", r) for r in ("dots", "up", "mlp")]
    models = [Transformer(case.config, attention=a, remat=r) for a, r in ways]
    probe = np.random.default_rng(3).normal(size=(1, 40, 16)).astype(np.float32)
    probe *= (rows[2] > 0)[..., None]

    def total(params, model):
        return (apply_hidden(model, params, *rows) * probe).sum()

    @jax.jit
    def gradients(params):
        return [jax.grad(total)(params, m) for m in models]

    first, *others = gradients(case.params)
    for other in others:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3),
            other,
            first,
        )


def test_shapes_and_types_are_checked_while_tracing():
    case = load_case("llama")
    model = Transformer(case.config)
    ids = jnp.zeros((2, 4), jnp.int32)
    with pytest.raises(AssertionError, match="shape"):
        apply_hidden(model, case.params, ids, ids[:1])
