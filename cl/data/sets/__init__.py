"""One data set a file; a file's name is its name on the command line.

A file has a `ROW`, what is known of the set (`_rows.DEFAULTS` says what that may be), and a
function `read(name, where)` that gives a `Source`. `load` is the way in.
"""

from cl.data.sets._decode import UnreadableError
from cl.data.sets._from_dataset import check_items, from_dataset
from cl.data.sets._from_texts import from_texts, holds_texts
from cl.data.sets._images import Images, Paths, Stored, in_files
from cl.data.sets._loading import load
from cl.data.sets._map_style import as_pair
from cl.data.sets._rows import DEFAULTS, NAMES, dataset_row
from cl.data.sets._source import Source, Where
from cl.data.sets._split import split
from cl.data.sets._texts import Captioned, Samples, TextPairs
from cl.data.sets._values import DECODING, MAX_PIXELS, RGB, TURNED, Decoding

__all__ = [
    "DECODING",
    "DEFAULTS",
    "MAX_PIXELS",
    "NAMES",
    "RGB",
    "TURNED",
    "Captioned",
    "Decoding",
    "Images",
    "Paths",
    "Samples",
    "Source",
    "Stored",
    "TextPairs",
    "UnreadableError",
    "Where",
    "as_pair",
    "check_items",
    "dataset_row",
    "from_dataset",
    "from_texts",
    "holds_texts",
    "in_files",
    "load",
    "split",
]
