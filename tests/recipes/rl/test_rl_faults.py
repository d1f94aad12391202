"""Faults that other libraries had: one named test each.

Those of losses are in `tests/losses/test_known_policy_faults.py`, those of GAE, groups
and whitening in `tests/ops`; the temperature in every log-prob and equal models at the
start in `test_rl_runs.py`, reward models in `test_scalar_head.py` and
`test_rl_reward_models.py`, devices in `test_rl_ways.py`, microbatches in
`tests/objectives/test_policy.py`, whole logits in `tests/test_hlo.py`, lost rollouts
in `test_rl_killed.py`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.data.packing.completions import AnswerRows, answer_layouts
from jaxalign.data.records.record import PromptOnly
from jaxalign.objectives import gae_credit, plain_credit
from jaxalign.ops import fixed_kl_update
from jaxalign.recipes import ppo
from jaxalign.recipes.prompt import Prompt
from jaxalign.recipes.rl.sampling import Sampler
from jaxalign.recipes.rl.scoring import make_scoring
from jaxalign.recipes.rl.settle import Known, Rules, make_settle
from jaxalign.recipes.rl.state import Control
from jaxalign.rewards import Completion, score
from jaxalign.training import Clock
from tests.rollout.models_under_test import DECODER, params

N = 5
CONTROL = Control(jnp.float32(0.1), jnp.float32(0.0), jnp.int32(0))


def known(lengths, scores, **changes) -> Known:
    """One prompt, an answer for each length."""
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
    return Known(**jax.tree.map(jnp.asarray, arrays | changes))


def settle(assign, inputs: Known):
    rules = Rules(assign, kl_in_reward=True, update_kl=fixed_kl_update)
    columns, _, metrics = make_settle(rules)(inputs, CONTROL)
    return {k: np.asarray(v) for k, v in columns.items()}, metrics


def test_the_score_stands_at_the_stop_token_and_not_on_the_padding_after_it():
    """Fault 4. With λ = 0 and values of 0 an advantage is the token's own reward."""
    assign = gae_credit(lam=0.0, whiten=False)
    columns, _ = settle(assign, known([3, 5, 1], [2.0, -1.0, 4.0]))
    expected = np.zeros((1, 3, N))
    expected[0, 0, 2], expected[0, 1, 4], expected[0, 2, 0] = 2.0, -1.0, 4.0
    np.testing.assert_allclose(columns["advantages"], expected, atol=1e-6)


def test_values_and_kl_do_not_leak_over_padding():
    """Fault 5."""
    inputs = known([3, 5, 1], [2.0, -1.0, 4.0])
    clean, metrics = settle(gae_credit(), inputs)
    changes = {}
    for name in ("values", "logps", "ref_logps", "sampler_logps"):
        column = np.asarray(getattr(inputs, name)).copy()
        column[~np.asarray(inputs.tokens)] = np.nan
        changes[name] = jnp.asarray(column)
    dirty, dirty_metrics = settle(gae_credit(), inputs._replace(**changes))
    for name in ("advantages", "returns"):
        np.testing.assert_array_equal(dirty[name], clean[name])
    for name, mean in metrics.items():
        assert mean.value == dirty_metrics[name].value, name


def test_metrics_do_not_depend_on_the_width_of_padding():
    """Fault 7."""
    inputs = known([3, 2, 1], [2.0, -1.0, 4.0])
    _, wide = settle(plain_credit, inputs)
    narrow: Any = {
        k: v[..., :3] if v is not None and v.shape[-1:] == (N,) else v
        for k, v in inputs._asdict().items()
    }
    _, tight = settle(plain_credit, Known(**narrow))
    for name, mean in wide.items():
        np.testing.assert_allclose(mean.value, tight[name].value, rtol=1e-6)


class Letters:
    """Ids 0 to 22 as letters; two of them are stop tokens."""

    stop_ids = frozenset({3, 11})

    def decode(self, ids, *, skip_special=False):
        hidden = self.stop_ids if skip_special else ()
        return "".join(chr(97 + i) for i in ids if i not in hidden)


PROMPTS = [
    Prompt(ids, PromptOnly(f"p{n}"), f"p{n}", n)
    for n, ids in enumerate(([1, 2], [4, 5, 6], [1, 2], [7]))
]


