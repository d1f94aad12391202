"""Servers that end with their test, and an environment without proxies."""

import pytest

from tests.rewards.served.server import Server


@pytest.fixture
def serve(monkeypatch):
    """`say -> Server`."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    servers = []

    def start(say):
        servers.append(Server(say))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
