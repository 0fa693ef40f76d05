from __future__ import annotations

import pytest
import torch

from fastrad.errors import InputError
from fastrad.training.precision import choose_precision, cpu_has_native_bfloat16


@pytest.mark.parametrize(
    ("cpuinfo", "native"),
    [
        ("flags\t\t: fpu sse avx2 avx512f avx512bw\n", False),  # torch calls this one supported, and emulates it
        ("flags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("model name\t: bf16\n", False),
    ],
)
def test_native_bfloat16_is_read_from_the_cpu_itself(tmp_path, cpuinfo, native):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{cpuinfo}")
    assert cpu_has_native_bfloat16(tmp_path / "cpuinfo") is native


def test_amp_on_a_cpu_without_it_is_float32_and_says_so():
    found = choose_precision("amp", torch.device("cpu"))
    assert (found.name, bool(found.notice)) == (("bfloat16", False) if cpu_has_native_bfloat16() else ("float32", True))


def test_float32_needs_no_autocast_and_no_scaling():
    precision, device = choose_precision("float32", torch.device("cpu")), torch.device("cpu")
    with precision.autocast(device):
        assert torch.ones(2, 2).matmul(torch.ones(2, 2)).dtype == torch.float32
    assert not precision.scaler(device).is_enabled()
    assert precision.notice == ""


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="float32, amp, bfloat16, float16"):
        choose_precision("fp8", torch.device("cpu"))
