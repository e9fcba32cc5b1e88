"""One network with its compiled step, for one run at a time."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import torch

from dupekit.api import Model, PluginError, Progress, TrainTask, stage
from dupekit_torch.device import description, give_back_memory, peak_memory_mib
from dupekit_torch.fit.descent import Descent
from dupekit_torch.fit.loss import compiled, from_maps, from_pixels, image_weights, loss_function
from dupekit_torch.fit.schedule import HEAD_PACE, Schedule, schedule, smoothing, with_muon
from dupekit_torch.fit.step import Step
from dupekit_torch.fit.training import Fitted, Training, fit
from dupekit_torch.network.classifier import build, draws
from dupekit_torch.options import Options
from dupekit_torch.pixels.augment import Augmentation
from dupekit_torch.pixels.batches import Batch, TrainingSet
from dupekit_torch.pixels.source import Resident
from dupekit_torch.shared import Shared


def schedule_of(task: TrainTask[Options]) -> Schedule:
    """Raises PluginError for a run without images."""
    if not len(task.rows):
        raise PluginError(f"The run {task.name} has no images to train on.")
    return schedule(len(task.rows), task.options, pool=len(task.pool))


class Lane:
    """Trains runs one after the other, with so many threads; on CUDA in a stream of its own. First it is compiled."""

    def __init__(self, shared: Shared, *, threads: int) -> None:
        self.shared, self.threads = shared, threads
        network = build(shared.spec, seed=0).to(shared.device)
        network.to(memory_format=torch.channels_last)  # 1.1 to 1.5 times as fast on CPU
        if shared.views is None:
            logits = from_pixels(network, shared.input, shared.device)
        else:
            logits = from_maps(network, shared.views, shared.device)
        loss = loss_function(
            logits,
            device=shared.device,
            smoothing=smoothing(shared.options),
            autocast=shared.autocast,
            trust=shared.options.trust,
        )
        on_gpu = shared.device.type == "cuda"
        descent = Descent(
            network,
            weight_decay=shared.options.weight_decay,
            muon=with_muon(shared.options),
            products=torch.bfloat16 if on_gpu and shared.autocast else torch.float32,
            new=network.beginning_anew,
            faster=HEAD_PACE if shared.options.pretrained else 1.0,
        )
        self.step = Step(network, loss, descent, shared.device)
        self.compiled: bool | None = None
        self.compile_seconds = 0.0
        self.stream: torch.cuda.Stream | None = None
        if on_gpu:
            self.stream = torch.cuda.Stream(shared.device)  # type: ignore[no-untyped-call]
            torch.cuda.synchronize(shared.device)  # pixels and weights were put there in another one

    def compile(self, batch: int, progress: Progress) -> None:
        """Compiles the step, and on CUDA captures it, once for all runs; where that fails, it stays as it is.

        Nothing may train beside it.
        """
        if self.compiled is not None:
            return
        began = time.monotonic()
        wanted, faster = self.shared.options.compile, None
        on_gpu = self.shared.device.type == "cuda"
        # On CPU compiling takes a minute and gains nothing.
        if wanted == "on" or (wanted == "auto" and on_gpu):
            with (
                stage(progress, "compiling"),
                self._entered(),
            ):  # what is compiled for another number of threads is compiled again
                trial = Batch.trial(self.shared.source, batch)
                faster = compiled(self.step.loss, trial, required=wanted == "on")
                self.step.loss = faster or self.step.loss
                # A graph would draw the same random numbers whatever the seed.
                if on_gpu and not draws(self.step.network):
                    self.step.capture(trial)
        self.compiled = faster is not None
        self.compile_seconds = round(time.monotonic() - began, 3)

    def run(self, task: TrainTask[Options], progress: Progress) -> Model:
        """One training, exported to "model.onnx" in the task's folder.

        Raises PluginError where it cannot be done, JobError where it is cancelled.
        """
        with self._entered():
            training = self._training(task)
            fitted = fit(self.step, training, reset=lambda: self._reset(task.seed), progress=progress)
            notes = self._notes(training.schedule, fitted)
            model = Model(task.workdir / "model.onnx", "onnx", task.classes, self.shared.input, notes)
            with stage(progress, "exporting"):
                self.shared.exporter.write(self.step.network, model, check=self.shared.check)
            if not self.step.captured:  # whose memory is the graph's, and stays
                give_back_memory(self.shared.device)
            return model

    @contextlib.contextmanager
    def _entered(self) -> Iterator[None]:
        """Threads and stream of the calling thread are the lane's while it lasts."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext():
                yield
        finally:
            torch.set_num_threads(before)

    def _training(self, task: TrainTask[Options]) -> Training:
        options, source = self.shared.options, self.shared.source
        there = source.index_device
        labels = torch.tensor(task.labels, dtype=torch.int64)
        images = TrainingSet(
            source,
            torch.tensor(task.rows, device=there),
            labels.to(there),
            image_weights(labels, options.class_balance, task.weights).to(there),
            torch.tensor(task.pool.log_sizes()[task.rows], device=there),
        )
        shown = Augmentation(self.shared.symmetries, options.shift_px)
        return Training(images, schedule_of(task), shown, task.seed)

    def _reset(self, seed: int) -> None:
        """The parameters of a new network, put into the one that is there (and perhaps compiled and captured)."""
        self.step.network.load_state_dict(build(self.shared.spec, seed=seed).state_dict())

    def _notes(self, schedule: Schedule, fitted: Fitted) -> dict[str, Any]:
        shared = self.shared
        return {
            "epochs": schedule.epochs,
            "batch_size": schedule.batch,
            "micro_batch": math.ceil(schedule.batch / fitted.parts),
            "steps": schedule.steps,
            "learning_rate": schedule.learning_rate,
            "loss": fitted.loss,
            "training_seconds": round(fitted.seconds, 3),
            "images_per_second": round(schedule.steps * schedule.batch / max(fitted.seconds, 1e-9), 1),
            "parameters": sum(p.numel() for p in self.step.network.parameters()),
            "image_size": shared.input.size_px,
            "channels": shared.input.channels,
            "pixels": "resident" if isinstance(shared.source, Resident) else "stream",
            "trained_from": shared.spec.train_from,
            "frozen_views": None if shared.views is None else len(shared.views),
            "device": description(shared.device),
            "precision": "bfloat16" if shared.autocast else "float32",
            "compiled": self.compiled,
            "captured": self.step.captured,
            "compile_seconds": self.compile_seconds,
            "memory_mib": round(peak_memory_mib(shared.device)),
            "torch": torch.__version__,
        }
