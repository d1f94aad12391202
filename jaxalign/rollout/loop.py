"""The compiled part of sampling: one prefill, then one loop until all rows are over."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.ops import token_logps
from jaxalign.rollout.prompts import Rows
from jaxalign.rollout.sampling import sample_tokens


class Decoder(NamedTuple):
    """A model as the sampler takes it: functions, made once and used for every call.

    A new function is a new compilation, so do not make them anew for each call.

    Attributes:
      init_cache: `(rows, slots) -> cache`, any pytree, empty.
      apply: `(params, tokens, positions, cache, valid) -> (hidden, cache)` with
        tokens, positions and the bool `valid` all `[B, T]`, and hidden states
        `[B, T, D]`: the next T tokens, which see all valid ones before them.
      head: `params -> (kernel [V, D], softcap or None, vocab_size)`; rows of the
        kernel from `vocab_size` on are never sampled.
      max_length: Tokens of the longest sequence the model can read.
    """

    init_cache: Callable[[int, int], Any]
    apply: Callable[..., tuple[jax.Array, Any]]
    head: Callable[[Any], tuple[jax.Array, float | None, int]]
    max_length: int


class Settings(NamedTuple):
    """What the program is compiled for."""

    max_new_tokens: int
    greedy: bool
    top_k: int | None
    nucleus: bool


class Limits(NamedTuple):
    """What may change from call to call without compiling anew.

    Attributes:
      temperature: Scalar float32; not read when greedy.
      top_p: Scalar float32; not read without `nucleus`.
      min_new_tokens: Scalar int32: no stop token comes before this many.
      stop_ids: `[S]` int32; ids of `vocab_size` and more are no token.
    """

    temperature: Any
    top_p: Any
    min_new_tokens: Any
    stop_ids: Any


class Progress(NamedTuple):
    """What the loop carries: `tokens`, `logps`, `lengths` as in `Completions`."""

    step: jax.Array
    cache: Any
    last: jax.Array
    running: jax.Array
    tokens: jax.Array
    logps: jax.Array
    lengths: jax.Array


class Fixed(NamedTuple):
    """What stays the same over the loop.

    Attributes:
      head: As `Decoder.head` gives it.
      keys: `[B]` random keys, a row's own.
      stops: `[V]` bool, True on stop tokens.
      prompt_lengths: `[B]` int32.
      limits: Traced settings.
    """

    head: tuple[jax.Array, float | None, int]
    keys: jax.Array
    stops: jax.Array
    prompt_lengths: jax.Array
    limits: Limits


@functools.partial(jax.jit, static_argnames=("decoder", "settings"))
def run(
    decoder: Decoder,
    settings: Settings,
    params: Any,
    rows: Rows,
    limits: Limits,
    key: jax.Array,
) -> Progress:
    """Samples behind each row; the cache in the result is None.

    Args:
      decoder: The model's functions.
      settings: Static settings.
      params: Its parameters.
      rows: `[B, T]` prompts.
      limits: Traced settings.
      key: The token at position t of sample j of prompt i uses `key` folded with i,
        j and t: nothing depends on which rows lie together.
    """
    head = decoder.head(params)
    fixed = Fixed(
        head=head,
        keys=_fold(
            _fold(jnp.full(rows.running.shape, key), rows.prompt_index),
            rows.sample_index,
        ),
        stops=jnp.zeros(head[2], bool).at[limits.stop_ids].set(True, mode="drop"),
        prompt_lengths=jnp.sum(rows.valid, axis=1, dtype=jnp.int32),
        limits=limits,
    )

    def unfinished(progress: Progress) -> jax.Array:
        return (progress.step < settings.max_new_tokens) & jnp.any(progress.running)

    def advance(progress: Progress) -> Progress:
        at = fixed.prompt_lengths + progress.step - 1
        hidden, cache = decoder.apply(
            params,
            progress.last[:, None],
            at[:, None],
            progress.cache,
            progress.running[:, None],
        )
        return _sample(settings, fixed, progress._replace(cache=cache), hidden[:, 0])

    num_rows, width = rows.tokens.shape
    cache = decoder.init_cache(num_rows, width + settings.max_new_tokens)
    hidden, cache = decoder.apply(
        params, rows.tokens, rows.positions, cache, rows.valid
    )
    start = Progress(
        step=jnp.zeros((), jnp.int32),
        cache=cache,
        last=jnp.zeros(num_rows, jnp.int32),
        running=jnp.asarray(rows.running),
        tokens=jnp.zeros((num_rows, settings.max_new_tokens), jnp.int32),
        logps=jnp.zeros((num_rows, settings.max_new_tokens), jnp.float32),
        lengths=jnp.zeros(num_rows, jnp.int32),
    )
    first = _sample(settings, fixed, start, hidden[:, -1])
    return jax.lax.while_loop(unfinished, advance, first)._replace(cache=None)


_fold = jax.vmap(jax.random.fold_in)


def _sample(settings: Settings, fixed: Fixed, progress: Progress, hidden) -> Progress:
    """Adds the token that the hidden states `[B, D]` predict."""
    logits = _logits(fixed.head, hidden)
    if not settings.greedy:
        logits = logits / fixed.limits.temperature
    token = _choose(settings, fixed, logits, progress.step)
    logps = token_logps(logits, token)
    running = progress.running
    write = functools.partial(
        jax.lax.dynamic_update_slice_in_dim, start_index=progress.step, axis=1
    )
    return Progress(
        step=progress.step + 1,
        cache=progress.cache,
        last=token,
        running=running & ~fixed.stops[token],
        tokens=write(progress.tokens, jnp.where(running, token, 0)[:, None]),
        logps=write(progress.logps, jnp.where(running, logps, 0.0)[:, None]),
        lengths=progress.lengths + running.astype(jnp.int32),
    )


def _logits(head: tuple[jax.Array, float | None, int], hidden: jax.Array) -> jax.Array:
    """`[B, D]` hidden states to `[B, vocab_size]` float32 logits."""
    kernel, softcap, vocab_size = head
    logits = jnp.einsum(
        "bd,vd->bv",
        hidden,
        kernel.astype(hidden.dtype),
        preferred_element_type=jnp.float32,
    )[:, :vocab_size]
    return logits if softcap is None else softcap * jnp.tanh(logits / softcap)


def _choose(settings: Settings, fixed: Fixed, logits, step) -> jax.Array:
    """A token `[B]` for each row of `[B, V]` logits at the sampling temperature."""
    limits = fixed.limits
    early = fixed.stops & (step < limits.min_new_tokens)
    logits = jnp.where(early[None], -jnp.inf, logits)
    if settings.greedy:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    keys = _fold(fixed.keys, fixed.prompt_lengths + step)
    uniforms = jax.vmap(lambda k: jax.random.uniform(k, (2,), jnp.float32))(keys)
    top_p = limits.top_p if settings.nucleus else None
    return sample_tokens(logits, uniforms, top_k=settings.top_k, top_p=top_p)
