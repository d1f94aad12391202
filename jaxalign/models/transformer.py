"""One decoder-only transformer for every supported family."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxalign.backbone import Head
from jaxalign.models.cached_attention import LayerCache
from jaxalign.models.config import ModelConfig
from jaxalign.models.layers import Layer, LayerInputs, Norm, RowInputs
from jaxalign.models.rope import cos_sin, layer_tables
from jaxalign.models.visibility import Visibility, visibility
from jaxalign.ops import constrain

REMAT_POLICIES = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "up": jax.checkpoint_policies.save_only_these_names(
        "query", "key", "value", "out", "gate"
    ),
    "mlp": jax.checkpoint_policies.save_only_these_names(
        "query", "key", "value", "out"
    ),
}
"""What the backward pass keeps of a layer; the scores are never kept.

`none` recomputes nothing; `dots` all but the outputs of the projections; `up` also the
MLP's projection of that name; `mlp` all projections inside the MLP; `full` the whole
layer.
"""

# Wider than any row.
_NO_WINDOW = np.iinfo(np.int32).max


class Transformer(nn.Module):
    """Token ids to hidden states after the final norm.

    Attributes:
      config: What is computed.
      dtype: Type of the matrix products; the residual stream stays float32.
      remat: What the backward pass keeps of each layer: a name of `REMAT_POLICIES`.
      attention: "blocked" (default) or "naive".
    """

    config: ModelConfig
    dtype: Any = jnp.float32
    remat: str = "none"
    attention: str = "blocked"

    @nn.compact
    def __call__(self, inputs, positions, rows: Visibility, cache=None):
        """`[R, T]` ids to `[R, T, D]` hidden states and the cache (or None)."""
        c = self.config
        # As in GPT-2 and its successors.
        init = nn.initializers.normal(0.02)
        table = nn.Embed(
            c.embedding_rows, c.hidden_size, embedding_init=init, name="embed"
        )
        x = _looked_up(table, inputs) * c.embed_scale
        if c.learned_positions:
            learned = nn.Embed(
                c.max_positions,
                c.hidden_size,
                embedding_init=init,
                name="position_embed",
            )
            # Padding may reach behind the table, where a look-up gives NaN: masked as
            # it is, attention would multiply it by 0, which is NaN again.
            x = x + _looked_up(learned, jnp.minimum(positions, c.max_positions - 1))
        if c.head == "score":
            self.variable(
                "params",
                "score",
                lambda: init_score(c.hidden_size, self.make_rng("params")),
            )
        elif c.head == "unembed" and not c.tie_embeddings:
            shape = (c.embedding_rows, c.hidden_size)
            self.variable("params", "unembed", self._unembed_init, shape)
        cos, sin = cos_sin(c, positions) if c.rotary_dim else (None, None)
        layers, per_row = _layer_inputs(c), RowInputs(rows, cos, sin)
        if cache is None:
            (x, _), _ = self._scanned_layer()(
                c, self.dtype, self.attention, name="layers"
            )((x, None), layers, per_row)
        elif isinstance(cache, LayerCache):
            x, cache = self._in_a_loop(x, cache, layers, per_row)
        else:
            x, cache = self._one_by_one(x, cache, layers, per_row)
        return Norm(c, self.dtype, name="final_norm")(x), cache

    def _one_by_one(self, x, cache, layers, per_row):
        """Layers with arrays of their own: a scan would copy what it takes apart."""
        layer = Layer(self.config, self.dtype, self.attention, parent=None)
        stacked = self.variables["params"]["layers"]
        params = stacked if isinstance(stacked, tuple) else unstack(stacked)
        new = []
        for i, (own, pair) in enumerate(zip(params, cache, strict=True)):
            inputs = jax.tree.map(lambda a, i=i: a[i], layers)
            applied: Any = layer.apply({"params": own}, (x, pair), inputs, per_row)
            (x, pair), _ = applied
            new.append(pair)
        return x, tuple(new)

    def _in_a_loop(self, x, cache: LayerCache, layers, per_row):
        """The cache of all layers is written in place, one layer after the other."""
        layer = Layer(self.config, self.dtype, self.attention, parent=None)

        def body(carry, taken):
            x, cache = carry
            own, inputs, number = taken
            pair = cache._replace(layer=number)
            applied: Any = layer.apply({"params": own}, (x, pair), inputs, per_row)
            (x, pair), _ = applied
            return (x, pair._replace(layer=None)), None

        numbers = jnp.arange(self.config.num_layers, dtype=jnp.int32)
        taken = self.variables["params"]["layers"], layers, numbers
        return jax.lax.scan(body, (x, cache), taken)[0]

    def _unembed_init(self, shape):
        key = self.make_rng("params")
        return {"kernel": nn.initializers.normal(0.02)(key, shape, jnp.float32)}

    def _scanned_layer(self):
        layer = Layer
        if self.remat != "none":
            policy = REMAT_POLICIES[self.remat]
            # In a scan nothing can be merged, so barriers would only cost.
            layer = nn.remat(layer, policy=policy, prevent_cse=False)
        return nn.scan(
            layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(0, nn.broadcast),  # pyright: ignore[reportArgumentType]
            length=self.config.num_layers,
        )


def _looked_up(table: nn.Embed, ids: jax.Array) -> jax.Array:
    """Rows of an embedding, float32, where the rows of the batch lie.

    Each device looks up its own columns for the rows of all devices that share the
    table, and then they exchange: the table and its gradient stay where they are.
    """
    x = table(constrain(ids.reshape(-1), "group")).astype(jnp.float32)
    x = constrain(constrain(x, "group", "stored"), "rows", "width")
    return constrain(x.reshape(*ids.shape, -1), "rows", "positions", "width")


def _layer_inputs(config: ModelConfig) -> LayerInputs:
    windows = [_NO_WINDOW if w is None else w for w in config.windows]
    return LayerInputs(
        jnp.asarray(windows, jnp.int32),
        jnp.asarray(layer_tables(config)[1]),
    )


def init_score(hidden_size: int, key: jax.Array) -> dict[str, jax.Array]:
    """The parameters of a fresh scalar head, N(0, 1 / (D + 1)).

    Args:
      hidden_size: D.
      key: Consumed.

    Returns:
      `{"kernel": [D, 1]}`, float32.
    """
    normal = nn.initializers.normal((hidden_size + 1) ** -0.5)
    return {"kernel": normal(key, (hidden_size, 1), jnp.float32)}


def unstack(stacked) -> tuple:
    """A tree of `[L, ...]` leaves to a tuple of L trees."""
    length = jax.tree.leaves(stacked)[0].shape[0]
    return tuple(jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(length))


def init_params(model: Transformer, key: jax.Array):
    """Random float32 parameters: a nested dict, every layer leaf stacked `[L, ...]`.

    Args:
      model: The transformer.
      key: Consumed.

    Returns:
      The parameters; `jax.eval_shape` of this gives the shapes alone.
    """
    ids = jnp.zeros((1, 1), jnp.int32)
    return model.init(key, ids, ids, visibility(ids))["params"]


def apply_hidden(
    model: Transformer,
    params,
    inputs,
    positions=None,
    segment_ids=None,
    branch_ids=None,
) -> jax.Array:
    """Hidden states after the final norm, for packed rows.

    Without `segment_ids` each row is one sequence; padding on its right then needs no
    mask, padding on its left needs `segment_ids` (0 there) and `positions`.

    Args:
      model: The transformer.
      params: Its parameters.
      inputs: `[R, T]` int32 token ids.
      positions: `[R, T]` int32 position of each token in its own sequence; default
        0 .. T - 1.
      segment_ids: `[R, T]` int32, from 1; 0 is padding; default all one sequence.
      branch_ids: `[R, T]` int32: 0 for a shared prompt, or the completion's number.

    Returns:
      `[R, T, D]` of the model's `dtype`, finite also in padding.
    """
    given = [x for x in (positions, segment_ids, branch_ids) if x is not None]
    chex.assert_rank(inputs, 2)
    chex.assert_equal_shape([inputs, *given])
    chex.assert_type([inputs, *given], int)
    if positions is None:
        positions = jnp.broadcast_to(
            jnp.arange(inputs.shape[1], dtype=jnp.int32), inputs.shape
        )
    rows = visibility(positions, segment_ids, branch_ids)
    return model.apply({"params": params}, inputs, positions, rows)[0]


def unembedding(model: Transformer, params) -> Head:
    """The matrix that turns hidden states into logits, tied or not."""
    c = model.config
    if c.head != "unembed":
        raise ValueError(f"a model with the head {c.head!r} has no unembedding")
    tied = c.tie_embeddings
    kernel = params["embed"]["embedding"] if tied else params["unembed"]["kernel"]
    return Head(kernel, c.final_softcap, c.vocab_size)


def hidden_to_logits(hidden: jax.Array, unembed: Head) -> jax.Array:
    """`[..., D]` hidden states to `[..., vocab_size]` float32 logits."""
    kernel = unembed.kernel[: unembed.vocab_size].astype(hidden.dtype)
    scores = jnp.einsum(
        "...d,vd->...v", hidden, kernel, preferred_element_type=jnp.float32
    )
    if unembed.softcap is not None:
        scores = unembed.softcap * jnp.tanh(scores / unembed.softcap)
    return scores


def logits(
    model: Transformer,
    params,
    inputs,
    positions=None,
    segment_ids=None,
    branch_ids=None,
) -> jax.Array:
    """Whole logits, for small vocabularies and for tests: training never holds them.

    Args:
      model: The transformer.
      params: Its parameters.
      inputs: `[R, T]` int32 token ids.
      positions: As for `apply_hidden`.
      segment_ids: As for `apply_hidden`.
      branch_ids: As for `apply_hidden`.

    Returns:
      `[R, T, vocab_size]`, float32.
    """
    hidden = apply_hidden(model, params, inputs, positions, segment_ids, branch_ids)
    return hidden_to_logits(hidden, unembedding(model, params))
