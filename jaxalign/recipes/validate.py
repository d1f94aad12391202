"""`jaxalign validate`: every row of a data file, before anything is trained."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from jaxalign.errors import RowError, UserError
from jaxalign.recipes.flags.config import DataConfig

if TYPE_CHECKING:
    from rich.console import Console

    from jaxalign.data.text.encode import Encoder
    from jaxalign.recipes.inputs.rows import Records

_PLACES = 3  # named of rows that share a reason


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(DataConfig):
    """Check each row as a training command would read it; list what is wrong."""

    task: (
        Literal["sft", "preference", "unpaired", "scored", "rankings", "prompts"] | None
    ) = None
    """What the rows are for; by default what their columns say."""
    show: int = 20
    """Reasons to list, of bad rows and of rows that are too long."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        if self.show < 0:
            raise UserError(f"show must be 0 or more, got {self.show}")


@dataclasses.dataclass
class Found:
    """What is wrong with rows of a file.

    Attributes:
      untrainable: Rows that no example can be made of.
      too_long: Rows that `--max-length` leaves out.
      at_end: What was said when all rows were read, or None.
    """

    untrainable: list[RowError] = dataclasses.field(default_factory=list)
    too_long: list[RowError] = dataclasses.field(default_factory=list)
    at_end: UserError | None = None


def main(config: Config) -> int:
    """Prints a report; returns 2 if a row is bad, else 0."""
    from jaxalign.data.text.clock import fix_clock
    from jaxalign.models import read_config, resolve_model
    from jaxalign.recipes.inputs.display import open_console, tell_clock
    from jaxalign.recipes.inputs.rows import make_encoder

    console = open_console()
    fix_clock(config.template_time)
    folder = resolve_model(config.model)
    encoder = make_encoder(config, folder, read_config(folder))
    tell_clock(encoder.tokenizer, console)
    files = [config.data, *([config.eval_data] if config.eval_data else [])]
    return max([_validate(config, file, encoder, console) for file in files])


def _validate(config: Config, file: str, encoder: "Encoder", console) -> int:
    """Prints a report of one file; returns 2 if a row is bad, or none is left."""
    from jaxalign.recipes.inputs.display import tell_notes
    from jaxalign.recipes.inputs.rows import open_records

    task = "prompt" if config.task == "prompts" else config.task
    # All rows are read: this command lists what is bad, and drops nothing.
    opened = open_records(config, file, task, on_bad_row="drop", max_dropped=1.0)
    prompts = opened.form.shape == "prompt-only"
    check = _check_prompts if prompts else _check_examples
    found = check(config, file, opened, encoder, console)
    tell_notes(encoder, console)
    bad = [*opened.report.bad, *found.untrainable]
    _list(f"{len(bad)} bad rows", bad, config.show, console)
    title = f"{len(found.too_long)} rows that are too long"
    _list(title, found.too_long, config.show, console)
    if found.at_end and not bad:
        console.print(str(found.at_end))
    left = opened.report.records - len(found.untrainable) - len(found.too_long)
    if left <= 0 and not (bad or found.at_end):
        console.print("no row is left to train on")
        return 2
    # The code of every error of a user's, so that a script stops there.
    if bad or found.at_end:
        return 2
    other = "other " * bool(found.too_long)
    console.print(f"every {other}row can be used", style="green")
    return 0


def _check_examples(
    config: Config, file: str, opened: "Records", encoder: "Encoder", console
):
    from jaxalign.data.records.record import Tie
    from jaxalign.data.text.lengths import (
        LengthLimits,
        LengthReport,
        TooLongError,
        apply_limits,
    )
    from jaxalign.data.text.preview import stop_share, trained_tokens
    from jaxalign.recipes.inputs.display import show_example, tell_lengths

    tokenizer, found, examples = encoder.tokenizer, Found(), []
    # Each row that is too long is listed, whatever `--on-long` would make of it.
    limits = LengthLimits(config.max_length, config.max_prompt_length, "error")
    limits = limits.within(encoder.max_positions)
    for index, record in enumerate(_to_the_end(opened, found)):
        try:
            example = encoder(record, index)
            # Before the limits, so that the lengths told are also those of long rows.
            examples.append(example)
            apply_limits(example, limits, bos=tokenizer.adds_bos)
        except TooLongError as error:
            found.too_long.append(error)
        except Tie:
            opened.report.tie()
        except RowError as error:
            found.untrainable.append(error)
    _tell(file, opened, console)
    if examples:
        lengths = LengthReport.of(examples, limits.max_length)
        share = stop_share(examples, tokenizer.stop_ids)
        tell_lengths(lengths, trained_tokens(examples), share, console)
        over = f"  longer than {limits.max_length}: {lengths.over_limit}"
        console.print(over)
        show_example(examples[0], tokenizer, console)
    return found


def _check_prompts(
    config: Config, file: str, opened: "Records", encoder: "Encoder", console
):
    from jaxalign.data.text.lengths import Spread, TooLongError
    from jaxalign.recipes.inputs.display import show_prompt
    from jaxalign.recipes.inputs.prompt import prompt_ids

    found, prompts = Found(), []
    longest = min(config.max_length, config.max_prompt_length or config.max_length)
    longest = min(longest, encoder.max_positions or longest)
    for record in _to_the_end(opened, found):
        try:
            ids = prompt_ids(record, encoder)
        except RowError as error:
            found.untrainable.append(error)
            continue
        prompts.append(ids)
        if len(ids) > longest:
            what = f"its prompt has {len(ids)} tokens, {longest} are allowed"
            fix = "Raise --max-length or --max-prompt-length."
            found.too_long.append(TooLongError(record.where, what, fix))
    _tell(file, opened, console)
    if prompts:
        lengths = Spread.of([len(ids) for ids in prompts])
        console.print(f"  prompt tokens: {lengths}")
        over = f"  longer than {longest}: {len(found.too_long)}"
        console.print(over)
        show_prompt(encoder.tokenizer.decode(prompts[0]), console)
    return found


def _to_the_end(opened: "Records", found: Found) -> Iterator:
    """The records; that none is left is kept for the end of the report."""
    try:
        yield from opened.records
    # A `UserError` as well, but about a row, and nothing that waits for the end.
    except RowError:
        raise
    except UserError as error:
        found.at_end = error


def _tell(file: str, opened: "Records", console: "Console") -> None:
    from jaxalign.recipes.inputs.display import tell_columns

    line = f"{file}: {opened.form}: {opened.report}"
    console.print(line)
    tell_columns(opened.report, console)


def _list(
    title: str, errors: Sequence[RowError], most: int, console: "Console"
) -> None:
    """Lists errors, each reason once with the rows that it holds for."""
    from jaxalign.data.text.preview import printable

    reasons: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        reasons.setdefault((error.what, error.fix), []).append(error.where)
    if errors:
        console.print(f"{title}:", style="bold")
    for (what, fix), places in [*reasons.items()][:most]:
        named = ", ".join(places[:_PLACES])
        more = len(places) - _PLACES
        rows = f"{named} and {more} more rows" if more > 0 else named
        line = printable(f"  {rows}: {what}. {fix}")
        console.print(line)
    if len(reasons) > most:
        console.print(f"  ... and {len(reasons) - most} more reasons (--show)")
