"""Policies that are no table: gradients through their tables, against plain sums."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.e01_frontier import run as e01
from experiments.e02_beta import run as e02
from experiments.e03_estimators import run as e03
from experiments.e03_estimators.train import Plan, train
from experiments.e11_weights import run as e11
from experiments.enumlm import (
    PairLoss,
    Steps,
    checked_numbers,
    count_preferences,
    make_world,
    population_preferences,
    repeated_share,
    sample,
    train_exactly,
    train_on_pairs,
)
from experiments.enumlm.learners import Learner, transformer
from experiments.enumlm.transformer import SharedPolicy

pytestmark = pytest.mark.usefixtures("float64")

BETA, RATE, NUM_STEPS = 0.7, 0.3, 3


@pytest.fixture(scope="module")
def world():
    return make_world(1, max_length=3, num_prompts=2)


BASE = np.random.default_rng(1).normal(0, 0.7, (2, 7, 3))
DIRECTIONS = np.random.default_rng(4).normal(size=(5, 2, 7, 3))


def mixed(weights):
    """A policy of five parameters: what they add to a table, in all its states."""
    return jnp.asarray(BASE) + jnp.tensordot(weights, DIRECTIONS, 1)


def places(responses):
    """Response, prefix and token of every token there is."""
    for s, t in zip(*np.nonzero(responses.mask), strict=True):
        yield s, responses.prefix[s, t], responses.token[s, t]


def log_law(world, table):
    """Log-probabilities of all responses, `[..., 2, S]`, token by token."""
    shares = np.exp(table) / np.exp(table).sum(-1, keepdims=True)
    logps = np.zeros((*table.shape[:-2], world.responses.num_responses))
    for s, prefix, token in places(world.responses):
        logps[..., s] += np.log(shares[..., prefix, token])
    return logps


def divergence(world, logps):
    """KL(π ‖ π_ref), the mean over prompts."""
    logps = np.asarray(logps)
    return np.sum(np.exp(logps) * (logps - world.ref_logps), -1).mean()


def slopes_of(world, table):
    """Of each response's log-probability in each parameter: `[2, S, 5]`."""
    shares = np.exp(table) / np.exp(table).sum(-1, keepdims=True)
    slopes = np.zeros((2, world.responses.num_responses, len(DIRECTIONS)))
    for s, prefix, token in places(world.responses):
        for x in range(2):
            ways = DIRECTIONS[:, x, prefix]
            slopes[x, s] += ways[:, token] - ways @ shares[x, prefix]
    return slopes


def by_adam(world, slope_of):
    """The law after some steps of Adam, whose rate falls to 0 along a cosine."""
    weights, mean, square = np.zeros((3, len(DIRECTIONS)))
    for step in range(NUM_STEPS):
        table = np.asarray(mixed(weights))
        slope = slope_of(step, log_law(world, table), slopes_of(world, table))
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        unbiased = mean / (1 - 0.9 ** (step + 1))
        size = np.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8
        rate = RATE * (1 + np.cos(np.pi * step / NUM_STEPS)) / 2
        weights = weights - rate * unbiased / size
    return log_law(world, np.asarray(mixed(weights)))


@pytest.fixture
def learner():
    return {"start": jnp.zeros(len(DIRECTIONS)), "table_of": mixed}


def test_the_exact_gradient_is_that_of_a_sum_over_responses(world, learner):
    def slope(_, logps, slopes):
        gain = world.rewards - BETA * (logps - world.ref_logps)
        return -np.einsum("xs,xs,xsk->k", np.exp(logps), gain, slopes) / 2

    steps = Steps(NUM_STEPS, RATE)
    found = train_exactly(world, jnp.float64(BETA), steps=steps, **learner)
    wanted = by_adam(world, slope)
    np.testing.assert_allclose(found.logps, wanted, atol=1e-10)
    reward = np.sum(np.exp(wanted) * world.rewards, -1).mean()
    np.testing.assert_allclose(found.reward[-1], reward)


