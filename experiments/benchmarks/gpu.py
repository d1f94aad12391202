"""One accelerator: are its numbers those of the CPU, and how much of it is used.

    python -m experiments.benchmarks.gpu --out gpu.json
    python -m experiments.benchmarks.gpu --platform cpu --shape tiny --out gpu.json

Every loss and its gradient are computed there and on the CPU. Then SFT, DPO (packed
rows, prompts shared by both sides), an iteration of GRPO and plain sampling are timed
on a Llama of random weights, matrix products in bfloat16: tokens/s, and for updates the
share of the machine's peak (MFU) by the formula 6 N per token and attention, without
what is computed anew. Expected: no loss further off than 1e-3 of its size. Ten minutes.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import ours
from experiments.benchmarks.generation_work import time_calls
from experiments.benchmarks.ids import counts, dense_updates
from experiments.benchmarks.shapes import SHAPES, Shape
from jaxalign import rl
from jaxalign.models import backbone_of, init_params
from jaxalign.parallel.compute_type import compute_type
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


def check_losses(device: Any) -> dict[str, float]:
    """The largest difference of each loss or gradient, as part of its size."""
    from tests.losses.losses_under_test import CASES

    found = {}
    for name, case in CASES.items():
        first, *rest = case.make_inputs(np.random.default_rng(0), 16, 5)

        def total(first, *rest, loss=case.loss):
            return loss(first, *rest).loss.total.sum()

        numbers = []
        for place in (device, jax.devices("cpu")[0]):
            with jax.default_device(place):
                value, grads = jax.jit(jax.value_and_grad(total))(first, *rest)
            leaves = [np.ravel(x) for x in jax.tree.leaves((value, grads))]
            numbers.append(np.concatenate(leaves).astype(np.float64))
        got, wanted = numbers
        found[name] = float(np.max(np.abs(got - wanted) / (1 + np.abs(wanted))))
    return found


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


def main() -> None:
    args = _arguments()
    jax.config.update("jax_platforms", "cpu" if args.platform == "cpu" else "cuda,cpu")
    device, shape = jax.devices()[0], SHAPES[args.shape]
    args.dtype = str(compute_type("auto", device))
    peaks = (x for kind, x in PEAKS.items() if kind in device.device_kind)
    peak = next(peaks, None)
    differences = check_losses(device)
    worst = max(differences, key=lambda name: differences[name])
    print(f"{len(differences)} losses; furthest off {worst}: {differences[worst]:.1e}")
    rows = []
    for task in ("sft", "dpo_128"):
        rows.append(measure_training(task, shape, peak, args))
        print(rows[-1], flush=True)
    for measured in (measure_grpo, measure_sampling):
        rows.append(measured(shape, args))
        print(rows[-1], flush=True)
    found = {
        "device": device.device_kind,
        "jax": jax.__version__,
        "shape": args.shape,
        "dtype": args.dtype,
        "largest difference of a loss": differences[worst],
        "measured": rows,
    }
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    if differences[worst] > 1e-3:
        raise SystemExit(f"{worst} is off by {differences[worst]:.1e}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--platform", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--shape", choices=list(SHAPES), default="1B")
    parser.add_argument("--steps", type=int, default=5, help="updates to time")
    parser.add_argument("--remat", default="dots")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
