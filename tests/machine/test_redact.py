"""What may be published holds no name, folder, address or serial number; what is needed for help stays."""

import pwd
import re
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimamba_edge.machine.redact import personal_texts, redacted

ROOT_HOME, MAC_HOME = "/" + "root", "/" + "Users"
PERSONAL = {
    "/study/Dr Smith": "~",
    "ada": "USER",
    "Ada Lovelace": "USER",
    "lab-7": "HOST",
    "1421723012345": "SERIAL",
}


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1.2 GiB in /home/ada/study/P07", "1.2 GiB in ~/P07"),
        ("--volume /home/ben/m:/proc/x:ro", "--volume ~/m:/proc/x:ro"),
        ("/home/ben", "~"),
        (f"{ROOT_HOME}/x.onnx, {MAC_HOME}/Ben/y", "~/x.onnx, ~/y"),
        ("in /study/Dr Smith/P07/m.onnx", "in ~/m.onnx"),
        ("/run/media/ada/stick/m.onnx is not there", "…/m.onnx is not there"),
        ("by Ada on LAB-7.local", "by USER on HOST.local"),
        ("from ada.lovelace@uni.example", "from EMAIL"),
        ("eth0 48:b0:2d:Ac:00:01, up", "eth0 MAC, up"),
        ("GPU-12345678-1234-1234-1234-123456789abc", "GPU-UUID"),
        ("Serial Number: A1234-55", "Serial Number: SERIAL"),
        ("S/N 1421723012345, 1421723012345", "S/N SERIAL, SERIAL"),
        ("/dev/serial/by-id/usb-FTDI_FT231X_DM01N7AE-if00-port0", "/dev/serial/by-id/SERIAL"),
    ],
)
def test_what_is_personal_goes(text: str, plain: str) -> None:
    assert redacted(text, PERSONAL) == plain


@pytest.mark.parametrize(
    "text",
    [
        "pip install --force-reinstall numpy",
        "in a container: --volume /proc/device-tree:/proc/device-tree:ro",
        "/usr/lib/aarch64-linux-gnu/libnvinfer.so.10, /opt/nvidia, /etc/nv_tegra_release",
        "https://github.com/NVIDIA/TensorRT/issues/1",
        "GPU 306 MHz of 306 to 612, CPU governor schedutil, 10.3.0.30-1+cuda12.5",
        "train, export; CPU/GPU; a serial port; adaptive",
        "Linux-5.15.148-tegra-aarch64-with-glibc2.35, sha256 0123456789ab",
        "2026-11-22T07:01:02+00:00",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redacted(text, PERSONAL) == text


def test_values_of_all_kinds_are_looked_through() -> None:
    value = {"a": [{"b": "/home/ada/x"}, 1, None, True, 0.5], "c": ("lab-7",)}
    assert redacted(value, PERSONAL) == {"a": [{"b": "~/x"}, 1, None, True, 0.5], "c": ["HOST"]}


def test_this_machine_s_names_and_numbers_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serial = tmp_path / "proc/device-tree/serial-number"
    serial.parent.mkdir(parents=True)
    serial.write_text("1421723012345\0")
    user = SimpleNamespace(pw_name="grace", pw_dir="/home/grace", pw_gecos="Grace Hopper,,,")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: user)
    monkeypatch.setattr(socket, "gethostname", lambda: "cobol.navy.example")
    monkeypatch.setenv("HOME", "/work-place/grace")
    monkeypatch.setenv("USER", "nvidia")  # the user that JetPack's image comes with
    monkeypatch.chdir(tmp_path)
    found = personal_texts(tmp_path)
    text = f"{tmp_path}/m, /work-place/grace/n, Grace Hopper, grace, cobol, nvidia-smi, 1421723012345"
    assert redacted(text, found) == "~/m, ~/n, USER, USER, HOST, nvidia-smi, SERIAL"
    monkeypatch.setattr(socket, "gethostname", lambda: "edge")
    assert redacted("mimamba-edge bench", personal_texts(tmp_path)) == "mimamba-edge bench"
    assert not re.search(r"(?i)hopper|grace|cobol|14217", redacted(str(found), found))
