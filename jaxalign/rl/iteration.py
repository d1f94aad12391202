"""One iteration: rollouts, rewards, credit, updates."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxalign.ops import Mean
from jaxalign.rl.advantages import RolloutArrays
from jaxalign.rl.algorithm import Algorithm
from jaxalign.rl.centring import (
    centred,
    lost_difference,
    refuse_too_large,
    warn_of_lost_difference,
)
from jaxalign.rl.prompt import Prompt, as_prompts
from jaxalign.rl.rollout import Rollout, Sampler
from jaxalign.rl.round_metrics import reward_metrics, sampled_metrics
from jaxalign.rl.scorer import TokenScores
from jaxalign.rl.state import Control, RLState
from jaxalign.rl.update import Updates
from jaxalign.training import Clock, chaos


class Experience(NamedTuple):
    """What is known in an iteration before its first update.

    Attributes:
      step: Number of the iteration, from 1.
      rounds: All that was sampled.
      rollout: What is learnt from.
      advantages: `[B, N]`, of the rollout.
      control: What follows the rollouts, this one included.
      metrics: Of the rollout.
    """

    step: int
    rounds: list[Rollout]
    rollout: Rollout
    advantages: np.ndarray
    control: Control
    metrics: dict[str, Mean]


@dataclasses.dataclass(frozen=True)
class Iteration:
    """`(state, prompts) -> (state, metrics)`; made by `make_iteration`.

    Nothing is remembered between two calls but the state, and all randomness is a
    function of its key and step: an iteration that is interrupted anywhere and begun
    again comes out the same, bit for bit.

    Attributes:
      algorithm: How a rollout is learnt from.
      sampler: Samples and scores.
      compute: Compiled, `(RolloutArrays, Control) -> (columns, Control, metrics)`.
      updates: Learns.
      optimizer: Of all parameters.
      ref_params: Of the reference, as the scorer takes them, or None.
      observe: Is told each iteration's `Experience` before its first update.
      at_once: What samples and scores stands in such a context: until the first update
        an iteration may be dropped.
      clock: Counts the time of each phase.
    """

    algorithm: Algorithm
    sampler: Sampler
    compute: Callable[
        [RolloutArrays, Control],
        tuple[dict[str, jax.Array], Control, dict[str, Mean]],
    ]
    updates: Updates
    optimizer: optax.GradientTransformation
    ref_params: Any = None
    observe: Callable[[Experience], None] | None = None
    at_once: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    clock: Clock = dataclasses.field(default_factory=Clock)
    # Of the process, not of the state: a run that goes on may say it once more.
    _warned: set[str] = dataclasses.field(default_factory=set)

    def start(self, params: Any, key: jax.Array) -> RLState:
        """A state before the first iteration, with copies of the parameters.

        Args:
          params: Of the policy; with a critic `{"policy": ..., "critic": ...}`.
          key: A typed random key; each iteration folds its number into it.
        """
        # The step consumes its state, which must not hold the caller's own arrays.
        params = jax.tree.map(jnp.copy, params)
        return RLState.create(params, self.optimizer, key, self.algorithm.kl_coef)

    def __call__(
        self, state: RLState, prompts: Sequence[Prompt | Sequence[int]]
    ) -> tuple[RLState, dict[str, Any]]:
        """Runs one iteration.

        Args:
          state: Consumed.
          prompts: To be completed, as token ids or with more for rewards to read; the
            same number in every call, so that little is compiled.

        Returns:
          The next state, and metrics: a `Mean` each.
        """
        iteration, prompts = int(state.step), as_prompts(prompts)
        params, whole = state.inner.params, self.updates.devices.unreplicate
        # The key itself never changes: an iteration begun again has the same noise.
        key = jax.random.fold_in(whole(state.inner.key), iteration)
        with self.at_once():
            policy = whole(self.policy_of(params))
            rollout, rounds = self.sampler(policy, iteration, prompts, key, self.clock)
            # Before the models score: what float32 cannot hold costs no forward pass.
            for part in rounds:
                refuse_too_large(part.scores, part.texts, self.algorithm.largest)
            # First: what is not learnt from is not scored by the models either.
            laid = self.updates.lay_out(rollout)
            scored = self.updates.scores(self.scored(params), laid)
            chaos.at("score")
        # Nothing is dropped from here on: the state is about to be consumed.
        groups = sampled_metrics(rounds)
        # Of all rounds: what dynamic sampling keeps is never silent.
        silent = _silent(groups["frac_reward_zero_std"])
        arrays = self._arrays(rollout, scored, silent)
        columns, control, metrics = self.compute(arrays, state.control)
        shape = laid.mask.shape
        # Back on the host: the updates cut them into rows by completion.
        columns = {k: np.asarray(v).reshape(shape) for k, v in columns.items()}
        if self.observe is not None:
            advantages = columns["advantages"]
            known = iteration + 1, rounds, rollout, advantages, control, metrics
            self.observe(Experience(*known))
        # From here on `state` is gone: its arrays are donated to the first update.
        inner, update = self.updates(state.inner, iteration, key, laid, columns)
        everything = {**metrics, **update, **groups, **reward_metrics(rounds)}
        return RLState(state.step + 1, inner, control), everything

    def policy_of(self, params: Any) -> Any:
        """The policy's part of what is trained."""
        return params["policy"] if self.algorithm.has_critic else params

    def scored(self, params: Any) -> dict[str, Any]:
        """What the scorer takes."""
        models = dict(params) if self.algorithm.has_critic else {"policy": params}
        if self.algorithm.reference:
            models["reference"] = self.ref_params
        return models

    def _arrays(
        self, rollout: Rollout, scored: TokenScores, silent: jax.Array
    ) -> RolloutArrays:
        def grouped(x) -> Any:
            if x is None:
                return None
            return jnp.asarray(x).reshape(*rollout.groups, *x.shape[1:])

        totals = rollout.scores.total.reshape(rollout.groups)
        applies = rollout.scores.applies.reshape(rollout.groups)
        # In float64 on the host: 1e9 and 1e9 + 1 are one number in float32.
        best = centred(totals, applies, self.algorithm.around, rollout.greedy)
        rewards = best.rewards.astype(np.float32)
        self._compare(totals, applies, rewards)
        # The same centre for the baseline: only the difference of the two matters.
        greedy = rollout.greedy
        if greedy is not None:
            greedy = jnp.asarray((greedy - best.centre).astype(np.float32))
        return RolloutArrays(
            tokens=grouped(rollout.completions.mask),
            used=grouped(rollout.used),
            stopped=grouped(rollout.completions.stopped),
            scores=jnp.asarray(rewards),
            sampler_logps=grouped(rollout.completions.logps),
            logps=grouped(scored.logps),
            silent=silent,
            ref_logps=grouped(scored.ref_logps),
            values=grouped(scored.values),
            greedy=greedy,
            own=grouped(rollout.own),
            centre=jnp.asarray(best.centre.astype(np.float32)),
        )

    def _compare(self, totals, applies, on_device) -> None:
        """Says so, once, when the device does not see a difference."""
        if "float32" in self._warned:
            return
        if self.algorithm.around != "group":  # all are compared with all
            totals, applies, on_device = (
                x.reshape(1, -1) for x in (totals, applies, on_device)
            )
        # Once: a reward that is too large is so in every iteration.
        lost = lost_difference(totals, applies, on_device)
        if lost is not None:
            self._warned.add("float32")
            warn_of_lost_difference(*lost, totals[applies])


def _silent(equal: Mean) -> jax.Array:
    """Whether there is no group whose rewards differ; or no reward at all."""
    # No group at all counts as silent too: there is nothing to learn from either.
    return equal.total >= equal.weight
