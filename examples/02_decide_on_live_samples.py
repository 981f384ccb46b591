"""Decide on samples as they come, from whatever gives them: here a loop that stands for a device's driver.

    python examples/02_decide_on_live_samples.py

The decoder keeps the filters' state from call to call; how many samples come at a time changes nothing.
"""

from collections.abc import Iterator

import numpy as np

from mimamba_edge import Decoder, StreamOptions, builtin_model, load_model

CH_NAMES, SFREQ = ("TP9", "AF7", "AF8", "TP10"), 256.0


def device(seconds: float) -> Iterator[np.ndarray]:
    """Yield 12 samples at a time, in microvolts, as a Muse sends them."""
    rng = np.random.default_rng(0)
    for _ in range(int(seconds * SFREQ) // 12):
        yield 30 + rng.normal(0, 15, (12, len(CH_NAMES)))


with load_model(builtin_model(), threads=1) as model:
    decoder = Decoder(model, CH_NAMES, SFREQ, options=StreamOptions(smooth_s=0.5, mains_hz=50.0))
    print(f"what is decided on is {decoder.delay_ms:.0f} ms old")
    for samples in device(seconds=8):
        for decision in decoder.push(samples):
            if decision.valid:
                print(f"{decision.t_s:.3f} s: {decision.label}, after {decision.latency_ms:.1f} ms")
print(decoder.report)
