"""The folder an export writes: what may be replaced, and that it appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from export import output
from export.errors import ExportError
from tests.export_child import refusal, run_export


@pytest.fixture
def earlier(tiny_export: Path, tmp_path: Path) -> Path:
    """A copy of an earlier export, alone in its parent."""
    return Path(shutil.copytree(tiny_export, tmp_path / "out" / "tiny"))


@pytest.fixture
def mounted() -> Iterator[Callable[..., None]]:
    """Mounts file systems with the arguments given."""
    folders = []

    def mount(folder: Path, *arguments: str | Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", *map(str, arguments), str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting a file system is not allowed here")
        folders.append(folder)

    yield mount
    for folder in reversed(folders):
        subprocess.run(["umount", str(folder)], check=True)


def test_an_earlier_export_is_not_replaced_without_force(tiny_checkpoint: Path, earlier: Path) -> None:
    before = _contents(earlier)
    message = refusal(run_export("--model", tiny_checkpoint, "--output-dir", earlier))
    assert "--force" in message
    assert str(earlier) in message
    assert _contents(earlier) == before


def test_force_replaces_an_earlier_export(tiny_checkpoint: Path, earlier: Path) -> None:
    (earlier / "left over from earlier").touch()
    finished = run_export(
        *("--model", tiny_checkpoint, "--output-dir", earlier, "--quantization", "int4", "--no-verify", "--force")
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert '"precision": "int4"' in (earlier / "manifest.json").read_text()
    assert not (earlier / "left over from earlier").exists()
    assert list(earlier.parent.iterdir()) == [earlier]


def test_an_earlier_export_stays_when_its_replacement_fails(checkpoint: Path, earlier: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"damaged")
    before = _contents(earlier)
    refusal(run_export("--model", checkpoint, "--output-dir", earlier, "--force"))
    assert _contents(earlier) == before
    assert list(earlier.parent.iterdir()) == [earlier]


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_folder_that_is_no_export_is_never_replaced(tiny_checkpoint: Path, target: Path, force: list[str]) -> None:
    target.mkdir(parents=True)
    (target / "thesis.txt").write_text("years of work")
    message = refusal(run_export("--model", tiny_checkpoint, "--output-dir", target, *force))
    assert "not an earlier export" in message
    assert _contents(target) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_file_is_never_replaced(tiny_checkpoint: Path, target: Path, force: list[str]) -> None:
    target.parent.mkdir()
    target.write_text("years of work")
    message = refusal(run_export("--model", tiny_checkpoint, "--output-dir", target, *force))
    assert "is a file" in message
    assert target.read_text() == "years of work"


def test_a_file_in_the_way_of_the_folder_is_named_before_the_checkpoint_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    target = tmp_path / "file" / "deeper" / "tiny"
    message = refusal(run_export("--model", tmp_path / "absent", "--output-dir", target))
    assert f"{tmp_path / 'file'}" in message
    assert "--output-dir" in message
    assert (tmp_path / "file").read_text() == "in the way"


def test_an_empty_folder_is_free(tmp_path: Path) -> None:
    output.check_free(tmp_path, force=False)
    output.check_free(tmp_path / "absent", force=False)


def test_nothing_is_left_when_the_work_fails_not_even_the_parents_that_were_made(tmp_path: Path) -> None:
    def work() -> None:
        with output.staging(tmp_path / "a" / "b" / "tiny") as folder:
            (folder / "half").write_text("done")
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        work()
    assert list(tmp_path.iterdir()) == []


def test_parents_that_somebody_else_uses_meanwhile_are_kept(tmp_path: Path) -> None:
    def work() -> None:
        with output.staging(tmp_path / "a" / "b" / "tiny"):
            (tmp_path / "a" / "other").touch()
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        work()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["other"]


def test_partial_folders_of_dead_exports_are_removed_and_those_of_running_ones_kept(tmp_path: Path) -> None:
    running = tmp_path / f".tiny.partial-{os.getppid()}"
    ours_from_an_earlier_life = tmp_path / f".tiny.partial-{os.getpid()}"
    other_target = tmp_path / ".other.partial-999999999"
    stale = [tmp_path / ".tiny.partial-999999999", ours_from_an_earlier_life]
    for folder in (running, other_target, *stale):
        folder.mkdir()
        (folder / "weights.bin").touch()
    with output.staging(tmp_path / "tiny") as folder:
        assert list(folder.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == sorted([other_target, running])


def test_an_export_that_appears_while_another_is_made_is_not_replaced(tiny_checkpoint: Path, target: Path) -> None:
    planted = (
        "import export.converter, pathlib\n"
        "trace = export.converter.trace\n"
        "def planted(*arguments):\n"
        f"    pathlib.Path({str(target)!r}).mkdir()\n"
        f"    pathlib.Path({str(target / 'manifest.json')!r}).write_text('meanwhile')\n"
        "    return trace(*arguments)\n"
        "export.converter.trace = planted"
    )
    message = refusal(run_export("--model", tiny_checkpoint, "--output-dir", target, "--no-verify", planted=planted))
    assert "already holds an exported model" in message
    assert _contents(target) == {"manifest.json": b"meanwhile"}


@pytest.mark.parametrize(
    ("failure", "reported"),
    [(OSError(5, "Input/output error"), ExportError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_the_earlier_export_comes_back_when_the_new_one_cannot_be_put_in_place(
    earlier: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, reported: type[BaseException]
) -> None:
    def work() -> None:
        with output.staging(earlier) as folder:
            _fail_to_rename(monkeypatch, folder / "finished", failure)
            output.put_in_place(folder / "finished", earlier)

    before = _contents(earlier)
    with pytest.raises(reported):
        work()
    assert _contents(earlier) == before
    assert list(earlier.parent.iterdir()) == [earlier]


@pytest.mark.parametrize("kind", ["another disk", "another folder of the same disk"])
def test_a_mount_point_is_refused_before_the_checkpoint_is_looked_at(
    tmp_path: Path, mounted: Callable[..., None], kind: str
) -> None:
    target = tmp_path / "out"
    (tmp_path / "bound").mkdir()
    mounted(target, *(["-t", "tmpfs", "none"] if kind == "another disk" else ["--bind", tmp_path / "bound"]))
    for arguments in ([], ["--check"]):
        message = refusal(run_export("--model", tmp_path / "absent", "--output-dir", target, *arguments))
        assert message == f"{target} is a mount point; name a folder in it, such as {target / 'model'}."
    assert list(target.iterdir()) == []
    output.check_free(target / "model", force=False)


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "absent")
    with pytest.raises(ExportError, match="is a link to nowhere"):
        output.check_free(tmp_path / "out", force=True)


@pytest.mark.parametrize("goal", ["absent", "out"])
def test_a_link_to_nowhere_on_the_way_is_named(tmp_path: Path, goal: str) -> None:
    (tmp_path / "out").symlink_to(tmp_path / goal)
    with pytest.raises(ExportError, match=f"^{tmp_path / 'out'} is a link to nowhere"):
        output.check_free(tmp_path / "out" / "deeper" / "tiny", force=False)


def test_the_root_is_refused(tiny_checkpoint: Path) -> None:
    message = refusal(run_export("--model", tiny_checkpoint, "--output-dir", "/", "--check"))
    assert message.startswith("/ is a mount point")


def test_a_folder_whose_name_the_terminal_cannot_show_is_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    arguments = ("--model", tiny_checkpoint, "--output-dir", tmp_path / "möd 模型", "--no-verify")
    finished = run_export(*arguments, environment={"PYTHONIOENCODING": "ascii"})
    assert (finished.returncode, finished.stderr) == (0, "")
    assert f"python -m service --model {tmp_path}" in finished.stdout
    assert (tmp_path / "möd 模型" / "manifest.json").exists()


@pytest.mark.parametrize("interrupted", [False, True])
def test_an_earlier_export_in_a_lower_layer_of_an_overlay_is_replaced_or_left_whole(
    tmp_path: Path, mounted: Callable[..., None], monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    mounted(tmp_path / "disk", "-t", "tmpfs", "none")
    lower, upper, work = (tmp_path / "disk" / name for name in ("lower", "upper", "work"))
    for folder in (lower / "tiny", upper, work):
        folder.mkdir(parents=True)
    (lower / "tiny" / "manifest.json").write_text("earlier")
    options = f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off"
    mounted(tmp_path / "merged", "-t", "overlay", "overlay", "-o", options)
    target = tmp_path / "merged" / "tiny"
    with suppress(KeyboardInterrupt), output.staging(target) as folder:
        (folder / "finished").mkdir()
        (folder / "finished" / "manifest.json").write_text("new")
        if interrupted:
            _fail_to_rename(monkeypatch, folder / "finished", KeyboardInterrupt())
        output.put_in_place(folder / "finished", target)
    assert _contents(target) == {"manifest.json": b"earlier" if interrupted else b"new"}
    assert list(target.parent.iterdir()) == [target]


def _fail_to_rename(monkeypatch: pytest.MonkeyPatch, source: Path, error: BaseException) -> None:
    rename = Path.rename

    def failing(path: Path, new: Path) -> Path:
        if path == source:
            raise error
        return rename(path, new)

    monkeypatch.setattr(Path, "rename", failing)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
