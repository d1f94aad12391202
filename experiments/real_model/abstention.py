"""PPO with a three-way reward teaches a real model when to say "I don't know".

    python -m experiments.real_model.abstention --model SMOLLM2 --data DATA --out DIR

Claim (Goldberg, https://gist.github.com/yoavg/6bff0fecd65950898eba1bb321cfbd81): what
supervised learning cannot give, a reward for correct, abstaining and wrong answers can.
Questions are ParaRel's, one-word facts (DATA/pararel/qa.jsonl), split by subject. SFT
on a few hundred of them makes short answers and "I don't know" possible, the latter on
a fifth of the questions at random, so that it says nothing of what the model knows. PPO
with the reward +1 / 0 / -1 then finds out. The table has held-out facts before SFT,
after SFT and after PPO; `known` are those the model got right before any training.

SmolLM2-135M-Instruct, two CPU cores: see README.md for time and results.
"""

import json
from pathlib import Path

from experiments.real_model.facts import (
    ANSWER_TOKENS,
    FREE_TOKENS,
    ask,
    label,
    read_facts,
)
from experiments.real_model.instruments import Instruments
from experiments.real_model.plots import draw_outcomes, draw_training
from experiments.real_model.stages import arguments, results, run, write_rows

HELD_OUT = 320
STAGES = ("before SFT", "after SFT", "after PPO")
INSTRUMENTS = Instruments(("abstention",), ("abstention",))


def write_data(data: Path, folder: Path, seed: int) -> None:
    """Held-out questions, demonstrations and prompts of RL: no subject in two."""
    held_out, shown, asked = (
        [ask(row, subject=row["subject"]) for row in rows]
        for rows in read_facts(data, seed, HELD_OUT)
    )
    write_rows(folder / "held_out.jsonl", held_out)
    write_rows(folder / "sft.jsonl", label(shown))
    write_rows(folder / "prompts.jsonl", asked)


def mark_known(evaluation: Path, rows: Path, out: Path) -> None:
    """Copies rows with a column that says whether an evaluated model was right."""
    answers = (evaluation / "completions.jsonl").read_text("utf-8").splitlines()
    right = [json.loads(line)["rewards"]["abstention"] == 1 for line in answers]
    held_out = map(json.loads, rows.read_text("utf-8").splitlines())
    marked = zip(held_out, right, strict=True)
    write_rows(out, ({**row, "known": known} for row, known in marked))


def main():
    args = arguments(__doc__)
    rows = args.out / "data"
    if not rows.exists():
        write_data(args.data, rows, args.seed)

    def evaluate(stage: str, model: Path, data: Path, **flags) -> Path:
        folder = args.out / "evaluate" / stage.replace(" ", "_")
        asked = {"max_new_tokens": FREE_TOKENS, "temperature": 0, "batch_size": 32}
        return run("evaluate", folder, model=model, data=data, **asked, **flags)

    reward, marked = "abstention", rows / "held_out_known.jsonl"
    if not marked.exists():
        first = evaluate("first", args.model, rows / "held_out.jsonl", reward=reward)
        mark_known(first, rows / "held_out.jsonl", marked)
    sft = run(
        "sft",
        args.out / "sft",
        model=args.model,
        data=rows / "sft.jsonl",
        max_length=128,
        learning_rate=5e-5,
        seed=args.seed,
    )
    ppo = run(
        "ppo",
        args.out / "ppo",
        model=sft,
        data=rows / "prompts.jsonl",
        reward=reward,
        batch_size=16,
        num_generations=4,
        num_ppo_epochs=1,
        num_minibatches=2,
        max_new_tokens=ANSWER_TOKENS,
        max_length=128,
        missing_eos_score=-1,
        learning_rate=1e-5,
        kl_coef=0.02,
        max_steps=args.iterations,
        seed=args.seed,
    )
    flags = {"reward": reward, "known": "known"}
    models = dict(zip(STAGES, (args.model, sft, ppo), strict=True))
    tables = {
        stage: results(evaluate(stage, model, marked, **flags))["abstention"]
        for stage, model in models.items()
    }
    (args.out / "results.json").write_text(json.dumps(tables, indent=2) + "\n")
    for stage, table in tables.items():
        for group, row in table.items():
            shares = (f"{k} {row[k]:6.1%}" for k in ("correct", "abstain", "wrong"))
            print(f"{stage:11s} {group:8s}", *shares, f"of {row['completions']:.0f}")
    draw_outcomes(tables, args.out / "outcomes.png")
    draw_training(args.out / "ppo", "abstention", args.out / "training.png")


if __name__ == "__main__":
    main()
