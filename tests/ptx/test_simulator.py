"""The simulator itself: that it computes as CUDA does, and that it sees what is wrong."""

from __future__ import annotations

import ctypes as c
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erf

from mimamba_edge.errors import DependencyError
from tests.ptx.build import kernel_library
from tests.ptx.device import Kernels, Memory, store, value

pytestmark = pytest.mark.timeout(900)  # the first test compiles
THREADS = 128
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def samples() -> Kernels:
    try:
        return Kernels(kernel_library([Path(__file__).with_name("samples.cu")]))
    except DependencyError as error:
        pytest.skip(f"needs nvcc and a C++ compiler, no GPU: {error}")


def run(
    samples: Kernels, name: str, x: NDArray[Any], out: tuple[int, ...], dtype: Any = np.float32
) -> tuple[NDArray[Any], str]:
    """Return the results of a kernel and what was found; exactly the room of ``out`` is given."""
    memory = Memory(samples.library)
    given, made = memory.put(x), memory.new(int(np.prod(out)) * np.dtype(dtype).itemsize)
    error = samples.library.sample(name.encode(), c.c_void_p(given), c.c_void_p(made), x.size)
    found = samples.report()
    result = memory.get(made, out, dtype)
    memory.close()
    return result, found or ("" if error == 0 else f"error {error}")


