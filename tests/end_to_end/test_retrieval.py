"""Texts through both programs: validated by retrieval, then evaluated, with the same numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cl.eval._card import read_cards
from cl.metrics import read_newest
from cl.runs.listing import read_run
from tests.data.test_qrels import beir
from tests.end_to_end.made import Run, measured

ROOT = Path(__file__).parents[2]
TOPICS = "cats dogs trees rivers bridges stars engines flutes".split()


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The data: two documents and two questions of each topic, one of them for training."""
    corpus = [
        {"_id": f"{kind}{i}", "title": topic, "text": f"a {kind} about {topic}"}
        for i, topic in enumerate(TOPICS)
        for kind in ("book", "song")
    ]
    queries = [
        {"_id": f"{word}{i}", "text": f"{word} are {topic} made of"}
        for i, topic in enumerate(TOPICS)
        for word in ("what", "how")
    ]
    header = "query-id\tcorpus-id\tscore"
    train = [header, *(f"what{i}\tbook{i}\t1" for i in range(8))]
    test = [
        header,
        *(f"how{i}\t{kind}{i}\t{g}" for i in range(8) for kind, g in (("book", 2), ("song", 1))),
    ]
    parts = {"corpus": corpus, "queries": queries, "train": train, "dev": None, "test": test}
    beir(tmp_path / "data/made", **parts)
    return ["beir:made", "bag_w16", "--data_folder", str(tmp_path / "data"), "--precision", "32"]


TRAIN = ["--batch_size", "4", "--epochs", "1", "--lr", "0.01"]


@pytest.mark.filterwarnings("default:.* longer than the 3 tokens:UserWarning")
def test_an_evaluation_has_the_numbers_of_validation(
    words: list[str], pretrain: Run, linear: Run, capsys: pytest.CaptureFixture
) -> None:
    run = pretrain(*words, *TRAIN)
    assert f"--pretrained_feature_extractor {run}\n" in capsys.readouterr().out
    last = read_newest(run / "metrics.csv")
    given = [*words, "--pretrained_feature_extractor", run, "--eval", "retrieval"]
    done = linear(*given)
    found = measured(done)
    for name in ("mrr10", "ndcg10", "recall10"):
        assert 0.3 < found[name] <= 1
        assert found[name] == pytest.approx(float(last[f"val/{name}"]), abs=1e-6)
    (card,) = read_cards(done / "cards.json")
    assert card["how"] == {"similarity": "cosine", "queries": 8, "documents": 16}
    assert card["parts"]["test"].keys() == {"queries", "documents", "sha256"}
    assert card["encoder"]["max_length"] == [1024, 1024]
    assert "one pass" in capsys.readouterr().out
    checkpoint = linear(*given[:-3], run / "last.ckpt", *given[-2:], run_id="checkpoint")
    of_checkpoint = measured(checkpoint)
    assert of_checkpoint == found
    capsys.readouterr()
    linear(*given, run_id="again")
    assert "cached in" in capsys.readouterr().out
    linear(*given, "--verify", done, run_id="verified")
    linear(*given, "--max_length", "3", "3", run_id="short")
    assert "8 of 8 queries are longer than the 3 tokens" in capsys.readouterr().err
    short = measured(done.with_name("short"))
    assert short["mrr10"] < found["mrr10"]


@pytest.mark.slow
def test_two_processes_find_what_one_finds(
    words: list[str], pretrain: Run, linear: Run, tmp_path: Path
) -> None:
    with (tmp_path / "data/made/corpus.jsonl").open("a") as corpus:  # a text that is there already
        corpus.write('{"_id": "same", "title": "cats", "text": "a book about cats"}\n')
    run = pretrain(*words, *TRAIN)
    given = [*words, "--pretrained_feature_extractor", str(run), "--eval", "retrieval"]
    one = measured(linear(*given))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    options = ["--output", str(tmp_path), "--run_id", "two", "--wandb", "off", "--no-report"]
    program = [
        *launch,
        str(ROOT / "main_linear.py"),
        *given,
        *options,
        "--verify",
        tmp_path / "linear",
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, program)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    assert measured(tmp_path / "two") == one


