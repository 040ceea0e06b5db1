# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 7 · Maps of codes: PCA and t-SNE
#
# After this lesson you can
# - compare images by their pixels and by their codes, and say how much a map in the plane keeps of either;
# - explain what t-SNE makes small, and choose perplexity, seed and starting point with numbers;
# - name what a map does *not* mean, and use one to find double, strange and wrongly labelled images.
#
# **You need** Python, a little PyTorch, and what a code is (lesson 5). Solar cells and digits come with packages.
# 15-Scene is used when it is there or can be downloaded; without it the lesson goes on with the others.
# **Time:** about a minute of computing on two CPU cores the first time, a little less after that (codes are kept);
# reading and exercises take two to three hours.

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
import contextlib
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.spatial import procrustes
from scipy.stats import spearmanr
from sklearn.manifold import TSNE
from torch.nn import functional as F

from helpers import backbones, codes, datasets, embedding, explorers, plots
from helpers.checks import Check, difference, names_used

# %% [markdown]
# ## 1. Near in pixels, near in codes
#
# The last hidden layer of a network gives each image a **code**: 4,096 numbers in AlexNet and VGG16 (the layer FC7),
# 1,280 in EfficientNet-Lite0 (we call it "penultimate"). Up to three image sets: photographs of scenes, solar cells, digits.

# %% tags=["item-19"]
IMAGES, SEEDS = (600, range(3)) if machine.budget() == "quick" else (1200, range(5))
lite0 = backbones.load().to(machine.device())

# %% tags=["item-19"]
sets = {}
for name, size in (("15-scene", 224), ("solar-cells", 224), ("digits", 96)):
    with contextlib.suppress(datasets.NotHere):  # one line has said why
        sets[name] = datasets.load(name, size=size)

