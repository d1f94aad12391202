"""`make_iteration`: a model, an algorithm, a reward and an optimizer put together."""

import contextlib
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxalign.batch import Batch, Tokens
from jaxalign.errors import UserError
from jaxalign.losses import sft_loss
from jaxalign.objectives import (
    Backbone,
    Critic,
    Model,
    bind,
    bind_token_loss,
    mixed_objective,
)
from jaxalign.rewards import Reward
from jaxalign.rewards.reward import RewardFunction
from jaxalign.rl.advantages import compute_advantages
from jaxalign.rl.algorithm import Algorithm
from jaxalign.rl.devices import Devices
from jaxalign.rl.iteration import Experience, Iteration
from jaxalign.rl.rollout import Sampler, Sampling
from jaxalign.rl.rows import PlanRows, plan_rows
from jaxalign.rl.scorer import rollout_scorer
from jaxalign.rl.scoring import Scoring, as_scoring
from jaxalign.rl.update import Updates, critic_alone
from jaxalign.rollout import Decoder, recomputing_decoder
from jaxalign.training import Clock

_LOG = logging.getLogger("jaxalign")


class Mix(NamedTuple):
    """Another stream of rows, learnt along with the completions.

    Attributes:
      batch_of: From the number of an update to its batch.
      coef: Weight of its mean negative log-likelihood.
    """

    batch_of: Callable[[int], Batch]
    coef: float


def make_iteration(
    model: Model,
    *,
    algorithm: Algorithm,
    reward: Scoring | Reward | RewardFunction | Sequence[Reward | RewardFunction],
    optimizer: optax.GradientTransformation,
    sampling: Sampling,
    decoder: Decoder | None = None,
    critic: Critic | None = None,
    ref_params: Any = None,
    num_minibatches: int = 1,
    microbatch_size: int | None = None,
    rows: PlanRows | None = None,
    packed: bool | None = None,
    chunk_size: int = 512,
    mix: Mix | None = None,
    devices: Devices | None = None,
    observe: Callable[[Experience], None] | None = None,
    at_once: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
    clock: Clock | None = None,
) -> Iteration:
    """Builds `(state, prompts) -> (state, metrics)`: sample, score, credit, learn.

    Args:
      model: As objectives take it: a function `(params, [N, T] ids) -> [N, T, V]`
        logits, or a `Backbone`.
      algorithm: How completions are learnt from, such as `grpo()`.
      reward: As `rewards.score` takes it: from a list of `Completion`s to a number for
        each; a `Reward`; or several, which are added up.
      optimizer: Of all parameters.
      sampling: How completions are drawn.
      decoder: The policy as the sampler takes it; by default the model itself, which
        then reads the whole sequence for every token.
      critic: `(params, Tokens) -> [R, M]`, where the algorithm has one; the parameters
        are then `{"policy": ..., "critic": ...}`.
      ref_params: Of the reference, where the algorithm has one: those of the first
        policy. They are not copied.
      num_minibatches: Updates in each pass over the completions; where the loss has no
        ratio, more than 1 is warned of.
      microbatch_size: Rows that a device computes at a time.
      rows: How completions lie in rows; by default planned from the prompts.
      packed: Whether several sequences share a row, which the model then keeps apart by
        segments and branches; by default if it is a `Backbone`.
      chunk_size: Positions whose logits a `Backbone` holds at a time.
      mix: Another stream to learn from, or None.
      devices: How functions run where the parameters lie.
      observe: Is told each iteration's `Experience` before its first update.
      at_once: A context for what may be dropped in an iteration: sampling and scoring.
      clock: Counts the time of each phase.

    Returns:
      The iteration; `iteration.start(params, key)` is its first state.

    Raises:
      UserError: The algorithm needs something that is not given.
    """
    _check(algorithm, critic, ref_params, sampling, num_minibatches)
    devices = devices or Devices()
    # Slow, but right for any model: without a cache every token costs a whole pass.
    decoder = decoder or _recomputing(model)
    # The reference writes the second completion in XPO, a mixture in Nash-MD.
    rival = algorithm.rival and algorithm.rival(decoder)
    sampler = Sampler(
        decoder,
        sampling,
        as_scoring(reward),
        greedy=algorithm.greedy,
        rival=rival,
        reference=rival and devices.unreplicate(ref_params),
    )
    plan = rows or functools.partial(
        plan_rows,
        num_generations=sampling.num_generations,
        max_new_tokens=sampling.max_new_tokens,
        num_minibatches=num_minibatches,
        row_multiple=devices.row_multiple,
        together=algorithm.together,
        packed=isinstance(model, Backbone) if packed is None else packed,
    )
    # Losses divide by the longest completion possible, not by that of a batch.
    longest = sampling.max_new_tokens
    objective = algorithm.objective(
        model,
        critic,
        max_new_tokens=longest,
        temperature=sampling.temperature,
        chunk_size=chunk_size,
    )
    if mix is not None:
        objective = _mixed(objective, mix, model, chunk_size, algorithm.has_critic)
    # Both log-probs and values in one program: rows are copied to the devices once.
    scorer = rollout_scorer(
        model,
        critic if algorithm.has_critic else None,
        reference=algorithm.reference,
        temperature=sampling.temperature,
        chunk_size=chunk_size,
    )
    warm_up = None
    if algorithm.warm_up and critic is not None:
        # A program of its own: the policy is not run while only the critic learns.
        alone = algorithm.critic_objective(model, critic, max_new_tokens=longest)
        warm_up = devices.train(alone, critic_alone(optimizer), microbatch_size)
    return Iteration(
        algorithm,
        sampler,
        # The algorithm is part of the program: its settings are constants there.
        jax.jit(functools.partial(compute_advantages, algorithm)),
        Updates(
            plan,
            devices,
            devices.map(scorer),
            devices.train(objective, optimizer, microbatch_size),
            passes=algorithm.passes,
            minibatches=num_minibatches,
            warm_up=warm_up,
            warm_up_iterations=algorithm.warm_up,
            mix=mix and mix.batch_of,
        ),
        optimizer,
        ref_params,
        observe,
        at_once,
        clock or Clock(),
    )


