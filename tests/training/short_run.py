"""A short run of the bigram model through the loop, in this process."""

from typing import Any

import jax

from jaxalign.training import (
    MetricsLog,
    OptimizerConfig,
    StopRequest,
    make_optimizer,
    make_train_step,
    read_metrics,
    train,
)
from tests.training import driver

OPTIMIZER, SCHEDULE = make_optimizer(
    OptimizerConfig(learning_rate=0.1, schedule="linear"), num_steps=10
)
STEP = jax.jit(make_train_step(driver.bigram_loss, OPTIMIZER))


def state():
    return driver.initial_state(OPTIMIZER)


def go(
    folder,
    *,
    step_fn: Any = STEP,
    start=None,
    batches: Any = driver.batches,
    **options: Any,
):
    """`train` with what the test does not care about filled in."""
    arguments: dict[str, Any] = {
        "num_steps": 10,
        "place": driver.place,
        "metrics": MetricsLog(folder / "metrics.jsonl"),
        "stop": StopRequest(),
        "num_tokens": lambda batch: int(batch["mask"].sum()),
        "learning_rate": SCHEDULE,
    }
    start = start or state()
    return train(step_fn, start, batches, **(arguments | options))


def lines(folder, split="train"):
    all_lines = read_metrics(folder / "metrics.jsonl")
    return [line for line in all_lines if line["split"] == split]


def by_hand(num_steps, skip=()):
    """The same updates without a loop: the states and the metrics of each step."""
    current, history = state(), []
    for n in range(num_steps):
        new, metrics = STEP(current, driver.place(driver.batch(n)))
        if n + 1 in skip:
            current = current.__class__(
                new.step, current.params, current.opt_state, current.key
            )
        else:
            current = new
        history.append(jax.tree.map(float, metrics))
    return current, history


def same_bits(a, b):
    return driver.digests(a) == driver.digests(b)
