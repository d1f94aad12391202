"""What a decoder-only transformer computes, as plain hashable data."""

import dataclasses
from typing import Literal

Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]
RopeScaling = Literal["default", "linear", "llama3", "yarn"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rope:
    """Rotary position embedding of one layer (https://arxiv.org/abs/2104.09864)."""

    theta: float = 10_000.0
    """Base of the frequencies."""
    scaling: RopeScaling = "default"
    """How frequencies are stretched for longer contexts."""
    factor: float = 1.0
    """By how much the context is stretched (linear, llama3, yarn)."""
    original_positions: int = 0
    """Context length before stretching (llama3, yarn)."""
    low_freq_factor: float = 1.0
    """llama3: wavelengths above original / this are stretched in full."""
    high_freq_factor: float = 4.0
    """llama3: wavelengths below original / this are left alone."""
    beta_fast: float = 32.0
    """yarn: rotations over the original context above which nothing is stretched."""
    beta_slow: float = 1.0
    """yarn: rotations below which frequencies are stretched in full."""
    truncate: bool = True
    """yarn: round the ends of the ramp to whole dimensions."""
    attention_factor: float = 1.0
    """yarn: what cosines and sines are multiplied by."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """All that changes the mathematics of the model, and nothing else.

    Two equal configs compute the same function of the same parameters. The layout of
    a checkpoint (`family`) is here too, because a folder is written back as it came.
    """

    family: str
    """Names of the tensors in a checkpoint: `llama`, `gemma2`, `gpt2`, ..."""
    vocab_size: int
    """Token ids are 0 .. vocab_size - 1."""
    hidden_size: int
    """Width D of the residual stream."""
    intermediate_size: int
    """Width of the MLP."""
    num_layers: int
    """Number of layers L."""
    num_heads: int
    """Query heads."""
    num_kv_heads: int
    """Key and value heads; divides `num_heads`."""
    head_dim: int
    """Width of one head."""
    max_positions: int
    """Context length; for learned positions the rows of their table."""
    vocab_rows: int = 0
    """Rows of the embedding, when padded above `vocab_size`; 0: not padded."""
    head: Literal["unembed", "score", "none"] = "unembed"
    """What reads the hidden states: an unembedding, a scalar score, or nothing."""
    tie_embeddings: bool = True
    """The unembedding is the embedding."""
    score_bias: float = 0.0
    """Added to every score; no parameter, because Hugging Face's head has none."""

    windows: tuple[int | None, ...] = ()
    """Sliding window of each layer in tokens; None: full causal attention."""
    ropes: tuple[Rope | None, ...] = ()
    """Rotary embedding of each layer; None: no position information there."""
    rotary_dim: int = 0
    """Rotated channels of each head (all of them: `head_dim`)."""
    learned_positions: bool = False
    """Adds a learned vector per position to the embedding (GPT-2)."""

    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm, or LayerNorm with a bias."""
    norm_eps: float = 1e-6
    """Added to the mean square (RMSNorm) or to the variance (LayerNorm)."""
    norm_plus_one: bool = False
    """Norms multiply by 1 + scale instead of by scale (Gemma)."""
    pre_norm: bool = True
    """Norms before attention and MLP."""
    post_norm: bool = False
    """Norms on what attention and MLP add to the residual stream."""
    parallel_residual: bool = False
    """Attention and MLP read the same residual stream (GPT-NeoX)."""

    qkv_bias: bool = False
    """Biases on query, key and value."""
    out_bias: bool = False
    """Bias on the attention output."""
    mlp_bias: bool = False
    """Biases in the MLP."""
    qk_norm: Literal["none", "head", "projection"] = "none"
    """RMSNorm on queries and keys: per head, or over all heads at once."""
    attention_scale: float = 1.0
    """Scores are multiplied by this."""
    attention_softcap: float | None = None
    """Scores become c tanh(score / c)."""
    final_softcap: float | None = None
    """Logits become c tanh(logit / c)."""

    gated_mlp: bool = True
    """down(act(gate(x)) up(x)) instead of down(act(up(x)))."""
    activation: Activation = "silu"
    """Nonlinearity of the MLP."""
    embed_scale: float = 1.0
    """The embedding is multiplied by this (Gemma)."""

    def __post_init__(self):
        """Refuses configurations that no layer could be built from."""
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads {self.num_heads} is no multiple of "
                f"num_kv_heads {self.num_kv_heads}"
            )
        for name in ("windows", "ropes"):
            if len(getattr(self, name)) != self.num_layers:
                raise ValueError(
                    f"`{name}` has {len(getattr(self, name))} entries "
                    f"for {self.num_layers} layers"
                )

    @property
    def embedding_rows(self) -> int:
        """Rows V of the embedding, padding included."""
        return self.vocab_rows or self.vocab_size
