# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 2 · What ConvNets see
#
# After this lesson you can
# - read the weights of a first layer, and say what a small filter can't show;
# - find the patches of real images that excite a unit, and say what such patches do and don't prove;
# - show where in a picture a network finds its evidence, and move the style of one picture to another;
# - choose a network by accuracy, work and parameters.
#
# **You need** lesson 1 (receptive fields) and a little PyTorch. Everything runs without a network connection. The
# images are 15-Scene (photographs of 15 kinds of scenes) if your machine has them, else the course's solar cells. On a
# CPU the **quick budget** takes fewer images and seeds; on a GPU, the **full budget** takes more.
# **Time:** about one minute of computing on two CPU cores; reading and exercises take two to three hours.

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
import math
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.decomposition import FastICA
from torch import nn
from torch.nn import functional as F
from torchvision.models import get_model, get_model_weights
from torchvision.transforms.functional import pil_to_tensor

from helpers import arithmetic, backbones, codes, datasets, explorers, linear, plots, training, visualise
from helpers.checks import Check

full = machine.budget() == "full"

# %% [markdown]
# ## 1. Templates
#
# A **linear classifier** computes one score per class: a dot product of the image with a weight for each pixel. These
# weights have the shape of an image. The score is high where image and weights agree: the weights are a **template**.
#
# Three small networks learn 3,750 handwritten digits: a linear classifier, an MLP (multi-layer perceptron: 32 hidden
# units, each connected to all pixels), and a ConvNet whose filters see 7×7 pixels.
#
# *Predict: what will the ten templates of the linear classifier look like? And the 7×7 filters?*


# %% tags=["item-16"]
def small_network(kind):
    """A network for 28×28 digits in 0-255: "linear", "MLP" or "ConvNet". Layer 2 is its first with weights."""
    scale = [nn.BatchNorm2d(1, affine=False), nn.Flatten() if kind != "ConvNet" else nn.Identity()]
    conv = [nn.Conv2d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 64, 7), nn.ReLU()]
    layers = {
        "linear": [nn.Linear(784, 10)],
        "MLP": [nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10)],
        "ConvNet": [*conv, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 10)],
    }
    return nn.Sequential(*scale, *layers[kind])


# %% tags=["item-16"]
digits = datasets.load("digits")
train, test = (digits.subset(rows) for rows in datasets.split(digits, seed=0))
digits, len(train), len(test)


# %% tags=["item-16"]
def trained(kind, seed):
    """A small network, trained on the digits."""
    torch.manual_seed(seed)
    net, epochs = small_network(kind), {"linear": 6, "MLP": 8, "ConvNet": 4}[kind]
    training.fit(net, train, epochs=epochs, rate=3e-3, weight_decay=3.0, seed=seed, progress=False)
    return net.cpu()


# %% tags=["item-16"]
kinds, seeds = ("linear", "MLP", "ConvNet"), range(5 if full else 3)
networks = {kind: [trained(kind, seed) for seed in seeds] for kind in kinds}
first_weights = {kind: nets[0][2].weight.detach() for kind, nets in networks.items()}
{kind: tuple(weights.shape) for kind, weights in first_weights.items()}

# %% tags=["item-16"]
templates = first_weights["linear"].view(-1, 28, 28)
title, largest = "A linear classifier learns one template a class", float(templates.abs().max())
plots.images(templates, digits.classes, title=title, columns=5, size=1.2, limits=(-largest, largest))

# %% [markdown]
# (**Weight decay** makes every weight a little smaller at each step. It is strong here, so the noise of the start
# fades.)
#
# White is a positive weight: ink here speaks *for* the class. Black speaks against it, gray is 0. The 0 is a ring, and
# its middle must be empty. Each class has only this one template, for all ways to write the digit.
#
# *Is a template just the mean image of its class?* No. It is more like its own class's mean than like any other's, but
# the correlation is far from 1: it stresses what tells the class from the others.

# %% tags=["item-16"]
means = torch.stack([train.images[train.labels == c].float().mean(0).flatten() for c in range(10)])
likeness = torch.corrcoef(torch.cat([templates.flatten(1), means]))[:10, 10:]  # (template, mean image)
assert (likeness.argmax(1) == torch.arange(10)).all() and likeness.diag().max() < 0.7, "like its class, and not equal"
likeness.diag()

# %% tags=["item-16"]
hidden = first_weights["MLP"][:20].view(-1, 28, 28)
title, largest = "An MLP has a bank of whole-image templates, shared by all classes", float(hidden.abs().max())
plots.images(hidden, title=title, columns=10, size=0.9, limits=(-largest, largest))

# %% tags=["item-16"]
local = first_weights["ConvNet"][:, 0]
title, largest = "A conv layer has local templates: strokes and edges", float(local.abs().max())
plots.images(local, title=title, columns=8, size=0.9, limits=(-largest, largest))

# %% [markdown]
# A whole-image template knows *where* the ink must be. *Predict: what happens to the three accuracies when all test
# digits move by 4 pixels?*


# %% tags=["item-16"]
def moved(image_set, pixels):
    """The image set with every image moved to the right (digits have an empty border)."""
    return dataclasses.replace(image_set, images=image_set.images.roll(pixels, dims=3))


# %% tags=["item-16"]
shifts = (0, 1, 2, 4)
accuracy = {
    kind: np.array([[training.evaluate(net, moved(test, s)).accuracy for s in shifts] for net in nets])
    for kind, nets in networks.items()
}  # kind: (seeds, shifts)
{kind: [f"{m:.2f} ± {s:.2f}" for m, s in zip(a.mean(0), a.std(0, ddof=1), strict=True)] for kind, a in accuracy.items()}

# %% tags=["item-16"]
lost = {kind: a[:, 0] - a[:, -1] for kind, a in accuracy.items()}
assert min(lost["linear"].min(), lost["MLP"].min()) > 0.4 > 0.15 > lost["ConvNet"].max(), f"for every seed: {lost}"
title, words = "Whole-image templates break when the image moves", "test accuracy (mean ± spread of seeds)"
plots.curves(shifts, accuracy, title=title, xlabel="shift of the test digits, pixels", ylabel=words, limits=(0, 1))

# %% [markdown]
# The ConvNet slides its templates over the image and keeps the best match (max pooling), so it hardly notices.
#
# ## 2. First-layer filters of trained networks
#
# The filters of later layers have 16 or 500 channels and can't be shown as pictures. Those of the **first** layer, the
# **stem**, can: they have three channels, red, green and blue. Famous ones are AlexNet's (96 filters of 3×11×11 in the
# paper, 64 in torchvision's variant) and those of ResNet-18, ResNet-101 and DenseNet-121 (64 of 3×7×7). The
# EfficientNet-Lites have 32 of 3×3×3. Which of all these are on your machine?

# %% tags=["item-17"]
wanted = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
wanted += ["alexnet", "resnet18", "resnet101", "densenet121"]
stems = {}
for name in wanted:
    if full or name in backbones.available():  # the full budget may download
        try:
            net = backbones.load(name).net
            stems[name] = next(m for m in net.modules() if isinstance(m, nn.Conv2d)).weight.detach()
        except backbones.NoWeights as missing:
            print(missing)
    else:
        print(f'{name}: its weights are not here. With a network, backbones.load("{name}") gets them.')
{name: tuple(weights.shape) for name, weights in stems.items()}

# %% [markdown]
# Their shapes need no weights. *Check those above:*

# %% tags=["item-17"]
with torch.device("meta"):
    large = {name: get_model(name, weights=None) for name in wanted[3:]}
shapes = {n: next(m for m in net.modules() if isinstance(m, nn.Conv2d)).weight.shape for n, net in large.items()}
assert shapes["alexnet"] == (64, 3, 11, 11) and all(shapes[n] == (64, 3, 7, 7) for n in wanted[4:])
{name: tuple(shape) for name, shape in shapes.items()}


# %% [markdown]
# Now the filters. A weight is a square of the same size in every network, and mid-gray is zero. Each filter is
# stretched to full contrast, so strengths can't be compared between filters.


# %% tags=["item-17"]
def show_filters(banks, title):
    """Mosaics side by side, a weight as large in each. banks: name -> filters (K, 1 or 3, h, w)."""
    pictures = {name: visualise.mosaic(filters, columns=8) for name, filters in banks.items()}
    widths = [picture.shape[1] for picture in pictures.values()]
    height = max(picture.shape[0] for picture in pictures.values())
    inches = min(0.11, 11 / sum(widths))
    size = (inches * sum(widths) + 0.5 * len(banks), inches * height + 0.7)
    figure, axes = plt.subplots(1, len(banks), figsize=size, width_ratios=widths, squeeze=False, layout="constrained")
    figure.get_layout_engine().set(wspace=0.08)  # more than between filters
    for axis, (name, picture) in zip(axes[0], pictures.items(), strict=True):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(name.replace("efficientnet_", ""), fontsize=10)
        axis.set_ylim(height - 0.5, -0.5)
        axis.axis("off")
    figure.suptitle(title, fontsize=12)
    plt.close(figure)
    return figure


# %% tags=["item-17"]
is_small = {name: weights.shape[-1] == 3 for name, weights in stems.items()}
banks = {name: weights for name, weights in stems.items() if is_small[name]}
show_filters(banks, "First layers: 3×3 filters show colours and steep edges, and little more")

# %% tags=["item-17"]
banks = {name: weights for name, weights in stems.items() if not is_small[name]}
title = "Larger first filters: edges of every slant, and opposing colours"
show_filters(banks, title) if banks else "None with larger filters is here. Section 3 learns some."

