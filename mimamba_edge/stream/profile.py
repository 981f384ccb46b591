"""The personal profile: how one person's resting signal looks to one model.

What a profile changes in a stream: the numbers of the scaling (center and scale of each channel), and where
the notch stands if the mains here is not that of the training. Nothing else: filters, window, weights and
temperature stay the model's. Noise and baseline are for people and for programs that compare with rest.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import sha256_bytes, write_json
from mimamba_edge.console import printable
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.errors import ArtifactError, ContractError

__all__ = ["SCHEMA", "Profile", "contract_sha256"]

SCHEMA = "mimamba.profile.1"
_AGAIN = "run `mimamba-edge calibrate` again"


def contract_sha256(contract: Contract) -> str:
    """Return the hash of a contract's canonical JSON."""
    return sha256_bytes(contract.to_json().encode())


@dataclass(frozen=True)
class Profile:
    """What ``calibrate`` found.

    Attributes:
        name: A pseudonym: the stem of its file's name when it was made.
        model: ``file`` (name only), ``sha256`` of the model's file, ``contract_sha256``.
        ch_names: The model's channels.
        scaling: Center and scale of each channel at rest, microvolts; of the model's kind.
        mains_hz: Mains frequency found, or ``None`` where no line stood out.
        channels: For each channel ``rms_uv`` (filtered), ``mains_ratio``, ``noise_uv_rthz`` and
            ``band_uv2`` (power by band).
        baseline: Of the model at rest, under this profile: ``logits_mean``, ``logits_std``, ``probs_mean``.
        signal: How much there was: ``seconds``, ``windows``, ``valid``, ``no_decision`` by reason.
        source: ``device``, ``sfreq`` and ``channel_map`` it was made with.
        made_unix: When.
        schema: :data:`SCHEMA`.
    """

    name: str
    model: dict[str, str]
    ch_names: tuple[str, ...]
    scaling: Scaling
    mains_hz: float | None
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    signal: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    made_unix: float = 0.0
    schema: str = SCHEMA

    def save(self, path: Path) -> None:
        """Write it as JSON, atomically and for nobody else to read (0600).

        Raises:
            OutputError: It cannot be written.
        """
        plain = dataclasses.asdict(self)
        write_json(path, {"schema": plain.pop("schema"), **plain}, private=True)

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read a profile.

        Raises:
            ArtifactError: It is missing, damaged or of another version.
        """
        path = Path(path)
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ArtifactError(
                f"the profile {path} is not there", do="check the path, or run `mimamba-edge calibrate`"
            ) from error
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"the profile {path} cannot be read", got=str(error), expected="JSON", do=_AGAIN
            ) from error
        schema = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        if schema != SCHEMA:
            raise ArtifactError(
                f"{path} is not a profile that this build reads", got=schema, expected=SCHEMA, do=_AGAIN
            )
        try:
            return _checked(raw)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ArtifactError(f"the profile {path} is damaged", got=reason, do=_AGAIN) from error

    def apply(self, contract: Contract, model_sha256: str) -> Contract:
        """Return the contract with this person's scaling; a model that scales each window keeps its own.

        Args:
            contract: The model's.
            model_sha256: Of the model's file.

        Raises:
            ContractError: The profile was made for another model.
        """
        for what, here in (("sha256", model_sha256), ("contract_sha256", contract_sha256(contract))):
            if self.model[what] != here:
                raise ContractError(
                    f"the profile {printable(self.name)} belongs to another model",
                    got=f"{what} {here}",
                    expected=f"{what} {self.model[what]} ({printable(self.model['file'])})",
                    do="stream that model, or run `mimamba-edge calibrate` with this one",
                )
        if contract.scaling.kind != "robust":
            return contract
        return dataclasses.replace(contract, scaling=self.scaling)


def _checked(raw: dict[str, Any]) -> Profile:
    """Build a profile from JSON.

    Raises:
        KeyError, TypeError, ValueError: Something is missing or is not what it should be.
    """
    unknown = set(raw) - {f.name for f in dataclasses.fields(Profile)}
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    model, names = raw["model"], raw["ch_names"]
    if not all(isinstance(model[key], str) for key in ("file", "sha256", "contract_sha256")):
        raise TypeError("model: texts are expected")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in [*names, raw["name"]]):
        raise TypeError("ch_names: a list of texts is expected")
    scaling = Scaling(
        str(raw["scaling"]["kind"]), *(tuple(map(float, raw["scaling"][key])) for key in ("center", "scale"))
    )
    if scaling.kind == "robust":
        numbers = (*scaling.center, *scaling.scale)
        if not len(scaling.center) == len(scaling.scale) == len(names):
            raise ValueError(f"scaling: {len(names)} centers and scales are expected")
        if not all(map(math.isfinite, numbers)) or min(scaling.scale) <= 0:
            raise ValueError("scaling: finite numbers are expected, and positive scales")
    mains_hz = raw["mains_hz"]
    if mains_hz not in (None, 50.0, 60.0):
        raise ValueError(f"mains_hz: 50, 60 or null is expected, not {mains_hz!r}")
    return Profile(**{**raw, "ch_names": tuple(names), "scaling": scaling})
