"""mimamba-edge: a Mamba network for EEG, from a PyTorch checkpoint to a wearable.

This package is what runs on the device. It never imports torch, onnx or anything of
:mod:`mimamba_edge.export` at module level.
"""

import os

__version__ = "0.1.0"

NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}
"""What keeps ONNX Runtime from sending: releases from 1.29 on obey the first, some other builds the second.

Official Linux builds from 1.29 on (microsoft/onnxruntime pull request 27379) otherwise keep a device id and
a database of events in ``~/.cache/Microsoft`` and send them. They read it once, when they are loaded.
"""

# Here, because every way to onnxruntime, children too, comes after this. Whatever the environment says: that
# nothing is sent is this package's promise and not an option.
os.environ.update(NO_TELEMETRY)
