"""The loop of somebody with a model and a reward of their own: `make_iteration`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxalign import rl
from jaxalign.batch import Tokens
from jaxalign.errors import UserError
from jaxalign.models import backbone_of, logits
from jaxalign.rollout import decoder_of
from jaxalign.training import OptimizerConfig, make_optimizer
from tests.rollout.models_under_test import MODEL, params

PROMPTS, K, N = [[1, 2], [4, 5, 6], [7]], 8, 4


BACKBONE, DECODER = backbone_of(MODEL), decoder_of(MODEL)


def plain(params, ids):
    """The same model as somebody's function, without padding of the vocabulary."""
    return logits(MODEL, params, ids)


def low(completions) -> list[float]:
    """The share of small ids."""
    return [float(np.mean(np.asarray(x.ids) < 10)) for x in completions]


def adam():
    return make_optimizer(OptimizerConfig(learning_rate=0.02), num_steps=12)[0]


def learn(model, algorithm, start, *, iterations=12, **options):
    """Mean rewards and metrics of each iteration."""
    iterate = rl.make_iteration(
        model,
        algorithm=algorithm,
        reward=low,
        optimizer=adam(),
        sampling=rl.Sampling(N, num_generations=K),
        **options,
    )
    state, history = iterate.start(start, jax.random.key(0)), []
    for _ in range(iterations):
        state, metrics = iterate(state, PROMPTS)
        history.append({k: float(x.value) for k, x in metrics.items()})
    assert int(state.step) == iterations
    return history


def check(history, passes=1):
    rewards = [x["reward"] for x in history]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:2]) + 0.2
    # The sampler's own log-probs are those of the trainer.
    gaps = [x["sampling/sampling_logp_difference/max"] for x in history]
    assert max(gaps) < 1e-4
    if passes == 1:
        ratios = [x["val/ratio"] for x in history]
        np.testing.assert_allclose(ratios, 1, atol=1e-4)


def test_a_decoder_and_a_backbone_learn_a_reward():
    options = {"decoder": DECODER, "ref_params": params()}
    algorithm = rl.dr_grpo(kl_coef=1e-3)
    check(learn(BACKBONE, algorithm, params(), **options))


def test_a_function_of_whole_sequences_learns_a_reward():
    check(learn(plain, rl.rloo(), params()))


@pytest.mark.parametrize(
    "model", [BACKBONE, pytest.param(plain, marks=pytest.mark.slow)]
)
def test_a_critic_of_one_s_own_learns_too(model):
    """Somebody's PPO: the value is linear in a table's row for the token before."""

    def critic(table, tokens: Tokens):
        inputs = tokens.inputs.reshape(len(tokens.inputs), -1)
        return table[jnp.take_along_axis(inputs, tokens.target_at, axis=1)]

    start = {"policy": params(), "critic": jnp.zeros(32)}
    algorithm = rl.ppo(kl_coef=1e-3, passes=2, value_coef=1.0, warm_up=1)
    history = learn(
        model, algorithm, start, critic=critic, ref_params=params(), iterations=8
    )
    check(history, passes=2)
    assert "loss/policy_avg" not in history[0]  # The critic alone.
    assert history[-1]["val/explained_variance"] > history[0].get(
        "val/explained_variance", 0
    )


@pytest.mark.parametrize(
    "algorithm",
    [
        rl.remax(kl_coef=0.01),
        pytest.param(rl.xpo(alpha=1e-4), marks=pytest.mark.slow),
        pytest.param(rl.online_dpo(), marks=pytest.mark.slow),
    ],
)
def test_every_kind_runs_on_packed_and_on_plain_rows(algorithm):
    """The same numbers: what lies in one row is nobody's business but speed's."""
    found = []
    for model in (BACKBONE, plain):
        iterate = rl.make_iteration(
            model,
            algorithm=algorithm,
            reward=low,
            optimizer=optax.sgd(0.1),
            sampling=rl.Sampling(N, num_generations=2),
            decoder=DECODER,
            ref_params=params(),
        )
        state = iterate.start(params(), jax.random.key(0))
        for _ in range(2):
            state, metrics = iterate(state, PROMPTS)
        found.append({k: float(x.value) for k, x in metrics.items()})
    packed, unpacked = found
    assert packed.keys() == unpacked.keys()
    for name, value in packed.items():
        assert value == pytest.approx(unpacked[name], rel=2e-3, abs=1e-4), name


