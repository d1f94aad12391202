"""The papers: token log-probabilities and bool masks in, `LossOutput` out."""

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.dpo import dpo_loss, pairwise_logistic
from jaxalign.losses.sft import sft_loss

__all__ = ["LossOutput", "Pair", "dpo_loss", "pairwise_logistic", "sft_loss"]
