"""The networks by themselves, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dupekit.api import Model, OptionError, PixelInput
from tests.plugins.torch.support import CLASSES

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("torchvision", reason="the extra torch is not installed")
pytest.importorskip("onnx", reason="the extra torch is not installed")
pytest.importorskip("onnxruntime", reason="the extra torch is not installed")

from dupekit_torch.network.classifier import Classifier, Spec, build, draws  # noqa: E402
from dupekit_torch.network.export import Exporter, Probabilities, run_onnx  # noqa: E402
from dupekit_torch.network.stem import whitening_filters  # noqa: E402
from dupekit_torch.pixels.statistics import Moments  # noqa: E402


def compact(size_px: int, *, channels: int = 3, **choices: Any) -> Spec:
    stem = whitening_filters(torch.randn(4, channels, size_px, size_px))
    return Spec(model="compact", size_px=size_px, channels=channels, classes=5, width=8, stem=stem, **choices)


def torchvisions(name: str, *, pretrained: bool = False, size_px: int = 64) -> Spec:
    return Spec(model=f"torchvision:{name}", size_px=size_px, channels=3, classes=5, pretrained=pretrained)


@pytest.mark.parametrize("size_px", [16, 17, 40, 41, 48, 100])
def test_the_compact_network_takes_any_size(size_px: int) -> None:
    images = torch.randn(4, 3, size_px, size_px)
    spec = compact(size_px)
    made = build(spec, seed=1).train()
    logits = made(images)
    assert logits.shape == (4, 5)
    logits.square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in made.parameters() if p.requires_grad)
    assert torch.equal(made.trunk.stem.weight, spec.stem)
    assert made.trunk.stem.weight.grad is None


@pytest.mark.parametrize("channels", [1, 3])
def test_stem_whitens_patches(channels: int) -> None:
    """Patches of neighbouring pixels that are much alike come out with unit variance, and none alike."""
    smooth = torch.randn(20, channels, 31, 31, generator=torch.Generator().manual_seed(1)).cumsum(2).cumsum(3)
    images = smooth / smooth.std()
    filters = whitening_filters(images)
    count = 4 * channels
    assert torch.equal(filters[count:], -filters[:count])
    seen = torch.nn.functional.conv2d(images, filters[:count]).transpose(0, 1).flatten(1)
    moments = (seen @ seen.T / seen.shape[1]).numpy()
    np.testing.assert_allclose(moments - np.diag(np.diag(moments)), 0, atol=1e-3)
    assert 0.9 < moments.diagonal().max() < 1.001
    raw = images.unfold(2, 2, 1).unfold(3, 2, 1).reshape(-1, 4)
    assert (raw.T @ raw / len(raw))[0, 1] > 0.9


def test_a_stem_of_images_without_anything_is_finite() -> None:
    filters = whitening_filters(torch.zeros(2, 1, 48, 48))
    assert filters.shape == (18, 1, 3, 3)
    assert bool(filters.isfinite().all())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "googlenet"])
def test_torchvision_heads_are_replaced(name: str) -> None:
    made = build(torchvisions(name), seed=1).train()
    assert made(torch.zeros(2, 3, 64, 64)).shape == (2, 5)
    assert not any(getattr(module, "out_features", 0) == 1000 for module in made.modules())


def test_torchvision_refusals() -> None:
    with pytest.raises(OptionError, match="no classifier 'resnet19'"):
        build(torchvisions("resnet19"), seed=1)
    with pytest.raises(OptionError, match="does not take images of 32 pixels") as caught:
        build(torchvisions("inception_v3", size_px=32), seed=1)
    assert "image_size" in caught.value.hint


def test_weights_that_were_put_there_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import resnet18

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    weights = resnet18().state_dict()
    torch.save(weights, file)
    made = build(torchvisions("resnet18", pretrained=True), seed=1)
    assert torch.equal(made.trunk.conv1.weight, weights["conv1.weight"])


def test_networks_that_draw_are_known() -> None:
    assert draws(build(torchvisions("mobilenet_v3_small"), seed=0))
    assert not draws(build(torchvisions("resnet18"), seed=0))


def trained(spec: Spec, seed: int) -> Classifier:
    """A network whose running statistics have moved as well."""
    network = build(spec, seed=seed).train()
    network(torch.randn(8, spec.channels, spec.size_px, spec.size_px), torch.randn(8, 2))
    return network.eval()


@pytest.mark.parametrize("size_px", [16, 48])
def test_a_file_holds_its_own_network(tmp_path: Path, size_px: int) -> None:
    """Networks go through one graph, one after the other, and each file gives the probabilities of its own."""
    spec = compact(size_px, channels=1, log_size=Moments((3.0, 3.0), (0.5, 0.5)))
    exporter = Exporter(spec, (0, 1))
    pixels, sizes = torch.randn(7, 1, size_px, size_px), torch.randn(7, 2) + 3
    read = PixelInput(size_px, 1, (0.5,), (0.5,), log_size=True)
    found = []
    for seed in (1, 2):
        network, model = trained(spec, seed), Model(tmp_path / f"{seed}.onnx", "onnx", CLASSES, read)
        exporter.write(network, model, check=(pixels, sizes))
        with torch.no_grad():
            expected = ((network(pixels, sizes) + network(pixels.flip(3), sizes)) / 2).softmax(1).numpy()
        found.append(run_onnx(model.path.read_bytes(), (pixels, sizes)))
        np.testing.assert_allclose(found[-1], expected, atol=1e-4)
        one = run_onnx(model.path.read_bytes(), (pixels[:1], sizes[:1]))
        np.testing.assert_allclose(one, expected[:1], atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-2


@torch.no_grad()
def test_what_training_shows_alike_is_predicted_alike() -> None:
    """With all eight views no mirror and no turn changes a prediction; with one each does."""
    network = trained(compact(16), 1)
    pixels, sizes = torch.randn(3, 3, 16, 16), torch.zeros(3, 2)
    one, eight = Probabilities(network, (0,)), Probabilities(network, range(8))
    for seen in (pixels.flip(3), pixels.flip(2), pixels.transpose(2, 3)):
        torch.testing.assert_close(eight(seen, sizes), eight(pixels, sizes), atol=1e-5, rtol=0)
        assert (one(seen, sizes) - one(pixels, sizes)).abs().max() > 1e-3
    # Each image keeps its place.
    turned = eight(pixels.flip(0), sizes).flip(0)
    torch.testing.assert_close(turned, eight(pixels, sizes), atol=1e-5, rtol=0)
    assert (turned - turned.flip(0)).abs().max() > 1e-3
