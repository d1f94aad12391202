"""Attention as a kernel for TPUs: scores of a block never leave the core.

The recurrence is that of `online_attention`, for all kinds of rows: segments, shared
prompts with branches, windows and bounded scores. On the way back two kernels make the
scores again, one for the queries' gradient and one for that of keys and values.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxalign.models.tpu_blocks import (
    LANES,
    SUBLANES,
    Kernel,
    forward_kernel,
    key_kernel,
    query_kernel,
    quotient,
    rest,
    spread,
)
from jaxalign.models.visibility import Visibility, complete, filled_up


def tpu_attention(
    q, k, v, rows: Visibility, window, *, scale, softcap, interpret: bool = False
) -> jax.Array:
    """Arguments and result as for `blocked_attention`; T is filled up to blocks."""
    t = q.shape[1]
    padding = -t % LANES
    # The largest that divides the row, which is a multiple of 128 by now.
    block = next(n for n in (512, 256, 128) if not (t + padding) % n)
    kernel = Kernel(scale, softcap, block, interpret)
    q, k, v = (filled_up(x, padding).transpose(0, 2, 1, 3) for x in (q, k, v))
    if window is None:
        # Wider than any row: no window.
        window = jnp.iinfo(jnp.int32).max
    window = jnp.full((1, 1), window, jnp.int32)
    codes = spread(complete(rows, padding))
    out: Any = _attend(kernel, q, k, v, codes, window)
    return out.transpose(0, 2, 1, 3)[:, :t]


def _specs(kernel: Kernel, d: int, head, key_head, query, key) -> dict[str, Any]:
    """Where the blocks of each kind of array lie, from the numbers of a grid step."""
    b = kernel.block

    def of(index, *shape):
        return pl.BlockSpec(shape, index)

    query_codes = of(lambda r, *x: (r, query(*x), 0), 1, b, LANES)
    key_codes = of(lambda r, *x: (r, 0, key(*x)), 1, SUBLANES, b)
    return {
        "queries": of(lambda r, *x: (r, head(*x), query(*x), 0), 1, 1, b, d),
        "keys": of(lambda r, *x: (r, key_head(*x), key(*x), 0), 1, 1, b, d),
        "codes": [query_codes] * 3 + [key_codes] * 2,
        "numbers": of(lambda r, *x: (r, head(*x), query(*x), 0), 1, 1, b, LANES),
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
        kernel, d, lambda h, i, j: h, lambda h, i, j: quotient(h, groups),
        lambda h, i, j: i, lambda h, i, j: j,
    )  # fmt: skip
    out = jax.ShapeDtypeStruct(q.shape, v.dtype)
    numbers = jax.ShapeDtypeStruct((r, h, t, LANES), jnp.float32)
    return _call(
        kernel,
        functools.partial(forward_kernel, kernel, count),
        (r, h, count, count),
        s,
        [s["queries"], s["keys"], s["keys"], *s["codes"]],
        [s["queries"], s["numbers"]],
        [out, numbers],
        [(b, LANES), (b, LANES), (b, d)],
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
        jnp.broadcast_to(x[..., None], (*x.shape, LANES)) for x in (log_sum, inner)
    )
    arguments = window, q, k, v, *codes, ct, log_sum, inner

    def ins(s):
        start = [s["queries"], s["keys"], s["keys"], *s["codes"]]
        return [*start, s["queries"], s["numbers"], s["numbers"]]

    s = _specs(
        kernel, d, lambda h, i, j: h, lambda h, i, j: quotient(h, groups),
        lambda h, i, j: i, lambda h, i, j: j,
    )  # fmt: skip
    dq = _call(
        kernel,
        functools.partial(query_kernel, kernel, count),
        (r, h, count, count),
        s,
        ins(s),
        s["queries"],
        jax.ShapeDtypeStruct(q.shape, q.dtype),
        [(b, d)],
        arguments,
    )
    s = _specs(
        kernel, d, lambda n, j, x: n * groups + quotient(x, count), lambda n, j, x: n,
        lambda n, j, x: rest(x, count), lambda n, j, x: j,
    )  # fmt: skip
    steps = groups * count
    dk, dv = _call(
        kernel,
        functools.partial(key_kernel, kernel, count, steps),
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
