"""What features look like: a map, their spectrum, the neighbors of some images, confusions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from cl.data.sets import Images
from cl.eval._result import Features
from cl.eval._select import labeled
from cl.measures import effective_rank
from cl.terminal import escape_controls

POINTS = 2000  # of the map: t-SNE of more takes minutes and shows no more
Scatter = Literal["tsne", "umap"]
QUERIES, NEIGHBORS, SIDE = 8, 8, 96  # of the neighbor grid; its pictures' side in pixels
MAX_NAMED = 20  # classes, up to which a legend names them and cells have their numbers
MAX_LISTED = 120  # classes, up to which the axes of a confusion matrix name them
LONGEST = 18  # letters of a class's name in a picture
CONFUSED = 8  # pairs of classes below a large confusion matrix


def evenly_spaced(n: int, most: int) -> Int[Tensor, " k"]:
    """At most so many of n, evenly spread."""
    return torch.arange(0, n, -(-n // most))


def shown_name(name: str) -> str:
    """A class's name in a picture: it is no formula, and no `_` in front hides it in a legend."""
    plain = escape_controls(name).replace("$", r"\$")
    return f"\u200b{plain}" if plain.startswith("_") else plain


def places_by_tsne(u: Float[np.ndarray, "n d"], seed: int) -> Float[np.ndarray, "n 2"]:
    """t-SNE of cosine distances (van der Maaten and Hinton 2008)."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(u) - 1) / 3)
    return TSNE(metric="cosine", random_state=seed, perplexity=perplexity).fit_transform(u)


def places_by_umap(u: Float[np.ndarray, "n d"], seed: int) -> Float[np.ndarray, "n 2"]:
    """UMAP of cosine distances (McInnes et al. 2018, https://arxiv.org/abs/1802.03426)."""
    from umap import UMAP

    neighbors = min(15, len(u) - 1)  # 15 is the package's
    own = UMAP(n_neighbors=neighbors, metric="cosine", random_state=seed, n_jobs=1)
    return own.fit_transform(u)


def plot_scatter(part: Features, classes: Sequence[str], seed: int, by: Scatter = "tsne") -> Figure:
    """A map of at most `POINTS` features by t-SNE or UMAP, colored by class.

    Fewer than four features, or equal ones, as a collapsed encoder gives them, have no map: the
    title says so.
    """
    h, labels = labeled(part)
    chosen = evenly_spaced(len(h), POINTS)
    u, labels = F.normalize(h[chosen].float(), dim=1).numpy(), labels[chosen].numpy()
    figure = Figure(figsize=(8, 7), layout="constrained")  # no pyplot, whose state is the user's
    axes = figure.subplots()
    axes.set(xticks=[], yticks=[])
    if len(u) < 4 or np.ptp(u, axis=0).max() < 1e-6:
        axes.set_title(f"no map: the {len(u):,} features are too few, or equal")
        return figure
    name, places_of = MAPS[by]
    places = places_of(u, seed)
    colors = mpl.colormaps["tab20"] if len(classes) <= MAX_NAMED else mpl.colormaps["turbo"]
    for c in np.unique(labels):
        at = places[labels == c]
        shade = colors(c / max(1, len(classes) - 1))
        axes.scatter(*at.T, s=6, color=shade, label=shown_name(classes[int(c)]))
    if len(classes) <= MAX_NAMED:
        axes.legend(markerscale=3, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    axes.set_title(f"{name} of the features of {len(u):,} test images (cosine distances)")
    return figure


MAPS = {"tsne": ("t-SNE", places_by_tsne), "umap": ("UMAP", places_by_umap)}


def plot_spectrum(h: Float[Tensor, "n d"]) -> Figure:
    """Variances along the principal directions, largest first, and the effective rank."""
    h = h.float()
    values = torch.linalg.svdvals(h - h.mean(dim=0)).square() / len(h)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(values) + 1), values.clamp(min=1e-12).numpy())
    axes.set(yscale="log", xlabel="principal direction", ylabel="variance of the features")
    axes.set_title(f"spectrum: effective rank {float(effective_rank(h)):.1f} of {h.shape[1]}")
    return figure


