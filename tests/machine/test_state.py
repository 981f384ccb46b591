"""Power, clocks, heat, memory of whole machines; expected figures worked out by hand from the files."""

import datetime

import pytest

from mimamba_edge.machine import clocks, jetson, memory, power, thermal
from tests.machine import boards


def test_orin_nano(tmp_path) -> None:
    root = boards.orin_nano(tmp_path)
    assert jetson.jetpack(root) == "6.2"
    assert jetson.compute_capability(root) == 87
    assert power.power_mode(root) == power.PowerMode(0, "15W")
    assert power.fastest_mode(root) == power.PowerMode(2, "MAXN_SUPER")
    # 5.008 V x 0.960 A, 5 x 0.104, 5 x 0.288; the sum of shunt voltages is no rail.
    assert power.power_rails(root) == {"VDD_IN": 4807, "VDD_CPU_GPU_CV": 520, "VDD_SOC": 1440}
    assert clocks.gpu_clocks(root) == clocks.Clocks(306, 306, 612)
    assert clocks.cpu_governors(root) == ["schedutil"]
    assert clocks.locked(root) is False
    # cv0 is switched off and cannot be read.
    assert thermal.temperatures(root) == {"cpu": 48.218, "gpu": 48.656, "soc0": 47.25, "tj": 48.656}
    assert thermal.throttled(root) == []
    assert set(thermal.alarms(root).values()) == {0}
    assert memory.meminfo_bytes("MemAvailable", root) == 5123456 * 1024
    assert memory.zram_bytes(root) == 6 * 650248 * 1024
    assert memory.swap_bytes(root) == 0


def test_agx_orin_hot_and_locked(tmp_path) -> None:
    root = boards.agx_orin(tmp_path)
    assert jetson.jetpack(root) == "6.1"
    assert power.power_mode(root) == power.fastest_mode(root) == power.PowerMode(0, "MAXN")
    # NC is not connected; VDDQ's current cannot be read: left out, not 0.
    assert power.power_rails(root) == {"VDD_GPU_SOC": 6348, "VDD_CPU_CV": 1587, "VIN_SYS_5V0": 4052}
    assert clocks.locked(root) is True
    assert thermal.throttled(root) == ["cpu", "gpu"]
    assert thermal.alarms(root) == {
        "under-voltage": 0,
        "average over-current": 2,
        "instantaneous over-current": 37,
    }


def test_thor(tmp_path) -> None:
    root = boards.thor(tmp_path)
    assert (jetson.l4t_release(root), jetson.jetpack(root)) == ("38.4.0", "7.1")
    assert jetson.compute_capability(root) == 110
    # Nothing was ever chosen: the default counts.
    assert power.power_mode(root) == power.PowerMode(1, "120W")
    assert power.power_rails(root) == {"VDD_GPU": 3000, "VDD_CPU_SOC_MSS": 6500, "VIN": 23100}
    assert clocks.gpu_clocks(root) == clocks.Clocks(1386, 315, 1386)
    assert thermal.temperatures(root) == {"cpu": 53.718, "tj": 55.125}
    # A frequency cap of devfreq is no alarm.
    assert thermal.throttled(root) == []


# What users of these boards read: memory and rails by tegrastats, the others from the files.
@pytest.mark.parametrize(
    ("board", "sm", "mode", "fastest", "rails", "zones", "gib"),
    [
        (
            boards.orin_nano_7,
            87,
            "15W",
            "15W",
            {"VDD_IN": 4832, "VDD_CPU_GPU_CV": 1236, "VDD_SOC": 1437},
            6,
            7,
        ),
        (
            boards.agx_orin_7,
            87,
            "MODE_30W",
            "MAXN",
            {"VDD_GPU_SOC": 2265, "VDD_CPU_CV": 2643, "VIN_SYS_5V0": 4722},
            5,
            61,
        ),
        (
            boards.thor_7,
            110,
            "120W",
            "MAXN",
            {"VDD_GPU": 4925, "VDD_CPU_SOC_MSS": 8710, "VIN_SYS_5V0": 6767},
            5,
            122,
        ),
    ],
)
def test_boards_of_jetpack_7(tmp_path, board, sm, mode, fastest, rails, zones, gib) -> None:
    root = board(tmp_path)
    assert (jetson.l4t_release(root), jetson.jetpack(root), jetson.cuda_version(root)) == (
        "39.2.0",
        "7.2",
        "13.2",
    )
    # "Mon Jun  1 09:28:48 PM UTC 2026": twelve hours, where JetPack 6 writes twenty-four.
    assert jetson.release_date(root) == datetime.date(2026, 6, 1)
    assert jetson.compute_capability(root) == sm
    assert (power.power_mode(root).name, power.fastest_mode(root).name) == (mode, fastest)
    assert power.power_rails(root) == rails
    assert len(thermal.temperatures(root)) == zones
    assert clocks.gpu_clocks(root).low_mhz in (306, 315)
    assert memory.meminfo_bytes("MemTotal", root) >> 30 == gib
    assert thermal.throttled(root) == []
    assert not any(thermal.alarms(root).values())
    assert memory.zram_bytes(root) == 0


def test_a_plain_machine_measures_nothing_and_says_none(tmp_path) -> None:
    root = boards.laptop(tmp_path)
    assert power.power_mode(root) is power.fastest_mode(root) is None
    assert power.power_rails(root) == {}
    assert clocks.gpu_clocks(root) is clocks.locked(root) is None
    assert clocks.cpu_clocks(root) == [clocks.Clocks(1800, 400, 4700)]
    assert thermal.alarms(root) is None
    assert thermal.temperatures(root) == {"x86_pkg_temp": 44.0}
    assert memory.swap_bytes(root) == 4194300 * 1024


@pytest.mark.parametrize(
    ("conf", "best"),
    [
        ("< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n", "15W"),
        ("< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=3 NAME=MAXN_SUPER >\n", "MAXN_SUPER"),
        ("< POWER_MODEL ID=0 NAME=SOMETHING >\n", None),
    ],
)
def test_fastest_mode(tmp_path, conf, best) -> None:
    root = boards.write(tmp_path, {"etc/nvpmodel.conf": conf})
    found = power.fastest_mode(root)
    assert (found.name if found else None) == best


def test_broken_files_are_none_not_an_error(tmp_path) -> None:
    root = boards.orin_nano(tmp_path)
    (root / boards.GPU / "cur_freq").write_text("off\n")
    (root / "var/lib/nvpmodel/status").write_text("pmode:0042\n")
    (root / "sys/class/hwmon/hwmon1/curr1_input").unlink()
    assert clocks.gpu_clocks(root) is None
    assert power.power_mode(root) == power.PowerMode(42, "mode 42")
    assert "VDD_IN" not in power.power_rails(root)
