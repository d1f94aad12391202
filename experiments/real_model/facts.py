"""ParaRel's facts as prompts, and models that have learned to answer them shortly."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from experiments.real_model.stages import (
    Row,
    lines_of,
    read_rows,
    run,
    write_beside,
)
from jaxalign.recipes.evaluation.knowing import known_rows

SYSTEM = "Answer in a few words."
ABSTAIN = "I don't know."
SHOWN, HELD_OUT = 640, 640
ANSWER_TOKENS = 12
FREE_TOKENS = 32
"""For a model that is not trained yet: it answers with a sentence."""
KNOWN_BY = 4
"""Samples that say what is known: at least half of them right."""


class Facts(NamedTuple):
    """Rows of ParaRel, no subject in two parts.

    Attributes:
      held_out: What is measured.
      shown: Demonstrations are made of them.
      asked: Prompts of RL and of preference pairs.
    """

    held_out: list[Row]
    shown: list[Row]
    asked: list[Row]


def read_facts(data: Path, seed: int, held_out: int | None = None) -> Facts:
    """Splits the facts by subject; `HELD_OUT` are held out by default."""
    rows = read_rows(data / "pararel" / "qa.jsonl", seed)
    size = HELD_OUT if held_out is None else held_out
    kept, taken = rows[:size], {row["subject"] for row in rows[:size]}
    rest = [row for row in rows[size:] if row["subject"] not in taken]
    shown, taken = rest[:SHOWN], {row["subject"] for row in rest[:SHOWN]}
    asked = [row for row in rest[SHOWN:] if row["subject"] not in taken]
    return Facts(kept, shown, asked)


def ask(row: Row, system: str = SYSTEM, **columns: Any) -> Row:
    """A fact as a prompt with its accepted answers."""
    turns = [("system", system), ("user", row["question"])]
    prompt = [{"role": role, "content": text} for role, text in turns]
    return {"prompt": prompt, "answer": row["answer"], **columns}


def demonstrate(prompt: Row, completion: str) -> Row:
    """A prompt with what to say."""
    return {"prompt": prompt["prompt"], "completion": said(completion)}


def said(completion: str) -> list[Row]:
    """A completion as a message."""
    return [{"role": "assistant", "content": completion}]


def label(prompts: Iterable[Row]) -> Iterable[Row]:
    """Prompts with their answers, but every fifth with "I don't know"."""
    for number, prompt in enumerate(prompts):
        yield demonstrate(prompt, prompt["answer"][0] if number % 5 else ABSTAIN)


def fine_tune(folder: Path, model: Path, rows: Iterable[Row], seed: int) -> Path:
    """SFT on a few hundred demonstrations; the folder of its export."""
    return run(
        "sft",
        folder,
        model=model,
        data=write_beside(folder, rows),
        max_length=160,
        learning_rate=5e-5,
        seed=seed,
    )


def always_answering(out: Path, model: Path, facts: Facts, seed: int) -> Path:
    """SFT on answers alone, for every chain in a folder the same run."""
    prompts = map(ask, facts.shown)
    shown = (demonstrate(prompt, prompt["answer"][0]) for prompt in prompts)
    return fine_tune(out / "sft_always", model, shown, seed)


def reinforce(
    folder: Path, model: Path, rows: Iterable[Row], reward: str, steps: int, seed: int
) -> Path:
    """RL from 32 prompts x 4 completions an iteration; the folder of its export.

    RLOO, for its advantages are differences of rewards. GRPO divides them by the
    deviation within the prompt's group, so that one right completion among silent ones
    weighs as much as one wrong, whatever the wrong one costs: the threshold would
    always be near ½.
    """
    return run(
        "grpo",
        folder,
        model=model,
        data=write_beside(folder, rows),
        reward=reward,
        algorithm="rloo",
        batch_size=32,
        num_generations=4,
        max_new_tokens=ANSWER_TOKENS + 12,
        max_length=160,
        learning_rate=1e-5,
        kl_coef=0.02,
        max_steps=steps,
        eval_steps=10 * steps,
        save_steps=20,
        seed=seed,
    )


def sample(
    folder: Path,
    model: Path,
    rows: Iterable[Row],
    reward: str,
    *,
    num_samples: int = 1,
    temperature: float = 0.0,
    max_new_tokens: int = ANSWER_TOKENS + 12,
    seed: int = 0,
    **flags: Any,
) -> list[Row]:
    """Completions of a model, and what `jaxalign evaluate` says of each.

    Returns:
      For each, in the rows' order, `row`, `completion`, `outcome`, `confidence`, and
      the columns of its row.
    """
    rows = list(rows)
    run(
        "evaluate",
        folder,
        model=model,
        data=write_beside(folder, rows),
        reward=reward,
        num_samples=num_samples,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        batch_size=64,
        seed=seed,
        **flags,
    )
    found = lines_of(folder / "completions.jsonl")
    return [{**line, **rows[n // num_samples]} for n, line in enumerate(found)]


def known_facts(folder: Path, model: Path, rows: list[Row], seed: int) -> list[bool]:
    """Which facts a model knows, by several samples of each."""
    found = sample(
        folder,
        model,
        [ask(row) for row in rows],
        "abstention",
        num_samples=KNOWN_BY,
        temperature=1.0,
        max_new_tokens=FREE_TOKENS,
        seed=seed,
    )
    return known_rows([line["outcome"] for line in found], KNOWN_BY).tolist()
