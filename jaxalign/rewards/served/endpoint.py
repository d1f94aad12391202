"""Where a served judge is, and how it is asked."""

import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from jaxalign.errors import UserError

_DEFAULTS = {"temperature": 0, "max_tokens": 1024}
_OF_THE_REQUEST = ("model", "messages", "stream", "n")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model behind an address, and the limits within which it is asked.

    The address is that of the server (`http://host:8000`), of its version
    (`.../v1`) or of the chat completions themselves.
    """

    url: str
    """Address of the server, http or https."""
    model: str
    """Name of the model there."""
    key: str | None = None
    """Name of the environment variable with the key, such as OPENAI_API_KEY."""
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further fields of each request; null takes one of ours away."""
    concurrency: int = 8
    """Requests under way at a time."""
    timeout: float = 60.0
    """Seconds that one attempt may take, from the first byte to the last."""
    attempts: int = 6
    """How often a request is sent before it has failed."""
    backoff: float = 1.0
    """Seconds before the second attempt; they double, up to a minute."""
    max_calls: int | None = None
    """Requests that a run may send, repeated ones too."""

    def __post_init__(self):
        """Refuses values that mean nothing; a key is never repeated."""
        object.__setattr__(self, "url", _completions_of(self.url))
        if not isinstance(self.model, str) or not self.model:
            raise UserError(f"model is {self.model!r}; name the model that is served.")
        for name in ("concurrency", "attempts", "max_calls"):
            value = getattr(self, name)
            if name == "max_calls" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"{name} is {value!r}; it must be 1 or more.")
        for name in ("timeout", "backoff"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and value > 0):
                raise UserError(f"{name} is {value!r}; it must be seconds above 0.")
        self._check_parameters()
        self.secret()

    def secret(self) -> str | None:
        """The key, as the environment has it now.

        Raises:
          UserError: There is none, or it is none that a header can hold.
        """
        if self.key is None:
            return None
        name = self.key if isinstance(self.key, str) else ""
        if not re.fullmatch("[A-Z][A-Z0-9_]*", name):
            raise UserError(
                "key must be the name of an environment variable in capital letters, "
                "such as OPENAI_API_KEY, and not the key itself (it is not repeated "
                "here)."
            )
        secret = os.environ.get(name, "").strip()
        if not secret:
            raise UserError(
                f"key={self.key}: the environment has no such variable, or it is "
                f"empty. Set it: export {self.key}=..."
            )
        if not re.fullmatch("[!-~]+", secret):
            raise UserError(
                f"key={self.key}: what the variable holds is no key: it has blanks, or "
                "signs that no header can hold (it is not repeated here)."
            )
        return secret

    def body(self, request: str) -> bytes:
        """What is sent."""
        fields = {
            "model": self.model,
            "messages": [{"role": "user", "content": request}],
            **self._fields(),
        }
        return json.dumps(fields).encode()

    def identity(self) -> dict[str, Any]:
        """What a reply depends on besides its request."""
        return {"url": self.url, "model": self.model, "parameters": self._fields()}

    def digest(self, request: str = "") -> str:
        """Of a request with all that its reply depends on, as 64 hex digits."""
        about = json.dumps([self.identity(), request], sort_keys=True)
        return hashlib.sha256(about.encode()).hexdigest()

    def _fields(self) -> dict[str, Any]:
        whole = _DEFAULTS | dict(self.parameters)
        return {k: v for k, v in whole.items() if v is not None}

    def _check_parameters(self) -> None:
        given = self.parameters
        if not isinstance(given, Mapping) or not all(isinstance(x, str) for x in given):
            raise UserError(
                f"parameters is {given!r:.80}; give fields and values, as in "
                "parameters={'max_tokens': 200}."
            )
        for name in _OF_THE_REQUEST:
            if name in given:
                raise UserError(
                    f"parameters has `{name}`, which the judge itself sets."
                )

    def __hash__(self):
        """By all fields; the parameters by their text."""
        return hash((self.digest(), self.key, self.concurrency, self.max_calls))


def _completions_of(url: object) -> str:
    """The address of the chat completions."""
    if not isinstance(url, str):
        raise UserError(f"url is {url!r:.80}; it must be an address: url='http://...'.")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    del port  # only whether there is a number
    if parts.username or parts.password:
        raise UserError(
            "url holds a name or password, which records of the run would show (it is "
            "not repeated here). Put it into an environment variable, and name that: "
            "key=VARIABLE."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(
            f"url is {url!r:.80}; it must be an address of http or https, in quotes: "
            "url='http://localhost:8000/v1'."
        )
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path = f"{path or '/v1'}/chat/completions"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
