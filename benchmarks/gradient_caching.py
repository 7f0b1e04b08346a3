"""Memory and time of a step with a large batch, whole and by mini-batches.

    python benchmarks/gradient_caching.py [--batch_size 4096] [--mini_batch_size 128 ...]
    python benchmarks/gradient_caching.py --encoder minilm --batch_size 2048 --mini_batch_size 64

SimCLR, float32: one forward and backward in a process of its own for each size, whose largest
resident memory beyond model and batch the kernel tells. Of images: NT-Xent with a model of timm, by
default ResNet-18 with its ImageNet stem, on made 32-pixel images. Of texts (`bag_wN`, or `minilm`
re-initialized and without dropout): MNRL on pairs of made texts of `--tokens` tokens, and how far
the gradients are from those of the whole batch, in the norm of these, all parameters together.
Those of images differ by nature, since BatchNorm's statistics are of a mini-batch.
"""

import argparse
import multiprocessing
import tempfile
import time
from functools import partial
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from cl.data.batch import Batch
from cl.losses.mnrl import mnrl
from cl.losses.nt_xent import nt_xent
from cl.methods.simclr import SimCLR
from cl.nets import texts


def memory(line: str) -> float:
    """Resident memory of this process in GB: now (VmRSS), or the most so far (VmHWM)."""
    status = Path("/proc/self/status").read_text().split(f"{line}:")[1]
    return int(status.split()[0]) * 1024 / 1e9


def of_images(given: argparse.Namespace) -> tuple[SimCLR, list[Tensor]]:
    """A method, and two views of every image."""
    encoder = timm.create_model(given.encoder, num_classes=0)
    method = SimCLR(encoder, nt_xent, classes=10, mini_batch_size=given.chunk)
    return method, [torch.randn(2, given.batch_size, 3, 32, 32)]


def of_texts(given: argparse.Namespace) -> tuple[SimCLR, list[Tensor]]:
    """A method, and queries and documents, the next ones a little shorter than those before."""
    encoder = texts.encoder_of(given.encoder)
    if given.layers:
        layers = encoder.get_submodule("model.encoder")
        layers.layer = nn.ModuleList([*layers.get_submodule("layer").children()][: given.layers])
    encoder.eval()
    loss = partial(mnrl, temperature=0.05)
    views = torch.randint(1000, 30000, (2, 1, given.batch_size, given.tokens))
    lengths = given.tokens - torch.arange(given.batch_size) % (given.tokens // 4)
    views[..., torch.arange(given.tokens) >= lengths[:, None]] = -1
    return SimCLR(encoder, loss, hidden_mlp=0, mini_batch_size=given.chunk), [*views]


def step(given: argparse.Namespace, file: Path) -> None:
    """One training step; prints its line, and writes the gradients of a text's encoder."""
    torch.manual_seed(0)
    made = of_texts if is_text(given.encoder) else of_images
    method, views = made(given)
    n = given.batch_size
    labels = torch.arange(n) if is_text(given.encoder) else torch.arange(n) % 10
    batch = Batch(views, labels, torch.arange(n), 2)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    before, start, used = memory("VmRSS"), time.perf_counter(), time.process_time()
    loss = method.training_step(batch, 0)["loss"]
    loss.backward()
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    what = f"{given.chunk} at a time" if given.chunk else "whole"
    line = f"batch {n:6}  {what:16} {memory('VmHWM') - before:6.2f} GB  {seconds:6.1f} s"
    print(f"{line} {cpu:6.1f} CPU s{difference(method, file)}", flush=True)


def difference(method: SimCLR, file: Path) -> str:
    """How far gradients are from those of the file, which is written where it is not there."""
    gradient = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])
    if not file.exists():
        torch.save(gradient, file)
        return ""
    whole = torch.load(file)
    return f"  gradients differ by {(gradient - whole).norm() / whole.norm():.0e}"


def is_text(encoder: str) -> bool:
    return encoder.startswith("bag_") or encoder == "minilm"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--batch_size", type=int, default=4096)
    parser.add_argument("--mini_batch_size", type=int, nargs="*", default=[1024, 256, 64])
    parser.add_argument("--tokens", type=int, default=64, help="of a text")
    parser.add_argument("--layers", type=int, help="of minilm; without: all")
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {given.encoder}, 2 views")
    with tempfile.TemporaryDirectory() as folder:
        for chunk in (None, *given.mini_batch_size):
            given.chunk = chunk
            process = multiprocessing.get_context("spawn").Process(
                target=step, args=(given, Path(folder, "gradient.pt"))
            )
            process.start()
            process.join()


if __name__ == "__main__":
    main()
