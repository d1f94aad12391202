"""Completions of prompts: the entry point of sampling."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from jaxalign.errors import UserError, explained
from jaxalign.rollout import steps
from jaxalign.rollout.decoder import Decoder
from jaxalign.rollout.engine import Engine, Model, SamplingProgress
from jaxalign.rollout.prompts import Completions, check_prompts, check_settings
from jaxalign.rollout.steps import Limits, Settings
from jaxalign.rollout.stop_texts import Ends
from jaxalign.rollout.waiting import QueuedPrompt, Waiting


@explained()
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
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    never_ids: Iterable[int] = (),
    ends: Ends | None = None,
    num_samples: int = 1,
    batch_size: int | None = None,
    prompt_indices: Sequence[int] | None = None,
    stop: Callable[[], bool] | None = None,
    progress: Callable[[SamplingProgress], None] | None = None,
) -> Completions:
    """Samples `num_samples` completions of each prompt.

    At most `batch_size` completions are in the making; one that is over leaves its
    place to the next, so that a long one holds up nobody. A prompt's keys and values
    are computed once for all of its samples. Each token's random number is a function
    of the key, the prompt's number, the sample's number and the position, so the same
    key gives the same text for every batch size and order (up to the rounding of the
    model).

    A program is compiled for each bucket of prompt widths and of cache lengths (powers
    of two and 3/4 of them), for each `batch_size` and `top_k`, and for what of `min_p`,
    `repetition_penalty` and `never_ids` is used. Their values, temperature, `top_p`,
    `min_new_tokens` and stop ids may change freely.

    Args:
      decoder: The model as functions; make it once.
      params: Its parameters.
      prompts: Token ids of each prompt, at least one.
      key: Consumed; greedy decoding does not read it.
      max_new_tokens: Longest completion, the stop token included.
      stop_ids: Tokens after which a completion is over; they belong to it.
      min_new_tokens: No stop token is sampled before this many tokens are there.
      temperature: Logits are divided by it; 0 takes the likeliest token.
      top_k: Sample among this many of the likeliest tokens only.
      top_p: Sample within the likeliest tokens that make up this share, in (0, 1].
      min_p: Leave out tokens below this share of the likeliest one's probability, in
        [0, 1]; before top-k and top-p.
      repetition_penalty: Divides the positive logits of tokens that came already, in
        the prompt or since, and multiplies the negative ones; 1 changes nothing.
      never_ids: Tokens that are never sampled; those of `decoder.unused` never are.
      ends: Where else a completion is over, such as `StopTexts`. It is asked every few
        tokens, and what was sampled behind the end is thrown away: the result is as if
        it had been asked after each token.
      num_samples: Completions of each prompt.
      batch_size: Completions computed at a time; all by default. Rounded up to as many
        on each device of the decoder's layout.
      prompt_indices: Each prompt's number for its random keys, so that a part of a
        prompt list gets the completions it has in the whole; default 0, 1, 2, ...
      stop: Asked every few dozens of tokens; True ends it with `Stopped`.
      progress: Told as often how far it is.

    Returns:
      `len(prompts) * num_samples` rows, all samples of a prompt side by side.

    Raises:
      UserError: A setting or a prompt cannot be used.
      FloatingPointError: The model's outputs are not finite.
      Stopped: `stop()` was true.
    """
    check_settings(
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        num_samples=num_samples,
    )
    vocab_size = decoder.head(params)[2]
    check_prompts(prompts, vocab_size, decoder.max_length, max_new_tokens)
    # The order and repetition of ids must not compile another program.
    stops = sorted(set(stop_ids))
    # Out of range they would be dropped without a word, and no completion would end.
    if stops and not 0 <= stops[0] <= stops[-1] < vocab_size:
        raise UserError(
            f"stop_ids {stops} must be token ids of the model, 0 to {vocab_size - 1}."
        )
    greedy = temperature == 0
    settings = Settings(
        steps=steps.STEPS if ends is None else steps.STEPS_WITH_ENDS,
        greedy=greedy,
        # Settings that greedy decoding does not read must not compile it anew.
        top_k=None if greedy else top_k,
        nucleus=not greedy and top_p < 1,
    )
    limits = Limits(
        np.float32(temperature),
        np.float32(top_p),
        np.int32(min_new_tokens),
        np.int32(max_new_tokens),
        _fill_up(stops, vocab_size),
        np.float32(min_p) if min_p > 0 and not greedy else None,
        np.float32(repetition_penalty) if repetition_penalty != 1 else None,
        _never(never_ids, vocab_size),
    )
    total = len(prompts) * num_samples
    completions = Completions(
        tokens=np.zeros((total, max_new_tokens), np.int32),
        lengths=np.zeros(total, np.int32),
        logps=np.zeros((total, max_new_tokens), np.float32),
        stopped=np.zeros(total, bool),
        by_text=np.zeros(total, bool),
    )
    num_rows = decoder.whole_rows(batch_size or total)
    prepared = steps.prepare(decoder, params)
    numbers = range(len(prompts)) if prompt_indices is None else prompt_indices
    waiting = Waiting(
        [
            QueuedPrompt(ids, number, i * num_samples)
            for i, (ids, number) in enumerate(zip(prompts, numbers, strict=True))
        ],
        num_samples,
        decoder.whole_rows(-(-num_rows // num_samples)),
        functools.partial(steps.prefill, decoder, prepared),
        decoder.whole_rows,
    )
    model = Model(decoder, settings, prepared, limits, key, ends)
    Engine(model, num_rows, completions).run(waiting, stop, progress)
    return completions


def _never(ids: Iterable[int], vocab_size: int) -> np.ndarray | None:
    """`[vocab_size]` bool, or None if there are none; foreign ids are left out."""
    mask = np.zeros(vocab_size, bool)
    mask[[i for i in ids if 0 <= i < vocab_size]] = True
    if mask.all():
        raise UserError("never_ids holds all tokens of the model: none is left.")
    return mask if mask.any() else None


def _fill_up(stops: list[int], vocab_size: int) -> np.ndarray:
    """Rounded up in number with an id that is none, to compile for few numbers."""
    width = -(-max(len(stops), 1) // 8) * 8
    return np.array(stops + [vocab_size] * (width - len(stops)), np.int32)
