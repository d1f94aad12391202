"""The model of a shape, as `jaxalign.models` describes it."""

from experiments.benchmarks.shapes import Shape
from jaxalign.models import ModelConfig, Rope


def model_config_of(shape: Shape) -> ModelConfig:
    """A Llama of this shape."""
    size = shape.width // shape.heads
    return ModelConfig(
        family="llama",
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        intermediate_size=shape.ffn,
        num_layers=shape.layers,
        num_heads=shape.heads,
        num_kv_heads=shape.kv_heads,
        head_dim=size,
        max_positions=2048,
        tie_embeddings=shape.tied,
        windows=(None,) * shape.layers,
        ropes=(Rope(),) * shape.layers,
        rotary_dim=size,
        attention_scale=size**-0.5,
    )
