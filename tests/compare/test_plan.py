"""Plans: what they say, and every fault in a sentence that names the row."""

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cl.compare.cells import cells_of
from cl.compare.plan import read_plan
from cl.compare.words import check_measure
from cl.config import ConfigError, Pretrain, parse_linear
from cl.data import sets
from cl.data.sets import Source
from cl.losses import NAMES

PLAN = """
name = "tiny"
run = "digits resnet6_w4 --epochs 2 --no-baseline --wandb off --num_workers 0"
evaluate = "--eval knn --wandb off"
seeds = [0, 1]
measure = "knn/top1"
reference = "NT-Xent"

[rows]
"NT-Xent" = "--loss nt_xent"
"DHEL" = "--loss dhel"
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def digits() -> Source:
    return sets.load("digits", "data", None, None, False)


def written(tmp_path: Path, *changes: tuple[str, str], more: str = "") -> Path:
    text = PLAN
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "plan.toml"
    file.write_text(text + more)
    return file


def test_a_grid_multiplies_the_rows(tmp_path: Path, digits: Source) -> None:
    file = written(
        tmp_path,
        ('reference = "NT-Xent"\n', ""),
        more="[grid]\ntemperature = [0.1, 0.5]\nlr_scaling = [true, false]\n",
    )
    plan = read_plan(file)
    assert len(plan.rows) == 8
    assert plan.rows[1].name == "NT-Xent temperature=0.1 lr_scaling=False"
    assert plan.rows[1].run == ("--loss", "nt_xent", "--temperature", "0.1", "--no-lr_scaling")
    cells = cells_of(plan, tmp_path, lambda _: digits)
    assert len({cell.folder for cell in cells}) == 16
    assert cells[0].training.loss_options == {"temperature": 0.1}
    assert cells[0].evaluation.pretrained_feature_extractor == str(cells[0].folder)


def test_a_value_of_the_grid_may_begin_with_a_dash(tmp_path: Path, digits: Source) -> None:
    """And a folder of data, which the evaluation is given too."""
    file = written(
        tmp_path,
        ('reference = "NT-Xent"\n', ""),
        ("--epochs 2", "--epochs 2 --data_folder=-data"),
        more='[grid]\nwandb_notes = ["-x"]\n',
    )
    cell = cells_of(read_plan(file), tmp_path, lambda _: digits)[0]
    assert cell.training.wandb_notes == "-x"
    assert cell.evaluation.data_folder == "-data"


def test_a_row_may_have_an_evaluation_alone(tmp_path: Path, digits: Source) -> None:
    row = 'supervised = { evaluate = "--eval supervised --epochs 2", measure = "supervised/top1" }'
    plan = read_plan(written(tmp_path, more=row))
    cell = cells_of(plan, tmp_path, lambda _: digits)[2]
    assert (cell.row.name, cell.pretrain, cell.pretrained) == ("supervised", (), True)
    assert cell.evaluation.pretrained_feature_extractor is None
    assert cell.evaluation.epochs == 2


def test_a_folder_has_the_name_of_what_moves_a_number(tmp_path: Path, digits: Source) -> None:
    """Another temperature, data or evaluation is another folder; a name in wandb is not."""

    def folders(*changes: tuple[str, str], data: Source = digits) -> list[tuple[Path, Path]]:
        plan = read_plan(written(tmp_path, *changes))
        cells = cells_of(plan, tmp_path, lambda _: data)
        return [(cell.folder, cell.results) for cell in cells]

    before = folders()
    assert folders(("--num_workers 0", "--num_workers 3 --name one")) == before
    assert folders(("--epochs 2", "--epochs 3"))[0][0] != before[0][0]
    fewer = replace(digits, train=digits.train.subset(np.arange(100)))
    assert folders(data=fewer)[0][0] != before[0][0]
    other = folders(("--eval knn", "--eval knn --k 5"))
    assert [run for run, _ in other] == [run for run, _ in before]
    assert [results for _, results in other] != [results for _, results in before]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds", "seed", "unknown key seed; did you mean seeds?"),
        ("seeds = [0, 1]", "seeds = []", r"seeds must be whole numbers, not \[\]"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "seeds must name each seed once, not 0 0"),
        ("seeds = [0, 1]", 'seeds = "0 1"', "seeds must be a list, not 0 1"),
        ('"tiny"', '"../tiny"', r"name must be made of letters, digits, _, - and \."),
        ('measure = "knn/top1"', 'measure = "top1"', "measure must be EVALUATION/NUMBER"),
        ('measure = "knn/top1"\n', "", "measure is missing"),
        ('reference = "NT-Xent"', 'reference = "NTXent"', "no row; did you mean NT-Xent?"),
        ("--loss dhel", "--loss dhel --seed 3", "row DHEL has --seed, which the comparison gives"),
        ("--epochs 2", "--epochs 2 --run_id=a", "run has --run_id, which the comparison gives"),
        ("--epochs 2", "--epochs 2 --seeds 0 1", "run has --seeds, which the comparison gives"),
        ("--epochs 2", "--auto_resume", "run has --auto_resume, which the comparison gives"),
        ("--loss dhel", "--dry_run a.png", "DHEL has --dry_run, which a comparison cannot have"),
        ("--eval knn", "--eval knn --transfer", "evaluate has --transfer, which a comparison can"),
        ("--eval knn", "--eval knn --mine a", "evaluate has --mine, which a comparison cannot"),
        ('"--loss dhel"', "3", "row DHEL must be words in quotes, or a table"),
        ('"--loss dhel"', '{ runs = "" }', "row DHEL has runs; did you mean run?"),
        ('"DHEL" = "--loss dhel"', "", "a comparison needs at least two rows"),
        ('name = "tiny"', "name = tiny", "is not valid TOML"),
    ],
)
def test_a_plan_that_is_wrong(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read_plan(written(tmp_path, (old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dhel", "dehl", "row DHEL: unknown loss dehl; did you mean dhel"),
        ("--loss dhel", "--los dhel", "row DHEL: unknown flag --los"),
        ("--loss dhel", "--loss nt_xent", "rows NT-Xent and DHEL have the same settings"),
        ("--eval knn", "--eval kn", "row NT-Xent: unknown evaluation kn"),
        ("knn/top1", "k/top1", "row DHEL: measure k/top1 is of no evaluation in --eval knn."),
        (
            "knn/top1",
            "knn/top2",
            "row DHEL: measure knn/top2: knn has no top2; it has top1, top5, top10, mean_per_class "
            "and map.",
        ),
    ],
)
def test_words_of_a_row_that_are_wrong(
    old: str, new: str, message: str, tmp_path: Path, digits: Source
) -> None:
    def load(_: Pretrain) -> Source:
        return digits

    with pytest.raises(ConfigError) as found:
        cells_of(read_plan(written(tmp_path, (old, new))), tmp_path, load)
    assert any(message in text for text in found.value.args)


def test_the_measure_is_of_an_evaluation_that_is_made(tmp_path: Path, digits: Source) -> None:
    """Of one that `all` means; of the row's own, where it has one."""
    rows = 'own = { run = "--loss dcl", evaluate = "--eval knn", measure = "knn/top1" }'
    file = written(tmp_path, ("--eval knn", "--eval all"), ("knn/top1", "logistic/top1"), more=rows)
    assert len(cells_of(read_plan(file), tmp_path, lambda _: digits)) == 6


