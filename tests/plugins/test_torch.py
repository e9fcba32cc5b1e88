"""The torch trainer: learning, repeating itself, exporting, and what it does when something is wrong."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from dupekit.api import Images, Model, PredictTask, TrainTask, read_metadata, silent
from dupekit.dataset.cache import Cache
from dupekit.errors import OptionError, PluginError, UsageError
from dupekit.files.write import digest_file
from dupekit.plugin.registry import options_for

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from dupekit_torch import (  # noqa: E402
    Options,
    TorchTrainer,
    augment,
    batches,
    data,
    memory,
    models,
    muon,
    schedule,
    worker,
)
from dupekit_torch.descent import Descent  # noqa: E402
from dupekit_torch.export import run_onnx  # noqa: E402
from dupekit_torch.loss import class_weights, compiled  # noqa: E402
from dupekit_torch.symmetries import symmetries  # noqa: E402
from dupekit_torch.whitening import whitening  # noqa: E402

CLASSES = ("dim", "middle", "bright")
# Few steps: a high learning rate lets the network and its running statistics settle in them.
SMALL = Options(width=8, image_size=16, epochs=10, batch_size=4, learning_rate=0.01, runs_at_once=1)


@dataclass
class Dataset:
    pool: Images
    labels: np.ndarray
    cache: Cache
    folder: Path

    def task(
        self, rows: Any = slice(None), *, name: str = "p01-a", seed: int = 1, **changes: Any
    ) -> TrainTask:
        workdir = self.folder / "runs" / f"{name}-{seed}-{len(list(self.folder.glob('runs/*')))}"
        workdir.mkdir(parents=True)
        at = np.arange(len(self.pool))[rows]
        task = TrainTask(
            name,
            self.pool,
            at,
            self.labels[at],
            CLASSES,
            seed,
            "cpu",
            workdir,
            self.cache,
            SMALL,
        )
        return replace(task, **changes)


def make(folder: Path, *, per_class: int, colour: bool = False, same_size: bool = False) -> Dataset:
    """Squares that differ in brightness, on grey, of various sizes."""
    rng = np.random.default_rng(5)
    paths, sizes, labels = [], [], []
    for label, name in enumerate(CLASSES):
        (folder / "data" / name).mkdir(parents=True)
        for number in range(per_class):
            width, height = (20, 20) if same_size else rng.integers(14, 30, 2).tolist()
            pixels = rng.integers(0, 40, (height, width, 3) if colour else (height, width))
            pixels[3:-3, 3:-3] += 40 + 80 * label
            path = f"{name}/{number}.png"
            PillowImage.fromarray(pixels.astype(np.uint8)).save(folder / "data" / path)
            paths.append(path)
            sizes.append((width, height))
            labels.append(label)
    digests = [digest_file(folder / "data" / path) for path in paths]
    pool = Images(folder / "data", paths, digests, np.array(sizes, np.int32))
    return Dataset(pool, np.array(labels, np.int32), Cache(folder / "cache"), folder)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("grey"), per_class=40)


@pytest.fixture
def few(tmp_path: Path) -> Dataset:
    return make(tmp_path, per_class=4)


@dataclass
class NoExport:
    """In the place of the exporter, which takes seconds: keeps the weights of each run."""

    spec: models.Spec
    codes: Sequence[int]
    saved: list[Mapping[str, Any]] = field(default_factory=list)

    def write(self, weights: Mapping[str, Any], model: Model, *, check: Any) -> None:
        self.saved.append({name: value.clone() for name, value in weights.items()})


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "Exporter", NoExport)


def weights_of(trainer: TorchTrainer) -> list[Mapping[str, Any]]:
    return trainer._worker._exporter.saved  # type: ignore[union-attr, return-value]


def equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def inputs(dataset: Dataset, rows: Any, model: Model) -> tuple[Any, ...]:
    """What a validator would feed, made from the documentation of `Input`."""
    read = model.input
    some = dataset.pool.take(np.arange(len(dataset.pool))[rows])
    pixels = dataset.cache.pixels(some, size_px=read.size_px, channels=read.channels, fit=read.fit)[:]
    standard = (pixels / 255 - np.array(read.mean)) / np.array(read.std)
    made = [torch.from_numpy(np.ascontiguousarray(standard.transpose(0, 3, 1, 2), dtype=np.float32))]
    if read.log_size:
        made.append(torch.from_numpy(np.log(some.sizes).astype(np.float32)))
    return tuple(made)


@dataclass
class Session:
    """Two runs that shared a worker, and what its network said right after each."""

    trainer: TorchTrainer
    models: list[Model]
    torch_says: list[np.ndarray]
    calls: list[tuple[str, int, int, dict[str, float]]]


@pytest.fixture(scope="module")
def session(dataset: Dataset) -> Session:
    trainer = TorchTrainer()
    made = Session(trainer, [], [], [])

    def progress(stage: str, done: int, total: int, /, **figures: float) -> None:
        made.calls.append((stage, done, total, figures))

    progress.cancelled = False  # type: ignore[attr-defined]
    tasks = [
        dataset.task(slice(0, None, 2), seed=1),
        dataset.task(slice(1, None, 2), name="p01-b", seed=2),
    ]
    for model in trainer.train_many(tasks, progress):
        network = trainer._worker.lanes[0].model.eval()  # type: ignore[union-attr]
        with torch.no_grad():
            pixels, *sizes = inputs(dataset, slice(None), model)
            logits = (network(pixels, *sizes) + network(pixels.flip(3), *sizes)) / 2
        made.models.append(model)
        made.torch_says.append(logits.softmax(1).numpy())
    return made


def test_learns_easy_classes(dataset: Dataset, session: Session) -> None:
    for model, held_out in zip(session.models, (slice(1, None, 2), slice(0, None, 2)), strict=True):
        found = run_onnx(model.path.read_bytes(), inputs(dataset, held_out, model))
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
        assert (found.argmax(1) == dataset.labels[held_out]).mean() > 0.9


@pytest.mark.parametrize("run", [0, 1], ids=["exported", "weights exchanged"])
def test_onnx_gives_the_same_probabilities_as_torch(dataset: Dataset, session: Session, run: int) -> None:
    model = session.models[run]
    found = run_onnx(model.path.read_bytes(), inputs(dataset, slice(None), model))
    np.testing.assert_allclose(found, session.torch_says[run], atol=1e-3)
    assert np.abs(found - session.torch_says[1 - run]).max() > 1e-2  # the runs are not one and the same


def test_what_training_shows_alike_is_predicted_alike(few: Dataset) -> None:
    """With all eight views no mirror and no turn changes a prediction; with one each does."""
    found = {}
    for views in (1, 8):
        model = TorchTrainer().train(few.task(options=replace(SMALL, tta_views=views)), silent)
        pixels, *sizes = inputs(few, slice(None), model)
        seen = [pixels, pixels.flip(3), pixels.flip(2), pixels.transpose(2, 3).contiguous()]
        found[views] = [run_onnx(model.path.read_bytes(), (each, *sizes)) for each in seen]
        assert len(found[views][0]) == len(few.pool)
    for mirrored in found[8][1:]:
        np.testing.assert_allclose(mirrored, found[8][0], atol=1e-5)
    assert np.abs(found[1][1] - found[1][0]).max() > 1e-3
    assert np.abs(found[8][0] - found[1][0]).max() < 0.2  # the same network, and each image keeps its place


def test_file_stands_alone_and_says_what_it_reads(dataset: Dataset, session: Session) -> None:
    model = session.models[1]
    assert [path.name for path in model.path.parent.iterdir()] == ["model.onnx"]
    content = onnx.load(model.path)
    onnx.checker.check_model(content)
    assert not any(tensor.external_data for tensor in content.graph.initializer)
    assert [entry.name for entry in content.graph.input] == ["pixels", "log_size"]
    assert str(Path(torch.__file__).parent).encode() not in model.path.read_bytes()
    assert read_metadata({p.key: p.value for p in content.metadata_props}) == (CLASSES, model.input)
    assert model.input.channels == 1
    for count in (1, 7):
        assert run_onnx(model.path.read_bytes(), inputs(dataset, slice(count), model)).shape == (count, 3)


def test_one_by_one_gives_the_same_models_as_many(dataset: Dataset, session: Session) -> None:
    trainer = TorchTrainer()
    second = trainer.train(dataset.task(slice(1, None, 2), name="p01-b", seed=2), silent)
    assert second.path.read_bytes() == session.models[1].path.read_bytes()
    first = trainer.train(dataset.task(slice(0, None, 2), seed=1), silent)
    assert first.path.read_bytes() == session.models[0].path.read_bytes()


def test_progress_goes_up_to_the_end(session: Session) -> None:
    assert {stage for stage, *_ in session.calls} == {"decoding", "training", "exporting"}
    steps = [(done, total, figures) for stage, done, total, figures in session.calls if stage == "training"]
    done = [entry[0] for entry in steps]
    assert done == sorted(done)
    assert done[0] == 0
    assert steps[-1][:2] == (
        2 * 60 * SMALL.epochs,
        2 * 60 * SMALL.epochs,
    )  # of both runs: the time left is that of the round
    assert steps[-1][2]["images_per_second"] > 0
    assert steps[-1][2]["memory_mib"] > 0
    assert 0 < steps[-1][2]["loss"] < 3


def test_side_by_side_gives_the_same_models_as_one_by_one(dataset: Dataset) -> None:
    options = replace(SMALL, runs_at_once=3)
    rows = [slice(start, None, 2) for start in (0, 1)]
    runs = [(rows[number % 2], f"p0{1 + number // 2}-{'ab'[number % 2]}", number) for number in range(5)]
    calls: list[tuple[int, int]] = []

    def progress(stage: str, done: int, total: int, /, **figures: float) -> None:
        if stage == "training":
            calls.append((done, total))

    progress.cancelled = False  # type: ignore[attr-defined]

    def tasks() -> list[TrainTask]:
        return [dataset.task(some, name=name, seed=seed, options=options) for some, name, seed in runs]

    together = [model.path.read_bytes() for model in TorchTrainer().train_many(tasks(), progress)]
    trainer = TorchTrainer()
    assert together == [trainer.train(task, silent).path.read_bytes() for task in tasks()]
    assert calls[0] == (0, 5 * 60 * SMALL.epochs)
    assert calls[-1] == (5 * 60 * SMALL.epochs, 5 * 60 * SMALL.epochs)


def test_runs_side_by_side_end_when_nobody_waits(dataset: Dataset) -> None:
    options = replace(SMALL, runs_at_once=2, epochs=300)
    tasks = [dataset.task(seed=seed, options=options) for seed in range(4)]
    tasks[0] = replace(tasks[0], rows=tasks[0].rows[:8], labels=tasks[0].labels[:8])  # done first
    before = threading.active_count()
    models_ = TorchTrainer().train_many(tasks, silent)
    next(models_)
    models_.close()
    assert threading.active_count() == before


def test_networks_that_draw_are_trained_one_at_a_time() -> None:
    assert models.draws(models.build(spec("mobilenet_v3_small"), seed=0))
    assert not models.draws(models.build(spec("resnet18"), seed=0))


@pytest.mark.usefixtures("no_export")
def test_the_seed_decides(few: Dataset) -> None:
    trainer = TorchTrainer()
    for seed in (3, 3, 4):
        trainer.train(few.task(seed=seed), silent)
    one, same, other = weights_of(trainer)
    assert equal(one, same)
    assert not equal(one, other)


@pytest.mark.usefixtures("no_export")
def test_leaves_the_random_state_alone(few: Dataset) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    TorchTrainer().train(few.task(), silent)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.usefixtures("no_export")
def test_pixels_from_the_cache_train_the_same_network(few: Dataset) -> None:
    made = []
    for pixels in ("resident", "stream"):
        trainer = TorchTrainer()
        model = trainer.train(few.task(options=replace(SMALL, pixels=pixels, shift_px=2)), silent)
        assert model.notes["pixels"] == pixels
        made += weights_of(trainer)
    assert equal(*made)


@pytest.mark.usefixtures("no_export")
def test_images_are_fitted_as_asked(few: Dataset) -> None:
    made = []
    for fit in ("pad", "stretch"):
        trainer = TorchTrainer()
        model = trainer.train(few.task(options=replace(SMALL, fit=fit)), silent)
        assert model.input.fit == fit
        made += weights_of(trainer)
    assert not equal(*made)


def test_pixels_are_held_where_they_fit(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = few.cache.pixels(few.pool, size_px=16, channels=1)
    device = torch.device("cpu")
    assert isinstance(data.source(rows, device, "auto"), data.Resident)
    monkeypatch.setitem(data.RESIDENT_SHARE, "cpu", 1e-12)
    assert isinstance(data.source(rows, device, "auto"), data.Streamed)
    assert isinstance(data.source(rows, device, "resident"), data.Resident)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(data, "Resident", full)
    assert isinstance(data.source(rows, device, "resident"), data.Streamed)


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    ],
    ids=str,
)
def test_out_of_memory_halves_what_goes_through_at_once(
    few: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    whole = models.Classifier.forward
    seen = []

    def forward(self: Any, pixels: Any, log_size: Any = None) -> Any:
        seen.append(len(pixels))
        if len(pixels) > 4:
            raise error
        return whole(self, pixels, log_size)

    monkeypatch.setattr(models.Classifier, "forward", forward)
    trainer = TorchTrainer()
    task = few.task(options=replace(SMALL, batch_size=16))
    model = trainer.train(task, silent)
    assert (model.notes["batch_size"], model.notes["micro_batch"]) == (16, 4)
    assert seen[:3] == [16, 8, 4]
    assert "begins again with 4 images" in caplog.text
    seen.clear()
    trainer.train(task, silent)  # the next run of this worker knows
    assert max(seen) == 4
    assert equal(*weights_of(trainer))


@pytest.mark.parametrize(("kept_gib", "given_back"), [(30, True), (10, False)])
def test_a_gpu_gets_much_unused_memory_back(
    monkeypatch: pytest.MonkeyPatch, kept_gib: int, given_back: bool
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: (kept_gib + 5) << 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 5 << 30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (40 << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("emptied"))
    memory.give_back_memory(torch.device("cpu"))
    assert not calls
    memory.give_back_memory(torch.device("cuda", 0))
    assert bool(calls) == given_back


@pytest.mark.usefixtures("no_export")
def test_no_part_of_a_batch_is_a_single_image(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = models.Classifier.forward
    seen = []

    def forward(self: Any, pixels: Any, log_size: Any = None) -> Any:
        seen.append(len(pixels))
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, pixels, log_size)

    monkeypatch.setattr(models.Classifier, "forward", forward)
    TorchTrainer().train(few.task(options=replace(SMALL, batch_size=9)), silent)
    assert set(seen) == {9, 5, 3, 2}


@pytest.mark.usefixtures("no_export")
def test_memory_for_no_batch_at_all_is_an_error(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(*_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(models.Classifier, "forward", forward)
    with pytest.raises(PluginError, match="Not enough memory to train on two images") as caught:
        TorchTrainer().train(few.task(), silent)
    assert "image_size" in caught.value.hint


@pytest.mark.usefixtures("no_export")
def test_other_errors_are_not_taken_for_memory(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(*_: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(models.Classifier, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        TorchTrainer().train(few.task(), silent)


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("rows", [[0, 4], [0], [0, 1, 4, 5, 6, 7, 4]], ids=["two", "one", "class missing"])
@pytest.mark.parametrize("balance", ["none", "full"])
def test_few_images_and_missing_classes(few: Dataset, rows: list[int], balance: str) -> None:
    trainer = TorchTrainer()
    options = Options(width=4, image_size=16, epochs=2, class_balance=balance)  # type: ignore[arg-type]
    model = trainer.train(few.task(rows, options=options), silent)
    assert model.classes == CLASSES
    assert np.isfinite(model.notes["loss"])
    (weights,) = weights_of(trainer)
    assert weights["head.weight"].shape[0] == 3
    assert all(torch.isfinite(value).all() for value in weights.values())


@pytest.mark.usefixtures("no_export")
def test_tasks_that_cannot_be_done(few: Dataset, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="p01-a has no images to train on"):
        TorchTrainer().train(few.task([]), silent)
    with pytest.raises(PluginError, match="There are no images"):
        TorchTrainer().train(few.task([], pool=few.pool.take([])), silent)
    rate = replace(SMALL, learning_rate=100.0, label_smoothing=0.0, weight_decay=100.0, epochs=50)
    with pytest.raises(PluginError, match="The training diverged"):
        TorchTrainer().train(few.task(options=rate), silent)


@pytest.mark.usefixtures("no_export")
def test_colour_and_equal_sizes_are_seen_in_the_data(tmp_path: Path) -> None:
    dataset = make(tmp_path, per_class=2, colour=True, same_size=True)
    read = TorchTrainer().train(dataset.task(options=replace(SMALL, image_size=0)), silent).input
    assert (read.channels, read.size_px, read.log_size) == (3, 32, False)
    assert len(read.mean) == len(read.std) == 3
    grey = TorchTrainer().train(dataset.task(options=replace(SMALL, channels=1)), silent).input
    assert (grey.channels, grey.size_px) == (1, 16)


def test_grey_stored_as_colour_jpeg_is_grey(few: Dataset, tmp_path: Path) -> None:
    for path in few.pool.paths:
        file = few.pool.root / path
        PillowImage.open(file).convert("RGB").save(file, "JPEG", quality=80)
    images = replace(few.pool, digests=[digest_file(few.pool.root / path) for path in few.pool.paths])
    assert data.is_grey(images, few.cache)


@pytest.mark.parametrize(("longest", "expected"), [(5, 32), (47, 48), (53, 56), (900, 64)])
def test_image_size_is_near_the_median(longest: int, expected: int) -> None:
    sizes = np.array([[4, longest], [longest, 3], [2, 5000]], np.int32)
    pool = Images(Path(), ["a", "b", "c"], ["1", "2", "3"], sizes)
    assert data.typical_size(pool, low=32, high=64) == expected


def test_torchvision_model_by_name(few: Dataset) -> None:
    options = Options(model="torchvision:squeezenet1_1", image_size=32, epochs=1, batch_size=4)
    model = TorchTrainer().train(few.task(options=options), silent)
    found = run_onnx(model.path.read_bytes(), inputs(few, slice(None), model))
    assert found.shape == (12, 3)
    assert model.input.channels == 1  # shown to it as three


def spec(name: str, *, pretrained: bool = False, size_px: int = 64) -> models.Spec:
    return models.Spec(f"torchvision:{name}", pretrained, 8, size_px, 3, 5, None, None, None)


@pytest.mark.parametrize("size_px", [16, 17, 40, 41, 48, 100])
def test_the_compact_network_takes_any_size(size_px: int) -> None:
    images = torch.randn(4, 3, size_px, size_px)
    side, stride = models.stem_shape(size_px)
    stem = whitening(images, side=side, stride=stride)
    made = models.build(replace(spec(""), model=models.COMPACT, size_px=size_px, stem=stem), seed=1).train()
    logits = made(images)
    assert logits.shape == (4, 5)
    logits.square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in made.parameters() if p.requires_grad)
    assert torch.equal(made.trunk.stem.weight, stem)
    assert made.trunk.stem.weight.grad is None


@pytest.mark.parametrize("channels", [1, 3])
def test_stem_whitens_patches(channels: int) -> None:
    """Patches of neighbouring pixels that are much alike come out with unit variance, and none alike."""
    smooth = torch.randn(20, channels, 31, 31, generator=torch.Generator().manual_seed(1)).cumsum(2).cumsum(3)
    images = smooth / smooth.std()
    filters = whitening(images, side=2, stride=1)
    count = 4 * channels
    assert torch.equal(filters[count:], -filters[:count])
    seen = torch.nn.functional.conv2d(images, filters[:count]).transpose(0, 1).flatten(1)
    moments = (seen @ seen.T / seen.shape[1]).numpy()
    np.testing.assert_allclose(moments - np.diag(np.diag(moments)), 0, atol=1e-3)
    assert 0.9 < moments.diagonal().max() < 1.001
    raw = images.unfold(2, 2, 1).unfold(3, 2, 1).reshape(-1, 4)
    assert (raw.T @ raw / len(raw))[0, 1] > 0.9


def test_a_stem_of_images_without_anything_is_finite() -> None:
    filters = whitening(torch.zeros(2, 1, 16, 16), side=3, stride=2)
    assert filters.shape == (18, 1, 3, 3)
    assert bool(filters.isfinite().all())


def test_the_default_size_is_exported(few: Dataset) -> None:
    options = replace(SMALL, image_size=48, epochs=1)
    assert TorchTrainer().train(few.task(options=options), silent).path.is_file()  # the export checks itself


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "googlenet"])
def test_torchvision_heads_are_replaced(name: str) -> None:
    made = models.build(spec(name), seed=1).train()
    assert made(torch.zeros(2, 3, 64, 64)).shape == (2, 5)
    assert not any(getattr(module, "out_features", 0) == 1000 for module in made.modules())


def test_torchvision_refusals() -> None:
    with pytest.raises(OptionError, match="no classifier 'resnet19'"):
        models.build(spec("resnet19"), seed=1)
    with pytest.raises(OptionError, match="does not take images of 32 pixels") as caught:
        models.build(spec("inception_v3", size_px=32), seed=1)
    assert "image_size" in caught.value.hint


def test_weights_that_were_put_there_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import resnet18

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    weights = resnet18().state_dict()
    torch.save(weights, file)
    made = models.build(spec("resnet18", pretrained=True), seed=1)
    assert torch.equal(made.trunk.conv1.weight, weights["conv1.weight"])


@pytest.mark.parametrize(("channels", "expected"), [(1, (0.5,)), (3, (0.5, 0.5, 0.5))])
@pytest.mark.usefixtures("no_export")
def test_pretrained_networks_are_fed_as_they_were_trained(
    few: Dataset, monkeypatch: pytest.MonkeyPatch, channels: int, expected: tuple[float, ...]
) -> None:
    """By each network's own preset: most have ImageNet's mean and deviation, this one has not."""
    import torchvision

    def smaller(*_: Any, **__: Any) -> Any:
        return small(weights=None)

    small = torchvision.models.squeezenet1_1
    monkeypatch.setattr(torchvision.models, "get_model", smaller)
    options = Options(
        model="torchvision:efficientnet_v2_l", pretrained=True, image_size=32, epochs=1, channels=channels
    )
    read = TorchTrainer().train(few.task(options=options), silent).input
    assert (read.mean, read.std) == (expected, expected)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"model": "resnet18"}, "model is 'resnet18'; valid are 'compact' and 'torchvision:NAME'"),
        ({"model": "torchvision:"}, "model is 'torchvision:'"),
        ({"pretrained": True}, "compact network has no pretrained weights"),
        ({"image_size": 8}, "image_size=8: it must be 0, or a whole number from 16 to 1024"),
        ({"channels": 2}, "channels=2: it must be one of 0, 1, 3"),
        ({"batch_size": 1}, "batch_size=1: it must be 0, or a whole number from 2 to 65536"),
        ({"epochs": -1}, "epochs=-1: it must be a whole number from 0 to 100000"),
        ({"width": 0}, "width=0: it must be a whole number from 4 to 1024"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: it must be a number from 0 to 100"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0: it must be a number from 0 to below 1"),
        ({"shift_px": -1}, "shift_px=-1"),
        ({"class_balance": "half"}, "class_balance='half': it must be one of none, sqrt, full"),
        ({"tta_views": 9}, "tta_views=9: it must be a whole number from 0 to 8"),
        (
            {"tta_views": 3, "flips": "horizontal", "rotations": False},
            "tta_views is 3; valid are 1 to 2, the views",
        ),
        ({"compile": "maybe"}, "compile='maybe': it must be one of auto, on, off"),
    ],
)
def test_wrong_options_are_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError) as caught:
        options_for(TorchTrainer, values)
    assert text in caught.value.message


def test_options_from_the_command_line() -> None:
    made = options_for(TorchTrainer, {"epochs": "4", "rotations": "false", "flips": "none"})
    assert made == Options(epochs=4, rotations=False, flips="none")
    with pytest.raises(OptionError, match="batch_size='1'"):
        options_for(TorchTrainer, {"batch_size": "1"})
    with pytest.raises(OptionError, match="class_balance"):
        options_for(TorchTrainer, {"class_balance": "half"})


def test_devices(few: Dataset) -> None:
    for name in ("tpu", "cuda:x", "cpu:1", ""):
        with pytest.raises(UsageError, match=f"no device '{name}'; valid are"):
            worker.device_named(name)
    with pytest.raises(UsageError, match="cuda:99 is not there"):
        TorchTrainer().train(few.task(device="cuda:99"), silent)
    assert worker.device_named("cpu") == torch.device("cpu")


def test_a_compiler_that_fails_is_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def loss(*parts: Any) -> Any:
        return parts[0].sum()

    def compile_later(function: Any, **_: Any) -> Any:
        def broken(*_: Any) -> Any:
            raise RuntimeError("Cannot find a working triton installation\nand more")

        return broken

    trial = (torch.ones(2, requires_grad=True),)
    monkeypatch.setattr(torch, "compile", compile_later)
    assert compiled(loss, trial, required=False) == (loss, False)
    assert "Cannot find a working triton" in caplog.text
    with pytest.raises(PluginError, match="Cannot find a working triton"):
        compiled(loss, trial, required=True)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    assert compiled(loss, trial, required=False) == (loss, True)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # PyTorch's compiler warns of its own affairs
@pytest.mark.parametrize("at_once", [1, 2])
def test_a_step_is_compiled_once_for_all_runs(dataset: Dataset, at_once: int) -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    options = replace(SMALL, compile="on", epochs=1, batch_size=8, runs_at_once=at_once)
    tasks = [dataset.task(slice(at, None, 2), seed=at, options=options) for at in (0, 1, 0, 1)]
    try:
        made = list(TorchTrainer().train_many(tasks, silent))
    except PluginError as error:
        pytest.skip(f"no compiler here: {error}")
    assert all(model.notes["compiled"] for model in made)
    assert made[0].notes["compile_seconds"] > 0
    assert counters["stats"]["unique_graphs"] == 1
    one, other, same_as_one, same_as_other = (model.path.read_bytes() for model in made)
    assert (one, other) == (same_as_one, same_as_other)  # whichever lane they went through
    assert one != other


@pytest.mark.slow
def test_another_process_makes_the_same_model(dataset: Dataset, session: Session, tmp_path: Path) -> None:
    code = """
