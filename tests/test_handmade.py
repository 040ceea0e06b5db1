"""Hand-made features: SIFT-like descriptors, the bag of words, HOG."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers import handmade
from helpers.datasets import ImageSet


@pytest.fixture
def stripes(tmp_path, monkeypatch) -> ImageSet:
    """Eight images, two classes: stripes across and stripes down, with noise."""
    monkeypatch.setattr("helpers.machine.cache_dir", lambda: tmp_path)
    random = np.random.default_rng(0)
    wave = np.tile(120 + 100 * np.sin(np.arange(64) / 2), (64, 1))
    images = [(wave if i % 2 else wave.T) + random.normal(0, 5, (64, 64)) for i in range(8)]
    images = torch.from_numpy(np.stack(images)).clamp(0, 255).to(torch.uint8)[:, None]
    return ImageSet("stripes", images, torch.arange(8) % 2, ("across", "down"), tuple("abcdefgh"))


def test_sift_has_a_descriptor_every_8_pixels():
    found = handmade.sift(torch.randint(0, 256, (2, 64, 48), dtype=torch.uint8))
    assert found.shape == (2, 7, 5, 128)
    assert torch.allclose(found.norm(dim=-1), torch.ones(2, 7, 5), atol=1e-5)


def test_sift_knows_the_direction_of_an_edge():
    down = torch.arange(64.0).repeat(64, 1) * 3  # brighter to the right
    cells = handmade.sift(down[None])[0, 2, 2].view(8, 16)
    assert int(cells.sum(1).argmax()) == 0
    assert int(handmade.sift(down.T[None])[0, 2, 2].view(8, 16).sum(1).argmax()) == 2  # a quarter turn of eight


def test_sift_ignores_brightness_and_contrast():
    image = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0)) * 100
    assert torch.allclose(handmade.sift(image), handmade.sift(2 * image + 30), atol=1e-4)


def test_sift_of_a_clear_sky_is_zero():
    assert (handmade.sift(torch.full((1, 32, 32), 200.0)) == 0).all()


def test_bag_of_words_tells_stripes_apart_and_counts_all_patches(stripes):
    found = handmade.bag_of_words(stripes, torch.arange(4), words=6, size=64)
    assert found.shape == (8, 30)
    assert torch.allclose(found[:, :6].square().sum(1), torch.ones(8)), "shares of the whole image"
    near = found @ found.T
    assert near[1, 3] > near[1, 2], "down is more like down than like across"


def test_vocabulary_never_sees_the_test_part(stripes):
    changed = stripes.images.clone()
    changed[4:] = 255 - changed[4:].roll(5, -1)
    other = ImageSet("stripes", changed, stripes.labels, stripes.classes, stripes.files)
    train = torch.arange(4)
    first, second = (handmade.bag_of_words(s, train, words=6, size=64) for s in (stripes, other))
    assert torch.equal(first[:4], second[:4])


def test_hog_is_scikit_images(stripes):
    from skimage.feature import hog

    found = handmade.hog(stripes)
    expected = hog(stripes.images[3, 0].numpy(), 9, (8, 8), (2, 2))
    assert found.shape == (8, 1764)
    assert np.allclose(found[3].numpy(), expected, atol=1e-6)
