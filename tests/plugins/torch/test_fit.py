"""A training by its parts: schedule, steps, weights, compiling, and what happens where memory does not suffice."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dupekit.api import PixelInput, PluginError, silent
from dupekit_torch import Options, TorchTrainer
from tests.plugins.torch.support import SMALL, Dataset, limit_memory, same_weights

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from dupekit_torch.device import give_back_memory  # noqa: E402
from dupekit_torch.fit.descent import Descent  # noqa: E402
from dupekit_torch.fit.loss import compiled, from_pixels, image_weights, loss_function  # noqa: E402
from dupekit_torch.fit.muon import Muon  # noqa: E402
from dupekit_torch.fit.schedule import one_cycle, schedule  # noqa: E402
from dupekit_torch.fit.step import Step  # noqa: E402
from dupekit_torch.fit.training import repeatable  # noqa: E402
from dupekit_torch.network.classifier import Spec, build  # noqa: E402
from dupekit_torch.network.stem import whitening_filters  # noqa: E402
from dupekit_torch.pixels.batches import Batch  # noqa: E402
from dupekit_torch.worker import lanes_on_gpu  # noqa: E402

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
    assert tuned.epochs < scratch.epochs


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


def random_matrices(*shapes: tuple[int, int]) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(4)
    return [torch.randn(shape, generator=random) for shape in shapes]


def test_muon_moves_each_matrix_as_if_it_were_alone() -> None:
    """Those of equally many rows are computed as one stack, and columns count as rows where they are fewer."""
    shapes = [(12, 108), (12, 40), (108, 12), (7, 9)]
    together, alone = random_matrices(*shapes), random_matrices(*shapes)
    unmoved = random_matrices((12, 12))[0]
    kept = unmoved.clone()
    muons = [
        Muon([*together, unmoved], weight_decay=0.1),
        *(Muon([matrix], weight_decay=0.1) for matrix in alone),
    ]
    for step in range(3):
        for matrices in (together, alone):
            for matrix, gradient in zip(matrices, random_matrices(*shapes), strict=True):
                matrix.grad = gradient + step
        for muon in muons:
            muon.step(0.02)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(unmoved, kept)  # it has no gradient


def test_muon_in_bfloat16_goes_nearly_the_same_way() -> None:
    exact, rounded = random_matrices((64, 576)), random_matrices((64, 576))
    before = exact[0].clone()
    for matrices, products in ((exact, torch.float32), (rounded, torch.bfloat16)):
        matrices[0].grad = random_matrices((64, 576), (64, 576))[1]
        Muon(matrices, weight_decay=0.1, products=products).step(0.02)
        assert matrices[0].dtype == torch.float32
    assert float((exact[0] - rounded[0]).norm()) < 0.02 * float((exact[0] - before).norm())


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
    cpu = torch.device("cpu")
    logits = from_pixels(Means(), PixelInput(8, 1, (0.5,), (0.25,)), cpu)
    return loss_function(logits, device=cpu, smoothing=0.1, autocast=False)


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


def small_batch(seed: int, device: Any) -> Batch:
    random = torch.Generator().manual_seed(seed)
    columns = (
        torch.randint(0, 256, (8, 32, 32, 1), dtype=torch.uint8, generator=random),
        torch.randint(0, 8, (8,), generator=random),
        torch.randint(-2, 3, (8, 2), generator=random),
        torch.zeros(8, 2),
        torch.randint(0, 3, (8,), generator=random),
        torch.ones(8),
    )
    return Batch(*(column.to(device) for column in columns))


def small_step(device: Any) -> Step:
    """Of the compact network, with a last square of 3 x 3."""
    spec = Spec(
        model="compact", size_px=32, channels=1, classes=3, width=8, stem=whitening_filters([torch.rand(1, 32, 32)])
    )  # fmt: skip
    network = build(spec, seed=0).to(device).to(memory_format=torch.channels_last)
    logits = from_pixels(network, PixelInput(32, 1, (0.5,), (0.25,)), device)
    loss = loss_function(logits, device=device, smoothing=0.1, autocast=False)
    return Step(network, loss, Descent(network, weight_decay=0.3, muon=True), device)


def trained(step: Step, seed: int, *, device: Any, steps: int = 5) -> dict[str, torch.Tensor]:
    """The weights after a few steps from those of the seed."""
    step.network.load_state_dict(fresh_weights(step, seed))
    step.reset()
    for number in range(steps):
        step(small_batch(10 * seed + number, device), 0.01)
    return {name: value.cpu().clone() for name, value in step.network.state_dict().items()}


def fresh_weights(step: Step, seed: int) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        name: 0.1 * torch.randn(value.shape, generator=random) if value.requires_grad else torch.full_like(value, 1)
        for name, value in step.network.state_dict(keep_vars=True).items()
    }  # fmt: skip


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_step_forgets_the_training_before() -> None:
    """In place: a captured step goes on to use the memory that it knows."""
    cpu = torch.device("cpu")
    reused = small_step(cpu)
    first = trained(reused, 1, device=cpu)
    places = [parameter.data_ptr() for parameter in reused.network.parameters()]
    second = trained(reused, 2, device=cpu)
    assert places == [parameter.data_ptr() for parameter in reused.network.parameters()]
    assert equal(second, trained(small_step(cpu), 2, device=cpu))
    assert not equal(first, second)


def test_a_step_that_fails_leaves_nothing_behind() -> None:
    cpu = torch.device("cpu")
    step = small_step(cpu)
    step.loss(small_batch(1, cpu)).backward()  # the descent does not come to it
    assert equal(trained(step, 2, device=cpu), trained(small_step(cpu), 2, device=cpu))


def test_a_step_that_cannot_be_captured_stays_plain(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cpu = torch.device("cpu")

    def refuse() -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(device=cpu))
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    step = small_step(cpu)
    step._rate = torch.zeros(())  # as on CUDA
    step.capture(small_batch(0, cpu))
    assert not step.captured
    assert (
        "cannot be captured as a CUDA graph, training goes on without: operation not permitted" in caplog.text
    )
    assert "and more" not in caplog.text
    expected = small_step(cpu)
    expected._rate = torch.zeros(())
    assert equal(trained(step, 2, device=cpu), trained(expected, 2, device=cpu))


@pytest.mark.parametrize(
    ("captured", "lane_gib", "lanes"), [(True, 2, 4), (True, 15, 3), (True, 60, 1), (False, 2, 1)]
)
def test_runs_side_by_side_on_a_gpu(captured: bool, lane_gib: int, lanes: int) -> None:
    assert lanes_on_gpu(captured=captured, lane_bytes=lane_gib << 30, all_bytes=80 << 30) == lanes


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_captured_step_is_the_plain_one() -> None:
    cuda = torch.device("cuda", torch.cuda.current_device())
    plain, captured = small_step(cuda), small_step(cuda)
    with repeatable(), torch.cuda.stream(torch.cuda.Stream(cuda)):
        torch.cuda.synchronize(cuda)
        expected = trained(plain, 1, device=cuda, steps=20)
        captured.capture(small_batch(0, cuda))
        assert captured.captured
        other = trained(captured, 2, device=cuda, steps=20)
        found = trained(captured, 1, device=cuda, steps=20)
        again = trained(captured, 2, device=cuda, steps=20)
    assert equal(other, again)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-3)
    assert not equal(found, other)


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
