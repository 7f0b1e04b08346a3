"""Sentences with scores through the programs: --eval sts, its card, and what it is refused on."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import main_contrastive
import main_linear
from cl.embedding import embed_command
from cl.eval._card import read_cards
from cl.metrics import read_metrics
from tests.data.test_columns import save

WORDS = "ant bee cat dog eel fox gnu hen".split()
Run = Callable[..., Path]


@pytest.fixture
def run(pretrain: Run, tmp_path: Path) -> Path:
    lines = [
        {"sentence1": f"a {w}", "sentence2": f"{w} {v}", "score": abs(i - j)}
        for i, w in enumerate(WORDS)
        for j, v in enumerate(WORDS)
    ]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "p.jsonl").write_text(
        "\n".join(json.dumps({"query": f"a {w}", "positive": w}) for w in WORDS)
    )
    (tmp_path / "t.txt").write_text("\n".join(WORDS))
    return pretrain(
        "pairs:p.jsonl", "bag_w8", "--data_folder", tmp_path, "--batch_size", 2, "--max_steps", 0
    )


@pytest.mark.filterwarnings("ignore:.* are longer than the 9 tokens")
def test_the_program_and_its_card(run: Path, linear: Run, tmp_path: Path) -> None:
    given = ["bag_w8", "--data_folder", tmp_path, "--pretrained_feature_extractor", run]
    given += ["--max_length", 3, 9]
    done = linear("scored:s.jsonl", *given, "--eval", "sts", "--precision", 32)
    (card,) = read_cards(done / "cards.json")
    assert card["how"] == {"similarity": "cosine", "scored_pairs": 64}
    assert card["given"]["bootstrap"] == 1000
    assert card["encoder"]["max_length"] == [9, 9]  # of either sentence
    assert -1 < card["numbers"]["spearman"] < 1
    words = ["scored:s.jsonl", *given, "--eval", "sts", "--precision", 32, "--verify", done]
    linear(*words, run_id="again")


def test_scores_train(
    pretrain: Run, linear: Run, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """Pairs that share few n-grams and are alike, and the other way around, are learned."""
    rows = [
        {"sentence1": f"{a} {c}", "sentence2": f"{b} {c}", "score": score, "split": split}
        for a, b, score in (("warm", "hot", 5), ("warm", "cold", 3), ("warm", "swarm", 1))
        for split in ("train", "val")
        for c in WORDS
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["scored:t.jsonl", "bag_w16", "--data_folder", tmp_path, "--batch_size", 24]
    words += ["--optimizer", "adamw", "--lr", 0.05, "--epochs", 30, "--precision", 32]
    folder = pretrain(*words, "--method", "cosent", "--keep_best", 1)
    said = capfd.readouterr().out
    given = [*words[:4], "--pretrained_feature_extractor", folder, "--eval", "sts"]
    done = linear(*given, "--precision", 32)
    # Of three scores with 8 pairs each at most 0.95; untrained it is -0.4.
    assert json.loads((done / "result.json").read_text())["sts"]["spearman"] > 0.9
    rows = read_metrics(folder / "metrics.csv")
    logged = [float(row["val/spearman"]) for row in rows if row["val/spearman"]]
    measured = json.loads((done / "result.json").read_text())["sts"]["spearman"]
    assert logged[-1] == pytest.approx(measured, abs=1e-6)
    assert f"similarity        Spearman {measured:.3f}" in said
    assert f"spearman {measured:.3f}" in said  # the line of the last epoch
    (best,) = folder.glob("best-epoch=*.ckpt")
    epoch = int(best.stem.partition("=")[2])
    assert min(logged) < max(logged) == pytest.approx(logged[epoch], abs=1e-6)
    capfd.readouterr()
    pretrain(*words, run_id="simclr", expect=2)
    said = "which --method cosent and angle learn from; --method simclr would take all of them for"
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("data", "evaluation", "said"),
    [
        ("pairs:p.jsonl", "sts", "has no scores; scored:FILE has"),
        ("scored:s.jsonl", "retrieval", "no query of DATASET scored:s.jsonl has a judged document"),
        ("texts:t.txt", "retrieval", "no query of DATASET texts:t.txt has a judged document"),
        ("scored:p.jsonl", "sts", 'p.jsonl, line 1 has no "sentence1", but query, positive'),
    ],
)
def test_what_data_cannot_be_evaluated_by(
    data: str,
    evaluation: str,
    said: str,
    run: Path,
    linear: Run,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
) -> None:
    given = ["bag_w8", "--data_folder", tmp_path, "--pretrained_feature_extractor", run]
    linear(data, *given, "--eval", evaluation, expect=2)
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("score", "said"),
    [('"4"', "is no number, but 4"), ("NaN", "is nan"), ("null", "is no number, but None")],
)
def test_a_wrong_score_is_named(
    score: str, said: str, pretrain: Run, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    good = '{"sentence1": "a", "sentence2": "b", "score": 1}\n'
    (tmp_path / "s.jsonl").write_text(good + good.replace("1}", f"{score}}}"))
    pretrain("scored:s.jsonl", "bag_w8", "--data_folder", tmp_path, expect=2)
    assert f'line 2: "score" {said}' in capfd.readouterr().err


def test_images_have_no_scores(linear: Run, capfd: pytest.CaptureFixture) -> None:
    linear("digits", "resnet6_w8", "--pretrained_feature_extractor", "x", "--eval", "sts", expect=2)
    assert "--eval sts needs a DATASET of text with scores." in capfd.readouterr().err


@pytest.mark.parametrize("data", ["texts:t.txt", "huggingface:set"])
def test_the_next_command_is_of_what_was_read(
    data: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """Among texts alone nothing is to be found, and pairs with scores are not searched.

    It runs from any folder.
    """
    if data == "huggingface:set":
        pairs = {"sentence1": WORDS, "sentence2": WORDS[::-1], "score": [i / 8 for i in range(8)]}
        save(tmp_path, train=pairs, validation=pairs)
    (tmp_path / "t.txt").write_text("\n".join(f"{w} {v}" for w in WORDS for v in WORDS))
    monkeypatch.delenv("CL_CALLED_FROM", raising=False)  # as make and the scripts set it
    monkeypatch.chdir(tmp_path)
    words = f"{data} bag_w8 --data_folder . --batch_size 4 --max_steps 1 --output runs --run_id run"
    method = "simclr" if data == "texts:t.txt" else "cosent"
    more = ["--wandb", "off", "--no-report", "--method", method]
    assert main_contrastive.main([*words.split(), *more]) == 0
    folder, elsewhere = tmp_path / "runs/run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("next"))
    if data == "huggingface:set":
        printed = shlex.split(line)[3:]
        assert printed == ["--pretrained_feature_extractor", str(folder)]
        more = ["--wandb", "off", "--no-report", "--output", str(tmp_path / "more")]
        assert main_linear.main([*printed, *more, "--run_id", "sts"]) == 0
        (card,) = read_cards(tmp_path / "more/sts/cards.json")
        assert card["evaluation"] == "sts"
    else:
        printed = shlex.split(line)[-4:]
        assert printed[:3] == [str(folder), str(tmp_path / "t.txt"), "--out"]
        assert embed_command(printed) == 0
        assert len(np.load(folder / "features.npy")) == 64
        assert main_linear.main(["--pretrained_feature_extractor", str(folder)]) == 2
        (said,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
        assert "its data texts:t.txt have neither scores nor a document to find, name a" in said
