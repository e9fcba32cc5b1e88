"""The torch trainer as a whole: learning, repeating itself, and what it does when something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dupekit.api import (
    Input,
    JobError,
    Model,
    PluginError,
    PredictTask,
    TrainsMany,
    TrainTask,
    UsageError,
    read_metadata,
    silent,
)
from dupekit_torch import Options, TorchTrainer
from tests.plugins.torch.support import CLASSES, SMALL, Dataset, Recorder, make, same_weights

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("torchvision", reason="the extra torch is not installed")
onnx = pytest.importorskip("onnx", reason="the extra torch is not installed")
pytest.importorskip("onnxruntime", reason="the extra torch is not installed")

from dupekit_torch.device import device_named  # noqa: E402
from dupekit_torch.network.export import run_onnx  # noqa: E402

HALVES = (slice(0, None, 2), slice(1, None, 2))
SIDE_BY_SIDE = replace(SMALL, runs_at_once=3)


def tasks(images: Dataset) -> list[TrainTask]:
    """Two pairs of runs: more than there are lanes."""
    return [
        images.task(
            HALVES[number % 2],
            name=f"p0{1 + number // 2}-{'ab'[number % 2]}",
            seed=number,
            options=SIDE_BY_SIDE,
        )
        for number in range(4)
    ]


@dataclass
class Session:
    models: list[Model]
    progress: Recorder


@pytest.fixture(scope="module")
def session(images: Dataset) -> Session:
    """Runs that went side by side."""
    progress = Recorder()
    return Session(list(TorchTrainer().train_many(tasks(images), progress)), progress)


def test_learns_easy_classes(images: Dataset, session: Session) -> None:
    for model, held_out in zip(session.models, HALVES[::-1] * 2, strict=True):
        found = run_onnx(model.path.read_bytes(), images.inputs(held_out, model))
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
        assert (found.argmax(1) == images.labels[held_out]).mean() > 0.9


def test_the_file_stands_alone_and_says_what_it_reads(images: Dataset, session: Session) -> None:
    model = session.models[1]
    assert [path.name for path in model.path.parent.iterdir()] == ["model.onnx"]
    content = onnx.load(model.path)
    onnx.checker.check_model(content)
    assert not any(tensor.external_data for tensor in content.graph.initializer)
    assert [entry.name for entry in content.graph.input] == ["pixels", "log_size"]
    assert str(Path(torch.__file__).parent).encode() not in model.path.read_bytes()
    assert read_metadata({p.key: p.value for p in content.metadata_props}) == (CLASSES, model.input)
    assert model.input.channels == 1


def test_by_default_an_image_and_its_mirror_image_are_predicted_alike(
    images: Dataset, session: Session
) -> None:
    pixels, sizes = images.inputs(slice(5), session.models[0])
    upright, mirrored, upset = (
        run_onnx(session.models[0].path.read_bytes(), (seen.contiguous(), sizes))
        for seen in (pixels, pixels.flip(3), pixels.flip(2))
    )
    np.testing.assert_allclose(mirrored, upright, atol=1e-5)
    assert np.abs(upset - upright).max() > 1e-4


def test_one_by_one_gives_the_same_models(images: Dataset, session: Session) -> None:
    """Whichever run went before on the same trainer."""
    trainer = TorchTrainer()
    for task, model in reversed(list(zip(tasks(images), session.models, strict=True))):
        assert trainer.train(task, silent).path.read_bytes() == model.path.read_bytes()
    assert len({model.path.read_bytes() for model in session.models}) == 4


@pytest.mark.long
@pytest.mark.slow
def test_another_process_makes_the_same_model(images: Dataset, session: Session, tmp_path: Path) -> None:
    code = """
import sys, pathlib
from tests.plugins.torch.test_trainer import TorchTrainer, make, silent, tasks
made = make(pathlib.Path(sys.argv[1]), per_class=40)
print(TorchTrainer().train(tasks(made)[0], silent).path)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert Path(done.stdout.strip()).read_bytes() == session.models[0].path.read_bytes()


def test_progress_goes_up_to_the_end(session: Session) -> None:
    assert {stage for stage, *_ in session.progress.calls} == {
        "importing PyTorch", "looking for colour", "decoding", "preparing", "exporting", "training",
    }  # fmt: skip
    steps = session.progress.training()
    done = [entry[0] for entry in steps]
    looks = 4 * 60 * SMALL.epochs  # of all runs: the time left is that of the round
    assert done == sorted(done)
    assert steps[0][:2] == (0, looks)
    assert steps[-1][:2] == (looks, looks)
    assert steps[-1][2]["images_per_second"] > 0
    assert steps[-1][2]["memory_mib"] > 0
    assert 0 < steps[-1][2]["loss"] < 3


@pytest.mark.usefixtures("weights_only")
def test_runs_side_by_side_end_when_nobody_waits(images: Dataset) -> None:
    options = replace(SMALL, runs_at_once=2, epochs=200)
    few, *others = [images.task(rows, options=options) for rows in ([0, 50], *HALVES, slice(None))]
    before = threading.active_count()
    progress = Recorder()
    models = TorchTrainer().train_many([few, *others], progress)
    next(models)
    models.close()
    assert threading.active_count() == before
    done, total, _ = progress.training()[-1]
    assert done < total / 2


