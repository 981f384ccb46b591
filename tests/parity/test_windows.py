import dataclasses

import numpy as np
import pytest

from mimamba_edge.contract import Contract, Filter, Scaling
from mimamba_edge.data.simulate import CLASSES, simulate_recording, write_recording
from mimamba_edge.data.windows import sliding_windows
from mimamba_edge.errors import ConfigError, MimambaError
from mimamba_edge.parity.windows import find_windows
from tests.modelfiles import tiny_contract, write_manifest_for, write_reference

CONTRACT = Contract(
    ch_names=("TP9", "AF8"),
    sfreq=128.0,
    n_times=100,
    hop=30,
    class_names=("a", "b"),
    filters=(Filter("bandpass", 4, 1.0, 40.0),),
    scaling=Scaling("robust", (0.0, 1.0), (10.0, 20.0)),
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "run-01.csv"
    write_recording(path, simulate_recording([CLASSES[0]] * 4, path=path)[0])
    return path


def test_recordings_give_their_windows_at_the_hop_asked_for(recording) -> None:
    found = find_windows(CONTRACT, data=recording)
    assert np.array_equal(found.data, sliding_windows(recording, CONTRACT))
    assert (found.kind, found.hop, found.source) == ("recordings", 30, str(recording))
    dense = find_windows(CONTRACT, data=recording, hop=10)
    assert dense.hop == 10
    assert len(dense.data) > 2.5 * len(found.data)
    assert len(find_windows(CONTRACT, data=recording, limit=4).data) == 4
    assert str(len(found.data)) in str(found)
    assert "hop 30" in str(found)


def test_bad_requests(recording) -> None:
    for bad in ({"hop": 0}, {"limit": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            find_windows(CONTRACT, data=recording, **bad)
    with pytest.raises(ConfigError, match="--data"):
        find_windows(CONTRACT, hop=5)
    with pytest.raises(MimambaError):
        find_windows(CONTRACT, data=recording.with_name("none.csv"))


def test_the_exports_windows_come_before_simulated_ones(tmp_path) -> None:
    contract = tiny_contract()
    windows = write_reference(tmp_path / "m.ref.npz", contract)
    (tmp_path / "m.onnx").write_bytes(b"never opened here")
    write_manifest_for(tmp_path / "m.onnx", contract, "onnx")
    found = find_windows(contract, artifact=tmp_path / "m.onnx", limit=9)
    assert np.array_equal(found.data, windows[:9])
    assert (found.kind, found.hop) == ("reference", None)


@pytest.mark.parametrize(("n_chans", "sfreq", "n_times", "hop"), [(1, 64.0, 700, 33), (9, 128.0, 32, 5)])
def test_simulated_windows_for_any_montage(n_chans, sfreq, n_times, hop) -> None:
    names = tuple(f"E{i}" for i in range(n_chans))
    contract = dataclasses.replace(
        CONTRACT,
        ch_names=names,
        sfreq=sfreq,
        n_times=n_times,
        hop=hop,
        filters=(Filter("bandpass", 4, 1.0, 20.0),),
        scaling=Scaling("none"),
    )
    found = find_windows(contract, limit=20)
    assert found.data.shape == (20, n_chans, n_times)
    assert found.data.dtype == np.float32
    assert found.kind == "simulated"
    # Further channels are further people's, not copies.
    flat = found.data[0]
    assert len({row.tobytes() for row in flat}) == n_chans
    assert np.array_equal(found.data, find_windows(contract, limit=20).data)
