"""`config.json` of Gemma 1, 2 and 3."""

from typing import Any

from jaxalign.models.hf.fields import Fields
from jaxalign.models.hf.keys import MOST, llama_like, one_window, some_windows
from jaxalign.models.hf.rope import layer_type_section, rope, theta


def _gemma(f: Fields, *activation: str, **options: Any) -> dict[str, Any]:
    f.refuse("use_bidirectional_attention", unless=(False,))
    tanh = "gelu_pytorch_tanh"
    config = llama_like(
        f,
        head_dim=256,
        activation=activation,
        default_activation=tanh,
        tied=True,
        **options,
    )
    scale = config["hidden_size"] ** 0.5
    return {**config, "norm_plus_one": True, "embed_scale": scale}


def gemma(f: Fields) -> dict[str, Any]:
    """Gemma 1."""
    if f.get("hidden_activation", "hidden_act") == "gelu":
        raise f.wrong(
            "hidden_act",
            "old files say gelu and mean gelu_pytorch_tanh: set hidden_activation",
        )
    config = _gemma(f, "hidden_activation", "hidden_act")
    return {**config, "windows": one_window(f, config["num_layers"])}


def _softcap(f: Fields, key: str, default: float | None) -> float | None:
    value = f.data.get(key, default)
    return None if value is None else f.number(key, default=default)


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
    pattern = f.size(*keys, most=MOST["layers"], default=default)
    # The default of transformers, where a published file leaves it out.
    if "sliding_window" not in f.data:
        f = Fields({**f.data, "sliding_window": 4096}, f.where)
    return {"windows": some_windows(f, layers, lambda i: (i + 1) % pattern != 0)}


def gemma3_text(f: Fields) -> dict[str, Any]:
    """Gemma 3, text only: local layers rotate with a base of their own."""
    base, whole = 1_000_000.0, layer_type_section(f, "full_attention")
    config = _gemma(f, "hidden_activation", base=base, section=whole)
    windows = _gemma_windows(f, config["num_layers"], 6)["windows"]
    local = layer_type_section(f, "sliding_attention", flat={})
    full = config["ropes"][0]
    near = rope(f, local, theta(f, local, 10_000.0, "rope_local_base_freq"))
    return {
        **config,
        **_gemma2_extras(f, None, None),
        "windows": windows,
        "ropes": tuple(full if w is None else near for w in windows),
        "qk_norm": "head",
    }
