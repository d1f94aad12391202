"""The loop of somebody with a model and a reward of their own, from the parts alone."""

import jax
import numpy as np

from jaxalign.batch import Tokens
from jaxalign.data.packing.completions import AnswerRows, answer_layouts, with_columns
from jaxalign.losses import ppo_policy_loss
from jaxalign.models import apply_hidden, unembedding
from jaxalign.objectives import (
    Backbone,
    Head,
    advantages_of,
    bind,
    centered_credit,
)
from jaxalign.rollout import generate
from jaxalign.training import (
    OptimizerConfig,
    TrainState,
    make_optimizer,
    make_train_step,
)
from tests.rollout.models_under_test import DECODER, MODEL, params

PROMPTS, K, N = [[1, 2], [4, 5, 6], [7]], 8, 4


def hidden(params, tokens: Tokens):
    return apply_hidden(MODEL, params, *tokens[:4])


def reward(ids) -> float:
    return float(np.mean(np.asarray(ids) < 10))


def test_forty_lines_learn_a_reward():
    backbone = Backbone(hidden, lambda p: Head(*unembedding(MODEL, p)))
    objective = bind(ppo_policy_loss, backbone, longest=N)
    optimizer, _ = make_optimizer(OptimizerConfig(learning_rate=0.02), num_steps=12)
    step = jax.jit(make_train_step(objective, optimizer))
    rows = AnswerRows.plan(
        longest_prompt=3, longest_answer=N, per_prompt=K, answers=len(PROMPTS) * K
    )
    state = TrainState.create(params(), optimizer, jax.random.key(0))
    history, ratios = [], []
    for n in range(12):
        key = jax.random.fold_in(state.key, n)
        answers = generate(
            DECODER, state.params, PROMPTS, key, max_new_tokens=N, num_samples=K
        )
        rewards = np.array([reward(ids) for ids in answers.ids()], np.float32)
        shape = len(PROMPTS), K, N
        last = np.arange(N) == answers.lengths[:, None] - 1
        credit = advantages_of(
            centered_credit,
            mask=answers.mask.reshape(shape),
            token_rewards=np.where(last, rewards[:, None], 0).reshape(shape),
        )
        layouts = answer_layouts(
            PROMPTS, answers.tokens, answers.lengths, together=rows.together
        )
        columns = {
            "old_logps": answers.logps,
            "advantages": np.asarray(credit.advantages).reshape(-1, N),
        }
        batch = rows.batch(with_columns(layouts, answers.mask, columns))
        state, metrics = step(state, batch)
        history.append(rewards.mean())
        ratios.append(float(metrics["val/ratio"].value))
    assert np.mean(history[-3:]) > np.mean(history[:2]) + 0.2
    # The sampler's own log-probs are those of the trainer.
    np.testing.assert_allclose(ratios, 1, atol=1e-4)
