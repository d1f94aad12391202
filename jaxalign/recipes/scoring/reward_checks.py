"""What can be known of rewards before anything is sampled."""

import functools
import inspect
from collections.abc import Sequence

from jaxalign.errors import UserError
from jaxalign.rewards import Reward
from jaxalign.rewards.builtin import BUILT_IN
from jaxalign.rewards.columns import STEP, refuse_unknown_step
from jaxalign.rewards.user.function import UserFunction
from jaxalign.rl import Prompt

_OF_OTHER_TRAINERS = {
    "trainer_state": f"Take `{STEP}` in its place, the number of the iteration.",
    "log_metric": "A reward of weight 0 is logged too: NAME=0.",
    "log_extra": "What it prints is kept in logs/.",
}


def check_rewards(
    rewards: Sequence[Reward], prompts: Sequence[Prompt], data: str, *, in_run: bool
) -> None:
    """Refuses rewards that cannot work on the rows.

    A user's function needs the columns that it names without a default; those of ours
    that compare with a column need it in every row, with an answer that they can read.

    Args:
      rewards: Opened.
      prompts: All that will be asked.
      data: Where their rows came from, for messages.
      in_run: Whether there are iterations to be counted.

    Raises:
      UserError: Naming the reward, and what it lacks.
    """
    for reward in rewards:
        function = reward.function
        if isinstance(function, UserFunction):
            _check_columns(reward.name, function, prompts, data)
            if function.needs_step and not in_run:
                raise refuse_unknown_step(reward.name)
        elif _compares(function):
            _check_rows(reward, prompts)


def _check_columns(
    name: str, function: UserFunction, prompts: Sequence[Prompt], data: str
) -> None:
    has = dict.fromkeys(column for x in prompts for column in x.columns)
    for column in function.needed:
        if column not in has:
            hint = _OF_OTHER_TRAINERS.get(
                column,
                "Rename a column (--columns), give the argument a default, or a value: "
                f"{name}({column}=VALUE).",
            )
            raise UserError(
                f"The reward `{name}` ({function.origin}) needs `{column}`, and no row "
                f"of {data} has such a column; they have "
                f"{', '.join(has) or 'none but the prompt'}. {hint}"
            )


def _compares(function) -> bool:
    """Whether it is a rule of ours that reads a column."""
    # Arguments in the reward's text are bound by a partial.
    inner = function.func if isinstance(function, functools.partial) else function
    known = inner in BUILT_IN.values()
    return known and "column" in inspect.signature(inner).parameters


def _check_rows(reward: Reward, prompts: Sequence[Prompt]) -> None:
    """Lets it look at every row once, with an empty completion."""
    failed = 0
    for prompt in prompts:
        # Rules read the row's column whatever is written, so no sample is needed.
        blank = prompt.completion("", [], True)
        try:
            reward.function([blank])
        except UserError as error:
            failed += 1
            # A fallback is for some of the rows, not for a reward that fails on all.
            if reward.fallback is None or failed == len(prompts):
                where = f"{prompt.where}: " if prompt.where else ""
                raise UserError(
                    f"The reward `{reward.name}`: {where}{error}"
                ) from error
