"""The model card: what the hub reads, and no path of the machine."""

import json

import pytest
import yaml

from jaxalign.recipes.runs.model_card import base_name, model_card, without_paths

VERSIONS = {"jaxalign": "1.0", "python": "3.11", "packages": {"jax": "0.10", "x": None}}
SETTINGS = {
    "model": "Qwen/Qwen3-0.6B",
    "data": "/home/me/rows.jsonl:0.7,/home/me/b c/more.jsonl:0.3",
    "output_dir": "/scratch/run 7/out",
    "reward": ("/home/me/score.py:fn(model=/home/me/judge)=0.5", "exact_match"),
    "optimizer": {"learning_rate": 1e-5},
    "chat_template": "~/chat/my.jinja",
    "eval_data": None,
}


def card(results=None, **changes):
    options = {k: changes.pop(k) for k in ("scores", "source") if k in changes}
    settings = {**SETTINGS, **changes}
    return model_card("method", settings, results or {}, VERSIONS, **options)


def front_matter(text):
    """As any reader of YAML sees it."""
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1])


def test_the_front_matter_is_what_the_hub_reads():
    data = front_matter(card())
    assert data == {
        "base_model": "Qwen/Qwen3-0.6B",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["jaxalign"],
    }
    assert front_matter(card(scores=True))["pipeline_tag"] == "text-classification"
    assert front_matter(card(data="trl-lib/pairs"))["datasets"] == ["trl-lib/pairs"]
    mixed = card(data="hf:trl-lib/pairs:train:0.7,hf:a/b/main:test:0.3,rows.jsonl:1")
    assert front_matter(mixed)["datasets"] == ["trl-lib/pairs", "a/b"]


def test_the_hubs_own_library_takes_it():
    from huggingface_hub import ModelCard

    loaded = ModelCard(card({"eval_loss": 0.5}))
    assert loaded.data.to_dict()["base_model"] == "Qwen/Qwen3-0.6B"
    assert "| eval_loss | 0.5 |" in loaded.text


def test_no_path_of_the_machine_is_in_it():
    text = card()
    for part in ("/home", "/scratch", "~/", "run 7", "b c", "/me/"):
        assert part not in text, part
    for part in ("rows.jsonl:0.7,more.jsonl:0.3", "score.py:fn(model=judge)=0.5"):
        assert part in text
    assert json.loads(text.split("```json\n")[1].split("```")[0])["output_dir"] == "out"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gs://bucket/a/b.jsonl", "gs://bucket/a/b.jsonl"),
        ("tfds:name/config:train[:10%]", "tfds:name/config:train[:10%]"),
        ("C:\\Users\\me\\rows.jsonl", "rows.jsonl"),
        ("a/b.jsonl", "a/b.jsonl"),
        ("./a/b.jsonl", "./a/b.jsonl"),
        ("/rows.jsonl", "rows.jsonl"),
        ("question=q,answer=a/b", "question=q,answer=a/b"),
        (7, 7),
    ],
)
def test_only_local_folders_go(given, said):
    assert without_paths(given) == said


def test_a_folder_tells_where_it_came_from(tmp_path):
    assert base_name("owner/model") == "owner/model"
    assert base_name(str(tmp_path)) is None
    (tmp_path / "config.json").write_text('{"_name_or_path": "owner/model"}')
    assert base_name(str(tmp_path)) == "owner/model"
    (tmp_path / "config.json").write_text('{"_name_or_path": "/home/me/model"}')
    assert base_name(str(tmp_path)) is None
    cached = tmp_path / "models--Qwen--Qwen3-0.6B" / "snapshots" / "0"
    cached.mkdir(parents=True)
    assert base_name(str(cached)) == "Qwen/Qwen3-0.6B"


def test_the_licence_of_the_base_model_is_carried_over(tmp_path):
    head = "license: other\nlicense_name: gemma\nlanguage:\n- de\ntags: [x]"
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\n# Base")
    data = front_matter(card(model=str(tmp_path)))
    assert (data["license"], data["license_name"]) == ("other", "gemma")
    assert data["language"] == ["de"]
    assert data["tags"] == ["jaxalign"]
    assert "base_model" not in data
    fetched = front_matter(card(source=tmp_path))
    assert (fetched["base_model"], fetched["license"]) == ("Qwen/Qwen3-0.6B", "other")
    (tmp_path / "README.md").write_text("---\n: {[\n---\n")
    assert "license" not in front_matter(card(model=str(tmp_path)))


def test_texts_that_ended_completions_are_told():
    assert 'Completions ended at "</answer>", "\\n"' in card(stop=("</answer>", "\n"))
    assert "Completions ended" not in card(stop=())


def test_arguments_of_the_template_are_told():
    said = "with the template's arguments `enable_thinking=false`"
    assert said in card(chat_template_kwargs="enable_thinking=false")
    assert "arguments" not in card(chat_template_kwargs=None).split("## Settings")[0]
