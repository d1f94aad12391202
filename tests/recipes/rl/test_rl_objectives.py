"""Every setting of a command reaches the loss: none is a flag that does nothing.

The loss that the settings ask for is called by hand on answers that lie one per row.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import losses
from jaxalign.ops import gae, kl_k2, sequence_mean
from jaxalign.recipes import grpo, online, ppo
from jaxalign.rl import Sampled
from tests.objectives import test_online as pairs
from tests.objectives import test_policy as answers
from tests.objectives import test_split_invariance as toy

N = answers.N
COMMON: Any = {
    "model": "m",
    "data": "d",
    "output_dir": "o",
    "reward": ("stopped",),
    "max_new_tokens": N,
    "temperature": answers.TEMPERATURE,
    "chunk_size": 40,
}


def objective_of(algorithm, backbone, critic=None, longest=N, temperature=None):
    """Bound as a run binds it."""
    return algorithm.objective(
        backbone,
        critic,
        max_new_tokens=longest,
        temperature=temperature or answers.TEMPERATURE,
        chunk_size=40,
    )


def value_of(objective, params, batch) -> float:
    out = jax.jit(objective)(params, batch, jax.random.key(0))
    return float(out.loss.value)


def by_hand(params):
    """Log-probs, entropies and what else is known of the answers, `[B, N]` each."""
    made = answers.make_answers(np.random.default_rng(0))
    logps, entropy, _ = answers.unpacked_stats(params, made)
    known = {k: jnp.asarray(v) for k, v in made[4].items()}
    return logps, entropy, known, jnp.asarray(made[3])


def each_counts(loss, options) -> float:
    """The loss with all options, without any of which it would be another number."""
    whole = float(loss(**options))
    for name in options:
        fewer = {k: v for k, v in options.items() if k != name}
        assert abs(float(loss(**fewer)) - whole) > 1e-6, name
    return whole


def test_settings_of_ppo():
    """Fault 23, flags that do nothing; and 16, the temperature."""
    config = ppo.Config(
        **COMMON,
        num_generations=3,
        batch_size=4,
        cliprange=0.1,
        cliprange_high=0.3,
        dual_clip=1.1,
        cliprange_value=0.15,
        vf_coef=0.4,
        entropy_coef=0.07,
        critic_warmup=2,
        num_ppo_epochs=3,
        kl_controller="adaptive",
        kl_target=2.0,
        kl_horizon=100,
        importance_cap=1.5,
        whiten_rewards=True,
        whiten_advantages=False,
        gamma=0.9,
        lam=0.8,
    )
    algorithm = ppo.ppo_algorithm(config)
    assert (algorithm.warm_up, algorithm.passes) == (2, 3)
    with jax.enable_x64(True):
        params = answers.two_models(np.random.default_rng(1))
        logps, entropy, known, mask = by_hand(params["policy"])
        made = answers.make_answers(np.random.default_rng(0))
        values = answers.unpacked_stats(params["critic"], made)[2]

        def loss(**options):
            return losses.ppo_loss(
                *(logps, known["old_logps"], known["advantages"]),
                *(values, known["values"], known["returns"], mask),
                entropy=entropy,
                weights=known["weights"],
                **options,
            ).loss.value

        expected = each_counts(
            loss,
            {
                "clip": 0.1,
                "clip_high": 0.3,
                "dual_clip": 1.1,
                "value_clip": 0.15,
                "value_coef": 0.4,
                "entropy_coef": 0.07,
            },
        )
        batch = answers.packed(np.random.default_rng(0))
        objective = objective_of(algorithm, toy.BACKBONE, answers.critic)
        assert value_of(objective, params, batch) == pytest.approx(expected, rel=1e-9)
        alone = algorithm.critic_objective(
            toy.BACKBONE, answers.critic, max_new_tokens=N
        )
        error = losses.ppo_value_loss(
            values, known["values"], known["returns"], mask, clip=0.15
        )
        expected = 0.4 * float(error.loss.value)
        assert value_of(alone, params, batch) == pytest.approx(expected, rel=1e-9)

    assert (algorithm.kl_in_reward, algorithm.rescale) == (True, True)
    # Twelve completions in an iteration, by at most a fifth of 12/100.
    raised = algorithm.kl_controller(jnp.float32(1.0), jnp.float32(1e6), 12)
    np.testing.assert_allclose(raised, 1 + 0.2 * 12 / 100, rtol=1e-6)
    raised = algorithm.kl_controller(jnp.float32(1.0), jnp.float32(2.2), 12)
    np.testing.assert_allclose(raised, 1 + 0.1 * 12 / 100, rtol=1e-5)
    assert algorithm.weights is not None
    ratio = jnp.log(jnp.array([[0.5, 3.0]]))
    weights = algorithm.weights(ratio, jnp.zeros((1, 2)), jnp.ones((1, 2), bool))
    np.testing.assert_allclose(weights, [[0.5, 1.5]], rtol=1e-6)
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, 2, 3, N)).astype(np.float32)
    mask = jnp.ones((2, 3, N), bool)
    given = Sampled(mask, jnp.asarray(rewards), jnp.zeros(()), jnp.asarray(values))
    advantages, _ = gae(rewards, values, mask, discount=0.9, lam=0.8)
    np.testing.assert_allclose(
        algorithm.credit(given).advantages, advantages, rtol=1e-6
    )


def test_settings_of_grpo():
    """With the KL term in the loss, or in the reward and then not in the loss too."""
    given = COMMON | {"num_generations": 4, "kl_coef": 0.2, "entropy_coef": 0.07}
    given |= {"epsilon": 0.1, "epsilon_high": 0.3, "kl_estimator": "k2"}
    with jax.enable_x64(True):
        params = answers.make_params(np.random.default_rng(1))
        logps, entropy, known, mask = by_hand(params)

        def loss(entropy_coef=0.0, kl_coef=0.0, **options):
            arrays = logps, known["old_logps"], known["advantages"], mask
            more: Any = {"beta": 0.0, "weights": known["weights"]}
            out = losses.grpo_loss(*arrays, **more, **options)
            added = kl_coef * kl_k2(logps, known["ref_logps"], mask)
            added = added - entropy_coef * entropy
            return out.loss.value + sequence_mean(jnp.where(mask, added, 0), mask).value

        clips = {"clip": 0.1, "clip_high": 0.3, "entropy_coef": 0.07}
        batch = answers.packed(np.random.default_rng(0))
        for place, options in (("loss", {"kl_coef": 0.2}), ("reward", {})):
            algorithm = grpo.grpo_algorithm(grpo.Config(**given | {"kl": place}))
            assert algorithm.kl_in_reward == (place == "reward")
            assert algorithm.reference
            objective = objective_of(algorithm, toy.BACKBONE)
            expected = each_counts(loss, clips | options)
            got = value_of(objective, params, batch)
            assert got == pytest.approx(expected, rel=1e-9)


def test_settings_of_online_dpo():
    """The oracle's temperature is not 1, nor is its beta the default."""
    given = COMMON | {"temperature": pairs.TEMPERATURE, "beta": 0.3}
    algorithm = online.online_algorithm(online.Config(**given | {"max_new_tokens": 6}))
    examples, batch, table, ref, _ = pairs.setup(2)
    expected = []
    for (prompt, texts), scores in zip(examples, pairs.SCORES[2], strict=True):
        logps = [pairs.logp(table, prompt, x) for x in texts]
        base = [sum(float(ref[t]) for t in x) for x in texts]
        expected.append(pairs.of_prompt("online_dpo", logps, base, base, scores))
    decided = [x for x in expected if x is not None]
    objective = objective_of(
        algorithm, pairs.BACKBONE, longest=6, temperature=pairs.TEMPERATURE
    )
    got = value_of(objective, jnp.asarray(table), batch)
    assert got == pytest.approx(np.mean(decided), rel=1e-4)
