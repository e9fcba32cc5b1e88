"""One training as a good user writes it today: torchvision's ImageFolder and a DataLoader with workers.

    python benchmarks/plain_training.py DATASET --network compact --size 48 --epochs 15 --batch 32

Trains on a random half and predicts the other; prints one JSON line. `--network compact` is dupekit's network, with its
optimisers and schedule; `--network resnet18` is torchvision's, with AdamW, pretrained where its weights are at hand.
With `--until ACCURACY` it looks at the held-out half after every epoch and ends when that is reached, or with
`--budget-s` spent. Used by train_vs_plain.py.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from dupekit_torch import Options
from dupekit_torch.fit.descent import Descent
from dupekit_torch.fit.schedule import one_cycle
from dupekit_torch.network.classifier import Spec, build
from dupekit_torch.network.stem import whitening_filters

WEIGHT_DECAY = {"compact": Options().weight_decay, "resnet18": 0.05}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--network", choices=["compact", "resnet18"], required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--channels", type=int, choices=[1, 3], default=1)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--rate", type=float, default=8e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", type=float, default=2.0)
    parser.add_argument("--budget-s", type=float, default=float("inf"))
    a = parser.parse_args()
    began = time.perf_counter()
    torch.manual_seed(a.seed)
    common = [*([transforms.Grayscale()] if a.channels == 1 else []), transforms.Resize((a.size, a.size))]
    tail = [transforms.ToTensor(), transforms.Normalize([0.5] * a.channels, [0.25] * a.channels)]
    flips = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()]
    train_set = ImageFolder(a.dataset, transforms.Compose([*common, *flips, *tail]))
    test_set = ImageFolder(a.dataset, transforms.Compose([*common, *tail]))
    order = torch.randperm(len(train_set), generator=torch.Generator().manual_seed(a.seed)).tolist()
    half = len(order) // 2
    workers = len(os.sched_getaffinity(0))
    options = {
        "batch_size": a.batch,
        "num_workers": workers,
        "persistent_workers": True,
        "pin_memory": a.device != "cpu",
    }
    train = DataLoader(Subset(train_set, order[:half]), shuffle=True, drop_last=True, **options)
    test = DataLoader(Subset(test_set, order[half:]), **options)
    network, pretrained = make(
        a.network, Subset(test_set, order[:1024]), a.size, a.channels, len(train_set.classes), a.seed
    )
    network = network.to(a.device).to(memory_format=torch.channels_last)
    descent = Descent(network, weight_decay=WEIGHT_DECAY[a.network], muon=a.network == "compact")
    step, steps = 0, a.epochs * len(train)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)
    half_precision = a.device != "cpu"
    accuracy, epoch = 0.0, 0
    for epoch in range(1, a.epochs + 1):
        network.train()
        for pixels, labels in train:
            pixels, labels = pixels.to(a.device, non_blocking=True), labels.to(a.device, non_blocking=True)
            with torch.autocast("cuda", torch.bfloat16, enabled=half_precision):
                loss = loss_of(network(pixels), labels)
            loss.backward()
            descent.step(a.rate * one_cycle(step, steps))
            step += 1
        spent = time.perf_counter() - began
        if a.until <= 1 or epoch == a.epochs or spent > a.budget_s:
            accuracy = test_accuracy(network, test, a.device, half_precision)
            if accuracy >= a.until or spent > a.budget_s:
                break
    seconds = time.perf_counter() - began
    print(json.dumps({"accuracy": accuracy, "epochs": epoch, "seconds": seconds, "pretrained": pretrained}))


def make(
    name: str, some: Iterable[tuple[Tensor, int]], size: int, channels: int, classes: int, seed: int
) -> tuple[nn.Module, bool]:
    if name == "compact":  # dupekit's own network
        stem = whitening_filters(pixels for pixels, _ in some)
        spec = Spec(model=name, size_px=size, channels=channels, classes=classes, stem=stem)
        return build(spec, seed=seed), False
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    network = torchvision.models.resnet18(weights=weights if file.is_file() else None)
    network.fc = nn.Linear(network.fc.in_features, classes)
    return network, file.is_file()


@torch.no_grad()
def test_accuracy(network: nn.Module, test: DataLoader[object], device: str, half_precision: bool) -> float:
    network.eval()
    right = total = 0
    for pixels, labels in test:
        with torch.autocast("cuda", torch.bfloat16, enabled=half_precision):
            found = network(pixels.to(device)).argmax(1).cpu()
        right += int((found == labels).sum())
        total += len(labels)
    return right / total


if __name__ == "__main__":
    main()
