"""PPO with the three-way reward: 1 for the truth, 0 for abstaining, -1 for the rest.

There are no pairs and there is no reward model: the model answers, and the answer is
judged. A critic of the same size, whose weights begin as the policy's, predicts what an
answer will earn.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.progress import track

from experiments.quickstart.answers import LONGEST_ANSWER, outcome
from experiments.quickstart.model import LanguageModel
from experiments.quickstart.tokens import Vocabulary, rows_of
from experiments.quickstart.world import World
from jaxalign.losses import ppo_loss
from jaxalign.models import apply_hidden
from jaxalign.objectives import Tokens
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


class Experience(NamedTuple):
    """Answers with what the loss must know of them, all but `tokens` `[N, WIDTH]`.

    Attributes:
      tokens: Questions with answers, whose tokens are the targets.
      logps: Log-probabilities under the policy that answered.
      values: What the critic thought of each state.
      advantages: How much better each token was than that, whitened.
      returns: What the critic should have thought.
    """

    tokens: Tokens
    logps: Any
    values: Any
    advantages: Any
    returns: Any


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
        tokens, scores = answer(model, vocabulary, world, state, asked, key)
        experience = jax.tree.map(np.asarray, judge(state.params, sft, tokens, scores))
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
) -> tuple[Tokens, np.ndarray]:
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


def assess(model: LanguageModel) -> Callable[..., Experience]:
    """`(params, ref, tokens, scores [N]) -> Experience`."""

    def experience(params, ref, tokens: Tokens, scores) -> Experience:
        logps = model.stats(params["policy"], tokens).logps
        ref_logps = model.stats(ref, tokens).logps
        values = values_of(model, params["critic"], tokens)
        rewards = token_rewards(scores, logps, ref_logps, tokens.mask, kl_coef=KL_COEF)
        advantages, returns = gae(rewards, values, tokens.mask)
        advantages = masked_whiten(advantages, tokens.mask)
        return Experience(tokens, logps, values, advantages, returns)

    return experience


def objective_of(model: LanguageModel):
    """PPO's loss; the parameters are `{"policy": ..., "critic": ...}`."""

    def objective(params, batch: Experience, key):
        del key
        return ppo_loss(
            model.stats(params["policy"], batch.tokens).logps,
            batch.logps,
            batch.advantages,
            values_of(model, params["critic"], batch.tokens),
            batch.values,
            batch.returns,
            batch.tokens.mask,
        )

    return objective


def values_of(model: LanguageModel, critic, tokens: Tokens) -> jax.Array:
    """What the critic expects an answer to earn, before each of its tokens."""
    hidden = apply_hidden(model.transformer, critic, tokens.inputs)
    return (hidden @ critic["score"]["kernel"])[..., 0]


def without_policy_embeddings(optimizer: optax.GradientTransformation):
    """The policy's embeddings stay as they are, as in SFT and DPO."""

    def embeddings(params: Any) -> Any:
        policy = {name: name == "embed" for name in params["policy"]}
        return {"policy": policy, "critic": False}

    return optax.chain(optimizer, optax.masked(optax.set_to_zero(), embeddings))
