"""Settings to what `rl.make_iteration` takes, for runs and for plans of runs."""

import dataclasses
import logging
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Console

from jaxalign.data.packing.batches import Batches
from jaxalign.data.packing.completions import CompletionRows
from jaxalign.data.packing.row_plan import microbatches
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.recipes.inputs.packed import rows_at_a_time
from jaxalign.recipes.inputs.rows import read_rows
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.prompts import Prompts, refill_from
from jaxalign.recipes.runs.policy import Policy
from jaxalign.recipes.runs.samples import ends_of
from jaxalign.rewards import informative_groups
from jaxalign.rl import Algorithm, Devices, Mix, Prompt, Sampling

_LOG = logging.getLogger("jaxalign")


class RolloutPlan(NamedTuple):
    """What a run will do, before anything is sampled.

    Attributes:
      rows: How completions lie in rows, whatever is sampled.
      iterations: Of the run.
      updates_per_iteration: How often the optimizer steps, if no group is left out.
    """

    rows: CompletionRows
    iterations: int
    updates_per_iteration: int

    @property
    def updates(self) -> int:
        """Of the run."""
        return self.iterations * self.updates_per_iteration

    def describe(self, config: RLConfig) -> str:
        """In a line."""
        rows = self.rows
        return (
            f"{self.iterations} iterations of {config.batch_size} prompts with "
            f"{config.num_generations} completions each, {self.updates_per_iteration} "
            f"updates in an iteration; rows of {rows.shape.tokens} tokens with "
            f"{rows.together} completions side by side; rows per update: "
            f"{', '.join(map(str, rows.counts))}"
        )


def plan_rollouts(
    config: RLConfig, algorithm: Algorithm, prompts: Prompts, devices: int
) -> RolloutPlan:
    """Plans a run over its prompts; says if an iteration has some of them twice."""
    if len(prompts.train) < config.batch_size:
        _LOG.warning(
            "batch_size is %d and there are %d prompts to train on: every iteration "
            "samples some of them several times. Lower --batch-size.",
            config.batch_size,
            len(prompts.train),
        )
    epochs = config.num_train_epochs * len(prompts.train) / config.batch_size
    longest = max(len(x.ids) for x in prompts.train)
    return RolloutPlan(
        plan_completion_rows(config, algorithm, longest, devices),
        config.max_steps or math.ceil(epochs),
        algorithm.passes * config.num_minibatches,
    )


def plan_completion_rows(
    config: RLConfig, algorithm: Algorithm, longest_prompt: int, devices: int
) -> CompletionRows:
    """Rows for the completions of prompts of up to so many tokens."""
    each = -(-config.batch_size // config.num_minibatches)
    plan: dict[str, Any] = {
        "longest_prompt": longest_prompt,
        "longest_completion": config.max_new_tokens,
        "per_prompt": config.num_generations,
        "completions": each * config.num_generations,
        "row_multiple": devices,
        "row_length": config.row_length,
        "packing": config.packing,
        "undivided": algorithm.together,
    }
    # How many rows are computed at a time depends on how long they are.
    tokens = CompletionRows.plan(**plan).shape.tokens
    most = rows_at_a_time(config, tokens) * devices
    return CompletionRows.plan(**plan, rows_at_a_time=most)


def row_options(
    config: RLConfig, policy: Policy, rows: CompletionRows
) -> dict[str, Any]:
    """The arguments of `make_iteration` that say how rows are computed, and where."""
    p = policy.program
    return {
        "num_minibatches": config.num_minibatches,
        "microbatch_size": rows_at_a_time(config, rows.shape.tokens),
        # By default they are planned, and compiled, anew for each iteration's prompts.
        "rows": lambda prompts: rows,
        "chunk_size": config.chunk_size,
        "devices": Devices(
            row_multiple=p.row_devices,
            place=p.place,
            rows=p.rows,
            map=p.map,
            train=p.train,
            unreplicate=p.unreplicate,
        ),
    }


def sampling_of(
    config: RLConfig,
    tokenizer: Tokenizer,
    train: Sequence[Prompt],
    *,
    max_refills: int | None = None,
) -> Sampling:
    """How completions are drawn.

    Args:
      config: The settings.
      tokenizer: Of the policy.
      train: All prompts of the run.
      max_refills: How often dynamic sampling may sample again; None: none of it.
    """
    keep = config.keep_special_tokens
    return Sampling(
        max_new_tokens=config.max_new_tokens,
        num_generations=config.num_generations,
        temperature=config.temperature,
        stop_ids=tokenizer.stop_ids,
        ends=ends_of(tokenizer, config.stop),
        decode=lambda ids: tokenizer.decode(ids, skip_special=not keep),
        batch_size=config.generation_batch_size,
        informative=None if max_refills is None else informative_groups,
        max_refills=max_refills or 0,
        refill=refill_from(train, config.seed),
    )


class OtherRows(NamedTuple):
    """Another stream that is learnt from.

    Attributes:
      mix: Its batches, or None.
      fingerprints: Of its data.
    """

    mix: Mix | None
    fingerprints: dict[str, str]


def read_other_rows(
    config: RLConfig,
    encoder: Encoder,
    plan: RolloutPlan,
    devices: int,
    console: Console,
) -> OtherRows:
    """The rows of `mix_data`, if it is given, in a batch for every update."""
    if config.mix_data is None:
        return OtherRows(None, {})
    own = dataclasses.replace(
        config,
        data=config.mix_data,
        eval_data=None,
        eval_fraction=0.0,
        # These rows have columns of their own.
        format=None,
        conversational=None,
        columns=None,
    )
    read = read_rows(own, "sft", encoder, config.seed, console)
    # Every microbatch of an update gets an equal share of these rows.
    most = rows_at_a_time(config, plan.rows.shape.tokens) * devices
    parts = (microbatches(n, most) for n in plan.rows.counts)
    batches = Batches(
        read.train,
        batch_size=config.mix_batch_size,
        seed=config.seed,
        num_epochs=plan.updates * config.mix_batch_size / len(read.train),
        packing=config.packing,
        row_multiple=devices * math.lcm(*parts),
    )
    mix = Mix(batches.__getitem__, config.mix_coef)
    return OtherRows(mix, {"mix_data": read.fingerprints["data"]})
