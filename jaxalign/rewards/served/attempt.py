"""One attempt at a request: the reply, or what went wrong and whether to try again."""

import datetime
import email.utils
import http.client
import json
import random
import ssl
from typing import Any, Literal, NamedTuple, TypeAlias

from jaxalign.rewards.served.endpoint import Endpoint
from jaxalign.rewards.served.post import LARGEST, Response, post
from jaxalign.rewards.values import in_a_line

Whose: TypeAlias = Literal["passing", "request", "endpoint"]
_LONGEST_PAUSE = 60.0
_PASSING = (408, 409, 425, 429)
_OF_THE_REQUEST = (400, 413, 422)
_SHORTEST_SECRET = 8


class Failure(NamedTuple):
    """An attempt that failed.

    Attributes:
      what: In words, without the key.
      whose: `passing`: another attempt may help; `request`: this request will always
        fail; `endpoint`: every one will.
      wait: Seconds that the server asks to wait before the next attempt, or None.
    """

    what: str
    whose: Whose
    wait: float | None = None


def attempt(endpoint: Endpoint, request: str) -> str | Failure:
    """Asks once."""
    secret = endpoint.secret()
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    try:
        got = post(endpoint.url, headers, endpoint.body(request), endpoint.timeout)
    except ssl.SSLCertVerificationError as error:
        return Failure(f"its certificate is not trusted ({error.reason})", "endpoint")
    except UnicodeError as error:
        return Failure(f"there is no host of that name ({error})", "endpoint")
    except (OSError, http.client.HTTPException) as error:
        text = str(error) or type(error).__name__
        return Failure(_told(text, secret), "passing")
    if got.status == 200:
        reply = _reply(got.body)
        if reply is None:
            return Failure("it sent 200 with what is no chat completion", "passing")
        return _without(reply, secret)
    return _failure(got, secret)


def pause_before(number: int, backoff: float, rng: random.Random) -> float:
    """Seconds before the attempt after `number` failed ones.

    They double up to a minute, and are drawn from the upper half, so that requests that
    failed together do not come back together.

    >>> [pause_before(n, 2.0, random.Random(0)) <= 2.0 * 2**n for n in range(3)]
    [True, True, True]
    """
    longest = min(backoff * 2.0 ** min(number - 1, 30), _LONGEST_PAUSE)
    return longest * rng.uniform(0.5, 1.0)


def _failure(got: Response, secret: str | None) -> Failure:
    said = in_a_line(_message(got.body), 200)
    what = _told(f"status {got.status}{said and ': ' + said}", secret)
    if got.status in _PASSING or got.status >= 500:
        return Failure(what, "passing", _seconds(got.retry_after))
    return Failure(what, "request" if got.status in _OF_THE_REQUEST else "endpoint")


def _reply(body: bytes) -> str | None:
    """The text of a chat completion; empty where the model said nothing."""
    if len(body) > LARGEST:
        return None
    try:
        content: Any = json.loads(body)["choices"][0]["message"].get("content")
        if isinstance(content, list):  # parts, some of them text
            content = "".join(x.get("text") or "" for x in content)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return content if isinstance(content, str) else "" if content is None else None


def _message(body: bytes) -> str:
    """What a server says of an error, in whichever of the usual forms."""
    text = body[:4000].decode(errors="replace")
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return text
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    return found if isinstance(found, str) else text


def _seconds(retry_after: str | None) -> float | None:
    """Of that header: a number, or a date of HTTP."""
    if retry_after is None:
        return None
    try:
        return max(float(retry_after), 0.0)
    except ValueError:
        pass
    try:
        when = email.utils.parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    return max((when - datetime.datetime.now(datetime.UTC)).total_seconds(), 0.0)


def _told(text: str, secret: str | None) -> str:
    return in_a_line(_without(text, secret), 300)


def _without(text: str, secret: str | None) -> str:
    """The text; a server that repeats the key is not quoted with it."""
    # A shorter one is a word for a server that wants none, such as 0, and in any text.
    if secret is None or len(secret) < _SHORTEST_SECRET:
        return text
    return text.replace(secret, "[key]")
