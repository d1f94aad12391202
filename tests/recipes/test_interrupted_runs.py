"""Small forms of `experiments/reliability`: runs stopped at random, and killed."""

import os
import random

import pytest

from experiments.reliability import commands, killed, moments, watched
from experiments.reliability.watched import Phases, Span, half_written


def test_phases_are_read_from_what_a_run_tells():
    phases = Phases()
    phases.read(
        [
            "1.0 =loading",
            "2.0 =reference",
            "3.0 =loading",
            "3.5 =loading",
            "4.0 =data",
            "4.1 =step",
            "4.2 +saving",
            "5.0 =eval",
            "5.5 -saving",
            "6.0 =loading",
        ]
    )
    assert phases.of("loading") == [Span("loading", 1, 2), Span("loading", 3, 4)]
    assert phases.of("save") == [Span("save", 4.2, 5.5)]
    assert phases.of("evaluation") == [Span("evaluation", 5, 6)]
    assert phases.of("finishing") == [Span("finishing", 6, None)]
    assert phases.at(4.5) == {"step", "save"}
    assert phases.at(7) == {"finishing"}
    assert phases.wait("save", 0, lambda: False) == Span("save", 4.2, 5.5)
    assert phases.wait("save", 1, lambda: False) is None


def test_moments_are_drawn_from_all_of_a_phase():
    spans = [Span("step", 0, 1), Span("save", 1, 9), Span("step", 9, 12)]
    rng = random.Random(0)
    drawn = [moments.draw("step", spans, rng) for _ in range(400)]
    assert {n for n, _ in drawn} == {0, 1}
    assert 0.6 < sum(n for n, _ in drawn) / 400 < 0.9
    assert all(0 <= after <= (1, 3)[n] for n, after in drawn)


def test_what_is_half_written_is_found(tmp_path):
    assert half_written(tmp_path / "none") == []
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    (tmp_path / "checkpoints" / "2.tmp").mkdir(parents=True)
    (tmp_path / "checkpoints" / "1").mkdir()
    (tmp_path / "export").mkdir()
    found = half_written(tmp_path)
    assert len(found) == 5
    assert "checkpoint 1" in found


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits(tiny_model, tmp_path):
    """A moment in each of three phases; how quickly is for a machine at rest to say."""
    command = commands.dpo(tiny_model, tmp_path)
    straight = moments.leave_alone(command, tmp_path, tmp_path / "compiled")
    for phase in ("loading", "reference", "evaluation"):
        seed = int.from_bytes(os.urandom(4))
        rng = random.Random(seed)
        found = moments.interrupt(phase, straight, tmp_path / phase, rng)
        assert found.exit_code == 75, (seed, found)
        assert found.seconds < 60, (seed, found)
        assert not found.half_written, (seed, found)
        assert found.equal, (seed, found)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [False, True], ids=["SIGTERM", "SIGKILL"])
def test_a_job_that_is_killed_again_and_again_ends(at_once, tiny_model, tmp_path):
    command, cache = killed.job(tiny_model, tmp_path, 6), tmp_path / "compiled"
    killed.left_alone(command, tmp_path / "first", cache)
    alone = killed.left_alone(command, tmp_path / "straight", cache)
    found = killed.killed(
        command,
        tmp_path / "job",
        cache,
        every=1.5 * alone["seconds"],
        delay=alone["seconds"] / 2,
        at_once=at_once,
    )
    assert found["exit codes"][-1] == 0
    assert found["starts"] > 1
    assert set(found["exit codes"][:-1]) == {-9 if at_once else 75}
    same = watched.result(tmp_path / "straight")
    assert watched.result(tmp_path / "job") == same
