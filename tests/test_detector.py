"""The smallest detector: its boxes, its loss, and that it learns from maps that know where things are."""

from __future__ import annotations

import pytest
import torch

from helpers import backbones, detector, machine


def exact(boxes: torch.Tensor, side: int = 8) -> torch.Tensor:
    """The output (N, 5, side, side) that says exactly these boxes."""
    out = torch.zeros(len(boxes), 5, side, side)
    for i, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        x, y = (x1 + x2) / 2 / detector.CELL, (y1 + y2) / 2 / detector.CELL
        place = (i, slice(None), int(y), int(x))
        size = torch.tensor([(x2 - x1) / 64, (y2 - y1) / 64]).log().tolist()
        out[place] = torch.tensor([50.0, x - int(x) - 0.5, y - int(y) - 0.5, *size])
    return out


def test_scenes_hold_the_piece_where_the_box_says_and_repeat():
    images, boxes = detector.scenes(("cat",), 6)
    assert images.shape == (6, 3, 128, 128) and images.dtype == torch.uint8
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= 128).all()
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.min() >= 32 and sides.max() <= 72
    again, _ = detector.scenes(("cat",), 3, first=3)
    assert torch.equal(again, images[3:]), "a scene hangs on its own seed only"
    other, moved = detector.scenes(("coffee",), 6)
    assert torch.equal(moved, boxes), "another photograph in the same box"
    for a, b, (x1, y1, x2, y2) in zip(images, other, boxes.int().tolist(), strict=True):
        differs = (a != b).any(0)
        assert differs[y1:y2, x1:x2].float().mean() > 0.9
        differs[y1:y2, x1:x2] = False
        assert not differs.any()


def test_an_exact_output_is_decoded_and_has_no_loss():
    _, boxes = detector.scenes(("cat",), 9)
    out = exact(boxes)
    assert torch.allclose(detector.detect(out), boxes, atol=1e-3)
    assert detector.loss(out, boxes) < 1e-3
    assert detector.overlap(torch.nn.Identity(), out, boxes) == pytest.approx(1, abs=1e-4)
    worse = out.clone()
    worse[:, 1] += 0.5  # half a place to the right
    assert detector.loss(worse, boxes) > 0.01
    assert torch.allclose(detector.detect(worse) - boxes, torch.tensor([8.0, 0, 8, 0]).expand(9, 4), atol=1e-3)


def test_it_learns_from_maps_that_know_and_the_seed_decides():
    _, boxes = detector.scenes(("cat",), 60)
    noise = torch.randn(60, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = torch.cat([exact(boxes) + 0.01 * noise[:, :5], noise[:, 5:]], dim=1)
    test = (maps[40:], boxes[40:])
    head, overlaps = detector.learn(maps[:40], boxes[:40], test, epochs=1000, every=500)
    assert len(overlaps) == 3 and overlaps[-1] > overlaps[0] + 0.25
    assert detector.learn(maps[:40], boxes[:40], test, epochs=1000, every=500)[1] == overlaps
    assert detector.overlap(head, *test) == overlaps[-1]


def test_a_map_for_torchvisions_detectors():
    backbone = backbones.load(pretrained=False).cpu()
    images, boxes = detector.scenes(("cat",), 2)
    wrapped = detector.MapOnly(backbone)
    out = wrapped(images / 255)
    assert out.shape == (2, wrapped.out_channels, 8, 8) and out.requires_grad
    again = detector.maps(backbone, images)
    assert again.shape == out.shape and not again.requires_grad
    assert torch.allclose(again, out.detach(), rtol=1e-3, atol=1e-3 * out.abs().max().item())
    assert next(backbone.parameters()).device.type == machine.device().type
    assert detector.show(images, boxes + 1, boxes, title="t").axes[1].get_title().startswith("IoU 0.9")
