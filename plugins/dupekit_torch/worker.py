"""What all trainings of one process share: pixels, network, compiled step, exporter."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from dupekit.api import Model, PixelInput, PluginError, Progress, Rows, TrainTask, UsageError
from dupekit_nets import pretrained
from dupekit_nets.pretrained import TORCHVISION
from dupekit_torch import data, memory, schedule, training
from dupekit_torch.augment import Augmentation
from dupekit_torch.batches import Data
from dupekit_torch.export import Exporter
from dupekit_torch.loss import class_weights, compiled, loss_function
from dupekit_torch.meter import Together
from dupekit_torch.models import Classifier, Spec, build, draws, stem_shape
from dupekit_torch.options import COMPACT, Options
from dupekit_torch.symmetries import symmetries
from dupekit_torch.whitening import whitening

log = logging.getLogger("dupekit.torch")

CHECKED_IMAGES = 4
"""So many training images are predicted by network and file, to see that they agree."""

MOST_AT_ONCE = 4
"""Runs side by side on CPU; each then has a quarter of the cores, also where it is the last one left."""

Key = tuple[Options, tuple[str, ...], str, str, str]


def key_of(task: TrainTask[Options]) -> Key:
    """Equal for tasks that can share a worker."""
    digests = hashlib.sha256("".join(task.pool.digests).encode()).hexdigest()
    return task.options, task.classes, task.device, str(task.cache.folder), digests


def device_named(name: str) -> torch.device:
    """Raises UsageError for a device that is not there, or is not one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (number and not number.isdecimal())):
        raise UsageError(f"There is no device {name!r}; valid are auto, cpu, cuda and cuda:N.")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise UsageError(
                f"The device {name} is not there: PyTorch {torch.__version__} sees {count} CUDA devices.",
                hint="Use --device cpu, or see that the driver and PyTorch's CUDA version fit.",
            )
        return torch.device("cuda", int(number) if number else torch.cuda.current_device())
    return torch.device("cpu")


