"""Every loss with a maker of random inputs: a new loss is one line in `CASES`."""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxalign import losses
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


def logps(rng, b, t):
    return -rng.gamma(2.0, size=(b, t)).astype(np.float32)


def sft(logps, mask, mean_logps, logz, label_smoothing=0.1, z_loss=0.01):
    """With all its terms."""
    return losses.sft_loss(
        logps,
        mask,
        mean_logps=mean_logps,
        logz=logz,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
    )


def sft_inputs(rng, b, t):
    mask = lengths_to_mask(rng, b, t)
    return logps(rng, b, t), mask, 2 * logps(rng, b, t), -logps(rng, b, t)


def pair_inputs(rng, b, t):
    """Policy, reference and mask; the two sides differ in padded length."""

    def pair(f):
        return Pair(f(rng, b, t), f(rng, b, t + 2))

    return pair(logps), pair(logps), pair(lengths_to_mask)


CASES = {
    "sft": Case(
        sft, sft_inputs, (), {"label_smoothing": (0.0, 0.2), "z_loss": (0.0, 0.1)}
    ),
    "dpo": Case(
        losses.dpo_loss,
        pair_inputs,
        frozen=(1,),
        traced={"beta": (0.05, 0.5), "label_smoothing": (0.0, 0.3)},
    ),
}
