"""Settings of runs that sample, score and learn."""

import dataclasses
import math
from typing import Literal

from jaxalign.errors import UserError
from jaxalign.recipes.flags.config import WritingConfig
from jaxalign.recipes.flags.paths import RewardAt, RowsAt
from jaxalign.recipes.flags.stop_flag import check_stop_texts
from jaxalign.training.optimizer import OptimizerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class RLConfig(WritingConfig):
    """Rollouts, rewards and updates; rows give prompts, and columns for the rewards."""

    reward: tuple[RewardAt, ...]
    """Rewards by name, `FILE.py:function`, `module:function`, a reward model's folder,
    `judge(model=FOLDER)`, or `rival_judge(model=FOLDER)` between the completions
    of a prompt; may be given several times, each with a weight: `NAME=0.5`. `jaxalign
    rewards` lists them."""
    keep_special_tokens: bool = False
    """Show rewards the special tokens in completions, the stop token too."""
    batch_size: int = 16
    """Prompts per iteration, over all devices."""
    num_generations: int = 1
    """Completions of each prompt."""
    num_minibatches: int = 1
    """Updates in each pass over the completions of an iteration."""
    max_new_tokens: int = 64
    """Longest completion, in tokens, the stop token included."""
    stop: tuple[str, ...] = ()
    """Texts at which a completion ends, such as `</answer>`; the tokens that complete
    the text are part of it, and it counts as ended."""
    temperature: float = 1.0
    """Temperature of the sampler, and of every log-probability in training."""
    generation_batch_size: int | None = None
    """Completions sampled at a time, to save memory; all by default."""
    missing_eos_score: float | None = None
    """Score of a completion without a stop token, in place of what rewards say."""
    missing_eos_penalty: float = 0.0
    """Reward that a completion without a stop token loses."""
    ref_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type that the reference's parameters are kept in; bfloat16 is half the memory."""
    mix_data: RowsAt | None = None
    """Further rows to learn from: text (PPO-ptx) or demonstrations (hybrid SFT)."""
    mix_coef: float = 0.0
    """Weight of the mean negative log-likelihood of `mix_data`."""
    mix_batch_size: int = 16
    """Examples of `mix_data` in each update."""
    max_clipped: float = 0.5
    """Warn where more completions than this share are cut off at `max_new_tokens`."""
    patience: int = 20
    """Warn after this many iterations in a row in which no reward differed."""
    on_dead_signal: Literal["warn", "stop"] = "warn"
    """Warn or stop after `patience` such iterations."""
    samples: int = 2
    """Number of completions in each table of them; all are in `completions/`."""
    save_steps: int = 10
    """Iterations between checkpoints; one is written at the end in any case."""
    eval_steps: int = 10
    """Iterations between evaluations, and between tables of completions."""
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-6, eps=1e-5)
    """The update rule."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        if not self.reward:
            raise UserError(
                "no reward is given; pass --reward, for example exact_match"
            )
        counts = ("num_generations", "num_minibatches", "mix_batch_size", "patience")
        for name in counts:
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.generation_batch_size is not None and self.generation_batch_size < 1:
            raise UserError(
                "generation_batch_size must be 1 or more, got "
                f"{self.generation_batch_size}"
            )
        if self.num_minibatches > self.batch_size:
            raise UserError(
                f"num_minibatches {self.num_minibatches} is more than batch_size "
                f"{self.batch_size}: an update needs a prompt"
            )
        # In this form NaN is refused, too.
        if not self.temperature > 0:
            raise UserError(
                f"temperature must be positive, got {self.temperature}: greedy "
                "completions have no probability to learn from"
            )
        check_stop_texts(self.stop)
        for name in ("mix_coef", "missing_eos_penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not math.isfinite(score := self.missing_eos_score or 0.0):
            raise UserError(f"missing_eos_score must be a finite number, got {score}")
        if self.missing_eos_score is not None and self.missing_eos_penalty:
            raise UserError(
                f"missing_eos_score {self.missing_eos_score} and missing_eos_penalty "
                f"{self.missing_eos_penalty} are two answers to one question; set one"
            )
        if bool(self.mix_coef) != (self.mix_data is not None):
            raise UserError(
                f"mix_coef is {self.mix_coef} and mix_data is {self.mix_data}: the two "
                "go together"
            )
        if self.max_new_tokens >= self.max_length:
            raise UserError(
                f"max_new_tokens {self.max_new_tokens} leaves no room for a prompt in "
                f"max_length {self.max_length}"
            )
