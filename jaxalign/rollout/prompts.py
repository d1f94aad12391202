"""What goes into sampling and what comes out: checks, widths and completions."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxalign.errors import UserError

# A narrower width would compile once more to save next to nothing.
_NARROWEST = 8


class Completions(NamedTuple):
    """What was sampled, a row per sample: all samples of prompt 0, of prompt 1, ...

    Attributes:
      tokens: `[B, N]` int32 ids, the stop token included; 0 behind the end.
      lengths: `[B]` int32, tokens in each row, the stop token included.
      logps: `[B, N]` float32, each token's log-probability under the whole vocabulary
        at the sampling temperature (greedy: at temperature 1); 0 behind the end.
      stopped: `[B]` bool: ended by a stop token or text; else by `max_new_tokens`.
      by_text: `[B]` bool: ended by a stop text, and by no stop token.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    logps: np.ndarray
    stopped: np.ndarray
    by_text: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """`[B, N]` bool, True on sampled tokens."""
        return np.arange(self.tokens.shape[1])[None] < self.lengths[:, None]

    def ids(self) -> list[list[int]]:
        """The token ids of each row, as lists."""
        return [
            row[:n].tolist() for row, n in zip(self.tokens, self.lengths, strict=True)
        ]


def bucket_width(length: int) -> int:
    """The next power of two, or 3/4 of one, at or above `length`; at least 8.

    >>> [bucket_width(n) for n in (1, 8, 9, 13, 17, 24, 25)]
    [8, 8, 12, 16, 24, 24, 32]
    """
    power = 1 << max(length - 1, _NARROWEST - 1).bit_length()
    return power * 3 // 4 if max(length, _NARROWEST) <= power * 3 // 4 else power


def check_prompts(
    prompts: Sequence[Sequence[int]], vocab_size: int, room: int, new_tokens: int
) -> None:
    """Refuses prompts that no row can be made of.

    Args:
      prompts: Token ids.
      vocab_size: Ids are below it.
      room: Longest sequence of the model, in tokens.
      new_tokens: Tokens to be sampled behind each prompt.

    Raises:
      UserError: The list or a prompt is empty, an id is not of the vocabulary, or
        prompt and completion are longer than the model's context.
    """
    if not prompts:
        raise UserError("There are no prompts to complete: the list is empty.")
    for i, ids in enumerate(prompts):
        if not len(ids):
            raise UserError(
                f"Prompt {i} has no tokens: give each at least one, a BOS for example."
            )
        if min(ids) < 0 or max(ids) >= vocab_size:
            wrong = next(x for x in ids if not 0 <= x < vocab_size)
            raise UserError(
                f"Prompt {i} holds token id {wrong}, but the model's ids are 0 to"
                f" {vocab_size - 1}: it was encoded with another model's tokenizer."
            )
        if len(ids) + new_tokens > room:
            raise UserError(
                f"Prompt {i} has {len(ids)} tokens; with max_new_tokens {new_tokens}"
                f" that is more than the model's context of {room} tokens. Shorten the"
                f" prompt, or set max_new_tokens to {max(room - len(ids), 0)} or less."
            )


def check_settings(
    *,
    max_new_tokens: int,
    min_new_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float,
    min_p: float,
    repetition_penalty: float,
    num_samples: int,
) -> None:
    """Refuses sampling settings that mean nothing, naming the value.

    Raises:
      UserError: With the value that was found and those that are possible.
    """
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens must be 1 or more, got {max_new_tokens}.")
    if not 0 <= min_new_tokens <= max_new_tokens:
        raise UserError(
            f"min_new_tokens must be from 0 to max_new_tokens ({max_new_tokens}), got"
            f" {min_new_tokens}."
        )
    if not (math.isfinite(temperature) and temperature >= 0):
        raise UserError(
            f"temperature must be 0 (greedy) or a positive number, got {temperature}."
        )
    if top_k is not None and top_k < 1:
        raise UserError(f"top_k must be 1 or more, or unset, got {top_k}.")
    if not 0 < top_p <= 1:
        raise UserError(f"top_p must be above 0 and at most 1, got {top_p}.")
    if not 0 <= min_p <= 1:
        raise UserError(f"min_p must be from 0 (off) to 1, got {min_p}.")
    if not (math.isfinite(repetition_penalty) and repetition_penalty > 0):
        raise UserError(
            "repetition_penalty must be a positive number, 1 for none, got "
            f"{repetition_penalty}."
        )
    if num_samples < 1:
        raise UserError(f"num_samples must be 1 or more, got {num_samples}.")
