"""`config.json`: every field moves the logits, and nothing unknown gets by."""

import json
import shutil

import jax
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.models import (
    Rope,
    Transformer,
    load_params,
    logits,
    param_shapes,
    read_config,
)
from tests.models.cases import GOLDEN, load_case, place

ROPE = {"rope_parameters.rope_theta": 77.0}
EPS = {"rms_norm_eps": 0.3}
LLAMA = {"hidden_act": "gelu", "num_attention_heads": 2, "head_dim": 2, **EPS, **ROPE}
CAPS = {"attn_logit_softcapping": 1.0, "final_logit_softcapping": 3.0}
GEMMA = {"query_pre_attn_scalar": 2.0, "sliding_window": 3, **CAPS, **EPS}
SHARE = {"rope_parameters.partial_rotary_factor": 0.25}
FULL = ["full_attention"] * 4

CHANGES = {
    "llama": {**LLAMA, "attention_bias": True, "tie_word_embeddings": True},
    "llama_mqa": {"num_key_value_heads": 4, "mlp_bias": False, "hidden_act": "relu"},
    "llama_linear": {
        "rope_parameters.factor": 2.0,
        "rope_parameters.rope_type": "yarn",
    },
    "llama_llama3": {
        "rope_parameters.factor": 2.0,
        "rope_parameters.low_freq_factor": 0.5,
        "rope_parameters.high_freq_factor": 2.0,
        "rope_parameters.original_max_position_embeddings": 8,
    },
    "llama_yarn": {
        "rope_parameters.factor": 2.0,
        "rope_parameters.beta_fast": 3.0,
        "rope_parameters.beta_slow": 0.6,
        "rope_parameters.attention_factor": 1.5,
        "rope_parameters.original_max_position_embeddings": 8,
        "rope_parameters.truncate": False,
    },
    "llama_yarn_mscale": {
        "rope_parameters.mscale": 3.0,
        "rope_parameters.mscale_all_dim": 3.0,
    },
    "mistral": {"sliding_window": 3, "rms_norm_eps": 0.3},
    "qwen2_window": {"sliding_window": 3, "layer_types": FULL, **ROPE},
    "qwen3": {"attention_bias": False, "hidden_act": "relu", **EPS, **ROPE},
    "gemma": {"hidden_act": "silu", **EPS, **ROPE},
    "gemma2": {**GEMMA, "layer_types": FULL, "hidden_activation": "silu"},
    "gemma3_text": {
        **GEMMA,
        "rope_parameters.full_attention.factor": 2.0,
        "rope_parameters.full_attention.rope_theta": 77.0,
        "rope_parameters.sliding_attention.rope_theta": 77.0,
    },
    "gpt2": {
        "activation_function": "relu",
        "layer_norm_epsilon": 0.3,
        "scale_attn_weights": False,
        "n_head": 2,
    },
    "gpt_neox": {
        "use_parallel_residual": False,
        "layer_norm_eps": 0.3,
        "hidden_act": "relu",
        **SHARE,
        **ROPE,
    },
    "phi3": {"sliding_window": 3, "num_key_value_heads": 2, **SHARE, **EPS},
    "olmo2": {"hidden_act": "relu", **EPS, **ROPE},
    "smollm3": {"no_rope_layers": [1, 1, 1, 0], "sliding_window": 3, **ROPE},
}


def changed(folder, tmp_path, change):
    """A copy of a golden folder with some keys of its config changed."""
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    data = json.loads((copy / "config.json").read_text())
    for key, value in change.items():
        *outer, last = key.split(".")
        place_ = data
        for name in outer:
            place_ = place_[name]
        place_[last] = value
    (copy / "config.json").write_text(json.dumps(data))
    return copy


def fields():
    """Every field of every family; those of an earlier one too in the slow set."""
    seen = set()
    for name, keys in CHANGES.items():
        for key in keys:
            yield pytest.param(name, key, marks=[pytest.mark.slow] * (key in seen))
        seen |= keys.keys()


@pytest.mark.parametrize(("name", "key"), list(fields()))
def test_every_field_moves_the_logits(name, key, tmp_path):
    """Or its change is refused, because the weights do not fit any more."""
    case = load_case(name)
    folder = changed(case.folder, tmp_path, {key: CHANGES[name][key]})
    config = read_config(folder)
    assert config != case.config
    if param_shapes(config) != param_shapes(case.config):
        with pytest.raises(UserError, match=r"Missing|Not known|shape|ties"):
            load_params(folder, config)
        return
    rows = place(case, (3, 16), [(0, 0), (1, 0), (2, 0)])
    with jax.disable_jit():
        got = rows.pick(logits(Transformer(config), case.params, *rows.arrays))
    assert np.abs(got - case.logits["alone"]).max() > 1e-2


