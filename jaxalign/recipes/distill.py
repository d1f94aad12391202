"""`jaxalign distill`: a model learns what a larger one would write."""

import dataclasses
import itertools
from typing import Any

import numpy as np

from jaxalign.data.text.tokenizer import Tokenizer, load_tokenizer
from jaxalign.errors import UserError
from jaxalign.objectives import distillation_objective
from jaxalign.ops import Mean
from jaxalign.recipes.flags.config import WritingConfig
from jaxalign.recipes.flags.keyword_flags import with_keywords
from jaxalign.recipes.flags.paths import Found
from jaxalign.recipes.inputs.on_policy import OnPolicy
from jaxalign.recipes.inputs.packed import pack_rows
from jaxalign.recipes.inputs.rows import Rows, make_encoder, read_rows
from jaxalign.recipes.runs.finish import finish
from jaxalign.recipes.runs.fit import fit, held_out_means, start_state
from jaxalign.recipes.runs.policy import Policy, open_policy
from jaxalign.recipes.runs.run import open_run
from jaxalign.recipes.runs.samples import sample_greedily
from jaxalign.recipes.scoring.reference import weights_digest
from jaxalign.training import make_optimizer
from jaxalign.training.stopping.exits import FINISHED


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig(WritingConfig):
    """Generalised knowledge distillation (GKD) on data and on own completions."""

    teacher: Found
    """Folder of the model to learn from, or its name on the hub."""
    lmbda: float = 0.5
    """Share of the updates whose completions the student samples."""

    max_new_tokens: int = 64
    """Longest completion of the student's, in updates and among samples, in tokens."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        if not 0 <= self.lmbda <= 1:
            raise UserError(f"lmbda must be in [0, 1], got {self.lmbda}")
        try:  # binding looks at the numbers alone
            nothing: Any = None
            distillation_objective(nothing, nothing, **self.keywords)
        except ValueError as error:
            raise UserError(str(error)) from error


Config = with_keywords(DistillConfig, distillation_objective)


def make_distillation_objective(config: DistillConfig, policy: Policy, teacher: Policy):
    """What is minimised: a function of the student's and the teacher's parameters."""
    return distillation_objective(
        policy.backbone,
        teacher.backbone,
        chunk_size=config.chunk_size,
        **config.keywords,
    )


def main(config: DistillConfig) -> int:
    """Trains the student; returns the exit code."""
    with open_run(config) as run:
        policy = open_policy(config.model, **config.layout)
        teacher = open_policy(config.teacher, **config.layout)
        encoder = make_encoder(config, policy.folder, policy.config)
        rows = read_rows(config, "sft", encoder, config.seed, run.console)
        check_teacher(config, teacher, rows, encoder.tokenizer)
        packed = pack_rows(config, rows, devices=policy.row_devices)
        run.console.print(packed.describe(policy.row_devices))
        sampler = OnPolicy(
            run,
            policy,
            encoder.tokenizer,
            rows,
            packed,
            config.lmbda,
            max_new_tokens=config.max_new_tokens,
            temperature=config.keywords["temperature"],
        )
        if config.dry_run:
            return FINISHED
        digests = rows.fingerprints | {"teacher": weights_digest(teacher.folder)}
        run.begin(policy, encoder.tokenizer, digests)

        params = policy.load()
        # The step consumes the student's parameters; the teacher's are only read.
        frozen = policy.program.replicate(teacher.load())
        objective = make_distillation_objective(config, policy, teacher)
        optimizer, rate = make_optimizer(config.optimizer, len(packed.train))
        state = start_state(run, policy, params, optimizer, len(packed.train))
        samples = sample_greedily(config, run, policy, encoder.tokenizer, rows)
        if run.is_new:
            samples.show(state.params, 0)
        size = packed.microbatch_size
        train_step = policy.program.train(objective, optimizer, size, frozen)
        # Counted on the host: to read the step off the state would wait for the device.
        number = itertools.count(int(state.step))

        def step(state, batch):
            """One update, of a share of which the student writes the completions."""
            n = next(number)
            own = sampler.is_due(n)
            if own:
                batch = sampler.batch(state.params, n)
            state, metrics = train_step(state, batch)
            # 1 or 0, so that the mean over logged steps is the share.
            once: Any = np.float32(own), np.float32(1)
            return state, {**metrics, "on_policy": Mean(*once)}

        state = fit(
            run,
            policy,
            step,
            state,
            packed,
            learning_rate=rate,
            evaluate=held_out_means(run, policy, objective, packed, frozen),
            main_metric="on_policy",
        )

        samples.show(state.params, run.step)
        method = "generalised knowledge distillation (GKD)"
        finish(run, policy, state.params, method=method)
    return run.exit_code


def check_teacher(
    config: DistillConfig, teacher: Policy, rows: Rows, tokenizer: Tokenizer
) -> None:
    """Refuses a teacher whose ids mean other words, or that reads too little."""
    if not load_tokenizer(teacher.folder).same_words(tokenizer):
        raise UserError(
            f"--teacher {config.teacher}: its tokenizer has another vocabulary than "
            "the student's, so distributions over tokens cannot be compared. Take both "
            "from one family, or fine-tune on completions that the teacher wrote: "
            "`jaxalign generate` and `jaxalign sft`."
        )
    longest = max(len(x.ids) for e in rows.all for x in e.sequences)
    room = teacher.config.max_positions
    if longest > room:
        raise UserError(
            f"--teacher {config.teacher}: it reads {room} tokens, and a row has "
            f"{longest}. Lower --max-length."
        )
    prompt = max(e.sequences[0].prompt_length for e in rows.train)
    most = config.max_new_tokens
    if config.lmbda and prompt + most > room:
        raise UserError(
            f"--teacher {config.teacher}: it reads {room} tokens, and a prompt has "
            f"{prompt}, behind which the student writes up to {most}. Lower "
            "--max-new-tokens or --max-prompt-length."
        )
