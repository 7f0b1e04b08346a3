"""What features look like: a map, their spectrum, the neighbors of some images, confusions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
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
MAX_NAMED = 20  # classes, up to which axes and legends name them


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


def plot_neighbors(part: Features, images: Images) -> Image.Image:
    """Some images on the left, their nearest on the right, framed green where the class is theirs.

    Args:
        part: features and labels of the images, in their order.
        images: the same.
    """
    h, labels = part
    u = F.normalize(h.float(), dim=1)
    cell, frame = SIDE + 8, 3
    grid = Image.new("RGB", ((NEIGHBORS + 1) * cell + cell // 2, QUERIES * cell), "white")
    for row, query in enumerate(evenly_spaced(len(u), QUERIES)[:QUERIES].tolist()):
        similar = u @ u[query]
        similar[query] = torch.inf
        near = similar.topk(min(NEIGHBORS + 1, len(u))).indices.tolist()
        for column, at in enumerate(near):
            left = column * cell + (cell // 2 if column else 0)
            same = bool(labels[at] == labels[query])
            edge = "white" if not column else "green" if same else "red"
            framed = Image.new("RGB", (SIDE + 2 * frame, SIDE + 2 * frame), edge)
            grid.paste(framed, (left, row * cell))
            picture = Image.fromarray(images.pixel(at)).resize((SIDE, SIDE))
            grid.paste(picture, (left + frame, row * cell + frame))
    return grid


def with_axes(grid: Image.Image) -> Figure:
    """The sheet of `plot_neighbors`, and what is to be seen on it."""
    figure = Figure(figsize=(grid.width / 100, grid.height / 100 + 0.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.asarray(grid))
    axes.set_title("test images, and to the right of each its nearest by cosine")
    axes.set(xticks=[], yticks=[], xlabel="green: of its class; red: of another one")
    return figure


def plot_confusion(counts: Int[Tensor, "c c"], classes: Sequence[str], title: str) -> Figure:
    """True classes down, answers across, on a logarithmic scale."""
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    visible = counts.clamp(min=0.5).numpy()
    shown = axes.imshow(visible, norm=LogNorm(), cmap="viridis")
    figure.colorbar(shown, label="images")
    right = float(counts.trace() / counts.sum().clamp(min=1))
    title = f"{title}: {counts.sum():,} test images, {100 * right:.2f} % on the diagonal"
    axes.set(title=title, xlabel="predicted class", ylabel="true class")
    if len(classes) <= MAX_NAMED:
        names = [shown_name(name) for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90)
        axes.set_yticks(range(len(classes)), names)
        bright = np.asarray(shown.norm(visible), dtype=float) > 0.6
        for (i, j), n in np.ndenumerate(counts.numpy()):
            ink = "black" if bright[i, j] else "white"
            axes.text(j, i, str(n), ha="center", va="center", fontsize="x-small", color=ink)
    return figure


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
        "neighbors": with_axes(plot_neighbors(part, images)),
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
