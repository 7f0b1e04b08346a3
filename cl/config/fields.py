"""What can be set: a field is a flag of the command line; its default, type and help stand here."""

from dataclasses import dataclass
from typing import Literal

from cl import schedules
from cl.config import datasets
from cl.config.evaluations import augmentable, chosen, default, either, untrained
from cl.config.flag import flag
from cl.config.plugin import FORM
from cl.config.signature import methods, pairwise

MULTICROP = ("multicrop", (True,))
WARMUP = ("scheduler", schedules.with_warmup())
PRESET = "the preset's"
OF_FOLDERS = ("dataset", datasets.Having(("class_folders",)))


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is trained on, and how it is read."""

    dataset: str = flag(
        datasets.described, choices=datasets.closed, open=datasets.open_forms, positional=True
    )
    encoder: str = flag(
        "any timm model (resnet18, resnet50, vit_tiny_patch16_224, ...), or resnet6 and resnet6_wN "
        "(width N) for small images",
        positional=True,
    )
    data_folder: str = flag("where data sets are", "data", metavar="PATH")
    train_dir: str | None = flag(
        "training images, inside --data_folder",
        None,
        metavar="PATH",
        needs=OF_FOLDERS,
    )
    val_dir: str | None = flag(
        "validation images, inside --data_folder",
        None,
        metavar="PATH",
        needs=("dataset", datasets.Having(("class_folders", "val_dir"))),
    )
    class_list: str | None = flag(
        "file with the class folders to take, one a line",
        None,
        metavar="PATH",
        needs=OF_FOLDERS,
    )
    data_fraction: float = flag(
        "share of the training images, of every class alike, or how many of them; always the same "
        "ones, and a smaller part lies inside of a larger one",
        1.0,
        above=0,
        shown="1, all of them",
    )
    skip_corrupt: bool = flag(
        "decode every image before training and leave out those that cannot be, instead of ending "
        "at the first one",
        False,
    )
    batch_size: int = flag("samples per device in a step", 128, low=1)
    global_batch_size: int | None = flag(
        "samples of all devices in a step; overrides --batch_size",
        None,
        low=1,
        shown="--batch_size times devices",
    )
    num_workers: int = flag("threads or processes per device that load data", 4, low=0)
    backend: Literal["auto", "memory", "torch", "torchvision", "dali"] = flag(
        "what loads and augments: memory (data sets that fit; on the GPU where there is one), "
        "torch (files), torchvision (its operations one by one, slow), dali (files, on the GPU "
        "where there is one)",
        "auto",
        shortcut=("dali", ("auto",)),
    )
    last_batch_fill: bool = flag(
        "fill up an epoch's last batch from its beginning instead of leaving it out", False
    )
    image_size: int | None = flag(
        "side of the images in pixels",
        None,
        low=8,
        shown=datasets.sizes,
    )
    download: bool = flag(
        "fetch the data set if it is not in --data_folder",
        False,
        needs=("dataset", datasets.Having(("download",))),
    )


@dataclass(frozen=True, kw_only=True)
class Views:
    """How the views of a sample are made; what is not given is the preset's."""

    recipe: (
        Literal["simclr", "byol", "barlow_twins", "vicreg", "simsiam", "swav", "sigmoid"] | None
    ) = flag(
        "preset of a paper, of which the data set keeps its size, mean and deviation",
        None,
        shown="the data set's",
    )
    jitter_order: Literal["random", "fixed"] | None = flag(
        "of brightness, contrast, saturation and hue: another one for each view, or this one",
        None,
        shown="random",
    )
    brightness: float | None = flag("largest change of the brightness", None, low=0, shown=PRESET)
    contrast: float | None = flag("largest change of the contrast", None, low=0, shown=PRESET)
    saturation: float | None = flag("largest change of the saturation", None, low=0, shown=PRESET)
    hue: float | None = flag(
        "largest turn of the hue, in circles", None, low=0, high=0.5, shown=PRESET
    )
    crop_scale: tuple[float, float] | None = flag(
        "share of the image's area that a crop keeps",
        None,
        above=0,
        high=1,
        shown=PRESET,
        metavar=("MIN", "MAX"),
    )
    crop_size: int | None = flag(
        "side of a full-size view in pixels; smaller than the images it trains faster",
        None,
        low=8,
        shown="--image_size",
    )
    flip_prob: float | None = flag(
        "how often a view is mirrored", None, low=0, high=1, shown=PRESET
    )
    grayscale_prob: float | None = flag("how often it is gray", None, low=0, high=1, shown=PRESET)
    blur_prob: float | None = flag("how often it is blurred", None, low=0, high=1, shown=PRESET)
    solarize_prob: float | None = flag(
        "how often its bright pixels are inverted", None, low=0, high=1, shown=PRESET
    )
    n_crops: int = flag("views of full size", 2, low=2)
    multicrop: bool = flag("small crops besides (SwAV, https://arxiv.org/abs/2006.09882)", False)
    n_small_crops: int = flag("views of small size", 6, low=1, needs=MULTICROP)
    small_crop_size: int | None = flag(
        "their side in pixels",
        None,
        low=4,
        needs=MULTICROP,
        shown="3/7 of the full-size views, 96 at 224",
    )
    small_crop_scale: tuple[float, float] | None = flag(
        "share of the area that they keep",
        None,
        above=0,
        high=1,
        needs=MULTICROP,
        shown="0.05 0.14 (SwAV), with --recipe sigmoid 0.05 1",
        metavar=("MIN", "MAX"),
    )


