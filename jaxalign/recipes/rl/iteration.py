"""One iteration: rollouts, rewards, credit, updates; a step of the training loop."""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.errors import UserError
from jaxalign.objectives.rollout_metrics import group_metrics
from jaxalign.ops import Mean
from jaxalign.recipes.rl.centring import (
    Around,
    centred,
    lost_difference,
    refuse_too_large,
    warn_of_lost_difference,
)
from jaxalign.recipes.rl.journal import Journal
from jaxalign.recipes.rl.sampling import Answers, Sampler
from jaxalign.recipes.rl.settle import LARGEST, Known
from jaxalign.recipes.rl.state import Control, RLState
from jaxalign.recipes.rl.updates import Updates
from jaxalign.training import Clock, StopRequest, chaos

_LOG = logging.getLogger("jaxalign")


@dataclasses.dataclass(frozen=True)
class Iteration:
    """`(state, batch) -> (state, metrics)`, for `training.train`.

    Nothing is remembered between two calls but the state, and all randomness is a
    function of its key and step: an iteration that is interrupted anywhere and begun
    again comes out the same, bit for bit.

    Attributes:
      sampler: Samples and scores.
      updates: Learns.
      settle: Scores to advantages, `make_settle`.
      policy: From parameters as trained to one copy of the policy's, for sampling.
      models: From parameters as trained to what the scorer takes.
      journal: Keeps all answers.
      clock: Counts the time of each phase.
      stop: Asked to stop, an iteration is dropped as long as nothing has been learnt.
      extra: Further metrics of an iteration, from its number (from 1) and the control.
      patience: Iterations without any difference in rewards after which to warn.
      stop_if_dead: Whether that ends the run.
      max_clipped: Share of answers that were cut off, above which to warn.
      around: What only the difference of rewards from matters; see `centring`.
      largest: Of a reward.
    """

    sampler: Sampler
    updates: Updates
    settle: Callable[[Known, Control], tuple[dict[str, jax.Array], Control, dict]]
    policy: Callable[[Any], Any]
    models: Callable[[Any], Any]
    journal: Journal
    clock: Clock
    stop: StopRequest
    extra: Callable[[int], dict[str, float]]
    patience: int
    stop_if_dead: bool
    max_clipped: float
    around: Around = None
    largest: float = LARGEST

    def __call__(self, state: RLState, batch) -> tuple[RLState, dict[str, Any]]:
        """Runs one iteration; `state` is consumed."""
        iteration = int(state.step)
        params = state.inner.params
        key = jax.random.fold_in(_key(state), iteration)
        numbers = [int(i) for i in batch["example_ids"]]
        with self.stop.at_once():
            answers, rounds = self.sampler(
                self.policy(params), iteration, numbers, key, self.clock
            )
            for part in rounds:
                refuse_too_large(part.scores, part.texts, self.largest)
            mask = answers.completions.mask
            layouts = self.updates.layouts(answers)
            scored = self.updates.scores(self.models(params), layouts, mask)
            chaos.at("score")
        used = answers.scores.applies & np.repeat(answers.kept, answers.groups[1])
        groups = sampled_metrics(rounds)
        known = self._known(answers, scored, mask, used, groups)
        columns, control, metrics = self.settle(known, state.control)
        columns = {k: np.asarray(v).reshape(mask.shape) for k, v in columns.items()}
        self.journal.write(iteration + 1, rounds, answers, columns["advantages"])
        self._watch(control, metrics)
        inner, update = self.updates(
            state.inner, iteration, key, layouts, columns, mask, used
        )
        new = RLState(state.step + 1, inner, control)
        return new, {
            **metrics,
            **update,
            **groups,
            **reward_metrics(rounds),
            **self.extra(iteration + 1),
        }

    def _watch(self, control: Control, metrics: dict[str, Mean]) -> None:
        """Says so when there is nothing to learn from, or most answers are cut off."""
        silent = int(control.silent)
        if silent and silent % self.patience == 0:
            text = (
                f"in {silent} iterations in a row all answers to each prompt had the "
                "same reward, or none: there is nothing to learn. Look at completions/ "
                "and at the reward function; raise --temperature or --num-generations, "
                "or --max-new-tokens if answers are cut off."
            )
            if self.stop_if_dead:
                raise UserError(text)
            _LOG.warning(text)
        clipped = float(metrics["completions/clipped_ratio"].value)
        if clipped > self.max_clipped:
            _warn_once(
                self.journal,
                f"{clipped:.0%} of the answers were cut off before a stop token: raise "
                "--max-new-tokens, or teach the model to stop (--missing-eos-penalty, "
                "or supervised fine-tuning on answers that end in one).",
            )

    def _known(self, answers: Answers, scored, mask, used, groups) -> Known:
        def grouped(x) -> Any:
            if x is None:
                return None
            return jnp.asarray(x).reshape(*answers.groups, *x.shape[1:])

        totals = answers.scores.total.reshape(answers.groups)
        applies = answers.scores.applies.reshape(answers.groups)
        best = centred(totals, applies, self.around, answers.greedy)
        rewards = best.rewards.astype(np.float32)
        self._compare(totals, applies, rewards)
        greedy = answers.greedy
        if greedy is not None:
            greedy = (greedy - best.centre).astype(np.float32)
        return Known(
            tokens=grouped(mask),
            used=grouped(used),
            stopped=grouped(answers.completions.stopped),
            scores=jnp.asarray(rewards),
            sampler_logps=grouped(answers.completions.logps),
            logps=grouped(scored.logps),
            silent=_silent(groups["frac_reward_zero_std"]),
            ref_logps=grouped(scored.ref_logps),
            values=grouped(scored.values),
            greedy=None if greedy is None else jnp.asarray(greedy),
            own=grouped(answers.own),
            centre=jnp.asarray(best.centre.astype(np.float32)),
        )

    def _compare(self, totals, applies, on_device) -> None:
        """Says so, once, when the device does not see a difference."""
        if "float32" in self.journal.warned:
            return
        if self.around != "group":  # all are compared with all
            totals, applies, on_device = (
                x.reshape(1, -1) for x in (totals, applies, on_device)
            )
        lost = lost_difference(totals, applies, on_device)
        if lost is not None:
            self.journal.warned.add("float32")
            warn_of_lost_difference(*lost, totals[applies])


