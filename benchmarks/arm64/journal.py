"""What has passed in an emulated root, so that a run that was ended goes on from there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mimamba_edge.artifact import write_json


@dataclass(frozen=True)
class Entry:
    """A command that has passed.

    Attributes:
        typed: What was typed for it.
        folder: Where the board's terminal stood afterwards.
        row: What was found.
    """

    typed: str
    folder: str
    row: tuple[str, str, str]


class Journal:
    """Commands that have passed in the root that lies there, from the first one on.

    Args:
        path: Its file, which is gone when the root is made anew.
        key: Of all that the root was made of: entries of another one say nothing.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        held = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self.begun = held.get("key") == key
        """Whether the root lies there."""
        entries = held["entries"] if self.begun else []
        self._entries = [Entry(one["typed"], one["folder"], tuple(one["row"])) for one in entries]
        self._next, self._all_passed = 0, True

    def begin(self) -> None:
        """Note that the root was laid out, and that nothing was typed in it."""
        self.begun = True
        self._write()

    def forget(self) -> None:
        """Note that there is no whole root."""
        self._path.unlink(missing_ok=True)

    def next(self, typed: str) -> Entry | None:
        """Return the entry of the next command; ``None`` if it, and with it all that follow, has to run."""
        if self._next < len(self._entries) and self._entries[self._next].typed == typed:
            self._next += 1
            return self._entries[self._next - 1]
        del self._entries[self._next :]
        return None

    def add(self, entry: Entry, *, passed: bool) -> None:
        """Note a command that has run; what follows one that has not passed will run again."""
        self._all_passed &= passed
        if self._all_passed:
            self._entries.append(entry)
            self._next += 1
            self._write()

    def _write(self) -> None:
        write_json(self._path, {"key": self._key, "entries": [asdict(entry) for entry in self._entries]})
