"""What is timed of jaxalign on one accelerator: updates, an iteration, sampling."""

import statistics
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import ours
from experiments.benchmarks.beside_trl import TASKS
from experiments.benchmarks.generation_work import time_calls
from experiments.benchmarks.ids import counts, dense_updates
from experiments.benchmarks.shapes import SHAPES, Shape
from jaxalign import rl
from jaxalign.models import backbone_of, init_params
from jaxalign.recipes.planning.formulas import train_flops
from jaxalign.rollout import decoder_of, generate
from jaxalign.training import OptimizerConfig, make_optimizer

# Dense bfloat16 products in FLOP/s, as NVIDIA states them.
PEAKS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
}
PROMPTS, COMPLETIONS = 8, 8


def measure_speed(options: Any) -> list[dict[str, Any]]:
    """All of it, a row for each; printed too."""
    shape, kind = SHAPES[options.shape], jax.devices()[0].device_kind
    peak = next((x for name, x in PEAKS.items() if name in kind), None)
    rows = []
    for task in TASKS:
        rows.append(measure_training(task, shape, peak, options))
        print(rows[-1], flush=True)
    for measured in (measure_grpo, measure_sampling):
        rows.append(measured(shape, options))
        print(rows[-1], flush=True)
    return rows


def measure_training(task: str, shape: Shape, peak: float | None, options: Any) -> dict:
    """Tokens/s and MFU of updates, after one that compiles."""
    updates = dense_updates(task, shape, options.steps + 1)
    machine = ours.machine_of(shape, options.remat, options.dtype)
    work = ours.work_of(machine, updates)
    laps = ours.timed(work.update, work.batches)[0]
    seconds = statistics.median(laps.wall)
    batch = work.batches[1]
    read = int(np.sum(batch.tokens.segment_ids > 0))
    trained = int(np.sum(batch.tokens.target_mask))
    # A token sees half of its row on average.
    seen = shape.length / 2
    flops = train_flops(machine.model.config, read, trained, seen)
    return {
        "task": task,
        "tokens_per_s": counts(updates[1:2])["real_tokens"][0] / seconds,
        "step_s": seconds,
        "mfu": peak and flops / seconds / peak,
    }


def measure_grpo(shape: Shape, options: Any) -> dict:
    """An iteration: sampling, scoring by a free reward, and one update."""
    machine = ours.machine_of(shape, options.remat, options.dtype)
    new = shape.length // 4
    # Not laid over a mesh: `make_iteration` is plain `jax.jit` here.
    params = jax.jit(lambda key: init_params(machine.model, key))(jax.random.key(0))
    iterate = rl.make_iteration(
        backbone_of(machine.model),
        algorithm=rl.grpo(),
        reward=lambda completions: [float(np.mean(x.ids)) for x in completions],
        optimizer=make_optimizer(OptimizerConfig(learning_rate=1e-6), 100)[0],
        sampling=rl.Sampling(new, num_generations=COMPLETIONS),
        decoder=decoder_of(machine.model),
    )
    prompts = _prompts(shape, PROMPTS, shape.length // 4)
    state = iterate.start(params, jax.random.key(1))

    def call() -> list[int]:
        nonlocal state
        state, metrics = iterate(state, prompts)
        float(metrics["loss"].value)
        return [new] * (PROMPTS * COMPLETIONS)

    return _timed("grpo", call, options)


def measure_sampling(shape: Shape, options: Any) -> dict:
    """Completions of full length."""
    machine = ours.machine_of(shape, "none", options.dtype)
    params = machine.random_params(jax.random.key(0))
    decoder, new = decoder_of(machine.model), shape.length // 4
    prompts = _prompts(shape, PROMPTS * COMPLETIONS, shape.length // 4)

    def call() -> list[int]:
        done = generate(
            decoder,
            params,
            prompts,
            jax.random.key(1),
            max_new_tokens=new,
            batch_size=len(prompts),
        )
        return done.lengths.tolist()

    return _timed("sampling", call, options)


def _timed(task: str, call: Callable[[], list[int]], options: Any) -> dict:
    """Tokens/s of calls that give the lengths of what they wrote."""
    laps, _, lengths = time_calls(call, options.steps)
    seconds = statistics.median(laps.wall)
    return {"task": task, "tokens_per_s": sum(lengths) / seconds, "step_s": seconds}


def _prompts(shape: Shape, count: int, length: int) -> list[list[int]]:
    ids = np.random.default_rng(0).integers(3, shape.vocab, (count, length))
    return ids.tolist()
