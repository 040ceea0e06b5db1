"""What torchvision lacks agrees with the papers' definitions, and what it has does what the lesson says of it."""

from __future__ import annotations

import math

import pytest
import torch
from made import stripes
from sklearn.decomposition import PCA
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import v2

from helpers import datasets, strengths, training
from helpers.augmentation import (
    ColourJitter,
    PCALighting,
    RandomAffine,
    ResNetCrop,
    averaged,
    jensen_shannon,
    multi_scale_crops,
    ten_crops,
)
from helpers.learnable import LearnableAugment, LearnableStep, match_distribution, standard_steps


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coloured(n: int = 12, size: int = 16) -> torch.Tensor:
    """Float images (n, 3, size, size) in 0-255 whose colours vary together, as those of photographs do."""
    light = torch.rand(n, 1, size, size, generator=draws())
    return (200 * light + 40 * torch.rand(n, 3, size, size, generator=draws(1))).clamp(0, 255)


# Crops and light


def test_a_crop_that_is_not_turned_stays_inside_the_image():
    """What is done outside makes no difference there: the fast way and the mirrored borders agree."""
    images = coloured()
    options = {"area": (0.2, 1.0), "stretch": 2.0}
    straight, as_good_as = (RandomAffine(**options, rotate=angle)(images, draws()) for angle in (0.0, 1e-7))
    assert torch.allclose(straight, as_good_as, atol=1e-2)


def test_jitter_changes_contrast_around_the_mean_then_the_light():
    images = coloured(n=1)
    changed = ColourJitter(0.3, 0.3)(images, draws(2))
    generator = draws(2)
    gain, light = (torch.rand(1, generator=generator) * 0.6 + 0.7 for _ in range(2))
    expected = ((images - images.mean()) * gain + images.mean()) * light
    assert torch.allclose(changed, expected.clamp(0, 255), atol=1e-3)


# PCA lighting


def test_principal_directions_are_scikit_learns():
    images = coloured()
    lighting = PCALighting.of(images)
    pca = PCA().fit((images / 255).permute(0, 2, 3, 1).reshape(-1, 3).double().numpy())
    assert torch.allclose(lighting.values.double(), torch.tensor(pca.explained_variance_).double(), rtol=1e-4)
    overlap = (lighting.directions.T.double() @ torch.tensor(pca.components_.T).double()).abs()
    assert torch.allclose(overlap, torch.eye(3).double(), atol=1e-3)  # the same up to signs


def test_lighting_adds_one_offset_a_l_p_to_all_pixels_of_an_image():
    images = coloured(n=4)
    lighting = PCALighting.of(images)
    offsets = (lighting(images, draws(5)) - images) / 255
    assert torch.allclose(offsets, offsets[:, :, :1, :1].expand_as(offsets), atol=1e-5)
    alphas = torch.randn(4, 3, generator=draws(5)) * 0.1
    expected = sum(alphas[:, i, None] * lighting.values[i] * lighting.directions[:, i] for i in range(3))
    assert torch.allclose(offsets[:, :, 0, 0], expected, atol=1e-6)


def test_lighting_has_the_papers_spread_along_each_direction():
    lighting = PCALighting.of(coloured(), sigma=0.1)
    offsets = lighting(torch.zeros(20_000, 3, 1, 1), draws())[:, :, 0, 0] / 255
    spread = (offsets @ lighting.directions).std(0)
    assert torch.allclose(spread, 0.1 * lighting.values, rtol=0.03)


def test_lighting_of_gray_images_and_of_the_wrong_channels():
    gray = coloured()[:, :1]
    assert PCALighting.of(gray)(gray, draws()).shape == gray.shape
    with pytest.raises(ValueError, match="fitted to images of 1 channels, but these have 3"):
        PCALighting.of(gray)(coloured(), draws())


# Crops


@pytest.mark.parametrize(("height", "width", "crop"), [(256, 256, 224), (31, 48, 24), (50, 37, 10), (8, 8, 8)])
def test_ten_crops_are_the_corners_and_the_centre_of_both_images(height, width, crop):
    images = torch.randint(0, 256, (2, 3, height, width), generator=draws(), dtype=torch.uint8)
    bottom, right = height - crop, width - crop
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2), round(right / 2))]
    views = [part[..., y : y + crop, x : x + crop] for part in (images, images.flip(-1)) for y, x in corners]
    assert torch.equal(ten_crops(images, crop), torch.stack(views))