@pytest.mark.slow
def test_a_state_that_is_kept_goes_on_as_it_would_have():
    """Bit for bit, with an iteration made anew."""

    def make():
        return rl.make_iteration(
            plain,
            algorithm=rl.grpo(),
            reward=low,
            optimizer=adam(),
            sampling=rl.Sampling(N, num_generations=K),
            num_minibatches=2,
        )

    state = make().start(params(), jax.random.key(3))
    iterate = make()
    for _ in range(3):
        state, _ = iterate(state, PROMPTS)
    kept = jax.tree.map(jnp.copy, state)
    straight, _ = iterate(state, PROMPTS)
    again, _ = make()(kept, PROMPTS)
    for a, b in zip(jax.tree.leaves(straight), jax.tree.leaves(again), strict=True):
        assert (a == b).all()


def test_the_parameters_one_started_from_stay():
    before = jax.tree.map(np.array, params())
    learn(plain, rl.reinforce(), params(), iterations=1)
    assert jax.tree.all(jax.tree.map(np.array_equal, params(), before))


@pytest.mark.parametrize(
    ("algorithm", "options", "message"),
    [
        (rl.ppo(), {"ref_params": ()}, "critic="),
        (rl.grpo(kl_coef=0.1), {}, "ref_params="),
        (rl.grpo(), {"num_generations": 1}, "compares the completions"),
        (rl.xpo(), {"num_generations": 3, "ref_params": ()}, "exactly 2, got 3"),
    ],
)
def test_what_an_algorithm_needs_is_asked_for(algorithm, options, message):
    sampling = rl.Sampling(N, num_generations=options.pop("num_generations", 2))
    with pytest.raises(UserError, match=message):
        rl.make_iteration(
            plain,
            algorithm=algorithm,
            reward=low,
            optimizer=optax.sgd(0.1),
            sampling=sampling,
            **options,
        )


@pytest.mark.parametrize(
    "make", [rl.rloo, rl.reinforce, rl.reinforce_baseline, rl.remax]
)
def test_a_loss_without_a_ratio_takes_one_pass(make):
    with pytest.raises(UserError, match="passes must be 1, got 2: .* no ratio"):
        make(passes=2)


@pytest.mark.parametrize(
    ("algorithm", "minibatches", "updates"),
    [
        (rl.rloo(), 1, None),
        (rl.rloo(), 3, 3),
        (rl.nash_md(passes=2), 1, 2),
        (rl.grpo(passes=2), 3, None),
        (rl.rebel(passes=2), 3, None),
    ],
)
def test_further_updates_of_a_loss_without_a_ratio_are_warned_of(
    algorithm, minibatches, updates, caplog
):
    rl.make_iteration(
        plain,
        algorithm=algorithm,
        reward=low,
        optimizer=optax.sgd(0.1),
        sampling=rl.Sampling(N, num_generations=2),
        ref_params=params(),
        num_minibatches=minibatches,
    )
    found = [x.args[-1] for x in caplog.records if "no ratio" in x.message]
    assert found == ([] if updates is None else [updates])


def test_rewards_may_be_several_and_read_columns_of_prompts():
    asked = [rl.Prompt([1, 2], columns={"least": 5}, index=3), rl.Prompt([7], index=8)]
    seen = []

    def above(completions):
        seen.extend((x.index, x.prompt_ids, x.step) for x in completions)
        return [float(x.ids[0] >= x.columns.get("least", 0)) for x in completions]

    iterate = rl.make_iteration(
        plain,
        algorithm=rl.grpo(),
        reward=[low, above],
        optimizer=optax.sgd(0.1),
        sampling=rl.Sampling(N, num_generations=2),
    )
    _, metrics = iterate(iterate.start(params(), jax.random.key(0)), asked)
    assert seen == [(3, [1, 2], 1)] * 2 + [(8, [7], 1)] * 2
    parts = (float(metrics[f"rewards/{x}/mean"].value) for x in ("low", "above"))
    assert float(metrics["reward"].value) == pytest.approx(sum(parts), rel=1e-6)
