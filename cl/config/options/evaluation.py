"""Options of an evaluation: of what encoder, how, and what else is written."""

from dataclasses import dataclass
from typing import Literal

from cl.config.evaluations import (
    ALL,
    augmentable,
    built_in,
    default,
    describe_evaluations,
    untrained,
)
from cl.config.options._needs import OF_IMAGES, OF_PAIRS
from cl.config.own import FORM
from cl.config.schema import either, flag

OF_WEIGHTS = "as the file of weights, or timm's configuration of the encoder, says"


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What is evaluated, and how."""

    pretrained_feature_extractor: str | None = flag(
        lambda: (
            "a run's folder, or a file of weights: ours, timm's, torchvision's, Hugging Face's, "
            "solo-learn's, lightly's, VISSL's, or of the official MoCo, SimSiam, SupContrast, "
            "Barlow Twins, VICReg, SwAV, DINO and DINOv2; "
            f"needed by all but --eval {either(untrained())}"
        ),
        None,
        metavar="PATH",
        common=True,
    )
    eval: tuple[str, ...] = flag(
        describe_evaluations,
        (default(),),
        choices=lambda: (*built_in(), ALL),
        open=(FORM,),
        noun="evaluation",
        common=True,
    )
    layer: tuple[str, ...] = flag(
        "features of these layers, one behind the other, in place of the encoder's output: numbers "
        "of a ViT's blocks or a CNN's stages (-1 is the last one) or names of modules; behind "
        "either :cls or :mean chooses the [CLS] token or the mean of the patch tokens",
        (),
        shown="the encoder's output",
        metavar="LAYER",
        of_words=True,
        needs=OF_IMAGES,
    )
    transfer: tuple[str, ...] = flag(
        "evaluate on these data sets too, one after the other, each as a run of its own, and print "
        "a table with the mean over them and DATASET",
        (),
        shown="none",
        metavar="DATASET",
        of_words=True,
        once=True,
        common=True,
    )
    mean: tuple[float, float, float] | None = flag(
        "mean of each channel, of values from 0 to 1, that is subtracted from images",
        None,
        shown=OF_WEIGHTS,
        needs=OF_IMAGES,
    )
    std: tuple[float, float, float] | None = flag(
        "deviation of each channel, by which images are divided",
        None,
        above=0,
        shown=OF_WEIGHTS,
        needs=OF_IMAGES,
    )
    central: float | None = flag(
        "part of an image's shorter side that is used, its center",
        None,
        above=0,
        high=1,
        shown=OF_WEIGHTS,
        needs=OF_IMAGES,
    )
    interpolation: Literal["bilinear", "bicubic"] | None = flag(
        "how images are resized", None, shown=OF_WEIGHTS, needs=OF_IMAGES
    )
    augment: bool = flag(
        "train on augmented images, encoded anew in each epoch, instead of on cached features",
        False,
        common=True,
        needs=lambda: ("eval", augmentable()),
    )
    pictures: bool = flag(
        "plot the features (t-SNE, spectrum, nearest neighbors) and the confusion matrices",
        False,
        common=True,
        needs=OF_IMAGES,
    )
    scatter: Literal["tsne", "umap"] = flag(
        "what places the features on their picture; umap needs umap-learn",
        "tsne",
        needs=("pictures", (True,)),
    )
    export: Literal["onnx"] | None = flag(
        "write the encoder into the run's folder as encoder.onnx",
        None,
        shown="no file",
        common=True,
        needs=OF_IMAGES,
    )
    mine: str | None = flag(
        "instead of an evaluation, write the training pairs with hard negatives that the encoder "
        "finds into this file, to be trained on as pairs:FILE",
        None,
        once=True,
        metavar="PATH",
        needs=OF_PAIRS,
    )
    mine_ranks: tuple[int, int] = flag(
        "first and last place of a query's ranking at which negatives are taken",
        (10, 100),
        low=1,
        metavar=("FIRST", "LAST"),
        needs=("mine", None),
    )
    mine_margin: float = flag(
        "part of the positive's cosine that a negative stays below",
        0.95,
        above=0,
        needs=("mine", None),
    )
    negatives: int = flag(
        "negatives of a pair, drawn from those at these ranks", 4, low=1, needs=("mine", None)
    )
    verify: str | None = flag(
        "compute the numbers of an evaluation's cards.json again, and compare",
        None,
        once=True,
        metavar="PATH",
    )
