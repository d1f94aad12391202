"""All records of a run to examples, with a report on what became of each row."""

import dataclasses
from collections.abc import Iterable
from typing import Literal

from jaxalign.data.records.record import Record, Tie
from jaxalign.data.records.report import ReadReport
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.example import Example
from jaxalign.data.text.lengths import (
    LengthLimits,
    LengthReport,
    Spread,
    TooLongError,
    apply_limits,
)
from jaxalign.data.text.preview import stop_share, trained_tokens
from jaxalign.errors import RowError, UserError


@dataclasses.dataclass(frozen=True)
class EncodeReport:
    """What became of the rows.

    Attributes:
      rows: how many were read.
      bad_rows: messages about those that could not be used (with `on_bad_row="drop"`).
      too_long: left out because of their length.
      clipped: cut at the end of a completion.
      prompt_differs: the chat template renders the prompt alone otherwise than within
        the whole conversation; the whole was used.
      lengths: before any cutting.
      trained: trained tokens of an example.
      stop_share: share of sequences, clipped ones aside, that end in a stop token.
    """

    rows: int
    bad_rows: tuple[str, ...]
    too_long: int
    clipped: int
    prompt_differs: int
    lengths: LengthReport
    trained: Spread
    stop_share: float


def encode_all(
    records: Iterable[Record],
    encoder: Encoder,
    *,
    limits: LengthLimits | None = None,
    on_bad_row: Literal["error", "drop"] = "error",
    max_dropped: float = 0.01,
    read: ReadReport | None = None,
) -> tuple[list[Example], EncodeReport]:
    """Encodes every record and applies the length limits.

    Args:
      records: in order; their numbers become example ids.
      encoder: how.
      limits: of length; None for no limit.
      on_bad_row: stop at the first row that cannot be used, or leave such rows out and
        count them.
      max_dropped: the share of rows that may be left out as bad; 1 for any.
      read: of the reader, which counts what is left out here as well, and judges the
        share of both when all rows are read.

    Returns:
      The examples in order, and the report.

    Raises:
      RowError: with `on_bad_row="error"`, the first bad row; with
        `on_long="error"`, the first over-long one.
      UserError: more rows than `max_dropped` were bad, or none is left.
    """
    limits = (limits or LengthLimits()).within(encoder.max_positions)
    encoder = _with_character_limit(encoder, limits)
    whole, kept, bad, rows, ties, too_long = [], [], [], 0, 0, []
    for index, record in enumerate(records):
        rows += 1
        try:
            example = encoder(record, index)
            # Counted before the limits, so that the report shows what is too long.
            whole.append(example)
            kept.append(apply_limits(example, limits, bos=encoder.tokenizer.adds_bos))
        except TooLongError as error:
            if limits.on_long == "error":
                raise
            too_long.append(str(error))
        except Tie:
            ties += 1
            if read is not None:
                read.tie()
        except RowError as error:
            if on_bad_row == "error":
                raise
            bad.append(str(error))
            if read is not None:
                read.refuse(error)
    if read is None and len(bad) > max_dropped * rows:
        raise UserError(
            f"{len(bad)} of {rows} rows cannot be used, more than the {max_dropped:.1%}"
            f" that may be left out. The first: {bad[0]}"
        )
    if not kept:
        raise UserError(
            f"None of {rows} rows is left: {len(too_long)} are too long, {len(bad)}"
            f" cannot be used, {ties} are ties. The first:"
            f" {(bad or too_long or ['no row'])[0]}"
        )
    # A clipped sequence lacks its stop token on purpose.
    finished = [e for e in kept if not any(x.clipped for x in e.sequences)]
    report = EncodeReport(
        rows=rows,
        bad_rows=tuple(bad),
        too_long=len(too_long),
        clipped=len(kept) - len(finished),
        prompt_differs=sum(x.prompt_differs for x in kept),
        lengths=LengthReport.of(whole, limits.max_length),
        trained=trained_tokens(kept),
        stop_share=stop_share(finished or kept, encoder.tokenizer.stop_ids),
    )
    return kept, report


def _with_character_limit(encoder: Encoder, limits: LengthLimits) -> Encoder:
    """Nothing is tokenised that lies beyond `max_length` tokens in any case."""
    # Which part of a prompt is kept is known only when all of it is tokenised.
    if limits.max_length is None or limits.on_long.startswith("keep"):
        return encoder
    longest = encoder.tokenizer.longest_token
    # One token above the limit, so that a text that is cut here is still too long.
    return dataclasses.replace(
        encoder, max_characters=(limits.max_length + 1) * longest
    )
