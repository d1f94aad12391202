"""Answers of an iteration with their scores, as arrays of one shape."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.recipes.prompt import Prompt
from jaxalign.recipes.rl.centring import centred
from jaxalign.recipes.rl.prompts import refills
from jaxalign.rewards import Completion, Scores
from jaxalign.rollout import Completions, Decoder, Ends, generate
from jaxalign.training import Clock, chaos

_GREEDY, _RIVAL = 1, 2
"""Purposes of keys; 0 is that of samples."""


class Rival(NamedTuple):
    """Who writes the second of two answers in the policy's place.

    Attributes:
      decoder: A model as functions.
      params: From the policy's parameters and the reference's to its own.
    """

    decoder: Decoder
    params: Callable[[Any, Any], Any]


class Answers(NamedTuple):
    """G prompts with K answers each, B = G K of them, the answers of a prompt together.

    Attributes:
      prompts: The G prompts.
      numbers: Which prompts of the run they are, `[G]`.
      completions: As the sampler gave them.
      texts: As rewards read them.
      scores: What rewards said, `[B]` arrays.
      kept: Which groups are learnt from, `[G]` bool.
      greedy: Scores of the greedy answer to each prompt, `[G]`, or None.
      own: Which answers the policy wrote, `[B]` bool; None for all.
    """

    prompts: list[Prompt]
    numbers: list[int]
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


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Samples, scores, and samples again where dynamic sampling asks for it.

    Attributes:
      decoder: The policy as functions.
      tokenizer: For the texts that rewards read, and its stop tokens.
      prompts: All prompts of the run.
      score: From completions to `Scores`, penalties for a missing end included.
      num_generations: Answers to each prompt.
      max_new_tokens: Longest answer.
      temperature: Of the samples.
      rows_at_a_time: Answers sampled at a time; None: all.
      seed: Of the order in which prompts are refilled.
      greedy: Whether the greedy answer to each prompt is scored too.
      informative: Which groups to keep, from scores `[G, K]` and which of them apply;
        None keeps all.
      max_refills: How often an iteration may sample again.
      ends: Where completions end besides stop tokens; None: nowhere.
      rival: Who writes the second of two answers; None: the policy.
      reference: One copy of its parameters, for the rival; None without one.
      keep_special: Whether rewards see special tokens in the text of completions.
    """

    decoder: Decoder
    tokenizer: Tokenizer
    prompts: Sequence[Prompt]
    score: Callable[[list[Completion]], Scores]
    num_generations: int
    max_new_tokens: int
    temperature: float
    rows_at_a_time: int | None
    seed: int
    greedy: bool = False
    informative: Callable[[np.ndarray, np.ndarray], Any] | None = None
    max_refills: int = 0
    ends: Ends | None = None
    rival: Rival | None = None
    reference: Any = None
    keep_special: bool = False

    def __call__(
        self, params: Any, iteration: int, numbers: list[int], key: jax.Array, clock
    ) -> tuple[Answers, list[Answers]]:
        """The answers to learn from, and all that were sampled, round by round.

        Args:
          params: Of the policy.
          iteration: Its number, from 0; decides what is refilled. Rewards are told
            the next one, for the first is 1 to people.
          numbers: The prompts of the iteration.
          key: Of the iteration; every round and every prompt of it has its own noise.
          clock: Counts the time of sampling and scoring.
        """
        size = len(numbers)
        rounds = [self._round(params, iteration, numbers, key, 0, clock)]
        if self.informative is not None:
            others = refills(iteration, numbers, size=len(self.prompts), seed=self.seed)
            supply = itertools.cycle(others)
            while _kept(rounds) < size and len(rounds) <= self.max_refills:
                more = list(itertools.islice(supply, size))
                start = len(rounds) * size
                rounds.append(self._round(params, iteration, more, key, start, clock))
        return _select(rounds, size), rounds

    def _round(
        self, params, iteration: int, numbers, key, start: int, clock: Clock
    ) -> Answers:
        prompts = [self.prompts[i] for i in numbers]
        places = range(start, start + len(numbers))
        with clock.phase("generate"):
            completions = self._sample(params, prompts, key, places, self.temperature)
            best = None
            if self.greedy:
                key = jax.random.fold_in(key, _GREEDY)
                best = self._sample(params, prompts, key, places, 0.0)
        chaos.at("rollout")
        with clock.phase("reward"):
            step = iteration + 1
            texts = self._texts(prompts, completions, step)
            scores = self.score(texts)
            greedy = None
            if best is not None:
                greedy = self.score(self._texts(prompts, best, step)).total
        chaos.at("reward")
        kept = np.ones(len(numbers), bool)
        if self.informative is not None:
            shape = len(numbers), self.num_generations
            total, applies = (x.reshape(shape) for x in (scores.total, scores.applies))
            rewards = centred(total, applies).rewards
            kept = np.asarray(self.informative(rewards, applies))
        if greedy is not None:
            # Where no reward applies to the greedy answer there is no baseline.
            kept = kept & ~np.isnan(greedy)
        own = None
        if self.rival is not None:
            own = np.arange(len(texts)) % self.num_generations == 0
        return Answers(prompts, numbers, completions, texts, scores, kept, greedy, own)

    def _sample(self, params, prompts, key, places, temperature) -> Completions:
        samples = 1 if temperature == 0 else self.num_generations
        draw = functools.partial(self._draw, prompts, places, temperature)
        if self.rival is None:
            return draw(self.decoder, params, key, samples)
        theirs = self.rival.params(params, self.reference)
        own = draw(self.decoder, params, key, 1)
        other = draw(self.rival.decoder, theirs, jax.random.fold_in(key, _RIVAL), 1)
        return Completions(*map(_in_turn, own, other))

    def _draw(self, prompts, places, temperature, decoder, params, key, samples):
        rows = len(prompts) * samples
        return generate(
            decoder,
            params,
            [x.ids for x in prompts],
            key,
            max_new_tokens=self.max_new_tokens,
            stop_ids=self.tokenizer.stop_ids,
            temperature=temperature,
            num_samples=samples,
            batch_size=min(self.rows_at_a_time or rows, rows),
            prompt_indices=places,
            ends=self.ends,
        )

    def _texts(self, prompts, completions: Completions, step: int) -> list[Completion]:
        samples = len(completions.lengths) // len(prompts)
        return [
            prompts[b // samples].completion(
                self.tokenizer.decode(ids, skip_special=not self.keep_special),
                ids,
                bool(completions.stopped[b]),
                step,
            )
            for b, ids in enumerate(completions.ids())
        ]


