"""Packed rows against one sequence per row, with a real transformer."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import losses
from jaxalign.losses import Pair, dpo_loss, sft_loss
from jaxalign.models import backbone_of
from jaxalign.objectives import (
    bind,
    bind_token_loss,
    by_completion,
    completion_mask,
    mean_logits,
    token_accuracy,
    token_entropy,
    token_statistics,
)
from tests.rows import Prompted, packed_batch, plain_batch, random_examples
from tests.tiny import apply_of, make_model, make_params

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
    options: Any = {"label_smoothing": 0.1, "z_loss": 0.01}
    options |= {"metrics": (token_accuracy, token_entropy), "entropy": True}
    plain = bind(sft_loss, apply_of(model), **options)
    expected = update_of(plain, params, plain_batch(examples, LENGTH))
    rows = packed_batch([examples[:2], examples[2:], []], 3 * LENGTH, 20)
    for make in (bind, bind_token_loss):
        packed = make(sft_loss, backbone_of(model), chunk_size=16, **options)
        got = update_of(packed, params, rows)
        assert got[0][1].keys() == {"mean_token_accuracy", "entropy"}
        chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)


def test_packed_dpo_is_plain_dpo():
    """Although each prompt is held once, with both responses behind it."""
    model, params = setup()
    rng = np.random.default_rng(1)
    examples = random_examples(rng, 5, V, responses=2, longest=5)
    ref = -rng.gamma(2.0, size=V).astype(np.float32)
    options: Any = {"metrics": [mean_logits], "beta": 0.4}
    plain = bind(dpo_loss, apply_of(model), **options)
    packed = bind(dpo_loss, backbone_of(model), chunk_size=16, **options)
    expected = update_of(plain, params, plain_batch(examples, LENGTH, ref))
    rows = [examples[:2], examples[2:], []]
    got = update_of(packed, params, packed_batch(rows, 3 * LENGTH, 24, ref))
    assert {"logits/chosen", "logits/rejected", "rewards/margins"} <= got[0][1].keys()
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)


def test_the_policy_as_its_own_reference_gives_log_two():
    """Reference log-probabilities as they are made before a run."""
    model, params = setup()
    examples = random_examples(np.random.default_rng(2), 3, V, responses=2, longest=5)
    batch = packed_batch([examples[:2], examples[2:]], 3 * LENGTH, 20)
    stats = jax.jit(token_statistics(backbone_of(model), chunk_size=16))
    batch = batch.with_tokens(ref_logps=stats(params, batch.tokens).logps)
    objective = bind(dpo_loss, backbone_of(model), chunk_size=16)
    out = jax.jit(objective)(params, batch, KEY)
    np.testing.assert_allclose(out.loss.value, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(out.metrics["rewards/margins"].value, 0, atol=1e-6)


def loops_by_response(values, start, length):
    """`[R, P]` lists: the values of each response, and how many."""
    return [
        [values[r, s : s + n].tolist() for s, n in zip(*row, strict=True)]
        for r, row in enumerate(zip(start, length, strict=True))
    ]


def test_target_slots_by_completion():
    rng = np.random.default_rng(3)
    examples = random_examples(rng, 4, V, responses=2)
    batch = packed_batch([examples[:3], [], examples[3:]], 60, 40)
    values = rng.normal(size=(3, 40)).astype(np.float32)
    found = by_completion(batch, jnp.asarray(values))
    mask = completion_mask(batch)
    assert found.shape == mask.shape == (3, 3, 2, 40)
    for side in (0, 1):
        where = (np.asarray(x)[..., side] for x in (batch.start, batch.length))
        for r, row in enumerate(loops_by_response(values, *where)):
            for p, response in enumerate(row):
                here = np.asarray(mask[r, p, side])
                assert here.sum() == len(response)
                got = np.asarray(found[r, p, side])[here]
                np.testing.assert_array_equal(got, response)
    targets = by_completion(batch, batch.tokens.target_ids, longest=9)
    expected = examples[3].responses[1]
    assert targets.shape == (3, 3, 2, 9)
    assert targets[2, 0, 1, : len(expected)].tolist() == expected


def test_a_pair_of_one_response_is_left_out():
    model, params = setup()
    examples = [Prompted([1, 2], [[3], []]), Prompted([4], [[5, 6], [7]])]
    batch = packed_batch([examples], LENGTH, 6)
    objective = bind(dpo_loss, backbone_of(model))
    assert jax.jit(objective)(params, batch, KEY).loss.weight == 1


@pytest.mark.parametrize("pack", [False, True])
def test_a_loss_is_given_what_it_names(pack):
    """No reference where it names none; arrays as pairs, also without annotations."""
    model, params = setup()
    examples = random_examples(np.random.default_rng(0), 2, V, responses=2, longest=4)
    seen = {}

    def loss(policy, mask, *, gamma):
        seen.update(gamma=gamma, kinds=(type(policy), type(mask)))
        return dpo_loss(policy, policy, mask)

    if pack:
        objective = bind(loss, backbone_of(model), gamma=3)
        batch = packed_batch([examples], 30, 20)
    else:
        objective = bind(loss, apply_of(model), gamma=3)
        batch = plain_batch(examples, LENGTH)
    jax.eval_shape(objective, params, batch, KEY)
    assert seen == {"gamma": 3, "kinds": (Pair, Pair)}


def test_what_cannot_be_read_is_refused_by_name():
    model, params = setup()
    one, two = (
        random_examples(np.random.default_rng(0), 2, V, responses=n) for n in (1, 2)
    )
    packed, single = (packed_batch([x], 40, 30) for x in (two, one))
    plain = plain_batch(two, LENGTH)

    def unknown(policy, temper, mask):
        return dpo_loss(policy, temper, mask)

    with pytest.raises(ValueError, match="unknown reads `temper`"):
        bind(unknown, backbone_of(model))
    cases = [
        (
            dpo_loss,
            backbone_of(model),
            packed._replace(per_token={}),
            "`ref_logps`.*column",
        ),
        (
            dpo_loss,
            backbone_of(model),
            packed_batch([one], 40, 30),
            "`policy` of pairs",
        ),
        (dpo_loss, apply_of(model), packed, "this batch is packed"),
        (losses.tdpo1_loss, apply_of(model), plain, "`kl`.*Backbone"),
        (losses.mappo_loss, backbone_of(model), packed, "`margin`.*no labels"),
        (losses.ppo_value_loss, backbone_of(model), packed, "critic="),
    ]
    for loss, made, batch, text in cases:
        both = (params, params) if loss is losses.tdpo1_loss else params
        with pytest.raises(ValueError, match=text):
            jax.eval_shape(bind(loss, made), both, batch, KEY)
