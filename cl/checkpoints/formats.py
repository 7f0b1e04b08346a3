"""Layouts: the names that others give an encoder's tensors, turned into those it has here.

A file is told by its keys alone. One layout must give every tensor of the encoder in its shape, and
none beside them but those of a classifier or projector behind the features.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

State = dict[str, Tensor]

NESTS = ("state_dict", "model", "teacher", "student", "model_state_dict")
WRAPPERS = ("module.", "_orig_mod.", "model.")  # DDP's, torch.compile's, many a LightningModule's
HEADS = ("fc", "head", "classifier")

# A ResNet's children by their place in a Sequential: convolution, norm, ReLU, pooling, stages.
# Without the ReLU, as of lightly's own ResNetGenerator, the stages stand elsewhere and the
# features are others: such a file is refused.
PLACES = (("0", "conv1"), ("1", "bn1"), *((f"{i + 3}", f"layer{i}") for i in range(1, 5)))


class Layout(NamedTuple):
    """How somebody's files name an encoder's tensors.

    Args:
        name: whose it is.
        prefix: before the encoder's keys, once `WRAPPERS` are gone.
        sign: how a key begins that must be there too.
        nests: under which entries of a file; of none, anywhere.
        places: the first parts of keys behind the prefix, and what stands here.
        heads: what may stand behind the prefix though the encoder lacks it.
    """

    name: str
    prefix: str = ""
    sign: str = ""
    nests: tuple[str, ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    heads: tuple[str, ...] = HEADS


AVERAGE = Layout("cl's (average)", "average.module.0.", sign="encoder.")
TARGET = Layout("cl's (target)", "teacher.module.0.", sign="encoder.")
SOLO_LEARN = Layout("solo-learn's", "backbone.", sign="classifier.")
PRETRAINED = ("projector", "predictor", "momentum_", "prototypes", "queue")  # beside solo-learn's
MOCO_V3 = Layout("MoCo v3's", "base_encoder.")
LAYOUTS = (  # the first that fits
    AVERAGE,
    TARGET,
    Layout("SimSiam's", "encoder.", sign="encoder.fc."),
    Layout("cl's", "encoder."),
    Layout("MoCo's", "encoder_q."),
    MOCO_V3,
    Layout("DINO's", "backbone.", nests=("teacher", "student")),
    Layout("Barlow Twins' and VICReg's", "backbone.", nests=("model",)),
    SOLO_LEARN,
    Layout("lightly's", "backbone.", sign="backbone.0.", places=PLACES),
    Layout("a backbone's", "backbone."),
    Layout("SwAV's", sign="projection_head.", heads=(*HEADS, "projection_head", "prototypes")),
    Layout("plain"),
)


@dataclass(frozen=True)
class Report:
    """What an encoder was filled with.

    Args:
        layout: whose names the file has.
        mapped: tensors that came from the file.
        counts: of batches, missing in files from before torch 0.4.1; zero, as torch has it.
        left_out: how many tensors of the file were not used, by the beginnings of their keys.
        padding: of the first convolution, where it is another than the encoder's.
    """

    layout: str
    mapped: int
    counts: int
    left_out: Mapping[str, int]
    padding: int | None = None

    def __str__(self) -> str:
        text = f"{self.mapped} of {self.mapped + self.counts} tensors, {self.layout} layout"
        if self.counts:
            text += f"; {self.counts} counts of batches, which the file lacks, are 0"
        if self.padding is not None:
            text += f"; conv1 pads by {self.padding}, as there"
        if self.left_out:
            text += "; left out: " + ", ".join(f"{k} {n}" for k, n in self.left_out.items())
        return text


class Match(NamedTuple):
    """What a layout makes of a state, and what is wrong with it."""

    layout: Layout
    state: State
    left_out: dict[str, int]
    wrong: dict[str, list[str]]


def match_layout(
    found: Mapping[str, Any], wanted: Mapping[str, Tensor], where: object, *, online: bool = False
) -> tuple[State, Report]:
    """The tensors of a file under the encoder's keys: all of them, or an error.

    Args:
        found: tensors by name, or one level down under one of `NESTS`.
        wanted: the encoder's state dict.
        where: the file, for errors.
        online: of a run with a moving target take the encoder that learns.

    Raises:
        ValueError: no layout fits, with the missing, the foreign and the misshapen keys of the one
            that is nearest; or the tensors would fit and compute something else.
    """
    states = states_of(found)
    sizes = {nest: len(state) for nest, state in states.items() if nest}
    fits = [
        apply_layout(layout, state, wanted, {k: n for k, n in sizes.items() if k != nest})
        for nest, state in states.items()
        for layout in candidate_layouts(nest, state, online)
        if nest != "student" or "teacher" not in states  # which is what DINO evaluates
    ]
    if not fits:
        raise ValueError(f"{where} holds no tensors by name")
    best = min(fits, key=lambda each: sum(map(len, each.wrong.values())))
    if any(best.wrong.values()):
        said = (
            f"{where} does not fit the encoder ({best.layout.name} layout): {list_keys(best.wrong)}"
        )
        if [key for keys in best.wrong.values() for key in keys] == ["conv1.weight"]:
            said += "; a ResNet's is 3x3 for an --image_size up to 64, 7x7 above"
        raise ValueError(said)
    qkv = wanted.get("blocks.0.attn.qkv.weight")
    if best.layout is MOCO_V3 and qkv is not None and qkv.shape[1] == 384:
        # https://github.com/facebookresearch/moco-v3/blob/main/vits.py
        raise ValueError(f"{where}: MoCo v3's ViT-S has 12 attention heads, the encoder 6")
    counts = {k: torch.zeros_like(v) for k, v in wanted.items() if k not in best.state}
    # Its 3x3 stem for CIFAR pads by 2, which no tensor tells; a ResNet's here pads by 1. What
    # has a backbone and a classifier and no more may be anybody's.
    # https://github.com/vturrisi/solo-learn/blob/main/solo/methods/base.py
    stem = wanted.get("conv1.weight") if "layer1.0.conv1.weight" in wanted else None
    certain = best.layout is SOLO_LEARN and any(key.startswith(PRETRAINED) for key in best.left_out)
    wide = certain and stem is not None and stem.shape[2] == 3
    named = best.layout.name, len(best.state), len(counts), best.left_out
    return best.state | counts, Report(*named, padding=2 if wide else None)


def list_keys(wrong: Mapping[str, list[str]]) -> str:
    """How many keys there are of each kind, and the first three."""
    return "; ".join(
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' * (len(keys) > 3)})"
        for what, keys in wrong.items()
        if keys
    )


def states_of(found: Mapping[str, Any]) -> dict[str, State]:
    """The states of a file by the entry they stand under, the file's own under ""."""
    nests = {name: found[name] for name in NESTS if isinstance(found.get(name), Mapping)}
    states = {
        name: strip_prefixes({k: v for k, v in state.items() if isinstance(v, Tensor)})
        for name, state in {"": found, **nests}.items()
    }
    return {name: state for name, state in states.items() if state}


