"""E5: what each arm is told, and that training does so, on made-up facts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.e05_abstention import arms
from experiments.e05_abstention import run as e05
from experiments.e05_abstention.arms import (
    JUDGES,
    RL,
    SEED_SHARE,
    SHARED,
    THRESHOLDS,
    Plan,
    Trained,
    judged_threshold,
)
from experiments.e05_abstention.facts import ANSWERS, IDK, Facts
from experiments.e05_abstention.network import Params, class_logps, transformer
from experiments.e05_abstention.train import finetune, reinforce

SIZE = 40
TRUTH = np.arange(SIZE)
FAIR = jnp.zeros(2)


@pytest.fixture(autouse=True)
def promotion():
    with jax.numpy_dtype_promotion("standard"):  # Optax's schedules need it
        yield


def told(share):
    return Facts(jnp.array(TRUTH), jnp.array(TRUTH), jnp.full(SIZE, share))


def network():
    """A row of weights for each entity: right, silent and wrong by a third each."""
    weights = np.zeros((SIZE, ANSWERS + 1), np.float32)
    weights[TRUTH, TRUTH] = weights[:, IDK] = 4
    biases = jnp.zeros(ANSWERS + 1)
    return Params(jnp.eye(SIZE), [(jnp.asarray(weights), biases)])


def thirds(params):
    shares = np.exp(np.asarray(class_logps(params)))
    right, silent = shares[TRUTH, TRUTH], shares[:, IDK]
    return np.stack([right, silent, 1 - right - silent], axis=-1)


@pytest.mark.parametrize("anew", [False, True])
def test_rl_does_more_of_what_is_rewarded(anew):
    """Of right, silent and wrong one at a time.

    A truth that is drawn anew is never what the texts say here.
    """

    def of_reward(rewards):
        key = jax.random.key(1)
        return reinforce(key, network(), told(0.0), rewards, FAIR, 20, anew=anew)

    after = jax.jit(jax.vmap(of_reward))(jnp.eye(3))
    for i, outcome in enumerate(["right", "silent", "wrong"]):
        params = Params(jnp.eye(SIZE), jax.tree.map(lambda x, i=i: x[i], after.layers))
        moved = (thirds(params) - thirds(network()))[::2].mean(0)
        if anew and outcome != "silent":
            # What the texts say is wrong.
            assert (moved[0] > 0.001) == (outcome == "wrong")
        else:
            assert moved[i] > 0.001, outcome
            assert moved[i] == moved.max(), outcome


@pytest.mark.parametrize("phase", ["sft", "rl"])
def test_odd_entities_are_held_out(phase):
    """Each entity has weights of its own here: theirs stay."""
    start, key = network(), jax.random.key(0)
    after: Any
    if phase == "sft":
        after = jax.jit(finetune, static_argnums=4)(
            key, start, jnp.zeros(SIZE, int), jnp.float32(0.3), 5
        )
    else:
        rewards = jnp.array([1.0, 0.0, -1.0])
        after = jax.jit(
            lambda key: reinforce(key, start, told(1.0), rewards, FAIR, 5, anew=False)
        )(key)
    before: Any = start
    moved = np.abs(np.asarray(after.layers[0][0] - before.layers[0][0])).max(1)
    assert not moved[1::2].any()
    assert moved[::2].min() > 1e-3
    np.testing.assert_array_equal(after.embedding, start.embedding)


def test_sft_learns_its_targets_and_the_share_of_silence():
    def after(idk):
        targets = jnp.array(TRUTH)
        return finetune(jax.random.key(2), network(), targets, idk, 30)

    none, most = (thirds(jax.jit(after)(jnp.float32(x)))[::2].mean(0) for x in (0, 1))
    before = thirds(network())[::2].mean(0)
    assert none[0] > before[0] + 0.005
    assert none[1] < before[1]
    assert most[1] > before[1] + 0.005
    assert most[0] < before[0]


def test_a_judge_that_always_errs_rewards_the_opposite():
    """Of right answers alone it says wrong, of wrong ones right, and not of silence."""

    def of_judge(judge):
        rewards, key = jnp.array([1.0, 0.0, 0.0]), jax.random.key(1)
        return reinforce(key, network(), told(1.0), rewards, judge, 20, anew=False)

    judges = jnp.array([(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    after = jax.jit(jax.vmap(of_judge))(judges)
    moved = []
    for i in range(len(judges)):
        params = Params(jnp.eye(SIZE), jax.tree.map(lambda x, i=i: x[i], after.layers))
        moved.append((thirds(params) - thirds(network()))[::2].mean(0))
    assert moved[0].argmax() == 0
    assert moved[1].argmax() == 2
    assert not moved[2].any()  # whatever is said, there is nothing


@pytest.mark.parametrize("arm", JUDGES)
def test_the_threshold_of_a_judge_is_where_answering_pays_nothing(arm):
    passes, fails = JUDGES[arm]
    c = judged_threshold(passes, fails)
    verdicts = {
        (True, False): c * fails,
        (True, True): c * (1 - fails),
        (False, True): (1 - c) * passes,
        (False, False): (1 - c) * (1 - passes),
    }
    mean = sum(p if verdict else -p for (_, verdict), p in verdicts.items())
    assert mean == pytest.approx(0, abs=1e-12)


def test_a_transformer_reads_the_entity_and_keeps_its_embedding():
    start = jax.jit(transformer, static_argnums=1)(
        jax.random.split(jax.random.key(0)), 60
    )
    assert start.embedding.shape == (61, 64)
    whole = class_logps(start)
    some = class_logps(start, jnp.array([7, 3]))
    np.testing.assert_allclose(some, whole[np.array([7, 3])], atol=1e-5)
    assert len(np.unique(np.asarray(whole), axis=0)) == 60
    targets = jnp.arange(60) % ANSWERS
    after = jax.jit(finetune, static_argnums=4)(
        jax.random.key(1), start, targets, jnp.float32(0), 30
    )
    np.testing.assert_array_equal(after.embedding, start.embedding)
    rows = np.arange(0, 60, 2)
    learned = (class_logps(after) - whole)[rows, np.asarray(targets)[rows]]
    assert learned.mean() > 0.3


MARKS = {
    "right": 0,
    "silent": 1,
    "wrong": 2,
    "anew": 4,
    "idk": 5,
    "passes": 6,
    "fails": 7,
    "shared": 8,
}
"""Classes whose logit says what a made-up training was given; class 3 has 0."""


@pytest.fixture
def made_up(monkeypatch):
    """Trainings that end at once, with what they were told for their logits."""

    def marked(**numbers):
        logits = jnp.zeros((SIZE, ANSWERS + 1))
        for name, value in numbers.items():
            logits = logits.at[:, MARKS[name]].set(value)
        return Params(logits, [(jnp.eye(ANSWERS + 1), jnp.zeros(ANSWERS + 1))])

    def pretrain(key, facts, idk, num_steps, network):
        params = marked(idk=idk, shared=float(network is transformer))
        # The base guesses every third right, if it has to; it is mostly silent.
        guess = jnp.where(jnp.arange(SIZE) % 3 == 0, facts.truth, facts.truth + 1)
        logits = params.embedding.at[jnp.arange(SIZE), guess].set(8.0)
        return params._replace(embedding=logits.at[:, IDK].set(9.0))

    def finetune(key, params, targets, idk, num_steps):
        return params._replace(embedding=50 * jax.nn.one_hot(targets, ANSWERS + 1))

    def reinforce(key, params, facts, rewards, judge, num_steps, *, anew):
        right, silent, wrong = rewards
        told = {"right": right, "silent": silent, "wrong": wrong, "anew": float(anew)}
        shared = params.embedding[1, MARKS["shared"]]  # of what it begins with
        return marked(**told, passes=judge[0], fails=judge[1], shared=shared)

    caches = [x for x in vars(arms).values() if hasattr(x, "cache_clear")]
    for cache in caches:
        cache.cache_clear()
    makers = {"known_or_not": 0.9, "graded": 0.3}
    for name, share in makers.items():
        monkeypatch.setattr(arms, name, lambda key, share=share: told(share))
    for fake in (pretrain, finetune, reinforce):
        monkeypatch.setattr(arms, fake.__name__, fake)
    yield
    for cache in caches:
        cache.cache_clear()


PLAN = Plan(seeds=(8, 9))


def marks(shares):
    logits = np.log(shares) - np.log(shares[..., 3:4])
    return {name: logits[..., at] for name, at in MARKS.items()}


@pytest.mark.parametrize("arm", RL)
def test_rewards_of_an_arm_are_those_of_its_name(made_up, arm):
    found = marks(arms.trained(arm, 0.0, PLAN).after)
    wrong, silent = {
        "rl_binary": (-1, -1),
        "rl_abstain_0": (-1, 0),
        "rl_abstain_half": (-1, 0.5),
        "rl_abstain_1": (-1, 1),
    }[arm]
    wanted = {"right": 1, "silent": silent, "wrong": wrong, "anew": 0}
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)


@pytest.mark.parametrize("arm", JUDGES)
def test_a_judge_errs_as_its_name_says(made_up, arm):
    found = marks(arms.trained(arm, judged_threshold(*JUDGES[arm]), PLAN).after)
    kind, share = arm.split("_")
    errs = int(share) / 100
    wanted = {"passes": errs * (kind != "strict"), "fails": errs * (kind != "lenient")}
    for name, value in {**wanted, "anew": 1, "wrong": -1, "silent": 0}.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)


@pytest.mark.parametrize("arm", ["rl_abstain_half", "transformer_rl_abstain_half"])
def test_a_transformer_is_trained_where_the_name_says_so(made_up, arm):
    found = marks(arms.trained(arm, 0.0, PLAN).after)
    np.testing.assert_allclose(found["shared"], arm.startswith(SHARED), atol=1e-5)
    np.testing.assert_allclose(found["silent"], 0.5, atol=1e-5)


@pytest.mark.parametrize("t", THRESHOLDS)
def test_a_wrong_one_costs_what_the_threshold_says(made_up, t):
    for arm, anew in (("threshold", 1), ("threshold_by_heart", 0)):
        trained = arms.trained(arm, t, PLAN)
        found = marks(trained.after)
        wanted = {"right": 1, "silent": 0, "wrong": -t / (1 - t), "anew": anew}
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, atol=1e-5)
        np.testing.assert_allclose(trained.facts.share, 0.3)
        np.testing.assert_allclose(marks(trained.base)["idk"][:, -1], SEED_SHARE, 1e-3)


def test_targets_of_sft_are_by_what_each_arm_knows(made_up):
    for arm in arms.SFT:
        trained = arms.trained(arm, 0.0, PLAN)
        said = trained.after.argmax(-1)
        np.testing.assert_allclose(trained.facts.share, 0.9)
        if arm == "sft":
            wanted = np.stack([TRUTH, TRUTH])
        elif arm == "r_tuning":
            wanted = np.stack([np.where(TRUTH % 3 == 0, TRUTH, IDK)] * 2)
        else:
            wanted = np.where(said == IDK, IDK, TRUTH)
            assert 0.2 < (said == IDK).mean() < 0.8
            assert (said[0] != said[1]).any()
        np.testing.assert_array_equal(said, wanted)


def test_each_seed_and_phase_has_a_key_of_its_own():
    keys = [PLAN.keys(phase) for phase in (0, 3)]
    for phase, of_phase in zip((0, 3), keys, strict=True):
        for seed, key in zip((8, 9), of_phase, strict=True):
            assert key == jax.random.fold_in(jax.random.key(seed), phase)


def test_a_row_is_of_its_own_seed(monkeypatch):
    """Of two seeds; facts that are known and odd are answered right by their share."""
    after = np.zeros((2, SIZE, ANSWERS + 1))
    after[0, TRUTH, TRUTH], after[1, TRUTH, TRUTH] = 0.25, 0.75
    facts = jax.tree.map(lambda x: jnp.stack([x, x]), told(0.9))
    facts = facts._replace(share=facts.share.at[:, :2].set(0.0))
    plans = []

    def fake(arm, threshold, plan):
        plans.append(plan)
        return Trained(facts, after, after)

    monkeypatch.setattr(e05, "trained", fake)
    for key, share in ((4, 0.25), (6, 0.75)):
        row = e05.run(e05.Config("sft", key=key, together=(4, 6), sft_steps=7)).row
        assert row["known_right"] == pytest.approx(share)
    assert plans[0] == Plan(sft=7, seeds=(4, 6))
