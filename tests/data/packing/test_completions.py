"""Sampled answers lie in rows of few shapes, and nothing of theirs is lost there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxalign.data.packing.completions import (
    CompletionRows,
    completion_layouts,
    read_column,
    with_columns,
)
from jaxalign.errors import UserError
from tests.data.examples import read_back

LONGEST_PROMPT, LONGEST = 6, 5


def sampled(rng, groups, k, *, full=False):
    """Prompts, answers `[B, N]` with garbage behind their ends, lengths."""
    prompts = [
        rng.integers(1, 50, LONGEST_PROMPT if full else rng.integers(1, 7)).tolist()
        for _ in range(groups)
    ]
    tokens = rng.integers(1, 50, (groups * k, LONGEST)).astype(np.int32)
    lengths = rng.integers(1, LONGEST + 1, groups * k)
    return prompts, tokens, np.full_like(lengths, LONGEST) if full else lengths


def plan(groups, k, **options):
    return CompletionRows.plan(
        longest_prompt=LONGEST_PROMPT,
        longest_completion=LONGEST,
        per_prompt=k,
        completions=groups * k,
        **options,
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    groups=st.integers(1, 6),
    k=st.sampled_from([1, 2, 4]),
    row_length=st.sampled_from([None, 10, 14, 60]),
    packing=st.booleans(),
    full=st.booleans(),
    at_a_time=st.sampled_from([None, 3]),
)
@settings(max_examples=60, deadline=None)
def test_answers_go_into_rows_of_planned_shapes_and_come_back(
    seed, groups, k, row_length, packing, full, at_a_time
):
    rng = np.random.default_rng(seed)
    rows = plan(
        groups, k, row_length=row_length, packing=packing, rows_at_a_time=at_a_time
    )
    prompts, tokens, lengths = sampled(rng, groups, k, full=full)
    mask = np.arange(LONGEST) < lengths[:, None]
    layouts = completion_layouts(prompts, tokens, lengths, together=rows.together)
    values = rng.normal(size=tokens.shape).astype(np.float32)
    layouts = with_columns(layouts, mask, {"advantages": values})
    batch = rows.batch(layouts)
    assert len(rows.counts) <= 4
    assert batch.tokens.inputs.shape == (len(batch.tokens.inputs), rows.shape.tokens)
    assert len(batch.tokens.inputs) in rows.counts
    out = np.zeros_like(values)
    read_column(batch, batch.per_token["advantages"], out, mask)
    np.testing.assert_array_equal(out, np.where(mask, values, 0))
    found = read_back(batch)
    for b in range(len(tokens)):
        prompt = prompts[b // k]
        answer = tokens[b, : lengths[b]].tolist()
        side = found[b // rows.together][b % rows.together + 1]
        assert [target for _, target in side] == answer
        whole = [*prompt, *answer]
        for t, (context, _) in enumerate(side):
            expected = list(enumerate(whole[: len(prompt) + t]))
            assert sorted(context) == expected


def test_a_group_shares_its_prompt_as_far_as_a_row_has_room():
    assert plan(2, 4).together == 4
    assert plan(2, 4).shape.tokens == LONGEST_PROMPT - 1 + 4 * LONGEST
    assert plan(2, 4, row_length=15).together == 2
    assert plan(2, 4, row_length=14).together == 1
    assert plan(2, 3, row_length=15).together == 1  # 2 does not divide 3


def test_a_row_too_short_for_one_answer_is_refused():
    with pytest.raises(UserError, match="take 10 positions; a row has 9"):
        plan(2, 4, row_length=9)
