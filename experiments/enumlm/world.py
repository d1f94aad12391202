"""Prompts, a reference policy and the gold reward of every response."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.enumlm.policy import response_logps
from experiments.enumlm.responses import Responses, list_responses


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class World:
    """X prompts, all equally likely; S responses to each.

    Attributes:
      responses: The responses, the same for every prompt.
      ref_logits: `[X, P, V]`, the reference policy.
      ref_logps: `[X, S]`, its log-probability of each response.
      rewards: `[X, S]`, gold reward, of mean 0 and variance 1 under the reference.
      features: `[S, F]`, what the reward is linear in, but for its noise.
    """

    responses: Responses
    ref_logits: np.ndarray
    ref_logps: np.ndarray
    rewards: np.ndarray
    features: np.ndarray


def make_world(
    seed: int,
    *,
    num_symbols: int = 2,
    max_length: int = 5,
    num_prompts: int = 8,
    noise: float = 0.2,
) -> World:
    """Draws a reference and a reward that is linear in n-gram counts, plus noise."""
    rng = np.random.default_rng(seed)
    responses = list_responses(num_symbols, max_length)
    states = (responses.num_prefixes, responses.vocab_size)
    ref_logits = rng.normal(0, 0.7, (num_prompts, *states))
    with jax.enable_x64(True):
        ref_logps = np.asarray(response_logps(jnp.asarray(ref_logits), responses))
    ref = np.exp(ref_logps)
    np.testing.assert_allclose(ref.sum(-1), 1, rtol=1e-12)

    features = count_ngrams(responses)
    weights = rng.normal(0, 1, (num_prompts, features.shape[-1]))
    rewards = weights @ features.T
    rewards /= rewards.std(-1, keepdims=True)
    rewards += noise * rng.normal(0, 1, rewards.shape)
    rewards = standardised(rewards, ref)
    return World(responses, ref_logits, ref_logps, rewards, features)


def standardised(x: np.ndarray, ref: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 under the reference, prompt by prompt.

    Args:
      x: `[X, S, ...]`; what is the same for all responses becomes 0.
      ref: The reference's probabilities, `[X, S]`.
    """
    ref = ref.reshape(*ref.shape, *[1] * (x.ndim - 2))
    x = x - np.sum(ref * x, 1, keepdims=True)
    spread = np.sqrt(np.sum(ref * x**2, 1, keepdims=True))
    return x / np.where(spread > 0, spread, 1.0)


def count_ngrams(responses: Responses) -> np.ndarray:
    """Unigram counts, bigram counts and length of each response: `[S, V + V² + 1]`."""
    v = responses.vocab_size
    features = np.zeros((responses.num_responses, v + v * v + 1))
    for row, tokens, mask in zip(
        features, responses.token, responses.mask, strict=True
    ):
        tokens = tokens[mask]
        np.add.at(row, tokens, 1)
        np.add.at(row, v + v * tokens[:-1] + tokens[1:], 1)
        row[-1] = len(tokens)
    return features
