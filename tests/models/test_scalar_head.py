"""Scalar heads against scores of transformers, and folders of reward models."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.models import (
    PARTITION_RULES,
    PadToken,
    Transformer,
    export_model,
    init_params,
    load_params,
    load_with_new_score,
    param_shapes,
    read_config,
    scalar_scores,
    unembedding,
    with_score_head,
)
from jaxalign.models.transformer import init_score
from jaxalign.parallel import make_mesh, shardings
from tests.models.cases import GOLDEN, SCORES, load_case, place
from tests.models.test_export import tensors

FAMILIES = sorted(p.parent.name for p in SCORES.glob("*/golden.npz"))
SHAPE = (3, 32)
LAYOUTS = {
    "alone": [(0, 0), (1, 0), (2, 0)],
    "right": [(0, 0), (1, 0), (2, 0)],
    "left": [(0, 20), (1, 25), (2, 28)],
    "packed": [(0, 0), (0, 12), (0, 19)],
    "packed apart": [(1, 20), (1, 1), (2, 5)],
}


def scores_of(case, starts, shape=SHAPE):
    """The scores [3] of the case's sequences, wherever they lie."""
    rows = place(case, shape, starts)
    at = np.zeros((shape[0], 3), np.int32)
    for i, (row, where) in enumerate(rows.where):
        at[row, i] = where.stop - 1
    model = Transformer(case.config)

    @jax.jit
    def run(params, inputs, at, *rest):
        return scalar_scores(model, params, inputs, at, *rest)

    inputs, *rest = rows.arrays
    got = np.asarray(run(case.params, inputs, at, *rest))
    return np.array([got[row, i] for i, (row, _) in enumerate(rows.where)])


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_are_those_of_transformers(name):
    case = load_case(name, SCORES)
    assert case.config.head == "score"
    for layout, starts in LAYOUTS.items():
        wanted = case.logits.get(layout, case.logits["alone"])
        got = scores_of(case, starts)
        np.testing.assert_allclose(got, wanted, atol=1e-4, rtol=0, err_msg=layout)


def test_fault_10_the_score_is_read_at_the_last_real_token():
    """Also where the stop token is the pad token, on either side, in any width."""
    case = load_case("llama", SCORES)
    inputs = case.inputs.copy()
    inputs[np.arange(3), case.lengths - 1] = 0  # padding is 0 as well
    case = dataclasses.replace(case, inputs=inputs)
    expected = scores_of(case, LAYOUTS["alone"])
    for shape, starts in (
        (SHAPE, LAYOUTS["left"]),
        (SHAPE, LAYOUTS["packed"]),
        ((3, 40), [(0, 28), (1, 3), (2, 0)]),
    ):
        np.testing.assert_allclose(scores_of(case, starts, shape), expected, atol=1e-5)
    case.inputs[np.arange(3), case.lengths - 1] = 5
    assert np.abs(scores_of(case, LAYOUTS["alone"]) - expected).min() > 1e-2


@pytest.mark.parametrize("name", FAMILIES)
def test_a_reward_model_comes_back_bit_equal(name, tmp_path):
    case = load_case(name, SCORES)
    out = export_model(tmp_path / "out", case.config, case.params, source=case.folder)
    before, after = tensors(case.folder), tensors(out)
    assert before.keys() == after.keys()
    assert after["score.weight"].shape == (1, case.config.hidden_size)
    assert all(np.array_equal(before[k], after[k]) for k in before)
    text = (case.folder / "config.json").read_bytes()
    assert (out / "config.json").read_bytes() == text


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3_text", "gpt_neox"])
def test_a_language_model_becomes_a_reward_model(name, tmp_path):
    source = GOLDEN / name
    config = with_score_head(read_config(source))
    params = load_with_new_score(source, config, jax.random.key(3))
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), param_shapes(config))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), params) == shapes
    config = dataclasses.replace(config, score_bias=-1.5)
    out = export_model(tmp_path / "out", config, params, source=source)
    assert read_config(out) == config
    again = load_params(out, config)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, params))

    before, after = tensors(source), tensors(out)
    heads = before.keys() & {"lm_head.weight", "embed_out.weight"}
    assert after.keys() == before.keys() - heads | {"score.weight"}
    assert all(np.array_equal(before[k], after[k]) for k in before.keys() - heads)
    told, tells = (json.loads((x / "config.json").read_text()) for x in (source, out))
    architecture = tells["architectures"][0]
    assert architecture.endswith("ForSequenceClassification")
    assert tells["num_labels"] == len(tells["id2label"]) == 1
    assert "problem_type" not in tells
    changed = {"architectures", "num_labels", "id2label", "label2id", "score_bias"}
    assert {k: v for k, v in tells.items() if k not in changed} == {
        k: v for k, v in told.items() if k not in changed
    }


