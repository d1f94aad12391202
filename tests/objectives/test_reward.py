"""Packed reward batches against each answer alone, and the numbers that are logged."""

import dataclasses
import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxalign.data.packing.batches import Batches
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.losses import LossOutput
from jaxalign.models import PARTITION_RULES, Transformer, scalar_scores, with_score_head
from jaxalign.objectives import (
    compared,
    reward_objective,
    score_extremes,
)
from jaxalign.objectives.score_losses import (
    all_pairs_loss,
    order_loss,
    pair_loss,
    score_regression_loss,
)
from jaxalign.ops import Mean
from jaxalign.parallel import batch_sharding, make_mesh, shardings
from jaxalign.recipes.scoring.scorer import score_fn_of
from jaxalign.training import TrainState, make_train_step
from tests.tiny import make_model, make_params

V, KEY = 32, jax.random.key(0)


@functools.cache
def setup():
    model = Transformer(with_score_head(make_model(V).config))

    def louder(path, x):
        return x if "norm" in str(path) or "score" in str(path) else 10.0 * x

    params = make_params(model, scale=1.0)
    return model, jax.tree_util.tree_map_with_path(louder, params)


def examples_of(counts, seed=0):
    """Answers of unequal length and number, labelled at random; some end in a tail."""
    rng = np.random.default_rng(seed)
    examples = []
    for i, count in enumerate(counts):
        prompt = rng.integers(0, V, rng.integers(1, 5))
        sequences = []
        for _ in range(count):
            answer, tail = rng.integers(0, V, rng.integers(1, 6)), rng.integers(0, 3)
            ids = [*prompt, *answer, *rng.integers(0, V, tail)]
            on = np.arange(len(ids)) >= len(prompt)
            on[len(prompt) + len(answer) :] = False
            sequences.append(TokenSequence(np.asarray(ids, np.int32), on))
        labels = {"score": rng.normal(size=count).astype(np.float32)}
        examples.append(Example(10 + i, tuple(sequences), labels))
    return examples


def weighted(scores, mask, labels):
    """A loss that tells every answer and label from every other."""
    slot = jnp.arange(1.0, 1.0 + scores.shape[-1])
    losses = jnp.square(scores - labels["score"]) * jnp.broadcast_to(slot, scores.shape)
    return LossOutput(Mean.of(losses, where=mask), {"own": Mean.of(scores, where=mask)})


def plain_loss(params, examples):
    """The oracle: every answer in a row by itself, read at its last trained token."""
    rows, ends, labels, weights = [], [], [], []
    for example in examples:
        for k, x in enumerate(example.sequences):
            end = np.flatnonzero(x.trained)[-1]
            rows.append(np.pad(x.ids[: end + 1], (0, 11 - end)))
            ends.append([end])
            labels.append(example.labels["score"][k])
            weights.append(k + 1.0)
    at = np.array(ends, np.int32)
    values = scalar_scores(setup()[0], params, np.stack(rows), at)[:, 0]
    errors = (values - np.array(labels, np.float32)) ** 2
    return jnp.mean(np.array(weights, np.float32) * errors)


EXAMPLES = (2, 1, 3, 2)


@functools.cache
def plain_update():
    params = setup()[1]
    return jax.jit(jax.value_and_grad(lambda p: plain_loss(p, examples_of(EXAMPLES))))(
        params
    )


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("share_prompt", [True, False])
def test_packed_scores_are_those_of_each_answer_alone(packing, share_prompt):
    model, params = setup()
    batches = Batches(
        examples_of(EXAMPLES),
        batch_size=4,
        read_ends=True,
        packing=packing,
        share_prompt=share_prompt,
        row_multiple=2,
    )
    objective = reward_objective(weighted, score_fn_of(model))

    def value(params, batch):
        out = objective(params, batch, KEY)
        return out.loss.value, out.metrics

    got, grads = jax.jit(jax.value_and_grad(value, has_aux=True))(params, batches[0])
    expected, expected_grads = plain_update()
    np.testing.assert_allclose(got[0], expected, rtol=1e-4)
    chex.assert_trees_all_close(grads, expected_grads, rtol=1e-3, atol=2e-4)
    assert got[1].keys() == {"own", "min_reward", "max_reward"}
    assert got[1]["own"].weight == sum(EXAMPLES)


