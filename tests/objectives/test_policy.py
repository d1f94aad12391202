"""Policy-gradient objectives: packed, in parts or on many devices, one and the same.

In float64 with SGD. The unpacked side lays the answers out one per row by hand and
calls the loss on them; the model has no attention, so that it needs no packing.
"""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxalign import losses
from jaxalign.batch import Batch
from jaxalign.data.packing.completions import (
    CompletionRows,
    completion_layouts,
    with_columns,
)
from jaxalign.objectives import (
    MixedBatch,
    bind,
    bind_token_loss,
    mixed_objective,
    regularised,
    value_loss,
)
from jaxalign.ops import fixed_length, kl_k2, sequence_mean, sequence_sum, token_mean
from jaxalign.training import TrainState, make_train_step
from tests.objectives import test_split_invariance as toy
from tests.rows import packed_batch, random_examples

G, K, N = 5, 4, 5
COLUMNS = ("old_logps", "advantages", "ref_logps", "weights", "values", "returns")
TEMPERATURE = 0.7


def make_answers(rng):
    prompts = [rng.integers(0, toy.V, rng.integers(1, 5)).tolist() for _ in range(G)]
    tokens = rng.integers(0, toy.V, (G * K, N)).astype(np.int32)
    lengths = rng.integers(1, N + 1, G * K)
    mask = np.arange(N) < lengths[:, None]
    columns = {name: rng.normal(size=(G * K, N)) for name in COLUMNS}
    columns["old_logps"] = -2.5 + 0.3 * columns["old_logps"]
    columns["ref_logps"] = -2.5 + 0.3 * columns["ref_logps"]
    columns["weights"] = np.abs(columns["weights"])
    return prompts, tokens, lengths, mask, columns


def packed(rng, row_multiple=8) -> Batch:
    prompts, tokens, lengths, mask, columns = make_answers(rng)
    rows = CompletionRows.plan(
        longest_prompt=4,
        longest_completion=N,
        per_prompt=K,
        completions=G * K,
        row_length=14,  # two answers side by side
        row_multiple=row_multiple,
    )
    assert rows.together == 2
    layouts = completion_layouts(prompts, tokens, lengths, together=rows.together)
    # A row's columns are float32; integers stand for the values, to be put back.
    numbers = np.arange(G * K * N, dtype=np.float32).reshape(G * K, N)
    batch = rows.batch(with_columns(layouts, mask, {"number": numbers}))
    number = batch.per_token["number"].astype(int)
    filled: Any = {name: x.ravel()[number] for name, x in columns.items()}
    real = batch.tokens.target_mask
    filled = {k: np.where(real, v, np.nan) for k, v in filled.items()}
    return jax.tree.map(jnp.asarray, batch._replace(per_token=filled))


def critic(params, rows):
    hidden = toy.states(params, rows.inputs, rows.positions)
    values = hidden @ params["score"]
    return jnp.take_along_axis(values, rows.target_at, axis=1)


