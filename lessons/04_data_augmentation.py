# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 4 · Data augmentation
#
# After this lesson you can
# - say which changes a network should ignore for a given task, and measure what a wrong choice costs;
# - augment as AlexNet and ResNet did: colour offsets, random scales and crops, ten crops for testing;
# - mix images and labels, and use a consistency loss;
# - let an augmentation learn its own probabilities and strengths by gradient;
# - measure the effect on overfitting, and what averaging over views at test time buys.
#
# **You need** lesson 3 (learning curves) and a little probability. No data has to be downloaded.
# **Time:** about a minute and a half of computing on two CPU cores; reading and exercises take two to three hours.
#
# *Predict* before you run a cell. Nothing later depends on your answers to the exercises.

# %% tags=["setup"]
# Set-up, the same in every lesson. On Colab it fetches the course; elsewhere it only finds helpers/.
import os
import subprocess
import sys

REPOSITORY = ""
COURSE = "/content/course" if "COLAB_RELEASE_TAG" in os.environ else ".."
if COURSE != ".." and not os.path.exists(COURSE):
    assert REPOSITORY, "This copy has no address to fetch from: upload the course's folder as /content/course."
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", REPOSITORY, COURSE], check=True)
if COURSE != "..":
    subprocess.run([sys.executable, COURSE + "/helpers/colab.py"], check=True)
sys.path.insert(0, COURSE)
from helpers import machine

print(machine.describe())

# %% tags=["setup"]
import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import v2

from helpers import augmentation, backbones, datasets, explorers, learnable, plots, strengths, training
from helpers.augmentation import Compose, PCALighting, RandomAffine, ResNetCrop
from helpers.checks import Check

# %% [markdown]
# ## 1. Should the network ignore this here?
#
# A label often stays true when the image changes a little. Then each change gives a new training image for free. This
# is **data augmentation**. It tells the network: *ignore this*. So ask one question before each change: **should the
# network ignore this, here?**
#
# Below is a photograph of a cat, changed in many ways. *For which of them would you still say "cat"? For which will a
# network that was trained on ImageNet?*

# %%
lite0 = backbones.load("efficientnet_lite0")
cat = lite0.preprocess(datasets.photograph("cat"))[0]  # uint8 (3, 224, 224)
v2f = v2.functional


def lens(image, strength=0.5):
    """The distortion of a cheap wide-angle lens: the farther from the centre, the more is squeezed in."""
    grid = F.affine_grid(torch.eye(2, 3)[None], (1, *image.shape), align_corners=False)
    bent = grid * (1 + strength * grid.square().sum(-1, keepdim=True)) / (1 + strength)
    return F.grid_sample(image[None].float(), bent, align_corners=False)[0].byte()


# %% tags=["item-27"]
torch.manual_seed(0)
geometry = {
    "as it is": cat,
    "mirrored": v2f.horizontal_flip(cat),
    "upside down": v2f.vertical_flip(cat),
    "another crop, larger": v2.RandomResizedCrop(224, scale=(0.3, 0.4))(cat),
    "moved": v2f.affine(cat, angle=0, translate=[50, 25], scale=1, shear=[0.0]),
    "turned by 25°": v2f.rotate(cat, 25),
    "stretched": v2f.center_crop(v2f.resize(cat, [224, 340]), [224, 224]),
    "sheared": v2f.affine(cat, angle=0, translate=[0, 0], scale=1, shear=[25.0]),
    "a wide-angle lens": lens(cat),
}

# %% tags=["item-27"]
torch.manual_seed(0)
colours = {
    "darker": v2f.adjust_brightness(cat, 0.5),
    "more contrast": v2f.adjust_contrast(cat, 2.0),
    "another hue": v2f.adjust_hue(cat, 0.4),
    "noise": (cat + 40 * torch.randn(cat.shape)).clamp(0, 255).byte(),
    "a part erased": v2.RandomErasing(p=1, scale=(0.1, 0.2))(cat),
    "negative": v2f.invert(cat),
}

# %% [markdown]
# The network is EfficientNet-Lite0, a small one that was trained on ImageNet's 1,000 classes (we call it Lite0). It
# knows five kinds of house cats; we add up their probabilities.

# %% tags=["item-27"]
changed = geometry | colours
cats = [
    backbones.imagenet_classes().index(name)
    for name in ("tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat")
]
with torch.inference_mode():
    is_cat = lite0(torch.stack(list(changed.values()))).softmax(1)[:, cats].sum(1)
is_cat = dict(zip(changed, is_cat.tolist(), strict=True))

# %% tags=["item-27"]
titles = [f"{name}\ncat: {p:.2f}" for name, p in is_cat.items()]
title = "Lite0 says “cat” to all of them; noise and another hue make it least sure"
plots.images(list(changed.values()), titles, title=title, columns=5, size=1.9)

# %% tags=["item-27"]
most_disturbing = sorted(is_cat, key=is_cat.get)[:2]
assert is_cat["mirrored"] > 0.9 * is_cat["as it is"], "a mirrored cat is a cat"
assert min(is_cat.values()) > 0.5 and set(most_disturbing) == {"noise", "another hue"}, "what disturbs it most"
most_disturbing

# %% [markdown]
# A network that was trained on 1.28 million images ignores a lot, at least on this cat: the mirror, which its training
# contained, and even "upside down", which photographs hardly ever are, and the negative (which it may have met:
# EfficientNets are trained with AutoAugment, of section 6). What disturbs it most are noise and another hue.
#
# *Is a change that doesn't disturb the network always a good augmentation?* No: the network was asked for **cats**. Each
# of these changes is fine *somewhere*. None is fine *everywhere*:
#
# | task | fine | wrong |
# |---|---|---|
# | kinds of flowers | mirrored, crops | another hue: it may be the only difference |
# | handwritten letters | small turns and shears | turned by 180°: a d becomes a p |
# | X-rays of bones | more contrast, small turns | a part erased: it may hide the only fracture |
# | arrows on signs | crops, noise, darker | mirrored: left becomes right |
#
# ### Exercise 1 · ignore it? (2 points)
# Set `ignore` to a dictionary with the eight keys that the cell lists. A value is `True` if the network should ignore
# the change, `False` if the change alters (or may alter) the right answer, or makes an image that the network will
# never meet. For example, the value of "cat, darker" is `True`. The questions: *Which digit is it?* (Nobody writes with
# a precision of one pixel.) *Is it a street? Is the solar cell sound or defective? Which colour does the traffic light
# show? Is it a cat? On which side of the X-ray is the heart?*

# %% nbgrader={"grade": false, "grade_id": "ignore", "locked": false, "schema_version": 3, "solution": true, "task": false}
# The keys: "digit, mirrored"   "digit, moved by one pixel"   "street, mirrored"   "street, upside down"
#           "solar cell, turned by 180°"   "traffic light, another hue"   "cat, darker"
#           "on which side is the heart, mirrored"
ignore = ...
### BEGIN SOLUTION
ignore = {
    "digit, mirrored": False,
    "digit, moved by one pixel": True,
    "street, mirrored": True,
    "street, upside down": False,
    "solar cell, turned by 180°": True,
    "traffic light, another hue": False,
    "cat, darker": True,
    "on which side is the heart, mirrored": False,
}
### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "ignore_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
def says(key, value):
    return lambda answer: isinstance(answer, dict) and answer.get(key) in (value,)


