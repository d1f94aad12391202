"""Losses that remember, step by step, against loops over pairs and tokens in float64.

One set of batches is run in one piece, in parts and on devices: what is remembered is
always that of the global batches.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxalign.errors import UserError
from jaxalign.losses import (
    aot_pair_loss,
    bco_loss,
    beta_dpo_loss,
    dpo_loss,
    mixed_preference_loss,
    slic_loss,
)
from jaxalign.objectives import (
    Backbone,
    Head,
    MixedBatch,
    bind,
    mixed_objective,
)
from jaxalign.training import TrainState, make_eval_step, make_train_step
from tests.rows import packed_batch, plain_batch, random_examples
from tests.training.test_step import (
    by_jit,
    by_pmap,
    by_shard_map,
    by_sharded_jit,
)

VOCAB = 9
BETA = 0.5
LAYOUT = [[0, 1], [2], [], [3, 4], [], [5], [], []]
BACKBONE = Backbone(
    lambda params, rows: params[rows.inputs],
    # Of the parameters, so that under shard_map it differs by device as they do.
    lambda params: Head(jnp.eye(VOCAB) + 0 * params, None, VOCAB),
)
SGD = optax.sgd(1.0)


def setup(steps=3):
    """Batches of 6, 5 and 2 pairs in 8 rows, a table of logits and a reference."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(VOCAB, VOCAB)).astype(np.float32)
    ref = np.log(rng.dirichlet(np.ones(VOCAB))).astype(np.float32)
    pairs, batches = [], []
    for n in range(steps):
        own = random_examples(rng, 6, VOCAB, responses=2)
        rows = [[i for i in row if i < (6, 5, 2)[n]] for row in LAYOUT]
        pairs.append([own[i] for row in rows for i in row])
        # Left out by their lengths, so that all batches have one shape.
        batch = packed_batch([[own[i] for i in row] for row in LAYOUT], 40, 30, ref)
        kept = np.zeros(batch.length.shape, np.int32)
        for r, row in enumerate(LAYOUT):
            counts = [i < (6, 5, 2)[n] for i in row]
            kept[r, : len(row)] = np.reshape(counts, (-1, 1))
        batches.append(batch._replace(length=batch.length * kept))
    return table, ref, pairs, batches


def log_ratio(table, ref, prompt, answer):
    """h(y) and its derivative by the table."""
    h, slope, last = 0.0, np.zeros_like(table), prompt[-1]
    for token in answer:
        p = np.exp(table[last]) / np.exp(table[last]).sum()
        h += np.log(p[token]) - ref[token]
        slope[last] -= p
        slope[last, token] += 1
        last = token
    return h, slope


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Bco:
    """delta is the mean of all rewards so far, this batch's included."""

    loss = staticmethod(bco_loss)

    def __init__(self):
        self.rewards = []

    def remember(self, rewards):
        self.rewards += [x for pair in rewards for x in pair]

    def cost(self, w, loser, rewards):
        """Loss of a pair, and its slopes by both rewards."""
        delta = sum(self.rewards) / len(self.rewards) if self.rewards else 0.0
        a, b = w - delta, loser - delta
        value = np.log1p(np.exp(-a)) + np.log1p(np.exp(b))
        return value, (-sigmoid(-a), sigmoid(b)), {"delta": delta}


class BetaDpo:
    """beta follows how far the mean margin is from its moving average."""

    loss = staticmethod(beta_dpo_loss)

    def __init__(self):
        self.usual = 0.0

    def remember(self, rewards):
        self.usual = 0.9 * self.usual + 0.1 * np.mean([w - x for w, x in rewards])

    def cost(self, w, loser, rewards):
        mean = np.mean([a - b for a, b in rewards])
        factor = max(1 + 0.6 * (mean - self.usual), 1e-3 / BETA)
        z = factor * (w - loser)
        slope = factor * -sigmoid(-z)
        return np.log1p(np.exp(-z)), (slope, -slope), {"beta": factor * BETA}


def in_numpy(method, table, ref, pairs):
    """The loss of a batch, its gradient, and the metrics that the loss adds."""
    sides = [
        [log_ratio(table, ref, x.prompt, answer) for answer in x.responses]
        for x in pairs
    ]
    rewards = [(BETA * w[0], BETA * x[0]) for w, x in sides]
    return rewards, lambda: _mean_cost(method, sides, rewards)


