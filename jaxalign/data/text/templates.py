"""Chat templates: messages to text, and where in the text each turn stands."""

import dataclasses
import functools
import importlib.resources
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxalign.data.text.marks import (
    MARK,
    MAX_MESSAGES,
    Rendered,
    Span,
    UnmarkableError,
    content_spans,
    generation_spans,
    strip_marks,
    with_marks,
)
from jaxalign.errors import UserError
from jaxalign.json_file import read_object, read_text

BUILTIN = ("chatml", "gemma", "llama3", "mistral", "qwen", "zephyr")
"""Names of the templates that come with the package; each has a training twin."""


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template, rendered in a sandbox with limits of time and size.

    Attributes:
      source: the Jinja text.
      name: where it came from, for messages.
      variables: what it may read besides the messages: `bos_token`, `eos_token`, ...
    """

    source: str
    name: str
    variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def marks_generation(self) -> bool:
        """Whether it says by `{% generation %}` what the assistant writes."""
        return bool(re.search(r"\{%-?\s*generation\s*-?%\}", self.source))

    @functools.cached_property
    def _compiled(self):
        from jaxalign.data.text import sandbox

        with self._explained():
            return sandbox.compile_template(self.source)

    def _explained(self):
        return _Explained(self.name)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        **kwargs: Any,
    ) -> str:
        """The conversation as text.

        Args:
          messages: `{"role", "content", ...}` in order.
          tools: JSON descriptions of tools, for templates that know them.
          add_generation_prompt: end with the header of an assistant turn.
          **kwargs: further variables (`enable_thinking`, ...).

        Raises:
          UserError: the template refuses the messages, fails, or exceeds its limits.

        >>> template = builtin_template("chatml")
        >>> print(template.render([{"role": "user", "content": "hi"}]))
        <|im_start|>user
        hi<|im_end|>
        """
        marked = self._render(_plain(messages), tools, add_generation_prompt, kwargs)
        return strip_marks(marked)[0]

    def _render(self, messages, tools, add_generation_prompt, kwargs) -> str:
        from jaxalign.data.text import sandbox

        variables = {
            **self.variables,
            "messages": messages,
            "tools": _plain(tools) if tools else None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            **_plain(kwargs),
        }
        compiled = self._compiled
        with self._explained():
            return sandbox.render(compiled, variables)

    def render_marked(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> Rendered:
        """The conversation as text, and where the assistant's turns stand in it.

        Generation blocks are believed where the template has them. Otherwise contents
        are rendered between private-use characters, which are then taken out; the
        result must equal the plain rendering.

        Raises:
          UnmarkableError: neither way finds the assistant's text.
          UserError: as `render`.
        """
        messages = _plain(messages)
        if len(messages) > MAX_MESSAGES:
            raise UserError(
                f"A conversation has {len(messages)} messages (limit {MAX_MESSAGES})."
            )
        plain = self._render(messages, tools, False, kwargs)
        if self.marks_generation:
            return generation_spans(plain, messages, self.name)
        for trimmed, every_role in ((0, 1), (0, 0), (1, 1), (1, 0)):
            marked = with_marks(
                messages, every_role=bool(every_role), trimmed=bool(trimmed)
            )
            text, marks = strip_marks(self._render(marked, tools, False, kwargs))
            spans = content_spans(marks, messages)
            if text == plain and spans is not None:
                return _split_by_role(text, spans, messages)
        raise UnmarkableError(
            f"The chat template {self.name} rewrites the assistant's text, so that the"
            " trained tokens cannot be found. Use a template with generation blocks:"
            f" --chat-template NAME.training, NAME one of {', '.join(BUILTIN)}, or a"
            " .jinja file of your own."
        )


def _split_by_role(text: str, spans: Iterable[Span], messages) -> Rendered:
    ours, others = [], []
    for span in spans:
        own = messages[span.message].get("role") == "assistant"
        (ours if own else others).append(span)
    return Rendered(text, tuple(ours), tuple(others))


class _Explained:
    """Turns what a template can raise into a `UserError` that names the template."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, Exception) and not isinstance(error, UserError):
            reason = str(error).rstrip(".") or type(error).__name__
            raise UserError(
                f"The chat template {self.name} cannot be used for this conversation:"
                f" {reason}. Mend the row, or choose another template with"
                " --chat-template."
            ) from error


def _plain(value: Any) -> Any:
    """A copy made of JSON types alone: nothing else enters the sandbox."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and MARK.search(value):
        raise UnmarkableError(
            "A conversation holds characters of the private-use plane 16, which"
            " mark the assistant's text. Remove them from the row."
        )
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    raise UserError(f"A chat template got a value of type {type(value).__name__}.")


def builtin_template(
    name: str, variables: Mapping[str, Any] | None = None
) -> ChatTemplate:
    """The template of that name; `NAME.training` is the twin with generation blocks.

    Raises:
      UserError: there is none of that name.
    """
    if name.removesuffix(".training") not in BUILTIN:
        raise UserError(
            f"There is no built-in chat template {name!r}. There are"
            f" {', '.join(BUILTIN)}, each also with `.training` behind it."
        )
    folder = importlib.resources.files("jaxalign.data.text") / "builtin_templates"
    source = (folder / f"{name}.jinja").read_text(encoding="utf-8")
    return ChatTemplate(source, name, variables or {})


def read_template(
    folder: pathlib.Path, variables: Mapping[str, Any] | None = None
) -> ChatTemplate | None:
    """The checkpoint's own template: `chat_template.jinja`, else the config's key."""
    file = folder / "chat_template.jinja"
    if file.exists():
        return ChatTemplate(read_text(file), str(file), variables or {})
    file = folder / "tokenizer_config.json"
    source = read_object(file).get("chat_template") if file.exists() else None
    if isinstance(source, list):
        named = [x for x in source if isinstance(x, Mapping) and "template" in x]
        if len(named) < len(source):
            raise UserError(
                f"{file}: `chat_template` is a list, but not of objects with a `name` "
                "and a `template`. Correct the file."
            )
        source = {str(x.get("name")): x["template"] for x in named}.get("default")
    if source is None:
        return None
    if not isinstance(source, str):
        raise UserError(
            f"{file}: `chat_template` is {repr(source)[:80]}, no text. Correct the "
            "file."
        )
    return ChatTemplate(source, f"of {file}", variables or {})
