"""Rows of your own: one sequence beside the other, for any model."""

from collections.abc import Mapping

import numpy as np

from jaxalign.batch import Batch, Tokens


def make_batch(
    ids,
    mask,
    *,
    per_token: Mapping[str, np.ndarray] | None = None,
    per_completion: Mapping[str, np.ndarray] | None = None,
) -> Batch:
    """An unpacked batch from token ids and a mask; the shift happens here.

    Args:
      ids: `[B, N]` token ids of whole sequences, prompt and completion, padded at the
        end; or `[B, K, N]` for K completions to each prompt, of a pair the chosen one
        first.
      mask: Bool, as `ids`: the tokens that are trained. Never the first of a sequence,
        because nothing comes before it.
      per_token: Values by name, as `ids`; those of untrained tokens are not read.
      per_completion: Values by name, `[B]` or `[B, K]`.

    Returns:
      A `Batch` of NumPy arrays with B rows of K sequences of N - 1 positions. Whether a
      token is padding is not told to the model: it reads every position, and what
      follows the last trained token changes nothing for a causal model.

    Raises:
      ValueError: The shapes differ, an id is negative, the mask is not bool, or a
        first token is trained.

    >>> batch = make_batch([[5, 6, 7]], [[False, True, True]])
    >>> batch.tokens.inputs.tolist(), batch.tokens.target_ids.tolist()
    ([[[5, 6]]], [[6, 7]])
    """
    ids, mask = np.asarray(ids), np.asarray(mask)
    if ids.ndim not in (2, 3) or ids.shape != mask.shape or ids.shape[-1] < 2:
        raise ValueError(
            "ids and mask must have one shape, [B, N] or [B, K, N] with N of 2 or "
            f"more; got {ids.shape} and {mask.shape}."
        )
    if mask.dtype != np.bool_ or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"ids must be integers and mask bool, got {ids.dtype} and {mask.dtype}. "
            "Write `mask != 0` for a mask of numbers."
        )
    if (ids < 0).any():
        raise ValueError(
            f"ids holds {ids.min()}, which is no token, and an index from the end. Say "
            "with the mask what is not trained, and pad with any token."
        )
    if mask[..., 0].any():
        raise ValueError(
            "mask is true at the first token of a sequence, which nothing predicts. "
            "Set mask[..., 0] to False."
        )
    rows, width = len(ids), ids.shape[-1]
    ids, mask = (x.reshape(rows, -1, width) for x in (ids, mask))
    inputs = ids[..., :-1].astype(np.int32)
    k, t = inputs.shape[1:]
    # All K sequences' targets share one axis, and each names its own position.
    slots = np.broadcast_to(np.arange(k * t, dtype=np.int32), (rows, k * t))
    start = np.broadcast_to(np.arange(k, dtype=np.int32) * t, (rows, 1, k))

    def flat(x) -> np.ndarray:
        return np.asarray(x).reshape(rows, k, width)[..., 1:].reshape(rows, k * t)

    tokens = Tokens(
        inputs,
        np.broadcast_to(np.arange(t, dtype=np.int32), inputs.shape),
        np.ones_like(inputs),
        np.zeros_like(inputs),
        flat(ids).astype(np.int32),
        slots,
        flat(mask),
    )
    return Batch(
        tokens,
        np.arange(rows, dtype=np.int32)[:, None],
        start,
        np.full(start.shape, t, np.int32),
        {name: flat(x) for name, x in (per_token or {}).items()},
        {
            name: np.asarray(x).reshape(rows, 1, -1)
            for name, x in (per_completion or {}).items()
        },
    )
