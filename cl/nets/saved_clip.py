"""CLIP as the package transformers saves it: both encoders, their tokenizer and preprocessor."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from cl.nets.transformer import folder_named


class SavedCLIP(nn.Module):
    """Images and texts to features of one width, as `Towers` has them.

    Args:
        model: a CLIPModel.
        subwords: its tokenizer, a fast one.
        processor: prepares its images.
    """

    def __init__(self, model: Any, subwords: Any, processor: Any) -> None:
        super().__init__()
        self.image, self.text = model.vision_model, model.text_model
        self.image_map, self.text_map = model.visual_projection, model.text_projection
        self.subwords, self.processor = subwords, processor
        self.num_features = int(model.config.projection_dim)
        self.longest = int(model.config.text_config.max_position_embeddings)

    def forward(self, x: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        if x.is_floating_point():
            return self.image_map(self.image(pixel_values=x).pooler_output)
        inside = x >= 0
        ids = x.masked_fill(~inside, self.subwords.pad_token_id or 0)
        found = self.text(input_ids=ids, attention_mask=inside.long())
        return self.text_map(found.pooler_output)

    def prepared(self, images: Sequence[np.ndarray]) -> Float[Tensor, "n 3 h w"]:
        """Images `(h w 3)` of bytes as the folder's preprocessor says."""
        said = {"return_tensors": "pt", "input_data_format": "channels_last"}
        return self.processor(images=list(images), **said)["pixel_values"]


def read_clip(name: str) -> SavedCLIP:
    """The CLIP of a folder.

    Args:
        name: `hf:FOLDER_OR_NAME`.

    Raises:
        ValueError: the package transformers is missing, or the folder has no whole CLIP.
    """
    if find_spec("transformers") is None:
        raise ValueError(f"ENCODER {name} needs the package transformers: pip install transformers")
    folder = folder_named(name, f"ENCODER {name}")
    config = read_saved("AutoConfig", folder, name)
    if type(config).__name__ != "CLIPConfig":
        raise ValueError(
            f"ENCODER {name}: it is a {config.model_type}; images are compared with texts by a "
            "CLIP that transformers has saved, or by a run of --method clip"
        )
    how = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
    model, report = read_saved("CLIPModel", folder, name, **how)
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"ENCODER {name}: {folder} lacks {len(missing)} weights, {missing[0]}")
    subwords = read_saved("AutoTokenizer", folder, name, use_fast=True)
    return SavedCLIP(model.eval(), subwords, read_saved("AutoImageProcessor", folder, name))


def read_saved(kind: str, folder: Path, name: str, **how: Any) -> Any:
    """What a class of transformers reads from a folder, as data and without a network.

    Args:
        kind: the class.
        folder: of a model.
        name: the encoder's, for messages.
        how: what else the class takes.

    Raises:
        ValueError: it is not there.
    """
    of: Any = getattr(import_module("transformers"), kind)
    try:
        return of.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **how)
    except (OSError, ImportError, KeyError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"ENCODER {name}: {folder} has no {kind}: {why}") from error
