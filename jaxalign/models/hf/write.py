"""`ModelConfig` to `config.json`, for models that never had one."""

from typing import Any

from jaxalign.errors import UserError
from jaxalign.models.config import ModelConfig, Rope
from jaxalign.models.hf.classifier import as_classifier
from jaxalign.models.hf.families import FAMILIES, model_config
from jaxalign.models.hf.fields import Fields

_ACTIVATIONS = {"gelu_tanh": "gelu_pytorch_tanh"}


def config_json(config: ModelConfig, dtype: str) -> dict[str, Any]:
    """The `config.json` of a Llama that was trained from nothing.

    Args:
      config: A config that the Llama family can express.
      dtype: Type of the weights, e.g. "float32".

    Returns:
      The keys, such that reading them gives `config` back.

    Raises:
      UserError: The config is of another family, or no Llama computes this.
    """
    rope = config.ropes[0] or Rope()
    data = {
        "architectures": [FAMILIES["llama"][0]],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": rope.theta,
        "rope_scaling": None,
        "hidden_act": _ACTIVATIONS.get(config.activation, config.activation),
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.mlp_bias,
        "tie_word_embeddings": config.tie_embeddings,
        "torch_dtype": dtype,
    }
    if config.head == "score":
        data = as_classifier(data, FAMILIES["llama"][0], config, None)
    if model_config(Fields(data, "config.json")) != config:
        raise UserError(
            f"A `{config.family}` model that was not loaded from a folder cannot be "
            "written: only plain Llamas can. Give the folder it came from as `source`."
        )
    return data
