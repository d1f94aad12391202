"""`jaxalign rewards`: which rewards there are, and what they take."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """List the built-in rewards with their parameters, as `--reward` takes them."""


def main(config: Config) -> int:
    """Prints the list."""
    from jaxalign.recipes.scoring.judge import judges
    from jaxalign.rewards import describe_rewards

    del config
    print(describe_rewards(judges("float32")))
    return 0
