"""A language model as judge: one in a folder, or one that a server answers for."""

import functools

from jaxalign.data.records.record import Message, PromptOnly
from jaxalign.data.text.encode import Encoder
from jaxalign.models import resolve_model
from jaxalign.recipes.evaluation.checkpoint import (
    Checkpoint,
    EvaluationSampling,
    open_checkpoint,
)
from jaxalign.recipes.inputs.prompt import encode_prompts
from jaxalign.recipes.runs.samples import sampling_shown
from jaxalign.recipes.scoring.asking import Asking
from jaxalign.recipes.scoring.judge_rewards import JUDGES
from jaxalign.rewards.requests import Respond
from jaxalign.rewards.served.client import Clients

# Tokens of a reply: some reasons, and a verdict behind them.
LONGEST_VERDICT = 256


def respond_of(judge: Checkpoint, batch_size: int, *, shown: bool = False) -> Respond:
    """The likeliest replies of a checkpoint, as chat where it has a template.

    Args:
      judge: The model.
      batch_size: Replies computed at a time.
      shown: Whether people see how many there are; not beside the bar of a run.
    """
    encoder = Encoder(judge.tokenizer, judge.policy.config.vocab_size)
    chat = judge.tokenizer.template is not None
    # Greedy, so that the same completion gets the same verdict.
    sampling = EvaluationSampling(LONGEST_VERDICT, 0.0, None, 1.0, 1, batch_size, 0)

    def respond(requests: list[str]) -> list[str]:
        records = [PromptOnly((Message("user", x),) if chat else x) for x in requests]
        prompts, _ = encode_prompts(records, encoder)
        title = f"replies of {judge.name}"
        with sampling_shown(title, len(prompts), shown=shown) as progress:
            drawn = judge.sample(prompts, sampling, progress)
        return [x.completion for x in judge.completions(prompts, drawn, 1)]

    return respond


def judges(dtype: str, *, shown: bool = False) -> dict[str, Asking]:
    """The rewards of `JUDGES`; the first call with a folder loads its model.

    Args:
      dtype: Type of the matrix products.
      shown: As `respond_of` takes it.
    """
    # Rewards that name the same folder share its weights.
    opened = functools.cache(functools.partial(open_checkpoint, dtype=dtype))

    def asked(model: str, batch_size: int) -> Respond:
        resolve_model(model)  # also without completions: is there such a folder?
        # Loaded when it is first asked, so that all settings are checked before.
        return lambda requests: respond_of(opened(model), batch_size, shown=shown)(
            requests
        )

    clients = Clients()
    return {name: Asking(name, asked, clients) for name in JUDGES}
