"""`config.json` of GPT-2 and GPT-NeoX."""

from typing import Any

from jaxalign.models.hf.fields import Fields
from jaxalign.models.hf.keys import (
    MOST,
    activation_of,
    one_rope,
    one_window,
    sizes_of,
)


def gpt_neox(f: Fields) -> dict[str, Any]:
    """GPT-NeoX and Pythia: LayerNorm, parallel residual, partly rotated heads."""
    sizes = sizes_of(f, grouped=False)
    f.refuse("is_decoder", unless=(False,))
    bias = f.flag("attention_bias", True)
    return {
        **sizes,
        **one_rope(f, sizes, 10_000.0, 0.25, "rotary_emb_base"),
        "windows": one_window(f, sizes["num_layers"]),
        "norm": "layer",
        "norm_eps": f.number("layer_norm_eps", default=1e-5),
        "parallel_residual": f.flag("use_parallel_residual", True),
        "gated_mlp": False,
        "activation": activation_of(f, "hidden_act", default="gelu"),
        "tie_embeddings": f.flag("tie_word_embeddings", False),
        "qkv_bias": bias,
        "out_bias": bias,
        "mlp_bias": True,
    }


def gpt2(f: Fields) -> dict[str, Any]:
    """GPT-2: LayerNorm, learned positions, biases everywhere."""
    f.refuse("scale_attn_by_inverse_layer_idx", unless=(False,))
    f.refuse("add_cross_attention", unless=(False,))
    hidden = f.size("n_embd", "hidden_size", most=MOST["width"])
    heads = f.size("n_head", "num_attention_heads", most=1 << 12)
    layers = f.size("n_layer", "num_hidden_layers", most=MOST["layers"])
    if hidden % heads:
        raise f.wrong("n_head", f"it does not divide the width {hidden}")
    scaled = f.flag("scale_attn_weights", True)
    return {
        "vocab_size": f.size("vocab_size", most=MOST["vocabulary"]),
        "hidden_size": hidden,
        "intermediate_size": f.size(
            "n_inner", most=MOST["width"] * 8, default=4 * hidden
        ),
        "num_layers": layers,
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": hidden // heads,
        "attention_scale": (hidden // heads) ** -0.5 if scaled else 1.0,
        "max_positions": f.size(
            "n_positions",
            "max_position_embeddings",
            most=MOST["vocabulary"],
            default=1024,
        ),
        "windows": (None,) * layers,
        "ropes": (None,) * layers,
        "learned_positions": True,
        "norm": "layer",
        "norm_eps": f.number("layer_norm_epsilon", default=1e-5),
        "gated_mlp": False,
        "activation": activation_of(f, "activation_function", default="gelu_new"),
        "tie_embeddings": f.flag("tie_word_embeddings", True),
        "qkv_bias": True,
        "out_bias": True,
        "mlp_bias": True,
    }
