"""What an attack is, and how it is judged."""

from __future__ import annotations

import hashlib
import re
import resource
import shlex
import signal
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack.devices import DEVICES
from tests.attack.forks import Job, Result

__all__ = ["ALLOWED", "Attack", "judge", "tree_hash"]

ALLOWED = (0, 1, 2, 130)
MOST_TEXT = 4096
MOST_MIB = 1536
"""The packages alone take about 500 of these."""


@dataclass(frozen=True)
class Attack:
    """One command that must end in good order.

    Attributes:
        name: What it tries.
        args: Arguments; ``{c}`` is the corpus, ``{w}`` the attack's own folder, which is where it runs.
        owner: Whose part of the product it is about.
        copies: Files or folders of the corpus that are copied into ``{w}`` before.
        links: ``(name, where to)`` of links made in ``{w}`` before.
        kept: Whether the copies must stay as they are.
        allowed: Exit codes.
        real: Run a process of its own, whose interpreter starts in this environment.
        env, stdin, stdout, stderr, signals, limits, deadline_s: See :class:`Job`.
    """

    name: str
    args: tuple[str, ...]
    owner: str = "process"
    copies: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    kept: bool = True
    allowed: tuple[int, ...] = ALLOWED
    real: bool = False
    env: dict[str, str | None] = field(default_factory=dict)
    stdin: str = "null"
    stdout: str = "out"
    stderr: str = "err"
    signals: tuple[tuple[float, int], ...] = ()
    limits: tuple[tuple[int, int], ...] = ()
    deadline_s: float = 20.0

    def job(self, corpus: Path, work: Path) -> Job:
        """Return what is to be run in ``work``."""

        def put(text: str) -> str:
            for name in DEVICES:
                text = text.replace(f"{{{name}}}", f"{work}/{name}")
            return text.replace("{c}", str(corpus)).replace("{w}", str(work))

        home = {"HOME": "{w}/home", "XDG_CACHE_HOME": None, "XDG_STATE_HOME": None, "MIMAMBA_CACHE": None}
        env = {**home, "COLUMNS": "100", **self.env}
        return Job(
            args=[put(a) for a in self.args],
            cwd=str(work),
            env={k: None if v is None else put(v) for k, v in env.items()},
            stdin=put(self.stdin),
            stdout=put(self.stdout),
            stderr=put(self.stderr),
            deadline_s=self.deadline_s,
            signals=list(self.signals),
            limits=list(self.limits),
        )

    @property
    def devices(self) -> list[str]:
        """Devices that it needs in its own folder; ``{zero}`` and so on stand for their paths."""
        texts = (*self.args, *(v or "" for v in self.env.values()), self.stdin, self.stdout, self.stderr)
        return [name for name in DEVICES if any(f"{{{name}}}" in text for text in texts)]

    def command(self, job: Job) -> str:
        """Return the line to try it by hand."""
        words = [*(f"{k}={shlex.quote(v)}" for k, v in self.env_of(job).items()), "mimamba-edge"]
        line = " ".join([*words, *map(shlex.quote, job.args)])
        for mark, value, plain in (
            ("<", job.stdin, "null"),
            (">", job.stdout, "out"),
            ("2>", job.stderr, "err"),
        ):
            if value != plain:
                line += f" {mark}{'&-' if value == 'closed' else value}"
        return f"cd {shlex.quote(job.cwd)} && {line}"

    def env_of(self, job: Job) -> dict[str, str]:
        """Return what of the environment is the attack's own."""
        return {k: str(job.env[k]) for k in self.env if job.env[k] is not None}


def tree_hash(paths: list[Path]) -> str:
    """Return a hash of names, kinds and bytes of files and folders; links and pipes count as themselves."""
    digest = hashlib.sha256()
    for top in paths:
        for path in sorted([top, *(top.rglob("*") if top.is_dir() and not top.is_symlink() else ())]):
            digest.update(str(path).encode("utf-8", "surrogateescape"))
            if path.is_symlink():
                digest.update(str(path.readlink()).encode())
            elif path.is_file():
                digest.update(hashlib.sha256(path.read_bytes()).digest())
            else:
                digest.update(b"there" if path.exists() else b"gone")
    return digest.hexdigest()


def _interrupted_before(attack: Attack, result: Result, err: bytes) -> bool:
    """Return whether Ctrl-C came while Python itself was starting: what it says then is not ours.

    Each traceback of ours passes through ``main`` in ``cli/__init__.py``. -2 is what a shell calls 130.
    """
    return (
        attack.real
        and signal.SIGINT in [number for _, number in attack.signals]
        and result.code in (-signal.SIGINT, 1)
        and re.search(rb'/cli/__init__\.py", line \d+, in main', err) is None
    )


def judge(attack: Attack, result: Result, out: bytes, err: bytes) -> list[str]:
    """Return what is wrong with how an attack ended."""
    wrong: list[str] = []
    if _interrupted_before(attack, result, err):
        return wrong
    if result.late:
        wrong.append(f"no end within {attack.deadline_s:g} s")
    elif result.code not in attack.allowed:
        wrong.append(f"exit {result.code}")
    for word in (b"Traceback (most recent call last)", b"Exception ignored", b"Fatal Python error"):
        if word in err or word in out:
            wrong.append(word.decode())
    if len(err) > MOST_TEXT and result.code != 0:
        wrong.append(f"{len(err):,} bytes of error text")
    # What it says is a file too, which a limit may stop.
    silent = attack.stderr != "err" or resource.RLIMIT_FSIZE in [what for what, _ in attack.limits]
    if result.code == 2 and not err.strip() and not silent:
        wrong.append("exit 2 without a word")
    if result.mib > MOST_MIB:
        wrong.append(f"{result.mib:,.0f} MiB")
    return wrong
