"""Which Jetson this is: L4T release, JetPack, module and compute capability, from files under ``root``.

File names and contents are those of NVIDIA's Jetson Linux Developer Guide; where it is silent, of the
raw data that users attach to rbonghi/jetson_stats "Hardware missing" issues (for Thor: issue 711).
"""

from __future__ import annotations

import datetime
import re
from pathlib import Path

from mimamba_edge.machine.files import packages, read_text
from mimamba_edge.naming import version_numbers

__all__ = [
    "JETPACK_OF_L4T",
    "compute_capability",
    "cuda_version",
    "is_jetson",
    "jetpack",
    "l4t_release",
    "module_name",
    "neighbours",
    "release_date",
    "tensorrt_majors",
]

_ROOT = Path("/")

JETPACK_OF_L4T = {
    "39.2.1": "7.2.1",
    "39.2.0": "7.2",
    "39.0.0": "7.2 EA",
    "38.4.0": "7.1",
    "38.2.2": "7.0",
    "38.2.1": "7.0",
    "38.2.0": "7.0",
    "36.5.2": "6.2.3",
    "36.5.0": "6.2.2",
    "36.4.7": "6.2.1",
    "36.4.4": "6.2.1",
    "36.4.3": "6.2",
    "36.4.2": "6.1",
    "36.4.0": "6.1",
    "36.3.0": "6.0",
    "36.2.0": "6.0 DP",
    "36.0.0": "6.0 EA",
    "35.6.4": "5.1.6",
    "35.6.3": "5.1.5",
    "35.6.2": "5.1.5",
    "35.6.1": "5.1.5",
    "35.6.0": "5.1.4",
    "35.5.0": "5.1.3",
    "35.4.1": "5.1.2",
    "35.3.1": "5.1.1",
    "35.2.1": "5.1",
    "35.1.0": "5.0.2",
}
"""JetPack by Jetson Linux release, newest first.

Sources: NVIDIA, JetPack Archive, as rbonghi/jetson_stats (jtop/core/jetson_variables.py, July 2026) keeps it;
36.5.2 and 39.2.1: release notes of OE4T/meta-tegra, August 2026. JetPack 7.2.2, which NVIDIA's documents of
TensorRT 11.4.1 name, is left out: nothing public says its release.
"""

_JETPACK_MAJOR = {"39": "7", "38": "7", "36": "6", "35": "5", "34": "5", "32": "4"}

_CUDA_OF_JETPACK = {"6": "12.6", "7.0": "13.0", "7.1": "13.0", "7": "13.2"}
"""CUDA of JetPack 6.1 to 6.2.3, of 7.0 and 7.1, and of 7.2 (NVIDIA, JetPack's release notes)."""

_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"

_SM_OF_SOC = {"tegra264": 110, "tegra234": 87, "tegra194": 72}
"""Compute capability by system on chip (NVIDIA, CUDA GPUs: Thor 11.0, Orin 8.7, Xavier 7.2)."""


