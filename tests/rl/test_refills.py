"""Dynamic sampling: which prompts come again, with which noise, and what is left."""

import jax
import numpy as np

from jaxalign.rewards import score
from jaxalign.rl.rollout import Rival
from jaxalign.training import Clock
from tests.rl.test_faults import PROMPTS, sampler
from tests.rollout.models_under_test import DECODER, params


def worth_to(wanted):
    """Settings of a sampler: only answers to one prompt differ in what they get."""

    def worth(completions):
        return [float(x.prompt == wanted) * float(x.ids[0]) for x in completions]

    return {
        "score": lambda completions: score([worth], completions),
        "informative": lambda totals, applies: totals.max(-1) != totals.min(-1),
    }


def test_what_refills_did_not_find_is_marked_and_not_learnt_from():
    sample = sampler(**worth_to("p1"), max_refills=1)
    answers, rounds = sample(params(), 0, PROMPTS, jax.random.key(0), Clock())
    assert len(rounds) == 2
    assert answers.kept.tolist() == [True, True, False, False]
    assert [x.text == "p1" for x in answers.prompts] == answers.kept.tolist()
    spread = np.ptp(answers.scores.total.reshape(4, -1), axis=1)
    assert (spread > 0).tolist() == answers.kept.tolist()


def test_a_prompt_that_comes_again_in_a_refill_gets_other_noise():
    sample = sampler(
        **worth_to("nobody"),
        prompts=PROMPTS[:1],
        max_refills=2,
        num_generations=2,
    )
    _, rounds = sample(params(), 0, PROMPTS[:1], jax.random.key(0), Clock())
    texts = {tuple(map(tuple, x.completions.ids())) for x in rounds}
    assert len(rounds) == len(texts) == 3


def test_what_a_rival_wrote_is_the_rivals_after_a_refill_too():
    rival = Rival(DECODER, lambda policy, reference: reference)
    options = worth_to("p1") | {"rival": rival, "reference": params()}
    sample = sampler(**options, num_generations=2, max_refills=1)
    answers, rounds = sample(params(), 0, PROMPTS, jax.random.key(0), Clock())
    assert len(rounds) == 2
    assert answers.own is not None
    assert answers.own.tolist() == [True, False] * 4


def test_a_prompt_whose_greedy_answer_has_no_reward_is_left_out():
    """Where a judge gives no verdict on it there is no baseline."""
    asked = []

    def worth(completions):
        asked.append(len(completions))
        greedy = len(completions) == 4
        return [None if greedy and x.prompt == "p1" else 1.0 for x in completions]

    sample = sampler(score=lambda completions: score([worth], completions), greedy=True)
    answers, _ = sample(params(), 0, PROMPTS, jax.random.key(0), Clock())
    assert asked == [32, 4]
    assert answers.scores.applies.all()
    assert answers.kept.tolist() == [True, False, True, True]
