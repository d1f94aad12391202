"""A user's reward runs as if it were alone in a program of its own."""

import dataclasses
import datetime
import decimal
import os
import time

import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import Completion, score

ROWS = [
    Completion("?", text, index=i, columns={"answers": ["x"], "gold": "b"})
    for i, text in enumerate(["a", "b", "ccc"])
]


def values(reward, rows=None):
    return score([reward], ROWS if rows is None else rows).total.tolist()


def test_signals_work(load):
    assert values(load("alarm")) == [1.0] * 3


def test_there_is_one_event_loop_for_all_calls(load):
    """A semaphore of the module belongs to the loop that it was first used in."""
    reward, which = load("contended"), load("which_loop")
    for _ in range(3):
        assert values(reward) == [1.0, 1.0, 3.0]
    assert len({x for _ in range(2) for x in values(which)}) == 1


def test_what_a_module_remembers_stays(load):
    reward = load("counts_calls")
    assert [values(reward)[0] for _ in range(3)] == [1.0, 2.0, 3.0]


def test_processes_can_be_started(load):
    assert values(load("in_a_pool")) == [1.0, 1.0, 3.0]


def test_a_dataclass_a_neighbour_and_a_package_of_the_current_folder(load):
    assert values(load("dataclass_and_neighbours")) == [3.5] * 3
    assert values(load("own_name"), ROWS[:1]) == [1.0]


def test_it_has_the_main_thread_to_itself_and_no_accelerator(load):
    assert values(load("main_thread_without_jax")) == [1.0] * 3


def test_synchronous_code_may_run_a_loop_and_close_the_one_it_finds(load):
    for _ in range(2):
        assert values(load("runs_a_loop")) == [2.0] * 3
        assert values(load("closes_the_loop")) == [3.0] * 3
        assert values(load("which_loop"))


def test_what_it_changes_stays_with_it(load):
    shared = {"answers": ["x"]}
    rows = [dataclasses.replace(x, columns=shared) for x in ROWS]
    for _ in range(2):
        assert values(load("changes_its_rows"), rows) == [2.0] * 3
    assert shared == {"answers": ["x"]}
    here = os.getcwd()
    assert values(load("goes_elsewhere")) == [1.0] * 3
    assert os.getcwd() == here


def test_prints_are_found(load, tmp_path, capfd):
    reward = load("prints")
    printed = score([reward], ROWS).printed["prints"]
    for line in ("said é \\ud800", "by a child", "to the other"):
        assert line in printed.splitlines()
    log = tmp_path / "rewards.log"
    log.write_text("of an earlier start\n")
    reward.function.process.log_to(log)
    again = score([reward], ROWS)
    text = log.read_bytes()
    assert text.startswith(b"of an earlier start\n")
    assert text.count(b"by a child") == 2
    assert b"\xff\x00\n" in text
    assert again.printed["prints"].count("by a child") == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "columns",
    [
        {"text": "é\ud800\n", "none": None, "yes": True, "large": 10**30, "f": 0.1},
        {"nan": float("inf"), "nested": [{"a": [1, {"b": ()}]}], "$x": {"$y": [1]}},
        {"tuple": (1, ("a",)), "keys": {1: "a", (2, 3): b"\xff"}, "bytes": b"\x00"},
        {"array": np.arange(6.0).reshape(2, 3), "bool": np.array([True])},
        {"when": datetime.datetime(2020, 1, 2, 3), "day": datetime.date(2020, 1, 2)},
        {"long": datetime.timedelta(1, 2, 3), "price": decimal.Decimal("0.10")},
    ],
)
def test_columns_arrive_as_they_are(columns, load):
    """The other side compares their text with ours."""
    row = Completion("?", repr(columns), columns=columns)
    assert values(load("of_types"), [row]) == [1.0]


def test_a_column_that_is_no_plain_value_is_refused_by_name(load):
    row = Completion("?", "!", columns={"image": object()}, index=7)
    with pytest.raises(UserError, match="row 7: the column `image` holds object"):
        score([load("of_types")], [row])


def test_forks_and_threads_that_stay_do_no_harm(load):
    for name in ("forks", "threads", "forks"):
        assert values(load(name)) == [1.0] * 3


def test_the_number_of_the_iteration_is_there_for_those_who_ask(load):
    reward = load("with_step(scale=10)")
    assert values(reward) == [-1.0] * 3
    rows = [dataclasses.replace(x, step=7) for x in ROWS]
    assert values(reward, rows) == [70.0] * 3
    assert values(load("with_step(step=3)"), rows) == [3.0] * 3


def test_columns_and_parameters_by_name(load):
    rows = [dataclasses.replace(x, step=2) for x in ROWS]
    assert values(load("with_column"), rows) == [210.0, 211.0, 210.0]
    assert values(load("with_column(strict=false, step=0)"), rows) == [0.0, 1.0, 0.0]
    # A parameter stands in the place of the column.
    assert values(load("with_column(gold=[a, b, c], step=0)"), rows) == [11, 11, 10]


def test_a_million_ids_come_across(load):
    rows = [dataclasses.replace(ROWS[0], ids=np.arange(2**18)) for _ in range(4)]
    before = time.monotonic()
    assert values(load("threads"), rows) == [1.0] * 4
    assert time.monotonic() - before < 60
