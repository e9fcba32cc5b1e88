"""The validator "onnx", on models written here node by node."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PillowImage

from dupekit.api import (
    METADATA_KEY,
    FeatureInput,
    Fit,
    Images,
    Input,
    Model,
    PixelInput,
    PredictTask,
    Validator,
    model_metadata,
    read_metadata,
    silent,
)
from dupekit.dataset.cache import Cache
from dupekit.errors import CacheError, OptionError, PluginError, UsageError
from dupekit.plugin.options import options_for

onnx = pytest.importorskip("onnx", reason="the validator's extra is not installed")
pytest.importorskip("onnxruntime", reason="the validator's extra is not installed")

from onnx import helper, numpy_helper  # noqa: E402

from dupekit_nets import engine  # noqa: E402
from dupekit_onnx import OnnxOptions, OnnxValidator  # noqa: E402

CLASSES = ("dark", "light", "ünknown")
PIXELS = PixelInput(size_px=8, channels=1, mean=(0.5,), std=(0.25,))
FEATURES = FeatureInput("some-features", log_size=True)
WEIGHT = np.array([[-1.0, 1.0, 0.5]], np.float32)


def made_images(folder: Path, count: int = 5) -> Images:
    """Even grey images, each lighter than the one before, all of other sizes."""
    folder.mkdir()
    names, digests, sizes = [], [], []
    for number in range(count):
        size = (10 + number, 20 + 3 * number)
        path = folder / f"{number}.png"
        PillowImage.new("L", size, 20 + 40 * number).save(path)
        names.append(path.name)
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
        sizes.append(size)
    return Images(folder, names, digests, np.array(sizes, np.int32))


def pixel_graph(*, softmax: bool = True, factor: float = 1.0) -> Any:
    """Probabilities from the mean of the standardised pixels, times a factor."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["soft"]),
        helper.make_node("Mul", ["soft" if softmax else "logits", "factor"], ["probabilities"]),
    ]
    tensors = [
        numpy_helper.from_array(WEIGHT, "weight"),
        numpy_helper.from_array(np.array(factor, np.float32), "factor"),
    ]
    return graph_model(nodes, {"pixels": ["n", 1, 8, 8]}, tensors)


