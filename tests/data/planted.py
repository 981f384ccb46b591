"""A small MS-iMamba that is trained on one person of a data set and tested on the others."""

from __future__ import annotations

import numpy as np

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.labels import class_names
from mimamba_edge.data.windows import trial_windows
from mimamba_edge.signal.filters import default_filters


def accuracy_in_others(dataset: Dataset, channels: tuple[str, ...] = ()) -> float:
    """Return the share of windows of the others that are classified rightly."""
    import torch

    from mimamba_edge.export.families.msimamba.config import ModelConfig
    from mimamba_edge.export.network import FamilyBlueprint
    from mimamba_edge.export.training.fit import Hyperparameters, fit, predict

    mains_hz = dataset.processing.mains_hz
    contract = Contract(
        ch_names=channels or dataset.channels,
        sfreq=64.0,
        n_times=64,
        hop=16,
        class_names=class_names(dataset.trials),
        filters=default_filters(64.0, mains_hz),
        mains_hz=mains_hz,
        scaling=Scaling("none"),
    )
    windows = trial_windows(dataset, contract)
    # So many are enough.
    part = slice(None, None, max(1, len(windows.data) // (80 * len(windows.class_names))))
    data, labels, trial_of = (
        windows.data[part].astype(np.float32) / 20,
        windows.labels[part],
        windows.trial_of[part],
    )
    first = np.array([windows.trials[t].subject == dataset.subjects[0] for t in trial_of])
    held = first & (np.arange(len(first)) % 4 == 0)
    config = {"n_chans": contract.n_chans, "n_times": 64, "n_outputs": contract.n_outputs, "sfreq": 64.0}
    config |= {"d_model": 8, "n_layers": 1, "d_ff": 4, "n_kernels": 2}
    recipe = Hyperparameters(epochs=9, batch_size=16, learning_rate=8e-3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train = (data[first & ~held], labels[first & ~held])
        model, _ = fit(
            FamilyBlueprint(ModelConfig.from_dict(config)),
            recipe,
            train,
            validation=(data[held], labels[held]),
            seed=0,
        )
        right = predict(model, data[~first]).argmax(axis=1) == labels[~first]
    finally:
        torch.set_num_threads(threads)
    return float(right.mean())
