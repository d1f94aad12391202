"""Answers to prompts: buckets on the host around one compiled loop."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from jaxalign.errors import UserError
from jaxalign.rollout.loop import Decoder, Limits, Progress, Settings, run
from jaxalign.rollout.prompts import (
    Completions,
    check_prompts,
    check_settings,
    left_pad,
)


def generate(
    decoder: Decoder,
    params: Any,
    prompts: Sequence[Sequence[int]],
    key: jax.Array,
    *,
    max_new_tokens: int,
    stop_ids: Iterable[int] = (),
    min_new_tokens: int = 0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    num_samples: int = 1,
    batch_size: int | None = None,
    prompt_indices: Sequence[int] | None = None,
) -> Completions:
    """Samples `num_samples` answers to each prompt.

    Prompts are padded on the left to a width out of a short list; a program is compiled
    once for each width, number of rows and `max_new_tokens`. Temperature, `top_p` and
    `min_new_tokens` may change freely. Each token's random number is a function of the
    key, the prompt's number, the sample's number and the position, so the same key
    gives the same text however prompts are batched (up to the rounding of the model).

    Args:
      decoder: The model as functions; make it once.
      params: Its parameters.
      prompts: Token ids of each prompt, at least one.
      key: Consumed; greedy decoding does not read it.
      max_new_tokens: Longest answer, the stop token included.
      stop_ids: Tokens after which an answer is over; they belong to it.
      min_new_tokens: No stop token is sampled before this many tokens are there.
      temperature: Logits are divided by it; 0 takes the likeliest token.
      top_k: Sample among this many of the likeliest tokens only.
      top_p: Sample within the likeliest tokens that make up this share, in (0, 1].
      num_samples: Answers to each prompt.
      batch_size: Rows computed at a time; all by default. The last batch is filled up,
        so that it needs no compilation of its own.
      prompt_indices: Each prompt's number for its random keys, so that a part of a
        prompt list gets the answers it has in the whole; default 0, 1, 2, ...

    Returns:
      `len(prompts) * num_samples` rows, all samples of a prompt side by side.

    Raises:
      UserError: A setting or a prompt cannot be used.
      FloatingPointError: The model's outputs are not finite.
    """
    check_settings(
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        num_samples=num_samples,
    )
    vocab_size = decoder.head(params)[2]
    check_prompts(prompts, vocab_size, decoder.max_length, max_new_tokens)
    stops = sorted(set(stop_ids))
    if stops and not 0 <= stops[0] <= stops[-1] < vocab_size:
        raise UserError(
            f"stop_ids {stops} must be token ids of the model, 0 to {vocab_size - 1}."
        )
    greedy = temperature == 0
    settings = Settings(
        max_new_tokens, greedy, None if greedy else top_k, not greedy and top_p < 1
    )
    limits = Limits(
        np.float32(temperature),
        np.float32(top_p),
        np.int32(min_new_tokens),
        _fill_up(stops, vocab_size),
    )
    numbers = range(len(prompts)) if prompt_indices is None else prompt_indices
    samples = [
        (ids, number, sample)
        for ids, number in zip(prompts, numbers, strict=True)
        for sample in range(num_samples)
    ]
    size = batch_size or len(samples)
    parts = []
    for start in range(0, len(samples), size):
        part = samples[start : start + size]
        rows = left_pad(*zip(*part, strict=True), num_rows=size)
        parts.append((run(decoder, settings, params, rows, limits, key), len(part)))
    return _gather(parts)


def _fill_up(stops: list[int], vocab_size: int) -> np.ndarray:
    """Rounded up in number with an id that is none, to compile for few numbers."""
    width = -(-max(len(stops), 1) // 8) * 8
    return np.array(stops + [vocab_size] * (width - len(stops)), np.int32)


def _gather(parts: list[tuple[Progress, int]]) -> Completions:
    def whole(field: str) -> np.ndarray:
        return np.concatenate([np.asarray(getattr(x, field))[:n] for x, n in parts])

    logps = whole("logps")
    bad = np.flatnonzero(~np.isfinite(logps).all(axis=1))
    if len(bad):
        raise FloatingPointError(
            f"the model's log-probabilities are not finite in {len(bad)} of"
            f" {len(logps)} rows, the first of them row {bad[0]}"
        )
    return Completions(whole("tokens"), whole("lengths"), logps, ~whole("running"))
