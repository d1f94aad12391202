"""The step gives one and the same update however it is split and run.

The optimizer is SGD, never Adam, which would hide a gradient of the wrong scale.
"""

import dataclasses
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxalign.losses import LossOutput, Objective, combine, sft_loss
from jaxalign.ops import Mean, token_stats
from jaxalign.training import TrainState, make_eval_step, make_train_step
from tests.ways import MESH

OPTIMIZER = optax.sgd(1.0)
MOMENTUM = optax.sgd(1e-2, momentum=0.9)


class Rows(NamedTuple):
    """One sequence per row, shifted by hand."""

    inputs: jax.Array
    targets: jax.Array
    mask: jax.Array


def mean_nll(params, batch: Rows, key) -> LossOutput:
    del key
    stats = token_stats(params["table"][batch.inputs], batch.targets)
    correct = Mean.of(stats.correct, where=batch.mask)
    loss = sft_loss(stats.logps, batch.mask).loss
    return LossOutput(loss, {"mean_token_accuracy": correct})


OBJECTIVE = mean_nll


def mean_loss(params, batch):
    """The oracle: the mean over all the batch at once."""
    logps = jax.nn.log_softmax(params["table"])[batch.inputs, batch.targets]
    count = jnp.sum(batch.mask, dtype=jnp.float32)
    return -jnp.sum(jnp.where(batch.mask, logps, 0)) / count


oracle = jax.jit(jax.value_and_grad(mean_loss))


def setup(rows=16, optimizer=OPTIMIZER, dtype=jnp.float32):
    """A bigram table and rows of very unequal length; some have no trained token."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 11, size=(rows, 8)).astype(np.int32)
    lengths = rng.integers(1, 8, size=(rows, 1))
    lengths[:2] = 0
    leaves = tokens[:, :-1], tokens[:, 1:], np.arange(7) < lengths
    batch = Rows(*map(jnp.asarray, leaves))
    params = {"table": jnp.asarray(rng.normal(size=(11, 11)), dtype)}
    return TrainState.create(params, optimizer, jax.random.key(0)), batch


def by_jit(make_step, state, batch):
    return jax.jit(make_step(None))(state, batch)


def by_sharded_jit(make_step, state, batch):
    state = jax.device_put(state, NamedSharding(MESH, P()))
    batch = jax.device_put(batch, NamedSharding(MESH, P("data")))
    return jax.jit(make_step(None))(state, batch)


def by_shard_map(make_step, state, batch, check_vma=True):
    mapped = jax.shard_map(
        make_step("data"),
        mesh=MESH,
        in_specs=(P(), P("data")),
        out_specs=(P(), P()),
        check_vma=check_vma,
    )
    return jax.jit(mapped)(state, batch)


def by_unchecked_shard_map(make_step, state, batch):
    return by_shard_map(make_step, state, batch, check_vma=False)


def by_pmap(make_step, state, batch):
    state = jax.tree.map(lambda x: jnp.stack([x] * 8), state)
    state = jax.device_put(state, NamedSharding(MESH, P("data")))
    batch = jax.tree.map(lambda x: x.reshape(8, -1, *x.shape[1:]), batch)
    out = jax.pmap(make_step("data"), axis_name="data")(state, batch)
    return jax.tree.map(lambda x: x[0], out)


WAYS = [by_jit, by_sharded_jit, by_shard_map, by_unchecked_shard_map, by_pmap]
PARTS = [{}, {"num_microbatches": 2}, {"microbatch_size": 1}]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("parts", PARTS, ids=str)
def test_same_update(way, parts):
    state, batch = setup()
    expected_loss, expected = oracle(state.params, batch)

    def make_step(axis_name):
        return make_train_step(OBJECTIVE, OPTIMIZER, axis_name=axis_name, **parts)

    new, metrics = way(make_step, state, batch)
    grads = state.params["table"] - new.params["table"]
    np.testing.assert_allclose(grads, expected["table"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"].value, expected_loss, rtol=1e-5)
    norm = np.linalg.norm(expected["table"])
    np.testing.assert_allclose(metrics["grad_norm"].value, norm, rtol=1e-5)
    assert metrics["skipped_steps"].value == 0
    assert int(new.step) == 1


def likelihood_of_texts(params, batch, key):
    """Per token, plus 0.3 times half the square of a text's log-probability."""
    logps = jax.nn.log_softmax(params["table"])[batch.inputs, batch.targets]
    tokens = sft_loss(logps, batch.mask)
    sums = jnp.sum(jnp.where(batch.mask, logps, 0), axis=-1)
    texts = Mean.of(jnp.square(sums) / 2, where=batch.mask.any(-1))
    terms = {"tokens": tokens, "texts": LossOutput(texts, {})}
    return combine(terms, {"tokens": 1.0, "texts": 0.3})


