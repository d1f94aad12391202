"""What each family of `config.json` files means."""

from collections.abc import Callable
from typing import Any

from jaxalign.models.config import ModelConfig, Rope
from jaxalign.models.fields import Fields
from jaxalign.models.hf_rope import (
    layer_type_section,
    rope,
    rope_section,
    rotary_dim,
    theta,
)

_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_MOST = {"width": 1 << 17, "layers": 1 << 10, "vocabulary": 1 << 22, "length": 1 << 30}


def _sizes(f: Fields, *, head_dim: int | None = None) -> dict[str, Any]:
    """What all families but GPT-2 call by the same names."""
    hidden = f.size("hidden_size", most=_MOST["width"])
    heads = f.size("num_attention_heads", most=1 << 12)
    if f.get("head_dim", default=head_dim) is None and hidden % heads:
        raise f.wrong("num_attention_heads", f"it does not divide hidden_size {hidden}")
    width = f.size("head_dim", most=1 << 14, default=head_dim or hidden // heads)
    kv_heads = f.size("num_key_value_heads", most=1 << 12, default=heads)
    if heads % kv_heads:
        raise f.wrong("num_key_value_heads", f"it must divide the {heads} heads")
    return {
        "vocab_size": f.size("vocab_size", most=_MOST["vocabulary"]),
        "hidden_size": hidden,
        "intermediate_size": f.size("intermediate_size", most=_MOST["width"] * 8),
        "num_layers": f.size("num_hidden_layers", most=_MOST["layers"]),
        "num_heads": heads,
        "num_kv_heads": kv_heads,
        "head_dim": width,
        "attention_scale": width**-0.5,
        "max_positions": f.size(
            "max_position_embeddings", most=_MOST["length"], default=2048
        ),
    }


def _activation(f: Fields, *keys: str, default: str = "silu") -> Any:
    return f.choice(*keys, among=_ACTIVATIONS, default=default)


def _one_rope(f: Fields, sizes, base=10_000.0, share=1.0, key="rope_theta"):
    """The same rotation in every layer."""
    section = rope_section(f)
    dim = rotary_dim(f, section, sizes["head_dim"], share)
    kind = rope(f, section, theta(f, section, base, key))
    return {"ropes": (kind,) * sizes["num_layers"], "rotary_dim": dim}


def _one_window(f: Fields, layers: int, default: int | None = None):
    """The same sliding window in every layer, or none."""
    window = default
    if "sliding_window" in f.data:
        window = f.get("sliding_window")
    if window is not None:
        window = f.size("sliding_window", most=_MOST["length"], default=default)
    kind = "full_attention" if window is None else "sliding_attention"
    if set(f.get("layer_types", default=[kind])) != {kind}:
        raise f.wrong("layer_types", f"all layers of this family are `{kind}`")
    return (window,) * layers


def _windows(f: Fields, layers: int, sliding: Callable[[int], bool]):
    """A window on some layers: those of `layer_types`, else where `sliding` says."""
    kinds = f.get("layer_types")
    if kinds is None:
        kinds = [
            "sliding_attention" if sliding(i) else "full_attention"
            for i in range(layers)
        ]
    known = {"full_attention", "sliding_attention"}
    if not isinstance(kinds, list) or len(kinds) != layers or set(kinds) - known:
        raise f.wrong("layer_types", f"wanted are {layers} of {sorted(known)}")
    if "sliding_attention" not in kinds:
        return (None,) * layers
    window = f.size("sliding_window", most=_MOST["length"])
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


def _optional_windows(f: Fields, layers: int, sliding: Callable[[int], bool]):
    """The same for families with the switch `use_sliding_window`."""
    on = f.flag("use_sliding_window", False) and f.get("sliding_window") is not None
    if not on and "sliding_attention" in f.get("layer_types", default=[]):
        raise f.wrong("use_sliding_window", "`layer_types` names sliding layers")
    return _windows(f, layers, lambda i: on and sliding(i))


def _base(
    f: Fields,
    *,
    head_dim: int | None = None,
    activation: tuple[str, ...] = ("hidden_act",),
    default_activation: str = "silu",
    eps: float = 1e-6,
    tied: bool = False,
    base: float = 10_000.0,
    biases: bool = True,
) -> dict[str, Any]:
    """What the families that grew out of Llama share: all but windows."""
    sizes = _sizes(f, head_dim=head_dim)
    bias = biases and f.flag("attention_bias", False)
    return {
        **sizes,
        **_one_rope(f, sizes, base),
        "norm_eps": f.number("rms_norm_eps", default=eps),
        "activation": _activation(f, *activation, default=default_activation),
        "tie_embeddings": f.flag("tie_word_embeddings", tied),
        "qkv_bias": bias,
        "out_bias": bias,
    }


def llama(f: Fields) -> dict[str, Any]:
    """Llama 1 to 3, SmolLM, TinyLlama, Yi, ..."""
    f.refuse("rope_interleaved", unless=(False,))
    config = _base(f)
    windows = _one_window(f, config["num_layers"])
    if windows[0] is not None:
        raise f.wrong("sliding_window", "`llama` models have full attention")
    return {**config, "windows": windows, "mlp_bias": f.flag("mlp_bias", False)}


def mistral(f: Fields) -> dict[str, Any]:
    """Mistral: one sliding window, or none."""
    config = _base(f, biases=False)
    return {**config, "windows": _one_window(f, config["num_layers"], 4096)}


def qwen2(f: Fields) -> dict[str, Any]:
    """Qwen 2 and 2.5: biases on query, key and value only."""
    config = _base(f, biases=False)
    first = f.get("max_window_layers", default=28)
    windows = _optional_windows(f, config["num_layers"], lambda i: i >= first)
    return {**config, "windows": windows, "qkv_bias": True}


def qwen3(f: Fields) -> dict[str, Any]:
    """Qwen 3 (dense): norms on the queries and keys of each head."""
    config = _base(f, head_dim=128)
    first = f.get("max_window_layers", default=28)
    windows = _optional_windows(f, config["num_layers"], lambda i: i >= first)
    return {**config, "windows": windows, "qk_norm": "head"}


def smollm3(f: Fields) -> dict[str, Any]:
    """SmolLM3: every fourth layer has no position information."""
    config = _base(f, tied=True, base=2_000_000.0)
    layers = config["num_layers"]
    every = f.get("no_rope_layer_interval", default=4)
    rotated = f.get("no_rope_layers")
    if rotated is None:
        rotated = [int((i + 1) % every != 0) for i in range(layers)]
    if len(rotated) != layers or set(rotated) - {0, 1}:
        raise f.wrong("no_rope_layers", f"wanted are {layers} zeros (no rope) and ones")
    ropes = [r if on else None for r, on in zip(config["ropes"], rotated, strict=True)]
    return {
        **config,
        "ropes": tuple(ropes),
        "windows": _optional_windows(f, layers, lambda i: not rotated[i]),
        "mlp_bias": f.flag("mlp_bias", False),
    }


def olmo2(f: Fields) -> dict[str, Any]:
    """OLMo 2: norms after attention and MLP, and on whole queries and keys."""
    config = _base(f, eps=1e-5)
    windows = _one_window(f, config["num_layers"])
    norms = {"pre_norm": False, "post_norm": True, "qk_norm": "projection"}
    return {**config, "windows": windows, **norms}


def phi3(f: Fields) -> dict[str, Any]:
    """Phi 3 and Phi 4 mini, without LongRoPE."""
    config = _base(f, eps=1e-5, biases=False)
    return {**config, "windows": _one_window(f, config["num_layers"])}


def _gemma(f: Fields, *activation: str, base: float = 10_000.0) -> dict[str, Any]:
    f.refuse("use_bidirectional_attention", unless=(False,))
    config = _base(
        f,
        head_dim=256,
        activation=activation,
        default_activation="gelu_pytorch_tanh",
        tied=True,
        base=base,
    )
    scale = config["hidden_size"] ** 0.5
    return {**config, "norm_plus_one": True, "embed_scale": scale}


def gemma(f: Fields) -> dict[str, Any]:
    """Gemma 1."""
    if f.get("hidden_activation", "hidden_act") == "gelu":
        raise f.wrong(
            "hidden_act",
            "old Gemma files say gelu and mean gelu_pytorch_tanh: set hidden_activation",
        )
    config = _gemma(f, "hidden_activation", "hidden_act")
    return {**config, "windows": _one_window(f, config["num_layers"])}


def _softcap(f: Fields, key: str, default: float | None) -> float | None:
    if key in f.data and f.data[key] is None:
        return None
    return (
        None if f.get(key, default=default) is None else f.number(key, default=default)
    )


def gemma2(f: Fields) -> dict[str, Any]:
    """Gemma 2: soft caps, four norms a layer, a window on every other layer."""
    config = _gemma(f, "hidden_activation")
    layers = config["num_layers"]
    return {**config, **_gemma2_extras(f, 50.0, 30.0), **_gemma_windows(f, layers, 2)}


def _gemma2_extras(f: Fields, attention_cap, final_cap) -> dict[str, Any]:
    return {
        "post_norm": True,
        "attention_scale": f.number("query_pre_attn_scalar", default=256) ** -0.5,
        "attention_softcap": _softcap(f, "attn_logit_softcapping", attention_cap),
        "final_softcap": _softcap(f, "final_logit_softcapping", final_cap),
    }


def _gemma_windows(f: Fields, layers: int, default: int) -> dict[str, Any]:
    keys = ("sliding_window_pattern", "_sliding_window_pattern")
    pattern = f.size(*keys, most=_MOST["layers"], default=default)
    if "sliding_window" not in f.data:
        f = Fields({**f.data, "sliding_window": 4096}, f.where)
    return {"windows": _windows(f, layers, lambda i: (i + 1) % pattern != 0)}


def gemma3_text(f: Fields) -> dict[str, Any]:
    """Gemma 3, text only: local layers rotate with a base of their own."""
    config = _gemma(f, "hidden_activation", base=1_000_000.0)
    layers = config["num_layers"]
    windows = _gemma_windows(f, layers, 6)["windows"]
    nested = {"full_attention", "sliding_attention"} & set(rope_section(f).data)
    local_key, local_base = "rope_local_base_freq", 10_000.0
    if nested:
        whole, local = (
            layer_type_section(f, kind)
            for kind in ("full_attention", "sliding_attention")
        )
        full = rope(f, whole, theta(f, whole, 1_000_000.0, "rope_theta"))
        near = rope(f, local, theta(f, local, local_base, local_key))
    else:
        full, near = (
            config["ropes"][0],
            Rope(theta=f.number(local_key, default=local_base)),
        )
    return {
        **config,
        **_gemma2_extras(f, None, None),
        "windows": windows,
        "ropes": tuple(full if w is None else near for w in windows),
        "qk_norm": "head",
    }


def gpt_neox(f: Fields) -> dict[str, Any]:
    """GPT-NeoX and Pythia: LayerNorm, parallel residual, partly rotated heads."""
    sizes = _sizes(f)
    f.refuse("is_decoder", unless=(False,))
    bias = f.flag("attention_bias", True)
    return {
        **sizes,
        **_one_rope(f, sizes, 10_000.0, 0.25, "rotary_emb_base"),
        "windows": _one_window(f, sizes["num_layers"]),
        "norm": "layer",
        "norm_eps": f.number("layer_norm_eps", default=1e-5),
        "parallel_residual": f.flag("use_parallel_residual", True),
        "gated_mlp": False,
        "activation": _activation(f, "hidden_act", default="gelu"),
        "tie_embeddings": f.flag("tie_word_embeddings", False),
        "qkv_bias": bias,
        "out_bias": bias,
        "mlp_bias": True,
    }


def gpt2(f: Fields) -> dict[str, Any]:
    """GPT-2: LayerNorm, learned positions, biases everywhere."""
    f.refuse("scale_attn_by_inverse_layer_idx", unless=(False,))
    f.refuse("add_cross_attention", unless=(False,))
    hidden = f.size("n_embd", "hidden_size", most=_MOST["width"])
    heads = f.size("n_head", "num_attention_heads", most=1 << 12)
    layers = f.size("n_layer", "num_hidden_layers", most=_MOST["layers"])
    if hidden % heads:
        raise f.wrong("n_head", f"it does not divide the width {hidden}")
    scaled = f.flag("scale_attn_weights", True)
    return {
        "vocab_size": f.size("vocab_size", most=_MOST["vocabulary"]),
        "hidden_size": hidden,
        "intermediate_size": f.size(
            "n_inner", most=_MOST["width"] * 8, default=4 * hidden
        ),
        "num_layers": layers,
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": hidden // heads,
        "attention_scale": (hidden // heads) ** -0.5 if scaled else 1.0,
        "max_positions": f.size(
            "n_positions",
            "max_position_embeddings",
            most=_MOST["vocabulary"],
            default=1024,
        ),
        "windows": (None,) * layers,
        "ropes": (None,) * layers,
        "learned_positions": True,
        "norm": "layer",
        "norm_eps": f.number("layer_norm_epsilon", default=1e-5),
        "gated_mlp": False,
        "activation": _activation(f, "activation_function", default="gelu_new"),
        "tie_embeddings": f.flag("tie_word_embeddings", True),
        "qkv_bias": True,
        "out_bias": True,
        "mlp_bias": True,
    }


FAMILIES: dict[str, tuple[str, Callable[[Fields], dict[str, Any]]]] = {
    "llama": ("LlamaForCausalLM", llama),
    "mistral": ("MistralForCausalLM", mistral),
    "qwen2": ("Qwen2ForCausalLM", qwen2),
    "qwen3": ("Qwen3ForCausalLM", qwen3),
    "gemma": ("GemmaForCausalLM", gemma),
    "gemma2": ("Gemma2ForCausalLM", gemma2),
    "gemma3_text": ("Gemma3ForCausalLM", gemma3_text),
    "gpt2": ("GPT2LMHeadModel", gpt2),
    "gpt_neox": ("GPTNeoXForCausalLM", gpt_neox),
    "phi3": ("Phi3ForCausalLM", phi3),
    "olmo2": ("Olmo2ForCausalLM", olmo2),
    "smollm3": ("SmolLM3ForCausalLM", smollm3),
}
"""`model_type` -> its architecture, and the function that reads its fields."""


def model_config(f: Fields) -> ModelConfig:
    """The config of any known family; `UserError` names what is unknown."""
    family = f.get("model_type")
    if family not in FAMILIES:
        raise f.wrong("model_type", f"known are {', '.join(FAMILIES)}")
    architecture, read = FAMILIES[family]
    if f.get("architectures", default=[architecture]) != [architecture]:
        raise f.wrong("architectures", f"for `{family}` it must be [{architecture!r}]")
    f.refuse("quantization_config", unless=({},))
    return ModelConfig(family=family, **read(f))
