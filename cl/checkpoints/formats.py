"""Layouts: the names that others give an encoder's tensors, turned into those it has here.

A file is told by its keys, by rule: all tensors of the encoder stand under one prefix, in any
nesting, under timm's names or those of a library of `cl.checkpoints.renames`, each in its shape,
and none beside them but those of a classifier or projector behind the features. Where several
prefixes fit, known pairs are decided (`RANKS`) and others refused.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cl.checkpoints.renames import (
    DIALECTS,
    EFFICIENTNET,
    HUGGING_FACE,
    SEQUENTIAL,
    SHORTCUT,
    State,
    translate,
)
from cl.nets.lora import merge_state

MARK = "cl"  # the entry of a checkpoint of ours
WRAPPERS = ("module.", "_orig_mod.", "model.")  # DDP's, torch.compile's, many a LightningModule's
HEADS = ("fc", "head", "heads", "classifier", "linear", "projection_head", "prototypes", "pooler")
UNUSED = ("mask_token",)  # while features are taken
AVERAGE, TARGET, ENCODER = "average.module.0.", "teacher.module.0.", "encoder."
# Parts of nests and prefixes: the first are taken before others, and those before the last ones.
RANKS = (
    ("average", "teacher", "ema", "state_dict_ema", "model_ema", "ema_state_dict"),
    ("student", "momentum", "encoder_k", "target_encoder", "target_network"),
)
# Whose a prefix is; some only beside other keys, or under an entry of the file. `|` is an or.
KNOWN = (
    ("cl's (average)", AVERAGE, "", ""),
    ("cl's (target)", TARGET, "", ""),
    ("SimSiam's", "encoder.", r"encoder\.fc\.", ""),
    ("solo-learn's", "encoder.|backbone.", r"classifier\.", "|state_dict"),
    ("MoCo's", "encoder_q.", "", ""),
    ("MoCo v3's", "base_encoder.", "", ""),
    ("DINO's", "backbone.", "", "teacher|student"),
    ("Barlow Twins' and VICReg's", "backbone.", "", "model"),
    ("lightly's", "backbone.", r"backbone\.0\.", ""),
    ("a backbone's", "backbone.", "", ""),
    ("SwAV's", "", r"projection_head\.", ""),
    ("VISSL's", "_feature_blocks.", "", ""),
    ("plain", "", "", ""),
)
PRETRAINED = ("projector", "predictor", "momentum_", "prototypes", "queue")  # beside solo-learn's


@dataclass(frozen=True)
class Report:
    """What an encoder was filled with.

    Args:
        layout: whose names the file has.
        mapped: tensors that came from the file.
        counts: of batches, missing in files from before torch 0.4.1; zero, as torch has it.
        left_out: how many tensors of the file were not used, by the beginnings of their keys.
        padding: of the first convolution, where it is another than the encoder's.
        epsilon: of the norms, where it is another than the encoder's.
        notes: what else is to be known, guesses too.
    """

    layout: str
    mapped: int
    counts: int
    left_out: Mapping[str, int]
    padding: int | None = None
    epsilon: float | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.mapped} of {self.mapped + self.counts} tensors, {self.layout} layout"
        if self.counts:
            text += f"; {self.counts} counts of batches, which the file lacks, are 0"
        if self.padding is not None:
            text += f"; conv1 pads by {self.padding}, as there"
        if self.epsilon is not None:
            text += f"; the norms' epsilon is {self.epsilon:g}, as there"
        text += "".join(f"; {note}" for note in self.notes)
        if self.left_out:
            text += "; left out: " + ", ".join(f"{k} {n}" for k, n in self.left_out.items())
        return text


class Place(NamedTuple):
    """Where in a file an encoder may stand.

    Args:
        nest: the file's entry, names of several levels joined by dots; empty for the file itself.
        prefix: before the encoder's keys.
        dialect: a name in `DIALECTS`.
        state: the entry's tensors under timm's names.
    """

    nest: str
    prefix: str
    dialect: str
    state: State

    @property
    def bare(self) -> str:
        """The prefix without `WRAPPERS`."""
        parts = [f"{part}." for part in self.prefix.split(".")[:-1]]
        if self.prefix in (AVERAGE, TARGET):
            return self.prefix
        return "".join(part for part in parts if part not in WRAPPERS)

    @property
    def rank(self) -> int:
        """Among several places: the least is taken."""
        parts = f"{self.nest}.{self.prefix}".split(".")
        words = {*parts, *(word for part in parts for word in part.split("_"))}
        first, last = ({*words} & {*names} for names in RANKS)
        if self.prefix == AVERAGE:
            return -1
        return 2 if last else 0 if first else 1

    @property
    def name(self) -> str:
        """Whose layout it is, as far as that is known."""
        if self.dialect not in ("", SEQUENTIAL, SHORTCUT):
            return self.dialect
        for name, prefixes, beside, nests in KNOWN:
            signs = not beside or any(re.search(rf"(?<![^.]){beside}", k) for k in self.state)
            inside = not nests or self.nest in nests.split("|")
            is_one = self.dialect == SEQUENTIAL if name == "lightly's" else not self.dialect
            if self.bare in prefixes.split("|") and inside and is_one and (signs or self.dialect):
                return name
        return self.dialect or f"'{self.bare}'"


class Match(NamedTuple):
    """What a place gives, and what is wrong with it."""

    place: Place
    state: State
    left_out: dict[str, int]
    wrong: dict[str, list[str]]


def match_layout(
    found: Mapping[str, Any],
    wanted: Mapping[str, Tensor],
    where: object,
    *,
    online: bool = False,
    ours: bool = False,
    adapted: Sequence[str] | None = None,
) -> tuple[State, Report]:
    """The tensors of a file under the encoder's keys: all of them, or an error.

    Args:
        found: tensors by name, in any nesting.
        wanted: the encoder's state dict.
        where: the file, for errors.
        online: of a run with a moving target take the encoder that learns.
        ours: the file is of this package, so that no tensor means anything else.
        adapted: the encoder's weights into which LoRA's updates are merged where the file has
            them apart; None leaves them apart.

    Raises:
        ValueError: nothing fits, with the missing, the foreign and the misshapen keys of what is
            nearest; several do; or the tensors would fit and compute something else.
    """
    states = dict(states_of(found))
    if not states:
        raise ValueError(f"{where} holds no tensors by name")
    ranks: dict[str, int] = {}
    if adapted is not None:
        try:
            for nest, state in states.items():
                states[nest], ranks[nest] = merge_state(state, adapted)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    places = [p for nest, state in states.items() for p in places_of(nest, state, wanted, online)]
    sizes = {place.nest: len(place.state) for place in places if place.nest}
    best_rank = min((place.rank for place in places), default=1)
    chosen = [place for place in places if place.rank == best_rank]
    chosen = chosen or [Place("", "", "", max(states.values(), key=len))]
    others = [place.prefix for place in places]
    matches = [match_place(place, wanted, others, sizes) for place in chosen]
    best = min(matches, key=lambda each: sum(map(len, each.wrong.values())))
    if any(best.wrong.values()):
        raise ValueError(describe_misfit(best, where))
    fits = {(m.place.nest, m.place.prefix): m for m in matches if not any(m.wrong.values())}
    if len(fits) > 1:
        named = ", ".join(repr(f"{nest}: {prefix}*".removeprefix(": ")) for nest, prefix in fits)
        raise ValueError(
            f"{where} holds several encoders that fit ({named}); save the one that is meant alone"
        )
    check_computation(best, wanted, where)
    state, report = finished(best, wanted, found, ours=ours or MARK in found)
    if rank := ranks.get(best.place.nest):
        note = f"LoRA's updates of rank {rank} merged into the weights"
        report = replace(report, notes=(*report.notes, note))
    return state, report


def finished(
    best: Match, wanted: Mapping[str, Tensor], found: Mapping[str, Any], *, ours: bool
) -> tuple[State, Report]:
    """The encoder's state of a place that fits, and the report of it."""
    place, notes = best.place, []
    counts = {k: torch.zeros_like(v) for k, v in wanted.items() if k not in best.state}
    if place.rank == 0 and "ema" in re.split(r"[._]", place.nest):
        notes.append(f"the averaged weights of {place.nest}")
    state = dict(best.state)
    for key in [key for key, value in state.items() if value.shape != wanted[key].shape]:
        state[key] = interpolated(state[key], wanted[key])
        notes.append(
            f"positions interpolated from {state_side(best.state[key])} to "
            f"{state_side(wanted[key])} patches a side"
        )
    padding, guess = (None, "") if ours else stem_padding(best, wanted, found)
    notes += [guess] if guess else []
    named = place.name, len(state), len(counts), best.left_out
    if ours and place.bare == ENCODER:
        named = "cl's", *named[1:]
    return state | counts, Report(
        *named, padding=padding, epsilon=norm_epsilon(place, wanted), notes=tuple(notes)
    )


