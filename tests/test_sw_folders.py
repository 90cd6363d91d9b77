"""Output folders: whole or not there, whatever interrupts, and links lead where they lead."""

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from cimforge.spec.errors import DataError
from cimforge_sw import folders
from cimforge_sw.folders import check_absent, check_new, new_entries, new_folder

ROOT = Path(__file__).resolve().parents[1]


def fill(folder):
    (folder / "file").write_text("whole")
    (folder / "below").mkdir(mode=0o700)
    (folder / "below" / "file").write_text("whole")
    (folder / "below" / "file").chmod(0o600)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def modes(folder):
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
            for path in (folder, *folder.rglob("*"))}


def test_everyone_can_read_files_and_enter_folders(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        fill(folder)
        assert not (tmp_path / "out").exists()
    assert modes(tmp_path / "out") == {".": 0o755, "file": 0o644, "below": 0o755,
                                       "below/file": 0o644}
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(("error", "raised"), [
    (OSError(28, "No space left on device"), DataError), (KeyboardInterrupt(), KeyboardInterrupt),
    (SafetensorError("I/O error: No space left on device"), DataError), (KeyError("a"), KeyError)])
def test_a_failure_leaves_nothing_not_even_the_folders_above(tmp_path, error, raised):
    def write(path):
        with new_folder(path) as folder:
            fill(folder)
            raise error

    with pytest.raises(raised) as caught:
        write(tmp_path / "a" / "b" / "out")
    if raised is DataError:
        assert "out: cannot be written: " in str(caught.value)
        assert "No space left on device" in str(caught.value)
    assert not list(tmp_path.iterdir())
    (tmp_path / "a").mkdir()
    with pytest.raises(raised):
        write(tmp_path / "a" / "b" / "out")
    assert names(tmp_path) == ["a"]  # it was there
    assert not list((tmp_path / "a").iterdir())


def test_links_lead_to_their_folder(tmp_path):
    """A link to an empty folder was refused when all the work was done."""
    (tmp_path / "disk").mkdir()
    for name, target in (("link", "disk/out"), ("dangling", "disk/none")):
        if name == "link":
            (tmp_path / target).mkdir()
        (tmp_path / name).symlink_to(tmp_path / target)
        with new_folder(tmp_path / name) as folder:
            assert folder.parent == tmp_path / "disk"
            fill(folder)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / target / "below" / "file").read_text() == "whole"
        with pytest.raises(DataError, match=f"{name}: already there and not empty"):
            check_new(tmp_path / name)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(DataError, match="circle: cannot be written"):
        check_new(tmp_path / "circle")


def test_what_cannot_be_replaced_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: a file; expected a new folder"):
        check_new(tmp_path / "file")
    monkeypatch.setattr(folders.os.path, "ismount", lambda _: True)
    (tmp_path / "disk").mkdir()
    with pytest.raises(DataError, match="disk: a file system is mounted there"):
        check_new(tmp_path / "disk")


def test_the_current_folder_can_be_given_where_it_is_empty(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with new_folder(Path()) as folder:
        fill(folder)
    assert names(tmp_path / "here") == ["below", "file"]
    monkeypatch.chdir(tmp_path)


NAMES = ("below", "file")


def test_new_entries_come_all_or_none_and_what_is_there_stays(tmp_path, monkeypatch):
    out, real = tmp_path / "a" / "out", Path.rename

    def write(error):
        with new_entries(out, NAMES) as folder:
            fill(folder)
            raise error

    for error, raised in ((OSError(28, "No space left"), DataError),
                          (SafetensorError("No space left"), DataError),
                          (KeyboardInterrupt(), KeyboardInterrupt)):
        with pytest.raises(raised):
            write(error)
        assert not list(tmp_path.iterdir())
    out.mkdir(parents=True)
    (out / "notes").write_text("mine")
    (out / "file").mkdir()  # nothing, though a file cannot take its place
    (out / ".unfinished.killed.new").mkdir()

    def full(path, target):
        if path.name == "file" and target == out / "file":
            raise OSError(28, "No space left on device")
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(DataError, match="No space left"), new_entries(out, NAMES) as folder:
            fill(folder)
    assert names(out) == ["notes"]
    with new_entries(out, NAMES) as folder:
        fill(folder)
        assert not (out / "below").exists()
    assert modes(out) == {".": 0o755, "file": 0o644, "below": 0o755, "below/file": 0o644,
                          "notes": 0o644}
    for name in NAMES:
        with pytest.raises(DataError, match=f"{name}: already there, and nothing is overwritten"):
            check_absent(out, [name, "other"])


def test_new_entries_of_a_link_are_where_it_leads(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "out")
    with new_entries(tmp_path / "link", NAMES) as folder:
        fill(folder)
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "disk" / "out") == ["below", "file"]
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(DataError, match="circle: cannot be written"):
        check_absent(tmp_path / "circle", NAMES)
    (tmp_path / "below").mkdir()
    check_absent(tmp_path, NAMES)
    monkeypatch.setattr(folders.os.path, "ismount", lambda _: True)
    with pytest.raises(DataError, match="below: already there"):
        check_absent(tmp_path, NAMES)


def test_entries_that_came_meanwhile_are_not_overwritten(tmp_path):
    def write():
        with new_entries(tmp_path, NAMES) as folder:
            fill(folder)
            (tmp_path / "file").write_text("mine")

    with pytest.raises(DataError, match="file: already there"):
        write()
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_what_a_killed_run_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    code = ("import sys\nfrom pathlib import Path\nfrom cimforge_sw.folders import new_folder\n"
            f"with new_folder(Path({str(tmp_path / 'out')!r})) as folder:\n"
            "    (folder / 'file').write_text('half')\n    print('ready', flush=True)\n"
            "    sys.stdin.read()")
    others = []
    for name in ("killed", "living"):
        others.append(subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": ".:sw"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert others[-1].stdout.readline() == "ready\n", name
        if name == "killed":
            others[-1].send_signal(signal.SIGKILL)
            others[-1].wait()
    assert len(list(tmp_path.iterdir())) == 1  # the living one cleaned up
    (tmp_path / ".out.partial").mkdir()  # of a streamed run
    with new_folder(tmp_path / "out") as folder:
        fill(folder)
        assert len(list(tmp_path.iterdir())) == 3
    others[1].communicate()
    assert others[1].returncode == 1  # the other one has the name now
    assert names(tmp_path) == [".out.partial", "out"]
    assert (tmp_path / "out" / "file").read_text() == "whole"
    for other in others:
        other.stdin.close()
        other.stdout.close()
