"""The probe's whole round against one plain pass of its backbone over the same images.

    python benchmarks/probe.py DATASET [--repeats 3] [--pairs 10]

"plain" is what anybody would write: a process that opens the backbone's ONNX file with onnxruntime, decodes each
image with Pillow, scales it to 224 x 224 and runs batches of 8 (on these two cores the fastest). "round" is `dupekit train --trainer probe` on a
fresh project: features, 2 x pairs heads, their ONNX files, all held-out predictions, the ledger. Both are timed as
processes, in turns, on the same machine; ratios are of neighbours. Scanning is not in it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reporting import machine, show

PLAIN = """
import sys, pathlib, numpy as np, onnxruntime
from PIL import Image
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
files = sorted(p for p in pathlib.Path(sys.argv[2]).rglob("*") if p.is_file())
features = []
for start in range(0, len(files), 8):
    batch = np.stack([np.asarray(Image.open(f).convert("RGB").resize((224, 224))) for f in files[start:start + 8]])
    pixels = (batch.transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128
    features.append(session.run(None, {"pixels": pixels})[0])
print(len(np.concatenate(features)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=10)
    arguments = parser.parse_args()
    plain, whole = [], []
    with tempfile.TemporaryDirectory() as place:
        for repeat in range(arguments.repeats + 1):
            project = Path(place) / f"project-{repeat}"
            timed(sys.executable, "-m", "dupekit", "init", arguments.dataset, "-p", project)
            train = (
                "train",
                "-p",
                project,
                "--trainer",
                "probe",
                "--device",
                "cpu",
                "--pairs",
                arguments.pairs,
            )
            seconds = timed(sys.executable, "-m", "dupekit", *train)
            (backbone,) = (project / "cache" / "backbones").glob("*.onnx")
            cores = len(os.sched_getaffinity(0))
            pass_seconds = timed(sys.executable, "-c", PLAIN, backbone, arguments.dataset, cores)
            if repeat:  # the first one warms the disk's cache up
                whole.append(seconds)
                plain.append(pass_seconds)
                print(
                    f"plain {pass_seconds:.1f} s, round {seconds:.1f} s, ratio {seconds / pass_seconds:.2f}"
                )
    ratios = [a / b for a, b in zip(whole, plain, strict=True)]
    show(machine(), {"plain pass, s": plain, "round, s": whole, "round / plain pass": ratios})


def timed(*command: object) -> float:
    started = time.perf_counter()
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
