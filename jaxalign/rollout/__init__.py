"""Sampling: a model as functions, prompts as token ids, and what it answers."""

from jaxalign.rollout.generate import generate
from jaxalign.rollout.loop import Decoder
from jaxalign.rollout.prompts import Completions
from jaxalign.rollout.sampling import NUCLEUS_CANDIDATES, sample_tokens

__all__ = [
    "NUCLEUS_CANDIDATES",
    "Completions",
    "Decoder",
    "generate",
    "sample_tokens",
]
