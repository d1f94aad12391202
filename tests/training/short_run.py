"""A short run of the bigram model through the loop, in this process."""

from typing import Any

import jax

from jaxalign.training import (
    Intervals,
    MetricsLog,
    OptimizerConfig,
    Record,
    StopRequest,
    make_optimizer,
    make_train_step,
    on_host_batches,
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

    def split(names):
        return {name: options.pop(name) for name in names if name in options}

    start, metrics = start or state(), MetricsLog(folder / "metrics.jsonl")
    num_steps, host = options.pop("num_steps", 10), options.pop("host", None)
    record = Record(
        options.pop("metrics", metrics),
        num_steps=num_steps,
        host=host,
        start=int(start.step),
        learning_rate=options.pop("learning_rate", SCHEDULE),
        **split(("logging_steps", "max_skipped", "steps_per_epoch", "clock")),
        **split(("after_evaluation", "progress")),
    )
    step = on_host_batches(
        step_fn,
        options.pop("place", driver.place),
        num_tokens=lambda batch: int(batch["mask"].sum()),
        **split(("host_metrics",)),
    )
    intervals = Intervals(**split(Intervals._fields))
    return train(
        step,
        start,
        batches,
        num_steps=num_steps,
        record=record,
        stop=options.pop("stop", StopRequest()),
        intervals=intervals,
        **options,
    )


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
