"""Values of target slots, one row per completion: what losses on arrays read."""

import jax
import jax.numpy as jnp

from jaxalign.batch import Batch


def by_completion(
    batch: Batch, per_token: jax.Array, longest: int | None = None
) -> jax.Array:
    """`[R, M]` values of the target slots -> by completion, `[R, P, K, L]`.

    What lies beyond a completion's own slots is arbitrary: read it with the mask.

    Args:
      batch: Says where completions lie.
      per_token: `[R, M]`.
      longest: L, no less than the slots of any completion; M by default.

    Returns:
      `[R, P, K, L]`.
    """
    rows, slots = per_token.shape
    at = batch.start[..., None] + _slots(batch, longest)
    # Beyond the last slot anything may be read, because the mask hides it.
    at = jnp.minimum(at, slots - 1).reshape(rows, -1)
    taken = jnp.take_along_axis(per_token, at, axis=1)
    return taken.reshape(*batch.start.shape, -1)


def completion_mask(batch: Batch, longest: int | None = None) -> jax.Array:
    """Which of `by_completion`'s values are trained tokens, `[R, P, K, L]` bool."""
    within = _slots(batch, longest) < batch.length[..., None]
    return within & by_completion(batch, batch.tokens.target_mask, longest)


def _slots(batch: Batch, longest: int | None) -> jax.Array:
    most = batch.tokens.target_ids.shape[1]
    slots = jnp.arange(min(longest or most, most), dtype=batch.start.dtype)
    return slots.reshape(1, 1, 1, -1)
