"""Listing and deleting sessions: only what is ours, never through a link."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from mimamba_edge.cli import main
from mimamba_edge.errors import DataError, OutputError
from mimamba_edge.sessions.folder import SessionWriter
from mimamba_edge.sessions.identity import default_subject, next_run
from mimamba_edge.sessions.store import delete_session, find_session, list_sessions
from tests.sessions.sources import chunks_of, some_info


def _session(root: Path, n: int = 500, **changes: object) -> Path:
    writer = SessionWriter(root, some_info(**changes))
    for chunk in chunks_of(n):
        writer.write(chunk.samples, chunk.timestamps)
    if n >= 400:
        writer.trial("calm", "", writer.mark(0), 200)
    writer.close()
    return writer.folder


class _Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., _Done]:
    """Run `session` as typed where there is no terminal."""

    def typed(*arguments: str) -> _Done:
        with pytest.raises(SystemExit) as end:
            main(["session", *arguments])
        out, err = capsys.readouterr()
        return _Done(int(end.value.code or 0), out, err)

    return typed


def test_sessions_are_listed_the_oldest_first(tmp_path: Path) -> None:
    second = _session(tmp_path, started_unix=2000.0, run="02")
    first = _session(tmp_path, started_unix=1000.0)
    (tmp_path / "no session").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(first)
    found = list_sessions(tmp_path)
    assert [session.folder for session in found] == [first, second]
    facts = found[0].to_dict()
    assert facts["seconds"] == pytest.approx(4.99)
    assert (facts["trials"], facts["ended"], facts["recording"], facts["foreign"]) == (1, True, False, [])
    assert facts["size_bytes"] == sum(path.stat().st_size for path in first.iterdir())
    with pytest.raises(DataError, match="not a folder"):
        list_sessions(tmp_path / "none")


def test_a_session_that_was_torn_is_listed_as_it_is(tmp_path: Path) -> None:
    folder = _session(tmp_path, n=100)
    for name, tail in (("signal.csv", b"1700"), ("events.jsonl", bytes(300))):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-10] + tail)
    facts = find_session(folder)
    assert facts.seconds == pytest.approx(0.98)
    assert not facts.ended
    (folder / "signal.csv").write_bytes(b"timestamps,A,B\n17")
    assert find_session(folder).seconds is None
    (folder / "signal.csv").write_bytes(bytes(1 << 17))
    assert find_session(folder).seconds is None


def test_deleting_takes_all_of_ours_and_nothing_else(tmp_path: Path) -> None:
    gone, kept = _session(tmp_path), _session(tmp_path)
    (gone / "notes.txt").write_text("mine")
    outside = tmp_path / "outside.csv"
    outside.write_text("mine")
    (gone / "decisions.jsonl").symlink_to(outside)
    (gone / "sub").mkdir()
    assert delete_session(gone) == ("decisions.jsonl", "notes.txt", "sub")
    assert sorted(path.name for path in gone.iterdir()) == ["decisions.jsonl", "notes.txt", "sub"]
    assert outside.read_text() == "mine"
    assert delete_session(kept) == ()
    assert not kept.exists()


def test_what_is_no_session_of_ours_is_refused(tmp_path: Path) -> None:
    real = _session(tmp_path / "elsewhere")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(real)
    plain = root / "plain"
    plain.mkdir()
    (plain / "signal.csv").write_text("mine")
    other = root / "other"
    other.mkdir()
    (other / "session.json").write_text('{"format": "theirs"}')
    linked = root / "linked"
    linked.mkdir()
    (linked / "session.json").symlink_to(real / "session.json")
    for name in ("link", "plain", "other", "linked", "none"):
        with pytest.raises(DataError, match="not a session folder"):
            delete_session(root / name)
    assert len(list(real.iterdir())) == 4
    assert (plain / "signal.csv").is_file()


def test_a_session_that_is_being_recorded_is_not_deleted(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path, some_info())
    assert find_session(writer.folder).recording
    with pytest.raises(OutputError, match="being recorded"):
        delete_session(writer.folder)
    writer.close()
    assert delete_session(writer.folder) == ()


def test_the_verbs(tmp_path: Path, run: Callable[..., _Done]) -> None:
    who = default_subject(tmp_path)
    one, two = _session(tmp_path, started_unix=1000.0), _session(tmp_path, subject="p\x1b[2J02")
    listed = run("list", str(tmp_path))
    assert listed.returncode == 0
    assert one.name in listed.stdout
    assert "\x1b" not in listed.stdout
    assert "\x1b" not in run("list", str(tmp_path), "--json").stdout
    facts = json.loads(run("list", str(tmp_path), "--json").stdout)
    assert [fact["id"] for fact in facts] == [one.name, two.name]
    asked = run("delete", str(one))
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert one.is_dir()
    # Nothing goes when one of several is no session.
    wrong = run("delete", str(one), str(tmp_path), "--yes")
    assert wrong.returncode == 2
    assert "not a session folder" in wrong.stderr
    assert one.is_dir()
    assert run("delete", str(one), str(one), "--yes").returncode == 0
    assert not one.exists()
    (two / "notes.txt").write_text("mine")
    stays = run("delete", str(tmp_path), "--all", "--yes")
    assert stays.returncode == 1
    assert "notes.txt" in stays.stderr
    assert [path.name for path in two.iterdir()] == ["notes.txt"]
    assert not (tmp_path / ".subject.json").exists()
    assert default_subject(tmp_path) != who
    empty = run("list", str(tmp_path))
    assert empty.returncode == 0
    assert "no sessions" in empty.stdout


_HOSTILE = {
    "a rate of 400 digits": '{"format": "mimamba.session.1", "sfreq": 1' + "0" * 400 + "}",
    "numbers of 5,001 digits": '{"format": "mimamba.session.1", "started_unix": ' + "9" * 5001 + "}",
    "a time beyond the calendar": '{"format": "mimamba.session.1", "started_unix": 1e300}',
    "depth": "[" * 100_000,
    "not a number": '{"format": "mimamba.session.1", "started_unix": NaN}',
    "a list for a name": '{"format": "mimamba.session.1", "subject": ["a"]}',
    "a name of 500 kB": '{"format": "mimamba.session.1", "subject": "' + "a" * 500_000 + '"}',
    "a run of 5,001 digits": '"run": "' + "9" * 5001 + '"',
    "cut off": '{"format": "mimamba.ses',
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_one_bad_session_hides_no_other(tmp_path: Path, run: Callable[..., _Done], name: str) -> None:
    good, bad = _session(tmp_path), _session(tmp_path)
    text = _HOSTILE[name]
    if not text.startswith(("{", "[")):  # otherwise sound
        info = json.loads((bad / "session.json").read_text())
        text = json.dumps({**info, **json.loads(f"{{{text}}}")})
    (bad / "session.json").write_text(text)
    done = run("list", str(tmp_path))
    assert done.returncode == 0
    assert good.name in done.stdout
    assert "damaged" in done.stdout
    assert str(bad) in done.stderr
    assert len(done.stderr.encode()) < 4096
    listed = {one["folder"]: one for one in json.loads(run("list", str(tmp_path), "--json").stdout)}
    assert listed[str(good)]["problem"] is None
    assert listed[str(bad)]["problem"].startswith("session.json")
    # `record` goes on counting beside it.
    assert next_run(tmp_path, "p01", "2026-11-02") >= "01"


def test_a_bad_session_is_deleted_only_where_it_says_that_it_is_ours(
    tmp_path: Path, run: Callable[..., _Done]
) -> None:
    ours, unknown = _session(tmp_path), _session(tmp_path)
    (ours / "session.json").write_text(_HOSTILE["a time beyond the calendar"])
    (unknown / "session.json").write_text(_HOSTILE["depth"])
    assert run("delete", str(unknown), "--yes").returncode == 2
    done = run("delete", "--all", str(tmp_path), "--yes")
    assert done.returncode == 0
    assert f"{unknown} stays" in done.stderr
    assert not ours.exists()
    assert (unknown / "signal.csv").exists()


def test_a_signal_with_impossible_times_is_listed_without_a_length(tmp_path: Path) -> None:
    folder = _session(tmp_path)
    for last in ("1e400", "nan", "1e308"):
        (folder / "signal.csv").write_text(f"timestamps,A,B\n1.0,2,3\n{last},2,3\n")
        assert find_session(folder).seconds is None
