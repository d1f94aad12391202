"""The prompts of a run, and which of them come when."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from jaxalign.data.packing.order import permutation
from jaxalign.data.records.read import open_rows, read_records
from jaxalign.data.records.report import ReadReport
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import UserError
from jaxalign.recipes.inputs.display import (
    show_prompt,
    tell_clock,
    tell_columns,
    tell_notes,
)
from jaxalign.recipes.inputs.generation_settings import tell_unused
from jaxalign.recipes.inputs.prompt import encode_prompts
from jaxalign.recipes.inputs.rows import split
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.runs.policy import Policy
from jaxalign.rl import Prompt

# Keeps the orders of refills apart from those of epochs, which have the same seed.
_REFILL = 0x5EED


class Prompts(NamedTuple):
    """All prompts of a run.

    Attributes:
      train: Those to learn from.
      held_out: Those to evaluate on; may be empty.
      fingerprints: Digests of the sources by role.
    """

    train: list[Prompt]
    held_out: list[Prompt]
    fingerprints: dict[str, str]


def read_prompts(
    config: RLConfig, encoder: Encoder, policy: Policy, console: Console
) -> Prompts:
    """Reads, encodes and splits the prompts of a run.

    Args:
      config: The settings.
      encoder: Of the model.
      policy: The model.
      console: Where what was found is told.

    Raises:
      UserError: A row cannot be used, or too many prompts are too long.
    """
    tell_unused(
        policy.folder,
        config.temperature,
        "rollouts are drawn from the whole distribution, as training computes it, at "
        f"temperature {config.temperature:g}",
        console,
    )
    tell_clock(encoder.tokenizer, console)
    room = policy.config.max_positions
    train, digest = _read(config, config.data, encoder, room, console)
    digests, held_out = {"data": digest}, []
    if config.eval_data:
        held_out, digest = _read(config, config.eval_data, encoder, room, console)
        digests["eval_data"] = digest
    elif config.eval_fraction:
        train, held_out = _hold_out(train, config.eval_fraction, config.seed)
        console.print(f"held out: {len(held_out)} of {len(train) + len(held_out)}")
    if not train or (config.eval_fraction and not held_out):
        raise UserError(
            f"eval_fraction {config.eval_fraction} leaves {len(train)} prompts to "
            f"train on and {len(held_out)} to evaluate; both must be 1 or more."
        )
    show_prompt(train[0].text, console)
    return Prompts(train, held_out, digests)


def _read(config: RLConfig, path: str, encoder: Encoder, room: int, console: Console):
    source, form = open_rows(path, "prompt", **config.reading)
    report = ReadReport()
    records = read_records(
        source,
        form,
        on_bad_row=config.on_bad_row,
        max_dropped=config.max_dropped,
        report=report,
    )
    most = min(config.max_length, room) - config.max_new_tokens
    most = min(most, config.max_prompt_length or most)
    if most < 1:
        raise UserError(
            f"max_new_tokens {config.max_new_tokens} leaves no room for a prompt: the "
            f"model reads {room} tokens; lower --max-new-tokens."
        )
    prompts, too_long = encode_prompts(
        records, encoder, longest=most, on_long=config.on_long, report=report
    )
    console.print(f"{path}: {form}: {report}; {too_long} prompts too long")
    tell_columns(report, console)
    tell_notes(encoder, console)
    if too_long > config.max_dropped * report.records or not prompts:
        raise UserError(
            f"{too_long} of {report.records} prompts have more than {most} tokens, "
            f"and at most {config.max_dropped:.1%} may be dropped. Raise "
            "--max-prompt-length or --max-length, or allow more with --max-dropped."
        )
    return prompts, source.fingerprint()


def _hold_out(prompts: list[Prompt], fraction: float, seed: int):
    """The same prompt is always on the same side."""

    def bare(i: int, prompt: Prompt) -> Example:
        # No token is trained, so `split` goes by all of them.
        ids = np.asarray(prompt.ids, np.int32)
        return Example(i, (TokenSequence(ids, np.zeros(len(ids), bool)),))

    sides = split([bare(i, x) for i, x in enumerate(prompts)], fraction, seed)
    return tuple([prompts[x.index] for x in side] for side in sides)


def prompts_of(iteration: int, *, size: int, batch_size: int, seed: int) -> list[int]:
    """Numbers of the prompts of an iteration: every epoch is a new permutation.

    >>> [prompts_of(i, size=3, batch_size=2, seed=0) for i in range(3)]
    [[0, 1], [2, 0], [1, 2]]
    """
    places = range(iteration * batch_size, (iteration + 1) * batch_size)
    epochs = {place // size for place in places}
    orders = {epoch: permutation(size, seed, epoch) for epoch in epochs}
    return [int(orders[place // size][place % size]) for place in places]


def refills(iteration: int, taken: list[int], *, size: int, seed: int) -> list[int]:
    """All prompts that an iteration may draw on further, in its own random order.

    Those already taken come last: they are used again only where there are no others.
    """
    order = permutation(size, seed + _REFILL, iteration).tolist()
    used = set(taken)
    return [i for i in order if i not in used] + [i for i in order if i in used]


def prompt_batches(
    start: int, *, size: int, batch_size: int, seed: int
) -> Iterator[dict[str, Any]]:
    """What the training loop reads: the prompts of each iteration from `start` on."""
    while True:
        numbers = prompts_of(start, size=size, batch_size=batch_size, seed=seed)
        # By this name `bad_batches` records them, if a loss is not finite.
        yield {"example_ids": np.asarray(numbers, np.int64)}
        start += 1


def refill_from(
    train: Sequence[Prompt], seed: int
) -> Callable[[int, Sequence[Prompt]], list[Prompt]]:
    """`Sampling.refill` from all prompts of the run."""
    # An index counts all records that were read; some are held out or dropped.
    place = {x.index: i for i, x in enumerate(train)}

    def refill(iteration: int, prompts: Sequence[Prompt]) -> list[Prompt]:
        taken = [place[x.index] for x in prompts]
        order = refills(iteration, taken, size=len(train), seed=seed)
        return [train[i] for i in order]

    return refill
