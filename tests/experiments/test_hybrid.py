"""E9: what is committed holds what it claims; the mixed loss against plain sums."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.e03_estimators.arms import ARMS
from experiments.e03_estimators.train import Params, make_batch, read
from experiments.e09_hybrid.run import (
    EXPERIMENT,
    Config,
    measured,
    some_of,
    stream_of,
)
from experiments.e09_hybrid.train import (
    RL_PROMPTS,
    TEXT_PROMPTS,
    Plan,
    Sampled,
    likelihood,
    ppo_objective,
    train_exactly,
    train_ppo,
    train_sft,
)
from experiments.enumlm import make_world
from experiments.enumlm.transformer import (
    SharedPolicy,
    fit_to_reference,
    of_prompts,
    with_reference,
)
from experiments.runner import read_rows
from jaxalign.models import logits
from jaxalign.objectives import MixedBatch, mixed_objective
from tests.experiments.quick import assert_twice_the_same

POLICY = SharedPolicy(max_length=3, width=8)
FEW_STEPS = Plan(num_steps=3, num_samples=32, rate=0.02, sft_steps=20, exact_steps=20)
tables_of = jax.jit(POLICY.logits, static_argnums=1)


@pytest.fixture(autouse=True)
def promotion():
    with jax.numpy_dtype_promotion("standard"):  # Optax's schedules need it
        yield


@pytest.fixture(scope="module")
def world():
    return make_world(1, max_length=3, num_prompts=16)


@pytest.fixture(scope="module")
def params():
    return jax.jit(POLICY.init)(jax.random.key(3))


def other_table(world, seed):
    noise = np.random.default_rng(seed).normal(size=world.ref_logits.shape)
    return world.ref_logits + 0.7 * noise


def law(world, table):
    """Probabilities of all responses, token by token."""
    shares = np.exp(table) / np.exp(table).sum(-1, keepdims=True)
    responses = world.responses
    found = np.ones((len(table), responses.num_responses))
    for s, t in zip(*np.nonzero(responses.mask), strict=True):
        found[:, s] *= shares[:, responses.prefix[s, t], responses.token[s, t]]
    return found


def test_every_arm_has_three_worlds():
    rows = read_rows(EXPERIMENT.folder / "results.csv")
    runs = [(x["arm"], x["coef"], x["world_seed"], x["key"]) for x in rows]
    assert len(set(runs)) == len(runs) == 36
    assert {run[2:] for run in runs} == {(0, 0), (1, 1), (2, 2)}


def gradients(world, coef):
    """Of PPO alone, and of the mixed loss, with respect to table and critic."""
    rng = np.random.default_rng(0)
    mine = of_prompts(world, RL_PROMPTS)
    tables = Params(jnp.asarray(other_table(world, 1)), jnp.zeros((8, 7)))
    behind = Params(jnp.asarray(other_table(world, 2)[:8]), jnp.ones((8, 7)))
    drawn = jnp.asarray(rng.integers(15, size=(8, 20, 1)))
    texts = jnp.asarray(rng.integers(15, size=(8, 12)))
    known, beta = make_batch(mine, behind, drawn), jnp.float64(0.5)

    def plain(tables):
        now = Params(tables.policy[:8], tables.critic)
        return ARMS["ppo"].loss(*read(mine, now, drawn), known, beta).value

    mixed = mixed_objective(
        ppo_objective(mine, beta),
        likelihood(world, TEXT_PROMPTS),
        coef=coef,
        select=lambda tables: tables.policy,
    )
    batch = MixedBatch(Sampled(drawn, known), texts)  # pyright: ignore

    def whole(tables):
        return mixed(tables, batch, None).loss.value

    found = (jax.jit(jax.grad(x))(tables) for x in (plain, whole))
    both = jax.tree.map(np.asarray, [*found])
    return *both, slope_of_texts(world, np.asarray(tables.policy), np.asarray(texts))


def slope_of_texts(world, table, texts):
    """Of the mean negative log-likelihood: (π − 1[token]) of each token, by hand."""
    responses, slope, tokens = world.responses, np.zeros_like(table), 0
    for x, drawn in zip(TEXT_PROMPTS, texts, strict=True):
        for s in drawn:
            for t in range(responses.mask[s].sum()):
                at = x, responses.prefix[s, t]
                slope[at] += np.exp(table[at]) / np.exp(table[at]).sum()
                slope[at][responses.token[s, t]] -= 1
                tokens += 1
    return slope / tokens


@pytest.mark.parametrize("coef", [0.0, 0.1, 27.8])
def test_the_mixed_gradient_is_that_of_ppo_and_of_the_texts(world, coef):
    with jax.enable_x64(True):
        plain, whole, texts = gradients(world, coef)
    assert np.abs(plain.policy[:8]).max() > 1e-3
    assert not np.any(plain.policy[8:])
    np.testing.assert_allclose(whole.policy, plain.policy + coef * texts, atol=1e-12)
    np.testing.assert_array_equal(whole.critic, plain.critic)


def test_with_all_weight_on_the_texts_the_direction_is_theirs(world):
    with jax.enable_x64(True):
        _, whole, texts = gradients(world, 1e9)
    cosine = np.sum(whole.policy * texts) / (
        np.linalg.norm(whole.policy) * np.linalg.norm(texts)
    )
    assert cosine == pytest.approx(1, abs=1e-12)


def trained(world, start, stream, coef, beta=0.5):
    """Tables along training with a second stream of texts, few steps."""
    arguments = jnp.asarray(stream, jnp.float32), jnp.float32(coef), jnp.float32(beta)
    key = jax.random.key(0)
    return np.asarray(
        train_ppo(POLICY, world, start, TEXT_PROMPTS, *arguments, key, FEW_STEPS)
    )


def only(response, prompts=8):
    """The law of texts that are all the same."""
    logps = np.where(np.arange(15) == response, 0, -np.inf)
    return np.broadcast_to(logps, (prompts, 15))


def test_without_weight_training_is_ppo_bit_for_bit(world, params):
    """Whatever the stream; with weight it is not, and its texts become likelier."""
    plain = trained(world, params, np.zeros((8, 15)), 0)
    np.testing.assert_array_equal(plain, trained(world, params, only(4), 0))
    assert np.ptp(plain, axis=0)[8:].max() > 0.01  # other prompts are moved along
    mixed = trained(world, params, only(4), 1)
    np.testing.assert_array_equal(plain[0], mixed[0])
    without, with_it = (law(world, x[-1])[8:, 4].mean() for x in (plain, mixed))
    assert with_it > 1.2 * without


def test_ppo_learns_from_what_the_policy_says(world, params):
    """And not from the reference, which always ends at once here, for a reward of 0."""
    logits, rewards = np.zeros_like(world.ref_logits), world.rewards.copy()
    logits[..., 2] = 50.0
    logps = np.where(np.arange(15) == 0, 0.0, -50.0) + np.zeros((16, 1))
    rewards[:, 0] = 0
    elsewhere = dataclasses.replace(
        world, ref_logits=logits, ref_logps=logps, rewards=rewards
    )
    tables = trained(elsewhere, params, only(4), 0, beta=0.0)
    before, after = (
        np.sum(law(world, x) * rewards, -1)[:8].mean() for x in (tables[0], tables[-1])
    )
    assert after > before + 0.1


@pytest.mark.slow
def test_sft_and_the_exact_gradient_go_where_they_should(world, params):
    stream = jnp.asarray(only(6), jnp.float32)
    key, beta = jax.random.key(1), jnp.float32(0.5)
    taught = train_sft(POLICY, world, params, RL_PROMPTS, stream, key, FEW_STEPS)
    exact = train_exactly(POLICY, world, params, beta, FEW_STEPS)
    before, by_sft, at_best = (
        law(world, np.asarray(tables_of(x, range(16)))) for x in (params, taught, exact)
    )
    assert by_sft[:8, 6].mean() > 2 * before[:8, 6].mean()

    def worth(shares):
        gain = world.rewards - 0.5 * (np.log(shares) - world.ref_logps)
        return np.sum(shares * gain, -1)[:8].mean()

    assert worth(at_best) > worth(before) + 0.1


def test_the_table_of_a_transformer_is_what_it_says_to_each_prefix(params):
    prompts = range(5, 8)
    table = np.asarray(tables_of(params, prompts))
    said = []
    read = jax.jit(lambda params, ids: logits(POLICY._model(), params, ids)[:, -1, :3])
    for length in range(3):
        for_each = [*itertools.product(range(2), repeat=length)]
        ids = [[3 + prompt, *prefix] for prompt in prompts for prefix in for_each]
        said += [np.asarray(read(params, jnp.array(ids))).reshape(3, -1, 3)]
    np.testing.assert_allclose(table, np.concatenate(said, 1), atol=1e-5)
    assert np.ptp(table, axis=0).max() > 1e-3


@pytest.mark.slow
def test_the_fit_begins_at_its_distance_from_the_reference(world):
    key = jax.random.key(5)
    _, after, distances = fit_to_reference(POLICY, world, key, 2)
    start = np.asarray(tables_of(jax.jit(POLICY.init)(key), range(16)))
    ref = np.exp(world.ref_logps)
    distance = np.sum(ref * (world.ref_logps - np.log(law(world, start))), -1).mean()
    np.testing.assert_allclose(distances[0], distance, rtol=1e-4)
    moved = np.sum(ref * (world.ref_logps - np.log(law(world, after))), -1).mean()
    assert moved < distances[1] < distance


def test_a_world_of_another_reference(world):
    table = other_table(world, 7)
    with jax.enable_x64(True):
        other = with_reference(world, table)
    ref = law(world, table)
    np.testing.assert_allclose(np.exp(other.ref_logps), ref, rtol=1e-12)
    np.testing.assert_allclose(np.sum(ref * other.rewards, -1), 0, atol=1e-12)
    np.testing.assert_allclose(np.sum(ref * other.rewards**2, -1), 1, atol=1e-12)
    for mine, gold in zip(other.rewards, world.rewards, strict=True):
        assert np.corrcoef(mine, gold)[0, 1] == pytest.approx(1)


def test_reward_and_forgetting_are_of_different_prompts(world):
    table = other_table(world, 8)
    found = measured(world, table, 0.5)
    ref, now = np.exp(world.ref_logps), law(world, table)
    reward = np.sum(now * world.rewards, -1)[:8].mean()
    assert found["reward"] == pytest.approx(reward)
    divergence = np.sum(now * np.log(now / ref), -1)[:8].mean()
    assert found["kl"] == pytest.approx(divergence)
    rise = np.sum(ref * np.log(ref / now), -1)[8:].mean()
    assert found["rise"] == pytest.approx(rise)
    tokens = np.sum(ref * world.responses.mask.sum(-1), -1)[8:].mean()
    loss = -np.sum(ref * np.log(now), -1)[8:].mean() / tokens
    assert found["text_loss"] == pytest.approx(loss)


def test_streams_are_texts_or_demonstrations(world):
    texts = stream_of(Config("ppo_ptx"), world)
    np.testing.assert_array_equal(texts, world.ref_logps[8:])
    few = stream_of(Config("few_texts", num_texts=32, key=1), world)
    counts = 32 * np.exp(few)
    np.testing.assert_allclose(counts.sum(-1), 32)
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    assert not np.array_equal(few, stream_of(Config("few_texts", num_texts=32), world))
    many = np.exp(some_of(world.ref_logps, 10**6, 0))
    np.testing.assert_allclose(many, np.exp(world.ref_logps), atol=0.003)
    # The mean of the best of four, drawn.
    rng = np.random.default_rng(0)
    for arm in ("rl_and_sft", "sft_then_rl", "sft"):
        shown = np.exp(stream_of(Config(arm), world))[2]
        ref = np.exp(world.ref_logps[2])
        best = world.rewards[2][rng.choice(15, (50_000, 4), p=ref / ref.sum())].max(1)
        assert shown @ world.rewards[2] == pytest.approx(best.mean(), abs=0.02)


@pytest.mark.slow
def test_quick_run(tmp_path):
    assert len(assert_twice_the_same(EXPERIMENT, tmp_path)) == 2
