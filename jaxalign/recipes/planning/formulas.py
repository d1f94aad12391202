"""Work by formula: the compiler's own count leaves out what a loop repeats."""

from jaxalign.models import ModelConfig


def matrix_params(config: ModelConfig) -> int:
    """Entries of all matrices of the layers that a token is multiplied by."""
    width, heads = config.hidden_size, config.num_heads * config.head_dim
    keys = config.num_kv_heads * config.head_dim
    # As wide as all heads: queries and output. As wide as the keys' heads: keys,
    # values.
    attention = width * (2 * heads + 2 * keys)
    mlp = (3 if config.gated_mlp else 2) * width * config.intermediate_size
    return config.num_layers * (attention + mlp)


def forward_flops(
    config: ModelConfig, tokens: float, targets: float, length: float
) -> float:
    """Products and sums of a forward pass, 2 for each entry that a token meets.

    Args:
      config: Of the model.
      tokens: Through the layers.
      targets: Through the unembedding.
      length: Keys that a token attends to, on average.
    """
    heads = config.num_heads * config.head_dim
    # Attention multiplies with each key and each value, 2 operations an entry.
    layers = 2 * matrix_params(config) + 4 * config.num_layers * heads * length
    head = 2 * config.hidden_size
    if config.head == "unembed":
        head *= config.vocab_size
    return tokens * layers + targets * head


def train_flops(
    config: ModelConfig, tokens: float, targets: float, length: float
) -> float:
    """Forward, and twice as much back; what is computed anew does not count."""
    return 3 * forward_flops(config, tokens, targets, length)
