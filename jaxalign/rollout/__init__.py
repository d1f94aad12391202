"""Sampling: a model as functions, prompts as token ids, and completions of them."""

from jaxalign.rollout.decoder import Decoder
from jaxalign.rollout.engine import SamplingProgress, Stopped
from jaxalign.rollout.generate import generate
from jaxalign.rollout.mixture import geometric_mixture
from jaxalign.rollout.prompts import Completions
from jaxalign.rollout.recomputing import recomputing_decoder
from jaxalign.rollout.sampling import NUCLEUS_CANDIDATES, sample_tokens
from jaxalign.rollout.shaping import allowed_logits, penalised
from jaxalign.rollout.stop_texts import Ends, StopTexts
from jaxalign.rollout.transformer import decoder_of

__all__ = [
    "NUCLEUS_CANDIDATES",
    "Completions",
    "Decoder",
    "Ends",
    "SamplingProgress",
    "StopTexts",
    "Stopped",
    "allowed_logits",
    "decoder_of",
    "generate",
    "geometric_mixture",
    "penalised",
    "recomputing_decoder",
    "sample_tokens",
]
