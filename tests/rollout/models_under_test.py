"""A tiny transformer as the sampler takes it, and its logits without a cache."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.models import (
    ModelConfig,
    Rope,
    Transformer,
    apply_cached,
    decoding_params,
    init_cache,
    init_params,
    logits,
    unembedding,
)
from jaxalign.rollout import Decoder

VOCAB = 23

CONFIG = ModelConfig(
    family="llama",
    vocab_size=VOCAB,
    vocab_rows=32,
    hidden_size=16,
    intermediate_size=32,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
    max_positions=64,
    windows=(None, None),
    ropes=(Rope(), Rope()),
    rotary_dim=8,
    attention_scale=8**-0.5,
)
MODEL = Transformer(CONFIG)

DECODER = Decoder(
    init_cache=functools.partial(init_cache, CONFIG),
    apply=functools.partial(apply_cached, MODEL),
    head=functools.partial(unembedding, MODEL),
    max_length=CONFIG.max_positions,
    prepare=functools.partial(decoding_params, MODEL),
)


@functools.cache
def params():
    """Larger than at birth, so that the next token depends on all before it."""
    made = jax.jit(functools.partial(init_params, MODEL))(jax.random.key(7))
    made = jax.tree.map(lambda x: x * 8 if x.ndim > 2 else x, made)
    table = made["embed"]["embedding"] * 30
    # Rows of padding that would always win if they were looked at.
    made["embed"]["embedding"] = table.at[VOCAB:].set(50.0)
    return made


@functools.cache
def _whole_logits():
    return jax.jit(functools.partial(logits, MODEL))


def next_logits(sequences) -> list[np.ndarray]:
    """For each list of ids the `[n, VOCAB]` logits behind each of them.

    The whole sequences are computed, padded on the right to one width, so that one
    program serves all.
    """
    padded = np.zeros((8, 24), np.int32)
    for row, ids in zip(padded, sequences, strict=False):
        row[: len(ids)] = ids
    out = np.asarray(_whole_logits()(params(), jnp.asarray(padded)), np.float64)
    return [out[r, : len(ids)] for r, ids in enumerate(sequences)]


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))
