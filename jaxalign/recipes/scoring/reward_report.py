"""What is known of a reward model on held-out rows: numbers, a diagram, examples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxalign.data.text.example import Example
from jaxalign.data.text.preview import printable
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.losses import pairwise_logistic
from jaxalign.objectives import ScoreLoss, compared, scored
from jaxalign.ops import Mean, Reliability, expected_calibration_error, reliability
from jaxalign.recipes.inputs.rows import Rows
from jaxalign.recipes.runs.policy import Policy
from jaxalign.recipes.runs.run import Run
from jaxalign.recipes.scoring.scorer import Judged, Sequences, ends, judged
from jaxalign.training.evaluate import Evaluate
from jaxalign.training.folder.own_files import finite, write_json_lines
from jaxalign.training.log.plots import draw_reliability

AT_A_TIME = 512
"""Sequences between two looks at whether the run shall stop."""


Scorer = Callable[[Any, Sequences], np.ndarray]
"""`(params as they are trained, sequences) -> [n]` scores."""


def held_out_scores(
    run: Run, examples: list[Example], loss_fn: ScoreLoss, scorer: Scorer
) -> Evaluate | None:
    """Builds the evaluation of a reward model; None without held-out rows.

    It gives the metrics of training and, where completions are compared, `log_loss` and
    `calibration_error`, and draws `plots/calibration.png`.
    """
    if not examples:
        return None
    sequences, folder = ends(examples), run.folder.path

    def evaluate(state):
        parts = []
        for start in range(0, len(sequences), AT_A_TIME):
            # A stop is heeded between parts, not only when all are scored.
            if run.stop.requested:
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
    """All metrics of some scores, and the reliability if completions are compared."""
    scores, mask = jnp.asarray(held.scores), jnp.asarray(held.mask)
    labels = {name: jnp.asarray(x) for name, x in held.labels.items()}
    out = scored(loss_fn, scores, mask, labels)
    means = {"loss": out.loss, **out.metrics}
    # One completion of each prompt: scores are fitted, and nothing is compared.
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
    # An empty bin has no mean.
    some = count > 0
    columns = confidence[some] / count[some], correct[some] / count[some], count[some]
    draw_reliability(path, *(x.tolist() for x in columns))


class ScoreTable:
    """The same completions, scored whenever it is asked."""

    def __init__(
        self,
        run: Run,
        policy: Policy,
        tokenizer: Tokenizer,
        rows: Rows,
        scorer: Scorer,
    ):
        """Takes a few held-out rows; scores go to the run's folder and console."""
        self._console, self._folder = run.console, run.folder.path / "completions"
        self._replicate, self._scorer = policy.program.replicate, scorer
        self._tokenizer = tokenizer
        self._examples = (rows.held_out or rows.train)[: run.config.samples]

    def show(self, params: Any, step: int) -> None:
        """Scores each completion, prints the scores and keeps them in a file."""
        if not self._examples:
            return
        scores = self._scorer(self._replicate(params), ends(self._examples)).tolist()
        lines = []
        self._console.print(f"[step {step}]", style="bold")
        for example in self._examples:
            prompt = example.sequences[0]
            text = self._tokenizer.decode(prompt.ids[: prompt.prompt_length])
            self._console.print(printable(text), style="dim")
            for x in example.sequences:
                said = self._tokenizer.decode(x.ids[x.trained], skip_special=True)
                # The order of `ends`: by example, and within it by place.
                score = scores.pop(0)
                row = {"prompt": text, "completion": said, "score": finite(score)}
                lines.append(row)
                self._console.print(f"{score:8.3f}  {printable(said)}")
        write_json_lines(self._folder / f"step_{step:06}.jsonl", lines)
