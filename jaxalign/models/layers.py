"""The parts of a transformer layer, as Flax Linen modules."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from jaxalign.models.attention import (
    blocked_attention,
    naive_attention,
    on_each_device,
)
from jaxalign.models.cached_attention import cached_attention
from jaxalign.models.config import ModelConfig
from jaxalign.models.rope import rotate
from jaxalign.models.visibility import Visibility
from jaxalign.ops import (
    constrain,
    few_times_weight,
    rows_times,
    split_positions,
    weight_times,
)

ACTIVATIONS = {
    "silu": nn.silu,
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: nn.gelu(x, approximate=True),
    "relu": nn.relu,
}
ATTENTION = {"naive": naive_attention, "blocked": blocked_attention}


class LayerInputs(NamedTuple):
    """What differs from layer to layer besides parameters; scanned along [L]."""

    window: jax.Array
    rope: jax.Array


class RowInputs(NamedTuple):
    """What all layers read about the rows.

    Attributes:
      visibility: Who sees whom.
      cos: `[K, R, T, rotary_dim / 2]` float32, K kinds of layers; or None.
      sin: The same.
    """

    visibility: Visibility
    cos: jax.Array | None
    sin: jax.Array | None


class Norm(nn.Module):
    """RMSNorm or LayerNorm over the last axis, computed in float32."""

    config: ModelConfig
    dtype: Any
    rms: bool = False

    @nn.compact
    def __call__(self, x):
        """`[..., D]` to `[..., D]` of type `dtype`."""
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        init = zeros if self.config.norm_plus_one else ones
        scale = self.param("scale", init, x.shape[-1:], jnp.float32)
        scale = scale.astype(jnp.float32) + float(self.config.norm_plus_one)
        # Squares of bfloat16 numbers would lose most of their digits.
        x = x.astype(jnp.float32)
        layer_norm = self.config.norm == "layer" and not self.rms
        if layer_norm:
            x = x - x.mean(-1, keepdims=True)
        x = x * jax.lax.rsqrt(
            jnp.square(x).mean(-1, keepdims=True) + self.config.norm_eps
        )
        x = x * jnp.broadcast_to(scale, x.shape)
        if layer_norm:
            bias = self.param("bias", zeros, x.shape[-1:], jnp.float32)
            x = x + jnp.broadcast_to(bias.astype(jnp.float32), x.shape)
        return x.astype(self.dtype)


class Projection(nn.Module):
    """x W + b with W stored `[in, out]`; for decoding as `decoding_kernel`, W^T.

    Attributes:
      features: Of the result.
      use_bias: Whether b is there.
      dtype: Type of the product.
      axes: What the two axes of W are, as `constrain` names them.
      init_scale: Of W's variance.
    """

    features: int
    use_bias: bool
    dtype: Any
    axes: tuple[str, str]
    init_scale: float = 1.0

    @nn.compact
    def __call__(self, x):
        """`[..., in]` to `[..., features]`."""
        # Rows and positions as one axis: the kernel's gradient is then a plain product,
        # without a transposed copy of what it is made of.
        rows = x.reshape(-1, x.shape[-1])
        one_token = x.shape[-2] == 1
        if self.has_variable("params", "decoding_kernel"):
            kernel = self.get_variable("params", "decoding_kernel")
            if one_token:
                y = few_times_weight(rows_times, rows, kernel, *self.axes)
            else:
                y = rows_times(rows, constrain(kernel, *reversed(self.axes)))
            y = y.astype(self.dtype)
        else:
            init = nn.initializers.variance_scaling(self.init_scale, "fan_in", "normal")
            shape = (x.shape[-1], self.features)
            kernel = self.param("kernel", init, shape, jnp.float32)
            if one_token:
                cast = kernel.astype(self.dtype)
                y = few_times_weight(jnp.dot, rows.astype(self.dtype), cast, *self.axes)
            else:
                # Two axes that are both split make no axis that is.
                rows = x if split_positions() else rows
                y = weight_times(rows.astype(self.dtype), kernel, *self.axes)
        y = y.reshape(*x.shape[:-1], self.features)
        y = constrain(y, "rows", "positions", self.axes[1])
        if self.use_bias:
            zeros = nn.initializers.zeros
            bias = self.param("bias", zeros, (self.features,), jnp.float32)
            y = y + jnp.broadcast_to(bias.astype(self.dtype), y.shape)
        return checkpoint_name(y, self.name or "")


class Attention(nn.Module):
    """Grouped-query attention, over the rows or over a layer's keys and values."""

    config: ModelConfig
    dtype: Any
    attention: str

    @nn.compact
    def __call__(self, x, cache, layer: LayerInputs, rows: RowInputs):
        """`[R, T, D]` to `[R, T, D]` and the cache with these tokens in it."""
        c = self.config

        def heads(name, count):
            size = count * c.head_dim
            axes = "width", "heads"
            y = Projection(size, c.qkv_bias, self.dtype, axes, name=name)(x)
            normed = c.qk_norm if name != "value" else "none"
            if normed == "projection":
                y = Norm(c, self.dtype, rms=True, name=f"{name}_norm")(y)
            y = y.reshape(*y.shape[:-1], count, c.head_dim)
            y = constrain(y, "rows", "positions", "heads", None)
            if normed == "head":
                y = Norm(c, self.dtype, rms=True, name=f"{name}_norm")(y)
            return y

        q, k = heads("query", c.num_heads), heads("key", c.num_kv_heads)
        v = heads("value", c.num_kv_heads)
        if rows.cos is not None and rows.sin is not None:
            cos, sin = rows.cos[0], rows.sin[0]
            if len(rows.cos) > 1:
                cos, sin = rows.cos[layer.rope], rows.sin[layer.rope]
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        options = {"scale": c.attention_scale, "softcap": c.attention_softcap}
        kinds = set(c.windows)
        # One window for all layers is a constant, which more kernels can take.
        window = c.windows[0] if len(kinds) == 1 else layer.window
        if cache is None:
            attend = functools.partial(ATTENTION[self.attention], **options)
            y = on_each_device(attend, q, k, v, rows.visibility, window)
        else:
            positions = rows.visibility.positions
            y, cache = cached_attention(q, k, v, cache, positions, window, **options)
        y = y.reshape(*y.shape[:2], c.num_heads * c.head_dim)
        y = constrain(y, "rows", "positions", "heads")
        # A layer adds to the residual stream twice: 2 L additions of variance 1 / (2
        # L).
        options = self.dtype, ("heads", "width"), 0.5 / c.num_layers
        return Projection(c.hidden_size, c.out_bias, *options, name="out")(y), cache


