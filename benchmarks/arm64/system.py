"""A Debian arm64 without root rights: laid out of packages, run by an emulator in namespaces of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "arm64"
SYSTEM, FRESH, WHEELS = WORK / "root", WORK / "fresh", WORK / "wheels"
HOME = SYSTEM / "root"
RELEASE, PYTHON, GLIBC = "bookworm", "3.11", 36
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = ("python3", "libstdc++6", "coreutils", "dash", "tar", "gzip")
"""What a system has before the first command of docs/jetson.md."""

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
exec chroot "$root" "$@"
"""
"""The emulator is registered in a namespace of its own and is gone with it: the machine stays as it was."""

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/fakes/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LANG": "C.UTF-8",
    "QEMU_CPU": "cortex-a76",
}


class Missing(Exception):
    """Something that this machine lacks, and how to get it."""


def arm64(
    *command: str,
    env: Mapping[str, str] | None = None,
    limit_s: float | None = None,
    root: Path = SYSTEM,
) -> subprocess.CompletedProcess[str]:
    """Run a command inside; one that takes longer is ended, with 124."""
    emulator = shutil.which("qemu-aarch64-static")
    assert emulator is not None
    # With --fork the namespace's processes end with it; its first one forwards no signal.
    namespace = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child")
    limit = ("timeout", "--signal=INT", "--kill-after=10", str(limit_s)) if limit_s else ()
    call = [*namespace, "sh", "-c", _INSIDE, "sh", str(root), emulator, *limit, *command]
    # The outer PATH names this machine's tools, and where they lie inside is the same.
    outer = {**ENVIRONMENT, **(env or {})}
    outer["PATH"] = f"{outer['PATH']}:{os.environ.get('PATH', '')}"
    return subprocess.run(call, capture_output=True, text=True, errors="replace", env=outer)


def here(*command: object, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Run a command on this machine; return what it prints.

    Raises:
        Missing: It failed.
    """
    words = [str(c) for c in command]
    done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=cwd)
    if done.returncode:
        raise Missing(f"{' '.join(words[:4])} ...\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _apt() -> dict[str, str]:
    """Return the environment in which apt knows Debian's arm64 and nothing of this machine."""
    state = WORK / "apt"
    for folder in ("lists/partial", "archives/partial", "etc/preferences.d", "etc/apt.conf.d"):
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
    return {"APT_CONFIG": str(configuration), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def packages(*names: str, root: Path = SYSTEM) -> int:
    """Lay out packages of Debian with what they need, and return how many; nothing of them is run or set up.

    Raises:
        Missing: Debian has no such package, or its archive cannot be reached.
    """
    env, archives = _apt(), WORK / "apt" / "archives"
    for old in archives.glob("*.deb"):
        old.unlink()
    here("apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "install", *names, env=env)
    laid = sorted(archives.glob("*.deb"))
    for package in laid:
        here("dpkg-deb", "-x", package, root)
    return len(laid)


def lay_out(root: Path = SYSTEM) -> None:
    """Make a root file system anew, with what a board has at first.

    Raises:
        Missing: A tool is not there, or the archive cannot be reached.
    """
    for tool in ("qemu-aarch64-static", "apt-get", "dpkg-deb", "unshare"):
        if shutil.which(tool) is None:
            raise Missing(f"{tool} is not there: on Debian or Ubuntu, apt install qemu-user-static")
    if not KEYRING.is_file():
        raise Missing(f"{KEYRING} is not there: apt install debian-archive-keyring")
    here("apt-get", "-q", "update", env=_apt())
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    packages(*PACKAGES, root=root)
    for folder in ("proc", "dev", "tmp", "root", "opt", "usr/local/bin", "sys/devices/system/cpu"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "bin" / "sh").unlink(missing_ok=True)
    (root / "bin" / "sh").symlink_to("dash")
    (root / "etc" / "cpuinfo").write_text(_CPUINFO, encoding="utf-8")
    for name in ("possible", "present"):
        (root / "sys/devices/system/cpu" / name).write_text("0\n", encoding="utf-8")


def platforms() -> list[str]:
    """Return what tells pip which wheels run inside."""
    names = [f"manylinux_2_{minor}_aarch64" for minor in range(GLIBC, 16, -1)] + ["manylinux2014_aarch64"]
    return [f"--python-version={PYTHON}", "--only-binary=:all:", *(f"--platform={name}" for name in names)]


def fetch_wheels(wheel: Path, extras: str) -> None:
    """Fetch what the wheel needs with these extras, for a pip inside that has no network.

    Raises:
        Missing: An index cannot be reached, or lacks a wheel for arm64.
    """
    shutil.rmtree(WHEELS, ignore_errors=True)
    fetch = [sys.executable, "-m", "pip", "download", "-q", "-d", WHEELS, *platforms()]
    here(*fetch, "-c", ROOT / "constraints.txt", f"{wheel}[{extras}]", "pip")
    # Only for its liblsl, which pylsl's wheels have for x86-64 alone.
    here(*fetch, "--no-deps", "mne-lsl")
    shutil.copytree(WHEELS, SYSTEM / "wheels")
