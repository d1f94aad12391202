"""cuDNN's own kernel against all scores at once: where there is a GPU to ask.

`tests/conftest.py` says how tests are given one.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.models.attention import blocked_attention, naive_attention
from jaxalign.models.visibility import visibility

R, T, H, K, D = 2, 256, 4, 2, 64


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN needs a GPU")
@pytest.mark.parametrize("window", [None, 3, 100])
def test_the_kernel_gives_what_all_scores_give_and_their_gradients(window):
    rng = np.random.default_rng(0)
    q = jnp.asarray(2 * rng.normal(size=(R, T, H, D)), jnp.bfloat16)
    k, v = jnp.asarray(2 * rng.normal(size=(2, R, T, K, D)), jnp.bfloat16)
    probe = jnp.asarray(rng.normal(size=(R, T, H, D)), jnp.float32)
    rows = visibility(
        jnp.asarray(np.broadcast_to(np.arange(T, dtype=np.int32), (R, T)))
    )

    @functools.partial(jax.jit, static_argnums=0)
    def run(attention, q, k, v):
        def total(q, k, v):
            out = attention(q, k, v, rows, window, scale=D**-0.5, softcap=None)
            return jnp.sum(out.astype(jnp.float32) * probe), out

        return jax.grad(total, (0, 1, 2), has_aux=True)(q, k, v)

    with jax.numpy_dtype_promotion("standard"):
        got = run(blocked_attention, q, k, v)
        kernels = run.lower(blocked_attention, q, k, v).as_text()
    assert "cudnn" in kernels
    expected = run(naive_attention, *(x.astype(jnp.float32) for x in (q, k, v)))
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        wanted = np.asarray(other, np.float64)
        gap = np.linalg.norm(np.asarray(one, np.float64) - wanted)
        assert gap < 0.02 * np.linalg.norm(wanted)
