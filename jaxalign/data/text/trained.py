"""Characters to tokens: which tokens of a rendered conversation are trained."""

import bisect
from collections.abc import Sequence

import numpy as np

from jaxalign.data.text.marks import Rendered, Span
from jaxalign.data.text.tokenizer import Tokenizer


def span_mask(
    tokenizer: Tokenizer,
    rendered: Rendered,
    spans: Sequence[Span],
    ids: np.ndarray,
    offsets: np.ndarray,
) -> np.ndarray:
    """True on the tokens of each span and on the stop token that ends its turn.

    Args:
      tokenizer: knows which ids are stop tokens.
      rendered: the whole conversation.
      spans: the turns to train.
      ids: its tokens `[n]`.
      offsets: the characters `[n, 2]` of each token; (0, 0) for a BOS put in front.

    Returns:
      A mask `[n]`. A token that a span shares with other text counts as trained.
    """
    trained = np.zeros(len(ids), bool)
    starts = sorted(x.start for x in (*rendered.spans, *rendered.others))
    for span in spans:
        inside = (offsets[:, 1] > span.start) & (offsets[:, 0] < span.end)
        tokens = np.flatnonzero(inside)
        if not len(tokens):
            continue
        last = int(tokens[-1])
        following = bisect.bisect_left(starts, span.end)
        border = [*starts[following : following + 1], len(rendered.text) + 1][0]
        end = _end_of_turn(tokenizer, rendered.text, ids, offsets, last, border)
        trained |= inside
        trained[last : end + 1] = True
    return trained


def last_turn_mask(
    tokenizer: Tokenizer, text: str, cut: int, ids: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """True from character `cut`, where the last turn begins, to its stop token.

    Args:
      tokenizer: knows which ids are stop tokens.
      text: the whole conversation, which ends with the turn.
      cut: how many characters come before the turn.
      ids: the tokens `[n]`.
      offsets: the characters `[n, 2]` of each token.

    Returns:
      A mask `[n]`; without a stop token it goes on to the end.
    """
    trained = np.logical_or.accumulate(offsets[:, 1] > cut)
    end = len(ids)
    while end and (
        int(ids[end - 1]) in tokenizer.stop_ids
        or not text[offsets[end - 1, 0] : offsets[end - 1, 1]].strip()
    ):
        end -= 1
    stops = [t for t in range(end, len(ids)) if int(ids[t]) in tokenizer.stop_ids]
    if stops:
        trained[stops[0] + 1 :] = False
    return trained


def _end_of_turn(tokenizer, text, ids, offsets, last: int, border: int) -> int:
    """The stop token behind token `last` and before the next turn's text, or `last`."""
    for t in range(last, len(ids)):
        if t > last and offsets[t, 0] >= border:
            break
        if int(ids[t]) in tokenizer.stop_ids:
            return t
        if t > last and int(ids[t]) in tokenizer.special_ids:
            break
        # Behind a generation block only white space may come before the stop token.
        between = text[offsets[t, 0] : offsets[t, 1]]
        if t > last and tokenizer.template.marks_generation and between.strip():
            break
    return last


def with_eos(
    tokenizer: Tokenizer, ids: np.ndarray, trained: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One trained EOS behind an answer that does not end in a stop token yet."""
    if tokenizer.eos_id is None or not trained.any():
        return ids, trained
    last = int(np.flatnonzero(trained)[-1])
    if int(ids[last]) in tokenizer.stop_ids:
        return ids, trained
    closed = np.append(trained, True)
    closed[last:] = True
    return np.append(ids, np.int32(tokenizer.eos_id)), closed