def _check(
    algorithm: Algorithm, critic, ref_params, sampling: Sampling, minibatches: int
) -> None:
    algorithm.check_completions(sampling.num_generations)
    if algorithm.has_critic and critic is None:
        raise UserError(
            f"{algorithm.name} has a critic: give make_iteration a function "
            "critic=(params, Tokens) -> [R, M] values."
        )
    if algorithm.reference and ref_params is None:
        raise UserError(
            f"{algorithm.name} measures the distance to a reference: give "
            "make_iteration its parameters, ref_params=params."
        )
    # One completion differs from nothing: every group would be thrown away.
    if sampling.informative is not None and sampling.num_generations < 2:
        raise UserError("dynamic sampling needs num_generations of 2 or more")
    if minibatches < 1:
        raise UserError(f"num_minibatches must be 1 or more, got {minibatches}")
    updates = algorithm.passes * minibatches
    if algorithm.on_policy and updates > 1:
        _LOG.warning(
            "the loss of %s has no ratio to the policy that sampled: in all but the "
            "first of %d updates its gradient is off by what the ones before changed",
            algorithm.name,
            updates,
        )


def _mixed(objective, mix: Mix, model: Model, chunk_size: int, has_critic: bool):
    """The objective on `MixedBatch`es, with the other stream's likelihood."""
    # Chunked over positions where the model allows it: `[N, T, V]` is never held.
    if isinstance(model, Backbone):
        other = bind_token_loss(sft_loss, model, chunk_size=chunk_size)
    else:
        other = bind(sft_loss, model)

    # The other stream knows no critic: its likelihood is that of the policy alone.
    def policy_of(params: Any) -> Any:
        return params["policy"] if has_critic else params

    return mixed_objective(objective, other, coef=mix.coef, select=policy_of)


def _recomputing(model: Model) -> Decoder:
    """A decoder of a model without a cache."""
    if not isinstance(model, Backbone):
        return recomputing_decoder(model)

    # No attention to padding is needed: positions after a token cannot change it.
    def hidden(params, ids: jax.Array) -> jax.Array:
        one = jnp.ones_like(ids)
        at = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
        nothing: Any = None
        tokens = Tokens(ids, at, one, 0 * one, nothing, nothing, nothing)
        return model.hidden(params, tokens)

    return recomputing_decoder(hidden, head=model.head)
