"""Use an encoder: the features of a place's images, or of a file's texts, as an array on disk."""

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from cl.config.launcher import cores
from cl.config.program import Parser, refuse
from cl.config.programs import Linear
from cl.config.schema import options_of
from cl.config.words import NUMBER

WORKERS = 4  # threads that decode, or fewer where there are fewer cores
FORM, NAMES = ".npy", ".txt"  # of the two files


def embed_command(argv: Sequence[str] | None = None) -> int:
    """Write the features of images or texts: `cl-embed` and `python -m cl.embedding`.

    Args:
        argv: the words of the command line, by default the process's.

    Returns:
        The exit code.
    """
    asked = sorted_words(argv)
    try:
        file = new_file(asked.out)
        write_features(asked, file)
    except Exception as error:
        return refuse(error)
    return 0


def sorted_words(argv: Sequence[str] | None) -> Namespace:
    """The words of the command line, sorted."""
    parser = Parser(
        "cl-embed",
        description="Write the features of images, or of texts, by an encoder that was trained.",
        allow_abbrev=False,
    )
    parser._negative_number_matcher = NUMBER  # argparse's own does not know -1:cls
    add, layer = parser.add_argument, options_of(Linear)["layer"].about
    add("encoder", metavar="RUN", help="a run's folder, its id, or a file of weights")
    add(
        "place",
        metavar="PLACE",
        help="images: a folder, a pattern, a list of paths, an array; or a file with a text a line",
    )
    add("--out", required=True, help="FILE.npy of the features; FILE.txt beside it has the names")
    add("--name", help="the encoder's name, where the file of weights does not say it")
    sides = "a run on images and texts: features of this side where both are compared"
    add("--side", choices=("image", "text"), help=sides)
    add("--layer", nargs="+", default=[], metavar=layer["metavar"], help=layer["help"])
    add("--image_size", type=at_least(1), help="side of the images in pixels (default: the run's)")
    add("--batch_size", type=at_least(1), default=256, help="samples at a time (default: 256)")
    threads = min(WORKERS, cores())
    add("--num_workers", type=at_least(0), default=threads, help="threads that decode")
    add("--device", help="cpu, cuda or cuda:N (default: a GPU if there is one)")
    add("--skip_corrupt", action="store_true", help="leave out images that cannot be read")
    return parser.parse_args(argv)


def at_least(low: int) -> Callable[[str], int]:
    """The reader of a whole number with a lower bound."""

    def read(word: str) -> int:
        if not (word.isdecimal() and int(word) >= low):
            raise ArgumentTypeError(f"must be a whole number of at least {low}, not {word}")
        return int(word)

    return read


def new_file(out: str) -> Path:
    """The file to write.

    Raises:
        ValueError: it is there already, or cannot be there.
    """
    file = Path(out)
    if file.suffix != FORM:
        raise ValueError(f"--out {out}: the name must end in {FORM}")
    for each in (file, file.with_suffix(NAMES)):
        if each.exists():
            raise ValueError(f"--out {out}: there is {each}, and it is not overwritten")
    if not file.parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {file.parent}")
    return file


def write_features(asked: Namespace, file: Path) -> None:
    """Extract the features and write them, with a name for each row.

    Both files are written beside and renamed, so that they are whole or not there.

    Args:
        asked: the words of the command line.
        file: of the features.

    Raises:
        ValueError: there is no such encoder, or it does not take what lies in the place.
    """
    sys.stderr.write("loading PyTorch ...\n")
    import numpy as np  # all of them take seconds, which a typo need not
    from rich.progress import track

    from cl.checkpoints import encoder_file
    from cl.config.encoders import has_weights
    from cl.eval._embed import choose_layers, device_of, placed
    from cl.eval._features import feature_batches
    from cl.eval._places import loader_of
    from cl.eval._restore import find_run, load_encoder
    from cl.eval._transform import TextTransform
    from cl.hardware import on_gpu
    from cl.trainer import console

    if asked.side and asked.layer:
        raise ValueError("--layer cannot be used with --side, whose features have a layer behind")
    if not has_weights(asked.encoder):
        encoder_file(find_run(asked.encoder), "RUN")  # the flags of others need no mention
    encoder, transform = load_encoder(
        asked.encoder, asked.name, image_size=asked.image_size, side=asked.side
    )
    encoder = choose_layers(encoder, asked.layer, texts=isinstance(transform, TextTransform))
    how = asked.batch_size, asked.num_workers, console if asked.skip_corrupt else None
    loader, names = loader_of(Path(asked.place), transform, *how)
    device = device_of(encoder, asked.device or ("cuda" if on_gpu([]) else "cpu"), "--device")
    new, out, done = file.with_name(f"{file.name}.new"), None, 0
    try:
        shown = track(loader, "features", console=console, transient=True)
        for h, _ in feature_batches(encoder, shown, **placed(device)):
            if out is None:
                shape = len(names), h.shape[1]
                out = np.lib.format.open_memmap(new, "w+", np.float32, shape)
            out[done : done + len(h)] = h.numpy()
            done += len(h)
        assert out is not None
        out.flush()
        listed = "".join(f"{printable(name)}\n" for name in names)
        file.with_suffix(NAMES).write_text(listed, encoding="utf-8")
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
    size = f"{done:,} x {out.shape[1]} float32"
    console.print(f"{file}: {size}; {file.with_suffix(NAMES).name}: a name a row", markup=False)


def printable(name: str) -> str:
    """A name on a line of its own: a sign that would end the line stands as an escape."""
    return name if name.isprintable() else repr(name)[1:-1]


if __name__ == "__main__":
    sys.exit(embed_command())
