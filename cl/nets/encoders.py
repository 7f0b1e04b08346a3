"""Encoders by name: every image backbone of timm, and `resnet6` of any width for small images."""

import copy
import inspect
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from cl.nets.norm import group_norm
from cl.nets.resnet6 import ResNet6

SMALL = 64  # px: up to here a stem that divides the side by four would throw the image away
STEMS = ("resnet", "vision_transformer")  # timm's families that `small_stem` and patches change
RESNET6 = re.compile(r"resnet6(?:_w([1-9]\d*))?")


def create(
    name: str,
    image_size: int,
    *,
    zero_init_residual: bool = False,
    norm: str = "batch",
    weights_follow: bool = False,
    channels: int = 3,
    stem: str | None = None,
    pretrained: bool = False,
) -> nn.Module:
    """The encoder of that name: `(n c h w)` images to `(n d)` features, d = `width` of it.

    Args:
        name: a timm model, `resnet6_wN` (width N; `resnet6` is width 32), or `package.module:Name`,
            a class or function without required arguments that makes a module.
        image_size: side of the images in pixels.
        zero_init_residual: the last norm of every residual branch starts at zero, so that each
            block starts as the identity (Goyal et al. 2017, https://arxiv.org/abs/1706.02677, 5.1).
        norm: `group` puts group norm in the place of every batch norm.
        weights_follow: weights are loaded into it, so that a tag of timm's may say which they are.
        channels: of the images, which the stem takes; an encoder of the user's own has its own.
        stem: `small` keeps the side (`small_stem`; a ViT gets 8 x 8 patches), `full` is as
            published; None is small up to 64 px.
        pretrained: with timm's weights, of the tag in the name or its first.

    Raises:
        ValueError: an unknown name, a tag of weights that are not loaded, weights that are not on
            this machine and cannot be fetched, or `zero_init_residual`, a `norm` or a `stem` for
            an encoder that has no such thing.
    """
    model_name, _, tag = name.partition(".") if ":" not in name else (name, "", "")
    if tag and not (weights_follow or pretrained):
        raise ValueError(
            f"ENCODER {name}: the tag .{tag} names pretrained weights, and weights are not loaded: "
            f"training starts from random ones. {model_name} is the encoder alone; main_linear.py "
            "evaluates a file of weights (--pretrained_feature_extractor), and --init_from timm "
            "starts from timm's."
        )
    wanted = {"--zero_init_residual": zero_init_residual, "--stem": stem is not None}
    small = has_small_stem(image_size, stem)
    model = build(name, image_size, channels, wanted, small=small, pretrained=pretrained)
    if norm == "group":
        if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
            raise ValueError(f"--norm group: {name} has no batch norm to put it in the place of")
        group_norm(model)
    return model


def has_small_stem(image_size: int, stem: str | None) -> bool:
    """Whether the stem is for small images, see `create`."""
    return image_size <= SMALL if stem is None else stem == "small"


def build(
    name: str,
    image_size: int,
    channels: int,
    wanted: Mapping[str, bool],
    *,
    small: bool,
    pretrained: bool,
) -> nn.Module:
    """`create` with the encoder's own norm.

    Args:
        name: see `create`.
        image_size: see `create`.
        channels: see `create`.
        wanted: flags that only families of timm's have, and whether they are given.
        small: the stem is.
        pretrained: see `create`.
    """
    ours = RESNET6.fullmatch(name)
    if ":" in name or ours:
        for flag, given in {**wanted, "--init_from timm": pretrained}.items():
            if given:
                raise ValueError(f"{flag} needs an encoder of timm's, such as resnet18, not {name}")
        return ResNet6(int(ours[1] or 32), channels) if ours else import_encoder(name)
    import timm  # a second, and not for ours

    check_name(name)
    family = timm.model_entrypoint(name).__module__.rpartition(".")[2]
    options = options_of_family(name, family, image_size, wanted, small=small)
    options |= {"num_classes": 0, "in_chans": channels}
    if pretrained:
        if small and family in STEMS:
            raise ValueError(f"--init_from timm: the weights of {name} need --stem full")
        return with_own_weights(name, options)
    model = timm.create_model(name, **options)
    if small:
        small_stem(model)
    return model


