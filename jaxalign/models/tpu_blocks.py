"""What the kernels of `tpu_attention` do with a block of queries and one of keys."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jaxalign.models.visibility import HIDDEN, Visibility

# The tile of 32-bit numbers in a TPU's registers.
LANES, SUBLANES = 128, 8


class Kernel(NamedTuple):
    """What a kernel is compiled for.

    Attributes:
      scale: Of the scores.
      softcap: Bound on them, or None.
      block: Queries and keys of a block.
      interpret: Run it as plain operations, to test it where there is no TPU.
    """

    scale: float
    softcap: float | None
    block: int
    interpret: bool


# `//` and `%` look at signs, for which Pallas asks what chip this process has: none,
# where one process compiles for another machine.
def quotient(x, n: int):
    """Of whole numbers that are not negative."""
    return jax.lax.div(x, jnp.int32(n))


def rest(x, n: int):
    """Of whole numbers that are not negative."""
    return jax.lax.rem(x, jnp.int32(n))


class Codes(NamedTuple):
    """Of queries along sublanes `[R, T, 128]`, of keys along lanes `[R, 8, T]`."""

    queries: jax.Array
    prompts: jax.Array
    query_positions: jax.Array
    keys: jax.Array
    key_positions: jax.Array


def spread(rows: Visibility) -> Codes:
    """The codes of rows, repeated as far as a register needs them."""

    def down(x):
        return jnp.broadcast_to(x[:, :, None], (*x.shape, LANES))

    def along(x):
        return jnp.broadcast_to(x[:, None], (x.shape[0], SUBLANES, x.shape[1]))

    return Codes(
        down(rows.queries),
        down(rows.prompts),
        down(rows.positions),
        along(rows.keys),
        along(rows.positions),
    )


def _scores(kernel: Kernel, q, k, codes, window, i, j):
    """Scores of a block, how they change with q k, and which of them count."""
    queries, prompts, at, keys, key_at = codes
    z = jax.lax.dot_general(
        q, k, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32
    )
    z = z * kernel.scale
    bend = None
    if kernel.softcap is not None:
        bent = jnp.tanh(z / kernel.softcap)
        z, bend = kernel.softcap * bent, 1 - bent * bent
    shape, block = z.shape, kernel.block
    row = i * block + jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    column = j * block + jax.lax.broadcasted_iota(jnp.int32, shape, 1)
    key = keys[0, :1, :]
    same = (key == queries[0, :, :1]) | (key == prompts[0, :, :1])
    near = at[0, :, :1] - key_at[0, :1, :] < window[0, 0]
    return z, bend, (column <= row) & same & near


def forward_kernel(kernel, count, window, *refs):
    """Takes in the values of a block of keys; the last block gives the output."""
    q, k, v, *codes, out, log_sum, top, total, acc = refs
    i, j = pl.program_id(2), pl.program_id(3)

    @pl.when(j == 0)
    def _():
        top[...] = jnp.full(top.shape, HIDDEN, jnp.float32)
        total[...] = jnp.zeros(total.shape, jnp.float32)
        acc[...] = jnp.zeros(acc.shape, jnp.float32)

    @pl.when(j <= i)
    def _():
        z, _, seen = _scores(kernel, q[0, 0], k[0, 0], codes, window, i, j)
        z = jnp.where(seen, z, HIDDEN)
        old = top[:, :1]
        new = jnp.maximum(old, jnp.max(z, axis=1, keepdims=True))
        weights = jnp.where(seen, jnp.exp(z - new), 0.0)
        factor = jnp.exp(old - new)
        whole = total[:, :1] * factor + jnp.sum(weights, axis=1, keepdims=True)
        top[...] = jnp.broadcast_to(new, top.shape)
        total[...] = jnp.broadcast_to(whole, total.shape)
        more = jnp.dot(
            weights.astype(v.dtype), v[0, 0], preferred_element_type=jnp.float32
        )
        acc[...] = acc[...] * factor + more

    @pl.when(j == count - 1)
    def _():
        some = jnp.maximum(total[...], 1e-30)
        out[0, 0] = (acc[...] / some[:, :1]).astype(out.dtype)
        log_sum[0, 0] = top[...] + jnp.log(some)


def _slopes(kernel, q, k, v, ct, log_sum, inner, codes, window, i, j):
    """Weights of a block, and the gradient of its q k."""
    z, bend, seen = _scores(kernel, q, k, codes, window, i, j)
    weights = jnp.where(seen, jnp.exp(z - log_sum[0, 0][:, :1]), 0.0)
    dz = jax.lax.dot_general(
        ct, v, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32
    )
    dz = weights * (dz - inner[0, 0][:, :1]) * kernel.scale
    return weights, dz if bend is None else dz * bend


def query_kernel(kernel, count, window, *refs):
    """Adds what a block of keys does to the gradient of a block of queries."""
    q, k, v, *codes, ct, log_sum, inner, dq, acc = refs
    i, j = pl.program_id(2), pl.program_id(3)

    @pl.when(j == 0)
    def _():
        acc[...] = jnp.zeros(acc.shape, jnp.float32)

    @pl.when(j <= i)
    def _():
        arrays = q[0, 0], k[0, 0], v[0, 0], ct[0, 0], log_sum, inner
        dz = _slopes(kernel, *arrays, codes, window, i, j)[1]
        acc[...] += jnp.dot(
            dz.astype(q.dtype), k[0, 0], preferred_element_type=jnp.float32
        )

    @pl.when(j == count - 1)
    def _():
        dq[0, 0] = acc[...].astype(dq.dtype)


def key_kernel(kernel, count, steps, window, *refs):
    """Adds what a block of queries does to the gradients of a block of keys."""
    q, k, v, *codes, ct, log_sum, inner, dk, dv, key_acc, value_acc = refs
    j, step = pl.program_id(2), pl.program_id(3)
    # Heads of a group come one after the other: they share these keys.
    i = rest(step, count)

    @pl.when(step == 0)
    def _():
        key_acc[...] = jnp.zeros(key_acc.shape, jnp.float32)
        value_acc[...] = jnp.zeros(value_acc.shape, jnp.float32)

    @pl.when(j <= i)
    def _():
        arrays = q[0, 0], k[0, 0], v[0, 0], ct[0, 0], log_sum, inner
        weights, dz = _slopes(kernel, *arrays, codes, window, i, j)
        turned = (((0,), (0,)), ((), ()))
        value_acc[...] += jax.lax.dot_general(
            weights.astype(v.dtype),
            ct[0, 0],
            turned,
            preferred_element_type=jnp.float32,
        )
        key_acc[...] += jax.lax.dot_general(
            dz.astype(q.dtype), q[0, 0], turned, preferred_element_type=jnp.float32
        )

    @pl.when(step == steps - 1)
    def _():
        dk[0, 0] = key_acc[...].astype(dk.dtype)
        dv[0, 0] = value_acc[...].astype(dv.dtype)
