"""The shell commands that a page prints, one after the other.

They stand in fenced blocks of a shell, in indented blocks, and between backticks where
they begin with `make`, `pip` or `python`.
"""

import dataclasses
import pathlib
import re
import shlex

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?<=\n\n)(?:(?: {4}|\t).+\n)+")
_SPAN = re.compile(r"`((?:make|pip|python3?) [^`]+)`")
_SHELLS = ("sh", "bash", "shell", "console")


@dataclasses.dataclass(frozen=True)
class Printed:
    """A command as it is printed, and what its shell makes of it."""

    page: str
    text: str

    @property
    def words(self) -> tuple[str, ...]:
        """Without assignments in front and comments behind."""
        words = shlex.split(self.text, comments=True)
        while words and re.match(r"[A-Za-z_]\w*=", words[0]):
            words.pop(0)
        return tuple(words)

    @property
    def program(self) -> tuple[str, ...]:
        """Which of its commands a program is to run, or which module or file Python."""
        return self.words[: 3 if self.words[1:2] == ("-m",) else 2]

    @property
    def flags(self) -> tuple[str, ...]:
        """Those behind the program."""
        rest = self.words[len(self.program) :]
        return tuple(x.split("=")[0] for x in rest if re.match(r"--?[a-z]", x))

    def __str__(self) -> str:
        return " ".join(self.words)


def commands_of(page: pathlib.Path, root: pathlib.Path) -> list[Printed]:
    """Every command of a Markdown page, in its order, each once."""
    text = page.read_text("utf-8")
    found: list[tuple[int, str]] = []

    def blank(match):  # so that what follows keeps its place
        return re.sub(r"[^\n]", " ", match[0])

    for block in _FENCED.finditer(text):
        if block[1] in _SHELLS:
            found += _lines(block.start(), block[2], console=block[1] == "console")
    text = _FENCED.sub(blank, text)
    for block in _INDENTED.finditer(text):
        plain = re.sub(r"^(?: {4}|\t)", "", block[0], flags=re.MULTILINE)
        found += _lines(block.start(), plain)
    text = _INDENTED.sub(blank, text)
    found += [(x.start(), " ".join(x[1].split())) for x in _SPAN.finditer(text)]
    name = page.relative_to(root).as_posix()
    found.sort(key=lambda x: x[0])
    printed = (Printed(name, text) for _, text in found)
    return list({str(x): x for x in printed if x.words}.values())


def _lines(start: int, block: str, console: bool = False) -> list[tuple[int, str]]:
    """A line that ends in a backslash goes on in the next."""
    lines = block.replace("\\\n", " ").splitlines()
    if console:  # the others are what was printed
        lines = [x.removeprefix("$ ") for x in lines if x.startswith("$ ")]
    return [(start, x) for x in lines]
