"""What an export says of the run: template and stop tokens; and what it must not."""

import json
import shutil

import pytest

from jaxalign.models import ChatTexts, export_model
from jaxalign.models.folder.export_texts import without_local_paths
from tests.models.cases import load_case


@pytest.fixture
def export(tmp_path):
    """Exports a tiny Llama whose texts are given; returns a reader of the new ones."""
    case = load_case("llama")
    source = shutil.copytree(case.folder, tmp_path / "source")

    def make(texts, chat):
        for name, data in texts.items():
            file = source / name
            if data is None:
                file.unlink()
            else:
                file.write_text(data if isinstance(data, str) else json.dumps(data))
        out = tmp_path / "out"
        export_model(out, case.config, case.params, source=source, chat=chat)

        def read(name):
            if name.endswith(".jinja"):
                return (out / name).read_text()
            return json.loads((out / name).read_text())

        read.same = lambda name: (
            (out / name).read_bytes() == (source / name).read_bytes()
        )
        read.folder = out
        return read

    return make


def test_stop_tokens_are_added_and_none_is_lost(export):
    generation = {"temperature": 0.6, "eos_token_id": 5, "do_sample": True}
    read = export({"generation_config.json": generation}, ChatTexts(None, {9, 5, 3}))
    assert read("generation_config.json") == {**generation, "eos_token_id": [5, 3, 9]}


def test_without_a_generation_config_the_models_own_ids_are_kept(export):
    read = export({"generation_config.json": None}, ChatTexts(None, [7]))
    assert read("generation_config.json") == {
        "bos_token_id": 1,
        "eos_token_id": [2, 7],
        "pad_token_id": 0,
    }


def test_what_stops_already_changes_nothing(export):
    texts = {"generation_config.json": '{"eos_token_id":\n [2, 4]}'}
    texts["tokenizer_config.json"] = '{"chat_template": "{{ x }}"}'
    read = export(texts, ChatTexts(None, [2, 4]))
    assert read.same("generation_config.json")
    assert read.same("tokenizer_config.json")


def test_the_template_of_the_run_takes_the_place_of_all_others(export):
    texts = {
        "tokenizer_config.json": {"chat_template": "old", "eos_token": "</s>"},
        "chat_template.jinja": "old",
        "chat_template.json": {"chat_template": "old"},
    }
    read = export(texts, ChatTexts("{{ new }}\n", ()))
    assert read("chat_template.jinja") == "{{ new }}\n"
    config = {"chat_template": "{{ new }}\n", "eos_token": "</s>"}
    assert read("tokenizer_config.json") == config
    assert not (read.folder / "chat_template.json").exists()


@pytest.mark.parametrize(("template", "kept"), [(None, True), ("{{ new }}", False)])
def test_templates_with_names_come_along_unless_there_is_another(
    template, kept, tmp_path
):
    case = load_case("llama")
    source = shutil.copytree(case.folder, tmp_path / "source")
    named = source / "additional_chat_templates"
    named.mkdir()
    (named / "tool_use.jinja").write_text("tools")
    (named / "notes.py").write_text("print('not mine')")
    chat = ChatTexts(template, ())
    out = tmp_path / "out"
    export_model(out, case.config, case.params, source=source, chat=chat)
    found = {x.name for x in (out / named.name).glob("*")}
    assert found == ({"tool_use.jinja"} if kept else set())


def test_a_model_without_a_template_gets_the_file_alone(export):
    texts = {"tokenizer_config.json": '{"eos_token":   "</s>"}'}
    read = export(texts, ChatTexts("{{ new }}", ()))
    assert read("chat_template.jinja") == "{{ new }}"
    assert read.same("tokenizer_config.json")


def test_no_text_names_a_folder_of_somebodys_machine(export):
    config = json.loads((load_case("llama").folder / "config.json").read_text())
    names = {"bos_token": "/s/", "tokenizer_file": "/home/me/x/tokenizer.json"}
    texts = {
        "config.json": {**config, "_name_or_path": "/home/me/models/base/"},
        "tokenizer_config.json": {**names, "name_or_path": "~/models/base"},
        "special_tokens_map.json": {"eos_token": "</s>"},
    }
    read = export(texts, None)
    assert read("config.json")["_name_or_path"] == "base"
    assert read("tokenizer_config.json") == {"bos_token": "/s/", "name_or_path": "base"}
    assert read.same("special_tokens_map.json")


@pytest.mark.parametrize(
    "value",
    ["Qwen/Qwen3-0.6B", "/", "a / b", "{% if x %}/a/b{% endif %}", "./a/b", 5, None],
)
def test_what_is_no_path_of_a_machine_stays(value):
    assert without_local_paths({"x": value}) == {"x": value}


def test_paths_of_other_systems_are_paths():
    data = {"_name_or_path": "C:\\Users\\me\\llama"}
    assert without_local_paths(data) == {"_name_or_path": "llama"}
