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


@dataclasses.dataclass(frozen=True)
class Rendered:
    """A conversation as text.

    Attributes:
      text: what the tokenizer reads.
      spans: the assistant's turns, in order, each with its stop token.
      prompt: the text of the first messages alone with the assistant's header, if that
        was asked for.
      lost: what the conversation says and the text does not, though it must.
      left_out: what the text leaves out as widely used templates do: `thoughts`,
        `system messages`, `text beside a call`.
      pieces: where the texts of messages and tools stand; None if that is unknown.
    """

    text: str
    spans: tuple[Span, ...] = ()
    prompt: str | None = None
    lost: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()
    pieces: tuple[tuple[int, int], ...] | None = None


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


def says_nothing(text: str, spans: Sequence[Span], stops: Sequence[str]) -> bool:
    """Whether some message of the spans has no text beside stop tokens.

    Args:
      text: the rendered text.
      spans: what is trained.
      stops: texts of the stop tokens.
    """
    speaks: dict[int, bool] = {}
    for span in spans:
        said = text[span.start : span.end].strip()
        while ended := [stop for stop in stops if said.endswith(stop)]:
            said = said[: -len(ended[0])].rstrip()
        speaks[span.message] = speaks.get(span.message, False) or bool(said)
    return not all(speaks.values())


def with_eos(
    text: str,
    ids: np.ndarray,
    offsets: np.ndarray,
    trained: np.ndarray,
    *,
    stop_ids: Collection[int],
    eos_id: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """One trained EOS at the end, where no stop token ends the text yet.

    White space behind a stop token changes nothing: many templates write a line feed.

    Args:
      text: what the tokens stand for.
      ids: `[n]`.
      offsets: the characters `[n, 2]` of each token.
      trained: `[n]` bool.
      stop_ids: ids of the stop tokens.
      eos_id: what is put behind the text; None for nothing.

    Returns:
      Ids and mask, of n or n + 1 tokens.
    """
    if eos_id is None or not trained.any():
        return ids, trained
    for t in range(len(ids) - 1, -1, -1):
        if int(ids[t]) in stop_ids:
            return ids, trained
        if text[offsets[t, 0] : offsets[t, 1]].strip():
            break
    closed = np.append(trained, True)
    # Without a gap: to reach the EOS a model must write what stands before it.
    closed[int(np.flatnonzero(trained)[-1]) :] = True
    return np.append(ids, np.int32(eos_id)), closed
