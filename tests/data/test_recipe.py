"""The presets of data sets and papers, and how a command line changes them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from cl.build import recipes_of
from cl.config import parse_pretrain
from cl.data.augment.cpu import VIEW, draw, draw_many
from cl.data.augment.recipe import BICUBIC, GROUPS, PAPERS, Recipe, full_size, preset
from cl.data.loaders.base import by_size
from cl.data.sets import Images
from cl.eval._transform import Transform


def made(line: str) -> list[Recipe]:
    images = Images(np.zeros(1, np.int64), np.zeros((1, 32, 32, 3), np.uint8))
    return recipes_of(parse_pretrain(["cifar10", "resnet18", *line.split()]), images)


def of_captions(line: str) -> list[Recipe]:
    words = "captions:a.jsonl resnet18 --method clip --text_encoder bag_w8".split()
    images = Images(np.zeros(1, np.int64), np.zeros((1, 32, 32, 3), np.uint8))
    return recipes_of(parse_pretrain([*words, *line.split()]), images)


def test_without_a_paper_it_is_the_data_sets() -> None:
    assert made("") == [preset("cifar10")]
    assert preset("folder") == Recipe(size=224)
    assert preset("digits").hue == 0


@pytest.mark.parametrize("paper", PAPERS)
def test_a_papers_views_keep_the_data_sets_size_and_mean(paper: str) -> None:
    found, own = made(f"--recipe {paper}"), preset("cifar10")
    assert sum(r.views for r in found) == 2
    assert {(r.size, r.mean, r.std) for r in found} == {(own.size, own.mean, own.std)}


def test_byols_two_views_differ() -> None:
    """Grill et al. 2020, table 6: T and T'."""
    first, second = made("--recipe byol")
    assert (first.blur, first.solarize, second.blur, second.solarize) == (1.0, 0.0, 0.1, 0.2)
    assert first.changed({"blur": 0.1, "solarize": 0.2}) == second
    assert made("--recipe barlow_twins") == [first, second]
    assert [r.views for r in made("--recipe byol --n_crops 5")] == [3, 2]


@pytest.mark.parametrize(
    ("line", "how"),
    [
        ("", {"bilinear"}),
        *((f"--recipe {name}", {"bilinear"}) for name in ("simsiam", "swav", "sigmoid")),
        *((f"--recipe {name}", {"bicubic"}) for name in ("simclr", "byol", "barlow_twins")),
        ("--recipe vicreg --multicrop", {"bicubic"}),  # the small crops too, as DINO's
        ("--recipe vicreg --multicrop --crop_interpolation bilinear", {"bilinear"}),
        ("--multicrop --crop_interpolation bicubic", {"bicubic"}),
    ],
)
def test_crops_are_resized_as_by_the_papers_code(line: str, how: set[str]) -> None:
    assert {r.crop_interpolation for r in made(line)} == how


def test_images_with_captions_are_resized_as_by_open_clip() -> None:
    """`image_transform` of mlfoundations/open_clip; plain images beside torchvision's steps."""
    (view,) = of_captions("")
    assert (view.crop_scale, view.crop_interpolation) == ((0.9, 1.0), "bicubic")
    assert not view.changed({"views": 2}).varied[1:]  # neither flips nor changes of color
    pixels = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
    resize = transforms.Resize(96, transforms.InterpolationMode.BICUBIC)
    normalize = transforms.Normalize(view.mean, view.std)
    steps = [resize, transforms.CenterCrop(96), transforms.ToTensor(), normalize]
    expected = transforms.Compose(steps)(Image.fromarray(pixels))
    found = Transform(view.changed({"size": 96}))(pixels)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    (before,) = of_captions("--crop_interpolation bilinear")
    said = before.crop_interpolation, before.interpolation, before.central
    assert said == ("bilinear", "bilinear", None)
    (paper,) = of_captions("--recipe simclr --crop_interpolation bicubic")
    assert (paper.interpolation, paper.central) == ("bilinear", None)


def test_the_interpolation_changes_no_number_that_is_drawn() -> None:
    p, own = np.zeros((2, 1, 50), VIEW), Recipe(size=8)
    for recipe, each in zip((own, own.changed(BICUBIC)), p, strict=True):
        draw_many(recipe.record, 1, 2, np.arange(50), 0, 40, 60, each)
    assert p[0].tobytes() == p[1].tobytes()


