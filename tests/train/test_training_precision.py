from __future__ import annotations

import pytest
import torch

from fastrad.errors import InputError
from fastrad.train.precision import choose_precision, cpu_has_native_bfloat16


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


def test_images_of_a_few_pixels_train_in_float32_on_a_cpu():
    found = choose_precision("amp", torch.device("cpu"), 16)
    assert found.name == "float32"
    assert found.notice
    assert choose_precision("amp", torch.device("cpu"), 32) == choose_precision("amp", torch.device("cpu"))


@pytest.mark.skipif(not cpu_has_native_bfloat16(), reason="this CPU has no native bfloat16")
@pytest.mark.parametrize("side", [2, 3, 4])
def test_gradients_of_the_last_stage_agree_with_float32_from_the_next_size_on(side):
    """Inputs of 17 px and more: layer4's first convolution, of stride 2, sees at least 2 x 2 pixels."""
    gradients = []
    for enabled in (False, True):
        torch.manual_seed(0)
        convolution = torch.nn.Conv2d(256, 512, 3, 2, 1, bias=False).to(memory_format=torch.channels_last)
        images = torch.randn(16, 256, side, side).to(memory_format=torch.channels_last)
        for _ in range(4):  # garbage, where it is left, comes from memory that was used before
            convolution.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                found = convolution(images)
            found.float().square().sum().backward()
        gradients.append(convolution.weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=0.02 * float(gradients[0].abs().max()))
