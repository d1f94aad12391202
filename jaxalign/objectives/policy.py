"""Policy-gradient losses as objectives, on packed rows of sampled answers."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.errors import UserError
from jaxalign.losses import LossOutput, ppo_loss, ppo_value_loss
from jaxalign.objectives.rollouts import Critic, RolloutBatch
from jaxalign.objectives.signatures import check_keywords, check_reads
from jaxalign.objectives.stats import Backbone, packed_stats
from jaxalign.ops import Mean, masked, sum_of_means, token_mean

Divergence = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""`(logps, ref_logps, mask) -> [..., T]`, as `kl_k2`."""


class Regulariser(NamedTuple):
    """What is added to a policy loss, token by token, and aggregated as the loss is.

    Attributes:
      kl: Estimator of the divergence from the reference, or None.
      kl_coef: Its weight.
      entropy_coef: Weight of the entropy, which is subtracted.
    """

    kl: Divergence | None = None
    kl_coef: float = 0.0
    entropy_coef: float = 0.0


def policy_objective(
    loss_fn: Callable[..., LossOutput],
    backbone: Backbone,
    *,
    temperature: float = 1.0,
    chunk_size: int = 512,
    entropy: bool = False,
    longest: int | None = None,
    regulariser: Regulariser | None = None,
    **hyperparameters,
):
    """Any policy-gradient loss, on `RolloutBatch`.

    Args:
      loss_fn: `(logps, old_logps, advantages, mask, **hyperparameters) -> LossOutput`
        on `[R, A, L]` arrays, an answer per row of the second-last axis; it is given
        the batch's `ref_logps` and `weights`, and the terms of the regulariser as
        `penalty`, if it has arguments of these names. Terms that it has no argument for
        are means over tokens of their own.
      backbone: The model.
      temperature: Of the sampler; old log-probs must be at the same.
      chunk_size: Positions whose logits are held at a time.
      entropy: Whether to log the entropy, at the cost of a pass over the logits.
      longest: Tokens of the longest answer, which bounds L.
      regulariser: Terms to add.
      **hyperparameters: Those of `loss_fn`.

    Returns:
      An objective with the metrics of `loss_fn`, `policy_loss` (without the terms that
      are added) and, if they are asked for, `entropy` and `entropy_coef`.

    Raises:
      UserError: If the loss reads what the batch does not give, or lacks a keyword.
    """
    plain = ("logps", "old_logps", "advantages", "mask")
    check_reads(loss_fn, plain, hyperparameters=hyperparameters)
    optional = _named(loss_fn, "ref_logps", "weights")
    takes_penalty = bool(_named(loss_fn, "penalty"))
    extra = regulariser or Regulariser()
    entropy = entropy or bool(extra.entropy_coef)
    stats_fn = _stats(backbone, temperature, chunk_size, entropy)

    def objective(params, batch: RolloutBatch, key) -> LossOutput:
        del key
        stats = stats_fn(params, batch.rows)
        answers = _Views(batch, longest)
        logps = answers(stats.logps)
        spread = None if stats.entropy is None else answers(stats.entropy)
        terms = _terms(extra, batch, answers, logps, spread)
        given = answers.named(optional)
        if terms is not None and takes_penalty:
            given["penalty"] = terms
        arrays = answers(batch.old_logps), answers(batch.advantages)
        out = loss_fn(logps, *arrays, answers.mask, **given, **hyperparameters)
        loss, metrics = out.loss, {"policy_loss": out.loss, **out.metrics}
        if terms is not None and not takes_penalty:
            loss = sum_of_means((1.0, loss), (1.0, token_mean(terms, answers.mask)))
        if spread is not None:
            metrics["entropy"] = Mean.of(spread, where=answers.mask)
        if extra.entropy_coef:
            once = jnp.ones(())
            metrics["entropy_coef"] = Mean(extra.entropy_coef * once, once)
        return LossOutput(loss, metrics)

    return objective


