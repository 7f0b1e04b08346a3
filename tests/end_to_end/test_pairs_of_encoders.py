"""Evaluations of an encoder of images with one of texts: of a run, and of a saved CLIP."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl.metrics import read_metrics
from tests.data.test_captions import row, written
from tests.end_to_end.conftest import COLORS
from tests.nets.made_texts import NEEDS, tiny

Run = Callable[..., Path]
pytestmark = pytest.mark.filterwarnings("default:COLLAPSED")  # a few steps of three images
SQUARE = {"do_center_crop": False, "size": {"height": 16, "width": 16}}
TRAIN = "resnet6_w8 --method clip --text_encoder bag_w6 --encoding_size 5 --image_size 8"
MORE = "--batch_size 3 --epochs 2 --precision 32 --num_workers 0 --log_every_n_steps 1"


@pytest.fixture
def captions(tmp_path: Path) -> list[str]:
    """No two alike, which rounding would rank."""
    rows = [row(i, split="val" if i > 5 else "train") for i in range(12)]
    for i, of_image in enumerate(rows):
        of_image["captions"][0] += f" as {i}"
    name = written(tmp_path, rows)
    return [name, "--data_folder", str(tmp_path)]


def numbers(run: Path, name: str) -> dict[str, float]:
    return json.loads((run / "result.json").read_text())[name]


def card(run: Path) -> dict:
    return json.loads((run / "cards.json").read_text())["derived"]["cards"][0]


def test_a_run_is_evaluated_by_captions_and_by_names(
    captions: list[str], colors: list[str], pretrain: Run, linear: Run
) -> None:
    """Its folder and its checkpoint have the numbers of its last validation."""
    run = pretrain(*captions, *TRAIN.split(), *MORE.split())
    last = read_metrics(run / "metrics.csv")[-1]
    for name in ("towers.safetensors", "last.ckpt"):
        of = ["--pretrained_feature_extractor", run / name, "--precision", 32]
        done = linear(*captions, "resnet6_w8", *of, "--eval", "retrieval", run_id=name)
        for k in (1, 5, 10):
            for way in ("t2i", "i2t"):
                share = numbers(done, "retrieval")[f"recall{k}_{way}"]
                assert share == pytest.approx(float(last[f"val/recall{k}_{way}"]), abs=1e-6)
    of = ["--pretrained_feature_extractor", run, "--precision", 32, "--eval", "zeroshot"]
    done = linear(*colors, "resnet6_w8", *of, "--prompt", "{}", "a {} {}", run_id="first")
    linear(*colors, "--config", done / "cards.json", "--verify", done, run_id="again")
    made = card(done)
    assert made["how"]["prompts"] == made["given"]["prompt"] == ["{}", "a {} {}"]
    assert made["parts"]["class_names"]["classes"] == 3
    assert {"image_sha256", "text_sha256", "sha256"} <= made["encoder"].keys()


def test_encoders_of_a_checkpoint_are_those_of_its_run(
    captions: list[str], colors: list[str], pretrain: Run, linear: Run
) -> None:
    """Averages of the encoders, that of images alone and both."""
    run = pretrain(*captions, *TRAIN.split(), *MORE.split(), "--ema_encoder", "0.5")
    found = {"knn": [], "zeroshot": []}
    for eval, more in (("knn", ["--k", 2]), ("zeroshot", [])):
        for name in ("encoder.safetensors", "last.ckpt"):
            of = ["--pretrained_feature_extractor", run / name, "--eval", eval, *more]
            done = linear(*colors, "resnet6_w8", *of, "--precision", 32, run_id=f"{eval}{name}")
            made = card(done)
            found[eval].append((made["numbers"], made["encoder"], made["transform"]))
    assert all(one == two for one, two in found.values())


def saved_clip(folder: Path, **images: object) -> Path:
    """A CLIP of two layers with the tiny tokenizer, and a preprocessor of its own."""
    library = pytest.importorskip("transformers", reason=NEEDS)
    tiny(folder)  # for its tokenizer
    subwords = library.AutoTokenizer.from_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2}
    ends = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    text = sizes | ends | {"vocab_size": len(subwords), "max_position_embeddings": 30}
    vision = sizes | {"image_size": 16, "patch_size": 8}
    config = library.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    torch.manual_seed(7)  # that of several images of different predictions
    model = library.CLIPModel(config)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    model.save_pretrained(folder)
    subwords.save_pretrained(folder)
    crop = {"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}}
    own = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.3, 0.2, 0.25]}
    library.CLIPImageProcessor(**{**crop, **own, **images}).save_pretrained(folder)
    return folder


def peer_logits(folder: Path, files: list[Path], texts: list[str]) -> torch.Tensor:
    """What transformers itself says of images and texts."""
    library = import_module("transformers")
    model = library.CLIPModel.from_pretrained(folder).eval()
    processor = library.AutoImageProcessor.from_pretrained(folder)
    subwords = library.AutoTokenizer.from_pretrained(folder)
    images = [Image.open(file).convert("RGB") for file in files]
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    given = subwords(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        found = model(
            pixel_values=pixels,
            input_ids=given["input_ids"],
            attention_mask=given["attention_mask"],
        )
    return found.logits_per_image


@pytest.mark.parametrize("images", [{}, SQUARE])
def test_a_saved_clip_says_what_transformers_says(
    images: dict, colors: list[str], captions: list[str], linear: Run, tmp_path: Path
) -> None:
    folder = saved_clip(tmp_path / "clip", **images)
    words = [f"hf:{folder}", "--precision", 32, "--eval"]
    prompt = "a photo of the {} tree"
    done = linear(*colors, *words, "zeroshot", "--prompt", prompt, run_id="z")
    names = sorted(COLORS)
    files = [f for name in names for f in sorted((tmp_path / "colors" / "test" / name).iterdir())]
    logits = peer_logits(folder, files, [prompt.replace("{}", name) for name in names])
    predicted = np.loadtxt(done / "predictions-zeroshot.csv", delimiter=",", dtype=int)
    assert predicted[:, 1].tolist() == logits.argmax(dim=1).tolist()
    assert len(set(predicted[:, 1].tolist())) > 1
    done = linear(*captions, *words, "retrieval", run_id="r")
    lines = [row(i) for i in range(6, 12)]
    texts = [text for line in lines for text in line["captions"]]
    image_of = [i for i, line in enumerate(lines) for _ in line["captions"]]
    logits = peer_logits(folder, [tmp_path / line["image"] for line in lines], texts).T
    right = (logits.argmax(dim=1) == torch.tensor(image_of)).double().mean()
    assert numbers(done, "retrieval")["recall1_t2i"] == pytest.approx(float(right))


def test_features_of_a_saved_clip_are_those_of_transformers(tmp_path: Path) -> None:
    from cl.data.tokens import tokenizer_of
    from cl.nets.saved_clip import read_clip

    folder = saved_clip(tmp_path / "clip")
    library = import_module("transformers")
    model = library.CLIPModel.from_pretrained(folder).eval()
    clip = read_clip(f"hf:{folder}")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 30, 21, 3)).astype(np.uint8)
    texts = ["a cat", "the river is made of a book about a song", "star"]
    x = clip.prepared(list(pixels))
    tokens = torch.from_numpy(tokenizer_of("", clip)(texts, 30).padded(np.arange(3)))
    processor = library.AutoImageProcessor.from_pretrained(folder)
    theirs = processor(images=[Image.fromarray(p) for p in pixels], return_tensors="pt")
    torch.testing.assert_close(x, theirs["pixel_values"], rtol=0, atol=1e-6)
    given = library.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    given.pop("token_type_ids", None)
    with torch.no_grad():
        image = model.get_image_features(**theirs)
        text = model.get_text_features(**given)
        for found, right in ((clip(x), image), (clip(tokens), text)):
            right = getattr(right, "pooler_output", right)
            torch.testing.assert_close(found, right, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--prompt", "a photo"], "--prompt must have {} in it, not be 'a photo'"),
        (["--eval", "zeroshot", "knn"], "zeroshot or all must stand alone"),
        (["--central", "0.5", "--eval", "zeroshot"], "--central cannot be used with ENCODER hf:"),
        (["--image_size", "16"], "--image_size cannot be used with ENCODER hf:"),
        (["--pooling", "cls"], "--pooling cannot be used with ENCODER hf:"),
        (["--eval", "knn"], "takes text, but DATASET folder has images"),
    ],
)
def test_flags_that_do_not_fit_a_saved_clip(
    more: list[str], says: str, colors: list[str], linear: Run, capsys: pytest.CaptureFixture
) -> None:
    linear(*colors, "hf:no/such", "--eval", "zeroshot", *more, expect=2)
    assert says in capsys.readouterr().err


def test_folders_that_are_no_clip(
    colors: list[str], linear: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tiny(tmp_path / "bert")
    linear(*colors, f"hf:{folder}", "--eval", "zeroshot", expect=2)
    assert "it is a bert; images are compared with texts by a CLIP" in capsys.readouterr().err
    folder = saved_clip(tmp_path / "clip")
    (folder / "preprocessor_config.json").unlink()
    linear(*colors, f"hf:{folder}", "--eval", "zeroshot", expect=2)
    said = capsys.readouterr().err
    assert "has no AutoImageProcessor" in said
    assert len([line for line in said.splitlines() if "error: " in line]) == 1


@pytest.mark.parametrize(
    ("eval", "says"),
    [
        ("knn", "of images with captions there is --eval retrieval"),
        ("all", "of images with captions there is --eval retrieval"),
        ("zeroshot", "of images with captions there is --eval retrieval"),
    ],
)
def test_captions_have_no_classes(
    eval: str, says: str, captions: list[str], linear: Run, capsys: pytest.CaptureFixture
) -> None:
    linear(*captions, "resnet6_w8", "--eval", eval, "--pretrained_feature_extractor", "x", expect=2)
    assert says in capsys.readouterr().err


def test_a_run_without_texts_has_no_prompts(
    digits: list[str], pretrain: Run, linear: Run, capsys: pytest.CaptureFixture
) -> None:
    run = pretrain(*digits, "--max_steps", 1)
    words = ["digits", "resnet6_w8", "--eval", "zeroshot", "--pretrained_feature_extractor"]
    linear(*words, run, expect=2)
    assert "has no encoder of texts" in capsys.readouterr().err
    linear(*words, run.parent, expect=2)
    assert "no towers.safetensors, which has the encoders of" in capsys.readouterr().err
