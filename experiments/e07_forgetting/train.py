"""Two tasks, a network that knows both, and three ways to teach it another rule.

Functions of one seed, to be mapped over seeds by `jax.vmap`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments import mlp
from jaxalign.losses import policy_gradient_loss, sft_loss
from jaxalign.ops import kl_exact, rloo_advantages

INPUTS, CLASSES, HIDDEN = 24, 10, 128
SPREAD = 0.9  # of a cluster around its mean
BATCH = 256
GROUP = 4
HELD_OUT = 2000
LOG_EVERY = 25


class Task(NamedTuple):
    """Ten clusters, one a class: `[10, 24]` means."""

    means: jax.Array

    def draw(self, key: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
        """Inputs `[size, 24]` and the clusters that they are of, `[size]`."""
        for_label, for_noise = jax.random.split(key)
        label = jax.random.randint(for_label, (size,), 0, CLASSES)
        noise = SPREAD * jax.random.normal(for_noise, (size, INPUTS))
        return self.means[label] + noise, label


class Seed(NamedTuple):
    """What a seed gives: the task to change, the one to keep, and the base."""

    changed: Task
    kept: Task
    base: mlp.Layers


class History(NamedTuple):
    """Every 25 steps: `[..., records]`, on held-out inputs.

    Attributes:
      new: The chance of a right answer under the new rule.
      kept: The chance of the right label of the task that is not trained on.
      kl: KL(π ‖ base) on inputs of the task that is.
    """

    new: jax.Array
    kept: jax.Array
    kl: jax.Array


def logps_of(layers: mlp.Layers, x: jax.Array) -> jax.Array:
    return jax.nn.log_softmax(mlp.apply(layers, x))


def is_right(label: jax.Array) -> jax.Array:
    """The new rule: any class of the cluster's parity; `[N]` to `[N, 10]` bool."""
    return label[:, None] % 2 == jnp.arange(CLASSES)[None] % 2


def pretrain(key: jax.Array, num_steps: int) -> Seed:
    """Both tasks; half of the labels of the first one are drawn at random."""
    keys = jax.random.split(key, 4)
    shape = (CLASSES, INPUTS)
    changed, kept = (Task(jax.random.normal(k, shape)) for k in keys[:2])

    def loss(layers, key):
        for_changed, for_kept, for_which, for_label = jax.random.split(key, 4)
        x, label = changed.draw(for_changed, BATCH // 2)
        any_label = jax.random.randint(for_label, label.shape, 0, CLASSES)
        noisy = jax.random.bernoulli(for_which, 0.5, label.shape)
        label = jnp.where(noisy, any_label, label)
        y, other = kept.draw(for_kept, BATCH)
        inputs, labels = jnp.concatenate([x, y]), jnp.concatenate([label, other])
        return _nll(logps_of(layers, inputs), labels)

    layers = mlp.init(keys[2], (INPUTS, HIDDEN, HIDDEN, CLASSES))
    step, start = _adam(loss, 2e-3)
    carry, _ = jax.lax.scan(step, start(layers), jax.random.split(keys[3], num_steps))
    return Seed(changed, kept, carry[0])


def canonical(layers, seed: Seed, key):
    """SFT: one label for each parity, 0 or 1."""
    x, label = seed.changed.draw(key, BATCH)
    return _nll(logps_of(layers, x), label % 2)


def oracle(layers, seed: Seed, key):
    """SFT on samples of the base restricted to right answers: the nearest such law."""
    for_rows, for_labels = jax.random.split(key)
    x, label = seed.changed.draw(for_rows, BATCH)
    law = jnp.where(is_right(label), logps_of(seed.base, x), -jnp.inf)
    return _nll(logps_of(layers, x), jax.random.categorical(for_labels, law))


def reinforce(layers, seed: Seed, key):
    """RL: four samples an input, leave-one-out, 1 for a right answer; no KL term."""
    for_rows, for_samples = jax.random.split(key)
    x, label = seed.changed.draw(for_rows, BATCH)
    logps = logps_of(layers, x)
    shape = (BATCH, GROUP)
    said = jax.random.categorical(for_samples, logps[:, None], shape=shape)
    rewards = jnp.take_along_axis(is_right(label), said, axis=1).astype(jnp.float32)
    advantages = rloo_advantages(rewards, jnp.ones(shape, bool))[..., None]
    taken = jnp.take_along_axis(logps, said, axis=1)[..., None]
    old = jax.lax.stop_gradient(taken)
    mask = jnp.ones(taken.shape, bool)
    return policy_gradient_loss(taken, old, advantages, mask).loss.value


ARMS: dict[str, Callable] = {
    "sft_canonical": canonical,
    "sft_oracle": oracle,
    "rl": reinforce,
}


def teach(key: jax.Array, seed: Seed, arm: str, num_steps: int) -> History:
    """Trains the base on the new rule, and measures as it goes."""
    for_steps, *for_held_out = jax.random.split(key, 3)
    x, label = seed.changed.draw(for_held_out[0], HELD_OUT)
    y, other = seed.kept.draw(for_held_out[1], HELD_OUT)
    before = logps_of(seed.base, x)

    def measured(layers) -> History:
        now = logps_of(layers, x)
        new = jnp.sum(jnp.exp(now), axis=-1, where=is_right(label)).mean()
        kept = jnp.exp(_taken(logps_of(layers, y), other)).mean()
        return History(new, kept, kl_exact(now, before).mean())

    step, start = _adam(lambda layers, key: ARMS[arm](layers, seed, key), 3e-4)

    def some_steps(carry, keys):
        record = measured(carry[0])
        carry, _ = jax.lax.scan(step, carry, keys)
        return carry, record

    keys = jax.random.split(for_steps, num_steps).reshape(-1, LOG_EVERY)
    carry, history = jax.lax.scan(some_steps, start(seed.base), keys)
    last = measured(carry[0])
    return History(*(jnp.append(x, y) for x, y in zip(history, last, strict=True)))


@functools.lru_cache(maxsize=8)
def bases(seeds: tuple[int, ...], num_steps: int) -> Seed:
    """All seeds, pre-trained as one program."""
    run = jax.vmap(functools.partial(pretrain, num_steps=num_steps))
    return jax.jit(run)(_keys(seeds, 0))


@functools.lru_cache(maxsize=8)
def histories(
    arm: str, seeds: tuple[int, ...], num_steps: int, pretrain_steps: int
) -> History:
    """All seeds of an arm, `[seeds, records]`."""
    run = jax.vmap(functools.partial(teach, arm=arm, num_steps=num_steps))
    return jax.jit(run)(_keys(seeds, 1), bases(seeds, pretrain_steps))


def _keys(seeds: tuple[int, ...], phase: int) -> jax.Array:
    return jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), phase))(
        jnp.array(seeds)
    )


def _taken(logps, label):
    return jnp.take_along_axis(logps, label[:, None], axis=1)[:, 0]


def _nll(logps, label):
    taken = _taken(logps, label)[:, None]
    return sft_loss(taken, jnp.ones(taken.shape, bool)).loss.value


def _adam(loss, rate: float):
    optimizer = optax.adam(rate)

    def step(carry, key):
        layers, state = carry
        updates, state = optimizer.update(jax.grad(loss)(layers, key), state)
        updated: Any = optax.apply_updates(layers, updates)
        return (updated, state), None

    return step, lambda layers: (layers, optimizer.init(layers))
