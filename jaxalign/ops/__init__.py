"""Arrays in, arrays out: log-probabilities, masked means and what losses stand on."""

from jaxalign.ops.chunked import chunked_stats, fused_token_loss
from jaxalign.ops.logps import TokenStats, sequence_logps, token_logps, token_stats
from jaxalign.ops.reduce import Mean, masked, sum_dtype

__all__ = [
    "Mean",
    "TokenStats",
    "chunked_stats",
    "fused_token_loss",
    "masked",
    "sequence_logps",
    "sum_dtype",
    "token_logps",
    "token_stats",
]