# %% [markdown]
# A gray filter has the same weights for all three colours: it sees light and dark. A coloured one compares colours. A
# filter that is positive for one colour and negative for its opposite is called **colour-opponent**.
#
# ### Exercise 1 · how coloured is a filter? (2 points)
# Split a filter into a gray part and a colour part. The gray part has, at each place, the mean of the three channels
# (in all three). The colour part is the rest. The **colour share** is the sum of squares of the colour part, divided by
# the sum of squares of the filter.
#
# Write `colour_share(filters)`: `filters` is (K, 3, h, w), the result is a tensor (K,) of values in 0-1. A filter of
# zeros has share 0. Example: one 1×1 filter (1, 1, 1) has share 0, (1, -1, 0) has 1, and (1, 0, 0) has 2/3.


# %% nbgrader={"grade": false, "grade_id": "colour_share", "locked": false, "schema_version": 3, "solution": true, "task": false}
def colour_share(filters):
    """The part of each filter's sum of squares that isn't gray. filters: (K, 3, h, w); returns (K,).

    colour_share(torch.tensor([[[[1.0]], [[0.0]], [[0.0]]]])) is [2/3]; a filter of zeros has 0.
    """
    ### BEGIN SOLUTION
    rest = filters - filters.mean(dim=1, keepdim=True)
    total = filters.square().sum(dim=(1, 2, 3))
    return rest.square().sum(dim=(1, 2, 3)) / total.clamp_min(1e-12)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "colour_share_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(colour_share, points=2)
red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
slips = [([1.0], "the gray part is the mean of the three channels. (A variance? Divide by n, not by n - 1.)")]
slips += [([(2 / 3) ** 0.5], "squares, without a root.")]
check.equal(red, expected=[2 / 3], slips=slips, show="red")
check.equal(torch.ones(2, 3, 4, 4), expected=[0.0, 0.0], show="two gray filters")
check.equal(torch.tensor([1.0, -1, 0]).view(1, 3, 1, 1), expected=[1.0], show="red against green")
check.equal(torch.zeros(1, 3, 3, 3), expected=[0.0], show="zeros", hint="0 / 0 is NaN: a filter of zeros has share 0.")
three = torch.tensor([[1.0, 0, 0], [1, 1, 1], [0, 0, 0]]).view(3, 3, 1, 1)
slips = [([1 / 6, 0.0, 0.0], "divide each filter by its own sum of squares."), (1 / 6, "one share for each filter.")]
check.equal(three, expected=[2 / 3, 0.0, 0.0], slips=slips, show="red, gray and zeros")
places = torch.tensor([[1.0, 0], [1, 0], [1, 2]]).view(1, 3, 1, 2)
slips = [
    ([1 / 3], "divide the sums over all places, don't average the places' shares."),
    ([8.5 / 21], "a mean at each place, not of the whole filter."),
]
check.equal(places, expected=[8 / 21], slips=slips, show="a gray and a red place")
edge = torch.tensor([[1.0, -1.0], [1.0, -1.0]]).repeat(1, 3, 1, 1)
check.equal(edge, expected=[0.0], slips=[([1.0], "take the mean at each place.")], show="a gray edge")
check.equal(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1) / 20, expected=[2 / 3], show="a weak red filter", rtol=0.01)
### BEGIN HIDDEN TESTS
check.equal(torch.cat([edge, edge * torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)]), expected=[0, 2 / 3], show="two edges")
check.equal(red.expand(1, 3, 4, 4) * 5, expected=[2 / 3], show="a larger red filter")
### END HIDDEN TESTS
check.score()

# %% [markdown]
# The same measure on the networks that are here (a share above one half: mostly colour; below: mostly light and dark).
# *How many of Lite0's 32 filters do you expect to be of no use at all, with weights of zero?*


# %% tags=["item-17"]
def shares(filters):
    """Colour share of each filter: (K, 3, h, w) -> (K,)."""
    return filters.var(1, correction=0).sum((1, 2)) / filters.square().mean(1).sum((1, 2)).clamp_min(1e-12)


# %% tags=["item-17"]
alive = {name: weights[weights.square().sum((1, 2, 3)) > 1e-6] for name, weights in stems.items()}
kinds_of = {
    name: {
        "mostly colour": int((shares(w) > 0.5).sum()),
        "mostly light and dark": int((shares(w) <= 0.5).sum()),
        "dead": len(stems[name]) - len(w),
    }
    for name, w in alive.items()
}
assert all(min(k["mostly colour"], k["mostly light and dark"]) >= 5 for k in kinds_of.values()), "both, in each"
assert kinds_of["efficientnet_lite0"]["dead"] == 4, "four filters of Lite0 learned to be zero"
kinds_of

# %% [markdown]
# Each network looks for both colours and light. (A filter may look green or purple and still be mostly light and dark:
# (0.3, 1, 0.3) has a share of 0.28.) And a few filters are dead: weight decay pulls a filter to zero when the loss has
# no use for it.
#
# *What do 3×3 filters rarely do?* Few of them answer to **one direction only**. Turn a grating (light and dark stripes)
# through all directions. Over how many of the 180 degrees does the filter answer at least half as strongly as at its
# best? For a filter that answers to one direction only, this angle is small.


# %% tags=["item-17"]
def direction_width(filters):
    """(K, C, h, w) -> (K,): degrees over which a grating (best frequency) moves a filter at least half as much."""
    gray = filters.mean(1)
    angles, frequencies = torch.arange(0, 180, 2.0).deg2rad(), torch.linspace(0.02, 0.5, 25)  # periods a pixel
    y, x = (torch.arange(n, dtype=torch.float) for n in gray.shape[1:])
    along = angles.cos()[:, None, None] * x + angles.sin()[:, None, None] * y[:, None]  # (angles, h, w)
    gratings = torch.exp(2j * math.pi * frequencies[:, None, None, None] * along)  # both phases at once
    answers = torch.einsum("kyx,fayx->kfa", gray.to(gratings.dtype), gratings).abs()
    best = answers[torch.arange(len(gray)), answers.amax(2).argmax(1)]  # (K, angles), at the best frequency
    return (best >= best.amax(1, keepdim=True) / 2).float().mean(1) * 180


# %% tags=["item-17"]
widths = {name: direction_width(w[shares(w) < 0.5]).median().item() for name, w in alive.items()}
widths

# %% [markdown]
# The *median* 3×3 filter answers to more than half of all directions. (A stripe, `[-1, 2, -1]`, would have about 50°:
# it can be done, but only for the finest stripes.) A 3×3 network has to find directions later, by stacking layers. (Two
# or three of them make a larger filter: lesson 1.)
#
# ## 3. Large filters, learned here
#
# Large filters can be learned without any labels, from patches of photographs. *The question to the patches: which
# filters have answers that are as **independent** of each other as possible?* This is independent component analysis
# (**ICA**). First the patches: 11×11 pixels, one every three pixels (`unfold`), 4,000 from each of six photographs.

# %% tags=["item-17"]
names = ("astronaut", "cat", "china", "coffee", "flower", "rocket")
pictures = [pil_to_tensor(datasets.photograph(name)).float() for name in names]
[tuple(picture.shape) for picture in pictures]

# %% tags=["item-17"]
windows = [picture.unfold(1, 11, 3).unfold(2, 11, 3).flatten(1, 2).transpose(0, 1) for picture in pictures]
torch.manual_seed(0)
patches = torch.cat([window[torch.randperm(len(window))[:4000]] for window in windows])
patches.shape

# %% [markdown]
# Neighbouring pixels are nearly equal, so all filters would find the same: "is it light or dark?" **Whitening** takes
# this away: it keeps the 64 strongest principal components (the directions in which patches differ most; they are
# uncorrelated) and gives them equal variance. ICA then looks for the rotation that makes them independent, too.


# %% tags=["item-17"]
def independent_filters(patches, count=64, seed=0):
    """Patches (N, C, h, w) -> filters (count, C, h, w) with answers that are as independent as can be."""
    x = patches.flatten(1) - patches.flatten(1).mean(0)
    x = x / (x.std(1, keepdim=True) + 0.1 * x.std())  # about the same contrast for each patch
    variance, directions = torch.linalg.eigh(torch.cov(x.T).double())  # the largest last
    whiten = (directions[:, -count:] / variance[-count:].sqrt()).float()
    ica = FastICA(whiten=False, max_iter=300, tol=2e-3, random_state=seed).fit((x @ whiten).numpy())
    turned = torch.from_numpy(ica.components_).float() @ whiten.T
    return turned.view(count, *patches.shape[1:])


# %% tags=["item-17"]
learned = {seed: independent_filters(patches, seed=seed) for seed in seeds}
learned[0].shape

# %% tags=["item-16", "item-17"]
banks = {"Lite0": stems["efficientnet_lite0"], "learned here, without labels": learned[0]}
show_filters(banks, "Learned here, 11×11: edges and stripes of all directions, and opposing colours")

# %% [markdown]
# Most are gray edges and stripes, each at its own place, direction and width. Some are coloured: orange against blue,
# green against purple. AlexNet's and ResNet's first layers look much the same, though they were learned from labels
# (where their weights are, section 2 shows them).
# The cells that Hubel and Wiesel (1962) found in the cat's visual cortex also answer to edges and bars, each at its own
# place and direction. Such features are **generic**: they belong to
# natural images and not to a task.
#
# *Is this in the numbers, too?* For each seed: how many of the 64 filters are (gray, coloured)? And over how many
# degrees does the median one answer? For the 3×3 filters (section 2; printed last) it is over 90:

# %% tags=["item-17"]
counts = {seed: (int((shares(w) < 0.1).sum()), int((shares(w) > 0.5).sum())) for seed, w in learned.items()}
directions = {seed: direction_width(w[shares(w) < 0.5]).median().item() for seed, w in learned.items()}
assert all(gray > 2 * coloured > 4 for gray, coloured in counts.values()), f"mostly gray edges: {counts}"
small = [widths[name] for name in stems if is_small[name]]
assert max(directions.values()) < 45 < 90 < min(small), f"large filters know a direction: {directions}"
counts, directions, widths