check = Check(ignore, points=2, name="ignore")
keys = ["digit, mirrored", "digit, moved by one pixel", "street, mirrored", "street, upside down"]
keys += ["solar cell, turned by 180°", "traffic light, another hue", "cat, darker"]
keys += ["on which side is the heart, mirrored"]
given = ignore if isinstance(ignore, dict) else {}
missing = ", ".join(f"“{k}”" for k in keys if k not in given)
unknown = ", ".join(f"“{k}”" for k in given if k not in keys)
hint = " ".join(f"{what}: {which}." for what, which in (("Missing", missing), ("Unknown", unknown)) if which)
hint = hint if isinstance(ignore, dict) else "A dictionary is asked for: {key: value, ...}."
check.that("these eight keys, and no other", lambda a: isinstance(a, dict) and set(a) == set(keys), hint=hint)
text, kinds = "each value is True or False", {bool, np.bool_}
check.that(text, lambda a: isinstance(a, dict) and {*map(type, a.values())} <= kinds, hint="No number, no text.")
check.that("a darker cat is a cat", says("cat, darker", True), weight=0.5)
hint = "Hold a 2 or a 7 before a mirror: is it still one?"
check.that("a digit, mirrored", says("digit, mirrored", False), hint=hint)
### BEGIN HIDDEN TESTS
truth = dict(zip(keys, (False, True, True, False, True, False, True, False), strict=True))
hint = "Does the right answer change? Do such images occur?"
for key in keys[1:6] + keys[7:]:
    check.that(key, says(key, truth[key]), hint=hint)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 2. What a wrong answer costs: the flip of a digit
#
# Now measure it. A small network learns from only 20 images of each digit, and is tested on 1,250 others.
# Each experiment is repeated with several seeds: other training images, other first weights.

# %% tags=["setup"]
digits = datasets.load("digits")
parts = datasets.split(digits, seed=0)
pool, test = digits.subset(parts.train), digits.subset(parts.test)
QUICK = machine.budget() == "quick"
SEEDS = range(3 if QUICK else 8)
EPOCHS, DEVICE = 60, machine.device()


# %% tags=["setup"]
class DigitNet(nn.Module):
    """Two strided convolutions and two linear layers: pixels (N, 1, 28, 28) in 0-255 -> scores (N, classes)."""

    def __init__(self, classes=10):
        super().__init__()
        convolutions = nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1)
        linear = nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, classes)
        self.layers = nn.Sequential(*convolutions, nn.ReLU(), *linear)

    def forward(self, images):
        return self.layers(images.float() / 255 - 0.5)


# %%
def learn(augment, seed):
    """Learn 20 digits a class; returns the network and, each fifth epoch, (train loss, test loss, test accuracy)."""
    few = pool.subset(datasets.few_shot(pool.labels, 20, seed))
    torch.manual_seed(seed)
    net, rows = DigitNet(), []

    def look(net, history):
        if len(history.epochs) % 5 == 0:
            measured = training.evaluate(net, test)
            rows.append((history["train_loss"][-1], measured.loss, measured.accuracy))

    options = {"epochs": EPOCHS, "rate": 3e-3, "batch": 50, "weight_decay": 1e-2, "seed": seed, "progress": False}
    training.fit(net, few, augment=augment, on_epoch=look, **options)
    return net, torch.tensor(rows)


# %% [markdown]
# *Predict: by how much do random flips change the test accuracy? Up or down?*

# %% tags=["item-27"]
still = {"area": (1.0, 1.0), "stretch": 1.0}  # no crop, no stretch
plain = [learn(None, seed) for seed in SEEDS]
flipped = [learn(RandomAffine(flip=0.5, **still), seed) for seed in SEEDS]


# %% tags=["item-27"]
def accuracies(runs):
    """The test accuracies at the end of the runs: one value for each seed."""
    return torch.stack([rows[-1, 2] for _, rows in runs])


loss_by_flips = accuracies(plain) - accuracies(flipped)  # each seed against itself
assert (loss_by_flips > 0).all() and loss_by_flips.mean() > 2 * loss_by_flips.std(), "flips harm, with every seed"
f"flips cost {100 * loss_by_flips.mean():.1f} ± {100 * loss_by_flips.std():.1f} points"

# %% [markdown]
# Flips must make some digits look like others. *Which ones? Which digits suffer least?* Look at the **recall** of each
# digit: the share of its test images that are called by their right name.

# %% tags=["item-27"]
without, mirrored = (sum(training.evaluate(net, test).confusion for net, _ in runs) for runs in (plain, flipped))
drop = without.diag() / without.sum(1) - mirrored.diag() / mirrored.sum(1)
assert drop[[3, 5]].min() > drop[[0, 1, 2, 4, 6, 7, 8, 9]].max(), "3 and 5 pay most"

# %% tags=["item-27"]
examples = [pool.images[pool.labels == digit][5, 0] for digit in range(10)]
points = [f"{round(-100 * change):+d}" for change in drop.tolist()]
titles = [f"{digit}: {change if change != '+0' else '0'} points" for digit, change in enumerate(points)]
titles += ["mirrored"] * 10
title = "What training with flips does to the recall of each digit: 3 and 5 pay most"
plots.images([*examples, *(image.flip(-1) for image in examples)], titles, title=title, columns=10, size=1.2)

# %% [markdown]
# *Why these two? For what are they taken?* The confusion tables know. For the 3s, the 5s and the 6s (which lose most
# after them): which wrong answer has increased most, and by how many cases, summed over the seeds?

# %% tags=["item-27"]
more = mirrored - without  # (true digit, predicted digit)
taken_for = {digit: int(more[digit].argmax()) for digit in (3, 5, 6)}
assert (taken_for[3], taken_for[5]) == (5, 3), "they are taken for each other"
{f"{true}s taken for a {other}": int(more[true, other]) for true, other in taken_for.items()}

# %% [markdown]
# To tell a 3 from a 5, look at the upper half: is it open on the left or on the right? That is what a flip tells the
# network to ignore. *For what does a network that never met mirrored digits take them?*

# %% tags=["item-27"]
turned_over = dataclasses.replace(test, images=test.images.flip(-1))
taken = sum(training.evaluate(net, turned_over).confusion for net, _ in plain)

# %% tags=["item-27"]
likeliest = {digit: (int(row.argmax()), f"{row.max() / row.sum():.0%}") for digit, row in enumerate(taken)}
assert likeliest[5][0] == 3, "a mirrored 5 looks more like a 3 than like anything else, to the network"
likeliest

# %% [markdown]
# A network that never met them takes about three in ten mirrored 5s for 3s, its most frequent answer. One trained with
# flips must call them 5s, so it can't keep the two apart. That fits the two digits that lose most. It is no law:
# mirrored 1s, which lean the other way, are often taken for 5s, and mirrored 6s for 2s, and these lose less. Measure
# what a flip costs; don't guess it.
#
# ## 3. Light: an offset along the principal colours
#
# Colour jitter has a simple form (random contrast and brightness) and a finer one, from AlexNet (Krizhevsky 2012). The
# pixels of all images are points in a space of three axes: red, green, blue. The eigenvectors $p_1, p_2, p_3$ of their
# 3×3 covariance matrix are the **principal directions**; its eigenvalues $\lambda_1, \lambda_2, \lambda_3$ are the
# variances along them. Each time an image is used, draw three numbers $a_i$ from a normal distribution with mean 0 and
# $\sigma = 0.1$, and add the **same** offset to **all** its pixels:
#
# $$a_1\lambda_1 p_1 + a_2\lambda_2 p_2 + a_3\lambda_3 p_3$$
#
# *Predict: in which direction do the colours of photographs vary most?*

