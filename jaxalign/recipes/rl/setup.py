"""What a run that samples is made of before its first iteration."""

import dataclasses
import math
from typing import Any, NamedTuple

import optax
from rich.console import Console

from jaxalign.data.packing.batches import Batches
from jaxalign.data.packing.completions import AnswerRows
from jaxalign.data.packing.row_plan import microbatches
from jaxalign.losses import sft_loss
from jaxalign.objectives import bind_token_loss, mixed_objective, rollout_scorer
from jaxalign.recipes.display import open_console
from jaxalign.recipes.generation_settings import tell_unused
from jaxalign.recipes.packed import rows_at_a_time
from jaxalign.recipes.reference import weights_digest
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.method import Method
from jaxalign.recipes.rl.models import Models, open_models
from jaxalign.recipes.rl.prompts import Prompts, read_prompts
from jaxalign.recipes.rl.scoring import Scoring, make_scoring
from jaxalign.recipes.rl.updates import Updates
from jaxalign.recipes.rows import make_encoder, read_rows
from jaxalign.recipes.template_time import start_template_time


class Setup(NamedTuple):
    """What stands before the first iteration.

    Attributes:
      config: The settings.
      method: What is learnt how.
      console: Where people read.
      models: Policy, critic and reference.
      prompts: All of them.
      score: From completions to what they are worth; to be closed.
      mix: Rows of the other stream, or None.
      rows: How answers lie in rows.
      iterations: Of the run.
      fingerprints: Digests of models, tokenizer and data.
    """

    config: RLConfig
    method: Method
    console: Console
    models: Models
    prompts: Prompts
    score: Scoring
    mix: Batches | None
    rows: AnswerRows
    iterations: int
    fingerprints: dict[str, str]

    @property
    def updates_per_iteration(self) -> int:
        """How often the optimizer steps in an iteration, if no group is left out."""
        return self.method.passes * self.config.num_minibatches

    @property
    def rows_at_a_time(self) -> int:
        """Rows that a device computes at a time."""
        return rows_at_a_time(self.config, self.rows.shape.tokens)

    def updates(self, optimizer: optax.GradientTransformation) -> Updates:
        """The compiled functions that learn."""
        c, models, method = self.config, self.models, self.method
        program, objective = models.program, method.objective(models)
        mix = None
        if self.mix is not None:
            sft = bind_token_loss(
                sft_loss, models.policy.backbone, chunk_size=c.chunk_size
            )
            objective = mixed_objective(
                objective, sft, coef=c.mix_coef, select=models.policy_of
            )
            mix = self.mix.__getitem__
        scorer = rollout_scorer(
            models.policy.backbone,
            models.values,
            reference=models.has_reference,
            temperature=c.temperature,
            chunk_size=c.chunk_size,
        )
        warm_up = None
        if method.warm_up is not None and method.warm_up_iterations:
            still = critic_alone(optimizer)
            alone = method.warm_up(models)
            warm_up = program.train(alone, still, self.rows_at_a_time)
        return Updates(
            rows=self.rows,
            program=program,
            score=program.map(scorer),
            step=program.train(objective, optimizer, self.rows_at_a_time),
            warm_up=warm_up,
            warm_up_iterations=method.warm_up_iterations,
            passes=method.passes,
            minibatches=c.num_minibatches,
            mix=mix,
        )


def critic_alone(
    optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """The same optimizer and state, but nothing moves the policy, not even decay."""

    def update(updates: Any, state, params=None):
        updates, state = optimizer.update(updates, state, params)
        moves: Any = updates
        still = optax.tree.zeros_like(moves["policy"])
        return {**moves, "policy": still}, state

    return optax.GradientTransformation(optimizer.init, update)


def open_setup(config: RLConfig, method: Method) -> Setup:
    """Reads models' descriptions and all rows, and plans shapes; loads no weight."""
    console = open_console()
    time = start_template_time(config)
    models = open_models(
        config,
        lambda folder, size: make_encoder(config, folder, size),
        critic=method.critic,
        reference=method.kl,
    )
    score = make_scoring(config, models.encoder.tokenizer)
    tell_unused(
        models.policy.folder,
        config.temperature,
        "rollouts are drawn from the whole distribution, as training computes it, at "
        f"temperature {config.temperature:g}",
        console,
    )
    room = models.decoder.max_length
    prompts = read_prompts(config, models.encoder, room, console)
    digests = {
        "model": weights_digest(models.policy.folder),
        "tokenizer": models.encoder.tokenizer.fingerprint,
        **prompts.fingerprints,
        **time,
    }
    score.check(prompts.train, config.data)
    if prompts.held_out:
        score.check(prompts.held_out, config.eval_data or config.data)
    digests |= score.digests(config.reward)
    if models.critic is not None:
        digests["critic"] = weights_digest(models.critic.folder)
    iterations = config.max_steps or math.ceil(
        config.num_train_epochs * len(prompts.train) / config.batch_size
    )
    rows = plan_rows(config, models, prompts, method.together)
    setup = Setup(
        config, method, console, models, prompts, score, None, rows, iterations, digests
    )
    if config.mix_data is not None:
        setup = _with_mix(setup, config.mix_data)
    console.print(
        f"{iterations} iterations of {config.batch_size} prompts with "
        f"{config.num_generations} answers each, {setup.updates_per_iteration} updates "
        f"in an iteration; rows of {rows.shape.tokens} tokens with "
        f"{rows.together} answers side by side; rows per update: "
        f"{', '.join(map(str, rows.counts))}",
        highlight=False,
    )
    return setup


def plan_rows(
    config: RLConfig, models: Models, prompts: Prompts, together: bool
) -> AnswerRows:
    """How the completions to these prompts lie in rows, whatever is sampled."""
    devices = models.program.row_devices
    plan: dict[str, Any] = {
        "longest_prompt": max(len(x.ids) for x in prompts.train),
        "longest_answer": config.max_new_tokens,
        "per_prompt": config.num_generations,
        "answers": -(-config.batch_size // config.num_minibatches)
        * config.num_generations,
        "row_multiple": devices,
        "row_length": config.row_length,
        "packing": config.packing,
        "undivided": together,
    }
    tokens = AnswerRows.plan(**plan).shape.tokens
    most = rows_at_a_time(config, tokens) * devices
    return AnswerRows.plan(**plan, rows_at_a_time=most)


def _with_mix(setup: Setup, path: str) -> Setup:
    """The other stream, in as many batches as there are updates."""
    c, devices = setup.config, setup.models.program.row_devices
    own = dataclasses.replace(
        c, data=path, eval_data=None, eval_fraction=0.0, format=None, columns=None
    )
    read = read_rows(own, "sft", setup.models.encoder, c.seed, setup.console)
    updates = setup.iterations * setup.updates_per_iteration
    # Every microbatch of an update gets an equal share of these rows.
    most = setup.rows_at_a_time * devices
    parts = (microbatches(n, most) for n in setup.rows.counts)
    batches = Batches(
        read.train,
        batch_size=c.mix_batch_size,
        seed=c.seed,
        num_epochs=(updates + 1) * c.mix_batch_size / len(read.train),
        packing=c.packing,
        row_multiple=devices * math.lcm(*parts),
    )
    digests = {**setup.fingerprints, "mix_data": read.fingerprints["data"]}
    return setup._replace(mix=batches, fingerprints=digests)