def l4t_release(root: Path = _ROOT) -> str | None:
    """Return the Jetson Linux (L4T) release as ``"36.4.3"``, or ``None`` on another machine.

    ``/etc/nv_tegra_release`` begins ``# R36 (release), REVISION: 4.3, GCID: ...``; images that lack it
    have the package nvidia-l4t-core, version ``36.4.3-20250107174145``.
    """
    text = read_text(root / "etc/nv_tegra_release") or ""
    if found := re.match(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", text):
        return ".".join([*f"{found[1]}.{found[2]}".split("."), "0", "0"][:3])
    version = packages(root, "nvidia-l4t-core").get("nvidia-l4t-core")
    return version.split("-")[0] if version else None


def jetpack(root: Path = _ROOT) -> str | None:
    """Return the JetPack version as ``"6.2"``, or ``None`` where it is unknown or there is none.

    The installed package nvidia-jetpack says it (``6.2.1+b38``). It is optional (Jetson Linux alone runs
    without), so else :data:`JETPACK_OF_L4T` tells which JetPack the release belongs to, and for releases
    that are not in it, its major version (``"6"``) alone.
    """
    release = l4t_release(root)
    if release is None:
        return None
    version = packages(root, "nvidia-jetpack").get("nvidia-jetpack")
    if version:
        return version.split("+")[0].split("-")[0]
    return JETPACK_OF_L4T.get(release) or _JETPACK_MAJOR.get(release.split(".")[0])


def neighbours(release: str) -> str:
    """Return, in words, where a release that is not in :data:`JETPACK_OF_L4T` lies among those that are."""
    known = sorted(JETPACK_OF_L4T, key=version_numbers)
    below = [one for one in known if version_numbers(one) < version_numbers(release)]
    above = known[len(below) :]
    named = [f"{one} (JetPack {JETPACK_OF_L4T[one]})" for one in (*below[-1:], *above[:1])]
    if not above:
        return f"newer than {named[0]}, the newest that is known"
    return f"between {named[0]} and {named[1]}" if below else f"older than {named[0]}"


def cuda_version(root: Path = _ROOT) -> str | None:
    """Return the CUDA version that belongs to this board's JetPack, ``"12.6"``; ``None`` where unknown."""
    version = jetpack(root) or ""
    return next((cuda for start, cuda in _CUDA_OF_JETPACK.items() if version.startswith(start)), None)


def tensorrt_majors(root: Path = _ROOT) -> tuple[int, ...]:
    """Return the major versions of TensorRT whose library Debian's packages have installed, lowest first.

    NVIDIA's packages are named by it: libnvinfer8 of JetPack 5 and 6.0, libnvinfer10 of 6.1 and later.
    """
    held = packages(root, *(f"libnvinfer{major}" for major in range(7, 20)))
    return tuple(sorted(int(name.removeprefix("libnvinfer")) for name in held))


def release_date(root: Path = _ROOT) -> datetime.date | None:
    """Return the day on which this board's Jetson Linux was made; ``None`` where it is not told.

    The first line of ``/etc/nv_tegra_release`` ends with ``DATE: Wed Jan  8 01:49:37 UTC 2025``.
    """
    text = read_text(root / "etc/nv_tegra_release") or ""
    found = re.search(r"DATE: \w+ (\w{3}) +(\d+) .* (\d{4})$", text, re.MULTILINE)
    if found is None or _MONTHS.find(found[1]) % 3:
        return None
    return datetime.date(int(found[3]), _MONTHS.find(found[1]) // 3 + 1, int(found[2]))


def module_name(root: Path = _ROOT) -> str | None:
    """Return the module's name, such as ``"NVIDIA Jetson Orin Nano Developer Kit"``, or ``None``.

    The device tree's ``model``, or without one (carrier boards of other makers may leave it out) the
    first entry of ``compatible``. ``None`` on machines whose device tree is not NVIDIA's, or that have none.
    """
    if compute_capability(root) is None:
        return None
    tree = root / "proc/device-tree"
    return read_text(tree / "model") or (read_text(tree / "compatible") or "").splitlines()[0]


def compute_capability(root: Path = _ROOT) -> int | None:
    """Return the integrated GPU's compute capability as ``87``, or ``None`` where there is no known Tegra.

    The last entry of the device tree's ``compatible`` names the chip: ``nvidia,p3768-0000+p3767-0005``,
    ``nvidia,p3767-0005``, ``nvidia,tegra234``.
    """
    for entry in (read_text(root / "proc/device-tree/compatible") or "").splitlines():
        soc = entry.removeprefix("nvidia,")
        if soc in _SM_OF_SOC:
            return _SM_OF_SOC[soc]
    return None


def is_jetson(root: Path = _ROOT) -> bool:
    """Whether this is a Jetson: NVIDIA's chip in the device tree, or its Linux installed.

    A container on a Jetson often sees only one of both.
    """
    return compute_capability(root) is not None or l4t_release(root) is not None
