"""Token statistics are the same on every mesh, in value and in gradient."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxalign.losses import LossOutput
from jaxalign.ops import (
    Layout,
    Mean,
    chunked_jsd,
    chunked_kl,
    chunked_stats,
    constrain,
    fused_token_loss,
    laid_out,
)
from jaxalign.parallel import ACTIVATIONS, make_mesh

# Of the second sizes none divides the mesh: the vocabulary, the width, the rows.
SIZES = [(8, 10, 16, 24), (4, 7, 6, 25)]
MESHES = [
    {"fsdp": 8},
    {"data": 2, "fsdp": 2, "tensor": 2},
    {"tensor": 8},
]


def arrays(rows, length, width, vocab):
    rng = np.random.default_rng(0)
    hidden, other = rng.normal(size=(2, rows, length, width)).astype(np.float32)
    kernel, teacher = rng.normal(size=(2, vocab, width)).astype(np.float32)
    targets = rng.integers(0, vocab - 2, (rows, length)).astype(np.int32)
    # Some rows have no target at all: their devices have nothing but empty chunks.
    mask = np.arange(length) < np.arange(rows)[:, None] % (length + 1)
    weights = rng.normal(size=(rows, length)).astype(np.float32)
    return hidden, kernel, other, teacher, targets, mask, weights


def weighted(values, weights):
    return sum(jnp.sum(x * weights * (i + 1)) for i, x in enumerate(values))


def stats(hidden, kernel, other, teacher, targets, mask, weights):
    options = {"softcap": 3.0, "entropy": True, "chunk_size": 8}
    out = chunked_stats(
        hidden, kernel, targets, mask=mask, vocab_size=len(kernel) - 2, **options
    )
    # What an empty chunk gives is 0, and which chunks are empty depends on the mesh.
    out = jax.tree.map(lambda x: jnp.where(mask, x, jnp.zeros_like(x)), out)
    return weighted([out.logps, out.logz, out.mean_logps, out.entropy], weights), out


def plain_stats(hidden, kernel, other, teacher, targets, mask, weights):
    out = chunked_stats(hidden, kernel, targets, temperature=0.7, chunk_size=8)
    return weighted([out.logps, out.logz, out.mean_logps], weights), out


def loss(hidden, kernel, other, teacher, targets, mask, weights):
    def loss_fn(stats, mask, weights):
        each = jnp.where(mask, weights * jnp.square(stats.logps), 0.0)
        return LossOutput(
            Mean(jnp.sum(each), jnp.sum(mask, dtype=jnp.float32)),
            {"logz": Mean.of(stats.logz, where=mask)},
        )

    known = targets, mask, weights
    out = fused_token_loss(loss_fn, hidden, kernel, *known, chunk_size=8)
    return out.loss.total, out


def divergence(hidden, kernel, other, teacher, targets, mask, weights):
    options = {"vocab_size": len(kernel) - 2, "chunk_size": 8}
    models = hidden, kernel, other, teacher
    both, jsd = chunked_kl(*models, **options), chunked_jsd(*models, **options)
    return weighted([*both, jsd], weights), (both, jsd)


def all_of_them(*arrays):
    """Values and gradients of every function, compiled at once."""
    functions = stats, plain_stats, loss, divergence
    return [jax.grad(fn, (0, 1), has_aux=True)(*arrays) for fn in functions]


@functools.cache
def on_one_device(sizes):
    return jax.jit(all_of_them)(*arrays(*sizes))


@pytest.mark.parametrize(
    ("axes", "sizes"),
    [
        (MESHES[0], SIZES[1]),
        (MESHES[1], SIZES[0]),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                *((MESHES[0], SIZES[0]), (MESHES[1], SIZES[1])),
                *((MESHES[2], sizes) for sizes in SIZES),
            )
        ),
    ],
    ids=str,
)
def test_every_mesh_gives_the_same(axes, sizes):
    layout = Layout.of(make_mesh(axes), ACTIVATIONS)

    def laid(*arrays):
        with laid_out(layout):
            return all_of_them(*arrays)

    got = jax.jit(laid)(*arrays(*sizes))
    expected = on_one_device(sizes)
    chex.assert_trees_all_close(got, expected, rtol=2e-5, atol=2e-5)


def test_a_name_splits_what_its_axes_divide():
    mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    layout = Layout.of(mesh, ACTIVATIONS)
    assert layout.spec((8, 3, 4), "rows", "positions", "heads") == P(
        ("data", "fsdp"), None, ("tensor",)
    )
    # Six rows on two times two devices: split over the first two.
    assert layout.spec((6, 3), "rows", "heads") == P(("data",), None)
    one = Layout.of(make_mesh({"fsdp": -1}, jax.devices()[:1]), ACTIVATIONS)
    assert one.spec((8,), "rows") == P(None)


def test_named_axes_decide_where_an_array_lies():
    mesh = make_mesh({"data": 2, "fsdp": 4})

    def fn(x):
        with laid_out(Layout.of(mesh, ACTIVATIONS)):
            return constrain(x + 1, "rows", None)

    out = jax.jit(fn)(jnp.zeros((8, 3)))
    assert out.sharding.is_equivalent_to(NamedSharding(mesh, P(("data", "fsdp"))), 2)


@pytest.mark.parametrize("way", ["shard_map", "pmap"])
def test_nothing_is_said_where_the_mesh_is_mapped_over(way):
    mesh = make_mesh({"data": 8})

    def fn(x):
        with laid_out(Layout.of(mesh, ACTIVATIONS)):
            return constrain(x + 1, "rows", None)

    if way == "pmap":
        out = jax.pmap(fn, axis_name="data")(jnp.zeros((8, 1, 3)))
    else:
        out = jax.jit(
            jax.shard_map(fn, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
        )(jnp.zeros((8, 3)))
    assert float(out.sum()) == 24
