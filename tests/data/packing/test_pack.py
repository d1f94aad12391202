"""Packed rows hold every example once, exactly as it would stand alone."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxalign.data.packing.layout import lay_out, shared_prefix
from jaxalign.data.packing.pack import (
    RowShape,
    fill,
    pack,
    pad_fraction,
    unpack_targets,
)
from jaxalign.data.packing.row_plan import (
    choose_row_counts,
    choose_row_shape,
    microbatches,
    round_rows,
)
from jaxalign.errors import UserError
from tests.data.examples import alone, answers, example_lists, read_back, some_examples


def packed(examples, shape, share_prompt=True, extra_rows=0):
    layouts = [lay_out(x, share_prompt=share_prompt) for x in examples]
    rows = pack(layouts, shape)
    return fill(layouts, rows, shape, len(rows) + extra_rows), layouts


@given(
    examples=example_lists(),
    spare=st.integers(0, 20),
    share_prompt=st.booleans(),
    slots=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_each_target_sees_what_it_would_see_alone(examples, spare, share_prompt, slots):
    layouts = [lay_out(x, share_prompt=share_prompt) for x in examples]
    shape = RowShape(
        max(len(x.inputs) for x in layouts) + spare,
        max(len(x.target_ids) for x in layouts) + spare // 2,
        slots,
    )
    batch, _ = packed(examples, shape, share_prompt, extra_rows=1)
    ids = batch.example_ids
    assert sorted(ids[ids >= 0]) == [x.index for x in examples]
    found = read_back(batch)
    assert found == {x.index: alone(x) for x in examples}


@given(sides=st.integers(1, 4), data=st.data())
@settings(max_examples=40, deadline=None)
def test_starts_and_lengths_point_at_the_targets_of_each_branch(sides, data):
    examples = data.draw(example_lists(sides=sides))
    shape = RowShape(60, 40, 5)
    batch, _ = packed(examples, shape)
    by_id = {x.index: x for x in examples}
    for r, p in np.ndindex(*batch.example_ids.shape):
        example = by_id.get(int(batch.example_ids[r, p]))
        for side in range(sides):
            start = int(batch.start[r, p, side])
            length = int(batch.length[r, p, side])
            if example is None:
                assert length == 0
                continue
            x = example.sequences[side]
            expected = [int(t) for t, on in zip(x.ids, x.trained, strict=True) if on]
            assert (
                batch.tokens.target_ids[r, start : start + length].tolist() == expected
            )
            assert batch.tokens.target_mask[r, start : start + length].all()


def test_padding_is_zero_and_comes_last():
    batch, _ = packed(some_examples(9, 2), RowShape(64, 40, 4), extra_rows=2)
    for r in range(len(batch.tokens.inputs)):
        real = batch.tokens.segment_ids[r] > 0
        assert not np.any(np.diff(real.astype(int)) > 0)
        for name in ("inputs", "positions", "branch_ids"):
            assert not getattr(batch.tokens, name)[r][~real].any()
        assert not batch.tokens.target_ids[r][~batch.tokens.target_mask[r]].any()
        assert not batch.tokens.target_at[r][~batch.tokens.target_mask[r]].any()
    *tokens, mask = batch.tokens
    leaves = [*tokens, batch.example_ids, batch.start, batch.length]
    assert mask.dtype == np.bool_
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.int32)}
    assert {len(leaf) for leaf in [*leaves, mask]} == {len(batch.tokens.inputs)}
    assert pad_fraction(batch) == np.mean(batch.tokens.segment_ids == 0)


def test_a_pair_by_hand():
    pair = answers(3, [10, 11, 12], [13, 20, 21], [13, 30], tail=[40])
    x = lay_out(pair)
    # The common 13 is trained in both, so the shared prefix ends before 12.
    assert x.inputs.tolist() == [10, 11, 12, 13, 20, 12, 13]
    assert x.positions.tolist() == [0, 1, 2, 3, 4, 2, 3]
    assert x.branch_ids.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert x.target_ids.tolist() == [13, 20, 21, 13, 30]
    assert x.target_at.tolist() == [2, 3, 4, 5, 6]
    apart = lay_out(pair, share_prompt=False)
    assert apart.inputs.tolist() == [10, 11, 12, 13, 20, 10, 11, 12, 13]
    assert apart.branch_ids.tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2]


def test_an_answer_alone_is_branch_zero():
    x = lay_out(answers(0, [10, 11], [12, 13], tail=[14]))
    assert x.inputs.tolist() == [10, 11, 12]
    assert x.branch_ids.tolist() == [0, 0, 0]
    assert x.target_at.tolist() == [1, 2]


def test_nothing_is_shared_by_prompts_that_differ_at_once():
    a, b = (
        answers(0, [1, 2, 3], [9]).sequences[0],
        answers(0, [4, 2, 3], [9]).sequences[0],
    )
    assert shared_prefix((a, b)) == 0
    assert shared_prefix((a, a)) == 2


@pytest.mark.parametrize("sides", [1, 2, 4])
def test_branches_have_an_axis_of_their_own(sides):
    batch, _ = packed(some_examples(5, sides), RowShape(80, 60, 3))
    for leaf in (batch.start, batch.length):
        assert leaf.shape == (len(batch.tokens.inputs), 3, sides)


def test_best_fit_leaves_fewer_rows_than_one_each():
    examples = [answers(i, [1], [2] * n) for i, n in enumerate((7, 5, 5, 3, 3, 1))]
    # 7+3 | 5+5 | 3+1 tokens: the optimum for rows of ten.
    assert len(pack([lay_out(x) for x in examples], RowShape(10, 10, 9))) == 3


def test_an_example_larger_than_a_row_is_refused():
    layouts = [lay_out(answers(5, [1, 2, 3], [4, 5]))]
    with pytest.raises(UserError, match="Example 5 takes 4 tokens and 2 targets"):
        pack(layouts, RowShape(3, 9, 1))
    with pytest.raises(UserError, match="a row holds 9 and 1"):
        pack(layouts, RowShape(9, 1, 1))


@pytest.mark.parametrize("sides", [1, 2, 3])
def test_columns_go_out_and_come_back(sides):
    """What a scorer writes per target returns under the example's id."""
    examples = some_examples(11, sides)
    batch, layouts = packed(examples, RowShape(90, 60, 4), extra_rows=1)
    values = unpack_targets(batch, batch.tokens.target_ids.astype(np.float32))
    assert values.keys() == {x.index for x in examples}
    for x in examples:
        expected = [int(i) for s in x.sequences for i in s.ids[s.trained]]
        assert values[x.index].tolist() == expected
    layouts = [
        dataclasses.replace(x, columns={"ref_logps": values[x.index]}) for x in layouts
    ]
    shape = RowShape(90, 60, 4)
    again = fill(layouts, pack(layouts, shape), shape, len(batch.tokens.inputs))
    assert again.per_token["ref_logps"].dtype == np.float32
    assert again.per_token["ref_logps"].tolist() == batch.tokens.target_ids.tolist()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_row_counts_reach_every_count(counts, multiple):
    chosen = choose_row_counts(counts, row_multiple=multiple, most=3)
    assert len(chosen) <= 3
    assert all(x % multiple == 0 for x in chosen)
    assert max(counts) <= max(chosen) < max(counts) + multiple
    assert list(chosen) == sorted(set(chosen))


