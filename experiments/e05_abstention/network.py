"""Networks that read an entity and name one of 50 answers, or none."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments import mlp
from experiments.e05_abstention.facts import ANSWERS
from experiments.enumlm.transformer import small_config
from jaxalign.models import Transformer, init_params, logits

WIDTH, HIDDEN = 64, 256


class Params(NamedTuple):
    """What is read of entities, frozen after pre-training, and what reads it.

    Attributes:
      embedding: `[E, 64]`; a transformer's has a row more, for the question mark.
      layers: Of a perceptron, or the parameters of a transformer but its embedding.
    """

    embedding: jax.Array
    layers: mlp.Layers | dict[str, Any]


def class_logps(params: Params, entities: jax.Array | None = None):
    """Log-probabilities of all classes, `[N, 51]`, of N entities; of all by default."""
    table, layers = params
    if isinstance(layers, dict):
        mark = len(table) - 1
        read = jnp.arange(mark) if entities is None else entities
        return written(params, jnp.stack([read, jnp.full_like(read, mark)], axis=1))
    read = table if entities is None else table[entities]
    return jax.nn.log_softmax(mlp.apply(layers, read))


def written(params: Params, ids: jax.Array) -> jax.Array:
    """The same of what a transformer reads, `[N, 2]` token ids."""
    table, layers = params
    assert isinstance(layers, dict)
    config = small_config(len(table), WIDTH, tie_embeddings=False)
    whole = layers | {"embed": {"embedding": table}}
    out = logits(Transformer(config), whole, ids)
    # The ids of the first entities stand for classes, where something is written.
    return jax.nn.log_softmax(out[:, -1, : ANSWERS + 1])


def perceptron(keys: Sequence[jax.Array], size: int) -> Params:
    """Random parameters, for so many entities."""
    for_table, for_layers = keys
    return Params(
        0.3 * jax.random.normal(for_table, (size, WIDTH)),
        mlp.init(for_layers, (WIDTH, HIDDEN, ANSWERS + 1)),
    )


def transformer(keys: Sequence[jax.Array], size: int) -> Params:
    """The same of two Llama layers, which read an entity and a question mark."""
    config = small_config(size + 1, WIDTH, tie_embeddings=False)
    layers: dict[str, Any] = dict(init_params(Transformer(config), keys[1]))
    return Params(layers.pop("embed")["embedding"], layers)