# %% tags=["item-27", "item-28"]
names = ("astronaut", "cat", "china", "coffee", "flower", "rocket")
squares = [v2f.pil_to_tensor(datasets.photograph(name).resize((96, 96))) for name in names]
lighting = PCALighting.of(torch.stack(squares))
lighting.values, lighting.directions.T  # variances (pixels in 0-1), and in each row a direction

# %% tags=["item-27", "item-28"]
first = lighting.directions[:, 0]
assert (first * first.sign()[0] > 0.3).all(), "red, green and blue rise together"
assert lighting.values[0] > 5 * lighting.values[1], "far more variance than in the other two"
first * first.sign()[0]  # a direction's sign is arbitrary

# %% [markdown]
# From dark to bright: all three colours rise together. The second direction runs, roughly, from blue to orange: the
# colour of the light, from shade to lamp. So these offsets do about what a change of *illumination* does. (Only about:
# more light multiplies the pixels, an offset adds to them.)
#
# At $\sigma=0.1$ you hardly see it (first row). The second row has ten times as much.

# %% tags=["item-27", "item-28"]
draw = torch.Generator().manual_seed(1)
four = cat.float().expand(5, -1, -1, -1)
strong = PCALighting(lighting.values, lighting.directions, sigma=1.0)
shown = torch.cat([lighting(four, draw), strong(four, draw)]).clamp(0, 255).byte()
titles = ["σ = 0.1"] * 5 + ["σ = 1"] * 5
plots.images(list(shown), titles, title="The light changes, the object doesn't", columns=5, size=1.8)

# %% [markdown]
# One trap. An eigenvalue is a *variance*: its unit is a pixel value squared. *The paper's formula is used once on
# pixels in 0-1 and once on pixels in 0-255. How large is a typical offset along the first direction each time, in gray
# levels (steps of 0-255)?*

# %% tags=["item-28"]
small = 0.1 * lighting.values[0].item() * 255  # σ · λ is a part of 1, and 1 is 255 gray levels
large = 0.1 * lighting.values[0].item() * 255**2  # in 0-255 the variance λ itself is 255² times as large
assert small < 20 < 255 < large, "in 0-255 the formula would turn most images black or white"
small, large

# %% [markdown]
# So the pixels must be in 0-1 when the formula is used as it stands.
#
# ### Exercise 2 · PCA lighting (3 points)
# Write `pca_lighting(images, values, directions, alphas)`: `images` is (N, 3, H, W), `values` is (3,), `directions` is
# (3, 3), **each column a direction**, `alphas` is (N, 3): the $a_i$, already drawn. The result has the shape of
# `images`. All pixels are in 0-1, nothing is clipped, and the arguments stay as they are. Example: with
# `directions = torch.eye(3)`, `values = [2, 1, 0]` and `alphas = [[0.1, 0.3, 5]]`, red rises by 0.2, green by 0.3, and
# blue stays.


# %% nbgrader={"grade": false, "grade_id": "pca_lighting", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pca_lighting(images, values, directions, alphas):
    """images + sum over i of alphas[:, i] * values[i] * directions[:, i], the same offset at all pixels of an image.

    images: (N, 3, H, W); values: (3,); directions: (3, 3), one a column; alphas: (N, 3). Returns (N, 3, H, W).
    """
    ### BEGIN SOLUTION
    offsets = (alphas * values) @ directions.T
    return images + offsets[:, :, None, None]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pca_lighting_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = Check(pca_lighting, points=3)
black, alphas = torch.zeros(1, 3, 2, 2), torch.tensor([[0.1, 0.3, 5.0]])
expected = torch.tensor([0.2, 0.3, 0.0])[None, :, None, None].expand(1, 3, 2, 2)
check.equal(black, torch.tensor([2.0, 1, 0]), torch.eye(3), alphas, expected=expected, show="the example")
torch.manual_seed(5)
images, alphas, values = torch.rand(4, 3, 5, 6), torch.randn(4, 3) * 0.1, torch.tensor([0.9, 0.4, 0.1])
turn = torch.linalg.qr(torch.randn(3, 3)).Q
offsets = torch.einsum("ni,i,ci->nc", alphas, values, turn)
right = images + offsets[:, :, None, None]
by_rows = images + torch.einsum("ni,i,ic->nc", alphas, values, turn)[:, :, None, None]
unscaled = images + (alphas @ turn.T)[:, :, None, None]
slips = [(by_rows, "a direction is a column."), (unscaled, "did you use the values (the variances)?")]
check.equal(images, values, turn, alphas, expected=right, slips=slips, show="four images, directions that are turned")
check.unchanged(hint="`+=` and `*=` change it.")
### BEGIN HIDDEN TESTS
for text, rows, down in (("pixels below 0: nothing is clipped", slice(0, 2), 1), ("a single image", slice(2, 3), 0)):
    check.equal(images[rows] - down, values, turn, alphas[rows], expected=right[rows] - down, show=text)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 4. Scales and crops: how ResNet trains and tests
#
# **To train** (He 2016): draw a length $L$ from [256, 480]; resize the image so that its **short side** is $L$; cut out
# 224×224 pixels at a random place; flip with probability ½. *Predict: of a square image, which share of the area does
# the crop show for $L$ = 256 and for $L$ = 480?*

# %% tags=["item-28"]
shares = {length: round((224 / length) ** 2, 2) for length in (256, 368, 480)}
assert shares[256] > 0.75 and shares[480] < 0.25, "from three quarters of the image to one fifth"
shares

# %% tags=["item-28"]
photo = v2f.pil_to_tensor(datasets.photograph("coffee"))[None].float()  # (1, 3, 400, 600)
photo = F.interpolate(photo, (256, 384), mode="bilinear", antialias=True)
crops = ResNetCrop(low=256, high=480, crop=224)(photo.expand(11, -1, -1, -1), torch.Generator().manual_seed(3))
assert crops.shape == (11, 3, 224, 224)

# %% tags=["item-28"]
title = "Training crops of one photograph: other scales, other places, mirrored or not"
plots.images([photo[0].byte(), *crops.byte()], ["the photograph"], title=title, columns=6, size=1.5)

# %% [markdown]
# The cup is small or large, whole or cut. The network must know it by its parts.
#
# **To test**, AlexNet used **ten crops**: four corners and the centre, and their mirror images. The ten softmax outputs
# are averaged. ResNet's best results average over five scales as well: short sides of 224, 256, 384, 480 and 640.
# Ten crops at each of the five make 50 views. (The paper runs the network on the whole image at each scale, as lesson
# 1 did, which is nearly the same as many crops.)
#
# *Predict: for a square image, how many of the ten crops are different at the scale 224? And at 256?*

# %% tags=["item-28"]
square = torch.rand(1, 3, 300, 300, generator=torch.Generator().manual_seed(0)) * 255
at_scales = zip((224, 256), augmentation.multi_scale_crops(square, (224, 256), crop=224), strict=True)
different = {scale: len(views.flatten(1).unique(dim=0)) for scale, views in at_scales}
assert different == {224: 2, 256: 10}, "at 224 nothing is left to choose but the flip"
different

# %% [markdown]
# torchvision cuts five crops out of the image, and then five out of its mirror image. *So the sixth is the top left of
# the mirror image. Of which of the first five is it the mirror image?*

