"""Prompts: what stands before queries and before documents, as an encoder of texts wants it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

QUERY = "query"  # what the prompt of queries is called, and those of documents, the first one first
DOCUMENT = ("document", "passage", "corpus")
Pair = tuple[str, str]  # of queries, and of documents


class Settings(NamedTuple):
    """What a folder of sentence-transformers says of its encoder besides the pooling.

    Args:
        longest: tokens of a text that are used; None where it does not say it.
        normalizes: features have length 1 there; here losses and retrieval compare by cosine.
        prompts: what may stand before a text, by name.
        default: name of the prompt that stands before each text.
        lowers: texts are put in lower case, also where the tokenizer would not.
        pooled: the tokens of a prompt are pooled with those of its text.
        used: the prompts that were chosen for queries and for documents; None: the default one.
    """

    longest: int | None = None
    normalizes: bool = False
    prompts: Mapping[str, str] = {}
    default: str | None = None
    lowers: bool = False
    pooled: bool = True
    used: Pair | None = None

    @property
    def prompt(self) -> str:
        """What stands before each text, where nothing else was chosen."""
        return "" if self.default is None else self.prompts[self.default]

    @property
    def both(self) -> Pair:
        """What stands before queries and before documents."""
        return self.used or (self.prompt, self.prompt)

    @property
    def of_retrieval(self) -> Pair:
        """What a search puts before queries and before documents, by the names of the prompts.

        That of queries is called `query`, that of documents `document`, `passage` or `corpus`, as
        in `encode_query` and `encode_document` of sentence-transformers. Where none has such a
        name, the default one stands before both.
        """
        known = [name for name in (QUERY, *DOCUMENT) if self.prompts.get(name)]
        if not known:
            return self.prompt, self.prompt
        documents = (self.prompts[name] for name in known if name != QUERY)
        return self.prompts.get(QUERY, ""), next(documents, "")

    def using(self, query: str, document: str) -> "Settings":
        """The same with these prompts.

        Raises:
            ValueError: there is one, and the pooling leaves it out.
        """
        prompt = query or document
        if prompt and not self.pooled:
            raise ValueError(
                f"its pooling leaves the prompt {prompt!r} out, which is not known here; "
                "--query_prompt '' --document_prompt '' encodes texts without one"
            )
        return self._replace(used=(query, document))

    def to_save(self) -> dict[str, Any] | None:
        """The content of config_sentence_transformers.json; None: there is nothing to say.

        `encode_query` and `encode_document` find there what was used, and `encode` what stood
        before each text.
        """
        prompts, default = dict(self.prompts), self.default
        if self.used is not None:
            query, document = self.used
            prompts = {k: v for k, v in prompts.items() if k not in DOCUMENT or v == document}
            prompts |= {QUERY: query, DOCUMENT[0]: document}
            if query == document and query != self.prompt:
                default = QUERY if query else None
            elif default is not None and prompts.get(default) != self.prompt:
                default = None
        return {"prompts": prompts, "default_prompt_name": default} if prompts else None


def choose_prompts(
    settings: Settings, given: tuple[str | None, str | None], *, symmetric: bool = False
) -> Pair:
    """What stands before queries and before documents.

    Args:
        settings: of the encoder.
        given: texts or names of the encoder's prompts, for queries and for documents; None leaves
            it to what was used, else to the names of the prompts.
        symmetric: both texts of a pair are of one kind: the first one given is for both, and
            without it a prompt stands there alone that was used on both sides, or by default.

    Raises:
        ValueError: there is a prompt, and the pooling leaves it out; or two for texts of one kind.
    """
    query, document = (None if g is None else settings.prompts.get(g, g) for g in given)
    if symmetric:
        if document not in (None, query):
            raise ValueError(
                "--document_prompt: both texts of a pair are of one kind, before which "
                "--query_prompt stands; give the same one, or --query_prompt alone"
            )
        of_both = settings.both[0] if settings.both[0] == settings.both[1] else settings.prompt
        query = document = of_both if query is None else query
    else:
        usual = settings.of_retrieval if settings.used is None else settings.used
        query = usual[0] if query is None else query
        document = usual[1] if document is None else document
    settings.using(query, document)
    return query, document


def prompts_of(query: str | None, document: str | None) -> Pair | None:
    """What stood before both sides in a run; None: what the encoder's folder says.

    Args:
        query: as its config.json has it.
        document: likewise; None beside a prompt of queries is of texts of one kind, the same.
    """
    return None if query is None else (query, query if document is None else document)


def check_no_prompts(given: tuple[str | None, str | None]) -> None:
    """Refuse prompts of an encoder that is no transformer, whose texts begin with none.

    Raises:
        ValueError: there is one.
    """
    for name, prompt in zip((QUERY, DOCUMENT[0]), given, strict=True):
        if prompt is not None:
            raise ValueError(
                f"--{name}_prompt is of transformers; an encoder of your own has a tokenizer of "
                "its own, which may put it before texts"
            )
