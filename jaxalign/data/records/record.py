"""What one row of data is, whatever file or layout it came from.

A record holds text, not tokens. Its content is *plain* (`str`) or *conversational* (a
tuple of `Message`); both sides of a record are always of one kind. Prompts end
before an assistant turn and responses begin with one, so that whoever renders them
never has to look for the border.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

from jaxalign.data.records import checks
from jaxalign.errors import RowError


class Tie(RowError):
    """A comparison without a winner: dropped and counted, never trained on."""


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
      role: `system`, `developer`, `user`, `assistant` or `tool`.
      content: the text; empty only for system and tool turns and for assistant turns
        that call a tool.
      extra: what else a chat template may read (`tool_calls`, `name`, `thinking`, ...).
      trained: False where the row says that this turn is read and not learnt from.
    """

    role: str
    content: str
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    trained: bool = True

    def as_dict(self) -> dict[str, Any]:
        """The message as chat templates expect it.

        >>> Message("user", "hi", {"name": "ada"}).as_dict()
        {'role': 'user', 'content': 'hi', 'name': 'ada'}
        """
        return {"role": self.role, "content": self.content, **self.extra}


Content: TypeAlias = str | tuple[Message, ...]
"""Plain text, or messages."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Common:
    """What every record carries.

    Attributes:
      where: file and line of the row, for error messages.
      tools: descriptions of tools for the chat template, or None.
      template_kwargs: further arguments of the chat template.
      weight: factor on the example's loss.
      extra: the other columns of the row by name; reward functions receive them.
    """

    where: str = ""
    tools: tuple[Mapping[str, Any], ...] | None = None
    template_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weight: float = 1.0
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def per_answer(self) -> Mapping[str, tuple[float, ...]]:
        """What the row says of each of its completions in numbers, by name."""
        return {}


@dataclasses.dataclass(frozen=True)
class Text(Common):
    """A document; every token is trained."""

    text: str


@dataclasses.dataclass(frozen=True)
class Conversation(Common):
    """Messages; the assistant's turns are trained."""

    messages: tuple[Message, ...]


@dataclasses.dataclass(frozen=True)
class PromptOnly(Common):
    """Something to complete: for sampling, and for methods that learn from samples."""

    prompt: Content


@dataclasses.dataclass(frozen=True)
class PromptCompletion(Common):
    """A prompt and its completion; the completion is trained."""

    prompt: Content
    completion: Content


@dataclasses.dataclass(frozen=True)
class Preference(Common):
    """Two completions of one prompt, the first one better.

    A conversational response may hold several turns (user turns among them) when the
    two transcripts part before their last turn. `margin` is how much better, if known.
    """

    prompt: Content
    chosen: Content
    rejected: Content
    margin: float | None = None

    @property
    def per_answer(self) -> Mapping[str, tuple[float, ...]]:
        """The `margin` at both sides, 0 if it is not known; `win_rate` where it is."""
        names = ("win_rate_chosen", "win_rate_rejected")
        rates = [self.extra.get(name) for name in names]
        # Cells of a CSV file are text.
        numbers = tuple(
            checks.number(x, "win_rate") for x in rates if checks.is_number(x)
        )
        # Labels have a value per sequence, and a margin is of the pair: it stands
        # twice.
        margin = {"margin": (self.margin or 0.0,) * 2}
        return margin | ({"win_rate": numbers} if len(numbers) == 2 else {})

    @property
    def apart(self) -> tuple["Unpaired", "Unpaired"]:
        """The chosen completion as a desirable one, the rejected as an undesirable."""
        common = {f.name: getattr(self, f.name) for f in dataclasses.fields(Common)}
        return (
            Unpaired(self.prompt, self.chosen, True, **common),
            Unpaired(self.prompt, self.rejected, False, **common),
        )


@dataclasses.dataclass(frozen=True)
class Unpaired(Common):
    """One completion, and whether it is desirable."""

    prompt: Content
    completion: Content
    label: bool

    @property
    def per_answer(self) -> Mapping[str, tuple[float, ...]]:
        """`desirable`, 1 for a desirable completion."""
        return {"desirable": (float(self.label),)}


@dataclasses.dataclass(frozen=True)
class Scored(Common):
    """One completion, and a number that says how good it is."""

    prompt: Content
    completion: Content
    score: float

    @property
    def per_answer(self) -> Mapping[str, tuple[float, ...]]:
        """The `score`."""
        return {"score": (self.score,)}


@dataclasses.dataclass(frozen=True)
class Rankings(Common):
    """Several completions of one prompt; higher scores are better, equal ones tie."""

    prompt: Content
    completions: tuple[Content, ...]
    scores: tuple[float, ...]

    @property
    def per_answer(self) -> Mapping[str, tuple[float, ...]]:
        """The `score` of each completion."""
        return {"score": self.scores}

    @property
    def best_first(self) -> "Rankings":
        """The same with falling scores; ties in the row's order."""
        order = sorted(range(len(self.scores)), key=lambda i: -self.scores[i])
        completions = tuple(self.completions[i] for i in order)
        scores = tuple(self.scores[i] for i in order)
        return dataclasses.replace(self, completions=completions, scores=scores)


@dataclasses.dataclass(frozen=True)
class Stepwise(Common):
    """A completion in steps, and whether each step is right."""

    prompt: Content
    steps: tuple[str, ...]
    labels: tuple[bool, ...]


@dataclasses.dataclass(frozen=True)
class Tokenised(Common):
    """Token ids made elsewhere.

    `loss_mask[t]` says whether token t itself is trained (not yet shifted); None means
    that all are.
    """

    input_ids: tuple[int, ...]
    loss_mask: tuple[bool, ...] | None = None


@dataclasses.dataclass(frozen=True)
class TokenisedPair(Common):
    """Both whole sequences of a preference pair as token ids made elsewhere."""

    chosen: Tokenised
    rejected: Tokenised


Record: TypeAlias = (
    Text
    | Conversation
    | PromptOnly
    | PromptCompletion
    | Preference
    | Unpaired
    | Scored
    | Rankings
    | Stepwise
    | Tokenised
    | TokenisedPair
)
"""Any of the shapes above."""