# %% tags=["item-28"]
whole = v2f.pil_to_tensor(datasets.photograph("cat"))[None]  # uint8 (1, 3, 300, 451)
ten = augmentation.ten_crops(whole, 224)
assert torch.equal(ten[1], whole[..., :224, -224:]), "the second is the top right"
assert torch.equal(ten[5], ten[1].flip(-1)), "the sixth is the top right, mirrored"

# %% tags=["item-28"]
with torch.inference_mode():
    of_cat = [f"cat: {p:.2f}" for p in lite0(ten[:, 0]).softmax(1)[:, cats].sum(1)]
title = "Ten crops: four corners and the centre (above), and their mirror images"
plots.images(list(ten[:, 0]), of_cat, title=title, columns=5, size=1.7)

# %% [markdown]
# Now all 50 views. *Which scale is best for a network that was trained at 224?*

# %% tags=["item-28"]
scales = (224, 256, 384, 480, 640)
with torch.inference_mode():
    views = augmentation.multi_scale_crops(whole, scales, crop=224)
    by_scale = torch.stack([lite0(ten[:, 0]).softmax(1)[:, cats].sum(1) for ten in views])  # (5 scales, 10 crops)
assert by_scale[-1].mean() < by_scale[:3].mean(), "640 is too large for a network trained at 224"
dict(zip(scales, by_scale.mean(1).tolist(), strict=True)), by_scale.mean().item()

# %% [markdown]
# Up to 384 the scale hardly matters for this cat; beyond, it gets worse. At 640 a view shows an eye, a bit of fur or
# hardly any cat, and a single view may be badly wrong. The average over all 50 is worse than the best scale alone, but
# safe: as $-\log$ is convex, the loss of the averaged probability is never above the average of the 50 losses, which is
# what a view drawn at random costs on average.

# %% tags=["item-28"]
loss_of_mean, mean_of_losses = -by_scale.mean().log(), -by_scale.log().mean()
assert loss_of_mean <= mean_of_losses and by_scale.min() < by_scale.mean(), "averaging can't lose against a random view"
f"loss of the average {loss_of_mean:.3f}; of a single view, on average {mean_of_losses:.3f}, at worst {-by_scale.min().log():.3f}"

# %% [markdown]
# ### Exercise 3 · where the crops lie (2 points)
# Write `five_crops(height, width, crop)`: the top left corners `(top, left)` of the five crops of a ten-crop test, in
# the order top left, top right, bottom left, bottom right, centre. All are whole numbers; the centre's are rounded
# down (torchvision rounds a half to an even number: its centre may lie one pixel further). Example: `five_crops(256,
# 300, 224)` is `[(0, 0), (0, 76), (32, 0), (32, 76), (16, 38)]`.


# %% nbgrader={"grade": false, "grade_id": "five_crops", "locked": false, "schema_version": 3, "solution": true, "task": false}
def five_crops(height, width, crop):
    """[(top, left), ...] of the four corner crops and the central one, crop x crop pixels each."""
    ### BEGIN SOLUTION
    bottom, right = height - crop, width - crop
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "five_crops_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(five_crops, points=2)
order = [(0, 0), (32, 0), (0, 76), (32, 76), (16, 38)]
exchanged = [(0, 0), (76, 0), (0, 32), (76, 32), (38, 16)]
middle = [(0, 0), (0, 76), (32, 0), (32, 76), (128, 150)]
slips = [(order, "top right comes before bottom left."), (exchanged, "rows (top) come first.")]
slips += [(middle, "the corner of the central crop, not the centre of the image.")]
expected = [(0, 0), (0, 76), (32, 0), (32, 76), (16, 38)]
check.equal(256, 300, 224, expected=expected, slips=slips)
check.equal(224, 224, 224, expected=[(0, 0)] * 5, hint="Five crops, all of them at the same place.")
corners = [(0, 0), (0, 16), (7, 0), (7, 16)]
slips = [([*corners, (3.5, 8)], "whole numbers: round down."), ([*corners, (4, 8)], "rounded down, not up.")]
check.equal(31, 40, 24, expected=[*corners, (3, 8)], slips=slips)
### BEGIN HIDDEN TESTS
check.equal(31, 48, 24, expected=[(0, 0), (0, 24), (7, 0), (7, 24), (3, 12)])
check.equal(60, 33, 8, expected=[(0, 0), (0, 25), (52, 0), (52, 25), (26, 12)])
check.equal(32, 40, 25, expected=[(0, 0), (0, 15), (7, 0), (7, 15), (3, 7)])
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 5. Against overfitting
#
# A lecture's figure shows two trainings on small colour images: without augmentation the network clearly overfits; with
# rotations, flips and shifts the test accuracy keeps rising, to **90.3 %** after 100 epochs (the lecture's number, not
# ours). *Is it so here, too?* Our digits get small turns (up to 15°), crops that keep 70-100 % of the area (so digits
# move and grow) and a little stretch. No flip: see section 2. *Sketch the test loss over the epochs, with and without
# augmentation, before you look.*

# %% tags=["item-30"]
sensible = RandomAffine(flip=0.0, area=(0.7, 1.0), stretch=1.2, rotate=15)
few = pool.images[::400][:9].float()
shown = torch.cat([few, *(sensible(few, torch.Generator().manual_seed(i)) for i in (1, 2))])
plots.images(list(shown), title="Digits (above), and what the network sees in two epochs", columns=9, size=1.1)

# %% tags=["item-30"]
augmented = [learn(sensible, seed) for seed in SEEDS]
epochs = torch.arange(5, EPOCHS + 1, 5)
curves = {name: torch.stack([rows for _, rows in runs]) for name, runs in (("plain", plain), ("augmented", augmented))}

# %% tags=["item-30"]
figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
titles = (
    "Augmented images are harder to learn",
    "Only the plain test loss turns up",
    "Augmented, the accuracy rises higher",
)
labels = "training loss", "test loss", "test accuracy"
for i, axis in enumerate(axes):
    measured = {name: c[:, :, i] for name, c in curves.items()}
    plots.curves(epochs, measured, title=titles[i], xlabel="epoch", ylabel=labels[i], axis=axis)
figure

# %% [markdown]
# The bars are standard deviations over the seeds. Now as numbers:

# %% tags=["item-30"]
test_loss = {name: c[:, :, 1] for name, c in curves.items()}
rise = {name: (loss[:, -1] - loss.min(1).values) for name, loss in test_loss.items()}
assert (rise["plain"] > 0.02).all() and rise["augmented"].mean() < 0.5 * rise["plain"].mean(), "only one turns up"
gain = accuracies(augmented) - accuracies(plain)
assert (gain > 0).all() and gain.mean() > 2 * gain.std(), "a gain with every seed, well above the spread"
f"{100 * gain.mean():.1f} ± {100 * gain.std():.1f} points gained; the plain test loss rises by {rise['plain'].mean():.2f}"

# %% tags=["item-30"]
late = curves["augmented"][:, -1, 2] - curves["augmented"][:, 3, 2]  # after epoch 20
late_plain = curves["plain"][:, -1, 2] - curves["plain"][:, 3, 2]
assert late.mean() > late_plain.mean(), "after epoch 20, the augmented network learns more than the plain one"
late.mean().item(), late_plain.mean().item()

# %% [markdown]
# ### Exercise 4 · read the curves (2 points, graded by hand)
# With augmentation the *training* loss is **higher** at the end than without, while the test loss is much lower. A
# friend says: "Your augmentation makes training worse, switch it off." Answer in three or four sentences: why is the
# training loss higher, why is this no bad sign, and which curve decides? What would you see if the augmentation were
# *wrong* for the task?

