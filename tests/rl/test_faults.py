"""Faults that other libraries had: one named test each.

Those of losses are in `tests/losses/test_known_policy_faults.py`, those of GAE, groups
and whitening in `tests/ops`; the temperature in every log-prob and equal models at the
start in `test_rl_runs.py`, reward models in `test_scalar_head.py` and
`test_rl_reward_models.py`, devices in `test_rl_ways.py`, microbatches in
`tests/objectives/test_policy.py`, whole logits in `tests/test_hlo.py`, lost rollouts
in `test_rl_killed.py`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.data.packing.completions import CompletionRows, completion_layouts
from jaxalign.rewards import Completion, score, stopped
from jaxalign.rl import (
    Algorithm,
    Control,
    Prompt,
    RolloutArrays,
    Sampler,
    Sampling,
    Scoring,
    compute_advantages,
    gae_credit,
    plain_credit,
)
from jaxalign.training import Clock
from tests.rollout.models_under_test import DECODER, params

N = 5
CONTROL = Control(jnp.float32(0.1), jnp.float32(0.0), jnp.int32(0))


def arrays_of(lengths, scores, **changes) -> RolloutArrays:
    """One prompt, a completion for each length."""
    shape = (1, len(lengths), N)
    mask = np.arange(N) < np.asarray(lengths)[None, :, None]
    arrays = {
        "tokens": mask,
        "used": np.ones(shape[:2], bool),
        "stopped": np.ones(shape[:2], bool),
        "scores": np.asarray(scores, np.float32)[None],
        "sampler_logps": np.full(shape, -1.0, np.float32),
        "logps": np.full(shape, -1.0, np.float32),
        "silent": np.asarray(False),
        "ref_logps": np.full(shape, -1.0, np.float32),
        "values": np.zeros(shape, np.float32),
    }
    return RolloutArrays(**jax.tree.map(jnp.asarray, arrays | changes))


def unused(logps) -> Any:
    """In the place of a loss."""


def algorithm_with(credit, **facts) -> Algorithm:
    """KL in the reward, and no loss."""
    return Algorithm("any", credit, unused, **{"kl_in_reward": True, **facts})


def credited(credit, inputs: RolloutArrays):
    algorithm = algorithm_with(credit)
    columns, _, metrics = compute_advantages(algorithm, inputs, CONTROL)
    return {k: np.asarray(v) for k, v in columns.items()}, metrics


def test_the_score_stands_at_the_stop_token_and_not_on_the_padding_after_it():
    """Fault 4. With λ = 0 and values of 0 an advantage is the token's own reward."""
    assign = gae_credit(lam=0.0, whiten=False)
    columns, _ = credited(assign, arrays_of([3, 5, 1], [2.0, -1.0, 4.0]))
    expected = np.zeros((1, 3, N))
    expected[0, 0, 2], expected[0, 1, 4], expected[0, 2, 0] = 2.0, -1.0, 4.0
    np.testing.assert_allclose(columns["advantages"], expected, atol=1e-6)


def test_values_and_kl_do_not_leak_over_padding():
    """Fault 5."""
    inputs = arrays_of([3, 5, 1], [2.0, -1.0, 4.0])
    clean, metrics = credited(gae_credit(), inputs)
    changes = {}
    for name in ("values", "logps", "ref_logps", "sampler_logps"):
        column = np.asarray(getattr(inputs, name)).copy()
        column[~np.asarray(inputs.tokens)] = np.nan
        changes[name] = jnp.asarray(column)
    dirty, dirty_metrics = credited(gae_credit(), inputs._replace(**changes))
    for name in ("advantages", "returns"):
        np.testing.assert_array_equal(dirty[name], clean[name])
    for name, mean in metrics.items():
        assert mean.value == dirty_metrics[name].value, name


def test_metrics_do_not_depend_on_the_width_of_padding():
    """Fault 7."""
    inputs = arrays_of([3, 2, 1], [2.0, -1.0, 4.0])
    _, wide = credited(plain_credit, inputs)
    narrow: Any = {
        k: v[..., :3] if v is not None and v.shape[-1:] == (N,) else v
        for k, v in inputs._asdict().items()
    }
    _, tight = credited(plain_credit, RolloutArrays(**narrow))
    for name, mean in wide.items():
        np.testing.assert_allclose(mean.value, tight[name].value, rtol=1e-6)


STOP_IDS = frozenset({3, 11})


def letters(ids, *, skip_special=False) -> str:
    """Ids 0 to 22 as letters."""
    hidden = STOP_IDS if skip_special else ()
    return "".join(chr(97 + i) for i in ids if i not in hidden)


PROMPTS = [
    Prompt(ids, f"p{n}", index=n)
    for n, ids in enumerate(([1, 2], [4, 5, 6], [1, 2], [7]))
]


def half_points(completions):
    """An integer first, as graders like to begin."""
    return [1, *(0.25 for _ in completions[1:])]


def sampler(prompts=PROMPTS, **changes) -> Sampler:
    """Of `prompts`, which come again in refills."""
    how: Any = {
        "max_new_tokens": 6,
        "num_generations": 8,
        "stop_ids": STOP_IDS,
        "decode": functools.partial(letters, skip_special=True),
        "refill": lambda iteration, taken: prompts,
    }
    how |= {k: changes.pop(k) for k in [*changes] if hasattr(Sampling, k)}
    options: Any = {"score": lambda completions: score([half_points], completions)}
    return Sampler(DECODER, Sampling(**how), **(options | changes))


