"""Two models that write together: each token from the geometric mean of both."""

from typing import Any

import jax.numpy as jnp

from jaxalign.errors import UserError
from jaxalign.rollout.decoder import Decoder


def geometric_mixture(first: Decoder, second: Decoder, *, weight: float) -> Decoder:
    """A decoder of the renormalised geometric mixture of two models.

        p(v | s) ∝ first(v | s)^(1 − w) · second(v | s)^w

    The mixture of Nash-MD, Eq. 4 of https://arxiv.org/abs/2312.00886. It is exact: its
    logits are (1 − w) z₁ + w z₂, which is one product of the hidden states side by side
    and the unembeddings side by side. At a temperature it is the mixture of both models
    at that temperature.

    Args:
      first: A model without a bound on its logits.
      second: Another one with the same tokens; where one has more rows in its
        unembedding, the additional ones are left out.
      weight: w in [0, 1].

    Returns:
      A decoder whose parameters are the pair of those of the two.
    """

    def apply(params: Any, tokens, starts, cache):
        mine, theirs = (
            decoder.apply(p, tokens, starts, c)
            for decoder, p, c in zip((first, second), params, cache, strict=True)
        )
        # The weights go into the states, which are small beside the unembeddings.
        states = (1 - weight) * mine[0], weight * theirs[0]
        return jnp.concatenate(states, axis=-1), (mine[1], theirs[1])

    def head(params: Any):
        heads = first.head(params[0]), second.head(params[1])
        if any(cap is not None for _, cap, _ in heads):
            raise UserError(
                "a model that bounds its logits (a final softcap, as Gemma 2 has) "
                "cannot be mixed geometrically: the mixture is no single unembedding. "
                "Take another model, or another method."
            )
        if any(kernel is None for kernel, _, _ in heads):
            raise UserError(
                "a model that gives logits and no hidden states cannot be mixed: give "
                "recomputing_decoder a head, or make_iteration a `Backbone`."
            )
        size = min(size for _, _, size in heads)
        kernels = [kernel[:size] for kernel, _, _ in heads if kernel is not None]
        return jnp.concatenate(kernels, axis=1), None, size

    return Decoder(
        init_cache=lambda rows, slots: (
            first.init_cache(rows, slots),
            second.init_cache(rows, slots),
        ),
        apply=apply,
        head=head,
        max_length=min(first.max_length, second.max_length),
        unused=(*first.unused, *second.unused),
        prepare=lambda params: (first.prepare(params[0]), second.prepare(params[1])),
        layout=first.layout,
    )
