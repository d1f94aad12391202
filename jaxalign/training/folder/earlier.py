"""An earlier start of a run: its settings and fingerprints, from a sound record."""

import logging
import os
import pathlib
import re
from typing import Any, NamedTuple

from jaxalign.errors import UserError
from jaxalign.plain_files import UnreadableError, read_object
from jaxalign.training.checkpoints import manifest
from jaxalign.training.folder.own_files import set_aside

_LOG = logging.getLogger("jaxalign")


class Earlier(NamedTuple):
    """An earlier start.

    Attributes:
      config: Its settings.
      starts: The records of all starts, `run.json`.
      fingerprints: Of its model and data; None if nobody knows them.
      place: The folder that it was started in, which relative paths belong to.
    """

    config: dict[str, Any]
    starts: list[dict[str, Any]]
    fingerprints: dict[str, str] | None
    place: str | None


def read_earlier(folder: pathlib.Path) -> Earlier | None:
    """The earlier start of the run in a folder; None if there is no run.

    `config.json` and `run.json` are small files that people edit and disks lose. Where
    one is damaged, what it said is taken from the newest checkpoint that has a sound
    manifest, with a warning, and the file is renamed.

    Raises:
      UserError: The settings are damaged, and no checkpoint knows them.
    """
    kept, newest = folder / "config.json", _newest_manifest(folder / "checkpoints")
    config, reason = _sound(kept)
    # No run is without settings, so an empty object is damage.
    if config == {}:
        config, reason = None, "it is empty"
    if config is None:
        if reason is None and "config" not in newest:
            return None
        config = _object_in(newest, "config")
        if not config:
            raise UserError(
                f"{kept} cannot be used: {reason}. It holds the settings that the run "
                "was started with: restore it, or choose another --output-dir"
            )
        _pass_over(kept, reason or "it is gone")
    starts = _read_starts(folder / "run.json")
    last = starts[-1] if starts else newest
    fingerprints = _object_in(last, "fingerprints") or _object_in(
        newest, "fingerprints"
    )
    if not fingerprints and last.get("fingerprints") != {}:  # a run may have none
        _LOG.warning(
            "nothing in %s says which model and data the run was started with: they "
            "are not compared",
            folder,
        )
    place = last.get("place")
    place = place if isinstance(place, str) else None
    return Earlier(config, starts, fingerprints or None, place)


def recorded_fingerprints(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The fingerprints of each earlier start, the last one last; nothing is renamed.

    Where the record of starts is damaged, those of the newest sound checkpoint.
    """
    starts = (_sound(folder / "run.json")[0] or {}).get("starts")
    listed = starts if isinstance(starts, list) else []
    found = [_object_in(x, "fingerprints") for x in listed if isinstance(x, dict)]
    if not found:
        found = [_object_in(_newest_manifest(folder / "checkpoints"), "fingerprints")]
    return [x for x in found if x]


def _read_starts(path: pathlib.Path) -> list[dict[str, Any]]:
    content, reason = _sound(path)
    starts = [] if content is None else content.get("starts")
    if not isinstance(starts, list) or not all(isinstance(x, dict) for x in starts):
        starts, reason = [], "it lists no starts"
    if reason is not None or content is None:
        _pass_over(path, reason or "it is gone")
    return starts


def _sound(path: pathlib.Path) -> tuple[dict[str, Any] | None, str | None]:
    """The object in a file, or what is wrong with it; neither if it is not there."""
    try:
        return read_object(path), None
    except FileNotFoundError:
        return None, None
    except UnreadableError as error:
        return None, str(error)


def _pass_over(path: pathlib.Path, reason: str) -> None:
    _LOG.warning("%s is passed over (%s): the checkpoints know better", path, reason)
    if os.path.lexists(path):
        set_aside(path, reason)


def _newest_manifest(checkpoints: pathlib.Path) -> dict[str, Any]:
    """What the newest sound manifest says about its run; empty without one."""
    if not checkpoints.is_dir():
        return {}
    names = (p.name for p in checkpoints.iterdir())
    steps = sorted(
        (int(x) for x in names if re.fullmatch(r"\d{1,18}", x)), reverse=True
    )
    for step in steps:
        try:
            return _object_in(manifest.read_manifest(checkpoints / str(step)), "about")
        except manifest.BadCheckpointError:
            continue
    return {}


def _object_in(body: dict[str, Any], name: str) -> dict[str, Any]:
    found = body.get(name)
    return found if isinstance(found, dict) else {}