def two_means_by_hand(table, batch):
    """Loss and gradient in float64, token by token."""
    table = np.asarray(table, np.float64)
    p = np.exp(table) / np.exp(table).sum(1, keepdims=True)
    inputs, targets, mask = map(np.asarray, batch)
    tokens, texts = mask.sum(), mask.any(-1).sum()
    loss, grad = 0.0, np.zeros_like(table)
    for row in range(len(mask)):
        pairs = [*zip(inputs[row][mask[row]], targets[row][mask[row]], strict=True)]
        whole = sum(np.log(p[a, b]) for a, b in pairs)
        loss += -whole / tokens + 0.3 * whole**2 / 2 / texts
        for a, b in pairs:
            grad[a] += (-1 / tokens + 0.3 * whole / texts) * (np.eye(11)[b] - p[a])
    return loss, grad


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("parts", PARTS, ids=str)
def test_terms_with_denominators_of_their_own_are_exact(way, parts):
    """Some parts and devices have no token; their texts and tokens are very unequal."""
    state, batch = setup()
    expected_loss, expected = two_means_by_hand(state.params["table"], batch)

    def make_step(axis_name):
        return make_train_step(
            likelihood_of_texts, OPTIMIZER, axis_name=axis_name, **parts
        )

    new, metrics = way(make_step, state, batch)
    grads = state.params["table"] - new.params["table"]
    np.testing.assert_allclose(grads, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"].value, expected_loss, rtol=1e-5)
    norm = np.linalg.norm(expected)
    np.testing.assert_allclose(metrics["grad_norm"].value, norm, rtol=1e-5)
    counts = [int(metrics[x].weight) for x in ("loss", "loss/tokens", "loss/texts")]
    assert counts == [batch.mask.sum(), batch.mask.sum(), 14]


def test_an_evaluation_of_several_means_adds_up_over_batches():
    state, batch = setup()
    evaluate = jax.jit(make_eval_step(likelihood_of_texts))
    parts = [
        evaluate(state.params, jax.tree.map(lambda x, s=s: x[s], batch), state.key)
        for s in (slice(0, 5), slice(5, 16))
    ]
    expected, _ = two_means_by_hand(state.params["table"], batch)
    whole = parts[0]["loss"] + parts[1]["loss"]
    np.testing.assert_allclose(whole.value, expected, rtol=1e-5)


def test_a_first_term_without_any_weight_leaves_the_other():
    def objective(params, batch, key):
        nothing = LossOutput(Mean.of(params["table"], jnp.zeros((11, 11), bool)), {})
        out = {"nothing": nothing, "sft": OBJECTIVE(params, batch, key)}
        return combine(out, {"nothing": 1.0, "sft": 1.0})

    state, batch = setup()
    expected_loss, expected = oracle(state.params, batch)
    step = make_train_step(objective, OPTIMIZER, num_microbatches=2)
    new, metrics = jax.jit(step)(state, batch)
    grads = state.params["table"] - new.params["table"]
    np.testing.assert_allclose(grads, expected["table"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"].value, expected_loss, rtol=1e-5)


def surprise(params, batch, key, usual, memory):
    """How far tokens are from the usual log-probability, squared."""
    logps = jax.nn.log_softmax(params["table"])[batch.inputs, batch.targets]
    return LossOutput(Mean.of(jnp.square(logps - usual.value), batch.mask), {})


def usual(params, batch, key):
    logps = jax.nn.log_softmax(params["table"])[batch.inputs, batch.targets]
    return Mean.of(logps, batch.mask)


def mean_surprise(params, batch):
    """The oracle: the usual mean is a constant."""
    logps = jax.nn.log_softmax(params["table"])[batch.inputs, batch.targets]
    count = jnp.sum(batch.mask, dtype=jnp.float32)
    mean = jax.lax.stop_gradient(jnp.sum(jnp.where(batch.mask, logps, 0)) / count)
    return jnp.sum(jnp.where(batch.mask, jnp.square(logps - mean), 0)) / count


@pytest.mark.parametrize("way", WAYS)
def test_what_is_measured_first_is_that_of_the_global_batch(way):
    state, batch = setup()
    expected_loss, expected = jax.value_and_grad(mean_surprise)(state.params, batch)

    def make_step(axis_name):
        two = Objective(surprise, usual)
        return make_train_step(two, OPTIMIZER, axis_name=axis_name, microbatch_size=1)

    new, metrics = way(make_step, state, batch)
    grads = state.params["table"] - new.params["table"]
    np.testing.assert_allclose(grads, expected["table"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"].value, expected_loss, rtol=1e-5)
    evaluated = jax.jit(make_eval_step(Objective(surprise, usual)))
    found = evaluated(state.params, batch, jax.random.key(0))["loss"].value
    np.testing.assert_allclose(found, expected_loss, rtol=1e-5)


def past(memory, measured):
    """Sums over all batches so far, and how many batches that was."""
    return {"sums": memory["sums"] + measured, "batches": memory["batches"] + 1}


def surprise_by_now(params, batch, key, measured, memory):
    """As `surprise`, with the usual of all batches; and the mean over batches."""
    out = surprise(params, batch, key, memory["sums"], ())
    once = jnp.ones(())
    seen = {"usual": Mean(memory["sums"].value * once, once)}
    return LossOutput(out.loss, {**seen, "batches": Mean(memory["batches"], once)})


NOTHING = {"sums": Mean(jnp.zeros(()), jnp.zeros(())), "batches": jnp.zeros(())}
REMEMBERS = Objective(surprise_by_now, usual, NOTHING, past)


def by_hand(table, batches):
    """Steps of SGD with rate 1 in float64: a mean over tokens of all batches so far."""
    table, total, count, seen = np.asarray(table, np.float64), 0.0, 0, []
    for batch in batches:
        p = np.exp(table) / np.exp(table).sum(1, keepdims=True)
        inputs, targets, mask = map(np.asarray, batch)
        tokens = [*zip(inputs[mask], targets[mask], strict=True)]
        logps = [np.log(p[a, b]) for a, b in tokens]
        total, count = total + sum(logps), count + len(logps)
        mean, grad = total / count, np.zeros_like(table)
        for (a, b), logp in zip(tokens, logps, strict=True):
            slope = -p[a]
            slope[b] += 1
            grad[a] += 2 * (logp - mean) * slope / len(tokens)
        loss = np.mean([(x - mean) ** 2 for x in logps])
        seen.append((loss, mean, total, count))
        table = table - grad
    return table, seen


def some_batches(batch, n=3):
    """The batch, and others with less to learn from in the same rows."""
    return [
        batch._replace(mask=batch.mask & (jnp.arange(7) < 7 - 3 * i)[None])
        for i in range(n)
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("parts", PARTS, ids=str)
def test_what_is_remembered_is_of_all_global_batches(way, parts):
    state, batch = setup()
    state = TrainState.create(state.params, OPTIMIZER, state.key, REMEMBERS.carry)
    batches = some_batches(batch)
    expected, seen = by_hand(state.params["table"], batches)

    @functools.cache  # so that it compiles once
    def make_step(axis_name):
        return make_train_step(REMEMBERS, OPTIMIZER, axis_name=axis_name, **parts)

    for batch, (loss, mean, total, count) in zip(batches, seen, strict=True):
        state, metrics = way(make_step, state, batch)
        np.testing.assert_allclose(metrics["loss"].value, loss, rtol=1e-4)
        np.testing.assert_allclose(metrics["usual"].value, mean, rtol=1e-5)
        np.testing.assert_allclose(state.carry["sums"].total, total, rtol=1e-5)
        assert state.carry["sums"].weight == count
    np.testing.assert_allclose(state.params["table"], expected, rtol=1e-4, atol=1e-5)
    assert state.carry["batches"] == len(batches)


def test_an_evaluation_reads_what_is_remembered_and_adds_nothing():
    state, batch = setup()
    state = TrainState.create(state.params, OPTIMIZER, state.key, REMEMBERS.carry)
    first, second = some_batches(batch, 2)
    state, _ = jax.jit(make_train_step(REMEMBERS, OPTIMIZER))(state, first)
    evaluate = jax.jit(make_eval_step(REMEMBERS))
    for held_out in (first, second):
        found = evaluate(state.params, held_out, state.key, state.carry)
        logps = jax.nn.log_softmax(state.params["table"])
        logps = np.asarray(logps, np.float64)[held_out.inputs, held_out.targets]
        mean = float(state.carry["sums"].value)
        expected = np.mean(np.square(logps - mean)[np.asarray(held_out.mask)])
        np.testing.assert_allclose(found["loss"].value, expected, rtol=1e-5)
        assert found["batches"].value == 1


@pytest.mark.parametrize("where", ["loss", "memory"])
def test_a_non_finite_step_is_forgotten(where):
    """Also one of which the loss is finite, and the memory would not be."""

    def bad(x, poison):
        return jnp.where(poison[0], jnp.inf, 0.0) + x

    def measure(params, batch, key):
        sums = usual(params, batch[0], key)
        if where == "loss":
            return sums
        return dataclasses.replace(sums, weight=bad(sums.weight, batch[1]))

    def loss(params, batch, key, measured, memory):
        if where == "memory":
            return OBJECTIVE(params, batch[0], key)
        out = surprise_by_now(params, batch[0], key, measured, memory)
        total = bad(out.loss.total, batch[1])
        return LossOutput(dataclasses.replace(out.loss, total=total), {})

    state, batch = setup(optimizer=MOMENTUM)
    state = TrainState.create(state.params, MOMENTUM, state.key, NOTHING)
    step = jax.jit(make_train_step(Objective(loss, measure, NOTHING, past), MOMENTUM))
    state, metrics = step(state, (batch, np.zeros(16, bool)))
    assert metrics["skipped_steps"].value == 0
    assert state.carry["batches"] == 1
    skipped, metrics = step(state, (batch, np.ones(16, bool)))
    assert metrics["skipped_steps"].value == 1
    kept = (state.params, state.opt_state, state.carry)
    chex.assert_trees_all_equal(
        kept, (skipped.params, skipped.opt_state, skipped.carry)
    )


def test_a_state_without_the_memory_is_refused():
    state, batch = setup()
    with pytest.raises(ValueError, match="objective's carry is .*objective.carry"):
        make_train_step(REMEMBERS, OPTIMIZER)(state, batch)
    with pytest.raises(ValueError, match="objective's carry"):
        make_eval_step(REMEMBERS)(state.params, batch, state.key)


def test_the_memory_is_copied_and_keeps_its_types():
    """A consumed state leaves the objective whole, and no step compiles anew."""
    state, batch = setup()
    step = chex.assert_max_traces(make_train_step(REMEMBERS, OPTIMIZER), 1)
    step = jax.jit(step, donate_argnums=0)
    for _ in range(2):
        params = jax.tree.map(jnp.copy, state.params)
        own = TrainState.create(params, OPTIMIZER, jax.random.key(0), NOTHING)
        types = jax.tree.map(lambda x: x.dtype, own)
        for _ in range(2):
            own, _ = step(own, batch)
        assert jax.tree.map(lambda x: x.dtype, own) == types
    assert NOTHING["batches"] == 0


def test_parts_are_seen_one_at_a_time_and_with_keys_of_their_own():
    keys = []

    def objective(params, batch, key):
        assert batch.inputs.shape[0] == 4
        jax.debug.callback(lambda k: keys.append(k.tolist()), jax.random.key_data(key))
        return OBJECTIVE(params, batch, key)

    step = jax.jit(make_train_step(objective, OPTIMIZER, microbatch_size=4))
    state, batch = setup()
    for _ in range(2):
        state, _ = step(state, batch)
    jax.effects_barrier()
    assert len({tuple(k) for k in keys}) == len(keys) == 8


def test_rows_that_do_not_divide_are_refused():
    step = make_train_step(OBJECTIVE, OPTIMIZER, num_microbatches=3)
    with pytest.raises(ValueError, match="16 rows do not divide"):
        jax.eval_shape(step, *setup())


@pytest.mark.parametrize(("most", "parts"), [(16, 1), (99, 1), (7, 4), (3, 8), (1, 16)])
def test_microbatches_are_the_fewest_equal_ones_of_that_size_at_most(most, parts):
    sizes = set()

    def objective(params, batch, key):
        sizes.add(batch.inputs.shape[0])
        return OBJECTIVE(params, batch, key)

    jax.eval_shape(
        make_train_step(objective, OPTIMIZER, microbatch_size=most), *setup()
    )
    assert sizes == {16 // parts}


def test_second_step_does_not_recompile_and_the_state_keeps_its_types():
    state, batch = setup(optimizer=MOMENTUM, dtype=jnp.bfloat16)
    step = make_train_step(OBJECTIVE, MOMENTUM, num_microbatches=2)
    step = jax.jit(chex.assert_max_traces(step, 1))
    types = jax.tree.map(lambda x: x.dtype, state)
    for _ in range(3):
        state, _ = step(state, batch)
    assert jax.tree.map(lambda x: x.dtype, state) == types


def test_gradients_of_half_precision_parameters_are_divided_in_float32():
    """By 257 tokens: as a bfloat16 the count would be 256."""

    def objective(params, batch, key):
        total = jnp.sum(params["table"], dtype=jnp.float32)
        return LossOutput(Mean(total, jnp.float32(257)), {})

    state, batch = setup(dtype=jnp.bfloat16)
    state = dataclasses.replace(state, params={"table": jnp.zeros(9, jnp.bfloat16)})
    new, metrics = jax.jit(make_train_step(objective, OPTIMIZER))(state, batch)
    expected = np.float32(jnp.bfloat16(-1 / 257))
    np.testing.assert_array_equal(np.float32(new.params["table"]), expected)
    np.testing.assert_allclose(metrics["grad_norm"].value, 3 / 257, rtol=1e-5)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_non_finite_step_is_skipped_and_counted(where):
    state, batch = setup(optimizer=MOMENTUM)

    def objective(params, batch, key):
        tokens, poison = batch
        out = OBJECTIVE(params, tokens, key)
        if where == "loss":
            bad = jnp.where(poison[0], jnp.inf, 0.0)
        else:  # of value 0 and slope inf
            x = params["table"][0, 0]
            x = jnp.where(poison[0], x - jax.lax.stop_gradient(x), 1.0)
            bad = jnp.sqrt(x) - jax.lax.stop_gradient(jnp.sqrt(x))
        total = out.loss.total + bad
        loss = dataclasses.replace(out.loss, total=total)
        return dataclasses.replace(out, loss=loss)

    step = jax.jit(make_train_step(objective, MOMENTUM))
    good, bad = np.zeros(16, bool), np.ones(16, bool)
    state, metrics = step(state, (batch, good))
    assert metrics["skipped_steps"].value == 0
    skipped, metrics = step(state, (batch, bad))
    assert metrics["skipped_steps"].value == 1
    kept = (state.params, state.opt_state), (skipped.params, skipped.opt_state)
    chex.assert_trees_all_equal(*kept)
    assert int(skipped.step) == 2

    resumed, metrics = step(skipped, (batch, good))
    straight, _ = step(state, (batch, good))
    assert metrics["skipped_steps"].value == 0
    chex.assert_trees_all_equal(resumed.params, straight.params)


def test_donation_takes():
    state, batch = setup(optimizer=MOMENTUM)
    step = jax.jit(make_train_step(OBJECTIVE, MOMENTUM), donate_argnums=0)
    memory = step.lower(state, batch).compile().memory_analysis()
    assert memory
    assert memory.alias_size_in_bytes >= 2 * 4 * 11 * 11
    step(state, batch)
    with pytest.raises(RuntimeError, match="deleted"):
        np.asarray(state.params["table"])


@pytest.mark.parametrize("size", [None, 2])
def test_evaluation_adds_up_over_batches_and_devices(size):
    state, batch = setup()
    step = jax.jit(make_eval_step(OBJECTIVE, microbatch_size=size))
    whole = step(state.params, batch, state.key)
    halves = [
        step(state.params, jax.tree.map(lambda x, s=s: x[s], batch), state.key)
        for s in (slice(0, 8), slice(8, 16))
    ]
    assert whole.keys() == {"loss", "mean_token_accuracy"}
    for name in whole:
        parts = halves[0][name] + halves[1][name]
        np.testing.assert_allclose(parts.value, whole[name].value, rtol=1e-5)

    mapped = jax.shard_map(
        make_eval_step(OBJECTIVE, microbatch_size=size and 1, axis_name="data"),
        mesh=MESH,
        in_specs=(P(), P("data"), P()),
        out_specs=P(),
    )
    got = jax.jit(mapped)(state.params, batch, state.key)
    chex.assert_trees_all_close(got, whole, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 8, 16, 99])
@pytest.mark.parametrize(
    "objective", [likelihood_of_texts, Objective(surprise, usual)], ids=["terms", "two"]
)
def test_an_evaluation_is_the_same_in_parts_of_any_size(objective, size):
    """With denominators of several terms, and with what is measured of all rows."""
    state, batch = setup()
    inputs = state.params, batch, state.key
    whole = jax.jit(make_eval_step(objective))(*inputs)
    parts = jax.jit(make_eval_step(objective, microbatch_size=size))(*inputs)
    chex.assert_trees_all_close(parts, whole, rtol=1e-5)


def test_an_evaluation_in_parts_holds_one_of_them():
    state, batch = setup(rows=512)

    def scratch(**parts):
        step = jax.jit(make_eval_step(OBJECTIVE, **parts))
        compiled = step.lower(state.params, batch, state.key).compile()
        memory = compiled.memory_analysis()
        assert memory
        return memory.temp_size_in_bytes

    # Some copies of the batch are left, which is 1 number a token, and not 11.
    assert scratch(microbatch_size=8) < scratch() / 3
