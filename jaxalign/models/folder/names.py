"""Which tensor of a checkpoint is which parameter of ours: data, read both ways."""

from typing import Literal, NamedTuple

import numpy as np

from jaxalign.models.config import ModelConfig

Layout = Literal["same", "transposed"]


class Tensor(NamedTuple):
    """One tensor of a checkpoint.

    Attributes:
      name: Its name; `{}` stands for the layer.
      parts: Paths of the parameters it holds, one after the other along its output
        axis (the last of ours); mostly one.
      layout: "transposed" if the checkpoint holds `[out, in]`.
      by_head: The parts follow each other within each head, not as whole blocks.
    """

    name: str
    parts: tuple[str, ...]
    layout: Layout = "same"
    by_head: bool = False


def _linear(name: str, *parts: str, layout: Layout = "transposed", by_head=False):
    """Weight and bias of a linear layer; the bias is there when its leaf is."""
    kernels = tuple(f"{p}/kernel" for p in parts)
    biases = tuple(f"{p}/bias" for p in parts)
    return (
        Tensor(f"{name}.weight", kernels, layout, by_head),
        Tensor(f"{name}.bias", biases, "same", by_head),
    )


def _norm(name: str, path: str):
    return (
        Tensor(f"{name}.weight", (f"{path}/scale",)),
        Tensor(f"{name}.bias", (f"{path}/bias",)),
    )


_ATTENTION, _MLP = "layers/attention", "layers/mlp"
_QKV = tuple(f"{_ATTENTION}/{x}" for x in ("query", "key", "value"))

_SCORE = Tensor("score.weight", ("score/kernel",), "transposed")
_TOP = (
    Tensor("model.embed_tokens.weight", ("embed/embedding",)),
    *_norm("model.norm", "final_norm"),
    Tensor("lm_head.weight", ("unembed/kernel",)),
    _SCORE,
)
_SPLIT_QKV = (
    *_linear("model.layers.{}.self_attn.q_proj", f"{_ATTENTION}/query"),
    *_linear("model.layers.{}.self_attn.k_proj", f"{_ATTENTION}/key"),
    *_linear("model.layers.{}.self_attn.v_proj", f"{_ATTENTION}/value"),
    *_norm("model.layers.{}.self_attn.q_norm", f"{_ATTENTION}/query_norm"),
    *_norm("model.layers.{}.self_attn.k_norm", f"{_ATTENTION}/key_norm"),
)
_SPLIT_MLP = (
    *_linear("model.layers.{}.mlp.gate_proj", f"{_MLP}/gate"),
    *_linear("model.layers.{}.mlp.up_proj", f"{_MLP}/up"),
)
_OUTPUTS = (
    *_linear("model.layers.{}.self_attn.o_proj", f"{_ATTENTION}/out"),
    *_linear("model.layers.{}.mlp.down_proj", f"{_MLP}/down"),
)
_PRE_NORMS = (
    *_norm("model.layers.{}.input_layernorm", "layers/attention_norm"),
    *_norm("model.layers.{}.post_attention_layernorm", "layers/mlp_norm"),
)
_POST_NORMS = (
    *_norm("model.layers.{}.post_attention_layernorm", "layers/attention_post_norm"),
    *_norm("model.layers.{}.post_feedforward_layernorm", "layers/mlp_post_norm"),
)
_FOUR_NORMS = (
    *_norm("model.layers.{}.input_layernorm", "layers/attention_norm"),
    *_norm("model.layers.{}.pre_feedforward_layernorm", "layers/mlp_norm"),
    *_POST_NORMS,
)

_LLAMA = (*_TOP, *_SPLIT_QKV, *_SPLIT_MLP, *_OUTPUTS, *_PRE_NORMS)
_GEMMA2 = (*_TOP, *_SPLIT_QKV, *_SPLIT_MLP, *_OUTPUTS, *_FOUR_NORMS)

