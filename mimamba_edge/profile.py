"""The personal profile: how one person's resting signal looks to one model.

What a profile changes in a stream: the numbers of the scaling (center and scale of each channel), and where
the notch stands if the mains here is not that of the training. Nothing else: filters, window, weights and
temperature stay the model's. Noise and baseline are for people and for programs that compare with rest.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import sha256_bytes, write_json
from mimamba_edge.console import printable
from mimamba_edge.contract import Contract, Scaling, scaling_problems
from mimamba_edge.errors import ArtifactError, ContractError, listed, quoted
from mimamba_edge.strict_json import Malformed, convert, read_json

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

    def __post_init__(self) -> None:
        for key in ("file", "sha256", "contract_sha256"):
            if key not in self.model:
                raise ValueError(f"model: no {key}")
        if problems := scaling_problems(self.scaling, len(self.ch_names)):
            raise ValueError(listed(problems, "; "))
        if self.mains_hz not in (None, 50.0, 60.0):
            raise ValueError(f"mains_hz: 50, 60 or null is expected, not {quoted(self.mains_hz)}")

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
            raw = read_json(path, object)
        except FileNotFoundError as error:
            raise ArtifactError(
                f"the profile {path} is not there", do="check the path, or run `mimamba-edge calibrate`"
            ) from error
        except (OSError, Malformed) as error:
            raise ArtifactError(
                f"the profile {path} cannot be read", got=error, expected="JSON", do=_AGAIN
            ) from error
        schema = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        if schema != SCHEMA:
            raise ArtifactError(
                f"{path} is not a profile that this version can read", got=schema, expected=SCHEMA, do=_AGAIN
            )
        try:
            return convert(raw, cls)
        except Malformed as error:
            raise ArtifactError(f"the profile {path} is damaged", got=error, do=_AGAIN) from error

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
