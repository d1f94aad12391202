"""Rewards from the text of the command line, and the user's own functions."""

import sys

import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import (
    Completion,
    describe_rewards,
    load_rewards,
    parse_reward,
    score,
)
from jaxalign.rewards.builtin import BUILT_IN

OWN = """
def short(completions, *, most=3):
    return [float(len(c.completion) <= most) for c in completions]

def trl(prompts, completions, gold, **kwargs):
    assert isinstance(completions, list)
    return [float(p == "?" and c == g) for p, c, g in zip(prompts, completions, gold)]

def trl_chat(completions, **kwargs):
    return [float(c[0]["role"] == "assistant") + len(p) + ("tool" in p[0])
            for p, c in zip(kwargs["prompts"], completions)]

async def trl_async(completions, gold):
    return [float(c == g) if g is not None else None for c, g in zip(completions, gold)]

number = 3
"""
ROWS = [
    Completion("?", "four", columns={"gold": "four"}),
    Completion("?", "5", columns={"gold": None}),
]


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "my rewards.py"
    file.write_text(OWN)
    return file


@pytest.mark.parametrize(
    ("text", "name", "weight", "fallback", "limit"),
    [
        ("exact_match", "exact_match", 1.0, None, 60.0),
        (" exact_match(column = gold) = -0.5 ", "exact_match", -0.5, None, 60.0),
        ("stopped=1e-2", "stopped", 0.01, None, 60.0),
        ("stopped(fallback=-1, time_limit=5)=2", "stopped", 2.0, -1, 5),
        (
            r"matches_pattern(pattern='(a|b)=1, \d')=3",
            "matches_pattern",
            3.0,
            None,
            60.0,
        ),
    ],
)
def test_the_form(text, name, weight, fallback, limit):
    got = parse_reward(text)
    assert (got.name, got.weight, got.fallback, got.time_limit) == (
        name, weight, fallback, limit,
    )  # fmt: skip


def test_parameters_reach_the_function():
    got = parse_reward("exact_match(column=gold)").function(ROWS)
    assert got == [1.0, None]
    pattern = parse_reward(r"matches_pattern(pattern='(fo|b)ur\Z', where=match)")
    assert pattern.function(ROWS) == [1.0, 0.0]
    word = parse_reward(r"matches_pattern(pattern='.*\bour|f\w+r')")
    assert word.function(ROWS) == [1.0, 0.0]
    refusals = parse_reward("abstention(refusals=['five', '5'], column=gold)")
    assert refusals.function(ROWS) == [1.0, 0.0]


def test_ones_own_function_from_a_file(own):
    assert score([parse_reward(f"{own}:short")], ROWS).total.tolist() == [0, 1]
    reward = parse_reward(f"{own}:short(most=4)=0.5")
    assert (reward.name, score([reward], ROWS).total.tolist()) == ("short", [0.5, 0.5])


def test_ones_own_function_from_a_module(own, monkeypatch):
    own.rename(own.with_name("my_rewards_module.py"))
    monkeypatch.syspath_prepend(own.parent)
    reward = parse_reward("my_rewards_module:short")
    assert score([reward], ROWS).total.tolist() == [0, 1]
    assert "my_rewards_module" not in sys.modules


def test_functions_in_the_form_of_trl(own):
    rewards = load_rewards([f"{own}:trl", f"{own}:trl_async"])
    scores = score(rewards, ROWS)
    assert scores.values["trl"].tolist() == [1, 0]
    assert scores.values["trl_async"].tolist()[0] == 1
    assert scores.total.tolist() == [2, 0]
    chat = Completion("<s>hi", "ho", messages=[{"role": "user", "content": "hi"}] * 2)
    assert score([parse_reward(f"{own}:trl_chat")], [chat]).total.tolist() == [3]


def test_equal_names_get_numbers():
    names = [x.name for x in load_rewards(["stopped", "stopped=2", "stopped=3"])]
    assert names == ["stopped", "stopped_2", "stopped_3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "exact_macth",
            "there is no reward `exact_macth`.* Did you mean `exact_match`",
        ),
        ("stopped=much", "the weight 'much' is no number"),
        ("stopped=nan", "weight is nan, not a finite number"),
        ("", "is not understood. Write a name"),
        ("stopped(", "is not understood"),
        ("stopped(1)", r"the parameters \(1\) are not understood"),
        ("stopped(**x)", r"parameters \(\*\*x\) are not understood"),
        ("exact_match(column=open('x'))", "are not understood"),
        ("exact_match(colum=gold)", "no parameter `colum`; it takes column, fallback"),
        ("matches_pattern", "needs the parameter `pattern`"),
        ("overlong_penalty(max_length=2)", r"cache \(4096\) must be above 0"),
        ("abstention(wrong=2)", r"correct \(1\) must be above wrong \(2\)"),
        ("stopped(time_limit=0)", "time_limit is 0 seconds"),
        ("stopped(fallback=low)", "fallback is 'low', not a finite number"),
        ("nowhere.py:f", "there is no file nowhere.py"),
        ("no_such_module_here:f", "raised ModuleNotFoundError"),
        ("{own}:shrot", "has no function `shrot`. Did you mean `short`"),
        ("{own}:number", "has no function `number`. It has short, trl"),
        ("{own}:short(least=4)", "no parameter `least`; it takes most, fallback"),
        ("{bad}:f", r"loading .*bad.py raised ZeroDivisionError: .*bad.py:2\)"),
        ("{exits}:f", "raised SystemExit"),
    ],
)
def test_mistakes_are_named(text, message, own, tmp_path):
    bad, exits = tmp_path / "bad.py", tmp_path / "exits.py"
    bad.write_text("x = 1\n1 / 0\n")
    exits.write_text("raise SystemExit(0)\n")
    for name, file in {"own": own, "bad": bad, "exits": exits}.items():
        text = text.replace(f"{{{name}}}", str(file))
    with pytest.raises(UserError, match=message) as caught:
        parse_reward(text)
    assert "\n" not in str(caught.value)


def test_the_help_text_lists_every_built_in_with_its_parameters():
    text = describe_rewards()
    for name in BUILT_IN:
        assert f"  {name}(" in text
    assert "overlong_penalty(max_length=20480, cache=4096)" in text
    assert "matches_pattern(pattern, where='fullmatch')" in text
