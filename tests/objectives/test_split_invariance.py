"""A batch in one piece, in parts, on many devices or packed is one and the same update.

In float64, where nothing but a mistake can make a difference, with very unequal
lengths and rows that hold no trained token.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxalign.losses import dpo_loss, sft_loss
from jaxalign.objectives import (
    Backbone,
    Head,
    bind,
    bind_token_loss,
    mean_logits,
    token_accuracy,
)
from jaxalign.training import TrainState, make_train_step
from tests.rows import Prompted, packed_batch, plain_batch, random_examples
from tests.ways import MESH

V, D, LENGTH = 13, 6, 12
NOTHING = Prompted([1], [[], []])


def states(params, ids, positions):
    """A model without attention: a token at a position has one hidden state."""
    return jnp.tanh(params["token"][ids] + params["position"][positions])


def apply_fn(params, ids):
    positions = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
    return states(params, ids, positions) @ params["head"].T


BACKBONE = Backbone(
    lambda params, rows: states(params, rows.inputs, rows.positions),
    lambda params: Head(params["head"], None, V),
)


def make_params(rng):
    shapes = {"token": (V, D), "position": (LENGTH, D), "head": (V, D)}
    return {name: jnp.asarray(rng.normal(size=s)) for name, s in shapes.items()}


def packed_rows(examples):
    """Seven examples in rows of very different fill, and rows of padding."""
    return [examples[:3], [], examples[3:4], examples[4:], [], [], [], []]


def sft_cases(rng):
    examples = random_examples(rng, 7, V, responses=1)
    plain = plain_batch([*examples, Prompted([1], [[]])], LENGTH)
    packed = packed_batch(packed_rows(examples), 3 * LENGTH, 24)
    options: Any = {"label_smoothing": 0.1, "z_loss": 0.01, "metrics": [token_accuracy]}
    return (bind(sft_loss, apply_fn, **options), plain), (
        bind_token_loss(sft_loss, BACKBONE, chunk_size=40, **options),
        packed,
    )


def dpo_cases(rng):
    examples = random_examples(rng, 7, V, responses=2, longest=5)
    ref = -rng.gamma(2.0, size=V)
    plain = plain_batch([*examples, NOTHING], LENGTH, ref)
    packed = packed_batch(packed_rows(examples), 3 * LENGTH, 30, ref)
    options: Any = {"beta": 0.3, "label_smoothing": 0.1, "metrics": [mean_logits]}
    return (bind(dpo_loss, apply_fn, **options), plain), (
        bind(dpo_loss, BACKBONE, chunk_size=40, **options),
        packed,
    )


def values(metrics):
    return {name: mean.value for name, mean in metrics.items()}


def update(case, params, *, devices=False, **parts):
    objective, batch = case
    state = TrainState.create(params, optax.sgd(1.0), jax.random.key(0))
    if devices:
        state = jax.device_put(state, NamedSharding(MESH, P()))
        batch = jax.device_put(batch, NamedSharding(MESH, P("data")))
    step = jax.jit(make_train_step(objective, optax.sgd(1.0), **parts))
    state, metrics = step(state, batch)
    return jax.tree.map(np.asarray, (state.params, values(metrics)))


def by_shard_map(case, params):
    objective, batch = case
    state = TrainState.create(params, optax.sgd(1.0), jax.random.key(0))
    step = make_train_step(objective, optax.sgd(1.0), axis_name="data")
    mapped = jax.shard_map(
        step, mesh=MESH, in_specs=(P(), P("data")), out_specs=(P(), P())
    )
    state, metrics = jax.jit(mapped)(state, batch)
    return jax.tree.map(np.asarray, (state.params, values(metrics)))


@pytest.mark.parametrize("cases", [sft_cases, dpo_cases])
def test_one_update_however_the_batch_is_split_or_packed(cases):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        params = make_params(rng)
        plain, packed = cases(rng)
        expected = update(plain, params)
        assert np.isfinite(expected[1]["loss"])
        others = {
            "8 microbatches": update(plain, params, num_microbatches=8),
            "packed, 4 microbatches": update(packed, params, num_microbatches=4),
            "packed, 8 devices": update(packed, params, devices=True),
            "packed, shard_map": by_shard_map(packed, params),
        }
        for name, got in others.items():
            assert got[1].keys() == expected[1].keys(), name
            chex.assert_trees_all_close(
                got, expected, rtol=1e-10, atol=1e-12, custom_message=name
            )


@pytest.mark.parametrize("cases", [sft_cases, dpo_cases])
def test_a_batch_of_padding_alone_changes_nothing(cases):
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: x.astype(jnp.float32), make_params(rng))
    (objective, batch) = cases(rng)[1]
    empty = jax.tree.map(np.zeros_like, batch)
    new, metrics = update((objective, empty), params)
    chex.assert_trees_all_equal(new, jax.tree.map(np.asarray, params))
    assert metrics["loss"] == metrics["skipped_steps"] == 0
