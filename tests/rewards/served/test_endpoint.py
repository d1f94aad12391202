"""Addresses, keys and proxies of served judges."""

import base64
import logging
from typing import Any

import pytest

from jaxalign.errors import UserError
from jaxalign.rewards.requests import JudgeError
from jaxalign.rewards.served.client import Client
from jaxalign.rewards.served.endpoint import Endpoint
from tests.rewards.served.server import Status

KEY = "sk-Very+Secret/123=="


def endpoint(**settings: Any) -> Endpoint:
    whole: dict[str, Any] = {"url": "http://host", "model": "m"} | settings
    return Endpoint(**whole)


def test_addresses():
    for given, path in {
        "http://host:8000": "http://host:8000/v1/chat/completions",
        "http://host:8000/": "http://host:8000/v1/chat/completions",
        "https://host/v1": "https://host/v1/chat/completions",
        "https://host/openai/v3/": "https://host/openai/v3/chat/completions",
        "http://h/v1/chat/completions": "http://h/v1/chat/completions",
        "https://h/deploy/x?version=2": "https://h/deploy/x/chat/completions?version=2",
    }.items():
        assert Endpoint(url=given, model="m").url == path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "host:8000"}, "an address of http or https"),
        ({"url": "ftp://host"}, "an address of http or https"),
        ({"url": "http://host:port"}, "an address of http or https"),
        ({"url": 7}, "url is 7"),
        ({"url": "http://me:pass@host/v1"}, "holds a name or password"),
        ({"model": ""}, "name the model"),
        ({"key": "NOT_THERE"}, "no such variable"),
        ({"key": KEY}, "name of an environment variable"),
        ({"key": "WITH_BLANK"}, "no header can hold"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"attempts": True}, "attempts is True"),
        ({"max_calls": 1.5}, "max_calls is 1.5"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"backoff": -1}, "backoff is -1"),
        ({"parameters": ["a"]}, "parameters is"),
        ({"parameters": {"model": "x"}}, "judge itself sets"),
    ],
)
def test_what_means_nothing_is_refused(settings, message, monkeypatch):
    monkeypatch.setenv("WITH_BLANK", f"{KEY}\nX-Evil: 1")
    with pytest.raises(UserError, match=message) as caught:
        endpoint(**settings)
    assert KEY not in str(caught.value)
    assert "pass" not in str(caught.value).replace("password", "")


def test_digests_are_of_what_a_reply_depends_on(monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    digest = endpoint().digest("why?")
    same = {"key": "A_KEY", "concurrency": 2, "timeout": 1.0, "attempts": 1}
    assert endpoint(**same, backoff=2, max_calls=3).digest("why?") == digest
    assert endpoint(url="http://host/v1/").digest("why?") == digest
    changes = {"url": "http://other"}, {"model": "n"}, {"parameters": {"top_p": 1}}
    others = {endpoint(**x).digest("why?") for x in changes}
    assert len({*others, digest, endpoint().digest("how?")}) == 5


def test_the_key_is_sent_and_stands_nowhere_else(serve, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("JUDGE_KEY", f" {KEY}\n")

    def tell(text, before):
        if text == "busy" and not before:
            return Status(500, f'{{"error": "no luck, {KEY}"}}')
        if text == "bad":
            return Status(401, f'{{"error": {{"message": "Incorrect key: {KEY}"}}}}')
        return f"Your key is {KEY}. [[7]]"

    server = serve(tell)
    there = Endpoint(url=server.url, model="m", key="JUDGE_KEY", backoff=0.01)
    asked = Client(there)
    asked.kept.move_to(tmp_path)
    with caplog.at_level(logging.DEBUG):
        assert asked(["a", "busy"]) == ["Your key is [key]. [[7]]"] * 2
        with pytest.raises(JudgeError, match=r"Incorrect key: \[key\]") as caught:
            asked(["bad"])
    assert {x.headers["Authorization"] for x in server.seen} == {f"Bearer {KEY}"}
    [file] = (tmp_path / "judges").iterdir()
    assert "no luck, [key]" in caplog.text
    places = file.read_text(), caplog.text, str(caught.value), repr(there)
    assert not any(KEY in x or KEY[:8] in x for x in places)


def test_a_key_is_not_handed_on_to_another_place(serve, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    other = serve(lambda text, before: text)
    there = {"Location": f"{other.url}/chat/completions"}
    server = serve(lambda text, before: Status(302, "", there))
    with pytest.raises(JudgeError, match="status 302"):
        Client(Endpoint(url=server.url, model="m", key="JUDGE_KEY"))(["a"])
    assert not other.seen


def test_requests_go_through_the_proxy_of_the_environment(serve, monkeypatch):
    proxy = serve(lambda text, before: "by the proxy")
    place = proxy.url.removeprefix("http://").removesuffix("/v1")
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@{place}")
    there = Endpoint(url="http://judge.invalid:81/v1", model="m")
    assert Client(there)(["a"]) == ["by the proxy"]
    [seen] = proxy.seen
    assert seen.path == "http://judge.invalid:81/v1/chat/completions"
    assert seen.headers["Host"] == "judge.invalid:81"
    code = base64.b64encode(b"me:p@ss").decode()
    assert seen.headers["Proxy-Authorization"] == f"Basic {code}"
    server = serve(lambda text, before: "by itself")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert Client(Endpoint(url=server.url, model="m"))(["a"]) == ["by itself"]
    assert len(proxy.seen) == 1


def test_a_secure_server_is_asked_for_through_a_tunnel(serve, monkeypatch):
    proxy = serve(lambda text, before: "never")
    monkeypatch.setenv("https_proxy", proxy.url)
    there = Endpoint(url="https://judge.invalid/v1", model="m", attempts=1)
    with pytest.raises(JudgeError, match="Tunnel connection failed: 501"):
        Client(there)(["a"])  # the proxy knows no CONNECT
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(JudgeError, match="none of http"):
        Client(there)(["a"])
