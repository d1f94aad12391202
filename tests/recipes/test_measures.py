"""What `jaxalign evaluate` makes of scores, from a few numbers worked out by hand."""

import functools

import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.recipes.evaluation.judging import judge_against
from jaxalign.recipes.evaluation.measure import (
    Estimator,
    abstention_table,
    best_of,
    divergence,
    likelihood,
    preference,
    win_rate,
)
from jaxalign.recipes.evaluation.scoring import (
    Written,
    abstention_reward_of,
    abstentions,
    outcomes_by,
    score_completions,
)
from jaxalign.rewards import Completion, Reward, score
from jaxalign.rewards.abstention import abstention
from jaxalign.rewards.comparison import COMPARE

NAN = np.nan
ESTIMATOR = Estimator(3)


def tokens(*examples):
    """Log-probabilities as a checkpoint gives them: a list of arrays per example."""
    return [[np.asarray(x, np.float32) for x in example] for example in examples]


def test_all_samples_of_a_row_are_redrawn_together():
    """Eight copies of each sample know nothing that one does not know."""
    column = np.random.default_rng(0).normal(size=(12, 1))
    once = ESTIMATOR.group_mean("x", column)
    copies = ESTIMATOR.group_mean("x", column.repeat(8, axis=1))
    np.testing.assert_allclose(copies, once, rtol=1e-5)
    assert once.low < once.value < once.high
    # About 1.96 standard errors of a mean over 12 rows.
    error = column.std() / np.sqrt(12)
    assert 3 * error < once.high - once.low < 5 * error


def test_what_is_not_there_is_no_zero():
    got = ESTIMATOR.group_mean("x", np.array([[1, NAN], [NAN, NAN], [3, 5]]))
    assert got.value == 3
    assert got.rows == 2
    nothing = ESTIMATOR.group_mean("x", np.full((2, 2), NAN))
    assert nothing.rows == 0
    assert np.isnan(nothing.value)


def test_perplexity_is_that_of_tokens_of_the_first_sequence():
    logps = tokens([[-1.0, -2.0, -3.0], [-9.0]], [[-0.5], [-9.0, -9.0]])
    got = likelihood(ESTIMATOR, logps)
    assert got["loss"].value == pytest.approx(6.5 / 4)
    assert got["perplexity"].value == pytest.approx(np.exp(6.5 / 4))
    ends = got["loss"].low, got["loss"].high
    assert got["perplexity"][1:3] == pytest.approx(np.exp(ends))


def test_a_model_that_cannot_tell_is_right_half_the_time():
    logps = tokens([[-1.0, -2.0], [-3.0]], [[-1.0], [-2.0]], [[-4.0], [-1.0]])
    got = preference(ESTIMATOR, logps, None, 0.5)
    assert got["logps/accuracies"].value == 0.5
    assert got["logps/margins"].value == pytest.approx((0 + 1 - 3) / 3)
    ref = tokens([[-1.0, -2.0], [-4.0]], [[-1.0], [-2.0]], [[-5.0], [-1.0]])
    got = preference(ESTIMATOR, logps, ref, 0.5)
    # Implicit rewards 0 and ½, 0 and 0, ½ and 0.
    assert got["rewards/accuracies"].value == 0.5
    assert got["rewards/margins"].value == pytest.approx(0)
    assert got["rewards/chosen"].value == pytest.approx(0.5 / 3)
    assert got["rewards/rejected"].value == pytest.approx(0.5 / 3)


def test_a_tie_is_half_a_win_and_an_unknown_score_no_loss():
    ours = np.array([[1.0, 2.0], [NAN, 3.0], [0.0, 9.0]])
    theirs = np.array([[1.0, 1.0], [0.0, NAN], [4.0, NAN]])
    got = win_rate(ESTIMATOR, "x", ours, theirs)
    assert got.value == 0.5
    assert got.rows == 2


def test_kl_is_positive_where_the_model_finds_its_samples_likelier():
    ours = tokens([[-1.0, -1.0]], [[-1.0]], [[-2.0]], [[-2.0, -1.0]])
    theirs = tokens([[-2.0, -3.0]], [[-1.5]], [[-1.0]], [[-2.0, -3.0]])
    got = divergence(ESTIMATOR, ours, theirs, 2)["kl"]
    assert got.value == pytest.approx((3 + 0.5 - 1 + 2) / 4)
    assert got.rows == 2


def test_the_best_of_samples_that_are_there():
    got = best_of(np.array([[-1.0, -4.0, NAN, NAN], [-2.0, -2.0, -6.0, -3.0]]))
    assert list(got) == [1, 2, 4]
    assert got[1]["reward"] == pytest.approx((-2.5 - 3.25) / 2)
    # The six pairs of the second row: -2 five times, -3 once.
    assert got[2]["reward"] == pytest.approx((-1 - 13 / 6) / 2)
    assert got[4]["reward"] == -2
    assert got[2]["kl_bound"] == pytest.approx(np.log(2) - 0.5)


def answers_to(questions, *texts, **columns):
    return [
        Completion(q, text, columns={k: v[i] for k, v in columns.items()}, index=i)
        for i, (q, text) in enumerate(zip(questions, texts, strict=True))
    ]


