"""Writes docs/exactness.md: every loss and method on 1 to 4 processes. `make exactness` runs it.

`python docs/exactness.py pairs` writes its part on texts and captions anew, and nothing else.
"""

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' machinery is not installed

import torch

from tests.distributed import exactness, pairs
from tests.distributed.exactness import BOUNDS, SHARDS, Found, Steps

PAGE = Path(__file__).with_name("exactness.md")
HEAD = """# Exact on any number of devices

`make exactness` writes this page. Real gloo processes share a batch of {samples} samples, evenly
and unevenly; each computes its part as a training step does (embeddings gathered, own rows as
anchors, means weighted by the number of samples), and gradients are averaged as DDP does. Methods
run under DDP with a small ResNet, BatchNorm over all processes, some samples without a label, and
their online probe. A cell has the relative error of the value and that of the gradient of all
parameters (a learnable temperature's included) against one process that has the whole batch, in the
norm of the right one, or absolute where that norm is below 1. `tests/distributed/test_exact.py`
bounds the same numbers at every commit for two and three processes: 1e-10 in float64, 1e-5 in
float32.

torch {torch}, x86-64, one thread a process. Shards: {shards}.
"""
PAIRS = """
## Texts, and images with captions: float64, every error at most {bound:g}

{samples} pairs of which some share a document or a caption, also across processes; MNRL's have two
hard negatives each, and CoSENT's and AnglE's pairs have scores. Encoders are the bag of n-grams,
a transformer, its low-rank updates, and CLIP's two towers, whose temperature is learned.
`tests/distributed/test_pairs.py` bounds the same numbers at every commit for three processes.
Shards: {shards}.

"""
HOW = """
## How

- `gather` hands every process the embeddings of all; its backward sums what all processes know of a
  sample's gradient. DDP's mean over processes of the gradients of local means is then the gradient
  of the global mean, and no loss or method contains the number of processes.
- Shards of different sizes are gathered padded and cut; a process's mean is weighted by its part of
  the samples (`distributed.share`), the probe's by its part of the labeled ones.
- Barlow Twins and VICReg take the gathered batch, so mean, variance and covariance are global.
- BatchNorm is over the samples of all processes (`cl/nets/norm.py`; on GPUs torch's kernels, which
  refuse a CPU). With `--no-sync_batchnorm` each device has statistics of its own, and the numbers
  depend on how many there are.
- A step's samples, views and learning rate are functions of seed and step, not of the devices:
  `tests/end_to_end/test_devices.py` trains one run on one and on two processes and compares loss,
  probe, kNN and weights.
- `--mini_batch_size` (gradient caching): rows "at a time". Without BatchNorm chunks change nothing.
  With it they do by nature: by default every chunk is normalized by its own statistics, as a batch
  of that size would be (over all devices); `--mini_batch_norm frozen` normalizes by the running
  ones; `--norm group` has none. The heads always see the whole batch.

## What it costs

`python benchmarks/devices.py`: two gloo processes of one thread each, float32, 2 cores of an EPYC
(Zen 3), torch 2.14, medians. ResNet-18 with 16 samples of two 32-pixel views a process (n = 5 x 3
steps): a step of 1.97 s by itself takes 1.03 x that as one run with each process's own BatchNorm,
and 1.22 x with BatchNorm over both, which exchanges twice for each of 20 layers. ResNet-6 of width
32 with 64 samples (n = 7 x 5 steps), 0.14 s by itself: 1.3 x and 1.6 x.

`python benchmarks/gradient_caching.py`: one step of 4,096 samples, ResNet-18 with its ImageNet
stem, 32-pixel views, float32, the same machine, n = 1: whole 4.06 GB and 31 s, 1,024 at a time
1.47 GB and 37 s, 256 at a time 0.60 GB and 35 s.

## Peers

Two-view batch of 16 samples, float64, gloo, two CPU cores; gradient on W processes against one:
cosine and ratio of the norms, 1 and 1 being right. Measured with the releases of autumn 2026.

| | W = 2 | W = 4 |
|---|---|---|
| lightly 1.6.0 Barlow Twins | .920, .997 | .571, 1.349 |
| solo-learn Barlow Twins | .920, .498 | .571, .337 |
| stable-pretraining Barlow Twins | .878, 1.207 | .255, 4.04 |
| lightly DCLW | .99999, 1.0001 | .9999, .9997 |
| GradCache's distributed loss; open_clip with its default flags | 1, .5 | 1, .25 |
| open_clip --local-loss alone | .953, .637 | .953, .637 |
| lightly NT-Xent, DCL, VICReg (`gather_distributed=True`; it is off by default) | 1, 1 | 1, 1 |
| solo-learn SimCLR, SupCon, VICReg, SimSiam | 1, 1 | 1, 1 |
| every loss of `cl` | 1, 1 | 1, 1 |

On uneven shards lightly's NT-Xent raises an error. Nobody else has DHEL and KCL on several devices.
"""


def table(found: dict[str, Found], names: list[str], bound: float) -> str:
    """A row for each name, a column for each sharding but "1", which has the right numbers."""
    one, many = found["1"], [k for k in found if k != "1"]
    text = f"| value, gradient | {' | '.join(many)} |\n|---|{'---|' * len(many)}\n"
    for name in names:
        errors = [exactness.error(found[k][name], one[name]) for k in many]
        cells = (f"{value:.0e}, {gradient:.0e}" for value, gradient in errors)
        text += f"| {name} | {' | '.join(cells).replace('0e+00', '0')} |\n"
        if max(max(pair) for pair in errors) > bound:
            sys.exit(f"{name}: {errors}, more than {bound}")
    return text


def computed(shards: dict[str, list[int]], steps: Steps) -> dict[str, dict[str, Any]]:
    """What each sharding found, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            k: exactness.computed(sizes, Path(folder, f"{k}.pt"), steps)
            for k, sizes in shards.items()
        }


def listed(shards: dict[str, list[int]]) -> str:
    """The samples of each process, in words."""
    return "; ".join(f"{k} {sizes}" for k, sizes in shards.items() if k != "1")


def of_pairs() -> str:
    """The part on texts and captions."""
    found, bound = computed(pairs.SHARDS, pairs.steps), BOUNDS["64"]
    text = PAIRS.format(bound=bound, samples=pairs.SAMPLES, shards=listed(pairs.SHARDS))
    return text + table(found, [*found["1"]], bound)


def page() -> str:
    """The whole text."""
    text = HEAD.format(samples=exactness.SAMPLES, torch=torch.__version__, shards=listed(SHARDS))
    found = computed(SHARDS, exactness.everything)
    for bits, bound in BOUNDS.items():
        text += f"\n## float{bits}: every error at most {bound:g}\n\n"
        of_bits = {k: each[bits] for k, each in found.items()}
        text += table(of_bits, exactness.names(), bound)
    return text + of_pairs() + HOW


def with_pairs(text: str) -> str:
    """The page as it is, with its part on texts and captions anew."""
    part = of_pairs()
    return re.sub(r"\n(## Texts.*)?## How\n", lambda _: f"{part}\n## How\n", text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(with_pairs(PAGE.read_text()) if sys.argv[1:] == ["pairs"] else page())
