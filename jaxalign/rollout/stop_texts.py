"""Completions that end where their text holds one of a few given texts."""

import os.path
from collections.abc import Callable, Sequence

from jaxalign.errors import UserError

Ends = Callable[[Sequence[int], int], int | None]
"""`(ids, looked_at) -> n`: after how many of a completion's tokens it is over, or None;
it was asked before with the first `looked_at` of them."""

# Tokens without any text, such as special ones, that may stand within a stop text.
_MARGIN = 8


class StopTexts:
    r"""Ends a completion at the first token that completes one of the texts.

    What is searched is the text of all tokens so far, special ones included, so a text
    may begin and end inside tokens. The token that completes it belongs to the
    completion as it was sampled, with whatever it says behind the text.

    >>> ends = StopTexts(lambda ids: "".join(map(chr, ids)), ["b\n"])
    >>> ends([ord(x) for x in "ab\nab\n"], 0)
    3
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        texts: Sequence[str],
        *,
        min_new_tokens: int = 0,
    ):
        """Nothing is decoded yet.

        Args:
          decode: Token ids to text, special tokens included.
          texts: At least one, none of them empty.
          min_new_tokens: No completion with fewer tokens ends, and a text that was
            complete in fewer counts no more.

        Raises:
          UserError: A text is empty, or there is none.
        """
        if not texts or not all(texts):
            raise UserError(
                "--stop is an empty text, which every completion holds. Give the text "
                "at which completions end, or leave the flag out."
            )
        self._decode, self._texts = decode, tuple(texts)
        self._least = max(min_new_tokens, 1)
        # No token but those without text stands for less than a byte.
        longest = max(len(text.encode("utf-8", "replace")) for text in texts)
        self._window = longest + _MARGIN

    def __call__(self, ids: Sequence[int], looked_at: int) -> int | None:
        """After how many tokens the completion `ids` is over; see `Ends`."""
        # Below the least number of tokens nothing was looked at.
        start = looked_at - self._window if looked_at >= self._least else 0
        if self._end_in(self._decode(ids[max(start, 0) :]), "") is None:
            return None
        early = self._decode(ids[: self._least - 1])
        # From the first token on: a window may begin in the middle of a character.
        counts = range(max(looked_at + 1, self._least), len(ids) + 1)
        ended = (n for n in counts if self._end_in(self._decode(ids[:n]), early))
        return next(ended, None)

    def _end_in(self, text: str, early: str) -> int | None:
        """Where the first stop text ends that was not complete in `early` already."""
        # Half a character is another text than the whole one: it is not common to both.
        known = len(os.path.commonprefix([text, early]))
        found = (
            (text.find(stop, max(0, known - len(stop) + 1)), len(stop))
            for stop in self._texts
        )
        return min((at + n for at, n in found if at >= 0), default=None)

    def cut(self, text: str, before: str) -> str:
        """A completion's text up to the stop text that ended it, with it.

        Args:
          text: Of all its tokens; the last one completes the stop text.
          before: Of all but the last, where stop texts may be that came too early.
        """
        return text[: self._end_in(text, before)]
