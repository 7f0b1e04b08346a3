"""What is printed moves no cursor, whoever made the name in it."""

import io
import unicodedata
import warnings

import pytest
from rich.console import Console

from cl import summary, trainer
from cl.config import Pretrain, parse_pretrain, program
from cl.terminal import escape_controls, one_line

HOSTILE = "[red]\x1b[31m\x1b]0;t\x07\x9b2J\r\n\u202e\u2066\u200f\u2028\x00\udcff[/red]"
Capture = pytest.CaptureFixture[str]


def is_plain(text: str) -> bool:
    """Whether a terminal shows each character where it stands; lines are ended by us alone."""
    return all(c == "\n" or c.isprintable() for c in text)


def test_every_character_is_itself_or_its_escape() -> None:
    for number in (*range(0x3000), 0xD800, 0xDCFF, 0xFEFF, 0xE0001, 0x1F600, 0x10FFFF):
        character = chr(number)
        said = escape_controls(f"a{character}b")[1:-1]
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"):
            assert said.isascii()
            assert said.startswith("\\")
            assert said.encode().decode("unicode_escape") == character
        else:
            assert said == character


def test_a_message_is_one_line() -> None:
    assert one_line(ValueError("a\n b\x1b\u2028c")) == "a b\\x1b c"


def test_a_line_and_a_warning_are_plain(capsys: Capture) -> None:
    trainer.say(HOSTILE)
    with trainer.setup(parse_pretrain(["digits", "resnet6_w8"])):
        warnings.simplefilter("always")
        warnings.warn(f"there is no {HOSTILE}", stacklevel=1)
    out, err = capsys.readouterr()
    assert is_plain(out + err)
    assert out.startswith(r"[red]\x1b[31m\x1b]0;t\x07\x9b2J\r\n\u202e\u2066\u200f\u2028\x00\udcff")
    assert len(out.splitlines()) == len(err.splitlines()) == 1


def test_a_table_is_plain() -> None:
    out = io.StringIO()
    summary.show(HOSTILE, {"data": f"{HOSTILE}\\"}, Console(file=out, width=300))
    assert is_plain(out.getvalue())
    assert out.getvalue().count(r"[red]\x1b[31m") == 2
    assert r"\udcff[/red]\ " in out.getvalue()


@pytest.mark.parametrize(
    "argv", [["digits", "resnet6_w8", "--method", HOSTILE], [HOSTILE], ["--config", HOSTILE]]
)
def test_a_refusal_is_plain(argv: list[str], capsys: Capture) -> None:
    assert program.run(Pretrain, argv, lambda _: 0) == 2
    out, err = capsys.readouterr()
    assert is_plain(out + err)
    assert all(line.startswith("error: ") for line in err.splitlines())
