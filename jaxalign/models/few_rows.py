"""Matrix products with few rows, as decoding has them."""

import jax
import jax.numpy as jnp

_FEW = 64


def rows_times(x: jax.Array, kernel: jax.Array, **options) -> jax.Array:
    """x W^T for a large matrix W.

    With few rows of x the time goes into reading W, and on a CPU into packing it: the
    product W x^T needs half of that. The barriers keep the compiler from folding the
    transposition of x into the product, which would make it the slow one again.

    Args:
      x: `[M, D]`.
      kernel: `[V, D]`.
      **options: Of `jnp.einsum`.

    Returns:
      `[M, V]`.
    """
    if x.shape[0] > _FEW:
        return jnp.einsum("md,vd->mv", x, kernel, **options)
    columns = jax.lax.optimization_barrier(x.T)
    out = jnp.einsum("vd,dm->vm", kernel, columns, **options)
    return jax.lax.optimization_barrier(out).T