# %% [markdown]
# ## 4. What becomes of a photograph, stage by stage
#
# The deeper layers show themselves by what they *do*. We look at five layers of EfficientNet-Lite0, each after its
# ReLU6, $\min(\max(0, x), 6)$: a unit is silent (0), active, or at its limit (6). ("Block 4" here is a layer *inside*
# the fourth block. `block4`, in lesson 1 and in the curves below, is the block's end and sees more.) How much of the
# image does one unit see?

# %% tags=["setup"]
lite0 = backbones.load("efficientnet_lite0").requires_grad_(False)  # nothing is trained here
LAYERS = {"bn1": "stem", "blocks.1.1.bn2": "block 2", "blocks.2.1.bn2": "block 3", "blocks.3.1.bn2": "block 4"}
LAYERS |= {"bn2": "last"}

# %% tags=["item-20"]
table = arithmetic.layer_table(lite0, (1, 3, 224, 224))
fields = {name: table.fields[f"net.{name}"] for name in LAYERS}
{where: f"{fields[name][0].size:g} pixels" for name, where in LAYERS.items()}

# %% tags=["item-20"]
cat = lite0.preprocess(datasets.photograph("cat"))
with torch.inference_mode():
    cat_maps = lite0.look(cat, list(LAYERS))
{where: tuple(cat_maps[name].shape[1:]) for name, where in LAYERS.items()}

# %% [markdown]
# *Predict: will the maps of later layers have more or fewer active units?* Each row below is a layer, with the six maps
# that vary most.

# %% tags=["item-20"]
shown, titles = [], []
for name, where in LAYERS.items():
    maps = cat_maps[name][0]
    best = maps[:, 1:-1, 1:-1].flatten(1).std(1).topk(6).indices.tolist()  # without the border: see section 5
    shown += [cat[0], *(maps[channel] for channel in best)]
    titles += [f"{where}\n{maps.shape[1]}×{maps.shape[2]} units", *(f"channel {channel}" for channel in best)]
title = "From fine contours to coarse maps of where something is (each map on its own scale)"
plots.images(shown, titles, title=title, columns=7, size=1.25, cmap="magma")

# %% [markdown]
# The stem draws contours; one can still recognise the cat. Later maps are coarse. They say "something is here", and
# most of their *places* stay silent. The share of units that are 0, over fourteen photographs:

# %% tags=["item-20"]
photographs = {name: lite0.preprocess(datasets.photograph(name)).float() for name in datasets.PHOTOGRAPHS}
with torch.inference_mode():
    every_map = [lite0.look(picture, list(LAYERS)) for picture in photographs.values()]

# %% tags=["item-20"]
silent = {where: np.array([(maps[name] == 0).float().mean() for maps in every_map]) for name, where in LAYERS.items()}
assert all(np.diff(list(silent.values()), axis=0).mean(1) > 0.03), "each layer is more silent than the one before"
{where: f"{values.mean():.0%} ± {values.std():.0%}" for where, values in silent.items()}

# %% [markdown]
# ### What is ignored, and what is not
# Mirror a photograph, or move it by 8 pixels: for us it stays the same picture. For the **pixel distance** (the square
# root of the sum of squared differences) it doesn't. A good feature is *selective* (it tells pictures apart) and
# *invariant* (it ignores what doesn't matter).
#
# We measure the distance of a changed photograph from the unchanged one, divided by the unchanged one's mean distance
# from the 13 others. 0: the change is ignored. 1: the picture could as well be another one.
#
# *Predict the curves from the pixels to the last codes (the mean of each of the last 1,280 maps; lesson 5), for: moved
# by 8 pixels, mirrored, darker, blurred.*

# %% tags=["item-20"]
wide = datasets.load("photographs", size=256, channels=3).images.float()
plain, steps = wide[:, :, 16:240, 16:240], ["stem", "block2", "block4", "block6", "head"]
changed = {
    "moved by 8 pixels": wide[:, :, 16:240, 24:248],
    "mirrored": plain.flip(3),
    "darker": plain * 0.6,
    "blurred": F.avg_pool2d(plain, 5, stride=1, padding=2),
}


# %% tags=["item-20"]
@torch.inference_mode()
def features(images, network=lite0):
    """Pixels, maps of five stages, and codes of images (N, 3, 224, 224): name -> (N, D)."""
    maps = network.look(images, steps)
    every = {"pixels": images, **maps, "codes": maps["head"].mean((2, 3))}
    return {name: values.flatten(1) for name, values in every.items()}


# %% tags=["item-20"]
before = features(plain)
others = {name: torch.cdist(values, values).sum(1) / (len(values) - 1) for name, values in before.items()}

# %% tags=["item-20"]
relative = {
    change: {name: (values - before[name]).norm(dim=1) / others[name] for name, values in features(images).items()}
    for change, images in changed.items()
}  # change -> feature -> (14,)

# %% tags=["item-20"]
gained = {change: found["pixels"] - found["codes"] for change, found in relative.items()}
sure = {change: float(gain.mean() / gain.std() * len(gain) ** 0.5) for change, gain in gained.items()}
assert min(sure[change] for change in ("moved by 8 pixels", "mirrored", "darker")) > 4, "codes ignore these three"
assert sure["blurred"] < -4, "but they see a blur better than the pixels do"
{change: f"pixels minus codes: {values:.1f} standard errors" for change, values in sure.items()}

# %% tags=["item-20"]
styles = zip(("blue", "green", "orange", "vermilion"), "os^D", strict=True)
for (change, found), (colour, marker) in zip(relative.items(), styles, strict=True):
    middle, error = ([fn(v) for v in found.values()] for fn in (torch.mean, lambda v: v.std() / len(v) ** 0.5))
    plt.errorbar(list(found), middle, error, label=change, color=plots.COLOURS[colour], marker=marker, capsize=3)
plt.gca().set(title="The codes ignore shifts, mirrors and light, but not a blur", ylim=(0, 1))
plt.gca().set(xlabel="from the image to the codes", ylabel="distance, relative to other photographs")
plt.legend()
plt.show()

# %% [markdown]
# Two surprises. First, **edges make it worse**: in the stem and in block 2 a moved picture is farther from itself than
# in pixels, for an edge that moves by a few pixels meets no edge at its old place. Only the late layers, and above all
# the mean over all places, ignore the shift. Second, the network did *not* become invariant to a blur.
#
# *Was this learned, or is it the architecture?* We measure the same distances of codes with three networks of random
# weights. (Only BatchNorm, which lesson 3 explains, has seen the photographs: it brings each layer's maps to a sensible
# scale.)


# %% tags=["item-20"]
def of_codes(network):
    """The mean relative distance of each change, of the codes only."""
    here = features(plain, network)["codes"]
    far = torch.cdist(here, here).sum(1) / (len(here) - 1)
    return [((features(x, network)["codes"] - here).norm(dim=1) / far).mean().item() for x in changed.values()]


# %% tags=["item-20"]
def with_random_weights(seed):
    """A Lite0 that has learned nothing but its BatchNorm statistics."""
    torch.manual_seed(seed)
    network = backbones.load("efficientnet_lite0", pretrained=False).train()
    for norm in (layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.momentum = 1.0  # one batch decides
    features(plain, network)
    return network.eval()


# %% tags=["item-20"]
at_random = torch.tensor([of_codes(with_random_weights(seed)) for seed in range(3)])  # (seeds, changes)
as_trained = torch.stack([found["codes"].mean() for found in relative.values()])

# %% tags=["item-20"]
assert (at_random[:, :3] > 2 * as_trained[:3]).all(), "shifts, mirrors and light: ignored because of what was learned"
assert relative["blurred"]["pixels"].mean() < as_trained[3], "the blur: it counts for more than in pixels,"
assert (at_random[:, 3] > as_trained[3] + 0.1).all(), "but for less than with random weights"
said = zip(changed, at_random.mean(0), at_random.std(0), as_trained, strict=True)
{name: f"random weights {mean:.2f} ± {spread:.2f}, trained {ours:.2f}" for name, mean, spread, ours in said}

# %% [markdown]
# Shifts, mirrors and light are ignored because the network *learned* it, probably from training pictures that were
# cropped and mirrored and differed in light. To random filters each change is three quarters of the way to another
# picture, or more. Training has made the blur count for less, too, but it still counts: fine detail is part of what the
# network looks at.
#
# ## 5. Which patches excite a unit?
#
# Pick a layer and a channel. Run many images. Keep the units that answer most, and cut out what they see: their
# **receptive field**. The table of section 4 knows the field: its `size`, the `jump` between neighbouring units, and
# the `start` of unit 0. Unit $u$ sees the pixels from `start + u·jump`, `size` of them.
#
# ### Exercise 2 · the box of a unit (2 points)
# Write `unit_box(size, jump, start, row, column, side)` for the unit at (`row`, `column`) of a map; `size`, `jump` and
# `start` are the same on both axes. It returns `(top, left, bottom, right)`: the first pixel and one past the last, for
# rows and columns, cut at the borders of an image of `side`×`side` pixels. All are ints. Example:
# `unit_box(19, 4, -6, 0, 5, 224)` is `(0, 14, 13, 33)`: the rows -6 to 13 lose six.


# %% nbgrader={"grade": false, "grade_id": "unit_box", "locked": false, "schema_version": 3, "solution": true, "task": false}
def unit_box(size, jump, start, row, column, side):
    """(top, left, bottom, right) of the pixels that a unit sees, inside an image of side × side pixels.

    unit_box(19, 4, -6, 0, 5, 224) is (0, 14, 13, 33).
    """
    ### BEGIN SOLUTION
    top, left = start + row * jump, start + column * jump
    return max(top, 0), max(left, 0), min(top + size, side), min(left + size, side)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "unit_box_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(unit_box, points=2)
slips = {(-6, 14, 13, 33): "cut the box at the border.", (14, 0, 33, 13): "rows are top and bottom."}
check.equal(19, 4, -6, 0, 5, 224, expected=(0, 14, 13, 33), slips=slips)
slips = {(34, 74, 52, 92): "one past the last pixel.", (40, 80, 59, 99): "did you use the start?"}
check.equal(19, 4, -6, 10, 20, 224, expected=(34, 74, 53, 93), slips=slips)
slips = {
    (190, 0, 257, 49): "cut at the lower and right border, too.",
    (190, 0, 223, 49): "one past the last pixel: 224.",
}
check.equal(67, 8, -26, 27, 1, 224, expected=(190, 0, 224, 49), slips=slips)
check.equal(3, 2, 0, 4, 7, 16, expected=(8, 14, 11, 16), slips={(8, 14, 11, 17): "cut at `side`, at the right, too."})
### BEGIN HIDDEN TESTS
check.equal(67, 8, -26, 2, 26, 224, expected=(0, 182, 57, 224))
check.equal(851, 32, -394, 3, 3, 224, expected=(0, 0, 224, 224))
check.equal(3, 2, 0, 7, 4, 16, expected=(14, 8, 16, 11))
### END HIDDEN TESTS
check.score()

# %% [markdown]
# *Is this box right?* Two checks. First, the gradient of one unit must be zero outside its box, and reach all its
# edges. Here for a unit of "block 3" that is not in the middle:

# %% tags=["item-18"]
noise = (127 + 60 * torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))).requires_grad_()
units = lite0.look(noise, ["blocks.2.1.bn2"])["blocks.2.1.bn2"]
(gradient,) = torch.autograd.grad(units[0, :, 18, 9].sum(), noise)

