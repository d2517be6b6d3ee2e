"""What a device can do at best, and whether torch.compile does better than the plain path."""

import os
import shutil

import pytest
import torch
from epochs import BATCH, DIM

from specrec_core import losses


def test_bandwidth(timed, device):
    """A copy of 512 MiB: as many bytes read as written."""
    source = torch.ones(2**27, device=device)
    target = torch.empty_like(source)
    timed(lambda: target.copy_(source), device, rounds=9, work="bandwidth",
          bytes=2 * source.numel() * source.element_size())  # fmt: skip


def test_compiled(in_turn, device):
    """Loss and gradient of one step of BPR-MF on gathered rows, plain and by torch.compile.

    ``plain`` is what training uses, a gradient written out; ``traced`` is that of autograd.
    """
    if device == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("torch.compile needs a compiler of C++: there is no g++, and CXX names none")
    stream = torch.Generator().manual_seed(0)
    shapes = (1, BATCH, DIM), (1, BATCH, DIM), (1, BATCH, 1, DIM)
    rows = [torch.randn(shape, generator=stream).to(device).requires_grad_() for shape in shapes]
    traced = losses.of_scores(losses.bpr)
    ways = {"plain": plain, "traced": traced}
    ways |= {f"torch.compile of {by}": torch.compile(of) for by, of in ways.items()}

    def gradient(of):
        return torch.autograd.grad(of(*rows).sum(), rows)

    try:
        found = {by: gradient(of) for by, of in ways.items()}
    except torch._dynamo.exc.TorchDynamoException as error:
        pytest.skip(f"torch.compile: {str(error).splitlines()[0]}")
    for by, gradients in found.items():
        for ours, theirs in zip(found["plain"], gradients, strict=True):
            torch.testing.assert_close(theirs, ours, msg=by)
    works = {by: (lambda of=of: [gradient(of) for _ in range(100)], 100) for by, of in ways.items()}
    in_turn(works, device, rounds=50, work="loss and gradient")


def plain(u, p, n):
    return losses.OBJECTIVES["bpr"][0](u, p, n)
