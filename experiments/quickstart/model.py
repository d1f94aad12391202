"""A tiny transformer, and the three functions of it that the library asks for."""

import functools
from typing import NamedTuple

from experiments.quickstart.tokens import WIDTH
from jaxalign.models import (
    ModelConfig,
    Rope,
    Transformer,
    apply_cached,
    decoding_params,
    init_cache,
    logits,
    unembedding,
)
from jaxalign.objectives import LogitsFn
from jaxalign.rollout import Decoder

LAYERS, HIDDEN, HEADS = 2, 64, 4


class LanguageModel(NamedTuple):
    """The same transformer in three roles; parameters are always an argument.

    Attributes:
      transformer: For `init_params`.
      logits: `(params, ids) -> logits`, what objectives are bound to.
      decoder: What the sampler takes.
    """

    transformer: Transformer
    logits: LogitsFn
    decoder: Decoder


def make_model(vocab_size: int) -> LanguageModel:
    """Two Llama layers with rotary positions; input and output embeddings are two."""
    head_dim = HIDDEN // HEADS
    config = ModelConfig(
        family="llama",
        vocab_size=vocab_size,
        hidden_size=HIDDEN,
        intermediate_size=3 * HIDDEN,
        num_layers=LAYERS,
        num_heads=HEADS,
        num_kv_heads=HEADS,
        head_dim=head_dim,
        max_positions=2 * WIDTH,
        windows=(None,) * LAYERS,
        ropes=(Rope(),) * LAYERS,
        rotary_dim=head_dim,
        tie_embeddings=False,
        attention_scale=head_dim**-0.5,
    )
    model = Transformer(config)
    decoder = Decoder(
        init_cache=functools.partial(init_cache, config),
        apply=functools.partial(apply_cached, model),
        head=functools.partial(unembedding, model),
        max_length=config.max_positions,
        prepare=functools.partial(decoding_params, model),
    )
    return LanguageModel(model, functools.partial(logits, model), decoder)
