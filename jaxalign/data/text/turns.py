"""Where the assistant's turns stand in a rendered conversation.

Generation blocks say it where a template has them. Elsewhere it is found from
renderings. Marks around the texts of the conversation show where each message is. Its
turn begins where the rendering leaves the text that a model is prompted with, that is
the rendering of the messages before with the assistant's header, and ends with the
first stop token behind it. All places are those of the *whole* rendering, which may
differ from that of a part: many templates leave out the thoughts of earlier turns.
"""

import bisect
import dataclasses
import os.path
import re
from collections.abc import Sequence

from jaxalign.data.text.marking import MAX_UNITS, Mark, one_word, without_marks
from jaxalign.data.text.reading import Ask, Messages, Reading, Render, UnmarkableError
from jaxalign.data.text.sandbox import Refused
from jaxalign.data.text.spans import Span


@dataclasses.dataclass(frozen=True)
class Turns:
    """Finds the assistant's turns in a rendering.

    Attributes:
      render: the template.
      ask: the conversation.
      text: its rendering.
      reading: the same with marks.
      header: what the template writes before a turn that is still to come; "" if
        that is unknown, None if it writes nothing.
      stops: texts of the stop tokens.
    """

    render: Render
    ask: Ask
    text: str
    reading: Reading
    header: str | None
    stops: tuple[str, ...]

    @property
    def ours(self) -> list[int]:
        """Numbers of the assistant's messages."""
        messages = self.ask.messages
        return [i for i, m in enumerate(messages) if m.get("role") == "assistant"]

    def spans(self) -> list[Span]:
        """From behind the header of each turn to the end of its stop token.

        Raises:
          UnmarkableError: the place of a turn is unknown.
        """
        ends = {i: self._end(i) for i in self.ours}
        starts = {i: self._start(i) for i in self.ours}
        self._ask_for_starts(starts)
        self._ask_for_ends(ends)
        spans = [Span(starts[i] or 0, ends[i] or 0, i) for i in self.ours]
        for before, after in zip([Span(0, 0, -1), *spans], spans, strict=False):
            if not before.end <= after.start <= after.end:
                raise UnmarkableError("its turns lie over each other")
        return spans

    def _marks(self, i: int) -> tuple[int, int] | None:
        return self.reading.extents.get(i)

    def _start(self, i: int) -> int | None:
        """Where the turn begins, if that is seen in the whole rendering."""
        marks = self._marks(i)
        if marks is None:
            return None
        own = self.reading.marks[marks[0]].place
        gap = self.text[self._place(marks[0] - 1) : own]
        return own if self.header and gap.endswith(self.header) else None

    def _end(self, i: int) -> int | None:
        """Where the turn ends, if that is seen in the whole rendering."""
        marks = self._marks(i)
        if marks is None:
            return None
        own = self.reading.marks[marks[1]].place
        following = self.reading.marks[marks[1] + 1 : marks[1] + 2]
        behind = self.text[own : following[0].place if following else None]
        if end := end_of_turn(behind, self.stops):
            return own + end
        # Behind the last message only white space of the template follows.
        return own + len(behind.rstrip()) if i == len(self.ask.messages) - 1 else None

    def _place(self, number: int) -> int:
        """The place of a mark; 0 for what comes before the first."""
        return self.reading.marks[number].place if number >= 0 else 0

    def _ask_for_starts(self, starts: dict[int, int | None]) -> None:
        """Finds the turns that do not begin directly behind the header."""
        missing = [i for i, start in starts.items() if start is None]
        if missing and missing[0] == 0:
            raise UnmarkableError("nothing comes before the assistant's text")
        messages, tools = self.reading.marked[:2]
        before = [messages[:i] for i in missing]
        asks = [Ask(x, tools) for x in before]
        if self.header is None:
            word = [one_word(messages[i], MAX_UNITS) for i in missing]
            asks += [Ask([*x, w], tools) for x, w in zip(before, word, strict=True)]
        else:
            asks += [Ask(x, tools, True) for x in before]
        said = self.render(asks)
        for i, bare, prompt in zip(missing, said, said[len(missing) :], strict=False):
            if isinstance(prompt, Refused):
                raise UnmarkableError(f"it does not render a prompt ({prompt.reason})")
            starts[i] = self._behind(i, *self._prompt(prompt, bare))

    def _prompt(self, prompt: str, bare: str | Refused) -> tuple[str, list[Mark], int]:
        """A prompt's text and marks, and how long the header at its end is."""
        text, marks = without_marks(prompt)
        without = without_marks(bare)[0] if isinstance(bare, str) else text
        if self.header is not None:
            return text, marks, len(text) - _common(text, without)
        # The template writes no header behind a prompt. What it writes before the one
        # word of an assistant is the header; white space alone is the assistant's.
        word = [k for k, mark in enumerate(marks) if mark.unit == MAX_UNITS]
        if not word:
            raise UnmarkableError("it does not render one word of the assistant")
        text, marks = text[: marks[word[0]].place], marks[: word[0]]
        if text.rstrip() == without.rstrip() and text.startswith(without):
            return without, marks, 0
        return text, marks, len(text) - _common(text, without) + 1

    def _behind(self, i: int, prompt: str, marks: list[Mark], header: int) -> int:
        """Where the whole leaves the prompt of turn i.

        Text of the prompt is compared with the whole from the last mark on that both
        have, so that it does not matter what else differs before.
        """
        own = self._marks(i)
        if own is None:
            if not self.text.startswith(prompt):
                raise UnmarkableError("it renders a prompt otherwise than the whole")
            return len(prompt)
        shown, place = _last_shared(marks, self.reading, own[0])
        expected, first = prompt[shown:], self._place(own[0])
        common = _common(expected, self.text[place:first])
        # The whole may leave the prompt within the header only: thoughts may be opened
        # there, and left out in the whole.
        if common < len(expected) and common <= len(expected) - header:
            raise UnmarkableError("it renders a prompt otherwise than the whole")
        return place + common

    def _ask_for_ends(self, ends: dict[int, int | None]) -> None:
        """Finds the ends of turns behind which no stop token comes."""
        missing = [i for i, end in ends.items() if end is None]
        messages, tools = self.reading.marked[:2]
        said = self.render([Ask(messages[: i + 1], tools) for i in missing])
        for i, part in zip(missing, said, strict=True):
            if isinstance(part, Refused):
                raise UnmarkableError(f"it does not render a part ({part.reason})")
            ends[i] = self._before(i, part)

    def _before(self, i: int, part: str) -> int:
        """Where the whole leaves the rendering that ends with turn i."""
        text, marks = without_marks(part)
        own = self._marks(i)
        if own is None:
            tail = text.rstrip()
            if not self.text.startswith(tail):
                raise UnmarkableError("it renders a part otherwise than the whole")
            return len(tail)
        place = self._place(own[1])
        tail = text[marks[-1].place :].rstrip() if marks else ""
        shared = tail[: _common(tail, self.text[place : place + len(tail)])]
        if len(shared) < len(tail):
            # The part may close the turn by another token than the whole; what both
            # tokens begin with is of neither.
            opened = max(shared.rfind("<"), shared.rfind("["))
            closed = max(shared.rfind(">"), shared.rfind("]"))
            shared = shared[:opened] if opened > closed else shared
        return place + len(shared.rstrip())