def _in_turn(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rows of two arrays: the first of each, the second of each, and so on."""
    return np.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def _kept(rounds: list[Answers]) -> int:
    return sum(int(x.kept.sum()) for x in rounds)


def _select(rounds: list[Answers], size: int) -> Answers:
    """The first `size` groups that are kept; filled up with others, marked as such."""
    if len(rounds) == 1:
        return rounds[0]
    kept = np.concatenate([x.kept for x in rounds])
    groups = np.argsort(~kept, kind="stable")[:size]
    k = rounds[0].groups[1]
    rows = (groups[:, None] * k + np.arange(k)).ravel()

    def of_answers(get) -> np.ndarray:
        return np.concatenate([get(x) for x in rounds])[rows]

    def of_groups(get) -> list:
        everything = [x for part in rounds for x in get(part)]
        return [everything[i] for i in groups]

    texts = [x for part in rounds for x in part.texts]
    names = rounds[0].scores.values
    scores = dataclasses.replace(
        rounds[0].scores,
        values={n: of_answers(lambda x, n=n: x.scores.values[n]) for n in names},
        total=of_answers(lambda x: x.scores.total),
        applies=of_answers(lambda x: x.scores.applies),
    )
    fields = Completions._fields
    completions = Completions(
        *(of_answers(lambda x, f=f: getattr(x.completions, f)) for f in fields)
    )
    best = [x.greedy for x in rounds if x.greedy is not None]
    greedy = np.concatenate(best)[groups] if best else None
    return Answers(
        of_groups(lambda x: x.prompts),
        of_groups(lambda x: x.numbers),
        completions,
        [texts[i] for i in rows],
        scores,
        kept[groups],
        greedy,
    )
