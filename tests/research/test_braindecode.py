"""MS-iMamba in the place of one of braindecode's networks: the same words, and its own EEGClassifier."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import torch  # noqa: E402

from mimamba_edge import ConfigError, MSiMamba  # noqa: E402

SMALL = {"d_model": 16, "n_layers": 1, "d_state": 2, "d_ff": 2, "n_kernels": 2, "top_k": 1}
CHS_INFO = [{"ch_name": name, "kind": 2} for name in ("TP9", "AF7", "AF8")]


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_chans": 3, "n_times": 96, "sfreq": 64.0},
        {"chs_info": CHS_INFO, "n_times": 96, "sfreq": 64.0},
        {"chs_info": CHS_INFO, "n_chans": 3, "input_window_seconds": 1.5, "sfreq": 64.0},
        {"n_chans": 3, "n_times": 96, "input_window_seconds": 1.5},
    ],
)
def test_sizes_follow_from_each_other(sizes: dict[str, Any]) -> None:
    network = MSiMamba(n_outputs=2, **sizes, **SMALL)
    found = (network.n_chans, network.n_times, network.n_outputs, network.sfreq, network.input_window_seconds)
    assert found == (3, 96, 2, 64.0, 1.5)
    assert network.chs_info == sizes.get("chs_info")
    assert network.input_shape == (1, 3, 96)
    assert tuple(network(torch.randn(network.input_shape)).shape) == network.get_output_shape() == (1, 2)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_chans": 3, "n_times": 96}, "no sfreq"),
        ({"sfreq": 64.0}, "no n_chans, n_times"),
        ({"n_chans": 4, "chs_info": CHS_INFO, "n_times": 96, "sfreq": 64.0}, "3 entries of chs_info"),
        ({"n_chans": 3, "n_times": 90, "input_window_seconds": 1.5, "sfreq": 64.0}, "n_times 90 and 1.5 s"),
        ({"n_chans": 3, "n_times": 96, "input_window_seconds": 0.0}, "a length above 0"),
    ],
)
def test_sizes_that_are_missing_or_do_not_fit_are_named(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MSiMamba(n_outputs=2, **sizes, **SMALL)


@pytest.fixture
def braindecode() -> Any:
    return pytest.importorskip("braindecode", reason="needs braindecode: pip install braindecode (in a venv)")


@pytest.mark.filterwarnings("ignore")
def test_it_has_what_braindecodes_networks_have(braindecode: Any) -> None:
    from braindecode.models import ShallowFBCSPNet
    from braindecode.models.base import EEGModuleMixin

    sizes: dict[str, Any] = {"n_chans": 3, "n_outputs": 2, "n_times": 256, "sfreq": 64.0}
    theirs, ours = ShallowFBCSPNet(**sizes), MSiMamba(**sizes, **SMALL)
    words = set(inspect.signature(EEGModuleMixin.__init__).parameters) - {"self"}
    assert words <= set(inspect.signature(MSiMamba.__init__).parameters)
    for word in (words - {"chs_info"}) | {"input_shape"}:
        assert getattr(ours, word) == getattr(theirs, word), word
    assert ours.get_output_shape() == theirs.get_output_shape()
    assert isinstance(ours.final_layer, torch.nn.Module)
    assert isinstance(theirs.final_layer, torch.nn.Module)


@pytest.mark.filterwarnings("ignore")
def test_braindecodes_classifier_trains_it_on_arrays_and_on_epochs(braindecode: Any) -> None:
    import mne
    from braindecode import EEGClassifier

    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    hz = np.where(y, 6.0, 12.0)[:, None, None]
    wave = np.sin(2 * np.pi * hz * np.arange(64) / 64 + rng.uniform(0, 6.3, (40, 1, 1)))
    x = (wave + 0.3 * rng.standard_normal((40, 3, 64))).astype(np.float32)
    options: dict[str, Any] = {f"module__{name}": value for name, value in SMALL.items()}
    options |= {"max_epochs": 20, "lr": 0.01, "batch_size": 8, "train_split": None, "verbose": 0}
    options |= {"optimizer": torch.optim.AdamW, "iterator_train__shuffle": True}
    torch.manual_seed(0)
    net = EEGClassifier(MSiMamba, module__sfreq=64.0, **copy.deepcopy(options)).fit(x, y)
    assert isinstance(net.module_, MSiMamba)
    assert net.module_.input_shape == (1, 3, 64)
    assert net.score(x, y) > 0.8
    info = mne.create_info(["TP9", "AF7", "AF8"], 64.0, "eeg")
    epochs = mne.EpochsArray(x * 1e-6, info, verbose=False)
    net = EEGClassifier(MSiMamba, **{**copy.deepcopy(options), "max_epochs": 1}).fit(epochs, y=y)
    assert net.module_.sfreq == 64.0
    assert [one["ch_name"] for one in net.module_.chs_info] == ["TP9", "AF7", "AF8"]
    assert net.predict(epochs).shape == (40,)
