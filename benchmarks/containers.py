"""The image for CPUs, built and run without Docker and without a registry of images.

    python -m benchmarks containers [--base ubuntu:22.04]        (make containers-check)

Makes the base of packages by mmdebstrap, builds ``containers/Dockerfile.cpu`` by buildah, and runs the
image's command as its user on a read-only root without network. Its decisions must be those made here.
``--base`` takes the base of another Dockerfile: the same steps on a Jetson's Ubuntu, but for NVIDIA's
packages. Takes some minutes.

Needs root, and `apt install buildah mmdebstrap`; on a Debian, Ubuntu's bases need its keyring in
``/usr/share/keyrings``, too. Storage is ``build/containers``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.arm64 import Missing, compare
from mimamba_edge.console import progress, show_table
from mimamba_edge.load import builtin_model

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "containers"
DOCKERFILE = ROOT / "containers" / "Dockerfile.cpu"
SUITES = {
    "debian:trixie-slim": ("trixie", "http://deb.debian.org/debian"),
    "ubuntu:22.04": ("jammy", "http://archive.ubuntu.com/ubuntu"),
    "ubuntu:24.04": ("noble", "http://archive.ubuntu.com/ubuntu"),
}
"""What the bases of our Dockerfiles are made of."""
IMAGE = "localhost/mimamba-edge:check"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BUILD_TOOLS = ("cc", "gcc", "g++", "ld", "make", "cmake", "pip", "pip3", "git")

_INSIDE = r"""
set -e
root=$1 user=$2; shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for folder in tmp var/lib/mimamba-edge var/cache/mimamba-edge; do
    mount -t tmpfs -o mode=1777,size=256m "$folder" "$root/$folder"
done
mount -o remount,bind,ro "$root"
exec env -i "$@"
"""
"""Command line: the root, the user, then the environment and the call."""


def _run(*command: object, cwd: Path = ROOT) -> str:
    env = {**os.environ, "TMPDIR": str(WORK)}
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=cwd, env=env)
    if done.returncode:
        raise Missing(f"{' '.join(str(c) for c in command[:6])} ...\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout.strip()


def _buildah(*command: object) -> str:
    store = ("--root", WORK / "store", "--runroot", WORK / "run", "--storage-driver", "vfs")
    return _run("buildah", *store, *command)


def default_base(dockerfile: Path) -> str:
    """Return the base that a Dockerfile names.

    Raises:
        ValueError: It names none.
    """
    found = re.search(r"^ARG BASE=(\S+)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{dockerfile} has no line ARG BASE=...")
    return found[1]


def make_base(name: str) -> str:
    """Make an image of a distribution's smallest set of packages; return its name.

    It trusts the certificates that this machine trusts, so that an index behind a proxy can be reached.

    Raises:
        Missing: A tool is not there, or the packages cannot be had.
    """
    suite, mirror = SUITES[name]
    archive, pip = WORK / f"{suite}.tar", WORK / "pip.conf"
    if not archive.exists():
        fresh = WORK / f"{suite}.part.tar"
        _run(
            "mmdebstrap",
            "--variant=minbase",
            "--mode=root",
            "--include=apt",
            "--components=main,universe",
            suite,
            fresh,
            mirror,
        )
        fresh.rename(archive)
    inside = Path("/usr/local/share/ca-certificates/host.crt")
    pip.write_text(f"[global]\ncert = {inside}\n", encoding="utf-8")
    container = _buildah("from", "scratch")
    _buildah("add", "-q", container, archive, "/")
    _buildah("add", "-q", container, CERTIFICATES, inside)
    _buildah("add", "-q", container, pip, "/etc/pip.conf")
    _buildah("commit", "-q", "--rm", container, f"localhost/{name}")
    return f"localhost/{name}"


class Image:
    """An image that was built, with its root file system.

    Attributes:
        root: Where its files lie.
        user: Number of its user.
        entry: Command that it starts.
    """

    def __init__(self) -> None:
        self.container = _buildah("from", IMAGE)
        self.root = Path(_buildah("mount", self.container))
        held: dict[str, Any] = json.loads(_buildah("inspect", IMAGE))["OCIv1"]["config"]
        self.user, self.entry = held["User"], held["Entrypoint"]
        self._env = [*held["Env"], "HOME=/var/lib/mimamba-edge"]
        self._folder = held["WorkingDir"]

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell's line as the image's user: read-only root, no network, no new privileges."""
        namespaces = ("unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", _INSIDE, "sh")
        enter = ("chroot", f"--userspec={self.user}", str(self.root), "setpriv", "--no-new-privs", "sh", "-c")
        line = f"cd {self._folder} && {command}"
        call = [*namespaces, str(self.root), self.user, *self._env, *enter, line]
        return subprocess.run(call, capture_output=True, text=True)

    def megabytes(self) -> dict[str, int]:
        """Return the size of the whole and of its largest parts."""
        parts = ("/", "/opt/mimamba-edge", "/usr", "/var")
        return {part: int(_run("du", "-xsm", f"{self.root}{part}").split()[0]) for part in parts}