def norm_epsilon(place: Place, wanted: Mapping[str, Tensor]) -> float | None:
    """The epsilon of a library's norms, which no tensor tells, where it is not timm's.

    https://github.com/huggingface/transformers/blob/main/src/transformers/models/vit
    https://github.com/pytorch/vision/blob/main/torchvision/models/efficientnet.py, B5 to B7
    """
    if place.dialect == HUGGING_FACE and "blocks.0.ls1.gamma" not in wanted:  # else DINOv2's
        return 1e-12
    if place.dialect == EFFICIENTNET and wanted["conv_stem.weight"].shape[0] > 40:
        return 1e-3
    return None


def stem_padding(
    best: Match, wanted: Mapping[str, Tensor], found: Mapping[str, Any]
) -> tuple[int | None, str]:
    """How a ResNet's 3x3 stem pads where it is not by 1, which no tensor tells; a guess in words.

    solo-learn's for CIFAR pads by 2; of what has a backbone and a classifier and no more it is
    only likely, where Lightning wrote it.
    https://github.com/vturrisi/solo-learn/blob/main/solo/methods/base.py
    """
    stem = wanted.get("conv1.weight") if "layer1.0.conv1.weight" in wanted else None
    if stem is None or stem.shape[2] != 3 or best.place.dialect == SHORTCUT:
        return None, ""
    if best.place.name == "solo-learn's":
        if any(key.startswith(PRETRAINED) for key in best.left_out):
            return 2, ""
        if "pytorch-lightning_version" in found:
            return 2, "that is a guess, by the names that solo-learn uses"
    return None, "a guess: conv1 pads by 1, which no tensor tells (solo-learn's for CIFAR by 2)"


