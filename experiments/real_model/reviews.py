"""Reviews of films: rows for each phase, the phases, and what measures a policy.

Sentences are the movie reviews of Pang and Lee (2005),
DATA/movie_reviews/sentences.jsonl. No sentence serves twice: SFT, the reward model, the
prefixes and the second classifier have rows of their own, and no other row begins with
a prefix.
"""

from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from experiments.real_model.instruments import Instruments
from experiments.real_model.intervals import interval
from experiments.real_model.second_classifier import Classifier, train
from experiments.real_model.stages import (
    Row,
    lines_of,
    read_rows,
    results,
    run,
    write_rows,
)

PROMPT = "Review:"
SFT_ROWS, PAIRS, HELD_OUT, PREFIXES = 1200, 1200, 200, 800
PREFIX_WORDS = 4
NEW_TOKENS, MAX_LENGTH = 40, 96
INSTRUMENTS = Instruments(("reward_model",), ("second_classifier",))


class Start(NamedTuple):
    """What comes before RL or preferences.

    Attributes:
      rows: Folder of the rows.
      sft: Exported policy that both start from, and their reference.
      reward: Exported reward model.
      classifier: The second classifier.
      found: What it and the reward model say of held-out pairs.
    """

    rows: Path
    sft: Path
    reward: Path
    classifier: Classifier
    found: dict[str, Any]


def write_data(source: Path, folder: Path, seed: int) -> None:
    """Rows for SFT, pairs, prefixes and the second classifier."""
    rows = read_rows(source, seed)
    # Too short for a prefix and something to say; the classifier can read them.
    short = [row for row in rows if len(row["text"].split()) <= 8]
    rows = [row for row in rows if len(row["text"].split()) > 8]
    good = [f" {row['text']}" for row in rows if row["label"]]
    bad = [f" {row['text']}" for row in rows if not row["label"]]
    pairs = [
        {"prompt": PROMPT, "chosen": a, "rejected": b}
        for a, b in zip(good, bad, strict=False)
    ]
    mixed = [row[side] for row in pairs for side in ("chosen", "rejected")]
    held_out, pairs = pairs[:HELD_OUT], pairs[HELD_OUT : HELD_OUT + PAIRS]
    rest = mixed[2 * (HELD_OUT + PAIRS) :]
    shown, rest = rest[:SFT_ROWS], rest[SFT_ROWS:]
    often = Counter(beginning(row["text"]) for row in (*rows, *short))
    begun = [x for x in rest if often[beginning(x)] == 1][: HELD_OUT + PREFIXES]
    prefixes = [{"prompt": f"{PROMPT} {beginning(text)}"} for text in begun]
    taken, positive = set(begun), set(good)
    rest = [x for x in rest if x not in taken]
    read = [{"text": x.strip(), "label": int(x in positive)} for x in rest]
    write_rows(folder / "pairs_held_out.jsonl", held_out)
    write_rows(folder / "pairs.jsonl", pairs)
    write_rows(
        folder / "sft.jsonl", ({"prompt": PROMPT, "completion": x} for x in shown)
    )
    write_rows(folder / "prefixes_held_out.jsonl", prefixes[:HELD_OUT])
    write_rows(folder / "prefixes.jsonl", prefixes[HELD_OUT:])
    # Last: where it is, the others are too.
    write_rows(folder / "classifier.jsonl", read + short)


def beginning(text: str) -> str:
    """The first words, which a policy goes on from."""
    return " ".join(text.split()[:PREFIX_WORDS])


def begin(args: Namespace, out: Path, seed: int) -> Start:
    """SFT on reviews of both labels, a reward model, and the second classifier."""
    rows = out / "data"
    if not (rows / "classifier.jsonl").exists():
        write_data(args.data / "movie_reviews" / "sentences.jsonl", rows, seed)
    common = {"max_length": MAX_LENGTH, "learning_rate": 3e-5, "seed": seed}
    sft = run("sft", out / "sft", model=args.model, data=rows / "sft.jsonl", **common)
    reward = run(
        "reward",
        out / "reward",
        model=sft,
        data=rows / "pairs.jsonl",
        eval_data=rows / "pairs_held_out.jsonl",
        **common,
    )
    read = lines_of(rows / "classifier.jsonl")
    classifier = train([x["text"] for x in read], [x["label"] for x in read])
    checked = run(
        "evaluate",
        out / "evaluate" / "reward",
        model=reward,
        data=rows / "pairs_held_out.jsonl",
        seed=seed,
    )
    pairs = lines_of(rows / "pairs_held_out.jsonl")
    good, bad = (
        classifier([x[side] for x in pairs]) for side in ("chosen", "rejected")
    )
    found = {
        "second_classifier/accuracy": interval([*(good > 0.5), *(bad <= 0.5)], seed),
        "second_classifier/pairs": interval(good > bad, seed),
        **results(checked)["measures"],
    }
    return Start(rows, sft, reward, classifier, found)


def reinforce(
    folder: Path, start: Start, steps: int, seed: int, kl_coef: float
) -> Path:
    """PPO on the reward model, which the critic starts from; the exported policy."""
    return run(
        "ppo",
        folder,
        model=start.sft,
        critic=start.reward,
        reward=start.reward,
        data=start.rows / "prefixes.jsonl",
        batch_size=32,
        num_ppo_epochs=1,
        num_minibatches=2,
        max_new_tokens=NEW_TOKENS,
        missing_eos_penalty=1,
        learning_rate=1e-5,
        kl_coef=kl_coef,
        max_steps=steps,
        max_length=MAX_LENGTH,
        seed=seed,
    )


def complete(
    folder: Path, model: Path, start: Start, seed: int, *, prefixes: str, **flags: Any
) -> list[Row]:
    """Completions of prefixes, with both judgements of each.

    Args:
      folder: Of the evaluation.
      model: Which writes.
      start: Of the chain.
      seed: Of the samples.
      prefixes: Name of the file of prompts.
      **flags: Further ones of `jaxalign evaluate`.

    Returns:
      In the rows' order, with `prompt`, `completion`, `reward` (the reward model's) and
      `positive` (the second classifier's probability of the whole review).
    """
    data = start.rows / prefixes
    run(
        "evaluate",
        folder,
        model=model,
        ref=start.sft,
        data=data,
        reward_model=start.reward,
        max_new_tokens=NEW_TOKENS,
        batch_size=32,
        seed=seed,
        **flags,
    )
    lines, prompts = lines_of(folder / "completions.jsonl"), lines_of(data)
    each = len(lines) // len(prompts)
    found = [
        {
            "prompt": prompts[n // each]["prompt"],
            "completion": line["completion"],
            "reward": line["rewards"]["reward_model"],
        }
        for n, line in enumerate(lines)
    ]
    # Some tokenizers give no space in front of what goes on; words are what is read.
    texts = [f"{x['prompt'].removeprefix(PROMPT)} {x['completion']}" for x in found]
    positive = start.classifier(texts).tolist()
    return [{**x, "positive": p} for x, p in zip(found, positive, strict=True)]
