"""Samples per second, part of the card's bf16 rate: ours, a bare loop, lightly's pipeline."""

import os
import time

from benchmarks.gpu.experiment import Case, Rate, bare, lightlys, ours, quiet
from benchmarks.gpu.part import Given, Table, given

CASES = (
    Case("CIFAR-10 size, ResNet-18, batch 512", "resnet18", 32, 512, 50_000),
    Case("224 px, ResNet-50, batch 256", "resnet50", 224, 256, 12_800),
    Case("224 px, ViT-S/16, batch 256", "vit_small_patch16_224", 224, 256, 12_800),
)
TINY = (
    Case("32 px, resnet6_w8, batch 64", "resnet6_w8", 32, 64, 640),
    Case("32 px, ViT-Ti, batch 4", "vit_tiny_patch16_224", 32, 4, 40),
)
EACH, SETUP = 3, 14.0  # implementations that share a case's seconds, and what each needs to start


def measure(table: Table, g: Given, case: Case, seconds: float) -> None:
    """A row for each implementation of one case."""
    warm = 2 if g.rehearse else 10
    rate = Rate(seconds, g.device)
    rate.clock.warm = warm
    ours(case, g.out / "throughput", [rate], g.rehearse)
    found = {"ours": rate.images, "bare loop, views given": bare(case, seconds, g.device, warm)}
    workers = 0 if g.rehearse else os.cpu_count() or 1
    peer = lightlys(case, seconds, g.device, workers, 2 if g.rehearse else workers)
    if peer:
        found["lightly's pipeline"] = peer
    else:
        table.note("lightly is not installed")
    ceiling = g.known("machine").get("bf16", 0.0)
    flops = case.flops()
    for who, images in found.items():
        share = f"{100 * images * flops / 1e12 / ceiling:.1f} %" if ceiling else "-"
        table.row(case.name, who, f"{images:,.0f}", share, f"{found['ours'] / images:.2f}")
    table.value(case.encoder, found["ours"])


def main() -> None:
    g = given()
    quiet()
    table = g.table(
        "SimCLR, two views, bf16, from memory: samples per second; the part of the bf16 matrix "
        "product's rate (3 forwards of the encoder); ours over each",
        *("case", "whose", "samples/s", "of the ceiling", "ours is times"),
    )
    cases = TINY if g.rehearse else CASES
    end = time.perf_counter() + g.seconds
    for i, case in enumerate(cases):
        left = end - time.perf_counter()
        seconds = max(0.5, min(8.0, left / (len(cases) - i) / EACH - SETUP))
        measure(table, g, case, seconds)


if __name__ == "__main__":
    main()
