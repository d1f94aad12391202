"""What a judge is asked, and what it replies."""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from jaxalign.errors import UserError
from jaxalign.rewards.reading.reply import without_thoughts

Respond: TypeAlias = Callable[[list[str]], list[str]]
"""The judge: requests to replies."""


class JudgeError(UserError):
    """A judge did not reply to all that it was asked, through no fault of the asker."""


def replies(respond: Respond, requests: list[str]) -> list[str]:
    """The judge's replies, one for each request, without what it thought before."""
    got = list(respond(requests)) if requests else []
    if len(got) != len(requests) or not all(isinstance(x, str) for x in got):
        raise UserError(
            f"the judge gave {len(got)} replies to {len(requests)} requests; it must "
            "give one text for each."
        )
    return [without_thoughts(x) for x in got]


def filled(template: str, values: Mapping[str, object]) -> str:
    """The template with `{name}` replaced for the names at hand; other braces stay.

    Values are not looked into, so an answer cannot smuggle in a placeholder.

    >>> filled("{prompt} {completion} {x}", {"prompt": "{completion}", "completion": 1})
    '{completion} 1 {x}'
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return str(values[name]) if name in values else match[0]

    return re.sub(r"\{(\w+)\}", value, template)


def check_template(template: str, *names: str) -> None:
    """Refuses a template in which something is missing."""
    missing = [f"{{{name}}}" for name in names if f"{{{name}}}" not in template]
    if missing:
        raise UserError(
            f"the judge's template has no {' and no '.join(missing)}; write it where "
            f"the text belongs. The template begins: {template[:60]!r}"
        )