@pytest.mark.parametrize(
    ("words", "right", "wrong", "has"),
    [
        ("digits resnet6_w4 --eval fewshot --shots 2 7", "shot7", "shot5", "shot2 and shot7"),
        ("digits resnet6_w4 --eval fewshot", "shot5", "shot2", "shot1 and shot5"),
        ("digits resnet6_w4 --eval all", "map_r", "ndcg10", "map_r, recall1, recall5 and recall10"),
        ("pairs:a.jsonl bag_w4 --eval retrieval", "ndcg10", "map_r", "ndcg10, mrr10"),
        (
            "captions:a.csv resnet6_w4 --eval retrieval",
            "recall1_t2i",
            "recall1",
            "recall1_t2i, ",
        ),
    ],
)
def test_which_numbers_there_are_depends_on_the_words(
    words: str, right: str, wrong: str, has: str
) -> None:
    config = parse_linear([*words.split(), "--pretrained_feature_extractor", "RUN"])
    name = "fewshot" if "shot" in right else "retrieval"
    check_measure(f"{name}/{right}", config)
    with pytest.raises(ConfigError, match=f"{name} has no {wrong}; it has {has}"):
        check_measure(f"{name}/{wrong}", config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds", "seed"), "unknown key seed"),
        (("dhel", "dehl"), "row DHEL: unknown loss dehl; did you mean dhel"),
        (("knn/top1", "k/top1"), "row DHEL: measure k/top1 is of no evaluation"),
        (("knn/top1", "knn/map_r"), "row DHEL: measure knn/map_r: knn has no map_r; it has top1,"),
    ],
)
def test_a_plan_is_refused_without_loading_torch(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    program = (
        "import sys; from cl.compare.__main__ import main; "
        "sys.exit(main(sys.argv[1:]) + 10 * ('torch' in sys.modules))"
    )
    words = [sys.executable, "-c", program, str(written(tmp_path, change))]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert message in done.stderr
    assert done.returncode == 2


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_plan(tmp_path / "none.toml")


def test_the_plan_of_texts_has_every_loss() -> None:
    """But that of leave-one-out contrast, of images alone, and what SimSiam and BYOL have."""
    file = ROOT / "bash_files/plans/texts.toml"
    plan = tomllib.loads(file.read_text(encoding="utf-8"))
    named = {row.split()[1] for row in plan["rows"].values()}
    assert {*NAMES} - named == {"cosine", "looc"}
    assert {"simsiam", "byol"} <= named
