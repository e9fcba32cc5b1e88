"""Files of torchvision's weights, whoever reads them: the trainer "torch" or the probe's backbones."""

from __future__ import annotations

import email.message
import io
import os
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dupekit.dataset.cache import Cache
from dupekit.errors import PluginError
from dupekit.project import Project
from tests.support import dupekit

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
torchvision = pytest.importorskip("torchvision", reason="the extra torch is not installed")
pytest.importorskip("onnx", reason="the extra torch is not installed")
pytest.importorskip("onnxruntime", reason="the extra torch is not installed")

from dupekit_probe.backbone import open_backbone  # noqa: E402
from dupekit_torch.network.classifier import Spec, build  # noqa: E402

URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"


@pytest.fixture(params=["torch", "probe"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    """Has a plugin read ResNet-18's weights."""
    if request.param == "torch":
        spec = Spec(model="torchvision:resnet18", size_px=32, channels=3, classes=5, pretrained=True)
        return lambda: build(spec, seed=1)
    cache = Cache(tmp_path / "cache")
    return lambda: open_backbone("torchvision:resnet18", size_px=32, cache=cache, device="cpu")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they are looked for; nothing is there, and there is no network."""

    def offline(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "urlopen", offline)
    made = tmp_path / "home" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    made.parent.mkdir(parents=True)
    return made


def test_missing_weights_say_which_file_goes_where(read: Callable[[], Any], file: Path) -> None:
    with pytest.raises(PluginError, match=r"not at hand and cannot be downloaded: .*no network") as caught:
        read()
    assert caught.value.hint == f"Download {URL} on another computer and put it at {file}"


def test_a_weights_file_is_never_run(read: Callable[[], Any], file: Path, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return (tmp_path.joinpath("harm").mkdir, ())

    torch.save({"conv1.weight": Harmful()}, file)
    with pytest.raises(
        PluginError, match="holds other than this model's weights: Unsupported global"
    ) as caught:
        read()
    assert "safe_globals" not in caught.value.message  # PyTorch says how to let it run nevertheless
    assert not (tmp_path / "harm").exists()
    torch.load(file, weights_only=False)  # to see that it would have
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "content", ["page", "nothing", "beginning", "another network", "a list", "old", "changed"]
)
def test_a_file_of_something_else_is_said_to_be_damaged(
    read: Callable[[], Any], file: Path, content: str
) -> None:
    if content == "page":
        file.write_bytes(b"<!DOCTYPE html><title>Please log in</title>")
    elif content == "nothing":
        file.touch()
    elif content == "another network":
        torch.save(torchvision.models.squeezenet1_1().state_dict(), file)
    elif content == "a list":
        torch.save([torch.zeros(3)], file)
    else:
        old = content != "beginning"  # the format of most of torchvision's files
        weights = torchvision.models.resnet18().state_dict()
        torch.save(weights, file, _use_new_zipfile_serialization=not old)
        whole = file.read_bytes()
        changed = whole.replace(b"conv1.weight", b"conv1\xffweight")
        file.write_bytes({"beginning": whole[:-100], "old": whole[:20_000_000], "changed": changed}[content])
    with pytest.raises(PluginError, match="is damaged, or holds other than this model's weights") as caught:
        read()
    assert str(file) in caught.value.message
    assert "Re-running" not in caught.value.message  # PyTorch's advice to load it unsafely
    assert caught.value.hint == f"Delete it, and download {URL} again."


def test_the_user_s_own_switches_neither_matter_nor_change(
    read: Callable[[], Any], file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch refuses to load at all where both are set."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    torch.save(torchvision.models.resnet18().state_dict(), file)
    read()
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_a_download_that_is_not_whole_is_not_kept(
    read: Callable[[], Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer(io.BytesIO):
        def info(self) -> email.message.Message:
            return email.message.Message()

    monkeypatch.setattr(torch.hub, "urlopen", lambda _: Answer(b"<title>Please log in</title>"))
    with pytest.raises(PluginError, match="not at hand and cannot be downloaded: invalid hash") as caught:
        read()
    assert caught.value.hint.endswith(f"put it at {file}")
    assert not file.exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--trainer", "torch", "--set", "model=torchvision:resnet18", "--set", "pretrained=true"),
        ("--trainer", "probe", "--set", "backbone=torchvision:resnet18"),
    ],
    ids=["torch", "probe"],
)
def test_a_round_without_its_weights_ends_with_what_to_do(
    project: Project, file: Path, options: tuple[str, ...]
) -> None:
    file.write_bytes(b"<!DOCTYPE html><title>Please log in</title>")
    sizes = ("--set", "image_size=32", "--pairs", 1, "--device", "cpu")
    done = dupekit("train", *options, *sizes, cwd=project.path, code=1)
    assert f"{file} is damaged, or holds other than this model's weights: Unsupported operand" in done.stderr
    assert f"Delete it, and download {URL} again." in done.stderr
    assert "0 of 2 runs are done" in done.stdout
    assert "Next: dupekit train" in done.stdout
