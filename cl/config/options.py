"""What can be set of every run: a field is a flag; its default, type, range and help stand here.

The options of a method, a loss or an evaluation stand at that thing, see `signature`.
"""

from dataclasses import dataclass, fields
from functools import partial
from typing import Literal

from cl import rates, schedules
from cl.config import datasets
from cl.config.encoders import Transformers
from cl.config.evaluations import (
    ALL,
    augmentable,
    built_in,
    default,
    describe_evaluations,
    untrained,
)
from cl.config.own import FORM, constant
from cl.config.schedulers import Schedulers, asks_for
from cl.config.schema import either, flag
from cl.config.signature import pairwise
from cl.config.thing import names as names_of

MULTICROP = ("multicrop", (True,))
ADAM = ("optimizer", rates.ADAPTIVE)
WARMUP = ("scheduler", Schedulers(schedules.warms_up))
PRESET = "the preset's"
OF_IMAGE_FILES = ("dataset", datasets.Having(("image_files",)))
OF_FOLDERS = ("dataset", datasets.Having(("class_folders",)))
OF_TABLES = ("dataset", datasets.Having(("image_columns",)))
OF_IMAGES = ("dataset", datasets.OfKind(("images",)))
WITH_IMAGES = ("dataset", datasets.OfKind(("images", "image-text")))
OF_PAIRS = ("dataset", datasets.OfKind(("text",)))
ONE_ENCODER = ("dataset", datasets.OfKind(("images", "text")))
WITH_TEXTS = ("dataset", datasets.OfKind(("text", "image-text")))
TRANSFORMER = ("text_encoder", Transformers())


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What is trained on, and how it is read."""

    dataset: str = flag(
        datasets.describe_datasets,
        choices=datasets.closed,
        open=datasets.open_forms,
        noun="data set",
        of_path=lambda: datasets.of_path,
        positional=True,
        common=True,
        known_as=("data",),
    )
    encoder: str = flag(
        "any timm model (resnet18, resnet50, vit_tiny_patch16_224, ...), resnet6 and resnet6_wN "
        f"(width N) for small images, for texts bag_wN, hf:FOLDER_OR_NAME (a transformer), "
        "package:NAME (one inside of an installed package) and minilm (6 layers of width 384), or "
        f"{FORM} of your own: a class or function that makes one",
        open=(FORM, "hf:FOLDER", "package:NAME"),
        noun="encoder",
        positional=True,
        common=True,
        known_as=("arch", "backbone", "model"),
    )
    data_folder: str = flag("folder of the data sets", "data", metavar="PATH", common=True)
    train_dir: str | None = flag(
        "training images, inside --data_folder", None, metavar="PATH", needs=OF_FOLDERS
    )
    val_dir: str | None = flag(
        "validation images, inside --data_folder",
        None,
        metavar="PATH",
        needs=("dataset", datasets.Having(("class_folders", "val_dir"))),
    )
    class_list: str | None = flag(
        "file with the class folders to take, one a line", None, metavar="PATH", needs=OF_FOLDERS
    )
    image_column: str | None = flag(
        "column of the images, or of their paths; of shards the suffix of the images",
        None,
        metavar="NAME",
        needs=OF_TABLES,
        shown="found by its type or name",
    )
    label_column: str | None = flag(
        "column of the labels, words or whole numbers; of shards a suffix, or a key of the .json",
        None,
        metavar="NAME",
        needs=OF_TABLES,
        shown="found by its type or name",
    )
    label_separator: str | None = flag(
        "text between the labels of an image that has several, in --label_column; several columns, "
        "one a class, are given with commas between them",
        None,
        metavar="TEXT",
        needs=("dataset", datasets.Having(("multilabel",))),
        shown="one label an image",
    )
    value_range: tuple[float, float] | Literal["auto"] | None = flag(
        "values of image files that become black and white, others are cut off; auto is the range "
        "of a sample of the files",
        None,
        metavar="MIN MAX|auto",
        needs=OF_IMAGE_FILES,
        shown="by their type: of 8 bits all, of 16 the upper eight, of others 0 to 255",
    )
    channels: int | None = flag(
        "channels of the images: of .npy files, whose shape is (h w c), of a TIFF's bands or pages",
        None,
        low=1,
        needs=OF_IMAGE_FILES,
        shown="RGB",
        known_as=("in_chans", "in_channels"),
    )
    exif_orientation: bool | None = flag(
        "turn images as their cameras say",
        None,
        needs=OF_IMAGE_FILES,
        shown="yes for data of your own, no for benchmarks",
    )
    max_pixels: int = flag(
        "refuse images of more pixels, before they are decoded: decoding takes up to 10 bytes a "
        "pixel in every worker",
        constant(datasets.SETS / "_values.py", "MAX_PIXELS"),
        low=1,
        needs=WITH_IMAGES,
    )
    data_fraction: float = flag(
        "fraction of the training samples, of every class alike, or their number; always the same "
        "ones, and a smaller part is a subset of a larger one",
        1.0,
        above=0,
        shown="1, all of them",
    )
    val_fraction: float | None = flag(
        "hold out this fraction of the training images of each class, always the same ones, and "
        "measure on them in place of the data set's own validation split: to choose settings by",
        None,
        above=0,
        below=1,
        needs=OF_IMAGES,
        shown="the data set's own split",
    )
    skip_corrupt: bool = flag(
        "decode every image before training and leave out those that cannot be decoded, instead of "
        "ending at the first one",
        False,
        needs=OF_IMAGES,
    )
    batch_size: int = flag(
        "samples per device and step", 128, low=1, common=True, known_as=("bs", "train_batch_size")
    )
    global_batch_size: int | None = flag(
        "samples of all devices together in a step; overrides --batch_size",
        None,
        low=1,
        shown="--batch_size times devices",
    )
    num_workers: int | None = flag(
        "threads or processes per device that load images",
        None,
        low=0,
        shown="4, or the cores of a device if they are fewer",
        common=True,
        known_as=("workers",),
        needs=WITH_IMAGES,
    )
    backend: Literal["auto", "memory", "torch", "torchvision", "dali"] = flag(
        "what loads and augments: memory (data sets that fit; on the GPU where there is one), "
        "torch (files), torchvision (its operations one by one, slow), dali (files, on the GPU "
        "where there is one)",
        "auto",
        shortcut=("dali", ("auto",)),
        needs=WITH_IMAGES,
    )
    last_batch_fill: bool = flag(
        "fill an epoch's last batch up from the epoch's beginning instead of dropping it", False
    )
    image_size: int | None = flag(
        "side of the images in pixels",
        None,
        low=8,
        common=True,
        shown=datasets.sizes,
        needs=WITH_IMAGES,
    )
    max_length: tuple[int, int] | None = flag(
        "tokens of a query and of a document that are used",
        None,
        low=1,
        needs=WITH_TEXTS,
        metavar=("QUERY", "DOCUMENT"),
        shown="as a folder of sentence-transformers says, else 64 256; of bag_wN 1024 1024",
    )
    pooling: Literal["mean", "cls", "last"] | None = flag(
        "what of a transformer's tokens is the feature of a text: their mean, the first or the "
        "last one",
        None,
        needs=TRANSFORMER,
        shown="as the encoder's folder says for sentence-transformers, else mean",
    )
    query_prompt: str | None = flag(
        "what stands before each query of a transformer: a text, or the name of one of its "
        "folder's prompts; '' is nothing. Before both texts of a pair of one kind",
        None,
        empty=True,
        metavar="TEXT",
        needs=OF_PAIRS,
        shown="that of the run; else the folder's prompt named query, for texts of one kind its "
        "default one",
    )
    document_prompt: str | None = flag(
        "the same before each document",
        None,
        empty=True,
        metavar="TEXT",
        needs=OF_PAIRS,
        shown="the same, named document or passage",
    )
    download: bool = flag(
        "download the data set if it is not in --data_folder",
        False,
        once=True,
        common=True,
        needs=("dataset", datasets.Having(("download",))),
    )


@dataclass(frozen=True, kw_only=True)
class ViewsOptions:
    """How the views of a sample are made; what is not given is the preset's."""

    recipe: str | None = flag(
        "augmentations of a paper; size, mean and standard deviation stay the data set's",
        None,
        choices=datasets.recipes,
        common=True,
        shown="the data set's",
        needs=WITH_IMAGES,
    )
    jitter_order: Literal["random", "fixed"] | None = flag(
        "order of brightness, contrast, saturation and hue: drawn for each view, or this one",
        None,
        shown="random",
        needs=WITH_IMAGES,
    )
    brightness: float | None = flag(
        "largest change of the brightness", None, low=0, shown=PRESET, needs=WITH_IMAGES
    )
    contrast: float | None = flag(
        "largest change of the contrast", None, low=0, shown=PRESET, needs=WITH_IMAGES
    )
    saturation: float | None = flag(
        "largest change of the saturation", None, low=0, shown=PRESET, needs=WITH_IMAGES
    )
    hue: float | None = flag(
        "largest change of the hue, as a fraction of the color circle",
        None,
        low=0,
        high=0.5,
        shown=PRESET,
        needs=WITH_IMAGES,
    )
    crop_scale: tuple[float, float] | None = flag(
        "range of the fraction of the image's area that a crop covers",
        None,
        above=0,
        high=1,
        shown=PRESET,
        metavar=("MIN", "MAX"),
        needs=WITH_IMAGES,
    )
    crop_interpolation: Literal["bilinear", "bicubic"] | None = flag(
        "how the crops of training views are resized, with antialiasing; plain images, which are "
        "no crops, have --interpolation of main_linear.py",
        None,
        shown=PRESET,
        needs=WITH_IMAGES,
    )
    crop_size: int | None = flag(
        "side of a full-size view in pixels; smaller views than --image_size train faster",
        None,
        low=8,
        shown="--image_size",
        needs=WITH_IMAGES,
    )
    flip_prob: float | None = flag(
        "probability that a view is mirrored", None, low=0, high=1, shown=PRESET, needs=WITH_IMAGES
    )
    grayscale_prob: float | None = flag(
        "probability that a view is gray", None, low=0, high=1, shown=PRESET, needs=WITH_IMAGES
    )
    blur_prob: float | None = flag(
        "probability that a view is blurred", None, low=0, high=1, shown=PRESET, needs=WITH_IMAGES
    )
    solarize_prob: float | None = flag(
        "probability that a view is solarized", None, low=0, high=1, shown=PRESET, needs=WITH_IMAGES
    )
    n_crops: int = flag("full-size views of a sample", 2, low=2, needs=OF_IMAGES)
    multicrop: bool = flag(
        "add small views (multi-crop of SwAV, https://arxiv.org/abs/2006.09882)",
        False,
        common=True,
        needs=OF_IMAGES,
    )
    hard_negatives: int | None = flag(
        "hard negatives of a pair in a step, of those that the data have, for a loss of several "
        "sides",
        None,
        low=0,
        needs=OF_PAIRS,
        shown="as many as every pair has, where the loss takes them",
    )
    n_small_crops: int = flag("small views of a sample", 6, low=1, needs=MULTICROP)
    small_crop_size: int | None = flag(
        "side of a small view in pixels",
        None,
        low=4,
        needs=MULTICROP,
        shown="3/7 of the full-size views, 96 at 224",
    )
    small_crop_scale: tuple[float, float] | None = flag(
        "range of the fraction of the image's area that a small view covers",
        None,
        above=0,
        high=1,
        needs=MULTICROP,
        shown="0.05 0.14 (SwAV), with --recipe sigmoid 0.05 1",
        metavar=("MIN", "MAX"),
    )


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """What is trained."""

    method: str = flag(
        "method that is trained; its own options: --help method NAME",
        "simclr",
        choices=lambda: names_of("method"),
        open=(FORM,),
        noun="method",
        common=True,
    )
    loss: str = flag(
        "loss of a method that takes any pairwise loss; its own options: --help loss NAME",
        "nt_xent",
        choices=pairwise,
        open=(FORM,),
        noun="loss",
        common=True,
    )
    schedule: tuple[str, ...] = flag(
        "numbers of the method or of its loss that change while training, from their values to "
        "END, e.g. temperature=cosine:0.5; SHAPE is " + " or ".join(schedules.shapes()) + ", "
        "STEPS by default the whole run",
        (),
        metavar=schedules.FORM,
        shown="none does",
    )
    zero_init_residual: bool = flag(
        "let each residual block start as the identity", False, needs=WITH_IMAGES
    )
    norm: Literal["batch", "group"] = flag(
        "normalization in the encoder: its own (batch norm in most), or group norm in place of "
        "batch norm, so that a sample's features depend on that sample alone",
        "batch",
        needs=WITH_IMAGES,
    )
    stem: Literal["small", "full"] | None = flag(
        "first layers of a ResNet, patches of a ViT: small for small images, full as published",
        None,
        needs=WITH_IMAGES,
        shown="small up to 64 px",
    )
    init_from: str | None = flag(
        "the encoder starts from the weights of this run or file, or from timm's own (timm)",
        None,
        metavar="RUN|FILE|timm",
        needs=ONE_ENCODER,
        shown="random weights",
    )
    pretrained: bool | None = flag(
        "start from the weights in the encoder's folder; --no-pretrained re-initializes them",
        None,
        needs=TRANSFORMER,
        shown="hf: and package: do, minilm does not",
    )
    lora_rank: int | None = flag(
        "each weight of the encoder learns only a change of this rank (LoRA, "
        "https://arxiv.org/abs/2106.09685)",
        None,
        low=1,
        needs=WITH_TEXTS,
        shown="all of a weight learns",
    )
    lora_alpha: float | None = flag(
        "the changes of --lora_rank are multiplied by this over the rank",
        None,
        above=0,
        needs=("lora_rank", None),
        shown="the rank: they are taken as they are",
    )
    merge_lora: bool = flag(
        "merge the changes of --lora_rank into the encoder that is saved; else both stand in it",
        True,
        needs=("lora_rank", None),
    )
    layer_decay: float | None = flag(
        "learning rate of a layer of the encoder over that of the layer above it, of weights that "
        "are trained further (https://arxiv.org/abs/2003.10555)",
        None,
        above=0,
        high=1,
        needs=ONE_ENCODER,
        shown="all layers have the same",
    )
    classifier_lr: float | None = flag(
        "learning rate of the online probe, not scaled",
        None,
        above=0,
        shown="0.3, with adam and adamw 0.003",
        needs=OF_IMAGES,
    )
    bias_lr: float | None = flag(
        "learning rate of biases and norms, scaled as --lr is", None, above=0, shown="that of --lr"
    )
    learned_lr: float | None = flag(
        "learning rate of the loss's learnable scalars, not scaled",
        None,
        above=0,
        shown="the encoder's, with sgd and lars 0.001",
    )