# %% tags=["item-18"]
rows, columns = (gradient[0].abs().sum((0, axis)).nonzero() for axis in (2, 1))
reached = (int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)
assert reached == visualise.unit_box(fields["blocks.2.1.bn2"], 18, 9), "gradient and arithmetic give the same box"
reached

# %% [markdown]
# The second check comes with the patches. Now a real image set:

# %% tags=["item-18"]
try:
    scenes, group = datasets.load("15-scene"), 20
except datasets.NotHere:
    scenes, group = datasets.load("solar-cells"), 150
chosen = scenes.subset(datasets.few_shot(scenes.labels, group, seed=0))
chosen, len(chosen)

# %% [markdown]
# ### Exercise 3 · the strongest places (3 points)
# Write `strongest_places(maps, channel, k)`: `maps` is (N, C, H, W), the answers of a layer to N images. Return the
# `k` places where `channel` answers most, as a list of `(image, row, column)` with ints, the strongest first. Take
# **at most one place of an image**: else one image fills the list. (`k` is at most N; of equal answers take any.)
# Example: if channel 0 of image 0 is `[[1, 9], [8, 0]]` and of image 1 is `[[2, 3], [5, 4]]`, then
# `strongest_places(maps, 0, 2)` is `[(0, 0, 1), (1, 1, 0)]`.