def ppo_objective(
    backbone: Backbone,
    critic: Critic,
    *,
    temperature: float = 1.0,
    chunk_size: int = 512,
    entropy: bool = True,
    longest: int | None = None,
    **hyperparameters,
):
    """PPO with a critic, on `RolloutBatch` with `values` and `returns`.

    Policy, value and entropy terms are combined token by token under one denominator.

    Args:
      backbone: The policy.
      critic: `(params, TokenBatch) -> [R, M]` values.
      temperature: Of the sampler; old log-probs must be at the same.
      chunk_size: Positions whose logits are held at a time.
      entropy: Whether to compute the entropy, for its coefficient or to be logged.
      longest: Tokens of the longest answer.
      **hyperparameters: Those of `ppo_loss`.

    Returns:
      An objective whose params are `{"policy": ..., "critic": ...}`, with the metrics
      of `ppo_loss`.

    Raises:
      UserError: If it lacks a keyword.
    """
    check_keywords(ppo_loss, hyperparameters)
    stats_fn = _stats(backbone, temperature, chunk_size, entropy)
    optional = _named(ppo_loss, "ref_logps", "weights")

    def objective(params, batch: RolloutBatch, key) -> LossOutput:
        del key
        stats = stats_fn(params["policy"], batch.rows)
        answers = _Views(batch, longest)
        known = answers.named(("old_logps", "advantages", "values", "returns"))
        return ppo_loss(
            answers(stats.logps),
            known["old_logps"],
            known["advantages"],
            answers(critic(params["critic"], batch.rows)),
            known["values"],
            known["returns"],
            answers.mask,
            entropy=None if stats.entropy is None else answers(stats.entropy),
            **answers.named(optional),
            **hyperparameters,
        )

    return objective


def value_objective(
    critic: Critic, *, longest: int | None = None, coef: float = 0.1, clip: float = 0.2
):
    """The critic's part of PPO alone, for a warm-up in which the policy stands still.

    Args:
      critic: `(params, TokenBatch) -> [R, M]` values.
      longest: Tokens of the longest answer.
      coef: Weight of the value loss.
      clip: That of the values.

    Returns:
      An objective on the parameters and batches of `ppo_objective`; the gradient of
      the policy is 0.
    """

    def objective(params, batch: RolloutBatch, key) -> LossOutput:
        del key
        answers = _Views(batch, longest)
        known = answers.named(("values", "returns"))
        values = answers(critic(params["critic"], batch.rows))
        out = ppo_value_loss(
            values, known["values"], known["returns"], answers.mask, clip=clip
        )
        metrics = {**out.metrics, "loss/value_avg": out.loss}
        return LossOutput(Mean(coef * out.loss.total, out.loss.weight), metrics)

    return objective


class _Views:
    """The columns of a batch, an answer per row."""

    def __init__(self, batch: RolloutBatch, longest: int | None):
        self._batch, self._longest = batch, longest
        self.mask = batch.mask(longest)

    def __call__(self, per_target: jax.Array) -> jax.Array:
        return self._batch.by_response(per_target, self._longest)

    def named(self, names: tuple[str, ...]) -> dict[str, jax.Array]:
        columns = {name: getattr(self._batch, name) for name in names}
        return {k: self(v) for k, v in columns.items() if v is not None}


def _named(function, *names: str) -> tuple[str, ...]:
    """Which of the names are arguments of the function."""
    arguments = inspect.signature(function).parameters
    return tuple(name for name in names if name in arguments)


def _stats(backbone: Backbone, temperature, chunk_size, entropy) -> Callable[..., Any]:
    return packed_stats(
        backbone, temperature=temperature, chunk_size=chunk_size, entropy=entropy
    )


def _terms(
    extra: Regulariser, batch: RolloutBatch, answers: _Views, logps, spread
) -> jax.Array | None:
    """What is added to the loss of each token; None if nothing is."""
    terms = None
    if extra.kl is not None:
        if batch.ref_logps is None:
            raise UserError("a KL term needs the batch's ref_logps")
        ref = answers(batch.ref_logps)
        terms = extra.kl_coef * extra.kl(logps, ref, answers.mask)
    if extra.entropy_coef:
        bonus = -extra.entropy_coef * masked(spread, answers.mask)
        terms = bonus if terms is None else terms + bonus
    return terms
