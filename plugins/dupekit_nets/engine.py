"""Opens ONNX models with onnxruntime: on a GPU only where that can work, and never with external data or loops."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from dupekit.api import OptionError, PluginError, UsageError, cores, cuda_devices, in_order

Part = TypeVar("Part")
Result = TypeVar("Result")

_LOG = logging.getLogger("dupekit.onnx")
_DEVICE = re.compile(r"auto|cpu|cuda(?::(\d+))?")
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_MAX_OPERATIONS = 100_000
"""Of a model: the largest networks for images have some ten thousand."""
_OUT_OF_MEMORY = re.compile(
    r"[Ff]ailed to allocate memory|out of memory|bad.alloc|STATUS_\w*ALLOC(ATION)?_FAILED"
)
_FATAL, _ERROR, _WARNING = 4, 3, 2  # onnxruntime's levels of severity
_HINT = 'Set the device to "auto" or "cpu".'


def open_session(model: Path | bytes, *, device: str, tf32: bool = False) -> Any:
    """An `onnxruntime.InferenceSession` of a model file, or of its content.

    `device` is "cpu", "cuda", "cuda:N", or "auto": the first GPU where there is one and onnxruntime's
    CUDA provider loads, else the CPU. With `tf32` a GPU may round the factors of products to 10 bits. Raises OptionError for any other device, UsageError where a GPU was
    named and cannot be had, PluginError as `check_model` and for what onnxruntime does not take.
    """
    number = _gpu_number(device)
    content = model if isinstance(model, bytes) else _read(model)
    name = "the model" if isinstance(model, bytes) else str(model)
    check_model(content, name)
    if number is not None:
        problem = cuda_problem(number)
        if not problem:
            try:
                session = _session(content, name, number, tf32=tf32)
            except PluginError:
                if device != "auto":
                    raise
                problem = "it did not take the model"  # the CPU may, or says why not
            else:
                if on_gpu(session):
                    _say(f"onnxruntime {onnxruntime.__version__} computes on GPU {number}")
                    return session
                problem = "onnxruntime could not load its CUDA provider"
        if device != "auto":
            raise UsageError(f"The device {device!r} cannot be used: {problem}.", hint=_HINT)
        _say(f"onnxruntime {onnxruntime.__version__} computes on the CPU: {problem}")
    else:
        _say(f"onnxruntime {onnxruntime.__version__} computes on the CPU")
    return _session(content, name, None, tf32=tf32)


def check_model(content: bytes, name: str) -> None:
    """Raises PluginError for a model that refers to other files, may never end, or is none.

    onnxruntime would read whatever file such a model names, also through hard links. How long a batch may take depends on
    network and machine, so no limit of time tells a slow one from one without end: what is taken is a graph whose
    operations run once at most, and are not too many.
    """
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own, of whichever protobuf is installed
        raise PluginError(f"{name} is not an ONNX model: {error}") from None
    for tensor in _tensors(model):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise PluginError(
                f"{name} keeps the tensor {tensor.name!r} in another file, which is refused.",
                hint="Save it as a single file: onnx.save(model, path, save_as_external_data=False).",
            )
    try:
        operations = _Operations(model, name).count(model.graph.node)
    except RecursionError:
        operations = _MAX_OPERATIONS + 1
    if operations > _MAX_OPERATIONS:
        raise PluginError(
            f"{name} has over {_MAX_OPERATIONS:,} operations, as its functions are called, or calls in a circle; that is refused."
        )


class _Operations:
    """Counts what a model computes. Raises PluginError at a loop."""

    def __init__(self, model: Any, name: str) -> None:
        self._name = name
        self._functions = {_called(one.domain, one.name, one): one for one in model.functions}
        self._counted: dict[tuple[str, str, str], int] = {}

    def count(self, nodes: Iterable[Any]) -> int:
        """With what the functions compute that are called. Raises RecursionError where they call too deep."""
        return sum(self._of(node) for node in nodes)

    def _of(self, node: Any) -> int:
        graphs = [one.g for one in node.attribute if one.HasField("g")]
        graphs += [graph for one in node.attribute for graph in one.graphs]
        if graphs and node.op_type != "If":
            raise PluginError(
                f"{self._name} has a loop, the operation {node.op_type}, which is refused: it may never end.",
                hint="Export the network without loops; LSTM, GRU and the like are none.",
            )
        called = _called(node.domain, node.op_type, node)
        if called in self._functions and called not in self._counted:
            self._counted[called] = self.count(self._functions[called].node)
        return 1 + self._counted.get(called, 0) + sum(self.count(graph.node) for graph in graphs)


def _called(domain: str, name: str, message: Any) -> tuple[str, str, str]:
    """What a function is called by; the overload is not in the messages of earlier ONNX releases."""
    return domain, name, getattr(message, "overload", "")


@functools.cache
def cuda_problem(number: int = 0) -> str:
    """Why onnxruntime cannot use this GPU; empty where it should be able to.

    Asking onnxruntime for a provider that does not load prints errors, so this looks first.
    """
    if _CUDA not in onnxruntime.get_available_providers():
        return "the installed onnxruntime has no CUDA provider; that of onnxruntime-gpu has"
    count = cuda_devices()
    if count <= number:
        return f"this machine shows {count} GPUs" if count else "no NVIDIA GPU or driver is visible"
    # Finds the libraries that PyTorch brought along, and prints which of them it does not find.
    with contextlib.redirect_stdout(io.StringIO()) as said:
        onnxruntime.preload_dlls()
    lost = [line.strip() for line in said.getvalue().splitlines() if "Failed to load" in line]
    if lost:
        return "; ".join(lost)
    if os.name == "posix":  # preload_dlls passes over a missing cuDNN, convolutions do not
        try:
            ctypes.CDLL("libcudnn.so.9")
        except OSError as error:
            return str(error)
    return ""


def run_all(session: Any, run: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
    """What `run` makes of each part with this session, in the order of the parts.

    On a CPU a thread a processor takes one part each: that waits for nothing, where threads that share every operation
    wait for the slowest (EfficientNet-Lite0 at 224 pixels, two processors: 208 to 228 images a second, against 152 to
    225 shared). On a GPU one part at a time, while the next is made ready.
    """
    lanes = 1 if on_gpu(session) else threads()
    with ThreadPoolExecutor(lanes) as pool:
        yield from in_order(pool, run, parts, ahead=2 * lanes)


def output(session: Any, feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """A session's only output for these inputs, n rows each; where memory does not suffice, in halves.

    Raises what onnxruntime raises.
    """
    count = min(map(len, feed.values()))
    quiet = onnxruntime.RunOptions()
    quiet.log_severity_level = _FATAL  # what goes wrong is raised; onnxruntime prints it as well
    try:
        (rows,) = session.run(None, feed, quiet)
    except Exception as error:  # onnxruntime's exceptions have no common base but this
        free = not isinstance(session.get_inputs()[0].shape[0], int)
        if not (free and count > 1 and _OUT_OF_MEMORY.search(str(error))):
            raise
    else:
        return np.asarray(rows)
    half = (count + 1) // 2  # out of the handler: the exception no longer holds what was computed
    _say(f"Not enough memory for {count} images at once: they are computed in halves")
    parts = ({name: rows[cut] for name, rows in feed.items()} for cut in (slice(half), slice(half, None)))
    return np.concatenate([output(session, part) for part in parts])


def on_gpu(session: Any) -> bool:
    return _CUDA in session.get_providers()


def batch_size(session: Any, image_values: int) -> int:
    """So many images at once are computed fastest, where one has `image_values` numbers."""
    entry = session.get_inputs()[0].shape[0]
    if isinstance(entry, int):
        return entry
    # On a CPU what is computed shall stay in the processor's cache; on a GPU it shall be enough to do.
    least, most, values = (32, 1024, 2**22) if on_gpu(session) else (4, 64, 2**18)
    return max(least, min(most, values // image_values))


def threads() -> int:
    """How many processors this process may use; fewer where OMP_NUM_THREADS says so."""
    allowed = cores()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, int(asked)) if asked.isdecimal() and int(asked) else allowed


def _session(content: bytes, name: str, gpu: int | None, *, tf32: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # see run_all
    options.use_deterministic_compute = True
    options.log_severity_level = _ERROR
    providers: list[Any] = [_CPU]
    if gpu is not None:
        settings = {"device_id": gpu, "use_tf32": int(tf32), "cudnn_conv_algo_search": "HEURISTIC"}
        providers.insert(0, (_CUDA, settings))
    try:
        with _quiet():
            return onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions have no common base but this
        raise PluginError(f"onnxruntime cannot open {name}: {error}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What goes wrong at opening is raised or found out afterwards; onnxruntime prints it as well."""
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)


def _gpu_number(device: str) -> int | None:
    match = _DEVICE.fullmatch(device)
    if match is None:
        raise OptionError(
            f"There is no device {device!r}.", hint='Devices are "auto", "cpu", "cuda" and "cuda:N".'
        )
    return None if device == "cpu" else int(match.group(1) or 0)


@functools.cache
def _say(text: str) -> None:
    """Logs a line once per process."""
    _LOG.info(text)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PluginError(f"{path} cannot be read: {error.strerror or error}") from None


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor anywhere in a model: initializers, constants, subgraphs, functions, sparse parts."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in value if field.is_repeated else (value,):
            if isinstance(part, onnx.TensorProto):
                yield part
            else:
                yield from _tensors(part)
