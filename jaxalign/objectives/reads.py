"""What a loss may read: the names of its arguments, and how each is found.

One table. A loss that needs something new gets it by a line here.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxalign.batch import Batch
from jaxalign.losses import Pair
from jaxalign.objectives.batch_statistics import RUNNING
from jaxalign.objectives.by_completion import by_completion, completion_mask
from jaxalign.objectives.model import (
    Backbone,
    Model,
    states_at_targets,
    stats_at,
    token_statistics,
)
from jaxalign.ops import TokenStats, chunked_kl

Critic = Callable[[Any, Any], jax.Array]
"""`(params, Tokens) -> [R, M]`: the value of the state before each target."""


class Reader:
    """A batch under a model, of which nothing is computed before it is read.

    Attributes:
      batch: The batch.
      longest: Slots of the longest completion, or None.
    """

    def __init__(
        self,
        batch: Batch,
        model: Model,
        params: Any,
        *,
        ref_params: Any = None,
        critic: Callable[[], jax.Array] | None = None,
        longest: int | None = None,
        **options: Any,
    ):
        """Keeps what it is given; `options` are those of `token_statistics`."""
        self.batch, self.longest = batch, longest
        self._model, self._params, self._ref_params = model, params, ref_params
        self._critic, self._options = critic, options

    def view(self, per_token: jax.Array) -> jax.Array:
        """`[R, M]` -> `[R, P, K, L]`."""
        return by_completion(self.batch, per_token, self.longest)

    @functools.cached_property
    def mask(self) -> jax.Array:
        """`[R, P, K, L]` bool."""
        return completion_mask(self.batch, self.longest)

    @functools.cached_property
    def states(self) -> jax.Array:
        """`[R, M, D]`, of a `Backbone`."""
        assert isinstance(self._model, Backbone)
        return states_at_targets(self._model, self._params, self.batch.tokens)

    @functools.cached_property
    def stats(self) -> TokenStats:
        """Of the target slots, `[R, M]` each."""
        tokens = self.batch.tokens
        if isinstance(self._model, Backbone):
            head = self._model.head(self._params)
            return stats_at(self.states, head, tokens, **self._options)
        return token_statistics(self._model, **self._options)(self._params, tokens)

    def column(self, name: str) -> jax.Array:
        """A column of the batch by completion.

        Raises:
          ValueError: The batch has none of this name.
        """
        if name not in self.batch.per_token:
            raise ValueError(
                f"the loss reads `{name}`, and the batch has no such column per token "
                f"(it has: {', '.join(self.batch.per_token) or 'none'}). Add it with "
                f"batch.with_tokens({name}=...)."
            )
        return self.view(self.batch.per_token[name])

    def label(self, name: str) -> jax.Array:
        """What the data says of each completion, `[R, P, K]`.

        Raises:
          ValueError: The batch has none of this name.
        """
        if name not in self.batch.per_completion:
            raise ValueError(
                f"the loss reads `{name}` of each completion, and the batch has none "
                f"(it has: {', '.join(self.batch.per_completion) or 'no labels'}). "
                "Make the batch with `per_completion`."
            )
        return self.batch.per_completion[name]

    @property
    def values(self) -> jax.Array:
        """The critic's, by completion.

        Raises:
          ValueError: There is no critic.
        """
        if self._critic is None:
            raise ValueError("the loss reads `values`: bind it with critic=...")
        return self.view(self._critic())

    def kl_from_ref(self) -> jax.Array:
        """KL(reference ‖ policy) of the distributions at each target."""
        model = self._backbone("kl")
        mine, theirs = model.head(self._params), model.head(self._ref_params)
        found = chunked_kl(
            self.states,
            mine.kernel,
            states_at_targets(model, self._ref_params, self.batch.tokens),
            theirs.kernel,
            temperature=self._options["temperature"],
            softcap=mine.softcap,
            ref_softcap=theirs.softcap,
            vocab_size=mine.vocab_size,
            chunk_size=self._options["chunk_size"],
        )
        return self.view(found.from_ref)

    def log_sum_squares(self) -> jax.Array:
        """Log Σ π² of the distribution at each target, without gradient."""
        model = self._backbone("log_sum_squares")
        # log Σ π² = log Σ exp(2z/τ) - 2 log Σ exp(z/τ), nor is it differentiated.
        head = model.head(self._params)
        states, kernel = jax.lax.stop_gradient((self.states, head.kernel))
        options = {**self._options, "temperature": self._options["temperature"] / 2}
        head = head._replace(kernel=kernel)
        squares = stats_at(states, head, self.batch.tokens, **options).logz
        return self.view(squares - 2 * self.stats.logz)

    def _backbone(self, name: str) -> Backbone:
        if not isinstance(self._model, Backbone):
            raise ValueError(
                f"the loss reads `{name}`, for which the model must be a `Backbone`: "
                "hidden states and an unembedding."
            )
        return self._model


class Read(NamedTuple):
    """How an argument is found.

    Attributes:
      get: From a `Reader` to `[R, P, K, ...]`, or to whatever it is.
      sided: Whether its third axis is K, so that pairs may be had as a `Pair`.
      has: Whether an argument with a default is given; without one it always is.
    """

    get: Callable[[Reader], Any]
    sided: bool = True
    has: Callable[[Reader], bool] = lambda reader: True


def _column(name: str) -> Read:
    return Read(lambda r: r.column(name), has=lambda r: name in r.batch.per_token)


def _statistic(name: str) -> Read:
    return Read(
        lambda r: r.view(getattr(r.stats, name)),
        has=lambda r: getattr(r.stats, name) is not None,
    )


READS: Mapping[str, Read] = {
    "policy": _statistic("logps"),
    "logps": _statistic("logps"),
    "mean_logps": _statistic("mean_logps"),
    "logz": _statistic("logz"),
    "correct": _statistic("correct"),
    "entropy": _statistic("entropy"),
    "mean_logits": Read(lambda r: r.view(r.stats.mean_logps + r.stats.logz)),
    "mask": Read(lambda r: r.mask),
    "ref": _column("ref_logps"),
    "ref_logps": _column("ref_logps"),
    "old_logps": _column("old_logps"),
    "advantages": _column("advantages"),
    "returns": _column("returns"),
    "weights": _column("weights"),
    "old_values": _column("values"),
    "values": Read(lambda r: r.values),
    "kl": Read(Reader.kl_from_ref),
    "log_sum_squares": Read(Reader.log_sum_squares),
    "reward_gap": Read(lambda r: r.label("margin")[..., 0], sided=False),
    "win_rate": Read(lambda r: r.label("win_rate")),
    "rewards": Read(lambda r: r.label("score")),
    "desirable": Read(lambda r: r.label("desirable") > 0.5),
}
"""Arguments of losses by name, beside those of `running.RUNNING`."""


class Argument(NamedTuple):
    """An argument of a function that `READS` or `RUNNING` knows.

    Attributes:
      name: Its name.
      optional: Whether it has a default.
      pair: Whether it is a `Pair`, and not an array of all completions.
    """

    name: str
    optional: bool
    pair: bool


def arguments_of(function: Callable[..., Any], given: Mapping[str, Any] | None = None):
    """The arguments of a loss that are read from batches.

    Pairs are those annotated as `Pair`; where nothing is annotated, all of a function
    that has an argument `policy` or `ref`.

    Args:
      function: A loss, or what measures a metric.
      given: Keywords that are known already.

    Returns:
      An `Argument` for each that is in the table and not in `given`.

    Raises:
      ValueError: An argument has no default, is not given, and nobody knows it.
    """
    parameters = inspect.signature(function).parameters
    on_pairs = bool({"policy", "ref"} & parameters.keys())
    found = []
    for p in parameters.values():
        if p.name in (given or ()) or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        optional, kind = p.default is not p.empty, p.annotation
        if p.name in READS or p.name in RUNNING:
            pair = on_pairs if kind is p.empty else typing.get_origin(kind) is Pair
            found.append(Argument(p.name, optional, pair))
        elif not optional:
            known = ", ".join(sorted({*READS, *RUNNING}))
            raise ValueError(
                f"{_name(function)} reads `{p.name}`, which no batch has. Give it as a "
                f"keyword of bind, or name it as one of: {known}."
            )
    return found


def read(arguments: Sequence[Argument], reader: Reader) -> dict[str, Any]:
    """The values of arguments by name, but for those of `RUNNING`.

    Raises:
      ValueError: A `Pair` is wanted, and the examples of the batch are no pairs.
    """
    values = {}
    for name, optional, pair in arguments:
        if name in RUNNING or (optional and not READS[name].has(reader)):
            continue
        x = READS[name].get(reader)
        if pair and READS[name].sided:
            if x.shape[2] != 2:
                raise ValueError(
                    f"the loss reads `{name}` of pairs, and the examples of this batch "
                    f"have {x.shape[2]} completions each. Make it of [B, 2, N] ids, "
                    "the chosen one first."
                )
            x = Pair(x[:, :, 0], x[:, :, 1])
        values[name] = x
    return values


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", None) or getattr(
        getattr(function, "func", None), "__name__", "the loss"
    )
