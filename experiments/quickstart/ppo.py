"""PPO with the three-way reward: 1 for the truth, 0 for abstaining, -1 for the rest.

There are no pairs and there is no reward model: the model answers, and the answer is
judged. A critic of the same size, whose weights begin as the policy's, predicts what an
answer will earn.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.progress import track

from experiments.quickstart.answers import LONGEST_ANSWER, outcome
from experiments.quickstart.model import LanguageModel
from experiments.quickstart.tokens import Vocabulary, rows_of
from experiments.quickstart.world import World
from jaxalign.batch import Batch, Tokens
from jaxalign.losses import ppo_loss
from jaxalign.models import apply_hidden
from jaxalign.objectives import bind, token_statistics
from jaxalign.ops import gae, masked_whiten
from jaxalign.rewards import abstention_reward, token_rewards
from jaxalign.rollout import generate
from jaxalign.training import TrainState, make_train_step
from jaxalign.training.optimizer import OptimizerConfig, make_optimizer

ITERATIONS = 40
ANSWERS = 256  # in an iteration, each to another question of a random order
EPOCHS = 2
MINIBATCHES = 2
KL_COEF = 0.02
OPTIMIZER = OptimizerConfig(learning_rate=5e-4, schedule="linear")


def ppo(model: LanguageModel, vocabulary: Vocabulary, world: World, sft, seed: int):
    """Answers, judges and updates, again and again; returns the policy."""
    num_updates = ITERATIONS * EPOCHS * MINIBATCHES
    optimizer = without_policy_embeddings(make_optimizer(OPTIMIZER, num_updates)[0])
    step = jax.jit(make_train_step(objective_of(model), optimizer))
    judge = jax.jit(assess(model))
    score = {"kernel": jnp.zeros((sft["final_norm"]["scale"].size, 1))}
    params = {"policy": sft, "critic": {**sft, "score": score}}
    state = TrainState.create(params, optimizer, jax.random.key(seed))

    rng = np.random.default_rng([seed, 2])
    people = world.group(training=True)
    for i in track(range(ITERATIONS), "PPO      "):
        asked = rng.permutation(people * -(-ANSWERS // len(people)))[:ANSWERS]
        key = jax.random.fold_in(jax.random.key(seed), i)
        answers, scores = answer(model, vocabulary, world, state, asked, key)
        columns = judge(state.params, sft, answers.tokens, scores)
        experience = answers.with_tokens(**jax.device_get(columns))
        for _ in range(EPOCHS):
            for rows in rng.permutation(ANSWERS).reshape(MINIBATCHES, -1):
                batch = jax.tree.map(lambda x, rows=rows: x[rows], experience)
                state, _ = step(state, batch)
    return state.params["policy"]


def answer(
    model: LanguageModel,
    vocabulary: Vocabulary,
    world: World,
    state: TrainState,
    people: Any,
    key: jax.Array,
) -> tuple[Batch, np.ndarray]:
    """One sampled answer about each person, and its reward."""
    prompts = [vocabulary.prompt(world.question(i)) for i in people]
    sampled = generate(
        model.decoder,
        state.params["policy"],
        prompts,
        key,
        max_new_tokens=LONGEST_ANSWER,
        stop_ids=[vocabulary.eos],
    ).ids()
    texts = [vocabulary.decode(ids) for ids in sampled]
    rewards = [
        abstention_reward(outcome(text, world.answer(i)))
        for text, i in zip(texts, people, strict=True)
    ]
    return rows_of(prompts, sampled), np.asarray(rewards, np.float32)


def assess(model: LanguageModel) -> Callable[..., dict[str, jax.Array]]:
    """`(params, ref, tokens, scores [N]) -> columns` that the loss reads, `[N, M]`."""
    stats = token_statistics(model.logits)

    def columns(params, ref, tokens: Tokens, scores) -> dict[str, jax.Array]:
        mask = tokens.target_mask
        logps = stats(params["policy"], tokens).logps
        ref_logps = stats(ref, tokens).logps
        values = values_of(model, params["critic"], tokens)
        rewards = token_rewards(scores, logps, ref_logps, mask, kl_coef=KL_COEF)
        advantages, returns = gae(rewards, values, mask)
        return {
            "old_logps": logps,
            "values": values,
            "advantages": masked_whiten(advantages, mask),
            "returns": returns,
        }

    return columns


def objective_of(model: LanguageModel):
    """PPO's loss; the parameters are `{"policy": ..., "critic": ...}`."""
    critic = functools.partial(values_of, model)
    return bind(ppo_loss, model.logits, critic=critic)


def values_of(model: LanguageModel, critic, tokens: Tokens) -> jax.Array:
    """What the critic expects an answer to earn, before each of its tokens."""
    inputs = tokens.inputs.reshape(-1, tokens.inputs.shape[-1])
    hidden = apply_hidden(model.transformer, critic, inputs)
    values = hidden @ critic["score"]["kernel"]
    return values.reshape(tokens.target_at.shape)


def without_policy_embeddings(optimizer: optax.GradientTransformation):
    """The policy's embeddings stay as they are, as in SFT and DPO."""

    def embeddings(params: Any) -> Any:
        policy = {name: name == "embed" for name in params["policy"]}
        return {"policy": policy, "critic": False}

    return optax.chain(optimizer, optax.masked(optax.set_to_zero(), embeddings))