@dataclass(frozen=True, kw_only=True)
class Method:
    """What is learned."""

    method: str = flag(
        "what compares the views, and with which heads",
        "simclr",
        choices=lambda: [*methods()],
        open=(FORM,),
    )
    loss: str = flag(
        "which pairs are compared how, in a method that takes any",
        "nt_xent",
        choices=pairwise,
        open=(FORM,),
        metavar="NAME",
    )
    schedule: tuple[str, ...] = flag(
        "numbers of the method or of its loss that change while training, from their values to "
        "END, e.g. temperature=cosine:0.5; SHAPE is " + " or ".join(schedules.shapes()) + ", "
        "STEPS by default the whole run",
        (),
        metavar=schedules.FORM,
        shown="none does",
    )
    zero_init_residual: bool = flag("each residual block starts as the identity", False)
    norm: Literal["batch", "group"] = flag(
        "of the encoder: its own (batch, in most), or group norm in place of batch norm, which "
        "makes a sample's features a function of that sample alone",
        "batch",
    )
    classifier_lr: float | None = flag(
        "learning rate of the online probe, not scaled",
        None,
        above=0,
        shown="0.3, with adam and adamw 0.003",
    )
    learned_lr: float | None = flag(
        "learning rate of the loss's scalars that learn, not scaled",
        None,
        above=0,
        shown="the encoder's, with sgd and lars 0.001",
    )


