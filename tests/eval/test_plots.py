"""Pictures of features: each is drawn, shows what it says, and copes with odd data."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from PIL import Image

from cl.data.sets import Images
from cl.eval import _plots as plots
from cl.eval._result import confusion

CLASSES = ("one", "two", "three")


def part(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features in three heaps, some without a label."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4 - 1
    h = 5 * torch.nn.functional.one_hot(labels.clamp(min=0), 6) + torch.rand(n, 6, generator=g)
    return h, labels


def images(n: int) -> Images:
    pixels = np.repeat(np.arange(n, dtype=np.uint8)[:, None], 8 * 8 * 3, axis=1)
    return Images(part(n)[1].numpy(), pixels.reshape(n, 8, 8, 3))


def test_all_are_written(tmp_path: Path) -> None:
    h, labels = part(60)
    counts = {"knn": confusion(labels[labels >= 0], labels[labels >= 0], 3)}
    made = plots.plot_all(tmp_path, (h, labels), images(60), CLASSES, counts, 0, "run: $x on y")
    assert [path.name for path in made] == [
        *("features.png", "spectrum.png", "neighbors.png", "confusion-knn.png")
    ]
    for path in made:
        shades = np.asarray(Image.open(path).convert("L"))
        assert shades.std() > 5, path  # something is on it


def test_the_neighbors_are_the_nearest() -> None:
    """Every image is its own gray level: the pictures are read back, with what stands below."""
    h, labels = part(60)
    figure = plots.plot_neighbors((h, labels), images(60), CLASSES)
    u = torch.nn.functional.normalize(h, dim=1)
    rows = np.array(figure.axes).reshape(plots.QUERIES, plots.NEIGHBORS + 2)
    for row, query in zip(rows, range(0, 60, 8), strict=True):
        near = (u @ u[query]).argsort(descending=True)
        near = [query, *(int(i) for i in near if i != query)][: plots.NEIGHBORS + 1]
        for axes, at in zip((row[0], *row[2:]), near, strict=True):
            assert (axes.get_images()[0].get_array() == at).all()
            name = CLASSES[labels[at]] if labels[at] >= 0 else ""
            cosine = [] if at == query else [f"{u[at] @ u[query]:.3f}"]
            assert [text.get_text() for text in axes.texts] == [name, *cosine]
            same = bool(labels[at] == labels[query])
            edge = "black" if at == query else "green" if same else "red"
            assert axes.spines["top"].get_edgecolor() == to_rgba(edge)


def test_pictures_of_neighbors_keep_their_shape() -> None:
    wide = Images(np.zeros(12, int), np.zeros((12, 8, 32, 3), np.uint8))
    figure = plots.plot_neighbors((torch.randn(12, 4), torch.zeros(12).long()), wide, ["a"])
    shown = figure.axes[0].get_images()[0].get_array()
    assert shown is not None
    assert shown.shape == (plots.SIDE // 4, plots.SIDE, 3)


def test_a_confusion_of_many_classes_names_them_and_the_pairs_confused_most() -> None:
    counts = torch.diag(torch.full((100,), 9))
    counts[3, 5], counts[7, 2] = 4, 6
    names = [f"{i} is a class with a long name" for i in range(100)]
    figure = plots.plot_confusion(counts, names, "knn")
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()][5] == "5 is a class with…"
    assert not axes.texts
    below = figure.get_supxlabel().splitlines()
    assert [line.rpartition(": ")[2] for line in below[1:]] == ["6", "4"]
    assert below[1].startswith("7 is a class")
    none = plots.plot_confusion(torch.diag(torch.full((100,), 9)), names, "knn")
    assert none.get_supxlabel() == ""


def test_a_confusion_says_its_score_and_its_axes() -> None:
    counts = torch.tensor([[3, 1], [0, 4]])
    axes = plots.plot_confusion(counts, CLASSES[:2], "knn").axes[0]
    assert axes.get_title() == "knn: 8 test images, 87.50 % on the diagonal"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")


@pytest.mark.parametrize(
    ("by", "name"),
    [("tsne", "t-SNE"), pytest.param("umap", "UMAP", marks=pytest.mark.slow)],  # compiles for 20 s
)
def test_a_map_puts_classes_apart(by: plots.Scatter, name: str) -> None:
    if by == "umap":
        pytest.importorskip("umap", reason="umap-learn is not installed")
    h, labels = part(200)
    figure = plots.plot_scatter((h, labels), CLASSES, 0, by)
    assert figure.axes[0].get_title().startswith(f"{name} of the features of 150 test images")
    heaps = [np.asarray(c.get_offsets()) for c in figure.axes[0].collections]
    assert sum(map(len, heaps)) == int((labels >= 0).sum())
    centers = np.stack([heap.mean(0) for heap in heaps])
    widest = max(heap.std(0).max() for heap in heaps)
    apart = np.linalg.norm(centers[:, None] - centers[None], axis=-1)[np.triu_indices(3, 1)]
    assert apart.min() > 2 * widest
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [*CLASSES]


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 9])
def test_umap_is_reproducible_and_takes_few(n: int) -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    u = torch.nn.functional.normalize(part(n)[0], dim=1).numpy()
    places = plots.places_by_umap(u, 1)
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()
    assert (places == plots.places_by_umap(u, 1)).all()


@pytest.mark.parametrize("h", [torch.zeros(40, 6), torch.ones(2, 6), torch.eye(6)[:3]])
def test_equal_features_and_too_few_have_no_map(h: torch.Tensor) -> None:
    """Of equal features scikit-learn's t-SNE divides by zero, and ends the process."""
    labels = torch.arange(len(h)) % 3
    (axes,) = plots.plot_scatter((h, labels), CLASSES, 0).axes
    assert axes.get_title() == f"no map: the {len(h)} features are too few, or equal"
    assert not axes.collections


@pytest.mark.parametrize("n", [4, 9])
def test_few_images_are_enough(tmp_path: Path, n: int) -> None:
    h, labels = part(n)
    assert len(plots.plot_all(tmp_path, (h, labels), images(n), CLASSES, {}, 0)) == 3


@pytest.mark.parametrize("name", [r"$\frac", "_hidden", "a$b$", "\x1b[31m\x00", "[red]"])
def test_a_name_of_a_class_is_text(name: str) -> None:
    """Neither a formula, nor hidden, nor an escape."""
    figure = plots.plot_scatter(part(40), [name, "two", "three"], 0)
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 3
    counts = torch.eye(3, dtype=torch.int64)
    for made in (figure, plots.plot_confusion(counts, [name, "two", "three"], "knn")):
        made.savefig(io.BytesIO())
