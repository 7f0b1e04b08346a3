"""Tiny ImageNet as it is distributed: 110,000 photographs of 64 x 64 pixels in 200 classes."""

from cl.data.sets._folders import class_folder
from cl.data.sets._images import in_files
from cl.data.sets._inside import file_inside
from cl.data.sets._source import Source, Where
from cl.data.sets._walk import Walk

ROW = {
    "help": "110,000 photographs, 200 classes",
    "order": 4,
    "size": 64,
    "mean": (0.4802, 0.4481, 0.3975),
    "std": (0.277, 0.2691, 0.2821),
    "recipe": {"crop_scale": (0.2, 1.0), "blur": 0.0},  # as CIFAR's,
    "image_files": True,
}
FOLDER = "tiny-imagenet-200"
ADDRESS = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"


def read(name: str, where: Where) -> Source:
    """Tiny ImageNet's 200 classes; the validation part's are in a table beside its images."""
    place = where.folder / FOLDER
    table = place / "val" / "val_annotations.txt"
    for needed in (place / "train", table):
        if not needed.exists():
            raise ValueError(
                f"--data_folder {where.folder}: no {needed.relative_to(where.folder)} in it; "
                f"unpack {ADDRESS} there"
            )
    classes, train = class_folder([place / "train"], "--data_folder", Walk())
    label_of = {c: label for label, c in enumerate(classes)}
    rows = [line.split("\t")[:2] for line in table.read_text().splitlines() if line.strip()]
    if wrong := [row for row in rows if len(row) < 2 or row[1] not in label_of]:
        raise ValueError(f"{table}: {' '.join(wrong[0])} names no class of the training part")
    paths = [file_inside(file, place / "val" / "images") for file, _ in rows]
    return Source(name, classes, train, in_files(paths, [label_of[c] for _, c in rows]))
