"""Ways to attend against all scores at once, and the memory that they take."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.models.attention import blocked_attention, naive_attention
from jaxalign.models.online_attention import online_attention
from jaxalign.models.tpu_attention import tpu_attention
from jaxalign.models.visibility import visibility

R, T, H, K, D = 2, 45, 4, 2, 8


def packed(rng, kind):
    """Rows of several sequences, of shared prompts with branches, or of one."""
    positions = np.broadcast_to(np.arange(T, dtype=np.int32), (R, T)).copy()
    if kind == "one sequence":
        return visibility(jnp.asarray(positions))
    segments, branches = np.zeros((2, R, T), np.int32)
    for r in range(R):
        at = 0
        for segment in range(1, 4):
            prompt = rng.integers(1, 5)
            for branch in range(4 if kind == "branches" else 1):
                length = prompt if branch == 0 else rng.integers(1, 4)
                start = 0 if branch == 0 else prompt
                span = slice(at, at + length)
                segments[r, span], branches[r, span] = segment, branch
                positions[r, span] = start + np.arange(length)
                at += length
    branches = jnp.asarray(branches) if kind == "branches" else None
    return visibility(jnp.asarray(positions), jnp.asarray(segments), branches)


WAYS = [
    ("one sequence", None, None),
    ("segments", 3, 2.0),
    ("branches", None, 2.0),
    ("branches", np.int32(4), None),
]


@pytest.mark.parametrize(("kind", "window", "softcap"), WAYS)
def test_blocks_with_a_running_softmax_give_what_all_scores_give(
    kind, window, softcap, monkeypatch
):
    monkeypatch.setattr("jaxalign.models.online_attention.BLOCK", 16)
    rng = np.random.default_rng(0)
    q = jnp.asarray(2 * rng.normal(size=(R, T, H, D)), jnp.float32)
    k, v = jnp.asarray(2 * rng.normal(size=(2, R, T, K, D)), jnp.float32)
    rows = packed(rng, kind)
    probe = jnp.asarray(rng.normal(size=(R, T, H, D)), jnp.float32)
    if rows.keys is not None:
        # What padding sees is nobody's business; a key in padding is code -1.
        probe = probe * (rows.keys >= 0)[..., None, None].astype(jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def run(attention, q, k, v):
        def total(q, k, v):
            out = attention(q, k, v, rows, window, scale=D**-0.5, softcap=softcap)
            return jnp.sum(out * probe), out * jnp.abs(jnp.sign(probe))

        return jax.grad(total, (0, 1, 2), has_aux=True)(q, k, v)

    expected = run(naive_attention, q, k, v)
    chex.assert_trees_all_close(run(online_attention, q, k, v), expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "window", "softcap"), WAYS)
def test_the_kernel_for_tpus_gives_what_all_scores_give(kind, window, softcap):
    """In the interpreter: rows of two blocks of 128."""
    rng = np.random.default_rng(0)
    q = jnp.asarray(2 * rng.normal(size=(1, 200, 2, D)), jnp.float32)
    k, v = jnp.asarray(2 * rng.normal(size=(2, 1, 200, 1, D)), jnp.float32)
    rows = jax.tree.map(lambda x: jnp.tile(x[:1], (1, 5))[:, :200], packed(rng, kind))
    if kind == "one sequence":
        rows = visibility(jnp.arange(200, dtype=jnp.int32)[None])
    probe = jnp.asarray(rng.normal(size=q.shape), jnp.float32)
    if rows.keys is not None:
        probe = probe * (rows.keys >= 0)[..., None, None].astype(jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def run(attention, q, k, v):
        def total(q, k, v):
            out = attention(q, k, v, rows, window, scale=D**-0.5, softcap=softcap)
            return jnp.sum(out * probe), out * jnp.abs(jnp.sign(probe))

        return jax.grad(total, (0, 1, 2), has_aux=True)(q, k, v)

    kernel = functools.partial(tpu_attention, interpret=True)
    expected = run(naive_attention, q, k, v)
    chex.assert_trees_all_close(run(kernel, q, k, v), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("window", [None, 3])
def test_on_gpus_whole_rows_go_to_cudnn_and_packed_ones_do_not(window, monkeypatch):
    """Here its place is taken by the same function without a kernel."""
    plain, asked = jax.nn.dot_product_attention, []

    def stand_in(*arrays, implementation, **options):
        asked.append(implementation)
        with jax.numpy_dtype_promotion("standard"):
            return plain(*arrays, implementation="xla", **options)

    monkeypatch.setattr("jaxalign.models.attention.current_platform", lambda: "gpu")
    monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
    rng = np.random.default_rng(0)
    q = jnp.asarray(rng.normal(size=(R, T, H, D)), jnp.bfloat16)
    k, v = jnp.asarray(rng.normal(size=(2, R, T, K, D)), jnp.bfloat16)
    options: Any = {"scale": D**-0.5, "softcap": None}
    for kind, calls in (("one sequence", 1), ("segments", 1), ("branches", 1)):
        rows = packed(rng, kind)
        got = blocked_attention(q, k, v, rows, window, **options)
        q32, k32, v32 = (x.astype(jnp.float32) for x in (q, k, v))
        expected = naive_attention(q32, k32, v32, rows, window, **options)
        seen = np.ones((R, T, 1, 1), bool)
        if rows.keys is not None:
            seen = np.asarray(rows.keys >= 0)[..., None, None]
        gap = np.where(seen, np.asarray(got, np.float32) - np.asarray(expected), 0)
        assert np.abs(gap).max() < 0.05
        assert asked == ["cudnn"] * calls


def test_memory_grows_with_the_length_and_not_with_its_square():
    def temporaries(length):
        shapes = [(1, length, h, 16) for h in (4, 2, 2)]
        arrays = [jax.ShapeDtypeStruct(s, np.float32) for s in shapes]
        ids = jax.ShapeDtypeStruct((1, length), np.int32)

        def total(q, k, v, ids):
            rows = visibility(ids, ids, ids)
            out = blocked_attention(q, k, v, rows, None, scale=1.0, softcap=None)
            return jnp.sum(out)

        grad = jax.jit(jax.grad(total, (0, 1, 2)))
        memory = grad.lower(*arrays, ids).compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes

    short, long = temporaries(4096), temporaries(32768)
    assert long < 8.2 * short
    assert long < 32768**2
