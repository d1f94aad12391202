"""A reward against saying the same thing again."""

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.parameters import check_numbers


def repetition_penalty(
    completions: list[Completion], *, ngram: int = 3, scale: float = 1.0
) -> list[float]:
    """−scale · (share of the completion's n-grams of words that occurred before).

    −scale · (1 − distinct n-grams / n-grams), the form of Open-R1's reward after the
    n-gram penalty of Yeo et al. (https://arxiv.org/abs/2502.03373). A completion with
    fewer than n words gets 0.

    Args:
      completions: What to score. Words are what white space sets apart, without regard
        to capitals.
      ngram: n, in words.
      scale: The penalty where nothing but repetition is left.

    Returns:
      From −scale to 0 for each.

    >>> texts = ["one two three", "a b a b a b"]
    >>> repetition_penalty([Completion("?", x) for x in texts], ngram=2)
    [0.0, -0.6]
    """
    check_numbers(ngram=ngram, scale=scale)
    if ngram < 1 or ngram != int(ngram):
        raise UserError(f"ngram must be 1 word or more, got {ngram}.")
    if scale < 0:
        raise UserError(f"scale must be 0 or more, got {scale}.")
    return [
        -scale * _repeated_share(c.completion, int(ngram)) + 0.0 for c in completions
    ]


def _repeated_share(text: str, n: int) -> float:
    words = text.lower().split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
