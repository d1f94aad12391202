"""The policy that is a transformer: one set of parameters for all prompts.

A table cannot forget one prompt by learning another; this can. Its logits in all states
are read off in one pass, so that whatever is exact for a table is exact here too.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.enumlm.exact import kl_divergence
from experiments.enumlm.policy import response_logps
from experiments.enumlm.world import World, standardised
from jaxalign.models import ModelConfig, Rope, Transformer, init_params, logits


def small_config(vocab_size: int, width: int, **more: Any) -> ModelConfig:
    """Two Llama layers with four heads."""
    return ModelConfig(
        family="llama",
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=3 * width,
        num_layers=2,
        num_heads=4,
        num_kv_heads=4,
        head_dim=width // 4,
        max_positions=16,
        windows=(None, None),
        ropes=(Rope(), Rope()),
        rotary_dim=width // 4,
        attention_scale=(width // 4) ** -0.5,
        **more,
    )


@dataclasses.dataclass(frozen=True)
class SharedPolicy:
    """A transformer that reads a prompt and a prefix, and gives the next token.

    A prompt is one token of its own, which is never written: its logits are left out.

    Attributes:
      num_symbols: Of the world's responses.
      max_length: L, theirs.
      num_prompts: X.
      width: Of the residual stream.
    """

    num_symbols: int = 2
    max_length: int = 5
    num_prompts: int = 16
    width: int = 40

    @property
    def vocab_size(self) -> int:
        """Tokens of responses, EOS included."""
        return self.num_symbols + 1

    def init(self, key: jax.Array) -> Any:
        """Random parameters; the key is used up."""
        return init_params(self._model(), key)

    def logits(self, params: Any, prompts: range) -> jax.Array:
        """The table of some prompts, `[len(prompts), P, V]`, as a tabular policy has.

        Every string of L − 1 symbols is read once, and each prefix found in one of
        those that begin with it.
        """
        strings = list(np.ndindex(*[self.num_symbols] * (self.max_length - 1)))
        ids = np.zeros((len(prompts), len(strings), self.max_length), np.int32)
        ids[..., 0] = self.vocab_size + np.array(prompts)[:, None]
        ids[..., 1:] = np.array(strings)
        out = logits(self._model(), params, jnp.asarray(ids.reshape(-1, ids.shape[-1])))
        out = out.reshape(*ids.shape, -1)[..., : self.vocab_size]
        return out[:, *self._first_seen()]

    def table(self, params: Any) -> jax.Array:
        """That of all prompts, `[X, P, V]`, in float64 where that is switched on."""
        return self.logits(params, range(self.num_prompts)).astype(float)

    def _first_seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and position of each prefix, in the order of `Responses`."""
        base = self.num_symbols
        places = [
            (value * base ** (self.max_length - 1 - length), length)
            for length in range(self.max_length)
            for value in range(base**length)
        ]
        rows, at = zip(*places, strict=True)
        return np.array(rows), np.array(at)

    def _model(self) -> Transformer:
        size = self.vocab_size + self.num_prompts
        return Transformer(small_config(size, self.width, tie_embeddings=False))


@functools.partial(jax.jit, static_argnames=("policy", "num_steps"))
def fit_to_reference(
    policy: SharedPolicy, world: World, key: jax.Array, num_steps: int
) -> tuple[Any, jax.Array, jax.Array]:
    """Parameters that imitate the world's reference, by the exact gradient.

    Args:
      policy: The transformer.
      world: With a table for its reference, of as many prompts.
      key: Used up for the start.
      num_steps: Of Adam.

    Returns:
      The parameters, their table `[X, P, V]`, and KL(π_ref ‖ π) before each step.
    """
    prompts = range(policy.num_prompts)
    ref = jnp.asarray(world.ref_logps)
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, num_steps))

    def distance(params):
        logps = response_logps(policy.logits(params, prompts), world.responses)
        return kl_divergence(ref, logps)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(distance)(params)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), value

    params = policy.init(key)
    carry, distances = jax.lax.scan(
        step, (params, optimizer.init(params)), length=num_steps
    )
    return carry[0], policy.logits(carry[0], prompts), distances


def with_reference(world: World, logits: np.ndarray) -> World:
    """The world whose reference is this table; rewards are standardised under it.

    To be called under `jax.enable_x64(True)`.
    """
    ref_logits = np.asarray(logits, np.float64)
    ref_logps = np.asarray(response_logps(jnp.asarray(ref_logits), world.responses))
    rewards = standardised(world.rewards, np.exp(ref_logps))
    return dataclasses.replace(
        world, ref_logits=ref_logits, ref_logps=ref_logps, rewards=rewards
    )


def of_prompts(world: World, prompts: range) -> World:
    """The world of some prompts only."""
    rows = slice(prompts.start, prompts.stop)
    names = ("ref_logits", "ref_logps", "rewards")
    return dataclasses.replace(world, **{x: getattr(world, x)[rows] for x in names})
