"""Where a model is: a folder, or a name on the Hugging Face hub."""

import os
import pathlib
import re

from jaxalign.errors import UserError
from jaxalign.json_file import read_json
from jaxalign.models.hf.families import check_architecture
from jaxalign.models.hf.fields import Fields

_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "README.md"]
_HUB_NAME = r"[\w.\-]+(/[\w.\-]+)?"


def resolve_model(name: str | pathlib.Path) -> pathlib.Path:
    """The folder of a model.

    Args:
      name: A folder, or a name on the hub, such as `HuggingFaceTB/SmolLM2-135M`; its
        safetensors, configuration and tokenizer files are fetched once and kept in the
        hub's own cache. Pickles are never fetched, and no code of the model's is run.

    Returns:
      The folder as given, or the one in the cache.

    Raises:
      UserError: There is no such folder and no such name, or the hub is out of reach.
    """
    folder = pathlib.Path(os.path.expanduser(name))
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(
            f"{name} is a file. A model is a folder with config.json, safetensors "
            "files and a tokenizer: give the folder."
        )
    if not re.fullmatch(_HUB_NAME, str(name)):
        raise UserError(
            f"There is no folder {name}, and it is no name on the hub either (those "
            "look like `owner/model`)."
        )
    return _fetch(str(name))


def _fetch(name: str) -> pathlib.Path:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        # A few hundred bytes say whether the rest is worth fetching.
        config = pathlib.Path(hf_hub_download(name, "config.json"))
        check_architecture(Fields(read_json(config), f"config.json of {name}"))
        return pathlib.Path(snapshot_download(name, allow_patterns=_PATTERNS))
    except RepositoryNotFoundError as error:
        raise UserError(
            f"There is no folder {name} here, and the hub knows no model of that name "
            "(or it is private or gated: accept its licence there and log in with "
            "`hf auth login`)."
        ) from error
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):  # out of reach
            raise _unreachable(name, error) from error
        raise UserError(
            f"{name} on the hub has no config.json, so it is no model in the Hugging "
            "Face layout (an adapter, a GGUF file, a data set?). Name the original "
            "model."
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise _unreachable(name, error) from error


def _unreachable(name: str, error: Exception) -> UserError:
    return UserError(
        f"There is no folder {name} here, and fetching it from the hub failed: "
        f"{_first_line(error)}. Offline, fetch it on a machine with a connection "
        f"by `hf download {name} --local-dir DIR` and give that: --model DIR."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
