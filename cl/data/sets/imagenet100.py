"""ImageNet-100: folders of 100 of ImageNet's classes, or all of ImageNet's, of which 100 count."""

from pathlib import Path

from cl.data.sets._kaggle import read_imagenet
from cl.data.sets._source import Source, Where

ROW = {
    "help": "folders of classes; of more than 100, the 100 of CMC",
    "order": 5,
    "class_folders": True,
    "image_files": True,
}
# The classes of CMC (Tian et al. 2019, https://arxiv.org/abs/1906.05849).
CLASSES = Path(__file__).with_name("imagenet100.txt")


def read(name: str, where: Where) -> Source:
    """`--train_dir` and `--val_dir` of `--data_folder`."""
    known = CLASSES.read_text().split()
    return read_imagenet(name, where, known, "the 100 classes of CMC (Tian et al. 2019)")
