"""One step of the optimiser, the same for pretraining and for a study's tuning.

A batch is normalised where it comes as gray levels, goes forward under the precision's autocast, and comes back as a
gradient, scaled where float16 needs it, added up over ranks and clipped where that is asked for; then come the
optimiser's step, the batch statistics' mean over ranks and the moving average of the weights. Loops decide what a loss
is, which rate a step has, and when the host waits for the device: here it never does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fastrad.imaging.normalisation import Normalisation
from fastrad.train.ema import AveragedWeights
from fastrad.train.precision import Precision
from fastrad.train.ranks import Ranks

_SPARE = 8  # dynamo compiles a function for so many shapes and leaves further ones uncompiled, without a word


class Learner:
    """A network while it learns.

    Parameters
    ----------
    model : nn.Module
        On its device; its parameters are changed in place, and brought into `memory_format`.
    optimiser : torch.optim.Optimizer
        Over the model's parameters.
    precision : Precision
        Of the steps. Losses, gradients, parameters and the optimiser stay in float32.
    normalisation : Normalisation
    ranks : Ranks
        Whoever trains the same network: its batches are parts of one.
    clip_norm : float
        The gradient's largest norm over all parameters; 0 leaves it as it is.
    ema : float
        Decay of a moving average of the weights; 0 for none.
    frozen_statistics : bool
        Batch normalisation goes by its running statistics and leaves them as they are.
    memory_format : torch.memory_format
        Of weights and batches.

    Attributes
    ----------
    scaler : torch.amp.GradScaler
    averaged : AveragedWeights or None
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        precision: Precision,
        normalisation: Normalisation,
        ranks: Ranks,
        *,
        clip_norm: float = 0.0,
        ema: float = 0.0,
        frozen_statistics: bool = False,
        memory_format: torch.memory_format = torch.channels_last,
    ) -> None:
        self.model = model.to(memory_format=memory_format)  # type: ignore[call-overload]
        self.optimiser, self.precision, self.normalisation, self.ranks = optimiser, precision, normalisation, ranks
        self.scaler = precision.scaler(ranks.device)
        self.averaged = AveragedWeights(model, ema) if ema else None
        self._clip_norm, self._memory_format = clip_norm, memory_format
        self._frozen = [layer for layer in model.modules() if frozen_statistics and isinstance(layer, nn.BatchNorm2d)]
        self._network = model
        if ranks.world_size > 1:
            self._network = DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)
        self._compiled: nn.Module | None = None
        self._full_batch = 0

    def compile(self, sizes: Sequence[int], batch_size: int) -> str:
        """Compile full batches of the given sizes; the reason where that fails, and all are trained uncompiled."""
        self._compiled, notice = compile_for(self._network, sizes, batch_size, self.ranks.device, self.precision)
        self._full_batch = batch_size
        return notice

    def step(
        self,
        images: Tensor,
        loss_of: Callable[[Tensor], Tensor],
        *,
        number: int,
        divisor: int = 1,
        ragged: bool = False,
    ) -> Tensor:
        """One step of the optimiser.

        Parameters
        ----------
        images : tensor, (N, C, H, W)
            This rank's; N may be 0. Gray levels as uint8; floats are normalised already. A single image has no
            variance: batch normalisation takes the running statistics for it.
        loss_of : callable
            From logits (N, classes) in float32 to the batch's loss, a scalar.
        number : int
            Steps of the run that are done.
        divisor : int
            What the loss is divided by before the gradient is taken. For a loss that is a sum over samples, the
            samples of a whole step over all ranks: each sample has the same weight in every step then.
        ragged : bool
            The ranks' batches are not all of the same length.

        Returns
        -------
        Tensor
            The batch's loss, on the device.
        """
        model, ranks, scaler, count = self.model, self.ranks, self.scaler, len(images)
        # Ranks whose batches differ can't meet in DistributedDataParallel, which talks to the others in a forward pass
        # too: they use the model itself, and their gradients are summed below.
        spread = ranks.world_size > 1 and not ragged
        network = self._network if spread or ranks.world_size == 1 else model
        if self._compiled is not None and count == self._full_batch and network is self._network:
            network = self._compiled
        network.train(count > 1)
        for layer in self._frozen:
            layer.eval()
        self.optimiser.zero_grad(set_to_none=True)
        if count:
            pixels = images if images.is_floating_point() else self.normalisation.apply(images)
            pixels = pixels.contiguous(memory_format=self._memory_format)
            with self.precision.autocast(ranks.device):
                logits = network(pixels)
            loss = loss_of(logits.float())
            share = ranks.world_size if spread else 1  # DistributedDataParallel divides by the ranks
            scaler.scale(loss * (share / divisor)).backward()
            loss = loss.detach()
        else:
            loss = torch.zeros((), device=ranks.device)
            scaler.scale(loss)  # a scaler has its scale only from here, also one that was brought back
        if ragged:
            ranks.add_([_gradient(parameter) for parameter in model.parameters()])
        if self._clip_norm:
            scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(model.parameters(), self._clip_norm)
        scaler.step(self.optimiser)
        scaler.update()
        ranks.average_([buffer for buffer in model.buffers() if buffer.is_floating_point()])
        if self.averaged is not None:
            self.averaged.update(model, number)
        return loss


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


@contextmanager
def timed_convolutions() -> Iterator[None]:
    """Inside this context cuDNN times its algorithms for each new shape and takes the fastest."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def compile_for(
    network: nn.Module, sizes: Sequence[int], batch_size: int, device: torch.device, precision: Precision
) -> tuple[nn.Module | None, str]:
    """Compile `network` for training batches of one size each, and leave weights and statistics as they were.

    Every shape is run forwards and backwards once here, so that nothing is compiled in mid-epoch; batches of another
    length, as an epoch's last, are for the plain network.

    Returns
    -------
    (network or None, str)
        None and the reason where the compiler fails.
    """
    delivered = precision.delivered(device)
    dtype = delivered if delivered.is_floating_point else torch.float32
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    fast: nn.Module = torch.compile(network, dynamic=False)  # type: ignore[assignment]
    network.train()
    try:
        settings = torch._dynamo.config
        limit = "recompile_limit" if hasattr(settings, "recompile_limit") else "cache_size_limit"  # as in torch 2.6
        with settings.patch({limit: len(sizes) + _SPARE}):
            for size in sizes:
                # laid out as the loader's: for other strides everything would be compiled once more
                images = torch.zeros(batch_size, size, size, 1, device=device, dtype=dtype).permute(0, 3, 1, 2)
                with precision.autocast(device):
                    logits = fast(images)
                logits.float().sum().backward()
    except Exception as error:  # the compiler, its C++ or CUDA tool chain, and its cache fail in their own ways
        return None, f"torch.compile failed ({type(error).__name__}): the plain model is trained"
    finally:
        network.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, value in network.named_buffers():
                value.copy_(buffers[name])
    return fast, ""