def _mean_cost(method, sides, rewards):
    loss, grad, more = 0.0, 0.0, {}
    for (w, x), (a, b) in zip(sides, rewards, strict=True):
        value, (up, down), more = method.cost(a, b, rewards)
        loss += value / len(rewards)
        grad = grad + BETA * (up * w[1] + down * x[1]) / len(rewards)
    return loss, grad, more


def start(loss, table):
    objective = bind(loss, BACKBONE, chunk_size=8, beta=BETA)
    key = jax.random.key(0)
    return objective, TrainState.create(jnp.asarray(table), SGD, key, objective.carry)


WAYS = [(by_jit, None), (by_jit, 2)]
WAYS += [(by_sharded_jit, None), (by_shard_map, None), (by_pmap, 1)]


@pytest.mark.parametrize(
    ("method", "way", "size"),
    [
        *((Bco, *way) for way in WAYS[1:]),
        *((BetaDpo, *way) for way in (WAYS[1], WAYS[3])),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                *((Bco, *WAYS[0]), (BetaDpo, *WAYS[0])),
                *((BetaDpo, *way) for way in (WAYS[2], WAYS[4])),
            )
        ),
    ],
)
def test_every_step_reads_the_batches_before(method, way, size):
    table, ref, pairs, batches = setup()
    oracle, expected = method(), np.asarray(table, np.float64)
    objective, state = start(method.loss, table)

    @functools.cache  # so that it compiles once
    def make_step(axis_name):
        options = {"microbatch_size": size, "axis_name": axis_name}
        return make_train_step(objective, SGD, **options)

    for own, batch in zip(pairs, batches, strict=True):
        rewards, cost = in_numpy(oracle, expected, ref, own)
        oracle.remember(rewards)
        loss, grad, more = cost()
        state, metrics = way(make_step, state, batch)
        np.testing.assert_allclose(metrics["loss"].value, loss, rtol=1e-4)
        assert metrics["loss"].weight == len(own)
        for name, value in more.items():
            np.testing.assert_allclose(metrics[name].value, value, rtol=1e-4)
        expected = expected - grad
        np.testing.assert_allclose(state.params, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", [Bco, BetaDpo])
def test_an_evaluation_reads_the_batches_of_training_alone(method):
    table, ref, pairs, batches = setup()
    oracle, (objective, state) = method(), start(method.loss, table)
    evaluate = jax.jit(make_eval_step(objective))
    step = jax.jit(make_train_step(objective, SGD))
    for n in range(2):
        now = np.asarray(state.params, np.float64)
        for own, batch in zip(pairs[1:], batches[1:], strict=True):
            loss, _, more = in_numpy(oracle, now, ref, own)[1]()
            found = evaluate(state.params, batch, state.key, state.carry)
            np.testing.assert_allclose(found["loss"].value, loss, rtol=1e-4)
            for name, value in more.items():
                np.testing.assert_allclose(
                    found[name].value, value, rtol=1e-4, atol=1e-6
                )
        oracle.remember(in_numpy(oracle, now, ref, pairs[n])[0])
        state, _ = step(state, batches[n])


def test_a_batch_without_pairs_is_not_remembered():
    table, *_, batches = setup()
    nothing = jax.tree.map(jnp.zeros_like, batches[0])
    for method in (Bco, BetaDpo):
        objective, state = start(method.loss, table)
        step = jax.jit(make_train_step(objective, SGD))
        once, _ = step(state, batches[0])
        twice, metrics = step(once, nothing)
        assert metrics["skipped_steps"].value == 0
        assert any(np.any(x) for x in jax.tree.leaves(once.carry))
        for a, b in zip(*map(jax.tree.leaves, (once, twice)), strict=True):
            if a.dtype == jnp.float32:
                np.testing.assert_array_equal(a, b)


def test_the_mixture_reads_the_shift_of_bco():
    table, *_, batches = setup()
    found = {}
    for loss in (bco_loss, mixed_preference_loss):
        objective, state = start(loss, table)
        _, metrics = jax.jit(make_train_step(objective, SGD))(state, batches[0])
        found[loss] = metrics
    mixed = found[mixed_preference_loss]["loss/bco"].value
    np.testing.assert_allclose(mixed, found[bco_loss]["loss"].value, rtol=1e-6)
    assert found[bco_loss]["delta"].value != 0


def test_rows_without_packing_remember_the_same():
    examples = random_examples(np.random.default_rng(1), 8, VOCAB, responses=2)
    ref = np.log(np.full(VOCAB, 1 / VOCAB)).astype(np.float32)
    found = []
    for objective, batch in (
        (bind(bco_loss, lambda table, ids: table[ids]), plain_batch(examples, 12, ref)),
        (
            bind(bco_loss, BACKBONE),
            packed_batch([examples], 200, 100, ref),
        ),
    ):
        table = jnp.asarray(setup(0)[0])
        state = TrainState.create(table, SGD, jax.random.key(0), objective.carry)
        new, _ = jax.jit(make_train_step(objective, SGD))(state, batch)
        assert new.carry.weight == 2 * len(examples)
        found.append(float(new.carry.value))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "given"),
    [(dpo_loss, {}), (slic_loss, {}), (bco_loss, {"delta": jnp.float32(0)})],
)
def test_other_losses_have_no_memory(loss, given):
    """SLiC has a hyperparameter that is called delta; BCO's may be given as one."""
    table, *_, batches = setup()
    objective = bind(loss, BACKBONE, **given)
    state = TrainState.create(jnp.asarray(table), SGD, jax.random.key(0))
    new, metrics = jax.jit(make_train_step(objective, SGD))(state, batches[0])
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert metrics["loss"].weight == 6