@dataclass(frozen=True, kw_only=True)
class LargeOptions:
    """How a large batch is computed, on one device and on several."""

    sync_batchnorm: bool = flag("compute batch norm over the samples of all devices", True)
    mini_batch_size: int | None = flag(
        "samples per device that are embedded at a time; the loss still compares the whole batch, "
        "with the memory of a mini-batch and a second forward pass (gradient caching, "
        "https://arxiv.org/abs/2101.06983)",
        None,
        low=1,
        shown="all at once",
    )
    mini_batch_norm: Literal["chunk", "frozen"] = flag(
        "statistics of the encoder's batch norm with --mini_batch_size: those of each mini-batch, "
        "or the running ones, which are then frozen",
        "chunk",
        needs=("mini_batch_size", None),
    )
    checkpoint_activations: bool = flag(
        "keep only what goes into the encoder's blocks for the backward pass, and compute them a "
        "second time in it (https://arxiv.org/abs/1604.06174)",
        False,
    )
    strategy: Literal["ddp", "fsdp"] = flag(
        "how several devices train: ddp has the whole encoder on each, fsdp a part of its weights, "
        "gradients and optimizer states (FSDP2, https://arxiv.org/abs/2304.11277)",
        "ddp",
    )
    compile: bool = flag(
        "compile the training of encoder and heads (torch.compile), which takes a minute or more "
        "at the start of a run and needs a C++ compiler",
        False,
        needs=OF_IMAGES,
    )


