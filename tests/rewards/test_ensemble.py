"""Several scores as one, against NumPy in float64 and in their limits."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import (
    Completion,
    ensemble_mean,
    ensemble_min,
    mean_minus_variance,
    model_reward,
    soft_pessimism,
)

SCORES = np.random.default_rng(0).normal(size=(4, 3, 2))
ARRAY = jnp.asarray(SCORES, jnp.float32)


def test_formulas():
    spread = ((SCORES - SCORES.mean(0)) ** 2).mean(0)
    soft = -0.7 * np.log(np.mean(np.exp(-SCORES / 0.7), axis=0))
    for got, expected in [
        (ensemble_mean(ARRAY), SCORES.mean(0)),
        (ensemble_min(ARRAY), SCORES.min(0)),
        (mean_minus_variance(ARRAY, coef=0.3), SCORES.mean(0) - 0.3 * spread),
        (soft_pessimism(ARRAY, beta=0.7), soft),
    ]:
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_soft_pessimism_lies_between_minimum_and_mean():
    np.testing.assert_allclose(
        soft_pessimism(ARRAY, beta=1e4), SCORES.mean(0), atol=2e-3
    )
    np.testing.assert_allclose(
        soft_pessimism(ARRAY, beta=1e-4), SCORES.min(0), atol=1e-3
    )
    large = 1e4 * ARRAY
    assert np.isfinite(soft_pessimism(large)).all()


def test_reward_models_see_prompt_and_answer():
    seen = []

    def scorer(rows):
        seen.append(rows)
        return jnp.array([float(sum(row)) for row in rows])

    completions = [
        Completion("?", "a", ids=[3], prompt_ids=[1, 2]),
        Completion("?", "b", ids=np.array([5, 6]), prompt_ids=np.array([4])),
    ]
    np.testing.assert_array_equal(model_reward(scorer)(completions), [6, 15])
    assert seen == [[[1, 2, 3], [4, 5, 6]]]
    both = model_reward(scorer, lambda rows: [0.0, 100.0], combine=ensemble_min)
    np.testing.assert_array_equal(both(completions), [0, 15])


def test_reward_models_that_do_not_fit():
    completions = [Completion("?", "a", ids=[3], prompt_ids=[1])]
    with pytest.raises(UserError, match=r"shape \(1, 1\) for 1 sequences"):
        model_reward(lambda rows: [[1.0]])(completions)
    with pytest.raises(UserError, match="no token ids of its prompt"):
        model_reward(lambda rows: [1.0])([Completion("?", "a", ids=[3])])
    with pytest.raises(UserError, match="at least one scorer"):
        model_reward()
