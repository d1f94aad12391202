"""A served judge that is slow, fails, drops, babbles and sets limits."""

import json
import logging
import random
import signal
import threading
import time
from typing import Any

import pytest

from jaxalign.errors import UserError
from jaxalign.rewards.requests import JudgeError
from jaxalign.rewards.served import client as module
from jaxalign.rewards.served.attempt import pause_before
from jaxalign.rewards.served.client import Client
from jaxalign.rewards.served.endpoint import Endpoint
from tests.rewards.served.server import DROP, Raw, Status

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


def client(server, **settings: Any) -> Client:
    whole: dict[str, Any] = {"url": server.url, "model": "m", "backoff": 0.01}
    whole |= {"timeout": 5.0, **settings}
    return Client(Endpoint(**whole))


def echo(text, before):
    return f"re: {text}"


def test_replies_stand_where_their_requests_stood_and_equal_ones_are_sent_once(serve):
    server = serve(echo)
    asked = client(server)
    assert asked(["b", "a", "b"]) == ["re: b", "re: a", "re: b"]
    assert asked(["a", "c"]) == ["re: a", "re: c"]
    assert sorted(x.text for x in server.seen) == ["a", "b", "c"]
    assert asked([]) == []
    first = server.seen[0]
    assert first.path == "/v1/chat/completions"
    assert first.headers["Content-Type"] == "application/json"
    assert "Authorization" not in first.headers
    assert {k: v for k, v in first.body.items() if k != "messages"} == {
        "model": "m",
        "temperature": 0,
        "max_tokens": 1024,
    }


def test_parameters_are_sent_and_null_takes_ours_away(serve):
    server = serve(echo)
    client(server, parameters={"max_tokens": None, "seed": 3})(["a"])
    assert server.seen[0].body.keys() == {"model", "messages", "temperature", "seed"}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_so_many_are_under_way_and_no_more(serve, concurrency):
    met = threading.Barrier(concurrency, timeout=5)

    def slow(text, before):
        met.wait()  # only where so many are there at once does anybody get a reply
        return text

    server = serve(slow)
    client(server, concurrency=concurrency)([str(i) for i in range(6)])
    assert server.most_at_a_time == concurrency


@pytest.mark.parametrize(
    "bad",
    [
        *(Status(code) for code in (408, 429, 500, 502, 503, 529)),
        DROP,
        Raw([b"HTTP/1.1 200 OK\r\nContent-Le"]),
        Raw([HEAD, b'{"choices": ']),  # and the connection ends
        Raw([b"what is this?\r\n\r\n"]),
        Status(200, "<html>the gateway says hello</html>"),
        Status(200, '{"choices": []}'),
        Status(200, '{"choices": [{"message": {"content": 7}}]}'),
    ],
)
def test_what_passes_is_asked_again(serve, bad):
    server = serve(lambda text, before: bad if before < 2 else "[[7]]")
    assert client(server)(["a"]) == ["[[7]]"]
    assert len(server.seen) == 3


def test_nothing_said_and_parts_are_replies(serve):
    parts = [{"type": "text", "text": "[["}, {"type": "text", "text": "7]]"}]
    said = {"a": None, "b": parts}
    server = serve(lambda text, before: said[text])
    assert client(server)(["a", "b"]) == ["", "[[7]]"]


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_request_that_is_refused_is_alone_in_that(serve, code):
    refused = Status(code, '{"error": {"message": "too long for me"}}')
    server = serve(lambda text, before: refused if text == "b" else text)
    asked = client(server)
    with pytest.raises(JudgeError, match=f"1 of 3 .* status {code}: too long for me"):
        asked(["a", "b", "c"])
    assert sorted(x.text for x in server.seen) == ["a", "b", "c"]
    assert asked(["c", "a"]) == ["c", "a"]
    assert len(server.seen) == 3


@pytest.mark.parametrize("concurrency", [1, 8])
def test_all_of_a_long_prompt_may_be_refused_and_the_others_are_asked(
    serve, concurrency
):
    refused = Status(400, "too long")
    server = serve(lambda text, before: refused if text < "08" else text)
    asked = client(server, concurrency=concurrency)
    requests = [f"{i:02}" for i in range(64)]
    with pytest.raises(JudgeError, match="8 of 64"):
        asked(requests)
    assert asked(requests[8:]) == requests[8:]
    assert asked.where_possible(requests) == [""] * 8 + requests[8:]
    assert len(server.seen) == 64
    server.say = lambda text, before: Status(401)
    with pytest.raises(JudgeError, match="2 of 2 .* status 401"):
        asked.where_possible(["00", "new"])