@pytest.mark.parametrize("method", [Bco, pytest.param(BetaDpo, marks=pytest.mark.slow)])
def test_in_a_mix_the_first_objective_remembers_as_it_does_alone(method):
    """With a coefficient of 0, and in parts; alone it is computed in one piece."""
    table, _, _, batches = setup(2)
    alone, state = start(method.loss, table)
    mixed = mixed_objective(alone, bind(dpo_loss, BACKBONE), coef=0.0)
    step = jax.jit(make_train_step(alone, SGD))
    in_parts = jax.jit(make_train_step(mixed, SGD, microbatch_size=2))
    got = TrainState.create(jnp.asarray(table), SGD, jax.random.key(0), mixed.carry)
    for batch in batches:
        state, metrics = step(state, batch)
        got, more = in_parts(got, MixedBatch(batch, batch))
        for name, mean in metrics.items():
            np.testing.assert_allclose(
                more[name].value, mean.value, rtol=1e-4, atol=1e-6, err_msg=name
            )
    assert np.any(jax.tree.leaves(state.carry)[0])
    chex.assert_trees_all_close(got.carry, state.carry, rtol=1e-4)
    chex.assert_trees_all_close(got.params, state.params, rtol=1e-4, atol=1e-5)


def test_the_second_objective_of_a_mix_must_not_remember():
    one, two = bind(dpo_loss, BACKBONE), bind(bco_loss, BACKBONE)
    with pytest.raises(UserError, match="Make it the first of the two"):
        mixed_objective(one, two, coef=1.0)


@pytest.mark.parametrize(
    ("way", "parts"), [(by_jit, 2), (by_shard_map, 1), (by_pmap, 1)]
)
def test_an_objective_that_couples_all_rows_is_refused_in_parts(way, parts):
    table, *_, batches = setup(1)
    coupled = bind(functools.partial(aot_pair_loss, beta=0.2), BACKBONE)
    both = mixed_objective(coupled, bind(dpo_loss, BACKBONE), coef=1.0)
    mixed = MixedBatch(batches[0], batches[0])
    for objective, batch in ((coupled, batches[0]), (both, mixed)):
        state = TrainState.create(jnp.asarray(table), SGD, jax.random.key(0))

        def make_step(axis_name, objective=objective):
            options = {"num_microbatches": parts, "axis_name": axis_name}
            return make_train_step(objective, SGD, **options)

        with pytest.raises(UserError, match="couples all rows"):
            way(make_step, state, batch)


def test_an_objective_that_couples_all_rows_is_computed_in_one_piece():
    table, *_, batches = setup(1)
    objective = bind(aot_pair_loss, BACKBONE)
    arguments = jnp.asarray(table), batches[0], jax.random.key(0)
    found = jax.jit(make_eval_step(objective, microbatch_size=8))(*arguments)
    expected = objective(*arguments).loss
    np.testing.assert_allclose(found["loss"].value, expected.value, rtol=1e-5)
    with pytest.raises(UserError, match="couples all rows"):
        make_eval_step(objective, microbatch_size=4)(*arguments)