# %% [markdown] nbgrader={"grade": true, "grade_id": "explain_curves", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# The training loss is measured on changed images, new ones in each epoch: the network can't learn them by heart, and
# some are harder than the originals. So a higher training loss is what one expects, and it isn't comparable with the
# plain one. The curve on held-out, unchanged images decides; here it is lower and does not turn up. With a wrong
# augmentation (a flip for digits) the training loss is higher as well, but the held-out curve is worse, too.
#
# Marking: 1 for why the training loss is higher and isn't comparable, 1 for the held-out curve that decides, also when
# the augmentation is wrong.
# ### END SOLUTION

# %% [markdown]
# ## 6. Mixed images, and strong policies
#
# **mixup** (Zhang 2018) blends two images, and their labels in the same proportion. **CutMix** (Yun 2019) pastes a
# rectangle of one into the other; the labels are mixed by area. The share λ is drawn for each batch, from a Beta(α, α)
# distribution: α = 1 draws evenly from 0-1; with a small α (0.4, say) λ lies mostly near 0 or 1, and one image
# dominates. torchvision has both, for batches.

# %% tags=["item-29"]
torch.manual_seed(1)
pair = torch.stack([v2f.pil_to_tensor(datasets.photograph(name).resize((160, 160))) for name in ("cat", "coffee")])
pair, which = pair.float(), torch.tensor([0, 1])
blended, blended_labels = v2.MixUp(num_classes=2)(pair, which)
pasted, pasted_labels = v2.CutMix(num_classes=2)(pair, which)

# %% tags=["item-29"]
said = [f"cat {a:.2f}, coffee {b:.2f}" for a, b in torch.cat([blended_labels, pasted_labels]).tolist()]
title = "mixup (left two) and CutMix (right two): the label says how much of each is there"
plots.images([*blended.byte(), *pasted.byte()], said, title=title, size=2.2)

# %% [markdown]
# *Is the label honest?* For mixup, we solve blended = s · cat + (1 - s) · coffee for the share s (least squares over
# all pixels). For CutMix, we count the pixels that are still the cat's:

# %% tags=["item-29"]
difference = pair[0] - pair[1]
share = ((blended[0] - pair[1]) * difference).sum() / difference.square().sum()
unchanged = (pasted[0] == pair[0]).all(0).float().mean()
assert torch.isclose(share, blended_labels[0, 0], atol=1e-3), "mixup: the label is the share of the blend"
assert abs(unchanged - pasted_labels[0, 0]) < 0.01, "CutMix: the label is the share of the area"
share.item(), unchanged.item()

# %% [markdown]
# ### Exercise 5 · mixup (2 points)
# Write `mixup(images, labels, share, classes)`. `images` is a float tensor (N, C, H, W), `labels` is (N,), `share` is a
# number in 0-1. Image $i$ is blended with image $i - 1$ (the first with the last): `share` of itself and `1 - share` of
# the other. Return the pair (images, labels), where labels are now probabilities, (N, classes). Don't change the
# arguments. Example: the labels `[0, 2, 1]`, share 0.75 and 3 classes give
# `[[0.75, 0.25, 0], [0.25, 0, 0.75], [0, 0.75, 0.25]]`.


# %% nbgrader={"grade": false, "grade_id": "mixup", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mixup(images, labels, share, classes):
    """(blended images (N, C, H, W), label probabilities (N, classes)): share of image i, the rest of image i - 1."""
    ### BEGIN SOLUTION
    targets = F.one_hot(labels, classes).float()
    blended = share * images + (1 - share) * images.roll(1, 0)
    return blended, share * targets + (1 - share) * targets.roll(1, 0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mixup_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(mixup, points=2)
values, labels = torch.tensor([[8.0, 1], [0, 3], [4, 2], [6, 5]]).view(4, 1, 1, 2), torch.tensor([0, 2, 1, 1])
targets = F.one_hot(labels, 3).float()
expected, turned, after_it = (
    tuple(share * x + (1 - share) * x.roll(by, 0) for x in (values, targets))
    for share, by in ((0.75, 1), (0.25, 1), (0.75, -1))
)
slips = [(turned, "share is the part of the image itself."), (after_it, "the other image is i - 1, not i + 1.")]
slips += [((expected[0], targets), "the labels are blended, too.")]
show = "4 images of 1×2 pixels, labels [0, 2, 1, 1], 0.75, 3"
check.equal(values, labels, 0.75, 3, expected=expected, slips=slips, show=show)
check.equal(values, labels, 0.25, 3, expected=turned, show="the same with 0.25")
check.unchanged(weight=0.25)
### BEGIN HIDDEN TESTS
torch.manual_seed(7)
images, labels = torch.rand(5, 2, 3, 4), torch.tensor([3, 0, 0, 1, 2])
targets = F.one_hot(labels, 6).float()
right = (0.3 * images + 0.7 * images[[4, 0, 1, 2, 3]], 0.3 * targets + 0.7 * targets[[4, 0, 1, 2, 3]])
check.equal(images, labels, 0.3, 6, expected=right, show="five images, six classes")
check.unchanged(weight=0.25)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# A **policy** is a rule that draws operations (turn, shear, hue ...) and their strengths. *AutoAugment* spent
# thousands of GPU hours on the search for good ones. *RandAugment* found that two numbers do as well (how many
# operations, how strong). *TrivialAugment* has none: one random operation at a random strength. **AugMix** draws a few
# *chains* of operations and blends their results with the original, so the image changes much but stays realistic.

# %% tags=["item-29"]
torch.manual_seed(4)
policies = {"AutoAugment": v2.AutoAugment(), "RandAugment": v2.RandAugment()}
policies |= {"TrivialAugment": v2.TrivialAugmentWide(), "AugMix": v2.AugMix(severity=5)}
shown = [policy(cat) for policy in policies.values() for _ in range(5)]
named = [name for name in policies for _ in range(5)]
plots.images(
    shown, named, title="Five draws of each policy: another change each time, mostly still a cat", columns=5, size=1.6
)

# %% [markdown]
# **Try it.** All changes of this lesson, from weak to strong. *Predict first: which of them turn the 6 into another
# digit, or into no digit, and from which strength on? Which leave the cat a cat even at full strength?* Then mix the
# two pictures below. *With CutMix, λ is the share of the first picture that you ask for. Move the rectangle to the
# border: why does the label change, when λ doesn't?*

# %% tags=["item-27", "item-28", "item-29"]
six, two = pool.images[pool.labels == 6][5], dict(zip(("cat", "coffee"), pair, strict=True))
explorers.augmentations({"cat": cat, "digit 6": six}, two, strengths.ladders(lighting))

# %% [markdown]
# Turned by 180° the 6 is a 9, and mirrored it is no digit at all. A change of hue does nothing to a gray digit. The
# CutMix label counts what is really there: the part of the rectangle that falls outside is lost.
#
# AugMix also has a loss of its own. Two augmented views and the original should get **the same prediction**. The
# Jensen-Shannon divergence measures how far apart the three predictions $p_1, p_2, p_3$ are:
#
# $$m = \tfrac13 (p_1 + p_2 + p_3), \qquad
# \mathrm{JS} = \tfrac13 \left( \mathrm{KL}(p_1 \| m) + \mathrm{KL}(p_2 \| m) + \mathrm{KL}(p_3 \| m) \right)$$
#
# Here $\mathrm{KL}(p \| m) = \sum_k p_k \log(p_k / m_k)$, summed over the classes: it is 0 when $p = m$. The whole loss
# is the cross-entropy of the original plus 12 · JS. *Predict: how large can JS be?*

# %% tags=["item-29"]
sure = 100 * torch.eye(3)  # scores before the softmax (jensen_shannon takes those): each row is sure of another class
agree = augmentation.jensen_shannon(sure[:1], sure[:1], sure[:1])
differ = augmentation.jensen_shannon(sure[:1], sure[1:2], sure[2:])  # three sure, different predictions
assert agree.abs() < 1e-6 and torch.isclose(differ, torch.tensor(3.0).log(), atol=1e-4), "from 0 to log 3"
round(agree.abs().item(), 4), round(differ.item(), 4)

# %% [markdown]
# ### Exercise 6 · the consistency loss (3 points)
# Write `consistency(p, q, r)`: three predictions, each (N, K), rows of **probabilities** (all above 0). Return the
# Jensen-Shannon divergence, averaged over the N images, in nats (natural logarithm), as a tensor without axes (its shape
# is `()`). It is a loss: a gradient must flow back to p, q and r.
# $\mathrm{KL}(p \| m) = \sum_k p_k \log(p_k / m_k)$. Example: `[[0.5, 0.5]]`, `[[0.5, 0.5]]` and `[[0.8, 0.2]]`
# give 0.0441.


# %% tags=["setup"]
def mean_divergence(*views):
    m = (sum(views) / 3).log()
    return sum(F.kl_div(m, view, reduction="batchmean") for view in views) / 3


def slope(loss_of, logits):
    """The gradient of a loss of three views with respect to the logits behind them; 0 where none flows back."""
    leaves = [view.clone().requires_grad_() for view in logits]
    loss = loss_of(*(leaf.softmax(1) for leaf in leaves))
    if not getattr(loss, "requires_grad", False):
        return torch.zeros(3, *logits[0].shape)
    found = torch.autograd.grad(loss.sum(), leaves, allow_unused=True)
    return torch.stack([torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True)])