@pytest.mark.parametrize("sizes", [{"data": 8}, {"fsdp": 4, "tensor": 2}], ids=str)
def test_every_mesh_makes_the_plain_update(sizes):
    """With microbatches, and rows in which there is nothing."""
    model, params = setup()
    mesh, optimizer = make_mesh(sizes), optax.sgd(1.0)
    batches = Batches(
        examples_of(EXAMPLES),
        batch_size=4,
        read_ends=True,
        row_multiple=16,
        row_length=26,
    )
    state = TrainState.create(jax.tree.map(np.array, params), optimizer, KEY)
    state = jax.device_put(state, shardings(PARTITION_RULES, mesh, state))
    batch = jax.device_put(batches[0], batch_sharding(mesh))
    objective = reward_objective(weighted, score_fn_of(model))
    step = make_train_step(objective, optimizer, num_microbatches=2)
    state, metrics = jax.jit(step)(state, batch)
    loss, grads = plain_update()
    np.testing.assert_allclose(metrics["loss"].value, loss, rtol=1e-4)
    moved = jax.tree.map(lambda old, new: old - np.asarray(new), params, state.params)
    chex.assert_trees_all_close(moved, grads, rtol=1e-3, atol=2e-4)


def test_rows_are_read_as_the_losses_want_them():
    """Each loss of the recipe, on a packed batch, against loops over the answers."""
    model, params = setup()
    examples = [
        dataclasses.replace(
            x,
            labels={
                "score": np.array([2.0, 1.0, 1.0][: len(x.sequences)], np.float32),
                "margin": np.full(len(x.sequences), 0.5, np.float32),
            },
        )
        for x in examples_of((2, 1, 3, 2))
    ]
    found = {}
    batch = Batches(examples, batch_size=4, read_ends=True)[0]
    pairs = pair_loss(margin_scale=2.0, center=0.01)
    for loss in (pairs, order_loss, all_pairs_loss, score_regression_loss):
        objective = reward_objective(loss, score_fn_of(model))
        found[loss] = float(jax.jit(objective)(params, batch, KEY).loss.value)

    scores = []
    for example in examples:
        ends = [x.ids[: np.flatnonzero(x.trained)[-1] + 1] for x in example.sequences]
        rows = np.zeros((3, 16), np.int32)
        for k, ids in enumerate(ends):
            rows[k, : len(ids)] = ids
        at = np.array([[len(ids) - 1] for ids in ends] + [[0]] * (3 - len(ends)))
        values = jax.jit(lambda p, x, at: scalar_scores(model, p, x, at))(
            params, rows, at.astype(np.int32)
        )
        scores.append([float(x) for x in values[: len(ends), 0]])

    def nll(gap):
        return math.log1p(math.exp(-gap))

    expected = [
        nll(s[0] - s[1] - 1) + 0.01 * (s[0] + s[1]) ** 2 for s in scores if s[1:]
    ]
    np.testing.assert_allclose(found[pairs], np.mean(expected), rtol=1e-4)
    expected = [
        sum(math.log(sum(map(math.exp, s[k:]))) - s[k] for k in range(len(s)))
        for s in scores
        if s[1:]
    ]
    np.testing.assert_allclose(found[order_loss], np.mean(expected), rtol=1e-4)
    # The second and the third answer are tied.
    expected = [np.mean([nll(s[0] - x) for x in s[1:]]) for s in scores if s[1:]]
    np.testing.assert_allclose(found[all_pairs_loss], np.mean(expected), rtol=1e-4)
    expected = [
        (a - b) ** 2 for s in scores for a, b in zip(s, (2, 1, 1), strict=False)
    ]
    np.testing.assert_allclose(
        found[score_regression_loss], np.mean(expected), rtol=1e-4
    )


def test_the_extremes_among_the_answers_to_a_prompt():
    scores = jnp.array([[1.0, 3.0, jnp.inf], [-2.0, jnp.inf, jnp.inf], [jnp.nan] * 3])
    mask = jnp.array([[True, True, False], [True, False, False], [False] * 3])
    got = score_extremes(scores, mask)
    assert (got["min_reward"].value, got["min_reward"].weight) == (-0.5, 2)
    assert (got["max_reward"].value, got["max_reward"].weight) == (0.5, 2)


def test_who_is_compared_with_whom():
    scores = jnp.array([[4.0, 2.0, 1.0, jnp.nan]])
    mask = jnp.array([[True, True, True, False]])
    margins, better = compared(scores, mask, {})
    assert sorted(margins[better].tolist()) == [1.0, 2.0, 3.0]
    tied = {"score": jnp.array([[5.0, 3.0, 3.0, 0.0]])}
    margins, better = compared(scores, mask, tied)
    assert sorted(margins[better].tolist()) == [2.0, 3.0]
    assert bool(jnp.isfinite(margins).all())
