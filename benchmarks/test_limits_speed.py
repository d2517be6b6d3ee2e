"""What a device can do at best, and what does better than the plain path.

Tried are torch.compile and, on a GPU, CUDA graphs.
"""

import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from epochs import BATCH, DIM, Specrec

from specrec_core import losses, objectives


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
    traced = objectives.of_scores(losses.bpr)
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
    return objectives.OBJECTIVES["bpr"][0](u, p, n)


STEPS = 50


@pytest.mark.parametrize("model", ["BPR-MF", "LightGCN"])
def test_captured(in_turn, load, device, model):
    """Fifty steps on samples that are there: started one by one, and replayed as a CUDA graph."""
    if device == "cpu":
        pytest.skip("a CUDA graph needs CUDA: make bench DEVICE=cuda ONLY=captured")
    plain, captured = (Specrec(load("ml-1m"), model, device=device) for _ in range(2))
    samples = [x[: STEPS * BATCH] for x in plain.steps.sampler.epoch(plain.streams[0])]
    for ours in (plain, captured):
        ours.steps.sampler = SimpleNamespace(epoch=lambda stream: samples)
    captured.optimizer.param_groups[0]["capturable"] = True

    def epoch(ours):
        return ours.steps(ours.model, ours.optimizer, ours.streams)

    for _ in range(3):
        epoch(plain)
    aside = torch.cuda.Stream()  # what is captured is to have run before, on another stream
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            epoch(captured)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses_of = epoch(captured)
    graph.replay()
    torch.testing.assert_close(losses_of, epoch(plain), rtol=1e-3, atol=0.0)
    works = {"one by one": (lambda: epoch(plain), STEPS), "CUDA graph": (graph.replay, STEPS)}
    in_turn(works, device, rounds=20, work="captured step", model=model, data="ml-1m")