# %% nbgrader={"grade": false, "grade_id": "consistency", "locked": false, "schema_version": 3, "solution": true, "task": false}
def consistency(p, q, r):
    """The mean over the images of (KL(p||m) + KL(q||m) + KL(r||m)) / 3, where m = (p + q + r) / 3. Each is (N, K)."""
    ### BEGIN SOLUTION
    m = sum([p, q, r]) / 3
    return sum((view * (view / m).log()).sum(1).mean() for view in (p, q, r)) / 3
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "consistency_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = Check(consistency, points=3)
p, q, r = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.5, 0.5]]), torch.tensor([[0.8, 0.2]])
right = mean_divergence(p, q, r)
swapped = sum(F.kl_div(view.log(), torch.tensor([[0.6, 0.4]]), reduction="batchmean") for view in (p, q, r)) / 3
slips = [(swapped, "KL(m||p) is not KL(p||m)."), (3 * right, "a third of the sum.")]
slips += [(right / 2, "sum over the classes."), (-right, "the logarithm of p / m, not of m / p.")]
slips += [(right / np.log(2), "the natural logarithm.")]
slips += [(augmentation.jensen_shannon(p, q, r), "no softmax: they are probabilities already.")]
check.equal(p, q, r, expected=right, slips=slips, show="the example", rtol=1e-3)
check.equal(q, q, q, expected=torch.tensor(0.0), show="three times the same", atol=1e-5)
rows = [torch.tensor([[0.5, 0.5], other]) for other in ([0.9, 0.1], [0.3, 0.7], [0.6, 0.4])]
right = mean_divergence(*rows)
check.equal(*rows, expected=right, slips=[(2 * right, "the mean over the images.")], show="two images", rtol=1e-3)
hint = "Compute with tensors all along: `.item()`, `float`, `.detach()` cut the gradient."
logits = [view.log() for view in rows]
want = slope(mean_divergence, logits)
text = "its gradient is that of the formula, back to the logits behind p, q and r"
check.that(text, lambda f: torch.allclose(slope(f, logits), want, atol=1e-5), hint=hint)
### BEGIN HIDDEN TESTS
torch.manual_seed(8)
views = [torch.randn(4, 5).softmax(1) for _ in range(3)]
right = mean_divergence(*views)
check.equal(*views, expected=right, show="four images, five classes", rtol=1e-3)
check.equal(views[2], views[0], views[1], expected=right, show="the same in another order", rtol=1e-3)
check.equal(*(view[:1].repeat(3, 1) for view in (p, q, r)), expected=torch.tensor(0.0441), show="3 rows", rtol=1e-2)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# What do these methods buy with 20 digits a class? Six losses, one plain training loop: no augmentation, mixup, CutMix,
# TrivialAugment, AugMix with its consistency loss, and the turns and crops of section 5. *Rank the six before you run
# it.* (For speed, torchvision's transforms get a whole batch, and draw one operation for all of its images.)


