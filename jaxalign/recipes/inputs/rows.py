"""The encoded rows of a run, read as its settings say, with a report to the user."""

import functools
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console

from jaxalign.data.records import layouts
from jaxalign.data.records.formats import Format
from jaxalign.data.records.read import open_rows, read_records, unpaired
from jaxalign.data.records.record import Record
from jaxalign.data.records.report import ReadReport
from jaxalign.data.sources.source import Source
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.example import Example
from jaxalign.data.text.lengths import LengthLimits
from jaxalign.data.text.prepare import EncodeReport, encode_all
from jaxalign.data.text.tokenizer import Tokenizer, load_tokenizer
from jaxalign.errors import UserError
from jaxalign.models import ModelConfig
from jaxalign.recipes.flags.config import DataConfig
from jaxalign.recipes.inputs.display import (
    show_example,
    tell_clock,
    tell_columns,
    tell_lengths,
    tell_notes,
)

TrainingTask = Literal["sft", "preference", "unpaired", "scored", "rankings"]
# Some rows may be odd; below this it is the template that writes no stop token.
MIN_STOP_SHARE = 0.99


class Rows(NamedTuple):
    """Encoded rows, and what tells them from others.

    Attributes:
      train: Examples to train on.
      held_out: Examples to evaluate on; may be empty.
      fingerprints: Digests of the sources by role.
    """

    train: list[Example]
    held_out: list[Example]
    fingerprints: dict[str, str]

    @property
    def all(self) -> list[Example]:
        """Those of both kinds."""
        return [*self.train, *self.held_out]


def make_encoder(config: DataConfig, folder: Path, model: ModelConfig) -> Encoder:
    """The tokenizer and template of a model folder, with the settings for rows."""
    tokenizer = load_tokenizer(folder, chat_template=config.chat_template)
    arguments = template_arguments(config.chat_template_kwargs)
    return Encoder(
        tokenizer,
        model.vocab_size,
        config.loss_on,
        max_positions=model.max_positions,
        template_kwargs=arguments,
        markers=config.markers_in_text,
    )


def template_arguments(text: str | None) -> dict[str, Any]:
    """The values that `--chat-template-kwargs` names, read as YAML does.

    >>> template_arguments("enable_thinking=false,depth=3,style=short")
    {'enable_thinking': False, 'depth': 3, 'style': 'short'}
    """
    import yaml

    pairs = [pair.partition("=") for pair in (text or "").split(",") if pair.strip()]
    try:
        if not all(name.strip() and eq for name, eq, _ in pairs):
            raise ValueError("a name or a value is missing")
        # To a template the text `false` would be true.
        return {name.strip(): yaml.safe_load(value) for name, _, value in pairs}
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(
            f"--chat-template-kwargs {text!r} is not understood. Write names and "
            "values: --chat-template-kwargs enable_thinking=false."
        ) from error


def read_rows(
    config: DataConfig,
    task: TrainingTask,
    encoder: Encoder,
    seed: int,
    console: Console,
    *,
    reads_margin: bool = False,
) -> Rows:
    """Reads, encodes and splits the rows of a run.

    Args:
      config: What is read, and how.
      task: What the rows are for.
      encoder: From records to tokens.
      seed: Decides which rows are held out.
      console: Where people read what was found.
      reads_margin: Whether the loss reads how much better the better side is.

    Raises:
      UserError: A row cannot be used, or hardly any row ends in a stop token.
    """
    tell_clock(encoder.tokenizer, console)
    read = functools.partial(_read, config, task, encoder, console, reads_margin)
    train, digest = read(config.data)
    digests = {"data": digest}
    held_out: list[Example] = []
    if config.eval_data:
        held_out, digest = read(config.eval_data)
        digests["eval_data"] = digest
    elif config.eval_fraction:
        train, held_out = split(train, config.eval_fraction, seed)
        console.print(f"held out: {len(held_out)} of {len(train) + len(held_out)}")
        if not train or not held_out:
            raise UserError(
                f"eval_fraction {config.eval_fraction} leaves {len(train)} rows to "
                f"train on and {len(held_out)} to evaluate; both must be 1 or more."
            )
    # What a template does to a row can be seen before any time is spent on it.
    show_example(train[0], encoder.tokenizer, console)
    return Rows(train, held_out, digests)


