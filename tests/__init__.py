"""Tests mirror `cl`. `check` holds its shapes and types while they run: an int is a float here."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