def test_multi_scale_crops_are_ten_at_each_scale_of_the_short_side():
    images = coloured(n=2, size=40)[..., :30]  # 40 x 30
    views = list(multi_scale_crops(images, scales=(24, 36), crop=24))
    assert [tuple(view.shape) for view in views] == [(10, 2, 3, 24, 24)] * 2
    for scale, found in zip((24, 36), views, strict=True):
        resized = v2.functional.resize(images, scale, antialias=True)
        assert min(resized.shape[-2:]) == scale
        assert torch.allclose(found, torch.stack(v2.TenCrop(24)(resized)), atol=1e-3)
    assert len(list(multi_scale_crops(torch.zeros(1, 1, 8, 8), crop=224))) == 5  # the paper's five scales


def test_averaged_is_the_mean_of_the_views_softmax():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Dropout())
    views = torch.randn(10, 5, 3, 2, 2)
    found = averaged(model, views)
    assert model.training  # the mode that it was in
    expected = torch.stack([model.eval()(view).softmax(1) for view in views]).mean(0)
    assert torch.allclose(found, expected) and torch.allclose(found.sum(1), torch.ones(5))


def test_a_resnet_crop_is_resize_then_crop():
    """With one size and no flip, each crop must lie, pixel for pixel, in the resized image."""
    images = coloured(n=3, size=20)
    crops = ResNetCrop(low=30, high=30, crop=24, flip=0.0)(images, draws(2))
    resized = F.interpolate(images, (30, 30), mode="bilinear", align_corners=False)
    windows = resized.unfold(2, 24, 1).unfold(3, 24, 1)  # (3, C, 7, 7, 24, 24)
    for i in range(3):
        errors = (windows[i] - crops[i][:, None, None]).abs().amax((0, 3, 4))
        assert errors.min() < 0.02 and errors.max() > 1
    mirrored = ResNetCrop(low=30, high=30, crop=24, flip=1.0)(images, draws(2))
    assert torch.allclose(mirrored, crops.flip(-1), atol=0.02)


def test_resnet_crops_have_all_sizes_and_places():
    """A ramp tells where a crop lies: its step says the scale L, its first value the place."""
    ramp = torch.arange(64.0).expand(2000, 1, 64, 64)
    crops = ResNetCrop(low=64, high=120, crop=56, flip=0.0)(ramp, draws())
    sizes = 63 / (crops[:, 0, 20, 40] - crops[:, 0, 20, 20]) * 20 * 64 / 63
    assert abs(sizes.mean() - 92) < 1 and sizes.min() < 66 and sizes.max() > 118
    assert abs(sizes.std() - math.sqrt((57**2 - 1) / 12)) < 0.6  # uniform whole numbers 64 ... 120
    left = (crops[:, 0, 20, 20] + 0.5) * sizes / 64 - 20.5  # in pixels of the resized image
    share = left / (sizes - 56)
    assert share.min() > -0.1 and share.max() < 1.1 and abs(share.mean() - 0.5) < 0.03


def test_resnet_crop_of_wide_images_and_wrong_sizes():
    assert ResNetCrop(32, 48, 28)(torch.zeros(2, 3, 32, 70), draws()).shape == (2, 3, 28, 28)
    with pytest.raises(ValueError, match="crop <= low <= high"):
        ResNetCrop(low=200, high=480, crop=224)(torch.zeros(1, 3, 256, 256), draws())


# Mixed images: torchvision's, whose label arithmetic the lesson relies on


@pytest.mark.parametrize("mix", [v2.MixUp, v2.CutMix])
def test_labels_are_mixed_as_the_pixels_are(mix):
    torch.manual_seed(0)
    images = torch.stack([torch.full((1, 20, 20), float(value)) for value in (0, 1)])
    for _ in range(20):
        mixed, labels = mix(num_classes=2)(images, torch.tensor([0, 1]))
        assert torch.allclose(mixed.mean((1, 2, 3)), labels[:, 1], atol=1e-5)  # the share of the second image
        assert torch.allclose(labels.sum(1), torch.ones(2))


# AugMix's consistency loss


def test_jensen_shannon_is_zero_for_equal_views_and_log_k_at_most():
    logits = torch.randn(6, 4, generator=draws())
    assert jensen_shannon(logits, logits, logits).item() == pytest.approx(0, abs=1e-6)
    sure = 100.0 * torch.eye(3)
    apart = jensen_shannon(sure, sure.roll(1, 0), sure.roll(2, 0))
    assert apart.item() == pytest.approx(math.log(3), rel=1e-4)


def test_jensen_shannon_is_entropy_of_the_mean_minus_mean_entropy():
    views = [torch.randn(5, 3, generator=draws(i)) for i in range(3)]
    p = torch.stack([view.softmax(1) for view in views]).double()
    entropy = lambda q: -(q * q.log()).sum(-1)  # noqa: E731
    expected = (entropy(p.mean(0)) - entropy(p).mean(0)).mean()
    assert jensen_shannon(*views).item() == pytest.approx(expected.item(), rel=1e-4)


