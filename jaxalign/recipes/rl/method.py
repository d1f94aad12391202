"""What one method adds to a run that samples."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxalign.losses import LossOutput
from jaxalign.recipes.rl.models import Models
from jaxalign.recipes.rl.sampling import Rival
from jaxalign.recipes.rl.settle import Rules


class Method(NamedTuple):
    """A pair of functions, rewards to advantages and advantages to a loss, and a name.

    Attributes:
      name: As the model card says it.
      rules: What is done with scores.
      objective: From the models to what is minimised.
      passes: Over the answers of an iteration.
      kl: Whether the reference is needed.
      critic: Folder of what the critic starts from, or None.
      warm_up: From the models to what is minimised while the policy stands still.
      warm_up_iterations: How many iterations that lasts.
      greedy: Whether the greedy answers are scored too.
      informative: What dynamic sampling keeps, or None.
      max_refills: How often it may sample again.
      rival: From the models to who writes the second of two answers; None: the policy.
      together: All answers to a prompt share a row.
    """

    name: str
    rules: Rules
    objective: Callable[[Models], Callable[..., LossOutput]]
    passes: int
    kl: bool
    critic: str | None = None
    warm_up: Callable[[Models], Callable[..., LossOutput]] | None = None
    warm_up_iterations: int = 0
    greedy: bool = False
    informative: Callable[..., Any] | None = None
    max_refills: int = 0
    rival: Callable[[Models], Rival] | None = None
    together: bool = False
