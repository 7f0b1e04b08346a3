"""Images without labels: below a folder, of a pattern, in a list of paths, or an array of them.

A folder's folders are entered too. A pattern has `*`, `?` or `[...]`, and `**` for any folders. A
list is a .txt (a path a line) or a .csv or .tsv (a column called path, image or file); its paths
start at its folder. An array `(n h w)` or `(n h w c)` is a .npy or .npz.
"""

from cl.data.sets._images import Paths
from cl.data.sets._paths import repeated
from cl.data.sets._source import Source, Where
from cl.data.sets._split import HOLD_OUT, split, split_sentence
from cl.data.sets._walk import Walk
from cl.data.sets._without_labels import LISTS, images_at

ROW = {
    "help": "images without labels: a folder, a pattern, a list of paths, an array",
    "order": 88,
    "argument": "PATH",
    "image_files": True,
    "exif_orientation": True,
}


def read(name: str, where: Where) -> Source:
    """All images of the place, of which a tenth shows how the embeddings of others do.

    Raises:
        ValueError: there are no images, or a list has a file twice.
    """
    walk, flag = Walk(where.suffixes), f"DATASET {name}"
    place = where.folder / name.partition(":")[2]
    images = images_at(place, walk, flag, where.decoding)
    listed = place.suffix.lower() in LISTS
    if listed and isinstance(images.files, Paths) and (twice := repeated(images.files.paths)):
        raise ValueError(f"{flag}: {place} has {len(twice)} files twice, as {twice[0]}")
    train, val = split(images, HOLD_OUT)
    how = split_sentence(HOLD_OUT, labeled=False)
    return Source(name, [], train, val, held_out=HOLD_OUT, split=how, left_out=walk.describe())
