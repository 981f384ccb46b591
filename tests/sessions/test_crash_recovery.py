"""`kill -9` while recording: each file opens, misses at most one second, and is right to the bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.crash_recovery import kill_once


def test_three_kills_at_random_moments(tmp_path: Path) -> None:
    ways = (("record", 1.0), ("record", 1e6), ("stream", 20.0))
    folders = [tmp_path / str(number) for number in range(len(ways))]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(len(ways)) as all_at_once:
        work = [
            all_at_once.submit(kill_once, folder, way=way, pace=pace, seed=number)
            for number, (folder, (way, pace)) in enumerate(zip(folders, ways, strict=True))
        ]
        results = [one.result() for one in work]
    for result in results:
        assert result["given"] > 0
        assert result["bit_equal"], result
        assert result["missing_s"] <= 1.0, result
    assert any(result["trials"] for result in results)
