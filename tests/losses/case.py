"""What the contract suite knows of a loss, and random inputs."""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxalign.losses import Pair


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A loss, and `(rng, batch, length) -> arguments`, the policy's first.

    `frozen` numbers the arguments that must not receive a gradient, and `traced`
    names hyperparameters, with two values each, that may be traced arrays.
    """

    loss: Callable
    make_inputs: Callable
    frozen: tuple[int, ...] = ()
    traced: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


def lengths_to_mask(rng, b, t):
    return np.arange(t) < rng.integers(1, t + 1, size=(b, 1))


def mask_with_gaps(rng, b, t):
    """As where tools wrote some of the tokens; the first token is always there."""
    gaps = (rng.random((b, t)) < 0.25) & (np.arange(t) > 0)
    return lengths_to_mask(rng, b, t) & ~gaps


def logps(rng, b, t):
    return -rng.gamma(2.0, size=(b, t)).astype(np.float32)


def normal(rng, b, *t):
    return rng.normal(size=(b, *t)).astype(np.float32)


def pair_inputs(rng, b, t):
    """Policy, reference and mask; the two sides differ in padded length."""

    def pair(f):
        return Pair(f(rng, b, t), f(rng, b, t + 2))

    return pair(logps), pair(logps), pair(lengths_to_mask)


def by_keyword(loss, *names):
    """A loss whose last arrays, given by position, are those keywords."""

    def call(*arrays, **options):
        first = len(arrays) - len(names)
        named = dict(zip(names, arrays[first:], strict=True))
        return loss(*arrays[:first], **named, **options)

    return call
