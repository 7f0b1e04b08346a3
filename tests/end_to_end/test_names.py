"""Names that a data set brings along stay text: in the terminal, in pages, pictures and files."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl.report import __main__ as report
from tests.data.made import picture
from tests.test_terminal import is_plain

Run = Callable[..., Path]
CLASSES = ("[red]a[/red]\x1b[31m", "$\\frac\u202e<script>alert(1)<!--", "_\r\nerror: c\x9b2J")
SHORT = (
    "--max_steps 2 --batch_size 8 --num_workers 1 --hidden_mlp 16 --encoding_size 8 --image_size "
    "16 --precision 32 --skip_corrupt --no-baseline --warmup_epochs 0"
).split()


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Class folders and files with such names; two images are damaged."""
    root = tmp_path / "images\x1b[2J"
    for c, name in enumerate(CLASSES):
        for part, n in (("train", 6), ("val", 3)):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(n):
                Image.fromarray(picture(16, 16, 10 * c + i)).save(folder / f"{i}\u2066[b]\n.png")
    place = root / "train" / CLASSES[0]
    (place / "x\x1b[31m\n.png").write_bytes(b"none")
    (place / os.fsdecode(b"\xff\xfe.png")).write_bytes(b"none")
    return root


@pytest.mark.filterwarnings("default:.*cannot be read")
def test_names_stay_text(
    tmp_path: Path, hostile: Path, pretrain: Run, linear: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["folder", "resnet6_w4", "--data_folder", hostile, *SHORT]
    run = pretrain(*words)
    skipped = (run / "skipped.txt").read_text().splitlines()
    assert len(skipped) == 2
    done = linear(
        *[*words[:4], "--pretrained_feature_extractor", run, "--eval", "knn", "--pictures"],
        *["--image_size", 16, "--skip_corrupt"],
    )
    page = tmp_path / "page\x1b.html"
    words = [str(run), str(done), "--output", str(tmp_path), "--out", str(page)]
    assert report.main(words) == 0
    out, err = capsys.readouterr()
    assert is_plain(out + err)
    assert "[red]a[/red]" in out + err
    assert not any(line.startswith("error: c") for line in [*out.splitlines(), *err.splitlines()])
    text = page.read_text()
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert np.asarray(Image.open(done / "confusion-knn.png")).std() > 1
