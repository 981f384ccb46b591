"""Makes every hostile file in a folder, the same each time: ``python -m tests.attack.corpus FOLDER``."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.attack import hostile_checkpoints, hostile_models, hostile_signals
from tests.attack.seeds import write_seeds

__all__ = ["Corpus", "open_corpus", "write_corpus"]

_INDEX = "corpus.json"


@dataclass(frozen=True)
class Corpus:
    """Where the files are.

    Attributes:
        folder: Of all.
        seeds: Folder of good files, one of each kind.
        files: Hostile files (of sessions and data sets: folders) by kind.
    """

    folder: Path
    seeds: Path
    files: dict[str, list[Path]]


def write_corpus(folder: Path) -> Corpus:
    """Write good and hostile files into an empty folder."""
    seeds = folder / "seeds"
    write_seeds(seeds)
    stdin = folder / "stdin"
    stdin.mkdir()
    lines = []
    for name, data in hostile_signals.stdin_texts():
        lines.append(stdin / f"{name}.txt")
        lines[-1].write_bytes(data)
    files = {
        "checkpoint": hostile_checkpoints.write_checkpoints(folder / "checkpoints", seeds),
        "onnx": hostile_models.write_onnx(folder / "onnx", seeds),
        "manifest": hostile_models.write_manifests(folder / "manifests", seeds),
        "plan": hostile_models.write_plans(folder / "plans", seeds),
        "reference": hostile_models.write_references(folder / "references", seeds),
        "profile": hostile_models.write_profiles(folder / "profiles", seeds),
        "recording": hostile_signals.write_recordings(folder / "recordings", seeds),
        "labels": hostile_signals.write_labels(folder / "labels", seeds),
        "session": hostile_signals.write_sessions(folder / "sessions", seeds),
        "cue": hostile_signals.write_cues(folder / "cues"),
        "stdin": lines,
    }
    names = {kind: [str(path.relative_to(folder)) for path in paths] for kind, paths in files.items()}
    (folder / _INDEX).write_text(json.dumps(names))
    return Corpus(folder, seeds, files)


def open_corpus(folder: Path) -> Corpus:
    """Return the corpus in a folder; it is written where there is none."""
    index = folder / _INDEX
    if not index.is_file():
        return write_corpus(folder)
    names = json.loads(index.read_text())
    return Corpus(folder, folder / "seeds", {k: [folder / n for n in v] for k, v in names.items()})


if __name__ == "__main__":
    made = write_corpus(Path(sys.argv[1]))
    for kind, paths in made.files.items():
        print(f"{kind:<12} {len(paths)}")
