"""From a config to an Optax optimizer and its learning-rate schedule."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import contrib

from jaxalign.errors import UserError

Schedule = Callable[[Any], Any]
"""`number of updates made so far -> learning rate`: floats from ints, or traced."""

_DEFAULTS: dict[str, dict[str, float | None]] = {
    "adamw": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
    "rmsprop": {"b2": 0.99, "eps": 1e-8},
    # None: without momentum, unless it is set.
    "adafactor": {"b1": None, "eps": 1e-30},
    "lion": {"b1": 0.9, "b2": 0.99},
    "muon": {"b1": 0.95, "b2": 0.999, "eps": 1e-8},
}
_NOT_DECAYED = re.compile(r"norm|(^|[/_])(ln|bias|scale)([/_\d]|$)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Which optimizer, how fast, and what keeps it in bounds."""

    name: Literal["adamw", "rmsprop", "adafactor", "lion", "muon"] = "adamw"
    """Update rule; `rmsprop` is that of the DPO paper's code (no momentum)."""
    learning_rate: float = 1e-5
    """Peak learning rate."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Schedule after the warm-up: constant, or a decay down to `final_fraction`."""
    final_fraction: float = 0.0
    """Last rate of a decaying schedule, as a fraction of `learning_rate`."""
    warmup_steps: int = 0
    """Warm-up updates: number n has the fraction n / (this + 1) of its rate."""
    warmup_ratio: float = 0.0
    """Warm-up as a fraction of the run, in [0, 1), in place of `warmup_steps`."""
    weight_decay: float = 0.0
    """Decoupled decay, times the learning rate; none on norms and biases."""
    b1: float | None = None
    """Decay of momentum. Unset: adamw 0.9, lion 0.9, muon 0.95, adafactor without."""
    b2: float | None = None
    """Decay of second moments. Unset: adamw 0.999, rmsprop 0.99, lion 0.99."""
    eps: float | None = None
    """Constant in the denominator. Unset: 1e-8, adafactor 1e-30 (gradient squared)."""
    max_grad_norm: float | None = 1.0
    """Maximum of the mean gradient's global norm; a larger one is scaled down."""
    mu_dtype: Literal["float32", "bfloat16"] | None = None
    """Type of the momentum. Unset: that of the parameters."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        if self.name not in _DEFAULTS:
            names = ", ".join(_DEFAULTS)
            raise UserError(f"optimizer name must be one of {names}, got {self.name!r}")
        if self.schedule not in ("constant", "linear", "cosine"):
            raise UserError(
                "schedule must be constant, linear or cosine, got "
                f"{self.schedule!r}; set --optimizer.schedule"
            )
        _within("learning_rate", self.learning_rate, 0, 10, open_low=True)
        _within("final_fraction", self.final_fraction, 0, 1)
        _within("warmup_steps", self.warmup_steps, 0, float("inf"))
        _within("warmup_ratio", self.warmup_ratio, 0, 1, open_high=True)
        _within("weight_decay", self.weight_decay, 0, 10)
        if self.max_grad_norm is not None:
            low, high = 0, float("inf")
            _within("max_grad_norm", self.max_grad_norm, low, high, open_low=True)
        if self.warmup_steps and self.warmup_ratio:
            raise UserError(
                f"warmup_steps {self.warmup_steps} and warmup_ratio "
                f"{self.warmup_ratio} say the same thing twice; set one of them"
            )
        if self.schedule == "constant" and self.final_fraction:
            raise UserError(
                f"final_fraction {self.final_fraction} has no meaning with the "
                "constant schedule; set --optimizer.schedule linear or cosine"
            )
        self._refuse_unused()

    def _refuse_unused(self):
        for field in ("b1", "b2", "eps"):
            value = getattr(self, field)
            if value is None:
                continue
            if field not in _DEFAULTS[self.name]:
                raise UserError(
                    f"optimizer.{field} is {value}, but {self.name} has no {field}; "
                    "leave it out or choose another --optimizer.name"
                )
            _within(field, value, 0, 1, open_high=True, open_low=field == "eps")
        keeps_momentum = self.name != "rmsprop" and self.moment("b1") is not None
        if self.mu_dtype is not None and not keeps_momentum:
            raise UserError(
                f"optimizer.mu_dtype is {self.mu_dtype}, but {self.name} keeps no "
                "momentum here; leave it out"
            )

    def moment(self, field: Literal["b1", "b2", "eps"]) -> float | None:
        """The value of `b1`, `b2` or `eps`, or the optimizer's own default."""
        value = getattr(self, field)
        return _DEFAULTS[self.name].get(field) if value is None else value


def make_optimizer(
    config: OptimizerConfig, num_steps: int
) -> tuple[optax.GradientTransformation, Schedule]:
    """Builds the optimizer, and the schedule that it follows.

    The order is: clip the mean gradient by its global norm, the update rule, add
    decoupled weight decay, multiply by minus the learning rate.

    Args:
      config: What to build.
      num_steps: Updates in the whole run, which decaying schedules end at.

    Returns:
      The transformation, and `schedule(updates made so far)`: a float for an int (no
      device is touched, so a training loop may call it), traced for a traced count.

    Raises:
      UserError: The warm-up is not shorter than a run with a decaying schedule.
    """
    schedule = make_schedule(config, num_steps)
    parts = [_update_rule(config)]
    if config.max_grad_norm is not None:
        # In front, so that the moments of the rule take in what is clipped.
        parts.insert(0, optax.clip_by_global_norm(config.max_grad_norm))
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay, mask=decayed))
    parts.append(optax.scale_by_learning_rate(schedule))
    return _any_promotion(optax.chain(*parts)), schedule


