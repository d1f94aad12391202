"""A local language model as judge."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxalign.data.encode import Encoder
from jaxalign.data.records import Message, PromptOnly
from jaxalign.errors import UserError
from jaxalign.models import resolve_model
from jaxalign.recipes.evaluation.checkpoint import (
    Checkpoint,
    Sampling,
    open_checkpoint,
)
from jaxalign.recipes.prompt import encode_prompts
from jaxalign.rewards import Completion, rating_judge
from jaxalign.rewards.judge import RATE, Respond

LONGEST_VERDICT = 256


def respond_of(judge: Checkpoint, batch_size: int) -> Respond:
    """The likeliest replies of a checkpoint, as chat where it has a template."""
    encoder = Encoder(judge.tokenizer, judge.policy.config.vocab_size)
    chat = judge.tokenizer.template is not None
    sampling = Sampling(LONGEST_VERDICT, 0.0, None, 1.0, 1, batch_size, 0)

    def respond(requests: list[str]) -> list[str]:
        records = [PromptOnly((Message("user", x),) if chat else x) for x in requests]
        prompts, _ = encode_prompts(records, encoder)
        answers = judge.answers(prompts, sampling)
        return [x.completion for x in judge.completions(prompts, answers, 1)]

    return respond


def read_template(file: str | None, default: str) -> str:
    """The text of a prompt template in a file."""
    if file is None:
        return default
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the judge's template {file} cannot be read ({error}). Give a UTF-8 text "
            "file that has a place for the prompt and for what is to be judged."
        ) from error


def question_of(completion: Completion) -> str:
    """The conversation as text, without the marks of the policy's own template."""
    if completion.messages is None:
        return completion.prompt
    if len(completion.messages) == 1:
        return str(completion.messages[0]["content"])
    return "\n".join(f"{m['role']}: {m['content']}" for m in completion.messages)


def judge_reward(dtype: str) -> Callable[..., Any]:
    """Builds the reward `judge(model=FOLDER, ...)`; its first call loads the model.

    Args:
      dtype: Type of the matrix products.
    """
    opened = functools.cache(functools.partial(open_checkpoint, dtype=dtype))

    def judge(
        completions: list[Completion],
        *,
        model: str,
        template: str | None = None,
        lowest: float = 1.0,
        highest: float = 10.0,
        batch_size: int = 16,
    ) -> list[float | None]:
        """The grade that a language model gives, as a share of its scale from 0 to 1.

        None where its reply holds no grade.

        Args:
          completions: What to judge.
          model: The judge's folder.
          template: A text file with {prompt} and {completion} that asks for a grade in
            double brackets; other columns of the row can stand in it too.
          lowest: The grade that becomes 0.
          highest: The grade that becomes 1.
          batch_size: Replies computed at a time.
        """
        resolve_model(model)  # also without completions: is there such a folder?
        asked = [dataclasses.replace(x, prompt=question_of(x)) for x in completions]
        grade = rating_judge(
            lambda requests: respond_of(opened(model), batch_size)(requests),
            template=read_template(template, RATE),
            lowest=lowest,
            highest=highest,
        )
        return list(grade(asked))  # pyright: ignore[reportArgumentType]

    return judge
