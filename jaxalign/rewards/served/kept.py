"""Replies of served judges on disk, so that a resumed run asks nothing twice."""

import contextlib
import json
import os
from pathlib import Path

from jaxalign.errors import UserError
from jaxalign.os_errors import naming
from jaxalign.plain_files import UnreadableError, read_plain
from jaxalign.rewards.served.endpoint import Endpoint


class Kept:
    """The replies of one endpoint by the digests of their requests.

    Without a folder they are kept in memory. In a folder they are lines of
    `judges/DIGEST.jsonl`, the first of which says whose they are; each is written when
    it comes, and a line that was cut off is one reply less.
    """

    def __init__(self, endpoint: Endpoint):
        """Nothing is kept yet."""
        self._endpoint = endpoint
        self._replies: dict[str, str] = {}
        self._file: Path | None = None

    def __len__(self):
        """How many there are."""
        return len(self._replies)

    def __contains__(self, request: str):
        """Whether there is a reply to a request."""
        return self._endpoint.digest(request) in self._replies

    def __getitem__(self, request: str) -> str:
        """The reply to a request."""
        return self._replies[self._endpoint.digest(request)]

    def move_to(self, folder: Path) -> None:
        """Reads what the folder has, and keeps there what comes from now on.

        Raises:
          UserError: What is there cannot be read.
          OSError: It cannot be written.
        """
        file = folder / "judges" / f"{self._endpoint.digest()[:16]}.jsonl"
        if self._file == file:
            return
        found, whole = _read(file)
        self._file, self._replies = file, found | self._replies
        with naming(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            if not whole:  # new, or its last line was cut off
                about = json.dumps(self._endpoint.identity(), sort_keys=True)
                lines = [about, *(_line(k, v) for k, v in self._replies.items())]
                fresh = file.with_suffix(".tmp")
                fresh.write_text("".join(f"{x}\n" for x in lines), encoding="utf-8")
                os.replace(fresh, file)

    def keep(self, request: str, reply: str) -> None:
        """Keeps a reply; one call at a time."""
        digest = self._endpoint.digest(request)
        self._replies[digest] = reply
        if self._file is not None:
            with naming(self._file), self._file.open("a", encoding="utf-8") as out:
                out.write(_line(digest, reply) + "\n")


def _line(digest: str, reply: str) -> str:
    return json.dumps({"digest": digest, "reply": reply})


def _read(file: Path) -> tuple[dict[str, str], bool]:
    """The replies of a file, and whether all of it is as it was written."""
    try:
        text = read_plain(file, most=None).decode(errors="replace")
    except FileNotFoundError:
        return {}, False
    except (OSError, UnreadableError) as error:
        # Not as if there were none: the file would be written over.
        raise UserError(
            f"the judge's replies in {file} cannot be read: {error}. Mend that, or "
            "move the file away to ask anew."
        ) from error
    found, lines = {}, text.splitlines()
    for line in lines[1:]:
        with contextlib.suppress(ValueError, LookupError, TypeError):
            parts = json.loads(line)
            if isinstance(parts["digest"], str) and isinstance(parts["reply"], str):
                found[parts["digest"]] = parts["reply"]
    return found, text.endswith("\n") and len(found) == len(lines) - 1