@dataclass(frozen=True, kw_only=True)
class OptimizationOptions:
    """Optimizer, learning rate and its schedule."""

    optimizer: Literal["sgd", "adam", "adamw", "lars"] = flag(
        "optimizer of the encoder and the heads", "sgd", shortcut=("lars", ("sgd",)), common=True
    )
    scheduler: str = flag(
        "schedule of the learning rate; warmup_ in front of a name is a linear rise before it, "
        f"which {FORM} of your own, a function, has without being told",
        "warmup_cosine",
        choices=schedules.schedulers,
        open=(FORM,),
        noun="scheduler",
        common=True,
    )
    lr_decay_steps: tuple[int, ...] = flag(
        "epochs at which the learning rate is multiplied by --lr_decay_rate",
        (),
        low=1,
        needs=("scheduler", Schedulers(partial(asks_for, "lr_decay_epochs"))),
        shown="at 60% and 80% of the run",
    )
    lr_decay_rate: float | None = flag(
        "factor of the learning rate at --lr_decay_steps, or in each epoch (exponential)",
        None,
        above=0,
        high=1,
        needs=("scheduler", Schedulers(partial(asks_for, "lr_decay_rate"))),
        shown="step 0.1, exponential 0.95",
    )
    epochs: int = flag(
        "passes over the training data",
        100,
        low=1,
        common=True,
        known_as=("max_epochs", "num_epochs"),
    )
    max_steps: int | None = flag(
        "end after so many steps; 0 keeps the encoder as it is initialized",
        None,
        low=0,
        shown="after all epochs",
        common=True,
    )
    lr: float = flag(
        "learning rate; with --lr_scaling that of 256 samples in a step of all devices",
        0.3,
        above=0,
        common=True,
        known_as=("learning_rate", "base_lr"),
        none=True,
        shown="0.3, with adam and adamw 0.001",
    )
    min_lr: float = flag(
        "learning rate at which the schedule ends, not scaled, as in DINO (1e-6), MAE and timm; "
        "other rates than --lr end at the same part of theirs",
        0.0,
        low=0,
        none=True,
        needs=("scheduler", Schedulers(partial(asks_for, "done"))),
    )
    lr_scaling: bool = flag(
        "multiply --lr by the samples in a step of all devices over 256",
        True,
        none=True,
        shown="with sgd and lars, not with adam and adamw",
    )
    weight_decay: float = flag(
        "weight decay, of all parameters but biases, norms and the tokens and positions of a ViT",
        1e-4,
        low=0,
        common=True,
        known_as=("wd",),
    )
    momentum: float = flag(
        "momentum of sgd and lars", 0.9, low=0, below=1, needs=("optimizer", ("sgd", "lars"))
    )
    betas: tuple[float, float] = flag(
        "decay rates of adam's and adamw's means of gradients and of their squares; 0.9 0.95 in "
        "MAE and SigLIP, 0.9 0.98 in CLIP",
        (0.9, 0.999),
        low=0,
        below=1,
        metavar=("BETA1", "BETA2"),
        needs=ADAM,
    )
    adam_eps: float = flag(
        "what adam and adamw add to the root of the mean square; 1e-6 in CLIP",
        1e-8,
        above=0,
        high=1,
        needs=ADAM,
    )
    max_bad_steps: int = flag(
        "steps in a row that are left out because their loss or gradient is not finite (NaN or "
        "infinite); one more ends the program with exit code 65",
        10,
        low=0,
    )
    clip_grad_norm: float | None = flag(
        "clip the norm of the gradient to this", None, above=0, shown="no clipping"
    )
    warmup_epochs: float | None = flag(
        "epochs in which the learning rate rises linearly",
        None,
        low=0,
        needs=WARMUP,
        shown="10, and of up to 10 epochs a tenth",
    )
    warmup_start_lr: float | None = flag(
        "learning rate that the warm-up starts from, at most that at its height",
        None,
        low=0,
        needs=WARMUP,
        shown="0.003, at most a tenth of the learning rate",
    )


