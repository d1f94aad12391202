"""What an algorithm is: rewards to advantages, and advantages to a loss."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, TypedDict

import jax
import jax.numpy as jnp

from jaxalign.errors import UserError
from jaxalign.losses import LossOutput, truncated_importance_weights
from jaxalign.objectives import Critic, Model, bind, regularised
from jaxalign.objectives.reads import arguments_of
from jaxalign.ops import kl_k2, kl_k3, kl_k3_k2
from jaxalign.ops.checks import check_not_negative, check_positive
from jaxalign.rl.centring import LARGEST, Around
from jaxalign.rl.credit import Assign
from jaxalign.rl.rollout import Rival
from jaxalign.rollout import Decoder

KLController = Callable[[jax.Array, jax.Array, int], jax.Array]
"""`(coefficient, measured KL, number of completions) -> coefficient`."""
Weights = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""`(logps, sampler_logps, mask) -> weights`, `[G, K, N]` each."""

ESTIMATORS = {"k2": kl_k2, "k3": kl_k3, "k3_k2": kl_k3_k2}


def fixed_kl(coef: jax.Array, kl: jax.Array, completions: int) -> jax.Array:
    """The controller that leaves the coefficient as it is.

    Args:
      coef: The coefficient.
      kl: The measured divergence.
      completions: Of how many.

    Returns:
      `coef`.
    """
    del kl, completions
    return coef


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """How a policy learns from its own completions, as functions and a few facts.

    Attributes:
      name: As a model card says it.
      credit: Rewards to advantages, over the whole batch of an iteration.
      loss: What is minimised: a loss for `bind`, its hyperparameters given. The batch
        has `old_logps` and `advantages`, and `ref_logps`, `values`, `returns`,
        `weights` where there are a reference, a critic, weights.
      reference: Whether the first policy is kept to measure the distance to it.
      kl_coef: Strength of the KL term at the start.
      kl_in_reward: Whether each token pays for its distance from the reference.
      kl_controller: The coefficient of the next iteration.
      weights: Factors of tokens that the loss reads, or None.
      rescale: Whether token rewards are divided by their standard deviation.
      passes: Over the completions of an iteration, each with an order of its own.
      entropy: Whether the loss is given the policy's entropy.
      fixed_length: Whether the loss divides by the longest completion (`max_length`).
      value_loss: What the critic alone learns from, None without a critic.
      warm_up: Iterations in which the critic alone learns.
      completions: How many of each prompt it needs at least, and at most (None: any).
      around: What only the difference of rewards from matters; see `centring`.
      largest: Of a reward, so that what is computed of it fits into float32.
      greedy: Whether it needs the reward of each prompt's greedy completion.
      rival: From the policy's decoder to who writes the second of two completions in
        its place; None: the policy.
      together: Whether all completions of a prompt have to lie in one row.
      on_policy: Whether the loss has no ratio of the policy to the one that sampled, so
        that it is right for the first update of an iteration alone.
    """

    name: str
    credit: Assign
    loss: Callable[..., LossOutput]
    reference: bool = False
    kl_coef: float = 0.0
    kl_in_reward: bool = False
    kl_controller: KLController = fixed_kl
    weights: Weights | None = None
    rescale: bool = False
    passes: int = 1
    entropy: bool = False
    fixed_length: bool = False
    value_loss: Callable[..., LossOutput] | None = None
    warm_up: int = 0
    completions: tuple[int, int | None] = (1, None)
    around: Around = None
    largest: float = LARGEST
    greedy: bool = False
    rival: Callable[[Decoder], Rival] | None = None
    together: bool = False
    on_policy: bool = False

    def __post_init__(self):
        """Refuses numbers that mean nothing, naming them."""
        check_not_negative("kl_coef", self.kl_coef)
        for loss in (self.loss, self.value_loss):
            if loss is not None:
                self._check(loss)
        if self.passes < 1:
            raise UserError(f"passes must be 1 or more, got {self.passes}")
        if self.warm_up < 0:
            raise UserError(f"warm_up must be 0 or more, got {self.warm_up}")

    def _check(self, loss: Callable[..., LossOutput]) -> None:
        """Lets a loss refuse its hyperparameters before anything is sampled."""
        more = {"max_length": 1} if self.fixed_length else {}
        two = jax.ShapeDtypeStruct((1, 1, 2, 1), jnp.float32)
        mask = jax.ShapeDtypeStruct(two.shape, jnp.bool_)
        names = (x.name for x in arguments_of(loss, more))
        arrays = {x: mask if x == "mask" else two for x in names}
        jax.eval_shape(lambda x: loss(**x, **more), arrays)

    @property
    def has_critic(self) -> bool:
        """Whether a critic gives values, and learns to."""
        return self.value_loss is not None

    def objective(
        self,
        model: Model,
        critic: Critic | None = None,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        chunk_size: int = 512,
    ) -> Any:
        """The loss bound to a model: `(params, Batch, key) -> LossOutput`."""
        own: Any = {"max_length": max_new_tokens} if self.fixed_length else {}
        return bind(
            self.loss,
            model,
            critic=critic,
            sampling_temperature=temperature,
            chunk_size=chunk_size,
            entropy=self.entropy,
            longest=max_new_tokens,
            **own,
        )

    def critic_objective(
        self, model: Model, critic: Critic, *, max_new_tokens: int
    ) -> Any:
        """The same for the iterations in which the critic alone learns."""
        assert self.value_loss is not None
        return bind(self.value_loss, model, critic=critic, longest=max_new_tokens)

    def check_completions(self, number: int) -> None:
        """Refuses a number of completions of each prompt that it cannot compare.

        Raises:
          UserError: Naming the number.
        """
        least, most = self.completions
        if number < least or (most is not None and number > most):
            wanted = f"exactly {least}" if most == least else f"{least} or more"
            raise UserError(
                f"{self.name} compares the completions of a prompt: num_generations "
                f"must be {wanted}, got {number}"
            )


