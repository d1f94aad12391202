"""DPO on what people preferred: held-out accuracy of the implicit reward, by beta.

    python -m experiments.real_model.dpo_hh --model SMOLLM2 --data DATA --out DIR

Pairs are Anthropic's on harmlessness (https://arxiv.org/abs/2204.05862),
DATA/hh_rlhf/harmless_base.jsonl. SFT on the chosen completions is start and reference,
as in section 6 of https://arxiv.org/abs/2305.18290. For each beta: how often the
implicit reward prefers what a person preferred, and by how much, on held-out pairs. A
row of dpo_hh.csv after each arm; an arm that has its row is not run again.
"""

import re
from typing import Any, NamedTuple

from experiments.real_model.arms import Table, measure_seeds
from experiments.real_model.stages import (
    Row,
    read_rows,
    results,
    run,
    sharing_reference,
    write_rows,
)

BETAS = (0.05, 0.1, 0.5)
HELD_OUT = 300
EMPTY = re.compile(r"(Human|Assistant):\s*(\n\n(Human|Assistant):|$)")
MEASURES = ("accuracies", "margins", "chosen", "rejected")


class Scale(NamedTuple):
    """How much is run.

    Attributes:
      characters: Of the longer side of a pair, at most.
      pairs: To train on, at most.
      max_length: In tokens.
      epochs: Passes of DPO over the pairs.
      seeds: How many, from --seed on.
    """

    characters: int
    pairs: int
    max_length: int
    epochs: int
    seeds: int


SCALES = {"cpu": Scale(600, 640, 256, 1, 1), "gpu": Scale(4000, 1500, 1024, 3, 3)}


def usable(row: Row, characters: int) -> bool:
    """Whether no side of a pair is too long or has a turn without text."""
    sides = row["chosen"], row["rejected"]
    return all(len(x) <= characters and not EMPTY.search(x) for x in sides)


def measure_seed(args: Any, scale: Scale, table: Table, seed: int) -> None:
    """SFT, and each beta from it."""
    out = args.out / f"seed_{seed}"
    held_out, pairs = out / "held_out.jsonl", out / "pairs.jsonl"
    if not pairs.exists():
        rows = read_rows(args.data / "hh_rlhf" / "harmless_base.jsonl", seed)
        rows = [row for row in rows if usable(row, scale.characters)]
        write_rows(held_out, rows[:HELD_OUT])
        write_rows(pairs, rows[HELD_OUT : HELD_OUT + scale.pairs])
    common = {"max_length": scale.max_length, "data": pairs, "seed": seed}
    preferred = {"loss": "preferred_ft_loss", "learning_rate": 2e-5}
    sft = run("dpo", out / "sft", model=args.model, **common, **preferred)
    for beta in BETAS:
        if table.has("dpo", beta, seed):
            continue
        policy = run(
            "dpo",
            sharing_reference(out / f"dpo_{beta:g}"),
            model=sft,
            beta=beta,
            learning_rate=5e-6,
            num_train_epochs=scale.epochs,
            **common,
        )
        folder = run(
            "evaluate",
            out / f"dpo_{beta:g}_evaluated",
            model=policy,
            ref=sft,
            data=held_out,
            beta=beta,
            max_length=scale.max_length,
            seed=seed,
        )
        found = results(folder)["measures"]
        table.add("dpo", beta, seed, **{x: found[f"rewards/{x}"] for x in MEASURES})


def main():
    measure_seeds(__doc__, "dpo_hh.csv", measure_seed, SCALES)


if __name__ == "__main__":
    main()
