"""The commands of docs/jetson.md, and what becomes of each of them in an emulated root.

The page is read as it is: a command that the table below lacks is an error, here and in the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from benchmarks.arm64.system import ROOT

PAGE = ROOT / "docs" / "jetson.md"


class How(Enum):
    """What becomes of a command."""

    HERE = "run here"
    """It is the workstation's."""
    INSIDE = "run"
    PACKAGES = "Debian's packages"
    """The names are Debian's, too: laid out with what they need, not set up."""
    FAKE = "fake"
    """It is run, and something of it is made up."""
    NOT = "not run"


@dataclass(frozen=True)
class Command:
    """A line of a block.

    Attributes:
        section: Heading that it stands below.
        text: The line without its comment.
    """

    section: str
    text: str


@dataclass(frozen=True)
class Fate:
    """What becomes of a command.

    Attributes:
        how: In one word.
        why: Where it is not run as it stands.
        given: What is typed in its place; a name of Python's ``str.format`` is filled in by the walk.
        needs: What this machine must have for it, as the walk calls it; without it, it is not run.
        codes: Exit codes that are right.
        wrong: Lines of `doctor` that may say so, and no others.
        limit_s: After that it is interrupted, which is right: it would go on for ever.
    """

    how: How
    why: str = ""
    given: str = ""
    needs: str = ""
    codes: tuple[int, ...] = (0,)
    wrong: tuple[str, ...] = ()
    limit_s: int | None = None