# Learnable augmentation


def test_a_step_changes_images_as_often_as_its_probability_says_and_wholly():
    step = LearnableStep(lambda images: images + 1, probability=0.3)
    out = step(torch.zeros(10_000, 1, 1, 1), draws()).flatten()
    assert set(out.unique().tolist()) == {0.0, 1.0}  # hard in the forward pass
    assert abs(out.mean() - 0.3) < 0.02


def test_amounts_fill_the_magnitude():
    step = LearnableStep(lambda images, amounts: images + amounts[:, :1, None, None], 1 - 1e-6, 30.0, 90.0)
    out = step(torch.zeros(5_000, 1, 1, 1), draws())
    assert abs(out.abs().max() - 30) < 0.5 and abs(out.mean()) < 1
    assert abs(out.std() - 30 / math.sqrt(3)) < 0.5


def test_gradients_reach_every_probability_and_magnitude():
    augment = standard_steps(12)
    images = torch.rand(32, 1, 12, 12, generator=draws()) * 255
    (augment(images, draws()) * torch.randn(1, 12, 12, generator=draws(1))).sum().backward()
    gradients = {name: parameter.grad for name, parameter in augment.named_parameters()}
    assert len(gradients) == 6 and all(g is not None and g.abs() > 0 for g in gradients.values())


def test_the_standard_steps_do_what_their_names_say():
    steps, images = standard_steps(12).steps, torch.rand(3, 1, 12, 12, generator=draws()) * 255
    assert torch.equal(steps["flip"].change(images), images.flip(-1))
    assert torch.equal(steps["negative"].change(images), 255 - images)
    quarter = steps["rotate"].change(images, torch.full((3, 2), 90.0))
    assert torch.allclose(quarter, images.rot90(1, (-2, -1)), atol=0.1)
    moved = steps["shift"].change(images, torch.tensor([[2.0, 1.0]]).expand(3, 2))
    assert torch.allclose(moved[..., 1:, 2:], images[..., :-1, :-2], atol=0.1)


def test_it_learns_which_change_the_data_have_and_which_not():
    """Real images are bright or dark at random, and never mirrored: the policy must find both."""
    generator = draws(3)
    ramp = torch.linspace(0, 100, 8).expand(400, 1, 8, 8)
    light = (torch.rand(400, 1, 1, 1, generator=generator) < 0.5) * 100.0
    labels = torch.zeros(400, dtype=torch.int64)
    augment = LearnableAugment(
        flip=LearnableStep(lambda images: images.flip(-1)), light=LearnableStep(lambda images: images + 100, 0.1)
    )
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))
    scaled = nn.Sequential(nn.BatchNorm2d(1, affine=False, track_running_stats=False), critic)
    history = match_distribution(augment, scaled, (ramp, labels), (ramp + light, labels), steps=150, batch=64)
    assert len(history) == 150
    assert history[-1]["flip"][0] < 0.15
    assert history[-1]["light"][0] > 0.25


def test_a_learned_augmentation_serves_the_training_loop():
    augment = standard_steps(32).requires_grad_(False)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 2))
    history = training.fit(model, stripes(40), epochs=1, augment=augment)
    assert math.isfinite(history["train_loss"][0])


# The explorer's strengths

LIGHTING = PCALighting.of(coloured())
LADDERS = {ladder.name: ladder for ladder in strengths.ladders(LIGHTING)}


@pytest.mark.parametrize("name", [name for name, ladder in LADDERS.items() if ladder.make])
def test_a_draw_of_a_ladder_only_gets_stronger_and_leaves_the_global_generator_alone(name):
    ladder, image = LADDERS[name], v2.functional.pil_to_tensor(datasets.photograph("cat").resize((48, 48)))
    before = torch.random.get_rng_state()
    drawn = [ladder.samples(image, value, 8) for value in ladder.values]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(drawn[0], ladder.samples(image, ladder.values[0], 8))
    assert all(one.shape == (8, 3, 48, 48) and one.dtype == torch.uint8 for one in drawn)
    far = [(one.float() - image).abs().mean().item() for one in drawn]
    if name not in ("AugMix", "RandAugment"):  # they draw among operations whose strengths don't compare
        assert far == sorted(far)
    assert (far[0] > 0 and far[-1] > far[0]) or len(far) == 1
    assert all("{" not in text for value in ladder.values for text in (ladder.say.format(v=value), ladder.code(value)))
    known = {"v2": v2, "lighting": LIGHTING, **{c.__name__: c for c in (RandomAffine, ColourJitter, PCALighting)}}
    assert all(isinstance(eval(ladder.code(value), known), ladder.make) for value in ladder.values)
