"""`bind`: a loss, which reads arrays, to an objective on a model and a batch."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxalign.backbone import Backbone
from jaxalign.batch import Batch
from jaxalign.losses import LossOutput, Objective, Pair
from jaxalign.objectives.batch_statistics import as_objective
from jaxalign.objectives.model import Model, limits, states_at_targets
from jaxalign.objectives.reads import Critic, Reader, arguments_of, read
from jaxalign.objectives.signatures import check_known
from jaxalign.ops import Mean, TokenStats, fused_token_loss

Measure = Callable[..., dict[str, Mean]]
"""Arrays by the names of `READS` to metrics, as `token_accuracy`."""


def bind(
    loss: Callable[..., LossOutput],
    model: Model,
    *,
    critic: Critic | None = None,
    metrics: Sequence[Measure] = (),
    chunk_size: int = 512,
    sampling_temperature: float = 1.0,
    entropy: bool = False,
    longest: int | None = None,
    **hyperparameters: Any,
) -> Objective:
    """Binds a loss to a model and to the batches that it will see.

    The names of the loss's arguments say what they are: each is found in one table,
    `READS`, from the model's log-probabilities (`policy` of pairs, `logps`) over the
    batch's columns (`ref`, `old_logps`, `advantages`, ...) and labels to `kl`, the
    divergence from the reference at each token. An argument with a default is given
    when it is to be had: `ref_logps` where the batch has that column, say.

    Args:
      loss: Any function of `jaxalign.losses`, or one of yours with such arguments; it
        reads `[R, P, L]` arrays of pairs, or `[R, P, K, L]` of K completions.
      model: A `Backbone`, or a function `(params, [N, T] ids) -> [N, T, V] logits`.
      critic: `(params, Tokens) -> [R, M]`, for a loss that reads `values`; the
        parameters are then `{"policy": ..., "critic": ...}`.
      metrics: What to measure beside the loss's own.
      chunk_size: Positions whose logits a `Backbone` holds at a time.
      sampling_temperature: All log-probabilities are those of `logits` divided by
        it: that of the sampler, for completions that were sampled.
      entropy: Whether `entropy` is to be had, at the cost of a pass over the logits.
      longest: Slots of the longest completion, which bounds L.
      **hyperparameters: Keywords of the loss.

    Returns:
      An objective `(params, Batch, key) -> LossOutput`, which measures first and has a
      carry if the loss reads of the batches before (`RUNNING`). If the loss reads
      `kl`, the parameters are the pair of the policy's and the reference's.

    Raises:
      ValueError: The loss has an argument that nobody knows, or lacks a keyword that
        is given.

    >>> from jaxalign.losses import sft_loss
    >>> import jax.numpy as jnp
    >>> from jaxalign.data.packing import make_batch
    >>> objective = bind(sft_loss, lambda table, ids: table[ids])
    >>> batch = make_batch([[0, 1]], [[False, True]])
    >>> print(objective(jnp.zeros((2, 2)), batch, jax.random.key(0)).loss.value)
    0.6931472
    """
    # Arrays too may be given for all batches.
    check_known(loss, hyperparameters, inspect.signature(loss).parameters)
    arguments = arguments_of(loss, hyperparameters)
    measured = [(measure, arguments_of(measure)) for measure in metrics]
    options = {"temperature": sampling_temperature, "entropy": entropy}
    reads_kl = any(x.name == "kl" for x in arguments)

    def given(params, batch: Batch, running) -> LossOutput:
        ref_params = values = None
        if reads_kl:
            params, ref_params = params
        if critic is not None:
            params, own = params["policy"], params["critic"]
            values = functools.partial(critic, own, batch.tokens)
        reader = Reader(
            batch,
            model,
            params,
            ref_params=ref_params,
            critic=values,
            longest=longest,
            chunk_size=chunk_size,
            **options,
        )
        out = loss(**read(arguments, reader), **running, **hyperparameters)
        more = {}
        for measure, names in measured:
            more |= measure(**read(names, reader))
        return LossOutput(out.loss, {**out.metrics, **more})

    return as_objective(functools.partial(loss, **hyperparameters), given)


def bind_token_loss(
    loss: Callable[..., LossOutput],
    model: Backbone,
    *,
    metrics: Sequence[Measure] = (),
    chunk_size: int = 512,
    entropy: bool = False,
    **hyperparameters: Any,
) -> Any:
    """`bind` for a sum over tokens, whose gradient is then made on the way forward.

    Each chunk of logits gives loss and gradient at once, and is never computed again.
    That is right only if the loss of a batch is the sum of what its tokens cost, with
    the number of tokens as weight: `sft_loss`, not a mean over completions.

    Args:
      loss: Reads statistics of tokens and `mask`, as `sft_loss`.
      model: A `Backbone`.
      metrics: What to measure beside the loss's own, sums over tokens too.
      chunk_size: Positions whose logits are held at a time.
      entropy: Whether `entropy` is to be had.
      **hyperparameters: Keywords of the loss.

    Returns:
      An objective `(params, Batch, key) -> LossOutput`, equal to `bind`'s.
    """

    def total(stats: TokenStats, mask: jax.Array) -> LossOutput:
        known: dict[str, Any] = {**stats._asdict(), "mask": mask}
        known = {name: x for name, x in known.items() if x is not None}

        def apply(function, keywords):
            names = (x.name for x in arguments_of(function, keywords))
            return function(**{n: known[n] for n in names if n in known}, **keywords)

        out = apply(loss, hyperparameters)
        more = {}
        for measure in metrics:
            more |= apply(measure, {})
        return LossOutput(out.loss, {**out.metrics, **more})

    def objective(params, batch: Batch, key) -> LossOutput:
        del key
        tokens, head = batch.tokens, model.head(params)
        return fused_token_loss(
            total,
            states_at_targets(model, params, tokens),
            head.kernel,
            tokens.target_ids,
            tokens.target_mask,
            chunk_size=chunk_size,
            entropy=entropy,
            **limits(head),
        )

    return objective


def token_accuracy(correct: jax.Array, mask: jax.Array) -> dict[str, Mean]:
    """The share of targets than which no token is likelier: `mean_token_accuracy`.

    Args:
      correct: `[...]` bool.
      mask: `[...]` bool.
    """
    return {"mean_token_accuracy": Mean.of(correct, where=mask)}


def token_entropy(mask: jax.Array, entropy: jax.Array | None = None) -> dict[str, Mean]:
    """The entropy of the distribution at each target, in nats, if it is to be had.

    Args:
      mask: `[...]` bool.
      entropy: `[...]`.
    """
    return {} if entropy is None else {"entropy": Mean.of(entropy, where=mask)}


def mean_logits(mean_logits: Pair[jax.Array], mask: Pair[jax.Array]) -> dict[str, Mean]:
    """The mean logit of both sides: `logits/chosen` and `logits/rejected`.

    Args:
      mean_logits: Over the vocabulary, both `[..., L]`.
      mask: Both `[..., L]` bool.
    """
    sides = zip(Pair._fields, mean_logits, mask, strict=True)
    return {f"logits/{side}": Mean.of(x, where=m) for side, x, m in sides}
