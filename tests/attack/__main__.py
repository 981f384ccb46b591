"""``make attack``: every attack over all verbs; ends with a table and exit 1 if one succeeded.

python -m tests.attack [--only TEXT] [--corpus FOLDER] [--jobs N] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from mimamba_edge.console import progress
from tests.attack.attacks import all_attacks, sampled
from tests.attack.corpus import Corpus, open_corpus
from tests.attack.devices import make_device
from tests.attack.forks import Server, run_process
from tests.attack.plan import Attack, judge, tree_hash

__all__ = ["Ended", "attack_all", "main"]

_SHOWN = 300


class Ended:
    """One attack that was run."""

    def __init__(
        self, attack: Attack, code: int, seconds: float, wrong: list[str], line: str, said: str
    ) -> None:
        self.attack, self.code, self.seconds = attack, code, seconds
        self.wrong, self.line, self.said = wrong, line, said


def _one(attack: Attack, server: Server, corpus: Path, work: Path) -> Ended:
    work.mkdir(parents=True)
    copies = []
    for name in attack.copies:
        source, target = corpus / name, work / Path(name).name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
        copies.append(target)
    for name, where in attack.links:
        (work / name).symlink_to(where.replace("{c}", str(corpus)).replace("{w}", str(work)))
    for name in attack.devices:
        make_device(work / name, name)
        copies.append(work / name)
    before = tree_hash(copies)
    job = attack.job(corpus, work)
    result = run_process(job) if attack.real else server.run(job)
    out, err = (_read(work / name) for name in ("out", "err"))
    wrong = judge(attack, result, out, err)
    if attack.kept and tree_hash(copies) != before:
        wrong.append("an input was changed")
    lines = err.decode("utf-8", "replace").strip().splitlines()
    # Of a traceback the end says most.
    said = lines[-1] if lines and "Traceback" in err.decode("utf-8", "replace") else " ".join(lines)
    return Ended(attack, result.code, result.seconds, wrong, attack.command(job), said[:_SHOWN])


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def attack_all(attacks: list[Attack], corpus: Corpus, work: Path, servers: list[Server]) -> list[Ended]:
    """Run attacks, one at a time on each server; folders of those that were withstood are removed."""
    idle: SimpleQueue[Server] = SimpleQueue()
    for server in servers:
        idle.put(server)
    before, work = tree_hash([corpus.folder]), work.absolute()  # attacks run in folders of their own

    def run(number: int, attack: Attack) -> Ended:
        server = idle.get()
        try:
            folder = work / f"{number:04d}"
            ended = _one(attack, server, corpus.folder, folder)
            if not ended.wrong:
                shutil.rmtree(folder, ignore_errors=True)
            return ended
        finally:
            idle.put(server)

    with progress("attacking", len(attacks)) as bar, ThreadPoolExecutor(len(servers)) as pool:

        def told(number: int, attack: Attack) -> Ended:
            ended = run(number, attack)
            bar.advance()
            if ended.wrong:
                _tell(ended)
            return ended

        found = list(pool.map(told, range(len(attacks)), attacks))
    if tree_hash([corpus.folder]) != before:
        found.append(Ended(Attack("all", ()), -1, 0.0, ["a file of the corpus was changed"], "", ""))
    return found


def _tell(one: Ended) -> None:
    print(
        f"\n{one.attack.owner}: {one.attack.name}: {'; '.join(one.wrong)}\n  {one.line[:1500]}\n  {one.said}",
        flush=True,
    )


def _show(found: list[Ended], seconds: float) -> None:
    bad = [one for one in found if one.wrong]
    codes = Counter(str(one.code) for one in found)
    verbs = Counter((one.attack.args[0] if one.attack.args else "")[:12] for one in found)
    print(f"\n{len(found)} attacks on {len(verbs)} verbs in {seconds:.0f} s")
    for verb, n in sorted(verbs.items()):
        missed = sum(1 for one in bad if "".join(one.attack.args[:1])[:12] == verb)
        print(f"  {verb or '(none)':<12} {n:>5} attacks {missed:>5} failed")
    for code, n in sorted(codes.items()):
        print(f"  exit {code:<4} {n:>8}")
    print(f"  failed    {len(bad):>8}")


def main() -> int:
    """Run what is asked for; 1 if an attack succeeded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="attacks whose name or command holds this text")
    parser.add_argument("--corpus", type=Path, help="folder that keeps the files from run to run")
    parser.add_argument("--keep", type=Path, help="folder for what failing attacks leave")
    parser.add_argument("--jobs", type=int, default=max(2, min(8, os.cpu_count() or 2)))
    parser.add_argument("--every", type=int, default=1, help="only one of N attacks")
    parser.add_argument("--deadline", type=float, default=20.0, help="seconds that an attack may take")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mimamba-attack-") as temporary:
        began = time.monotonic()
        with progress("writing hostile files"):
            corpus = open_corpus(asked.corpus or Path(temporary) / "corpus")
        attacks = [a for a in all_attacks(corpus) if asked.only in f"{a.owner}: {a.name} {' '.join(a.args)}"]
        attacks = [replace(a, deadline_s=asked.deadline) for a in sampled(attacks, asked.every)]
        servers = [Server() for _ in range(asked.jobs)]
        found = attack_all(attacks, corpus, asked.keep or Path(temporary) / "work", servers)
        for server in servers:
            server.close()
        _show(found, time.monotonic() - began)
        # Folders that nobody may enter are removed too.
        for path in Path(temporary).rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
    return 1 if any(one.wrong for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
