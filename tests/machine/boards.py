"""Small folder trees that look like real machines, written from documented file contents.

Sources, by what they tell:

- Device trees, first lines of nv_tegra_release: rbonghi/jetson_stats issues 711 (Thor) and 864 (AGX Orin,
  39.2.0); reports of users of 36.4.3, 38.4.0 and 39.2.1. Packages of JetPack 7.2: read from a Thor
  (roboflow/inference pull request 2531); nvidia-l4t-core 39.2.0-20260601141651, nvidia-jetpack 7.2-b187.
- Orin Nano with 39.2.0, flashed without the super configuration: a user's report of 2026-09-04 (power modes,
  `jetson_clocks --show`, thermal zones, rails, memory, no swap). AGX Orin and Thor with 39.2.0: lines of
  tegrastats of July 2026 (zones, rails, memory, clocks of the CPU). Both were found by a search of public
  files that does not tell their repositories.
- Files of the GPU: 17000000.gpu on Orin, gpu-gpc-0 on Thor (jetson_stats pull request 867, issue 885); device
  nodes: canonical/snapd, interface nvidia-drivers-support.
- Power modes, INA3221 rails, over-current counters: NVIDIA, Jetson Linux Developer Guide, Platform Power and
  Performance; AGX Orin's modes by number: jetson_stats issue 428 ("[0]MAXN - Default: 2").
- Kernel: driver tegra23x-oc-event (soctherm_oc), documents hwmon/ina3221, hwmon/ina238, thermal/sysfs-api,
  sysfs-class-devfreq. Paths: jetson_stats, jtop/core.

Not found in public, and taken from the release before: nvpmodel.conf and the bounds of the GPU's clock of AGX
Orin and Thor with 39.2.0. Volts of a rail are made up where only its watts are known.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

MEMINFO = "MemTotal:        {total} kB\nMemFree:          812345 kB\nMemAvailable:    {free} kB\n"
SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
GPU = "sys/class/devfreq/17000000.gpu"
THOR_GPU = "sys/class/devfreq/gpu-gpc-0"


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write files by path under ``root``."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def _status(**versions: str) -> str:
    stanza = "Package: {}\nStatus: install ok installed\nArchitecture: arm64\nVersion: {}\nDescription: x\n"
    return "\n".join(stanza.format(name.replace("_", "-"), version) for name, version in versions.items())


def _chip(number: int, name: str, **files: object) -> dict[str, str]:
    at = f"sys/class/hwmon/hwmon{number}"
    return {f"{at}/name": f"{name}\n", **{f"{at}/{key}": f"{value}\n" for key, value in files.items()}}


def _rails(number: int, **milliwatts: int) -> dict[str, str]:
    """Return an INA3221 whose channels have this power at 1 V."""
    out = _chip(number, "ina3221")
    for channel, (name, power) in enumerate(milliwatts.items(), 1):
        files = {f"in{channel}_label": name, f"in{channel}_input": 1000, f"curr{channel}_input": power}
        out |= _chip(number, "ina3221", **files)
    return out


def _clocks(device: str, gpu_hz: tuple[int, int, int], cpu_khz: tuple[int, int, int]) -> dict[str, str]:
    policy = "sys/devices/system/cpu/cpufreq/policy0"
    out = {f"{device}/{name}_freq": f"{hz}\n" for name, hz in zip(("cur", "min", "max"), gpu_hz, strict=True)}
    names = ("cur", "min", "max")
    out |= {f"{policy}/scaling_{name}_freq": f"{khz}\n" for name, khz in zip(names, cpu_khz, strict=True)}
    return {**out, f"{policy}/scaling_governor": "schedutil\n"}


def _heat(**zones: int | None) -> dict[str, str]:
    out = {}
    for index, (name, value) in enumerate(zones.items()):
        at = f"sys/class/thermal/thermal_zone{index}"
        out[f"{at}/type"] = f"{name}-thermal\n"
        if value is not None:
            out[f"{at}/temp"] = f"{value}\n"
    return out


def _cooling(**states: int) -> dict[str, str]:
    out: dict[str, str] = {}
    for index, (name, state) in enumerate(states.items()):
        at = f"sys/class/thermal/cooling_device{index}"
        out |= {f"{at}/type": name.replace("_", "-") + "\n", f"{at}/cur_state": f"{state}\n"}
    return out


def _installed(cuda: str) -> dict[str, str]:
    """Return what docs/jetson.md installs: compilers (nvcc not on the PATH), groups."""
    programs = ("usr/bin/cmake", "usr/bin/g++", "usr/local/cuda/bin/nvcc")
    return {
        **dict.fromkeys(programs, ""),
        "usr/local/cuda/version.json": f'{{"cuda": {{"name": "CUDA SDK", "version": "{cuda}"}}}}\n',
        "etc/group": "root:x:0:\nvideo:x:44:nvidia\ndialout:x:20:\nbluetooth:x:117:\nrender:x:105:nvidia\n",
    }


def _nodes(names: tuple[str, ...]) -> dict[str, str]:
    return {f"dev/{name}": "" for name in names}


ORIN_NODES, THOR_NODES = ("nvmap", "nvgpu/igpu0/ctrl"), ("nvmap", "nvidia0", "nvidiactl")


@dataclass(frozen=True)
class Release:
    """What a JetPack puts on every board: its line in nv_tegra_release, packages, Python, CUDA."""

    revision: str
    gcid: int
    date: str
    packages: dict[str, str]
    python: str
    cuda: str

    def files(self) -> dict[str, str]:
        """Return these files."""
        number, rest = self.revision.split(".", 1)
        first = f"# R{number} (release), REVISION: {rest}, GCID: {self.gcid}, BOARD: generic, EABI: aarch64, "
        return {
            "etc/nv_tegra_release": f"{first}DATE: {self.date}\n",
            "var/lib/dpkg/status": _status(**self.packages),
            f"usr/lib/python{self.python}/dist-packages/tensorrt/__init__.py": "",
            **_installed(self.cuda),
        }


RELEASES = {
    "6.2": Release(
        *("36.4.3", 38968081, "Wed Jan  8 01:49:37 UTC 2025"),
        {
            "nvidia_l4t_core": "36.4.3-20250107174145",
            "libnvinfer10": "10.3.0.30-1+cuda12.5",
            "bluez": "5.64-0ubuntu1",
        },
        *("3.10", "12.6.11"),
    ),
    "7.2": Release(
        *("39.2.0", 45755727, "Mon Jun  1 09:28:48 PM UTC 2026"),
        {
            "nvidia_l4t_core": "39.2.0-20260601141651",
            "nvidia_jetpack": "7.2-b187",
            "libnvinfer10": "10.16.2.10-1+cuda13.2",
            "bluez": "5.72-0ubuntu5",
        },
        *("3.12", "13.2.2"),
    ),
    "7.2.1": Release(
        *("39.2.1", 46758480, "Fri Aug 7 05:54:22 AM UTC 2026"),
        {
            "nvidia_l4t_core": "39.2.1-20260807054142",
            "libnvinfer10": "10.16.2.10-1+cuda13.2",
            "bluez": "5.72-0ubuntu5",
        },
        *("3.12", "13.2.2"),
    ),
}


def orin_nano(root: Path) -> Path:
    """Orin Nano developer kit, JetPack 6.2, mode 15W of a super flash, clocks free, no throttling."""
    return write(
        root,
        {
            **RELEASES["6.2"].files(),
            **_nodes(ORIN_NODES),
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
            "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0"
            "nvidia,tegra234\0",
            "etc/nvpmodel.conf": "# comment: < POWER_MODEL ID=9 NAME=NOT_THIS >\n"
            "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=25W >\n"
            "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< POWER_MODEL ID=3 NAME=7W >\n< PM_CONFIG DEFAULT=1 >\n",
            "var/lib/nvpmodel/status": "pmode:0000\n",
            "proc/meminfo": MEMINFO.format(total=7802996, free=5123456),
            "proc/swaps": SWAPS + "".join(f"/dev/zram{i} partition\t650248\t\t0\t\t5\n" for i in range(6)),
            **_clocks(GPU, (306000000, 306000000, 612000000), (1510400, 729600, 1510400)),
            **_chip(
                1,
                "ina3221",
                in1_label="VDD_IN",
                in1_input=5008,
                curr1_input=960,
                in2_label="VDD_CPU_GPU_CV",
                in2_input=5000,
                curr2_input=104,
                in3_label="VDD_SOC",
                in3_input=5000,
                curr3_input=288,
                in7_label="sum of shunt voltages",
                in7_input=6,
                curr7_input=1,
            ),
            **_chip(3, "soctherm_oc", oc1_event_cnt=0, oc2_event_cnt=0, oc3_event_cnt=0, oc1_throt_en=1),
            **_heat(cpu=48218, gpu=48656, cv0=None, soc0=47250, tj=48656),
            **_cooling(cpufreq_cpu0=0, pwm_fan=2, cpu_throttle_alert=0, gpu_throttle_alert=0),
        },
    )


def agx_orin(root: Path) -> Path:
    """AGX Orin developer kit, JetPack 6.1, MAXN with jetson_clocks on, hot, supply too weak."""
    return write(
        root,
        {
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, "
            "EABI: aarch64, DATE: Fri Sep 13 04:36:44 UTC 2024\n",
            "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0"
            "nvidia,p3701-0005\0nvidia,tegra234\0",
            "var/lib/dpkg/status": _status(nvidia_jetpack="6.1+b123", bluez="5.64-0ubuntu1"),
            **_installed("12.6.11"),
            **_nodes(ORIN_NODES),
            "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=MODE_15W >\n"
            "< POWER_MODEL ID=2 NAME=MODE_30W >\n< POWER_MODEL ID=3 NAME=MODE_50W >\n"
            "< PM_CONFIG DEFAULT=2 >\n",
            "var/lib/nvpmodel/status": "pmode:0000\n",
            "proc/meminfo": MEMINFO.format(total=64349232, free=58000000),
            **_clocks(GPU, (1300500000,) * 3, (2201600,) * 3),
            **_chip(
                0,
                "ina3221",
                in1_label="VDD_GPU_SOC",
                in1_input=19840,
                curr1_input=320,
                in2_label="VDD_CPU_CV",
                in2_input=19840,
                curr2_input=80,
                in3_label="VIN_SYS_5V0",
                in3_input=5016,
                curr3_input=808,
            ),
            **_chip(1, "ina3221", in1_label="NC", in2_label="VDDQ_VDD2_1V8AO", in2_input=5016),
            **_chip(4, "soctherm_oc", oc1_event_cnt=0, oc2_event_cnt=2, oc3_event_cnt=37),
            **_heat(cpu=99500, gpu=98000, tj=99500),
            **_cooling(cpu_throttle_alert=1, gpu_throttle_alert=1, pwm_fan=3, hot_surface_alert=1),
        },
    )


def thor(root: Path) -> Path:
    """AGX Thor developer kit, JetPack 7.1, mode 120W by default, no status file yet."""
    return write(
        root,
        {
            "etc/nv_tegra_release": "# R38 (release), REVISION: 4.0, GCID: 43443517, BOARD: generic, "
            "EABI: aarch64, DATE: Wed Dec 31 00:15:19 UTC 2025\n",
            "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0"
            "nvidia,p3834-0008\0nvidia,tegra264\0",
            "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=120W >\n"
            "< POWER_MODEL ID=2 NAME=90W >\n< POWER_MODEL ID=3 NAME=70W >\n< PM_CONFIG DEFAULT=1 >\n",
            "usr/lib/python3.12/dist-packages/tensorrt/__init__.py": "",
            **_installed("13.0.2"),
            **_nodes(THOR_NODES),
            "proc/meminfo": MEMINFO.format(total=128790092, free=104857600),
            **_clocks(THOR_GPU, (1386000000, 315000000, 1386000000), (2601000, 972000, 2601000)),
            **_chip(
                2,
                "ina3221",
                in1_label="VDD_GPU",
                in1_input=20000,
                curr1_input=150,
                in2_label="VDD_CPU_SOC_MSS",
                in2_input=20000,
                curr2_input=325,
            ),
            **_chip(3, "ina238", label="VIN", power1_input=23100000, in1_input=20000, curr1_input=1155),
            **_chip(5, "soctherm_oc", oc1_event_cnt=0, oc2_event_cnt=0, oc3_event_cnt=0),
            **_heat(cpu=53718, gpu=None, tj=55125),
            **_cooling(gpu_throttle_alert=0, devfreq_gpu_gpc_0=18),
        },
    )


def orin_nano_7(root: Path) -> Path:
    """Orin Nano developer kit, JetPack 7.2, flashed without the super configuration: it ends at 15 W."""
    return write(
        root,
        {
            **RELEASES["7.2"].files(),
            **_nodes(ORIN_NODES),
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0"
            "nvidia,tegra234\0",
            "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n"
            "< PM_CONFIG DEFAULT=0 >\n",
            "proc/meminfo": MEMINFO.format(total=7665664, free=5662310),
            "proc/swaps": SWAPS,
            **_clocks(GPU, (306000000, 306000000, 624750000), (1420800, 729600, 1510400)),
            **_rails(1, VDD_IN=4832, VDD_CPU_GPU_CV=1236, VDD_SOC=1437),
            **_chip(3, "soctherm_oc", oc1_event_cnt=0, oc2_event_cnt=0, oc3_event_cnt=0),
            **_heat(cpu=48000, gpu=48125, cv0=None, soc0=46031, soc1=46906, soc2=46906, tj=48125),
            **_cooling(cpufreq_cpu0=0, cpu_throttle_alert=0, gpu_throttle_alert=0),
        },
    )


def agx_orin_7(root: Path) -> Path:
    """AGX Orin developer kit, JetPack 7.2, mode 30W, which is the one of a fresh board."""
    agx_orin(root)
    for held in (*root.glob("sys/class/hwmon/*/*"), *root.glob("sys/class/thermal/*/*")):
        held.unlink()
    return write(
        root,
        {
            **RELEASES["7.2"].files(),
            "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0000\0nvidia,p3701-0000\0"
            "nvidia,tegra234\0",
            "var/lib/nvpmodel/status": "pmode:0002\n",
            "proc/meminfo": MEMINFO.format(total=64387072, free=59559936),
            **_clocks(GPU, (306000000, 306000000, 612000000), (1728000, 729600, 1728000)),
            **_rails(0, VDD_GPU_SOC=2265, VDD_CPU_CV=2643, VIN_SYS_5V0=4722),
            **_chip(4, "soctherm_oc", oc1_event_cnt=0, oc2_event_cnt=0, oc3_event_cnt=0),
            **_heat(cpu=50718, gpu=None, soc0=47156, soc1=49000, soc2=47656, tj=50718),
            **_cooling(cpu_throttle_alert=0, gpu_throttle_alert=0),
        },
    )


def thor_7(root: Path) -> Path:
    """AGX Thor developer kit, JetPack 7.2, mode 120W."""
    thor(root)
    for held in (*root.glob("sys/class/hwmon/*/*"), *root.glob("sys/class/thermal/*/*")):
        held.unlink()
    return write(
        root,
        {
            **RELEASES["7.2"].files(),
            "proc/meminfo": MEMINFO.format(total=128830464, free=119511040),
            **_clocks(THOR_GPU, (315000000, 315000000, 1386000000), (972000, 972000, 2601000)),
            **_rails(2, VDD_GPU=4925, VDD_CPU_SOC_MSS=8710, VIN_SYS_5V0=6767),
            **_chip(5, "soctherm_oc", oc1_event_cnt=0, oc2_event_cnt=0, oc3_event_cnt=0),
            **_heat(cpu=34843, gpu=35906, soc012=34437, soc345=34406, tj=35906),
            **_cooling(gpu_throttle_alert=0),
        },
    )


def flashed(board: Callable[[Path], Path], release: str) -> Callable[[Path], Path]:
    """Return a board after it was flashed with another JetPack."""

    def flash(root: Path) -> Path:
        board(root)
        for held in root.glob("usr/lib/python3*"):
            shutil.rmtree(held)
        return write(root, RELEASES[release].files())

    return flash


def laptop(root: Path) -> Path:
    """A plain x86 laptop: temperature and memory, nothing of NVIDIA."""
    return write(
        root,
        {
            "proc/meminfo": MEMINFO.format(total=16211234, free=9000000),
            "proc/swaps": SWAPS + "/swap.img                               file\t\t4194300\t\t0\t\t-2\n",
            "etc/os-release": "ID=ubuntu\n",
            "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
            "sys/class/thermal/thermal_zone0/temp": "44000\n",
            "sys/class/thermal/cooling_device0/type": "Processor\n",
            "sys/class/thermal/cooling_device0/cur_state": "3\n",
            "sys/class/hwmon/hwmon0/name": "coretemp\n",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "powersave\n",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1800000\n",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "400000\n",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "4700000\n",
        },
    )
