"""Chat templates: messages to text, and where in the text each turn stands."""

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxalign.data.text.clock import template_time
from jaxalign.data.text.dialect import for_template, to_json
from jaxalign.data.text.marking import (
    BLOCK,
    Depth,
    Marked,
    with_marks,
    without_blocks,
    without_marks,
)
from jaxalign.data.text.reach import (
    calls_of,
    in_words,
    left_out,
    missing_units,
)
from jaxalign.data.text.reading import (
    Ask,
    Messages,
    Render,
    Tools,
    UnmarkableError,
    read_marked,
)
from jaxalign.data.text.sandbox import RENDERER, LimitError, Refused
from jaxalign.data.text.spans import Rendered, Span
from jaxalign.data.text.turns import Turns, spans_of_blocks
from jaxalign.errors import UserError

BUILTIN = ("chatml", "gemma", "llama3", "mistral", "qwen", "zephyr")
"""Names of the templates that come with the package; each has a training twin."""
# From most to least: a template that changes a name may still leave contents alone.
_DEPTHS: tuple[Depth, ...] = ("all", "values", "contents", "assistant")


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template, rendered in a process of its own within limits.

    Attributes:
      source: the Jinja text.
      name: where it came from, for messages.
      variables: what it may read besides the messages: `bos_token`, `eos_token`, ...
      for_tools: the template in its place where a row has tools, or None.
    """

    source: str
    name: str
    variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    for_tools: "ChatTemplate | None" = None

    @functools.cached_property
    def marks_generation(self) -> bool:
        """Whether it says by `{% generation %}` what the assistant writes."""
        return bool(re.search(r"\{%[-+]?\s*generation\s*[-+]?%\}", self.source))

    @property
    def sources(self) -> tuple[str, ...]:
        """The Jinja text, and that for rows with tools."""
        return (self.source, *(self.for_tools.sources if self.for_tools else ()))

    @property
    def reads_clock(self) -> bool:
        """Whether what it writes may depend on the time; see `clock.py`."""
        return any("strftime_now" in source for source in self.sources)

    @functools.cached_property
    def wants_parts(self) -> bool:
        """Whether contents reach its text as lists of parts only."""
        turns = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
        ]
        shaped = [for_template(turns, self.source, parts=x) for x in (False, True)]
        asks = [Ask(*with_marks(x, None, "contents")[:2]) for x in shaped]
        whole = []
        for said in self._ask(asks, {}):
            marks = without_marks(said)[1] if isinstance(said, str) else []
            whole.append({mark.unit for mark in marks} == {0, 1})
        # Most templates want text; parts are for those that text does not reach.
        return whole == [False, True]

    def render(
        self,
        messages: Messages,
        *,
        tools: Tools | None = None,
        add_generation_prompt: bool = False,
        **kwargs: Any,
    ) -> str:
        """The conversation as text.

        Args:
          messages: `{"role", "content", ...}` in order.
          tools: JSON descriptions of tools, for templates that know them.
          add_generation_prompt: end with the header of an assistant turn.
          **kwargs: further variables (`enable_thinking`, ...).

        Raises:
          UserError: the template refuses the messages, fails, or exceeds its limits.

        >>> template = ChatTemplate("{{ messages[0].role }} says", "mine")
        >>> print(template.render([{"role": "user", "content": "hi"}]))
        user says
        """
        template = self.for_tools if tools and self.for_tools else self
        render = functools.partial(template._ask, kwargs=to_json(kwargs))
        (said,) = template._first(
            render, messages, tools, lambda m, t: [Ask(m, t, add_generation_prompt)]
        )[1]
        return without_blocks(said)[0]

    def render_marked(
        self,
        messages: Messages,
        *,
        tools: Tools | None = None,
        add_generation_prompt: bool = False,
        spans: bool = True,
        prompt: int | None = None,
        stops: Sequence[str] = (),
        descriptions: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """The conversation as text, and where its parts stand in it.

        Generation blocks are believed where the template has them; for the others see
        `turns.py`.

        Args:
          messages: as for `render`.
          tools: as for `render`.
          add_generation_prompt: as for `render`.
          spans: find the assistant's turns.
          prompt: so many messages are also rendered alone, as a prompt.
          stops: texts of the stop tokens.
          descriptions: `pieces` also show the descriptions of tools.
          options: further variables, the keywords of `render`.

        Raises:
          UnmarkableError: the assistant's text is not found.
          UserError: as `render`.
        """
        template = self.for_tools if tools and self.for_tools else self
        render: Render = functools.partial(template._ask, kwargs=to_json(options or {}))
        depths: tuple[Depth, ...] = _DEPTHS
        if descriptions:
            depths = ("descriptions", *_DEPTHS)

        marked: list[Marked] = []

        def asks(messages: Messages, tools: Tools | None) -> list[Ask]:
            # Of the attempt that succeeds: `_first` may make two.
            marked[:] = [with_marks(messages, tools, depths[0])]
            found = [
                Ask(messages, tools, add_generation_prompt),
                Ask(*marked[0][:2], add_generation_prompt),
            ]
            return found + [Ask(messages[:prompt], tools, True)] * (prompt is not None)

        ask, said = template._first(render, messages, tools, asks)
        text, blocks = without_blocks(said[0])
        reading = read_marked(render, ask, text, depths, (marked[0], said[1]))
        missing = missing_units(render, ask, text, reading)
        told = [left_out(x, ask) for x in missing]
        lost = tuple(
            in_words(x, ask)
            for x, words in zip(missing, told, strict=True)
            if words is None
        )
        turns: list[Span] = []
        if spans and not lost:
            turns = template._turns(render, ask, text, blocks, reading, stops)
        alone = said[-1] if prompt is not None else None
        if isinstance(alone, Refused):
            raise template._refusal(alone.reason)
        return Rendered(
            text,
            tuple(turns),
            None if alone is None else without_blocks(alone)[0],
            lost=lost,
            left_out=frozenset(words for words in told if words is not None),
            pieces=None if reading is None else tuple(reading.pieces),
        )

    def _first(
        self,
        render: Render,
        messages: Messages,
        tools: Tools | None,
        asks: Callable[[Messages, Tools | None], list[Ask]],
    ) -> tuple[Ask, list[Any]]:
        """The first of what is asked for, and all renderings; the first is text.

        Arguments of calls are given as objects, or as text where that fails.
        """
        plain, described = to_json(messages), to_json(tools) if tools else None
        calls = any(map(calls_of, plain))
        reason = ""
        for as_text in (False, True) if calls else (False,):
            shaped = for_template(
                plain,
                self.source,
                parts=self.wants_parts,
                arguments_as_text=as_text,
            )
            wanted = asks(shaped, described)
            said = render(wanted)
            if isinstance(said[0], str):
                return wanted[0], said
            reason = reason or said[0].reason
        raise self._refusal(reason)

    def _turns(self, render, ask, text, blocks, reading, stops) -> list[Span]:
        try:
            if self.marks_generation:
                return spans_of_blocks(text, blocks, ask.messages, reading, stops)
            if reading is None:
                raise UnmarkableError("it rewrites what the conversation says")
            header = self._header(render.keywords["kwargs"])
            return Turns(render, ask, text, reading, header, tuple(stops)).spans()
        except UnmarkableError as error:
            raise UnmarkableError(
                f"The chat template {self.name} does not show which text of this"
                f" conversation the assistant writes: {error}. Use a template with"
                " generation blocks: --chat-template NAME.training, NAME one of"
                f" {', '.join(BUILTIN)}, or a .jinja file of your own."
            ) from error

    def _header(self, kwargs: Mapping[str, Any]) -> str | None:
        """What it writes behind a question that is to be answered, see `Turns`."""
        key = json.dumps(kwargs, sort_keys=True)
        if key not in self._headers:
            turn = {"role": "user", "content": "a"}
            asked = for_template([turn], self.source, parts=self.wants_parts)
            closed, opened = self._ask(
                [Ask(asked, None), Ask(asked, None, True)], kwargs
            )
            header: str | None = ""
            if isinstance(closed, str) and isinstance(opened, str):
                header = opened[len(closed) :] if opened.startswith(closed) else ""
                header = None if opened == closed else header
            self._headers[key] = header
        return self._headers[key]

    @functools.cached_property
    def _headers(self) -> dict[str, str | None]:
        return {}

    def _ask(self, asks: Sequence[Ask], kwargs: Mapping[str, Any]) -> list[Any]:
        # transformers always defines it, so templates read it without asking.
        common = {**self.variables, "documents": None}
        variables = [
            {
                **common,
                "messages": x.messages,
                "tools": x.tools,
                "add_generation_prompt": x.header,
                **kwargs,
            }
            for x in asks
        ]
        if not asks:
            return []
        try:
            return RENDERER.render(
                self.source, variables, time=template_time(), block=BLOCK
            )
        except LimitError as error:
            raise self._refusal(str(error)) from error

    def _refusal(self, reason: str) -> UserError:
        return UserError(
            f"The chat template {self.name} cannot be used for this conversation:"
            f" {reason.rstrip('.')}. Mend the row, or choose another template with"
            " --chat-template."
        )
