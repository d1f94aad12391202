"""Every preference loss as `(policy, ref, mask, **hyperparameters)` on pairs.

What a loss reads besides is made of these: labels and rewards of a response of its
length, other numbers of its tokens. So one set of inputs serves all.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

import jaxalign.losses
from jaxalign.losses import Pair
from jaxalign.recipes.loss_flags import hyperparameters, pairwise_losses

losses: Any = jaxalign.losses
Z0 = 0.3


def lengths(mask):
    return jnp.sum(mask, axis=-1, dtype=jnp.float32)


def is_even(mask):
    return jnp.sum(mask, axis=-1, dtype=jnp.int32) % 2 == 0


def of_tokens(pair: Pair, scale: float) -> Pair:
    return Pair(*(scale * x for x in pair))


def number(mask, value):
    """A scalar that the caller of a loss computed over the whole batch."""
    return jnp.full((), value, jnp.float32)


def ranked(policy, ref, mask):
    """Two answers on a new axis, padded to one width."""

    def stack(pair):
        width = max(x.shape[-1] for x in pair)
        pads = [[(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])] for x in pair]
        return jnp.stack([*map(jnp.pad, pair, pads)], axis=-2)

    return map(stack, (policy, ref, mask))


MORE_INPUTS: dict[str, Callable] = {
    "a_star_po_loss": lambda p, r, m: (
        *(p[0], r[0], m[0]),
        *(lengths(m[0]), 0.5 * lengths(m[0])),
    ),
    "bco_loss": lambda p, r, m: (p, r, m, number(m, Z0)),
    "bco_unpaired_loss": lambda p, r, m: (
        *(p[0], r[0], m[0]),
        *(is_even(m[0]), number(m, Z0)),
    ),
    "beta_dpo_loss": lambda p, r, m: (p, r, m, number(m, Z0), number(m, 0.1)),
    "infonca_loss": lambda p, r, m: (
        *ranked(p, r, m),
        jnp.stack([*map(lengths, m)], axis=-1),
    ),
    "kto_loss": lambda p, r, m: (
        *(p[0], r[0], m[0]),
        *(is_even(m[0]), number(m, Z0)),
    ),
    "mappo_loss": lambda p, r, m: (p, r, m, 1 / (1 + lengths(m[0]))),
    "mixed_preference_loss": lambda p, r, m: (p, r, m, number(m, Z0)),
    "nash_md_loss": lambda p, r, m: (p[0], r[0], m[0], 1 / (1 + lengths(m[0]))),
    "plackett_luce_dpo_loss": ranked,
    "rebel_loss": lambda p, r, m: (p, r, m, Pair(*map(lengths, m))),
    "sppo_soft_loss": lambda p, r, m: (
        *(p, r, m),
        Pair(*(1 / (1 + lengths(x)) for x in m)),
    ),
    "tdpo1_loss": lambda p, r, m: (p, r, m, of_tokens(p, -0.5)),
    "tdpo2_loss": lambda p, r, m: (p, r, m, of_tokens(p, -0.5)),
    "token_unlikelihood_loss": lambda p, r, m: (p[1], m[1]),
    "wpo_loss": lambda p, r, m: (p, r, m, of_tokens(p, 1.1)),
    "xpo_loss": lambda p, r, m: (p, r, m, is_even(m[0])),
}


def case(name: str) -> Callable:
    loss = getattr(losses, name)

    @functools.wraps(loss)
    def call(policy, ref, mask, **options):
        if name in MORE_INPUTS:
            return loss(*MORE_INPUTS[name](policy, ref, mask), **options)
        takes_ref = "ref" in inspect.signature(loss).parameters
        return loss(*((policy, ref, mask) if takes_ref else (policy, mask)), **options)

    return call


NAMES = sorted({*pairwise_losses(), *MORE_INPUTS})
CASES = {name: case(name) for name in NAMES}
OPTIONS = [(name, key) for name in NAMES for key in hyperparameters(CASES[name])]
