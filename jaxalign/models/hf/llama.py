"""`config.json` of Llama and of the families that grew out of it."""

from typing import Any

from jaxalign.models.hf.fields import Fields
from jaxalign.models.hf.keys import MOST, llama_like, one_window, optional_windows


def llama(f: Fields) -> dict[str, Any]:
    """Llama 1 to 3, SmolLM, TinyLlama, Yi, ..."""
    f.refuse("rope_interleaved", unless=(False,))
    config = llama_like(f)
    windows = one_window(f, config["num_layers"])
    if windows[0] is not None:
        raise f.wrong("sliding_window", "`llama` models have full attention")
    return {**config, "windows": windows, "mlp_bias": f.flag("mlp_bias", False)}


def mistral(f: Fields) -> dict[str, Any]:
    """Mistral: one sliding window, or none."""
    config = llama_like(f, biases=False)
    return {**config, "windows": one_window(f, config["num_layers"], 4096)}


def qwen2(f: Fields) -> dict[str, Any]:
    """Qwen 2 and 2.5: biases on query, key and value only."""
    config = llama_like(f, biases=False)
    windows = _windows_above(f, config["num_layers"])
    return {**config, "windows": windows, "qkv_bias": True}


def qwen3(f: Fields) -> dict[str, Any]:
    """Qwen 3 (dense): norms on the queries and keys of each head."""
    config = llama_like(f, head_dim=128)
    windows = _windows_above(f, config["num_layers"])
    return {**config, "windows": windows, "qk_norm": "head"}


def _windows_above(f: Fields, layers: int):
    """A window on the layers from `max_window_layers` on, if windows are used."""
    first = f.size("max_window_layers", most=MOST["length"], default=28, least=0)
    return optional_windows(f, layers, lambda i: i >= first)


def smollm3(f: Fields) -> dict[str, Any]:
    """SmolLM3: every fourth layer has no position information."""
    config = llama_like(f, tied=True, base=2_000_000.0)
    layers = config["num_layers"]
    every = f.size("no_rope_layer_interval", most=MOST["layers"], default=4)
    # 0: no rope there.
    rotated = f.items("no_rope_layers", among=(0, 1), count=layers)
    if rotated is None:
        rotated = [int((i + 1) % every != 0) for i in range(layers)]
    ropes = [r if on else None for r, on in zip(config["ropes"], rotated, strict=True)]
    return {
        **config,
        "ropes": tuple(ropes),
        "windows": optional_windows(f, layers, lambda i: not rotated[i]),
        "mlp_bias": f.flag("mlp_bias", False),
    }


def olmo2(f: Fields) -> dict[str, Any]:
    """OLMo 2: norms after attention and MLP, and on whole queries and keys."""
    config = llama_like(f, eps=1e-5)
    windows = one_window(f, config["num_layers"])
    norms = {"pre_norm": False, "post_norm": True, "qk_norm": "projection"}
    return {**config, "windows": windows, **norms}


def phi3(f: Fields) -> dict[str, Any]:
    """Phi 3 and Phi 4 mini, without LongRoPE."""
    config = llama_like(f, eps=1e-5, biases=False)
    return {**config, "windows": one_window(f, config["num_layers"])}
