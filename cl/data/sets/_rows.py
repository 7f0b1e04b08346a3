"""Which data sets there are, and what the `ROW` in a data set's file says of it.

The command line reads the same rows from the source files (cl/config/datasets.py), since it answers
before numpy is loaded: a row is a dictionary of literals.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

# What a row may say, and what holds where it does not say it.
DEFAULTS: dict[str, Any] = {
    "help": "",  # of --help, behind the name
    "kind": "images",  # of samples: images, text (pairs of them), or image-text (captions)
    "scores": False,  # pairs of texts have scores, as an evaluation by correlation needs them
    "symmetric": False,  # both texts of a pair are of one kind, and neither is a query
    "columns": False,  # a table, whose columns say whether it is of images or of text
    "image_columns": False,  # a table, whose columns --image_column and --label_column name
    "multilabel": False,  # --label_separator and several columns make sets of labels
    "order": 50,  # place in lists; of equal ones by name
    "argument": "",  # what stands behind the name and a colon: NAME in torchvision:NAME
    "size": 224,  # side of the images in pixels
    "sizes": {},  # by argument, where it is another one
    "mean": (0.485, 0.456, 0.406),  # of the channels; ImageNet's
    "std": (0.229, 0.224, 0.225),
    "recipe": {},  # in what its views differ from SimCLR's for ImageNet: fields of Recipe
    "data_folder": True,  # it lies in --data_folder, which must exist
    "class_folders": False,  # of files: --train_dir, --val_dir, --class_list
    "val_dir": False,  # --val_dir says what validates, in the set's own way
    "download": False,  # --download can fetch it
    "image_files": False,  # --value_range, --channels and --exif_orientation say how they are read
    "exif_orientation": False,  # images are turned as their cameras say; never of a benchmark
}
# Of a set of the user's own, which looks for its files itself.
OWN = {"data_folder": False, "image_files": True, "exif_orientation": True}
NAMES = sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))


def dataset_names() -> list[str]:
    """The names in the order of lists; `NAMES` needs no file read."""
    return sorted(NAMES, key=lambda name: (dataset_row(name)["order"], name))


def dataset_row(dataset: str) -> dict[str, Any]:
    """What is known of a data set; `size` is that of its argument.

    Raises:
        ValueError: there is no such data set.
    """
    own: dict[str, Any] = OWN if is_plugin(dataset) else {}
    row = DEFAULTS | own | getattr(module_of(dataset), "ROW", {})
    return row | {"size": row["sizes"].get(dataset.partition(":")[2], row["size"])}


def is_plugin(dataset: str) -> bool:
    """Whether no file here has that name, so that it must be the user's own."""
    return dataset.partition(":")[0] not in NAMES


def module_of(dataset: str) -> ModuleType:
    """The module of a data set, the user's own for MODULE:NAME.

    Raises:
        ValueError: there is none.
    """
    name, colon, _ = dataset.partition(":")
    if not is_plugin(dataset):
        return import_module(f"cl.data.sets.{name}")
    if not colon:
        raise ValueError(
            f"DATASET {dataset} is unknown; choose from {', '.join(dataset_names())}, or give "
            "MODULE:NAME of your own."
        )
    try:
        return import_module(name)
    except (ImportError, TypeError, ValueError) as error:
        raise ValueError(
            f"DATASET {dataset}: {name} cannot be imported ({error}); is its folder on PYTHONPATH?"
        ) from None
