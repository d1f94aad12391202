"""What became of the rows of a source, and of their columns."""

import collections
import dataclasses
from collections.abc import Iterator

from jaxalign.data.records import keys
from jaxalign.data.records.messages import FOR_TEMPLATES
from jaxalign.data.records.record import Message, Preference, PromptOnly, Record
from jaxalign.errors import RowError


@dataclasses.dataclass
class ReadReport:
    """What became of the rows that were read.

    Attributes:
      rows: rows read so far.
      records: records they gave.
      ties: comparisons without a winner, left out.
      bad: one error for each row that cannot be used, in order.
      unread: records by column that nothing reads.
      margins: records by column that says how much better their better side is.
      kept: records by column that is kept for rewards.
      passed_on: messages by key that only the chat template could read.
      untrained: turns of the assistant that the rows keep from being trained.
    """

    rows: int = 0
    records: int = 0
    ties: int = 0
    bad: list[RowError] = dataclasses.field(default_factory=list)
    unread: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    margins: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    kept: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    passed_on: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    untrained: int = 0

    def __str__(self):
        """As it is printed."""
        return (
            f"{self.rows} rows: {self.records} records, {self.ties} ties left out, "
            f"{len(self.bad)} bad rows"
        )

    def add(self, record: Record, layout: str = "") -> None:
        """Counts a record of rows of that layout."""
        self.records += 1
        if isinstance(record, PromptOnly):
            self.kept.update(list(record.extra))
        else:
            margin = _margin(record, layout)
            told = keys.told(record.extra, layout)
            self.unread.update(name for name in told if name not in margin)
            self.margins.update(margin)
        for message in _messages(record):
            self.untrained += not message.trained
            self.passed_on.update(k for k in message.extra if k not in FOR_TEMPLATES)

    def refuse(self, error: RowError) -> None:
        """Counts the last record among the bad rows: it turned out to be of no use."""
        self.records -= 1
        self.bad.append(error)

    def tie(self) -> None:
        """Counts the last record among the ties: rendered, both sides are the same."""
        self.records -= 1
        self.ties += 1

    def notes(self, *, reads_margin: bool | None = None) -> list[str]:
        """What a person should know of the columns, a sentence each.

        Args:
          reads_margin: whether the loss reads how much better a side is; None where no
            loss is known.

        >>> report = ReadReport()
        >>> report.add(PromptOnly("2 + 2 =", extra={"answer": "4"}))
        >>> report.notes()
        ['columns kept for rewards: answer']
        """
        turns = f"{self.untrained} turns of the assistant are read and not trained"
        unread, graded = self.unread, self.margins
        if reads_margin is not None:
            unread = unread if reads_margin else unread + graded
            graded = collections.Counter()
        return [
            *self._listed("columns that nothing reads", unread),
            *self._listed("columns that only losses with a margin read", graded),
            *self._listed("columns kept for rewards", self.kept),
            *self._listed("keys of messages that only templates see", self.passed_on),
            *([turns] if self.untrained else []),
        ]

    def _listed(self, what: str, names: collections.Counter[str]) -> Iterator[str]:
        if names:
            yield f"{what}: {', '.join(sorted(names))}"


def _margin(record: Record, layout: str) -> tuple[str, ...]:
    """The columns that say how much better a side is, if the record knows it."""
    if not isinstance(record, Preference) or record.margin is None:
        return ()
    return keys.margin_of(record.margin, record.extra, layout)


def _messages(record: Record) -> Iterator[Message]:
    """The messages of a record, the prompt's and those of every completion."""
    # Names of contents in all shapes; a record has some of them.
    names = ("messages", "prompt", "completion", "chosen", "rejected")
    contents = [getattr(record, name, ()) for name in names]
    for content in (*contents, *getattr(record, "completions", ())):
        # Text has none, nor have token ids.
        if isinstance(content, tuple):
            yield from content