def feature_graph() -> Any:
    """Probabilities from features (n, 1) plus log width minus log height."""
    nodes = [
        helper.make_node("MatMul", ["log_size", "difference"], ["shape"]),
        helper.make_node("Add", ["features", "shape"], ["sum"]),
        helper.make_node("MatMul", ["sum", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    tensors = [
        numpy_helper.from_array(np.array([[1], [-1]], np.float32), "difference"),
        numpy_helper.from_array(WEIGHT, "weight"),
    ]
    return graph_model(nodes, {"features": ["n", 1], "log_size": ["n", 2]}, tensors)


def graph_model(nodes: list[Any], inputs: dict[str, list[Any]], tensors: list[Any]) -> Any:
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, floats, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("probabilities", floats, ["n", len(CLASSES)])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(folder: Path, graph: Any, reads: Input, **save: Any) -> Model:
    model = Model(folder / "model.onnx", "onnx", CLASSES, reads)
    helper.set_model_props(graph, model_metadata(model))
    onnx.save(graph, model.path, **save)
    return model


def predict(
    model: Model, images: Images, cache: Cache, *, device: str = "cpu", batch: int = 2
) -> NDArray[np.float32]:
    rows = np.arange(len(images))
    task = PredictTask(model, images, rows, device, cache, OnnxOptions(batch_size=batch))
    return np.concatenate([np.empty((0, len(CLASSES)), np.float32), *OnnxValidator().predict(task, silent)])


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return made_images(tmp_path / "dataset")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_it_is_a_validator() -> None:
    assert isinstance(OnnxValidator(), Validator)
    assert OnnxValidator.accepts == {"onnx"}


def test_pixels_are_standardised_and_stay_in_order(tmp_path: Path, images: Images, cache: Cache) -> None:
    found = predict(saved(tmp_path, pixel_graph(), PIXELS), images, cache)
    grey = (20 + 40 * np.arange(5)[:, None]) / 255
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax((grey - 0.5) / 0.25 * WEIGHT), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("fit", "white"), [("pad", 0.25), ("stretch", 0.5)])
def test_pixels_are_fitted_as_the_model_was_trained(tmp_path: Path, fit: Fit, white: float) -> None:
    wide = np.zeros((16, 32), np.uint8)
    wide[4:-4] = 255  # the middle rows: half of the image, a quarter of a padded square
    file = tmp_path / "wide.png"
    PillowImage.fromarray(wide).save(file)
    images = Images(
        tmp_path, [file.name], [hashlib.sha256(file.read_bytes()).hexdigest()], np.array([[32, 16]])
    )
    model = saved(tmp_path, pixel_graph(), dataclasses.replace(PIXELS, fit=fit))
    found = predict(model, images, Cache(tmp_path / "cache"))
    np.testing.assert_allclose(found, softmax((np.array([[white]]) - 0.5) / 0.25 * WEIGHT), atol=0.05)


def test_pixels_by_an_unknown_rule_are_refused(tmp_path: Path, images: Images, cache: Cache) -> None:
    model = saved(tmp_path, pixel_graph(), dataclasses.replace(PIXELS, fit="crop"))  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="by the rule 'crop', not pad or stretch"):
        predict(model, images, cache)


def test_colours_keep_their_own_mean_and_deviation() -> None:
    from dupekit_nets.feeds import standardised

    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    wanted = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(standardised(pixels, mean, std), wanted, atol=1e-5)


def test_batches_change_nothing(tmp_path: Path, images: Images, cache: Cache) -> None:
    model = saved(tmp_path, pixel_graph(), PIXELS)
    one_by_one, at_once = (predict(model, images, cache, batch=size) for size in (1, 100))
    np.testing.assert_allclose(one_by_one, at_once, atol=1e-6)
    assert (predict(model, images, cache, batch=100) == at_once).all()


def test_a_batch_that_memory_does_not_hold_is_halved(
    tmp_path: Path, images: Images, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    few, many = pixel_graph(), pixel_graph()
    # A tensor of 10,000 ** n numbers beside n images: 400 MB for two, 40 PB for four.
    many.graph.node.extend(
        [
            helper.make_node("Shape", ["pixels"], ["shape"]),
            helper.make_node("Gather", ["shape", "zero"], ["n"]),
            helper.make_node("Pow", ["base", "n"], ["count"]),
            helper.make_node("ConstantOfShape", ["count"], ["large"]),
            helper.make_node("ReduceMax", ["large"], ["nothing"], keepdims=0),
            helper.make_node("Add", ["fewer", "nothing"], ["probabilities"]),
        ]
    )
    many.graph.node[4].output[0] = "fewer"
    many.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([0], np.int64), "zero"),
            numpy_helper.from_array(np.array([10_000], np.int64), "base"),
        ]
    )
    wanted = predict(saved(tmp_path, few, PIXELS), images, cache)
    caplog.set_level(logging.INFO, "dupekit.onnx")
    engine._say.cache_clear()  # it says each thing once
    found = predict(saved(tmp_path, many, PIXELS), images, cache, batch=4)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert "Not enough memory for 4 images at once" in caplog.text


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_features_come_from_the_cache(
    tmp_path: Path, images: Images, cache: Cache, dtype: type[np.floating[Any]]
) -> None:
    values = np.linspace(-1, 1, len(images))[:, None].astype(dtype)
    cache.array("some-features", (1,), dtype).fill(images, lambda _: [values], stage="features")
    model = saved(tmp_path, feature_graph(), FEATURES)
    backwards = images.take(np.arange(len(images))[::-1])
    size = np.log(backwards.sizes)
    wanted = softmax((values[::-1] + size[:, :1] - size[:, 1:]) * WEIGHT)
    np.testing.assert_allclose(predict(model, backwards, cache), wanted, atol=1e-5)


