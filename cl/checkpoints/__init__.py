"""Checkpoints: `io` reads and writes them, `formats` knows the layouts of other projects' files."""

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
    sha256,
    sum_of,
    valid,
)

__all__ = [
    "ENCODER",
    "LAST",
    "PREVIOUS",
    "SafeIO",
    "about_encoder",
    "check_finite",
    "encoder_file",
    "fingerprint",
    "intact",
    "load_weights",
    "read_encoder",
    "resumable",
    "save_encoder",
    "sha256",
    "sum_of",
    "valid",
]
