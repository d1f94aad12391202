"""What people are shown of their data before anything is computed."""

import io
import sys

from rich.console import Console
from rich.text import Text

from jaxalign.data.records.report import ReadReport
from jaxalign.data.text.clock import template_time
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.example import Example
from jaxalign.data.text.lengths import LengthReport, Spread
from jaxalign.data.text.preview import MARKS, marked, printable
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.os_errors import print_nowhere


class _Console(Console):
    """Rich's own ends the program, with code 1, when the reader of a pipe has gone."""

    def on_broken_pipe(self) -> None:
        """From here on all that is printed goes nowhere."""
        print_nowhere()


def open_console() -> Console:
    """The console of a command.

    Text is printed as it stands, brackets in a path or in data too; in a file or a
    pipe, lines are as long as they are. What the output cannot show is written out.
    That the reader of a pipe has enough ends no run.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A row may hold characters that the output's encoding does not have.
        sys.stdout.reconfigure(errors="backslashreplace")
    console = _Console(markup=False, highlight=False)
    # Without a terminal rich would break lines at 80 columns.
    console.soft_wrap = not console.is_terminal
    return console


def tell_columns(
    report: ReadReport, console: Console, *, reads_margin: bool | None = None
) -> None:
    """Prints which columns and keys nothing reads, or only rewards and templates.

    Args:
      report: Of the rows.
      console: Where people read.
      reads_margin: As `ReadReport.notes` takes it.
    """
    for note in report.notes(reads_margin=reads_margin):
        console.print(f"  {printable(note)}")


def tell_lengths(
    lengths: LengthReport, trained: Spread, stop_share: float, console: Console
) -> None:
    """Prints how long rows are before anything is cut, and how they end."""
    console.print(f"  prompt tokens: {lengths.prompt}")
    console.print(f"  response tokens: {lengths.completion}; trained: {trained}")
    console.print(f"  {stop_share:.1%} of the responses end in a stop token")


def tell_clock(tokenizer: Tokenizer, console: Console) -> None:
    """Prints what time the chat template reads, if it reads one."""
    if tokenizer.template is not None and tokenizer.template.reads_clock:
        console.print(
            f"the chat template reads the clock (strftime_now): {template_time()} for "
            "every row and prompt; --template-time sets it"
        )


def tell_notes(encoder: Encoder, console: Console) -> None:
    """Prints what the encoder counted of the rows since this was last called."""
    for note, count in sorted(encoder.notes.items()):
        console.print(f"  {note}: {count} row{'s' * (count != 1)}")
    # The held-out rows are encoded by the same encoder, and told by themselves.
    encoder.notes.clear()


def show_example(example: Example, tokenizer: Tokenizer, console: Console) -> None:
    """Prints a decoded example whose trained tokens stand in brackets."""
    begin, end = MARKS
    title = f"first example, trained tokens in {begin}double brackets{end}:"
    console.print(title)
    for sequence in example.sequences:
        text = Text("  ")
        for piece, trained in marked(tokenizer, sequence):
            text.append(piece, style="reverse green" if trained else "dim")
        console.print(text)


def show_prompt(text: str, console: Console) -> None:
    """Prints a prompt as the model reads it."""
    console.print("first prompt:")
    console.print(f"  {printable(text)}", style="dim")
