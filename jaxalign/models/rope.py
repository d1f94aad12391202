"""Rotary position embeddings: frequencies on the host, rotation on the device."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.models.config import ModelConfig, Rope


def inverse_frequencies(rope: Rope, dim: int) -> np.ndarray:
    """Radians per position of each rotated pair of channels, `[dim / 2]` float64.

    >>> inverse_frequencies(Rope(theta=100.0), 4)
    array([1. , 0.1])
    >>> inverse_frequencies(Rope(theta=100.0, scaling="linear", factor=2.0), 4)
    array([0.5 , 0.05])
    """
    plain = rope.theta ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)
    if rope.scaling == "default":
        return plain
    if rope.scaling == "linear":
        return plain / rope.factor
    keep = (
        _llama3_ramp(rope, plain) if rope.scaling == "llama3" else _yarn_ramp(rope, dim)
    )
    return keep * plain + (1 - keep) * plain / rope.factor


def _llama3_ramp(rope: Rope, plain: np.ndarray) -> np.ndarray:
    """1 where a frequency is kept, 0 where it is stretched in full."""
    turns = rope.original_positions * plain / (2 * math.pi)
    low, high = rope.low_freq_factor, rope.high_freq_factor
    return np.clip((turns - low) / (high - low), 0.0, 1.0)


def _yarn_ramp(rope: Rope, dim: int) -> np.ndarray:
    """The same for YaRN: Eq. 13 and 14 of https://arxiv.org/abs/2309.00071."""

    def channel(turns: float) -> float:
        angle = rope.original_positions / (turns * 2 * math.pi)
        return dim * math.log(angle) / (2 * math.log(rope.theta))

    low, high = channel(rope.beta_fast), channel(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    # As in the code of YaRN: a ramp without width would divide by 0.
    if low == high:
        high += 0.001
    return 1 - np.clip((np.arange(dim // 2) - low) / (high - low), 0.0, 1.0)


def layer_tables(config: ModelConfig) -> tuple[list[Rope | None], np.ndarray]:
    """The different rotations of a model, and which one each layer `[L]` uses."""
    kinds = list(dict.fromkeys(config.ropes))
    return kinds, np.array([kinds.index(r) for r in config.ropes], np.int32)


def cos_sin(config: ModelConfig, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines for every kind of layer.

    Args:
      config: The model; its distinct ropes are K in number.
      positions: `[..., T]` int32.

    Returns:
      Two `[K, ..., T, rotary_dim / 2]` float32 arrays. A layer without rotary
      embedding gets ones and zeros, the identity.
    """
    tables = []
    for rope in layer_tables(config)[0]:
        half = config.rotary_dim // 2
        factor = 1.0 if rope is None else rope.attention_factor
        inverse = np.zeros(half) if rope is None else None
        if rope is not None:
            inverse = inverse_frequencies(rope, config.rotary_dim)
        angles = positions[..., None].astype(jnp.float32) * jnp.asarray(
            inverse, jnp.float32
        ).reshape((1,) * positions.ndim + (half,))
        tables.append((jnp.cos(angles) * factor, jnp.sin(angles) * factor))
    return jnp.stack([c for c, _ in tables]), jnp.stack([s for _, s in tables])


def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Rotates the first channels of every head; channel i is paired with i + half.

    Args:
      x: `[R, T, H, head_dim]`.
      cos: `[R, T, half]` float32, with 2 * half <= head_dim.
      sin: `[R, T, half]` float32.

    Returns:
      The same shape and type as `x`.
    """
    half = cos.shape[-1]
    cos, sin = cos[:, :, None].astype(x.dtype), sin[:, :, None].astype(x.dtype)
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return jnp.concatenate(
        [first * cos - second * sin, second * cos + first * sin, rest], axis=-1
    )
