"""The language model of a Gemma 3 that also reads images."""

import json
import logging
import pathlib
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxalign.errors import UserError
from jaxalign.models import (
    Transformer,
    check_weights,
    export_model,
    load_params,
    logits,
    read_config,
)
from jaxalign.models.hf.families import model_config
from jaxalign.models.hf.fields import Fields

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "multimodal" / "gemma3"


def golden():
    with np.load(GOLDEN / "golden.npz", allow_pickle=False) as file:
        return file["inputs"], file["logits"]


def difference(folder) -> float:
    """From transformers' logits of the whole model, for text."""
    inputs, expected = golden()
    config = read_config(folder)
    with jax.disable_jit():
        got = logits(Transformer(config), load_params(folder, config), inputs)
    return float(np.abs(np.asarray(got) - expected).max())


def renamed(folder, rename):
    tensors = load_file(folder / "model.safetensors")
    save_file({rename(k): v for k, v in tensors.items()}, folder / "model.safetensors")
    return folder


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(GOLDEN, tmp_path / "gemma3")


def test_logits_of_text_are_those_of_the_whole_model(caplog):
    with caplog.at_level(logging.WARNING, "jaxalign"):
        read_config.__globals__["_tell_once"].cache_clear()
        assert difference(GOLDEN) < 1e-5
    assert "only its language model is used, 23 tensors" in caplog.text
    assert len(caplog.records) == 1


def test_the_other_spelling_of_the_names_is_the_same_model(folder):
    def rename(name):
        inner = name.removeprefix("language_model.model.")
        return f"model.language_model.{inner}" if inner != name else f"model.{name}"

    assert difference(renamed(folder, rename)) < 1e-5
    check_weights(folder, read_config(folder))


def test_one_tensor_under_two_names_is_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    name = "language_model.model.norm.weight"
    tensors["model.language_model.norm.weight"] = tensors[name]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match="two names of one tensor"):
        read_config(folder)


def test_what_is_neither_text_nor_image_is_unknown(folder):
    def rename(name):
        return name.replace("vision_tower.post_layernorm", "audio_tower.norm")

    config = read_config(renamed(folder, rename))
    with pytest.raises(UserError, match=r"Not known: `audio_tower\.norm\.bias"):
        check_weights(folder, config)


def test_an_export_is_the_language_model_alone(folder, tmp_path):
    config = read_config(folder)
    out = tmp_path / "out"
    export_model(out, config, load_params(folder, config), source=folder)
    data = json.loads((out / "config.json").read_text())
    assert data["architectures"] == ["Gemma3ForCausalLM"]
    assert data["model_type"] == "gemma3_text"
    assert not {"vision_config", "text_config", "image_token_index"} & data.keys()
    assert (data["hidden_size"], data["eos_token_id"]) == (16, 2)
    names = load_file(out / "model.safetensors").keys()
    assert "model.layers.3.mlp.up_proj.weight" in names
    assert not [x for x in names if "vision" in x or "language_model" in x]
    assert difference(out) < 1e-5


def published(**text):
    """`config.json` as the 4B model on the hub has it: most of it is left out."""
    small = {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    }
    whole = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {**small, **text},
        "vision_config": {"hidden_size": 1152},
        "torch_dtype": "bfloat16",
    }
    return Fields(whole, "config.json")


def test_what_a_published_file_leaves_out_has_its_default():
    config = model_config(published())
    assert config.family == "gemma3_text"
    assert (config.vocab_size, config.num_heads, config.num_kv_heads) == (262_208, 8, 4)
    assert (config.head_dim, config.max_positions) == (256, 131_072)
    assert config.tie_embeddings
    assert sum(w is None for w in config.windows) == 5
    assert {w for w in config.windows if w} == {1024}
    kinds = list(zip(config.ropes, config.windows, strict=True))
    whole = {r for r, w in kinds if r and not w}
    near = {r for r, w in kinds if r and w}
    assert [(r.theta, r.factor) for r in whole] == [(1e6, 8.0)]
    assert [(r.theta, r.factor) for r in near] == [(1e4, 1.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"model_type": "llama"}, "text_config: `model_type`"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"num_attention_heads": "8"}, "num_attention_heads"),
    ],
)
def test_a_text_part_of_another_kind_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        model_config(published(**text))
