"""The models and batches that are measured, the same for every library.

Plain Python, without the package: the peers' interpreters import it too.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Shape:
    """A Llama of random weights and the dense batch that it is trained on.

    Attributes:
      vocab: Rows of the embedding.
      width: Of the residual stream.
      layers: Number of layers.
      heads: Query heads.
      kv_heads: Key and value heads.
      ffn: Width of the MLP.
      tied: The unembedding is the embedding.
      length: Tokens of a dense row; of one side of a pair.
      batch: Dense rows, or pairs, of an update.
    """

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    tied: bool
    length: int
    batch: int


SHAPES = {
    "A": Shape(32_000, 256, 4, 4, 4, 1024, False, 256, 8),
    "B": Shape(49_152, 576, 30, 9, 3, 1536, True, 256, 4),  # SmolLM2-135M
    "1B": Shape(128_256, 2048, 16, 32, 8, 8192, True, 2048, 8),  # Llama-3.2-1B
    "tiny": Shape(49_152, 32, 2, 4, 2, 64, True, 32, 2),  # to try the scripts out
}

PROMPT_SHARE = {"dpo_128": 2, "dpo_64": 4}
"""A dense pair's prompt is `length` over this: TRL's scripts halve, Tunix's quarter."""

DENSE = ("sft", *PROMPT_SHARE)
RAGGED = ("ragged_dpo", "ragged_sft")
TASKS = (*DENSE, *RAGGED)

LEARNING_RATE = 1e-5
MAX_GRAD_NORM = 1.0
DPO_BETA = 0.1
"""AdamW without decay, betas 0.9 and 0.999, at a constant rate, for everybody."""
