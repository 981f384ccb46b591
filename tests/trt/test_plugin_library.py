"""Plugin libraries against the real registry of TensorRT's lean runtime, and as files.

A registry belongs to a process and cannot be emptied, so each test has a process of its own. No ``Runtime``
is made there: without a GPU it is null-backed and crashes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mimamba_edge.artifact import manifest_path, sha256_file
from mimamba_edge.contract import FIELDS, OPS
from mimamba_edge.errors import DependencyError, PluginError
from mimamba_edge.plugins.build import build_plugin, find_tools
from mimamba_edge.trt.library import (
    LIBRARY,
    PluginInfo,
    check_architecture,
    describe_library,
    find_plugin,
    list_plugins,
)

lean = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_lean_bindings") is None,
    reason="needs TensorRT's lean runtime: pip install tensorrt-lean-cu13-bindings tensorrt-lean-cu13-libs",
)
_START = """
import sys
from pathlib import Path
import tensorrt_lean_bindings as trt
from mimamba_edge.errors import PluginError
from mimamba_edge.trt.plugin import load_plugin
registry = trt.get_plugin_registry()
ours = lambda: [c for c in registry.all_creators if c.plugin_namespace == "mimamba"]
files = [Path(name) for name in sys.argv[1:]]
def refused(path):
    try:
        load_plugin(trt, path)
    except PluginError as error:
        return str(error)
    raise SystemExit(f"{path} was loaded")
"""


def in_registry(code: str, *files: Path) -> str:
    """Run code in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", _START + code, *map(str, files)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory):
    """Compiler of libraries that need no header of TensorRT."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++: apt install g++")
    folder, source = tmp_path_factory.mktemp("standin"), Path(__file__).with_name("standin.cpp")

    def compiled(
        name: str,
        *,
        version: str = "1",
        space: str = "mimamba",
        entry: str = "getCreators",
        count: int = 2,
        scan_fields: tuple[str, ...] = FIELDS["SelectiveScan"],
    ) -> Path:
        path = folder / f"{name}.so"
        if not path.exists():
            words = {"VERSION": f'"{version}"', "NAMESPACE": f'"{space}"', "COUNT": str(count)}
            words |= {"ENTRY": entry} if entry else {}
            fields = {"SCAN": scan_fields, "BLOCK": FIELDS["MultiScaleTemporalBlock"]}
            words |= {f"{op}_FIELDS": ",".join(f'"{one}"' for one in all_) for op, all_ in fields.items()}
            defines = [f"-D{key}={value}" for key, value in words.items()]
            command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", *defines]
            subprocess.run([*command, str(source), "-o", str(path)], check=True)
        return path

    return compiled


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory):
    """The real library with kernels that run on the host."""
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake: apt install cmake")
    try:
        find_tools(host_kernels=True)
    except DependencyError as error:
        pytest.skip(
            f"needs TensorRT's headers: set TENSORRT_ROOT to the folder that holds include/ ({error.what})"
        )
    roots = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda", "/usr")
    if not any(root and (Path(root) / "include" / "cuda_runtime_api.h").is_file() for root in roots):
        pytest.skip("needs CUDA's headers: install the CUDA toolkit, or set CUDA_HOME to what holds include/")
    steps: list[float] = []
    library = build_plugin(
        (), tmp_path_factory.mktemp("real"), host_kernels=True, progress=lambda share, _: steps.append(share)
    )
    assert steps == sorted(steps)
    assert steps[-1] == 1
    return library


@lean
def test_the_built_library_lists_its_creators_makes_plugins_and_goes(real) -> None:
    said = in_registry(
        """
loaded = load_plugin(trt, files[0])
print(sorted((c.name, c.version, c.namespace, c.fields) for c in loaded.creators))
assert load_plugin(trt, files[0]) is loaded
numbers = {}
import numpy as np
scan = dict(has_z=1, delta_softplus=1, reverse=0, return_last_state=0)
scan |= dict(groups=1, B_offset=8, C_offset=24, z_offset=256)
block = dict(top_k=3, min_bin=1, max_bin=0, weighting=0, period_rule=0, channel_first=1)
for name, ints in (("SelectiveScan", scan), ("MultiScaleTemporalBlock", block)):
    fields = [trt.PluginField(k, np.array([v], np.int32), trt.PluginFieldType.INT32) for k, v in ints.items()]
    if name != "SelectiveScan":
        scale = np.array([1.0], np.float32)
        fields.append(trt.PluginField("amplitude_scale", scale, trt.PluginFieldType.FLOAT32))
    creator = registry.get_creator(name, "1", "mimamba")
    made = creator.create_plugin("one", trt.PluginFieldCollection(fields), trt.TensorRTPhase.BUILD)
    print(name, type(made).__name__)
    del made
    fields[0] = trt.PluginField(fields[0].name, np.array([99], np.int32), trt.PluginFieldType.INT32)
    print(creator.create_plugin("bad", trt.PluginFieldCollection(fields), trt.TensorRTPhase.BUILD))
