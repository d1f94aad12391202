"""Two models that write together, against the definition on whole distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rollout import generate, geometric_mixture
from tests.rollout.models_under_test import DECODER, MODEL, log_softmax, params

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11]]


def another():
    """Another model of the same family: the first, shaken."""
    leaves, shape = jax.tree.flatten(params())
    keys = jax.random.split(jax.random.key(5), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    return jax.tree.unflatten(
        shape, [x * (1 + 0.3 * jax.random.normal(k, x.shape)) for x, k in pairs]
    )


@pytest.mark.parametrize(
    ("weight", "temperature"),
    [(0.3, 1.0), pytest.param(0.8, 0.7, marks=pytest.mark.slow)],
)
def test_each_token_is_from_the_renormalised_geometric_mean(weight, temperature):
    from jaxalign.models import logits

    both = params(), another()
    decoder = geometric_mixture(DECODER, DECODER, weight=weight)
    answers = generate(
        decoder,
        both,
        PROMPTS,
        jax.random.key(1),
        max_new_tokens=8,
        temperature=temperature,
    )
    whole = np.zeros((len(PROMPTS), 16), np.int32)
    for row, prompt, answer in zip(whole, PROMPTS, answers.ids(), strict=True):
        row[: len(prompt) + len(answer)] = [*prompt, *answer]
    forward = jax.jit(lambda p, ids: logits(MODEL, p, ids))
    first, second = (
        log_softmax(
            np.asarray(forward(p, jnp.asarray(whole)), np.float64) / temperature
        )
        for p in both
    )
    mixed = log_softmax((1 - weight) * first + weight * second)
    differ = 0.0
    for r, (prompt, answer) in enumerate(zip(PROMPTS, answers.ids(), strict=True)):
        at = np.arange(len(prompt) - 1, len(prompt) + len(answer) - 1)
        expected = mixed[r, at, answer]
        np.testing.assert_allclose(answers.logps[r, : len(answer)], expected, atol=2e-4)
        differ = max(differ, np.abs(first[r, at, answer] - expected).max())
    assert differ > 0.1


def test_bounded_logits_are_refused():
    capped = DECODER._replace(head=lambda p: (*DECODER.head(p)[:1], 30.0, 23))
    decoder = geometric_mixture(DECODER, capped, weight=0.5)
    with pytest.raises(UserError, match="cannot be mixed geometrically"):
        generate(
            decoder, (params(), params()), [[1]], jax.random.key(0), max_new_tokens=2
        )
