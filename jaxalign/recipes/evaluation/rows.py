"""What a data file can be evaluated for, and the rows for it."""

from typing import NamedTuple

from rich.console import Console

from jaxalign.data.records.formats import Format, Task, parse_columns
from jaxalign.data.records.read import detect_format, read_records
from jaxalign.data.sources.source import Source, open_source
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.example import Example
from jaxalign.data.text.lengths import LengthLimits
from jaxalign.data.text.prepare import encode_all
from jaxalign.errors import UserError
from jaxalign.recipes.evaluation.config import Config
from jaxalign.recipes.inputs.display import tell_notes
from jaxalign.recipes.inputs.prompt import encode_prompts
from jaxalign.rl import Prompt


class RowReader(NamedTuple):
    """A data file, and how it is read.

    Attributes:
      path: As the user gave it.
      source: Its rows.
      columns: New names, as `--columns` takes them.
      format: The user's choice of layout, or None.
      limit: Rows to read, or None.
      encoder: From text to tokens.
      console: Where people read.
    """

    path: str
    source: Source
    columns: str | None
    format: str | None
    limit: int | None
    encoder: Encoder
    console: Console

    def form(self, task: Task, *, must: bool = False) -> Format | None:
        """How the rows serve a task; None, or an error with `must`, if they do not."""
        rename = parse_columns(self.columns) if self.columns else None
        try:
            return detect_format(self.source, task, rename=rename, name=self.format)
        except UserError:
            if must:
                raise
            # No mistake: an evaluation measures what the rows allow.
            return None

    def examples(self, form: Format, max_length: int) -> list[Example]:
        """Encoded rows; those that are too long are left out, and counted."""
        records = read_records(self.source, form, limit=self.limit)
        limits = LengthLimits(max_length, None, "drop")
        examples, report = encode_all(records, self.encoder, limits=limits)
        self._tell(form, len(examples), report.too_long)
        return examples

    def prompts(self, form: Format, longest: int) -> list[Prompt]:
        """Prompts of at most `longest` tokens; the others are left out, and counted."""
        records = read_records(self.source, form, limit=self.limit)
        prompts, too_long = encode_prompts(records, self.encoder, longest=longest)
        if not prompts:
            raise UserError(
                f"{self.path}: none of {too_long} prompts has {longest} tokens or "
                "less, which is what --max-new-tokens leaves of the model's context. "
                "Lower it."
            )
        self._tell(form, len(prompts), too_long)
        return prompts

    def _tell(self, form: Format, rows: int, too_long: int) -> None:
        more = f", {too_long} too long" if too_long else ""
        self.console.print(f"{self.path}: {form}: {rows} rows{more}")
        tell_notes(self.encoder, self.console)


def open_reader(config: Config, encoder: Encoder, console: Console) -> RowReader:
    """Opens the data of an evaluation; see `RowReader`."""
    c, source = config, open_source(config.data)
    return RowReader(c.data, source, c.columns, c.format, c.limit, encoder, console)


def need_flags(prompts: list[Prompt], column: str) -> None:
    """Refuses rows in which the column of `--known` is not true or false."""
    for prompt in prompts:
        value = prompt.columns.get(column)
        # By equality, so that 1 and 0 pass too.
        if value not in (True, False):
            has = ", ".join(prompt.columns) or "none"
            raise UserError(
                f"--known {column}: row {prompt.index} has {value!r} there, not true "
                f"or false; its columns are {has}. Fill it, or name another column."
            )
