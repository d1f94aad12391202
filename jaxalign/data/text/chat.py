"""Conversations to tokens: rendered once, with what is trained and what is told."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxalign.data.records.record import Message
from jaxalign.data.text.markers import MarkersInText
from jaxalign.data.text.spans import Rendered
from jaxalign.data.text.templates import ChatTemplate
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.errors import UserError

MARKERS = {
    "text": "special tokens spelt in contents, which stay text (--markers-in-text)",
    "keep": "special tokens spelt in contents, which they become (--markers-in-text)",
}
"""What is told of rows with the text of special tokens."""


@dataclasses.dataclass(frozen=True, eq=False)
class ChatTokens:
    """A rendered conversation as tokens.

    Attributes:
      rendered: its text and what was found in it.
      ids: `[n]` int32.
      offsets: the characters `[n, 2]` of each token.
      notes: what is to be told of it.
    """

    rendered: Rendered
    ids: np.ndarray
    offsets: np.ndarray
    notes: frozenset[str]


@dataclasses.dataclass(frozen=True)
class ChatEncoder:
    """How conversations become tokens.

    Attributes:
      tokenizer: with a chat template.
      markers: what becomes of special tokens that contents spell.
      max_characters: texts are cut there before they are tokenised, or None.
    """

    tokenizer: Tokenizer
    markers: MarkersInText
    max_characters: int | None = None

    def __call__(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        options: Mapping[str, Any],
        **found: Any,
    ) -> ChatTokens:
        """The tokens of a conversation.

        Args:
          messages: in order.
          tools: described, or None.
          options: further arguments of the template.
          **found: what else is looked for: `spans`, `prompt`, `add_generation_prompt`
            of `ChatTemplate.render_marked`.

        Raises:
          UserError: the template refuses the messages or leaves out what a model must
            read, or a content spells a special token and may not.
        """
        template, tokenizer = self._template(), self.tokenizer
        options = _variables(options)
        turns = [m.as_dict() for m in messages]
        spelt = tokenizer.markers.found(turns, tools)
        if spelt and self.markers == "refuse":
            raise UserError(
                f"A content spells the special token {spelt[0]!r}. Remove it, or pass"
                " --markers-in-text text, so that it stays text."
            )
        apart = bool(spelt) and self.markers == "text"
        rendered = template.render_marked(
            turns,
            tools=tools,
            stops=tokenizer.stop_texts,
            descriptions=apart,
            options=options,
            **found,
        )
        if rendered.lost:
            raise UserError(
                f"The chat template {template.name} leaves out {rendered.lost[0]}."
                " Choose a template that writes it (of the built-in ones qwen and"
                " mistral write tools and calls), or leave it out of the row."
            )
        notes = {f"{x} that the chat template leaves out" for x in rendered.left_out}
        if spelt:
            notes.add(MARKERS[self.markers])
        ids, offsets = self._tokens(rendered, apart, turns, tools, options, found)
        return ChatTokens(rendered, ids, offsets, frozenset(notes))

    def _template(self) -> ChatTemplate:
        if self.tokenizer.template is None:
            raise UserError(
                "The tokenizer has no chat template, and the row is a conversation."
                " Pass --chat-template (for example chatml)."
            )
        return self.tokenizer.template

    def _tokens(self, rendered: Rendered, apart: bool, turns, tools, options, found):
        text = rendered.text[: self.max_characters]
        if not apart:
            return self.tokenizer.encode(text)
        markers, pieces = self.tokenizer.markers, rendered.pieces
        # An `x` stands for each marker of the contents: what is left is the template's
        # own.
        blank = self._template().render(
            markers.blanked(turns),
            tools=markers.blanked(tools) if tools else None,
            add_generation_prompt=found.get("add_generation_prompt", False),
            **options,
        )
        # As many markers as in the same conversation without those of its contents.
        if pieces is None or len(
            markers.outside(rendered.text, pieces)
        ) != markers.count(blank):
            raise UserError(
                "A content spells special tokens, and the chat template rewrites it so"
                " that they cannot be told from its own. Remove them, or pass"
                " --markers-in-text keep, with which they become special tokens."
            )
        return markers.encode(text, pieces)


def _variables(options: Mapping[str, Any]) -> dict[str, Any]:
    """Further variables of a template; what has another place is refused."""
    for name in ("messages", "tools", "chat_template"):
        if options.get(name) is not None:
            place = "--chat-template" if name == "chat_template" else "a column"
            raise UserError(
                f"The arguments of the chat template hold `{name}`. Give it by {place}"
                " of its own."
            )
    if options.get("add_generation_prompt") or options.get("continue_final_message"):
        raise UserError(
            "The arguments of the chat template ask for a text that goes on"
            " (`add_generation_prompt` or `continue_final_message`). Leave them out:"
            " prompts get their header, and completions none."
        )
    own = ("messages", "tools", "chat_template", "add_generation_prompt")
    return {k: v for k, v in options.items() if k not in own}