def reward_metrics(rounds: list[Answers]) -> dict[str, Mean]:
    """`rewards/{name}/{mean,std,failed}` over every answer that was sampled.

    `failed` counts those on which the reward failed, and which got its fallback.
    """
    metrics = {}
    for name in rounds[0].scores.values:
        values = np.concatenate([x.scores.values[name] for x in rounds])
        values = values[~np.isnan(values)]
        n = np.float64(len(values))
        std = values.std() if len(values) else 0.0
        metrics[f"rewards/{name}/mean"] = Mean(values.sum(), n)  # pyright: ignore[reportArgumentType]
        metrics[f"rewards/{name}/std"] = Mean(std * n, n)  # pyright: ignore[reportArgumentType]
        failed = np.float64(sum(x.scores.failed[name] for x in rounds))
        metrics[f"rewards/{name}/failed"] = Mean(failed, np.float64(1))  # pyright: ignore[reportArgumentType]
    return metrics


def sampled_metrics(rounds: list[Answers]) -> dict[str, Mean]:
    """`group_metrics` of every group that was sampled, also of those left out.

    Where there is one answer to each prompt, the whole batch is the group.
    """
    parts = []
    for part in rounds:
        groups, k = part.groups
        shape = (groups, k) if k > 1 else (1, groups)
        totals, applies = part.scores.total.reshape(shape), part.scores.applies
        rewards = centred(totals, applies.reshape(shape)).rewards
        found = _group_metrics(rewards.astype(np.float32), applies.reshape(shape))
        total = np.sum(part.scores.total, where=applies, dtype=np.float64)
        mean = Mean(total, np.float64(applies.sum()))  # pyright: ignore[reportArgumentType]
        parts.append(found | {"reward": mean})
    return {k: functools.reduce(Mean.__add__, [x[k] for x in parts]) for k in parts[0]}


_group_metrics = jax.jit(group_metrics)


def _silent(equal: Mean) -> jax.Array:
    """Whether there is no group whose rewards differ; or no reward at all."""
    return equal.total >= equal.weight


def _key(state: RLState) -> jax.Array:
    """The run's key, as one copy."""
    key = state.inner.key
    return key if not key.ndim else key[0]


def _warn_once(journal: Journal, text: str) -> None:
    if "clipped" not in journal.warned:
        journal.warned.add("clipped")
        _LOG.warning(text)
