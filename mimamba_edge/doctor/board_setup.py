"""What `doctor` looks at of a Jetson's setup: its date, rights to the GPU and to headsets, compilers."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

from mimamba_edge.doctor.health_check import HealthCheck
from mimamba_edge.machine.files import packages, read_text
from mimamba_edge.machine.jetson import cuda_version, is_jetson, release_date

__all__ = ["setup"]

_NODES = ("dev/nvmap", "dev/nvgpu/igpu0/ctrl", "dev/nvhost-gpu", "dev/nvidia0", "dev/nvidiactl")
"""What CUDA opens: nvmap and nvgpu of Orin, which belong to the group video (canonical/snapd, interface
nvidia-drivers-support for Tegra; NVIDIA's kernel driver nvgpu), the nodes of NVIDIA's open driver of Thor."""
_BOTH = os.R_OK | os.W_OK
_RIGHT_OF = {"dev/nvmap": os.R_OK}
"""Some releases let the group video only read it (NVIDIA/NemoClaw pull request 7762)."""
# video: the nodes above; render: /dev/dri/renderD*, which NVIDIA's containers ask for, too (same source).
_RIGHTS = (
    'sudo usermod -a -G video,render "$USER", then log out and in again; a service: '
    "SupplementaryGroups=video render"
)
_UBUNTUS = "nvidia-cuda-toolkit"


def setup(root: Path = Path("/"), today: datetime.date | None = None) -> Iterator[HealthCheck]:
    """Look at what was to be installed and set; no line on other machines.

    Args:
        root: Where the machine's files are.
        today: The day that its clock shows; by default now.
    """
    if is_jetson(root):
        yield _date(root, today or datetime.datetime.now(datetime.timezone.utc).date())
        yield _gpu_nodes(root)
        yield from _compilers(root)
        yield from _headsets(root)


def _date(root: Path, today: datetime.date) -> HealthCheck:
    made = release_date(root)
    if made is not None and today < made:
        value = (
            f"{today}, before this Jetson Linux was made ({made}): the clock has no battery, or was not set"
        )
        remedy = "sudo timedatectl set-ntp true; without a network: sudo date -s 'YYYY-MM-DD HH:MM'"
        return HealthCheck("date", "wrong", value, remedy)
    return HealthCheck("date", "ok", str(today))


def _gpu_nodes(root: Path) -> HealthCheck:
    nodes = [name for name in _NODES if (root / name).exists()]
    if not nodes:
        remedy = "in a container: docker run --runtime nvidia; on the board itself: sudo reboot"
        return HealthCheck("GPU access", "warning", "no device of the GPU's driver is here", remedy)
    closed = [f"/{name}" for name in nodes if not os.access(root / name, _RIGHT_OF.get(name, _BOTH))]
    if closed:
        return HealthCheck("GPU access", "wrong", f"this user may not open {', '.join(closed)}", _RIGHTS)
    return HealthCheck("GPU access", "ok", ", ".join(f"/{name}" for name in nodes))


def _program(root: Path, name: str, *more: str) -> Path | None:
    """Return where a program is, on the PATH or in further folders, below ``root``."""
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder.startswith("/")]
    paths = [root / folder.lstrip("/") / name for folder in (*folders, *more)]
    return next((path for path in paths if path.is_file()), None)


def _compilers(root: Path) -> Iterator[HealthCheck]:
    """Look for what compiles the plugin library; not needed where one was copied to the board."""
    if packages(root, _UBUNTUS):
        value = f"{_UBUNTUS} is Ubuntu's, of another CUDA, and its nvcc is found first"
        yield HealthCheck("nvcc", "wrong", value, f"sudo apt remove {_UBUNTUS}")
    cuda = cuda_version(root)
    wanted = {
        "nvcc": f"cuda-toolkit-{cuda.replace('.', '-')}" if cuda else "nvidia-jetpack",
        "cmake": "cmake",
        "g++": "g++",
    }
    found = {name: _program(root, name, "usr/local/cuda/bin") for name in wanted}
    missing = [name for name, path in found.items() if path is None]
    if not missing:
        yield HealthCheck(
            "compilers", "ok", ", ".join(f"/{path.relative_to(root)}" for path in found.values() if path)
        )
        return
    remedy = f"sudo apt install {' '.join(wanted[name] for name in missing)}"
    value = f"no {', no '.join(missing)}"
    if _has_library():
        yield HealthCheck(
            "compilers", "ok", f"{value}; the plugin library is there", f"to build it here: {remedy}"
        )
    else:
        yield HealthCheck("compilers", "warning", f"{value}: the plugin library cannot be built here", remedy)


def _has_library() -> bool:
    from mimamba_edge.errors import PluginError
    from mimamba_edge.trt.library import list_plugins

    try:
        return bool(list_plugins())
    except PluginError:  # said in its own line
        return False


def _headsets(root: Path) -> Iterator[HealthCheck]:
    """Look whether this user may reach headsets; only where BrainFlow is installed."""
    try:
        importlib.metadata.version("brainflow")
    except importlib.metadata.PackageNotFoundError:
        return
    if not packages(root, "bluez"):
        value = "bluez is not installed: no headset by Bluetooth"
        yield HealthCheck(
            "headset access", "warning", value, "sudo apt install bluez libdbus-1-dev libbluetooth-dev"
        )
        return
    lines = (line.split(":") for line in (read_text(root / "etc/group") or "").splitlines())
    numbers = {fields[0]: fields[2] for fields in lines if len(fields) >= 3}
    mine = {str(number) for number in (os.getgid(), *os.getgroups())}
    lacking = [name for name in ("bluetooth", "dialout") if name in numbers and numbers[name] not in mine]
    if lacking and os.geteuid() != 0:
        value = f"this user is not in {' and '.join(lacking)}: no Bluetooth, no serial ports"
        remedy = f'sudo usermod -a -G {",".join(lacking)} "$USER", then log out and in again'
        yield HealthCheck("headset access", "warning", value, remedy)
    else:
        yield HealthCheck("headset access", "ok", "Bluetooth and serial ports")
