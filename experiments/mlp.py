"""A small network: layers with ReLU between them, as a list of weights and biases."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

Layers = list[tuple[jax.Array, jax.Array]]


def init(key: jax.Array, sizes: Sequence[int]) -> Layers:
    """Weights of variance 2 / inputs, no biases; the key is used up."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        (jax.random.normal(k, (m, n)) * (2 / m) ** 0.5, jnp.zeros(n))
        for k, m, n in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def apply(layers: Layers, x: jax.Array) -> jax.Array:
    """`[..., sizes[0]]` to `[..., sizes[-1]]`."""
    *hidden, (weights, biases) = layers
    for w, b in hidden:
        y = x @ w
        x = jax.nn.relu(y + jnp.broadcast_to(b, y.shape))
    y = x @ weights
    return y + jnp.broadcast_to(biases, y.shape)
