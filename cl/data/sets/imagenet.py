"""ImageNet's photographs (1.28 million in 1,000 classes), a folder for each class."""

from cl.data.sets._folders import read_folders
from cl.data.sets._source import Source, Where

ROW = {
    "help": "folders of classes",
    "order": 6,
    "class_folders": True,
    "image_files": True,
}


def read(name: str, where: Where) -> Source:
    """`--train_dir` and `--val_dir` of `--data_folder`."""
    return read_folders(name, where, wordnet=True)
