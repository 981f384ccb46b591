"""Small folder trees that look like real machines, written from documented file contents.

Sources: rbonghi/jetson_stats issue 711 (Thor: nv_tegra_release, device tree) and its jtop/core modules
(paths); NVIDIA, Jetson Linux Developer Guide, Platform Power and Performance (power modes, INA3221 rails,
thermal zones, over-current counters); NVIDIA's driver tegra23x-oc-event (soctherm_oc); kernel documents
hwmon/ina3221, hwmon/ina238, thermal/sysfs-api, sysfs-class-devfreq. GPU nodes: canonical/snapd, interface
nvidia-drivers-support. First line of R39: reports of users of 39.2.1; packages of JetPack 7.2:
OE4T/meta-tegra, recipes tensorrt-core 10.16.2.10 and cuda 13.2.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
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


def _installed(cuda: str, *nodes: str) -> dict[str, str]:
    """Return what docs/jetson.md installs: compilers (nvcc not on the PATH), groups; the GPU's nodes."""
    programs = ("usr/bin/cmake", "usr/bin/g++", "usr/local/cuda/bin/nvcc")
    return {
        **dict.fromkeys((*programs, *(f"dev/{node}" for node in nodes)), ""),
        "usr/local/cuda/version.json": f'{{"cuda": {{"name": "CUDA SDK", "version": "{cuda}"}}}}\n',
        "etc/group": "root:x:0:\nvideo:x:44:nvidia\ndialout:x:20:\nbluetooth:x:117:\nrender:x:105:nvidia\n",
    }


ORIN_NODES, THOR_NODES = ("nvmap", "nvgpu/igpu0/ctrl"), ("nvmap", "nvidia0", "nvidiactl")


def orin_nano(root: Path) -> Path:
    """Orin Nano developer kit, JetPack 6.2, mode 15W of a super flash, clocks free, no throttling."""
    return write(
        root,
        {
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, "
            "EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n",
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
            "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0"
            "nvidia,tegra234\0",
            "var/lib/dpkg/status": _status(
                nvidia_l4t_core="36.4.3-20250107174145",
                libnvinfer10="10.3.0.30-1+cuda12.5",
                bluez="5.64-0ubuntu1",
            ),
            "etc/nvpmodel.conf": "# comment: < POWER_MODEL ID=9 NAME=NOT_THIS >\n"
            "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=25W >\n"
            "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< POWER_MODEL ID=3 NAME=7W >\n< PM_CONFIG DEFAULT=1 >\n",
            "var/lib/nvpmodel/status": "pmode:0000\n",
            "usr/lib/python3.10/dist-packages/tensorrt/__init__.py": "",
            **_installed("12.6.11", *ORIN_NODES),
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
            **_installed("12.6.11", *ORIN_NODES),
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
            "EABI: aarch64, DATE: Wed Dec 31 00:55:42 UTC 2025\n",
            "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0"
            "nvidia,p3834-0008\0nvidia,tegra264\0",
            "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=120W >\n"
            "< POWER_MODEL ID=2 NAME=90W >\n< POWER_MODEL ID=3 NAME=70W >\n< PM_CONFIG DEFAULT=1 >\n",
            "usr/lib/python3.12/dist-packages/tensorrt/__init__.py": "",
            **_installed("13.0.2", *THOR_NODES),
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


def with_jetpack_72(board: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """Return a board after it was flashed with JetPack 7.2.1."""

    def flashed(root: Path) -> Path:
        board(root)
        for held in root.glob("usr/lib/python3*"):
            shutil.rmtree(held)
        versions = {"nvidia_l4t_core": "39.2.1-20260807054142", "libnvinfer10": "10.16.2.10-1+cuda13.2"}
        nodes = THOR_NODES if (root / THOR_GPU).exists() else ORIN_NODES
        return write(
            root,
            {
                "etc/nv_tegra_release": "# R39 (release), REVISION: 2.1, GCID: 46758480, BOARD: generic, "
                "EABI: aarch64, DATE: Fri Aug 7 05:54:22 AM UTC 2026\n",
                "var/lib/dpkg/status": _status(**versions, bluez="5.72-0ubuntu5"),
                "usr/lib/python3.12/dist-packages/tensorrt/__init__.py": "",
                **_installed("13.2.2", *nodes),
            },
        )

    return flashed


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
