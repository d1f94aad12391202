"""`jaxalign ppo`: proximal policy optimization with a critic."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from jaxalign import rl
from jaxalign.errors import UserError
from jaxalign.recipes.finish import finish
from jaxalign.recipes.paths import Found
from jaxalign.recipes.policy import Policy, open_policy
from jaxalign.recipes.reference import weights_digest
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.fit import (
    fit_iterations,
    observer,
    reference_of,
    start_rl_state,
)
from jaxalign.recipes.rl.parts import (
    plan_rollouts,
    read_other_rows,
    row_options,
    sampling_of,
)
from jaxalign.recipes.rl.prompts import read_prompts
from jaxalign.recipes.rl.scoring import make_scoring
from jaxalign.recipes.rows import make_encoder
from jaxalign.recipes.run import open_run
from jaxalign.recipes.samples import decoder_of
from jaxalign.recipes.scorer import score_fn_of
from jaxalign.training import make_optimizer
from jaxalign.training.exits import FINISHED
from jaxalign.training.optimizer import OptimizerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RLConfig):
    """PPO: a critic, clipped ratios, and a KL penalty in the reward of every token."""

    critic: Found | None = None
    """Folder that the critic starts from, a reward model; by default the policy, with
    a fresh scalar head."""
    critic_warmup: int = 0
    """Iterations in which the critic alone learns."""
    batch_size: int = 64
    """Prompts per iteration, over all devices."""
    num_ppo_epochs: int = 4
    """Passes over the completions before new ones are sampled."""
    cliprange: float = 0.2
    """Clip of the ratio."""
    cliprange_high: float | None = None
    """Its upper clip; by default the same."""
    dual_clip: float | None = None
    """Highest ratio that counts for tokens with a negative advantage; 3 is usual."""
    cliprange_value: float = 0.2
    """Clip of the change of values."""
    vf_coef: float = 0.1
    """Weight of the value loss."""
    entropy_coef: float = 0.0
    """Weight of the entropy, which is kept up."""
    gamma: float = 1.0
    """Discount."""
    lam: float = 0.95
    """GAE's mix of one-step errors (0) and whole returns (1)."""
    whiten_rewards: bool = False
    """Divide token rewards by their standard deviation; their mean stays."""
    whiten_advantages: bool = True
    """Give advantages mean 0 and variance 1 over the whole batch."""
    kl_controller: Literal["fixed", "adaptive"] = "fixed"
    """Whether `kl_coef` follows the measured KL."""
    kl_target: float = 6.0
    """Nats per completion that the adaptive controller aims at."""
    kl_horizon: int = 10_000
    """Completions in which it can change `kl_coef` by about a fifth."""
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=3e-6, schedule="linear", eps=1e-5
    )
    """The update rule, of policy and critic."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        for name in ("num_ppo_epochs", "kl_horizon"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("cliprange", "cliprange_value", "kl_target"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("critic_warmup", "vf_coef", "entropy_coef"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.dual_clip is not None and not self.dual_clip > 1:
            raise UserError(f"dual_clip must be above 1, got {self.dual_clip}")
        if self.kl_controller == "adaptive" and not self.kl_coef:
            raise UserError("an adaptive kl_coef of 0 stays 0; start from 0.15 to 0.2")


def ppo_algorithm(config: Config) -> rl.Algorithm:
    """What the settings ask for."""
    controller = rl.fixed_kl
    if config.kl_controller == "adaptive":
        controller = rl.adaptive_kl(target=config.kl_target, horizon=config.kl_horizon)
    return rl.ppo(
        clip=config.cliprange,
        clip_high=config.cliprange_high,
        dual_clip=config.dual_clip,
        value_clip=config.cliprange_value,
        value_coef=config.vf_coef,
        entropy_coef=config.entropy_coef,
        gamma=config.gamma,
        lam=config.lam,
        whiten_rewards=config.whiten_rewards,
        whiten_advantages=config.whiten_advantages,
        kl_coef=config.kl_coef,
        kl_controller=controller,
        importance_cap=config.importance_cap,
        passes=config.num_ppo_epochs,
        warm_up=config.critic_warmup,
    )


def open_critic(config: Config, devices: Sequence[Any] | None = None) -> Policy:
    """A reward model, or the policy's folder with a fresh scalar head."""
    folder = config.critic or config.model
    return open_policy(folder, head="score", devices=devices, **config.layout)


def main(config: Config) -> int:
    """Trains a policy and its critic; returns the exit code."""
    algorithm = ppo_algorithm(config)
    with open_run(config) as run:
        policy = open_policy(config.model, **config.layout)
        critic = open_critic(config)
        encoder = make_encoder(config, policy.folder, policy.config.vocab_size)
        tokenizer = encoder.tokenizer
        decoder = decoder_of(policy.model, policy.mesh, tokenizer=tokenizer)
        score = run.closing(make_scoring(config, tokenizer))
        prompts = read_prompts(config, encoder, policy, run.console)
        score.check_all(config, prompts)
        plan = plan_rollouts(config, algorithm, prompts, policy.row_devices)
        other = read_other_rows(config, encoder, plan, policy.row_devices, run.console)
        run.console.print(plan.describe(config), highlight=False)
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
            ref_params=reference_of(policy, params["policy"]),
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