# %% tags=["item-29"]
def learn_with(loss_of, seed):
    """Learn 20 digits a class with loss_of(net, images, labels); returns the test accuracy."""
    few = pool.subset(datasets.few_shot(pool.labels, 20, seed))
    images, labels = few.images.to(DEVICE).float(), few.labels.to(DEVICE)
    machine.seed_everything(seed)
    net = DigitNet().to(DEVICE)
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    for _ in range(2 * EPOCHS // 3):
        for rows in torch.randperm(len(few)).split(50):
            loss = loss_of(net, images[rows], labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return training.evaluate(net, test).accuracy


# %% tags=["item-29"]
def after(transform):
    """The cross-entropy of a batch after a transform of images, or of images and labels."""

    def loss_of(net, images, labels):
        mixes = isinstance(transform, (v2.MixUp, v2.CutMix))
        images, labels = transform(images, labels) if mixes else (transform(images.byte()).float(), labels)
        return F.cross_entropy(net(images), labels)

    return loss_of


# %% tags=["item-29"]
chains = v2.AugMix(all_ops=False)


def augmix_loss(net, images, labels):
    """Cross-entropy of the originals + 12 JS of originals and two AugMix views (Hendrycks et al. 2020)."""
    views = [net(images)] + [net(chains(images.byte()).float()) for _ in range(2)]
    return F.cross_entropy(views[0], labels) + 12 * augmentation.jensen_shannon(*views)


# %% tags=["item-29"]
losses = {"nothing": lambda net, images, labels: F.cross_entropy(net(images), labels)}
losses |= {"mixup": after(v2.MixUp(alpha=0.4, num_classes=10)), "CutMix": after(v2.CutMix(num_classes=10))}
losses |= {"TrivialAugment": after(v2.TrivialAugmentWide()), "AugMix, consistency": augmix_loss}
turns = torch.Generator(DEVICE).manual_seed(0)
losses["turns and crops"] = after(lambda images: sensible(images.float(), turns))
reached = {name: torch.tensor([learn_with(loss_of, seed) for seed in SEEDS]) for name, loss_of in losses.items()}

# %% tags=["item-29"]
means, spreads = ([f(v).item() for v in reached.values()] for f in (torch.mean, torch.std))
title = "20 digits a class: no general method comes near the turns and crops"
plots.bars(list(reached), means, spreads, title=title, lowest=70)

# %% tags=["item-29"]
gains = {name: (v - reached["nothing"]) for name, v in reached.items() if name != "nothing"}
best_general = max(gain.mean() for name, gain in gains.items() if name != "turns and crops")
assert gains["turns and crops"].mean() > best_general + 0.01, "what we know of digits is worth most"
{name: f"{100 * g.mean():+.1f} ± {100 * g.std():.1f}" for name, g in gains.items()}

# %% [markdown]
# These are gains seed by seed, in points. No general method comes near the turns and crops: **knowing the task beats a
# general policy**, here, where the policies draw once a batch. Among the general ones the spread over the seeds is as
# large as the differences: so few seeds can't rank them. The general methods were made for large networks and long
# trainings, where they show their worth.
#
# ## 7. An augmentation that learns
#
# Who says "15°"? A person. *Can the augmentation find its own strengths by gradient?* Each operation has two numbers: a
# **magnitude** (how strong at most) and a **probability** (how often). The library Kornia has warps through which a
# gradient flows, so a magnitude can be learned like a weight. A probability is harder: whether an image is flipped is a
# coin toss, 0 or 1, and a step has no slope. Two tricks give it one:
#
# - a **relaxed** coin (Faster AutoAugment, Hataya 2020): $s = \mathrm{sigmoid}\big((\mathrm{logit}\,p +
#   \mathrm{logit}\,u)/T\big)$, where $u$ is drawn evenly from 0-1 and $\mathrm{logit}\,p = \log\frac{p}{1-p}$ undoes the
#   sigmoid. $s$ is a smooth function of $p$. The smaller the **temperature** $T$ (here 0.5), the nearer $s$ lies to 0
#   or 1;
# - **straight through**: use the hard toss (0 or 1) forwards, and the gradient of $s$ backwards. (The paper does so for
#   magnitudes.)
#
# The cell prints, for $p = 0.3$, how often the hard toss is 1, and how fast the mean of $s$ grows with $p$. (The mean
# of the hard toss is $p$ itself: it grows at the rate 1. So this gradient is right in sign, and nearly in size.)

# %% tags=["item-29"]
p = torch.tensor(0.3, requires_grad=True)
noise = torch.rand(20_000, generator=torch.Generator().manual_seed(0)).logit(eps=1e-6)
soft = ((p.logit() + noise) / 0.5).sigmoid()
tossed = (soft > 0.5).float()
assert abs(tossed.mean() - 0.3) < 0.02, "the hard toss comes up as often as p says"
tossed.mean().item(), torch.autograd.grad(soft.mean(), p)[0].item()

# %% [markdown]
# ### Exercise 7 · straight through (2 points)
# Write `straight_through(soft)`: `soft` is a tensor of numbers in 0-1. The **value** of the result is 1 where `soft` is
# above 0.5, else 0 (up to rounding). Its **gradient** with respect to `soft` is 1 everywhere. One line is enough;
# `.detach()` cuts the gradient of what it is called on. Don't change `soft`. Example:
# `straight_through(torch.tensor([0.2, 0.9]))` is `[0, 1]`.


# %% nbgrader={"grade": false, "grade_id": "straight_through", "locked": false, "schema_version": 3, "solution": true, "task": false}
def straight_through(soft):
    """Forwards the hard value (0 or 1) of soft, backwards the gradient of soft itself. Same shape as soft."""
    ### BEGIN SOLUTION
    hard = (soft > 0.5).to(soft.dtype)
    return hard - soft.detach() + soft
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "straight_through_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
def gradient(f, soft):
    """The gradient of the sum of f(soft) times 1, 2, 3, ... with respect to soft."""
    soft = soft.clone().requires_grad_()
    out = f(soft)
    if not out.requires_grad:
        return torch.zeros_like(soft)  # nothing flows back
    (out * torch.arange(1.0, len(soft) + 1)).sum().backward()
    return torch.zeros_like(soft) if soft.grad is None else soft.grad


check = Check(straight_through, points=2)
slips = [(torch.tensor([0.2, 0.9]), "forwards it must be hard: 0 or 1.")]
check.equal(torch.tensor([0.2, 0.9]), expected=torch.tensor([0.0, 1]), slips=slips)
check.equal(torch.tensor([0.5, 0.6]), expected=torch.tensor([0.0, 1]), slips=[(torch.ones(2), "0.5 isn't above 0.5.")])
check.equal(torch.tensor([0.6, 0.9, 0.7]), expected=torch.ones(3), hint="Each number is compared with 0.5.")
check.unchanged(hint="Leave `soft` as it is.", weight=0.5)
given = torch.tensor([0.2, 0.9, 0.4])
hint = "Add soft, and take away soft.detach(): the value stays, the gradient comes in."
text = "the gradient of the sum of 1, 2, 3 times the result is 1, 2, 3"
check.that(text, lambda f: torch.allclose(gradient(f, given), torch.tensor([1.0, 2, 3])), hint=hint)
### BEGIN HIDDEN TESTS
check.equal(torch.tensor([[0.51, 0.49], [0.0, 1.0]]), expected=torch.tensor([[1.0, 0], [0, 1]]))
check.equal(torch.tensor([0.1, 0.4, 0.3]), expected=torch.zeros(3))
ends = torch.tensor([0.01, 0.99, 0.6, 0.3])
check.that("also near 0 and 1", lambda f: torch.allclose(gradient(f, ends), torch.tensor([1.0, 2, 3, 4])), hint=hint)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ### What shall it learn from?
# Not from the training loss: the easiest images are unchanged ones. As in Faster AutoAugment, we ask that the augmented
# images **look like other real images of their class**. A critic (a small network) learns to tell augmented images of
# a few digits from thousands of other real digits. The augmentation learns to fool it.
#
# It starts with bad ideas: flips, negatives, turns up to 30°, shifts up to 4 pixels, each with probability ½.
# *Predict: which of the four will the critic drive out of the digits? And out of solar cells, which have no left and
# right?*

# %% tags=["item-29"]
cells = datasets.load("solar-cells", size=28, channels=1)


def learn_policy(image_set, per_class, seed, steps=100):
    """Match the augmented few to the others, from random first weights; returns the augmentation and its history."""
    chosen = torch.zeros(len(image_set), dtype=torch.bool)
    chosen[datasets.few_shot(image_set.labels, per_class, seed)] = True
    few, many = ((image_set.images[rows].to(DEVICE), image_set.labels[rows].to(DEVICE)) for rows in (chosen, ~chosen))
    torch.manual_seed(seed)
    policy, critic = learnable.standard_steps(28).to(DEVICE), DigitNet(len(image_set.classes)).to(DEVICE)
    return policy, learnable.match_distribution(policy, critic, few, many, steps=steps, seed=seed)


# %% tags=["item-29"]
of_digits = [learn_policy(pool, 20, seed) for seed in SEEDS]
of_cells = [learn_policy(cells, 100, seed) for seed in SEEDS]


# %% tags=["item-29"]
def over_time(runs, name, which):
    """(seeds, steps): the probability (which = 0) or magnitude (1) of a step, while it was learned."""
    return torch.tensor([[row[name][which] for row in history] for _, history in runs])


figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
titles = "Digits: flip and negative are driven out", "Solar cells: of the four, the flip survives"
for axis, runs, title in zip(axes, (of_digits, of_cells), titles, strict=True):
    chances = {name: over_time(runs, name, 0)[:, 9::10] for name in ("flip", "rotate", "shift", "negative")}
    plots.curves(range(10, 101, 10), chances, title=title, xlabel="step of the search", axis=axis)
axes[0].set_ylabel("probability")
figure

# %% tags=["item-29"]
flip_digits, flip_cells = over_time(of_digits, "flip", 0)[:, -1], over_time(of_cells, "flip", 0)[:, -1]
negative = over_time(of_digits, "negative", 0)[:, -1]
assert flip_digits.max() < 0.2 and negative.max() < 0.2, "from 0.5: no flips, no negatives of digits"
assert flip_cells.min() > 2 * flip_digits.max(), "cells bear the flip, with every seed"
flip_digits, flip_cells

# %% [markdown]
# *And what is left of the turns (30° at first) and shifts (4 pixels)?*

# %% tags=["item-29"]
turn, shift = over_time(of_digits, "rotate", 1)[:, -1], over_time(of_digits, "shift", 1)[:, -1]
often = over_time(of_digits, "rotate", 0)[:, -1]
assert (turn < 20).all() and (turn > 1).all() and often.mean() > 0.2, "small turns are kept"
assert (shift < 2.5).all(), "MNIST's digits were centred when it was made: the critic notices shifts"
f"turns up to {turn.mean():.0f} ± {turn.std():.0f} degrees, shifts up to {shift.mean():.1f} ± {shift.std():.1f} pixels"

# %% [markdown]
# Values that look sensible, found by gradient. *Does a network learn better with the learned policy than with the
# starting one (everything at ½, 30°, 4 pixels)?*

# %% tags=["item-29"]
started = [learn(learnable.standard_steps(28).to(DEVICE).requires_grad_(False), seed) for seed in SEEDS]
learned = [learn(policy.requires_grad_(False), seed) for seed, (policy, _) in zip(SEEDS, of_digits, strict=True)]
compared = {"no augmentation": plain, "policy at the start": started, "policy learned": learned}

# %% [markdown]
# And a person's policy, of the *same* steps: no flip, no negative, turns up to 15°, shifts up to 2 pixels. The second
# cell takes only its turns, and only its shifts: which of the two helps more?

# %% tags=["item-29"]
turns, shifts = (learnable.standard_steps(28).steps[name].change for name in ("rotate", "shift"))
steps = {"rotate": learnable.LearnableStep(turns, 0.5, 15, 90), "shift": learnable.LearnableStep(shifts, 0.5, 2, 10)}
by_hand = learnable.LearnableAugment(**steps).to(DEVICE).requires_grad_(False)
compared["the same steps, by hand"] = [learn(by_hand, seed) for seed in SEEDS]
compared["section 5, by hand"] = augmented

# %% tags=["item-29"]
for what, name in (("turns", "rotate"), ("shifts", "shift")):
    policy = learnable.LearnableAugment(**{name: steps[name]}).to(DEVICE).requires_grad_(False)
    compared[f"only {what}, by hand"] = [learn(policy, seed) for seed in SEEDS]

# %% tags=["item-29"]
means, spreads = ([f(accuracies(runs)).item() for runs in compared.values()] for f in (torch.mean, torch.std))
title = "Learning improves a bad policy; good knowledge of the task does more"
plots.bars(list(compared), means, spreads, title=title, lowest=70)

# %% tags=["item-29"]
better = accuracies(learned) - accuracies(started)
assert better.mean() > 0, "on average over the seeds, learning the policy paid"
assert abs(accuracies(learned) - accuracies(plain)).mean() < 0.03, "about as good as no augmentation"
for name in ("the same steps, by hand", "section 5, by hand"):
    assert accuracies(compared[name]).mean() > accuracies(learned).mean() + 0.02, "what a person knew was worth more"
only_shifts, only_turns = (accuracies(compared[f"only {what}, by hand"]) for what in ("shifts", "turns"))
assert (only_shifts > only_turns).all(), "of the two, the shifts help most, with every seed"
f"learning the policy: {100 * better.mean():+.1f} ± {100 * better.std():.1f} points"

# %% [markdown]
# The learned policy is better than where it started (on average: not always with every seed), but only about as good as
# no augmentation at all. With the same steps a person's policy gains several points, as many as section 5's. So it
# isn't the steps that fail. The critic asks "does it look real?", not "does it help?". Shifts help most of all
# (probably because the parts of a digit lie elsewhere in each person's writing). But as wholes all digits of MNIST are
# centred: the critic notices a shift, and drives out what is worth most. (The full method adds the loss of a
# classifier, so that no class turns into another. And the gradient through a hard toss is an approximation: trust the
# direction, not the last digit.)
#
# ## 8. Test-time augmentation
#
# Ten crops are an augmentation *of the test*. In general: predict several views of an image, and average. *What does it
# buy, for the networks that learned with turns and crops, and for those that learned without? And if the views
# contain flips?*


# %% tags=["item-31"]
def gain_of_views(net, views):
    """Test accuracy of the average over views (V, N, 1, 28, 28), minus that of the image alone."""
    truth = test.labels.to(views.device)
    alone, together = (augmentation.averaged(net.to(views.device), v).argmax(1) for v in (views[:1], views))
    return ((together == truth).float().mean() - (alone == truth).float().mean()).item()


# %% tags=["item-31"]
originals = test.images.to(DEVICE).float()
draw = torch.Generator(DEVICE).manual_seed(0)
flipping = Compose([RandomAffine(flip=0.5, **still), sensible])
views = {
    "10 turned and cropped": torch.stack([originals] + [sensible(originals, draw) for _ in range(9)]),
    "10, half of them mirrored": torch.stack([originals] + [flipping(originals, draw) for _ in range(9)]),
}

# %% tags=["item-31"]
bought = {
    (how, name): torch.tensor([gain_of_views(net, v) for net, _ in runs])
    for how, runs in (("augmented", augmented), ("plain", plain))
    for name, v in views.items()
}
{key: f"{100 * g.mean():+.1f} ± {100 * g.std():.1f} points" for key, g in bought.items()}

# %% tags=["item-31"]
good = bought["augmented", "10 turned and cropped"]
untrained = bought["plain", "10 turned and cropped"]
assert good.mean() > 0 > untrained.mean(), "it pays after such training; without it, it harms"
for how in ("augmented", "plain"):
    assert (bought[how, "10, half of them mirrored"] < bought[how, "10 turned and cropped"]).all(), "flips: never here"

# %% [markdown]
# Averaging over views pays when the network was *trained* to understand such views, but little: the mean gain is about
# as large as its spread over the seeds, and costs ten times the work. The plain network has seen no digit that we
# turned, and the views mislead it. A wrong view at test time harms as it does in training.
#
# ## What to remember
#
# - Before each transformation: *should the network ignore this, here?* A flip is fine for a street, wrong for a digit.
#   When in doubt, measure with several seeds.
# - Augmentation that fits the task raises the training loss and lowers the test loss. With few images, what we know of
#   digits (turns, shifts, crops) was worth more than any general method or learned policy of this lesson.
# - ResNet: short side in [256, 480], random 224 crop, flip. AlexNet: the offset $\sum_i a_i\lambda_i p_i$, the same for
#   all pixels, σ = 0.1, pixels in 0-1.
# - Mixed images need mixed labels. A consistency loss asks for equal predictions, not for labels.
# - Magnitudes can be learned by gradient, probabilities too (relaxed, straight through). The objective decides what
#   they learn.
#
# **Papers.** Krizhevsky, Sutskever, Hinton 2012 (AlexNet: crops, PCA lighting). He, Zhang, Ren, Sun 2016 (ResNet).
# Zhang et al. 2018 (mixup). Yun et al. 2019 (CutMix). Zhong et al. 2020 (random erasing). Cubuk et al. 2019, 2020
# (AutoAugment, RandAugment). Müller and Hutter 2021 (TrivialAugment). Hendrycks et al. 2020 (AugMix). Hataya et al. 2020
# (Faster AutoAugment).
