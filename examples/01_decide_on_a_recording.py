"""Decide on a recording, window by window.

    python examples/01_decide_on_a_recording.py [RECORDING] [MODEL]

Without arguments: simulated EEG and the model that comes with the package (which knows simulated EEG only).
"""

import sys
from collections import Counter

from mimamba_edge import Decoder, builtin_model, read_recording, simulate_recording

if len(sys.argv) > 1:
    recording = read_recording(sys.argv[1])
else:
    recording, _ = simulate_recording(["calm", "excited"], seed=1)
model = sys.argv[2] if len(sys.argv) > 2 else builtin_model()

with Decoder(model, recording.ch_names, recording.sfreq, rails_uv=recording.rails_uv) as decoder:
    decisions = decoder.push(recording.samples, recording.timestamps)

for decision in decisions[::8]:
    print(f"{decision.t_s:6.2f} s  {decision.label or 'no decision: ' + str(decision.reason)}")
print(Counter(decision.label for decision in decisions))
