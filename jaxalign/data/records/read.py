"""All rows of a source as records, with a report on those that are not."""

from collections.abc import Iterable, Iterator, Mapping

from jaxalign.data.records.build_records import to_records
from jaxalign.data.records.formats import Format, detect, parse_columns
from jaxalign.data.records.layouts import Task
from jaxalign.data.records.record import Preference, Record, Tie
from jaxalign.data.records.report import ReadReport
from jaxalign.data.sources.source import Source, open_source
from jaxalign.errors import RowError, UserError

# Rows that a format is found from: one broken or sparse row does not decide alone.
_PROBED = 20


def open_rows(
    path: str,
    task: Task | None = None,
    *,
    columns: str | None = None,
    name: str | None = None,
    conversational: bool | None = None,
) -> tuple[Source, Format]:
    """Opens what `--data` names and finds its format.

    Args:
      path: file, glob, weighted list or `tfds:` name, as `open_source` takes it.
      task: what the rows are for; None for what their columns say.
      columns: renamed columns as text: `prompt=question`.
      name: the format or converter, else found from the columns.
      conversational: whether text becomes messages; None for as the rows are.
    """
    source = open_source(path)
    rename = parse_columns(columns) if columns else None
    return source, detect_format(
        source, task, rename=rename, name=name, conversational=conversational
    )


def detect_format(
    source: Source,
    task: Task | None = None,
    *,
    rename: Mapping[str, str] | None = None,
    name: str | None = None,
    conversational: bool | None = None,
) -> Format:
    """`detect` on the first readable rows of a source, and of each of its parts.

    Raises:
      RowError: if none of the first rows can be read.
      UserError: as `detect` does, or if the parts differ.
    """
    # Each part by itself: else the first one's format would be forced on the others.
    # An empty one has no format, and gives no rows.
    if parts := [x for x in getattr(source, "parts", ()) if len(x)]:
        options = {"rename": rename, "name": name, "conversational": conversational}
        found = [detect_format(part, task, **options) for part in parts]
        for part, format in zip(parts, found, strict=True):
            if format != found[0]:
                raise UserError(
                    f"{parts[0].where(0)} and the rows behind it are: {found[0]}; "
                    f"{part.where(0)} and those behind it are: {format}. Rows of one "
                    "run have one format: convert some, or set --format or "
                    "--conversational."
                )
        return found[0]
    rows, first_error = [], None
    for i in range(min(len(source), _PROBED)):
        try:
            rows.append({k: v for k, v in source[i].items() if v is not None})
        except RowError as error:
            first_error = first_error or error
    if first_error and not rows:
        raise first_error
    # Rows of JSON lines may lack columns: all names count, and the row with most.
    columns = {k: None for row in rows for k in row}
    fullest = max(rows, key=len)
    return detect(
        columns, fullest, task, rename=rename, name=name, conversational=conversational
    )


def read_records(
    source: Source,
    format: Format,
    *,
    on_bad_row: str = "error",
    max_dropped: float = 0.01,
    limit: int | None = None,
    report: ReadReport | None = None,
) -> Iterator[Record]:
    """Yields the records of a source in its order.

    Args:
      source: rows.
      format: from `detect_format`.
      on_bad_row: `error` reads on to count, then raises; `drop` leaves bad rows out.
      max_dropped: the share of rows that `drop` may leave out; 1 for any.
      limit: number of records after which to stop.
      report: filled while reading: rows, ties and each bad row.

    Yields:
      Records. After the first bad row under `error` nothing more is yielded.

    Raises:
      UserError: at the end: for bad rows, for too many of them, or when no record is
        left. Ties are no bad rows.
    """
    if on_bad_row not in ("error", "drop"):
        raise UserError(f"--on-bad-row {on_bad_row!r}: known are error and drop.")
    report = ReadReport() if report is None else report
    for i in range(len(source)):
        try:
            records = to_records(source[i], format, source.where(i))
        except Tie:
            records = []
            report.ties += 1
        except RowError as error:
            records = []
            report.bad.append(error)
        report.rows += 1
        for record in records:
            # Under `error` the rest is read only to be counted.
            if report.bad and on_bad_row == "error":
                break
            report.add(record, format.name)
            yield record
            # What lies behind the limit is unread, so no share of bad rows is judged.
            if report.records == limit:
                return
    _refuse_if_too_few(report, on_bad_row, max_dropped)


def unpaired(records: Iterable[Record]) -> Iterator[Record]:
    """The records, with each pair as two completions that have a label each."""
    for record in records:
        if isinstance(record, Preference):
            yield from record.apart
        else:
            yield record


def _refuse_if_too_few(report: ReadReport, on_bad_row: str, max_dropped: float) -> None:
    bad, rows = len(report.bad), report.rows
    if bad and on_bad_row == "error":
        more = f" {bad - 1} more rows are bad; `jaxalign validate` lists them."
        raise UserError(
            f"{report.bad[0]}{more if bad > 1 else ''} Fix the data, or pass "
            f"--on-bad-row drop ({bad} of {rows} rows would go)."
        )
    if bad > max_dropped * rows:
        raise UserError(
            f"{bad} of {rows} rows ({bad / rows:.1%}) are bad, and at most "
            f"{max_dropped:.1%} may be dropped. The first: {report.bad[0]} Fix the "
            "data, or allow more with --max-dropped."
        )
    if not report.records:
        why = f" The first bad row: {report.bad[0]}" if bad else ""
        raise UserError(
            f"none of {rows} rows gives a record ({report.ties} ties, {bad} bad); at "
            f"least 1 is needed.{why} Check the data and --format."
        )