def test_features_that_nobody_made_are_missed(tmp_path: Path, images: Images, cache: Cache) -> None:
    model = saved(tmp_path, feature_graph(), FEATURES)
    with pytest.raises(CacheError, match="The cache holds no array 'some-features'"):
        predict(model, images, cache)
    cache.array("some-features", (1,), np.float16).fill(
        images[:3], lambda some: [np.zeros((len(some), 1))], stage="features"
    )
    assert predict(model, images[:3], cache).shape == (3, 3)
    with pytest.raises(CacheError, match=r"no row for 3\.png"):
        predict(model, images, cache)


def test_features_of_another_width_are_refused(tmp_path: Path, images: Images, cache: Cache) -> None:
    cache.array("some-features", (2,), np.float16).fill(images, lambda s: [np.ones((len(s), 2))], stage="f")
    with pytest.raises(PluginError, match="reads 1 features, and 'some-features' holds 2"):
        predict(saved(tmp_path, feature_graph(), FEATURES), images, cache)


@pytest.mark.parametrize("reads", [PIXELS, FEATURES])
def test_no_images_no_rows(tmp_path: Path, images: Images, cache: Cache, reads: Input) -> None:
    model = saved(tmp_path, pixel_graph() if reads is PIXELS else feature_graph(), reads)
    assert predict(model, images[:0], cache).shape == (0, len(CLASSES))


texts = st.text(st.characters(), max_size=5)  # lone surrogates too
floats = st.lists(st.floats(allow_nan=False), max_size=3).map(tuple)


@given(
    classes=st.lists(texts, max_size=4).map(tuple),
    given_input=st.builds(
        PixelInput,
        size_px=st.integers(0, 4096),
        channels=st.sampled_from([1, 3]),
        mean=floats,
        std=floats,
        fit=st.sampled_from(["pad", "stretch"]),
        log_size=st.booleans(),
    )
    | st.builds(FeatureInput, features=texts, log_size=st.booleans()),
)
def test_metadata_comes_back_as_it_went(classes: tuple[str, ...], given_input: Input) -> None:
    model = Model(Path("somewhere"), "onnx", classes, given_input, {"note": 1})
    metadata = model_metadata(model)
    assert read_metadata({"other": "", **metadata}) == (classes, given_input)
    assert all(value.isascii() for value in metadata.values())


@pytest.mark.parametrize("reads", [PIXELS, FEATURES])
def test_metadata_of_the_first_dupekit_is_read(reads: Input) -> None:
    """It wrote the fields of both kinds."""
    fields = {
        "kind": "pixels",
        "size_px": 0,
        "channels": 1,
        "fit": "pad",
        "mean": [],
        "std": [],
        "features": "",
    }
    content = {"version": 1, "classes": ["a"], "input": {**fields, **dataclasses.asdict(reads)}}
    assert read_metadata({METADATA_KEY: json.dumps(content)}) == (("a",), reads)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "damaged"),
        ('{"version": 1, "classes": [], "input": {"kind": "pixels"}}', "damaged: .*size_px"),
        ("[]", "damaged"),
        ('{"version": 2, "classes": [], "input": {"kind": "pixels"}}', "version 2, not 1"),
        ('{"version": 1, "classes": [], "input": {"kind": "sound"}}', "an input of kind 'sound'"),
        ('{"version": 1, "classes": [3], "input": {"kind": "pixels"}}', "not names"),
        ('{"version": 1, "classes": [], "input": {"kind": "pixels", "depth": 1}}', "depth"),
    ],
)
def test_damaged_metadata_is_refused(text: str, why: str) -> None:
    with pytest.raises(PluginError, match=why):
        read_metadata({METADATA_KEY: text})


def test_a_model_without_metadata_is_refused(tmp_path: Path, images: Images, cache: Cache) -> None:
    model = Model(tmp_path / "model.onnx", "onnx", CLASSES, PIXELS)
    onnx.save(pixel_graph(), model.path)
    with pytest.raises(PluginError, match="no metadata 'dupekit'"):
        predict(model, images, cache)


