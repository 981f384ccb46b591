"""The wheel on arm64: installed and run in an emulated Debian arm64.

    python -m benchmarks arm64        (make arm64-check)

Lays out a root file system with Python 3.11 in ``build/arm64``, installs there, offline, the wheel with
ONNX Runtime and what sinks need, and runs the verbs of a device. Its decisions must be those made here.
Takes some minutes, most of them for `bench`; times under emulation say nothing, so nothing is recorded.

Needs no root: Debian or Ubuntu with `apt install qemu-user-static debian-archive-keyring`, and a kernel that
gives user namespaces an emulator of their own (6.7 or newer).
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from mimamba_edge.console import progress, show_table

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "arm64"
SYSTEM, WHEELS, DIST = WORK / "root", WORK / "wheels", WORK / "dist"
RELEASE, PYTHON, GLIBC = "bookworm", "3.11", 36
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = ("python3", "python3-pip-whl", "libstdc++6")
EXTRAS = ("websockets", "pylsl", "python-osc")
"""What sinks and the page need, of the extra ``live``; BrainFlow has no library for arm64 in its wheel."""
CLOSE = 1e-4
"""Largest difference of a probability."""

_CPUINFO = """\
processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""
"""A Cortex-A76, like Orin's A78AE. What an x86 host has in its place crashes ONNX Runtime at its start."""

_INSIDE = r"""
set -e
root=$1 emulator=$2; shift 2
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
echo ":mimamba-arm64:M::$magic:$mask:$emulator:F" > /proc/sys/fs/binfmt_misc/register
for folder in proc dev; do mount --rbind /$folder "$root/$folder"; done
mount --bind "$root/etc/cpuinfo" "$root/proc/cpuinfo"
exec env -i PATH=/usr/sbin:/usr/local/bin:/usr/bin:/bin HOME=/root LANG=C.UTF-8 QEMU_CPU=cortex-a76 \
    chroot "$root" "$@"
"""
"""The emulator is registered in a namespace of its own and is gone with it: the machine stays as it was."""

_MODEL = "from mimamba_edge.load import builtin_model; print(builtin_model())"
_HEAVY = "import importlib.util as u; print([m for m in ('torch', 'onnx', 'mne') if u.find_spec(m)])"
_LSL = """
import glob, os
(os.environ["PYLSL_LIB"],) = glob.glob("/usr/local/lib/python3*/dist-packages/mne_lsl/lsl/lib/liblsl.so*")
import pylsl
pylsl.StreamOutlet(pylsl.StreamInfo("check", "Markers", 1, 0, "string", "check"))
print(pylsl.library_version())
"""


class Missing(Exception):
    """Something that this machine lacks, and how to get it."""