# %% nbgrader={"grade": false, "grade_id": "strongest_places", "locked": false, "schema_version": 3, "solution": true, "task": false}
def strongest_places(maps, channel, k):
    """The k places (image, row, column), one an image at most, where a channel of maps (N, C, H, W) is largest."""
    ### BEGIN SOLUTION
    values, places = maps[:, channel].flatten(1).max(dim=1)
    width = maps.shape[3]
    return [(i, int(places[i]) // width, int(places[i]) % width) for i in values.topk(k).indices.tolist()]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "strongest_places_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = Check(strongest_places, points=3)
small = torch.tensor([[[1.0, 9], [8, 0]], [[2, 3], [5, 4]]])[:, None]
slips = [([(0, 0, 1), (0, 1, 0)], "at most one place of an image."), ([(1, 1, 0), (0, 0, 1)], "the strongest first.")]
check.equal(small, 0, 2, expected=[(0, 0, 1), (1, 1, 0)], slips=slips, show="the example, 0, 2")
wide = torch.zeros(2, 2, 2, 3)
wide[0, 1, 0, 2], wide[1, 1, 1, 1], wide[1, 0, 0, 0] = 5, 7, 9
slips = [([(1, 0, 0), (0, 0, 0)], "use `channel`."), ([(1, 2, 0), (0, 1, 0)], "a row of the map holds W places.")]
check.equal(wide, 1, 2, expected=[(1, 1, 1), (0, 0, 2)], slips=slips, show="maps (2, 2, 2, 3), 1, 2")
below = torch.tensor([[-9.0, -1, -9], [-9, -9, -4], [-2, -2.1, -2.2]]).view(3, 1, 1, 3)
slips = [([(2, 0, 0), (0, 0, 1)], "an image counts by its largest answer, not by the mean.")]
check.equal(below, 0, 2, expected=[(0, 0, 1), (2, 0, 0)], slips=slips, show="three maps below zero, 0, 2")
### BEGIN HIDDEN TESTS
torch.manual_seed(5)
for shape, channel, k in [((6, 4, 3, 5), 2, 4), ((3, 2, 7, 2), 1, 3), ((5, 3, 1, 4), 0, 1)]:
    maps = torch.randn(shape) - 3
    expected, order = [], sorted(range(shape[0]), key=lambda i: -maps[i, channel].max())
    for i in order[:k]:
        row, column = (maps[i, channel] == maps[i, channel].max()).nonzero()[0].tolist()
        expected.append((i, row, column))
    check.equal(maps, channel, k, expected=expected, show=f"maps of shape {shape}, {channel}, {k}")
tied = torch.tensor([[6.0, 0], [0, 1], [0, 6]]).view(3, 1, 1, 2)
both = "two images with the same largest value both count"
check.that(both, lambda f: {tuple(map(int, place)) for place in f(tied, 0, 2)} == {(0, 0, 0), (2, 0, 1)})
### END HIDDEN TESTS
check.score()

# %% [markdown]
# `visualise.strongest` does the same for several layers, batch by batch. It leaves out units whose field reaches beyond
# the image (we shall see why).

# %% tags=["item-18"]
fast = backbones.load("efficientnet_lite0").to(machine.device())
units = visualise.strongest(fast, chosen, list(LAYERS))
units["blocks.2.1.bn2"].values.shape  # (images, channels)

# %% [markdown]
# The second check of the box: take the patches *alone*, on a plain gray picture. If the box holds all that the unit
# sees, the unit must give **exactly** the same value.

# %% tags=["item-18"]
differences = []
for name in list(LAYERS)[:4]:
    first, second = units[name].values.topk(2, dim=0).values
    channel = int((first - second).argmax())  # the one with the clearest winner
    for patch in units[name].patches(channel, top=3):
        alone, (top, left, bottom, right) = torch.full((1, 1, 224, 224), 127.0), patch.box
        alone[0, :, top:bottom, left:right] = patch.pixels
        with torch.inference_mode():
            value = lite0.look(alone, [name])[name][0, channel, patch.row, patch.column]
        differences.append(abs(value.item() - patch.value))
near = 1e-4 if machine.device().type == "cpu" else 0.05  # a GPU rounds more
assert max(differences) < near, f"a patch alone excites its unit just as much: {differences}"
max(differences)


# %% [markdown]
# Now look at them. Slides like to show channel 17, so it is in; most other channels were chosen as clear ones in
# 15-Scene (some show nothing clear on solar cells). Above each row stand the largest and the ninth answer. *Before you
# read on: name what each row has in common. One row of the last figure is a trap.*


# %% tags=["item-18"]
def show_patches(layer, channels, title):
    """The nine patches that excite each channel most, one row per channel."""
    found = {channel: units[layer].patches(channel) for channel in channels}
    said = [f"channel {channel}: {row[0].value:.2f} to {row[8].value:.2f}" for channel, row in found.items()]
    titles = [text if i == 4 else "" for text in said for i in range(9)]
    pixels = [patch.pixels for row in found.values() for patch in row]
    title += f" ({chosen.name})"
    return plots.images(pixels, titles, title=title, columns=9, size=0.85, limits=(0, 255))


# %% tags=["item-18", "item-20"]
show_patches("blocks.1.1.bn2", (17, 44, 47), "Block 2, 19 pixels: edges and bars")

# %% tags=["item-18", "item-20"]
show_patches("blocks.2.1.bn2", (17, 54, 134, 199), "Block 3, 67 pixels: textures, edges, groups of bars")

# %% tags=["item-18", "item-20"]
show_patches("blocks.3.1.bn2", (93, 32, 381, 300), "Block 4, 115 pixels: larger parts")

# %% [markdown]
# *Have you found the trap?* Count the images in which each channel of the last figure is at its highest:

# %% tags=["item-18"]
answers = units["blocks.3.1.bn2"].values  # the highest answer of each image, (images, channels)
at_the_top = {c: int((answers[:, c] == answers[:, c].max()).sum()) for c in (93, 32, 381, 300)}
assert at_the_top[32] > len(chosen) / 2 and at_the_top[381] < 9, "channel 32 answers most to no input"
weights = dict(lite0.net.named_modules())["blocks.3.1.conv_dw"].weight[32]
at_the_top, float(weights.max())

# %% [markdown]
# Channel 32 has only negative weights: it is at its highest when nothing comes in, at some place of most images.
# Which nine of these many equals are shown is the sorting routine's choice. In 15-Scene they happen to be neighbours
# in a list that is sorted by class, so they look alike: hills below the sky. *Whoever looks for a meaning finds one:
# look at the numbers, too.*
#
# In 15-Scene, block 2 answers to a dark area below a bright one (channel 17) and to upright edges (47); 44 is less
# clear. In block 3, channel 54 likes leaves, 134 slanted edges, 199 vertical bars; 17 is less clear, as most channels
# are. (If even the ninth answer is 6.00, ReLU6's limit, as for 134 and 199, the nine were chosen among many equals; if
# it is 0.00, as for 54 on solar cells, the unit is silent.) In block 4, channel 93 likes slopes: gables and mountains;
# 381 ripples of water; 300 the border of something very bright and something dark: mostly sky and a house or trees, but
# the two strongest are lights at night. (Solar cells give other patches: a channel shows you only what your images
# hold.)
#
# The last layer sees the whole image. Many of its channels reach ReLU6's limit in nine images or more; so here we
# order the images by the *mean* of a channel's map (its code). *How pure are its favourites?* Count, for each
# channel, how many of its nine images belong to one class. By chance, eight or nine of one class in 15 would hardly
# ever come. (Solar cells have two classes: there it comes by chance in about 4 % of the channels.) A channel counts
# only if its ninth code is above the tenth: otherwise some of the nine would be chosen among equals.

# %% tags=["item-18", "item-20"]
at_limit = (units["bn2"].values.topk(9, dim=0).values[-1] >= 6).float().mean()
f"{at_limit:.0%} of the last layer's channels reach the limit in nine images or more"

# %% tags=["item-18", "item-20"]
last = codes.extract(fast, chosen, "head", progress=False)  # (images, 1280)
nine = last.topk(9, dim=0).indices  # (9, channels)
purity = F.one_hot(chosen.labels[nine], len(chosen.classes)).sum(0).amax(1)
ninth, tenth = last.topk(10, dim=0).values[-2:]
pure = ((purity >= 8) & (ninth > tenth)).nonzero().flatten()

# %% tags=["item-18", "item-20"]
torch.manual_seed(0)
by_chance = [int(chosen.labels[torch.randperm(len(chosen))[:9]].bincount().max() >= 8) for _ in range(1280)]
len(pure), sum(by_chance)

# %% tags=["item-18", "item-20"]
if chosen.name == "15-scene":
    assert len(pure) >= 10 > 1 >= sum(by_chance), "some late units answer to one kind of scene"
    favourites = chosen.labels[nine[0, pure]]
    best = [int(pure[favourites == label][0]) for label in favourites.unique().tolist()[:5]]
    titles = [f"channel {channel}" if i == 4 else "" for channel in best for i in range(9)]
    title = "Last layer, by the mean of the map: some have a favourite kind of scene"
    pictures = list(chosen.images[nine[:, best].T.flatten()])
    display(plots.images(pictures, titles, title=title, columns=9, size=0.85, limits=(0, 255)))
else:
    print(f"{len(pure)} pure channels; by chance {sum(by_chance)}. Which kinds of scenes they like needs 15-Scene.")

# %% [markdown]
# Nobody showed this network the 15 scenes: it learned ImageNet's 1,000 classes. So features go from **edges** to
# **motifs** to **parts** and whole scenes, *generic early and specific late*. Lesson 8 measures how far they can be
# used.
#
# ### Borders
# *Why did we leave out the units at the border?* Around the image, the network sees padding: zeros (for the first
# layer, plain gray). The end of a photograph becomes an edge that no camera saw. *Which part of the nine strongest
# places would lie in the outermost ring of block 3's map, which has 14 % of its units?*

# %% tags=["item-18"]
some = chosen.subset(range(0, len(chosen), 5))
with_border = visualise.strongest(fast, some, ["blocks.2.1.bn2"], inside=False)["blocks.2.1.bn2"]
ring = (with_border.rows % 27 == 0) | (with_border.columns % 27 == 0)  # rows and columns 0 and 27
best = with_border.values.topk(9, dim=0)
in_ring = ring.gather(0, best.indices)[:, best.values[-1] > 0.1].float().mean().item()
expected = 1 - 26**2 / 28**2
assert in_ring > 1.5 * expected, "the border wins too often"
f"{in_ring:.0%} of the strongest places, {expected:.0%} of the units"

# %% [markdown]
# ### Colour
# 15-Scene and the solar cells are gray. *Can they tell that a unit likes a colour?* Take the fourteen photographs, once
# as they are and once without colour. Which units of block 2 lose more than half of their strongest answers?

# %% tags=["item-18"]
colourful = datasets.load("photographs", channels=3)
grayed = dataclasses.replace(colourful, images=colourful.images.float().mean(1, keepdim=True).byte())
in_colour = visualise.strongest(fast, colourful, ["blocks.1.1.bn2"])["blocks.1.1.bn2"]
in_gray = visualise.strongest(fast, grayed, ["blocks.1.1.bn2"])["blocks.1.1.bn2"]

# %% tags=["item-18"]
strong, weak = (u.values.topk(4, dim=0).values.mean(0) for u in (in_colour, in_gray))  # (channels,)
lost = torch.where(strong > 1, (strong - weak) / strong, 0)
assert (lost > 0.5).sum() >= 5, "some units answer to colours"
f"{int((lost > 0.5).sum())} of the {int((strong > 1).sum())} channels that answer strongly"

# %% tags=["item-18"]
shown, titles = [], []
for channel in lost.topk(4).indices.tolist():
    left, right = in_colour.patches(channel, 4), units["blocks.1.1.bn2"].patches(channel, 4)
    loud = left[0].value / 10
    shown += [p.pixels if p.value > loud else torch.full_like(p.pixels, 127) for p in (*left, *right)]
    titles += [f"channel {channel}", "", "", "", chosen.name, "", "", ""]
title = (
    "The same four channels in colour photographs and in a gray set:\n"
    "a gray set can't show that a unit likes a colour (plain gray: below a tenth of the strongest)"
)
plots.images(shown, titles, title=title, columns=8, size=0.85, limits=(0, 255))

# %% [markdown]
# ### Look for yourself
# The browser has sixteen channels of each stage: a channel's map of a photograph, what the unit under the pointer sees,
# and the nine patches. It also has a second Lite0, with **random weights**. *Predict first: will the nine patches of an
# untrained channel have something in common, in block 2 and in block 4?* Then choose "Lite0, untrained". (Its patches
# come from a fifth of the images, to be quick.)

# %% tags=["item-18", "item-20"]
torch.manual_seed(0)
blind = backbones.load("efficientnet_lite0", pretrained=False).to(machine.device())
two = {"Lite0": (fast, units), "Lite0, untrained": (blind, visualise.strongest(blind, some, list(LAYERS)))}
seen = {name: photographs[name][0] for name in ("cat", "china")}
explorers.filters(two, seen, LAYERS, also=(17, 32, 44, 47, 54, 93, 134, 199, 300, 381), start=2)

# %% [markdown]
# In block 2 they have something in common: any small filter prefers some edge, learned or not. In block 4 they hardly
# do: a motif has to be learned.
#
# ### Exercise 4 · what do nine patches prove? (2 points, marked by hand)
# In 15-Scene, most of the nine patches of channel 381 of block 4 show water; the others are glass walls of towers. A
# classmate says: "A water detector! A picture without water leaves it silent." In three to five sentences: what speaks
# for it, what speaks against it or is not shown, and which measurement would decide?

# %% [markdown] nbgrader={"grade": true, "grade_id": "explain_patches", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# For it: the patches are exactly what the unit saw, each from another image, and none was chosen by hand (the channel
# was, though: among 480, some will look like something).
# Against it: the towers. Their regular glass walls have fine horizontal stripes, as ripples have, so the unit may
# look for the texture and not for water. Not shown: these are the nine largest answers of some hundred images, and they
# say nothing of the weaker answers. And the image set decides: where little else is ripply, water must win. A gray set
# hides colours.
# What decides: take many patches with and without water that were labelled independently, and compare the
# distributions of the answers (for example how often a patch with water gets the higher answer of two: the AUC). Or
# change the picture: replace water by another texture with ripples, or turn it, and see whether the answer falls.
# Section 4 refutes the second sentence already: channel 381 is in its row of block 4, and answers to the cat.
#
#
# Marking: 1 point for a limit (the towers, only the top of the distribution, the choice of the channel or of the image
# set, or the cat). 1 point for a measurement with counter-examples or with a changed picture.
# ### END SOLUTION

# %% [markdown]
# ## 6. Where is the evidence? Class activation maps
#
# Lite0 ends simply: 1,280 maps, the **mean** of each, and one linear layer. The score of class $c$ is
# $\sum_k w_{ck} \, \text{mean}(M_k) + b_c$. Mean and sum can change places: it is the mean of the map
# $\sum_k w_{ck} M_k$, plus the bias. This map, the **class activation map** (CAM), says how much each place speaks for
# the class: the score is its mean, plus the bias. For networks of this kind that sum is exact. (But each place of the
# map has seen far more of the picture than its own 32×32 pixels.)
#
# ### Exercise 5 · class activation map (2 points)
# Write `class_map(maps, weight, label)`: `maps` is (C, H, W), `weight` is (K, C), the weights of the last layer for K
# classes. The result is the map (H, W) of class `label`. Example: two maps `[[1, 2]]` and `[[3, 0]]`, with the
# weights `[[1, 1], [2, -1]]` and label 1, give `[[-1, 4]]`.


# %% nbgrader={"grade": false, "grade_id": "class_map", "locked": false, "schema_version": 3, "solution": true, "task": false}
def class_map(maps, weight, label):
    """How much each place speaks for a class. maps: (C, H, W); weight: (K, C); returns (H, W)."""
    ### BEGIN SOLUTION
    return (maps * weight[label][:, None, None]).sum(dim=0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "class_map_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(class_map, points=2)
two_maps, two_weights = torch.tensor([[[1.0, 2]], [[3, 0]]]), torch.tensor([[1.0, 1], [2, -1]])
slips = [
    ([[4.0, 2.0]], "that is class 0: use the label."),
    ([[-0.5, 2.0]], "sum over the channels; divide by nothing."),
    ([[0.0, 4.0]], "no ReLU: places may speak against."),
]
check.equal(two_maps, two_weights, 1, expected=[[-1.0, 4.0]], slips=slips, show="the example")
three_maps = torch.tensor([[[1.0, 0, 2], [0, 1, 0]], [[0, 3, 0], [1, 0, 0]], [[0.5, 0, 1], [0, 0, 2]]])
weights = torch.tensor([[0.0, 1, 0], [1, 0, 0], [1, -1, 2], [0, 0, 1]])
check.equal(three_maps, weights, 2, expected=[[2.0, -3, 4], [-1, 1, 4]], show="three maps of 2×3, four classes, 2")
### BEGIN HIDDEN TESTS
torch.manual_seed(6)
maps, layer = torch.randn(5, 3, 4), nn.Linear(5, 7)
for label in (0, 6, 2):
    expected = F.conv2d(maps[None], layer.weight[:, :, None, None])[0, label].detach()
    check.equal(maps, layer.weight.detach(), label, expected=expected, show=f"5 maps of 3×4, 7 classes, {label}")
### END HIDDEN TESTS
check.score()

# %% [markdown]
# A picture with two things in it: the cat and the coffee. *Predict where the maps of the two classes are high.*

# %% tags=["item-20"]
pair = torch.cat([photographs["cat"], photographs["coffee"]], dim=3)
labels = {name: backbones.imagenet_classes().index(name) for name in ("tiger cat", "espresso")}
with torch.inference_mode():
    last_maps, scores = lite0.maps(pair, "head")[0], lite0(pair)[0]
evidence = {name: torch.einsum("chw,c->hw", last_maps, lite0.head.weight[i]) for name, i in labels.items()}

# %% tags=["item-20"]
for name, i in labels.items():
    again = evidence[name].mean() + lite0.head.bias[i]
    assert torch.allclose(again, scores[i], atol=1e-4), "the mean of the map plus the bias is the score"

# %% tags=["item-20"]
sides = {name: (m[:, :7].mean().item(), m[:, 7:].mean().item()) for name, m in evidence.items()}
assert sides["tiger cat"][0] > sides["tiger cat"][1] and sides["espresso"][1] > sides["espresso"][0]
sides  # mean evidence in the left and the right half

# %% tags=["item-20"]
figure, axes = plt.subplots(1, 3, figsize=(11, 2.4), layout="constrained")
axes[0].imshow(pair[0].byte().permute(1, 2, 0))
axes[0].set_title("the picture")
for axis, (name, m) in zip(axes[1:], evidence.items(), strict=True):
    axis.imshow(pair[0].byte().permute(1, 2, 0))
    drawn = axis.imshow(m, extent=(-0.5, 447.5, 223.5, -0.5), cmap="magma", alpha=0.65, interpolation="bilinear")
    figure.colorbar(drawn, ax=axis, label="evidence", shrink=0.9)
    axis.set_title(f"evidence for “{name}”")
for axis in axes:
    axis.axis("off")
figure.suptitle("Each class has its evidence in its own half")
plt.show()

# %% [markdown]
# Nice maps can deceive. *Is the bright place really what the network uses?* A test that could fail: cover 96×96 pixels
# where the map of the winning class is highest, and, for comparison, where it is lowest. How much does the
# log-probability of the class fall? (14 photographs)


# %% tags=["item-20"]
@torch.inference_mode()
def loss_by_cover(picture):
    """How much the winner's log-probability falls when its (most, least) important 96×96 pixels are covered."""
    scores = lite0(picture)[0]
    label = int(scores.argmax())
    m = torch.einsum("chw,c->hw", lite0.maps(picture, "head")[0], lite0.head.weight[label])
    blocks = F.avg_pool2d(m[None], 3, stride=1)[0]  # (5, 5): means of 3×3 places
    falls = []
    for place in (int(blocks.argmax()), int(blocks.argmin())):
        top, left = place // 5 * 32, place % 5 * 32
        covered = picture.clone()
        covered[:, :, top : top + 96, left : left + 96] = 127
        falls.append((scores.log_softmax(0) - lite0(covered)[0].log_softmax(0))[label].item())
    return falls


# %% tags=["item-20"]
falls = np.array([loss_by_cover(picture) for picture in photographs.values()])  # (14, 2)
gap = falls[:, 0] - falls[:, 1]
error = gap.std(ddof=1) / len(gap) ** 0.5
assert gap.mean() > 2 * error, "covering the evidence hurts more than covering the least important place"
print(f"most important: {falls[:, 0].mean():.2f}, least: {falls[:, 1].mean():.2f}")
f"difference {gap.mean():.2f} ± {error:.2f}"

# %% tags=["item-20"]
with torch.inference_mode():
    sure = [float(lite0(picture).softmax(1).max()) for picture in photographs.values()]
of_each = zip(photographs, *falls.T, sure, strict=True)
{name: f"most {a:.2f}, least {b:.2f}; the answer's probability {p:.2f}" for name, a, b, p in of_each}

# %% [markdown]
# On average it is so. *On average*: for some photographs (grass, brick, cat, coffee) the two are about the same, or
# the wrong way round. The coffee is an espresso at 95 %, and with its best place covered still at 75 %: the rest of
# the cup says so, too.
#
# ## 7. Style: which channels answer together
#
# Take a layer's maps, and forget *where* each channel answered. Keep only how much each pair of channels answers
# **together**: $G_{ij} = \frac{1}{HW} \sum_{\text{places}} M_i M_j$. This **Gram matrix** is a description of texture
# and style.
#
# ### Exercise 6 · the Gram matrix (2 points)
# Write `gram(maps)`: `maps` is (C, H, W), the result (C, C), divided by the number of places. Example: the maps
# `[[1, 2]]` and `[[3, 0]]` give `[[2.5, 1.5], [1.5, 4.5]]`.


# %% nbgrader={"grade": false, "grade_id": "gram", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gram(maps):
    """The mean over all places of the products of each two channels. maps: (C, H, W); returns (C, C)."""
    ### BEGIN SOLUTION
    flat = maps.flatten(1)
    return flat @ flat.T / flat.shape[1]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "gram_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(gram, points=2)
two_maps = torch.tensor([[[1.0, 2]], [[3, 0]]])
slips = [([[5, 3], [3, 9]], "divide by the number of places."), ([[1.25, 0.75], [0.75, 2.25]], "divide by H·W, once.")]
slips += [([[5.0, 1.0], [1.0, 2.0]], "that is place by place: you need channel by channel.")]
slips += [([[0.25, -0.75], [-0.75, 2.25]], "don't take the means away: that is the covariance.")]
check.equal(two_maps, expected=[[2.5, 1.5], [1.5, 4.5]], slips=slips, show="the example")
three_maps = torch.tensor([[[1.0, 2], [0, -1]], [[3, 0], [0, 1]], [[0, 0], [2, 0]]])
slips = [
    ([[3.0, 1, 0], [1, 5, 0], [0, 0, 2]], "divide by all H·W places."),
    ([[2.0, 2 / 3, 0], [2 / 3, 10 / 3, 0], [0, 0, 4 / 3]], "divide by the number of places, not of channels."),
]
check.equal(three_maps, expected=[[1.5, 0.5, 0], [0.5, 2.5, 0], [0, 0, 1]], slips=slips, show="three maps of 2×2")
### BEGIN HIDDEN TESTS
torch.manual_seed(7)
for shape in [(3, 4, 5), (6, 2, 2), (1, 3, 3)]:
    maps = torch.randn(shape) + 1
    expected = torch.stack([torch.stack([(a * b).mean() for b in maps]) for a in maps])
    check.equal(maps, expected=expected, show=f"maps of shape {shape}", atol=1e-5)
check.equal(torch.tensor([[[0.0, 1]], [[0, 2]]]), expected=[[0.5, 1], [1, 2]], show="a place where both are silent")
### END HIDDEN TESTS
check.score()

# %% [markdown]
# *What happens to the Gram matrix when the places of the maps are shuffled?* Nothing: it doesn't know places.

# %% tags=["item-20"]
maps = cat_maps["blocks.1.1.bn2"]
shuffled = maps.flatten(2)[:, :, torch.randperm(56 * 56)].view_as(maps)
assert torch.allclose(visualise.gram(maps), visualise.gram(shuffled), atol=1e-3), "no place in a Gram matrix"
assert not torch.allclose(maps, shuffled, atol=1e-3)
visualise.gram(maps).shape

# %% [markdown]
# So two cuttings (pieces cut out) of one texture should have nearly the same Gram matrix, though no pixel agrees. Six
# of them: a and b are of brick, c and d of grass, e and f of gravel, made equally bright and rich in contrast (else the
# mean gray alone would tell them apart).
# *Whose nearest neighbour is its twin: by pixels, by maps, by Gram matrices?*

# %% tags=["item-20"]
whole = [pil_to_tensor(datasets.photograph(name)).float() for name in ("brick", "grass", "gravel")]
cuttings = torch.stack([image[:, at : at + 256, at : at + 256] for image in whole for at in (0, 256)])
cuttings = F.avg_pool2d(cuttings, 2)  # (6, 3, 128, 128)
brightness, contrast = cuttings.mean((1, 2, 3), keepdim=True), cuttings.std((1, 2, 3), keepdim=True)
cuttings = (118 + 32 * (cuttings - brightness) / contrast).clamp(0, 255)
plots.images(cuttings.byte(), list("abcdef"), title="Equally bright, equally rich in contrast: six cuttings", size=1.5)

# %% tags=["item-20"]
with torch.inference_mode():
    maps = lite0.maps(cuttings, "block2")
descriptions = {"pixels": cuttings, "maps": maps, "Gram matrices": visualise.gram(maps)}
distances = {k: torch.cdist(v.flatten(1), v.flatten(1)).fill_diagonal_(math.inf) for k, v in descriptions.items()}
twins = {k: int((d.argmin(1) == torch.tensor([1, 0, 3, 2, 5, 4])).sum()) for k, d in distances.items()}
assert twins["Gram matrices"] == 6 > 4 >= twins["pixels"], "Gram matrices recognise a texture"
twins

# %% [markdown]
# ### Style transfer
# Now the other way round: *change the pixels* until the Gram matrices are those of a style picture. The gradient goes
# through the network to the image; the weights stay. A second loss keeps the maps of a middle layer (block 4) near
# those of the content picture, and a third keeps the picture smooth. (Gatys, Ecker and Bethge used VGG-19, larger
# images and more steps. A small network will do.)


# %% tags=["item-20"]
def square(name, size=256 if full else 144):
    """The middle of a photograph as (1, 3, size, size), 0-255."""
    image = pil_to_tensor(datasets.photograph(name)).float()[None]
    side = min(image.shape[2:])
    top, left = (image.shape[2] - side) // 2, (image.shape[3] - side) // 2
    image = image[:, :, top : top + side, left : left + side]
    return F.interpolate(image, (size, size), mode="bicubic", antialias=True).clamp(0, 255)


# %% tags=["item-20"]
wishes = [("china", "flower"), ("cat", "retina"), ("astronaut", "gravel")]
rounds = 300 if full else 80
results = [visualise.stylise(fast, square(style), square(content), steps=rounds) for content, style in wishes]
texture = visualise.stylise(fast, square("flower"), steps=rounds, rate=10.0, smoothness=3.0)
[f"style loss {result.style_loss[0]:.2f} → {result.style_loss[-1]:.2f}" for result in (*results, texture)]

# %% tags=["item-20"]
shown, titles = [], []
for (content, style), result in zip(wishes, results, strict=True):
    shown += [square(content)[0].byte(), square(style)[0].byte(), result.image[0]]
    titles += [f"content: {content}", f"style: {style}", f"{content} in the style of {style}"]
noise = torch.rand(square("flower").shape, generator=torch.Generator().manual_seed(0)) * 255  # where it starts
shown += [noise[0].byte(), square("flower")[0].byte(), texture.image[0]]
titles += ["content: none (noise)", "style: flower", "the flower's texture alone"]
plots.images(shown, titles, title="Places from one picture, colours and strokes from another", columns=3, size=2.2)

# %% [markdown]
# *Did it do what it should?* The style loss fell by more than half. And the picture is still nearer to its content than
# the style picture is:

# %% tags=["item-20"]
with torch.inference_mode():
    for (content, style), result in zip(wishes, results, strict=True):
        a, b, c = (lite0.maps(x.float(), "block4") for x in (square(content), square(style), result.image))
        assert result.style_loss[-1] < 0.5 * result.style_loss[0], f"{content}: the style came nearer"
        assert (c - a).norm() < 0.8 * (b - a).norm(), f"{content}: the content stayed"
assert texture.style_loss[-1] < 0.25 * texture.style_loss[0]
[(round(result.content_loss[-1], 2), round(result.style_loss[-1], 2)) for result in results]

# %% [markdown]
# Nobody trained this network for textures. Its filters were learned to name things, and colour and texture help to do
# so. The last row has petals and edges of the right colours, but no flower: the Gram matrix has lost the places.
#
# ## 8. Which network? Accuracy, work, parameters
#
# Canziani, Paszke and Culurciello (2016) drew accuracy against work for the networks of their time. We draw that again.
# **Top-1 accuracies** (how often the likeliest class is the right one) **are the published ones** (torchvision's and
# the Lite authors'): to measure them one needs ImageNet, which isn't here. **Parameters and multiply-adds are counted
# here**, on the `meta` device, where networks have shapes but no values.
#
# *Guess first: which has more parameters, AlexNet or ResNet-50? Which needs more work?*

# %% tags=["setup"]
zoo = ["alexnet", "squeezenet1_1", "vgg16", "vgg19", "resnet18", "resnet50", "resnet101", "resnet152"]
zoo += ["densenet121", "densenet201", "mobilenet_v2", "mobilenet_v3_large", "shufflenet_v2_x1_0", "efficientnet_b0"]

# %% tags=["item-21"]
published, counted = {}, {}
for name in zoo:
    about = get_model_weights(name).IMAGENET1K_V1.meta
    published[name] = about["_metrics"]["ImageNet-1K"]["acc@1"]
    with torch.device("meta"):
        counted[name] = arithmetic.layer_table(get_model(name, weights=None), (1, 3, 224, 224))
    assert counted[name].parameters == about["num_params"], "our count is the published one"
len(counted)

# %% tags=["item-21"]
for name, top1 in {"efficientnet_lite0": 75.1, "efficientnet_lite1": 76.7, "efficientnet_lite2": 77.6}.items():
    net = backbones.load(name, pretrained=False)
    side = net.preprocess.size
    published[name], counted[name] = top1, arithmetic.layer_table(net, (1, 3, side, side))

# %% tags=["item-21"]
{name: (f"{t.parameters / 1e6:.1f} M", f"{t.multiply_adds / 1e9:.2f} G") for name, t in counted.items()}

# %% [markdown]
# (The Lite authors print 407, 631 and 899 million multiply-adds, some 5 % more than the convolutions and the linear
# layer have. Always ask what was counted.)

# %% tags=["item-21"]
lite_ratio = [counted[f"efficientnet_lite{i}"].multiply_adds / 1e6 / told for i, told in enumerate((407, 631, 899))]
assert all(0.93 < ratio < 1 for ratio in lite_ratio), lite_ratio
old, new = counted["resnet101"], counted["efficientnet_b0"]
assert published["efficientnet_b0"] > published["resnet101"] and new.multiply_adds < old.multiply_adds / 10
f"{new.multiply_adds / old.multiply_adds:.0%} of the work, {new.parameters / old.parameters:.0%} of the parameters"

# %% tags=["item-21"]
figure, axis = plt.subplots(figsize=(9, 5.5), layout="constrained")
for name, count in counted.items():
    at, colour = (count.multiply_adds / 1e9, published[name]), plots.COLOURS["orange" if "lite" in name else "blue"]
    axis.scatter(*at, s=count.parameters / 1e5, color=colour, alpha=0.4)
    axis.scatter(*at, s=6, color="black")
    left = name in ("mobilenet_v3_large", "densenet201", "densenet121", "shufflenet_v2_x1_0", "squeezenet1_1")
    label, offset = name.replace("efficientnet_", "").replace("_x1_0", ""), (-7 if left else 5, 5 if left else -12)
    place = {"xytext": offset, "textcoords": "offset points", "ha": "right" if left else "left"}
    axis.annotate(label, at, fontsize=8, **place)
axis.set(xscale="log", xlim=(0.06, 40), ylim=(54, 81), xticks=[0.1, 1, 10], xticklabels=["0.1", "1", "10"])
axis.set_title(
    "EfficientNet-B0: ResNet-101's published accuracy, a twentieth of its work (area: parameters)", fontsize=11
)
axis.set(xlabel="multiply-adds for one image, thousand millions", ylabel="published ImageNet top-1, %")
plt.show()

# %% [markdown]
# *Is it the network alone?* torchvision has two sets of weights for ResNet-101:

# %% tags=["item-21"]
recipes = get_model_weights("resnet101")
[weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] for weights in (recipes.IMAGENET1K_V1, recipes.IMAGENET1K_V2)]

# %% [markdown]
# One network, two ways to train it: 4.5 points. A published accuracy belongs to the network *and* its training, and
# that of EfficientNet-B0 was newer than that of the first ResNet-101. The figure compares both at once.
#
# AlexNet has more parameters than ResNet-50 and needs a sixth of its work. AlexNet's and VGG's circles are large
# because of their fully connected layers (lesson 1); ResNet-152's, because of its many convolutions. (Orange: the
# Lites.) *How many points of accuracy does a network give per million parameters?*

# %% tags=["item-21"]
density = {name: published[name] / (count.parameters / 1e6) for name, count in counted.items()}
order = sorted(density, key=density.get)
assert {"vgg16", "vgg19", "alexnet"} == set(order[:3]), "the oldest use their parameters worst"
a, b = counted["alexnet"], counted["resnet50"]
assert a.parameters > 2 * b.parameters and 5 < b.multiply_adds / a.multiply_adds < 6, "more parameters, less work"
{name: round(density[name], 1) for name in order}

# %% [markdown]
# ### Exercise 7 · which networks are worth a look? (3 points)
# A network is **beaten** if another one has at least its accuracy for at most its cost, and is really better in one
# of the two (so two equal ones don't beat each other). Write `not_beaten(networks)`: `networks` is a dictionary, name
# → (accuracy, cost). Return the names that no other network beats, as a sorted list. Example: `{"a": (70, 5), "b":
# (75, 5), "c": (60, 1)}` gives `["b", "c"]`.


# %% nbgrader={"grade": false, "grade_id": "not_beaten", "locked": false, "schema_version": 3, "solution": true, "task": false}
def not_beaten(networks):
    """Sorted names of the networks that no other beats. networks: {name: (accuracy, cost)}."""
    ### BEGIN SOLUTION
    kept = []
    for name, (accuracy, cost) in networks.items():
        others = networks.values()
        if not any(a >= accuracy and c <= cost and (a > accuracy or c < cost) for a, c in others):
            kept.append(name)
    return sorted(kept)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "not_beaten_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = Check(not_beaten, points=3)
slips = {("b",): "the cheapest network is not beaten, either.", ("a", "b", "c"): "b beats a: better at the same cost."}
slips = [(list(names), text) for names, text in slips.items()]
check.equal({"a": (70, 5), "b": (75, 5), "c": (60, 1)}, expected=["b", "c"], slips=slips, hint="a sorted list.")
check.equal({"z": (70, 5), "y": (71, 6), "x": (60, 7)}, expected=["y", "z"], slips=[(["z", "y"], "sorted, please.")])
six = {"w": (77.4, 7.8), "v": (77.7, 0.39), "u": (69.4, 0.14), "t": (74.0, 0.22), "s": (74.0, 0.3), "r": (77.6, 0.39)}
slips = [
    (["u", "v"], "one in between can be unbeaten, too."),
    (["s", "t", "u", "v"], "t beats s: as good and cheaper."),
]
check.equal(six, expected=["t", "u", "v"], slips=slips)
### BEGIN HIDDEN TESTS
check.equal({"a": (70, 5), "b": (70, 5)}, expected=["a", "b"], hint="Two equal networks don't beat each other.")
check.equal({"a": (70, 5), "b": (70, 4), "c": (70, 6)}, expected=["b"])
check.equal({"only": (1, 1)}, expected=["only"])
check.equal({"q": (80, 9), "p": (70, 3), "o": (75, 4), "n": (74, 8), "m": (60, 3)}, expected=["o", "p", "q"])
### END HIDDEN TESTS
check.score()


# %% [markdown]
# For the real networks, with multiply-adds as the cost:


# %% tags=["item-21"]
def unbeaten(cost):
    """Names of the networks for which no other has at least the accuracy for at most the cost (and differs)."""
    points = {name: (published[name], cost(count)) for name, count in counted.items()}
    beats = lambda a, b: a[0] >= b[0] and a[1] <= b[1] and a != b  # noqa: E731
    return [n for n, p in points.items() if not any(beats(q, p) for q in points.values())]


# %% tags=["item-21"]
by_work, by_size = unbeaten(lambda count: count.multiply_adds), unbeaten(lambda count: count.parameters)
assert not {"alexnet", "vgg16", "vgg19"} & {*by_work, *by_size}, "AlexNet and VGG are beaten in both ways"
by_work, by_size

# %% [markdown]
# ### Does work predict time?
# Measured on your machine, for a batch of 4 images, or of 64 on a GPU: with few images a GPU waits for Python to start
# each layer, and we would only count layers. Weights don't matter for speed, so that any network can be timed.


# %% tags=["item-21"]
def milliseconds(name):
    """Time for one image of a batch, at the network's own size; the weights are all alike."""
    batch = 4 if machine.device().type == "cpu" else 64
    lite = name.startswith("efficientnet_lite")
    side = backbones.load(name, pretrained=False).preprocess.size if lite else 224
    with torch.device("meta"):
        net = backbones.load(name, pretrained=False).net if lite else get_model(name, weights=None)
    net = net.to_empty(device=machine.device()).eval().to(memory_format=torch.channels_last)
    x = torch.rand(batch, 3, side, side, device=machine.device()).contiguous(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode():
        for value in (*net.parameters(), *net.buffers()):
            value.fill_(0.01)
        for _ in range(4):  # the first round is a warm-up
            start = time.perf_counter()
            net(x).sum().item()  # .item() waits for a GPU
            seconds.append(time.perf_counter() - start)
    return min(seconds[1:]) / batch * 1000


# %% tags=["item-21"]
timed = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "mobilenet_v2", "alexnet", "resnet18"]
timed += ["densenet121", "resnet50"]

# %% tags=["item-21"]
times = {name: milliseconds(name) for name in timed}
{
    name: f"{ms:.1f} ms, {counted[name].multiply_adds / 1e6 / ms:.0f} M multiply-adds per ms"
    for name, ms in times.items()
}

# %% tags=["item-21"]
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for name, ms in times.items():
    work, colour = counted[name].multiply_adds / 1e9, "orange" if "lite" in name or "mobile" in name else "blue"
    axis.scatter(work, ms, color=plots.COLOURS[colour])
    left, below = name == "densenet121", name == "mobilenet_v2"
    place = {
        "xytext": (-6 if left else 5, -11 if below else 4),
        "textcoords": "offset points",
        "ha": "right" if left else "left",
    }
    axis.annotate(name.replace("efficientnet_", ""), (work, ms), fontsize=8, **place)
axis.set(xscale="log", yscale="log", title="Work and time on this machine (orange: depthwise convolutions)")
axis.yaxis.set_major_formatter("{x:g}")
axis.yaxis.set_minor_formatter("{x:g}")
axis.set_xticks([0.3, 0.5, 1, 2, 4], ["0.3", "0.5", "1", "2", "4"])
axis.tick_params(axis="x", which="minor", labelbottom=False)
axis.set(xlabel="multiply-adds for one image, thousand millions", ylabel="milliseconds an image", xlim=(0.25, 7))
axis.set_ylim(min(times.values()) / 1.2, max(times.values()) * 1.3)
plt.show()

# %% [markdown]
# Within a family, more work takes more time. Between families, the same work can take twice as long: it also counts how
# often a value is used once it has been read from memory. A depthwise convolution uses each value only a few times. So
# do AlexNet's fully connected layers, which read 59 million weights for each batch. So measure on the machine that will
# do the work.
#
# ### And accuracy on *your* task?
# What we *can* measure here: a linear classifier on the codes of each Lite network whose weights are here, on our own
# image set, at 128 pixels. (It learns from a random half of the images and is tested on the other, several times.)
# *Predict: is Lite2, 2.5 points better on ImageNet, better here?*

# %% tags=["item-21"]
lites = [name for name in wanted[:3] if name in backbones.available()]
ours = scenes.subset(
    datasets.few_shot(scenes.labels, (100 if full else 30) if len(scenes.classes) > 2 else 300, seed=1)
)
half = int(ours.labels.bincount()[0]) // 2
ours, half

# %% tags=["item-21"]
own_codes = {name: codes.extract(backbones.load(name), ours, size=128, progress=False) for name in lites}
{name: tuple(values.shape) for name, values in own_codes.items()}


# %% tags=["item-21"]
def half_accuracy(values, seed):
    """Train on a random half of each class, test on the other."""
    train_rows = datasets.few_shot(ours.labels, half, seed=seed)
    test_rows = np.setdiff1d(np.arange(len(ours)), train_rows)
    head = linear.fit(values[train_rows], ours.labels[train_rows], C=3.0)
    return head.accuracy(values[test_rows], ours.labels[test_rows])


# %% tags=["item-21"]
own = {n: np.array([half_accuracy(v, seed) for seed in range(10 if full else 4)]) for n, v in own_codes.items()}
{name: f"{a.mean():.1%} ± {a.std(ddof=1):.1%}" for name, a in own.items()}

# %% tags=["item-21"]
if len(own) == 3:
    advantage = own["efficientnet_lite2"] - own["efficientnet_lite0"]  # on the same halves
    assert advantage.mean() < advantage.std(ddof=1), "Lite2's lead is not larger than its spread over halves"
    print(f"Lite2 minus Lite0, on the same halves: {advantage.mean():+.1%} ± {advantage.std(ddof=1):.1%}")

# %% [markdown]
# At the same size, Lite2 does about 1.5 times the work of Lite0, and here it buys nothing that shows. With the quick
# budget's few images of 15-Scene, the one between them, Lite1, is the best of the three. (At its own 260 pixels Lite2
# does better on 15-Scene, too; 128 were used to be quick.) The published order need not be the order on your data and
# at your size. It is a good first guess, and no more than that.
#
# ## What to remember
# - A linear classifier has one template a class; an MLP a bank of whole-image templates; a conv layer *local* ones.
# - Large first filters become edges, stripes and opposing colours, with labels or without. 3×3 filters can't show it.
# - Deeper layers are sparser, ignore small shifts, and answer to motifs, then parts, then kinds of scenes. Mirrors are
#   ignored only by their mean over all places.
# - The patches that excite a unit most are cut out by its receptive field. They show its peak, not its whole meaning.
# - Global pooling and a linear layer give exact class activation maps. Gram matrices keep texture and forget places.
# - Parameters, work and time are three different costs. Measure on your machine and your data.
#
# **Papers.** Hubel, Wiesel, *Receptive fields, binocular interaction and functional architecture in the cat's visual
# cortex*, 1962. Olshausen, Field, *Emergence of simple-cell receptive field properties by learning a sparse code for
# natural images*, 1996. Bell, Sejnowski, *The "independent components" of natural scenes are edge filters*, 1997.
# Hoyer, Hyvärinen, *Independent component analysis applied to feature extraction from colour and stereo images*, 2000.
# Krizhevsky, Sutskever, Hinton, *ImageNet classification with deep convolutional neural networks*, 2012. Zeiler,
# Fergus, *Visualizing and understanding convolutional networks*, 2014. Girshick et al., *Rich feature hierarchies for
# accurate object detection and semantic segmentation*, 2014 (its section 3.1: strongest patches). Zhou et al.,
# *Learning deep features for discriminative localization*, 2016. Gatys, Ecker, Bethge, *Image style transfer using
# convolutional neural networks*, 2016. Canziani, Paszke, Culurciello, *An analysis of deep neural network models for
# practical applications*, 2016.
