"""Evaluation against its peers: features taken once, L-BFGS, nearest neighbors.

    python -m benchmarks.evaluation [DATA_FOLDER RUN] [--encoder resnet18] [--images 2000]

DATA_FOLDER holds torchvision's CIFAR-10, RUN is a folder of main_contrastive.py on it. Without them
2. and 3. are measured by turns on made features (a mean for each of 10 classes, and noise).

1. 100 epochs of linear evaluation of `--encoder` on `--images` training images and all 10,000 test
   images: main_linear.py from start to end, against a loop that runs the frozen encoder over
   augmented images each epoch, as lightly and solo-learn do (torchvision's transforms on PIL
   images, a DataLoader, SGD). One of its epochs is timed and counted 100 times.
2. Logistic regression of the run's features against scikit-learn's at a tolerance of 1e-6 (its
   default ends 2e-5 above the least objective): seconds, objective, accuracy.
3. Weighted nearest neighbors of the run's features against scikit-learn and faiss (`pip install
   faiss-cpu`; left out where it is missing): seconds, and the share of equal answers.
"""

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import cl.knn
from benchmarks.ratios import Ratio, by_turns
from cl import checkpoints
from cl.config import Linear, run
from cl.data.augment.recipe import preset
from cl.data.module import PlainLoader
from cl.data.sets import Images, load
from cl.eval import _features as features
from cl.eval import knn as nearest
from cl.eval import logistic as regression
from cl.evaluation import evaluate_configured
from cl.nets import encoders

EPOCHS, BATCH = 100, 128
C, K, TEMPERATURE = 1.0, 20, 0.07
T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


class Pictures(Dataset[tuple[Tensor, int]]):
    """As torchvision's CIFAR10 gives them: a PIL image, transformed."""

    def __init__(self, images: Images, transform: Callable[[Image.Image], Tensor]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images.pixel(i))), int(self.images.labels[i])


def frozen_each_epoch(folder: str, encoder: nn.Module, images: int) -> None:
    """One epoch of the peers' loop, validation included."""
    recipe = preset("cifar10")
    normalize = transforms.Normalize(recipe.mean, recipe.std)
    views = {
        True: [transforms.RandomResizedCrop(32), transforms.RandomHorizontalFlip()],
        False: [],
    }
    source = load("cifar10", folder)
    sets = {
        train: Pictures(
            source.train.subset(np.arange(images)) if train else source.val,
            transforms.Compose([*ways, transforms.ToTensor(), normalize]),
        )
        for train, ways in views.items()
    }
    classifier = nn.Linear(encoders.width(encoder), 10)
    sgd = torch.optim.SGD(classifier.parameters(), 0.1, momentum=0.9)
    encoder.eval()

    def logits(x: Tensor) -> Tensor:
        with torch.no_grad():
            h = encoder(x.contiguous(memory_format=torch.channels_last))
        return classifier(h)

    for x, y in DataLoader(sets[True], BATCH, shuffle=True, num_workers=1, drop_last=True):
        sgd.zero_grad()
        F.cross_entropy(logits(x), y).backward()
        sgd.step()
    right = [int((logits(x).argmax(1) == y).sum()) for x, y in DataLoader(sets[False], 256)]
    assert 0 <= sum(right) <= 10_000


def linear(folder: str, name: str, images: int) -> None:
    torch.manual_seed(0)
    encoder = encoders.create(name, 32)
    encoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "encoder.safetensors"
        checkpoints.save_encoder(encoder, file, {})
        words = f"cifar10 {name} --data_folder {folder} --data_fraction {images} --wandb off "
        words += f"--epochs {EPOCHS} --batch_size {BATCH} --lr 0.1 --num_workers 1 --precision 32 "
        words += f"--output {place} --pretrained_feature_extractor {file} --no-lr_scaling"
        ours, code = timed(
            lambda: run(Linear, words.split(), lambda c: evaluate_configured(c).code)
        )
        assert code == 0
    theirs, _ = timed(lambda: frozen_each_epoch(folder, encoder, images))
    print(
        f"{name}, {images:,} training and 10,000 test images, {EPOCHS} epochs: ours {ours:.1f} s, "
        f"frozen encoder in each epoch {EPOCHS * theirs:,.0f} s ({theirs:.1f} s an epoch): "
        f"{EPOCHS * theirs / ours:.1f}x"
    )