def make_schedule(config: OptimizerConfig, num_steps: int) -> Schedule:
    """The learning rate as a function of the number of updates made so far.

    >>> config = OptimizerConfig(learning_rate=1.0, schedule="linear", warmup_steps=1)
    >>> schedule = make_schedule(config, num_steps=5)
    >>> [float(schedule(n)) for n in range(6)]
    [0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    warmup = config.warmup_steps or math.ceil(config.warmup_ratio * num_steps)
    if config.schedule != "constant" and warmup >= num_steps:
        raise UserError(
            f"a warm-up of {warmup} steps leaves nothing to decay in a run of "
            f"{num_steps}; lower --optimizer.warmup-steps, or train longer"
        )

    def schedule(count):
        traced = isinstance(count, jax.Array)
        xp = jnp if traced else np
        count = count.astype(jnp.float32) if traced else float(count)
        # Above 0 at the first update, which would be lost otherwise.
        factor = xp.minimum(1.0, (count + 1) / (warmup + 1))
        if config.schedule != "constant":
            done = xp.clip((count - warmup) / (num_steps - warmup), 0.0, 1.0)
            left = 1 - done
            if config.schedule == "cosine":
                left = 0.5 * (1 + xp.cos(np.pi * done))
            factor *= config.final_fraction + (1 - config.final_fraction) * left
        return config.learning_rate * factor

    return schedule


def decayed(params: Any) -> Any:
    """True for each leaf that weight decay acts on: matrices that are no norm or bias.

    Norms and biases are told by their names, because a stack of layers gives them two
    axes; a leaf with fewer than two axes is never decayed.
    """

    def rule(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return leaf.ndim >= 2 and not _NOT_DECAYED.search(name)

    return jax.tree_util.tree_map_with_path(rule, params)


def optimizer_step_count(opt_state: optax.OptState) -> jax.Array:
    """How many updates `opt_state` has seen; skipped steps are not among them.

    `schedule(optimizer_step_count(opt_state))` is the learning rate of the next update.

    Raises:
      ValueError: `opt_state` is not from `make_optimizer`.
    """

    def is_schedule(node):
        return isinstance(node, optax.ScaleByScheduleState)

    for node in jax.tree.leaves(opt_state, is_leaf=is_schedule):
        if is_schedule(node):
            return node.count
    raise ValueError("the optimizer state has no schedule: not from make_optimizer")


def _any_promotion(inner: optax.GradientTransformation):
    """`inner`, also where strict promotion is on: Optax mixes floats with counts."""

    def update(updates, state, params=None):
        with jax.numpy_dtype_promotion("standard"):
            return inner.update(updates, state, params)

    return optax.GradientTransformation(inner.init, update)


def _update_rule(config: OptimizerConfig) -> optax.GradientTransformation:
    # The table of defaults has a number wherever the rule below reads one.
    b1: Any = config.moment("b1")
    b2: Any = config.moment("b2")
    eps: Any = config.moment("eps")
    mu_dtype = config.mu_dtype
    if config.name == "adamw":
        return optax.scale_by_adam(b1, b2, eps, mu_dtype=mu_dtype)
    if config.name == "rmsprop":
        # Outside of the root, as PyTorch has it, and so the code of the DPO paper.
        return optax.scale_by_rms(b2, eps, eps_in_sqrt=False)
    if config.name == "lion":
        return optax.scale_by_lion(b1, b2, mu_dtype=mu_dtype)
    if config.name == "adafactor":
        # Adafactor's own clipping of the update at a root mean square of 1 (arXiv
        # 1804.04235).
        rule = [optax.scale_by_factored_rms(epsilon=eps), optax.clip_by_block_rms(1.0)]
        if b1 is not None:
            rule.append(optax.ema(b1, debias=False, accumulator_dtype=mu_dtype))
        return optax.chain(*rule)
    # With a rate of 1, and its sign undone below: the schedule comes behind every rule.
    muon = contrib.muon(
        1.0,
        beta=b1,
        eps=eps,
        mu_dtype=mu_dtype,
        muon_weight_dimension_numbers=contrib.MuonDimensionNumbers(-2, -1),
        consistent_rms=0.2,  # makes updates as long as AdamW's: arXiv 2502.16982
    )
    rules: Any = {
        "hidden": optax.chain(muon, optax.scale(-1.0)),
        # The b1 of muon is its own; for the other leaves Adam keeps its usual 0.9.
        "other": optax.scale_by_adam(0.9, b2, eps, mu_dtype=mu_dtype),
    }
    return optax.partition(rules, _muon_labels)


def _muon_labels(params):
    """`hidden` for matrices (stacked or not) between embedding and head."""

    def label(path, decays):
        name = jax.tree_util.keystr(path, simple=True, separator="/").lower()
        outer = re.search(r"embed|lm_head|score", name)
        return "hidden" if decays and not outer else "other"

    return jax.tree_util.tree_map_with_path(label, decayed(params))


def _within(field, value, low, high, *, open_low=False, open_high=False):
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (above and below):
        brackets = "(["[not open_low], ")]"[not open_high]
        raise UserError(
            f"optimizer.{field} must be in {brackets[0]}{low}, {high}{brackets[1]}, "
            f"got {value}; set --optimizer.{field.replace('_', '-')}"
        )
