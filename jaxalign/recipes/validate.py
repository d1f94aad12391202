"""`jaxalign validate`: every row of a data file, before anything is trained."""

import dataclasses
from typing import Literal

from jaxalign.recipes.config import DataConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(DataConfig):
    """Check each row as `sft` or `dpo` would read it; list what is wrong."""

    task: Literal["sft", "preference", "unpaired", "scored", "rankings"] | None = None
    """What the rows are for; by default what their columns say."""
    show: int = 20
    """Bad rows to list."""


def main(config: Config) -> int:
    """Prints a report; returns 2 if a row is bad, else 0."""
    from rich.console import Console

    from jaxalign.data.text.lengths import (
        LengthLimits,
        LengthReport,
        TooLongError,
        apply_limits,
    )
    from jaxalign.data.text.preview import stop_share, trained_tokens
    from jaxalign.errors import RowError
    from jaxalign.models import read_config, resolve_model
    from jaxalign.recipes.rows import (
        make_encoder,
        open_records,
        show_example,
        tell_lengths,
    )

    console = Console()
    folder = resolve_model(config.model)
    encoder = make_encoder(config, folder, read_config(folder).vocab_size)
    tokenizer = encoder.tokenizer
    _, form, account, records = open_records(
        config, config.data, config.task, on_bad_row="drop", max_dropped=1.0
    )
    limits = LengthLimits(config.max_length, config.max_prompt_length, "error")
    examples, untrainable, too_long = [], [], []
    for index, record in enumerate(records):
        try:
            example = encoder(record, index)
            examples.append(example)
            apply_limits(example, limits, bos=tokenizer.adds_bos)
        except TooLongError as error:
            too_long.append(error)
        except RowError as error:
            untrainable.append(error)
    console.print(f"{config.data}: {form}: {account}", highlight=False)
    if examples:
        lengths = LengthReport.of(examples, config.max_length)
        share = stop_share(examples, tokenizer.stop_ids)
        tell_lengths(lengths, trained_tokens(examples), share, console)
        console.print(
            f"  longer than {config.max_length}: {lengths.over_limit}", highlight=False
        )
        show_example(examples[0], tokenizer, console)
    bad = [*account.bad, *untrainable]
    for title, errors in (("bad rows", bad), ("rows that are too long", too_long)):
        if errors:
            console.print(f"{len(errors)} {title}:", style="bold")
        for error in errors[: config.show]:
            console.print(f"  {error}", markup=False, highlight=False)
        if len(errors) > config.show:
            console.print(f"  ... and {len(errors) - config.show} more (--show)")
    if not bad:
        console.print("every row can be used", style="green")
    return 2 if bad else 0
