"""`jaxalign ppo`: proximal policy optimization with a critic."""

import dataclasses
import functools
from typing import Literal

import jax.numpy as jnp

from jaxalign.errors import UserError
from jaxalign.losses import ppo_loss
from jaxalign.objectives import bind, gae_credit, value_loss
from jaxalign.ops import adaptive_kl_update, fixed_kl_update, token_mean
from jaxalign.recipes.paths import Found
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.method import Method
from jaxalign.recipes.rl.models import Models
from jaxalign.recipes.rl.run import run_rl
from jaxalign.recipes.rl.settle import Rules, truncated_weights
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
    """Passes over the answers before new ones are sampled."""
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
    """Nats per answer that the adaptive controller aims at."""
    kl_horizon: int = 10_000
    """Answers in which it can change `kl_coef` by about a fifth."""
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


def method_of(config: Config) -> Method:
    """What the settings ask for."""
    episodes = config.batch_size * config.num_generations
    adaptive = functools.partial(
        adaptive_kl_update,
        target=config.kl_target,
        horizon=config.kl_horizon,
        num_episodes=episodes,
    )
    rules = Rules(
        assign=gae_credit(
            discount=config.gamma, lam=config.lam, whiten=config.whiten_advantages
        ),
        kl_in_reward=True,
        update_kl=adaptive if config.kl_controller == "adaptive" else fixed_kl_update,
        weights=truncated_weights(config.importance_cap),
        rescale=config.whiten_rewards,
    )

    def objective(models: Models):
        assert models.values is not None
        return bind(
            ppo_loss,
            models.policy.backbone,
            critic=models.values,
            entropy=True,
            sampling_temperature=config.temperature,
            chunk_size=config.chunk_size,
            longest=config.max_new_tokens,
            clip=config.cliprange,
            clip_high=config.cliprange_high,
            dual_clip=config.dual_clip,
            value_clip=config.cliprange_value,
            value_coef=config.vf_coef,
            entropy_coef=config.entropy_coef,
        )

    def critic_alone(models: Models):
        assert models.values is not None
        return bind(
            value_loss,
            models.policy.backbone,
            critic=models.values,
            longest=config.max_new_tokens,
            clip=config.cliprange_value,
            coef=config.vf_coef,
        )

    return Method(
        name="proximal policy optimization (PPO)",
        rules=rules,
        objective=objective,
        weight=lambda mask: token_mean(jnp.zeros(mask.shape), mask).weight,
        passes=config.num_ppo_epochs,
        kl=True,
        critic=config.critic or config.model,
        warm_up=critic_alone,
        warm_up_iterations=config.critic_warmup,
    )


def main(config: Config) -> int:
    """Trains a policy and its critic; returns the exit code."""
    return run_rl(config, method_of(config))
