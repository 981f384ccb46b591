"""A data set of ours in MOABB, with its splits, scores and statistics: MS-iMamba and a Riemannian pipeline.

    python examples/08_compare_in_moabb.py DATA [EPOCHS]

DATA: a folder of recordings with labels.csv, or deap:DEAP and the like. Needs: pip install moabb
"""

import sys

from moabb.analysis.meta_analysis import compute_dataset_statistics
from moabb.evaluations import WithinSessionEvaluation
from moabb.paradigms import MotorImagery
from pyriemann.estimation import Covariances
from pyriemann.tangentspace import TangentSpace
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import make_pipeline

from mimamba_edge import MSiMambaClassifier
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.export.research.moabb_dataset import MoabbDataset

dataset = MoabbDataset(open_dataset(sys.argv[1]))
labels, seconds = list(dataset.event_id), dataset.interval[1]
paradigm = MotorImagery(len(labels), events=labels, fmin=1, fmax=45, resample=128, tmax=seconds - 1 / 128)
pipelines = {
    "MS-iMamba": MSiMambaClassifier(epochs=int(sys.argv[2]) if len(sys.argv) > 2 else 40, random_state=0),
    "tangent space": make_pipeline(Covariances("oas"), TangentSpace(), LogisticRegression()),
}
# Whole runs are held out. MOABB's own default shuffles trials, so that neighbours stand on both sides.
runs = {"cv_class": LeaveOneGroupOut, "groups": "run"}
evaluation = WithinSessionEvaluation(paradigm, [dataset], overwrite=True, hdf5_path="results", **runs)
results = evaluation.process(pipelines)
print(results[["pipeline", "subject", "session", "score"]])
print(compute_dataset_statistics(results))