@pytest.mark.usefixtures("weights_only")
@pytest.mark.parametrize("at_once", [1, 2])
def test_cancelled_runs_end(few: Dataset, at_once: int) -> None:
    class CancelledAfterASecond(Recorder):
        def __call__(self, stage: str, done: int, total: int, /, **figures: float) -> None:
            self.cancelled = self.cancelled or done > 0

    before = threading.active_count()
    options = replace(SMALL, runs_at_once=at_once, epochs=100_000)
    with pytest.raises(JobError, match="cancelled"):
        list(
            TorchTrainer().train_many([few.task(options=options) for _ in range(3)], CancelledAfterASecond())
        )
    assert threading.active_count() == before


@pytest.mark.usefixtures("weights_only")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_seed_decides(few: Dataset, threads: int) -> None:
    torch.set_num_threads(threads)
    trainer = TorchTrainer()
    made = [
        trainer.train(few.task(seed=seed, options=replace(SMALL, epochs=2)), silent) for seed in (3, 3, 4)
    ]
    torch.set_num_threads(1)
    one, same, other = made
    assert same_weights(one, same)
    assert not same_weights(one, other)


@pytest.mark.usefixtures("weights_only")
def test_networks_that_draw_repeat_themselves_side_by_side(few: Dataset) -> None:
    """Dropout draws from the process's random state, which no two runs may use at once."""
    options = Options(
        model="torchvision:squeezenet1_1", image_size=32, epochs=1, batch_size=4, runs_at_once=2
    )
    run = [few.task(seed=seed, options=options) for seed in (1, 2, 1)]
    one, other, same = TorchTrainer().train_many(run, silent)
    assert same_weights(one, same)
    assert not same_weights(one, other)


@pytest.mark.usefixtures("weights_only")
def test_leaves_the_random_state_alone(few: Dataset) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    TorchTrainer().train(few.task(), silent)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.usefixtures("weights_only")
def test_pixels_from_the_cache_train_the_same_network(few: Dataset) -> None:
    made = []
    for pixels in ("resident", "stream"):
        made.append(TorchTrainer().train(few.task(options=replace(SMALL, pixels=pixels, shift_px=2)), silent))
        assert made[-1].notes["pixels"] == pixels
    assert same_weights(*made)


@pytest.mark.usefixtures("weights_only")
def test_images_are_fitted_as_asked(few: Dataset) -> None:
    made = []
    for fit in ("pad", "stretch"):
        made.append(TorchTrainer().train(few.task(options=replace(SMALL, fit=fit)), silent))
        assert made[-1].input.fit == fit
    assert not same_weights(*made)


@pytest.mark.usefixtures("weights_only")
def test_the_label_of_an_image_of_no_weight_does_not_matter(few: Dataset) -> None:
    plain = few.task()
    weights = np.ones(12, np.float32)
    weights[[1, 5, 9]] = 0
    wrong = plain.labels.copy()
    wrong[[1, 5, 9]] = [2, 2, 0]
    made = [
        TorchTrainer().train(task, silent)
        for task in (
            plain,
            few.task(weights=np.full(12, 3, np.float32)),  # all the same
            few.task(weights=weights),
            few.task(weights=weights, labels=wrong),
            few.task(labels=wrong),
        )
    ]
    assert same_weights(*made[:2])
    assert same_weights(*made[2:4])
    assert not same_weights(made[0], made[2])
    assert not same_weights(made[0], made[4])


@pytest.mark.usefixtures("weights_only")
@pytest.mark.parametrize("rows", [[0, 4], [0], [0, 1, 4, 5, 6, 7]], ids=["two", "one", "class missing"])
@pytest.mark.parametrize("balance", ["none", "full"])
def test_few_images_and_missing_classes(few: Dataset, rows: list[int], balance: Any) -> None:
    options = Options(width=4, image_size=16, epochs=2, class_balance=balance)
    model = TorchTrainer().train(few.task(rows, options=options), silent)
    assert model.classes == CLASSES
    assert np.isfinite(model.notes["loss"])
    weights = torch.load(model.path)
    assert weights["head.weight"].shape[0] == 3
    assert all(torch.isfinite(value).all() for value in weights.values())


@pytest.mark.usefixtures("weights_only")
def test_tasks_that_cannot_be_done(few: Dataset) -> None:
    with pytest.raises(PluginError, match="p01-a has no images to train on"):
        TorchTrainer().train(few.task([]), silent)
    with pytest.raises(PluginError, match="There are no images"):
        TorchTrainer().train(few.task([], pool=few.pool.take([])), silent)
    rate = replace(SMALL, learning_rate=100.0, label_smoothing=0.0, weight_decay=100.0, epochs=50)
    with pytest.raises(PluginError, match="The training diverged"):
        TorchTrainer().train(few.task(options=rate), silent)


