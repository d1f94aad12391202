"""The rows of a run in batches: which examples come in which update, in which rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxalign.data.packing.batches import Batches
from jaxalign.recipes.flags.config import TrainingConfig
from jaxalign.recipes.inputs.rows import Rows

MICROBATCH_TOKENS = 2048  # of a device: more at a time is hardly faster on any


class Packed(NamedTuple):
    """The batches of a run.

    Attributes:
      train: The updates, in order.
      held_out: What is evaluated, or None.
      microbatch_size: Rows that a device computes at a time.
      complete: From a batch on the devices to the same with what the step needs.
    """

    train: Batches
    held_out: Batches | None
    microbatch_size: int
    complete: Callable[[Any], Any] = lambda batch: batch

    def describe(self, devices: int) -> str:
        """How many updates of what shapes there are, in a line."""
        plan = self.train.plan
        tokens = ", ".join(str(x.tokens) for x in plan.shapes)
        counts = ", ".join(map(str, plan.row_counts))
        return (
            f"{len(self.train)} updates of {self.train.batch_size} examples in rows of "
            f"{tokens} tokens; rows per update: {counts}; "
            f"{self.microbatch_size} rows a device at a time at most, on {devices} "
            "devices"
        )


def rows_at_a_time(config: TrainingConfig, tokens: int) -> int:
    """Rows of so many tokens that a device computes at a time, at most."""
    return config.microbatch_size or max(1, MICROBATCH_TOKENS // tokens)


def pack_rows(
    config: TrainingConfig, rows: Rows, *, devices: int, read_ends: bool = False
) -> Packed:
    """The updates of a run, and the held-out rows in batches of the same size.

    Args:
      config: The settings.
      rows: Train and held-out rows.
      devices: Over how many of them rows are split.
      read_ends: Batches hold the end of each sequence, not its trained tokens.
    """
    epochs = config.num_train_epochs
    if config.max_steps is not None:
        # May be a fraction of an epoch: `Batches` rounds the product to examples.
        epochs = config.max_steps * config.batch_size / len(rows.train)
    common: dict[str, Any] = {
        "batch_size": config.batch_size,
        "packing": config.packing,
        "read_ends": read_ends,
        "row_multiple": devices,
        "rows_at_a_time": lambda tokens: devices * rows_at_a_time(config, tokens),
    }
    train = Batches(
        rows.train,
        seed=config.seed,
        num_epochs=epochs,
        row_length=config.row_length,
        **common,
    )
    held_out = None
    if rows.held_out:
        # In their order, so that every evaluation sums the same batches.
        held_out = Batches(rows.held_out, shuffle=False, **common)
    # The longest rows decide: with them fewest fit into a microbatch.
    return Packed(train, held_out, rows_at_a_time(config, train.plan.shapes[-1].tokens))
