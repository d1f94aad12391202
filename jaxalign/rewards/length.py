"""Rewards for length in tokens."""

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.parameters import check_numbers


def length_penalty(completions: list[Completion], *, target: int = 0) -> list[float]:
    """−1 per thousand tokens by which the completion is longer than `target`.

    Args:
      completions: What to score, with their `ids`; a stop token counts.
      target: Longest length without a penalty, in tokens.

    Returns:
      −max(|y| − target, 0) / 1000 for each.

    >>> length_penalty([Completion("?", "a b c", ids=range(300))], target=100)
    [-0.2]
    """
    check_numbers(target=target)
    if target < 0:
        raise UserError(f"target must be 0 or more tokens, got {target}.")
    return [-max(len(c.ids) - target, 0) / 1000 for c in completions]


def overlong_penalty(
    completions: list[Completion], *, max_length: int = 20480, cache: int = 4096
) -> list[float]:
    """0 up to `max_length − cache` tokens, then falling evenly to −1 at `max_length`.

    Soft overlong punishment, Eq. 13 of Yu et al. (DAPO,
    https://arxiv.org/abs/2503.14476):
    0 if |y| ≤ L − L_c; (L − L_c − |y|) / L_c up to L; −1 beyond.

    Args:
      completions: What to score, with their `ids`; a stop token counts.
      max_length: L, in tokens.
      cache: L_c, the tokens over which the penalty grows.

    Returns:
      From −1 to 0 for each.

    >>> texts = [Completion("?", "...", ids=range(n)) for n in (6, 8, 10, 12)]
    >>> overlong_penalty(texts, max_length=10, cache=4)
    [0.0, -0.5, -1.0, -1.0]
    """
    check_numbers(max_length=max_length, cache=cache)
    if not 0 < cache <= max_length:
        raise UserError(
            f"cache ({cache}) must be above 0 and at most max_length ({max_length}), "
            "both in tokens."
        )
    over = [len(c.ids) - (max_length - cache) for c in completions]
    # `+ 0.0` makes 0 of −0.
    return [-min(max(n, 0) / cache, 1.0) + 0.0 for n in over]
