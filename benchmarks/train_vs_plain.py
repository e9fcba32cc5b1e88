"""dupekit's round of trainings against what its users do today, in one run on one machine.

    python benchmarks/train_vs_plain.py DATASET [--repeats 3] [--epochs 23] [--pairs 1] [--budget-min 10]
    python benchmarks/train_vs_plain.py DATASET --device cuda --pairs 10
    python benchmarks/train_vs_plain.py DATASET --only a --precision float32   # where bfloat16 is there as well

(a) The same network, epochs, image size and batch: `dupekit train --trainer torch` (start, cache, trainings, ONNX, all
held-out predictions, ledger), against `plain_training.py`, a process a training; and against the bare forward and backward
passes of the same batches on random tensors in memory, in the same precision, eager. On a GPU dupekit compiles its step,
once a worker: take all ten pairs there, or that alone is what is measured; and it may well be faster than eager passes.
(b) torchvision's ResNet-18 at 224 pixels, trained until it reaches the held-out accuracy of dupekit's default trainer for
the device, or until the budget is spent: then the ratio is a lower bound.

A round is 20 trainings. Few are measured; what stands for 20 is multiplied, and labelled "extrapolated".
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from reporting import cuda, forget_what_was_compiled, machine, show

HERE = Path(__file__).parent
ROUND = 20
TRIAL_STEPS = 200
"""So many steps say which way of doing the bare passes is the faster; that one is then measured whole."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=23)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--budget-min", type=float, default=10.0)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto", help="of (a)")
    parser.add_argument("--only", choices=["a", "b"], default="")
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        bare(json.loads(arguments.bare))
        return
    print(machine(cuda(arguments.device) if arguments.device != "cpu" else ""), flush=True)
    if arguments.only != "b":
        same_network(arguments)
    if arguments.only != "a":
        as_today(arguments)


def same_network(a: argparse.Namespace) -> None:
    rows: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)

    for repeat in range(a.repeats):
        ours = our_round(a, a.pairs, repeat, "--trainer", "torch", *settings(a))
        notes = ours["notes"]
        runs = 2 * a.pairs
        passes = json.loads(
            python(__file__, a.dataset, "--device", a.device, "--bare", json.dumps({**notes, "runs": runs}))
        )
        plain = plain_training(
            a, "compact", notes["image_size"], a.epochs, notes["batch_size"],
            "--channels", notes["channels"], "--rate", notes["learning_rate"], "--seed", repeat + 1,
        )  # fmt: skip
        note(f"dupekit, {runs} runs, s", ours["seconds"])
        note("  of it training, s of all lanes", ours["training"])
        note("  of it predicting, s", ours["predicting"])
        for way, seconds in passes["trials"].items():
            note(f"bare passes, eager, {way}, s (extrapolated from {TRIAL_STEPS} steps)", seconds)
        note(f"bare passes of {runs} runs, eager, the faster way, s", passes["seconds"])
        note("dupekit / bare passes, eager", ours["seconds"] / passes["seconds"])
        note("plain script, 1 run, s", plain["seconds"])
        note(f"plain script, {runs} runs, s (extrapolated)", runs * plain["seconds"])
        note("plain script / dupekit", runs * plain["seconds"] / ours["seconds"])
        note("held-out accuracy, dupekit", ours["agreement"])
        note("held-out accuracy, plain", plain["accuracy"])
        note("floor: operations / matrix throughput, s", passes["floor"])
        print(f"repeat {repeat + 1}: {ours['seconds'] / passes['seconds']:.2f} of the bare passes, eager, {passes['way']}",
              flush=True)  # fmt: skip
    title = (
        f"(a) the same network, {a.epochs} epochs, {notes['image_size']} px, batches of {notes['batch_size']},"
        f" dupekit in {notes['precision']}, {'compiled' if notes.get('compiled') else 'eager'}"
    )
    show(title, rows)


def settings(a: argparse.Namespace) -> list[str]:
    """What makes dupekit train and predict as the plain script does: images stretched to the square and mirrored, and each
    predicted once."""
    same = {"log_size": "false", "rotations": "false", "fit": "stretch", "tta_views": 1}
    chosen = {**same, "epochs": a.epochs, "precision": a.precision}
    return [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]


