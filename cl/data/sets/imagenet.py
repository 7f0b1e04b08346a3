"""ImageNet (1.28 million photographs, 1,000 classes), in class folders or as Kaggle has it."""

from cl.data.sets._kaggle import read_imagenet
from cl.data.sets._source import Source, Where

ROW = {
    "help": "folders of classes, or Kaggle's ILSVRC",
    "order": 6,
    "class_folders": True,
    "image_files": True,
}


def read(name: str, where: Where) -> Source:
    """`--train_dir` and `--val_dir` of `--data_folder`."""
    return read_imagenet(name, where)
