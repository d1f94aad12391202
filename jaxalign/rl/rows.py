"""How completions lie in the rows that models read."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxalign.data.packing.completions import CompletionRows
from jaxalign.data.packing.sequence_rows import SequenceRows
from jaxalign.rl.prompt import Prompt
from jaxalign.rollout.prompts import bucket_width

RolloutRows = CompletionRows | SequenceRows
PlanRows = Callable[[Sequence[Prompt]], RolloutRows]
"""From the prompts of an iteration to the rows of their completions."""


def plan_rows(
    prompts: Sequence[Prompt],
    *,
    num_generations: int,
    max_new_tokens: int,
    num_minibatches: int = 1,
    row_multiple: int = 1,
    together: bool = False,
    packed: bool = True,
) -> RolloutRows:
    """Rows for the completions of these prompts, of one of a few shapes.

    The longest prompt counts as long as the next of the lengths that samplers compile
    for, so that a step compiles once for each of those.

    Args:
      prompts: Those of an iteration.
      num_generations: Completions of each.
      max_new_tokens: Longest completion.
      num_minibatches: Into which they are divided.
      row_multiple: The number of rows is a multiple of it.
      together: All completions of a prompt share a row.
      packed: Several sequences lie in a row, which the model keeps apart by segments
        and branches; else it reads them one by one.
    """
    longest = bucket_width(max(len(x.ids) for x in prompts))
    # Rounded up: no minibatch has more, and all have the rows of the largest.
    each = -(-len(prompts) // num_minibatches)
    if not packed:
        k = num_generations if together else 1
        count = each * num_generations // k
        # Devices share rows evenly; those without a sequence are masked.
        count = -(-count // row_multiple) * row_multiple
        # The last token of a completion is a target and never an input.
        return SequenceRows(k, longest + max_new_tokens - 1, count)
    shapes: Any = {"longest_prompt": longest, "longest_completion": max_new_tokens}
    return CompletionRows.plan(
        **shapes,
        per_prompt=num_generations,
        completions=each * num_generations,
        row_multiple=row_multiple,
        undivided=together,
    )
