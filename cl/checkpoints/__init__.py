"""Checkpoints: `io` reads and writes them, `formats` knows the layouts of other projects' files."""

from cl.checkpoints.files import (
    NotSavedError,
    keep_as,
    sha256,
    sum_of,
    valid,
    write_sum,
    write_whole,
)
from cl.checkpoints.io import (
    ENCODER,
    LAST,
    PREVIOUS,
    SafeIO,
    about_encoder,
    check_finite,
    encoder_file,
    fingerprint,
    intact,
    load_weights,
    read_encoder,
    resumable,
    save_encoder,
)

__all__ = [
    "ENCODER",
    "LAST",
    "PREVIOUS",
    "NotSavedError",
    "SafeIO",
    "about_encoder",
    "check_finite",
    "encoder_file",
    "fingerprint",
    "intact",
    "keep_as",
    "load_weights",
    "read_encoder",
    "resumable",
    "save_encoder",
    "sha256",
    "sum_of",
    "valid",
    "write_sum",
    "write_whole",
]
