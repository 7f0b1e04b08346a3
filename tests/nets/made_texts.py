"""A transformer of 2 layers and width 32 with a tokenizer of a few words, in a folder."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

WORDS = "a the cat dog tree river bridge star what how is are made of about book song".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NEEDS = "needs the extra `text`"
TOPICS = "cat dog tree river bridge star book song".split()
# Pairs of different documents, all of whose words it knows.
QUERIES = [f"what is {a} {b}" for a in TOPICS for b in TOPICS[:4]]
DOCUMENTS = [f"the {a} of the {b}" for a in TOPICS for b in TOPICS[:4]]


def tiny(folder: Path, vocabulary: int | None = None, **options: Any) -> Path:
    """The folder, with a BERT that torch's seed draws.

    Args:
        folder: where it is written.
        vocabulary: rows of the embedding; by default as many as there are tokens.
        options: of its configuration.
    """
    library = pytest.importorskip("transformers", reason=NEEDS)
    tokenizers = import_module("tokenizers")
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [*SPECIAL, *WORDS, *letters[1:], *(f"##{letter}" for letter in letters), "0", "##0"]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    named = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    fast = library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{k}_token": v for k, v in named.items()}
    )
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": 40}
    config = library.BertConfig(vocab_size=vocabulary or len(pieces), **(sizes | options))
    library.BertModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
