"""The smallest real transformer, and as an objective takes it."""

import jax

from jaxalign.models import (
    ModelConfig,
    Rope,
    Transformer,
    init_params,
    logits,
)


def make_model(vocab_size=32, hidden_size=16, **changes) -> Transformer:
    """Two layers; `changes` go to the config."""
    config = ModelConfig(
        family="llama",
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=8,
        max_positions=64,
        windows=(None, None),
        ropes=(Rope(), Rope()),
        rotary_dim=8,
        attention_scale=8**-0.5,
        **changes,
    )
    return Transformer(config)


def make_params(model: Transformer, scale=10.0):
    """Larger than at the start of training, so that predictions differ."""

    @jax.jit
    def make(key):
        return jax.tree.map(lambda x: scale * x, init_params(model, key))

    return make(jax.random.key(0))


def apply_of(model: Transformer):
    """`(params, [B, T] ids) -> [B, T, V]`: right padding needs no mask."""
    return lambda params, ids: logits(model, params, ids)
