from __future__ import annotations

import dataclasses
import itertools
import json

import pytest

from mimamba_edge.contract import Contract, Filter, Scaling
from mimamba_edge.errors import ContractError


def contract(**changes: object) -> Contract:
    values: dict[str, object] = {
        "ch_names": ("TP9", "AF7"),
        "sfreq": 128.0,
        "n_times": 128,
        "hop": 16,
        "class_names": ("calm", "excited"),
        "filters": (Filter("bandpass", order=4, low_hz=1.0, high_hz=45.0), Filter("notch", freq_hz=50.0)),
        "scaling": Scaling("robust", (1.0, -2.0), (30.0, 31.5)),
        "training": {"protocol": "leave-one-run-out"},
    }
    return Contract(**{**values, **changes})  # type: ignore[arg-type]


def test_json_round_trip_is_exact() -> None:
    c = contract(sfreq=0.1 + 0.2, temperature=1 / 3)
    assert Contract.from_json(c.to_json()) == c
    assert Contract.from_json(json.dumps(c.to_dict())) == c


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"ch_names": ("A", "A")}, "ch_names"),
        ({"ch_names": ()}, "ch_names"),
        ({"class_names": ("one",)}, "class_names"),
        ({"sfreq": float("nan")}, "sfreq"),
        ({"sfreq": -1.0}, "sfreq"),
        ({"temperature": 0.0}, "temperature"),
        ({"n_times": 0}, "n_times"),
        ({"hop": 0.5}, "hop"),
        ({"n_times": True}, "n_times"),
        ({"ch_names": (1, 2)}, "ch_names must be texts"),
        ({"mains_hz": "50"}, "mains_hz"),
        ({"ops": ["SelectiveScan"]}, "ops must be"),
        ({"model": None}, "model must be"),
        ({"unit": "mV"}, "unit"),
        ({"resampler": "fft"}, "resampler"),
        ({"filters": (Filter("bandpass", low_hz=45.0, high_hz=1.0),)}, "band-pass"),
        ({"filters": (Filter("bandpass", order=2.5, low_hz=1.0, high_hz=45.0),)}, "whole order"),  # type: ignore[arg-type]
        ({"filters": (Filter("comb"),)}, "filter kind"),
        ({"scaling": Scaling("robust", (0.0,), (1.0, 1.0))}, "scaling needs 2"),
        ({"scaling": Scaling("robust", (0.0, 0.0), (1.0, 0.0))}, "positive"),
        ({"scaling": Scaling("max")}, "scaling kind"),
    ],
)
def test_impossible_values_are_refused_by_name(changes: dict[str, object], word: str) -> None:
    with pytest.raises(ContractError, match=word):
        contract(**changes)


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ContractError, match=r"(?s)sfreq.*n_times.*hop"):
        contract(sfreq=0.0, n_times=-1, hop=0)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "cannot be read"),
        ("[]", "not a JSON object"),
        ('{"contract_version": 2}', "version"),
        ('{"contract_version": 1, "ch_names": ["A"]}', "missing"),
    ],
)
def test_foreign_json_is_refused(text: str, word: str) -> None:
    with pytest.raises(ContractError, match=word):
        Contract.from_json(text)


def test_unknown_and_malformed_fields_are_refused() -> None:
    raw = contract().to_dict()
    with pytest.raises(ContractError, match="colour"):
        Contract.from_dict({**raw, "colour": 1})
    with pytest.raises(ContractError, match="malformed"):
        Contract.from_dict({**raw, "ch_names": "AB"})
    with pytest.raises(ContractError, match="malformed"):
        Contract.from_dict({**raw, "filters": [{"kind": "notch", "freq_hz": 50, "depth": 3}]})
    with pytest.raises(ContractError, match="malformed"):
        Contract.from_dict({**raw, "scaling": {"kind": "robust", "center": ["x"], "scale": [1]}})


def test_a_contract_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        contract().sfreq = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"hop": 10**399}, "hop"),
        ({"n_times": 1 << 40}, "n_times"),
        ({"sfreq": 1e300}, "sfreq"),
        ({"temperature": 1e-300}, "temperature"),
        ({"mains_hz": 1e300}, "mains_hz"),
        ({"filters": (Filter("bandpass", order=10**6, low_hz=1.0, high_hz=45.0),)}, "band-pass"),
        ({"filters": (Filter("bandpass", low_hz=1e-300, high_hz=45.0),)}, "band-pass"),
        ({"filters": (Filter("bandpass", low_hz=1.0, high_hz=1e300),)}, "band-pass"),
        ({"filters": (Filter("bandpass", low_hz=float("nan"), high_hz=45.0),)}, "band-pass"),
        ({"filters": (Filter("notch", freq_hz=50.0, q=1e300),)}, "notch"),
        ({"filters": (Filter("notch", freq_hz=50.0),) * 1000}, "filters has 1,000"),
        ({"ch_names": tuple(f"c{i}" for i in range(5000))}, "ch_names has 5,000"),
        ({"ch_names": ("x" * 500_000, "y")}, "ch_names must be texts of at most"),
        ({"ch_names": tuple(f"c{i}" for i in range(1000)), "n_times": 1 << 20}, "n_times times channels"),
        ({"scaling": Scaling("robust", (0.0, 1e300), (1.0, 1.0))}, "none beyond"),
        ({"scaling": Scaling("robust", (0.0, 0.0), (1.0, 1e-300))}, "none beyond"),
    ],
    ids=itertools.count(),
)
def test_values_that_nothing_could_be_built_from_are_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(ContractError, match=word) as caught:
        contract(**changes)
    assert len(str(caught.value).encode()) < 4096


@pytest.mark.parametrize(
    "put",
    [
        '"hop": 1' + "0" * 399,
        '"training": {"x": ' + "9" * 5001 + "}",
        '"training": {"x": NaN}',
        '"training": {"x": ' + "[" * 100_000 + "}",
        '"sfreq": Infinity',
        '"model": {"n": "' + "x" * 10**7 + '"}',
        '"filters": [[[]]]',
        '"ops": {"SelectiveScan": "1"}',
        '"class_names": {"a": 1, "b": 2}',
        '"scaling": {"kind": 3}',
    ],
    ids=itertools.count(),
)
def test_hostile_metadata_is_refused_in_short(put: str) -> None:
    text = contract().to_json()
    with pytest.raises(ContractError) as caught:
        Contract.from_json(text[:-1] + f", {put}}}")
    assert len(str(caught.value).encode()) < 4096


def test_a_model_of_a_cleaned_signal_says_what_a_live_one_lacks() -> None:
    plain = contract()
    assert plain.unlike_live() == []
    band = (Filter("bandpass", order=4, low_hz=1.0, high_hz=45.0),)
    cases = {
        (4.0, 45.0): ["filtered to 4-45 Hz"],
        (0.5, 40.0): ["filtered to 0.5-40 Hz"],
        (0.0, 75.0): [],
    }
    for edges, expected in cases.items():
        done = {"band_hz": list(edges), "cleaning": ""}
        made = dataclasses.replace(plain, filters=band, training={"data": {"processing": done}})
        assert made.unlike_live() == expected
        assert Contract.from_json(made.to_json()).unlike_live() == expected
    done = {"cleaning": "eyes removed"}
    changed = dataclasses.replace(plain, reference="common average", training={"data": {"processing": done}})
    assert changed.unlike_live() == ["reference: common average", "eyes removed"]
    for odd in ({"processing": 3}, {"processing": {"band_hz": ["a", None]}}, "text"):
        assert dataclasses.replace(plain, training={"data": odd}).unlike_live() == []