def strip_prefixes(state: State) -> State:
    """The state without `WRAPPERS` before its keys, unless two would get one name."""
    for wrapper in WRAPPERS:
        bare = {key.removeprefix(wrapper): value for key, value in state.items()}
        if len(bare) == len(state) and bare.keys() != state.keys():
            return strip_prefixes(bare)
    return state


def candidate_layouts(nest: str, state: State, online: bool) -> list[Layout]:
    """Those that a state may be in."""
    fitting = [
        layout
        for layout in LAYOUTS
        if (not layout.nests or nest in layout.nests)
        and any(key.startswith(layout.prefix) for key in state)
        and any(key.startswith(layout.sign) for key in state)
        and not (online and layout is TARGET)
    ]
    # A run of ours is used as `Method.evaluated` says, or not at all.
    return fitting[:1] if {AVERAGE, TARGET} & {*fitting} else fitting


def apply_layout(
    layout: Layout, state: State, wanted: Mapping[str, Tensor], others: Mapping[str, int]
) -> Match:
    """What a layout makes of a state; `others` are the file's other states, with their sizes."""
    own = {
        k.removeprefix(layout.prefix): v for k, v in state.items() if k.startswith(layout.prefix)
    }
    left = [key.split(".")[0] for key in state if not key.startswith(layout.prefix)]
    for place, name in layout.places:
        own = {re.sub(rf"^{place}\.", f"{name}.", key): value for key, value in own.items()}
    own = strip_prefixes(own)
    foreign = sorted(own.keys() - wanted.keys())
    heads = [key for key in foreign if key.split(".")[0] in layout.heads]
    left += [f"{layout.prefix}{key.split('.')[0]}" for key in heads]
    missing = sorted(wanted.keys() - own.keys())
    if not any(key.endswith("num_batches_tracked") for key in own):
        missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    mapped = {key: own[key] for key in wanted if key in own}
    wrong = {
        "missing": missing,
        "not in the encoder": [key for key in foreign if key not in heads],
        "of other shape": sorted(k for k, v in mapped.items() if v.shape != wanted[k].shape),
    }
    return Match(layout, mapped, dict(Counter(left)) | dict(others), wrong)
