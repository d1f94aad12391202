"""Records to token sequences.

A text is made whole first, tokenised once, and its trained characters are mapped to
tokens by offsets (`spans.py`). Nothing is ever searched for in ids or in text.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxalign.data.records.record import (
    Content,
    Conversation,
    Message,
    Preference,
    PromptCompletion,
    PromptOnly,
    Rankings,
    Record,
    Scored,
    Text,
    Tokenised,
    TokenisedPair,
    Unpaired,
)
from jaxalign.data.text.chat import ChatEncoder
from jaxalign.data.text.encoded import Encoded, from_ids
from jaxalign.data.text.example import Example
from jaxalign.data.text.markers import MarkersInText
from jaxalign.data.text.spans import (
    Span,
    says_nothing,
    span_of_tokens,
    with_eos,
)
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.errors import RowError, UserError

LossOn = Literal["all", "completion", "assistant", "last_assistant"]
"""Which tokens are trained."""


JOINED = (
    "prompts that end in white space, which is one token with the completion's "
    "beginning (sampled from, they end otherwise; move it to the completion)"
)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """How records become examples.

    Attributes:
      tokenizer: with its chat template.
      vocab_size: ids must lie below; the model's number of embeddings.
      loss_on: `all` tokens, the `completion`, every `assistant` turn or the
        `last_assistant` turn. None: the completion where the record has one, else
        the assistant's turns, and all of a plain text. Token ids say it themselves.
      max_positions: the longest sequence that the model reads, or None: examples to
        train on are no longer, whatever the limits.
      max_characters: texts are cut there before they are tokenised, or None.
      template_kwargs: further arguments of the chat template; a row's own win.
      markers: what becomes of special tokens that the contents of messages spell: they
        stay `text`, the row is an error (`refuse`), or they become the special token
        (`keep`). Plain text is not asked: there they are what they say.
      notes: how many rows and prompts there is something to tell of, by what it is;
        counted while rows are encoded.
    """

    tokenizer: Tokenizer
    vocab_size: int | None = None
    loss_on: LossOn | None = None
    max_positions: int | None = None
    max_characters: int | None = None
    template_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    markers: MarkersInText = "text"
    notes: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter, compare=False
    )

    def __call__(self, record: Record, index: int = 0) -> Example:
        """The example of one record.

        Raises:
          NoTargetError: nothing in it would be trained; holds the rendered text.
          RowError: an id outside of the vocabulary, or a template that refuses.
        """
        where = record.where or f"row {index}"
        if record.weight != 1:
            raise RowError(
                where,
                f"`weight` is {record.weight:g}, and no loss takes weights yet",
                "Remove the column, or rename it with --columns.",
            )
        try:
            # Losses over several completions read them with the best one first.
            if isinstance(record, Rankings):
                record = record.best_first
            encoded = self._sides(record)
        except RowError:
            raise
        except UserError as error:
            raise _at(where, error) from error
        size = self.vocab_size or self.tokenizer.vocab_size
        sequences = tuple(x.checked(where, size) for x in encoded)
        self.notes.update(frozenset().union(*(x.notes for x in encoded)))
        return Example(
            index=index,
            sequences=sequences,
            labels={k: np.asarray(v, np.float32) for k, v in record.per_answer.items()},
            where=record.where,
            prompt_differs=any(x.prompt_differs for x in encoded),
        )

    def _sides(self, record: Record) -> tuple[Encoded, ...]:
        match record:
            case Text():
                if self.loss_on not in (None, "all"):
                    raise UserError(
                        f"--loss-on {self.loss_on} needs a prompt or messages, the row "
                        "is one text, and all of it is trained. Leave out --loss-on, "
                        "or give the parts apart."
                    )
                return (self._plain("", record.text, "all"),)
            case Conversation():
                return (self._chat(record, (), record.messages),)
            case PromptCompletion() | Unpaired() | Scored():
                return (self._answer(record, record.prompt, record.completion),)
            case Preference():
                sides = (record.chosen, record.rejected)
                return tuple(self._answer(record, record.prompt, x) for x in sides)
            case Rankings():
                return tuple(
                    self._answer(record, record.prompt, x) for x in record.completions
                )
            case Tokenised():
                return (self._ids(record),)
            case TokenisedPair():
                return self._ids(record.chosen), self._ids(record.rejected)
        raise UserError(f"A {type(record).__name__} record has nothing to train on.")

    def prompt(self, record: PromptOnly) -> np.ndarray:
        """Ids `[n]` int32 of a prompt, with the header of the assistant's turn.

        Raises:
          UserError: the template refuses the messages.
        """
        if isinstance(record.prompt, str):
            return self._alone(record.prompt)
        try:
            chat = self._chat_tokens(
                record, record.prompt, add_generation_prompt=True, spans=False
            )
        except UserError as error:
            raise (_at(record.where, error) if record.where else error) from error
        self.notes.update(chat.notes)
        return self._with_bos(chat.ids, chat.offsets)[0]

    def _chat_tokens(self, record: Record, messages: Sequence[Message], **found: Any):
        encoder = ChatEncoder(self.tokenizer, self.markers, self.max_characters)
        options = {**self.template_kwargs, **record.template_kwargs}
        return encoder(messages, record.tools, options, **found)

    def _ids(self, record: Tokenised) -> Encoded:
        everything = self.loss_on == "all" and record.loss_mask is None
        if self.loss_on is not None and not everything:
            raise UserError(
                f"--loss-on {self.loss_on} needs text, the row holds token ids. What is"
                " trained of those is what the row says: by `labels`, by a mask, or by"
                " the ids of the prompt beside those of the completion. Leave out"
                " --loss-on, or give text."
            )
        return from_ids(record)

    def _answer(self, record: Record, prompt: Content, answer: Content) -> Encoded:
        if isinstance(prompt, str) and isinstance(answer, str):
            return self._plain(prompt, answer, self.loss_on or "completion")
        if isinstance(prompt, str) or isinstance(answer, str):
            raise UserError("One side of the row is plain text, the other messages.")
        return self._chat(record, prompt, answer)

    def _with_bos(self, ids: np.ndarray, offsets: np.ndarray):
        """Ids and offsets with one BOS in front if the model reads one."""
        bos = self.tokenizer.bos_id
        # A template may have written it already, and no model has read two of them.
        if self.tokenizer.adds_bos and ids[:1].tolist() != [bos]:
            ids = np.concatenate([[np.int32(bos or 0)], ids]).astype(np.int32)
            offsets = np.concatenate([np.zeros((1, 2), np.int32), offsets])
        return ids, offsets

    def _plain(self, prompt: str, answer: str, loss_on: LossOn) -> Encoded:
        text = prompt + answer
        cut = text[: self.max_characters]
        ids, offsets = self._with_bos(*self.tokenizer.encode(cut))
        if loss_on == "all":
            trained, spans = np.ones(len(ids), bool), ()
        elif loss_on == "completion":
            # Everything behind the first token that is not wholly prompt; offsets of
            # later tokens may lie oddly (white space), so they are not asked.
            trained = np.logical_or.accumulate(offsets[:, 1] > len(prompt))
            spans = (Span(len(prompt), len(text), 0),)
        else:
            raise UserError(
                f"--loss-on {loss_on} needs messages, the row is plain text."
            )
        encoded = self._closed(text, ids, offsets, trained, spans)
        if loss_on == "completion" and self._joins(prompt, ids):
            encoded = dataclasses.replace(encoded, notes=frozenset([JOINED]))
        return encoded

    def _joins(self, prompt: str, ids: np.ndarray) -> bool:
        """Whether the end of a prompt is read otherwise alone, as one samples."""
        if not prompt[-1:].isspace():
            return False
        alone = self._alone(prompt)
        return not np.array_equal(alone, ids[: len(alone)])

    def _alone(self, prompt: str) -> np.ndarray:
        text = prompt[: self.max_characters]
        return self._with_bos(*self.tokenizer.encode(text))[0]

    def _chat(
        self,
        record: Record,
        prompt: Sequence[Message],
        answer: Sequence[Message],
    ) -> Encoded:
        """A conversation, rendered whole and once."""
        loss_on = self.loss_on or ("completion" if prompt else "assistant")
        messages = (*prompt, *answer)
        if loss_on == "all" and not all(turn.trained for turn in messages):
            raise UserError(
                "--loss-on all trains all text, and the row says that a turn is not to"
                " be trained. Remove the row, or choose another --loss-on."
            )
        alone = len(prompt) if prompt and loss_on == "completion" else None
        chat = self._chat_tokens(record, messages, spans=loss_on != "all", prompt=alone)
        text, spans = chat.rendered.text, list(chat.rendered.spans)
        ids, offsets = self._with_bos(chat.ids, chat.offsets)
        if loss_on == "all":
            trained = np.ones(len(ids), bool)
            return Encoded(ids, trained, text, self._cut(text), notes=chat.notes)
        if loss_on == "completion":
            spans = [x for x in spans if x.message >= len(prompt)]
        elif loss_on == "last_assistant":
            spans = [x for x in spans if x.message == spans[-1].message]
        before = chat.rendered.prompt
        differs = before is not None and not text.startswith(before)
        if before and not differs and spans and spans[0].message == len(prompt):
            # All that a model writes behind the prompt, as in plain text.
            spans[0] = dataclasses.replace(spans[0], start=len(before))
        spans = [x for x in spans if messages[x.message].trained]
        # For templates that write no end of turn.
        last = bool(spans) and spans[-1].message == len(messages) - 1
        open_end = last and not text[spans[-1].end :].strip()
        trained = span_of_tokens(spans, offsets) >= 0
        encoded = self._closed(text, ids, offsets, trained, spans, open_end)
        return dataclasses.replace(encoded, prompt_differs=differs, notes=chat.notes)

    def _closed(
        self,
        text: str,
        ids: np.ndarray,
        offsets: np.ndarray,
        trained: np.ndarray,
        spans: Sequence[Span],
        open_end: bool = True,
    ) -> Encoded:
        """With an EOS at an open end that no stop token closes."""
        tokenizer, cut = self.tokenizer, self._cut(text)
        # A text that is cut may say something behind the cut.
        silent = not cut and says_nothing(text, spans, tokenizer.stop_texts)
        if open_end and not cut:
            ids, trained = with_eos(
                text,
                ids,
                offsets,
                trained,
                stop_ids=tokenizer.stop_ids,
                eos_id=tokenizer.eos_id,
            )
        return Encoded(ids, trained, text, cut, silent=silent)

    def _cut(self, text: str) -> bool:
        return self.max_characters is not None and len(text) > self.max_characters


def _at(where: str, error: UserError) -> RowError:
    """The error with the place of its row."""
    # Messages are sentences: the first says what is wrong, the others how to mend it.
    what, _, fix = str(error).rstrip(".").partition(". ")
    return RowError(where, what, f"{fix or 'Mend the row'}.")