def test_a_server_that_refuses_all_is_not_asked_for_ever(serve):
    server = serve(lambda text, before: Status(422))
    with pytest.raises(JudgeError, match="200 of 200"):
        client(server, concurrency=1)([f"{i}" for i in range(200)])
    assert len(server.seen) == module.MOST_REFUSED


def test_a_date_beyond_all_calendars_says_nothing(serve):
    when = {"Retry-After": "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"}
    server = serve(lambda text, before: text if before else Status(429, "", when))
    assert client(server)(["a"]) == ["a"]


def test_a_name_that_no_host_can_have_is_a_failure():
    asked = Client(Endpoint(url="http://a..b/v1", model="m", attempts=1))
    with pytest.raises(JudgeError, match="no host of that name"):
        asked(["a"])


def test_a_key_for_a_server_that_wants_none_stays_in_the_reply(serve, monkeypatch):
    monkeypatch.setenv("NO_KEY", "0")
    server = serve(lambda text, before: "[[10]]")
    assert client(server, key="NO_KEY")(["a"]) == ["[[10]]"]
    assert server.seen[0].headers["Authorization"] == "Bearer 0"


def test_replies_that_cannot_be_read_are_not_written_over(serve, tmp_path):
    asked = client(serve(echo))
    file = tmp_path / "judges" / f"{asked.endpoint.digest()[:16]}.jsonl"
    file.mkdir(parents=True)  # as unreadable as a broken disk
    with pytest.raises(UserError, match=f"{file} cannot be read"):
        asked.kept.move_to(tmp_path)
    assert file.is_dir()


@pytest.mark.parametrize("code", [301, 307, 401, 403, 404, 405])
def test_what_every_request_would_meet_ends_the_asking(serve, code):
    to = {"Location": "http://127.0.0.1:9/"}
    server = serve(lambda text, before: Status(code, "", to))
    with pytest.raises(JudgeError, match=f"9 of 9 .* status {code}"):
        client(server, concurrency=1)([str(i) for i in range(9)])
    assert len(server.seen) == 1


def test_a_server_that_is_down_is_not_asked_for_each_request(serve, monkeypatch):
    server = serve(lambda text, before: Status(503))
    asked = client(server, attempts=2, concurrency=1)
    requests = [str(i) for i in range(50)]
    with pytest.raises(JudgeError, match="50 of 50"):
        asked(requests)
    assert len(server.seen) == 2 * module.MOST_BROKEN
    with pytest.raises(JudgeError, match="1 of 1 .* status 503"):
        asked(["new"])  # as a reward that is called again in pieces
    assert len(server.seen) == 2 * module.MOST_BROKEN
    monkeypatch.setattr(module, "REMEMBERED", 0.0)
    server.say = echo
    assert asked(requests) == [f"re: {x}" for x in requests]


def test_where_nobody_listens_it_says_so(serve):
    server = serve(echo)
    server.close()
    with pytest.raises(JudgeError, match="Connection refused"):
        client(server, attempts=2)(["a"])


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed_by_all(serve, as_date):
    def busy(text, before):
        if text == "first" and not before:
            when = "1"
            if as_date:
                at = time.gmtime(time.time() + 2)  # whole seconds: at least one
                when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", at)
            return Status(429, "{}", {"Retry-After": when})
        return text

    server = serve(busy)
    client(server, concurrency=1)(["first", "second"])
    told = server.seen[0].time
    assert all(x.time - told >= 0.95 for x in server.seen[1:])
    assert len(server.seen) == 3


def test_a_server_that_asks_to_wait_for_hours_is_not_waited_for(serve):
    server = serve(lambda text, before: Status(429, "", {"Retry-After": "7200"}))
    with pytest.raises(JudgeError, match="asks to wait 7200 seconds"):
        client(server)(["a", "b"])


