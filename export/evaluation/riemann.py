"""The tangent space of covariance matrices at their Riemannian mean.

Affine-invariant metric; Pennec, Fillard and Ayache, "A Riemannian framework for tensor computing", IJCV 66,
2006. Feature by feature equal to ``TangentSpace`` of pyRiemann, which a test compares where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["TangentSpace", "riemannian_mean"]

_STEPS, _CLOSE = 50, 1e-9
AT_ONCE = 1 << 20
"""Numbers: what is computed on the way is some times as large."""


def _function(matrices: NDArray[np.float64], of: Callable[..., NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return a function of symmetric matrices ``(..., c, c)``, through their eigenvalues."""
    values, vectors = np.linalg.eigh(matrices)
    result: NDArray[np.float64] = (vectors * of(values)[..., None, :]) @ vectors.swapaxes(-1, -2)
    return result


def _parts(matrices: NDArray[np.float64]) -> Iterator[slice]:
    step = max(1, AT_ONCE // matrices.shape[-1] ** 2)
    return (slice(start, start + step) for start in range(0, len(matrices), step))


def riemannian_mean(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix of least mean squared distance to positive definite matrices ``(n, c, c)``."""
    mean: NDArray[np.float64] = matrices.mean(axis=0)
    for _ in range(_STEPS):
        root, inverse = _function(mean, np.sqrt), _function(mean, lambda v: 1 / np.sqrt(v))
        logs = (_function(inverse @ matrices[part] @ inverse, np.log) for part in _parts(matrices))
        step = np.add.reduce([one.sum(axis=0) for one in logs]) / len(matrices)
        mean = root @ _function(step, np.exp) @ root
        if np.linalg.norm(step) < _CLOSE * len(mean):
            break
    return mean


class TangentSpace:
    """Maps positive definite matrices to vectors.

    Args:
        matrices: Whose mean is the point of contact ``(n, c, c)``.
    """

    def __init__(self, matrices: NDArray[np.float64]) -> None:
        self._inverse = _function(riemannian_mean(matrices), lambda v: 1 / np.sqrt(v))

    def __call__(self, matrices: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the vectors ``(n, c (c + 1) / 2)``; their length is the distance from the mean."""
        rows, columns = np.triu_indices(matrices.shape[-1])
        weight = np.where(rows == columns, 1.0, np.sqrt(2.0))
        vectors = np.empty((len(matrices), len(rows)))
        for part in _parts(matrices):
            logs = _function(self._inverse @ matrices[part] @ self._inverse, np.log)
            vectors[part] = logs[:, rows, columns] * weight
        return vectors
