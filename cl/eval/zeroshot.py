"""Zero-shot classification by prompts (CLIP 3.1, https://arxiv.org/abs/2103.00020)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cl.bounds import Template
from cl.eval._result import EvalResult, TestFeatures, score

BLOCK = 4096  # images at a time


def zeroshot(
    test: TestFeatures,
    names: Sequence[str],
    embed: Callable[[Sequence[str]], Float[Tensor, "p d"]],
    *,
    prompt: tuple[Template, ...] = ("a photo of a {}.",),
) -> EvalResult:
    """Each test image gets the class whose prompts it is most alike, by cosine; nothing is learned.

    A class is the normalized mean of the normalized features of its prompts.

    Args:
        test: features `(m d)` and labels `(m)` of the images; those without a label (below 0) do
            not count.
        names: of the c classes.
        embed: texts to their features, in the space of the images'.
        prompt: texts about a class, of which `{}` is the name; several are averaged

    Returns:
        Top-k accuracies, see `score`.

    Raises:
        ValueError: no image has a label, or there is one class only.
    """
    texts = [each.replace("{}", name) for name in names for each in prompt]
    prompts = F.normalize(embed(texts).double(), dim=1)
    classes = F.normalize(prompts.view(len(names), len(prompt), -1).mean(dim=1), dim=1)
    blocks = [F.normalize(h.double(), dim=1) @ classes.T for h in test[0].split(BLOCK)]
    how = {"similarity": "cosine", "prompts": list(prompt)}
    return score(torch.cat(blocks), test[1], how=how)
