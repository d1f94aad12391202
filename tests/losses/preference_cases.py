"""The preference losses, for the contract suite.

What a loss reads besides log-probabilities and masks is made of these: labels and
rewards of a response of its length, other numbers of its tokens.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

import jaxalign.losses
from jaxalign.losses import Pair
from jaxalign.objectives import array_names
from jaxalign.recipes.flags.keyword_flags import hyperparameters
from jaxalign.recipes.flags.loss_flags import pairwise_losses
from tests.losses.case import Case, lengths_to_mask, logps, pair_inputs

losses: Any = jaxalign.losses
Z0 = 0.3


def pairs_without_reference(rng, b, t):
    policy, _, mask = pair_inputs(rng, b, t)
    return policy, mask


def single(rng, b, t):
    """One response to a prompt."""
    return logps(rng, b, t), logps(rng, b, t), lengths_to_mask(rng, b, t)


def single_without_reference(rng, b, t):
    return logps(rng, b, t), lengths_to_mask(rng, b, t)


def ranked(rng, b, t, answers=2):
    columns = zip(*(single(rng, b, t) for _ in range(answers)), strict=True)
    return tuple(np.stack(column, axis=1) for column in columns)


def lengths(mask):
    return jnp.sum(mask, axis=-1, dtype=jnp.float32)


def is_even(mask):
    return jnp.sum(mask, axis=-1, dtype=jnp.int32) % 2 == 0


def of_tokens(pair: Pair, scale: float) -> Pair:
    return Pair(*(scale * x for x in pair))


def number(mask, value):
    """A scalar that the caller of a loss computed over the whole batch."""
    return jnp.full((), value, jnp.float32)


# Inputs, and what `(policy, mask)` give besides.
MORE: dict[str, tuple[Callable, Callable]] = {
    "a_star_po": (single, lambda p, m: (lengths(m), 0.5 * lengths(m))),
    "bco": (pair_inputs, lambda p, m: (number(m, Z0),)),
    "bco_unpaired": (single, lambda p, m: (is_even(m), number(m, Z0))),
    "beta_dpo": (pair_inputs, lambda p, m: (number(m, Z0), number(m, 0.1))),
    "infonca": (ranked, lambda p, m: (lengths(m),)),
    "kto": (single, lambda p, m: (is_even(m), number(m, Z0))),
    "mappo": (pair_inputs, lambda p, m: (1 / (1 + lengths(m[0])),)),
    "mixed_preference": (pair_inputs, lambda p, m: (number(m, Z0),)),
    "nash_md": (single, lambda p, m: (1 / (1 + lengths(m)),)),
    "plackett_luce_dpo": (ranked, lambda p, m: ()),
    "rebel": (pair_inputs, lambda p, m: (Pair(*map(lengths, m)),)),
    "sppo_soft": (
        pair_inputs,
        lambda p, m: (Pair(*(1 / (1 + lengths(x)) for x in m)),),
    ),
    "tdpo1": (pair_inputs, lambda p, m: (of_tokens(p, -0.5),)),
    "tdpo2": (pair_inputs, lambda p, m: (of_tokens(p, -0.5),)),
    "token_unlikelihood": (single_without_reference, lambda p, m: ()),
    "wpo": (pair_inputs, lambda p, m: (of_tokens(p, 1.1),)),
    "xpo": (pair_inputs, lambda p, m: (is_even(m[0]),)),
}


def case(name: str) -> Case:
    loss = getattr(losses, f"{name}_loss")
    plain = pair_inputs if "ref" in array_names(loss) else pairs_without_reference
    make_inputs, more = MORE.get(name, (plain, lambda p, m: ()))

    @functools.wraps(loss)
    def call(policy, *rest, **options):
        return loss(policy, *rest, *more(policy, rest[-1]), **options)

    # A smoothing of 0 has no half.
    defaults = {key: x or 0.4 for key, x in hyperparameters(loss).items()}
    traced = {key: (0.5 * x, 0.8 * x) for key, x in defaults.items()}
    return Case(call, make_inputs, (1,) if "ref" in array_names(loss) else (), traced)


NAMES = {name.removesuffix("_loss") for name in pairwise_losses()} | MORE.keys()
CASES = {name: case(name) for name in sorted(NAMES)}