@dataclass(frozen=True, kw_only=True)
class Large:
    """How a large batch is computed, on one device and on many."""

    sync_batchnorm: bool = flag(
        "batch norm over the samples of all devices, not of each by itself", True
    )
    mini_batch_size: int | None = flag(
        "samples per device that are embedded at a time; the loss still compares the whole batch, "
        "in the memory of this one and at the price of a second forward (gradient caching, "
        "https://arxiv.org/abs/2101.06983)",
        None,
        low=1,
        shown="all at once",
    )
    mini_batch_norm: Literal["chunk", "frozen"] = flag(
        "what the encoder's batch norm then normalises by: the statistics of each mini-batch, or "
        "the running ones, which stand still",
        "chunk",
        needs=("mini_batch_size", None),
    )


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How it is learned."""

    optimizer: Literal["sgd", "adam", "adamw", "lars"] = flag(
        "--lars makes sgd LARS, as it did in the original", "sgd", shortcut=("lars", ("sgd",))
    )
    scheduler: str = flag(
        "how the learning rate changes; warmup_ in front of a name is a linear rise before it",
        "warmup_cosine",
        choices=schedules.schedulers,
    )
    lr_decay_steps: tuple[int, ...] = flag(
        "epochs at which the learning rate falls",
        (),
        low=1,
        needs=("scheduler", schedules.asking("lr_decay_epochs")),
        shown="at 60% and 80% of the epochs",
    )
    lr_decay_rate: float | None = flag(
        "what it is multiplied by then, or in each epoch (exponential)",
        None,
        above=0,
        high=1,
        needs=("scheduler", schedules.asking("lr_decay_rate")),
        shown="step 0.1, exponential 0.95",
    )
    epochs: int = flag("passes over the data", 100, low=1)
    max_steps: int | None = flag("end after so many steps", None, low=1, shown="all epochs")
    lr: float = flag(
        "learning rate; with --lr_scaling that of 256 samples in a step of all devices",
        0.3,
        above=0,
    )
    lr_scaling: bool = flag("multiply --lr by the samples in a step of all devices over 256", True)
    weight_decay: float = flag("not of biases and norms", 1e-4, low=0)
    momentum: float = flag(
        "of sgd and lars", 0.9, low=0, high=1, needs=("optimizer", ("sgd", "lars"))
    )
    clip_grad_norm: float | None = flag(
        "a gradient longer than this is scaled down to it", None, above=0, shown="none is"
    )
    warmup_epochs: float | None = flag(
        "epochs in which the learning rate rises",
        None,
        low=0,
        needs=WARMUP,
        shown="10, and of up to 10 epochs a tenth",
    )
    warmup_start_lr: float = flag("where it rises from", 0.003, low=0, needs=WARMUP)


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What it runs on."""

    gpus: tuple[int, ...] = flag(
        "numbers of the GPUs to use", (), low=0, shown="one GPU if there is one, else the CPU"
    )
    devices: int | None = flag(
        "processes on a node, each with a GPU or on the CPU",
        None,
        low=1,
        needs=("gpus", ((),)),
        shown="1, or what torchrun or SLURM start",
    )
    num_nodes: int | None = flag(
        "machines that train together; torchrun or SLURM start the processes on them",
        None,
        low=1,
        shown="1, or those of torchrun or SLURM",
    )
    precision: Literal["auto", "16", "bf16", "32", "64"] = flag(
        "auto is bf16 where the hardware computes it and 32 elsewhere; the original's default, 16, "
        "needs gradients scaled against underflow, and CPUs do not compute it; 64 is for proofs",
        "auto",
    )
    channels_last: bool = flag("the layout in memory that convolutions prefer", True)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where its traces go, and what it starts from."""

    name: str | None = flag("of the run in wandb", None, shown="wandb makes one")
    project: str = flag("of the run in wandb", "contrastive_learning", metavar="NAME")
    seed: int = flag("of weights, order and views", 0, low=0, high=2**32 - 1)
    output: str | None = flag(
        "folder of runs", None, shown="trained_models beside the programs", metavar="PATH"
    )
    run_id: str | None = flag("name of the run's folder", None, once=True, shown="eight letters")
    resume_training_from: str | None = flag(
        "go on with a run: its folder or a checkpoint in it", None, once=True, metavar="PATH"
    )
    config: str | None = flag(
        "a run's config.json: its values become the defaults, flags beside it win",
        None,
        once=True,
        metavar="PATH",
    )
    wandb: Literal["auto", "online", "offline", "off"] = flag(
        "auto is online when logged in, offline else, off where it is not installed; never asks",
        "auto",
    )
    log_every_n_steps: int = flag("steps between two rows of metrics.csv", 50, low=1)
    debug: bool = flag("show the traceback of an error", False, once=True)


@dataclass(frozen=True, kw_only=True)
class Watching:
    """What is looked at besides."""

    on_collapse: Literal["warn", "stop"] = flag("when all embeddings become alike", "warn")
    baseline: bool = flag("measure the same encoder untrained, before training", True)
    dry_run: str | None = flag(
        "print the table, draw the learning rate and all schedules there (.png), and end",
        None,
        once=True,
        metavar="PATH",
    )
    show_views: str | None = flag(
        "write a picture (.png) of the first samples and their views there, and end",
        None,
        once=True,
        metavar="PATH",
    )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is evaluated, and how."""

    pretrained_feature_extractor: str | None = flag(
        "a run's folder, or a file of weights: ours, timm's, torchvision's, solo-learn's, "
        "lightly's, or of the official MoCo, SimSiam, Barlow Twins, VICReg, SwAV and DINO; only "
        f"--eval {either(untrained())} goes without",
        None,
        metavar="PATH",
        shown="must be given",
    )
    eval: tuple[str, ...] = flag(default=(default(),), **chosen())
    augment: bool = flag(
        "learn from augmented images, encoded anew each epoch, instead of features extracted once",
        False,
        needs=("eval", augmentable()),
    )
    pictures: bool = flag(
        "draw the features (t-SNE, spectrum, nearest neighbours) and the confusions", False
    )
    export: Literal["onnx"] | None = flag(
        "write the encoder as encoder.onnx into the run's folder", None, shown="it is not"
    )
    verify: str | None = flag(
        "compute again what an evaluation's cards.json says, and compare",
        None,
        once=True,
        metavar="PATH",
    )
