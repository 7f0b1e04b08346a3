"""Checkpoints survive damage, load as data only, and fill an encoder completely or not at all."""

import os
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from cl import checkpoints
from cl.checkpoints import files, io


def save(path: Path, value: float) -> None:
    checkpoints.SafeIO().save_checkpoint({"x": torch.tensor(value)}, path)


def load(path: Path) -> float:
    return float(checkpoints.SafeIO().load_checkpoint(path)["x"])


def test_a_round_trip_keeps_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / checkpoints.LAST
    save(path, 1.0)
    save(path, 2.0)
    assert load(path) == 2.0
    assert load(tmp_path / checkpoints.PREVIOUS) == 1.0
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_damage_falls_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    path = tmp_path / checkpoints.LAST
    save(path, 1.0)
    save(path, 2.0)
    data = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data[: len(data) // 2] if damage == "truncated" else data)
    with pytest.warns(UserWarning, match="damaged"):
        assert load(path) == 1.0


def test_its_step_is_known_before_and_damage_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tensors of a step that is only asked for are not read, nor the file summed again."""
    path, writer = tmp_path / checkpoints.LAST, checkpoints.SafeIO()
    for step in (3, 4):
        writer.save_checkpoint({"global_step": step, "x": torch.ones(1000)}, path)
    path.write_bytes(b"half")
    summed, asked = list[Path](), list[bool]()
    by_sum, by_torch = files.sha256, torch.load

    def load_file(*args: object, mmap: bool, **kwargs: object) -> object:
        asked.append(mmap)
        return by_torch(*args, mmap=mmap, **kwargs)

    monkeypatch.setattr(files, "sha256", lambda file: summed.append(file) or by_sum(file))
    monkeypatch.setattr(io.torch, "load", load_file)
    with pytest.warns(UserWarning, match="damaged or half written"):
        assert writer.step_of(path) == 3
    assert writer.load_checkpoint(path)["x"].sum() == 1000  # any warning would be an error
    assert summed == [path, path.with_name(checkpoints.PREVIOUS)]
    assert asked == [True, False]


def test_a_damaged_one_never_becomes_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / checkpoints.LAST
    for value in (1.0, 2.0):
        save(path, value)
    path.write_bytes(b"half")
    save(path, 3.0)
    assert load(tmp_path / checkpoints.PREVIOUS) == 1.0


def test_both_damaged_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / checkpoints.LAST
    save(path, 1.0)
    path.write_bytes(b"half")
    with pytest.raises(ValueError, match="sha256"):
        load(path)


@pytest.mark.parametrize("sums", ["empty", "gone", "binary", "wrong"])
def test_what_has_no_sum_is_judged_by_its_content(tmp_path: Path, sums: str) -> None:
    path = tmp_path / checkpoints.LAST
    for value in (1.0, 2.0):
        save(path, value)
    for file in tmp_path.glob("*.sha256"):
        if sums == "gone":
            file.unlink()
        else:
            file.write_bytes(
                {"empty": b"", "binary": b"\xff" * 80, "wrong": b"0" * 64 + b" x"}[sums]
            )
    if sums == "wrong":
        with pytest.warns(UserWarning, match=r"last.ckpt.sha256 is damaged; .* can be read"):
            assert load(path) == 2.0
    else:
        assert load(path) == 2.0
    data = bytearray(path.read_bytes())
    data[data.index(torch.tensor(2.0).numpy().tobytes())] ^= 1  # of the tensor
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="damaged"):
        assert load(path) == 1.0
    save(path, 3.0)  # the damaged one takes no place
    with warnings.catch_warnings(action="ignore"):
        assert load(tmp_path / checkpoints.PREVIOUS) == 1.0


@pytest.mark.parametrize("linked", [False, True])
def test_the_oldest_makes_room_where_that_frees_any(
    tmp_path: Path, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its sum; one that is kept under another name as well would free nothing."""
    path, previous = tmp_path / checkpoints.LAST, tmp_path / checkpoints.PREVIOUS
    save(path, 1.0)
    save(path, 2.0)
    if linked:
        checkpoints.keep_as(previous, tmp_path / "epoch=1.ckpt")
    written = torch.save

    def write(content: object, file: object) -> None:
        if previous.exists():
            assert checkpoints.sum_of(previous).exists()
            raise RuntimeError("file write failed")
        assert not checkpoints.sum_of(previous).exists()
        written(content, file)

    monkeypatch.setattr(torch, "save", write)
    monkeypatch.setattr(io, "has_room", lambda _: False)
    if linked:
        with pytest.warns(UserWarning, match="NOT saved"):
            save(path, 3.0)
        assert load(previous) == load(tmp_path / "epoch=1.ckpt") == 1.0
        assert load(path) == 2.0
    else:
        save(path, 3.0)
        assert load(path) == 3.0
        assert load(previous) == 2.0
        assert checkpoints.valid(previous)


@pytest.mark.parametrize("at", range(1, 12))
def test_a_crash_anywhere_leaves_the_old_one_or_the_new_one(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a checkpoint and of an encoder, whichever call on the files is the last one."""
    path, file = tmp_path / checkpoints.LAST, tmp_path / checkpoints.ENCODER
    save(path, 1.0)
    checkpoints.save_encoder(net(0), file, {})
    left = [at]

    def crashing(call: object) -> object:
        def wrapper(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if not left[0]:
                raise SystemExit
            return call(*args, **kwargs)

        return wrapper

    for thing, name in ((Path, "open"), (Path, "replace"), (os, "fsync"), (os, "link")):
        monkeypatch.setattr(thing, name, crashing(getattr(thing, name)))
    with suppress(SystemExit):
        save(path, 2.0)
    checkpoint_crashed, left[0] = left[0] <= 0, at
    with suppress(SystemExit):
        checkpoints.save_encoder(net(1), file, {})
    monkeypatch.undo()
    assert checkpoint_crashed or left[0] > 0
    assert load(path) in (1.0, 2.0)
    found = net(2)
    checkpoints.load_weights(found, file)
    assert checkpoints.fingerprint(found) in map(checkpoints.fingerprint, (net(0), net(1)))


@pytest.mark.parametrize("at", ["while it is read", "before its sum is in place"])
def test_a_file_that_is_exchanged_meanwhile_is_not_damaged(
    tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a run trains on whose encoder is evaluated."""
    file = tmp_path / checkpoints.ENCODER
    checkpoints.save_encoder(net(0), file, {})
    hashed, read, left = files.sha256, files.read_sum, [1]

    def exchange() -> None:
        if left:
            left.pop()
            checkpoints.save_encoder(net(1), file, {})

    def while_read(path: Path) -> str:
        if path == file:
            exchange()
        return hashed(path)

    def between_sums(path: Path) -> str:
        found = read(path)
        if path == files.new_sum_of(file):
            exchange()
        return found

    if at == "while it is read":
        monkeypatch.setattr(files, "sha256", while_read)
    else:
        monkeypatch.setattr(files, "read_sum", between_sums)
    assert files.fits_sum(file) is True
    assert not left


def test_files_have_their_owners_usual_mode(tmp_path: Path) -> None:
    save(tmp_path / checkpoints.LAST, 1.0)
    checkpoints.save_encoder(net(0), tmp_path / checkpoints.ENCODER, {})
    (tmp_path / "plain").touch()
    modes = {p.stat().st_mode for p in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1], torch.zeros(1)])
