"""Encoders of other projects load completely, with the features they had there, or not at all.

Each peer is built as its own code builds it, with random weights and running statistics.
"""

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from cl import checkpoints
from cl.checkpoints import formats
from cl.methods._teacher import TeacherMethod
from cl.nets import encoders
from cl.optim import Optimization

Peer = tuple[dict[str, Any], Callable[[Tensor], Tensor]]


def shaken(net: nn.Module, seed: int = 0) -> Any:
    """The same module with random statistics and affine weights, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            assert module.num_batches_tracked is not None
            module.num_batches_tracked.fill_(7)
    return net.eval()


def resnet(seed: int = 0, head: nn.Module | None = None) -> Any:
    torch.manual_seed(seed)
    net: Any = torchvision.models.resnet18(num_classes=10)
    if head is not None:
        net.fc = head
    return shaken(net, seed)


def without_fc(net: nn.Module) -> Any:
    net = copy.deepcopy(net)
    net.fc = nn.Identity()
    return net


def mlp(last: int = 8) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(512, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, last)
    )


def module(**parts: nn.Module) -> nn.Module:
    made = nn.Module()
    for name, part in parts.items():
        made.add_module(name, part)
    return made


def ddp(net: nn.Module) -> nn.Module:
    """Keys as DistributedDataParallel makes them."""
    return nn.DataParallel(net)


def of_torchvision() -> Peer:
    net = resnet()
    return net.state_dict(), without_fc(net)


def of_old_torch() -> Peer:
    net = resnet()
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    return state, without_fc(net)


def of_timm() -> Peer:
    net = shaken(timm.create_model("resnet18", num_classes=10))
    return net.state_dict(), without_fc(net)


def of_a_lightning_module() -> Peer:
    net = resnet()
    return {"state_dict": module(model=net).state_dict(), "epoch": 3}, without_fc(net)


def of_torch_compile() -> Peer:
    net = resnet()
    compiled: Any = torch.compile(ddp(net))
    return {"model_state_dict": compiled.state_dict()}, without_fc(net)


def of_solo_learn() -> Peer:
    net = resnet(0, nn.Identity())
    whole = module(
        backbone=net,
        classifier=nn.Linear(512, 10),
        projector=mlp(),
        momentum_backbone=resnet(1, nn.Identity()),
        momentum_projector=mlp(),
    )
    return {"state_dict": whole.state_dict(), "epoch": 3}, net


def of_compiled_backbone() -> Peer:
    net = resnet(0, nn.Identity())
    compiled: Any = torch.compile(net)
    return {"state_dict": module(backbone=compiled, classifier=mlp()).state_dict()}, net


def lightly(name: str) -> Any:
    return pytest.importorskip(f"lightly.models{name}", reason="lightly is not installed")


def of_lightly() -> Peer:
    backbone = nn.Sequential(*list(resnet().children())[:-1])
    head = lightly(".modules").SimCLRProjectionHead(512, 512, 128)
    whole = module(backbone=backbone, projection_head=head)
    return {"state_dict": whole.state_dict()}, lambda x: backbone(x).flatten(start_dim=1)


def of_lightly_moco() -> Peer:
    backbone = nn.Sequential(*list(resnet().children())[:-1])
    momentum = nn.Sequential(*list(resnet(1).children())[:-1])
    lightly(".utils").deactivate_requires_grad(momentum)
    whole = module(backbone=backbone, backbone_momentum=momentum)
    return whole.state_dict(), lambda x: backbone(x).flatten(start_dim=1)


def of_moco() -> Peer:
    net, other = resnet(), resnet(1)
    net.fc, other.fc = mlp(), mlp()
    whole = module(encoder_q=net, encoder_k=other)
    whole.register_buffer("queue", torch.zeros(8, 4))
    whole.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))
    state = {"epoch": 3, "arch": "resnet18", "state_dict": ddp(whole).state_dict()}
    return state, without_fc(net)


def of_moco_v3() -> Peer:
    net, other = resnet(0, mlp()), resnet(1, mlp())
    whole = module(base_encoder=net, momentum_encoder=other, predictor=nn.Linear(8, 8))
    return {"state_dict": ddp(whole).state_dict(), "arch": "resnet18"}, without_fc(net)


def of_simsiam() -> Peer:
    net = resnet(0, mlp())
    whole = module(encoder=net, predictor=nn.Linear(8, 8))
    return {"state_dict": ddp(whole).state_dict(), "arch": "resnet18"}, without_fc(net)


def of_barlow_twins() -> Peer:
    net = resnet(0, nn.Identity())
    whole = module(backbone=net, projector=mlp(), bn=nn.BatchNorm1d(8, affine=False))
    return {"epoch": 3, "model": ddp(whole).state_dict(), "optimizer": {"state": {}}}, net


class Padded(torchvision.models.ResNet):
    """As SwAV and VICReg have it: the stem's padding in two parts."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2])
        self.padding = nn.ConstantPad2d(1, 0.0)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=2, bias=False)
        self.fc = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.padding(x))


