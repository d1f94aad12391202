"""Checks of what records say of their completions."""

from collections.abc import Sequence

import numpy as np

from jaxalign.data.text.example import Example
from jaxalign.errors import UserError


def check_label(
    examples: Sequence[Example], label: str, *, loss: str, columns: str
) -> None:
    """Refuses rows that do not say, from 0 to 1, what a loss reads.

    Args:
      examples: All of a run.
      label: Its name.
      loss: That reads it.
      columns: Where rows have it.

    Raises:
      UserError: A row has no such label, none says anything, or a value is no share.
    """
    for x in examples:
        if label not in x.labels:
            raise UserError(
                f"{x.where or f'row {x.index}'} has no {columns}, which --loss {loss} "
                "reads. Add it to every row, or choose another --loss."
            )
        values = x.labels[label]
        # In this form NaN is refused, too.
        bad = values[~((values >= 0) & (values <= 1))]
        if len(bad):
            raise UserError(
                f"{x.where or f'row {x.index}'}: {columns} gives {bad[0]:g}, and "
                f"--loss {loss} reads numbers from 0 to 1. Scale them, or choose "
                "another --loss."
            )
    # Rows that say nothing get a 0, so zeros in all rows say nothing.
    if not np.any([x.labels[label] for x in examples]):
        raise UserError(
            f"no row has {columns} other than 0, so --loss {loss} would learn nothing "
            "from it. Add it to the rows, or choose another --loss."
        )


def check_ranks(examples: Sequence[Example], *, instead: str) -> None:
    """Refuses completions of equal rank, for losses that need a strict order.

    Args:
      examples: With the label `score`.
      instead: What to do but drop the row: the end of the message's last sentence.

    Raises:
      UserError: Two completions of a prompt have the same score.
    """
    for x in examples:
        scores = x.labels["score"].tolist()
        if len(set(scores)) < len(scores):
            raise UserError(
                f"{x.where}: two completions have the same rank, and Plackett-Luce is "
                f"defined for strict orders. Drop the row, or {instead}."
            )
