"""Damaged input of every kind from a seed: `python -m tests.faults.fuzz N [SEED] [KIND ...]`.

A finding is an exception that is no ValueError or OSError (the programs make one line of these, all
else is a traceback), a refusal in Python's words, a call of more than 20 s, a gigabyte and more of
memory, or a file outside of the scratch folder.
"""

import contextlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from cl import checkpoints, logs
from cl.config import Linear, Pretrain, check_environment, from_json, parse_pretrain, to_json
from cl.config.parse import parse
from cl.config.schema import options_of
from cl.data import sets
from cl.data.sets import UnreadableError
from cl.data.sets._decode import decode
from cl.metrics import COLUMNS, read_metrics, read_newest
from cl.nets import encoders
from tests.data.made import picture
from tests.faults.made_sets import FORMS, files_of

SECONDS, GIGABYTES = 20, 1.0
# Words of Python and of libraries that tell a user neither what is wrong nor what to do.
PYTHONS = ("invalid literal", "could not convert", "expected str", "not enough values")
PYTHONS += ("substring not found", "unpack", "object has no attribute", "unhashable")
WORDS = ["", " ", "-", "--", "=", "nan", "inf", "-inf", "1e309", "-1", "0", "1", "2", "1e-400"]
WORDS += ["9" * 30, "9" * 5000, "0x10", "1_000", "١٢", "½", "True", "None", "null", "../../x"]
WORDS += ["/etc/passwd", "/dev/zero", "a\0b", "\ud800", "é" * 300, "%s%n", "$(id)", "`id`", ";"]
WORDS += ["*", "~", "{0..3}", "torchvision:", "torchvision:MNIST", "torchvision:__import__"]
WORDS += ["huggingface:x", "webdataset:{0..9}", "pairs:x", "digits", "folder", "resnet18", "supcon"]
WORDS += ["sigmoid", "clip", "os:system", "hf:/", "\n", "\x1b[2J", "1.5", ".5", "1,2", "[1]", "3 4"]
VALUES: list[Any] = [None, True, 0, 1, -1, 2**63, 10**400, 1.5, float("nan"), float("inf"), -0.0]
VALUES += ["", "x", "../../x", [], [1], [[1]], {}, {"a": 1}, [0.5, 1], "a" * 10**5, [0] * 10**4]
VALUES += ["\x00", "\ud800", "os:system", ["crop", "crop"], {"method": {}}, [None]]
SETTINGS = ["digits", "resnet6_w8"]


class Slow(BaseException):
    """A call took too long."""