def of_vicreg() -> Peer:
    net = shaken(Padded())
    return {"epoch": 3, "model": ddp(module(backbone=net, projector=mlp())).state_dict()}, net


def of_vicreg_alone() -> Peer:
    net = shaken(Padded())
    return net.state_dict(), net


def of_swav() -> Peer:
    net = shaken(Padded())
    whole = copy.deepcopy(net)
    whole.add_module("projection_head", mlp())
    whole.add_module("prototypes", nn.Linear(8, 20, bias=False))
    return ddp(whole).state_dict(), net


def of_dino() -> Peer:
    student = module(backbone=resnet(1, nn.Identity()), head=mlp())
    teacher = module(backbone=resnet(0, nn.Identity()), head=mlp())
    state = {
        "student": ddp(student).state_dict(),
        "teacher": teacher.state_dict(),
        "args": argparse.Namespace(arch="resnet18", data_path="/data"),
    }
    return state, teacher.get_submodule("backbone")


def of_dino_alone() -> Peer:
    net = resnet(1, nn.Identity())
    return {"student": ddp(module(backbone=net, head=mlp())).state_dict()}, net


PEERS = {
    of_torchvision: "120 of 120 tensors, plain layout; left out: fc 2",
    of_old_torch: "100 of 120 tensors, plain layout; "
    "20 counts of batches, which the file lacks, are 0; left out: fc 2",
    of_timm: "120 of 120 tensors, plain layout; left out: fc 2",
    of_a_lightning_module: "120 of 120 tensors, plain layout; left out: fc 2",
    of_torch_compile: "120 of 120 tensors, plain layout; left out: fc 2",
    of_solo_learn: "120 of 120 tensors, solo-learn's layout; left out: classifier 2, projector 8, "
    "momentum_backbone 120, momentum_projector 8",
    of_compiled_backbone: "120 of 120 tensors, solo-learn's layout; left out: classifier 8",
    of_lightly: "120 of 120 tensors, lightly's layout; left out: projection_head 12",
    of_lightly_moco: "120 of 120 tensors, lightly's layout; left out: backbone_momentum 120",
    of_moco: "120 of 120 tensors, MoCo's layout; "
    "left out: queue 1, queue_ptr 1, encoder_k 128, encoder_q.fc 8",
    of_moco_v3: "120 of 120 tensors, MoCo v3's layout; "
    "left out: momentum_encoder 128, predictor 2, base_encoder.fc 8",
    of_simsiam: "120 of 120 tensors, SimSiam's layout; left out: predictor 2, encoder.fc 8",
    of_barlow_twins: "120 of 120 tensors, Barlow Twins' and VICReg's layout; "
    "left out: projector 8, bn 3",
    of_vicreg: "120 of 120 tensors, Barlow Twins' and VICReg's layout; left out: projector 8",
    of_vicreg_alone: "120 of 120 tensors, plain layout",
    of_swav: "120 of 120 tensors, SwAV's layout; left out: projection_head 8, prototypes 1",
    of_dino: "120 of 120 tensors, DINO's layout; left out: head 8, student 128",
    of_dino_alone: "120 of 120 tensors, DINO's layout; left out: head 8",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for all, of 90 MB at most."""
    return tmp_path_factory.mktemp("peers") / "peer.pth"


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.__name__)
def test_features_are_the_peers(peer: Callable[[], Peer], file: Path, images: Tensor) -> None:
    content, features = peer()
    torch.save(content, file)
    encoder = encoders.create("resnet18", 224).eval()
    report = checkpoints.load_weights(encoder, file)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), features(images), atol=1e-5, rtol=1e-5)
    assert str(report) == PEERS[peer]
    counts = encoder.get_buffer("bn1.num_batches_tracked")
    assert counts == (0 if peer is of_old_torch else 7)


def with_small_stem(padding: int) -> Any:
    net = resnet(0, nn.Identity())
    net.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=padding, bias=False)
    net.maxpool = nn.Identity()
    return net


GUESS = "; a guess: conv1 pads by 1, which no tensor tells (solo-learn's for CIFAR by 2)"


@pytest.mark.parametrize(
    ("beside", "padding", "said"),
    [
        ("projector", 2, "; conv1 pads by 2, as there; left out: classifier 2, projector 1"),
        ("momentum_backbone", 2, "; conv1 pads by 2, as there; left out: classifier 2, m"),
        ("head", 1, f"{GUESS}; left out: classifier 2, head 1"),
        ("", 1, f"{GUESS}; left out: classifier 2"),
    ],
)
def test_solo_learns_stem_for_small_images_pads_by_two(
    beside: str, padding: int, said: str, file: Path
) -> None:
    """Where the file is certainly solo-learn's; one with a classifier alone may be anybody's."""
    net = with_small_stem(padding)
    parts: dict[str, nn.Module] = {"backbone": net, "classifier": nn.Linear(512, 10)}
    if beside:
        parts[beside] = nn.Linear(512, 8, bias=False)
    torch.save({"state_dict": module(**parts).state_dict()}, file)
    encoder = encoders.create("resnet18", 32).eval()
    report = checkpoints.load_weights(encoder, file)
    assert str(report).startswith(f"120 of 120 tensors, solo-learn's layout{said}")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), net(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [32, 224])
def test_another_stem_leads_to_the_image_size(size: int, file: Path) -> None:
    torch.save((resnet() if size == 32 else with_small_stem(1)).state_dict(), file)
    with pytest.raises(
        ValueError, match=r"\(conv1.weight\); a ResNet's is 3x3 for an --image_size"
    ):
        checkpoints.load_weights(encoders.create("resnet18", size), file)


def test_lightlys_resnet_in_a_sequential_has_no_relu_and_is_refused(file: Path) -> None:
    net = lightly("").ResNetGenerator("resnet-18")
    backbone = nn.Sequential(*list(net.children())[:-1], nn.AdaptiveAvgPool2d(1))
    torch.save({"state_dict": module(backbone=backbone).state_dict()}, file)
    with pytest.raises(ValueError, match=r"lightly's layout\): .* missing .* not in the encoder"):
        checkpoints.load_weights(encoders.create("resnet18", 32), file)


def small() -> nn.Module:
    torch.manual_seed(2)
    return encoders.create("resnet6_w4", 32)


def of_small(prefix: str = "backbone.") -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {prefix + k: v for k, v in encoders.create("resnet6_w4", 32).state_dict().items()}


def changed(change: Callable[[dict[str, Tensor]], Any]) -> dict[str, Any]:
    state = of_small()
    change(state)
    return {"state_dict": state}


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


WRONG = {
    "a missing layer": (
        changed(lambda s: [s.pop(k) for k in list(s) if "stage2.1.conv.conv" in k]),
        r"a backbone's layout\): 1 missing \(stage2.1.conv.conv.weight\); in the file: ",
    ),
    "a layer more": (
        changed(lambda s: s.update({"backbone.stage3.weight": torch.zeros(1)})),
        r"a backbone's layout\): 1 not in the encoder \(stage3.weight\); in the file: ",
    ),
    "another width": (
        changed(lambda s: s.update({"backbone.stem.conv.weight": torch.zeros(8, 3, 4, 4)})),
        r"a backbone's layout\): 1 of other shape \(stem.conv.weight\); in the file: ",
    ),
    "one count of batches only": (
        changed(lambda s: s.pop("backbone.stem.norm.num_batches_tracked")),
        r"a backbone's layout\): 1 missing \(stem.norm.num_batches_tracked\); in the file: ",
    ),
    "another encoder": (
        torchvision.models.squeezenet1_0(num_classes=2).state_dict(),
        r"25 missing \(stage1.*, ...\); 50 not in the encoder \(features.*, ...\)"
        r"; in the file: features 50, classifier 2 \(features.0.weight, .*, ...\)$",
    ),
    "the same name twice": (
        of_small("") | of_small("module."),
        r"several encoders that fit \('\*', 'module.\*'\); save the one",
    ),
    "a teacher that does not fit, and a student that does": (
        {"teacher": changed(lambda s: s.popitem())["state_dict"], "student": of_small()},
        r"DINO's layout\): 1 missing",
    ),
    "an average that does not fit, and an encoder that does": (
        of_small("encoder.") | {"average.module.0.stem.conv.weight": torch.zeros(4, 3, 4, 4)},
        r"cl's \(average\) layout\): 24 missing",
    ),
    "no tensors": ({"state_dict": {}, "epoch": 3}, "holds no tensors by name"),
    "no names": ([torch.zeros(1)], "holds a list, not tensors by name"),
    "code": ({"state_dict": of_small(), "args": Evil()}, "as data: it would run print"),
    "code among DINO's arguments": (
        {"teacher": of_small(), "args": argparse.Namespace(arch=Evil())},
        "as data: it would run print",
    ),
    "a whole model": (small(), "as data: it would run cl.nets.resnet6.ResNet6"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_changes_nothing(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    content, said = WRONG[case]
    torch.save(content, tmp_path / "file.pth")
    refused(tmp_path / "file.pth", said)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["pth", "ckpt", "safetensors"])
@pytest.mark.parametrize("damage", ["empty", "half", "text"])
def test_damaged_files_are_named(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"file.{suffix}"
    if suffix == "safetensors":
        checkpoints.save_encoder(small(), path, {})
    else:
        torch.save(of_small(), path)
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "text": b"hello" * 9}[damage])
    if suffix == "safetensors":
        refused(path, r"file.safetensors is damaged: its sha256 differs from .*\.sha256$")
        checkpoints.sum_of(path).unlink()
    refused(path, rf"file.{suffix} cannot be read as data: damaged, or no file of weights$")
    if suffix == "safetensors":
        with pytest.raises(ValueError, match="damaged"):
            checkpoints.about_encoder(path)


def refused(path: Path, said: str) -> None:
    encoder = small()
    before = checkpoints.fingerprint(encoder)
    with pytest.raises(ValueError, match=said):
        checkpoints.load_weights(encoder, path)
    assert checkpoints.fingerprint(encoder) == before


def test_moco_v3s_small_vit_has_other_heads() -> None:
    key = "blocks.0.attn.qkv.weight"
    wanted, found = (
        {key: torch.zeros(1152, 384)},
        {f"module.base_encoder.{key}": torch.ones(1152, 384)},
    )
    with pytest.raises(ValueError, match="file: MoCo v3's ViT-S has 12 attention heads"):
        formats.match_layout(found, wanted, "file")
    wide = {k: torch.ones(2304, 768) for k in (key,)}
    state, report = formats.match_layout({f"module.base_encoder.{key}": wide[key]}, wide, "file")
    assert state[key] is wide[key]
    assert report.layout == "MoCo v3's"


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("features", ["target", "online", None])
def test_a_run_gives_what_it_evaluates(
    tmp_path: Path, average: float | None, features: str | None
) -> None:
    method = TeacherMethod(
        small(),
        lambda *_: torch.zeros(()),
        hidden_mlp=8,
        encoding_size=4,
        features=features or "target",
        classes=3,
        optimization=Optimization(),
        ema_encoder=average,
    )
    for parameter in method.state_dict().values():  # so that the three encoders differ
        if parameter.is_floating_point():
            parameter.copy_(torch.rand_like(parameter))
    torch.save({"state_dict": method.state_dict(), "epoch": 3}, tmp_path / "last.ckpt")
    if features:
        (tmp_path / "config.json").write_text(json.dumps({"version": 1, "features": features}))
    encoder = small()
    report = checkpoints.load_weights(encoder, tmp_path / "last.ckpt")
    assert checkpoints.fingerprint(encoder) == checkpoints.fingerprint(method.evaluated)
    whose = " (average)" if average else " (target)" * (features != "online")
    assert report.layout == f"cl's{whose}"
    assert report.mapped == len(encoder.state_dict())


def test_a_run_without_a_target_gives_its_encoder(tmp_path: Path) -> None:
    state = of_small("encoder.") | {"projector.0.weight": torch.zeros(1)}
    torch.save({"state_dict": state, formats.MARK: 1}, tmp_path / "last.ckpt")
    encoder = small()
    report = checkpoints.load_weights(encoder, tmp_path / "last.ckpt")
    assert str(report) == "30 of 30 tensors, cl's layout; left out: projector 1"
    assert all((v == state[f"encoder.{k}"]).all() for k, v in encoder.state_dict().items())


def test_a_run_whose_configuration_is_damaged_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": of_small("encoder.")}, tmp_path / "last.ckpt")
    (tmp_path / "config.json").write_text('{"features": ')
    refused(tmp_path / "last.ckpt", "config.json, which says what is used of")