def test_dpo_goes_through_the_table(world, learner):
    pairs = population_preferences(world)

    def slope(_, logps, slopes):
        gain = BETA * (logps - world.ref_logps)
        margin = gain[:, :, None] - gain[:, None]
        weight = -BETA * pairs / (1 + np.exp(margin)) / 2
        return np.einsum("xwr,xwk->k", weight, slopes) - np.einsum(
            "xwr,xrk->k", weight, slopes
        )

    found = train_on_pairs(
        world,
        jnp.asarray(pairs),
        jnp.float64(BETA),
        loss=PairLoss("dpo_loss"),
        steps=Steps(NUM_STEPS, RATE),
        **learner,
    )
    np.testing.assert_allclose(found.logps, by_adam(world, slope), atol=1e-10)


def test_rloo_goes_through_the_table(world, learner):
    """Samples of the policy as it is; the mean over them of −advantage × slope."""
    keys = jax.random.split(jax.random.key(0), NUM_STEPS)

    def slope(step, logps, slopes):
        drawn = np.asarray(sample(keys[step], jnp.asarray(logps), 12))
        total = np.zeros(len(DIRECTIONS))
        for x, rows in enumerate(drawn.reshape(2, 3, 4)):
            gain = world.rewards[x] - BETA * (logps[x] - world.ref_logps[x])
            for group in rows:
                for s in group:
                    others = (gain[group].sum() - gain[s]) / 3
                    total -= (gain[s] - others) * slopes[x, s]
        return total / drawn.size

    plan = Plan(NUM_STEPS, num_groups=3, learning_rate=RATE, critic_rate=0.05)
    logps, history = train(
        world, "rloo", jnp.float64(BETA), jax.random.key(0), plan, **learner
    )
    wanted = by_adam(world, slope)
    np.testing.assert_allclose(logps, wanted, atol=1e-10)
    np.testing.assert_allclose(history.kl[-1], divergence(world, wanted))


@pytest.fixture(scope="module")
def small():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        policy = SharedPolicy(max_length=3, num_prompts=2, width=8)
        yield transformer(1, policy, 3)


def test_a_transformer_begins_as_the_reference_of_its_world(small):
    world, start, table_of = small
    ref = jnp.asarray(world.ref_logps)
    assert checked_numbers(world, ref, BETA)["rho"] == pytest.approx(1, abs=1e-12)
    logps = log_law(world, np.asarray(table_of(start)))
    np.testing.assert_allclose(logps, world.ref_logps, atol=1e-5)
    far = make_world(1, max_length=3, num_prompts=2).ref_logps - world.ref_logps
    assert np.abs(far).max() > 0.1  # three steps do not imitate the table
    moments = [np.sum(np.exp(ref) * world.rewards**k, -1) for k in (1, 2)]
    np.testing.assert_allclose(moments, [[0, 0], [1, 1]], atol=1e-12)


def test_a_transformer_climbs_as_fast_as_its_slopes_say(small):
    """Adam's first step is the rate in every parameter: J rises by rate × Σ |slope|."""
    world, start, table_of = small
    flat, whole = jax.flatten_util.ravel_pytree(start)

    def values(tables):
        logps = log_law(world, np.asarray(tables))
        gain = world.rewards - BETA * (logps - world.ref_logps)
        return np.sum(np.exp(logps) * gain, -1).mean(-1)

    def moved(i, step):
        return table_of(whole(flat.at[i].add(step)))

    of_all = jax.jit(lambda step: jax.lax.map(lambda i: moved(i, step), many))
    many, step = jnp.arange(flat.size), jnp.float32(0.01)
    slopes = (values(of_all(step)) - values(of_all(-step))) / 0.02
    rate = 1e-4
    found = train_exactly(
        world,
        jnp.float64(BETA),
        steps=Steps(1, rate),
        start=start,
        table_of=table_of,
    )
    logps = np.asarray(found.logps)
    gain = world.rewards - BETA * (logps - world.ref_logps)
    climbed = np.sum(np.exp(logps) * gain, -1).mean() - values(table_of(start))
    assert climbed / rate == pytest.approx(np.abs(slopes).sum(), rel=0.05)