registry.deregister_library(loaded.handle)
print(len(ours()))
""",
        real.path,
    )
    first, *rest = said.splitlines()
    names = [(name, version, space, sorted(fields)) for name, version, space, fields in eval(first)]
    assert names == [
        (name, "1", "mimamba", sorted(FIELDS[name])) for name in ("MultiScaleTemporalBlock", "SelectiveScan")
    ]
    assert rest == ["SelectiveScan IPluginV3", "None", "MultiScaleTemporalBlock IPluginV3", "None", "0"]


def test_the_built_library_tells_what_it_was_built_with(real) -> None:
    info = real.info
    assert real.problem is None
    assert info.sha256 == real.sha256 == sha256_file(real.path)
    assert dict(info.ops) == OPS
    assert info.host_kernels
    assert info.architectures == ()
    assert info.autoreg_sha256 == sha256_file(real.path.with_name("libmimamba_plugin_autoreg.so"))
    assert {path.name for path in real.path.parent.iterdir()} == {
        LIBRARY,
        LIBRARY + ".json",
        "libmimamba_plugin_autoreg.so",
        "build.log",
    }
    with pytest.raises(PluginError, match="run on the host"):
        check_architecture(real, 87)


@lean
def test_loading_twice_gives_the_same_handle(standin) -> None:
    said = in_registry(
        """
first = load_plugin(trt, files[0])
assert load_plugin(trt, files[0]).handle is first.handle
assert registry.load_library(str(files[0])) is None  # what it would say by itself
print([str(c) for c in first.creators], first.creators[0].fields)
print(refused(files[1]))
""",
        standin("good"),
        standin("twin"),
    )
    assert "['mimamba::SelectiveScan 1', 'mimamba::MultiScaleTemporalBlock 1'] " in said
    assert str(FIELDS["SelectiveScan"]) in said
    assert "already in TensorRT's registry" in said
    assert "good.so" in said


@lean
def test_a_library_loaded_behind_our_back_is_not_taken_for_ours(standin) -> None:
    said = in_registry(
        "assert registry.load_library(str(files[0])) is not None\nprint(refused(files[0]))", standin("good")
    )
    assert "already in" in said
    assert "a library that this program did not load" in said


@lean
@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            {"name": "old", "version": "2"},
            ["does not hold the plugins", "SelectiveScan 2", "SelectiveScan 1"],
        ),
        ({"name": "foreign", "space": "acme"}, ["acme::SelectiveScan 1", "mimamba::SelectiveScan 1"]),
        ({"name": "half", "count": 1}, ["mimamba::SelectiveScan 1", "mimamba::MultiScaleTemporalBlock 1"]),
        ({"name": "none", "count": 0}, ["TensorRT refuses", "no creators"]),
        ({"name": "empty", "entry": ""}, ["TensorRT refuses", "no function getCreators"]),
    ],
)
def test_libraries_with_other_plugins_are_refused_and_leave_nothing(standin, made, words) -> None:
    name = made.pop("name")
    said = in_registry(
        "print(refused(files[0]))\nprint(len(ours()))\nload_plugin(trt, files[1])",
        standin(name, **made),
        standin("good"),
    )
    assert all(word in said for word in words), said
    assert "MyelinWeightsTransformPlugin 1" in said  # registered by TensorRT itself: all are named
    assert said.splitlines()[-1] == "0"


@lean
def test_a_library_whose_plugins_have_other_fields_is_refused(standin) -> None:
    """A parser drops attributes that are no field: a window would be read by channels where it is by time."""
    said = in_registry(
        "print(refused(files[0]))\nprint(len(ours()))\nload_plugin(trt, files[1])",
        standin("before", scan_fields=FIELDS["SelectiveScan"][:4]),
        standin("good"),
    )
    for words in (
        "SelectiveScan 1 has other fields",
        "return_last_state, reverse",
        "z_offset",
        "build it again",
    ):
        assert words in said
    assert said.splitlines()[-1] == "0"


@lean
def test_files_that_are_no_libraries(tmp_path, standin) -> None:
    text, cut = tmp_path / "text.so", tmp_path / "cut.so"
    text.write_text("not a library, but long enough to hold an ELF header; " * 10)
    whole = standin("good").read_bytes()
    cut.write_bytes(whole[: len(whole) // 3])  # dlopen would die of SIGBUS
    said = in_registry(
        "for path in files: print(refused(path))", text, cut, tmp_path / "nowhere.so", tmp_path
    ).split("\nthe plugin library ")
    assert "invalid ELF header" in said[0]
    assert "is cut off" in said[1]
    assert "is not there" in said[2]
    assert "is not a file" in said[3]


@lean
def test_a_library_replaced_under_a_running_program_is_noticed(tmp_path, standin) -> None:
    path = tmp_path / LIBRARY
    shutil.copy(standin("good"), path)
    said = in_registry(
        """
