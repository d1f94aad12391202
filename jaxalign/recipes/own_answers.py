"""Updates that learn from the model's own answers in place of the data's."""

from typing import Any

import jax
import numpy as np

from jaxalign.data.packing.completions import AnswerRows, answer_layouts
from jaxalign.errors import UserError
from jaxalign.ops import Mean
from jaxalign.recipes.method import Plan, Run, Step
from jaxalign.recipes.samples import decoder_of
from jaxalign.rollout import generate
from jaxalign.training import Clock

_COIN, _SAMPLE = 0xC014, 0x5A4E


class OwnAnswers:
    """A step which, for a share of the updates, has the prompts answered first.

    Whether it does, and every random number of the answers, is a function of the seed
    and of the number of the update, so that a run that was stopped goes on as it would
    have.
    """

    def __init__(
        self,
        run: Run,
        plan: Plan,
        clock: Clock,
        step: Step,
        *,
        share: float,
        temperature: float,
    ):
        """Plans the rows of the answers; nothing is sampled yet.

        Args:
          run: The run.
          plan: Its batches: which prompts belong to which update.
          clock: Counts the time of sampling.
          step: The compiled step.
          share: Of the updates that sample, in [0, 1].
          temperature: Of the sampler.

        Raises:
          UserError: A prompt and its answer may be longer than the model reads.
        """
        self._run, self._plan, self._clock, self._step = run, plan, clock, step
        self._share = share
        self._temperature = temperature
        mesh = run.policy.mesh
        self._decoder = decoder_of(run.policy.model, mesh, tokenizer=run.tokenizer)
        self._prompts = [
            x.sequences[0].ids[: x.sequences[0].prompt_length].tolist()
            for x in run.rows.train
        ]
        self._key = jax.random.fold_in(jax.random.key(run.config.seed), _SAMPLE)
        self._number: int | None = None
        self._rows = self._plan_rows() if share else None

    def __call__(self, state: Any, batch: Any) -> tuple[Any, dict]:
        """One update; `on_policy` says which kind it was."""
        if self._number is None:  # Afterwards the host counts for itself.
            self._number = int(self._run.program.whole(state).step)
        number, self._number = self._number, self._number + 1
        own = self.is_own(number)
        if own:
            batch = self._sampled(state, number)
        state, metrics = self._step(state, batch)
        once: Any = np.float32(own), np.float32(1)
        return state, {**metrics, "on_policy": Mean(*once)}

    def is_own(self, number: int) -> bool:
        """Whether an update learns from the model's own answers."""
        coin = np.random.default_rng([self._run.config.seed, _COIN, number])
        return bool(coin.random() < self._share)

    def _sampled(self, state: Any, number: int) -> Any:
        assert self._rows is not None
        program, config = self._run.program, self._run.config
        prompts = [self._prompts[i] for i in self._plan.batches.examples_of(number)]
        with self._clock.phase("generate"), self._run.stop.at_once():
            done = generate(
                self._decoder,
                program.whole(state.params),
                prompts,
                jax.random.fold_in(self._key, number),
                max_new_tokens=config.max_new_tokens,
                stop_ids=self._run.tokenizer.stop_ids,
                temperature=self._temperature,
            )
        layouts = answer_layouts(prompts, done.tokens, done.lengths, together=1)
        placed = program.place(self._rows.batch(layouts))
        return self._plan.complete(placed)

    def _plan_rows(self) -> AnswerRows:
        """Rows as long as those of the data, where an answer fits into them."""
        config, plan = self._run.config, self._plan
        longest, most = max(map(len, self._prompts)), config.max_new_tokens
        room = self._decoder.max_length
        if longest + most > room:
            raise UserError(
                f"the longest prompt has {longest} tokens and an answer up to {most}, "
                f"but the model reads {room}. Lower --max-new-tokens or "
                "--max-prompt-length."
            )
        devices = self._run.program.row_devices
        return AnswerRows.plan(
            longest_prompt=longest,
            longest_answer=most,
            per_prompt=1,
            answers=config.batch_size,
            row_multiple=devices,
            row_length=max(longest - 1 + most, plan.batches.plan.shapes[-1].tokens),
            rows_at_a_time=plan.microbatch_size * devices,
            packing=config.packing,
        )
