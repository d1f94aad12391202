"""A user's own rewards in a run: what they are given, and what becomes of the rest."""

import ast
import json
import logging
import shutil
from typing import Any

import pytest

from jaxalign.errors import UserError
from jaxalign.recipes import grpo, ppo
from jaxalign.recipes.rl.parts import sampling_of
from jaxalign.recipes.scoring.open_rewards import open_rewards, reward_digests
from jaxalign.recipes.scoring.reward_checks import check_rewards
from jaxalign.rewards import load_rewards, parse_reward
from jaxalign.rl import Prompt
from tests.recipes.rl.test_rl_runs import answers_of, lines_of, settings
from tests.rl.test_faults import PROMPTS, STOP_IDS, letters, sample

OWN = '''
from lexicon import WORDS

def told(prompts, completions, topic, step, weight=1.0, **kwargs):
    """Prints what it is given."""
    for prompt, text in zip(prompts, completions):
        print("given", repr((step, prompt, text)))
    return [weight * len(x) for x in completions]

def fails_on_even(completions):
    for c in completions:
        if c.ids[0] % 2 == 0:
            raise ConnectionError("rate limited")
    return [float(c.ids[0]) for c in completions]

def later(completions):
    import rarely
    return [rarely.VALUE + len(WORDS)] * len(completions)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    (folder / "lexicon.py").write_text("WORDS = ['once']\n")
    (folder / "rarely.py").write_text("VALUE = 1\n")
    rows = [{"prompt": f"say {i}", "topic": "x"} for i in range(8)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def config_of(model, folder, out, *rewards, **changes):
    given: dict[str, Any] = {
        "max_steps": 2,
        "batch_size": 4,
        "reward": tuple(f"{folder}/own.py:{x}" for x in rewards),
        "export": False,
        "samples": 0,
        "eval_fraction": 0.25,
    }
    given |= changes
    return grpo.Config(
        **settings(model, folder / "rows.jsonl", "", out, **given), num_generations=2
    )


@pytest.fixture(scope="module")
def run(tiny_model, folder, tmp_path_factory):
    """A run of two iterations, and what it warned of."""
    out = tmp_path_factory.mktemp("runs") / "run"
    rewards = "told(weight=0.5)", "fails_on_even(fallback=-1)=0.1"
    config = config_of(tiny_model, folder, out, *rewards)
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    setattr(handler, "emit", records.append)  # noqa: B010
    logging.getLogger("jaxalign").addHandler(handler)
    try:
        assert grpo.main(config) == 0
    finally:
        logging.getLogger("jaxalign").removeHandler(handler)
    return out, [x.getMessage() for x in records]


def test_prints_are_in_the_run_folder_with_the_number_of_the_iteration(run):
    printed = (run[0] / "logs" / "rewards.log").read_text().splitlines()
    given = [
        ast.literal_eval(x.removeprefix("given "))
        for x in printed
        if x.startswith("given ")
    ]
    for step in (1, 2):
        expected = [(x["prompt"], x["completion"]) for x in answers_of(run[0], step)]
        # Evaluations come before the first iteration and after the last; two prompts
        # fill up a batch of four.
        held_out = 4 if step == 2 else 0
        found = [x[1:] for x in given if x[0] == step]
        assert found[: len(expected)] == expected
        assert len(found) == len(expected) + held_out
    assert len([x for x in given if x[0] == 0]) == 4


def test_failures_are_counted_and_told_once_for_each_cause(run):
    out, messages = run
    failed = 0
    for step, line in enumerate(lines_of(out), 1):
        rows = answers_of(out, step)
        bad = [x for x in rows if "failed" in x]
        for x in rows:
            value = x["rewards"]["fails_on_even"]
            assert (value == -1) == (x.get("failed") == ["fails_on_even"])
            assert value == -1 or value % 2 == 1
        assert line["rewards/fails_on_even/failed"] == len(bad)
        assert line["rewards/told/failed"] == 0
        failed += len(bad)
    assert failed
    first = [x for x in messages if x.startswith("The reward `fails_on_even` failed")]
    assert len(first) == 1
    assert "got its fallback -1: it raised ConnectionError: rate limited" in first[0]
    assert "own.py:" in first[0]
    summary = [x for x in messages if x.startswith("Rewards failed")]
    assert len(summary) == 1
    assert "`fails_on_even` on " in summary[0]
    for line in lines_of(out, "eval"):
        assert line["eval_rewards/fails_on_even/failed"] in (0, 1, 2)


@pytest.mark.parametrize("file", ["own", "lexicon", "rarely"])
def test_a_run_does_not_go_on_with_other_code(file, run, folder, tiny_model, tmp_path):
    """Neither that of the file, nor of a neighbour, nor of one imported later."""
    out = shutil.copytree(run[0], tmp_path / "run")
    starts = json.loads((out / "run.json").read_text())["starts"]
    named = {k for k in starts[0]["fingerprints"] if k.startswith("reward:")}
    assert named == {f"reward:{folder}/own.py", "reward:lexicon", "reward:rarely"}
    name = f"reward:{folder}/own.py" if file == "own" else f"reward:{file}"
    code = (folder / f"{file}.py").read_text()
    rewards = "told(weight=0.5)", "fails_on_even(fallback=-1)=0.1"
    (folder / f"{file}.py").write_text(code + "# another one\n")
    try:
        config = config_of(tiny_model, folder, out, *rewards)
        with pytest.raises(UserError, match=f"fingerprints.{name} was "):
            grpo.main(config)
        if file == "own":
            allowed = config_of(tiny_model, folder, out, *rewards, allow_change=(name,))
            assert grpo.main(allowed) == 0
    finally:
        (folder / f"{file}.py").write_text(code)


def test_the_code_of_a_module_is_known_too(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    tokenizer: Any = None

    def digests():
        return reward_digests((), open_rewards(["own:later"], tokenizer))

    before = digests()
    assert set(before) == {"reward:own", "reward:lexicon", "reward:rarely"}
    (folder / "rarely.py").write_text("VALUE = 2\n")
    try:
        after = digests()
    finally:
        (folder / "rarely.py").write_text("VALUE = 1\n")
    assert [k for k in before if before[k] != after[k]] == ["reward:rarely"]


def test_a_dry_run_refuses_what_no_row_has(tiny_model, folder, tmp_path):
    options = {"dry_run": True, "columns": "subject=topic"}
    config = config_of(tiny_model, folder, tmp_path / "run", "told", **options)
    with pytest.raises(UserError, match="The reward `told` .* needs `topic`, and no"):
        grpo.main(config)
    assert not (tmp_path / "run").exists()


NEEDS = """
def state(completions, trainer_state, **kwargs): return []
def gold(completions, gold, **kwargs): return []
def both(prompts, completions, completion_ids, label, gold=None): return []
def curriculum(prompts, completions, step): return []
def easy(prompts, completions, step=0): return []
"""


def prompts_of(*columns):
    return [
        Prompt([1], "?", columns=x, index=i, where=f"rows.jsonl:{i + 1}")
        for i, x in enumerate(columns)
    ]


@pytest.fixture(scope="module")
def needs(tmp_path_factory):
    file = tmp_path_factory.mktemp("needs") / "needs.py"
    file.write_text(NEEDS)
    return file


def check(reward, *columns, in_run=True):
    check_rewards([reward], prompts_of(*columns), "rows.jsonl", in_run=in_run)


def test_columns_that_no_row_has_are_refused_and_others_are_not(needs):
    rows = {"label": 1}, {"topic": "x", "label": None}
    names = ["state", "gold", "both", "gold(gold=[1])", "curriculum", "easy"]
    found = load_rewards([f"{needs}:{x}" for x in names])
    state, gold, both, given, curriculum, easy = found
    with pytest.raises(UserError, match="needs `trainer_state`.*Take `step` in its"):
        check(state, *rows)
    with pytest.raises(UserError, match="needs `gold`.*they have label, topic"):
        check(gold, *rows)
    with pytest.raises(
        UserError, match="no row of rows.jsonl has.*none but the prompt"
    ):
        check(both, {}, {})
    check(both, *rows)
    check(given, *rows)
    check(curriculum, *rows)
    check(easy, *rows, in_run=False)
    with pytest.raises(
        UserError, match=r"asks for `step`.*Give one, curriculum\(step="
    ):
        check(curriculum, *rows, in_run=False)


def test_answers_that_a_rule_of_ours_cannot_read_are_found_in_any_row():
    good, bad = {"answer": "a"}, {"answer": {"text": "a"}}
    check(parse_reward("exact_match"), good, {"answer": None})
    check(parse_reward("stopped"), {}, {})
    for columns, message in (
        ([good, good, {"gold": "a"}], r"`exact_match`: rows.jsonl:3: .*no column `ans"),
        ([good, bad], "rows.jsonl:2: .*`answer` is "),
    ):
        with pytest.raises(UserError, match=message):
            check(parse_reward("exact_match"), *columns)
        # They fail and get the fallback, which is told; but not all of them.
        check(parse_reward("exact_match(fallback=0)"), *columns)
    with pytest.raises(UserError, match="no column `gold`"):
        check(parse_reward("exact_match(column=gold, fallback=0)"), good, good)


class Letters:
    """Ids as letters; two of them are stop tokens."""

    stop_ids = STOP_IDS
    decode = staticmethod(letters)


def sampled_with(**settings):
    base: Any = {"model": "m", "data": "d", "output_dir": "o", "reward": ("stopped",)}
    tokenizer: Any = Letters()
    how = sampling_of(ppo.Config(**base, **settings), tokenizer, PROMPTS)
    return sample(0, stop_ids=how.stop_ids, decode=how.decode)


def test_special_tokens_are_kept_on_request():
    plain, kept = sampled_with(), sampled_with(keep_special_tokens=True)
    ids = kept.completions.ids()
    assert [x.completion for x in kept.texts] == [letters(x) for x in ids]
    assert [x.completion for x in plain.texts] != [x.completion for x in kept.texts]
    assert plain.completions.ids() == ids
    assert {x.step for x in kept.texts} == {1}
