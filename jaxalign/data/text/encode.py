"""Records to token sequences.

A text is made whole first, tokenised once, and its trained characters are mapped to
tokens by offsets (`trained.py`). Nothing is ever searched for in ids or in text.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxalign.data.records.record import (
    Completion,
    Content,
    Conversation,
    Message,
    Preference,
    PromptOnly,
    Rankings,
    Record,
    Scored,
    Text,
    Tokenised,
    TokenisedPair,
    Unpaired,
)
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.data.text.lengths import TooLongError
from jaxalign.data.text.marks import UnmarkableError
from jaxalign.data.text.templates import ChatTemplate
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.data.text.trained import last_turn_mask, span_mask, with_eos
from jaxalign.errors import RowError, UserError

LossOn = Literal["all", "completion", "assistant", "last_assistant"]
"""Which tokens are trained."""


class NoTargetError(RowError):
    """A row in which nothing would be trained."""


@dataclasses.dataclass(frozen=True)
class Encoder:
    """How records become examples.

    Attributes:
      tokenizer: with its chat template.
      vocab_size: ids must lie below; the model's number of embeddings.
      loss_on: `all` tokens, the `completion`, every `assistant` turn or the
        `last_assistant` turn. None: the completion where the record has one, else
        the assistant's turns, and all of a plain text.
      max_characters: texts are cut there before they are tokenised, or None.
      template_kwargs: further arguments of the chat template; a row's own win.
    """

    tokenizer: Tokenizer
    vocab_size: int | None = None
    loss_on: LossOn | None = None
    max_characters: int | None = None
    template_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

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
            if isinstance(record, Rankings):
                record = record.best_first
            encoded = self._sides(record)
        except RowError:
            raise
        except UserError as error:
            what, _, fix = str(error).rstrip(".").partition(". ")
            raise RowError(where, what, f"{fix or 'Mend the row'}.") from error
        return Example(
            index=index,
            sequences=tuple(self._checked(x, where) for x in encoded),
            labels={k: np.asarray(v, np.float32) for k, v in record.per_answer.items()},
            where=record.where,
            prompt_differs=any(x.prompt_differs for x in encoded),
        )

    def _sides(self, record: Record) -> "tuple[_Encoded, ...]":
        match record:
            case Text():
                return (self._plain("", record.text, "all"),)
            case Conversation():
                return (self._chat(record, (), record.messages),)
            case Completion() | Unpaired() | Scored():
                return (self._answer(record, record.prompt, record.completion),)
            case Preference():
                sides = (record.chosen, record.rejected)
                return tuple(self._answer(record, record.prompt, x) for x in sides)
            case Rankings():
                return tuple(
                    self._answer(record, record.prompt, x) for x in record.completions
                )
            case Tokenised():
                return (_tokenised(record),)
            case TokenisedPair():
                return _tokenised(record.chosen), _tokenised(record.rejected)
        raise UserError(f"A {type(record).__name__} record has nothing to train on.")

    def prompt(self, record: PromptOnly) -> np.ndarray:
        """Ids `[n]` int32 of a prompt, with the header of the assistant's turn."""
        if isinstance(record.prompt, str):
            text = record.prompt
        else:
            text = self._template().render(
                [m.as_dict() for m in record.prompt],
                add_generation_prompt=True,
                **self._options(record),
            )
        ids, _ = self._encode(text)
        return ids

    def _options(self, record: Record) -> dict[str, Any]:
        rows_own = dict(record.template_kwargs)
        return {"tools": record.tools, **self.template_kwargs, **rows_own}

    def _template(self) -> ChatTemplate:
        if self.tokenizer.template is None:
            raise UserError(
                "The tokenizer has no chat template, and the row is a conversation."
                " Pass --chat-template (for example chatml)."
            )
        return self.tokenizer.template

    def _answer(self, record: Record, prompt: Content, answer: Content) -> "_Encoded":
        if isinstance(prompt, str) and isinstance(answer, str):
            return self._plain(prompt, answer, self.loss_on or "completion")
        if isinstance(prompt, str) or isinstance(answer, str):
            raise UserError("One side of the row is plain text, the other messages.")
        return self._chat(record, prompt, answer)

    def _encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids and offsets, with one BOS in front if the model reads one."""
        text = text[: self.max_characters]
        ids, offsets = self.tokenizer.encode(text)
        bos = self.tokenizer.bos_id
        if self.tokenizer.adds_bos and ids[:1] != bos:
            ids = np.concatenate([[np.int32(bos or 0)], ids]).astype(np.int32)
            offsets = np.concatenate([np.zeros((1, 2), np.int32), offsets])
        return ids, offsets

    def _plain(self, prompt: str, answer: str, loss_on: LossOn) -> "_Encoded":
        text = prompt + answer
        ids, offsets = self._encode(text)
        if loss_on == "all":
            trained = np.ones(len(ids), bool)
        elif loss_on == "completion":
            # Everything behind the first token that is not wholly prompt; offsets of
            # later tokens may lie oddly (white space), so they are not asked.
            trained = np.logical_or.accumulate(offsets[:, 1] > len(prompt))
        else:
            raise UserError(
                f"--loss-on {loss_on} needs messages, the row is plain text."
            )
        if not self._cut(text):
            ids, trained = with_eos(self.tokenizer, ids, trained)
        return _Encoded(ids, trained, text, self._cut(text))

    def _cut(self, text: str) -> bool:
        return self.max_characters is not None and len(text) > self.max_characters

    def _chat(
        self,
        record: Record,
        prompt: Sequence[Message],
        answer: Sequence[Message],
    ) -> "_Encoded":
        """A conversation, rendered whole and once."""
        template = self._template()
        options = self._options(record)
        turns = (*prompt, *answer)
        messages = [m.as_dict() for m in turns]
        loss_on = self.loss_on or ("completion" if prompt else "assistant")
        if loss_on == "all":
            if not all(turn.trained for turn in turns):
                raise UserError(
                    "--loss-on all trains all text, and the row says that a turn is"
                    " not to be trained. Remove the row, or choose another --loss-on."
                )
            text = template.render(messages, **options)
            ids, _ = self._encode(text)
            return _Encoded(ids, np.ones(len(ids), bool), text, self._cut(text))
        alone = None
        if prompt and loss_on == "completion":
            asked = messages[: len(prompt)]
            alone = template.render(asked, add_generation_prompt=True, **options)
        try:
            rendered = template.render_marked(messages, **options)
        except UnmarkableError:
            text = template.render(messages, **options)
            if alone is None or len(answer) > 1 or not text.startswith(alone):
                raise
            return self._last_turn(text, len(alone))
        text, spans = rendered.text, list(rendered.spans)
        if loss_on == "completion":
            spans = [x for x in spans if x.message >= len(prompt)]
        elif loss_on == "last_assistant":
            spans = spans[-1:]
        differs = alone is not None and not text.startswith(alone)
        if alone and not differs and spans and spans[0].message == len(prompt):
            start = min(len(alone), spans[0].start)
            spans[0] = dataclasses.replace(spans[0], start=start)
        spans = [x for x in spans if turns[x.message].trained]
        ids, offsets = self._encode(text)
        trained = span_mask(self.tokenizer, rendered, spans, ids, offsets)
        ends = bool(spans) and spans[-1].message == len(messages) - 1
        # For templates that write no end of turn.
        if ends and not self._cut(text) and not text[spans[-1].end :].strip():
            ids, trained = with_eos(self.tokenizer, ids, trained)
        return _Encoded(ids, trained, text, self._cut(text), differs)

    def _last_turn(self, text: str, cut: int) -> "_Encoded":
        """Where the answer is one turn, it is all that follows the prompt."""
        ids, offsets = self._encode(text)
        trained = last_turn_mask(self.tokenizer, text, cut, ids, offsets)
        if not self._cut(text):
            ids, trained = with_eos(self.tokenizer, ids, trained)
        return _Encoded(ids, trained, text, self._cut(text))

    def _checked(self, encoded: "_Encoded", where: str) -> TokenSequence:
        ids, trained = encoded.ids, np.array(encoded.trained, bool)
        trained[:1] = False
        limit = self.vocab_size or self.tokenizer.vocab_size
        bad = np.flatnonzero((ids < 0) | (ids >= limit))
        if len(bad):
            raise RowError(
                where,
                f"token {int(bad[0])} has the id {int(ids[bad[0]])}, outside of the"
                f" vocabulary (0 to {limit - 1})",
                "Tokenise the data with the tokenizer of this model.",
            )
        if not trained.any() and encoded.clipped:
            raise TooLongError(
                where,
                f"its prompt alone has more than {self.max_characters} characters",
                "Raise --max-length, or pass --on-long drop.",
            )
        if not trained.any():
            raise NoTargetError(
                where,
                f"the row has no token to train on ({self._reason(encoded)}); it"
                f" renders as {_shorten(encoded.text)!r}",
                "Fix the row, choose another --loss-on, or pass --on-bad-row drop.",
            )
        return TokenSequence(np.asarray(ids, np.int32), trained, encoded.clipped)

    def _reason(self, encoded: "_Encoded") -> str:
        if encoded.text is None:
            return "its loss_mask is false everywhere but at token 0"
        if self.loss_on in (None, "assistant", "last_assistant", "completion"):
            return "no assistant turn with text, or an empty completion"
        return "fewer than two tokens"


@dataclasses.dataclass(frozen=True, eq=False)
class _Encoded:
    ids: np.ndarray
    trained: np.ndarray
    text: str | None = None
    clipped: bool = False
    prompt_differs: bool = False


def _tokenised(record: Tokenised) -> _Encoded:
    try:
        ids = np.asarray(record.input_ids, np.int64)
    except OverflowError as error:
        raise UserError("An entry of `input_ids` has more than 64 bits.") from error
    mask = record.loss_mask
    trained = np.ones(len(ids), bool) if mask is None else np.asarray(mask, bool)
    if len(trained) != len(ids):
        raise UserError(
            f"`loss_mask` has {len(trained)} entries, `input_ids` {len(ids)}."
        )
    return _Encoded(ids, trained)


def _shorten(text: str | None, limit: int = 600) -> str:
    text = text or ""
    return text if len(text) <= limit else f"{text[: limit // 2]} [...] {text[-300:]}"
