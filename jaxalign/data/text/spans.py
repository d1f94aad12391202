"""Spans of a rendered text, and the tokens that stand for them."""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Span:
    """Characters `start` to `end` of a rendered text, written by message `message`."""

    start: int
    end: int
    message: int


def span_of_tokens(spans: Sequence[Span], offsets: np.ndarray) -> np.ndarray:
    """The number of the span that each token belongs to, or -1.

    A token that a span shares with other text belongs to the span.

    Args:
      spans: in order, none over another.
      offsets: the characters `[n, 2]` of each token; (0, 0) for a BOS put in front.

    Returns:
      Numbers `[n]`.
    """
    if not spans:
        return np.full(len(offsets), -1)
    starts, ends = (np.array([getattr(x, k) for x in spans]) for k in ("start", "end"))
    # The last span that begins before a token ends: no other can reach into the token
    # unless this one does.
    last = np.searchsorted(starts, offsets[:, 1]) - 1
    reaches = (last >= 0) & (ends[last] > offsets[:, 0])
    return np.where(reaches, last, -1)


def ends_of_text(
    text: str, ids: np.ndarray, offsets: np.ndarray, stop_ids: Collection[int]
) -> np.ndarray:
    """True on tokens that only end a text: stop tokens and white space.

    Args:
      text: what the tokens stand for.
      ids: `[n]`.
      offsets: the characters `[n, 2]` of each token.
      stop_ids: ids of the stop tokens.

    Returns:
      A mask `[n]`.
    """
    blank = [not text[start:end].strip() for start, end in offsets.tolist()]
    return np.isin(ids, list(stop_ids)) | np.array(blank, bool)


def says_nothing(spans: Sequence[Span], ends: np.ndarray, offsets: np.ndarray) -> bool:
    """Whether of some message nothing is trained but tokens that end a text.

    Args:
      spans: what is trained, in order.
      ends: `[n]` bool, which tokens only end a text.
      offsets: the characters `[n, 2]` of each token.
    """
    of = span_of_tokens(spans, offsets)
    trained = {spans[k].message for k in set(of.tolist()) - {-1}}
    said = {spans[k].message for k in set(of[~ends].tolist()) - {-1}}
    return trained != said


def with_eos(
    ids: np.ndarray,
    trained: np.ndarray,
    ends: np.ndarray,
    *,
    stop_ids: Collection[int],
    eos_id: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """One trained EOS at the end, where no stop token ends the text yet.

    White space behind a stop token changes nothing: many templates write a line feed.

    Args:
      ids: `[n]`.
      trained: `[n]` bool.
      ends: `[n]` bool, which tokens only end a text.
      stop_ids: ids of the stop tokens.
      eos_id: what is put behind the text; None for nothing.

    Returns:
      Ids and mask, of n or n + 1 tokens.
    """
    if eos_id is None or not trained.any():
        return ids, trained
    said = np.flatnonzero(~ends)
    closing = ids[said[-1] + 1 :] if len(said) else ids
    if np.isin(closing, list(stop_ids)).any():
        return ids, trained
    closed = np.append(trained, True)
    closed[int(np.flatnonzero(trained)[-1]) :] = True
    return np.append(ids, np.int32(eos_id)), closed
