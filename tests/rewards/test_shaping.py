"""Token rewards and groups, against loops in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.rewards import (
    informative_groups,
    missing_eos_penalty,
    missing_eos_score,
    token_rewards,
)

RNG = np.random.default_rng(0)
B, T = 5, 6
# Lengths 3, 6 and 1, a response with a gap (a tool's tokens), and an empty one.
MASK = np.arange(T) < np.array([3, 6, 1, 5, 0])[:, None]
MASK[3, 2] = False
LOGPS, REF = RNG.normal(size=(2, B, T)).astype(np.float32)
SCORES = np.array([0.4, 0.9, -1.5, 2.0, 7.0], np.float32)


def by_loops(scores, logps, ref, mask, kl_coef):
    out = np.zeros(mask.shape)
    for i in range(len(mask)):
        last = None
        for t in range(mask.shape[1]):
            if mask[i, t]:
                out[i, t] = -kl_coef * (float(logps[i, t]) - float(ref[i, t]))
                last = t
        if last is not None:
            out[i, last] += scores[i]
    return out


def test_score_at_the_last_response_token_and_kl_on_each():
    got = token_rewards(*map(jnp.asarray, (SCORES, LOGPS, REF, MASK)), kl_coef=0.3)
    np.testing.assert_allclose(
        got, by_loops(SCORES, LOGPS, REF, MASK, 0.3), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("junk", [np.inf, -np.inf, np.nan])
def test_padding_may_hold_anything(junk):
    logps, ref = (np.where(MASK, x, junk) for x in (LOGPS, REF))
    got, grads = jax.value_and_grad(
        lambda x: token_rewards(
            jnp.asarray(SCORES), x, jnp.asarray(ref), jnp.asarray(MASK)
        ).sum()
    )(jnp.asarray(logps))
    assert np.isfinite(got)
    np.testing.assert_array_equal(grads, np.zeros((B, T)))


def test_half_precision_scores_are_summed_in_float32():
    half = jnp.asarray(SCORES, jnp.bfloat16)
    rest = (jnp.asarray(x) for x in (LOGPS, REF, MASK))
    assert token_rewards(half, *rest).dtype == jnp.float32


def test_answers_that_were_cut_off():
    scores, ended = jnp.array([0.4, 0.4]), jnp.array([True, False])
    np.testing.assert_allclose(missing_eos_score(scores, ended), [0.4, -1.0])
    np.testing.assert_allclose(
        missing_eos_penalty(scores, ended, penalty=0.5), [0.4, -0.1], atol=1e-6
    )


def test_groups_without_spread_teach_nothing():
    rewards = jnp.array([[1.0, 1, 2], [1, 1, 2], [1, 1, 1], [jnp.nan, 1, 2], [1, 2, 3]])
    mask = jnp.array(
        [[1, 1, 1], [1, 1, 0], [1, 1, 1], [0, 1, 1], [0, 1, 0]], dtype=bool
    )
    got = informative_groups(rewards, mask)
    assert got.tolist() == [True, False, False, True, False]
    assert not informative_groups(rewards, jnp.zeros_like(mask)).any()