def arm64(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command inside."""
    emulator = shutil.which("qemu-aarch64-static")
    assert emulator is not None
    namespace = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _INSIDE, "sh")
    return subprocess.run([*namespace, str(SYSTEM), emulator, *command], capture_output=True, text=True)


def _run(*command: object, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env, cwd=ROOT)
    if done.returncode:
        raise Missing(f"{' '.join(str(c) for c in command[:4])} ...\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def lay_out() -> None:
    """Make the root file system of packages as they are: nothing of them is run or set up.

    Raises:
        Missing: A tool is not there, or the archive cannot be reached.
    """
    for tool in ("qemu-aarch64-static", "apt-get", "dpkg-deb", "unshare"):
        if shutil.which(tool) is None:
            raise Missing(f"{tool} is not there: on Debian or Ubuntu, apt install qemu-user-static")
    if not KEYRING.is_file():
        raise Missing(f"{KEYRING} is not there: apt install debian-archive-keyring")
    state = WORK / "apt"
    for folder in ("lists/partial", "archives/partial", "etc/preferences.d"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "sources.list").write_text(
        f"deb [signed-by={KEYRING}] http://deb.debian.org/debian {RELEASE} main\n", encoding="utf-8"
    )
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Etc": state / "etc",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
    }
    configuration = state / "apt.conf"
    configuration.write_text("".join(f'{k} "{v}";\n' for k, v in options.items()), encoding="utf-8")
    env = {"APT_CONFIG": str(configuration), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    _run("apt-get", "-q", "update", env=env)
    get = ("apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "install")
    _run(*get, *PACKAGES, env=env)
    shutil.rmtree(SYSTEM, ignore_errors=True)
    SYSTEM.mkdir()
    for package in sorted((state / "archives").glob("*.deb")):
        _run("dpkg-deb", "-x", package, SYSTEM)
    for folder in ("proc", "dev", "tmp", "sys/devices/system/cpu"):
        (SYSTEM / folder).mkdir(parents=True, exist_ok=True)
    (SYSTEM / "etc" / "cpuinfo").write_text(_CPUINFO, encoding="utf-8")
    for name in ("possible", "present"):
        (SYSTEM / "sys/devices/system/cpu" / name).write_text("0\n", encoding="utf-8")


def install() -> None:
    """Build the wheel, fetch what it needs for arm64, and install it inside, offline.

    Raises:
        Missing: An index cannot be reached, or pip refuses.
    """
    for folder in (DIST, WHEELS):
        shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", DIST, ROOT)
    (wheel,) = DIST.glob("*.whl")
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(GLIBC, 16, -1)]
    fetch = [sys.executable, "-m", "pip", "download", "-q", "-d", str(WHEELS), "--only-binary=:all:"]
    fetch += [f"--python-version={PYTHON}", *platforms, "--platform=manylinux2014_aarch64"]
    _run(*fetch, "-c", ROOT / "constraints.txt", f"{wheel}[cpu]", *EXTRAS)
    # Only for its liblsl, which pylsl's wheels have for x86-64 alone.
    _run(*fetch, "--no-deps", "mne-lsl")
    shutil.copytree(WHEELS, SYSTEM / "wheels")
    (pip,) = (SYSTEM / "usr/share/python-wheels").glob("pip-*.whl")
    run = ["python3", f"/usr/share/python-wheels/{pip.name}/pip", "install", "--no-index", "--no-compile"]
    run += ["--find-links=/wheels", "--break-system-packages", "--root-user-action=ignore"]
    for wanted in (("mimamba-edge[cpu]", *EXTRAS), ("--no-deps", "mne-lsl")):
        done = arm64(*run, *wanted)
        if done.returncode:
            raise Missing(f"the wheel does not install on arm64:\n{(done.stdout + done.stderr)[-3000:]}")


def compare(ours: list[dict[str, Any]], here: list[dict[str, Any]]) -> tuple[bool, str]:
    """Return whether decisions made there are those made here, and by how much they differ."""
    facts = ("window", "label", "valid", "reason")
    same = len(ours) == len(here) and all(
        a[key] == b[key] for a, b in zip(ours, here, strict=False) for key in facts
    )
    gaps = [
        abs(p - b["probs"][name])
        for a, b in zip(ours, here, strict=False)
        if a["probs"] and b["probs"]
        for name, p in a["probs"].items()
    ]
    largest = max(gaps, default=math.nan)
    decided = sum(line["valid"] for line in ours)
    said = f"{len(ours)} windows, {decided} decided; labels {'equal' if same else 'DIFFER'}; "
    return same and largest <= CLOSE, said + f"probabilities within {largest:.1e}"


def check() -> list[tuple[str, str, str]]:
    """Run the verbs of a device inside; return what, what was found, and the verdict."""
    rows: list[tuple[str, str, str]] = []
    verb = "/usr/local/bin/mimamba-edge"

    def note(what: str, good: bool, found: str) -> None:
        rows.append((what, " ".join(found.split())[:200], "passed" if good else "missed"))

    def ran(what: str, *command: str) -> str | None:
        with progress(f"arm64: {what}"):
            done = arm64(*command)
        if done.returncode:
            note(what, False, f"ended with {done.returncode}: {(done.stdout + done.stderr)[-150:]}")
        return None if done.returncode else done.stdout

    if (out := ran("--version", verb, "--version")) is not None:
        note("--version", True, out)
    if (out := ran("left out", "python3", "-c", _HEAVY)) is not None:
        note("left out", out.strip() == "[]", f"installed of torch, onnx and mne: {out}")
    if (out := ran("doctor", verb, "doctor", "--json")) is not None:
        states = [entry["state"] for entry in json.loads(out)["checks"]]
        note(
            "doctor",
            True,
            f"{states.count('ok')} ok, warnings: {states.count('warning')}, wrong: {states.count('wrong')}",
        )
    data, model = WORK / "eeg", arm64("python3", "-c", _MODEL).stdout.strip()
    shutil.rmtree(data, ignore_errors=True)
    _run(sys.executable, "-m", "mimamba_edge", "simulate", data, "--runs", "1", "--trials", "4")
    shutil.copytree(data, SYSTEM / "eeg")
    if (
        out := ran("stream", verb, "stream", model, "--source", "/eeg/run-01.csv", "--speed", "max")
    ) is not None:
        ours = _run(sys.executable, "-c", _MODEL).strip()
        call = (sys.executable, "-m", "mimamba_edge", "stream", ours, "--source", data / "run-01.csv")
        here = _run(*call, "--speed", "max")
        there, here_too = ([json.loads(line) for line in text.splitlines()] for text in (out, here))
        note("stream, as decided here", *compare(there, here_too))
    if (out := ran("LSL outlet", "python3", "-c", _LSL)) is not None:
        note("LSL outlet", True, f"pylsl with the liblsl {out} of mne-lsl")
    if ran("bench", verb, "bench", "--report", "/tmp/bench.json") is not None:
        record = json.loads((SYSTEM / "tmp" / "bench.json").read_text(encoding="utf-8"))
        held = record["environment"]["versions"]
        found = f"onnxruntime {held['onnxruntime']}, numpy {held['numpy']}; output checked"
        found += f"; {record['rows'][0]['p50_ms']:.0f} ms, emulated"
        note("bench", all(row["verified"] for row in record["rows"]), found)
    return rows


def run(arguments: argparse.Namespace) -> int:
    """Run all; return 1 for a finding, 2 where it could not run."""
    try:
        with progress("root file system of packages"):
            lay_out()
        inside = arm64(
            "python3", "-c", "import platform; print(platform.machine(), platform.python_version())"
        )
        if inside.returncode:
            raise Missing(f"nothing runs inside; a kernel from 6.7 on is needed\n{inside.stderr[-500:]}")
        with progress("wheel and packages for arm64, installed under emulation"):
            install()
        rows = check()
    except Missing as error:
        sys.stderr.write(f"arm64-check: {error}\n")
        return 2
    show_table(f"{inside.stdout.strip()}, emulated", ("", "found", "verdict"), rows, left=(0, 1, 2))
    return 0 if all(row[2] == "passed" for row in rows) else 1
