"""A whole run in little: a bigram model through the real loop, step and checkpoints.

Tests start it as a process, kill it, and start it again. It prints nothing that
depends on the clock to `result.json`: digests of the state and of the metrics.
"""

import argparse
import dataclasses
import hashlib
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.errors import UserError
from jaxalign.losses import sft_loss
from jaxalign.ops import token_logps
from jaxalign.training import (
    Checkpoints,
    Clock,
    Intervals,
    MetricsLog,
    OptimizerConfig,
    Record,
    RunFolder,
    StopRequest,
    TrainState,
    make_eval_step,
    make_evaluate,
    make_optimizer,
    make_train_step,
    on_host_batches,
    restore_or_start,
    train,
)
from jaxalign.training.checkpoints import manifest, orbax_store
from jaxalign.training.stopping import exits

VOCAB, ROWS, LENGTH = 13, 4, 6


def batch(step: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng((7, step))
    tokens = rng.integers(0, VOCAB, (ROWS, LENGTH + 1), dtype=np.int32)
    lengths = rng.integers(1, LENGTH + 1, (ROWS, 1))
    return {
        "inputs": tokens[:, :-1],
        "targets": tokens[:, 1:],
        "mask": np.arange(LENGTH) < lengths,
        "weight": np.ones((ROWS, 1), np.float32),
        "example_ids": np.arange(ROWS)[:, None] + ROWS * step,
    }


def batches(start: int):
    while True:
        yield batch(start)
        start += 1


def place(batch):
    return {name: jnp.asarray(batch[name]) for name in batch if name != "example_ids"}


def bigram_loss(params, batch, key):
    """A table of logits, with noise from the step's key so that keys matter too."""
    noise = jax.random.normal(key, params["table"].shape) * 0.01
    logits = (params["table"] + noise)[batch["inputs"]] + params["bias"][None, None]
    logps = token_logps(logits * batch["weight"][..., None], batch["targets"])
    return sft_loss(logps, batch["mask"])


def initial_state(optimizer) -> TrainState:
    rng = np.random.default_rng(0)
    params = {
        "table": jnp.asarray(rng.normal(size=(VOCAB, VOCAB)), jnp.float32),
        "bias": jnp.zeros((VOCAB,)),
    }
    return TrainState.create(params, optimizer, jax.random.key(5))


def digests(state: TrainState) -> dict[str, str]:
    """sha256 of every leaf of the state, by path."""
    arrays = orbax_store.snapshot(state)
    return {"/".join(k): manifest.leaf_digest(v) for k, v in arrays.items()}


@dataclasses.dataclass(frozen=True)
class Settings:
    output_dir: str
    steps: int = 12
    learning_rate: float = 0.1
    resume: str = "auto"
    save_steps: int = 3
    eval_steps: int = 4
    logging_steps: int = 2


def run(settings: Settings) -> int:
    clock = Clock()
    config = OptimizerConfig(
        learning_rate=settings.learning_rate, schedule="cosine", warmup_steps=2
    )
    optimizer, schedule = make_optimizer(config, settings.steps)
    folder = pathlib.Path(settings.output_dir)
    options = {
        "config": dataclasses.asdict(settings),
        "resume": settings.resume,
        "free": ("output_dir", "resume"),
    }
    with StopRequest() as stop, RunFolder(folder, **options) as held:
        metrics = MetricsLog(folder / "metrics.jsonl")
        checkpoints = Checkpoints(folder / "checkpoints", keep_last=2)
        state, host = restore_or_start(
            held, checkpoints, metrics, initial_state(optimizer), clock=clock
        )
        evaluate = make_evaluate(
            jax.jit(make_eval_step(bigram_loss)),
            lambda: [batch(1000), batch(1001)],
            place=place,
            key=jax.random.key(1),
            stop=stop,
        )
        record = Record(
            metrics,
            num_steps=settings.steps,
            host=host,
            start=int(state.step),
            learning_rate=schedule,
            logging_steps=settings.logging_steps,
            clock=clock,
        )
        step = jax.jit(make_train_step(bigram_loss, optimizer), donate_argnums=0)
        finished = train(
            on_host_batches(
                step, place, num_tokens=lambda batch: int(batch["mask"].sum())
            ),
            state,
            batches,
            num_steps=settings.steps,
            record=record,
            stop=stop,
            checkpoints=checkpoints,
            evaluate=evaluate,
            intervals=Intervals(settings.save_steps, settings.eval_steps),
        )
        held.finished(finished.step, finished.exit_code)
    result = digests(finished.state)
    content = (folder / "metrics.jsonl").read_bytes()
    result["metrics.jsonl"] = hashlib.sha256(content).hexdigest()
    (folder / "result.json").write_text(json.dumps(result))
    return finished.exit_code


def main() -> int:
    parser = argparse.ArgumentParser()
    for field in dataclasses.fields(Settings):
        name = "--" + field.name.replace("_", "-")
        default = None if field.name == "output_dir" else field.default
        parser.add_argument(name, default=default, type=type(default or ""))
    try:
        return run(Settings(**vars(parser.parse_args())))
    except UserError as error:
        print(error, file=sys.stderr)
        return exits.USER_ERROR
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        print(error, file=sys.stderr)
        return code


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    sys.exit(main())