def sample(iteration, **changes):
    key = jax.random.fold_in(jax.random.key(0), iteration)
    return sampler(**changes)(params(), iteration, PROMPTS, key, Clock())[0]


def test_rewards_are_not_truncated_to_integers():
    assert sample(0).scores.total.tolist() == [1.0, *[0.25] * 31]


def test_noise_differs_between_iterations_prompts_and_samples():
    first, again, second = sample(0), sample(0), sample(1)
    ids = first.completions.ids()
    assert ids == again.completions.ids()
    assert ids != second.completions.ids()
    assert ids[:8] != ids[16:24]  # prompts 0 and 2 are the same text
    assert ids[0] != ids[1]


def test_every_stop_id_ends_an_answer_and_none_is_called_truncated():
    """Fault 9. There are enough answers for both stop tokens to occur."""
    answers = sample(0)
    last = [ids[-1] for ids in answers.completions.ids()]
    stopped = answers.completions.stopped
    assert {3, 11} <= set(last)
    for text, token, over in zip(answers.texts, last, stopped, strict=True):
        assert over == (token in STOP_IDS)
        assert text.stopped == over
        assert not set(text.completion) & {"d", "l"}
        assert not set(text.ids[:-1]) & STOP_IDS


@pytest.mark.parametrize("name", ["missing_penalty", "missing_score"])
def test_no_stop_token_of_the_set_is_punished_as_a_missing_end(name):
    """Fault 4: the tokenizer's EOS is looked for, whatever had ended the completion."""
    given: Any = {name: 0.25}
    rollout = sample(0, score=Scoring([stopped], **given))
    last = np.array([ids[-1] for ids in rollout.completions.ids()])
    cut = 0.25 if name == "missing_score" else -0.25
    expected = np.where(np.isin(last, [3, 11]), 1.0, cut)
    np.testing.assert_allclose(rollout.scores.total, expected)
    assert {3, 11} < set(last.tolist())


@pytest.mark.parametrize("name", ["missing_penalty", "missing_score"])
def test_a_missing_end_makes_no_score_where_no_reward_applies(name):
    def rare(completions):
        return [2.0, None] * (len(completions) // 2)

    completions = [Completion("?", "!", stopped=b < 2) for b in range(4)]
    given: Any = {name: 0.5}
    scores = Scoring([rare], **given)(completions)
    cut = 0.5 if name == "missing_score" else 1.5
    np.testing.assert_array_equal(scores.total, [2, np.nan, cut, np.nan])
    assert scores.applies.tolist() == [True, False, True, False]


def test_the_stop_token_is_trained():
    """Fault 8: it is the last target of every answer that has one, and it counts."""
    answers = sample(0)
    done = answers.completions
    rows = CompletionRows.plan(
        longest_prompt=3, longest_completion=6, per_prompt=8, completions=32
    )
    layouts = completion_layouts(
        [x.ids for x in answers.prompts],
        done.tokens,
        done.lengths,
        together=rows.together,
    )
    batch = rows.batch(layouts)
    trained = batch.tokens.target_ids[batch.tokens.target_mask]
    ends = sum(int(x) for x in done.stopped)
    assert ends > 0
    assert np.isin(trained, [3, 11]).sum() == ends


def test_dynamic_sampling_keeps_groups_that_differ_and_refills():
    """Answers to one prompt are always worth the same."""

    def worth(x):
        return 0.0 if x.prompt == "p1" else float(x.ids[0] % 2)

    def parity(completions):
        return [worth(x) for x in completions]

    def differs(totals, applies):
        assert applies.all()
        return totals.max(-1) != totals.min(-1)

    changes = {
        "score": lambda completions: score([parity], completions),
        "informative": differs,
        "max_refills": 6,
    }
    key = jax.random.key(3)
    answers, rounds = sampler(**changes)(params(), 0, PROMPTS, key, Clock())
    assert len(rounds) > 1
    assert answers.kept.all()
    totals = answers.scores.total.reshape(4, 8)
    assert (totals.max(1) != totals.min(1)).all()
    for b, text in enumerate(answers.texts):
        ids = answers.completions.ids()[b]
        assert list(text.ids) == ids
        assert answers.scores.total[b] == ids[0] % 2
        assert text.prompt == answers.prompts[b // 8].text != "p1"
    capped, few = sampler(**(changes | {"max_refills": 0}))(
        params(), 0, PROMPTS, key, Clock()
    )
    assert len(few) == 1
    assert capped.kept.tolist() == [True, False, True, True]


def test_answers_to_which_no_reward_applies_count_nowhere():
    inputs = arrays_of([3, 2, 1], [2.0, 0.0, 4.0])
    used = jnp.asarray([[True, False, True]])
    columns, metrics = credited(plain_credit, inputs._replace(used=used))
    assert not columns["advantages"][0, 1].any()
    assert metrics["objective/scores"].value == 3
    assert metrics["objective/scores"].weight == 2


@pytest.mark.parametrize("silent", [True, False])
def test_iterations_without_a_difference_are_counted(silent):
    inputs = arrays_of([3, 2], [1.0, 2.0], silent=np.asarray(silent))
    algorithm = algorithm_with(plain_credit, kl_in_reward=False)
    control = CONTROL._replace(silent=jnp.int32(4))
    _, new, _ = compute_advantages(algorithm, inputs, control)
    assert int(new.silent) == (5 if silent else 0)
