"""Attention as a kernel for TPUs: scores of a block never leave the core.

The recurrence is that of `online_attention`, for all kinds of rows: segments, shared
prompts with branches, windows and bounded scores. On the way back two kernels make the
scores again, one for the queries' gradient and one for that of keys and values.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxalign.models.visibility import HIDDEN, Visibility, complete, filled_up

# The tile of 32-bit numbers in a TPU's registers.
_LANES, _SUBLANES = 128, 8


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


def tpu_attention(
    q, k, v, rows: Visibility, window, *, scale, softcap, interpret: bool = False
) -> jax.Array:
    """Arguments and result as for `blocked_attention`; T is filled up to blocks."""
    t = q.shape[1]
    padding = -t % _LANES
    # The largest that divides the row, which is a multiple of 128 by now.
    block = next(n for n in (512, 256, 128) if not (t + padding) % n)
    kernel = Kernel(scale, softcap, block, interpret)
    q, k, v = (filled_up(x, padding).transpose(0, 2, 1, 3) for x in (q, k, v))
    if window is None:
        # Wider than any row: no window.
        window = jnp.iinfo(jnp.int32).max
    window = jnp.full((1, 1), window, jnp.int32)
    codes = _spread(complete(rows, padding))
    out: Any = _attend(kernel, q, k, v, codes, window)
    return out.transpose(0, 2, 1, 3)[:, :t]


# `//` and `%` look at signs, for which Pallas asks what chip this process has: none,
# where one process compiles for another machine.
def _quotient(x, n: int):
    return jax.lax.div(x, jnp.int32(n))


def _rest(x, n: int):
    return jax.lax.rem(x, jnp.int32(n))


class _Codes(NamedTuple):
    """Of queries along sublanes `[R, T, 128]`, of keys along lanes `[R, 8, T]`."""

    queries: jax.Array
    prompts: jax.Array
    query_positions: jax.Array
    keys: jax.Array
    key_positions: jax.Array


def _spread(rows: Visibility) -> _Codes:
    def down(x):
        return jnp.broadcast_to(x[:, :, None], (*x.shape, _LANES))

    def along(x):
        return jnp.broadcast_to(x[:, None], (x.shape[0], _SUBLANES, x.shape[1]))

    return _Codes(
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


def _forward_kernel(kernel, count, window, *refs):
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


def _query_kernel(kernel, count, window, *refs):
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


def _key_kernel(kernel, count, steps, window, *refs):
    q, k, v, *codes, ct, log_sum, inner, dk, dv, key_acc, value_acc = refs
    j, step = pl.program_id(2), pl.program_id(3)
    # Heads of a group come one after the other: they share these keys.
    i = _rest(step, count)

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


def _specs(kernel: Kernel, d: int, head, key_head, query, key) -> dict[str, Any]:
    """Where the blocks of each kind of array lie, from the numbers of a grid step."""
    b = kernel.block

    def of(index, *shape):
        return pl.BlockSpec(shape, index)

    query_codes = of(lambda r, *x: (r, query(*x), 0), 1, b, _LANES)
    key_codes = of(lambda r, *x: (r, 0, key(*x)), 1, _SUBLANES, b)
    return {
        "queries": of(lambda r, *x: (r, head(*x), query(*x), 0), 1, 1, b, d),
        "keys": of(lambda r, *x: (r, key_head(*x), key(*x), 0), 1, 1, b, d),
        "codes": [query_codes] * 3 + [key_codes] * 2,
        "numbers": of(lambda r, *x: (r, head(*x), query(*x), 0), 1, 1, b, _LANES),
        "window": pl.BlockSpec(memory_space=pltpu.SMEM),
    }


def _call(kernel: Kernel, body, grid, specs, ins, outs, shapes, scratch, arguments):
    return pl.pallas_call(
        body,
        grid=grid,
        in_specs=[specs["window"], *ins],
        out_specs=outs,
        out_shape=shapes,
        scratch_shapes=[pltpu.VMEM(shape, jnp.float32) for shape in scratch],
        compiler_params=pltpu.CompilerParams(
            # Steps of the last axis add to what the ones before left, so they keep
            # order.
            dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")
        ),
        interpret=kernel.interpret,
    )(*arguments)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(kernel: Kernel, q, k, v, codes, window):
    return _forward(kernel, q, k, v, codes, window)[0]


def _forward(kernel: Kernel, q, k, v, codes, window):
    r, h, t, d = q.shape
    groups, count, b = h // k.shape[1], t // kernel.block, kernel.block
    s = _specs(
        kernel, d, lambda h, i, j: h, lambda h, i, j: _quotient(h, groups),
        lambda h, i, j: i, lambda h, i, j: j,
    )  # fmt: skip
    out = jax.ShapeDtypeStruct(q.shape, v.dtype)
    numbers = jax.ShapeDtypeStruct((r, h, t, _LANES), jnp.float32)
    return _call(
        kernel,
        functools.partial(_forward_kernel, kernel, count),
        (r, h, count, count),
        s,
        [s["queries"], s["keys"], s["keys"], *s["codes"]],
        [s["queries"], s["numbers"]],
        [out, numbers],
        [(b, _LANES), (b, _LANES), (b, d)],
        (window, q, k, v, *codes),
    )


def _attend_forward(kernel, q, k, v, codes, window):
    out, log_sum = _forward(kernel, q, k, v, codes, window)
    return out, (q, k, v, codes, window, out, log_sum[..., 0])


def _attend_backward(kernel: Kernel, residuals, ct):
    q, k, v, codes, window, out, log_sum = residuals
    r, h, t, d = q.shape
    kv_heads, count, b = k.shape[1], t // kernel.block, kernel.block
    groups = h // kv_heads
    # Σ dO · O: the mean slope of a row, which softmax takes off in its gradient.
    inner = jnp.sum(ct.astype(jnp.float32) * out.astype(jnp.float32), axis=-1)
    log_sum, inner = (
        jnp.broadcast_to(x[..., None], (*x.shape, _LANES)) for x in (log_sum, inner)
    )
    arguments = window, q, k, v, *codes, ct, log_sum, inner

    def ins(s):
        start = [s["queries"], s["keys"], s["keys"], *s["codes"]]
        return [*start, s["queries"], s["numbers"], s["numbers"]]

    s = _specs(
        kernel, d, lambda h, i, j: h, lambda h, i, j: _quotient(h, groups),
        lambda h, i, j: i, lambda h, i, j: j,
    )  # fmt: skip
    dq = _call(
        kernel,
        functools.partial(_query_kernel, kernel, count),
        (r, h, count, count),
        s,
        ins(s),
        s["queries"],
        jax.ShapeDtypeStruct(q.shape, q.dtype),
        [(b, d)],
        arguments,
    )
    s = _specs(
        kernel, d, lambda n, j, x: n * groups + _quotient(x, count), lambda n, j, x: n,
        lambda n, j, x: _rest(x, count), lambda n, j, x: j,
    )  # fmt: skip
    steps = groups * count
    dk, dv = _call(
        kernel,
        functools.partial(_key_kernel, kernel, count, steps),
        (r, kv_heads, count, steps),
        s,
        ins(s),
        [s["keys"], s["keys"]],
        [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (k, v)],
        [(b, d), (b, d)],
        arguments,
    )
    return dq, dk, dv, None, None


_attend.defvjp(_attend_forward, _attend_backward)
