"""Filters as pictures, strongest units with their boxes, Gram matrices, style transfer; on a random network."""

from __future__ import annotations

import pytest
import torch

from helpers import arithmetic, backbones, visualise
from tests.made import stripes

DEEP, SMALL = "blocks.1.1.bn2", "stem"


@pytest.fixture(scope="module")
def lite0() -> backbones.Backbone:
    torch.manual_seed(0)
    return backbones.load("efficientnet_lite0", pretrained=False).requires_grad_(False)


def test_mosaic_places_and_stretches_each_filter():
    filters = torch.zeros(3, 3, 2, 2)
    filters[0, :, 0, 0], filters[1, 0] = 5.0, -0.5
    picture = visualise.mosaic(filters, columns=2)
    assert picture.shape == (2 * 3 - 1, 2 * 3 - 1, 3)
    assert picture[0, 0].tolist() == [1, 1, 1] and picture[1, 1].tolist() == [0.5, 0.5, 0.5]  # zero is mid-gray
    assert picture[0, 3].tolist() == pytest.approx([0, 0.5, 0.5])  # a weak filter is stretched, by its own colour
    assert (picture[3:, :2] == 0.5).all() and (picture[3:, 3:] == 1).all()  # zeros stay gray; no fourth filter


def test_mosaic_leaves_a_nearly_dead_filter_gray():
    filters = torch.cat([torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 1e-5)])
    assert abs(visualise.mosaic(filters, columns=1)[3:] - 0.5).max() < 0.01


def test_layer_maps_are_those_of_the_stages(lite0):
    images = stripes(2).images
    maps = lite0.look(images, ["block2", "stem", "head"])
    assert list(maps) == ["block2", "stem", "head"]
    for stage, found in maps.items():
        assert torch.equal(found, lite0.maps(images, stage))
    assert not any(module._forward_hooks for module in lite0.net.modules()), "a hook was left behind"


def test_layer_maps_names_an_unknown_layer(lite0):
    with pytest.raises(ValueError, match=r"no layer 'block9'.*stem"):
        lite0.look(stripes(2).images, ["stem", "block9"])


@pytest.mark.parametrize("inside", [True, False])
def test_strongest_finds_the_maximum_and_its_place(lite0, inside):
    image_set = stripes(6, size=48)
    found = visualise.strongest(lite0, image_set, [SMALL, DEEP], inside=inside, batch=4)
    for layer, units in found.items():
        maps = lite0.look(image_set.images, [layer])[layer]
        assert units.values.shape == maps.shape[:2]
        picked = maps[torch.arange(6)[:, None], torch.arange(maps.shape[1]), units.rows, units.columns]
        assert torch.allclose(picked, units.values, atol=1e-5)
        if not inside:
            assert torch.allclose(units.values, maps.amax((2, 3)), atol=1e-5)
    if inside:
        for channel in range(144):
            for patch in found[DEEP].patches(channel, top=6):
                assert min(patch.box) >= 0 and max(patch.box) <= 48


def test_patches_are_sorted_and_one_an_image(lite0):
    units = visualise.strongest(lite0, stripes(6, size=48), [DEEP])[DEEP]
    patches = units.patches(3, top=4)
    assert [p.value for p in patches] == sorted((p.value for p in patches), reverse=True)
    assert patches[0].value == pytest.approx(float(units.values[:, 3].max()))
    assert len({p.image for p in patches}) == 4
    assert all(p.pixels.shape == (1, 19, 19) for p in patches)


def test_a_patch_alone_excites_its_unit_as_much(lite0):
    """The box holds all that the unit sees: outside it, gray is as good as the image (padding is gray, too)."""
    image_set = stripes(4, size=48)
    for patch in visualise.strongest(lite0, image_set, [DEEP])[DEEP].patches(5, top=3):
        top, left, bottom, right = patch.box
        alone = torch.full((1, 1, 48, 48), 127.0)
        alone[0, :, top:bottom, left:right] = patch.pixels
        value = lite0.look(alone, [DEEP])[DEEP][0, 5, patch.row, patch.column]
        assert float(value) == pytest.approx(patch.value, abs=1e-5)
        smaller = torch.full((1, 1, 48, 48), 127.0)
        smaller[0, :, top + 6 : bottom - 6, left + 6 : right - 6] = patch.pixels[:, 6:-6, 6:-6]
        cut_down = lite0.look(smaller, [DEEP])[DEEP][0, 5, patch.row, patch.column]
        assert abs(float(cut_down) - patch.value) > 1e-5, "then the check above could not fail"


def test_unit_box_with_different_axes():
    fields = (arithmetic.Field(3, 2, -1), arithmetic.Field(5, 4, -2))
    assert visualise.unit_box(fields, 0, 3) == (-1, 10, 2, 15)


def test_cut_is_gray_beyond_the_border():
    image = torch.arange(100, dtype=torch.uint8).reshape(1, 10, 10)
    assert torch.equal(visualise.cut(image, (2, 3, 5, 8)), image[:, 2:5, 3:8])
    corner = visualise.cut(image, (-2, 8, 2, 12))
    assert corner.shape == (1, 4, 4)
    assert (corner[0, :2] == 127).all() and (corner[0, :, 2:] == 127).all()
    assert torch.equal(corner[0, 2:, :2], image[0, :2, 8:])
    assert torch.equal(visualise.cut(image, (-300, -300, 500, 500)), image)


def test_gram_of_two_maps():
    maps = torch.tensor([[[[1.0, 2]], [[3, 0]]]])
    assert visualise.gram(maps).tolist() == [[[2.5, 1.5], [1.5, 4.5]]]


def test_strongest_leaves_the_network_usable_for_gradients(lite0):
    visualise.strongest(lite0, stripes(2), [SMALL])
    x = stripes(1).images.float().requires_grad_()
    lite0.look(x, [SMALL])[SMALL].sum().backward()
    assert x.grad.abs().sum() > 0


def test_stylise_comes_nearer_to_the_style_and_keeps_the_content(lite0):
    content, style = stripes(2, size=32).images.expand(-1, 3, -1, -1).split(1)
    options = {"layers": ("stem", "block1", "block2"), "steps": 12}
    free = visualise.stylise(lite0, style, content, content_weight=0.0, **options)
    held = visualise.stylise(lite0, style, content, content_weight=30.0, **options)
    assert free.image.dtype == torch.uint8 and free.image.shape == content.shape
    assert free.style_loss[-1] < 0.7 * free.style_loss[0] and len(free.style_loss) == 12
    assert held.content_loss[0] == 0 and held.content_loss[-1] < free.content_loss[-1]
    assert all(p.grad is None for p in lite0.parameters())


def test_stylise_without_content_makes_a_texture(lite0):
    style = stripes(1, size=32).images.expand(-1, 3, -1, -1)
    runs = [visualise.stylise(lite0, style, layers=("stem",), steps=8, rate=20.0, seed=seed) for seed in (0, 0, 1)]
    assert runs[0].style_loss[-1] < 0.7 * runs[0].style_loss[0] and set(runs[0].content_loss) == {0.0}
    assert torch.equal(runs[0].image, runs[1].image) and not torch.equal(runs[0].image, runs[2].image)
