"""Training on pairs by a loss of the library, the whole of it one program.

Runs that differ in strength and data only go one after the other through the one
program. Under `vmap` they take longer: on two busy cores 8.2 s for twelve runs of 400
updates of DPO (four β, three seeds), and 3.8 s one by one (4.5 and 2.8 s of processor
time): the work is that of all S² pairs either way, and one run's fits into the cache.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.enumlm.exact import (
    expected,
    kl_divergence,
    objective,
    repeated_share,
)
from experiments.enumlm.policy import response_logps, tabular
from experiments.enumlm.preferences import preference_loss
from experiments.enumlm.world import World
from jaxalign import losses
from jaxalign.losses import LossOutput
from jaxalign.objectives import array_names


@dataclasses.dataclass(frozen=True)
class PairLoss:
    """A loss of `jaxalign.losses` with one keyword left open.

    Attributes:
      name: Of the loss.
      strength: The keyword that is left open; empty: none.
      fixed: Its other keywords, as pairs of name and value.
    """

    name: str
    strength: str = "beta"
    fixed: tuple[tuple[str, float], ...] = ()

    def __call__(self, policy, ref, mask, strength) -> LossOutput:
        """The loss of pairs of `[..., T]` arrays at a strength, Python or traced."""
        loss = getattr(losses, self.name)
        arrays = {"policy": policy, "ref": ref, "mask": mask}
        keywords = dict(self.fixed) | (
            {self.strength: strength} if self.strength else {}
        )
        return loss(*(arrays[name] for name in array_names(loss)), **keywords)


class Steps(NamedTuple):
    """Adam on the exact gradient; with `decay` its rate ends at 0 along a cosine."""

    number: int = 400
    rate: float = 0.05
    decay: bool = True


class Trained(NamedTuple):
    """What training ends with, and how it came there.

    Attributes:
      logps: `[X, S]`, log-probabilities at the end.
      reward: `[steps]`, after each step.
      kl: `[steps]`, KL(π ‖ π_ref).
      forward_kl: `[steps]`, KL(π_ref ‖ π): what the policy gives up.
      repeated: `[steps]`, share of symbols that repeat the one before them.
    """

    logps: jax.Array
    reward: jax.Array
    kl: jax.Array
    forward_kl: jax.Array
    repeated: jax.Array


TableOf = Callable[[Any], jax.Array]
"""From a policy's parameters to its table of logits, `[X, P, V]`."""


@functools.partial(jax.jit, static_argnames=("loss", "steps", "table_of"))
def train_on_pairs(
    world: World,
    preferences: jax.Array,
    strength: jax.Array,
    *,
    loss: PairLoss,
    steps: Steps,
    start: Any = None,
    table_of: TableOf = tabular,
) -> Trained:
    """Trains from the reference.

    Args:
      world: The world.
      preferences: Share of each (chosen, rejected) pair, `[X, S, S]`.
      strength: What the loss leaves open, a scalar.
      loss: The loss.
      steps: How long, and how fast.
      start: Parameters of the reference; None: its table.
      table_of: What the policy is.

    Returns:
      The policy, and how it came there.
    """

    def cost(params):
        at_strength = functools.partial(loss, strength=strength)
        return preference_loss(world, preferences, table_of(params), at_strength)

    return _descended(world, cost, steps, start, table_of)


@functools.partial(jax.jit, static_argnames=("steps", "table_of"))
def train_exactly(
    world: World,
    beta: jax.Array,
    *,
    steps: Steps,
    start: Any = None,
    table_of: TableOf = tabular,
) -> Trained:
    """R − β KL by its exact gradient: what a policy can reach. As `train_on_pairs`."""

    def cost(params):
        logps = response_logps(table_of(params), world.responses)
        return -objective(world, logps, beta)

    return _descended(world, cost, steps, start, table_of)


def _descended(
    world: World,
    cost: Callable[[Any], jax.Array],
    steps: Steps,
    start: Any,
    table_of: TableOf,
) -> Trained:
    rate = optax.cosine_decay_schedule(steps.rate, steps.number)
    optimizer = optax.adam(rate if steps.decay else steps.rate)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(cost)(params), state)
        params = optax.apply_updates(params, updates)
        logps = response_logps(table_of(params), world.responses)
        ref = jnp.asarray(world.ref_logps)
        kl = kl_divergence(logps, ref), kl_divergence(ref, logps)
        repeated = repeated_share(logps, world.responses)
        return (params, state), (expected(logps, world.rewards), *kl, repeated)

    params = jnp.asarray(world.ref_logits) if start is None else start
    carry = params, optimizer.init(params)
    (params, _), history = jax.lax.scan(step, carry, length=steps.number)
    return Trained(response_logps(table_of(params), world.responses), *history)


def logged(reward: jax.Array, kl: jax.Array, every: int = 50, **run) -> list[dict]:
    """Records for `metrics.jsonl`: reward and KL every so many steps of a run.

    Args:
      reward: `[steps]`.
      kl: `[steps]`.
      every: Steps from one record to the next.
      **run: What tells the run from others.
    """
    return [
        run | {"step": n, "reward": float(reward[n - 1]), "kl": float(kl[n - 1])}
        for n in range(every, len(reward) + 1, every)
    ]