def of_run(folder: str, run: Path) -> list[tuple[Tensor, Tensor]]:
    """Features and labels of the training and the test images."""
    file = checkpoints.encoder_file(run)
    about = checkpoints.about_encoder(file)
    encoder = encoders.create(about["encoder"], about["image_size"], norm=about["norm"])
    checkpoints.load_weights(encoder, file)
    source, recipe = load("cifar10", folder), preset("cifar10").changed({"size": 32})
    return [
        features.extract_features(encoder, PlainLoader(images, recipe, 256, 1), accelerator="cpu")
        for images in (source.train, source.val)
    ]


def logistic(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> None:
    (h, labels), (queries, right) = train, test
    mean, deviation = h.mean(0), h.std(0, correction=0).clamp(min=1e-6)
    x, q = (h - mean) / deviation, (queries - mean) / deviation
    ours, mine = timed(
        lambda: regression.fit_classifier(x, labels, 10, l2=1 / (C * len(x)), steps=500).classifier
    )
    search = LogisticRegression(C=C, tol=1e-6, max_iter=5000)
    theirs, scikit = timed(lambda: search.fit(x.numpy(), labels.numpy()))

    def objective(weight: Tensor, bias: Tensor) -> float:
        w = weight.double()
        loss = F.cross_entropy(x.double() @ w.T + bias.double(), labels)
        return float(loss + w.square().sum() / 2 / (C * len(x)))

    of_ours = objective(mine.weight, mine.bias)
    of_theirs = objective(torch.from_numpy(scikit.coef_), torch.from_numpy(scikit.intercept_))
    top1 = float((mine(q).argmax(1) == right).float().mean())
    other = float(scikit.score(q.numpy(), right.numpy()))
    print(
        f"logistic regression, {tuple(h.shape)}: ours {ours:.2f} s, objective {of_ours:.7f}, top-1 "
        f"{top1:.2%}; scikit-learn {theirs:.2f} s, {of_theirs:.7f}, {other:.2%}"
    )


def neighbors(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> None:
    (h, labels), (queries, right) = train, test

    def weights(distances: np.ndarray) -> np.ndarray:
        return np.exp(-distances / TEMPERATURE)

    by_weight: Any = weights  # scikit-learn's types know words alone

    def mine() -> np.ndarray:
        ((_, said),) = nearest.predict_votes(train, queries, 10, [(K, TEMPERATURE)])
        return said.argmax(1).numpy()

    def scikit() -> np.ndarray:
        model = KNeighborsClassifier(K, weights=by_weight, metric="cosine", algorithm="brute")
        return model.fit(h.numpy(), labels.numpy()).predict(queries.numpy())

    def of_faiss() -> np.ndarray:
        faiss: Any = __import__("faiss")
        u, q = F.normalize(h, dim=1).numpy(), F.normalize(queries, dim=1).numpy()
        index = faiss.IndexFlatIP(u.shape[1])
        index.add(u)
        near, at = index.search(q, K)
        votes = np.zeros((len(q), 10))
        said = np.exp((near - 1) / TEMPERATURE)
        np.add.at(votes, (np.arange(len(q))[:, None], labels.numpy()[at]), said)
        return votes.argmax(1)

    ours, found = timed(mine)
    text = f"ours {ours:.2f} s, top-1 {(found == right.numpy()).mean():.2%}"
    peers = {"scikit-learn": scikit}
    if importlib.util.find_spec("faiss"):
        peers["faiss"] = of_faiss
    for name, peer in peers.items():
        theirs, said = timed(peer)
        text += f"; {name} {theirs:.2f} s, {(said == found).mean():.2%} of the answers the same"
    print(f"{len(queries):,} queries of {len(h):,} neighbors, {h.shape[1]} dimensions: {text}")


def made(images: int, width: int) -> tuple[Tensor, Tensor]:
    """Features and labels of 10 classes that overlap."""
    g = torch.Generator().manual_seed(images)
    labels = torch.randint(0, 10, (images,), generator=g)
    means = torch.randn(10, width, generator=torch.Generator().manual_seed(0))
    return means[labels] + 4 * torch.randn(images, width, generator=g), labels


def made_dependent(images: int, width: int) -> tuple[Tensor, Tensor]:
    """Features whose directions are as unlike as an encoder's, and labels that they do not decide.

    Deviations fall as 1 / i in directions of their own; a label follows the first ten by chance.
    """
    g = torch.Generator().manual_seed(images)
    x = torch.randn(images, width, generator=g)
    chance = -torch.empty(images, 10).exponential_(generator=g).log()
    directions, _ = torch.linalg.qr(torch.randn(width, width, generator=g))
    return x / torch.arange(1, width + 1) @ directions, (x[:, :10] + chance).argmax(dim=1)


def of_made(images: int, width: int, queries: int, rounds: int) -> Iterator[Ratio]:
    """Neighbors by turns; the answers must be the same."""
    (h, _), (q, _) = made(images, width), made(queries, width)
    case = f"{queries:,} of {images:,} x {width}"
    u, v = (F.normalize(x, dim=1).numpy() for x in (h, q))
    runs: dict[str, Callable[[], Any]] = {"ours": lambda: cl.knn.nearest(h, q, K)[1].numpy()}
    brute = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute").fit(h.numpy())
    runs["scikit-learn"] = lambda: brute.kneighbors(q.numpy(), return_distance=False)
    if importlib.util.find_spec("faiss"):
        index: Any = __import__("faiss").IndexFlatIP(width)
        index.add(u)
        runs["faiss"] = lambda: index.search(v, K)[1]
    found = {who: run() for who, run in runs.items()}
    for who, at in found.items():
        alike = np.mean([len({*a} & {*b}) / K for a, b in zip(found["ours"], at, strict=True)])
        assert alike > 0.9999, (who, alike)
    times = {who: (lambda run=run: timed(run)[0]) for who, run in runs.items()}
    floors = {"scikit-learn": 1.5, "faiss": 0.7}
    yield from by_turns(f"{K} nearest neighbors", case, "s", times, rounds, floors, 0)


def regressions(
    part: tuple[Tensor, Tensor], what: str, floor: float, rounds: int
) -> Iterator[Ratio]:
    """Logistic regression by turns with scikit-learn's."""
    h, labels = part
    x = (h - h.mean(0)) / h.std(0, correction=0)
    l2 = 1 / (C * len(x))
    times = {
        "ours": lambda: timed(lambda: regression.fit_classifier(x, labels, 10, l2=l2, steps=500))[0]
    }
    search = LogisticRegression(C=C, tol=1e-6, max_iter=5000)
    times["scikit-learn"] = lambda: timed(lambda: search.fit(x.numpy(), labels.numpy()))[0]
    case = f"{len(h):,} x {h.shape[1]}, {what}, 10 classes"
    table = "Logistic regression to its optimum, C = 1"
    yield from by_turns(table, case, "s", times, rounds, {"scikit-learn": floor}, 0)


def ratios(rounds: int = 3) -> Iterator[Ratio]:
    """Of CIFAR-10's size."""
    yield from of_made(50_000, 512, 10_000, rounds)
    yield from regressions(made(50_000, 512), "independent", 1.0, rounds)
    yield from regressions(made_dependent(10_000, 512), "dependent as an encoder's", 3.0, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluation against its peers.")
    parser.add_argument("data_folder", nargs="?")
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--images", type=int, default=2000)
    given = parser.parse_args()
    if given.run is None:
        for ratio in ratios():
            print(ratio.line(), flush=True)
        return
    versions = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps(versions))
    parts = of_run(given.data_folder, given.run)
    logistic(*parts)
    neighbors(*parts)
    linear(given.data_folder, given.encoder, given.images)


if __name__ == "__main__":
    main()
