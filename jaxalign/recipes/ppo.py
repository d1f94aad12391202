"""`jaxalign ppo`: proximal policy optimization with a critic."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from jaxalign import rl
from jaxalign.data.text.tokenizer import Tokenizer, load_tokenizer
from jaxalign.errors import UserError
from jaxalign.recipes.flags.paths import Found
from jaxalign.recipes.inputs.rows import make_encoder
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.fit import (
    fit_iterations,
    observer,
    reference_of,
    start_rl_state,
)
from jaxalign.recipes.rl.flags import call_with_flags, keywords, with_algorithms
from jaxalign.recipes.rl.parts import (
    plan_rollouts,
    read_other_rows,
    row_options,
    sampling_of,
)
from jaxalign.recipes.rl.prompts import Prompts, read_prompts
from jaxalign.recipes.rl.scoring import make_scoring
from jaxalign.recipes.runs.finish import finish
from jaxalign.recipes.runs.policy import Policy, open_policy
from jaxalign.recipes.runs.run import open_run
from jaxalign.recipes.scoring.reference import weights_digest
from jaxalign.recipes.scoring.scorer import score_fn_of
from jaxalign.training import make_optimizer
from jaxalign.training.optimizer import OptimizerConfig
from jaxalign.training.stopping.exits import FINISHED

PPO_FLAGS = {
    "clip": "cliprange",
    "clip_high": "cliprange_high",
    "value_clip": "cliprange_value",
    "value_coef": "vf_coef",
    "passes": "num_ppo_epochs",
    "warm_up": "critic_warmup",
    "target": "kl_target",
    "horizon": "kl_horizon",
}
"""What keywords of algorithm and controller are called, as in other trainers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PPOConfig(RLConfig):
    """PPO: a critic, clipped ratios, and a KL penalty in the reward of every token."""

    critic: Found | None = None
    """Folder that the critic starts from, a reward model; by default the policy, with
    a fresh scalar head."""
    batch_size: int = 64
    """Prompts per iteration, over all devices."""
    kl_controller: Literal["fixed", "adaptive"] = "fixed"
    """Whether `kl_coef` follows the measured KL."""
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=3e-6, schedule="linear", eps=1e-5
    )
    """The update rule, of policy and critic."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        ppo_algorithm(self).check_completions(self.num_generations)
        if self.kl_controller != "adaptive":
            _refuse_flags_of_adaptive_kl(self)


# Twice, because a run has the keywords of both; in one call they are alternatives.
Config = with_algorithms(
    # The field of that name is a word, the keyword a function.
    with_algorithms(PPOConfig, (rl.ppo,), PPO_FLAGS, without=("kl_controller",)),
    (rl.adaptive_kl,),
    PPO_FLAGS,
)


def ppo_algorithm(config: PPOConfig) -> rl.Algorithm:
    """What the settings ask for."""
    adaptive = call_with_flags(config, rl.adaptive_kl, (), PPO_FLAGS)
    controller = adaptive if config.kl_controller == "adaptive" else rl.fixed_kl
    return call_with_flags(config, rl.ppo, (), PPO_FLAGS, kl_controller=controller)


def _refuse_flags_of_adaptive_kl(config: PPOConfig) -> None:
    """Of flags that say how `kl_coef` follows the KL, where it stays as it is."""
    for name, keyword in keywords(rl.adaptive_kl).items():
        flag = PPO_FLAGS[name]
        if getattr(config, flag) != keyword.default:
            raise UserError(
                f"{flag} {getattr(config, flag):g} counts only where kl_coef follows "
                "the KL: pass --kl-controller adaptive too, or leave it out."
            )


def open_critic(config: PPOConfig, devices: Sequence[Any] | None = None) -> Policy:
    """A reward model, or the policy's folder with a fresh scalar head."""
    folder = config.critic or config.model
    return open_policy(folder, head="score", devices=devices, **config.layout)


def check_critic(
    config: PPOConfig,
    critic: Policy,
    policy: Policy,
    tokenizer: Tokenizer,
    prompts: Prompts,
) -> None:
    """Refuses a critic that cannot read what the policy reads and writes.

    Raises:
      UserError: Its words are others, or its embeddings or its positions too few.
    """
    where = f"--critic {config.critic}"
    if not load_tokenizer(critic.folder).same_words(tokenizer):
        raise UserError(
            f"{where} has another vocabulary than the policy's, so the ids would mean "
            "other words. Train the reward model from the same base model, or leave "
            "the flag out."
        )
    seen = {tokenizer.vocab_size - 1, *tokenizer.stop_ids}
    seen |= {i for x in prompts.train for i in x.ids}
    # The policy itself neither reads nor writes ids that it has no embedding for.
    needed = min(1 + max(seen), policy.config.vocab_size)
    if critic.config.vocab_size < needed:
        raise UserError(
            f"{where} has {critic.config.vocab_size} embeddings, and ids go up to "
            f"{needed - 1}. Train the reward model from the same base model, or leave "
            "the flag out."
        )
    longest = max(len(x.ids) for x in prompts.train)
    if longest + config.max_new_tokens > critic.config.max_positions:
        raise UserError(
            f"{where} reads {critic.config.max_positions} tokens, and the longest "
            f"prompt has {longest} before {config.max_new_tokens} new ones. Lower "
            "--max-prompt-length or --max-new-tokens, or take a critic that reads more."
        )


def main(config: PPOConfig) -> int:
    """Trains a policy and its critic; returns the exit code."""
    algorithm = ppo_algorithm(config)
    with open_run(config) as run:
        policy = open_policy(config.model, **config.layout)
        critic = open_critic(config)
        encoder = make_encoder(config, policy.folder, policy.config)
        tokenizer = encoder.tokenizer
        decoder = policy.decoder(tokenizer)
        score = run.closing(make_scoring(config, tokenizer))
        prompts = read_prompts(config, encoder, policy, run.console)
        score.check_all(config, prompts)
        if config.critic is not None:
            check_critic(config, critic, policy, tokenizer, prompts)
        plan = plan_rollouts(config, algorithm, prompts, policy.row_devices)
        other = read_other_rows(config, encoder, plan, policy.row_devices, run.console)
        run.console.print(plan.describe(config))
        if config.dry_run:
            return FINISHED
        digests = score.digests(config.reward) | prompts.fingerprints
        digests |= {"critic": weights_digest(critic.folder), **other.fingerprints}
        run.begin(policy, tokenizer, digests)
        score.log_to(run.folder.path)

        params = {"policy": policy.load(), "critic": critic.load(run.key)}
        optimizer, rate = make_optimizer(config.optimizer, plan.updates)
        iterate = rl.make_iteration(
            policy.backbone,
            algorithm=algorithm,
            reward=score,
            optimizer=optimizer,
            sampling=sampling_of(config, tokenizer, prompts.train),
            decoder=decoder,
            critic=score_fn_of(critic.model),
            ref_params=reference_of(policy, params["policy"], config),
            mix=other.mix,
            observe=observer(run, config),
            at_once=run.stop.at_once,
            clock=run.clock,
            **row_options(config, policy, plan.rows),
        )
        state = start_rl_state(run, policy, params, optimizer, algorithm, plan)
        state = fit_iterations(run, policy, iterate, state, prompts, plan, rate)

        finish(run, policy, state.params["policy"], method=algorithm.name)
    return run.exit_code
