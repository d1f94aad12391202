"""`jaxalign distill` from the command line to its folder."""

import json
import signal
import sys
import types
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from jaxalign.__main__ import main
from jaxalign.batch import Batch
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import UserError
from jaxalign.parallel.program import mesh_program
from jaxalign.recipes import distill
from jaxalign.recipes.inputs import on_policy
from jaxalign.recipes.inputs.rows import Rows
from tests.recipes.test_runs import cli


@pytest.fixture(scope="module")
def teacher(draw_model):
    """Another tiny model, with likes and dislikes."""
    return draw_model(1, 4)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    file = tmp_path_factory.mktemp("distill") / "rows.jsonl"
    lines = [{"prompt": f"{i} + {i} =", "completion": f" {2 * i}"} for i in range(24)]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def command(tiny_model, teacher, rows, out, *more):
    return [
        *("distill", "--model", str(tiny_model), "--teacher", str(teacher)),
        *("--data", str(rows), "--output-dir", str(out), "--conversational", "no"),
        *("--max-length", "32", "--samples", "0", "--max-new-tokens", "6"),
        *("--optimizer.learning-rate", "5e-3", "--batch-size", "8", *more),
    ]


def lines_of(out):
    return [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]


def test_the_student_comes_nearer_on_data_and_on_its_on_policy(
    tiny_model, teacher, rows, tmp_path, monkeypatch
):
    prompts = []
    generate = on_policy.generate

    def noted(decoder, params, given, *rest, **options):
        prompts.append(given)
        return generate(decoder, params, given, *rest, **options)

    monkeypatch.setattr(on_policy, "generate", noted)
    out = tmp_path / "run"
    argv = command(tiny_model, teacher, rows, out, "--max-steps", "9")
    with pytest.raises(SystemExit) as end:
        main(
            [*argv, "--num-train-epochs", "3", "--eval-fraction", "0.3", "--no-export"]
        )
    assert end.value.code == 0
    train = [x for x in lines_of(out) if x["split"] == "train"]
    held_out = [x["eval_loss"] for x in lines_of(out) if x["split"] == "eval"]
    kinds = [x["on_policy"] for x in train]
    assert set(kinds) == {0.0, 1.0}
    assert len(prompts) == sum(kinds)
    assert all(len(x) == 8 for x in prompts)
    assert held_out[-1] < 0.9 * held_out[0]
    by_kind = {k: [x["loss"] for x in train if x["on_policy"] == k] for k in (0, 1)}
    assert all(x[-1] < x[0] for x in by_kind.values())
    np.testing.assert_array_less(0, [x["jsd"] for x in train])
    record = json.loads((out / "config.json").read_text())
    assert record["teacher"] == str(teacher)


@pytest.mark.slow
def test_without_packing_each_answer_has_a_row(
    tiny_model, teacher, rows, tmp_path, monkeypatch
):
    """Of the data and of the student's own; with it several share one."""
    seen = []

    def noted(mesh):
        program = mesh_program(mesh)

        def place(batch):
            if isinstance(batch, Batch):
                seen.append(int(batch.tokens.segment_ids.max()))
            return program.place(batch)

        return program._replace(place=place)

    monkeypatch.setattr("jaxalign.parallel.program.mesh_program", noted)
    for name, more in (("packed", ()), ("apart", ("--no-packing",))):
        argv = command(tiny_model, teacher, rows, tmp_path / name, "--lmbda", "1")
        more = (*more, "--max-steps", "1", "--row-length", "64", "--no-export")
        seen.clear()
        with pytest.raises(SystemExit) as end:
            main([*argv, *more])
        assert end.value.code == 0
        assert len(seen) == 2  # the batch of the data, and what took its place
        assert all((x > 1) == (name == "packed") for x in seen)


def test_a_model_is_no_distance_from_itself(tiny_model, rows, tmp_path):
    out = tmp_path / "run"
    argv = command(tiny_model, tiny_model, rows, out, "--max-steps", "1")
    with pytest.raises(SystemExit):
        main([*argv, "--lmbda", "0", "--beta", "1", "--no-export"])
    (line,) = (x for x in lines_of(out) if x["split"] == "train")
    assert abs(line["loss"]) < 1e-6
    assert line["grad_norm"] < 1e-5


@pytest.mark.slow
def test_killed_and_resumed_equals_the_straight_run(
    tiny_model, teacher, rows, tmp_path
):
    """The updates before and after are of both kinds."""
    straight, killed = tmp_path / "straight", tmp_path / "killed"

    def start(out, **environment):
        argv = command(tiny_model, teacher, rows, out, "--num-train-epochs", "3")
        more = ("--max-steps", "8", "--save-steps", "3", "--seed", "2")
        return cli([sys.executable, "-m", "jaxalign", *argv, *more], **environment)

    done = start(straight)
    assert done.returncode == 0, done.stderr
    died = start(killed, JAXALIGN_CHAOS="kill@step:7", JAXALIGN_TEST_RUN="1")
    assert died.returncode == -signal.SIGKILL, died.stderr
    resumed = start(killed)
    assert resumed.returncode == 0, resumed.stderr
    for name in ("metrics.jsonl", "export/model.safetensors"):
        assert (killed / name).read_bytes() == (straight / name).read_bytes(), name
    starts = json.loads((killed / "run.json").read_text())["starts"]
    step = starts[1]["start_step"]
    assert step in (3, 6)
    kinds = [x["on_policy"] for x in lines_of(straight) if x["split"] == "train"]
    assert {*kinds[:step]} == {*kinds[step:]} == {0.0, 1.0}


def test_a_teacher_with_other_words_is_refused(tiny_model, rows, tmp_path):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    file = other / "tokenizer.json"
    file.write_text(file.read_text().replace("<|im_start|>", "<|begin|>"))
    config = other / "tokenizer_config.json"
    config.write_text(config.read_text().replace("<|im_start|>", "<|begin|>"))
    argv = command(tiny_model, other, rows, tmp_path / "run", "--dry-run")
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2


@pytest.mark.parametrize(
    ("lmbda", "room", "said"),
    [
        (0.0, 9, "a row has 10"),
        (0.0, 10, None),
        (1.0, 10, "a prompt has 4, behind which the student writes up to 7"),
        (1.0, 11, None),
    ],
)
def test_a_teacher_reads_held_out_rows_and_what_the_student_writes(
    lmbda, room, said, monkeypatch
):
    def example(prompt: int, length: int) -> Example:
        trained = np.arange(length) >= prompt
        return Example(0, (TokenSequence(np.zeros(length, np.int32), trained),))

    same = types.SimpleNamespace(same_words=lambda tokenizer: True)
    monkeypatch.setattr(distill, "load_tokenizer", lambda folder: same)
    sizes = types.SimpleNamespace(max_positions=room)
    teacher: Any = types.SimpleNamespace(folder=None, config=sizes)
    config: Any = types.SimpleNamespace(teacher="t", lmbda=lmbda, max_new_tokens=7)
    rows = Rows([example(4, 6)], [example(2, 10)], {})
    refused = pytest.raises(UserError, match=said) if said else nullcontext()
    with refused:
        distill.check_teacher(config, teacher, rows, teacher)


@pytest.mark.parametrize(
    "setting", [{"beta": 1.5}, {"lmbda": -0.1}, {"temperature": 0.0}]
)
def test_settings_that_mean_nothing(setting):
    (name,) = setting
    with pytest.raises(UserError, match=name):
        distill.Config(model="m", teacher="t", data="d", output_dir="o", **setting)
