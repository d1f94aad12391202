"""The small runs that are interrupted, and the rows and models that they take."""

import json
import random
from pathlib import Path

_TEXT = """
the cat and dog ran to a big red ball she was very happy with her mom in the park one
day they saw it go up so he said let us play
"""
_WORDS = _TEXT.split()
_REWARD = '''"""A reward that takes its time, as a judge behind a network does."""

import time


def slow(completions, **columns):
    time.sleep({seconds})
    return [len(set(x)) / 10 for x in completions]
'''


def write_pairs(file: Path, count: int, *, words: int = 24) -> Path:
    """Pairs of equal length, so that few programs are compiled."""
    rng = random.Random(0)

    def text(length: int) -> str:
        chosen = (_WORDS * (1 + length // len(_WORDS)))[:length]
        return " ".join(rng.sample(chosen, length))

    with file.open("w") as out:
        for _ in range(count):
            row = {
                "prompt": f"{text(8)}. ",
                "chosen": f"{text(words)}.",
                "rejected": f"{text(words)}.",
            }
            out.write(json.dumps(row) + "\n")
    return file


def dpo(model: Path, folder: Path) -> list[str]:
    """A run with every phase of training on pairs."""
    rows = write_pairs(folder / "pairs.jsonl", 900)
    return flags(
        "dpo",
        model=model,
        data=rows,
        eval_fraction=0.2,
        batch_size=16,
        max_steps=4,
        eval_steps=4,
        save_steps=2,
        samples=0,
        **{"optimizer.learning-rate": 1e-3},
    )


def grpo(model: Path, folder: Path) -> list[str]:
    """A run that samples and waits for a slow reward."""
    prompts, reward = folder / "prompts.jsonl", folder / "slow_reward.py"
    lines = (json.dumps({"prompt": f"One day {x}"}) + "\n" for x in _WORDS[:16])
    prompts.write_text("".join(lines))
    reward.write_text(_REWARD.format(seconds=0.7))
    return flags(
        "grpo",
        model=model,
        data=prompts,
        reward=f"{reward}:slow",
        conversational="no",
        batch_size=8,
        num_generations=4,
        max_new_tokens=96,
        max_steps=3,
        eval_steps=3,
        save_steps=2,
        samples=0,
        **{"optimizer.learning-rate": 1e-3},
    )


def flags(command: str, **values: object) -> list[str]:
    """A command line."""
    pairs = ((f"--{k.replace('_', '-')}", str(v)) for k, v in values.items())
    return [command, *(part for pair in pairs for part in pair)]
