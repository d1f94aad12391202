"""Iterations of Tunix's GRPO or PPO learner, measured in this process; prints one line.

    python -m experiments.benchmarks.rl_tunix --task grpo --shape A

Run it with an interpreter that has google-tunix.
"""

import dataclasses
import importlib.metadata
from typing import Any

from experiments.benchmarks import rl_work
from experiments.benchmarks.generation_tunix import Ids
from experiments.benchmarks.generation_work import BATCH, NEW, PROMPT
from experiments.benchmarks.shapes import SHAPES
from experiments.benchmarks.tunix_peer import model_of


class Words(Ids):
    """A text is a prompt of words; BOS takes the first word's place."""

    def __init__(self):
        pass

    def encode(self, text: str, **_) -> list[int]:
        return [int(word[1:]) for word in text.split()[1:]]

    def decode(self, ids, **_) -> str:
        return " ".join(f"t{i}" for i in ids)


def without_segments(model):
    """Lets a model be a critic: PPO passes `segment_ids`, which Llama does not take.

    The attention mask, which has the padding, is passed too.
    """
    kind = type(model)

    class Critic(kind):
        def __call__(self, *args, segment_ids=None, **kwargs):
            return super().__call__(*args, **kwargs)

    model.__class__ = Critic
    return model


def cluster_of(args, shape, iterations: int):
    import jax
    import numpy as np
    import optax
    from tunix.rl import rl_cluster, utils  # pyright: ignore[reportMissingImports]
    from tunix.rl.rollout import base_rollout  # pyright: ignore[reportMissingImports]

    devices = np.array(jax.devices()[:1]).reshape(1, 1)
    mesh = jax.sharding.Mesh(devices, ("fsdp", "tp"))
    roles = rl_cluster.Role
    used = [roles.ACTOR, roles.REFERENCE, roles.ROLLOUT]
    models: dict[str, Any] = {name: model_of(shape) for name in ("actor", "reference")}
    if args.task == "ppo":
        models = {name: without_segments(x) for name, x in models.items()}
        models["critic"] = utils.create_critic_model(models["actor"])
        used.append(roles.CRITIC)
    optimizer = optax.adamw(rl_work.LEARNING_RATE)
    training = rl_cluster.RLTrainingConfig(
        actor_optimizer=optimizer,
        critic_optimizer=optimizer if args.task == "ppo" else None,
        eval_every_n_steps=10**9,
        max_steps=iterations,
    )
    rollout = base_rollout.RolloutConfig(
        max_tokens_to_generate=NEW,
        max_prompt_length=PROMPT,
        temperature=1.0,
        top_p=1.0,
        eos_tokens=[-1],
        kv_cache_size=PROMPT + NEW,
    )
    config = rl_cluster.ClusterConfig(
        role_to_mesh={role: mesh for role in used},
        rollout_engine="vanilla",
        training_config=training,
        rollout_config=rollout,
    )
    cluster = rl_cluster.RLCluster(tokenizer=Words(), cluster_config=config, **models)
    return cluster, mesh


def learner_of(args, cluster):
    def reward(prompts, completions, **_):
        return rl_work.score(completions)

    coef = rl_work.KL_COEF[args.task]
    if args.task == "grpo":
        from tunix.rl.grpo import grpo_learner  # pyright: ignore[reportMissingImports]

        config = grpo_learner.GRPOConfig(
            num_generations=rl_work.ANSWERS["grpo"], num_iterations=1, beta=coef
        )
        return grpo_learner.GRPOLearner(
            rl_cluster=cluster, reward_fns=reward, algo_config=config
        )
    from tunix.rl.ppo import ppo_learner  # pyright: ignore[reportMissingImports]

    config = ppo_learner.PPOConfig(beta=coef)
    return ppo_learner.PPOLearner(
        rl_cluster=cluster, reward_fns=reward, ppo_config=config
    )


def measure(args):
    import jax
    import numpy as np

    shape, answers = SHAPES[args.shape], rl_work.ANSWERS[args.task]
    if args.task == "ppo":  # a critic is made by replacing the output layer
        shape = dataclasses.replace(shape, tied=False)
    iterations, size = args.steps + rl_work.COMPILING + 1, BATCH // answers
    cluster, mesh = cluster_of(args, shape, iterations)
    prompts = rl_work.prompt_words(shape, iterations * size)
    rows = [
        {"prompts": np.array(prompts[at : at + size])}
        for at in range(0, len(prompts), size)
    ]
    rl_work.laps.start()
    with mesh:
        learner_of(args, cluster).train(rows)
    rl_work.report_iterations(
        args,
        lib="tunix",
        version=importlib.metadata.version("google-tunix"),
        jax=jax.__version__,
    )


if __name__ == "__main__":
    measure(rl_work.arguments(__doc__).parse_args())
