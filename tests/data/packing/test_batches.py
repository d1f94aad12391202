"""The order of examples, batches by number, resuming, hosts, shapes."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from jaxalign.data.packing.batches import Batches
from jaxalign.data.packing.iterator import BatchIterator
from jaxalign.data.packing.order import permutation
from jaxalign.data.packing.pack import unpack_targets
from jaxalign.errors import UserError
from tests.data.examples import alone, read_back, sequence, some_examples


def make(count=23, sides=2, **options):
    options = {"batch_size": 5, "num_epochs": 2.0, "seed": 3, **options}
    return Batches(some_examples(count, sides), **options)


def ids_of(batch):
    return sorted(int(x) for x in batch.example_ids.ravel() if x >= 0)


def assert_same(a, b):
    chex.assert_trees_all_equal(a, b)


@pytest.mark.parametrize(("count", "epochs"), [(1, 0.5), (3, 0.1)])
def test_less_than_half_an_example_is_one(count, epochs):
    batches = make(count, num_epochs=epochs)
    assert len(batches) == 1
    assert len(ids_of(batches[0])) == 1


def splitmix_order(size, seed, epoch):
    """The order in Python integers."""
    wrap = 2**64

    def mix(x):
        x = (x + 0x9E3779B97F4A7C15) % wrap
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % wrap
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % wrap
        return x ^ (x >> 31)

    key = mix((mix(seed % wrap) + epoch) % wrap)
    return sorted(range(size), key=lambda i: mix((i + key) % wrap))


@pytest.mark.parametrize("seed", [0, 1, 12345, -1])
@pytest.mark.parametrize("epoch", [0, 1, 77])
def test_the_order_is_a_function_of_seed_and_epoch(seed, epoch):
    expected = splitmix_order(50, seed, epoch)
    assert permutation(50, seed, epoch).tolist() == expected
    assert sorted(expected) == list(range(50))


def test_orders_differ_and_look_random():
    orders = [permutation(1000, s, e) for s in (0, 1) for e in (0, 1)]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            assert abs(np.corrcoef(a, b)[0, 1]) < 0.1
        assert abs(np.corrcoef(a, np.arange(1000))[0, 1]) < 0.1


def test_each_epoch_holds_every_example_once():
    batches = make()
    assert len(batches) == 10  # 46 examples in fives, the last update of one
    seen = [i for batch in batches for i in ids_of(batch)]
    assert len(seen) == 46
    for i in range(23):
        assert seen.count(100 + i) == 2
    order = [100 + i for e in (0, 1) for i in splitmix_order(23, 3, e)]
    for step, batch in enumerate(batches):
        assert ids_of(batch) == sorted(order[5 * step : 5 * step + 5])


def test_a_fraction_of_an_epoch_and_no_shuffling():
    batches = make(num_epochs=0.5, shuffle=False)
    seen = [i for batch in batches for i in ids_of(batch)]
    assert seen == [100 + i for i in range(12)]


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("sides", [1, 2])
def test_a_batch_holds_its_examples_as_if_alone(packing, sides):
    examples = {x.index: x for x in some_examples(23, sides)}
    for batch in make(sides=sides, packing=packing, row_multiple=4):
        assert len(batch.tokens.inputs) % 4 == 0
        found = read_back(batch)
        assert found == {i: alone(examples[i]) for i in ids_of(batch)}


def test_few_shapes_occur_and_all_were_announced():
    for options in ({}, {"packing": False}, {"row_multiple": 8}):
        batches = make(60, num_epochs=5.0, **options)
        shapes = {
            (*b.tokens.inputs.shape, b.tokens.target_ids.shape[1]) for b in batches
        }
        plan = batches.plan
        announced = {
            (r, s.tokens, s.targets) for r in plan.row_counts for s in plan.shapes
        }
        assert shapes <= announced
        assert len(plan.row_counts) <= 3


def test_without_packing_a_row_holds_one_example_in_a_bucket():
    batches = make(60, sides=1, packing=False)
    for batch in batches:
        assert batch.example_ids.shape[1] == 1
        longest = int((batch.tokens.segment_ids > 0).sum(1).max())
        fits = [s.tokens for s in batches.plan.shapes if s.tokens >= longest]
        assert batch.tokens.inputs.shape[1] == min(fits)


def test_any_step_can_be_asked_for():
    batches, others = make(), make()
    for step in (9, 0, 4, 4):
        assert_same(batches[step], others[step])
    with pytest.raises(IndexError):
        batches[10]
    with pytest.raises(IndexError):
        batches[-1]


@pytest.mark.parametrize("buffer", [0, 1, 4])
def test_prefetching_changes_nothing(buffer):
    batches = make()
    got = list(BatchIterator(batches, buffer=buffer))
    assert len(got) == 10
    for step, batch in enumerate(got):
        assert_same(batch, batches[step])


@pytest.mark.parametrize("stop", [0, 3, 9, 10])
def test_the_state_resumes_exactly(stop):
    batches = make()
    first = BatchIterator(batches)
    for _ in range(stop):
        next(first)
    state = first.get_state()
    assert state == {"step": stop}
    again = BatchIterator(make())
    next(again)
    again.set_state(state)
    started = BatchIterator(make(), start=stop)
    for step in range(stop, 10):
        expected = batches[step]
        assert_same(next(again), expected)
        assert_same(next(started), expected)
        assert_same(next(first), expected)
    for iterator in (first, again, started):
        with pytest.raises(StopIteration):
            next(iterator)


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_hosts_hold_the_rows_of_the_one_batch(hosts):
    whole = make(row_multiple=4)
    parts = [
        make(row_multiple=4, process_index=i, process_count=hosts) for i in range(hosts)
    ]
    for step in range(len(whole)):
        joined = [part[step] for part in parts]
        assert len({len(x.tokens.inputs) for x in joined}) == 1
        assert_same(
            jax.tree.map(lambda *parts: np.concatenate(parts), *joined), whole[step]
        )


def test_columns_reach_the_targets_of_their_examples():
    batches = make()
    scored = {}
    for batch in make(num_epochs=1.0, shuffle=False, batch_size=7):
        scored |= unpack_targets(batch, batch.tokens.target_ids * np.float32(0.5))
    filled = batches.with_columns(ref_logps=scored)
    for batch in filled:
        np.testing.assert_array_equal(
            batch.per_token["ref_logps"], batch.tokens.target_ids * 0.5
        )
        assert batch.per_token["ref_logps"].dtype == np.float32
    assert not batches[0].per_token
    assert filled.plan == batches.plan


def test_one_epoch_ends_with_the_first_epoch_or_the_run():
    for epochs, count in ((0.3, 7), (1.0, 23), (4.0, 23)):
        run = make(num_epochs=epochs)
        seen = [i for batch in run.one_epoch() for i in ids_of(batch)]
        assert sorted(seen) == sorted(100 + i for i in splitmix_order(23, 3, 0)[:count])
        assert sorted(x.index for x in run.used()) == sorted(seen)


def test_the_fingerprint_sees_prompts_and_targets_and_no_order():
    base = make().fingerprint
    assert make(seed=4, batch_size=2, packing=False).fingerprint == base
    assert make(share_prompt=False).fingerprint != base
    assert make(count=22).fingerprint != base
    examples = some_examples(23, 2)
    for place in (0, -1):
        changed = []
        for x in examples[0].sequences:
            ids = x.ids.copy()
            ids[place] = 51
            changed.append(sequence(ids, x.trained))
        first = dataclasses.replace(examples[0], sequences=tuple(changed))
        assert Batches([first, *examples[1:]], batch_size=5).fingerprint != base


def test_columns_must_fit():
    batches = make(3)
    values = {100 + i: np.zeros(1) for i in range(3)}
    with pytest.raises(UserError, match="`ref_logps` has 1 values for example"):
        batches.with_columns(ref_logps=values)
    with pytest.raises(UserError, match="no values for example 100"):
        batches.with_columns(ref_logps={})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "no example left"),
        ({"batch_size": 0}, "at least 1"),
        ({"row_multiple": 3, "process_count": 2}, "divide over 2 hosts"),
        ({"row_length": 4}, "a row holds 4"),
    ],
)
def test_nonsense_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        make(**options)


def test_all_examples_have_the_same_number_of_answers():
    with pytest.raises(UserError, match="different numbers of completions"):
        Batches([*some_examples(2, 1), *some_examples(2, 2)], batch_size=2)


def test_numbers_of_answers_may_differ_where_only_ends_are_read():
    mixed = [*some_examples(2, 1), *some_examples(3, 3, seed=1)]
    mixed = [dataclasses.replace(x, index=i) for i, x in enumerate(mixed)]
    batches = Batches(mixed, batch_size=2, read_ends=True)
    shapes = {batch.length.shape[-1] for batch in batches}
    assert shapes == {3}
    assert sum(batch.length.sum() for batch in batches) == 11