class Mlp(nn.Module):
    """The gated or plain two-layer perceptron."""

    config: ModelConfig
    dtype: Any

    @nn.compact
    def __call__(self, x):
        """`[R, T, D]` to `[R, T, D]`."""
        c = self.config
        act = ACTIVATIONS[c.activation]
        size, bias = c.intermediate_size, c.mlp_bias
        options = size, bias, self.dtype, ("width", "inner")
        y = Projection(*options, name="up")(x)
        y = act(Projection(*options, name="gate")(x)) * y if c.gated_mlp else act(y)
        options = self.dtype, ("inner", "width"), 0.5 / c.num_layers
        return Projection(c.hidden_size, bias, *options, name="down")(y)


class Layer(nn.Module):
    """One transformer layer; scanned by `Transformer`."""

    config: ModelConfig
    dtype: Any
    attention: str

    @nn.compact
    def __call__(self, carry, layer: LayerInputs, rows: RowInputs):
        """`(x [R, T, D] float32, cache)` to the same, and None."""
        c = self.config
        x, cache = carry

        def norm(name, present, x):
            if not present:
                return x.astype(self.dtype)
            return Norm(c, self.dtype, name=name)(x)

        y = norm("attention_norm", c.pre_norm, x)
        y, cache = Attention(c, self.dtype, self.attention, name="attention")(
            y, cache, layer, rows
        )
        y = norm("attention_post_norm", c.post_norm, y).astype(x.dtype)
        after = x + y
        z = norm("mlp_norm", c.pre_norm, x if c.parallel_residual else after)
        z = Mlp(c, self.dtype, name="mlp")(z)
        z = norm("mlp_post_norm", c.post_norm, z).astype(x.dtype)
        return (constrain(after + z, "rows", "positions", "width"), cache), None
