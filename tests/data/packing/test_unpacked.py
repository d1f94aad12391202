"""Rows of a user's own: one shift, masks as they are given, values at their tokens."""

import numpy as np
import pytest

from jaxalign.data.packing import make_batch

IDS = np.array([[[5, 6, 7, 0], [5, 8, 0, 0]], [[1, 2, 3, 4], [1, 2, 9, 0]]])
MASK = np.array([[[0, 1, 1, 0], [0, 1, 0, 0]], [[0, 0, 1, 1], [0, 0, 1, 0]]]) > 0


def test_every_trained_token_is_predicted_from_the_one_before_it():
    score, margin = np.arange(16.0).reshape(IDS.shape), {"margin": IDS[..., 0]}
    batch = make_batch(
        IDS,
        MASK,
        per_token={"ref_logps": score},
        per_completion=margin,
    )
    tokens, found = batch.tokens, []
    for r, k in np.ndindex(2, 2):
        start, length = batch.start[r, 0, k], batch.length[r, 0, k]
        for slot in range(start, start + length):
            if tokens.target_mask[r, slot]:
                before = tokens.inputs[r].ravel()[tokens.target_at[r, slot]]
                value = batch.per_token["ref_logps"][r, slot]
                found.append((r, k, before, tokens.target_ids[r, slot], value))
    expected = [
        (r, k, IDS[r, k, t - 1], IDS[r, k, t], score[r, k, t])
        for r, k, t in np.argwhere(MASK)
    ]
    assert found == expected
    assert batch.per_completion["margin"].tolist() == [[[5, 5]], [[1, 1]]]
    assert batch.rows(slice(1, 2)).example_ids.tolist() == [[1]]


@pytest.mark.parametrize(
    ("ids", "mask", "text"),
    [
        (IDS, MASK[:1], "one shape"),
        (IDS[0, 0], MASK[0, 0], "one shape"),
        (IDS, MASK.astype(int), "mask bool"),
        (IDS, ~MASK, "first token"),
        (np.where(MASK, IDS, -100), MASK, "ids holds -100, which is no token"),
    ],
)
def test_what_is_no_batch_is_refused(ids, mask, text):
    with pytest.raises(ValueError, match=text):
        make_batch(ids, mask)
