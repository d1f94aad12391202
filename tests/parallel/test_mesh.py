"""Meshes and partition rules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec

from jaxalign.errors import UserError
from jaxalign.models import PARTITION_RULES, init_params
from jaxalign.parallel import (
    batch_sharding,
    make_mesh,
    match_rules,
    replicated,
    shardings,
)
from jaxalign.training import TrainState
from tests.tiny import make_model

P = PartitionSpec


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        ({}, None),
        ({"data": 8}, (8, 1, 1, 1)),
        ({"fsdp": -1}, (1, 8, 1, 1)),
        ({"fsdp": 4, "sequence": 2}, (1, 4, 2, 1)),
        ({"data": 2, "fsdp": -1, "tensor": 2}, (2, 2, 1, 2)),
        ({"tensor": 8, "data": -1}, (1, 1, 1, 8)),
        ({"data": 2, "fsdp": 2, "tensor": 2}, (2, 2, 1, 2)),
        ({"data": 3, "fsdp": -1}, None),
        ({"data": 16}, None),
        ({"data": 16, "fsdp": -1}, None),
        ({"data": -1, "fsdp": -1}, None),
        ({"data": 0}, None),
        ({"data": -2}, None),
        ({"model": 8}, None),
    ],
    ids=str,
)
def test_sizes_fill_the_devices_or_are_refused(sizes, shape):
    if shape is None:
        with pytest.raises(UserError, match="mesh"):
            make_mesh(sizes)
        return
    mesh = make_mesh(sizes)
    assert mesh.axis_names == ("data", "fsdp", "sequence", "tensor")
    assert mesh.devices.shape == shape
    assert set(mesh.axis_types) == {AxisType.Auto}
    assert set(mesh.devices.flat) == set(jax.devices())


def test_some_of_the_devices():
    mesh = make_mesh({"fsdp": -1}, jax.devices()[2:4])
    assert list(mesh.devices.flat) == jax.devices()[2:4]


def test_rows_lie_on_data_and_fsdp_together():
    mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    rows = jax.device_put(np.arange(8), batch_sharding(mesh))
    held = {tuple(shard.data.tolist()) for shard in rows.addressable_shards}
    assert held == {(0, 1), (2, 3), (4, 5), (6, 7)}
    everywhere = jax.device_put(np.arange(8), replicated(mesh))
    assert all(len(shard.data) == 8 for shard in everywhere.addressable_shards)


def test_the_first_rule_that_matches_counts():
    rules = [(r"b/kernel$", P("fsdp")), (r"kernel$", P("tensor")), (r".*", P())]
    assert match_rules(rules, "a/b/kernel") == P("fsdp")
    assert match_rules(rules, "a/c/kernel") == P("tensor")
    assert match_rules(rules, "a/c/bias") == P()
    with pytest.raises(ValueError, match="'a/bias'"):
        match_rules(rules[:2], "a/bias")


def test_an_axis_that_does_not_divide_is_left_unsplit():
    mesh = make_mesh({"fsdp": 4, "tensor": 2})
    leaf = jax.ShapeDtypeStruct
    tree = {
        "both": leaf((8, 6), jnp.float32),
        "first": leaf((8, 3), jnp.float32),
        "second": leaf((6, 4), jnp.float32),
        "flat": leaf((8,), jnp.float32),
        "scalar": leaf((), jnp.float32),
    }
    got = shardings([(r".*", P("fsdp", "tensor"))], mesh, tree)
    assert {name: s.spec for name, s in got.items()} == {
        "both": P("fsdp", "tensor"),
        "first": P("fsdp", None),
        "second": P(None, "tensor"),
        "flat": P(),
        "scalar": P(),
    }
    pair = shardings([(r".*", P(("fsdp", "tensor")))], mesh, tree)
    assert pair["both"].spec == P(("fsdp", "tensor"))
    assert pair["second"].is_fully_replicated


def test_one_table_splits_parameters_and_optimizer_state_alike():
    mesh = make_mesh({"fsdp": 4, "tensor": 2})
    model, optimizer = make_model(tie_embeddings=False), optax.adam(1e-3)

    def start(key):
        return TrainState.create(init_params(model, key), optimizer, key)

    state = jax.eval_shape(start, jax.random.key(0))
    places = shardings(PARTITION_RULES, mesh, state)
    moments = places.opt_state[0]
    assert isinstance(moments, optax.ScaleByAdamState)
    assert places.params == moments.mu == moments.nu
    assert places.params["embed"]["embedding"].spec == P("tensor", "fsdp")
    assert places.params["unembed"]["kernel"].spec == P("tensor", "fsdp")
    flat = jax.tree_util.tree_leaves_with_path(places.params)
    split = {jax.tree_util.keystr(k): s.spec for k, s in flat if "kernel" in str(k)}
    assert len(split) == 8
    assert all("fsdp" in spec and "tensor" in spec for spec in split.values())
