"""The second classifier and best-of-n, against loops in float64."""

import itertools

import numpy as np
import pytest

from experiments.real_model.arms import Table
from experiments.real_model.best_of import kl_of_best, weights_of_best
from experiments.real_model.second_classifier import train

TEXTS = ("good film", "a good one", "fine film", "bad film", "a bad one", "poor one")
LABELS = (1, 1, 1, 0, 0, 0)


def features_slowly(text):
    words = text.split()
    found = set(words)
    for a, b in itertools.pairwise(["^", *words, "$"]):
        found.add(a + " " + b)
    for word in words:
        edged = "<" + word + ">"
        for size in (4, 5):
            for i in range(len(edged)):
                if i + size <= len(edged):
                    found.add("#" + edged[i : i + size])
    return found


def by_newton(texts, labels, penalty):
    """The optimum in float64, by Newton's method on the whole problem."""
    rows = [features_slowly(x) for x in texts]
    names = sorted(set.union(*rows))
    counts = np.ones((2, len(names)))
    for row, label in zip(rows, labels, strict=True):
        for i, name in enumerate(names):
            counts[label, i] += name in row
    shares = counts / counts.sum(axis=1)[:, None]
    ratios = np.log(shares[1] / shares[0])
    x = np.array(
        [
            [r if n in row else 0.0 for n, r in zip(names, ratios, strict=True)]
            for row in rows
        ]
    )
    x = np.hstack([x, np.ones((len(rows), 1))])  # the bias, which no penalty holds
    ridge = np.diag([penalty] * len(names) + [0.0])
    w = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ w))
        gradient = x.T @ (p - np.array(labels)) / len(rows) + ridge @ w
        hessian = (x.T * (p * (1 - p))) @ x / len(rows) + ridge
        w -= np.linalg.solve(hessian, gradient)
    return dict(zip(names, w[:-1] * ratios, strict=True)), w[-1]


@pytest.mark.parametrize("penalty", [1e-1, 1e-2])
def test_the_classifier_is_the_optimum(penalty):
    found = train(TEXTS, LABELS, penalty)
    weights, bias = by_newton(TEXTS, LABELS, penalty)
    assert set(found.weights) == set(weights)
    for name, weight in weights.items():
        assert found.weights[name] == pytest.approx(weight, abs=2e-4)
    assert found.bias == pytest.approx(bias, abs=2e-4)
    told = sum(weights.get(x, 0) for x in features_slowly("good new film")) + bias
    assert found(["good new film"]) == pytest.approx(1 / (1 + np.exp(-told)), abs=1e-4)


def test_the_classifier_is_the_same_each_time():
    assert train(TEXTS, LABELS) == train(TEXTS, LABELS)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_weights_of_the_best_are_those_of_all_subsets(n):
    rewards = np.array([0.3, 2.0, -1.0, 2.0, 0.5])
    other = np.array([1.0, -4.0, 7.0, 0.5, 3.0])
    means = []
    for subset in itertools.combinations(range(5), n):
        top = max(rewards[i] for i in subset)
        means.append(np.mean([other[i] for i in subset if rewards[i] == top]))
    weights = weights_of_best(rewards, n)
    assert weights.sum() == pytest.approx(1)
    if n in (1, 5):  # ties within a subset share evenly only where both are in it
        assert weights @ other == pytest.approx(np.mean(means))
    distinct = np.array([0.3, 2.0, -1.0, 2.5, 0.5])
    bests = [
        other[max(subset, key=lambda i: distinct[i])]
        for subset in itertools.combinations(range(5), n)
    ]
    assert weights_of_best(distinct, n) @ other == pytest.approx(np.mean(bests))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_kl_of_the_best_is_that_of_its_law(n):
    rewards = np.array([0.0, 1.0, 1.0, 3.0])
    law = dict.fromkeys([0.0, 1.0, 3.0], 0.0)
    for drawn in itertools.product(rewards, repeat=n):
        law[max(drawn)] += 4.0**-n
    share = {0.0: 0.25, 1.0: 0.5, 3.0: 0.25}
    expected = sum(p * np.log(p / share[x]) for x, p in law.items())
    assert kl_of_best(rewards, n) == pytest.approx(expected)
    bound = np.log(n) - (n - 1) / n
    many = kl_of_best(np.arange(4000.0), n)
    assert many == pytest.approx(bound, abs=1e-3)


def test_a_table_knows_its_arms_when_it_is_read_again(tmp_path):
    file = tmp_path / "table.csv"
    some = {"value": 1.0, "low": 0.5, "high": 2.0}
    Table(file).add("dpo", 0.1, 0, kl=some)
    again = Table(file)
    again.add("best_of", 2, 0, kl=some, kl_bound=some)
    last = Table(file)
    assert last.has("dpo", 0.1, 0)
    assert last.has("best_of", 2, 0)
    assert not last.has("dpo", 0.5, 0)
    assert not last.has("dpo", 0.1, 1)
    assert last.rows[0]["kl_bound"] == ""
    assert last.rows[1]["kl_bound_high"] == "2.0"