def test_a_file_that_contradicts_its_model_is_refused(tmp_path: Path, images: Images, cache: Cache) -> None:
    model = saved(tmp_path, pixel_graph(), PIXELS)
    with pytest.raises(PluginError, match="of its classes otherwise"):
        predict(dataclasses.replace(model, classes=CLASSES[::-1]), images, cache)
    wider = dataclasses.replace(PIXELS, std=(0.5,))
    with pytest.raises(PluginError, match="of its input otherwise"):
        predict(dataclasses.replace(model, input=wider), images, cache)
    lying = saved(tmp_path, pixel_graph(), FEATURES)
    with pytest.raises(PluginError, match=r"reads pixels and gives 1 outputs.*reads features, log_size"):
        predict(lying, images, cache)


def test_external_data_is_refused_and_not_read(tmp_path: Path, images: Images, cache: Cache) -> None:
    model = saved(
        tmp_path, pixel_graph(), PIXELS, save_as_external_data=True, size_threshold=0, location="weights.bin"
    )
    assert (tmp_path / "weights.bin").is_file()
    with pytest.raises(PluginError, match="'weight' in another file"):
        predict(model, images, cache)


def test_external_data_is_found_in_branches() -> None:
    hidden = numpy_helper.from_array(np.ones(3, np.float32), "hidden")
    onnx.external_data_helper.set_external_data(hidden, "/etc/passwd")
    branch = helper.make_graph([helper.make_node("Constant", [], ["x"], value=hidden)], "branch", [], [])
    node = helper.make_node("If", ["condition"], ["probabilities"], then_branch=branch, else_branch=branch)
    with pytest.raises(PluginError, match="'hidden' in another file"):
        engine.check_model(graph_model([node], {}, []).SerializeToString(), "the model")


def endless(operation: str = "Loop", *, within: str | None = None) -> Any:
    """A model with an operation that runs a graph again and again; with `within` in a branch, or in a function."""
    one, flag = onnx.TensorProto.INT64, onnx.TensorProto.BOOL
    body = helper.make_graph(
        [],
        "body",
        [helper.make_tensor_value_info("at", one, []), helper.make_tensor_value_info("go", flag, [])],
        [helper.make_tensor_value_info("go", flag, [])],
    )
    looping = helper.make_node(operation, ["", "go"], [], body=body)
    if within == "branch":
        branch = helper.make_graph([looping], "branch", [], [])
        looping = helper.make_node("If", ["go"], [], then_branch=branch, else_branch=branch)
    graph = pixel_graph()
    if within == "function":
        opset = [helper.make_opsetid("", 17)]
        graph.functions.append(helper.make_function("own", "f", ["go"], [], [looping], opset))
        graph.opset_import.append(helper.make_opsetid("own", 1))
        looping = helper.make_node("f", ["go"], [], domain="own")
    graph.graph.initializer.append(numpy_helper.from_array(np.array(True), "go"))
    graph.graph.node.append(looping)
    return graph


@pytest.mark.parametrize("within", [None, "branch", "function"])
@pytest.mark.parametrize("operation", ["Loop", "Scan", "SequenceMap"])
def test_a_loop_is_refused(
    tmp_path: Path, images: Images, cache: Cache, operation: str, within: str | None
) -> None:
    with pytest.raises(PluginError, match=f"has a loop, the operation {operation}"):
        predict(saved(tmp_path, endless(operation, within=within), PIXELS), images, cache)


def calling(levels: int, *, last: str) -> Any:
    """A model with functions that each call the next one twice."""
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    graph = pixel_graph()
    for level in range(levels):
        called = (last, "") if level + 1 == levels else (f"f{level + 1}", "own")
        nodes = [
            helper.make_node(called[0], [source], [target], domain=called[1])
            for source, target in (("x", "y"), ("y", "z"))
        ]
        graph.functions.append(helper.make_function("own", f"f{level}", ["x"], ["z"], nodes, opset))
    graph.opset_import.append(helper.make_opsetid("own", 1))
    graph.graph.node.append(helper.make_node("f0", ["probabilities"], ["again"], domain="own"))
    graph.graph.output[0].name = "again"
    return graph