def test_repeated_symbols_are_counted_one_by_one(world):
    table = np.random.default_rng(2).normal(size=(2, 7, 3))
    logps = log_law(world, table)
    repeats = follows = 0.0
    for x, s in np.ndindex(logps.shape):
        tokens = [
            t for t in world.responses.token[s][world.responses.mask[s]] if t != 2
        ]
        pairs = list(zip(tokens, tokens[1:], strict=False))
        follows += np.exp(logps[x, s]) * len(pairs)
        repeats += np.exp(logps[x, s]) * sum(a == b for a, b in pairs)
    found = repeated_share(jnp.asarray(logps), world.responses)
    np.testing.assert_allclose(found, repeats / follows)


@pytest.fixture
def patched(world, float64, monkeypatch):
    """The policy of five parameters where the experiments have the transformer."""
    found = Learner(world, jnp.zeros(len(DIRECTIONS)), mixed)
    for experiment in (e01, e02, e03, e11):
        monkeypatch.setitem(experiment.POLICIES, "transformer", lambda seed: found)


def on_pairs(world, learner, n_pairs, steps):
    pairs = jnp.asarray(count_preferences(world, n_pairs, 3))
    loss, strength = PairLoss("dpo_loss"), jnp.float64(BETA)
    return train_on_pairs(world, pairs, strength, loss=loss, steps=steps, **learner)


@pytest.mark.usefixtures("patched")
def test_rows_of_e03_are_of_the_policy_they_name(world, learner):
    config = e03.Config("rloo", "transformer", BETA, key=5, num_steps=2)
    row, _, _ = e03.run(config)
    plan = Plan(2, learning_rate=1e-3, critic_rate=0.05)
    wanted, _ = train(
        world, "rloo", jnp.float64(BETA), jax.random.key(5), plan, **learner
    )
    assert (row["arm"], row["kl_term"]) == ("transformer_rloo", "reward")
    assert row["kl"] == pytest.approx(divergence(world, wanted), rel=1e-9)
    exactly = e03.Config("exact_gradient", "transformer", BETA, num_steps=2)
    row, _, _ = e03.run(exactly)
    steps = Steps(2, 3e-3)
    wanted = train_exactly(world, jnp.float64(BETA), steps=steps, **learner).logps
    assert (row["arm"], row["kl_term"]) == ("transformer_exact_gradient", "exact")
    assert row["kl"] == pytest.approx(divergence(world, wanted), rel=1e-9)


@pytest.mark.usefixtures("patched")
def test_rows_of_e01_and_e11_are_of_the_policy_they_name(world, learner):
    pairs = {"n_pairs": 50, "data_seed": 3, "step": 2, "rate": 0.01}
    row, _, _ = e01.run(e01.Config("dpo", "transformer", BETA, **pairs))
    wanted = on_pairs(world, learner, 50, Steps(2, 0.01)).logps
    assert row["arm"] == "transformer_dpo"
    assert row["kl"] == pytest.approx(divergence(world, wanted), rel=1e-9)
    row, _, _ = e11.run(e11.Config("dpo", "transformer", BETA, **pairs))
    wanted = on_pairs(world, learner, 50, Steps(2, 0.01, decay=False))
    assert row["arm"] == "transformer_dpo"
    assert row["kl"] == pytest.approx(divergence(world, wanted.logps), rel=1e-9)
    share = repeated_share(wanted.logps, world.responses)
    assert row["repeated"] == pytest.approx(float(share), rel=1e-9)


@pytest.mark.usefixtures("patched")
def test_rows_of_e02_are_of_the_policy_they_name_and_of_its_own_optimum(world, learner):
    pairs = {"n_pairs": 50, "data_seed": 3, "step": 2, "rate": 0.01}
    row, records = e02.run(e02.Config("dpo", "transformer", BETA, **pairs))[:2]
    wanted = on_pairs(world, learner, 50, Steps(2, 0.01)).logps
    kl = divergence(world, wanted)
    tilted = np.exp(world.ref_logps + world.rewards / BETA)
    best = divergence(world, np.log(tilted / tilted.sum(-1, keepdims=True)))
    assert (row["arm"], row["n_pairs"], row["beta"]) == ("transformer_dpo", 50, BETA)
    assert row["kl"] == pytest.approx(kl, rel=1e-9)
    assert row["kl_error"] == pytest.approx(kl / best - 1, rel=1e-9)
    assert records == []  # they are logged every 50 steps