def plot_neighbors(part: Features, images: Images, classes: Sequence[str]) -> Figure:
    """Some images on the left, their nearest on the right, framed green where the class is theirs.

    Below each is its class, below the nearest their cosine too.

    Args:
        part: features and labels of the images, in their order.
        images: the same.
        classes: their names.
    """
    h, labels = part
    u = F.normalize(h.float(), dim=1)
    queries = evenly_spaced(len(u), QUERIES)[:QUERIES].tolist()
    wide = [1.0, 0.15] + [1.0] * NEIGHBORS  # a gap behind the queries
    figure = Figure(figsize=(1.15 * sum(wide), 1.4 * len(queries) + 0.6), layout="constrained")
    grid = figure.subplots(len(queries), len(wide), width_ratios=wide, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for row, query in zip(grid, queries, strict=True):
        similar = u @ u[query]
        cosines = similar.clone()
        similar[query] = torch.inf
        near = similar.topk(min(NEIGHBORS + 1, len(u))).indices.tolist()
        for axes, at in zip((row[0], *row[2:]), near, strict=False):  # of few images
            same = bool(labels[at] == labels[query])
            edge = "black" if at == query else "green" if same else "red"
            with_caption(axes, images.pixel(at), edge, class_name(classes, int(labels[at])))
            if at != query:
                axes.text(0.5, -0.2, f"{cosines[at]:.3f}", **BELOW, transform=axes.transAxes)
    figure.supxlabel(
        "left: test images; right: their nearest by cosine (green: of the class, red: of another)",
        fontsize="small",
    )
    return figure


BELOW: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": "x-small"}


def class_name(classes: Sequence[str], label: int) -> str:
    """A class's name, its beginning where it is long; nothing where there is none."""
    name = classes[label] if 0 <= label < len(classes) else ""
    return shown_name(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…")


def with_caption(axes: Any, pixels: UInt8[np.ndarray, "h w c"], edge: str, caption: str) -> None:
    """Draw an image with a frame and a line below it."""
    picture = Image.fromarray(pixels)
    scale = SIDE / max(picture.size)
    width, height = (max(1, round(scale * length)) for length in picture.size)
    axes.axis("on")
    axes.set(xticks=[], yticks=[])
    axes.imshow(np.asarray(picture.resize((width, height))))
    for side in axes.spines.values():
        side.set(color=edge, linewidth=2)
    axes.text(0.5, -0.04, caption, **BELOW, transform=axes.transAxes)


def plot_confusion(counts: Int[Tensor, "c c"], classes: Sequence[str], title: str) -> Figure:
    """True classes down, answers across, on a logarithmic scale.

    Up to `MAX_NAMED` classes each cell has its number, up to `MAX_LISTED` each row its name; below
    more than the first are the pairs that are confused most.
    """
    n = len(classes)
    side = min(max(6.0, 0.13 * n), 14.0)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    visible = counts.clamp(min=0.5).numpy()
    shown = axes.imshow(visible, norm=LogNorm(), cmap="viridis")
    figure.colorbar(shown, label="images")
    right = float(counts.trace() / counts.sum().clamp(min=1))
    title = f"{title}: {counts.sum():,} test images, {100 * right:.2f} % on the diagonal"
    axes.set(title=title, xlabel="predicted class", ylabel="true class")
    if n <= MAX_LISTED:
        names = [class_name(classes, c) for c in range(n)]
        size = "medium" if n <= MAX_NAMED else 6
        axes.set_xticks(range(n), names, rotation=90, fontsize=size)
        axes.set_yticks(range(n), names, fontsize=size)
    if n <= MAX_NAMED:
        bright = np.asarray(shown.norm(visible), dtype=float) > 0.6
        for (i, j), number in np.ndenumerate(counts.numpy()):
            ink = "black" if bright[i, j] else "white"
            axes.text(j, i, str(number), ha="center", va="center", fontsize="x-small", color=ink)
    elif pairs := most_confused(counts, classes):
        figure.supxlabel("\n".join(["most confused (true, predicted):", *pairs]), fontsize=8)
    return figure


def most_confused(counts: Int[Tensor, "c c"], classes: Sequence[str]) -> list[str]:
    """The pairs of different classes with most images, most first, a line each."""
    others = counts.clone().fill_diagonal_(0).flatten()
    most, at = others.topk(min(CONFUSED, len(others)))
    pairs = [(int(place) // len(counts), int(place) % len(counts)) for place in at]
    return [
        f"{class_name(classes, i)}, {class_name(classes, j)}: {number:,}"
        for (i, j), number in zip(pairs, most.tolist(), strict=True)
        if number
    ]


def plot_all(
    folder: Path,
    part: Features,
    images: Images,
    classes: Sequence[str],
    counts: dict[str, Int[Tensor, "c c"]],
    seed: int,
    about: str = "",
    scatter: Scatter = "tsne",
) -> list[Path]:
    """Write all pictures as PNG; their paths.

    Args:
        folder: where.
        part: features and labels of the test images, on the CPU.
        images: the test images.
        classes: their names.
        counts: of each evaluation, its confusion matrix.
        seed: of the map.
        about: a line above each picture.
        scatter: what places the features on their map.
    """
    made: dict[str, Figure] = {
        "features": plot_scatter(part, classes, seed, scatter),
        "spectrum": plot_spectrum(part[0]),
        "neighbors": plot_neighbors(part, images, classes),
    }
    for name, matrix in counts.items():
        made[f"confusion-{name}"] = plot_confusion(matrix, classes, name)
    paths = []
    for name, picture in made.items():
        path = folder / f"{name}.png"
        picture.suptitle(shown_name(about), fontsize="medium")
        picture.savefig(path, dpi=120)
        paths.append(path)
    return paths
