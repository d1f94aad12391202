"""`config.json` of models with a scalar head: `...ForSequenceClassification`.

The head of transformers has no bias, so one that normalises the scores cannot lie among
the weights. It stands in `config.json` as `score_bias`: we add it, others give scores
that differ from ours by this constant.
"""

import re
from collections.abc import Mapping
from typing import Any

from jaxalign.models.config import ModelConfig
from jaxalign.models.hf.fields import Fields

_LARGEST_BIAS = 1e30
_SPECIAL = {"Gemma3ForCausalLM": "Gemma3TextForSequenceClassification"}


def classifier_name(architecture: str) -> str:
    """The class with a scalar head that belongs to a language model's.

    >>> classifier_name("GPT2LMHeadModel")
    'GPT2ForSequenceClassification'
    """
    common = re.sub(
        "(ForCausalLM|LMHeadModel)$", "ForSequenceClassification", architecture
    )
    return _SPECIAL.get(architecture, common)


def num_labels(data: Mapping[str, Any]) -> int:
    """How many numbers the head gives; transformers takes 2 if nothing is said.

    >>> num_labels({"id2label": {"0": "LABEL_0"}})
    1
    """
    if data.get("num_labels") is not None:
        return data["num_labels"]
    labels = data.get("id2label")
    return len(labels) if isinstance(labels, Mapping) else 2


def score_fields(f: Fields) -> dict[str, Any]:
    """The fields of `ModelConfig` that a scalar head has; `UserError` for another."""
    if num_labels(f.data) != 1:
        key = "num_labels" if "num_labels" in f.data else "id2label"
        raise f.wrong(key, "one label is wanted, whose logit is the score")
    bias = f.get("score_bias", default=0.0)
    if not isinstance(bias, int | float) or not abs(bias) <= _LARGEST_BIAS:
        raise f.wrong("score_bias", "a finite number of usual size is wanted")
    return {"head": "score", "score_bias": float(bias)}


def as_classifier(
    data: Mapping[str, Any],
    architecture: str,
    config: ModelConfig,
    pad_token_id: int | None,
) -> dict[str, Any]:
    """The keys of a language model's `config.json`, or a classifier's, with this head.

    Args:
      data: Of the model that training began with.
      architecture: The language model's class.
      config: Whose `score_bias` is written.
      pad_token_id: None leaves it. transformers reads the score at the last token that
        is not this one, so no sequence may end in it.
    """
    fields: dict[str, Any] = {"architectures": [classifier_name(architecture)]}
    if num_labels(data) != 1:
        fields |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
        fields["num_labels"] = 1
    if config.score_bias or "score_bias" in data:
        fields["score_bias"] = config.score_bias
    if pad_token_id is not None:
        fields["pad_token_id"] = pad_token_id
    return {k: v for k, v in {**data, **fields}.items() if k != "problem_type"}
