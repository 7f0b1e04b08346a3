"""What the operating system refuses is a sentence and exit code 2, before anything is loaded."""

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import main_contrastive
import main_linear
from cl import checkpoints
from cl.config import Pretrain, program
from cl.config.machine import sentence_of

LONG = "n" * 300


@pytest.fixture(scope="module")
def places() -> Iterator[Path]:
    """Files and folders of every kind that a path can name, where every user may look."""
    made = tempfile.TemporaryDirectory()  # pytest's own folders are their user's alone
    root = Path(made.name)
    (root / "file").write_text("x")
    (root / "empty").mkdir()
    (root / "good").mkdir()
    (root / "good").chmod(0o777)
    os.mkfifo(root / "pipe")
    (root / "loop").symlink_to(root / "loop")
    with (root / "huge").open("wb") as file:
        file.truncate(2**34)  # takes no space
    (root / "data").mkdir()
    (root / "data" / "train").write_text("x")
    (root / "private").write_text("{}")
    (root / "private").chmod(0)
    (root / "closed").mkdir(0)
    (root / "fixed").mkdir(0o555)
    root.chmod(0o755)
    yield root
    (root / "closed").chmod(0o755)
    made.cleanup()


@pytest.fixture
def user() -> Iterator[None]:
    """A user whom modes of files concern."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


@pytest.fixture
def refused(places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> object:
    """Calls a program with words, `@` for the folder of places; what it says."""

    def work(_: object) -> None:
        raise AssertionError("it was not refused in time")

    monkeypatch.setitem(sys.modules, "cl.train", SimpleNamespace(train=work))
    monkeypatch.setitem(sys.modules, "cl.evaluation", SimpleNamespace(evaluate_configured=work))

    def call(words: str) -> str:
        argv = words.replace("@", f"{places}/").replace("LONG", LONG).split()
        program = main_linear if "--pretrained" in words else main_contrastive
        assert program.main(argv) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1, said
        return said.replace(f"{places}/", "@").replace(LONG, "LONG")

    return call


DIGITS = "digits resnet6_w8 "
FOLDER = "folder resnet6_w8 --output @good --data_folder "
WEIGHTS = DIGITS + "--output @good --pretrained_feature_extractor "
FILE = "a file stands where a folder must be"
NO_FILE = "it is a pipe or a device, and no file"
MODE = "Permission denied; its owner and mode forbid it to this user"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (DIGITS + "--output @file", f"--output: @file: Not a directory; {FILE}"),
        (DIGITS + "--output @file/x", f"--output: @file/x: Not a directory; {FILE}"),
        (DIGITS + "--output @pipe", f"--output: @pipe: Not a directory; {FILE}"),
        (DIGITS + "--output @loop/x", "--output: @loop/x: Too many levels of symbolic links"),
        (DIGITS + "--output @LONG", "--output: @LONG: File name too long; choose a shorter one"),
        (DIGITS + "--output @good --run_id LONG", "--run_id: @good/LONG: File name too long"),
        (DIGITS + "--output @ --run_id file", f"--run_id: @file: Not a directory; {FILE}"),
        (DIGITS + "--output /dev/null", f"--output: /dev/null: Not a directory; {FILE}"),
        (DIGITS + "--show_views @empty", "@empty: a folder stands where a file must be"),
        (DIGITS + "--show_views @file/x.png", "--show_views: @file: Not a directory"),
        (FOLDER + "@file", "--data_folder must be a folder; there is no @file"),
        (FOLDER + "@LONG", "--data_folder must be a folder; there is no @LONG"),
        (FOLDER + "@data --train_dir train", "--train_dir must be a folder in @data (it has none)"),
        (f"cifar10 {FOLDER[7:]}@file --download", f"--data_folder: @file: Not a directory; {FILE}"),
        ("--config @pipe", f"@pipe: {NO_FILE}"),
        ("--config /dev/zero", f"/dev/zero: {NO_FILE}"),
        ("--config @huge", "@huge: it has 17,179,869,184 bytes and is no file of settings"),
        ("--config @LONG", "@LONG: File name too long"),
        ("--config @empty", "@empty/config.json: No such file or directory"),
        ("--config @file", "@file: this is not JSON"),
        (DIGITS + "--resume_training_from @pipe", f"a run's folder or a file; @pipe: {NO_FILE}"),
        (DIGITS + "--resume_training_from @LONG", "a file; @LONG: File name too long"),
        (WEIGHTS + "/dev/zero", f"a run's folder or a file; /dev/zero: {NO_FILE}"),
        (WEIGHTS + "@pipe", f"a run's folder or a file; @pipe: {NO_FILE}"),
        (WEIGHTS + "@file/x", "a run's folder or a file; @file/x: Not a directory"),
        (
            WEIGHTS + "@file --verify @pipe",
            f"--verify must be a run's cards.json; @pipe: {NO_FILE}",
        ),
        (FOLDER + "@empty --class_list @pipe", "--class_list must be a file; there is no @pipe"),
    ],
)
def test_a_path_of_the_wrong_kind_is_named(refused, words: str, said: str) -> None:
    assert said in refused(words)


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (DIGITS + "--output @fixed", f"--output: @fixed: {MODE}"),
        (DIGITS + "--output @fixed/x", f"--output: @fixed/x: {MODE}"),
        (DIGITS + "--output @closed/x", f"--output: @closed/x: {MODE}"),
        (FOLDER + "@closed", f"--data_folder: @closed: {MODE}"),
        (f"cifar10 {FOLDER[7:]}@fixed --download", f"--data_folder: @fixed: {MODE}"),
        ("--config @private", "@private: Permission denied"),
        ("--config @closed", "@closed/config.json: Permission denied"),
        (DIGITS + "--resume_training_from @closed", "@closed: Permission denied"),
        (WEIGHTS + "@private", "@private: Permission denied"),
    ],
)
def test_what_this_user_may_not_is_named(refused, words: str, said: str) -> None:
    assert said in refused(words)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "a/b"),
            "a/b: No space left on device; d",
        ),
        (OSError(errno.EROFS, "Read-only file system", b"a"), "a: Read-only file system; choose"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files; ulimit -n"),
        (OSError("cannot identify\n image"), "cannot identify image"),
        (MemoryError(), "the memory is not enough; a smaller --batch_size"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ..."),
            "the memory is not enough for 2.00 GiB more; a smaller --batch_size",
        ),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "Connection reset"),
        (
            ValueError(
                "Caught ValueError in DataLoader worker process 0.\n"
                'Original Traceback (most recent call last):\n  File "x.py"\nValueError: a.jpg: no'
            ),
            "a.jpg: no",
        ),
    ],
)
def test_what_comes_later_is_a_sentence_too(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    error: Exception,
    said: str,
) -> None:
    def work(_: object) -> None:
        raise error

    monkeypatch.setitem(sys.modules, "cl.train", SimpleNamespace(train=work))
    argv = [*DIGITS.split(), "--output", str(tmp_path)]
    assert main_contrastive.main(argv) == 2
    assert f"error: {said}" in capsys.readouterr().err
    assert "\n" not in sentence_of(error)
    with pytest.raises(type(error)):
        main_contrastive.main([*argv, "--debug"])


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), AssertionError("x"), OSError(errno.EBADF, "Bad file descriptor")]
)
def test_the_programs_own_faults_keep_their_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def work(_: object) -> None:
        raise error

    monkeypatch.setitem(sys.modules, "cl.train", SimpleNamespace(train=work))
    with pytest.raises(type(error)):
        main_contrastive.main([*DIGITS.split(), "--output", str(tmp_path)])


@pytest.mark.parametrize("name", ["last.ckpt", "encoder.safetensors", "net.pth"])
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_weights_that_are_no_file_are_not_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    file = tmp_path / name
    os.mkfifo(file) if kind == "pipe" else file.mkdir()
    with pytest.raises(ValueError, match="is no plain file"):
        checkpoints.read_encoder(file)
    if name == "last.ckpt":
        with pytest.raises(ValueError, match="is damaged"):
            checkpoints.SafeIO().load_checkpoint(file)


def test_another_python_is_told_which_one_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a clone the environment's, where there is one."""

    def work(_: Pretrain) -> int:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(program, "PROGRAMS", tmp_path)
    monkeypatch.setattr(program, "from_clone", lambda: True)
    for how in ("make setup installs it", f"run {tmp_path}/.venv/bin/python"):
        assert program.run(Pretrain, ["digits", "resnet6_w4"], work) == 2
        said = f"error: torch is not installed for {sys.executable}; {how}.\n"
        assert capsys.readouterr().err.endswith(said)
        (tmp_path / ".venv").mkdir(exist_ok=True)
