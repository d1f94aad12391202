"""One POST with the standard library, within a time, through the environment's proxy.

Not `urllib.request`, which hands a key on to wherever a server redirects, and whose
time limit is that of each packet: a server that drips would be waited for without end.
"""

import base64
import contextlib
import http.client
import socket
import threading
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

LARGEST = 8 << 20
"""Bytes of a reply that are read."""


class Response(NamedTuple):
    """What a server sent.

    Attributes:
      status: Of HTTP.
      retry_after: That header, or None.
      body: At most `LARGEST` bytes and one.
    """

    status: int
    retry_after: str | None
    body: bytes


class _Route(NamedTuple):
    """How a server is reached."""

    connection: http.client.HTTPConnection
    target: str
    headers: dict[str, str]


def post(url: str, headers: dict[str, str], body: bytes, timeout: float) -> Response:
    """Sends a request and reads the response.

    Args:
      url: Of http or https.
      headers: Besides those that HTTP needs.
      body: What is sent.
      timeout: Seconds that all of it may take; only looking up a name has its own.

    Raises:
      TimeoutError: They are over.
      OSError: There is no connection, or it broke.
      http.client.HTTPException: What came is no HTTP.
    """
    route, late = _route(urlsplit(url), timeout), threading.Event()
    connection, open_socket = route.connection, []

    def cut():
        late.set()
        for x in open_socket:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(x, socket.SHUT_RDWR)  # wakes whoever reads

    timer = threading.Timer(timeout, cut)
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        open_socket.append(connection.sock)
        connection.request("POST", route.target, body, headers | route.headers)
        response = connection.getresponse()
        data = response.read(LARGEST + 1)
        if late.is_set():  # a cut can look like the end of the body
            raise TimeoutError
        return Response(response.status, response.getheader("Retry-After"), data)
    except Exception as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise TimeoutError(f"no reply within {timeout:g} seconds") from None
        raise
    finally:
        timer.cancel()
        connection.close()


def _route(parts: SplitResult, timeout: float) -> _Route:
    """To the server itself, or through the proxy that the environment names."""
    assert parts.hostname is not None
    path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    secure = parts.scheme == "https"
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return _Route(_to(parts.hostname, parts.port, secure, timeout), path, {})
    via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if via.scheme not in ("http", "https") or not via.hostname:
        raise OSError(
            f"the environment's proxy for {parts.scheme} is none of http, and no other "
            "is known"
        )
    passed = {}
    if via.username:
        pair = f"{unquote(via.username)}:{unquote(via.password or '')}"
        code = base64.b64encode(pair.encode()).decode()
        passed = {"Proxy-Authorization": f"Basic {code}"}
    if not secure:
        connection = _to(via.hostname, via.port, via.scheme == "https", timeout)
        return _Route(connection, urlunsplit(parts), passed)
    connection = _to(via.hostname, via.port or 80, True, timeout)
    connection.set_tunnel(parts.hostname, parts.port or 443, passed)
    return _Route(connection, path, {})


def _to(host: str, port: int | None, secure: bool, timeout: float):
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    return kind(host, port, timeout=timeout)