class Fuzz:
    """Calls with damaged input, counted, and what was found.

    Args:
        seed: of the damage.
        folder: everything is written there.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.random, self.folder = random.Random(seed), folder
        self.counts, self.refused = Counter[str](), Counter[str]()
        self.found: dict[str, object] = {}

    def case(self, kind: str, call: Callable[[], object], what: object) -> None:
        """Call it; `what` is shown with a finding."""
        self.counts[kind] += 1
        before = peak()
        signal.alarm(SECONDS)
        try:
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(sys.stderr):
                call()
        except Slow:
            self.add(kind, f"more than {SECONDS} s", what)
        except SystemExit:
            self.refused[kind] += 1
        except (ValueError, OSError) as error:
            self.refused[kind] += 1
            said = str(error)
            if isinstance(error, UnicodeError) or not said or any(w in said for w in PYTHONS):
                self.add(kind, f"refused in Python's words: {said[:90]}", what)
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [f for f in frames if "/cl/" in f.filename and "site-packages" not in f.filename]
            where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"
            self.add(kind, f"{type(error).__name__} at {where}: {str(error)[:90]}", what)
        finally:
            signal.alarm(0)
        if peak() - before > GIGABYTES:
            self.add(kind, f"{peak() - before:.1f} GB of memory", what)

    def add(self, kind: str, finding: str, what: object) -> None:
        self.found.setdefault(f"[{kind}] {finding}", what)

    def damaged(self, content: bytes) -> bytes:
        """The bytes with some of them changed, lost or doubled."""
        draw, b = self.random, bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 5, 30))):
            at = draw.randrange(len(b)) if b else 0
            kind = draw.randrange(6)
            if kind == 0 and b:
                b[at] = draw.randrange(256)
            elif kind == 1 and b:
                b[at] ^= 1 << draw.randrange(8)
            elif kind == 2:
                del b[at : at + draw.choice((1, 4, 100, len(b)))]
            elif kind == 3:
                b[at:at] = draw.randbytes(draw.choice((1, 4, 50)))
            elif kind == 4:
                b[at : at + 4] = draw.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
            else:
                b = b[:at] + b[at // 2 :]
        return bytes(b)

    def command_lines(self) -> Iterator[None]:
        """Flags of both programs with words that fit or do not."""
        draw = self.random
        names: dict[Any, list[str]] = {
            of: [n for n in options_of(of) if n != "verify"] for of in (Pretrain, Linear)
        }
        while True:
            of = draw.choice((Pretrain, Linear))
            argv = [*SETTINGS] if draw.random() < 0.8 else []
            for _ in range(draw.choice((1, 1, 2, 3, 6))):
                flag = draw.choice(names[of])
                flag = f"no-{flag}" if draw.random() < 0.1 else flag
                flag = flag[:-1] + draw.choice("xyz") if draw.random() < 0.1 else flag
                words = [draw.choice(WORDS) for _ in range(draw.choice((0, 1, 1, 1, 2)))]
                argv += [f"--{flag}={words[0]}"] if len(words) == 1 else [f"--{flag}", *words]
            if draw.random() < 0.2:
                draw.shuffle(argv)
            self.case("command lines", lambda of=of, argv=argv: settle(of, argv), argv)
            yield

    def configs(self) -> Iterator[None]:
        """config.json with damaged bytes, or with other values."""
        draw, file = self.random, self.folder / "config.json"
        text = to_json(parse_pretrain(SETTINGS), {"recipes": []})
        while True:
            content, found = text.encode(), json.loads(text)
            if draw.random() < 0.3:
                content = self.damaged(content)
            else:
                for _ in range(draw.choice((1, 1, 2, 4))):
                    key = draw.choice([*found, "new", "loss_options", "derived"])
                    found[key] = draw.choice(VALUES)
                    if draw.random() < 0.15:
                        del found[key]
                content = json.dumps(found).encode()
            file.write_bytes(content)
            words = ["--config", str(file)]
            for of in (Pretrain, Linear):
                self.case("configs", lambda w=words, of=of: settle(of, w), content[:300])
            stored = content.decode(errors="replace")
            self.case("configs", lambda s=stored: from_json(s), content[:300])
            yield

    def weights(self) -> Iterator[None]:
        """Files of weights: torch's two formats and safetensors."""
        encoder = encoders.create("resnet6_w4", 16)
        state = {key: value.contiguous() for key, value in encoder.state_dict().items()}
        whole: dict[str, bytes] = {"a.safetensors": save(state, {"cl": '{"encoder": "resnet6"}'})}
        for name, zipped in (("a.pth", True), ("b.pth", False)):
            content = io.BytesIO()
            torch.save({"state_dict": state}, content, _use_new_zipfile_serialization=zipped)
            whole[name] = content.getvalue()
        while True:
            name = self.random.choice([*whole])
            content = whole[name]
            if name.endswith("s") and self.random.random() < 0.5:  # the head of a safetensors
                content = self.damaged(content[:2000]) + content[2000:]
            else:
                content = self.damaged(content)
            file = self.folder / name
            file.write_bytes(content)
            self.case(name, lambda f=file: checkpoints.load_weights(encoder, f), content[:60])
            self.case(name, lambda f=file: checkpoints.about_encoder(f), content[:60])
            yield

    def run_checkpoints(self) -> Iterator[None]:
        """last.ckpt with and without its sum, and a damaged sum."""
        folder = self.folder / "run"
        folder.mkdir()
        last, writer = folder / checkpoints.LAST, checkpoints.SafeIO()
        step = {"global_step": 3, "state_dict": {"a": torch.zeros(40)}, "loops": {"a": [1]}}
        writer.save_checkpoint(step, last)
        whole, summed = last.read_bytes(), checkpoints.sum_of(last)
        its_sum = summed.read_bytes()
        while True:
            kind = self.random.randrange(3)
            last.write_bytes(whole if kind == 2 else self.damaged(whole))
            summed.write_bytes(self.damaged(its_sum) if kind == 2 else its_sum)
            if kind == 1:
                summed.unlink()

            def read() -> None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    assert writer.load_checkpoint(last)["global_step"] is not None

            self.case("checkpoints", read, last.read_bytes()[:60])
            yield

    def images(self) -> Iterator[None]:
        """Images of all modes, damaged; decoded they have three channels."""
        whole = encoded()
        while True:
            name = self.random.choice([*whole])
            content = self.damaged(whole[name])

            def read(content: bytes = content) -> None:
                with contextlib.suppress(UnreadableError):
                    x = decode(content, "x")
                    assert x.ndim == 3
                    assert x.shape[2] == 3

            self.case("images", read, (name, content[:40]))
            yield

    def shards(self) -> Iterator[None]:
        """Tar shards: damaged, with names that lead elsewhere, with labels of all kinds."""
        jpeg, draw = encoded()["JPEG"], self.random
        odd = [b" 1 ", b"1.0", b"NaN", b"", b"[" * 50000, b"9" * 5000, b"-1", b"true", b'"x"']
        objects = [b'{"label":1}', b"[]", b"null", b'{"label":{}}', b"{" * 50000, b'{"a":' * 50000]
        while True:
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w") as tar:
                for i in range(6):
                    label = draw.choice(odd) if draw.random() < 0.1 else b"%d" % (i % 2)
                    beside = draw.choice(objects) if draw.random() < 0.2 else b"{}"
                    for suffix, data in (("jpg", jpeg), ("cls", label), ("json", beside)):
                        name = f"{i:03}.{suffix}"
                        member = tarfile.TarInfo(draw.choice([name] * 5 + [f"../../{name}"]))
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
            raw = content.getvalue()
            raw = self.damaged(raw) if draw.random() < 0.6 else raw
            (self.folder / "t-0.tar").write_bytes(raw)
            self.case("shards", lambda: self.read_all("webdataset:t-0.tar"), raw[:100])
            yield

    def lines(self) -> Iterator[None]:
        """Captions and pairs in JSON lines."""
        draw = self.random
        (self.folder / "a.png").write_bytes(encoded()["PNG"])
        rows: dict[str, dict[str, Any]] = {
            "pairs": {"query": "what is it", "positive": "a dog", "negatives": ["a cat"]},
            "captions": {"image": "a.png", "captions": ["a dog", "an animal"]},
        }
        while True:
            name = draw.choice([*rows])
            kept = []
            for i in range(12):
                row = {**rows[name], "split": draw.choice(["train", "val", "test"])}
                if name == "pairs":
                    row |= {"query": f"what is {i}", "positive": f"number {i}"}
                if draw.random() < 0.1:
                    row[draw.choice([*row, "new"])] = draw.choice(VALUES)
                kept.append(json.dumps(row))
            if draw.random() < 0.1:
                kept.append(draw.choice(["[" * 50000, "9" * 5000, '{"query":' * 30000, "", "\0"]))
            raw = "\n".join(kept).encode()
            raw = self.damaged(raw) if draw.random() < 0.5 else raw
            (self.folder / f"{name}.jsonl").write_bytes(raw)
            read = f"{name}:{name}.jsonl"
            self.case("JSON lines", lambda r=read: self.read_all(r), raw[:300])
            yield

    def data_sets(self, make: Callable[[Path], list[str]]) -> Iterator[None]:
        """Data sets of a form, one of whose files is damaged, or has other words."""
        whole, place, draw = (
            self.folder / f"whole_{make.__name__}",
            self.folder / "set",
            self.random,
        )
        whole.mkdir()
        names = make(whole)
        while True:
            name = draw.choice(names)
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(whole, place)
            file = draw.choice(files_of(name, place))
            content = file.read_bytes()
            if content.isascii() and draw.random() < 0.5:
                words = re.split(r"(\s|,|:)", content.decode())
                for _ in range(draw.choice((1, 1, 2, 5))):
                    words[draw.randrange(len(words))] = draw.choice([*WORDS, "{", "[" * 10**5])
                content = "".join(words).encode(errors="surrogatepass")
            else:
                content = self.damaged(content)
            file.write_bytes(content)
            what = name, file.name, content[:200]
            self.case(make.__name__, lambda n=name: self.read_all(n, place), what)
            yield

    def metrics(self) -> Iterator[None]:
        """metrics.csv as it is read, and as a resumed run goes on with it."""
        file = self.folder / "metrics.csv"
        row = ",".join(["0.5"] * (len(COLUMNS) - 2))
        text = ",".join(COLUMNS) + "\n" + "".join(f"{i},0,{row}\n" for i in range(9))
        tails = [b"\0" * 100, b"3", b"x\n", b'"', b"\xff\n", b"12,", b"\n\n", b'1,"2\n']

        def read() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read_metrics(file)
                read_newest(file)
                logs.CSVLog(file, 5)

        while True:
            whole = text.encode()
            fresh = self.random.random() < 0.2
            content = whole + self.random.choice(tails) if fresh else self.damaged(whole)
            file.write_bytes(content)
            self.case("metrics", read, content[-80:])
            yield

    def read_all(self, name: str, place: Path | None = None) -> None:
        """Load a data set of the scratch folder, or of a folder in it, and decode it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = sets.load(name, str(place or self.folder))
            for part in (source.train, source.val):
                images = getattr(part, "images", part)
                for at in range(len(images)) if isinstance(images, sets.Images) else ():
                    with contextlib.suppress(UnreadableError):
                        images.pixel(at)


def settle(of: Any, argv: list[str]) -> None:
    """What both programs do before they load torch."""
    config = parse(of, argv)
    check_environment(config)
    config.scaled_lr()
    from_json(to_json(config))


def encoded() -> dict[str, bytes]:
    """A picture in all formats and modes."""
    image, found = Image.fromarray(picture(40, 52)), {}

    def keep(name: str, made: Image.Image, kind: str, **options: Any) -> None:
        content = io.BytesIO()
        made.save(content, kind, **options)
        found[name] = content.getvalue()

    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "JPEG2000", "TGA", "AVIF"):
        with contextlib.suppress(KeyError, OSError):  # a codec that this build of PIL has not
            keep(kind, image, kind)
    keep("progressive", image, "JPEG", progressive=True)
    keep("lzw", image, "TIFF", compression="tiff_lzw")
    for mode in ("L", "P", "1", "RGBA", "CMYK"):
        keep(mode, image.convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    keep("16", Image.fromarray(np.arange(40 * 52, dtype=np.uint16).reshape(40, 52)), "PNG")
    return found


def peak() -> float:
    """The most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def fuzz(number: int, seed: int = 0, kinds: list[str] | None = None) -> Fuzz:
    """Run so many calls, every kind alike."""

    def late(_: int, __: FrameType | None) -> None:
        raise Slow

    above = Path(tempfile.mkdtemp())
    before, place = signal.signal(signal.SIGALRM, late), Path.cwd()
    made = Fuzz(seed, above / "a" / "b")
    made.folder.mkdir(parents=True)
    try:
        os.chdir(made.folder)
        every: list[Any] = [made.command_lines, made.configs, made.weights, made.run_checkpoints]
        every += [made.images, made.shards, made.lines, made.metrics]
        called = {each.__name__: each for each in every}
        called |= {form.__name__: partial(made.data_sets, form) for form in FORMS}
        going = [each() for name, each in called.items() if not kinds or name in kinds]
        while sum(made.counts.values()) < number:
            for each in going:
                next(each)
        outside = [p for p in (*above.iterdir(), *(above / "a").iterdir()) if p.name not in "ab"]
        if outside:
            made.add("all", "files outside of the folder", outside)
    finally:
        os.chdir(place)
        signal.signal(signal.SIGALRM, before)
        shutil.rmtree(above)
    return made


def main() -> None:
    number, seed = (int(word) for word in [*sys.argv[1:3], "0"][:2])
    warnings.simplefilter("ignore")
    made = fuzz(number, seed, sys.argv[3:])
    total = sum(made.counts.values())
    print(f"{total} calls, {sum(made.refused.values())} refused, {peak():.2f} GB")  # noqa: T201
    print(dict(made.counts))  # noqa: T201
    for finding, what in sorted(made.found.items()):
        print(finding, "  for example", str(what)[:300])  # noqa: T201


if __name__ == "__main__":
    main()
