"""Batches whose completions the model writes itself, for on-policy distillation."""

from typing import Any

import jax
import numpy as np

from jaxalign.data.packing.completions import CompletionRows, completion_layouts
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.errors import UserError
from jaxalign.recipes.inputs.packed import Packed
from jaxalign.recipes.inputs.rows import Rows
from jaxalign.recipes.runs.policy import Policy
from jaxalign.recipes.runs.run import Run
from jaxalign.rollout import generate

# Two numbers that keep these draws apart from all others of the seed.
_COIN, _SAMPLE = 0xC014, 0x5A4E


class OnPolicy:
    """For a share of the updates, their prompts with completions sampled just now.

    Whether an update is one of them, and every random number of its completions, is a
    function of the seed and of the number of the update, so that a run that was stopped
    goes on as it would have.
    """

    def __init__(
        self,
        run: Run,
        policy: Policy,
        tokenizer: Tokenizer,
        rows: Rows,
        packed: Packed,
        share: float,
        *,
        max_new_tokens: int,
        temperature: float,
    ):
        """Plans the rows of the completions; nothing is sampled yet.

        Args:
          run: The run.
          policy: Who writes.
          tokenizer: With the stop tokens.
          rows: Whose prompts are completed.
          packed: Which prompts belong to which update.
          share: Of the updates that sample, in [0, 1].
          max_new_tokens: Longest completion.
          temperature: Of the sampler.

        Raises:
          UserError: A prompt and its completion may be longer than the model reads.
        """
        self._run, self._policy, self._packed = run, policy, packed
        self._share, self._temperature = share, temperature
        self._max_new_tokens = max_new_tokens
        self._stop_ids = tokenizer.stop_ids
        # Made once: for each new one the sampler is compiled anew.
        self._decoder = policy.decoder(tokenizer)
        self._prompts = [
            x.sequences[0].ids[: x.sequences[0].prompt_length].tolist()
            for x in rows.train
        ]
        self._key = jax.random.fold_in(run.key, _SAMPLE)
        # Where nothing is sampled no completion can be too long.
        self._rows = self._plan_rows() if share else None

    def is_due(self, number: int) -> bool:
        """Whether update `number` learns from the model's own completions."""
        # On the host, because it decides which program runs.
        coin = np.random.default_rng([self._run.config.seed, _COIN, number])
        return bool(coin.random() < self._share)

    def batch(self, params: Any, number: int) -> Any:
        """The batch of update `number`, on the devices.

        Args:
          params: Of the policy, as they are trained.
          number: Of the update.
        """
        assert self._rows is not None
        program, run = self._policy.program, self._run
        prompts = [self._prompts[i] for i in self._packed.train.examples_of(number)]
        with run.clock.phase("generate"), run.stop.at_once():
            done = generate(
                self._decoder,
                # The sampler computes with one copy, also under pmap.
                program.unreplicate(params),
                prompts,
                jax.random.fold_in(self._key, number),
                max_new_tokens=self._max_new_tokens,
                stop_ids=self._stop_ids,
                temperature=self._temperature,
            )
        layouts = completion_layouts(prompts, done.tokens, done.lengths, together=1)
        return self._packed.complete(program.place(self._rows.batch(layouts)))

    def _plan_rows(self) -> CompletionRows:
        """Rows as long as those of the data, where a completion fits into them."""
        config, packed = self._run.config, self._packed
        longest, most = max(map(len, self._prompts)), self._max_new_tokens
        room = self._decoder.max_length
        # Told now, and not at the first update that holds such a prompt.
        if longest + most > room:
            raise UserError(
                f"the longest prompt has {longest} tokens and a completion up to "
                f"{most}, but the model reads {room}. Lower --max-new-tokens or "
                "--max-prompt-length."
            )
        devices = self._policy.row_devices
        return CompletionRows.plan(
            longest_prompt=longest,
            longest_completion=most,
            per_prompt=1,
            completions=config.batch_size,
            row_multiple=devices,
            # The prompt's last token is read by the completion's branch: hence one
            # less.
            row_length=max(longest - 1 + most, packed.train.plan.shapes[-1].tokens),
            rows_at_a_time=packed.microbatch_size * devices,
            packing=config.packing,
        )