import sys, pathlib
from tests.plugins.test_torch import SMALL, TorchTrainer, make, silent
made = make(pathlib.Path(sys.argv[1]), per_class=40)
print(TorchTrainer().train(made.task(slice(0, None, 2), seed=1), silent).path)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).read_bytes() == session.models[0].path.read_bytes()


@pytest.mark.parametrize("code", range(8))
def test_symmetries_are_those_of_the_square(code: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    expected = image.swapaxes(0, 1) if code & 4 else image
    # The new image's row y is read from row s-1-y, or from column s-1-y where rows and columns swap.
    expected = expected[::-1] if code & 2 else expected
    expected = expected[:, ::-1] if code & 1 else expected
    batch = torch.from_numpy(np.stack([image, image[::-1].copy()]))
    codes = torch.tensor([code, 0])
    moved = augment.move(batch, codes, torch.zeros(2, 2, dtype=torch.int64)).numpy()
    np.testing.assert_array_equal(moved[0], expected)
    np.testing.assert_array_equal(moved[1], image[::-1])
    view = augment.views(batch[:1].permute(0, 3, 1, 2), [0, code])
    assert torch.equal(view[1], torch.from_numpy(moved[0]).permute(2, 0, 1))


def test_turns_without_mirrors_are_the_four_turns() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 1), dtype=np.uint8)
    codes = torch.tensor(symmetries(flips="none", rotations=True))
    batch = torch.from_numpy(image).expand(4, -1, -1, -1)
    moved = augment.move(batch, codes, torch.zeros(4, 2, dtype=torch.int64)).numpy()
    assert {one.tobytes() for one in moved} == {np.rot90(image, k).copy().tobytes() for k in range(4)}


