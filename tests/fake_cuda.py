"""A GPU that computes nothing: torch's fake tensors say what device, dtype, shape and strides each result would have.

CPU tensors are real here, CUDA tensors are fake, so that a loader's threads fill real memory which is then sent to a
card that is not there. What torch has no fake for is replaced in torch itself: pinned memory (is ordinary), streams and
events (do nothing), the backward pass (fills gradients with memory of the right form), fused SGD (changes nothing).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
_READS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default, aten.masked_select.default}
_INDEXED = {aten.index.Tensor, aten.index_put_.default}  # by booleans: they are counted first
_COPIES = {aten._to_copy.default, aten.copy_.default}


@dataclass
class Seen:
    """What happened on the card.

    Attributes
    ----------
    waits : list of str
        Operations for which the host would have waited.
    convolutions : list of tuple
        Dtype of the input, and the memory format that its and the weights' strides ask for.
    peak : int
        Largest sum of the bytes of storages that were alive at once.
    operations : int
    """

    waits: list[str] = field(default_factory=list)
    convolutions: list[tuple[torch.dtype, torch.memory_format, torch.memory_format]] = field(default_factory=list)
    peak: int = 0
    operations: int = 0


class _Card(TorchDispatchMode):
    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def live(self) -> int:
        """Bytes of the storages that are alive."""
        self._alive = {key: (ref, size) for key, (ref, size) in self._alive.items() if not ref.expired()}
        return sum(size for _, size in self._alive.values())

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        there = [tensor for tensor in tensors if tensor.device.type == "cuda"]
        asked = [leaf for leaf in leaves if isinstance(leaf, torch.device) and leaf.type == "cuda"]
        if not there and not asked:
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        self.seen.operations += 1
        self._note(func, args, kwargs, tensors, there)
        if func is aten._fused_sgd_.default:
            devices = {tensor.device for tensor in tensors}
            assert devices == {torch.device("cuda", 0)}, f"fused SGD over tensors on {devices}"
            return None
        result = func(*args, **kwargs)
        self._measure(result)
        return result

    def _note(self, func, args, kwargs, tensors, there) -> None:
        if func in _READS:
            self.seen.waits.append(str(func))
        if func in _INDEXED and any(each is not None and each.dtype == torch.bool for each in args[1]):
            self.seen.waits.append(f"{func} by booleans")
        if func in _COPIES:
            target = kwargs.get("device") if func is aten._to_copy.default else args[0].device
            source = args[0] if func is aten._to_copy.default else args[1]
            blocking = not (kwargs.get("non_blocking") or (func is aten.copy_.default and args[2:3] == (True,)))
            if target is not None and target.type != source.device.type and (blocking or target.type == "cpu"):
                self.seen.waits.append(f"{func} from {source.device} to {target}")
        if func is aten.convolution.default:
            self.seen.convolutions.append((args[0].dtype, *map(suggest_memory_format, args[:2])))

    def _measure(self, result: Any) -> None:
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type == "cuda":
                storage = tensor.untyped_storage()
                self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.seen.peak = max(self.seen.peak, self.live())


class _Fake(FakeTensorMode):
    @property
    def avoid_device_init(self) -> bool:
        """No driver is asked, though `torch.cuda.is_available()` says that there is one."""
        return True


class _Stream:
    def wait_event(self, event: object) -> None: ...


class _Event:
    def record(self, stream: object = None) -> None: ...

    def query(self) -> bool:
        return True


def _set_data(parameter: torch.Tensor, converted: torch.Tensor) -> None:
    """What `nn.Module.to` does to ordinary tensors. Fake ones it would swap, and can't while anybody refers to them."""
    parameter.data = converted.detach()


def _fill_gradients(loss: torch.Tensor, *_: object, **__: object) -> None:
    """Give every parameter behind a loss a gradient of its form, as the engine would."""
    nodes, seen = [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            node.variable.grad = torch.empty_like(node.variable)
        nodes += [following for following, _ in node.next_functions]


@contextlib.contextmanager
def fake_cuda(*, total: int = 80 << 30, free: int = 79 << 30) -> Iterator[Seen]:
    """Inside this context there is one card, "cuda:0", of `total` bytes of which `free` are."""
    if torch.version.cuda is None:
        pytest.skip("torch's CPU build cannot slice fake CUDA tensors; the CUDA build can, without a driver")
    seen, real_empty = Seen(), torch.empty
    card = _Card(seen)

    def empty(*sizes: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        return real_empty(*sizes, **options)

    cuda = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda *_: "fake",
        "get_device_properties": lambda *_: SimpleNamespace(name="fake", total_memory=total),
        "is_bf16_supported": lambda *_, **__: True,
        "mem_get_info": lambda *_: (free - card.live(), total),
        "memory_reserved": lambda *_: 0,
        "memory_allocated": lambda *_: 0,
        "synchronize": lambda *_: seen.waits.append("synchronize"),
        "Stream": lambda *_: _Stream(),
        "Event": lambda *_, **__: _Event(),
        "current_stream": lambda *_: _Stream(),
        "stream": lambda *_: contextlib.nullcontext(),
        "device": lambda *_: contextlib.nullcontext(),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cuda.items():
            patch.setattr(torch.cuda, name, value)
        patch.setattr(torch, "empty", empty)
        patch.setattr(torch.utils, "swap_tensors", _set_data)
        patch.setattr(torch.Tensor, "record_stream", lambda *_: None)
        patch.setattr(torch.Tensor, "backward", _fill_gradients)
        with _Fake(allow_non_fake_inputs=True), card:
            yield seen
