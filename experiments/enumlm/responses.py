"""All responses there are, as index arrays."""

import dataclasses

import jax
import numpy as np


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Responses:
    """Every string of up to `max_length` symbols; the shorter ones end with EOS.

    A string of `max_length` symbols has no EOS: it is a truncated response. Entries
    beyond the end of a response are 0 and masked. S responses, P prefixes (the states
    in which a token is chosen), both ordered by length and then lexicographically;
    V = `num_symbols` + 1 tokens, of which EOS is the last.

    Attributes:
      num_symbols: Symbols of the alphabet, EOS not counted.
      max_length: L, tokens at most.
      prefix: `[S, L]`, the prefix in which token t of a response is chosen.
      token: `[S, L]`, token ids.
      mask: `[S, L]` bool, the tokens of the response, EOS included.
    """

    num_symbols: int = dataclasses.field(metadata={"static": True})
    max_length: int = dataclasses.field(metadata={"static": True})
    prefix: np.ndarray
    token: np.ndarray
    mask: np.ndarray

    @property
    def num_responses(self) -> int:
        return len(self.token)

    @property
    def num_prefixes(self) -> int:
        return _strings_shorter_than(self.max_length, self.num_symbols)

    @property
    def vocab_size(self) -> int:
        return self.num_symbols + 1

    @property
    def lengths(self) -> np.ndarray:
        """`[S]`, tokens of each response, EOS included."""
        return self.mask.sum(-1)


def list_responses(num_symbols: int, max_length: int) -> Responses:
    """Lists them.

    >>> list_responses(2, 2).token.tolist()
    [[2, 0], [0, 2], [1, 2], [0, 0], [0, 1], [1, 0], [1, 1]]
    """
    shape = (_strings_shorter_than(max_length + 1, num_symbols), max_length)
    prefix, token = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    mask = np.zeros(shape, bool)
    row = 0
    for length in range(max_length + 1):
        for string in np.ndindex(*[num_symbols] * length):
            tokens = [*string, num_symbols][:max_length]
            value = 0
            for t, symbol in enumerate(tokens):
                prefix[row, t] = _strings_shorter_than(t, num_symbols) + value
                token[row, t] = symbol
                mask[row, t] = True
                value = value * num_symbols + symbol
            row += 1
    return Responses(num_symbols, max_length, prefix, token, mask)


def _strings_shorter_than(length: int, num_symbols: int) -> int:
    return sum(num_symbols**k for k in range(length))
