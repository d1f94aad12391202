"""A reference that follows the policy."""

from typing import TypeVar

import chex
import jax
import jax.numpy as jnp

from jaxalign.ops.checks import check_range

P = TypeVar("P")


def ema_reference(
    ref: P, params: P, step: jax.Array, *, alpha: float = 0.6, every: int = 1
) -> P:
    """Moves a reference towards the policy, as TR-DPO does.

        ref ← α θ + (1 − α) ref, every n steps

    Gorbatovski et al., https://arxiv.org/abs/2404.09656: softly with α = 0.6, or hard
    with α = 1 every 512 steps.

    Args:
      ref: The reference's parameters, a tree of arrays.
      params: The policy's, the same tree.
      step: Number of updates made so far, an integer scalar.
      alpha: α in (0, 1].
      every: n ≥ 1; nothing changes at other steps.

    Returns:
      The new reference, of the same types.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> print(ema_reference(jnp.zeros(2), jnp.ones(2), jnp.array(512), every=512))
    [0.6 0.6]
    """
    check_range("alpha", alpha, 0, 1, open_low=True, closed_high=True)
    check_range("every", every, 1, float("inf"))
    chex.assert_trees_all_equal_shapes(ref, params)
    now = jnp.asarray(step) % every == 0

    def move(r, p):
        # In float32: a bfloat16 sum would lose what a small step adds.
        wide = r.astype(jnp.float32)
        moved = wide + alpha * (p.astype(jnp.float32) - wide)
        return jnp.where(now, moved.astype(r.dtype), r)

    return jax.tree.map(move, ref, params)
