"""What the families of `config.json` files have in common."""

from collections.abc import Callable
from typing import Any

from jaxalign.models.hf.fields import Fields
from jaxalign.models.hf.rope import rope, rope_section, rotary_dim, theta

_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
# Far above every model there is: a damaged number is refused before it allocates.
MOST = {"width": 1 << 17, "layers": 1 << 10, "vocabulary": 1 << 22, "length": 1 << 30}


def sizes_of(
    f: Fields, *, head_dim: int | None = None, grouped: bool = True
) -> dict[str, Any]:
    """What all families but GPT-2 call by the same names.

    Args:
      f: The keys.
      head_dim: Default width of a head; None: hidden_size / heads.
      grouped: Whether `num_key_value_heads` is heeded.
    """
    hidden = f.size("hidden_size", most=MOST["width"])
    heads = f.size("num_attention_heads", most=1 << 12)
    if f.get("head_dim", default=head_dim) is None and hidden % heads:
        raise f.wrong("num_attention_heads", f"it does not divide hidden_size {hidden}")
    width = f.size("head_dim", most=1 << 14, default=head_dim or hidden // heads)
    kv_heads = heads
    if grouped:
        kv_heads = f.size("num_key_value_heads", most=1 << 12, default=heads)
    if heads % kv_heads:
        raise f.wrong("num_key_value_heads", f"it must divide the {heads} heads")
    return {
        "vocab_size": f.size("vocab_size", most=MOST["vocabulary"]),
        "hidden_size": hidden,
        "intermediate_size": f.size("intermediate_size", most=MOST["width"] * 8),
        "num_layers": f.size("num_hidden_layers", most=MOST["layers"]),
        "num_heads": heads,
        "num_kv_heads": kv_heads,
        "head_dim": width,
        "attention_scale": width**-0.5,
        "max_positions": f.size(
            "max_position_embeddings", most=MOST["length"], default=2048
        ),
    }


def activation_of(f: Fields, *keys: str, default: str = "silu") -> Any:
    """The nonlinearity that the first key present names."""
    return f.choice(*keys, among=_ACTIVATIONS, default=default)


def one_rope(
    f: Fields,
    sizes: dict[str, Any],
    base: float = 10_000.0,
    share: float = 1.0,
    key: str = "rope_theta",
    section: Fields | None = None,
) -> dict[str, Any]:
    """The same rotation in every layer.

    Args:
      f: The keys.
      sizes: What `sizes_of` returned.
      base: Default theta.
      share: Default share of rotated channels.
      key: What old files call theta.
      section: The rope parameters, where `rope_section` is not the place.
    """
    section = rope_section(f) if section is None else section
    dim = rotary_dim(f, section, sizes["head_dim"], share)
    kind = rope(f, section, theta(f, section, base, key))
    return {"ropes": (kind,) * sizes["num_layers"], "rotary_dim": dim}


def one_window(f: Fields, layers: int, default: int | None = None):
    """The same sliding window in every layer, or none."""
    window = default
    if "sliding_window" in f.data:
        window = f.get("sliding_window")
    if window is not None:
        window = f.size("sliding_window", most=MOST["length"], default=default)
    kind = "full_attention" if window is None else "sliding_attention"
    f.items("layer_types", among=(kind,), count=layers)
    return (window,) * layers


def some_windows(f: Fields, layers: int, sliding: Callable[[int], bool]):
    """A window on some layers: those of `layer_types`, else where `sliding` says."""
    kinds = layer_kinds(f, layers)
    if kinds is None:
        kinds = [
            "sliding_attention" if sliding(i) else "full_attention"
            for i in range(layers)
        ]
    if "sliding_attention" not in kinds:
        return (None,) * layers
    window = f.size("sliding_window", most=MOST["length"])
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


def layer_kinds(f: Fields, layers: int) -> list[str] | None:
    """What `layer_types` says of each layer; None where it says nothing."""
    kinds = ("full_attention", "sliding_attention")
    return f.items("layer_types", among=kinds, count=layers)


def optional_windows(f: Fields, layers: int, sliding: Callable[[int], bool]):
    """The same for families with the switch `use_sliding_window`."""
    on = f.flag("use_sliding_window", False) and f.get("sliding_window") is not None
    if not on and "sliding_attention" in (layer_kinds(f, layers) or []):
        raise f.wrong("use_sliding_window", "`layer_types` names sliding layers")
    return some_windows(f, layers, lambda i: on and sliding(i))


def llama_like(
    f: Fields,
    *,
    head_dim: int | None = None,
    activation: tuple[str, ...] = ("hidden_act",),
    default_activation: str = "silu",
    eps: float = 1e-6,
    tied: bool = False,
    base: float = 10_000.0,
    biases: bool = True,
    section: Fields | None = None,
) -> dict[str, Any]:
    """What the families that grew out of Llama share: all but windows.

    Args:
      f: The keys.
      head_dim: Default width of a head; None: hidden_size / heads.
      activation: Keys of the nonlinearity, the first that is there wins.
      default_activation: Where none is.
      eps: Default of `rms_norm_eps`.
      tied: Default of `tie_word_embeddings`.
      base: Default of `rope_theta`.
      biases: Whether `attention_bias` is heeded.
      section: The rope parameters, where `rope_section` is not the place.
    """
    sizes = sizes_of(f, head_dim=head_dim)
    bias = biases and f.flag("attention_bias", False)
    return {
        **sizes,
        **one_rope(f, sizes, base, section=section),
        "norm_eps": f.number("rms_norm_eps", default=eps),
        "activation": activation_of(f, *activation, default=default_activation),
        "tie_embeddings": f.flag("tie_word_embeddings", tied),
        "qkv_bias": bias,
        "out_bias": bias,
    }