def test_a_reward_model_from_nothing_gets_a_config(tmp_path):
    config = dataclasses.replace(
        with_score_head(read_config(GOLDEN / "llama")), score_bias=0.25
    )
    params = jax.jit(lambda k: init_params(Transformer(config), k))(jax.random.key(0))
    assert "unembed" not in params
    out = export_model(tmp_path / "out", config, params)
    assert read_config(out) == config


def test_the_pad_token_is_one_that_ends_no_sequence(tmp_path):
    source = shutil.copytree(SCORES / "llama", tmp_path / "source")
    (source / "tokenizer_config.json").write_text('{"pad_token": {"content": "</s>"}}')
    (source / "special_tokens_map.json").write_text('{"eos_token": "</s>"}')
    case = load_case("llama", SCORES)

    def export(name, source, pad):
        return export_model(
            tmp_path / name, case.config, case.params, source=source, pad=pad
        )

    out = export("out", source, PadToken(31, "<pad>"))
    assert json.loads((out / "config.json").read_text())["pad_token_id"] == 31
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        assert json.loads((out / name).read_text())["pad_token"] == "<pad>"
    again = export("again", out, PadToken(31, "<pad>"))
    kept = export("kept", source, None)
    for name in ("config.json", "tokenizer_config.json", "special_tokens_map.json"):
        assert (again / name).read_bytes() == (out / name).read_bytes()
        assert (kept / name).read_bytes() == (source / name).read_bytes()


def test_a_bias_is_added_to_every_score():
    case = load_case("gpt2", SCORES)
    config = dataclasses.replace(case.config, score_bias=2.5)
    shifted = scores_of(dataclasses.replace(case, config=config), LAYOUTS["alone"])
    np.testing.assert_allclose(shifted, case.logits["alone"] + 2.5, atol=1e-4)


def test_a_fresh_head_has_the_published_spread():
    d = 4095
    kernel = init_score(d, jax.random.key(0))["kernel"]
    assert kernel.shape == (d, 1)
    assert kernel.dtype == np.float32
    # Of 4095 draws with deviation 1/64; four standard errors.
    np.testing.assert_allclose(kernel.std(), 1 / 64, rtol=4 / (2 * d) ** 0.5)


def test_a_fresh_head_lies_where_its_rule_says():
    config = with_score_head(read_config(GOLDEN / "llama"))
    mesh = make_mesh({"fsdp": 4, "tensor": 2})
    places = shardings(PARTITION_RULES, mesh, param_shapes(config))
    key = jax.random.key(0)
    spread = load_with_new_score(GOLDEN / "llama", config, key, places)
    assert jax.tree.map(lambda x: x.sharding, spread) == places
    whole = load_with_new_score(GOLDEN / "llama", config, key)
    assert jax.tree.all(jax.tree.map(np.array_equal, spread, whole))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": {"0": "BAD", "1": "GOOD"}}, "`id2label` .* one label is wanted"),
        ({"num_labels": 3}, "`num_labels` is 3; one label"),
        ({"id2label": None}, "one label"),
        ({"score_bias": "high"}, "`score_bias` is 'high'; a finite number"),
        ({"score_bias": float("nan")}, "finite number"),
        ({"architectures": ["LlamaForTokenClassification"]}, "a reward model"),
    ],
)
def test_another_head_is_refused(tmp_path, changes, message):
    data = json.loads((SCORES / "llama" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**data, **changes}))
    with pytest.raises(UserError, match=message):
        read_config(tmp_path)


def test_heads_are_not_mixed_up():
    reward, language = load_case("llama", SCORES), load_case("llama")
    with pytest.raises(ValueError, match="has no unembedding"):
        unembedding(Transformer(reward.config), reward.params)
    ids = np.zeros((1, 2), np.int32)
    with pytest.raises(ValueError, match="gives no scores"):
        scalar_scores(Transformer(language.config), language.params, ids, ids)
