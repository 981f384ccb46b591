"""What ``mimamba-edge data events`` shows, and whose recordings they are."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["show_events", "who_is"]


def show_events(found: Mapping[Path, Counter[str]]) -> None:
    """Print the events of recordings: how often each is there, and in how many files."""
    from mimamba_edge.console import printable, show_note, show_table

    total, files = Counter[str](), Counter[str]()
    for counts in found.values():
        total.update(counts)
        files.update(counts.keys())
    if not total:
        show_note(f"no events in {len(found)} recordings")
        return
    rows = [[printable(text), str(n), f"{files[text]} of {len(found)}"] for text, n in total.most_common()]
    show_table("", ["event", "times", "in recordings"], rows)


def who_is(
    subject: str | None, session: str | None, run: str | None, files: Sequence[Path]
) -> Callable[[Path], tuple[str, str, str]]:
    """Return what tells subject, session and run of a recording: the user, else its session folder.

    Without either, a run is named by its file; where several of the files have that name, by the folders in
    which they differ too.

    Raises:
        ConfigError: The subject is no pseudonym.
    """
    from mimamba_edge.data.recording import stem
    from mimamba_edge.data.session_format import SIGNAL, is_session, read_info
    from mimamba_edge.sessions.identity import check_pseudonym

    given = {
        key: check_pseudonym(value, key)
        for key, value in {"subject": subject, "session": session, "run": run}.items()
        if value is not None
    }

    times = Counter(stem(path) for path in files)
    above = os.path.commonpath([path.absolute().parent for path in files]) if files else ""

    def who(path: Path) -> tuple[str, str, str]:
        folder = path if path.is_dir() else path.parent
        name = stem(path)
        if times[name] > 1:
            name = path.absolute().with_name(name).relative_to(above).as_posix()
        told = {"subject": "s1", "session": "1", "run": name}
        if is_session(folder) and (path.is_dir() or path.name == SIGNAL):
            told |= {key: str(value) for key, value in read_info(folder).items() if key in told}
        told |= given
        return told["subject"], told["session"], told["run"]

    return who
