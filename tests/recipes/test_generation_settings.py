"""`generation_config.json`: obeyed, or told, or refused by name."""

import json

import pytest

from jaxalign.errors import UserError
from jaxalign.recipes.generate import Config, sampling_settings
from jaxalign.recipes.inputs.generation_settings import (
    not_obeyed,
    read_settings,
    tell_unused,
)
from tests.mutants import (
    WRONG_TEXTS,
    as_json,
    changed,
    is_one_paragraph,
    refused_in_a_sentence,
)

WHOLE = {
    "do_sample": True,
    "temperature": 0.6,
    "top_k": 20,
    "top_p": 0.95,
    "min_p": 0.1,
    "repetition_penalty": 1.05,
    "max_new_tokens": 32,
    "min_new_tokens": 2,
    "suppress_tokens": [7],
    "bad_words_ids": [[8], [9, 10]],
    "stop_strings": "###",
}


def sampling(tmp_path, own, **flags):
    (tmp_path / "generation_config.json").write_bytes(as_json(own))
    return sampling_settings(Config(model="m", prompt="p", **flags), tmp_path)


def test_all_that_the_checkpoint_says_is_taken(tmp_path):
    got = sampling(tmp_path, WHOLE)
    assert got._asdict() == {
        "temperature": 0.6,
        "top_k": 20,
        "top_p": 0.95,
        "min_p": 0.1,
        "repetition_penalty": 1.05,
        "max_new_tokens": 32,
        "min_new_tokens": 2,
        "never_ids": (7, 8),
        "stop": ("###",),
    }


def test_flags_come_first(tmp_path):
    flags = {"temperature": 0.5, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    more = {"repetition_penalty": 1.0, "max_new_tokens": 1, "stop": ("x",)}
    got = sampling(tmp_path, WHOLE, **flags, **more)
    assert got[:6] == (0.5, None, 1.0, 0.0, 1.0, 1)
    assert got.min_new_tokens == 1  # no more than there are
    assert got.stop == ("x",)


@pytest.mark.parametrize("off", [0, -1, None])
def test_top_k_is_off_in_every_spelling(off, tmp_path):
    assert sampling(tmp_path, {**WHOLE, "top_k": off}).top_k is None
    if off is not None:
        assert sampling(tmp_path, WHOLE, top_k=off).top_k is None


@pytest.mark.parametrize("own", [{"temperature": 0}, {"do_sample": False}])
def test_greedy_in_every_spelling(own, tmp_path):
    assert sampling(tmp_path, {**WHOLE, **own}).temperature == 0
    assert str(sampling(tmp_path, {**WHOLE, **own})).startswith("greedy, repetition")


def test_a_temperature_switches_sampling_on(tmp_path):
    got = sampling(tmp_path, {**WHOLE, "do_sample": False}, temperature=0.8)
    assert (got.temperature, got.top_k, got.min_p) == (0.8, 20, 0.1)


NOT_DONE = {
    "no_repeat_ngram_size": 3,
    "num_beams": 4,
    "typical_p": 0.9,
    "penalty_alpha": 0.6,
    "forced_bos_token_id": 5,
    "sequence_bias": [[[1], 2.0]],
    "presence_penalty": 0.5,
    "max_length": 4096,
    "of_a_later_version": "x",
}


@pytest.mark.parametrize("key", NOT_DONE)
def test_what_is_not_done_is_told_by_name_and_value(key):
    said = not_obeyed({"do_sample": True, key: NOT_DONE[key]}, ())
    assert said.startswith(f"{key} {str(NOT_DONE[key])[:20]}")


def test_what_changes_nothing_is_not_told():
    neutral = {"num_beams": 1, "no_repeat_ngram_size": 0, "top_k": -1, "top_p": 1.0}
    about = {"transformers_version": "5", "_from_model_config": True, "use_cache": True}
    assert (
        not_obeyed({**neutral, **about, "eos_token_id": [1], "min_p": None}, ()) == ""
    )
    assert not_obeyed({"temperature": 0.6, "do_sample": False}, ()) == ""


def test_rollouts_tell_what_they_leave_out(tmp_path, capsys):
    from rich.console import Console

    (tmp_path / "generation_config.json").write_bytes(as_json(WHOLE))
    tell_unused(tmp_path, 0.6, "rollouts are the model's own", Console(width=400))
    out = capsys.readouterr().out
    assert out.startswith("rollouts are the model's own: top_k 20, top_p 0.95, min_p")
    assert "repetition_penalty 1.05" in out
    assert "temperature" not in out
    tell_unused(tmp_path / "no", 0.6, "rollouts", Console())
    assert capsys.readouterr().out == ""


def test_every_key_is_read_or_refused_in_a_sentence(tmp_path):
    for what, wrong in changed(WHOLE):
        with refused_in_a_sentence(what):
            sampling(tmp_path, wrong)
            not_obeyed(read_settings(tmp_path), ())


@pytest.mark.parametrize("what", WRONG_TEXTS)
def test_a_file_that_is_something_else(what, tmp_path):
    (tmp_path / "generation_config.json").write_bytes(WRONG_TEXTS[what])
    if what == "half a character":
        pytest.skip("it is an object, which is refused for its text")
    with pytest.raises(UserError, match=r"generation_config\.json") as error:
        read_settings(tmp_path)
    assert is_one_paragraph(str(error.value))


@pytest.mark.parametrize(
    ("key", "value"),
    [("temperature", -1), ("top_p", 0), ("top_k", -2), ("do_sample", "yes")],
)
def test_a_value_that_means_nothing_names_file_and_key(key, value, tmp_path):
    with pytest.raises(UserError, match=rf"generation_config\.json: `{key}` is"):
        sampling(tmp_path, {**WHOLE, key: value})


def test_the_flag_of_stop_texts(caplog):
    with pytest.raises(UserError, match="--stop is an empty text"):
        Config(model="m", prompt="p", stop=("",))
    Config(model="m", prompt="p", stop=("\n", "</answer>"))
    assert not caplog.records
    Config(model="m", prompt="p", stop=(r"\n\nHuman:",))
    assert "never as part of a line break" in caplog.text
    assert json.dumps(r"\n\nHuman:")[1:-1].replace("\\\\", "\\") in caplog.text
