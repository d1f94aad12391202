"""Packed rows against one sequence per row, with a real transformer."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.losses import Pair, dpo_loss
from jaxalign.objectives import (
    dpo_objective,
    logits_stats,
    packed_preference_objective,
    packed_sft_objective,
    packed_stats,
    preference_objective,
    sft_objective,
)
from tests.rows import (
    Prompted,
    pair_batch,
    plain_pairs,
    plain_tokens,
    random_examples,
    token_batch,
)
from tests.tiny import apply_of, backbone_of, make_model, make_params

V, LENGTH = 32, 12
KEY = jax.random.key(0)


@functools.cache
def setup():
    # Softcapped, with rows of padding in the unembedding.
    model = make_model(V, final_softcap=5.0, vocab_rows=V + 4)
    return model, make_params(model)


def update_of(objective, params, batch):
    """The mean, its gradient and all metrics."""

    def value(params):
        out = objective(params, batch, KEY)
        return out.loss.value, {name: m.value for name, m in out.metrics.items()}

    return jax.jit(jax.value_and_grad(value, has_aux=True))(params)


def test_packed_sft_is_plain_sft():
    model, params = setup()
    examples = random_examples(np.random.default_rng(0), 5, V, responses=1)
    options = {"label_smoothing": 0.1, "z_loss": 0.01}
    plain = sft_objective(logits_stats(apply_of(model), entropy=True), **options)
    packed = packed_sft_objective(
        backbone_of(model), chunk_size=16, entropy=True, **options
    )
    expected = update_of(plain, params, plain_tokens(examples, 0, LENGTH))
    rows = [examples[:2], examples[2:], []]
    got = update_of(packed, params, token_batch(rows, 3 * LENGTH, 20))
    assert got[0][1].keys() == {"mean_token_accuracy", "entropy"}
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)


def test_packed_dpo_is_plain_dpo():
    """Although each prompt is held once, with both responses behind it."""
    model, params = setup()
    rng = np.random.default_rng(1)
    examples = random_examples(rng, 5, V, responses=2, longest=5)
    ref = -rng.gamma(2.0, size=V).astype(np.float32)
    plain = dpo_objective(logits_stats(apply_of(model)), beta=0.4)
    packed = packed_preference_objective(
        dpo_loss, backbone_of(model), chunk_size=16, beta=0.4
    )
    expected = update_of(plain, params, plain_pairs(examples, LENGTH, ref))
    rows = [examples[:2], examples[2:], []]
    got = update_of(packed, params, pair_batch(rows, 3 * LENGTH, 24, ref))
    assert {"logits/chosen", "logits/rejected", "rewards/margins"} <= got[0][1].keys()
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)


def test_the_policy_as_its_own_reference_gives_log_two():
    """Reference log-probabilities as they are made before a run."""
    model, params = setup()
    examples = random_examples(np.random.default_rng(2), 3, V, responses=2, longest=5)
    batch = pair_batch([examples[:2], examples[2:]], 3 * LENGTH, 20)
    stats = jax.jit(packed_stats(backbone_of(model), chunk_size=16))
    batch = batch._replace(target_ref_logps=stats(params, batch.rows).logps)
    objective = packed_preference_objective(dpo_loss, backbone_of(model), chunk_size=16)
    out = jax.jit(objective)(params, batch, KEY)
    np.testing.assert_allclose(out.loss.value, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(out.metrics["rewards/margins"].value, 0, atol=1e-6)


def loops_by_response(values, start, length):
    """`[R, P]` lists: the values of each response, and how many."""
    return [
        [values[r, s : s + n].tolist() for s, n in zip(*row, strict=True)]
        for r, row in enumerate(zip(start, length, strict=True))
    ]


def test_pair_batch_hands_out_target_slots_by_response():
    rng = np.random.default_rng(3)
    examples = random_examples(rng, 4, V, responses=2)
    batch = pair_batch([examples[:3], [], examples[3:]], 60, 40)
    values = rng.normal(size=(3, 40)).astype(np.float32)
    batch = batch._replace(target_ref_logps=jnp.asarray(values))
    by_response, mask = batch.by_response(jnp.asarray(values)), batch.mask
    chex.assert_trees_all_equal(batch.ref_logps, by_response)
    for side in (0, 1):
        assert by_response[side].shape == mask[side].shape == (3, 3, 40)
        where = map(np.asarray, (batch.start[side], batch.length[side]))
        expected = loops_by_response(values, *where)
        for r, row in enumerate(expected):
            for p, response in enumerate(row):
                np.testing.assert_array_equal(mask[side][r, p].sum(), len(response))
                got = np.asarray(by_response[side][r, p])[np.asarray(mask[side][r, p])]
                np.testing.assert_array_equal(got, response)
    targets = batch.by_response(batch.rows.target_ids)
    assert (
        targets.rejected[2, 0, : len(examples[3].responses[1])].tolist()
        == (examples[3].responses[1])
    )


def test_a_pair_of_one_response_is_left_out():
    model, params = setup()
    examples = [Prompted([1, 2], [[3], []]), Prompted([4], [[5, 6], [7]])]
    batch = pair_batch([examples], LENGTH, 6)
    objective = packed_preference_objective(dpo_loss, backbone_of(model))
    assert jax.jit(objective)(params, batch, KEY).loss.weight == 1


@pytest.mark.parametrize("pack", [False, True])
def test_a_loss_without_reference_is_not_given_one(pack):
    model, params = setup()
    examples = random_examples(np.random.default_rng(0), 2, V, responses=2, longest=4)
    seen = {}

    def loss(policy: Pair, mask: Pair, *, gamma):
        seen["gamma"] = gamma
        return dpo_loss(policy, policy, mask)

    if pack:
        objective = packed_preference_objective(loss, backbone_of(model), gamma=3)
        batch = pair_batch([examples], 30, 20)
    else:
        objective = preference_objective(loss, logits_stats(apply_of(model)), gamma=3)
        batch = plain_pairs(examples, LENGTH, np.zeros(V, np.float32))
    jax.eval_shape(objective, params, batch, KEY)
    assert seen == {"gamma": 3}