# %% tags=["item-19"]
few = datasets.few_shot(sets["digits"].labels, IMAGES // 6, seed=0)
sets["digits"] = sets["digits"].subset(few)
main = "15-scene" if "15-scene" in sets else "digits"  # the set of most figures
{name: len(images) for name, images in sets.items()}

# %% tags=["item-19"]
vectors = {name: codes.extract(lite0, images, progress=False) for name, images in sets.items()}
{name: tuple(values.shape) for name, values in vectors.items()}


# %% [markdown]
# Maps of thousands of points take long. So we draw samples: about 600 images (1,200 in the full budget), the same number
# of each class. The seed chooses the images. What holds for one sample only may be an accident, so we measure on
# several samples where time allows. Figures show the first one.


# %% tags=["item-19"]
def sample(name, seed=0):
    """Which images (indices), their codes (N, 1280) and labels (N,): the same number of each class."""
    labels = sets[name].labels
    rows = datasets.few_shot(labels, IMAGES // len(sets[name].classes), seed)
    return rows, vectors[name][rows], labels[rows]


# %% tags=["item-19"]
def pixels(name, rows):
    """The images as vectors of 32 x 32 gray values: (N, 1024)."""
    return F.interpolate(sets[name].images[rows].float(), (32, 32), mode="area").mean(1).flatten(1)


# %% tags=["item-19"]
def maps_of(name, maps, titles, title, every=1):
    """A figure of maps of the first sample (or every second image of it), coloured by class."""
    return plots.points(maps, sample(name)[2][::every], sets[name].classes, titles, title=title)


# %% tags=["item-19"]
def told(values):
    """Mean ± standard deviation over the seeds, as text."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


# %% [markdown]
# Take an image. Which others are nearest to it, by the Euclidean (L2) distance of the pixels? And of the codes?
#
# *Predict for a photograph of open country (or, without 15-Scene, for a digit): what do its nearest neighbours in
# pixel space have in common with it?*

# %% tags=["item-19", "item-20"]
rows, values, labels = sample(main)
by_pixels = embedding.neighbours(pixels(main, rows), k=3)
by_codes = embedding.neighbours(values, k=3)

# %% tags=["item-19", "item-20"]
queries = [len(rows) * i // 10 + 3 for i in (0, 4, 9)]
shown = [torch.tensor([q, *by_pixels[q], *by_codes[q]]) for q in queries]
where = ["image:\n", *["pixels:\n"] * 3, *["codes:\n"] * 3] * len(queries)
shown = torch.cat(shown)
titles = [w + sets[main].classes[labels[i]] for w, i in zip(where, shown, strict=True)]

# %% tags=["item-19", "item-20"]
plots.images(
    sets[main].images[rows[shown]],
    titles,
    columns=7,
    size=1.5,
    title="An image, its neighbours in pixels (light and dark in the same places), and in codes",
)

# %% [markdown]
# One number for it: let the 10 nearest *other* images vote for a class. How often is the vote right? This **k-nearest-
# neighbour accuracy** needs no training. *Predict: on which of the sets do codes win?*

# %% tags=["item-19", "item-20"]
pixel_accuracy, code_accuracy = {}, {}
for name in sets:
    samples = [sample(name, seed) for seed in SEEDS]
    pixel_accuracy[name] = [embedding.knn_accuracy(pixels(name, rows), labels) for rows, _, labels in samples]
    code_accuracy[name] = [embedding.knn_accuracy(values, labels) for _, values, labels in samples]

# %% tags=["item-19", "item-20"]
{name: (told(pixel_accuracy[name]), told(code_accuracy[name])) for name in sets}  # pixels, codes

# %% tags=["item-20"]
for name in sets:
    if name != "digits":
        assert min(code_accuracy[name]) > max(pixel_accuracy[name]), f"codes beat pixels on {name}, for every seed"
assert max(code_accuracy["digits"]) < min(pixel_accuracy["digits"]), "on these digits, pixels are the better code"

# %% [markdown]
# Pixel distance looks at what doesn't matter (light, place, a shift) as much as at what does. A network that is
# trained to name things gets codes **selective** for their kind and fairly **invariant** to the rest. But ours was
# trained on photographs. The digits
# are centred and of one size, white on black, so there the pixels do very well. *Measure, don't believe.*
#
# ### Exercise 1 · distances (2 points)
# Write `squared_distances(x, y)`: `x` is (N, D), `y` is (M, D), the result is an (N, M) tensor of *squared* Euclidean
# distances. No loop is needed. Example: `x = [[0, 0]]` and `y = [[3, 4], [0, 1]]` give `[[25, 1]]`.


# %% nbgrader={"grade": false, "grade_id": "squared_distances", "locked": false, "schema_version": 3, "solution": true, "task": false}
def squared_distances(x, y):
    """Squared Euclidean distances, (N, M), between the rows of x (N, D) and of y (M, D).

    squared_distances(torch.tensor([[0.0, 0]]), torch.tensor([[3.0, 4], [0, 1]])) is [[25, 1]].
    """
    ### BEGIN SOLUTION
    return (x[:, None, :] - y[None, :, :]).square().sum(dim=2)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "squared_distances_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(squared_distances, points=2)
x, y = torch.tensor([[0.0, 0]]), torch.tensor([[3.0, 4], [0, 1]])
slips = [(torch.tensor([[5.0, 1]]), "squared: no root."), (torch.tensor([[7.0, 1]]), "squares, not absolute values.")]
check.equal(x, y, expected=torch.tensor([[25.0, 1]]), slips=slips)
torch.manual_seed(0)
x, y = torch.randn(4, 3), torch.randn(2, 3)
right = torch.cdist(x.double(), y.double()).square()
check.equal(x, y, expected=right, slips=[(right.T, "x gives the rows, y the columns.")], show="x 4×3, y 2×3")
### BEGIN HIDDEN TESTS
x, y = torch.randn(3, 7), torch.randn(3, 7) + 2
check.equal(x, y, expected=torch.cdist(x.double(), y.double()).square(), show="x 3×7, y 3×7")
check.equal(x, x, expected=torch.cdist(x.double(), x.double()).square(), show="x 3×7 with itself", atol=1e-4)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 2. After the ReLU, or before?
#
# "CNN codes" usually means the values *after* the ReLU of a fully connected layer, often of the last hidden one. The
# values before the ReLU, its inputs, can be read too. In Lite0 both are maps, averaged over their places (3×3 for
# images of 96 pixels, 7×7 for 224). AlexNet's FC7 joins in when its weights are on this machine. The full budget
# fetches them and VGG16's (760 MB).
#
# *Predict: what share of the values is 0 after the ReLU? Is a neighbour vote better before the ReLU or after it?* (The
# first table takes the codes as they are, the second scales each to length 1.)

# %% tags=["item-33", "item-19"]
wanted = (
    ("alexnet", "vgg16") if machine.budget() == "full" else ("alexnet",) if "alexnet" in backbones.available() else ()
)
networks = {"efficientnet_lite0": lite0}
last = {  # the layer just before the last ReLU, and what the ReLU returns
    "efficientnet_lite0": ("bn2.drop", "head"),
    "alexnet": ("classifier.4", "fc7"),
    "vgg16": ("classifier.3", "fc7"),
}

# %% tags=["item-33", "item-19"]
for name in wanted:
    try:
        networks[name] = backbones.load(name).to(machine.device())
    except backbones.NoWeights as error:
        print(error)
list(networks)

# %% tags=["item-33", "item-19"]
rows, _, labels = sample(main)
fc7 = {}
for name, network in networks.items():
    size = 96 if name == "efficientnet_lite0" else 224  # FC layers fit one size only; Lite0 averages its maps
    before, after = embedding.watch(network, sets[main].images[rows], last[name], size=size).values()
    fc7[name] = {"before ReLU": before, "after ReLU": after}

# %% tags=["item-33", "item-19"]
{name: tuple(found["after ReLU"].shape) for name, found in fc7.items()}


# %% tags=["item-33", "item-19"]
def accuracy_on_parts(values, labels):
    """k-NN accuracy on random halves of the images, one per seed."""
    halves = [torch.randperm(len(labels), generator=torch.Generator().manual_seed(s))[::2] for s in SEEDS]
    return [embedding.knn_accuracy(values[half], labels[half]) for half in halves]


# %% tags=["item-33", "item-19"]
relu = {name: {k: accuracy_on_parts(v, labels) for k, v in found.items()} for name, found in fc7.items()}
{name: {when: told(accuracy) for when, accuracy in found.items()} for name, found in relu.items()}

# %% tags=["item-33", "item-19"]
unit = {name: {k: accuracy_on_parts(F.normalize(v), labels) for k, v in found.items()} for name, found in fc7.items()}
{name: {when: told(accuracy) for when, accuracy in found.items()} for name, found in unit.items()}  # of length 1

# %% tags=["item-33", "item-19"]
zeros = {name: (found["after ReLU"] == 0).float().mean().item() for name, found in fc7.items()}

# %% tags=["item-33", "item-19"]
for name, found in relu.items():
    gap = np.mean(found["after ReLU"]) - np.mean(found["before ReLU"])
    assert zeros[name] > 0.3, f"{name}: the ReLU makes zeros"
    turn = np.mean(unit[name]["after ReLU"]) - np.mean(unit[name]["before ReLU"]) - gap
    assert name != "efficientnet_lite0" or turn > 0, f"{name}: what the ReLU does hangs on the scaling: {turn}"
zeros

# %% [markdown]
# A large part of the numbers is exactly 0 after the ReLU: the code is **sparse**. Does the ReLU help the vote? With
# Lite0's codes as they are it costs a few points; with codes of length 1 (the second table) it costs less, or nothing.
# So the answer depends on the scaling. Published results mostly use the values after the ReLU, and so do we. When you
# read "FC7", find out which of the two is meant: the distances are not the same.
#
# ## 3. The simple map: PCA
#
# Principal component analysis turns the cloud of codes so that the first axis has the largest variance, the second the
# largest of what is left, and so on. (The squared singular values of the codes, with their mean taken away, are these
# variances times N - 1.) *Predict: what share of the variance do the first two of 1,280 axes hold?*

# %% tags=["item-19"]
shares = {}
for name in sets:
    values = sample(name)[1]
    variances = torch.linalg.svdvals(values - values.mean(0)).square()
    shares[name] = (variances.cumsum(0) / variances.sum()).numpy()

# %% tags=["item-19"]
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for (name, share), colour in zip(shares.items(), ("blue", "orange", "green"), strict=False):
    axis.plot(range(1, 101), share[:100], color=plots.COLOURS[colour], label=name)
axis.axvline(2, color="black", linestyle=":")
axis.set(
    title="Two axes hold less than half of the variance", xlabel="principal components", ylabel="share of variance"
)
axis.set_ylim(0, 1)
axis.legend()
plt.show()

# %% tags=["item-19"]
for name, share in shares.items():
    assert share[1] < 0.5 < share[49], f"{name}: two axes hold less than half, fifty more than half"
{name: [round(float(share[i - 1]), 2) for i in (2, 50)] for name, share in shares.items()}  # 2 axes, 50 axes

# %% [markdown]
# ### Exercise 2 · explained variance (2 points)
# Write `explained(x, k)`: the share (0 to 1) of the total variance of `x` (N, D) that lies along its first `k`
# principal components. Example: for `[[2, 0], [-2, 0], [0, 1], [0, -1]]` and k = 1 it is 8/10 = 0.8.
# Careful: codes don't have mean 0.


# %% nbgrader={"grade": false, "grade_id": "explained", "locked": false, "schema_version": 3, "solution": true, "task": false}
def explained(x, k):
    """The share of the variance of x (N, D) along its first k principal components, a number from 0 to 1.

    explained(torch.tensor([[2.0, 0], [-2, 0], [0, 1], [0, -1]]), 1) is 0.8.
    """
    ### BEGIN SOLUTION
    variances = torch.linalg.svdvals(x - x.mean(dim=0)).square()
    return float(variances[:k].sum() / variances.sum())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "explained_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(explained, points=2)
cross = torch.tensor([[2.0, 0], [-2, 0], [0, 1], [0, -1]])
slips = {2 / 3: "variances are the squares of the singular values.", 80: "a share from 0 to 1, not per cent."}
slips |= {0.5: "only the mean is taken away: columns keep their scale."}
check.equal(cross, 1, expected=0.8, slips=slips, atol=1e-4)
moved = cross + torch.tensor([5.0, -3])
wrong = [float(v[0] / v.sum()) for v in (torch.linalg.svdvals(m).square() for m in (moved, moved - moved.mean()))]
slips = [(wrong[0], "take the mean away first."), (wrong[1], "each column has a mean of its own.")]
check.equal(moved, 1, expected=0.8, slips=slips, show="the same, moved by (5, -3)", atol=1e-4)
axes = torch.tensor([[2.0, 1, 2], [-2, 2, 1], [1, 2, -2]]) * torch.tensor([[3.0], [2], [1]])  # of length 9, 6, 3
turned = torch.cat([axes, -axes])
slips = [(97 / 126, "the first k components, not the k columns of largest variance.")]
slips += [(4 / 14, "the first k together."), (9 / 14, "the first k, not only the first.")]
show = "six points along oblique axes of length 9, 6 and 3, 2"
check.equal(turned, 2, expected=13 / 14, slips=slips, show=show, atol=1e-4)
slips = [(0.2, "the largest variance comes first.")]
check.equal(cross.flip(1), 1, expected=0.8, slips=slips, show="the same, columns exchanged", atol=1e-4)
### BEGIN HIDDEN TESTS
torch.manual_seed(1)
x = torch.randn(40, 9) @ torch.randn(9, 9) + 3
variances = np.sort(np.linalg.eigvalsh(np.cov(x.double().numpy().T)))[::-1]
for k in (1, 2, 3, 9):
    check.equal(x, k, expected=float(variances[:k].sum() / variances.sum()), show=f"x 40×9, {k}", atol=1e-3)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 4. How t-SNE works
#
# t-SNE (t-distributed stochastic neighbour embedding) does not turn the cloud. It asks of every image: *who are your
# neighbours?*, and looks for places in the plane where everyone has the same neighbours again. Three steps (van der
# Maaten and Hinton 2008).
#
# **Step 1, neighbours among the codes.** Point $i$ lays a Gaussian around itself. A near point gets a large part of the
# probability, a far one nearly nothing:
#
# $$p_{j|i} = \frac{\exp(-\lVert x_i - x_j \rVert^2 / 2\sigma_i^2)}{\sum_{k \ne i} \exp(-\lVert x_i - x_k \rVert^2 /
# 2\sigma_i^2)}, \qquad p_{i|i} = 0$$
#
# ### Exercise 3 · the neighbours of one point (2 points)
# Write `conditional(x, i, sigma)`: `x` is (N, D); the result is the tensor $p_{\cdot|i}$ of N probabilities, with
# 0 at place `i`. Example: `x = [[0], [1], [1]]`, `i = 0`: two equal neighbours, so `[0, 0.5, 0.5]` for every sigma.


# %% tags=["setup"]
DIVIDED_BY = {  # the squared distances, with sigma = 3, by what isn't 18
    2: "where is sigma?",
    2 / 9: "divide by sigma² too: / (2 * sigma**2).",
    9: "where is the 2?",
    36: "2σ², not (2σ)².",
    6: "sigma is squared.",
    3: "2σ², not σ.",
}


# %% nbgrader={"grade": false, "grade_id": "conditional", "locked": false, "schema_version": 3, "solution": true, "task": false}
def conditional(x, i, sigma):
    """p(j|i) for all j: a tensor (N,), 0 at i, sum 1. x: (N, D); sigma: the width of the Gaussian around x[i].

    conditional(torch.tensor([[0.0], [1], [1]]), 0, 1.0) is [0, 0.5, 0.5].
    """
    ### BEGIN SOLUTION
    weights = torch.exp(-(x - x[i]).square().sum(dim=1) / (2 * sigma**2))
    weights[i] = 0
    return weights / weights.sum()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "conditional_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(conditional, points=2)
line = torch.tensor([[0.0], [1], [1]])
own = torch.tensor([1, math.exp(-0.5), math.exp(-0.5)])
slips = [(own / own.sum(), "a point is not its own neighbour."), (torch.tensor([0.5, 0.5]), "N numbers: 0 at place i.")]
hint = "Two equal neighbours share a sum of 1."
check.equal(line, 0, 1.0, expected=torch.tensor([0, 0.5, 0.5]), slips=slips, hint=hint)
line = torch.tensor([[0.0], [1], [2]])
own = torch.tensor([1, math.exp(-0.5), math.exp(-2)])
slips = [(own / own.sum(), "a point is not its own neighbour."), (own[1:] / own[1:].sum(), "N numbers: 0 at place i.")]
check.equal(line, 0, 1.0, expected=torch.tensor([0, 0.817574, 0.182426]), slips=slips)
corner = torch.tensor([[3.0, 4], [0, 0], [0, 2]])
squares = torch.tensor([25.0, 0, 4])  # from the point in the middle
right, *wrong = (F.normalize((-squares / by).exp() * (squares > 0), p=1, dim=0) for by in (18, *DIVIDED_BY))
slips = [*zip(wrong, DIVIDED_BY.values(), strict=True)]
check.equal(corner, 1, 3.0, expected=right, slips=slips, show="[[3, 4], [0, 0], [0, 2]], 1, 3")
### BEGIN HIDDEN TESTS
double = torch.tensor([[1.0, 1], [1, 1], [2, 1], [1, 3]])
weights = torch.tensor([0, 1, math.exp(-0.5), math.exp(-2)])
check.equal(double, 0, 1.0, expected=weights / weights.sum(), show="another point at the same place")
torch.manual_seed(2)
x = torch.randn(6, 3)
for i, sigma in ((0, 1.0), (5, 0.7), (2, 3.0)):
    logits = -torch.cdist(x[i : i + 1], x)[0].square() / (2 * sigma**2)
    logits[i] = -torch.inf
    check.equal(x, i, sigma, expected=logits.softmax(0), show=f"x 6×3, i = {i}, sigma = {sigma}")
### END HIDDEN TESTS
check.score()

# %% [markdown]
# How wide is the Gaussian? One width for all would not do: points in a crowd would have many neighbours, lonely ones
# hardly any. Each $\sigma_i$ is chosen so that every point has the same *effective number* of neighbours. This number is
# the **perplexity**, $2^{H}$ with the entropy $H = -\sum_j p_{j|i} \log_2 p_{j|i}$.
#
# ### Exercise 4 · perplexity (2 points)
# Write `perplexity(p)` for a tensor of probabilities. A probability of 0 adds nothing to the entropy.
# Examples: `[0.25, 0.25, 0.25, 0.25, 0]` has perplexity 4; `[1, 0]` has 1.


# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(p):
    """2 to the entropy (in bits) of the probabilities p (N,), a number; zeros add nothing.

    perplexity(torch.tensor([0.25, 0.25, 0.25, 0.25, 0])) is 4.
    """
    ### BEGIN SOLUTION
    some = p[p > 0]
    return float(2 ** -(some * some.log2()).sum())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "perplexity_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(perplexity, points=2)
bits, nats = "this is the entropy: take 2 to it.", "this is the entropy in nats: take e to it (or use log2, and 2)."
slips = {2: bits, math.log(4): nats, 0.25: "the entropy has a minus sign.", 5: "0 is no neighbour's probability."}
slips |= {base: "one base only." for base in (math.exp(2), 2 ** math.log(4))}
hint = "0 · log 0 counts as 0."
check.equal(torch.tensor([0.25, 0.25, 0.25, 0.25, 0]), expected=4, slips=slips, hint=hint)
slips = {1.5: bits, 1.5 * math.log(2): nats, 3: "unequal neighbours count for less than their number."}
slips |= {2: "use all the probabilities, not the largest.", 8 / 3: "the entropy, not the sum of squares."}
check.equal(torch.tensor([0.5, 0.25, 0.25]), expected=2**1.5, slips=slips)
check.equal(torch.tensor([1.0, 0]), expected=1, slips={0: bits}, hint=hint)
### BEGIN HIDDEN TESTS
check.equal(torch.tensor([0.9, 0.1, 0]), expected=math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1)))
### END HIDDEN TESTS
check.score()

# %% [markdown]
# The width that gives the wanted perplexity is found by halving an interval, for all points at once. (We search the
# logarithm of $1/2\sigma^2$.)


# %% tags=["item-19"]
def probabilities(x, wanted):
    """p(j|i) for all pairs, (N, N), each row with the wanted perplexity. x: (N, D)."""
    squared = torch.cdist(x.double(), x.double()).square().fill_diagonal_(torch.inf)
    low, high = torch.full((len(x), 1), -30.0), torch.full((len(x), 1), 20.0)
    for _ in range(50):
        middle = (low + high) / 2
        p = (-squared * middle.exp()).softmax(dim=1)
        too_wide = torch.special.entr(p).sum(1, keepdim=True) > math.log(wanted)
        low, high = torch.where(too_wide, middle, low), torch.where(too_wide, high, middle)
    return p


# %% tags=["item-19"]
small = embedding.pca(sample(main)[1][::2])  # every second image, 50 principal components
conditionals = {wanted: probabilities(small, wanted) for wanted in (5, 30, 100)}

# %% tags=["item-19"]
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for (wanted, p), colour in zip(conditionals.items(), ("blue", "orange", "green"), strict=True):
    axis.plot(range(1, 151), p[0].sort(descending=True).values[:150], color=plots.COLOURS[colour], label=f"{wanted}")
axis.set(title="A larger perplexity listens to more neighbours", xlabel="the neighbours of one image, nearest first")
axis.set(ylabel="$p_{j|i}$", xscale="log", yscale="log", ylim=(1e-5, 1))
axis.legend(title="perplexity")
plt.show()

# %% [markdown]
# **Step 2, neighbours in the plane.** There a heavy-tailed curve takes the Gaussian's place (Student's *t*, hence the name),
# $w_{ij} = 1/(1 + \lVert y_i - y_j \rVert^2)$, and $q_{ij} = w_{ij} / \sum_{k \ne l} w_{kl}$. The plane has too little
# room for all that is "not quite near" in 50 dimensions; the heavy tail lets such points move far away.
#
# **Step 3, descend.** Move the places $y$ so that the divergence $KL = \sum p_{ij} \log (p_{ij} / q_{ij})$ gets small,
# with $p_{ij} = (p_{j|i} + p_{i|j})/2N$. Written out, it is a tug of war: $\text{const} - \sum p_{ij} \log w_{ij} +
# \log \sum w_{ij}$, all sums without $i = j$. The second term pulls neighbours together, the third pushes all apart.
# One trick is added: in the first 100 steps the pull is 12 times as strong ("early exaggeration"), so that groups find
# together before the map spreads out. *That is all of t-SNE, and autograd can do it:*


# %% tags=["item-19"]
def divergence(p, places, pull=1.0):
    """The KL divergence of a map: p (N, N) with sum 1, places (N, 2). With pull > 1, neighbours attract more."""
    w = 1 / (1 + torch.cdist(places, places).square())
    return torch.xlogy(p, p).sum() - pull * (p * w.log()).sum() + (w.sum() - len(w)).log()


# %% tags=["item-19"]
p = (conditionals[30] + conditionals[30].T) / (2 * len(small))
start = 0.01 * small[:, :2].double() / small[:, 0].std()  # the first two principal components, very small
places = start.clone().requires_grad_()
optimiser = torch.optim.Adam([places], lr=1.0)

# %% tags=["item-19"]
for step in range(600):
    loss = divergence(p, places, pull=12.0 if step < 100 else 1.0)  # "early exaggeration": the paper had 4
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

# %% tags=["item-19"]
ours = places.detach()
f"{divergence(p, start):.3f} at the start, {divergence(p, ours):.3f} at the end"

# %% tags=["item-19"]
library = TSNE(perplexity=30, init="pca", method="exact", max_iter=500).fit(small.numpy())
theirs = torch.from_numpy(library.embedding_).double()

# %% tags=["item-19"]
assert abs(divergence(p, theirs) - library.kl_divergence_) < 0.01, "our formula gives the library's number"
assert divergence(p, ours) < 1.25 * library.kl_divergence_, "and our few lines make it nearly as small"
common = embedding.preservation(theirs, ours)
assert common > 0.3, "what is near in one map is often near in the other"
f"{library.kl_divergence_:.3f} in the library's map (ours: {divergence(p, ours):.3f}); {common:.0%} of neighbours in common"

# %% tags=["item-19"]
titles = ["start: PCA", "our t-SNE", "scikit-learn's t-SNE"]
title = "Our loop's map, and the library's: other places, similar islands"
maps_of(main, [small[:, :2], ours, theirs], titles, title, every=2)

# %% [markdown]
# No label of this set was used: the network has learned ImageNet's classes, and t-SNE none. The colours came later.
# Libraries are faster for many points: they approximate the push of far points (Barnes-Hut trees). From here on we use
# `embedding.tsne`, which is scikit-learn's after PCA to 50 dimensions.
#
# ## 5. The maps, and numbers beside them
#
# *Predict: for which image sets will a map show an island for each class? Remember what the network was trained on.*
# (Two sets are drawn; the table further down has all.)

# %% tags=["item-19"]
planes = {name: [embedding.tsne(sample(name, seed)[1], seed=seed) for seed in SEEDS] for name in sets}
pca_planes = {name: [embedding.pca(sample(name, seed)[1], 2) for seed in SEEDS] for name in sets}

# %% tags=["item-19"]
maps = [pca_planes[main][0], planes[main][0], embedding.tsne(pixels(main, sample(main)[0]))]
titles = ["PCA of codes", "t-SNE of codes", "t-SNE of pixels"]
maps_of(main, maps, titles, "t-SNE shows islands of one class; two PCA axes are too few")

# %% tags=["item-19"]
maps = [pca_planes["solar-cells"][0], planes["solar-cells"][0]]
title = "Solar cells: most cells have neighbours of both classes"
maps_of("solar-cells", maps, titles[:2], title)

# %% [markdown]
# What are the islands of the solar cells, when they are not the defects? The set has two kinds of wafer,
# monocrystalline and polycrystalline. *Predict, then look.*

# %% tags=["item-19"]
cells = sets["solar-cells"]
wafer = [cells.strata[sample("solar-cells", seed)[0]] % 2 for seed in SEEDS]  # odd strata: polycrystalline
plots.points(
    [planes["solar-cells"][0]], wafer[0], ["mono", "poly"], title="The same map: the kind of wafer decides the place"
)

# %% tags=["item-19"]
by_wafer = [embedding.knn_accuracy(plane, kind) for plane, kind in zip(planes["solar-cells"], wafer, strict=True)]
defects = [sample("solar-cells", seed)[2] for seed in SEEDS]
by_defect = [embedding.knn_accuracy(plane, label) for plane, label in zip(planes["solar-cells"], defects, strict=True)]
told(by_wafer), told(by_defect)

# %% tags=["item-19"]
assert min(by_wafer) > max(by_defect) + 0.1, "the map shows what varies most, and that need not be your question"
for plane, defect in zip(planes["solar-cells"], defects, strict=True):
    share = defect[embedding.neighbours(plane)].float().mean(1)  # of a cell's neighbours: the defective ones
    assert ((share > 0) & (share < 1)).float().mean() > 0.5, "most cells have neighbours of both classes"

# %% [markdown]
# The wafer comes first. *And the defects?* Among the mono cells one island is nearly all defective. So count, map by map,
# the cells with defective neighbours only:

# %% tags=["item-19"]
for plane, defect in zip(planes["solar-cells"], defects, strict=True):
    alone = (defect[embedding.neighbours(plane)].float().mean(1) == 1).float().mean()
    assert alone > 0.05, "by chance, ten defective neighbours of ten come once in a thousand"
    print(f"{alone:.0%} of the cells have defective neighbours only")

# %% [markdown]
# A pretty picture is no measurement. Two numbers say what a map is worth:
# - **k-NN preservation**: of the 10 nearest neighbours among the codes, which share is among the 10 nearest in the plane?
# - **k-NN accuracy** in the plane, against the one in code space.
#
# *Predict for t-SNE: what share of the neighbours is kept? And how far below the codes' accuracy is the plane's?*

# %% tags=["item-19"]
table = {}
for name in sets:
    for kind, maps in (("PCA", pca_planes[name]), ("t-SNE", planes[name])):
        pairs = [(sample(name, seed), maps[seed]) for seed in SEEDS]
        kept = [embedding.preservation(values, plane) for (_, values, _), plane in pairs]
        right = [embedding.knn_accuracy(plane, labels) for (_, _, labels), plane in pairs]
        table[name, kind] = kept, right

# %% tags=["item-19"]
{key: {"kept": told(kept), "accuracy": told(right)} for key, (kept, right) in table.items()}

# %% tags=["item-19"]
for name in sets:
    (kept_pca, right_pca), (kept_tsne, right_tsne) = table[name, "PCA"], table[name, "t-SNE"]
    assert min(kept_tsne) > 1.5 * max(kept_pca), f"{name}: t-SNE keeps far more neighbours than PCA's plane"
    assert max(kept_tsne) < 0.75, f"{name}: but it loses many"
    assert min(right_tsne) > max(right_pca), f"{name}: and the vote in its plane is better"
    assert abs(np.mean(right_tsne) - np.mean(code_accuracy[name])) < 0.08, f"{name}: nearly as good as among the codes"

# %% tags=["item-19"]
names = [f"{name}: {kind}" for name in sets for kind in ("codes, 1280-D", "t-SNE, 2-D", "PCA, 2-D")]
found = [f for name in sets for f in (code_accuracy[name], table[name, "t-SNE"][1], table[name, "PCA"][1])]

# %% tags=["item-19"]
plots.bars(
    names,
    [np.mean(f) for f in found],
    [np.std(f, ddof=1) for f in found],
    title="The vote in t-SNE's plane is about as good as among the codes",
    label="10-NN accuracy, %",
    colours=("blue", "green", "orange"),
)

# %% [markdown]
# Both are true at once: t-SNE loses about half of the *individual* neighbours, and the vote hardly changes: those that
# take their place seem to be of the same *class* about as often. So read a map by regions, not by single pairs.
#
# ### Exercise 5 · k-NN preservation (3 points)
# Write `kept(high, low, k)`: `high` is (N, D), `low` is (N, d), the same points in the same order. For each point,
# find its k nearest *other* points in `high`, and its k nearest others in `low`. What share of the first k is also
# among the second k? Return the mean of this share over all points, a number from 0 to 1.
# Example: `high = [[0], [1], [3]]`, `low = [[0], [2], [1.5]]`, k = 1. Nearest in `high`: points 1, 0, 1. Nearest in
# `low`: points 2, 2, 1. Only point 2 keeps its neighbour, so the result is 1/3.
# Start from the distances: a call of `embedding.preservation` is no answer.


# %% nbgrader={"grade": false, "grade_id": "kept", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kept(high, low, k):
    """Mean share of the k nearest others in high (N, D) that are among the k nearest others in low (N, d)."""
    ### BEGIN SOLUTION
    near = []
    for points in (high, low):
        distances = torch.cdist(points, points).fill_diagonal_(torch.inf)
        near.append(distances.argsort(dim=1)[:, :k].tolist())
    return sum(len(set(a) & set(b)) for a, b in zip(*near, strict=True)) / (k * len(high))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kept_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = Check(kept, points=3)
torch.manual_seed(3)
high = torch.randn(12, 5)
line, bent = torch.tensor([[0.0], [1], [3]]), torch.tensor([[0.0], [2], [1.5]])
slips = {1.0: "a point is not its own neighbour (or you didn't divide by the number of points)."}
check.equal(line, bent, 1, expected=1 / 3, show="the example", slips=slips)
check.equal(high, high, 3, expected=1.0, show="a map that is the codes, k = 3", slips={3.0: "divide by k."})
check.equal(high, 2 * high - 1, 3, expected=1.0, show="the same, larger and moved", hint="Only neighbours count.")
low = high[:, :2]
right = embedding.preservation(high, low, 3)
check.equal(
    high, low, 3, expected=right, show="two of five columns, k = 3", hint="Others only; the order is no matter."
)
### BEGIN HIDDEN TESTS
check.equal(high, low, 1, expected=embedding.preservation(high, low, 1), show="k = 1")
check.equal(low, high, 4, expected=embedding.preservation(low, high, 4), show="the other way round, k = 4")
large, noise = torch.randn(40, 6), torch.randn(40, 2)
check.equal(large, noise, 8, expected=embedding.preservation(large, noise, 8), show="a map by chance, k = 8")
### END HIDDEN TESTS
large, noise, own = torch.randn(30, 6), torch.randn(30, 2), "preservation" not in names_used(kept)
right, hint = embedding.preservation(large, noise, 5), "" if own else "A call of embedding.preservation is no answer."
text = "your own way is right for 30 points, k = 5"
check.that(text, lambda f: own and difference(f(large, noise, 5), right) is None, hint=hint, weight=7)
check.score()

# %% [markdown]
# ## 6. Perplexity, seed, starting point
#
# The same codes with other settings give other pictures. *Predict what a perplexity of 2 does, and one of a
# third of the number of points.*

# %% tags=["item-19"]
sweep = {}
for wanted in (2, 30, IMAGES // 3) if machine.budget() == "quick" else (2, 5, 30, 100, IMAGES // 3):
    again = planes[main] if wanted == 30 else [embedding.tsne(sample(main, s)[1], perplexity=wanted) for s in SEEDS]
    sweep[wanted] = again

# %% tags=["item-19"]
kept_of = {
    k: {w: [embedding.preservation(sample(main, s)[1], maps[s], k) for s in SEEDS] for w, maps in sweep.items()}
    for k in (10, 50)
}
{f"{k} nearest": {wanted: told(values) for wanted, values in found.items()} for k, found in kept_of.items()}

# %% tags=["item-19"]
extremes = 2, 30, IMAGES // 3
maps, titles = [sweep[wanted][0] for wanted in extremes], [f"perplexity {wanted}" for wanted in extremes]
title = "Perplexity 2 makes crumbs (tiny islands). 30 keeps more of the ten nearest than either end"
maps_of(main, maps, titles, title)

# %% tags=["item-19"]
ten, fifty = ({wanted: np.array(values) for wanted, values in kept_of[k].items()} for k in (10, 50))
assert min(ten[30]) > max(ten[2]) and min(ten[30]) > max(ten[IMAGES // 3]), "30 keeps more of ten than both"
assert (fifty[IMAGES // 3] - fifty[30]).mean() > (ten[IMAGES // 3] - ten[30]).mean() + 0.03, "of fifty it isn't so"

# %% [markdown]
# Which perplexity is best? It depends on the yardstick: of the 50 nearest, the largest perplexity keeps as many as 30 does,
# or more. A perplexity is the size of the neighbourhood that the map cares for.
#
# **Try it.** The same maps, to explore: the slider's first map is PCA, and a click on a point shows the image and its
# neighbours. *Predict first: which images keep more of their neighbours, those among their own class or those between
# classes? And from perplexity 2 to the largest, each image gets new neighbours: are they of its own class?* Colour two
# classes that you expect to run into each other (coast and opencountry, or 4 and 9). The cells below the explorer
# count both.

# %% tags=["item-19"]
shown = {"PCA": pca_planes[main][0]} | {f"t-SNE, perplexity {w}": maps[0] for w, maps in sweep.items()}
explorers.code_map(sets[main].subset(sample(main)[0]), sample(main)[1], shown)


# %% tags=["item-19"]
def kept_where(seed):
    """The share of kept neighbours, of images among their own class and of images between classes."""
    _, values, labels = sample(main, seed)
    near, here = embedding.neighbours(values), embedding.neighbours(planes[main][seed])
    alike = (labels[near] == labels[:, None]).float().mean(1)  # of an image's neighbours among the codes
    kept_of = (near[:, :, None] == here[:, None]).any(2).float().mean(1)
    return kept_of[alike >= 0.9].mean().item(), kept_of[alike < 0.5].mean().item()


# %% tags=["item-19"]
middle, between = zip(*map(kept_where, SEEDS), strict=True)
assert min(middle) > 1.3 * max(between), "the map is least true where classes meet"
told(middle), told(between)


# %% tags=["item-19"]
def same_class(seed):
    """Of the neighbours that an image has at the largest perplexity and not at 2: the share of its class."""
    small, large = (embedding.neighbours(sweep[wanted][seed]) for wanted in (2, IMAGES // 3))
    new = ~(large[:, :, None] == small[:, None]).any(2)
    labels = sample(main, seed)[2]
    return (labels[large] == labels[:, None])[new].float().mean().item()


swapped = [same_class(seed) for seed in SEEDS]
chance = 1 / len(sets[main].classes)
assert min(swapped) > 2 * chance, "the new neighbours are of the same class far more often than by chance"
told(swapped)

# %% [markdown]
# An image among its own kind keeps more of its neighbours than one between classes. Where classes meet, the map is least
# to be trusted. And from perplexity to perplexity, single neighbours are exchanged. The new ones are of the same class far
# more often than by chance: with 600 scenes about seven of ten (chance: 1 in 15), with 600 digits four (chance: 1 in
# 10).
#
# **Seed and starting point.** t-SNE must start from some places. `embedding.tsne` starts from PCA, which is the same
# each time. Many programs start from random places. *Predict: with three random starts, do the maps look the same? Are
# they equally good?* (At perplexity 5 each point looks at few others, so the start matters more. `procrustes` says how
# much two maps differ after the best shift, turn, mirroring and scaling: from 0, the same, to 1.)

# %% tags=["item-19"]
values = sample(main)[1]
randomly = [embedding.tsne(values, perplexity=5, init="random", seed=seed) for seed in range(3)]
from_pca = [embedding.tsne(values, perplexity=5, seed=seed) for seed in range(2)]

# %% tags=["item-19"]
kept_random = [embedding.preservation(values, plane) for plane in randomly]
differ = [
    procrustes(randomly[0], plane)[2] for plane in randomly[1:]
]  # 0: the same, turned and scaled; 1: nothing alike
same = procrustes(*from_pca)[2]
told(kept_random), np.round(differ, 2).tolist(), round(same, 4)

# %% tags=["item-19"]
assert np.std(kept_random, ddof=1) < 0.02, "each start keeps as many neighbours"
assert main == "digits" or max(differ) > 0.1, "but the scenes may be arranged in another way"
assert same < 0.01, "from PCA the seed changes nothing"

# %% tags=["item-19"]
titles = [f"random start, seed {seed}" for seed in range(3)]
accident = "the islands' places are an accident" if max(differ) > 0.1 else "and here alike; it need not be so"
maps_of(main, randomly, titles, f"Equally good maps: {accident}")

# %% [markdown]
# Is one starting point *better*? Ask data whose truth we know: points on a circle, with a little noise, in 10
# dimensions (after Kobak and Linderman 2021). "Distances agree" is the rank correlation of all distances between
# points with those on the map: 1 when near and far pairs come in the same order.

# %% tags=["item-19"]
torch.manual_seed(0)
angle = 2 * math.pi * torch.rand(300)
circle = torch.cat([angle.cos()[:, None], angle.sin()[:, None], torch.zeros(300, 8)], 1) + 0.01 * torch.randn(300, 10)

# %% tags=["item-19"]
rings = {"start: PCA": embedding.tsne(circle, perplexity=10)}
rings |= {f"start: random, seed {s}": embedding.tsne(circle, perplexity=10, init="random", seed=s) for s in range(4)}

# %% tags=["item-19"]
order = {name: spearmanr(torch.pdist(circle), torch.pdist(plane))[0] for name, plane in rings.items()}
near = {name: embedding.preservation(circle, plane) for name, plane in rings.items()}

# %% tags=["item-19"]
quarter = (4 * angle / (2 * math.pi)).long()
plots.points(
    list(rings.values()),
    quarter,
    ["1st quarter", "2nd", "3rd", "4th"],
    [f"{name}\ndistances agree: {order[name]:.2f}" for name in rings],
    title="From PCA the quarters of the circle stay in order; from a random start that is luck",
)

# %% tags=["item-19"]
by_pca, *by_luck = order.values()
assert by_pca > 0.8 and min(by_luck) < by_pca - 0.1, "PCA keeps the large distances in order, luck doesn't always"
assert max(near.values()) - min(near.values()) < 0.02, "but the neighbours are kept by all: the KL looks only there"
{name: {"distances agree": round(order[name], 2), "neighbours kept": round(near[name], 3)} for name in rings}

# %% [markdown]
# So: start from PCA, and say so. Then fix the perplexity *before* you look, and show that the conclusion holds for
# other perplexities, too.
#
# ## 7. What a map does not mean
#
# Made data again, where the truth is known (in the manner of Wattenberg, Viégas and Johnson 2016). Clouds in 50
# dimensions, 100 points each.


# %% tags=["item-19"]
def clouds(centres, widths, seed):
    """Gaussian clouds with centres along the first of 50 axes: points (100 K, 50), and the cloud of each (100 K,)."""
    torch.manual_seed(seed)
    cloud = torch.arange(len(centres)).repeat_interleave(100)
    points = torch.randn(len(cloud), 50) * torch.tensor(widths)[cloud, None]
    points[:, 0] += torch.tensor(centres)[cloud]
    return points, cloud


# %% tags=["item-19"]
def centres_of(points, cloud):
    """The mean place of each cloud, (K, D)."""
    return torch.stack([points[cloud == c].mean(0) for c in cloud.unique()])


# %% tags=["item-19"]
def widths_of(points, cloud):
    """The mean distance of the points of each cloud from its centre, (K,)."""
    return torch.stack([(points[cloud == c] - points[cloud == c].mean(0)).norm(dim=1).mean() for c in cloud.unique()])


# %% [markdown]
# **Sizes.** One cloud is ten times as wide as the other. *Predict the ratio on the map.*

# %% tags=["item-19"]
sizes = [clouds([0.0, 100.0], [1.0, 10.0], seed) for seed in SEEDS]
size_maps = [embedding.tsne(x, seed=seed) for seed, (x, _) in enumerate(sizes)]

# %% tags=["item-19"]
true_ratio = [float(w[1] / w[0]) for w in (widths_of(x, cloud) for x, cloud in sizes)]
map_ratio = [float(w[1] / w[0]) for w in (widths_of(m, c) for m, (_, c) in zip(size_maps, sizes, strict=True))]
assert min(true_ratio) > 9 and max(map_ratio) < 1.3, "ten times as wide, and the map shows the same size"
told(true_ratio), told(map_ratio)

# %% [markdown]
# The widths $\sigma_i$ are a cause: each point measures distance by its own crowd. Size *and density* of an island say
# nothing.
#
# **Distances.** Three clouds in a row. The third is nine times as far from the second as the first is.

# %% tags=["item-19"]
rows_of_three = [clouds([0.0, 30.0, 300.0], [1.0, 1.0, 1.0], seed) for seed in SEEDS]
line_maps = [embedding.tsne(x, seed=seed) for seed, (x, _) in enumerate(rows_of_three)]

# %% tags=["item-19"]
gaps = [torch.cdist(c, c) for c in (centres_of(m, k) for m, (_, k) in zip(line_maps, rows_of_three, strict=True))]
gap_ratio = [float(g[1, 2] / g[0, 1]) for g in gaps]
assert max(gap_ratio) < 1.5, f"the truth is 9, the map says {gap_ratio}"
told(gap_ratio)


# %% [markdown]
# *And the distances between our own classes?* We take the distances between the classes' centres, on the map and among
# the codes, and compare their order by the rank correlation (1: the same order). First for section 6's map from PCA,
# then for its three maps from random starts:


# %% tags=["item-19"]
def order_kept(plane):
    """Rank correlation of the distances between the classes' centres."""
    _, values, labels = sample(main)
    order = spearmanr(*(torch.pdist(centres_of(x, labels)) for x in (values, plane)))
    return round(float(order[0]), 2)


from_start = {"PCA": order_kept(from_pca[0]), "random": [order_kept(plane) for plane in randomly]}
assert min(from_start["PCA"], *from_start["random"]) > 0.5, "here the map keeps much of the order"
from_start

# %% [markdown]
# Here they agree rather well. So distances on a map *can* be right, and for the three clouds they were wrong. The map
# doesn't tell which of the two you have before you: measure among the codes.
#
# **Islands.** A single cloud without any structure. *What will perplexity 2 make of it?* We measure crumbs by the mean
# distance to the nearest point, compared with points that lie at random in the same rectangle (1: like chance; below
# 1: clumped).


# %% tags=["item-19"]
def clumping(places):
    """Clark and Evans' index (1954): mean distance to the nearest point over what chance gives. Below 1: clumps."""
    nearest = (places - places[embedding.neighbours(places, 1)[:, 0]]).norm(dim=1).mean()
    area = (places.amax(0) - places.amin(0)).prod()
    return float(nearest / (0.5 * (area / len(places)).sqrt()))


# %% tags=["item-19"]
noise = [torch.randn(300, 100, generator=torch.Generator().manual_seed(seed)) for seed in SEEDS]
crumbs = {w: [embedding.tsne(x, perplexity=w) for x in noise] for w in (2, 30)}
clumped = {w: [clumping(plane) for plane in maps] for w, maps in crumbs.items()}

# %% tags=["item-19"]
assert max(clumped[2]) < 0.65 and min(clumped[30]) > 0.8, f"pure noise is clumped at perplexity 2: {clumped}"
{w: told(values) for w, values in clumped.items()}

# %% tags=["item-19"]
one = torch.zeros(300, dtype=torch.int64)
all_labels = [sizes[0][1], rows_of_three[0][1], one, one]
titles = ["one is 10× as wide", "2 → 3 is 9× as far as 1 → 2", "pure noise, perplexity 2", "pure noise, perplexity 30"]
plots.points(
    [size_maps[0], line_maps[0], crumbs[2][0], crumbs[30][0]],
    all_labels,
    ["first cloud", "second", "third"],
    titles,
    columns=2,
    title="Sizes and distances of islands can be wrong altogether, and crumbs come from noise",
)

# %% [markdown]
# ### Exercise 6 · true or false? (4 points)
# Make `claims` a dictionary with `True` (the sentence is right) or `False` (it is wrong, or right only by luck) for
# each letter. All are about t-SNE maps with usual settings.
# - a: Two images that are neighbours on the map are usually of the same class, if that is so among the codes.
# - b: An island that is twice as wide holds images that differ twice as much.
# - c: If island A lies nearer to B than to C, its codes are nearer to B's than to C's.
# - d: With a random start, another seed can exchange the places of the islands.
# - e: With a random start, the horizontal axis of the map is the direction of the largest variance.
# - f: Islands at one small perplexity prove that the data have clusters.
# - g: A class that is scattered over the map can still be separated by a linear classifier on the codes.
# - h: t-SNE has to be run again, or approximated, to place a new image; there is no formula for it as with PCA.

# %% nbgrader={"grade": false, "grade_id": "claims", "locked": false, "schema_version": 3, "solution": true, "task": false}
claims = ...  # a dictionary: {"a": True, "b": ..., "c": ..., "d": ..., "e": ..., "f": ..., "g": ..., "h": ...}
### BEGIN SOLUTION
claims = {"a": True, "b": False, "c": False, "d": True, "e": False, "f": False, "g": True, "h": True}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "claims_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check = Check(claims, points=4, name="claims")
letters = "abcdefgh"
kinds = {bool, np.bool_}
text, hint = "eight letters, each True or False", "A dictionary with the keys a to h; True and False, not 1 and 0."
check.that(text, lambda d: sorted(d) == list(letters) and {*map(type, d.values())} <= kinds, hint=hint)
check.that("a is right", lambda d: d["a"] in [True], hint="Look at the k-NN accuracy in the plane.")
check.that("b is right", lambda d: d["b"] in [False], hint="See the cloud that was ten times as wide.")
### BEGIN HIDDEN TESTS
for letter, truth in zip("cdefgh", (False, True, False, False, True, True), strict=True):
    check.that(f"{letter} is right", lambda d, letter=letter, truth=truth: d[letter] == truth)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 8. Early and late stages
#
# Features are said to be edges first, then motifs, then parts: generic early, specific late. What do the stages of
# Lite0 know of our classes? One pass through the network gives the codes of all stages (maps averaged, images at 96
# pixels). An image with more contrast has a longer code. Only the direction shall count, so all codes are scaled to
# length 1.
#
# *Predict for each image set the stage whose neighbours vote best.*

# %% tags=["item-20", "item-19"]
stages = [stage for stage in lite0.stages if stage != "head"]  # "penultimate" is the mean over the head's maps
by_stage = {name: embedding.watch(lite0, sets[name].images[sample(name)[0]], stages) for name in sets}

# %% tags=["item-19", "item-20"]
stage_accuracy = {
    name: {stage: accuracy_on_parts(F.normalize(values), sample(name)[2]) for stage, values in found.items()}
    for name, found in by_stage.items()
}

# %% tags=["item-20", "item-19"]
figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for (name, found), colour in zip(stage_accuracy.items(), ("blue", "orange", "green"), strict=False):
    values = 100 * np.array(list(found.values()))  # (stages, seeds)
    mean, spread = values.mean(1), values.std(1, ddof=1)
    axis.errorbar(range(len(mean)), mean, spread, color=plots.COLOURS[colour], marker="o", capsize=3, label=name)
axis.set_xticks(range(len(stages)), stages, rotation=45)
title = "Digits do best in the middle. After it, solar cells gain nothing" + ", scenes gain" * ("15-scene" in sets)
axis.set(title=title, xlabel="stage", ylabel="10-NN accuracy, %")
axis.legend()
plt.show()


# %% tags=["item-20"]
def gain(name):
    """What late stages have over the middle, for each half: mean of block7 and penultimate, minus block4 and block5."""
    found = {stage: np.array(values) for stage, values in stage_accuracy[name].items()}
    return (found["block7"] + found["penultimate"] - found["block4"] - found["block5"]) / 2


# %% tags=["item-20"]
best = {name: max(found, key=lambda stage: np.mean(found[stage])) for name, found in stage_accuracy.items()}
{name: (best[name], told(gain(name))) for name in sets}

# %% tags=["item-20"]
assert gain("solar-cells").mean() < 0, "solar cells: the late stages add nothing"
peak = np.array(stage_accuracy["digits"]["block5"]) - np.array(stage_accuracy["digits"]["penultimate"])
assert peak.min() > 0, "digits: the last stages lose what the middle knew"
if "15-scene" in sets:
    scenes = gain("15-scene")
    assert scenes.mean() > scenes.std(ddof=1), "scenes: the late stages know more than the middle"

# %% [markdown]
# Early stages are *generic*: an edge is an edge. Late ones are *specific* to photographs of things. That helps scenes,
# by some points in such small images. Solar cells gain nothing by it, and digits lose a part of what block 5 knew. For
# a very different task, try codes from the middle as well, and compare (lesson 8 does so).

# %% tags=["item-20", "item-19"]
chosen = ("block1", "block4", "penultimate")
maps = [embedding.tsne(F.normalize(by_stage[main][stage][::2])) for stage in chosen]
maps_of(main, maps, chosen, "An early, a middle and a late stage", every=2)

# %% [markdown]
# (Where the early map is a thin band, that is no error: block1's codes are 16 numbers, and most of their variance lies
# along one axis.)
#
# ## 9. The picture map
#
# Dots hide the images. Put the images themselves on the map: give each a cell of a 20×20 grid, so that the sum of all
# squared ways from map to cell is the smallest (an **assignment problem**, solved exactly by SciPy).

# %% tags=["item-19"]
chosen = torch.randperm(len(planes[main][0]), generator=torch.Generator().manual_seed(0))[:400]
cell = embedding.grid(planes[main][0][chosen], 20, 20)
assert sorted(cell.tolist()) == list(range(400)), "every picture has a cell of its own"
picture_map = embedding.mosaic(sets[main].images[sample(main)[0][chosen]], cell, 20, 20, size=40)
plots.images([picture_map], title=f"{main}: walk from one corner to the other", size=9)

# %% [markdown]
# *How much did the straightening cost?* The vote among the 8 nearest, on the map and on the grid, and for a grid with
# the same pictures in random order:

# %% tags=["item-19"]
on_grid = torch.stack([cell % 20, cell // 20], dim=1).float()
labels = sample(main)[2][chosen]
votes = [embedding.knn_accuracy(x, labels, k=8) for x in (planes[main][0][chosen], on_grid, on_grid.roll(200, 0))]
assert votes[1] > votes[0] - 0.2 and votes[1] > 3 * votes[2], "the grid keeps most of the order"
[round(vote, 2) for vote in votes]  # map, grid, shuffled grid

# %% [markdown]
# And the solar cells. *What changes from left to right, what from top to bottom?* (t-SNE gives its axes no meaning,
# though something may be left of the PCA start. Regions do have a meaning.)

# %% tags=["item-19"]
chosen = torch.randperm(len(planes["solar-cells"][0]), generator=torch.Generator().manual_seed(0))[:400]
cell = embedding.grid(planes["solar-cells"][0][chosen], 20, 20)
picture_map = embedding.mosaic(cells.images[sample("solar-cells")[0][chosen]], cell, 20, 20, size=40)
plots.images([picture_map], title="solar-cells: which regions do you see?", size=9)

# %% [markdown]
# ## 10. Double, strange, wrong
#
# A look at the data before training often pays more than a better network. Three questions that neighbours answer. We
# ask them **among the codes**: the map only guides the eye, and it loses half of the neighbours.
#
# ### Which images are there twice?
# First a test where the truth is known. We mirror 40 solar cells and look for their originals among all. *Predict: who
# finds more, pixels or codes?*

# %% tags=["item-19", "item-20"]
originals = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))[:40]
mirrored = codes.extract(lite0, cells.subset(originals), flip=True, progress=False)

# %% tags=["item-19", "item-20"]
small_pixels = pixels("solar-cells", torch.arange(len(cells)))
mirrored_pixels = small_pixels[originals].unflatten(1, (32, 32)).flip(2).flatten(1)

# %% tags=["item-19", "item-20"]
nearest = [
    torch.cdist(mirrored_pixels, small_pixels).argmin(1),
    torch.cdist(mirrored, vectors["solar-cells"]).argmin(1),
]
found = [int((near == originals).sum()) for near in nearest]
assert found[1] > 30 > found[0], "the codes know a mirror image again, the pixels often don't"
found  # by pixels, by codes: of 40

# %% [markdown]
# Now the real set: each image and its nearest neighbour among the codes. *Predict: how many of the 22 nearest pairs
# are the same picture, pixel by pixel? And how far below the median is the smallest distance?*

# %% tags=["item-19"]
near = embedding.neighbours(vectors[main], k=1)[:, 0]
distance = (vectors[main] - vectors[main][near]).norm(dim=1)
pairs = {tuple(sorted((i, int(j)))): float(distance[i]) for i, j in enumerate(near)}

# %% tags=["item-19"]
closest = sorted(pairs, key=pairs.get)[:22]
equal = [torch.equal(sets[main].images[i], sets[main].images[j]) for i, j in closest]
f"smallest {distance.min():.2f}, median {distance.median():.2f}; of the nearest 22 pairs {sum(equal)} are equal"

# %% tags=["item-19"]
two_labels = [pair for pair in closest if len({int(sets[main].labels[i]) for i in pair}) == 2]
if main == "15-scene" and len(sets[main]) == 4485:  # all of them
    assert sum(equal) == 18 and len(two_labels) == 1, "18 pictures are there twice, one of them with two labels"
    assert distance.median() > 5 * max(pairs[pair] for pair in closest), "and all pairs are far nearer than usual"
[(sets[main].files[i], sets[main].files[j]) for i, j in two_labels]

# %% tags=["item-19"]
alike = [pair for pair, same in zip(closest, equal, strict=True) if not same][:3] + two_labels[:1]
plots.images(
    sets[main].images[[i for pair in alike for i in pair]],
    [f"{sets[main].classes[sets[main].labels[i]]}\n{sets[main].files[i].split('/')[-1]}" for p in alike for i in p],
    columns=4,
    size=1.9,
    title="The nearest pairs that are not equal, and the last one has two labels"
    if two_labels
    else "The nearest pairs",
)

# %% [markdown]
# In 15-Scene one building is "insidecity" *and* "tallbuilding": one of the two is always counted wrong. The labels of
# the other 17 agree, but the pairs still do harm: *how many have one picture in the training part and the other in the
# test?* A comparison of bytes (the line that was printed on loading) finds the equal ones only. The codes also find
# near copies that no comparison of bytes can find. (If digits stand in for the scenes: none are equal. Solar cells
# have no doubles, but many cells that seem to come from one module; lesson 5 calls them sisters.)

# %% tags=["item-19"]
train, test = (set(part.tolist()) for part in datasets.split(sets[main], seed=0))
torn = [pair for pair in closest if (pair[0] in train) != (pair[1] in train)]
len(torn), len(closest)

# %% [markdown]
# ### Which images are strange?
# A strange image has no near neighbours at all. Again first a test with a known truth: the course's photographs (a cat, a
# rocket, the moon ...) are put among the solar cells. *Take as many of the strangest images as there are photographs:
# how many of them will be photographs?*

# %% tags=["item-19"]
photographs = datasets.load("photographs")
mixed = torch.cat([vectors["solar-cells"], codes.extract(lite0, photographs, progress=False)])
alone = (mixed[:, None] - mixed[embedding.neighbours(mixed, 5)]).norm(dim=2).mean(1)  # mean distance to the 5 nearest

# %% tags=["item-19"]
strangest = alone.argsort(descending=True)[: len(photographs)]
intruders = int((strangest >= len(cells)).sum())
assert intruders > 0.8 * len(photographs), "what doesn't belong here is far from all"
f"{intruders} of the {len(photographs)} strangest of {len(mixed)} are photographs"

# %% tags=["item-19"]
odd = [i for i in alone.argsort(descending=True).tolist() if i < len(cells)][:7]
usual = [i for i in alone.argsort().tolist() if i < len(cells)][:7]
plots.images(
    cells.images[odd + usual],
    ["strange"] * 7 + ["usual"] * 7,
    columns=7,
    size=1.4,
    title="The solar cells that have no near neighbours, and those that have many",
)

# %% [markdown]
# ### Which labels are wrong?
# An image is suspicious when most of its neighbours have another label. The test: we give 5 % of the images a wrong
# label, and look at the 10 % of all that are most suspicious. *What share of the wrong labels is among them? By chance
# it would be 10 %.*


# %% tags=["item-19"]
def disagreement(values, labels, k=10):
    """The share of the k nearest others that have another label, (N,)."""
    return (labels[embedding.neighbours(values, k)] != labels[:, None]).float().mean(1)


# %% tags=["item-19"]
caught = {name: [] for name in sets}
for name in sets:
    for seed in SEEDS:
        _, values, labels = sample(name, seed)
        generator = torch.Generator().manual_seed(seed)
        changed = torch.randperm(len(labels), generator=generator)[: len(labels) // 20]
        wrong = labels.clone()
        shift = torch.randint(1, len(sets[name].classes), (len(changed),), generator=generator)
        wrong[changed] = (labels[changed] + shift) % len(sets[name].classes)
        most = disagreement(values, wrong).argsort(descending=True, stable=True)[: len(labels) // 10]
        caught[name].append(float(torch.isin(changed, most).float().mean()))
{name: told(shares) for name, shares in caught.items()}

# %% tags=["item-19"]
for name, least in (("15-scene", 0.85), ("digits", 0.7), ("solar-cells", 0.2)):
    assert name not in sets or min(caught[name]) > least, f"{name}: wrong labels are found: {caught[name]}"
assert max(caught["solar-cells"]) < min(caught[main]), "but only as well as the codes separate the classes"

# %% [markdown]
# Where classes lie apart, most wrong labels are found. Where they overlap, as with solar cells, much that looks
# suspicious is only a hard case. And which labels of the set *as it is* are suspicious? Judge yourself:

# %% tags=["item-19"]
doubt = disagreement(vectors[main], sets[main].labels)
votes = F.one_hot(sets[main].labels[embedding.neighbours(vectors[main])]).sum(1)
suspicious = (doubt + votes.amax(1) / 100).argsort(descending=True, stable=True)[:10]
said = [
    f"label: {sets[main].classes[sets[main].labels[i]]}\nvote: {sets[main].classes[votes[i].argmax()]}"
    for i in suspicious
]
plots.images(
    sets[main].images[suspicious], said, columns=5, size=1.7, title="Wrong labels, hard pictures, or poor codes?"
)

# %% [markdown]
# A suspect is not a culprit. Some pictures lie between two classes; others are clear, but the *codes* are poor for
# their kind (for digits they are worse than the pixels). Show suspects to a person who knows the classes; if a program
# deletes them, your test set will hold only the easy images.
#
# ### Exercise 7 · suspects (3 points)
# Write `suspects(values, labels, k, n)`: the indices (a list or tensor, any order) of the `n` images whose k nearest
# *others* have the largest share of other labels. `values` is (N, D), `labels` (N,).
# Example: values 0, 1, 2, 10, 11, 12 on a line with labels 0, 1, 0, 1, 1, 1; k = 2, n = 1: image 1 (between two of
# class 0) has only neighbours of the other class, so `[1]`. Start from the distances, without `disagreement`.


# %% tags=["setup"]
def in_order(answer):
    """The same answer with its indices in rising order."""

    def suspects(values, labels, k, n):
        found = answer(values, labels, k, n)
        return found if found is None or found is ... else sorted(float(i) for i in found)

    return suspects


# %% nbgrader={"grade": false, "grade_id": "suspects", "locked": false, "schema_version": 3, "solution": true, "task": false}
def suspects(values, labels, k, n):
    """Indices of the n images with the largest share of other labels among their k nearest others."""
    ### BEGIN SOLUTION
    distances = torch.cdist(values, values).fill_diagonal_(torch.inf)
    nearest = distances.topk(k, largest=False).indices
    share = (labels[nearest] != labels[:, None]).float().mean(dim=1)
    return share.argsort(descending=True)[:n].tolist()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "suspects_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
line = torch.tensor([[0.0], [1], [2], [10], [11], [12]])
names = torch.tensor([0, 1, 0, 1, 1, 1])
check = Check(in_order(suspects), points=3)
hint = "The share of other labels, among the k nearest others; indices, not shares."
check.equal(line, names, 2, 1, expected=[1], show="the example", hint=hint)
check.equal(line, names, 2, 3, expected=[0, 1, 2], show="the example, n = 3", hint="The n of the largest share.")
mixed = torch.tensor([3, 0, 5, 1, 4, 2])  # the same points in another order, and a second column
twice = torch.stack([0.1 * torch.tensor([5.0, 1, 3, 0, 4, 2]), line[:, 0]], 1)
check.equal(twice[mixed], names[mixed], 2, 1, expected=[3], show="the example in another order, in the plane")
torch.manual_seed(4)
blobs, planted = torch.randn(40, 5) + 9 * torch.arange(2).repeat_interleave(20)[:, None], torch.arange(40) // 20
planted[[3, 30]] = 1 - planted[[3, 30]]
check.equal(blobs, planted, 5, 2, expected=[3, 30], show="two clouds, two wrong labels")
### BEGIN HIDDEN TESTS
two = torch.tensor([0.0, 1, 2, 3, 100, 101, 102, 103])[:, None], torch.tensor([0, 0, 9, 9, 2, 2, 2, 3])
near = torch.tensor([[0.0], [1], [9], [10.5], [20], [20.4]])
check.equal(*two, 3, 1, expected=[7])
check.equal(near, torch.tensor([0, 0, 1, 2, 3, 3]), 1, 2, expected=[2, 3])
corner = torch.tensor([[0.0, 0], [1, 0], [0, 1.1], [9, 9], [10, 9], [9, 10.1], [9.1, 9.2], [10, 10]])
check.equal(corner, torch.tensor([0, 0, 0, 1, 2, 1, 1, 1]), 3, 1, expected=[4])
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ### Exercise 8 · a figure in a report (3 points, marked by hand)
# A report shows one t-SNE map of FC7 codes of X-ray images and says: "The network has discovered three types of the
# disease. Type A is the most varied, for its island is the largest. Type C is a wholly different illness, for it lies
# far from A and B." What would you ask, what would you do, and with which numbers? Four to six sentences. Use what
# you measured in sections 5 to 7.

# %% [markdown] nbgrader={"grade": true, "grade_id": "explain_map", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# The size of an island means nothing: a cloud ten times as wide came out as wide as the other. To say that A is more
# varied one must compare distances among the codes. The distance between islands means nothing either: 9 to 1 became
# about 1 to 1, so "wholly different" has to be shown by distances of the codes, too. Islands alone are no proof: pure
# noise has crumbs at a small perplexity. I would ask for perplexity, start (PCA or random) and number of images, run it
# for several perplexities and seeds on different samples, and give the k-NN preservation. I would ask what else differs
# between the islands: hospital, machine, age. The solar cells' map divided kinds of wafer first, and defects only in part.
# And whether there are types should be tested with a classifier or with doctors' labels on held-out
# images, in the space of the codes.
#
#
# Marking: 1 point for size and distance, with a measured number. 1 point for perplexity, seeds, start or preservation
# as a control. 1 point for a test outside the map (distances of codes, other causes of the islands, held-out labels).
# ### END SOLUTION

# %% [markdown]
# ## What to remember
# - Codes are near where pixels are far: same kind of thing, other light, place or side. But specific to photographs.
# - t-SNE keeps neighbourhoods: about half of the single neighbours, nearly all of the class votes. Give the numbers.
# - Sizes of islands, distances between them, axes: nothing to rely on. Start from PCA, try several perplexities.
# - A map shows what varies most. That need not be your question: solar cells lie by wafer first, by defect only in part.
# - Neighbours among codes find double, strange and wrongly labelled images. A person decides.
#
# **Papers.** Van der Maaten, Hinton, *Visualizing data using t-SNE*, 2008. Wattenberg, Viégas, Johnson, *How to use
# t-SNE effectively*, Distill 2016. Kobak, Linderman, *Initialization is critical for preserving global data structure in
# both t-SNE and UMAP*, 2021. Razavian, Azizpour, Sullivan, Carlsson, *CNN features off-the-shelf*, 2014. Yosinski, Clune,
# Bengio, Lipson, *How transferable are features in deep neural networks?*, 2014. Donahue et al., *DeCAF*, 2014 (the map
# of late against early stages). Lazebnik, Schmid, Ponce, *Beyond bags of features*, 2006 (15-Scene). Deitsch et al.,
# *Automatic classification of defective photovoltaic module cells*, 2019 (solar cells). Clark, Evans, *Distance to
# nearest neighbor as a measure of spatial relationships in populations*, 1954.
