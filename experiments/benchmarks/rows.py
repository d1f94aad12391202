"""Real rows as token ids, in a file that every library trains on.

python -m experiments.benchmarks.rows --task ragged_dpo --model DIR \
        --data 'pairs/*.jsonl' --out rows.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console

from jaxalign.data.packing.order import permutation
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.models import read_config
from jaxalign.recipes.flags.config import DataConfig
from jaxalign.recipes.inputs.rows import TrainingTask, make_encoder, read_rows


def read(args) -> list[Example]:
    """All rows that are short enough, encoded as a training run would."""
    config = DataConfig(
        model=args.model,
        data=args.data,
        max_length=args.max_length,
        on_bad_row="drop",
        on_long="drop",
        max_dropped=1.0,
        allow_no_eos=True,
    )
    folder = Path(args.model)
    encoder = make_encoder(config, folder, read_config(folder))
    task: TrainingTask = "sft" if args.task == "ragged_sft" else "preference"
    return read_rows(config, task, encoder, 0, Console(quiet=True)).train


def plain(example: Example) -> list[tuple[list[int], int]] | None:
    """`(ids, prompt length)` by response, or None where the peers have no such row.

    They train on everything behind one prompt, and nothing else.
    """
    responses = [_trimmed(x) for x in example.sequences]
    prompts = {tuple(ids[:prompt]) for ids, prompt in filter(None, responses)}
    if None in responses or len(prompts) != 1:
        return None
    return [x for x in responses if x]


def _trimmed(sequence: TokenSequence) -> tuple[list[int], int] | None:
    """Up to the last trained token: nothing behind it has an effect."""
    start, end = sequence.prompt_length, int(np.flatnonzero(sequence.trained)[-1]) + 1
    if sequence.clipped or not sequence.trained[start:end].all():
        return None
    return sequence.ids[:end].tolist(), start


def updates(examples: list[Example], count: int, batch: int):
    """Updates of a fixed shuffle, each sorted by length: the least padding for all."""
    rows = [x for x in map(plain, examples) if x]
    found = f"{len(rows)} of {len(examples)} rows can be trained on by every library"
    if len(rows) < count * batch:
        raise SystemExit(f"{found}; {count} updates take {count * batch}")
    print(found)
    chosen = [rows[i] for i in permutation(len(rows), 0, 0)[: count * batch]]
    for at in range(0, count * batch, batch):
        update = chosen[at : at + batch]
        yield sorted(update, key=lambda row: max(len(ids) for ids, _ in row))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True, choices=("ragged_sft", "ragged_dpo"))
    parser.add_argument("--model", required=True, help="folder with the tokenizer")
    parser.add_argument("--data", required=True, help="file or glob")
    parser.add_argument("--out", required=True)
    parser.add_argument("--updates", type=int, default=7, help="the first is not timed")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=512)
    args = parser.parse_args()
    found = list(updates(read(args), args.updates, args.batch))
    Path(args.out).write_text(json.dumps({"updates": found}), encoding="utf-8")


if __name__ == "__main__":
    main()