def unpacked_stats(params, answers):
    """Log-probs, entropy and values of every answer on its own, `[B, N]`."""
    prompts, tokens, _, mask, _ = answers
    ids, at = np.zeros((2, G * K, N), np.int32)
    for b, answer in enumerate(tokens):
        prompt = prompts[b // K]
        whole = np.concatenate([prompt, answer])
        at[b] = np.arange(len(prompt) - 1, len(whole) - 1)
        ids[b] = whole[at[b]]
    hidden = toy.states(params, ids, at)
    logits = hidden @ params["head"].T / TEMPERATURE
    logp = logits - jax.scipy.special.logsumexp(logits, axis=-1, keepdims=True)
    picked = jnp.take_along_axis(logp, tokens[..., None], axis=-1)[..., 0]
    entropy = -jnp.sum(jnp.exp(logp) * logp, axis=-1)
    values = hidden @ params["score"]
    return [jnp.where(mask, x, 0.0) for x in (picked, entropy, values)]


LOSSES = {
    "grpo": (losses.grpo_loss, sequence_mean, {"beta": 0.1}),
    "gspo": (losses.gspo_loss, sequence_mean, {}),
    "dapo": (losses.dapo_loss, token_mean, {}),
    "dr_grpo": (
        losses.dr_grpo_loss,
        functools.partial(fixed_length, max_length=N),
        {"max_length": N},
    ),
    "policy_gradient": (losses.policy_gradient_loss, sequence_sum, {}),
}


def make_params(rng):
    params = toy.make_params(rng)
    return {**params, "score": jnp.asarray(rng.normal(size=toy.D))}


def update(objective, batch, params, **parts):
    state = TrainState.create(params, optax.sgd(1.0), jax.random.key(0))
    step = jax.jit(make_train_step(objective, optax.sgd(1.0), **parts))
    state, metrics = step(state, batch)
    return jax.tree.map(np.asarray, (state.params, metrics["loss"].value))


def gradient_step(value, params):
    loss, grads = jax.jit(jax.value_and_grad(value))(params)
    return jax.tree.map(lambda p, g: np.asarray(p - g), params, grads), np.asarray(loss)


@pytest.mark.parametrize(
    "name",
    [
        "policy_gradient",
        *(
            pytest.param(x, marks=pytest.mark.slow)
            for x in ("grpo", "gspo", "dapo", "dr_grpo")
        ),
    ],
)
def test_packed_rows_give_the_update_of_answers_one_by_one(name):
    loss_fn, aggregate, options = LOSSES[name]
    with jax.enable_x64(True):
        params = make_params(np.random.default_rng(1))
        answers = make_answers(np.random.default_rng(0))
        mask, columns = jnp.asarray(answers[3]), answers[4]
        known = {k: jnp.asarray(columns[k]) for k in ("ref_logps", "weights")}
        takes = loss_fn.__code__.co_varnames + loss_fn.__code__.co_freevars
        extra = {k: v for k, v in known.items() if k in takes}

        def oracle(params):
            logps, entropy, _ = unpacked_stats(params, answers)
            out = loss_fn(
                logps,
                jnp.asarray(columns["old_logps"]),
                jnp.asarray(columns["advantages"]),
                mask,
                **extra,
                **options,
            )
            added = 0.3 * kl_k2(logps, known["ref_logps"], mask) - 0.2 * entropy
            added = aggregate(jnp.where(mask, added, 0), mask)
            return out.loss.value + added.value

        loss = regularised(loss_fn, kl=kl_k2, kl_coef=0.3, entropy_coef=0.2)
        objective = bind(
            loss,
            toy.BACKBONE,
            sampling_temperature=TEMPERATURE,
            chunk_size=40,
            entropy=True,
            longest=N,
            **options,
        )
        expected = gradient_step(oracle, params)
        batch = packed(np.random.default_rng(0))
        for parts in ({}, {"num_microbatches": 4}):
            got = update(objective, batch, params, **parts)
            chex.assert_trees_all_close(got, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("own", "beta"), [({}, 0.0), ({"beta": 0.1}, 0.1)])
def test_a_kl_term_takes_the_place_of_the_one_a_loss_adds_by_itself(own, beta):
    """Unless the loss is given its own: two tokens, while old and new policy agree."""
    rng = np.random.default_rng(4)
    logps, ref, advantages = rng.normal(size=(3, 1, 2)).astype(np.float32)
    loss = functools.partial(losses.grpo_loss, **own)
    out = regularised(loss, kl=kl_k2, kl_coef=0.3)(
        logps=logps,
        old_logps=logps,
        advantages=advantages,
        mask=jnp.ones((1, 2), bool),
        ref_logps=ref,
    )
    gap = np.float64(ref) - logps
    k3 = np.exp(gap) - 1 - gap
    expected = np.mean(-advantages + 0.3 * gap**2 / 2 + beta * k3)
    np.testing.assert_allclose(out.loss.value, expected, rtol=1e-5)


def two_models(rng):
    params = make_params(rng)
    other = make_params(rng)
    return {"policy": params, "critic": other}


def test_ppo_is_one_update_packed_or_not_and_in_any_parts():
    options: Any = {"value_coef": 0.3, "entropy_coef": 0.05}
    with jax.enable_x64(True):
        params = two_models(np.random.default_rng(1))
        answers = make_answers(np.random.default_rng(0))
        mask, columns = jnp.asarray(answers[3]), answers[4]
        known = {k: jnp.asarray(v) for k, v in columns.items()}

        def oracle(params):
            logps, entropy, _ = unpacked_stats(params["policy"], answers)
            values = unpacked_stats(params["critic"], answers)[2]
            return losses.ppo_loss(
                logps,
                known["old_logps"],
                known["advantages"],
                values,
                known["values"],
                known["returns"],
                mask,
                entropy=entropy,
                weights=known["weights"],
                **options,
            ).loss.value

        objective = bind(
            losses.ppo_loss,
            toy.BACKBONE,
            critic=critic,
            sampling_temperature=TEMPERATURE,
            chunk_size=40,
            entropy=True,
            **options,
        )
        expected = gradient_step(oracle, params)
        batch = packed(np.random.default_rng(0))
        for parts in ({}, {"num_microbatches": 4}):
            got = update(objective, batch, params, **parts)
            chex.assert_trees_all_close(got, expected, rtol=1e-9, atol=1e-11)


def test_the_critic_alone_makes_its_part_of_the_update():
    with jax.enable_x64(True):
        params = two_models(np.random.default_rng(1))
        answers = make_answers(np.random.default_rng(0))
        mask, columns = jnp.asarray(answers[3]), answers[4]
        old, returns = (jnp.asarray(columns[x]) for x in ("values", "returns"))

        def oracle(params):
            values = unpacked_stats(params["critic"], answers)[2]
            error = losses.ppo_value_loss(values, old, returns, mask, clip=0.4)
            return 0.3 * error.loss.value

        objective = bind(
            value_loss, toy.BACKBONE, critic=critic, longest=N, coef=0.3, clip=0.4
        )
        got = update(objective, packed(np.random.default_rng(0)), params)
        expected = gradient_step(oracle, params)
        chex.assert_trees_all_close(got, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("coef", [pytest.param(0.0, marks=pytest.mark.slow), 27.8])
def test_the_second_stream_has_a_denominator_of_its_own(coef):
    """PPO-ptx: the mean over its own tokens, however many the policy term has."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(2)
        params = make_params(rng)
        batch = packed(np.random.default_rng(0))
        examples = random_examples(rng, 7, toy.V, responses=1)
        rows = packed_batch([*([x] for x in examples), []], toy.LENGTH, 8)
        main = bind(losses.policy_gradient_loss, toy.BACKBONE, longest=N)
        sft = bind_token_loss(losses.sft_loss, toy.BACKBONE, chunk_size=40)

        def value(objective, batch):
            return lambda p: objective(p, batch, jax.random.key(0)).loss.value

        def oracle(params):
            return value(main, batch)(params) + coef * value(sft, rows)(params)

        mixed = MixedBatch(batch, rows)
        objective = mixed_objective(main, sft, coef=coef)
        expected = gradient_step(oracle, params)
        for parts in ({}, {"num_microbatches": 4}):
            got = update(objective, mixed, params, **parts)
            chex.assert_trees_all_close(got, expected, rtol=1e-9, atol=1e-10)


def test_a_sum_of_both_gradients_is_what_a_very_large_coefficient_leaves():
    """γ → ∞ has the direction of the language model's gradient (identity I-24)."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(2)
        params = make_params(rng)
        batch = packed(np.random.default_rng(0))
        rows = packed_batch(
            [[x] for x in random_examples(rng, 8, toy.V, responses=1)], toy.LENGTH, 8
        )
        main = bind(losses.policy_gradient_loss, toy.BACKBONE, longest=N)
        sft = bind_token_loss(losses.sft_loss, toy.BACKBONE, chunk_size=40)
        mixed = mixed_objective(main, sft, coef=1e9)

        def grads(objective, batch):
            def value(p):
                return objective(p, batch, jax.random.key(0)).loss.value

            leaves = jax.tree.leaves(jax.jit(jax.grad(value))(params))
            return np.concatenate([np.ravel(x) for x in leaves])

        a, b = grads(mixed, MixedBatch(batch, rows)), grads(sft, rows)
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert cosine > 1 - 1e-9
