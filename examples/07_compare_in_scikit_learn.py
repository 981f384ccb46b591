"""Compare MS-iMamba with a pipeline of scikit-learn on the same folds, then stream with what was fitted.

    python examples/07_compare_in_scikit_learn.py [EPOCHS]

On simulated EEG. Put a folder of recordings with labels.csv in the place of "eeg".
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mimamba_edge import Contract, Decoder, MSiMambaClassifier, simulate_recording
from mimamba_edge.contract import Filter, Scaling
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.simulate import CH_NAMES, CLASSES, write_dataset
from mimamba_edge.data.windows import trial_windows

write_dataset(Path("eeg"), runs=3, trials=6, seed=1)
filters = (Filter("bandpass", low_hz=1, high_hz=45),)
path = Contract(CH_NAMES, 64.0, 64, 8, CLASSES, filters=filters, scaling=Scaling("none"))
windows = trial_windows(open_dataset("eeg"), path)  # windows of the stream's own signal path
y = np.array(windows.class_names)[windows.labels]
runs = [windows.trials[i].run for i in windows.trial_of]

power = FunctionTransformer(lambda x: np.log(np.abs(np.fft.rfft(x)[..., 1:45]) ** 2).reshape(len(x), -1))
linear = make_pipeline(power, StandardScaler(), LogisticRegression())
network = MSiMambaClassifier(64.0, epochs=int(sys.argv[1]) if len(sys.argv) > 1 else 2, random_state=0)
for one in (linear, network):
    print(cross_val_score(one, windows.data, y, groups=runs, cv=LeaveOneGroupOut()).round(3))

fitted = network.fit(windows.data, y, groups=runs)
fitted.to_checkpoint("ckpt.pt", ch_names=CH_NAMES, unit="uV", band_hz=(1, 45), causal=True)
recording, _ = simulate_recording(["calm", "excited"], seed=9)
print(Decoder("ckpt.pt", recording.ch_names, recording.sfreq).push(recording.samples)[-1])