load_plugin(trt, files[0])
files[0].unlink()
files[0].write_bytes(files[1].read_bytes())
print(refused(files[0]))
""",
        path,
        standin("old", version="2"),
    )
    assert "was replaced since" in said


def _info(path: Path, **changes) -> PluginInfo:
    values = {
        "file": path.name,
        "sha256": sha256_file(path),
        "autoreg_sha256": None,
        "mimamba_edge": "0.1.0",
        "ops": dict(OPS),
        "tensorrt_headers": "10.3.0",
        "cuda": "12.6",
        "architectures": (87,),
        "host_kernels": False,
        "compiler": "g++ 11",
    }
    return PluginInfo(**{**values, **changes})


def _library(folder: Path, age_s: int = 0, **changes) -> Path:
    folder.mkdir(parents=True)
    path = folder / LIBRARY
    path.write_bytes(b"library " + folder.name.encode())
    manifest_path(path).write_text(json.dumps(_info(path, **changes).to_dict()))
    os.utime(path, (1e9 - age_s, 1e9 - age_s))
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MIMAMBA_PLUGIN", raising=False)
    return tmp_path / "cache" / "plugin"


def test_the_newest_that_fits_is_taken_and_the_named_one_wins(cache, tmp_path, monkeypatch) -> None:
    old = _library(cache / "old", 30)
    newest = _library(cache / "newest", 0, architectures=(110,))
    _library(cache / "test", 0, host_kernels=True, architectures=())
    assert find_plugin().path == newest
    assert find_plugin(sm=87).path == old
    with pytest.raises(PluginError, match="no code for this GPU"):
        find_plugin(sm=75)
    named = _library(tmp_path / "elsewhere", 90)
    monkeypatch.setenv("MIMAMBA_PLUGIN", str(named))
    assert find_plugin().path == named
    assert list_plugins()[0].path == named
    monkeypatch.setenv("MIMAMBA_PLUGIN", str(tmp_path / "gone.so"))
    with pytest.raises(PluginError, match="is not there"):
        find_plugin()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ops": {"SelectiveScan": 2, "MultiScaleTemporalBlock": 1}}, "SelectiveScan 2"),
        ({"sha256": "0" * 64}, "0000"),
        ({"tensorrt_headers": "8.6.1"}, "8.6.1"),
    ],
)
def test_a_library_whose_manifest_speaks_against_it_is_not_loaded(cache, changes, words) -> None:
    from mimamba_edge.trt.plugin import load_plugin

    path = _library(cache / "one", **changes)
    with pytest.raises(PluginError, match="no usable plugin library"):
        find_plugin()
    with pytest.raises(PluginError, match=words):
        load_plugin(object(), path)  # not even asked for its registry
    manifest_path(path).write_text("{}")
    with pytest.raises(PluginError, match="not the manifest"):
        load_plugin(object(), path)


def test_architectures_run_on_later_gpus_only(cache) -> None:
    library = describe_library(_library(cache / "one", architectures=(80, 87)))
    for sm in (80, 87, 110):
        check_architecture(library, sm)
    with pytest.raises(PluginError, match="--arch 75"):
        check_architecture(library, 75)