def blocks(text: str) -> list[tuple[str, str, str]]:
    """Return heading, language and text of each block of a page."""
    found, heading = [], ""
    for match in re.finditer(r"^#+ ([^\n]+)$|^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = match[1]
        else:
            found.append((heading, match[2], match[3]))
    return found


def commands(text: str) -> list[Command]:
    """Return the commands of a page's shell blocks in order."""
    lines = [(h, line) for h, kind, block in blocks(text) if kind == "sh" for line in block.splitlines()]
    bare = [(h, re.sub(r"\s+# .*$", "", line).strip()) for h, line in lines]
    return [Command(h, line) for h, line in bare if line and not line.startswith("#")]


def unit() -> str:
    """Return what the page says is to be pasted into the unit."""
    (text,) = (block for _, kind, block in blocks(PAGE.read_text(encoding="utf-8")) if kind == "ini")
    return text


_MUSE = "no headset: a recording of the same channels, simulated"
_GITHUB = "Debian's and Python's packages alone are reached from a check"
_CHANGES = "it would change this workstation"
_NO_LIBRARIES = "the packages of BrainFlow and LSL bring no library for it, which are warnings"
_BOARD = "a fake of that name, which writes down how it was called"
_MADE = "the check has an environment, and makes a checkpoint with fewer trials"

FATES = {
    "python3 -m venv venv && . venv/bin/activate": Fate(How.NOT, _MADE),
    'PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu pip install ".[cpu,export]"': Fate(
        How.NOT, _MADE
    ),
    "mimamba-edge simulate eeg --runs 3": Fate(How.NOT, _MADE),
    "mimamba-edge train eeg --epochs 5 -o ckpt.pt": Fate(How.NOT, _MADE),
    "mimamba-edge export ckpt.pt -o out/model.onnx": Fate(How.HERE),
    "mimamba-edge pack out/model.onnx -o model.tar": Fate(How.HERE),
    "python3 -m pip wheel --no-deps -w dist .": Fate(
        How.HERE, "into the check's folder", "python3 -m pip wheel -q --no-deps -w dist {checkout}"
    ),
    "scp model.tar dist/mimamba_edge-0.1.0-py3-none-any.whl docs/mimamba-edge.service "
    "docs/mimamba-edge.logrotate USER@JETSON:": Fate(
        How.HERE,
        "cp into the root's home folder",
        "cp model.tar dist/mimamba_edge-0.1.0-py3-none-any.whl {checkout}/docs/mimamba-edge.service "
        "{checkout}/docs/mimamba-edge.logrotate {board}",
    ),
    "sudo apt install cmake g++-aarch64-linux-gnu": Fate(How.NOT, _CHANGES),
    "mimamba-edge plugin build --host onnxruntime --machine aarch64 --archive .": Fate(How.HERE),
    "scp mimamba-ops_*.tar.gz USER@JETSON:": Fate(
        How.HERE, "cp into the root's home folder", "cp mimamba-ops_*.tar.gz {board}"
    ),
    "wget https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2204/x86_64/"
    "cuda-keyring_1.1-1_all.deb": Fate(How.NOT, _CHANGES),
    "sudo dpkg -i cuda-keyring_1.1-1_all.deb": Fate(How.NOT, _CHANGES),
    'echo "deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg] https://developer.download.nvidia.com/'
    'compute/cuda/repos/ubuntu2204/cross-linux-aarch64/ /" '
    "| sudo tee /etc/apt/sources.list.d/cuda-cross.list": Fate(How.NOT, _CHANGES),
    "sudo apt update && sudo apt install cuda-toolkit-12-6 cuda-cross-aarch64-12-6": Fate(How.NOT, _CHANGES),
    "git clone --depth 1 --branch v10.3.0 https://github.com/NVIDIA/TensorRT": Fate(How.NOT, _GITHUB),
    "TENSORRT_ROOT=$PWD/TensorRT mimamba-edge plugin build --arch 87 --machine aarch64 --cuda 12.6 "
    "--archive .": Fate(
        How.HERE,
        "by the nvcc and the headers that CUDACXX and TENSORRT_ROOT name",
        "mimamba-edge plugin build --arch 87 --machine aarch64 --cuda {cuda} --archive .",
        needs="TENSORRT_ROOT and nvcc with libraries for Arm",
    ),
    "scp mimamba-plugin_*.tar.gz USER@JETSON:": Fate(
        How.HERE,
        "cp into the root's home folder",
        "cp mimamba-plugin_*.tar.gz {board}",
        needs="TENSORRT_ROOT and nvcc with libraries for Arm",
    ),
    "cat /etc/nv_tegra_release": Fate(How.FAKE, "files of a recorded Orin Nano, JetPack 6.2"),
    "sudo apt update": Fate(How.PACKAGES, "done for the whole root by this machine's apt"),
    "sudo apt install nvidia-jetpack": Fate(How.FAKE, "fakes of TensorRT's package and of CUDA's device"),
    "sudo apt install python3-venv cmake g++ git": Fate(How.PACKAGES),
    "sudo apt install bluez libdbus-1-dev libbluetooth-dev": Fate(How.PACKAGES),
    "sudo reboot": Fate(How.FAKE, _BOARD),
    "sudo python3 -m venv --system-site-packages /opt/mimamba-edge": Fate(How.INSIDE),
    "sudo /opt/mimamba-edge/bin/pip install --upgrade pip": Fate(How.INSIDE, "from wheels in a folder"),
    'sudo /opt/mimamba-edge/bin/pip install "$HOME/mimamba_edge-0.1.0-py3-none-any.whl'
    '[cpu,jetson,live]"': Fate(How.INSIDE, "from wheels in a folder"),
    "sudo ln -sf /opt/mimamba-edge/bin/mimamba-edge /usr/local/bin/mimamba-edge": Fate(How.INSIDE),
    'cd "$HOME" && tar xf model.tar && cd model': Fate(How.INSIDE),
    "mimamba-edge doctor model.onnx": Fate(How.INSIDE, _NO_LIBRARIES),
    "mimamba-edge bench model.onnx": Fate(How.INSIDE),
    'mimamba-edge plugin build --archive "$HOME"': Fate(
        How.NOT, "the archive of step 1 is used: an emulated nvcc would take an hour"
    ),
    'mimamba-edge plugin build --host onnxruntime --archive "$HOME"': Fate(
        How.NOT, "the archive of step 1 is used: an emulated compiler would take long"
    ),
    'sudo mimamba-edge plugin install "$HOME"/mimamba-plugin_*.tar.gz': Fate(
        How.INSIDE, needs="TENSORRT_ROOT and nvcc with libraries for Arm"
    ),
    'sudo mimamba-edge plugin install "$HOME"/mimamba-ops_*.tar.gz': Fate(How.INSIDE),
    "mimamba-edge plugin list": Fate(How.INSIDE),
    "mimamba-edge plugin list --host onnxruntime": Fate(How.INSIDE),
    "sudo nvpmodel -q": Fate(How.FAKE, _BOARD),
    "sudo nvpmodel -m 2": Fate(How.FAKE, _BOARD),
    "mimamba-edge build model.trt.onnx": Fate(
        How.FAKE,
        "a fake TensorRT, which loads the library",
        needs="TENSORRT_ROOT and nvcc with libraries for Arm",
    ),
    "sudo jetson_clocks": Fate(How.FAKE, _BOARD),
    "mimamba-edge bench model.plan": Fate(
        How.FAKE,
        "a fake TensorRT computes by ONNX Runtime",
        needs="TENSORRT_ROOT and nvcc with libraries for Arm",
    ),
    'cd "$HOME" && git clone --depth 1 --branch 5.22.2 https://github.com/brainflow-dev/brainflow '
    "&& cd brainflow": Fate(How.NOT, _GITHUB),
    "python3 tools/build.py --ble": Fate(How.NOT, _GITHUB),
    "sudo /opt/mimamba-edge/bin/pip install --force-reinstall --no-deps ./python_package": Fate(
        How.NOT, _GITHUB
    ),
    'sudo usermod -a -G bluetooth,dialout "$USER"': Fate(How.FAKE, _BOARD),
    "sudo systemctl enable --now bluetooth": Fate(How.FAKE, _BOARD),
    "mimamba-edge doctor": Fate(
        How.INSIDE,
        "1: the fake TensorRT runs no engine of a single op; " + _NO_LIBRARIES,
        codes=(1,),
        wrong=("SelectiveScan", "MultiScaleTemporalBlock"),
    ),
    "mimamba-edge sources": Fate(How.INSIDE),
    'mimamba-edge check-signal --source brainflow:muse_2 --model "$HOME/model/model.onnx"': Fate(
        How.FAKE,
        _MUSE,
        'mimamba-edge check-signal --source {muse} --model "$HOME/model/model.onnx"',
    ),
    'cd "$HOME/model"': Fate(How.INSIDE),
    "mimamba-edge stream model.onnx --source brainflow:muse_2 --seconds 30": Fate(
        How.FAKE, _MUSE, "mimamba-edge stream model.onnx --source {muse} --seconds 30"
    ),
    "mimamba-edge stream model.plan --source brainflow:muse_2 --page": Fate(
        How.FAKE,
        _MUSE + "; a fake TensorRT; interrupted after a minute",
        "mimamba-edge stream model.plan --source {muse} --page",
        needs="TENSORRT_ROOT and nvcc with libraries for Arm",
        codes=(0, 124),
        limit_s=60,
    ),
    "mimamba-edge stream model.plan --source brainflow:synthetic --map TP9=Fz --map AF7=C3 --map AF8=Cz "
    "--map TP10=C4 --seconds 30": Fate(
        How.FAKE,
        "BrainFlow's package has no library for it: a recording of the same channels; a fake TensorRT",
        "mimamba-edge stream model.plan --source {synthetic} --map TP9=Fz --map AF7=C3 --map AF8=Cz "
        "--map TP10=C4 --seconds 30",
        needs="TENSORRT_ROOT and nvcc with libraries for Arm",
    ),
    'cd "$HOME"': Fate(How.INSIDE),
    "sudo install -D -m 0644 -t /var/lib/mimamba-edge model/model.plan model/model.plan.json": Fate(
        How.INSIDE, needs="TENSORRT_ROOT and nvcc with libraries for Arm"
    ),
    "sudo install -m 0644 mimamba-edge.service /etc/systemd/system/": Fate(How.INSIDE),
    "sudo install -m 0644 mimamba-edge.logrotate /etc/logrotate.d/mimamba-edge": Fate(How.INSIDE),
    "sudo systemctl edit mimamba-edge": Fate(How.FAKE, "what the page says is pasted by a fake of that name"),
    "sudo systemctl enable --now mimamba-edge": Fate(
        How.FAKE,
        "a fake of that name starts what the page's unit says, with a recording",
        needs="TENSORRT_ROOT and nvcc with libraries for Arm",
    ),
    "systemctl status mimamba-edge": Fate(How.FAKE, _BOARD),
    "sudo tail -f /var/lib/mimamba-edge/decisions.jsonl": Fate(
        How.INSIDE,
        "interrupted after 5 s",
        needs="TENSORRT_ROOT and nvcc with libraries for Arm",
        codes=(124,),
        limit_s=5,
    ),
    "docker compose -f containers/compose.yaml --profile jetpack6 build": Fate(
        How.NOT, "no Docker in a check: make containers-check runs an image's steps without it"
    ),
}
"""Of each command of the page, word for word."""


def fate(command: Command) -> Fate:
    """Return what becomes of a command.

    Raises:
        KeyError: The table lacks it.
    """
    return FATES[command.text]
