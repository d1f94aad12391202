"""The families of `config.json` files, by `model_type`."""

from collections.abc import Callable
from typing import Any

from jaxalign.errors import UserError
from jaxalign.models.config import ModelConfig
from jaxalign.models.hf.classifier import classifier_name, score_fields
from jaxalign.models.hf.fields import Fields
from jaxalign.models.hf.gemma import gemma, gemma2, gemma3_text
from jaxalign.models.hf.gpt import gpt2, gpt_neox
from jaxalign.models.hf.llama import llama, mistral, olmo2, phi3, qwen2, qwen3, smollm3

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

MULTIMODAL = {"gemma3": ("Gemma3ForConditionalGeneration", "gemma3_text")}
"""`model_type` -> its architecture, and the `model_type` of its language model."""

# What transformers takes where `text_config` of a Gemma 3 says nothing; the published
# files leave out most of it.
_TEXT_DEFAULTS = {
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
}


def check_architecture(f: Fields) -> None:
    """Refuses a model that nobody here can compute, before anything else is looked at.

    Raises:
      UserError: `model_type` or `architectures` name another model, or the weights are
        quantised.
    """
    family, given = f.get("model_type"), f.get("architectures", default=[])
    names = _names_of(family) if isinstance(family, str) else []
    if not isinstance(given, list) or not all(isinstance(x, str) for x in given):
        raise f.wrong("architectures", "a list with one name is wanted")
    if family is None and not given:
        raise f.wrong("model_type", f"known are {', '.join((*FAMILIES, *MULTIMODAL))}")
    if not names or (given and given not in names):
        name = ", ".join(given) or "a model"
        raise UserError(
            f"{f.where}: {name} (`model_type` {family!r}) is not supported. Supported "
            f"`architectures` are {', '.join(_supported())}, and the "
            "...ForSequenceClassification of each with one label, a reward model."
        )
    for key in ("quantization_config", "quantization", "compression_config"):
        if f.get(key) not in (None, {}):
            raise UserError(
                f"{f.where}: the weights are quantised (`{key}`), which is not "
                "supported: give the original model, with F32, BF16 or F16 weights."
            )


def _names_of(family: str) -> list[list[str]]:
    """What `architectures` may be for a `model_type`; nothing for an unknown one."""
    if family in MULTIMODAL:
        return [[MULTIMODAL[family][0]]]
    if family not in FAMILIES:
        return []
    architecture = FAMILIES[family][0]
    return [[architecture], [classifier_name(architecture)]]


def _supported() -> list[str]:
    wrappers = [f"{name} (its text)" for name, _ in MULTIMODAL.values()]
    return [name for name, _ in FAMILIES.values()] + wrappers


def model_config(f: Fields) -> ModelConfig:
    """The config of any known family; `UserError` names what is unknown."""
    check_architecture(f)
    if f.get("model_type") in MULTIMODAL:
        f = text_fields(f)
    family = f.data["model_type"]
    architecture, read = FAMILIES[family]
    classifier = f.get("architectures") == [classifier_name(architecture)]
    head = score_fields(f) if classifier else {}
    return ModelConfig(family=family, **head, **read(f))


def text_fields(f: Fields) -> Fields:
    """The keys of the language model inside a multimodal `config.json`."""
    text = f.section("text_config")
    family = MULTIMODAL[f.data["model_type"]][1]
    if text.get("model_type", default=family) != family:
        raise text.wrong("model_type", f"inside a multimodal model it is {family!r}")
    # Generation with images never bounds the logits, whatever this key says.
    text.refuse("final_logit_softcapping", unless=())
    tied = text.get("tie_word_embeddings", default=f.get("tie_word_embeddings"))
    if f.get("tie_word_embeddings", default=tied) != tied:
        raise text.wrong("tie_word_embeddings", "outside `text_config` it is not")
    left_out = {k: v for k, v in _TEXT_DEFAULTS.items() if text.get(k) is None}
    own = {"model_type": family, "tie_word_embeddings": tied}
    return Fields({**text.data, **left_out, **own}, text.where)