def check_computation(best: Match, wanted: Mapping[str, Tensor], where: object) -> None:
    """Refuse what would fit and compute something else.

    Raises:
        ValueError: it would.
    """
    qkv = wanted.get("blocks.0.attn.qkv.weight")
    if best.place.name == "MoCo v3's" and qkv is not None and qkv.shape[1] == 384:
        # https://github.com/facebookresearch/moco-v3/blob/main/vits.py
        raise ValueError(f"{where}: MoCo v3's ViT-S has 12 attention heads, the encoder 6")


def describe_misfit(best: Match, where: object) -> str:
    """What does not fit, and what is there."""
    keys = [unwrapped(key) for key in best.place.state]
    groups = Counter(key.split(".")[0] for key in keys)
    there = ", ".join(f"{name} {n}" for name, n in [*groups.items()][:8])
    said = f"{where} does not fit the encoder ({best.place.name} layout): {list_keys(best.wrong)}"
    if [key for keys in best.wrong.values() for key in keys] == ["conv1.weight"]:
        said += "; a ResNet's is 3x3 for an --image_size up to 64, 7x7 above"
        said += ", or as --stem of main_contrastive.py says"
    first = ", ".join([*best.place.state][:3])
    return f"{said}; in the file: {there}{', ...' * (len(groups) > 8)} ({first}, ...)"


def list_keys(wrong: Mapping[str, list[str]]) -> str:
    """How many keys there are of each kind, and the first three."""
    return "; ".join(
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' * (len(keys) > 3)})"
        for what, keys in wrong.items()
        if keys
    )