def test_questions_that_can_be_known_are_told_from_those_that_cannot():
    outcomes = ["correct", "abstain", "wrong", "abstain"]
    flags = [True, False, True, False]
    answers = answers_to("abcd", *"wxyz", easy=flags)
    table = abstention_table(outcomes, answers, "easy")  # pyright: ignore[reportArgumentType]
    assert table["known"] == {
        "correct": 0.5, "abstain": 0.0, "wrong": 0.5, "completions": 2,
    }  # fmt: skip
    assert table["unknown"] == {
        "correct": 0.0, "abstain": 1.0, "wrong": 0.0, "completions": 2,
    }  # fmt: skip
    assert table["all"]["abstain"] == 0.5


def test_the_table_judges_as_the_reward_does():
    strict = functools.partial(
        abstention, wrong=-3.0, column="gold", match="normalized", refusals=["pass"]
    )
    answers = answers_to("abc", "It is 4.", "4", "Pass.", gold=["4", "4", "4"])
    rewards = [Reward("other", lambda x: [0.0] * len(x)), Reward("a", strict)]
    assert strict(answers) == [-3, 1, 0]
    reward = abstention_reward_of(rewards, None)
    assert reward is rewards[1]
    found = outcomes_by(rewards[1], score(rewards, answers))
    table = abstentions(found, answers, None)
    assert [table["all"][x] for x in ("wrong", "correct", "abstain")] == [1 / 3] * 3
    assert abstention_reward_of(rewards[:1], None) is None


def test_the_table_is_that_of_the_rewards_own_judge():
    """A judge that takes every text with a question mark for an abstention, and fails
    on one text: that is in no row of the table."""
    asked = []

    def judged_abstention(completions, *, model, wrong=-1.0):
        asked.extend(c.completion for c in completions)
        if any(c.completion == "!" for c in completions):
            raise ValueError("no verdict")
        return abstention(
            completions,
            wrong=wrong,
            detector=lambda x: ["?" in c.completion for c in x],
        )

    judge = functools.partial(judged_abstention, model="m", wrong=-2.0)
    texts = ["Rome?", "I don't know", "Rome", "!"]
    answers = answers_to("abcd", *texts, answer=["Rome"] * 4, easy=[True, False] * 2)
    reward = abstention_reward_of([Reward("mine", judge, fallback=0.0)], "easy")
    assert reward is not None
    scores = score([reward], answers)
    assert scores.total.tolist() == [0, -2, 1, 0]
    count = len(asked)
    table = abstentions(outcomes_by(reward, scores), answers, "easy")
    assert len(asked) == count
    names = ("correct", "abstain", "wrong", "completions")
    assert [table["all"][x] for x in names] == [1 / 3, 1 / 3, 1 / 3, 3]
    assert [table["known"][x] for x in names] == [0.5, 0.5, 0, 2]
    assert [table["unknown"][x] for x in names] == [0, 0, 1, 1]


def test_values_that_do_not_tell_outcomes_apart_give_no_table(caplog):
    same = Reward("same", functools.partial(abstention, abstain=-1.0))
    assert abstention_reward_of([same], None) is None
    assert "`same` do not tell its outcomes apart" in caplog.text
    with pytest.raises(UserError, match="do not tell its outcomes apart"):
        abstention_reward_of([same], "easy")
    own = Reward("abstention", lambda completions: [0.0] * len(completions))
    with pytest.raises(UserError, match="a function of your own"):
        abstention_reward_of([own], "easy")


def test_whose_answers_win_and_what_is_written_beside_them():
    """By length, two samples to each of two questions; one of them has no score."""

    def length(completions):
        return [None if x.completion == "?" else len(x.completion) for x in completions]

    ours = answers_to("aabb", "long", "longer", "x", "?")
    theirs = answers_to("aabb", "l", "longer", "xx", "xx")
    journal = [{} for _ in ours]
    rewards = [Reward("length", length, weight=0.5), Reward("one", lambda x: [1.0] * 4)]
    mine = Written(ours, theirs, 2)
    found, best, _ = score_completions(mine, rewards, ESTIMATOR, journal)
    assert found["win_rate/reward"].value == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert found["rewards/length/mean"].value == pytest.approx(11 / 3)
    assert found["reward"].value == pytest.approx((3 + 4 + 1.5 + 1) / 4)
    assert best[2]["reward"] == pytest.approx((4 + 1.5) / 2)
    assert [x["ref_completion"] for x in journal] == ["l", "longer", "xx", "xx"]
    assert journal[3]["rewards"] == {"length": None, "one": 1}


def test_the_judge_prefers_ours_where_it_says_so():
    def longer(requests):
        """Says nothing about answers of one letter."""
        replies = []
        for request in requests:
            first, second = request.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
            a, b = len(first.strip()), len(second.strip())
            verdict = "C" if a == b else "A" if a > b else "B"
            replies.append("hm" if a == 1 else f"[[{verdict}]]")
        return replies

    ours = answers_to("abcd", "longer", "same", "long", "x")
    theirs = answers_to("abcd", "long", "size", "longest", "xxx")
    journal = [{} for _ in ours]
    answers = Written(ours, theirs, 1)
    found = judge_against(answers, longer, COMPARE, ESTIMATOR, journal)
    assert found["win_rate/judge"].value == pytest.approx((1 + 0.5 + 0) / 3)
    assert found["win_rate/judge"].rows == 3
    assert found["judge/verdicts"].value == 0.75
    assert [x["win_rate"] for x in journal] == [1, 0.5, 0, None]