class Worker:
    """Trains any number of runs of one round on one device."""

    def __init__(self, task: TrainTask[Options], progress: Progress) -> None:
        self.options: Options = task.options
        self.device = device_named(task.device)
        if not len(task.pool):
            raise PluginError("There are no images to train on.")
        self.input, rows = self._prepare_pixels(task, progress)
        self.source = data.source(rows, self.device, self.options.pixels)
        self.spec = self._spec(task, rows)
        self.symmetries = symmetries(flips=self.options.flips, rotations=self.options.rotations)
        self.autocast = _bfloat16(self.device, self.options.precision)
        self.threads, self.at_once = _shares(self.device, self.options.runs_at_once)
        self.lanes = [Lane(self)]
        if draws(self.lanes[0].model):  # from the process's random state, which two cannot share
            self.at_once = 1
        self._exporter: Exporter | None = None
        self._exporting = threading.Lock()

    def run(self, task: TrainTask[Options], progress: Progress) -> Model:
        """One training, exported to "model.onnx" in the task's folder."""
        with training.repeatable():
            return self.lanes[0].run(task, progress)

    def run_many(self, tasks: Sequence[TrainTask[Options]], progress: Progress) -> Iterator[Model]:
        """All these trainings, as many at once as fill the device; the models in the tasks' order.

        Small convolutions do not split well between cores: two runs of one thread did 1.13 times the images a
        second of one run of two threads (median of 3 on plankton at 48 pixels, from 0.99 to 1.40).
        """
        for task in tasks:
            _require_images(task)
        together = Together(progress, [self._looks(task) for task in tasks])
        count = min(self.at_once, len(tasks))
        with training.repeatable():
            if count == 1:
                for position, task in enumerate(tasks):
                    yield self.lanes[0].run(task, together.part(position))
            else:
                yield from self._run_at_once(tasks, together, count)

    def _run_at_once(
        self, tasks: Sequence[TrainTask[Options]], together: Together, count: int
    ) -> Iterator[Model]:
        while len(self.lanes) < count:
            self.lanes.append(Lane(self))
        self._exporter_there()  # torch's exporter and compiler bear no training beside them
        for lane in self.lanes[:count]:
            lane.stand_alone()
            lane.compile(self.plan(tasks[0]).batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # pixels and weights were put there in another stream
        free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        for lane in self.lanes[:count]:
            free.put(lane)

        def train(position: int) -> Model:
            lane = free.get()
            try:
                return lane.run(tasks[position], together.part(position))
            finally:
                free.put(lane)

        with ThreadPoolExecutor(count) as pool:
            waiting = [pool.submit(train, position) for position in range(len(tasks))]
            try:
                for future in waiting:
                    yield future.result()
            finally:
                together.stop()
                pool.shutdown(wait=True, cancel_futures=True)

    def export(self, network: Classifier, model: Model, check: tuple[Tensor, ...]) -> None:
        """Writes a trained network's file; one at a time, since all share one exported graph."""
        weights = {name: value.cpu() for name, value in network.state_dict().items()}
        with self._exporting:
            self._exporter_there().write(weights, model, check=check)

    def _exporter_there(self) -> Exporter:
        if self._exporter is None:
            self._exporter = Exporter(self.spec, self.symmetries[: self.options.tta_views or 2])
        return self._exporter

    def plan(self, task: TrainTask[Options]) -> schedule.Plan:
        return schedule.plan(len(task.rows), self.options, pool=len(task.pool))

    def _looks(self, task: TrainTask[Options]) -> int:
        plan = self.plan(task)
        return plan.images * plan.epochs

    def _prepare_pixels(self, task: TrainTask[Options], progress: Progress) -> tuple[PixelInput, Rows]:
        options, pool = self.options, task.pool
        channels = options.channels or (1 if data.is_grey(pool, task.cache) else 3)
        # On plankton of median 65, 64 pixels cost 1.6 times as much as 48 and gained 1.9 points; so many more epochs gained
        # 1.3. Networks of torchvision shrink images 32 times before they look at the whole.
        low, high = (32, 48) if options.model == COMPACT else (96, 224)
        size_px = options.image_size or data.typical_size(pool, low=low, high=high)
        rows = task.cache.pixels(pool, size_px=size_px, channels=channels, fit=options.fit, progress=progress)
        mean, std = data.mean_and_std(rows)
        if options.pretrained:  # what those weights were trained with
            name = options.model.removeprefix(TORCHVISION)
            mean, std = pretrained.mean_and_std(name, channels=channels)
        # Of images that are all of one size the size says nothing.
        log_size = options.log_size and bool((pool.sizes != pool.sizes[0]).any())
        return PixelInput(size_px, channels, mean, std, options.fit, log_size), rows

    def _spec(self, task: TrainTask[Options], rows: Rows) -> Spec:
        log_mean = log_std = None
        if self.input.log_size:
            sizes = task.pool.log_sizes().astype(np.float64)
            width, height = sizes.mean(0).tolist()
            log_mean = (width, height)
            width, height = np.maximum(sizes.std(0), 0.05).tolist()
            log_std = (width, height)
        return Spec(
            model=self.options.model,
            pretrained=self.options.pretrained,
            width=self.options.width,
            size_px=self.input.size_px,
            channels=self.input.channels,
            classes=len(task.classes),
            log_mean=log_mean,
            log_std=log_std,
            stem=self._stem(rows) if self.options.model == COMPACT else None,
        )

    def _stem(self, rows: Rows) -> Tensor:
        side, stride = stem_shape(self.input.size_px)
        return whitening(data.standardised_sample(rows, self.input), side=side, stride=stride)


class Lane:
    """One network with its step, compiled once, for one run at a time."""

    def __init__(self, shared: Worker) -> None:
        self.shared = shared
        self.model = build(shared.spec, seed=0).to(shared.device)
        self.model.to(memory_format=torch.channels_last)  # 1.1 to 1.5 times as fast on CPU
        self.loss = loss_function(
            self.model,
            mean=torch.tensor(shared.input.mean, device=shared.device),
            std=torch.tensor(shared.input.std, device=shared.device),
            smoothing=shared.options.label_smoothing,
            autocast=shared.autocast,
        )
        self.compiled: bool | None = None
        self.compile_seconds = 0.0
        self.parts = 1
        self.stream: torch.cuda.Stream | None = None

    def stand_alone(self) -> None:
        """On CUDA: from now on other lanes compute at the same time."""
        if self.shared.device.type == "cuda" and self.stream is None:
            self.stream = torch.cuda.Stream(self.shared.device)  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def _entered(self) -> Iterator[None]:
        """Threads and stream of the calling thread are the lane's while it lasts."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.shared.threads)
        try:
            with torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext():
                yield
        finally:
            torch.set_num_threads(before)

    def run(self, task: TrainTask[Options], progress: Progress) -> Model:
        """As `Worker.run`."""
        with self._entered():
            return self._run(task, progress)

    def compile(self, batch: int) -> None:
        """Compiles the step, once for all runs; where that fails, it stays as it is."""
        if self.compiled is None:
            began = time.monotonic()
            with self._entered():  # what is compiled for another number of threads is compiled again
                self.compiled = self._compile(batch)
            self.compile_seconds = round(time.monotonic() - began, 3)

    def _compile(self, batch: int) -> bool:
        wanted = self.shared.options.compile
        if wanted == "off" or (wanted == "auto" and self.shared.device.type != "cuda"):
            return False  # on CPU compiling takes a minute and gains nothing
        self.loss, worked = compiled(self.loss, self._trial(batch), required=wanted == "on")
        return worked

    def _trial(self, batch: int) -> tuple[Tensor, ...]:
        """Inputs of a step, of the right shapes."""
        device = self.shared.device
        rows = torch.zeros(batch, dtype=torch.int64, device=self.shared.source.index_device)
        ((pixels,),) = self.shared.source.batches([(rows,)])

        def whole(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=device)

        sizes, weights = torch.ones(batch, 2, device=device), torch.ones(batch, device=device)
        return pixels, whole(batch), whole(batch, 2), sizes, whole(batch), weights

    def _run(self, task: TrainTask[Options], progress: Progress) -> Model:
        shared, options = self.shared, self.shared.options
        run_data = self._data(task)
        plan = shared.plan(task)
        self.compile(plan.batch)
        fitted = training.fit(
            self.model,
            self.loss,
            run_data,
            plan,
            augmentation=Augmentation(shared.symmetries, options.shift_px),
            weight_decay=options.weight_decay,
            seed=task.seed,
            reset=lambda: self._reset(task.seed),
            progress=progress,
            device=shared.device,
            parts=self.parts,
            draws=draws(self.model),
        )
        self.parts = fitted.parts
        notes = {
            "epochs": plan.epochs,
            "batch_size": plan.batch,
            "micro_batch": math.ceil(plan.batch / fitted.parts),
            "steps": plan.steps,
            "learning_rate": plan.learning_rate,
            "loss": fitted.loss,
            "training_seconds": round(fitted.seconds, 3),
            "images_per_second": round(plan.steps * plan.batch / max(fitted.seconds, 1e-9), 1),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "image_size": shared.input.size_px,
            "channels": shared.input.channels,
            "pixels": "resident" if isinstance(shared.source, data.Resident) else "stream",
            "device": _describe(shared.device),
            "precision": "bfloat16" if shared.autocast else "float32",
            "compiled": self.compiled,
            "compile_seconds": self.compile_seconds,
            "memory_mib": round(memory.peak_memory_mib(shared.device)),
            "torch": torch.__version__,
        }
        model = Model(task.workdir / "model.onnx", "onnx", task.classes, shared.input, notes)
        self._export(model, run_data, progress)
        memory.give_back_memory(shared.device)
        return model

    def _reset(self, seed: int) -> None:
        """The parameters of a new network, put into the one that is there (and perhaps compiled)."""
        self.model.load_state_dict(build(self.shared.spec, seed=seed).state_dict())

    def _data(self, task: TrainTask[Options]) -> Data:
        _require_images(task)
        device = self.shared.source.index_device
        labels = torch.from_numpy(task.labels.astype(np.int64))
        weights = class_weights(labels, len(task.classes), self.shared.options.class_balance)
        if task.weights is not None:
            weights = weights * torch.from_numpy(task.weights)
        return Data(
            self.shared.source,
            torch.from_numpy(task.rows).to(device),
            labels.to(device),
            weights.to(device),
            torch.from_numpy(task.pool.take(task.rows).log_sizes()).to(device),
        )

    def _export(self, model: Model, run_data: Data, progress: Progress) -> None:
        progress("exporting", 0, 1)
        shared = self.shared
        ((pixels,),) = shared.source.batches([(run_data.rows[:CHECKED_IMAGES],)])
        mean, std = torch.tensor(shared.input.mean), torch.tensor(shared.input.std)
        standard = ((pixels.cpu().float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
        sizes = (run_data.sizes[:CHECKED_IMAGES].cpu(),) if shared.input.log_size else ()
        shared.export(self.model, model, (standard, *sizes))
        progress("exporting", 1, 1)


def _shares(device: torch.device, wanted: int) -> tuple[int, int]:
    """Threads of a run and how many runs go on at once.

    The threads follow from the machine and the option alone, not from how many runs there are to do: sums
    of another number of threads differ in their last digits, and the same job must give the same votes.
    """
    cores = torch.get_num_threads()
    if device.type == "cuda":
        return cores, wanted or 1  # more have not been measured yet
    at_once = wanted or min(MOST_AT_ONCE, cores)
    return max(1, cores // at_once), at_once


def _require_images(task: TrainTask[Options]) -> None:
    if not len(task.rows):
        raise PluginError(f"The run {task.name} has no images to train on.")


def _bfloat16(device: torch.device, choice: str) -> bool:
    if choice != "auto":
        return choice == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # On processors with such instructions twice as fast at equal accuracy; emulated on others.
    has = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask is not None and ask() for ask in has)


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
