"""The ways in which a user may run a function that returns sums over rows."""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

# Eight, but for the tests that run on a machine's own devices (tests/conftest.py): one.
DEVICES = jax.devices()[: 8 if jax.device_count() >= 8 else 1]
MESH = jax.make_mesh(
    (len(DEVICES),), ("data",), axis_types=(AxisType.Auto,), devices=DEVICES
)


def by_jit(fn, params, rows):
    return jax.jit(fn)(params, *rows)


def by_vmap(fn, params, rows):
    """One row at a time."""
    one_row = jax.tree.map(lambda x: x[:, None], rows)
    sums = jax.jit(jax.vmap(lambda row: fn(params, *row)))(one_row)
    return jax.tree.map(lambda x: x.sum(0), sums)


def by_shard_map(fn, params, rows, check_vma=True):
    def body(params, rows):
        params = jax.tree.map(lambda x: jax.lax.pcast(x, "data", to="varying"), params)
        return jax.lax.psum(fn(params, *rows), "data")

    mapped = jax.shard_map(
        body,
        mesh=MESH,
        in_specs=(P(), P("data")),
        out_specs=P(),
        check_vma=check_vma,
    )
    return jax.jit(mapped)(params, rows)


def by_unchecked_shard_map(fn, params, rows):
    return by_shard_map(fn, params, rows, check_vma=False)


def by_pmap(fn, params, rows):
    def body(params, rows):
        return jax.lax.psum(fn(params, *rows), "data")

    rows = jax.tree.map(lambda x: jnp.reshape(x, (MESH.size, -1, *x.shape[1:])), rows)
    sums = jax.pmap(body, "data", in_axes=(None, 0))(params, rows)
    return jax.tree.map(lambda x: x[0], sums)


WAYS = [by_jit, by_vmap, by_shard_map, by_unchecked_shard_map, by_pmap]
