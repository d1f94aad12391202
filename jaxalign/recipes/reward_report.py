"""What is known of a reward model on held-out rows: numbers, a diagram, examples."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxalign.data.text.preview import printable
from jaxalign.losses import pairwise_logistic
from jaxalign.objectives import ScoreLoss, compared, scored
from jaxalign.ops import Mean, Reliability, expected_calibration_error, reliability
from jaxalign.recipes.method import Run
from jaxalign.recipes.scorer import Judged, Sequences, ends, judged, make_scorer
from jaxalign.training import StopRequest
from jaxalign.training.evaluate import Evaluate
from jaxalign.training.plots import draw_reliability

AT_A_TIME = 512
"""Sequences between two looks at whether the run shall stop."""


def scorer_of(run: Run) -> Callable[[Any, Sequences], np.ndarray]:
    """The scorer of the run's model, for parameters as its program spreads them."""
    c = run.config
    return make_scorer(
        run.policy.config, run.program, dtype=c.dtype, attention=c.attention
    )


def held_out_scores(
    run: Run, loss_fn: ScoreLoss, stop: StopRequest, folder: Path
) -> Evaluate | None:
    """Builds the evaluation of a reward model; None without held-out rows.

    It gives the metrics of training and, where answers are compared, `log_loss` and
    `calibration_error`, and draws `plots/calibration.png`.
    """
    examples = run.rows.held_out
    if not examples:
        return None
    scorer = scorer_of(run)
    sequences = ends(examples)

    def evaluate(state):
        parts = []
        for start in range(0, len(sequences), AT_A_TIME):
            if stop.requested:
                return None
            parts.append(scorer(state.params, sequences[start : start + AT_A_TIME]))
        metrics, bins = measure(loss_fn, judged(examples, np.concatenate(parts)))
        if bins is not None:
            _draw(bins, folder / "plots" / "calibration.png")
        return metrics

    return evaluate


def measure(
    loss_fn: ScoreLoss, held: Judged
) -> tuple[dict[str, float], Reliability | None]:
    """All metrics of some scores, and their reliability if answers are compared."""
    scores, mask = jnp.asarray(held.scores), jnp.asarray(held.mask)
    labels = {name: jnp.asarray(x) for name, x in held.labels.items()}
    out = scored(loss_fn, scores, mask, labels)
    means = {"loss": out.loss, **out.metrics}
    if scores.shape[-1] == 1:
        return {name: float(x.value) for name, x in means.items()}, None
    margins, better = compared(scores, mask, labels)
    bins = reliability(margins, better)
    means["log_loss"] = Mean.of(pairwise_logistic(margins), where=better)
    metrics = {name: float(x.value) for name, x in means.items()}
    metrics["calibration_error"] = float(expected_calibration_error(bins))
    return metrics, bins


def _draw(bins: Reliability, path: Path) -> None:
    count, confidence, correct = (np.asarray(x) for x in bins)
    some = count > 0
    columns = confidence[some] / count[some], correct[some] / count[some], count[some]
    draw_reliability(path, *(x.tolist() for x in columns))


class ScoreTable:
    """The same answers, scored whenever it is asked."""

    def __init__(self, run: Run, folder: Path):
        """Takes a few held-out rows; scores go to `folder` and the console."""
        self._run, self._folder = run, folder
        self._examples = (run.rows.held_out or run.rows.train)[: run.config.samples]

    def show(self, params: Any, step: int) -> None:
        """Scores each answer, prints the scores and keeps them in a file."""
        if not self._examples:
            return
        run = self._run
        scorer = scorer_of(run)
        scores = scorer(run.program.spread(params), ends(self._examples)).tolist()
        lines = []
        run.console.print(f"[step {step}]", style="bold", markup=False)
        for example in self._examples:
            prompt = example.sequences[0]
            text = run.tokenizer.decode(prompt.ids[: prompt.prompt_length])
            run.console.print(printable(text), style="dim", markup=False)
            for x in example.sequences:
                answer = run.tokenizer.decode(x.ids[x.trained], skip_special=True)
                row = {"prompt": text, "completion": answer, "score": scores.pop(0)}
                lines.append(json.dumps(row, ensure_ascii=False))
                said = f"{row['score']:8.3f}  {printable(answer)}"
                run.console.print(said, markup=False)
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"step_{step:06}.jsonl"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
