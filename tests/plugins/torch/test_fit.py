"""A training by its parts: schedule, steps, weights, compiling, and what happens where memory does not suffice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dupekit.api import PixelInput, PluginError, silent
from dupekit_torch import Options, TorchTrainer
from tests.plugins.torch.support import SMALL, Dataset, limit_memory, same_weights

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from dupekit_torch.device import give_back_memory  # noqa: E402
from dupekit_torch.fit.descent import Descent  # noqa: E402
from dupekit_torch.fit.loss import compiled, image_weights, loss_function  # noqa: E402
from dupekit_torch.fit.muon import Muon  # noqa: E402
from dupekit_torch.fit.schedule import one_cycle, schedule  # noqa: E402
from dupekit_torch.pixels.batches import Batch  # noqa: E402

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory.")


def test_schedule_rises_and_falls() -> None:
    rates = [one_cycle(step, 100) for step in range(100)]
    top = int(np.argmax(rates))
    assert 15 < top < 25
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < min(rates) < 0.03
    assert max(rates) > 0.99
    assert one_cycle(0, 1) > 0


def test_pretrained_networks_are_tuned_gently() -> None:
    scratch = schedule(1000, Options(model="torchvision:resnet18"), pool=2000)
    tuned = schedule(1000, Options(model="torchvision:resnet18", pretrained=True), pool=2000)
    assert tuned.learning_rate < scratch.learning_rate / 5


def test_schedule_gives_few_images_more_epochs() -> None:
    sizes = (1, 20, 30, 1_331, 15_000, 25_000, 1_000_000)
    made = [schedule(n, Options(), pool=2 * n) for n in sizes]
    epochs = [each.epochs for each in made]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[-1] < epochs[0]
    assert all(each.steps * each.batch >= each.looks for each in made)
    assert all(each.steps >= 100 for each in made[1:])
    given = schedule(1000, Options(epochs=2, batch_size=8, learning_rate=0.5), pool=2000)
    assert (given.epochs, given.batch, given.steps, given.learning_rate) == (2, 8, 250, 0.5)


def test_both_halves_of_a_pair_are_trained_alike() -> None:
    one, other = (schedule(images, Options(), pool=18_101) for images in (9_050, 9_051))
    assert (one.batch, one.epochs, one.learning_rate) == (other.batch, other.epochs, other.learning_rate)


def stepped(part: torch.nn.Conv2d, *, with_muon: bool) -> torch.Tensor:
    """How one step of `Descent` moves the filters for a random gradient: a matrix, a row a filter, in parts of the rate."""
    part.to(memory_format=torch.channels_last)
    before = part.weight.detach().clone()
    descent = Descent(part, weight_decay=0.0, muon=with_muon)
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
    our_muon = Muon([ours], **settings, iterations=3)
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


def test_image_weights() -> None:
    labels = torch.tensor([0, 0, 0, 0, 2])
    assert image_weights(labels, "none").tolist() == [1.0] * 5
    full = image_weights(labels, "full")
    assert float(full[:4].sum()) == pytest.approx(float(full[4]))
    root = image_weights(labels, "sqrt")
    assert float(root[4] / root[0]) == pytest.approx(2)
    given = np.array([0, 1, 2, 3, 4], np.float32)
    both = image_weights(labels, "sqrt", given)
    torch.testing.assert_close(
        both / both[4] * 4 * 2, torch.from_numpy(given * [1, 1, 1, 1, 2]), check_dtype=False
    )
    for weights in (full, root, both):
        assert float(weights.mean()) == pytest.approx(1)
    with pytest.raises(PluginError, match="have the weight 0"):
        image_weights(labels, "none", given * 0)


def trial() -> Batch:
    numbers = torch.arange(4)
    pixels = torch.randint(0, 256, (4, 8, 8, 1), dtype=torch.uint8)
    return Batch(
        pixels,
        numbers.clone(),
        torch.zeros(4, 2, dtype=torch.int64),
        torch.ones(4, 2),
        numbers,
        torch.ones(4),
    )


class Means(torch.nn.Module):
    """The smallest network: logits from the mean brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(1, 4)

    def forward(self, pixels: Any, sizes: Any) -> Any:
        return self.head(pixels.mean((2, 3)))


@pytest.fixture
def loss() -> Any:
    read = PixelInput(8, 1, (0.5,), (0.25,))
    return loss_function(Means(), read, device=torch.device("cpu"), smoothing=0.1, autocast=False)


def test_a_compiler_that_fails_is_done_without(
    loss: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def compile_later(function: Any, **_: Any) -> Any:
        def broken(*_: Any) -> Any:
            raise RuntimeError("Cannot find a working triton installation\nand more")

        return broken

    monkeypatch.setattr(torch, "compile", compile_later)
    assert compiled(loss, trial(), required=False) is None
    assert "Cannot find a working triton" in caplog.text
    with pytest.raises(PluginError, match="Cannot find a working triton"):
        compiled(loss, trial(), required=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # PyTorch's compiler warns of its own affairs
def test_a_compiled_loss_is_the_same(loss: Any) -> None:
    try:
        faster = compiled(loss, trial(), required=True)
    except PluginError as error:
        pytest.skip(f"no compiler here: {error}")
    assert faster is not loss
    batch = trial()
    torch.testing.assert_close(faster(batch), loss(batch))


@pytest.mark.usefixtures("weights_only")
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
    seen = limit_memory(monkeypatch, 4, error)
    trainer, options = TorchTrainer(), replace(SMALL, batch_size=16, epochs=2)
    model = trainer.train(few.task(options=options), silent)
    assert (model.notes["batch_size"], model.notes["micro_batch"]) == (16, 4)
    assert seen[:3] == [16, 8, 4]
    assert "begins again with 4 images" in caplog.text
    seen.clear()
    again = trainer.train(few.task(options=options), silent)  # the next run of this worker knows
    assert max(seen) == 4
    assert same_weights(model, again)


@pytest.mark.usefixtures("weights_only")
def test_no_part_of_a_batch_is_a_single_image(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = limit_memory(monkeypatch, 3, OUT_OF_MEMORY)
    TorchTrainer().train(few.task(options=replace(SMALL, batch_size=9, epochs=2)), silent)
    assert set(seen) == {9, 5, 3, 2}


@pytest.mark.usefixtures("weights_only")
def test_memory_for_no_batch_at_all_is_an_error(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_memory(monkeypatch, 0, OUT_OF_MEMORY)
    with pytest.raises(PluginError, match="Not enough memory to train on two images") as caught:
        TorchTrainer().train(few.task(), silent)
    assert "image_size" in caught.value.hint


@pytest.mark.usefixtures("weights_only")
def test_other_errors_are_not_taken_for_memory(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_memory(monkeypatch, 0, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        TorchTrainer().train(few.task(), silent)


@pytest.mark.parametrize(("kept_gib", "given_back"), [(30, True), (10, False)])
def test_a_gpu_gets_much_unused_memory_back(
    monkeypatch: pytest.MonkeyPatch, kept_gib: int, given_back: bool
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: (kept_gib + 5) << 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 5 << 30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (40 << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("emptied"))
    give_back_memory(torch.device("cpu"))
    assert not calls
    give_back_memory(torch.device("cuda", 0))
    assert bool(calls) == given_back
