"""Scalar heads: reward models, whose score is read at a sequence's end, and critics."""

import dataclasses
import pathlib

import chex
import jax
import jax.numpy as jnp

from jaxalign.models.config import ModelConfig
from jaxalign.models.folder.weights import load_params
from jaxalign.models.param_shapes import param_shapes
from jaxalign.models.transformer import Transformer, apply_hidden, init_score
from jaxalign.ops import constrain


def scalar_scores(
    model: Transformer,
    params,
    inputs,
    at,
    positions=None,
    segment_ids=None,
    branch_ids=None,
) -> jax.Array:
    """What the scalar head reads from the hidden states at some positions.

    A reward model's score is read at the last token of a sequence, at its own hidden
    state; a critic's value of a token at the state that predicts it, one before. Both
    are found by index and never by comparing ids, so that neither padding nor a pad
    token that equals the stop token moves them.

    Args:
      model: A transformer whose config has the head "score".
      params: Its parameters, with `score/kernel` `[D, 1]`.
      inputs: `[R, T]` int32 token ids.
      at: `[R, M]` int32, the positions to read.
      positions: As for `apply_hidden`.
      segment_ids: As for `apply_hidden`.
      branch_ids: As for `apply_hidden`.

    Returns:
      `[R, M]`, float32.

    Raises:
      ValueError: The model has another head.
    """
    if model.config.head != "score":
        raise ValueError(f"a model with the head {model.config.head!r} gives no scores")
    chex.assert_rank(at, 2)
    chex.assert_type(at, int)
    hidden = apply_hidden(model, params, inputs, positions, segment_ids, branch_ids)
    hidden = constrain(hidden, "rows", None, "width")
    states = jnp.take_along_axis(hidden, at[..., None], axis=1).astype(jnp.float32)
    kernel = params["score"]["kernel"].astype(jnp.float32)
    # On TPUs factors would otherwise be rounded to bfloat16.
    scores = jnp.einsum("rmd,dk->rmk", states, kernel, precision="highest")
    return scores[..., 0] + model.config.score_bias


def with_score_head(config: ModelConfig) -> ModelConfig:
    """The same transformer with a scalar head in place of its own."""
    return dataclasses.replace(config, head="score")


def normalise_score(
    config: ModelConfig, params, *, mean: float, deviation: float = 1.0
):
    """The same reward model with the scores (s - mean) / deviation.

    The gain goes into the kernel. The bias stands in the config, because the head of a
    Hugging Face checkpoint has none: there, scores differ from ours by this constant.

    Args:
      config: Of the model, with its own bias if it has one.
      params: Its parameters.
      mean: Of the scores that shall have mean 0.
      deviation: What shall become 1, > 0.

    Returns:
      The config and the parameters of the new model.
    """
    bias = (config.score_bias - mean) / deviation
    kernel = params["score"]["kernel"] / deviation
    params = {**params, "score": {"kernel": kernel}}
    return dataclasses.replace(config, score_bias=bias), params


def load_with_new_score(
    folder: pathlib.Path | str,
    config: ModelConfig,
    key: jax.Array,
    shardings=None,
):
    """The parameters of a language model with a fresh scalar head in place of its own.

    Args:
      folder: The language model's folder.
      config: What `with_score_head` gives for it.
      key: Consumed, for the head: N(0, 1 / (D + 1)), as in
        https://arxiv.org/abs/2009.01325.
      shardings: A tree of `jax.sharding.Sharding` like the parameters; default:
        everything on the first device.

    Returns:
      The float32 parameter tree of `init_params` for `config`.
    """
    places = dict(shardings or param_shapes(config))
    place = places.pop("score")
    bare = dataclasses.replace(config, head="none")
    trunk = load_params(folder, bare, places if shardings else None)
    make = jax.jit(
        lambda key: init_score(config.hidden_size, key),
        out_shardings=place if shardings else None,
    )
    return {**trunk, "score": make(key)}