def end_of_turn(behind: str, stops: Sequence[str]) -> int:
    """Where the first stop token in a text ends, or 0."""
    # The first one, and of several at one place the longest.
    found = [(behind.find(stop), -len(stop)) for stop in stops if stop in behind]
    if not found:
        return 0
    place, length = min(found)
    return place - length


def spans_of_blocks(
    text: str,
    blocks: Sequence[tuple[int, int]],
    messages: Messages,
    reading: Reading | None,
    stops: Sequence[str],
) -> list[Span]:
    """The turns that a template's generation blocks show, with their stop tokens.

    Args:
      text: the rendering.
      blocks: where its generation blocks stand.
      messages: of the conversation.
      reading: the rendering with marks, to tell whose a block is where a turn has
        several.
      stops: texts of the stop tokens.

    Raises:
      UnmarkableError: a turn has no block.
    """
    ours = [i for i, m in enumerate(messages) if m.get("role") == "assistant"]
    whose = ours
    if len(blocks) != len(ours):
        whose = _owners(blocks, ours, reading) if ours else []
    if not len(blocks) == len(whose) or set(whose) != set(ours):
        raise UnmarkableError(
            f"it writes {len(blocks)} generation blocks for {len(ours)} assistant"
            " turns, and must write one for each at least"
        )
    spans = []
    for (start, end), i in zip(blocks, whose, strict=True):
        said = text[start:end].rstrip()
        if not any(said.endswith(stop) for stop in stops):
            # The stop token that ends the turn is trained, also where it stands outside
            # of the block with white space between.
            rest = re.match(r"\s*", text[end:])
            place = end + (rest.end() if rest else 0)
            ahead = [x for x in stops if text.startswith(x, place)]
            end = place + max(map(len, ahead)) if ahead else end
        spans.append(Span(start, end, i))
    return spans


def _owners(blocks, ours: list[int], reading: Reading | None) -> list[int]:
    """The message of each block: by its marks, else that of the block before."""
    whose, last = [], ours[0]
    marks = [] if reading is None else reading.marks
    places = [mark.place for mark in marks]
    for start, end in blocks:
        # An end mark where the block begins, and a first mark where it ends, are not
        # the block's own.
        inside = range(bisect.bisect_left(places, start), bisect.bisect(places, end))
        found = {
            reading.message(marks[k])
            for k in inside
            if reading is not None
            and not (marks[k].closes and places[k] == start)
            and not (not marks[k].closes and places[k] == end)
        }
        if len(found) > 1:
            return []
        last = found.pop() if found else last
        whose.append(last)
    return whose


def _last_shared(marks: list[Mark], whole: Reading, before: int) -> tuple[int, int]:
    """The places, in a part and in the whole, of the last mark that both have.

    Args:
      marks: of the part.
      whole: the whole rendering.
      before: the number of a mark of the whole that the shared one comes before.
    """
    for mark in reversed(marks):
        numbers = whole.numbers.get((mark.unit, mark.closes), [])
        if k := bisect.bisect_left(numbers, before):
            return mark.place, whole.marks[numbers[k - 1]].place
    return 0, 0


def _common(a: str, b: str) -> int:
    return len(os.path.commonprefix([a, b]))
