"""Measures of a reward model: how well it orders the completions of pairs."""

import numpy as np
from rich.console import Console

from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.tokenizer import load_tokenizer
from jaxalign.errors import UserError
from jaxalign.models import read_config, resolve_model
from jaxalign.recipes.evaluation.config import Config
from jaxalign.recipes.evaluation.measure import Estimator, Measure, pairs
from jaxalign.recipes.evaluation.rows import open_reader
from jaxalign.recipes.inputs.display import tell_clock
from jaxalign.recipes.inputs.rows import template_arguments
from jaxalign.recipes.scoring.scorer import ends, load_scorer

# Flags that ask a model to write, or compare what it writes.
_OF_POLICIES = (
    "ref",
    "reward",
    "reward_model",
    "judge",
    "known",
    "known_by",
    "confidence",
)


def is_reward_model(name: str) -> bool:
    """Whether a folder, or a name on the hub, is a model with a scalar head."""
    return read_config(resolve_model(name)).head == "score"


def evaluate_reward_model(config: Config, console: Console) -> dict[str, Measure]:
    """Accuracy, margin, log-loss and mean scores of both sides, over pairs.

    Raises:
      UserError: The rows are no pairs, or a flag asks for what needs a language model.
    """
    given = [f"--{x.replace('_', '-')}" for x in _OF_POLICIES if getattr(config, x)]
    if given:
        raise UserError(
            f"{config.model} is a reward model: it can be measured on preference "
            f"pairs, but it completes no prompt, which {', '.join(given)} would need. "
            "Leave them out, or name a language model as --model and this folder as "
            "--reward-model."
        )
    folder = resolve_model(config.model)
    model = read_config(folder)
    tokenizer = load_tokenizer(folder, chat_template=config.chat_template)
    tell_clock(tokenizer, console)
    encoder = Encoder(
        tokenizer,
        model.vocab_size,
        template_kwargs=template_arguments(config.chat_template_kwargs),
        markers=config.markers_in_text,
    )
    reader = open_reader(config, encoder, console)
    form = reader.form("preference", must=True)
    assert form is not None
    examples = reader.examples(form, min(config.max_length, model.max_positions))
    scorer = load_scorer(config.model, dtype=config.dtype, shown=True)
    # `ends` lists the completions of a pair one behind the other, the chosen one first.
    scores = scorer(ends(examples)).astype(np.float64).reshape(-1, 2)
    estimator = Estimator(config.seed)
    # −log σ of the margin, in a form that does not overflow.
    log_loss = np.logaddexp(0, scores[:, 1] - scores[:, 0])
    return {
        **pairs(estimator, "rewards", scores),
        "log_loss": estimator.mean("log_loss", log_loss.tolist()),
    }
