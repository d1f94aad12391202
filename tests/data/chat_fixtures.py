"""Model folders with the tiny tokenizers of `tests/golden/templates`."""

import json
import pathlib
import shutil

from jaxalign.data.text.tokenizer import Tokenizer, load_tokenizer

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "templates"
BUILTIN = pathlib.Path(__file__).parents[2] / "jaxalign/data/text/builtin_templates"


def golden():
    return json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))


def model_folder(
    folder: pathlib.Path,
    *,
    kind: str = "byte_level",
    bos: str | None = None,
    eos: str | None = "<|im_end|>",
    template: str | None = None,
    generation: dict | None = None,
    **config,
) -> pathlib.Path:
    """Writes a folder in the Hugging Face layout."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(GOLDEN / f"{kind}.json", folder / "tokenizer.json")
    config = {"bos_token": bos, "eos_token": eos, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


def template_text(file: str) -> str:
    folder = BUILTIN if (BUILTIN / file).exists() else GOLDEN
    return (folder / file).read_text(encoding="utf-8")


def chatml(folder: pathlib.Path, **options) -> Tokenizer:
    """A byte-level tokenizer with the plain ChatML template."""
    options.setdefault("template", template_text("chatml.jinja"))
    return load_tokenizer(model_folder(folder, **options))
