"""`jaxalign sft`: supervised fine-tuning on demonstrations."""

import dataclasses

from jaxalign.losses import LossFn, sft_loss
from jaxalign.objectives import bind_token_loss, token_accuracy, token_entropy
from jaxalign.recipes.flags.config import WritingConfig
from jaxalign.recipes.flags.keyword_flags import with_keywords
from jaxalign.recipes.flags.loss_flags import checked
from jaxalign.recipes.inputs.packed import pack_rows
from jaxalign.recipes.inputs.rows import make_encoder, read_rows
from jaxalign.recipes.runs.finish import finish
from jaxalign.recipes.runs.fit import fit, held_out_means, start_state
from jaxalign.recipes.runs.policy import Policy, open_policy
from jaxalign.recipes.runs.run import open_run
from jaxalign.recipes.runs.samples import sample_greedily
from jaxalign.training import make_optimizer
from jaxalign.training.stopping.exits import FINISHED


@dataclasses.dataclass(frozen=True, kw_only=True)
class SFTConfig(WritingConfig):
    """Supervised fine-tuning on text, conversations, or prompts with completions."""

    entropy: bool = False
    """Log the entropy too, at the cost of a pass over the logits."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        # With both arrays: it refuses a weight for one that it is not given.
        checked(sft_loss, self.keywords, "mean_logps", "logz")


Config = with_keywords(SFTConfig, sft_loss)


def make_sft_objective(config: SFTConfig, policy: Policy) -> LossFn:
    """What is minimised."""
    return bind_token_loss(
        sft_loss,
        policy.backbone,
        metrics=(token_accuracy, token_entropy),
        chunk_size=config.chunk_size,
        entropy=config.entropy,
        **config.keywords,
    )


def main(config: SFTConfig) -> int:
    """Fine-tunes a model; returns the exit code."""
    with open_run(config) as run:
        policy = open_policy(config.model, **config.layout)
        encoder = make_encoder(config, policy.folder, policy.config)
        rows = read_rows(config, "sft", encoder, config.seed, run.console)
        packed = pack_rows(config, rows, devices=policy.row_devices)
        run.console.print(packed.describe(policy.row_devices))
        # Up to here data are checked, and no weight is read.
        if config.dry_run:
            return FINISHED
        run.begin(policy, encoder.tokenizer, rows.fingerprints)

        params = policy.load()
        objective = make_sft_objective(config, policy)
        optimizer, rate = make_optimizer(config.optimizer, len(packed.train))
        state = start_state(run, policy, params, optimizer, len(packed.train))
        samples = sample_greedily(config, run, policy, encoder.tokenizer, rows)
        # A run that goes on has shown them before.
        if run.is_new:
            samples.show(state.params, 0)
        step = policy.program.train(objective, optimizer, packed.microbatch_size)
        evaluate = held_out_means(run, policy, objective, packed)
        state = fit(
            run,
            policy,
            step,
            state,
            packed,
            learning_rate=rate,
            evaluate=evaluate,
            main_metric="mean_token_accuracy",
        )

        samples.show(state.params, run.step)
        finish(run, policy, state.params, method="supervised fine-tuning")
    return run.exit_code
