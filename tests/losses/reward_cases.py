"""The losses of reward models, for the contract suite."""

from jaxalign import losses
from jaxalign.losses import Pair
from tests.losses.case import Case, by_keyword, lengths_to_mask, mask_with_gaps, normal


def score_pairs(rng, b, t):
    del t
    scores = Pair(2 * normal(rng, b), 2 * normal(rng, b))
    return scores, rng.random(b) < 0.8, abs(normal(rng, b))


def ranked(rng, b, k):
    return 2 * normal(rng, b, k), mask_with_gaps(rng, b, k)


def ranked_with_ties(rng, b, k):
    ranks = rng.integers(0, 3, size=(b, k)).astype("float32")
    return *ranked(rng, b, k), ranks


def rated(rng, b, a):
    return normal(rng, b, a), normal(rng, b, a), lengths_to_mask(rng, b, a)


CASES = {
    "bradley_terry": Case(
        by_keyword(losses.bradley_terry_loss, "margin"),
        score_pairs,
        frozen=(2,),
        traced={"center": (0.0, 0.1)},
    ),
    "kwise": Case(losses.kwise_loss, ranked),
    "kwise_ties": Case(
        by_keyword(losses.kwise_loss, "ranks"), ranked_with_ties, frozen=(2,)
    ),
    "plackett_luce": Case(losses.plackett_luce_loss, ranked, traced={"top": (1, 2)}),
    "regression": Case(losses.regression_loss, rated, frozen=(1,)),
}
