"""What is written behind `--reward`: values, weights, and paths with signs in them."""

import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import read_reward


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(("true", True), ("True", True), ("FALSE", False), ("false", False)),
        *(("null", None), ("None", None), ("none", None)),
        *(("3", 3), ("-0.5", -0.5), ("1e-5", 1e-5), (".5", 0.5), ("1_000", 1000)),
        *(("gold", "gold"), ("'true'", "true"), ('"3"', "3"), (r"'\d+\n'", r"\d+\n")),
        *(("[a, false, 'b c', 1]", ["a", False, "b c", 1]), ("(1, x)", (1, "x"))),
        *(("{'a': [true], b: 1}", {"a": [True], "b": 1}), ("''", "")),
    ],
)
def test_values(written, value):
    got = read_reward(f"f(x={written}, y=1)=2").parameters
    assert got == {"x": value, "y": 1}
    assert type(got["x"]) is type(value)


@pytest.mark.parametrize(
    "written", ["open('x')", "1j", "b'x'", "{1, 2}", "a.b", "x=1", "", "{**a}", "1 +"]
)
def test_what_is_no_value_is_refused(written):
    with pytest.raises(UserError, match="are not understood"):
        read_reward(f"f(x={written})")


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/lr=1e-5,beta=0.1/export", "runs/a(b)/export", "runs/b=0.1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "runs/b").mkdir()
    (tmp_path / "runs/k=2").mkdir()
    for file in ("runs/k=2/score.py", "runs/k=2/a=b.py", "plain.py"):
        (tmp_path / file).write_text("")


@pytest.mark.parametrize(
    ("text", "name", "parameters", "weight"),
    [
        ("runs/lr=1e-5,beta=0.1/export", None, {}, 1.0),
        ("runs/lr=1e-5,beta=0.1/export=0.5", "runs/lr=1e-5,beta=0.1/export", {}, 0.5),
        ("runs/a(b)/export", None, {}, 1.0),
        ("runs/a(b)/export = -2", "runs/a(b)/export", {}, -2.0),
        ("runs/b=0.1", None, {}, 1.0),  # though there is a folder runs/b as well
        ("./runs/b=0.1=3", "./runs/b=0.1", {}, 3.0),
        ("runs/b=0.2", "runs/b", {}, 0.2),
        ("runs/k=2/score.py:f", None, {}, 1.0),
        ("runs/k=2/score.py:f(x=true)=3", "runs/k=2/score.py:f", {"x": True}, 3.0),
        ("runs/k=2/a=b.py:f", None, {}, 1.0),
        ("runs/k=2/not_there.py:f=2", "runs/k=2/not_there.py:f", {}, 2.0),
        ("plain.py:f(file='x=1.py:g')=2", "plain.py:f", {"file": "x=1.py:g"}, 2.0),
        ("judge(model='runs/b=0.1', template='a.py:b')", "judge", None, 1.0),
    ],
)
def test_a_path_that_exists_is_one(text, name, parameters, weight, sweep):
    got = read_reward(text)
    assert (got.name, got.weight) == (name or text, weight)
    if parameters is not None:
        assert got.parameters == parameters


def test_a_path_that_does_not_exist_is_a_mistake(sweep):
    with pytest.raises(UserError, match="weight '1e-4/export' is no number"):
        read_reward("runs/lr=1e-4/export")
