"""Token ids with a mask, and what they must be to be trained on."""

import dataclasses

import numpy as np

from jaxalign.data.records.record import Tokenised
from jaxalign.data.text.example import TokenSequence
from jaxalign.data.text.lengths import TooLongError
from jaxalign.errors import RowError, UserError


class NoTargetError(RowError):
    """A row in which nothing would be trained, or nothing beside a stop token."""


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """One text as tokens, unchecked.

    Attributes:
      ids: `[n]`.
      trained: `[n]` bool.
      text: what the tokens stand for; None if they were made elsewhere.
      clipped: the text was cut at its end.
      prompt_differs: the prompt is rendered otherwise on its own.
      silent: of a completion nothing but a stop token and white space is trained.
      notes: what is to be told of it.
    """

    ids: np.ndarray
    trained: np.ndarray
    text: str | None = None
    clipped: bool = False
    prompt_differs: bool = False
    silent: bool = False
    notes: frozenset[str] = frozenset()

    def checked(self, where: str, vocab_size: int) -> TokenSequence:
        """The tokens, if they can be trained on.

        Args:
          where: file and line, for messages.
          vocab_size: ids must lie below.

        Raises:
          NoTargetError: nothing would be trained; shows the text.
          TooLongError: the text is cut before anything is trained.
          RowError: an id is outside of the vocabulary.
        """
        ids, trained = self.ids, np.array(self.trained, bool)
        # Nothing comes before token 0, so nothing predicts it.
        trained[:1] = False
        bad = np.flatnonzero((ids < 0) | (ids >= vocab_size))
        if len(bad):
            raise RowError(
                where,
                f"token {int(bad[0])} has the id {int(ids[bad[0]])}, outside of the"
                f" vocabulary (0 to {vocab_size - 1})",
                "Tokenise the data with the tokenizer of this model.",
            )
        if not trained.any() and self.clipped:
            raise TooLongError(
                where,
                "its prompt alone has more characters than the longest row can have",
                "Raise --max-length, or pass --on-long drop.",
            )
        if not trained.any():
            reason = "no assistant turn with text, or an empty completion"
            if self.text is None:
                reason = "its loss_mask is false everywhere but at token 0"
            raise NoTargetError(
                where,
                f"the row has no token to train on ({reason}); it renders as"
                f" {_shorten(self.text or '')!r}",
                "Fix the row, choose another --loss-on, or pass --on-bad-row drop.",
            )
        if self.silent:
            raise NoTargetError(
                where,
                "a completion has no token to train on beside its stop token, which"
                " teaches the model to say nothing; the row renders as"
                f" {_shorten(self.text or '')!r}",
                "Fix the row, or pass --on-bad-row drop.",
            )
        return TokenSequence(np.asarray(ids, np.int32), trained, self.clipped)


def from_ids(record: Tokenised) -> Encoded:
    """Tokens that were made elsewhere.

    Raises:
      UserError: ids are no 64-bit numbers, or as many as there are in the mask.
    """
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
    return Encoded(ids, trained)


def _shorten(text: str, limit: int = 600) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]} [...] {text[-300:]}"
