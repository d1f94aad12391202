"""Decoder-only transformers, and Hugging Face folders in and out."""

from jaxalign.models.backbone import backbone_of
from jaxalign.models.cache import (
    Cache,
    apply_cached,
    cast_params,
    decoding_params,
    init_cache,
)
from jaxalign.models.config import ModelConfig, Rope
from jaxalign.models.folder.export import export_model
from jaxalign.models.folder.export_chat import ChatTexts
from jaxalign.models.folder.export_texts import PadToken
from jaxalign.models.folder.hub import resolve_model
from jaxalign.models.folder.weight_checks import check_weights
from jaxalign.models.folder.weights import load_params
from jaxalign.models.hf.config import read_config
from jaxalign.models.param_shapes import param_shapes
from jaxalign.models.partition import PARTITION_RULES
from jaxalign.models.scalar_head import (
    load_with_new_score,
    normalise_score,
    scalar_scores,
    with_score_head,
)
from jaxalign.models.transformer import (
    REMAT_POLICIES,
    Transformer,
    apply_hidden,
    hidden_to_logits,
    init_params,
    logits,
    unembedding,
)

__all__ = [
    "PARTITION_RULES",
    "REMAT_POLICIES",
    "Cache",
    "ChatTexts",
    "ModelConfig",
    "PadToken",
    "Rope",
    "Transformer",
    "apply_cached",
    "apply_hidden",
    "backbone_of",
    "cast_params",
    "check_weights",
    "decoding_params",
    "export_model",
    "hidden_to_logits",
    "init_cache",
    "init_params",
    "load_params",
    "load_with_new_score",
    "logits",
    "normalise_score",
    "param_shapes",
    "read_config",
    "resolve_model",
    "scalar_scores",
    "unembedding",
    "with_score_head",
]
