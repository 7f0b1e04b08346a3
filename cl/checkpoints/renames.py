"""Names that other libraries give the tensors of an encoder, turned into timm's by patterns."""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

State = dict[str, Tensor]
Rename = tuple[str, str | Callable[[re.Match[str]], str]]

SEQUENTIAL, SHORTCUT = "a Sequential's", "SupContrast's"
EFFICIENTNET, HUGGING_FACE = "torchvision's EfficientNet", "Hugging Face's ViT"
START = r"(?<![^.])"  # of a part of a key


def shifted(name: str, by: int, factor: int = 1) -> Callable[[re.Match[str]], str]:
    """A replacement by a name with a number of the key in it: `(number + by) // factor`."""
    return lambda found: name.format((int(found[1]) + by) // factor, *found.groups()[1:])


# A ResNet's children by their place in a Sequential: convolution, norm, ReLU, pooling, stages.
# Without the ReLU, as of lightly's own ResNetGenerator, the stages stand elsewhere and the
# features are others: such a file does not fit.
PLACES: tuple[Rename, ...] = (
    (r"^(?!.*downsample)(.*?)(?<![^.])0\.weight$", r"\1conv1.weight"),
    (
        r"^(?!.*downsample)(.*?)(?<![^.])1\.(weight|bias|running_\w+|num_batches_tracked)$",
        r"\1bn1.\2",
    ),
    (rf"{START}([4-7])\.(?=\d+\.(?:conv|bn|downsample))", shifted("layer{}.", -3)),
)
HUGGING_FACE_RESNET: tuple[Rename, ...] = (
    (rf"{START}embedder\.embedder\.convolution\.", "conv1."),
    (rf"{START}embedder\.embedder\.normalization\.", "bn1."),
    (rf"{START}encoder\.stages\.(\d)\.layers\.", shifted("layer{}.", 1)),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"(?<=\.)layer\.(\d)\.convolution\.", shifted("conv{}.", 1)),
    (r"(?<=\.)layer\.(\d)\.normalization\.", shifted("bn{}.", 1)),
)
HUGGING_FACE_VIT: tuple[Rename, ...] = (
    (rf"{START}embeddings\.(cls_token|mask_token)$", r"\1"),
    (rf"{START}embeddings\.position_embeddings$", "pos_embed"),
    (rf"{START}embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (rf"{START}(?:encoder\.layer|(?:encoder\.)?layers)\.(?=\d)", "blocks."),
    (r"\.attention\.(?:attention\.)?(q|k|v)(?:uery|ey|alue|_proj)\.", r".attn.\1."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (rf"{START}layernorm\.", "norm."),
)
TORCHVISION_VIT: tuple[Rename, ...] = (
    (rf"{START}class_token$", "cls_token"),
    (rf"{START}conv_proj\.", "patch_embed.proj."),
    (rf"{START}encoder\.pos_embedding$", "pos_embed"),
    (rf"{START}encoder\.layers\.encoder_layer_(?=\d)", "blocks."),
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(?:0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(?:3|linear_2)\.", ".mlp.fc2."),
    (rf"{START}encoder\.ln\.", "norm."),
)
TORCHVISION_CONVNEXT: tuple[Rename, ...] = (
    (rf"{START}features\.0\.(?=[01]\.)", "stem."),
    (rf"{START}features\.([1357])\.(?=\d)", shifted("stages.{}.blocks.", -1, 2)),
    (rf"{START}features\.([246])\.(?=[01]\.)", shifted("stages.{}.downsample.", 0, 2)),
    (r"\.block\.0\.", ".conv_dw."),
    (r"\.block\.2\.", ".norm."),
    (r"\.block\.3\.", ".mlp.fc1."),
    (r"\.block\.5\.", ".mlp.fc2."),
    (r"\.layer_scale$", ".gamma"),
    (rf"{START}classifier\.0\.", "head.norm."),
    (rf"{START}classifier\.2\.", "head.fc."),
)
SQUEEZE: tuple[Rename, ...] = (
    (r"\.block\.[12]\.fc1\.", ".se.conv_reduce."),
    (r"\.block\.[12]\.fc2\.", ".se.conv_expand."),
)
TORCHVISION_EFFICIENTNET: tuple[Rename, ...] = (
    (rf"{START}features\.0\.0\.", "conv_stem."),
    (rf"{START}features\.0\.1\.", "bn1."),
    (rf"{START}features\.8\.0\.", "conv_head."),
    (rf"{START}features\.8\.1\.", "bn2."),
    *SQUEEZE,
    # The first stage has no convolution that widens.
    (r"(features\.1\.\d+)\.block\.0\.0\.", r"\1.conv_dw."),
    (r"(features\.1\.\d+)\.block\.0\.1\.", r"\1.bn1."),
    (r"(features\.1\.\d+)\.block\.2\.0\.", r"\1.conv_pw."),
    (r"(features\.1\.\d+)\.block\.2\.1\.", r"\1.bn2."),
    (r"\.block\.0\.0\.", ".conv_pw."),
    (r"\.block\.0\.1\.", ".bn1."),
    (r"\.block\.1\.0\.", ".conv_dw."),
    (r"\.block\.1\.1\.", ".bn2."),
    (r"\.block\.3\.0\.", ".conv_pwl."),
    (r"\.block\.3\.1\.", ".bn3."),
    (rf"{START}features\.([1-7])\.", shifted("blocks.{}.", -1)),
)
DIALECTS: Mapping[str, tuple[Rename, ...]] = {
    "": (),
    SEQUENTIAL: PLACES,
    SHORTCUT: ((rf"{START}shortcut\.", "downsample."),),
    "Hugging Face's ResNet": HUGGING_FACE_RESNET,
    HUGGING_FACE: HUGGING_FACE_VIT,
    "torchvision's ViT": TORCHVISION_VIT,
    "torchvision's ConvNeXt": TORCHVISION_CONVNEXT,
    EFFICIENTNET: TORCHVISION_EFFICIENTNET,
}


def translate(state: State, renames: tuple[Rename, ...]) -> State:
    """The state under timm's names, tensors that timm has in one piece put together.

    Of two keys that would get one name, neither is renamed.
    """
    if not renames:
        return state
    names = {key: renamed(key, renames) for key in state}
    if len({*names.values()}) < len(names):
        return state
    found = {names[key]: value for key, value in state.items()}
    for key in [key for key in found if re.search(r"\.attn\.q\.(weight|bias)$", key)]:
        parts = [key.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        if all(part in found for part in parts):
            found[key.replace(".attn.q.", ".attn.qkv.")] = torch.cat([found.pop(p) for p in parts])
    return {k: v.flatten() if k.endswith(".gamma") else v for k, v in found.items()}


def renamed(key: str, renames: tuple[Rename, ...]) -> str:
    """A key after all replacements, one behind the other."""
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key