class Records(NamedTuple):
    """What a file holds.

    Attributes:
      source: Its rows.
      form: What they are.
      report: On the rows, filled while `records` are read.
      records: As the task reads them.
    """

    source: Source
    form: Format
    report: ReadReport
    records: Iterable[Record]


def open_records(
    config: DataConfig, path: str, task: layouts.Task | None, **bad_rows: Any
) -> Records:
    """The records of a file; for `unpaired` each pair is two completions with a label.

    Args:
      config: What columns and rows are called.
      path: As `--data` takes it.
      task: What the rows are for; None for what their columns say.
      **bad_rows: `on_bad_row` and `max_dropped` of `read_records`.
    """
    source, form = open_rows(path, task, **config.reading)
    report = ReadReport()
    records = read_records(source, form, report=report, **bad_rows)
    if task == "unpaired":
        records = unpaired(records)
    return Records(source, form, report, records)


def _read(
    config: DataConfig,
    task: TrainingTask,
    encoder: Encoder,
    console: Console,
    reads_margin: bool,
    path: str,
) -> tuple[list[Example], str]:
    bad_rows: dict[str, Any] = {
        "on_bad_row": config.on_bad_row,
        "max_dropped": config.max_dropped,
    }
    source, form, report, records = open_records(config, path, task, **bad_rows)
    limits = LengthLimits(config.max_length, config.max_prompt_length, config.on_long)
    examples, encoded = encode_all(
        records, encoder, limits=limits, read=report, **bad_rows
    )
    # After encoding, which reads the records and thereby fills their report.
    console.print(f"{path}: {form}: {report}")
    tell_columns(report, console, reads_margin=reads_margin)
    _tell(encoded, console)
    room, over = encoder.max_positions, encoded.lengths.over_limit
    if room is not None and room < config.max_length and over:
        console.print(f"  longer than the {room} tokens that the model reads: {over}")
    tell_notes(encoder, console)
    check_stops(encoded, encoder.tokenizer, config.allow_no_eos)
    return examples, source.fingerprint()


def _tell(report: EncodeReport, console: Console) -> None:
    tell_lengths(report.lengths, report.trained, report.stop_share, console)
    if report.too_long or report.clipped:
        console.print(
            f"  {report.too_long} rows dropped for their length, "
            f"{report.clipped} cut at the end"
        )
    if report.prompt_differs:
        console.print(
            f"  {report.prompt_differs} prompts are rendered otherwise on their own; "
            "the whole rendering was used"
        )


def check_stops(report: EncodeReport, tokenizer: Tokenizer, allow: bool) -> None:
    """Refuses data after which the model would never stop."""
    if report.stop_share >= MIN_STOP_SHARE or allow:
        return
    stops = ", ".join(repr(tokenizer.token(i)) for i in sorted(tokenizer.stop_ids))
    raise UserError(
        f"only {report.stop_share:.1%} of the responses end in a trained stop token "
        f"({stops or 'the tokenizer has none'}), so the model would not learn to stop. "
        "Choose another --chat-template, or pass --allow-no-eos."
    )


def split(
    examples: Sequence[Example], fraction: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Examples to train on and to hold out; those of one prompt stay together.

    The side is decided by a hash of the seed and the prompt, so it does not depend on
    the order of the rows or on what else is in the file.
    """
    train, held_out = [], []
    for example in examples:
        first = example.sequences[0]
        # Text without a prompt goes by itself, not with all that have the same first
        # token.
        ids = first.ids[: first.prompt_length] if first.prompt_length > 1 else first.ids
        # Not `hash`, which Python salts anew in each process for text and bytes.
        digest = hashlib.sha256(f"{seed}:".encode() + ids.tobytes()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        (held_out if share < fraction else train).append(example)
    return train, held_out