def test_mining_without_training_pairs_leaves_no_folder(
    words: list[str],
    pretrain: Run,
    linear: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    run = pretrain(*words, *TRAIN)
    pairs = [{"sentence1": f"a cat {i}", "sentence2": f"dog {i}", "score": i} for i in range(4)]
    lines = "".join(f"{json.dumps(pair)}\n" for pair in pairs)
    (tmp_path / "data/scored.jsonl").write_text(lines)
    given = ["scored:scored.jsonl", *words[1:], "--pretrained_feature_extractor", run]
    done = linear(*given, "--mine", tmp_path / "data/out.jsonl", expect=2)
    assert "DATASET scored:scored.jsonl has no training pairs" in capsys.readouterr().err
    assert not done.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--eval", "linear"], "--eval linear needs labeled images; of DATASET beir:made there is"),
        (["--eval", "retrieval", "knn"], "--eval retrieval knn needs labeled images"),
        (["--eval", "retrieval", "--mean", "0", "0", "0"], "--mean"),
        (["--eval", "retrieval", "--pictures"], "--pictures"),
    ],
)
def test_what_texts_do_not_have(
    words: list[str], linear: Run, more: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    linear(*words, "--pretrained_feature_extractor", "x", *more, expect=2)
    assert message in capsys.readouterr().err


def test_a_folder_without_training_judgments(
    words: list[str], pretrain: Run, linear: Run, capsys: pytest.CaptureFixture
) -> None:
    """It is evaluated on, and not trained on."""
    run = pretrain(*words, *TRAIN)
    (Path(words[3]) / "made/qrels/train.tsv").unlink()
    linear(*words, "--pretrained_feature_extractor", run, "--eval", "retrieval")
    pretrain(*words, *TRAIN, run_id="other", expect=2)
    assert "DATASET beir:made: there are no training pairs" in capsys.readouterr().err


def test_mined_negatives_train(
    words: list[str],
    pretrain: Run,
    linear: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    with (tmp_path / "data/made/corpus.jsonl").open("a") as corpus:
        corpus.write('{"_id": "other", "text": "nobody asks for it"}\n')
    run = pretrain(*words, *TRAIN)
    out = tmp_path / "data" / "mined.jsonl"
    given = [*words, "--pretrained_feature_extractor", run, "--mine", out]
    given += ["--mine_ranks", "1", "16", "--negatives", "2", "--mine_margin"]
    done = linear(*given, "1.0", run_id="mined")
    assert read_run(done).state == "done"
    said = capsys.readouterr().out
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    train = [line for line in lines if line["split"] == "train"]
    assert f"{len(train)} pairs, 2 of these of each pair, drawn with seed 0" in said
    assert f"{8 - len(train)} of 8 training pairs have fewer than 2 at ranks 1 to 16" in said
    assert all(len({*line["negatives"]} - {line["positive"]}) == 2 for line in train)
    measured = [line for line in lines if line["split"] == "val"]
    assert len({line["query"] for line in measured}) == 8
    assert len({line["positive"] for line in measured}) == len(measured) == 16
    assert "validation  of it searches 16 of 17 documents, an easier task" in said
    assert "measure what is trained on it by main_linear.py beir:made" in " ".join(said.split())
    before = out.read_bytes()
    linear(*given, "1.0", run_id="again", expect=2)
    assert out.read_bytes() == before
    assert "there is such a file, and it is not overwritten" in capsys.readouterr().err
    given[given.index(out)] = out.with_name("other.jsonl")
    beyond = ["1.0", "--mine_ranks", "30", "40"]  # of 17 documents
    assert not linear(*given, *beyond, run_id="refused", expect=2).exists()
    assert "--mine: all training pairs have fewer than 2 at ranks 30" in capsys.readouterr().err
    mined = ["pairs:mined.jsonl", *words[1:], "--loss", "mnrl", "--hard_negatives", 2]
    pretrain(*mined, *TRAIN, "--batch_size", 2, run_id="on_mined")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--mine_ranks", "9", "2"], "--mine_ranks must be rising, not 9 2."),
        (["--negatives", "9", "--mine_ranks", "2", "9"], "--negatives must be at most the 8 ranks"),
        (["--eval", "retrieval"], "--eval retrieval cannot be used with --mine."),
        (["--augment"], "--augment cannot be used with --mine."),
    ],
)
def test_what_mining_cannot_be_used_with(
    words: list[str], linear: Run, more: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    given = [*words, "--pretrained_feature_extractor", "x", "--mine", "out.jsonl"]
    linear(*given, *more, expect=2)
    assert message in capsys.readouterr().err
