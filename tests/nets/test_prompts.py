"""Which prompts stand before queries and documents, and what is saved of them."""

from typing import Any

import pytest

from cl.nets.prompts import Settings, check_no_prompts, choose_prompts

E5 = {"query": "query: ", "passage": "passage: "}
NONE = (None, None)


@pytest.mark.parametrize(
    ("said", "given", "symmetric", "expected"),
    [
        ({}, NONE, False, ("", "")),
        ({"prompts": E5}, NONE, False, ("query: ", "passage: ")),
        ({"prompts": E5 | {"document": "d: "}}, NONE, False, ("query: ", "d: ")),
        ({"prompts": E5 | {"document": ""}}, NONE, False, ("query: ", "passage: ")),
        ({"prompts": {"query": "q: "}, "default": "query"}, NONE, False, ("q: ", "")),
        ({"prompts": {"sts": "s: "}, "default": "sts"}, NONE, False, ("s: ", "s: ")),
        ({"prompts": E5, "used": ("", "")}, NONE, False, ("", "")),
        ({"prompts": E5}, ("passage", None), False, ("passage: ", "passage: ")),
        ({"prompts": E5}, ("", "my text: "), False, ("", "my text: ")),
        ({"prompts": E5}, NONE, True, ("", "")),
        ({"prompts": E5, "default": "query"}, NONE, True, ("query: ", "query: ")),
        ({"prompts": E5}, ("query", None), True, ("query: ", "query: ")),
        ({"prompts": E5, "used": ("q: ", "d: ")}, NONE, True, ("", "")),
        ({"prompts": E5, "used": ("q: ", "q: ")}, NONE, True, ("q: ", "q: ")),
    ],
)
def test_what_is_chosen(
    said: dict[str, Any], given: Any, symmetric: bool, expected: tuple[str, str]
) -> None:
    assert choose_prompts(Settings(**said), given, symmetric=symmetric) == expected


def test_texts_of_one_kind_have_one_prompt() -> None:
    with pytest.raises(ValueError, match="--document_prompt: both texts of a pair are of one kind"):
        choose_prompts(Settings(), (None, "d: "), symmetric=True)
    assert choose_prompts(Settings(), ("d: ", "d: "), symmetric=True) == ("d: ", "d: ")


def test_a_prompt_that_the_pooling_leaves_out_is_refused() -> None:
    settings = Settings(prompts=E5, pooled=False)
    with pytest.raises(ValueError, match=r"leaves the prompt 'query: ' out, .* --query_prompt ''"):
        choose_prompts(settings, NONE)
    assert choose_prompts(settings, ("", "")) == ("", "")
    assert choose_prompts(settings, NONE, symmetric=True) == ("", "")


def test_an_encoder_without_prompts_gets_none() -> None:
    check_no_prompts(NONE)
    with pytest.raises(ValueError, match="--document_prompt is of transformers"):
        check_no_prompts((None, ""))


@pytest.mark.parametrize("default", [None, "query", "passage"])
@pytest.mark.parametrize("query", ["", "query: ", "other: "])
@pytest.mark.parametrize("document", ["", "passage: ", "other: "])
def test_what_is_saved_is_chosen_again(default: str | None, query: str, document: str) -> None:
    """By the names of the prompts; and by default where both are the same."""
    saved = Settings(prompts=E5, default=default).using(query, document).to_save()
    assert saved is not None
    again = Settings(prompts=saved["prompts"], default=saved["default_prompt_name"])
    assert choose_prompts(again, NONE) == (query, document)
    if query == document:
        assert again.prompt == query
    assert Settings().to_save() is None
    assert Settings(prompts=E5).to_save() == {"prompts": E5, "default_prompt_name": None}