REFUSED = {
    "model_type": ("llama", "mamba"),
    "architectures": ("llama", ["LlamaForTokenClassification"]),
    "hidden_act": ("llama", "mish"),
    "rope_parameters.rope_type": ("llama", "longrope"),
    "rope_parameters.short_factor": ("phi3", [1.0]),
    "rope_parameters.rope_theta": ("llama", -1.0),
    "rope_scaling": ("llama", {"type": "dynamic", "factor": 2.0}),
    "rope_interleaved": ("llama", True),
    "sliding_window": ("llama", 4),
    "layer_types": ("qwen2", ["full_attention", "linear_attention"]),
    "num_hidden_layers": ("llama", 10**6),
    "hidden_size": ("llama", 2**40),
    "vocab_size": ("llama", 10**12),
    "num_attention_heads": ("gpt_neox", 3),
    "num_key_value_heads": ("llama", 3),
    "rms_norm_eps": ("llama", "small"),
    "attention_bias": ("llama", "yes"),
    "quantization_config": ("llama", {"bits": 4}),
    "use_bidirectional_attention": ("gemma3_text", True),
    "scale_attn_by_inverse_layer_idx": ("gpt2", True),
    "no_rope_layers": ("smollm3", [1, 0]),
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_is_unknown_or_impossible_is_named(key, tmp_path):
    name, value = REFUSED[key]
    folder = changed(GOLDEN / name, tmp_path, {key: value})
    with pytest.raises(UserError, match=key.split(".")[-1]) as error:
        read_config(folder)
    assert "config.json" in str(error.value)


def test_a_model_larger_than_its_files_is_refused_before_anything_is_made(tmp_path):
    change = {
        "intermediate_size": 2**17,
        "hidden_size": 2**16,
        "num_hidden_layers": 1000,
    }
    with pytest.raises(UserError, match="at least .* bytes"):
        read_config(changed(GOLDEN / "llama", tmp_path, change))


def test_code_beside_the_weights_is_not_run(tmp_path):
    folder = changed(GOLDEN / "llama", tmp_path, {"auto_map": {"AutoModel": "x.Evil"}})
    with pytest.warns(UserWarning, match="auto_map"):
        config = read_config(folder)
    assert config == load_case("llama").config


def without(data, *keys):
    return {k: v for k, v in data.items() if k not in keys}


LLAMA3_OLD = {
    "rope_theta": 100.0,
    "rope_scaling": {
        "type": "llama3",
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 3.0,
        "original_max_position_embeddings": 16,
    },
}
GEMMA3_OLD = {
    "rope_theta": 1000.0,
    "rope_local_base_freq": 50.0,
    "rope_scaling": {"rope_type": "linear", "factor": 4.0},
}
OLD = {
    "llama": {"rope_theta": 100.0, "rope_scaling": None},
    "llama_linear": {
        "rope_theta": 100.0,
        "rope_scaling": {"type": "linear", "factor": 3.0},
    },
    "llama_llama3": LLAMA3_OLD,
    "gemma3_text": GEMMA3_OLD,
    "gpt_neox": {"rotary_emb_base": 100, "rotary_pct": 0.5},
    "phi3": {"rope_theta": 100.0, "partial_rotary_factor": 0.75, "rope_scaling": None},
    "qwen2_window": {"rope_theta": 100.0},
    "gemma2": {"rope_theta": 100.0},
    "smollm3": {"rope_theta": 100.0},
}


@pytest.mark.parametrize("name", OLD)
def test_old_spellings_mean_the_same(name, tmp_path):
    copy = changed(GOLDEN / name, tmp_path, {})
    data = json.loads((copy / "config.json").read_text())
    new_keys = ("rope_parameters", "layer_types", "dtype", "no_rope_layers")
    old = {**without(data, *new_keys), **OLD[name], "torch_dtype": "float32"}
    (copy / "config.json").write_text(json.dumps(old))
    assert read_config(copy) == load_case(name).config


def test_two_spellings_that_disagree_are_refused(tmp_path):
    folder = changed(GOLDEN / "llama", tmp_path, {"rope_theta": 5.0})
    with pytest.raises(UserError, match="rope_theta"):
        read_config(folder)


def test_layers_of_gemma3_differ():
    config = load_case("gemma3_text").config
    local, whole = Rope(theta=50.0), Rope(theta=1000.0, scaling="linear", factor=4.0)
    assert config.windows == (4, 4, None, 4)
    assert config.ropes == (local, local, whole, local)