def check(image: Image) -> list[tuple[str, str, str]]:
    """Run the image; return what, what was found, and the verdict."""
    rows: list[tuple[str, str, str]] = []

    def note(what: str, good: bool, found: str) -> None:
        rows.append((what, " ".join(found.split())[:200], "passed" if good else "missed"))

    (verb,) = image.entry
    # One call, because what lies in the writable folders is gone with it.
    eeg, decisions = "/tmp/eeg", "/var/lib/mimamba-edge/decisions.jsonl"
    model = "$(python3 -c 'from mimamba_edge.load import builtin_model; print(builtin_model())')"
    stream = f"{verb} stream {model} --source {eeg}/run-01.csv --speed max --sink jsonl:{decisions}"
    simulate = "simulate {} --runs 1 --trials 4"
    done = image.run("id -u; touch /opt/mimamba-edge/written 2>&1; grep NoNewPrivs /proc/self/status")
    found = done.stdout.split()
    good = found[0] == image.user.partition(":")[0] != "0" and "Read-only" in done.stdout and found[-1] == "1"
    note("user, read-only root, no new privileges", good, done.stdout + done.stderr)
    tools = image.run(f"for tool in {' '.join(BUILD_TOOLS)}; do command -v $tool; done; true")
    note("no compiler, no pip", not tools.stdout, tools.stdout or "none")
    done = image.run(f"{verb} --version && python3 --version")
    note("--version", done.returncode == 0, done.stdout + done.stderr)
    done = image.run(f"{verb} doctor --json")
    states = [entry["state"] for entry in json.loads(done.stdout)["checks"]] if done.stdout else []
    wrong = states.count("wrong")
    note(
        "doctor",
        done.returncode == 0 and not wrong,
        f"{states.count('ok')} ok, {wrong} wrong{done.stderr[-150:]}",
    )
    done = image.run(f"{verb} {simulate.format(eeg)} >&2 && {stream} >&2 && cat {decisions}")
    if done.returncode:
        note("stream", False, done.stderr[-200:])
    else:
        data = WORK / "eeg"
        shutil.rmtree(data, ignore_errors=True)
        ours = (sys.executable, "-m", "mimamba_edge")
        _run(*ours, *simulate.format(data).split())
        out = _run(*ours, "stream", builtin_model(), "--source", data / "run-01.csv", "--speed", "max")
        there, here_too = ([json.loads(line) for line in text.splitlines()] for text in (done.stdout, out))
        note("stream, as decided here", *compare(there, here_too))
    sizes = image.megabytes()
    note("size", True, ", ".join(f"{part} {size} MB" for part, size in sizes.items()))
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--base", choices=SUITES, default=default_base(DOCKERFILE), help="what to build upon")


def run(arguments: argparse.Namespace) -> int:
    """Run all; return 1 for a finding, 2 where it could not run."""
    try:
        for tool in ("buildah", "mmdebstrap"):
            if shutil.which(tool) is None:
                raise Missing(f"{tool} is not there: on Debian or Ubuntu, apt install {tool}")
        if os.geteuid():
            raise Missing("needs root: the image is run as its own user")
        WORK.mkdir(parents=True, exist_ok=True)
        with progress(f"{arguments.base} of packages"):
            base = make_base(arguments.base)
        with progress("image"):
            build = ("bud", "-q", "--isolation", "chroot", "--network", "host", "--build-arg", f"BASE={base}")
            _buildah(*build, "-f", DOCKERFILE, "-t", IMAGE, ROOT)
        image = Image()
        try:
            rows = check(image)
        finally:
            _buildah("rm", image.container)
    except Missing as error:
        sys.stderr.write(f"containers-check: {error}\n")
        return 2
    show_table(f"Dockerfile.cpu on {arguments.base}", ("", "found", "verdict"), rows, left=(0, 1, 2))
    return 0 if all(row[2] == "passed" for row in rows) else 1