def test_what_is_no_runs_checkpoint_is_named(tmp_path: Path, content: object) -> None:
    path = tmp_path / checkpoints.LAST
    torch.save(content, path)
    with pytest.raises(ValueError, match="is no checkpoint of a run of this program"):
        checkpoints.SafeIO().load_checkpoint(path)


def test_the_sums_are_those_of_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / checkpoints.LAST
    save(path, 1.0)
    digest, name = checkpoints.sum_of(path).read_text().split()
    assert (digest, name) == (checkpoints.sha256(path), path.name)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": Evil()}, path)
    with pytest.raises(ValueError, match=r"evil.ckpt cannot be read as data: .* run print"):
        checkpoints.read_encoder(path)
    assert "executed" not in capsys.readouterr().out


def net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_an_encoder_comes_back_bit_for_bit(tmp_path: Path) -> None:
    a, b = net(0).to(memory_format=torch.channels_last), net(1)
    file = tmp_path / checkpoints.ENCODER
    checkpoints.save_encoder(a, file, {"encoder": "net"})
    assert checkpoints.fingerprint(a) != checkpoints.fingerprint(b)
    checkpoints.load_weights(b, file)
    assert checkpoints.fingerprint(a) == checkpoints.fingerprint(b)
    assert checkpoints.about_encoder(file) == {"encoder": "net"}


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_plain_and_lightning_state_dicts_load(tmp_path: Path, prefix: str) -> None:
    a, b = net(0), net(1)
    state = {prefix + k: v for k, v in a.state_dict().items()}
    if prefix:
        state = {"state_dict": state | {"projector.0.weight": torch.zeros(1)}}
    torch.save(state, tmp_path / "net.pth")
    checkpoints.load_weights(b, tmp_path / "net.pth")
    assert checkpoints.fingerprint(a) == checkpoints.fingerprint(b)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("1.running_mean"), "1 missing .1.running_mean"),
        (lambda s: s.update(more=torch.zeros(1)), "1 not in the encoder .more"),
        (lambda s: s.update({"1.weight": torch.zeros(5)}), "1 of other shape .1.weight"),
    ],
)
def test_an_incomplete_encoder_is_refused(tmp_path: Path, change: object, said: str) -> None:
    state = net(0).state_dict()
    change(state)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=said):
        checkpoints.load_weights(net(1), tmp_path / "net.pth")


def test_folders_and_files_are_found_or_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--pretrained_feature_extractor"):
        checkpoints.encoder_file(tmp_path)
    with pytest.raises(ValueError, match="--resume_training_from"):
        checkpoints.resumable(tmp_path)
    checkpoints.save_encoder(net(0), tmp_path / checkpoints.ENCODER, {})
    assert checkpoints.encoder_file(tmp_path).name == checkpoints.ENCODER


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_one_number_that_is_not_finite_is_found(dtype: torch.dtype, wrong: float) -> None:
    value = torch.linspace(-1, 1, 1001).to(dtype)
    value[0], value[1] = torch.finfo(dtype).max, torch.finfo(dtype).min
    assert io.is_finite(value)
    for at in (0, 500, 1000):
        broken = value.clone()
        broken[at] = wrong
        assert not io.is_finite(broken.reshape(7, 143))
    assert io.is_finite(value[:0])
    assert io.is_finite(torch.arange(3))


def test_what_is_not_finite_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    io.write_checkpoint({"state_dict": {"good": torch.ones(2)}}, path)
    before = path.read_bytes()
    weights = {"good": torch.ones(2), "bad": torch.tensor([1.0, torch.nan])}
    with pytest.raises(
        files.NotFiniteError,
        match=r"^1 tensor is not finite .*, as bad; the checkpoint before is kept$",
    ):
        io.write_checkpoint({"state_dict": weights}, path)
    assert path.read_bytes() == before
    with pytest.raises(files.NotFiniteError, match=r"as bad$"):  # there is none to be kept
        io.write_checkpoint({"state_dict": weights}, tmp_path / "other.ckpt")
    assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt", "last.ckpt.sha256"}
