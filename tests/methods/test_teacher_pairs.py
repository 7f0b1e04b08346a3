"""A teacher embeds all full-size views of a sample, also where their tensors differ in size."""

import torch
from torch import nn

from cl.methods.byol import BYOL


class Mean(nn.Module):
    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.table(x.clamp(min=0)).mean(dim=1)


def test_the_document_of_a_pair_is_a_target_too() -> None:
    torch.manual_seed(0)
    method = BYOL(Mean(), hidden_mlp=8, encoding_size=4, pred_hidden_mlp=8)
    views = [torch.randint(9, (1, 6, 3)), torch.randint(9, (2, 6, 5))]
    method.embed(views)
    expected = [method.teacher.module[0](x) for x in (views[0][0], views[1][0])]
    assert torch.equal(method.targets[0], torch.stack(expected))


def test_small_views_are_no_targets() -> None:
    method = BYOL(Mean(), hidden_mlp=8, encoding_size=4, pred_hidden_mlp=8)
    method.embed([torch.randint(9, (2, 6, 3)), torch.randint(9, (3, 6, 2))])
    assert len(method.targets[0]) == 2
