"""The compiled parts of sampling: prefill, keys and values into slots, decoding.

All take the decoder, and what else decides about the program, as static arguments; the
caches that they change are donated.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign.ops import constrain, current_layout, laid_out, rows_times, token_logps
from jaxalign.rollout.decoder import Decoder
from jaxalign.rollout.sampling import sample_tokens
from jaxalign.rollout.shaping import allowed_logits, penalised, with_new_tokens
from jaxalign.rollout.slots import Chunk, Limits, Settings, SlotRows
from jaxalign.rollout.split_sampling import chosen_together, shares_vocabulary

STEPS = 32
"""Most tokens of a row between two looks of the host."""
STEPS_WITH_ENDS = 16
"""The same where the host may end a row: what follows the end is wasted."""


@functools.partial(jax.jit, static_argnames="decoder")
def prepare(decoder: Decoder, params: Any) -> Any:
    """The parameters as the other functions here take them."""
    with laid_out(decoder.layout):
        return decoder.prepare(params)


@functools.partial(jax.jit, static_argnames="decoder")
def prefill(decoder: Decoder, params: Any, tokens: jax.Array) -> Any:
    """A cache with the keys and values of `[P, W]` tokens, padded on the right."""
    rows, width = tokens.shape
    starts = jnp.zeros(rows, jnp.int32)
    with laid_out(decoder.layout):
        cache = decoder.init_cache(rows, width)
        tokens = constrain(tokens, "rows", None)
        return decoder.apply(params, tokens, starts, cache)[1]


@functools.partial(jax.jit, static_argnames=("decoder", "rows", "slots"))
def empty(decoder: Decoder, rows: int, slots: int) -> Any:
    """A cache for so many rows."""
    with laid_out(decoder.layout):
        return decoder.init_cache(rows, slots)


@functools.partial(jax.jit, static_argnames=("decoder", "slots"))
def resize(decoder: Decoder, cache: Any, slots: int) -> Any:
    """The same cache with more slots, or without its last ones."""

    def one(x: jax.Array) -> jax.Array:
        # Both ways: it grows with the longest row and shrinks once that one is over.
        more = max(slots - x.shape[-2], 0)
        padding = [(0, 0)] * (x.ndim - 2) + [(0, more), (0, 0)]
        return _by_rows(decoder, jnp.pad(x[..., :slots, :], padding))

    return jax.tree.map(one, cache)


@functools.partial(jax.jit, static_argnames="decoder", donate_argnames="cache")
def insert(
    decoder: Decoder, cache: Any, block: Any, sources: jax.Array, rows: jax.Array
) -> Any:
    """Copies rows of a prefilled block into rows of the cache.

    Args:
      decoder: The model's functions.
      cache: Of B rows; donated.
      block: What `prefill` returned.
      sources: `[B]` int32 rows of the block.
      rows: `[B]` int32 rows of the cache they go to; B and more: nowhere.

    Returns:
      The new cache.
    """

    def one(old: jax.Array, new: jax.Array) -> jax.Array:
        width = min(old.shape[-2], new.shape[-2])
        new = old.at[rows, ..., :width, :].set(
            new[sources][..., :width, :], mode="drop"
        )
        return _by_rows(decoder, new)

    return jax.tree.map(one, cache, block)


def _by_rows(decoder: Decoder, x: jax.Array) -> jax.Array:
    with laid_out(decoder.layout):
        layout = current_layout()
    return x if layout is None else layout.place_rows(x)


@functools.partial(
    jax.jit, static_argnames=("decoder", "settings"), donate_argnames="cache"
)
def decode(
    decoder: Decoder,
    settings: Settings,
    params: Any,
    cache: Any,
    rows: SlotRows,
    limits: Limits,
    key: jax.Array,
    enough: jax.Array,
    seen: jax.Array | None = None,
) -> tuple[Any, Chunk]:
    """Samples until few rows are running, at most `settings.steps` tokens each.

    Args:
      decoder: The model's functions.
      settings: Static settings.
      params: As `prepare` made them.
      cache: Keys and values of all tokens before `rows.last`, with room for the new
        ones; donated.
      rows: What is in the cache's rows.
      limits: Traced settings.
      key: The token at position t of sample j of prompt i uses `key` folded with i,
        j and t: nothing depends on which rows lie together.
      enough: int32 scalar: it ends when no more rows than this are running.
      seen: `[B, vocab_size]` bool, which tokens are in each row, for a repetition
        penalty; None without one.

    Returns:
      The new cache, and what was sampled.
    """
    with laid_out(decoder.layout):
        arrays = params, cache, rows, limits, key, enough, seen
        return _decoded(decoder, settings, *arrays)


def _decoded(
    decoder: Decoder, settings: Settings, params, cache, rows, limits, key, enough, seen
) -> tuple[Any, Chunk]:
    head = decoder.head(params)
    # Folded in turn, not split: the numbers of other rows play no part.
    keys = _fold(jnp.full(rows.last.shape, key), rows.prompt_index)
    keys = _fold(keys, rows.sample_index)
    # Devices that share the tokens of a row have rows of padding like all others.
    stored = 0 if head[0] is None else len(head[0])
    together = stored > 0 and shares_vocabulary(stored)
    tokens = stored if together else head[2]
    # A table and no comparison: one look-up a token, however many ids stop.
    stops = jnp.zeros(tokens, bool).at[limits.stop_ids].set(True, mode="drop")

    def unfinished(carry) -> jax.Array:
        step, _, chunk = carry
        running = jnp.sum(chunk.running, dtype=jnp.int32)
        return (step < settings.steps) & (running > enough)

    def advance(carry):
        step, cache, chunk = carry
        hidden, cache = decoder.apply(
            params, chunk.last[:, None], chunk.position, cache
        )
        logits = _logits(head, hidden[:, 0], tokens)
        if not settings.greedy:
            logits = logits / limits.temperature
        count = chunk.position + 1 - rows.prompt_length
        scores = logits
        if seen is not None:
            rows_seen = with_new_tokens(seen, chunk.tokens, step)
            scores = penalised(logits, rows_seen, limits.repetition_penalty)
        allowed = allowed_logits(
            scores,
            unused=decoder.unused,
            never=limits.never,
            not_yet=(count < limits.min_new_tokens)[:, None] & stops[None],
            min_p=limits.min_p,
        )
        uniforms = None
        if not settings.greedy:
            uniforms = _uniforms(_fold(keys, chunk.position + 1))
        top_p = limits.top_p if settings.nucleus else None
        if together:
            options = {"top_k": settings.top_k, "top_p": top_p}
            token, logps = chosen_together(logits, allowed, uniforms, **options)
        else:
            token = _choose(settings, allowed, uniforms, top_p)
            logps = token_logps(logits, token)
        over = stops[token] | (count + 1 >= limits.max_new_tokens)
        chunk = _add(chunk, step, token, logps, over)
        return step + 1, cache, chunk

    shape = (rows.last.shape[0], settings.steps)
    start = Chunk(
        jnp.asarray(rows.last),
        jnp.asarray(rows.position),
        jnp.asarray(rows.running),
        jnp.zeros(shape, jnp.int32),
        jnp.zeros(shape, jnp.float32),
    )
    zero = jnp.zeros((), jnp.int32)
    return jax.lax.while_loop(unfinished, advance, (zero, cache, start))[1:]


_fold = jax.vmap(jax.random.fold_in)


def _logits(
    head: tuple[jax.Array | None, float | None, int], hidden: jax.Array, tokens: int
) -> jax.Array:
    """`[B, D]` hidden states to `[B, tokens]` float32 logits, -inf where there is none.

    The kernel stays where it lies, and the logits stay split over the vocabulary.
    """
    kernel, softcap, vocab_size = head
    if kernel is None:
        return hidden.astype(jnp.float32)
    hidden = constrain(hidden, "group", "stored")
    kernel = constrain(kernel.astype(hidden.dtype), "vocabulary", "stored")
    logits = constrain(rows_times(hidden, kernel), "rows", "vocabulary")[:, :tokens]
    if softcap is not None:
        logits = softcap * jnp.tanh(logits / softcap)
    if tokens == vocab_size:
        return logits
    ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)
    return jnp.where(ids < vocab_size, logits, -jnp.inf)


def _uniforms(keys) -> jax.Array:
    """Two numbers for each of `[B]` keys."""
    return jax.vmap(lambda k: jax.random.uniform(k, (2,), jnp.float32))(keys)


def _choose(settings: Settings, logits, uniforms, top_p) -> jax.Array:
    """A token `[B]` for each row of `[B, V]` logits."""
    if settings.greedy:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    return sample_tokens(logits, uniforms, top_k=settings.top_k, top_p=top_p)


def _add(chunk: Chunk, step, token, logps, over) -> Chunk:
    """The chunk with one more token, all `[B]`, in each running row."""
    running = chunk.running
    write = functools.partial(
        jax.lax.dynamic_update_slice_in_dim, start_index=step, axis=1
    )
    return Chunk(
        last=jnp.where(running, token, chunk.last),
        position=chunk.position + running.astype(jnp.int32),
        running=running & ~over,
        tokens=write(chunk.tokens, jnp.where(running, token, 0)[:, None]),
        logps=write(chunk.logps, jnp.where(running, logps, 0.0)[:, None]),
    )
