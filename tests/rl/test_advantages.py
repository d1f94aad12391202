"""What is done with scores before they are learnt from, and in which order that is."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.rl import Devices, compute_advantages, plain_credit
from jaxalign.rl.algorithm import truncated_weights
from jaxalign.rl.update import Updates
from tests.rl.test_faults import CONTROL, N, algorithm_with, arrays_of


def test_rewards_are_rescaled_over_tokens_and_keep_their_mean():
    rng = np.random.default_rng(0)
    lengths, scores = [3, 5, 1], [2.0, -1.0, 4.0]
    logps, ref = rng.normal(size=(2, 1, 3, N)).astype(np.float32)
    inputs = arrays_of(lengths, scores)._replace(
        logps=jnp.asarray(logps), ref_logps=jnp.asarray(ref)
    )
    algorithm = algorithm_with(plain_credit, rescale=True)
    columns, _, metrics = compute_advantages(algorithm, inputs, CONTROL)
    rows = []
    for k, n in enumerate(lengths):
        tokens = -0.1 * (np.float64(logps[0, k, :n]) - ref[0, k, :n])
        tokens[-1] += scores[k]
        rows.append(tokens)
    whole = np.concatenate(rows)
    mean, deviation = whole.mean(), np.sqrt(whole.var() + 1e-8)
    rows = [(x - mean) / deviation + mean for x in rows]
    expected = [x.sum() for x in rows]
    np.testing.assert_allclose(columns["advantages"][0, :, 0], expected, rtol=1e-5)
    mean = metrics["objective/rlhf_reward"].value
    np.testing.assert_allclose(mean, np.mean(expected), rtol=1e-5)


def test_tokens_that_the_sampler_found_less_likely_weigh_more_up_to_the_cap():
    logps = np.full((1, 2, N), -1.0, np.float32)
    gap = np.array([0.0, 0.5, -0.5, 3.0, 0.1], np.float32)
    inputs = arrays_of([5, 2], [1.0, 2.0])._replace(
        logps=jnp.asarray(logps), sampler_logps=jnp.asarray(logps - gap)
    )
    algorithm = algorithm_with(
        plain_credit, kl_in_reward=False, weights=truncated_weights(2.0)
    )
    columns, _, _ = compute_advantages(algorithm, inputs, CONTROL)
    weights = np.asarray(columns["weights"])[0]
    np.testing.assert_allclose(weights[0], np.minimum(np.exp(gap), 2), rtol=1e-6)
    np.testing.assert_allclose(weights[1, :2], np.exp(gap[:2]), rtol=1e-6)


def test_without_a_reference_no_distance_from_it_is_logged():
    inputs = arrays_of([3, 5], [1.0, 2.0])
    names = {"kl", "objective/kl"}
    algorithm = algorithm_with(plain_credit)
    _, kept, with_it = compute_advantages(algorithm, inputs, CONTROL)
    alone = inputs._replace(ref_logps=None)
    _, control, metrics = compute_advantages(algorithm, alone, CONTROL)
    assert with_it.keys() - metrics.keys() == names
    assert not metrics.keys() - with_it.keys()
    # Its policy is its reference here, so that the state goes on alike.
    for a, b in zip(control, kept, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_controller_is_told_the_kl_of_completions_that_the_policy_wrote():
    """In nats per completion, not per token; none of a rival's or of an unused one."""
    rng = np.random.default_rng(1)
    lengths = [3, 5, 1, 2]
    logps, ref = rng.normal(size=(2, 1, 4, N)).astype(np.float32)
    inputs = arrays_of(lengths, [1.0, 2.0, 3.0, 4.0])._replace(
        logps=jnp.asarray(logps),
        ref_logps=jnp.asarray(ref),
        used=jnp.asarray([[True, True, True, False]]),
        own=jnp.asarray([[True, True, False, True]]),
    )
    algorithm = algorithm_with(plain_credit, kl_controller=lambda coef, kl, n: kl)
    _, new, metrics = compute_advantages(algorithm, inputs, CONTROL)
    sums = [
        np.float64(logps[0, k, :n]).sum() - np.float64(ref[0, k, :n]).sum()
        for k, n in enumerate(lengths[:2])
    ]
    np.testing.assert_allclose(new.kl_coef, np.mean(sums), rtol=1e-5)
    # What the iteration itself has used is the coefficient from before.
    np.testing.assert_allclose(metrics["objective/kl_coef"].value, 0.1)


def test_every_pass_sees_every_example_once_and_in_an_order_of_its_own():
    nothing: Any = None
    functions = nothing, Devices(), nothing, nothing
    updates = Updates(*functions, passes=3, minibatches=4)

    def orders(key):
        parts = [x.tolist() for x in updates._parts(jax.random.key(key), 10)]
        assert [len(x) for x in parts] == [3, 3, 2, 2] * 3
        return [sum(parts[i : i + 4], []) for i in (0, 4, 8)]

    first = orders(0)
    assert all(sorted(x) == list(range(10)) for x in first)
    assert len({tuple(x) for x in [*first, *orders(1)]}) == 6
    assert orders(0) == first
    # Fewer examples than minibatches: no update is made of nothing.
    assert [len(x) for x in updates._parts(jax.random.key(0), 2)] == [1, 1] * 3