class Options(TypedDict, total=False):
    """What all policy gradients without a critic have in common; see the function."""

    kl: Literal["loss", "reward"] | None
    kl_coef: float
    kl_estimator: Literal["k2", "k3", "k3_k2"]
    entropy_coef: float
    log_entropy: bool
    importance_cap: float | None
    passes: int


def policy_gradient(
    name: str,
    credit: Assign,
    loss: Callable[..., LossOutput],
    *,
    paper_kl: Literal["loss", "reward"] = "loss",
    kl: Literal["loss", "reward"] | None = None,
    kl_coef: float = 0.0,
    kl_estimator: Literal["k2", "k3", "k3_k2"] = "k3",
    entropy_coef: float = 0.0,
    log_entropy: bool = True,
    importance_cap: float | None = None,
    passes: int = 1,
    **facts: Any,
) -> Algorithm:
    """An algorithm without a critic, with terms of divergence and entropy.

    Args:
      name: As a model card says it.
      credit: Rewards to advantages.
      loss: `(logps, old_logps, advantages, mask, ...)`, its hyperparameters given.
      paper_kl: Where the algorithm's paper has the KL term.
      kl: Where the KL term stands; None: where the algorithm's paper has it.
      kl_coef: Strength of the pull towards the first policy, >= 0; 0 needs no
        reference.
      kl_estimator: Estimator of a KL term in the loss; the reward takes the
        log-ratio.
      entropy_coef: Weight of the entropy, which is kept up, >= 0.
      log_entropy: Log the entropy, at the cost of a pass over the logits.
      importance_cap: Weigh tokens by trainer over sampler probability, at most this,
        > 0; 2 is usual, None: not at all.
      passes: Passes over the completions before new ones are sampled; 1 for a loss
        without a ratio.
      **facts: Further attributes of `Algorithm`.

    Returns:
      The algorithm, for `make_iteration`.

    Raises:
      UserError: A number is out of its range.
    """
    if facts.get("on_policy") and passes > 1:
        raise UserError(
            f"passes must be 1, got {passes}: the loss of {name} has no ratio to the "
            "policy that sampled, which corrects for what an update has changed. "
            "Sample more often, or choose a method with a ratio, such as GRPO."
        )
    check_not_negative("kl_coef", kl_coef)
    check_not_negative("entropy_coef", entropy_coef)
    if "beta" in inspect.signature(loss).parameters:
        # Losses have a KL term of their own; this one has the estimator asked for.
        loss = functools.partial(loss, beta=0.0)
    where, uses_kl = kl or paper_kl, kl_coef > 0
    return Algorithm(
        name,
        credit,
        regularised(
            loss,
            kl=ESTIMATORS[kl_estimator] if where == "loss" and uses_kl else None,
            kl_coef=kl_coef,
            entropy_coef=entropy_coef,
        ),
        reference=uses_kl,
        kl_coef=kl_coef,
        kl_in_reward=where == "reward" and uses_kl,
        weights=truncated_weights(importance_cap),
        passes=passes,
        entropy=log_entropy or entropy_coef > 0,
        **facts,
    )


def truncated_weights(cap: float | None) -> Weights | None:
    """The importance correction of each token, cut off at `cap`; None without one."""
    if cap is None:
        return None
    check_positive("importance_cap", cap)
    return functools.partial(truncated_importance_weights, cap=cap)
