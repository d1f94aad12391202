"""ParaRel's facts as prompts, and models that have learned to answer them shortly."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from experiments.real_model.stages import Row, read_rows, run, write_rows

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


def read_facts(data: Path, seed: int) -> Facts:
    """Splits the facts by subject."""
    rows = read_rows(data / "pararel" / "qa.jsonl", seed)
    held_out, taken = rows[:HELD_OUT], {row["subject"] for row in rows[:HELD_OUT]}
    rest = [row for row in rows[HELD_OUT:] if row["subject"] not in taken]
    shown, taken = rest[:SHOWN], {row["subject"] for row in rest[:SHOWN]}
    asked = [row for row in rest[SHOWN:] if row["subject"] not in taken]
    return Facts(held_out, shown, asked)


def ask(row: Row, system: str = SYSTEM, **columns: Any) -> Row:
    """A fact as a prompt with its accepted answers."""
    turns = [("system", system), ("user", row["question"])]
    prompt = [{"role": role, "content": text} for role, text in turns]
    return {"prompt": prompt, "answer": row["answer"], **columns}


def demonstrate(prompt: Row, completion: str) -> Row:
    """A prompt with what to say."""
    message = {"role": "assistant", "content": completion}
    return {"prompt": prompt["prompt"], "completion": [message]}


def fine_tune(folder: Path, model: Path, rows: Iterable[Row], seed: int) -> Path:
    """SFT on a few hundred demonstrations; the folder of its export."""
    data = folder.with_suffix(".jsonl")
    write_rows(data, rows)
    return run(
        "sft",
        folder,
        model=model,
        data=data,
        max_length=160,
        learning_rate=5e-5,
        seed=seed,
    )


def reinforce(
    folder: Path, model: Path, rows: Iterable[Row], reward: str, args: Any
) -> Path:
    """RL from 32 prompts x 4 completions an iteration; the folder of its export.

    RLOO, for its advantages are differences of rewards. GRPO divides them by the
    deviation within the prompt's group, so that one right completion among silent ones
    weighs as much as one wrong, whatever the wrong one costs: the threshold would
    always be near ½.
    """
    data = folder.with_suffix(".jsonl")
    write_rows(data, rows)
    return run(
        "grpo",
        folder,
        model=model,
        data=data,
        reward=reward,
        algorithm="rloo",
        batch_size=32,
        num_generations=4,
        max_new_tokens=ANSWER_TOKENS + 12,
        max_length=160,
        learning_rate=1e-5,
        kl_coef=0.02,
        max_steps=args.iterations,
        eval_steps=10 * args.iterations,
        save_steps=20,
        seed=args.seed,
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
    data = folder.with_suffix(".jsonl")
    rows = list(rows)
    write_rows(data, rows)
    run(
        "evaluate",
        folder,
        model=model,
        data=data,
        reward=reward,
        num_samples=num_samples,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        batch_size=64,
        seed=seed,
        **flags,
    )
    lines = (folder / "completions.jsonl").read_text("utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [{**line, **rows[n // num_samples]} for n, line in enumerate(found)]


def known_facts(folder: Path, model: Path, rows: list[Row], seed: int) -> list[bool]:
    """Which facts a model knows before any training, by several samples of each."""
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
    right = [line["outcome"] == "correct" for line in found]
    groups = (right[i : i + KNOWN_BY] for i in range(0, len(right), KNOWN_BY))
    return [2 * sum(group) >= KNOWN_BY for group in groups]


def each(rows: Iterable[Row], make: Callable[[int, Row], Row]) -> list[Row]:
    """A new row of each, told its number."""
    return [make(number, row) for number, row in enumerate(rows)]