def as_today(a: argparse.Namespace) -> None:
    trainer = "torch" if a.device.startswith("cuda") else "probe"
    ours = our_round(a, ROUND // 2, 0, "--trainer", trainer)
    plain = plain_training(
        a, "resnet18", 224, 90, 64 if trainer == "probe" else 256,
        "--channels", 3, "--rate", 1e-3, "--until", ours["agreement"], "--budget-s", 60 * a.budget_min,
    )  # fmt: skip
    reached = plain["accuracy"] >= ours["agreement"]
    whole = ROUND * plain["seconds"]
    print(f"\n(b) ResNet-18 at 224 px, {'pretrained' if plain['pretrained'] else 'from scratch'}; n = 1")
    print(
        f"dupekit's round of {ROUND} ({trainer}): {ours['seconds']:.1f} s, held-out accuracy {ours['agreement']:.3f}"
    )
    print(
        f"one plain training: {plain['seconds']:.0f} s, {plain['epochs']} epochs, held-out accuracy"
        f" {plain['accuracy']:.3f}{'' if reached else ': not reached within the budget'}"
    )
    print(
        f"{ROUND} plain trainings: {whole:.0f} s (extrapolated), {'' if reached else 'more than '}"
        f"{whole / ours['seconds']:.0f} times dupekit's round"
    )


def our_round(a: argparse.Namespace, pairs: int, seed: int, *options: str) -> dict[str, Any]:
    """`dupekit train` on a fresh project, timed as a process; scanning is not in it."""
    with tempfile.TemporaryDirectory() as place:
        forget_what_was_compiled(Path(place) / "compiled")
        python("-m", "dupekit", "init", a.dataset, "-p", place)
        began = time.perf_counter()
        python(
            "-m",
            "dupekit",
            "train",
            "-p",
            place,
            "--pairs",
            pairs,
            "--seed",
            seed,
            "--device",
            a.device,
            *options,
        )
        seconds = time.perf_counter() - began
        results = [json.loads(f.read_text()) for f in Path(place).glob("rounds/01/runs/*/result.json")]
    if len(results) != 2 * pairs or any(result["status"] != "done" for result in results):
        raise SystemExit(f"trainings failed: {[r['error'] for r in results if r['status'] != 'done']}")
    notes = results[0]["notes"]
    return {
        "seconds": seconds,
        "training": sum(r["notes"].get("training_seconds", 0.0) for r in results),
        "predicting": sum(r["seconds_predicting"] for r in results),
        "agreement": statistics.mean(r["agreement"] for r in results),
        "notes": {**notes, "images": results[0]["images_trained"], "classes": len(list(a.dataset.iterdir()))},
    }


def plain_training(
    a: argparse.Namespace, network: str, size: int, epochs: int, batch: int, *more: object
) -> Any:
    began = time.perf_counter()
    result = json.loads(
        python(
            HERE / "plain_training.py",
            a.dataset,
            "--network",
            network,
            "--size",
            size,
            "--epochs",
            epochs,
            "--batch",
            batch,
            "--device",
            a.device,
            *more,
        )
    )
    return {**result, "seconds": time.perf_counter() - began}  # the whole process, as a user waits for it


def bare(notes: dict[str, Any]) -> None:
    """Forward and backward passes of as many batches as the runs have, and nothing else."""
    import torch
    from torch.nn import functional
    from torch.utils.flop_counter import FlopCounterMode

    from dupekit_torch.network.classifier import Spec, build
    from dupekit_torch.network.stem import whitening_filters

    device = torch.device("cuda" if notes["device"] != "cpu" else "cpu")
    autocast = notes["precision"] == "bfloat16"
    batch, size, channels = notes["batch_size"], notes["image_size"], notes["channels"]
    stem = whitening_filters(torch.randn(16, channels, size, size))
    spec = Spec(model="compact", size_px=size, channels=channels, classes=notes["classes"], stem=stem)
    steps = notes["steps"]

    def passes(count: int, threads: int) -> None:
        torch.set_num_threads(threads)
        network = build(spec, seed=0).to(device).to(memory_format=torch.channels_last).train()
        pixels = torch.randn(batch, channels, size, size, device=device).to(memory_format=torch.channels_last)
        labels = torch.randint(0, notes["classes"], (batch,), device=device)
        for _ in range(count):
            with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                logits = network(pixels)
            functional.cross_entropy(logits.float(), labels).backward()
            network.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def timed(lanes: int, threads: int, count: int) -> float:
        began = time.perf_counter()
        each = [threading.Thread(target=passes, args=(count // lanes, threads)) for _ in range(lanes)]
        for thread in each:
            thread.start()
        for thread in each:
            thread.join()
        return time.perf_counter() - began

    cores = torch.get_num_threads()
    passes(3, cores)
    with FlopCounterMode(display=False) as counter:
        passes(1, cores)
    operations = counter.get_total_flops() * steps * notes["runs"]
    floor = operations / matrix_throughput(device, torch.bfloat16 if autocast else torch.float32)
    ways = {"in turn": (1, cores)}
    if device.type == "cpu" and cores > 1:
        ways["side by side"] = (min(4, cores), max(1, cores // min(4, cores)))
    trials = {name: timed(*way, TRIAL_STEPS) for name, way in ways.items()}
    faster = min(trials, key=lambda name: trials[name])
    whole = timed(*ways[faster], steps * notes["runs"])
    scale = steps * notes["runs"] / TRIAL_STEPS
    print(
        json.dumps(
            {
                "seconds": whole,
                "way": faster,
                "floor": floor,
                "trials": {name: seconds * scale for name, seconds in trials.items()},
            }
        )
    )


def matrix_throughput(device: Any, dtype: Any) -> float:
    """Operations a second of a large square matrix product: the best of five."""
    import torch

    size = 8192 if device.type == "cuda" else 2048
    left = torch.randn(size, size, device=device).to(dtype)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        left @ left
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def python(*command: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
