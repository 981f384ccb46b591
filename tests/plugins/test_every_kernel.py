"""Every instance of the kernels' templates, in every storage type."""

from __future__ import annotations

import pytest

from tests.plugins import test_mstb_kernel as mstb
from tests.plugins import test_scan_kernel as scan
from tests.ptx.device import Kernels, device

DTYPES = tuple(scan.TOLERANCE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 3, 4, 8, 16, 20, 32, 48, 64, 100, 128, 250, 256])
def test_scans(kernels: Kernels, n: int, dtype: str) -> None:
    for segments in (1, 8, 16) if n <= scan.SEGMENTED else (1,):
        scan.compare(kernels, scan.make(2, 141, 19, n, dtype=dtype), dtype, segments=segments)
        plain = scan.make(1, 70, 5, n, dtype=dtype, z=False, per_window=False)
        scan.compare(kernels, plain, dtype, reverse=True, segments=segments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("images_in_workspace", [False, True])
def test_blocks(kernels: Kernels, images_in_workspace: bool, dtype: str) -> None:
    how = {"top_k": 3, "images_in_workspace": images_in_workspace}
    for c, f, k, shared in ((5, 9, 5, 48), (9, 9, 11, 32), (4, 5, 3, 48)):
        t = mstb.make(2, 129, c, f=f, k=k, dtype=dtype)
        mstb.compare(kernels, t, dtype, groups=2, on=device(shared_bytes=shared * 1024), **how)
    mstb.compare(kernels, mstb.make(1, 90, 4, dtype=dtype), dtype, weighting=1, **how)