def states_of(found: Mapping[Any, Any], nest: str = "") -> Iterator[tuple[str, State]]:
    """The tensors of a file by the entry they stand under, in any nesting."""
    own = {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if own:
        yield nest, own
    for name, inner in found.items():
        if isinstance(inner, Mapping):
            yield from states_of(inner, f"{nest}.{name}".removeprefix("."))


def places_of(
    nest: str, state: State, wanted: Mapping[str, Tensor], online: bool
) -> Iterator[Place]:
    """Where half of the encoder's keys, or more, stand under one prefix."""
    asked = [key for key in wanted if not key.endswith("num_batches_tracked")]
    for dialect, renames in DIALECTS.items():
        spoken = translate(state, renames)
        if dialect and spoken is state:
            continue
        ends = ((key, i) for key in spoken for i in starts(key) if key[i:] in wanted)
        counted = Counter(key[:i] for key, i in ends)
        for prefix, number in counted.items():
            if 2 * number >= len(asked) or prefix in (AVERAGE, TARGET):
                place = Place(nest, prefix, dialect, spoken)
                if not (online and prefix == TARGET) and (not dialect or changes(place, state)):
                    yield place


def changes(place: Place, state: State) -> bool:
    """Whether a dialect has renamed a key under the prefix."""
    return any(key.startswith(place.prefix) and key not in state for key in place.state)


def starts(key: str) -> Iterator[int]:
    """Where the parts of a key begin.

    >>> [*starts("fc.weight")]
    [0, 3]
    """
    yield 0
    yield from (found.end() for found in re.finditer(r"\.", key))


def unwrapped(key: str) -> str:
    """A key without `WRAPPERS` before it."""
    while key.startswith(WRAPPERS):
        key = key.split(".", 1)[1]
    return key


def match_place(
    place: Place, wanted: Mapping[str, Tensor], others: list[str], sizes: Mapping[str, int]
) -> Match:
    """What stands at a place; `others` are the prefixes and `sizes` the entries of further ones."""
    inside = [key for key in place.state if key.startswith(place.prefix)]
    left = [unwrapped(key).split(".")[0] for key in place.state if key not in {*inside}]
    own = {key[len(place.prefix) :]: place.state[key] for key in inside}
    foreign = sorted(own.keys() - wanted.keys())
    beyond = [other[len(place.prefix) :] for other in others if other.startswith(place.prefix)]
    allowed = [
        key
        for key in foreign
        if key.split(".")[0] in (*HEADS, *UNUSED)
        or key.startswith(("decoder_", *filter(None, beyond)))
    ]
    left += [f"{place.bare}{key.split('.')[0]}" for key in allowed]
    missing = sorted(wanted.keys() - own.keys())
    if not any(key.endswith("num_batches_tracked") for key in own):
        missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    mapped = {key: own[key] for key in wanted if key in own}
    wrong = {
        "missing": missing,
        "not in the encoder": [key for key in foreign if key not in allowed],
        "of other shape": sorted(k for k, v in mapped.items() if not fitting(k, v, wanted[k])),
    }
    further = {nest: n for nest, n in sizes.items() if nest != place.nest}
    return Match(place, mapped, dict(Counter(left)) | further, wrong)


def fitting(key: str, value: Tensor, wanted: Tensor) -> bool:
    """Whether a tensor has the encoder's shape, or is a table of positions of another size."""
    if value.shape == wanted.shape:
        return True
    squares = key == "pos_embed" and value.ndim == wanted.ndim == 3
    return (
        squares and value.shape[2] == wanted.shape[2] and prefix_tokens(value, wanted) is not None
    )


def prefix_tokens(*tables: Tensor) -> int | None:
    """How many positions are of no patch, so that the others make squares."""
    counts = [table.shape[1] for table in tables]
    return next((p for p in (1, 0, 5, 2) if all(is_square(n - p) for n in counts)), None)


def is_square(n: int) -> bool:
    return n > 0 and math.isqrt(n) ** 2 == n


def state_side(table: Tensor) -> int:
    """Patches along a side of an image, of a table of positions."""
    return math.isqrt(table.shape[1])


def interpolated(table: Tensor, wanted: Tensor) -> Tensor:
    """Positions for another number of patches, as timm interpolates them."""
    from timm.layers.pos_embed import resample_abs_pos_embed  # timm takes a second

    tokens = prefix_tokens(table, wanted)
    assert tokens is not None
    side = math.isqrt(wanted.shape[1] - tokens)
    return resample_abs_pos_embed(table, [side, side], num_prefix_tokens=tokens).to(wanted)