def test_shifts_repeat_the_border() -> None:
    image = torch.arange(9).reshape(1, 3, 3, 1)
    moved = augment.move(image, torch.tensor([0]), torch.tensor([[1, -1]]))
    assert moved[0, :, :, 0].tolist() == [[3, 3, 4], [6, 6, 7], [6, 6, 7]]


@pytest.mark.parametrize(("flips", "rotations", "count"), [("both", True, 8), ("horizontal", False, 2)])
def test_each_symmetry_once_before_any_again(flips: str, rotations: bool, count: int) -> None:
    generator = torch.Generator().manual_seed(1)
    moves = augment.Moves(augment.Augmentation(symmetries(flips=flips, rotations=rotations)), 50, generator)
    rows = torch.arange(50)
    seen = torch.stack([moves.draw(rows, visit)[0] for visit in range(count)])
    assert (seen.sort(0).values == torch.arange(count)[:, None]).all()
    assert len(set(seen[0].tolist())) == count


class Rows:
    """A source that gives the rows themselves."""

    index_device = torch.device("cpu")

    def batches(self, drawn: Any) -> Any:
        return drawn


@pytest.mark.parametrize("size", [4, 23])
def test_batches_are_equal_and_show_every_image_equally_often(size: int) -> None:
    generator = torch.Generator().manual_seed(1)
    numbers = torch.arange(10)
    of_run = batches.Data(Rows(), 100 + numbers, numbers, numbers / 10, torch.stack([numbers, -numbers], 1))
    moves = augment.Moves(augment.Augmentation(symmetries(flips="both", rotations=True), 1), 10, generator)
    endless = batches.batched(batches.epochs(of_run, moves, generator, torch.device("cpu")), size)
    drawn = list(itertools.islice(endless, 20))
    assert {len(column) for columns in drawn for column in columns} == {size}
    rows, codes, shifts, sizes, labels, weights = (torch.cat(column) for column in zip(*drawn, strict=True))
    epochs = [rows[at : at + 10].tolist() for at in range(0, len(rows) - 9, 10)]
    assert all(sorted(epoch) == list(range(100, 110)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    # What belongs to an image stays with it.
    assert (labels == rows - 100).all()
    assert torch.equal(weights, labels / 10)
    assert torch.equal(sizes, torch.stack([labels, -labels], 1))
    assert shifts.unique().tolist() == [-1, 0, 1]
    assert sorted(codes[rows == 100][:8].tolist()) == list(range(8))


def test_schedule_rises_and_falls() -> None:
    rates = [schedule.one_cycle(step, 100) for step in range(100)]
    top = int(np.argmax(rates))
    assert 15 < top < 25
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < min(rates) < 0.03
    assert max(rates) > 0.99
    assert schedule.one_cycle(0, 1) > 0


def stepped(part: torch.nn.Conv2d, *, with_muon: bool) -> torch.Tensor:
    """How one step of `Descent` moves the filters for a random gradient: a matrix, a row a filter, in parts of the rate."""
    part.to(memory_format=torch.channels_last)
    before = part.weight.detach().clone()
    descent = Descent(part, learning_rate=0.1, weight_decay=0.0, muon=with_muon)
    part.weight.grad = torch.randn(part.weight.shape, generator=torch.Generator().manual_seed(1))
    descent.step(0.01)
    assert part.weight.grad is None
    return (before - part.weight.detach()).flatten(1) / 0.01


def test_filters_move_as_far_in_every_direction() -> None:
    moved = torch.linalg.svdvals(stepped(torch.nn.Conv2d(8, 32, 3, bias=False), with_muon=True))
    assert moved.max() < 2 * moved.min()  # of the gradient itself: five times
    # As long as AdamW's steps, a fifth of the rate a number (Liu and others, 2025, equation 4).
    assert float(moved.norm()) == pytest.approx(0.2 * (8 * 32 * 9) ** 0.5, rel=0.3)


@pytest.mark.parametrize("shape", [(12, 108), (108, 12), (7, 7), (1, 9)])
def test_muon_is_pytorchs_own(shape: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(2)
    ours = torch.randn(shape, generator=random)
    theirs = ours.clone()
    settings = {"weight_decay": 0.1, "momentum": 0.9}
    our_muon = muon.Muon([ours], **settings, iterations=3)
    their_muon = torch.optim.Muon([theirs], **settings, lr=0.02, ns_steps=3, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad = torch.randn(shape, generator=random)
        theirs.grad = ours.grad.clone()
        before = ours.clone()
        our_muon.step(0.02)
        their_muon.step()
        # Theirs computes in bfloat16, of 8 bits.
        assert float((ours - theirs).norm()) < 0.02 * float((ours - before).norm())


@pytest.mark.parametrize(
    ("part", "with_muon"),
    [(torch.nn.Conv2d(8, 32, 3), False), (torch.nn.Conv2d(8, 8, 3, groups=8), True)],
    ids=["pretrained", "depthwise"],
)
def test_other_filters_take_adams_steps(part: torch.nn.Conv2d, with_muon: bool) -> None:
    # The first step of Adam is the gradient's sign.
    torch.testing.assert_close(
        stepped(part, with_muon=with_muon).abs(), torch.ones_like(part.weight).flatten(1), rtol=1e-3, atol=0
    )


def test_pretrained_networks_are_tuned_gently() -> None:
    scratch = schedule.plan(1000, Options(model="torchvision:resnet18"), pool=2000)
    tuned = schedule.plan(1000, Options(model="torchvision:resnet18", pretrained=True), pool=2000)
    assert scratch.muon
    assert not tuned.muon
    assert tuned.learning_rate < scratch.learning_rate / 5


def test_plan_gives_few_images_more_epochs() -> None:
    sizes = (1, 20, 30, 1_331, 15_000, 25_000, 1_000_000)
    plans = [schedule.plan(n, Options(), pool=2 * n) for n in sizes]
    epochs = [plan.epochs for plan in plans]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[-1] < epochs[0]
    assert all(plan.steps * plan.batch >= plan.epochs * plan.images for plan in plans)
    assert all(plan.steps >= 100 for plan in plans[1:])
    given = schedule.plan(1000, Options(epochs=2, batch_size=8, learning_rate=0.5), pool=2000)
    assert (given.epochs, given.batch, given.steps, given.learning_rate) == (2, 8, 250, 0.5)


def test_both_halves_of_a_pair_are_trained_alike() -> None:
    one, other = (schedule.plan(images, Options(), pool=18_101) for images in (9_050, 9_051))
    assert (one.batch, one.epochs, one.learning_rate) == (other.batch, other.epochs, other.learning_rate)


def test_class_weights() -> None:
    labels = torch.tensor([0, 0, 0, 0, 2])
    assert class_weights(labels, 4, "none").tolist() == [1.0] * 5
    full = class_weights(labels, 4, "full")
    assert float(full[:4].sum()) == pytest.approx(float(full[4]))
    root = class_weights(labels, 4, "sqrt")
    assert float(root[4] / root[0]) == pytest.approx(2)
    assert float(full.mean()) == pytest.approx(1)


def test_importing_the_plugin_loads_no_torch() -> None:
    code = "import sys, dupekit_torch; dupekit_torch.TorchTrainer(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings(
    "default"
)  # of the compiler; raised inside it they would be taken for its failure
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("pixels", "at_once"), [("resident", 1), ("stream", 1), ("resident", 2)])
def test_on_a_gpu(dataset: Dataset, pixels: str, at_once: int) -> None:
    from dupekit_onnx import OnnxOptions, OnnxValidator

    options = replace(SMALL, pixels=pixels, runs_at_once=at_once)
    tasks = [dataset.task(slice(0, None, 2), device="cuda", options=options) for _ in "ab"]
    made = list(TorchTrainer().train_many(tasks, silent))
    assert made[0].path.read_bytes() == made[1].path.read_bytes()
    notes = made[0].notes
    assert notes["compiled"] is True
    assert notes["precision"] == ("bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float32")
    assert "cpu" not in notes["device"]
    expected = run_onnx(made[0].path.read_bytes(), inputs(dataset, slice(1, None, 2), made[0]))
    assert (expected.argmax(1) == dataset.labels[1::2]).mean() > 0.9
    held_out = np.arange(1, len(dataset.pool), 2)
    task = PredictTask(made[0], dataset.pool, held_out, "cuda", dataset.cache, OnnxOptions())
    predicted = np.concatenate(list(OnnxValidator().predict(task, silent)))
    np.testing.assert_allclose(predicted, expected, atol=1e-3)
