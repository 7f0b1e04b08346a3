"""A small data set of each form that has files of its own, for `tests.faults.fuzz` to damage."""

import gzip
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from cl.config.check import installed
from tests.data.made import picture

IMAGES = 12
TEXTS = [f"a sentence about number {i}" for i in range(IMAGES)]


def write_images(folder: Path) -> list[str]:
    names = [f"{i}.png" for i in range(IMAGES)]
    for i, name in enumerate(names):
        Image.fromarray(picture(10, 8, i)).save(folder / name)
    return names


def arrays(folder: Path) -> list[str]:
    """Images in one file."""
    x = np.stack([picture(10, 8, i) for i in range(IMAGES)])
    np.save(folder / "x.npy", x)
    np.save(folder / "gray.npy", x[..., 0].astype(np.float32))
    np.savez(folder / "x.npz", images=x, index=np.arange(IMAGES))
    np.savez_compressed(folder / "small.npz", images=x)
    return ["unlabeled:x.npy", "unlabeled:gray.npy", "unlabeled:x.npz", "unlabeled:small.npz"]


def tables(folder: Path) -> list[str]:
    """Lists of image files, with labels and without."""
    names = write_images(folder)
    (folder / "list.txt").write_text("\n".join(names))
    for suffix, between in ((".csv", ","), (".tsv", "\t")):
        rows = [["path", "label", "split"]]
        rows += [[n, f"c{i % 3}", "val" if i % 4 == 0 else "train"] for i, n in enumerate(names)]
        (folder / f"list{suffix}").write_text("\n".join(map(between.join, rows)))
    of_suffix = [f"{what}:list{s}" for what in ("labeled", "unlabeled") for s in (".csv", ".tsv")]
    return ["unlabeled:list.txt", *of_suffix]


def texts(folder: Path) -> list[str]:
    """Texts, pairs with scores, and search data in both layouts."""
    (folder / "texts.txt").write_text("\n".join(TEXTS))
    with gzip.open(folder / "pairs.jsonl.gz", "wt") as file:
        file.writelines(f"{json.dumps({'query': t, 'positive': t + ' too'})}\n" for t in TEXTS)
    scored = [{"sentence1": t, "sentence2": t[:9], "score": i / 3} for i, t in enumerate(TEXTS)]
    (folder / "scored.jsonl").write_text("\n".join(map(json.dumps, scored)))
    beir, msmarco = folder / "beir", folder / "msmarco"
    (beir / "qrels").mkdir(parents=True)
    msmarco.mkdir()
    corpus = [{"_id": f"d{i}", "title": "of", "text": t} for i, t in enumerate(TEXTS)]
    queries = [{"_id": f"q{i}", "text": t[2:]} for i, t in enumerate(TEXTS)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (beir / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for part, beirs in (("train", "train"), ("dev.small", "dev")):
        judged = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in range(IMAGES))]
        (beir / "qrels" / f"{beirs}.tsv").write_text("\n".join(judged))
        (msmarco / f"qrels.{part}.tsv").write_text(
            "\n".join(f"{i}\t0\t{i}\t1" for i in range(IMAGES))
        )
        asked = "\n".join(f"{i}\t{t[2:]}" for i, t in enumerate(TEXTS))
        (msmarco / f"queries.{part}.tsv").write_text(asked)
    (msmarco / "collection.tsv").write_text("\n".join(f"{i}\t{t}" for i, t in enumerate(TEXTS)))
    return [
        "texts:texts.txt",
        "pairs:pairs.jsonl.gz",
        "scored:scored.jsonl",
        "beir:beir",
        "msmarco",
    ]


def hugging_face(folder: Path) -> list[str]:
    """What `datasets` saves, and the parquet files of the hub."""
    import datasets

    datasets.config.HF_DATASETS_CACHE = folder.parent / "cache"
    names = [str(folder / name) for name in write_images(folder)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(3)})
    labels = [i % 3 for i in range(IMAGES)]
    images = datasets.Dataset.from_dict({"image": names, "label": labels}, features)
    pairs = datasets.Dataset.from_dict({"query": TEXTS, "positive": TEXTS[::-1]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images.save_to_disk(str(folder / "images"))
        datasets.DatasetDict({"train": pairs, "validation": pairs}).save_to_disk(
            str(folder / "pairs")
        )
    (folder / "hub").mkdir()
    for part in ("train", "test"):
        images.to_parquet(str(folder / "hub" / f"{part}-00000-of-00001.parquet"))
    return ["huggingface:images", "huggingface:pairs", "huggingface:hub"]


FORMS: list[Callable[[Path], list[str]]] = [arrays, tables, texts]
if installed("datasets"):
    FORMS.append(hugging_face)


def files_of(name: str, folder: Path) -> list[Path]:
    """The files of a data set that was made, which are damaged in turn."""
    place = folder / (name.partition(":")[2] or name)
    return [p for p in sorted(place.rglob("*")) if p.is_file()] if place.is_dir() else [place]
