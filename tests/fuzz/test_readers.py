"""Every reader refuses spoilt files in short words: a brief run of what ``make fuzz`` does at length."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

for _name in ("torch", "onnx", "onnxruntime", "safetensors", "mne", "pyxdf"):
    pytest.importorskip(_name)
pytestmark = [pytest.mark.torch, pytest.mark.ort]

from mimamba_edge.errors import DataError, MimambaError  # noqa: E402
from tests.attack.seeds import write_seeds  # noqa: E402
from tests.fuzz.mutate import KINDS, Edit, apply  # noqa: E402
from tests.fuzz.readers import READERS, Reader, prepare  # noqa: E402
from tests.fuzz.worker import Worker, spoilt, try_one  # noqa: E402

_EXAMPLES = 20
_EDITS = st.lists(
    st.builds(
        Edit,
        st.sampled_from(KINDS),
        st.floats(0, 1),
        st.sampled_from((1, 2, 4, 16, 300)),
        st.integers(0, 63),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "seeds"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_seeds(folder)
    prepare(folder)
    return folder


@pytest.fixture
def work(seeds: Path, request: pytest.FixtureRequest) -> Path:
    folder = seeds.parent / f"work-{abs(hash(request.node.name))}"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_good_files_are_read(reader: Reader, seeds: Path, work: Path) -> None:
    for name in reader.seeds:
        reader.read(reader.put(work, (seeds / name).read_bytes()))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_spoilt_files(reader: Reader, seeds: Path, work: Path) -> None:
    good = [(seeds / name).read_bytes() for name in reader.seeds]

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(edits=_EDITS)
    def check(edits: list[Edit]) -> None:
        with warnings.catch_warnings():
            # What a package remarks about a spoilt file is not an exception.
            warnings.simplefilter("ignore")
            result, what = try_one(reader, work, apply(good[0], edits, good))
        assert result != "failed", what

    check()


def test_seeds_give_the_same_bytes(seeds: Path) -> None:
    for reader in READERS:
        found = [spoilt(reader, seeds, seed) for seed in range(5)]
        assert found == [spoilt(reader, seeds, seed) for seed in range(5)]
        assert len(set(found)) > 1


def _reader(read: object) -> Reader:
    def put(work: Path, data: bytes) -> Path:
        path = work / "x"
        path.write_bytes(data)
        return path

    return Reader("planted", ("cues.csv",), put, read)  # type: ignore[arg-type]


def test_what_fails(work: Path) -> None:
    def refuse(path: Path) -> None:
        raise DataError("no")

    def flood(path: Path) -> None:
        error = MimambaError("short")
        error.args = ("x" * 5000,)
        raise error

    def fall(path: Path) -> None:
        raise OverflowError("too large")

    assert try_one(_reader(refuse), work, b"") == ("refused", "")
    assert try_one(_reader(flood), work, b"")[0] == "failed"
    result, what = try_one(_reader(fall), work, b"")
    assert result == "failed"
    assert what.startswith("OverflowError in test_readers.py:fall")
    assert try_one(_reader(lambda path: None), work, b"") == ("accepted", "")


def test_the_watch_tells_of_death_and_of_memory(seeds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(path: Path) -> None:
        import os

        os._exit(7)

    held: list[bytes] = []
    dies = Worker(_reader(die), seeds, 3)
    assert _first(dies) == {"seed": 3, "result": "failed", "what": "the process died: 7"}
    monkeypatch.setattr("tests.fuzz.worker.MOST_MIB", 1)
    grows = Worker(_reader(lambda path: held.append(bytes(1 << 20))), seeds, 0)
    found = _first(grows)
    assert found["result"] == "failed"
    assert "MiB" in str(found["what"])
    if not grows.ended:
        grows.end()


def _first(worker: Worker) -> dict[str, object]:
    for _ in range(600):
        if found := worker.results(0.1):
            return found[0]
    pytest.fail("the child said nothing")
