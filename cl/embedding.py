"""Use an encoder: the features of a place's images, or of a file's texts, as an array on disk."""

import re
import sys
import warnings
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from cl.config.launcher import cores
from cl.config.program import Parser, refuse
from cl.config.programs import Linear, Pretrain
from cl.config.schema import options_of
from cl.config.words import NUMBER
from cl.terminal import write_warning

PRECISIONS = ("auto", "16", "bf16", "32")  # of `cl.embed`
WORKERS = 4  # threads that decode, or fewer where there are fewer cores
FORM, NAMES = ".npy", ".txt"  # of the two files
SIDES = ("query", "document")  # of pairs of texts


def embed_command(argv: Sequence[str] | None = None) -> int:
    """Write the features of images or texts: `cl-embed` and `python -m cl.embedding`.

    Args:
        argv: the words of the command line, by default the process's.

    Returns:
        The exit code.
    """
    parser = parser_of_words()
    asked = parser.parse_args(argv)
    known = {*parser._option_string_actions}
    with warnings.catch_warnings():
        warnings.showwarning = lambda said, *_, **__: write_warning(f"{said}{origins(said, known)}")
        try:
            write_features(asked, new_file(asked.out))
        except Exception as error:
            plain = isinstance(error, ValueError) and len(error.args) == 1
            if plain and (more := origins(error, known)):
                error = ValueError(f"{error}{more}")
            return refuse(error)
    return 0


def origins(message: object, known: Collection[str]) -> str:
    """Whose the flags are that a message names and this program does not have, to stand behind it.

    It may come from what all programs share.

    >>> origins("more pixels than --max_pixels 9; --layer x", ["--layer"])
    ' (--max_pixels is a flag of main_linear.py)'
    """
    if "main_" in str(message):
        return ""
    programs = {"main_linear.py": options_of(Linear), "main_contrastive.py": options_of(Pretrain)}
    said = {}
    for flag in re.findall(r"--[a-z_]+", str(message)):
        whose = next((name for name, of in programs.items() if flag.removeprefix("--") in of), None)
        if flag not in known and whose:
            said[flag] = f"{flag} is a flag of {whose}"
    return f" ({', '.join(said.values())})" if said else ""


def parser_of_words() -> Parser:
    """What sorts the words of the command line."""
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
    sides = "what texts are, for their prompt and length (query, document); of a run on images and "
    sides += "texts the side whose features are wanted, where both are compared (image, text)"
    add("--side", choices=("image", "text", *SIDES), help=sides)
    for side in SIDES:
        said = f"with --side {side}: what stands before each text, see main_linear.py --help"
        add(f"--{side}_prompt", metavar="TEXT", help=said)
    add("--layer", nargs="+", default=[], metavar=layer["metavar"], help=layer["help"])
    add("--image_size", type=at_least(1), help="side of the images in pixels (default: the run's)")
    add("--batch_size", type=at_least(1), default=256, help="samples at a time (default: 256)")
    threads = min(WORKERS, cores())
    add("--num_workers", type=at_least(0), default=threads, help="threads that decode")
    add(
        "--precision",
        choices=PRECISIONS,
        default="32",
        help="of the encoder's arithmetic; auto is what an evaluation takes (default: 32)",
    )
    add("--device", help="cpu, cuda or cuda:N (default: a GPU if there is one)")
    add("--skip_corrupt", action="store_true", help="leave out images that cannot be read")
    return parser


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

    Args:
        asked: the words of the command line.
        file: of the features.

    Raises:
        ValueError: there is no such encoder, or it does not take what lies in the place.
    """
    sys.stderr.write("loading PyTorch ...\n")
    from rich.progress import track  # all of them take seconds, which a typo need not

    from cl.checkpoints import encoder_file
    from cl.config.encoders import has_weights
    from cl.data.distinct import distinct
    from cl.eval._embed import choose_layers, device_of, placed
    from cl.eval._features import at_all_places, feature_batches
    from cl.eval._places import loader_of
    from cl.eval._restore import Called, find_run, load_for
    from cl.eval._transform import TextTransform
    from cl.hardware import on_gpu
    from cl.trainer import console, say

    if asked.side in ("image", "text") and asked.layer:
        raise ValueError("--layer cannot be used with --side, whose features have a layer behind")
    if not has_weights(asked.encoder):
        encoder_file(find_run(asked.encoder), "RUN")  # the flags of others need no mention
    called = Called("--side", f"--{asked.side}_prompt")
    how_to_read = asked.name, None, asked.image_size, asked.side, prompt_of(asked), called
    encoder, transform = load_for(asked.encoder, *how_to_read)
    encoder = choose_layers(encoder, asked.layer, texts=isinstance(transform, TextTransform))
    how = asked.batch_size, asked.num_workers, console if asked.skip_corrupt else None
    loader, names, left = loader_of(Path(asked.place), transform, *how)
    for line in left:
        say(line)
    device = device_of(encoder, asked.device or ("cuda" if on_gpu([]) else "cpu"), "--device")
    shown = track(loader, "features", console=console, transient=True)
    parts = feature_batches(encoder, shown, **placed(device, asked.precision))
    if isinstance(transform, TextTransform):
        parts = at_all_places(parts, distinct(names))
    rows, width = write_both(((h.numpy(), index.numpy()) for h, _, index in parts), names, file)
    listed = file.with_suffix(NAMES).name
    console.print(f"{file}: {rows:,} x {width} float32; {listed}: a name a row", markup=False)


def prompt_of(asked: Namespace) -> str | None:
    """What is to stand before each text; None leaves it to the encoder.

    Raises:
        ValueError: it is of the other side.
    """
    given = {side: getattr(asked, f"{side}_prompt") for side in SIDES}
    for side, prompt in given.items():
        if prompt is not None and asked.side != side:
            raise ValueError(f"--{side}_prompt needs --side {side}")
    return given.get(asked.side)


def write_both(parts: Iterable[Any], names: Sequence[str], file: Path) -> tuple[int, int]:
    """Write the rows as they come, and their names; both files are renamed when they are whole.

    Args:
        parts: features of some samples `(n d)`, and their rows `(n)`.
        names: of all samples.
        file: of the features.

    Returns:
        Their shape.
    """
    import numpy as np

    named = file.with_suffix(NAMES)
    new, names_new = (each.with_name(f"{each.name}.new") for each in (file, named))
    out = None
    try:
        for h, at in parts:
            if out is None:
                out = np.lib.format.open_memmap(new, "w+", np.float32, (len(names), h.shape[1]))
            out[at] = h
        assert out is not None
        out.flush()
        listed = "".join(f"{printable(name)}\n" for name in names)
        names_new.write_text(listed, encoding="utf-8")
        names_new.replace(named)
        new.replace(file)
    finally:
        names_new.unlink(missing_ok=True)
        new.unlink(missing_ok=True)
    return out.shape


def printable(name: str) -> str:
    """A name on a line of its own: a sign that would end the line stands as an escape."""
    return name if name.isprintable() else repr(name)[1:-1]


if __name__ == "__main__":
    sys.exit(embed_command())
