"""Every `--algorithm` through its recipe: credit by hand, and where the KL term stands.

The rewards of the journal go through NumPy in float64, and the advantages beside them
have to come out.
"""

import numpy as np
import pytest

from jaxalign.recipes import grpo
from jaxalign.recipes.grpo import GROUP_ALGORITHMS as ALGORITHMS
from tests.recipes.rl.test_rl_runs import answers_of, lines_of, settings

K = 4


def whitened(values, lengths):
    """With mean 0 and variance 1 over tokens, each answer's value on all of its own."""
    mean = np.average(values, weights=lengths)
    variance = np.average((values - mean) ** 2, weights=lengths)
    return (values - mean) / np.sqrt(variance + 1e-8)


def centred(rewards):
    groups = rewards.reshape(-1, K)
    return (groups - groups.mean(1, keepdims=True)).ravel()


def in_units_of_deviation(rewards, _):
    deviation = rewards.reshape(-1, K).std(1, ddof=1)
    return centred(rewards) / (np.repeat(deviation, K) + 1e-4)


CREDIT = {
    **dict.fromkeys(
        ("grpo", "dapo", "gspo", "cispo", "sapo", "gmpo"), in_units_of_deviation
    ),
    "dr_grpo": lambda rewards, _: centred(rewards),
    "rloo": lambda rewards, _: centred(rewards) * K / (K - 1),
    "reinforce": lambda rewards, _: rewards,
    "reinforce_baseline": lambda rewards, _: rewards,  # before the first there is none
    "reinforce_pp": whitened,
    "reinforce_pp_baseline": lambda r, lengths: whitened(centred(r), lengths),
}
IN_THE_REWARD = ("rloo", "reinforce", "reinforce_baseline", "reinforce_pp", "remax")


def test_there_is_an_oracle_for_every_algorithm():
    assert {*CREDIT, "remax"} == set(ALGORITHMS)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_iterations(algorithm, tiny_model, prompts, reward_file, tmp_path):
    config = grpo.Config(
        **settings(
            tiny_model, prompts, reward_file, tmp_path, batch_size=4, max_steps=2
        ),
        algorithm=algorithm,
        num_generations=K,
        kl_coef=0.1,
    )
    assert grpo.main(config) == 0
    first, second = lines_of(tmp_path)
    for line in (first, second):
        assert None not in line.values()  # what is not finite
    assert first["val/ratio"] == pytest.approx(1, abs=1e-5)
    assert abs(first["objective/kl"]) < 1e-4
    assert first["grad_norm"] > 0
    assert second["objective/kl"] > 1e-4  # on average the policy has moved away
    paid = abs(second["objective/non_score_reward"])
    if algorithm in IN_THE_REWARD:
        assert paid == pytest.approx(0.1 * abs(second["objective/kl"]), rel=1e-3)
    else:
        assert paid == 0
    added = second["loss"] - second["policy_loss"]
    assert (abs(added) > 1e-7) == (algorithm not in IN_THE_REWARD)

    answers = answers_of(tmp_path, 1)
    rewards, lengths, found = (
        np.array([x[name] for x in answers], float)
        for name in ("reward", "length", "advantage")
    )
    if algorithm == "remax":
        # One number for each prompt, the reward of the greedy answer, is taken off.
        baseline = (rewards - found).reshape(-1, K)
        np.testing.assert_allclose(
            baseline, baseline[:, :1].repeat(K, 1), rtol=0, atol=1e-6
        )
        shares = {i / n for n in range(1, 5) for i in range(n + 1)}
        gaps = [min(abs(x - s) for s in shares) for x in baseline[:, 0]]
        assert max(gaps) < 1e-6
    else:
        expected = CREDIT[algorithm](rewards, lengths)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
