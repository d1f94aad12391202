"""Reward against KL of preference losses, PPO and best-of-n on a real model.

    python -m experiments.real_model.dpo_frontier --model SMOLLM2 --data DATA --out DIR

Claim (DPO, https://arxiv.org/abs/2305.18290, Fig. 2 left): in controlled sentiment DPO
gets more reward at each KL than PPO, preferred-FT and unlikelihood. Start, reward model
and second classifier are those of `sentiment`. Samples of the SFT policy, two and two,
are the preferences, and the reward model labels them; it is also PPO's reward and
what the best of n is chosen by. The second classifier says how positive the
continuations of held-out prefixes are; KL is of whole completions, to the SFT policy.

A row of sentiment_frontier.csv after each arm, and the plot is drawn from it alone. An
arm that has its row is not run again.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.real_model import reviews
from experiments.real_model.arms import Table, measure_seeds
from experiments.real_model.best_of import kl_of_best, weights_of_best
from experiments.real_model.frontier_plot import draw_frontier
from experiments.real_model.intervals import grouped, interval
from experiments.real_model.reviews import Start, begin, complete, reinforce
from experiments.real_model.stages import (
    Row,
    results,
    run,
    sharing_reference,
    write_rows,
)

INSTRUMENTS = reviews.INSTRUMENTS
BETAS = (0.05, 0.1, 0.5, 1.0, 5.0)
ALPHAS = (0.05, 0.5)
KL_COEFS = (0.01, 0.05, 0.2)
BEST_OF = (1, 2, 4, 8, 16)
HELD_OUT = "prefixes_held_out.jsonl"


class Scale(NamedTuple):
    """How much is run.

    Attributes:
      samples: Completions of each prefix that become pairs, even.
      held_out: Completions of each held-out prefix.
      iterations: PPO's, in multiples of --iterations.
      seeds: How many, from --seed on.
    """

    samples: int
    held_out: int
    iterations: int
    seeds: int


SCALES = {"cpu": Scale(2, 1, 1, 1), "gpu": Scale(16, 4, 4, 3)}


def pairs_of(lines: list[Row]) -> list[Row]:
    """Two completions side by side, of one prefix, as a pair; the reward labels it."""
    pairs = []
    for a, b in zip(lines[::2], lines[1::2], strict=True):
        if a["reward"] == b["reward"]:
            continue  # nothing is preferred
        good, bad = sorted((a, b), key=lambda x: x["reward"], reverse=True)
        chosen, rejected = good["completion"], bad["completion"]
        pairs.append({"prompt": a["prompt"], "chosen": chosen, "rejected": rejected})
    return pairs


def prefer(out: Path, start: Start, pairs: Path, seed: int, **flags: Any) -> Path:
    """Trains on the preferences; the exported policy."""
    return run(
        "dpo",
        sharing_reference(out),
        model=start.sft,
        data=pairs,
        max_length=reviews.MAX_LENGTH,
        learning_rate=1e-5,
        seed=seed,
        **flags,
    )


def judged(lines: list[Row], each: int, seed: int) -> dict[str, Any]:
    """Both judgements of completions, `each` of a prefix side by side."""
    values = {
        "reward": [x["reward"] for x in lines],
        "positive": [x["positive"] for x in lines],
        "share": [x["positive"] > 0.5 for x in lines],
    }
    return {x: interval(grouped(v, each), seed) for x, v in values.items()}


def best_of(lines: list[Row], n: int, seed: int) -> dict[str, Any]:
    """The same of the best of n by reward, from `max(BEST_OF)` samples of a prefix."""
    rewards, positive = (
        np.array([x[name] for x in lines]).reshape(-1, max(BEST_OF))
        for name in ("reward", "positive")
    )
    weights = np.array([weights_of_best(row, n) for row in rewards])
    values = {
        "kl": np.array([kl_of_best(row, n) for row in rewards]),
        "reward": np.sum(weights * rewards, axis=1),
        "positive": np.sum(weights * positive, axis=1),
        "share": np.sum(weights * (positive > 0.5), axis=1),
    }
    bound = float(np.log(n) - (n - 1) / n)
    measured = {x: interval(v.tolist(), seed) for x, v in values.items()}
    return measured | {"kl_bound": {"value": bound, "low": bound, "high": bound}}


def measure_seed(args: Any, scale: Scale, table: Table, seed: int) -> None:
    """All arms of one seed."""
    out = args.out / f"seed_{seed}"
    start = begin(args, out, seed)
    pairs = out / "frontier" / "pairs.jsonl"
    if not pairs.exists():
        lines = complete(
            out / "frontier" / "samples",
            start.sft,
            start,
            seed,
            prefixes="prefixes.jsonl",
            num_samples=scale.samples,
        )
        write_rows(pairs, pairs_of(lines))

    def measure(arm: str, parameter: float, train: Any, **flags: Any) -> None:
        if table.has(arm, parameter, seed):
            return
        folder = out / "frontier" / f"{arm}_{parameter:g}"
        model = train(folder, start, seed=seed, **flags)
        found = folder.with_name(f"{folder.name}_evaluated")
        lines = complete(
            found, model, start, seed, prefixes=HELD_OUT, num_samples=scale.held_out
        )
        kl = results(found)["measures"]["kl"]
        table.add(arm, parameter, seed, kl=kl, **judged(lines, scale.held_out, seed))
        draw_frontier(table.file, table.file.with_suffix(".png"))

    for beta in BETAS:
        measure("dpo", beta, prefer, pairs=pairs, beta=beta)
    measure("preferred_ft", 0.0, prefer, pairs=pairs, loss="preferred_ft_loss")
    for alpha in ALPHAS:
        name = "unlikelihood_loss"
        measure("unlikelihood", alpha, prefer, pairs=pairs, loss=name, alpha=alpha)
    lines = complete(
        out / "frontier" / "best_of",
        start.sft,
        start,
        seed,
        prefixes=HELD_OUT,
        num_samples=max(BEST_OF),
    )
    for n in BEST_OF:
        if not table.has("best_of", n, seed):
            table.add("best_of", n, seed, **best_of(lines, n, seed))
    # Last, for each takes as long as all the others together.
    for coef in KL_COEFS:
        steps = scale.iterations * args.iterations
        measure("ppo", coef, reinforce, steps=steps, kl_coef=coef)
    draw_frontier(table.file, table.file.with_suffix(".png"))


def main():
    measure_seeds(__doc__, "sentiment_frontier.csv", measure_seed, SCALES)


if __name__ == "__main__":
    main()