def options_of_family(
    name: str, family: str, image_size: int, wanted: Mapping[str, bool], *, small: bool
) -> dict[str, Any]:
    """What a family of timm's models takes besides; the rest as in `build`.

    Raises:
        ValueError: a flag is given that the family does not have.
    """
    if wanted["--zero_init_residual"] and family != "resnet":
        raise ValueError(f"--zero_init_residual needs a timm ResNet, not {name}")
    if wanted["--stem"] and family not in STEMS:
        raise ValueError(f"--stem needs a timm ResNet or ViT, not {name}")
    if family == "resnet":
        return {"zero_init_last": wanted["--zero_init_residual"]}
    if family != "vision_transformer":
        return {}
    # It is built for one size; small images get 8 x 8 patches.
    options = {"img_size": image_size, "dynamic_img_size": True, "dynamic_img_pad": True}
    return options | ({"patch_size": max(2, image_size // 8)} if small else {})


def with_own_weights(name: str, options: Mapping[str, Any]) -> nn.Module:
    """A model of timm's with its own weights, from this machine or fetched.

    Raises:
        ValueError: they are not here and cannot be fetched.
    """
    import timm

    try:
        return timm.create_model(name, pretrained=True, **options)
    except (OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"--init_from timm: the weights of {name} are not on this machine and cannot be "
            f"fetched; --init_from takes a file of them too ({reason})"
        ) from error


def check_name(name: str) -> None:
    """Check that timm has a model, and weights of its tag.

    Raises:
        ValueError: it has none.
    """
    import timm

    if not timm.is_model(name):
        near = ", ".join(get_close_matches(name, [*timm.list_models(), "resnet6_w16"], n=3))
        raise ValueError(f"ENCODER {name}: no such model; did you mean {near or 'resnet18'}?")
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise ValueError(f"ENCODER {name}: {error}") from error


def import_encoder(name: str) -> nn.Module:
    """The encoder that a class or function of the user's own makes.

    Args:
        name: `package.module:Name`.

    Raises:
        ValueError: there is no such thing, it needs arguments, or it makes no module.
    """
    module, _, thing = name.partition(":")
    try:
        make = getattr(import_module(module), thing)
        inspect.signature(make).bind()
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"ENCODER {name} cannot be made: {error}") from error
    encoder = make()
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"ENCODER {name} must make an nn.Module, not {type(encoder).__name__}")
    return encoder


def dtype_of(encoder: nn.Module) -> torch.dtype:
    """That of an encoder's first parameter, in which it takes images."""
    return next((p.dtype for p in encoder.parameters() if p.is_floating_point()), torch.float32)


def in_single(encoder: nn.Module) -> nn.Module:
    """The encoder; of one in double precision a copy in float32."""
    double = dtype_of(encoder) == torch.float64
    return copy.deepcopy(encoder).float() if double else encoder


def example_for(encoder: nn.Module, channels: int, size: int) -> Tensor:
    """Two black images `(2 c h w)` of an encoder's dtype, to measure its features by."""
    return torch.zeros(2, channels, size, size, dtype=dtype_of(encoder))


def width(encoder: nn.Module, example: Tensor | None = None) -> int:
    """Dimensions of an encoder's features.

    It is `head_hidden_size` or else `num_features` of the encoder, as timm's have it, or is
    measured. (`num_features` are those before the layer that the heads of some, such as
    MobileNetV3, GhostNet, LCNet and VGG, begin with, and which stays without the classifier.)

    Args:
        encoder: from a batch of views to `(n d)` features.
        example: a batch as the encoder takes it, which is encoded in evaluation mode if the
            encoder does not say its width; its mode and the random state are restored.

    Raises:
        ValueError: the encoder does not say its width and there is no example, or it cannot encode
            it, or its output is no tensor `(n d)`.
    """
    said = getattr(encoder, "head_hidden_size", None) or getattr(encoder, "num_features", None)
    if said is not None:
        return int(said)
    kind = type(encoder).__name__
    if example is None:
        raise ValueError(
            f"{kind} does not say the width of its features: set its attribute num_features, or "
            "give an example, a batch as it takes them"
        )
    try:
        features = encode(encoder, example)
    except Exception as error:
        raise ValueError(
            f"{kind} cannot encode a batch {tuple(example.shape)}: {error}; set its attribute "
            "num_features, or give an example, a batch as it takes them"
        ) from error
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise ValueError(f"{kind} must give one vector of features a sample, a tensor (n d)")
    return features.shape[1]


def encode(encoder: nn.Module, example: Tensor) -> Any:
    """What an encoder makes of a batch in evaluation mode; modes and random states stay.

    Args:
        encoder: on any device.
        example: is moved to the encoder's device, and values that are no tokens to its precision.
    """
    first = next(encoder.parameters(), None)
    if first is not None:
        floats = example.is_floating_point() and first.is_floating_point()
        example = example.to(first.device, first.dtype if floats else None)
    training = [m for m in encoder.modules() if m.training]
    try:
        with torch.no_grad(), torch.random.fork_rng([example.device] if example.is_cuda else []):
            return encoder.eval()(example)
    finally:
        for module in training:
            module.training = True


def check_sizes(encoder: nn.Module, sizes: Iterable[int], channels: int) -> None:
    """Check that an encoder takes images of these sizes, by black ones.

    Args:
        encoder: of images.
        sizes: sides in pixels.
        channels: of the images.

    Raises:
        ValueError: it does not.
    """
    for size in dict.fromkeys(sizes):
        try:
            encode(encoder, torch.zeros(2, channels, size, size))
        except Exception as error:
            made_for = getattr(encoder, "pretrained_cfg", {}).get("input_size", (None,))[-1]
            use = f"; timm's is made for {made_for} px, see --image_size" if made_for else ""
            raise ValueError(
                f"the encoder ({type(encoder).__name__}) cannot take images of {size} px: "
                f"{' '.join(str(error).split())}{use}"
            ) from error


def small_stem(model: nn.Module) -> None:
    """Change a ResNet's stem for small images as SimCLR does (B.9): 3x3, stride 1, no max-pool."""
    from timm.models.resnet import ResNet

    if not isinstance(model, ResNet):
        return
    first = model.conv1[0] if isinstance(model.conv1, nn.Sequential) else model.conv1
    assert isinstance(first, nn.Conv2d)
    small = nn.Conv2d(first.in_channels, first.out_channels, 3, 1, padding=1, bias=False)
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    if isinstance(model.conv1, nn.Sequential):
        model.conv1[0] = small
    else:
        model.conv1 = small
    model.maxpool = nn.Identity()


def stem_of(model: nn.Module) -> str:
    """The stem in words, for the table at the start of a run."""
    small = isinstance(getattr(model, "maxpool", None), nn.Identity)
    return "3x3 at stride 1, no max-pool" if small else "its own"