def half_points(completions):
    """An integer first, as graders like to begin."""
    return [1, *(0.25 for _ in completions[1:])]


def sampler(**changes) -> Sampler:
    options = {
        "decoder": DECODER,
        "tokenizer": Letters(),
        "prompts": PROMPTS,
        "score": lambda completions: score([half_points], completions),
        "num_generations": 8,
        "max_new_tokens": 6,
        "temperature": 1.0,
        "rows_at_a_time": None,
        "seed": 0,
    }
    return Sampler(**(options | changes))


def sample(iteration, **changes):
    key = jax.random.fold_in(jax.random.key(0), iteration)
    numbers = [0, 1, 2, 3]
    return sampler(**changes)(params(), iteration, numbers, key, Clock())[0]


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
        assert over == (token in Letters.stop_ids)
        assert text.stopped == over
        assert not set(text.completion) & {"d", "l"}
        assert not set(text.ids[:-1]) & Letters.stop_ids


@pytest.mark.parametrize("name", ["missing_eos_penalty", "missing_eos_score"])
def test_no_stop_token_of_the_set_is_punished_as_a_missing_end(name):
    """Fault 4: the tokenizer's EOS is looked for, whatever had ended the answer."""
    paths: Any = {"model": "m", "data": "d", "output_dir": "o", "reward": ("stopped",)}
    config = ppo.Config(**paths | {name: 0.25})
    tokenizer: Any = Letters()
    answers = sample(0, score=make_scoring(config, tokenizer))
    last = np.array([ids[-1] for ids in answers.completions.ids()])
    cut = 0.25 if name == "missing_eos_score" else -0.25
    expected = np.where(np.isin(last, [3, 11]), 1.0, cut)
    np.testing.assert_allclose(answers.scores.total, expected)
    assert {3, 11} < set(last.tolist())


@pytest.mark.parametrize("name", ["missing_eos_penalty", "missing_eos_score"])
def test_a_missing_end_makes_no_score_where_no_reward_applies(name, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def rare(xs):\n    return [2.0, None] * (len(xs) // 2)\n")
    given: Any = {"model": "m", "data": "d", "output_dir": "o", name: 0.5}
    config = ppo.Config(**given, reward=(f"{file}:rare",))
    tokenizer: Any = Letters()
    answers = [Completion("?", "!", stopped=b < 2) for b in range(4)]
    scores = make_scoring(config, tokenizer)(answers)
    cut = 0.5 if name == "missing_eos_score" else 1.5
    np.testing.assert_array_equal(scores.total, [2, np.nan, cut, np.nan])
    assert scores.applies.tolist() == [True, False, True, False]


def test_the_stop_token_is_trained():
    """Fault 8: it is the last target of every answer that has one, and it counts."""
    answers = sample(0)
    done = answers.completions
    rows = AnswerRows.plan(longest_prompt=3, longest_answer=6, per_prompt=8, answers=32)
    layouts = answer_layouts(
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
    answers, rounds = sampler(**changes)(params(), 0, [0, 1, 2, 3], key, Clock())
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
        params(), 0, [0, 1, 2, 3], key, Clock()
    )
    assert len(few) == 1
    assert capped.kept.tolist() == [True, False, True, True]


def test_answers_to_which_no_reward_applies_count_nowhere():
    inputs = known([3, 2, 1], [2.0, 0.0, 4.0])
    used = jnp.asarray([[True, False, True]])
    columns, metrics = settle(plain_credit, inputs._replace(used=used))
    assert not columns["advantages"][0, 1].any()
    assert metrics["objective/scores"].value == 3
    assert metrics["objective/scores"].weight == 2


@pytest.mark.parametrize("silent", [True, False])
def test_iterations_without_a_difference_are_counted(silent):
    inputs = known([3, 2], [1.0, 2.0], silent=np.asarray(silent))
    rules = Rules(plain_credit, kl_in_reward=False, update_kl=fixed_kl_update)
    control = CONTROL._replace(silent=jnp.int32(4))
    _, new, _ = make_settle(rules)(inputs, control)
    assert int(new.silent) == (5 if silent else 0)