FAMILIES: dict[str, tuple[Tensor, ...]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "smollm3"), _LLAMA),
    **dict.fromkeys(("gemma2", "gemma3_text"), _GEMMA2),
    "olmo2": (*_TOP, *_SPLIT_QKV, *_SPLIT_MLP, *_OUTPUTS, *_POST_NORMS),
    "phi3": (
        *_TOP,
        *_linear("model.layers.{}.self_attn.qkv_proj", *_QKV),
        *_linear("model.layers.{}.mlp.gate_up_proj", f"{_MLP}/gate", f"{_MLP}/up"),
        *_OUTPUTS,
        *_PRE_NORMS,
    ),
    "gpt2": (
        Tensor("transformer.wte.weight", ("embed/embedding",)),
        Tensor("transformer.wpe.weight", ("position_embed/embedding",)),
        *_norm("transformer.ln_f", "final_norm"),
        Tensor("lm_head.weight", ("unembed/kernel",)),
        _SCORE,
        *_norm("transformer.h.{}.ln_1", "layers/attention_norm"),
        *_norm("transformer.h.{}.ln_2", "layers/mlp_norm"),
        *_linear("transformer.h.{}.attn.c_attn", *_QKV, layout="same"),
        *_linear("transformer.h.{}.attn.c_proj", f"{_ATTENTION}/out", layout="same"),
        *_linear("transformer.h.{}.mlp.c_fc", f"{_MLP}/up", layout="same"),
        *_linear("transformer.h.{}.mlp.c_proj", f"{_MLP}/down", layout="same"),
    ),
    "gpt_neox": (
        Tensor("gpt_neox.embed_in.weight", ("embed/embedding",)),
        *_norm("gpt_neox.final_layer_norm", "final_norm"),
        Tensor("embed_out.weight", ("unembed/kernel",)),
        _SCORE,
        *_norm("gpt_neox.layers.{}.input_layernorm", "layers/attention_norm"),
        *_norm("gpt_neox.layers.{}.post_attention_layernorm", "layers/mlp_norm"),
        *_linear("gpt_neox.layers.{}.attention.query_key_value", *_QKV, by_head=True),
        *_linear("gpt_neox.layers.{}.attention.dense", f"{_ATTENTION}/out"),
        *_linear("gpt_neox.layers.{}.mlp.dense_h_to_4h", f"{_MLP}/up"),
        *_linear("gpt_neox.layers.{}.mlp.dense_4h_to_h", f"{_MLP}/down"),
    ),
}
"""The tensors of each family; those whose parameters a model lacks are left out."""

PREFIXES = {"gpt2": "transformer.", "gpt_neox": "gpt_neox."}
"""What base-model checkpoints leave out of their names; `model.` elsewhere."""

BUFFERS = r"(\.attn\.(masked_)?bias|\.attention\.(masked_)?bias|rotary_emb\.inv_freq)$"
"""Constants that old checkpoints hold among the weights; never read."""


def present_tensors(config: ModelConfig, paths) -> list[Tensor]:
    """The tensors that hold the parameters `paths`, each parameter exactly once."""
    paths = set(paths)
    found = [t for t in FAMILIES[config.family] if t.parts[0] in paths]
    covered = [part for tensor in found for part in tensor.parts]
    if sorted(covered) != sorted(paths):
        raise NotImplementedError(
            f"the tensors of `{config.family}` hold {sorted(set(covered) ^ paths)} "
            "either not at all or twice"
        )
    return found


def part_columns(
    tensor: Tensor, widths: list[int], part: int, head_dim: int
) -> np.ndarray:
    """Where a part's outputs lie along the tensor's output axis.

    Args:
      tensor: The checkpoint tensor.
      widths: Outputs of each of its parts.
      part: Which part.
      head_dim: Width of a head.

    Returns:
      `[widths[part]]` int64 indices.

    >>> part_columns(Tensor("qkv", ("q", "k")), [4, 2], 1, 2)
    array([4, 5])
    >>> part_columns(Tensor("qkv", ("q", "k"), by_head=True), [4, 4], 1, 2)
    array([2, 3, 6, 7])
    """
    own = np.arange(widths[part])
    if not tensor.by_head:
        return own + sum(widths[:part])
    head, channel = own // head_dim, own % head_dim
    return (head * len(widths) + part) * head_dim + channel
