#!/bin/sh
# jetson-containers runs this in the container it has built.
set -eu
cd "$(mktemp -d)"
python3 -c 'import tensorrt'
mimamba-edge doctor
mimamba-edge simulate eeg --runs 1 --trials 4
model=$(python3 -c 'from mimamba_edge.load import builtin_model; print(builtin_model())')
mimamba-edge stream "$model" --source eeg/run-01.csv --speed max > decisions.jsonl
test -s decisions.jsonl
