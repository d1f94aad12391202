"""Rollouts: completions of an iteration with their scores, as arrays of one shape."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxalign.errors import UserError
from jaxalign.rewards import Completion, Scores
from jaxalign.rl.centring import centred
from jaxalign.rl.prompt import Prompt
from jaxalign.rollout import Completions, Decoder, Ends, generate
from jaxalign.training import Clock, chaos

_GREEDY, _RIVAL = 1, 2
"""Purposes of keys; 0 is that of samples."""


class Rival(NamedTuple):
    """Who writes the second of two completions in the policy's place.

    Attributes:
      decoder: A model as functions.
      params: From the policy's parameters and the reference's to its own.
    """

    decoder: Decoder
    params: Callable[[Any, Any], Any]


class Rollout(NamedTuple):
    """G prompts with K completions each, B = G K, those of a prompt side by side.

    Attributes:
      prompts: The G prompts.
      completions: As the sampler gave them.
      texts: As rewards read them.
      scores: What rewards said, `[B]` arrays.
      kept: Which groups are learnt from, `[G]` bool.
      greedy: Scores of each prompt's greedy completion, `[G]`, or None.
      own: Which completions the policy wrote, `[B]` bool; None for all.
    """

    prompts: Sequence[Prompt]
    completions: Completions
    texts: list[Completion]
    scores: Scores
    kept: np.ndarray
    greedy: np.ndarray | None = None
    own: np.ndarray | None = None

    @property
    def groups(self) -> tuple[int, int]:
        """G and K."""
        return len(self.prompts), len(self.texts) // len(self.prompts)

    @property
    def used(self) -> np.ndarray:
        """Which completions are learnt from, `[B]` bool."""
        return self.scores.applies & np.repeat(self.kept, self.groups[1])


def _no_text(ids: Sequence[int]) -> str:
    del ids
    return ""


def _the_same(iteration: int, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
    del iteration
    return prompts


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Attributes:
      max_new_tokens: Longest completion, the stop token included.
      num_generations: Completions of each prompt.
      temperature: Of the sampler, > 0, and of every log-probability in training.
      stop_ids: Tokens after which a completion is over; they belong to it.
      ends: Where completions end besides; None: nowhere.
      decode: From token ids to the text that rewards are shown; by default none.
      batch_size: Completions sampled at a time; None: all.
      informative: Dynamic sampling: which groups to keep, from rewards `[G, K]` and
        which of them apply, as `rewards.informative_groups`; None keeps all.
      max_refills: Times that an iteration may sample again for dynamic sampling.
      refill: From the number of an iteration (from 0) and its prompts to those that it
        may draw on further, in turn; by default they come again, with other noise.
    """

    max_new_tokens: int
    num_generations: int = 1
    temperature: float = 1.0
    stop_ids: Iterable[int] = ()
    ends: Ends | None = None
    decode: Callable[[Sequence[int]], str] = _no_text
    batch_size: int | None = None
    informative: Callable[[Any, Any], Any] | None = None
    max_refills: int = 0
    refill: Callable[[int, Sequence[Prompt]], Iterable[Prompt]] = _the_same

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        for name in ("max_new_tokens", "num_generations"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not self.temperature > 0:
            raise UserError(
                f"temperature must be positive, got {self.temperature}: greedy "
                "completions have no probability to learn from"
            )


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Samples, scores, and samples again where dynamic sampling asks for it.

    Attributes:
      decoder: The policy as functions.
      sampling: How completions are drawn.
      score: From completions to `Scores`.
      greedy: Whether the greedy completion of each prompt is scored too.
      rival: Who writes the second of two completions; None: the policy.
      reference: One copy of its parameters, for the rival; None without one.
    """

    decoder: Decoder
    sampling: Sampling
    score: Callable[[list[Completion]], Scores]
    greedy: bool = False
    rival: Rival | None = None
    reference: Any = None

    def __call__(
        self,
        params: Any,
        iteration: int,
        prompts: Sequence[Prompt],
        key: jax.Array,
        clock: Clock,
    ) -> tuple[Rollout, list[Rollout]]:
        """What is learnt from, and all that was sampled, round by round.

        Args:
          params: Of the policy.
          iteration: Its number, from 0; decides what is refilled. Rewards are told
            the next one, for the first is 1 to people.
          prompts: Those of the iteration.
          key: Of the iteration; every round and every prompt of it has its own noise.
          clock: Counts the time of sampling and scoring.
        """
        size, s = len(prompts), self.sampling
        rounds = [self._round(params, iteration, prompts, key, 0, clock)]
        if s.informative is not None:
            # Few prompts come again: rounds of another size would be compiled anew.
            supply = itertools.cycle(s.refill(iteration, prompts))
            while _kept(rounds) < size and len(rounds) <= s.max_refills:
                more = list(itertools.islice(supply, size))
                # Places count on, so that a prompt that comes again has other noise.
                start = len(rounds) * size
                rounds.append(self._round(params, iteration, more, key, start, clock))
        return _select(rounds, size), rounds

    def _round(
        self, params, iteration: int, prompts, key, start: int, clock: Clock
    ) -> Rollout:
        places = range(start, start + len(prompts))
        with clock.phase("generate"):
            temperature = self.sampling.temperature
            completions = self._sample(params, prompts, key, places, temperature)
            best = None
            if self.greedy:
                key = jax.random.fold_in(key, _GREEDY)
                best = self._sample(params, prompts, key, places, 0.0)
        chaos.at("rollout")
        with clock.phase("reward"):
            # People count iterations from 1, in rewards as in the log.
            step = iteration + 1
            texts = self._texts(prompts, completions, step)
            scores = self.score(texts)
            greedy = None
            if best is not None:
                greedy = self.score(self._texts(prompts, best, step)).total
        chaos.at("reward")
        kept = np.ones(len(prompts), bool)
        if self.sampling.informative is not None:
            shape = len(prompts), self.sampling.num_generations
            total, applies = (x.reshape(shape) for x in (scores.total, scores.applies))
            rewards = centred(total, applies).rewards
            kept = np.asarray(self.sampling.informative(rewards, applies))
        if greedy is not None:
            # Where no reward applies to the greedy completion there is no baseline.
            kept = kept & ~np.isnan(greedy)
        own = None
        if self.rival is not None:
            own = np.arange(len(texts)) % self.sampling.num_generations == 0
        return Rollout(prompts, completions, texts, scores, kept, greedy, own)

    def _sample(self, params, prompts, key, places, temperature) -> Completions:
        # Greedy completions are all the same.
        samples = 1 if temperature == 0 else self.sampling.num_generations
        draw = functools.partial(self._draw, prompts, places, temperature)
        if self.rival is None:
            return draw(self.decoder, params, key, samples)
        theirs = self.rival.params(params, self.reference)
        own = draw(self.decoder, params, key, 1)
        # A key of its own: with the same noise both would write alike.
        other = draw(self.rival.decoder, theirs, jax.random.fold_in(key, _RIVAL), 1)
        return Completions(*map(_in_turn, own, other))

    def _draw(self, prompts, places, temperature, decoder, params, key, samples):
        rows, s = len(prompts) * samples, self.sampling
        return generate(
            decoder,
            params,
            [x.ids for x in prompts],
            key,
            max_new_tokens=s.max_new_tokens,
            stop_ids=s.stop_ids,
            temperature=temperature,
            num_samples=samples,
            # A batch larger than its rows would compile a program for empty places.
            batch_size=min(s.batch_size or rows, rows),
            prompt_indices=places,
            ends=s.ends,
        )

    def _texts(self, prompts, completions: Completions, step: int) -> list[Completion]:
        samples = len(completions.lengths) // len(prompts)
        return [
            prompts[b // samples].completion(
                self.sampling.decode(ids), ids, bool(completions.stopped[b]), step
            )
            for b, ids in enumerate(completions.ids())
        ]


def _in_turn(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rows of two arrays: the first of each, the second of each, and so on."""
    return np.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def _kept(rounds: list[Rollout]) -> int:
    return sum(int(x.kept.sum()) for x in rounds)


def _select(rounds: list[Rollout], size: int) -> Rollout:
    """The first `size` groups that are kept; filled up with others, marked as such."""
    if len(rounds) == 1:
        return rounds[0]
    kept = np.concatenate([x.kept for x in rounds])
    # Stable: kept groups first, in the order in which they were sampled.
    groups = np.argsort(~kept, kind="stable")[:size]
    k = rounds[0].groups[1]
    rows = (groups[:, None] * k + np.arange(k)).ravel()

    def of_completions(get) -> np.ndarray:
        return np.concatenate([get(x) for x in rounds])[rows]

    prompts = [x for part in rounds for x in part.prompts]
    texts = [x for part in rounds for x in part.texts]
    names = rounds[0].scores.values
    scores = dataclasses.replace(
        rounds[0].scores,
        values={n: of_completions(lambda x, n=n: x.scores.values[n]) for n in names},
        total=of_completions(lambda x: x.scores.total),
        applies=of_completions(lambda x: x.scores.applies),
    )
    fields = Completions._fields
    completions = Completions(
        *(of_completions(lambda x, f=f: getattr(x.completions, f)) for f in fields)
    )
    best = [x.greedy for x in rounds if x.greedy is not None]
    greedy = np.concatenate(best)[groups] if best else None
    own = None
    if rounds[0].own is not None:
        own = of_completions(lambda x: x.own)
    return Rollout(
        [prompts[i] for i in groups],
        completions,
        [texts[i] for i in rows],
        scores,
        kept[groups],
        greedy,
        own,
    )
