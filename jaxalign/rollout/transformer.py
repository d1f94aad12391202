"""Our transformer as the sampler takes a model."""

import jax

from jaxalign.models import (
    Transformer,
    apply_cached,
    cast_params,
    decoding_params,
    init_cache,
    unembedding,
)
from jaxalign.ops import Layout
from jaxalign.rollout.decoder import Decoder


def decoder_of(
    model: Transformer,
    *,
    layout: Layout | None = None,
    unused_ids: tuple[tuple[int, int], ...] = (),
) -> Decoder:
    """The transformer with its key and value cache, as `generate` takes it.

    Make it once: a new one is a new compilation.

    Args:
      model: The transformer.
      layout: How rows and heads are split over a mesh; None for one device.
      unused_ids: Ranges `(first, end)` of ids that the tokenizer has no token for.

    Returns:
      Functions of its parameters.
    """
    config = model.config
    platform = jax.default_backend() if layout is None else layout.platform
    # On CPUs arrays of their own for each layer, and a copy that is read faster.
    on_cpu = platform == "cpu"
    prepare = decoding_params if on_cpu else cast_params
    return Decoder(
        init_cache=lambda rows, slots: init_cache(
            config, rows, slots, model.dtype, stacked=not on_cpu
        ),
        apply=lambda params, *rest: apply_cached(model, params, *rest),
        head=lambda params: unembedding(model, params),
        max_length=config.max_positions,
        prepare=lambda params: prepare(model, params),
        unused=unused_ids,
        layout=layout,
    )
