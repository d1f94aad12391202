"""Training by iterations: the state that a run begins with, and its steps."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxalign.recipes.rl.completions_log import CompletionsLog
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.parts import RolloutPlan
from jaxalign.recipes.rl.prompts import Prompts, prompt_batches
from jaxalign.recipes.rl.watch import Watch
from jaxalign.recipes.runs.fit import restore_or_create, run_steps
from jaxalign.recipes.runs.policy import Policy
from jaxalign.recipes.runs.run import Run
from jaxalign.rl import (
    Algorithm,
    Experience,
    Iteration,
    RLState,
    make_reward_evaluation,
)
from jaxalign.training import StepResult
from jaxalign.training.optimizer import Schedule, optimizer_step_count

# Keeps samples of evaluations apart from those of iterations.
_EVALUATION = 0xE7A1


def reference_of(policy: Policy, params: Any, config: RLConfig) -> Any:
    """A copy of the policy's parameters, which training will consume."""

    def copy(x: jax.Array) -> jax.Array:
        # Of the same type it would else be the array itself, which the step consumes.
        return jnp.array(x, dtype=config.ref_dtype, copy=True)

    return policy.program.replicate(jax.tree.map(copy, params))


def start_rl_state(
    run: Run,
    policy: Policy,
    params: Any,
    optimizer: optax.GradientTransformation,
    algorithm: Algorithm,
    plan: RolloutPlan,
) -> RLState:
    """The state of the newest checkpoint, or a new one; `params` are consumed."""
    options = {"optimizer": optimizer, "key": run.key, "kl_coef": algorithm.kl_coef}
    create = functools.partial(RLState.create, **options)
    return restore_or_create(run, policy, create, params, plan.iterations)


def observer(run: Run, config: RLConfig) -> Callable[[Experience], None]:
    """Keeps completions, shows some, and says so where there is nothing to learn."""
    folder = run.folder.path / "completions"
    shown = {"every": config.eval_steps, "shown": config.samples}
    log, watch = CompletionsLog(folder, run.console, **shown), Watch(config)

    def observe(experience: Experience) -> None:
        log.write(experience)
        watch.look(experience)

    return observe


def fit_iterations(
    run: Run,
    policy: Policy,
    iterate: Iteration,
    state: RLState,
    prompts: Prompts,
    plan: RolloutPlan,
    rate: Schedule,
) -> RLState:
    """Makes all iterations; returns the last state as one copy.

    Args:
      run: With the state's checkpoint, if there is one.
      policy: What is trained.
      iterate: An iteration.
      state: Consumed.
      prompts: To learn from, and to evaluate on.
      plan: How many iterations.
      rate: Schedule that the optimizer follows, by updates.
    """
    config, program, train = run.config, policy.program, prompts.train
    size, each = config.batch_size, iterate.sampler.sampling.num_generations

    def step(state: RLState, batch) -> tuple[RLState, StepResult]:
        # Read first: `iterate` consumes the state.
        before, count = int(state.step), optimizer_step_count(state.inner.opt_state)
        # Fewer than were planned where updates were left out; under pmap all the same.
        lr = rate(int(np.ravel(count)[0]))
        asked = [train[i] for i in batch["example_ids"]]
        state, metrics = iterate(state, asked)
        tokens, skipped = metrics.pop("num_tokens"), metrics.pop("skipped_steps", None)
        episode = (before + 1) * size * each
        metrics |= {"episode": episode, "lr": lr, "learning_rate": lr}
        return state, StepResult(metrics, tokens, skipped)

    def with_inner(change: Callable[[Any], Any], state: RLState) -> RLState:
        # Under pmap `inner` alone has an axis of devices; the rest is one copy.
        return dataclasses.replace(state, inner=change(state.inner))

    return run_steps(
        run,
        step,
        with_inner(program.replicate, state),
        lambda start: prompt_batches(
            start, size=len(train), batch_size=size, seed=config.seed
        ),
        num_steps=plan.iterations,
        evaluate=make_reward_evaluation(
            iterate,
            prompts.held_out,
            batch_size=size,
            key=jax.random.fold_in(run.key, _EVALUATION),
            stop=run.stop,
        ),
        learning_rate=None,  # `step` knows it
        steps_per_epoch=len(train) / size,
        main_metric="reward",
        unreplicate=functools.partial(with_inner, program.unreplicate),
    )
