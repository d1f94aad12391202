"""The families of `config.json` files, by `model_type`."""

from collections.abc import Callable
from typing import Any

from jaxalign.models.config import ModelConfig
from jaxalign.models.fields import Fields
from jaxalign.models.hf_classifier import classifier_name, score_fields
from jaxalign.models.hf_gemma import gemma, gemma2, gemma3_text
from jaxalign.models.hf_gpt import gpt2, gpt_neox
from jaxalign.models.hf_llama import llama, mistral, olmo2, phi3, qwen2, qwen3, smollm3

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
    classifier = classifier_name(architecture)
    given = f.get("architectures", default=[architecture])
    if given not in ([architecture], [classifier]):
        wanted = f"[{architecture!r}] (or [{classifier!r}], a reward model)"
        raise f.wrong("architectures", f"for `{family}` it must be {wanted}")
    f.refuse("quantization_config", unless=({},))
    head = score_fields(f) if given == [classifier] else {}
    return ModelConfig(family=family, **head, **read(f))