@pytest.mark.usefixtures("weights_only")
def test_colour_and_equal_sizes_are_seen_in_the_data(tmp_path: Path) -> None:
    dataset = make(tmp_path, per_class=2, colour=True, same_size=True)

    def read(options: Options) -> Input:
        return TorchTrainer().train(dataset.task(options=options), silent).input

    colour, grey = read(replace(SMALL, image_size=0)), read(replace(SMALL, channels=1))
    assert (colour.channels, colour.size_px, colour.log_size) == (3, 32, False)
    assert len(colour.mean) == len(colour.std) == 3
    assert (grey.channels, grey.size_px) == (1, 16)


def test_torchvision_model_by_name(few: Dataset) -> None:
    options = Options(model="torchvision:squeezenet1_1", image_size=32, epochs=1, batch_size=4)
    model = TorchTrainer().train(few.task(options=options), silent)
    found = run_onnx(model.path.read_bytes(), few.inputs(slice(None), model))
    assert found.shape == (12, 3)
    assert model.input.channels == 1  # shown to it as three


@pytest.mark.parametrize(("channels", "expected"), [(1, (0.5,)), (3, (0.5, 0.5, 0.5))])
@pytest.mark.usefixtures("weights_only")
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


def test_devices(few: Dataset) -> None:
    for name in ("tpu", "cuda:x", "cpu:1", ""):
        with pytest.raises(UsageError, match=f"no device '{name}'; valid are"):
            device_named(name)
    with pytest.raises(UsageError, match="cuda:99 is not there"):
        TorchTrainer().train(few.task(device="cuda:99"), silent)
    assert device_named("cpu") == torch.device("cpu")


@pytest.mark.usefixtures("weights_only")
@pytest.mark.parametrize("at_once", [1, 2])
def test_a_step_is_compiled_once_for_all_runs(
    few: Dataset, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Of all lanes; and each run gives the same network, whichever lane it went through."""
    graphs = []

    def backend(graph: Any, example: Any) -> Any:  # at once, instead of a minute
        graphs.append(graph)
        return graph.forward

    compile_ = torch.compile
    torch._dynamo.reset()
    monkeypatch.setattr(
        torch, "compile", lambda step, dynamic, options: compile_(step, dynamic=dynamic, backend=backend)
    )
    options = replace(SMALL, compile="on", epochs=2, batch_size=8, runs_at_once=at_once)
    run = [few.task(slice(at, None, 2), seed=at, options=options) for at in (0, 1, 0, 1)]
    one, other, same_as_one, same_as_other = TorchTrainer().train_many(run, silent)
    assert one.notes["compiled"]
    assert one.notes["compile_seconds"] > 0
    assert len(graphs) == 1
    assert same_weights(one, same_as_one)
    assert same_weights(other, same_as_other)
    assert not same_weights(one, other)


def test_importing_the_plugin_loads_no_torch() -> None:
    code = "import sys, dupekit_torch; dupekit_torch.TorchTrainer(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_it_is_a_trainer_of_many() -> None:
    assert isinstance(TorchTrainer(), TrainsMany)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings(
    "default"
)  # of the compiler; raised inside it they would be taken for its failure
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("pixels", "at_once"), [("resident", 1), ("stream", 1), ("resident", 2)])
def test_on_a_gpu(images: Dataset, pixels: Any, at_once: int) -> None:
    from dupekit_onnx import OnnxOptions, OnnxValidator

    # At 32 pixels the last square is 3 x 3, whose maximum has a gradient that can go wrong in bfloat16.
    options = replace(SMALL, pixels=pixels, runs_at_once=at_once, image_size=32)
    both = [images.task(slice(0, None, 2), device="cuda", options=options) for _ in "ab"]
    made = list(TorchTrainer().train_many(both, silent))
    assert made[0].path.read_bytes() == made[1].path.read_bytes()
    notes = made[0].notes
    assert notes["compiled"] is True
    assert notes["captured"] is True
    assert notes["precision"] == ("bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float32")
    assert "cpu" not in notes["device"]
    expected = run_onnx(made[0].path.read_bytes(), images.inputs(slice(1, None, 2), made[0]))
    assert (expected.argmax(1) == images.labels[1::2]).mean() > 0.9
    held_out = np.arange(1, len(images.pool), 2)
    task = PredictTask(made[0], images.pool, held_out, "cuda", images.cache, OnnxOptions())
    predicted = np.concatenate(list(OnnxValidator().predict(task, silent)))
    np.testing.assert_allclose(predicted, expected, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("default")
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("weights_only")
def test_a_gpus_lanes_do_not_remember_what_they_trained(images: Dataset) -> None:
    """Captured once and used for all runs, side by side or not, in whichever order."""
    options = replace(SMALL, image_size=32)

    def task(number: int, at_once: int) -> TrainTask:
        chosen = replace(options, runs_at_once=at_once)
        return images.task(HALVES[number % 2], seed=number, device="cuda", options=chosen)

    several = list(TorchTrainer().train_many([task(number, 0) for number in (0, 1, 2, 3, 0, 1)], silent))
    assert same_weights(several[0], several[4])
    assert same_weights(several[1], several[5])
    trainer = TorchTrainer()
    for number in (3, 1):
        assert same_weights(trainer.train(task(number, 1), silent), several[number])
    assert not same_weights(several[0], several[2])
