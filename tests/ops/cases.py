"""Hidden states, unembeddings and options, and the same done with whole logits."""

import jax.numpy as jnp
import numpy as np

from jaxalign.ops import token_stats

D, V = 5, 11


def setup(rows=3, length=7, dtype=jnp.float32, seed=0):
    rng = np.random.default_rng(seed)
    hidden = jnp.asarray(rng.normal(size=(rows, length, D)), dtype)
    kernel = jnp.asarray(2 * rng.normal(size=(V, D)), jnp.float32)
    targets = jnp.asarray(rng.integers(0, V - 2, size=(rows, length)), jnp.int32)
    mask = jnp.asarray(rng.random((rows, length)) < 0.7)
    return hidden, kernel, targets, mask


def whole(hidden, kernel, targets, *, temperature=1.0, softcap=None, vocab_size=V):
    """The same statistics from whole logits, which autodiff can differentiate."""
    z = jnp.einsum("rmd,vd->rmv", hidden, kernel.astype(hidden.dtype))[..., :vocab_size]
    z = z if softcap is None else softcap * jnp.tanh(z / softcap)
    return token_stats(z, targets, temperature=temperature, entropy=True)


OPTIONS = {
    "plain": {},
    "no softcap": {"temperature": 0.6, "vocab_size": V - 2},
    "all": {"temperature": 1.7, "softcap": 4.0, "vocab_size": V - 2},
}
SHAPES = {
    "a large chunk": (3, 7, 512),
    "chunk does not divide M": (3, 7, 9),
    "one position a chunk": (3, 7, 1),
    "R=1": (1, 6, 4),
    "M=1": (3, 1, 512),
}
