"""Which Jetson: real file contents; sources beside each."""

import datetime

import pytest

from mimamba_edge.machine import files, jetson
from tests.machine import boards


# First line of the file on three releases: rbonghi/jetson_stats issue 711 for R38; the others by its pattern.
@pytest.mark.parametrize(
    ("line", "release", "jetpack"),
    [
        (
            "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, DATE: Fri\n",
            "38.2.0",
            "7.0",
        ),
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n", "36.4.3", "6.2"),
        ("# R36 (release), REVISION: 9.9, GCID: 1\n", "36.9.9", "6"),
        ("# R35 (release), REVISION: 6.0, GCID: 1\n", "35.6.0", "5.1.4"),
        ("# R36 (release), REVISION: 5.2, GCID: 46426093, BOARD: generic\n", "36.5.2", "6.2.3"),
        ("# R39 (release), REVISION: 2.1, GCID: 46758480, BOARD: generic\n", "39.2.1", "7.2.1"),
        ("# R99 (release), REVISION: 1.0, GCID: 1\n", "99.1.0", None),
        ("something else\n", None, None),
    ],
)
def test_release_and_jetpack(tmp_path, line, release, jetpack) -> None:
    root = boards.write(tmp_path, {"etc/nv_tegra_release": line})
    assert jetson.l4t_release(root) == release
    assert jetson.jetpack(root) == jetpack
    assert jetson.is_jetson(root) is (release is not None)


def test_packages_say_more_than_the_table(tmp_path) -> None:
    status = (
        "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 36.4.4-20250616085344\n"
        "Description: NVIDIA Core Package\n Package: not this\n\n"
        "Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 6.2.1+b38\n\n"
        "Package: removed\nStatus: deinstall ok config-files\nVersion: 1\n"
    )
    root = boards.write(tmp_path, {"var/lib/dpkg/status": status})
    assert jetson.l4t_release(root) == "36.4.4"
    assert jetson.jetpack(root) == "6.2.1"
    assert files.packages(root, "removed", "nvidia-jetpack") == {"nvidia-jetpack": "6.2.1+b38"}


def test_module_and_capability(tmp_path) -> None:
    root = boards.thor(tmp_path)
    assert jetson.module_name(root) == "NVIDIA Jetson AGX Thor Developer Kit"
    assert jetson.compute_capability(root) == 110
    (root / "proc/device-tree/model").unlink()
    assert jetson.module_name(root) == "nvidia,p4071-0000+p3834-0008"


def test_other_machines_have_none_of_it(tmp_path) -> None:
    # A Raspberry Pi has a device tree too.
    tree = {"model": "Raspberry Pi 5\0", "compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0"}
    root = boards.write(tmp_path, {f"proc/device-tree/{name}": text for name, text in tree.items()})
    assert jetson.module_name(root) is None
    assert jetson.compute_capability(root) is None
    assert jetson.jetpack(root) is None
    assert not jetson.is_jetson(root)
    assert not jetson.is_jetson(tmp_path / "nothing")


def test_where_an_unknown_release_lies() -> None:
    assert jetson.neighbours("36.4.5") == "between 36.4.4 (JetPack 6.2.1) and 36.4.7 (JetPack 6.2.1)"
    assert jetson.neighbours("37.1.0") == "between 36.5.2 (JetPack 6.2.3) and 38.2.0 (JetPack 7.0)"
    assert jetson.neighbours("40.0.0") == "newer than 39.2.1 (JetPack 7.2.1), the newest that is known"
    assert jetson.neighbours("32.7.1") == "older than 35.1.0 (JetPack 5.0.2)"


def test_cuda_and_day_of_a_release(tmp_path) -> None:
    new = boards.flashed(boards.thor, "7.2.1")(tmp_path / "new")
    assert (jetson.jetpack(new), jetson.cuda_version(new)) == ("7.2.1", "13.2")
    assert jetson.release_date(new) == datetime.date(2026, 8, 7)
    old = boards.thor(tmp_path / "old")
    assert (jetson.jetpack(old), jetson.cuda_version(old)) == ("7.1", "13.0")
    nano = boards.orin_nano(tmp_path / "nano")
    assert (jetson.cuda_version(nano), jetson.release_date(nano)) == ("12.6", datetime.date(2025, 1, 8))
    assert jetson.cuda_version(tmp_path) is jetson.release_date(tmp_path) is None
