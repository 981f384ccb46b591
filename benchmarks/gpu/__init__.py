"""Level 2 of the GPU checks: how fast the kernels and the network are, beside others and beside the roofs.

    python -m benchmarks.gpu [scan|mstb|network|all] [--quick] [--checkpoint FILE] [-o RECORD]

Needs a CUDA device, nvcc and a torch built for CUDA, and nothing from the network; builds for the device it
finds. ``MAMBA_SSM_SOURCE`` names the unpacked source distribution of mamba-ssm, whose selective scan is then
built and measured beside ours; without it an installed ``selective_scan_cuda`` is taken. ``MIMAMBA_DATA``
names the folder that holds the recordings ``muse-ssvep``; without it windows are the built-in model's.

Nothing is timed before its output agrees with the float64 oracle. The raw record goes to
``benchmarks/results/DEVICE/DATE-gpu-bench.json`` and is never edited. Exit 0: all bars are met; 1: one is
missed, or an output was wrong; 2: something could not be measured.
"""
