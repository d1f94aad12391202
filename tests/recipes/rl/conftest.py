"""Prompts for a tiny model, and a reward that it can learn in a few iterations."""

import json

import pytest

REWARD = '''
def even(completions):
    """The share of even token ids."""
    return [sum(i % 2 == 0 for i in c.ids) / len(c.ids) for c in completions]


def same(completions):
    """Nothing to learn from; integers."""
    return [1 for _ in completions]
'''


@pytest.fixture(scope="session")
def prompts(tmp_path_factory):
    """Sixteen prompts of unequal length."""
    file = tmp_path_factory.mktemp("rl") / "prompts.jsonl"
    words = ["ada", "bob", "cat", "dog"]
    rows = [{"prompt": " ".join(words[: 1 + i % 4]) + f" {i}"} for i in range(16)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.fixture(scope="session")
def reward_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("rewards") / "mine.py"
    file.write_text(REWARD)
    return file