@pytest.mark.parametrize(
    "said",
    [
        Raw([b"x"], pause=30.0),
        Raw([HEAD, *[b" "] * 900], pause=0.05),  # each packet well within the time
        Raw([b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n"] * 90], pause=0.05),
        Raw([b"HTTP/1.0 200 OK\r\n\r\n", *[b" "] * 900], pause=0.05),
    ],
)
def test_the_time_is_that_of_the_whole_call(serve, said):
    server = serve(lambda text, before: said)
    start = time.monotonic()
    with pytest.raises(JudgeError, match="no reply within 0.3 seconds"):
        client(server, timeout=0.3, attempts=2)(["a"])
    assert 0.6 <= time.monotonic() - start < 3
    assert len(server.seen) == 2


def test_pauses_double_up_to_a_minute_and_are_not_all_alike():
    rng = random.Random(0)
    for number, longest in zip(range(1, 9), (2, 4, 8, 16, 32, 60, 60, 60), strict=True):
        drawn = [pause_before(number, 2.0, rng) for _ in range(200)]
        assert longest / 2 <= min(drawn) < 0.6 * longest
        assert 0.9 * longest < max(drawn) <= longest


def test_the_random_numbers_of_a_run_are_not_touched(serve):
    server = serve(lambda text, before: text if before else Status(500))
    random.seed(3)
    state = random.getstate()
    client(server)(["a"])
    assert random.getstate() == state


def test_the_limit_of_calls_counts_repeats_and_is_told(serve, caplog, tmp_path):
    server = serve(lambda text, before: text if before else Status(500))
    asked = client(server, max_calls=5, concurrency=1)
    asked.kept.move_to(tmp_path)
    with (
        caplog.at_level(logging.WARNING, "jaxalign"),
        pytest.raises(JudgeError, match="1 of 3 .* max_calls=5 is reached"),
    ):
        asked(["a", "b", "c"])
    assert len(server.seen) == 5
    assert sum("max_calls=5 is reached" in x for x in caplog.messages) == 1
    assert asked(["a", "b"]) == ["a", "b"]
    again = client(server, max_calls=3, concurrency=1)
    again.kept.move_to(tmp_path)  # a resumed run has had two replies
    assert again(["c"]) == ["c"]
    with pytest.raises(JudgeError, match="max_calls=3"):
        again(["d"])


def test_a_resumed_run_asks_nothing_twice(serve, tmp_path):
    server = serve(echo)
    first = client(server)
    first(["before there is a folder"])
    first.kept.move_to(tmp_path)
    first(["a", "b\n\u2028"])
    [file] = (tmp_path / "judges").iterdir()
    whole = file.read_text()
    file.write_text(whole + '{"digest": "ab", "re')  # killed as it wrote
    asked = len(server.seen)
    again = client(server, concurrency=2, attempts=1)
    again.kept.move_to(tmp_path)
    requests = ["before there is a folder", "a", "b\n\u2028"]
    assert again(requests) == [f"re: {x}" for x in requests]
    assert len(server.seen) == asked
    again(["c"])
    lines = [json.loads(x) for x in file.read_text().splitlines()]
    assert lines[0]["model"] == "m"
    assert lines[0]["url"].startswith(server.url)
    assert len(lines) == 5
    for changed in ({"parameters": {"seed": 1}}, {"model": "n"}):
        other = client(server, **changed)
        other.kept.move_to(tmp_path)
        other(["a"])
    assert len(server.seen) == asked + 3


def test_what_came_before_a_failure_is_kept_on_disk(serve, tmp_path):
    server = serve(lambda text, before: Status(401) if text == "z" else text)
    asked = client(server, concurrency=1)
    asked.kept.move_to(tmp_path)
    with pytest.raises(JudgeError):
        asked(["a", "b", "z", "c"])
    server.say = echo
    again = client(server)
    again.kept.move_to(tmp_path)
    assert again(["a", "b", "z", "c"]) == ["a", "b", "re: z", "re: c"]


def test_a_disk_that_fails_is_the_error_and_not_silence(serve, tmp_path):
    server = serve(echo)
    asked = client(server)
    asked.kept.move_to(tmp_path)
    [file] = (tmp_path / "judges").iterdir()
    file.unlink()
    file.mkdir()
    with pytest.raises(IsADirectoryError):
        asked(["a"])


@pytest.mark.parametrize("why", ["slow", "waits to ask again"])
def test_a_signal_ends_the_wait_at_once(serve, why):
    class Stopped(BaseException):
        pass

    def stop(*_):
        raise Stopped

    busy = Status(429, "{}", {"Retry-After": "60"})
    server = serve(lambda text, before: Raw([b"x"], 60) if why == "slow" else busy)
    before = signal.signal(signal.SIGALRM, stop)
    start = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(Stopped):
            client(server, timeout=60.0)(["a", "b"])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - start < 2
    time.sleep(0.1)
    asked = len(server.seen)
    time.sleep(0.3)
    assert len(server.seen) == asked <= 2