@dataclass(frozen=True, kw_only=True)
class HardwareOptions:
    """Devices, processes and precision."""

    gpus: tuple[int, ...] = flag(
        "indices of the GPUs to use",
        (),
        low=0,
        shown="one GPU if there is one, else the CPU",
        common=True,
    )
    devices: int | None = flag(
        "processes on a node, each with a GPU or on the CPU",
        None,
        low=1,
        common=True,
        needs=("gpus", ((),)),
        shown="1, or what torchrun or SLURM start",
    )
    num_nodes: int | None = flag(
        "machines that train together; torchrun or SLURM start the processes on them",
        None,
        low=1,
        shown="1, or those of torchrun or SLURM",
    )
    timeout: float = flag(
        "minutes that processes wait for one that is silent; then all end, and it is named",
        10.0,
        above=0,
        high=525600,  # a year
        metavar="MINUTES",
    )
    precision: Literal["auto", "16", "bf16", "32", "64"] = flag(
        "floating-point precision: auto is bf16 where the hardware supports it and 32 elsewhere; "
        "16 scales the gradients and needs a GPU; 64 is for tests of exactness",
        "auto",
        common=True,
    )
    channels_last: bool = flag(
        "lay images out with their channels last, which convolutions prefer",
        True,
        needs=WITH_IMAGES,
    )


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a run is written, and what it starts from."""

    name: str | None = flag("name of the run in wandb", None, shown="wandb makes one", common=True)
    project: str = flag("project of the run in wandb", "contrastive_learning", metavar="NAME")
    seed: int = flag("seed of weights, order and views", 0, low=0, high=2**32 - 1, common=True)
    output: str | None = flag(
        "folder of runs",
        None,
        shown="trained_models beside the programs",
        metavar="PATH",
        common=True,
    )
    run_id: str | None = flag("name of the run's folder", None, once=True, shown="eight letters")
    resume_training_from: str | None = flag(
        "continue a run: its folder or a checkpoint in it",
        None,
        once=True,
        metavar="PATH",
        common=True,
    )
    config: str | None = flag(
        "take the settings of a run's config.json; flags on the line win",
        None,
        once=True,
        metavar="PATH",
        common=True,
    )
    wandb: Literal["auto", "online", "offline", "off"] = flag(
        "Weights & Biases: auto is online if you are logged in, else offline, and off where it is "
        "not installed; it never asks",
        "auto",
        common=True,
    )
    wandb_entity: str | None = flag(
        "team or user of the run in wandb", None, metavar="NAME", shown="that of your login"
    )
    wandb_group: str | None = flag(
        "group of the run in wandb",
        None,
        metavar="NAME",
        shown="none; of an evaluation the id of the run that it evaluates",
    )
    wandb_tags: str | None = flag(
        "tags of the run in wandb, with commas between them", None, metavar="TAG,TAG", shown="none"
    )
    wandb_notes: str | None = flag("a note on the run in wandb", None, metavar="TEXT", shown="none")
    wandb_artifact: bool = flag(
        "log encoder.safetensors to wandb as an artifact when the run ends", False
    )
    logger: Literal["tensorboard"] | None = flag(
        "log the same numbers as TensorBoard's files too, into the run's folder",
        None,
        shown="none",
    )
    log_every_n_steps: int = flag("steps between two rows of metrics.csv", 50, low=1)
    report: bool = flag("write report.html, a page to look at, when the run ends", True)
    take_over: bool = flag(
        "write a run's folder although a process of another machine, which must have ended, has it",
        False,
        once=True,
    )
    override: bool = flag(
        "with --resume_training_from: go on with other learning rates, layer_decay, weight decay, "
        "momentum, betas, clipping or options of the loss, which config.json then has",
        False,
        once=True,
    )
    debug: bool = flag("show the traceback of an error", False, once=True)


@dataclass(frozen=True, kw_only=True)
class WatchingOptions:
    """What is watched, and what can be looked at before training."""

    auto_resume: bool = flag(
        "go on with the run of that --run_id where there is one that has not ended, as a job that "
        "is queued again does",
        False,
        once=True,
        shown="yes where torchrun or SLURM start the program again",
    )
    max_time: float | None = flag(
        "minutes after which the step is saved and the program ends, with exit code 75",
        None,
        above=0,
        metavar="MINUTES",
        shown="no limit",
    )
    checkpoint_every: float = flag(
        "epochs, steps or minutes between two checkpoints", 1.0, above=0, metavar="NUMBER"
    )
    checkpoint_unit: Literal["epochs", "steps", "minutes"] = flag(
        "unit of --checkpoint_every", "epochs"
    )
    keep_best: int = flag(
        "checkpoints of the best epochs that are kept too, by kNN on the validation part, or the "
        "probe or the retrieval (of captions: Recall@1 of images; of scored pairs: Spearman's "
        "correlation) where there is no kNN",
        0,
        low=0,
        shown="0, none",
    )
    keep_epochs: tuple[int, ...] = flag(
        "epochs whose checkpoints are kept too", (), low=1, shown="none"
    )
    seeds: tuple[int, ...] = flag(
        "train once with each of these seeds, evaluate every run, and print the mean with its 95 % "
        "interval; they are kept in the folder --run_id, and the same command goes on with them",
        (),
        low=0,
        high=2**32 - 1,
        once=True,
        common=True,
        shown="one run with --seed",
    )
    probe_data: str | None = flag(
        "data set with labels by which a run on images without labels is watched: kNN after each "
        "epoch, kNN and logistic regression before and after training; nothing is trained on it",
        None,
        choices=datasets.closed,
        open=datasets.open_forms,
        noun="data set",
        metavar="DATASET",
        shown="none",
        needs=OF_IMAGES,
    )
    on_collapse: Literal["warn", "stop"] = flag("what to do when the embeddings collapse", "warn")
    baseline: bool = flag("evaluate the untrained encoder before training", True)
    dry_run: str | None = flag(
        "print the run's table, plot all schedules into this file (.png), and end",
        None,
        once=True,
        metavar="PATH",
        common=True,
    )
    show_views: str | None = flag(
        "draw the first samples and their views into this file (.png), and end",
        None,
        once=True,
        metavar="PATH",
        needs=OF_IMAGES,
    )


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


GROUPS = (
    DataOptions,
    ViewsOptions,
    MethodOptions,
    LargeOptions,
    OptimizationOptions,
    HardwareOptions,
    RunOptions,
    WatchingOptions,
    EvaluationOptions,
)


PRETRAINING = (ViewsOptions, MethodOptions, LargeOptions, WatchingOptions)  # of it alone


def option_names(evaluates: bool) -> list[str]:
    """The names of all of them that an evaluation has, or a pretraining."""
    others = PRETRAINING if evaluates else (EvaluationOptions,)
    return [option.name for group in GROUPS if group not in others for option in fields(group)]