def test_vicregs_views_are_its_authors() -> None:
    """`augmentations.py` of facebookresearch/vicreg."""
    both = {
        "crop_scale": (0.08, 1.0),
        "crop_ratio": (3 / 4, 4 / 3),
        "flip": 0.5,
        "jitter": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
        "grayscale": 0.2,
        "blur_sigma": (0.1, 2.0),
        "crop_interpolation": "bicubic",
    }
    first, second = made("--recipe vicreg")
    assert first == first.changed({**both, "blur": 1.0, "solarize": 0.0})
    assert second == second.changed({**both, "blur": 0.1, "solarize": 0.2})


def test_the_line_changes_every_view() -> None:
    assert {r.brightness for r in made("--recipe byol --brightness 0.1")} == {0.1}
    assert {r.blur for r in made("--recipe byol --blur_prob 0")} == {0.0}
    assert made("--jitter_order fixed") == [preset("cifar10").changed({"jitter_order": "fixed"})]


@pytest.mark.parametrize(
    ("line", "scale", "solarize"),
    [
        ("--multicrop", (0.05, 0.14), 0.0),
        ("--multicrop --recipe swav", (0.05, 0.14), 0.0),
        ("--multicrop --recipe sigmoid", (0.05, 1.0), 0.0),
        ("--multicrop --recipe sigmoid --small_crop_scale 0.1 0.2", (0.1, 0.2), 0.0),
        ("--multicrop --solarize_prob 0.3", (0.05, 0.14), 0.3),
    ],
)
def test_small_crops(line: str, scale: tuple[float, float], solarize: float) -> None:
    *_, small = made(line)
    assert (small.views, small.size) == (6, 14)
    assert (small.crop_scale, small.solarize) == (scale, solarize)


@pytest.mark.parametrize(
    ("line", "blur"),
    [
        ("--recipe byol", 0.5),
        ("--recipe vicreg --blur_prob 0.2", 0.2),
        ("--recipe sigmoid", 1.0),
        ("--recipe swav", 0.5),
        ("", preset("cifar10").blur),
    ],
)
def test_small_crops_are_blurred_as_swavs_and_dinos(line: str, blur: float) -> None:
    assert made(f"--multicrop {line}")[-1].blur == blur


def test_leave_one_out_adds_a_view_for_each_change() -> None:
    own = preset("cifar10").changed({"blur": 0.5, "solarize": 0.2})
    shared = [own.changed({"views": 1, "shared": (g,)}) for g in GROUPS]
    line = f"--method looc --blur_prob 0.5 --solarize_prob 0.2 --left_out {' '.join(GROUPS)}"
    assert made(line) == [own, *shared]
    first, second, *rest = made("--method looc --recipe byol --left_out blur --multicrop")
    assert rest[0] == first.changed({"shared": ("blur",)})
    assert (second.shared, rest[1].shared, rest[1].size) == ((), (), 14)


@pytest.mark.parametrize(
    ("line", "idle", "varied"),
    [
        ("--left_out crop blur", "blur", "crop, flip, color"),
        ("--flip_prob 1 --left_out flip", "flip", "crop, color"),
        (
            "--crop_scale 1 1 --blur_prob 1 --left_out solarize",
            "solarize",
            "crop, flip, color, blur",
        ),
        ("--brightness 0 --contrast 0 --saturation 0 --hue 0 --grayscale_prob 1", "color", "crop"),
    ],
)
def test_a_change_that_the_views_lack_cannot_be_left_out(line: str, idle: str, varied: str) -> None:
    with pytest.raises(
        ValueError, match=f"--left_out {idle} does not vary .* choose from {varied}"
    ):
        made(f"--method looc {line}")


def test_views_of_one_size_share_a_tensor() -> None:
    parts = by_size([*full_size("cifar10", "byol", 3), Recipe(size=8, views=4)])
    assert [[(p[1], p[2]) for p in same] for same in parts] == [
        [(0, slice(0, 2)), (2, slice(2, 3))],
        [(3, slice(0, 4))],
    ]


def test_a_fixed_order() -> None:
    orders: dict[str, set[tuple[float, ...]]] = {"random": set(), "fixed": set()}
    for order, seen in orders.items():
        recipe, p = Recipe(size=8, jitter_order=order), np.empty((), VIEW)[()]
        for sample in range(200):
            draw(recipe.record, 0, 0, sample, 0, 8, 8, p)
            seen.add(tuple(p["order"]))
    assert orders["fixed"] == {(0, 1, 2, 3)}
    assert len(orders["random"]) == 24
