"""The kernel for TPUs is made by a process that has none."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.models.tpu_attention import tpu_attention
from jaxalign.models.visibility import visibility


def test_kernels_are_lowered_where_there_is_no_tpu():
    """Outside a mesh too, which would tell Pallas what chip they are for."""
    # Two groups of heads and two blocks, so that quotients and rests are there.
    q = jax.ShapeDtypeStruct((1, 1024, 4, 64), jnp.bfloat16)
    k = jax.ShapeDtypeStruct((1, 1024, 2, 64), jnp.bfloat16)
    rows = visibility(np.arange(1024, dtype=np.int32)[None])

    def total(q, k, v):
        out = tpu_attention(q, k, v, rows, None, scale=0.1, softcap=None)
        return jnp.sum(out.astype(jnp.float32))

    traced = jax.jit(jax.grad(total, argnums=(0, 1, 2))).trace(q, k, k)
    text = traced.lower(lowering_platforms=("tpu",)).as_text()
    assert text.count("tpu_custom_call") == 3