def draw(*shape: int) -> Floats:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def ulps(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    return float(np.max(np.abs(got - wanted) / np.spacing(np.abs(wanted).astype(np.float32))))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shuffles_votes_and_sums(samples: Kernels, seed: int) -> None:
    samples.set(seed=seed)
    x = draw(THREADS)
    warps = x.reshape(-1, 32).astype(np.float64)
    out, found = run(samples, "warp_sums", x, (THREADS, 5))
    assert not found
    whole = np.repeat(warps.sum(1), 32)
    np.testing.assert_allclose(out[:, 0], whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out[:, 1], warps.cumsum(1).ravel(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out[:, 2], whole, rtol=1e-4, atol=1e-5)
    pairs = x.reshape(-1, 2)
    np.testing.assert_array_equal(out[:, 3], pairs[:, [1, 1]].ravel())
    np.testing.assert_array_equal(out[:, 4], np.repeat((warps > 0).sum(1), 32))


def test_parts_of_a_warp(samples: Kernels) -> None:
    x = draw(THREADS)
    even, other = np.arange(THREADS) % 2 == 0, x[np.arange(THREADS) ^ 2]
    for seed in range(5):
        samples.set(seed=seed)
        out, found = run(samples, "parts_of_a_warp", x, (THREADS,))
        assert not found
        np.testing.assert_array_equal(out, np.where(even, x + other, x * other))


def test_memory_of_a_warp_is_ordered_by_its_own_barrier(samples: Kernels) -> None:
    x = draw(THREADS)
    out, found = run(samples, "by_warp", x, (THREADS,))
    assert not found
    np.testing.assert_array_equal(out, np.roll(x.reshape(-1, 32), -2, axis=1).ravel())


def test_jump_tables_local_memory_block_votes_and_atomics(samples: Kernels) -> None:
    x = draw(THREADS)
    out, found = run(samples, "chosen", x, (THREADS + 1,))
    assert not found
    i = np.arange(THREADS)

    def local(k: Any) -> Any:
        return x[(i + k) % THREADS]

    choices = [local(1) * 2, local(2) - 1, np.sqrt(np.abs(local(3))), local(i // 32), -local(5)]
    choices += [local(6) + local(i // 16 % 8), np.full(THREADS, 7.0), np.full(THREADS, 7.0)]
    wanted = np.choose(i % 8, choices)
    np.testing.assert_array_equal(out[:-1], wanted)
    assert out[-1] == (wanted > 0).sum()


def test_copies_arrive_when_they_are_waited_for(samples: Kernels) -> None:
    x = draw(2 * THREADS)
    out, found = run(samples, "copies", x, (2 * THREADS,))
    assert not found
    np.testing.assert_array_equal(out, np.roll(x.reshape(2, -1), -1, axis=1).ravel())


def test_integers(samples: Kernels) -> None:
    x = draw(THREADS)
    out, found = run(samples, "integers", x, (THREADS, 4))
    assert not found
    for i in range(THREADS):
        a, b = int(x[i] * np.float32(1e6)), int(x[(i + 1) % THREADS] * np.float32(1e3)) | 1
        quotient = abs(a) // abs(b) * (1 if a * b >= 0 else -1)
        bits = bin(a & (2**64 - 1)).count("1") + 32 - (b & (2**32 - 1)).bit_length()
        assert out[i].tolist() == [np.float32(v) for v in (quotient, a - quotient * b, a >> 3, bits)]


def test_functions_are_within_their_bounds(samples: Kernels) -> None:
    x = np.concatenate([draw(4000) * 3, np.linspace(-10, 10, 97, dtype=np.float32)])
    x = x[x != 0]
    out, found = run(samples, "functions", x, (x.size, 8))
    assert not found
    wide = x.astype(np.float64)
    wanted = [erf(wide), np.exp(wide), np.log1p(np.abs(wide)), np.sin(np.pi * wide), np.cos(np.pi * wide)]
    wanted += [np.exp2(wide), 1 / wide, np.sqrt(np.abs(wide))]
    # The CUDA manual's bounds; sines and cosines near their zeros against 1.
    for k, bound in enumerate([2, 1.01, 1, 2, 2, 0.51, 0.51, 0.51]):
        if k in (3, 4):
            assert np.abs(out[:, k] - wanted[k]).max() < 2.0**-23
        else:
            assert ulps(out[:, k], wanted[k]) <= bound, k


@pytest.mark.parametrize(("mode", "signs"), [(1, {-2.0, 2.0}), (2, {2.0}), (3, {-2.0})])
def test_approximations_are_as_wrong_as_they_may_be(samples: Kernels, mode: int, signs: set[float]) -> None:
    x = np.linspace(-20, -1.0001, 500, dtype=np.float32)
    exact, _ = run(samples, "functions", x, (x.size, 8))
    with samples.setting(approx_error=mode):
        off, found = run(samples, "functions", x, (x.size, 8))
        again, _ = run(samples, "functions", x, (x.size, 8))
    assert not found
    np.testing.assert_array_equal(off, again)
    steps = off[:, 5].view(np.int32) - exact[:, 5].view(np.int32)
    assert set(steps[x != np.round(x)].tolist()) == signs


def test_storage_conversions_match_numpy(samples: Kernels) -> None:
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32)
    edges = [0.0, -0.0, 65504, 65519.99, 65520, 2**-14, 2**-24, 2**-25, 1.5 * 2**-25, np.inf, -np.inf]
    near = rng.normal(size=20_000) * 10.0 ** rng.integers(-9, 6, 20_000)
    ties = np.array([0x3F808000, 0x3F818000], np.uint32).view(np.float32)
    x = np.concatenate([bits.view(np.float32), np.array(edges, np.float32), near.astype(np.float32), ties])
    x = x[~np.isnan(x)]
    out, found = run(samples, "to_halves", x, (2, x.size), np.uint16)
    assert not found
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(out[0], x.astype(np.float16).view(np.uint16))
    np.testing.assert_array_equal(out[1], store(x, "bfloat16"))

    every = np.arange(2**16, dtype=np.uint16)
    wide, found = run(samples, "from_halves", every, (2, every.size))
    assert not found
    np.testing.assert_array_equal(wide[0], every.view(np.float16).astype(np.float32))
    np.testing.assert_array_equal(wide[1], value(every, "bfloat16").astype(np.float32))


FAULTS = {
    "race_in_shared": "race",
    "race_of_lanes": "race",
    "race_of_blocks": "race",
    "race_of_write_and_read": "race",
    "warp_barrier_for_a_block": "race",
    "divergent_barrier": "have left the kernel",
    "early_exit": "have left the kernel",
    "part_of_a_warp_at_a_barrier": "different barriers",
    "past_the_end": "canary",
    "before_the_start": "canary",
    "past_shared": "out of bounds",
    "misaligned": "misaligned",
    "unwritten_global": "uninitialised read",
    "unwritten_shared": "uninitialised read",
    "unwritten_register": "unwritten register",
    "shuffle_from_elsewhere": "does not take part",
    "shuffle_of_some": "which has left the kernel",
    "shuffle_that_waits": "lanes that do not come here",
    "shuffle_from_the_dead": "which has left the kernel",
    "copies_not_waited_for": "has not arrived",
    "forever": "it hangs",
    "written_constant": "ld.global.nc",
    "no_blocks": "error 9",
    "too_much_shared": "error 1",
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_found_whatever_the_order(samples: Kernels, name: str, seed: int) -> None:
    samples.set(seed=seed, budget=100_000)
    x = draw(THREADS if name != "copies_not_waited_for" else 2 * THREADS)
    _, found = run(samples, name, x, (x.size,))
    samples.set(budget=2_000_000_000)
    assert FAULTS[name] in found, found
    assert found.startswith("error") or "samples.cu:" in found