def test_functions_that_call_each_other_without_end_are_refused(
    tmp_path: Path, images: Images, cache: Cache
) -> None:
    wanted = predict(saved(tmp_path, pixel_graph(), PIXELS), images, cache)
    found = predict(saved(tmp_path, calling(5, last="Identity"), PIXELS), images, cache)
    assert (found == wanted).all()
    circle = calling(3, last="f0")
    for node in circle.functions[2].node:
        node.domain = "own"
    for graph in (calling(40, last="Identity"), circle):
        with pytest.raises(PluginError, match="over 100,000 operations"):
            predict(saved(tmp_path, graph, PIXELS), images, cache)


@pytest.mark.parametrize(
    "graph", [pixel_graph(softmax=False), pixel_graph(factor=3.0), pixel_graph(factor=float("nan"))]
)
def test_what_are_no_probabilities_is_refused(
    tmp_path: Path, images: Images, cache: Cache, graph: Any
) -> None:
    with pytest.raises(PluginError, match="what are not probabilities"):
        predict(saved(tmp_path, graph, PIXELS), images, cache)


def test_a_sum_a_little_off_is_mended(tmp_path: Path, images: Images, cache: Cache) -> None:
    found = predict(saved(tmp_path, pixel_graph(factor=1.005), PIXELS), images, cache)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_other_files_are_no_models(tmp_path: Path, images: Images, cache: Cache) -> None:
    model = Model(tmp_path / "model.onnx", "onnx", CLASSES, PIXELS)
    with pytest.raises(PluginError, match="cannot be read: No such file"):
        predict(model, images, cache)
    model.path.write_bytes(b"GIF89a not a network")
    with pytest.raises(PluginError, match=r"is not an ONNX model|cannot open"):
        predict(model, images, cache)


def test_a_gpu_that_is_not_there(
    tmp_path: Path, images: Images, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "cuda_problem", lambda number: f"no GPU {number} here")
    model = saved(tmp_path, pixel_graph(), PIXELS)
    with pytest.raises(UsageError, match="'cuda:3' cannot be used: no GPU 3 here"):
        predict(model, images, cache, device="cuda:3")
    assert predict(model, images, cache, device="auto").shape == (5, 3)
    with pytest.raises(OptionError, match=r"no device 'gpu'.*\n.*cuda:N"):
        predict(model, images, cache, device="gpu")


def test_the_provider_is_logged_once_and_nothing_printed(
    tmp_path: Path,
    images: Images,
    cache: Cache,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    engine._say.cache_clear()
    engine.cuda_problem.cache_clear()
    model = saved(tmp_path, pixel_graph(), PIXELS)
    with caplog.at_level(logging.INFO, "dupekit.onnx"):
        for _ in range(2):
            predict(model, images, cache, device="auto")
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "computes on" in caplog.text
    assert capfd.readouterr() == ("", "")


def test_progress_ends_at_the_last_image(tmp_path: Path, images: Images, cache: Cache) -> None:
    told: list[tuple[str, int, int]] = []

    def progress(stage: str, done: int, total: int, /, **figures: float) -> None:
        told.append((stage, done, total))

    model = saved(tmp_path, pixel_graph(), PIXELS)
    task = PredictTask(model, images, np.arange(5), "cpu", cache, OnnxOptions(batch_size=2))
    assert [len(block) for block in OnnxValidator().predict(task, progress)] == [2, 2, 1]
    assert [entry for entry in told if entry[0] == "predicting"] == [
        ("predicting", 2, 5),
        ("predicting", 4, 5),
        ("predicting", 5, 5),
    ]


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="batch_size='-1'"):
        options_for(OnnxValidator, {"batch_size": "-1"})
