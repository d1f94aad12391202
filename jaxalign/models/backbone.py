"""The transformer as objectives take a model: hidden states and an unembedding."""

from jaxalign.backbone import Backbone
from jaxalign.batch import Tokens
from jaxalign.models.transformer import Transformer, apply_hidden, unembedding


def backbone_of(model: Transformer) -> Backbone:
    """What `jaxalign.objectives.bind` and `jaxalign.rl.make_iteration` train.

    Packed rows keep to their sequences, and logits are never whole.

    Args:
      model: Its parameters are those of `init_params` or `load_params`.
    """

    def hidden(params, tokens: Tokens):
        return apply_hidden(
            model,
            params,
            tokens.inputs,
            tokens.positions,
            tokens.segment_ids,
            tokens.branch_ids,
        )

    return Backbone(hidden, lambda params: unembedding(model, params))