def test_the_shape_holds_the_largest_and_respects_what_is_given():
    layouts = [lay_out(x) for x in some_examples(40, 2, longest=90)]
    updates = [layouts[:20], layouts[20:]]
    shape = choose_row_shape(updates, layouts)
    assert shape.tokens >= max(len(x.inputs) for x in layouts)
    assert shape.targets >= max(len(x.target_ids) for x in layouts)
    fixed = choose_row_shape(updates, layouts, tokens=512, targets=200)
    assert (fixed.tokens, fixed.targets) == (512, 200)


def ends_read_back(batch):
    """{id: [(context of the answer's end, the end itself)]}, by a plain walk."""
    found = read_back(batch)
    return {
        i: [side for sides in x.values() for side in sides] for i, x in found.items()
    }


@given(examples=example_lists(), share_prompt=st.booleans())
@settings(max_examples=40, deadline=None)
def test_each_end_sees_its_own_answer_and_itself(examples, share_prompt):
    """One slot an answer, at its last trained token, which is read as well."""
    layouts = [
        lay_out(x, share_prompt=share_prompt, read_ends=True, branches=3)
        for x in examples
    ]
    shape = RowShape(max(len(x.inputs) for x in layouts) + 20, 9, 3)
    batch = fill(layouts, pack(layouts, shape), shape, len(layouts))
    found = {i: sorted(x) for i, x in ends_read_back(batch).items()}
    for x in examples:
        expected = []
        for sequence in x.sequences:
            end = max(t for t, on in enumerate(sequence.trained) if on)
            ids = sequence.ids.tolist()
            expected.append(([(t, ids[t]) for t in range(end + 1)], ids[end]))
        assert found[x.index] == sorted(expected)
    for r, p in np.argwhere(batch.example_ids >= 0):
        example = next(x for x in examples if x.index == batch.example_ids[r, p])
        k = len(example.sequences)
        assert batch.length[r, p].tolist() == [1] * k + [0] * (3 - k)


def test_labels_lie_at_the_ends_of_their_answers():
    example = dataclasses.replace(
        answers(4, [1, 2], [3, 4], [5], tail=[9]),
        labels={"score": np.array([0.5, -2.0], np.float32)},
    )
    x = lay_out(example, read_ends=True)
    assert x.inputs.tolist() == [1, 2, 3, 4, 2, 5]
    assert x.target_at.tolist() == [3, 5]
    batch = fill([x], [[0]], RowShape(8, 3, 1), 1)
    assert batch.per_completion["score"].tolist() == [[[0.5, -2.0]]]
    assert not batch.per_token


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_rows_split_evenly_over_microbatches_and_devices(count, devices, each):
    most = devices * each
    rows = round_rows(count, devices, at_a_time=most)
    assert count <= rows < count + most
    parts = microbatches(rows, most)
    assert rows % (parts * devices) == 0
    assert rows // parts <= most
    assert all(rows % n for n in range(-(-rows // most), parts))


def test_a_column_that_some_examples_lack_is_left_out():
    """No number stands in for one that is not there."""
    layouts = [lay_out(x) for x in some_examples(2, 1, longest=9)]
    values = [np.full(len(x.target_ids), 2.0, np.float32) for x in layouts]
    columns = [{"margin": values[0]}, {"margin": values[1], "win_rate": values[1]}]
    layouts = [
        dataclasses.replace(x, columns=c) for x, c in zip(layouts, columns, strict=True)
    ]
    batch = fill(layouts, [[0], [1]], RowShape(16, 16, 1), 2)
    assert batch.per_token.keys() == {"margin"}
    assert (batch.per_token["margin"][batch.tokens.target_mask] == 2).all()
