# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 8 · How transferable are features?
#
# After this lesson you can
# - name what differs between two tasks, and which kind of transfer that allows;
# - measure which layers of a network serve another task, frozen or fine-tuned;
# - read a decision table with error bars, and draw a rule from it;
# - tell when transfer *harms*, and put a trained backbone into a detector.
#
# **You need** the idea of fine-tuning (lesson 6) and a little PyTorch. 15-Scene is used if it is here; all else comes
# with packages. **Time:** about two minutes of computing on two CPU cores the first time, half a minute after
# that; reading and exercises take two to three hours.
#
# The text asks you to *predict*. Write your guess down, run the cell, compare. Nothing later depends on your answers.

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
import copy
import dataclasses
from functools import partial

import matplotlib.pyplot as plt
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou

from helpers import backbones, codes, datasets, detector, layers, linear, plots, transfer
from helpers.checks import Check
from helpers.layers import few

QUICK = machine.budget() == "quick"
SEEDS = range(3 if QUICK else 5)

# %% [markdown]
# Each experiment is repeated with several **seeds**: other random weights, and other training images where only a few
# are drawn. To compare two ways, we look at their *difference* seed by seed, for both had the same images. Behind ±
# stands the **spread**, the standard deviation over the seeds; spread / √(number of seeds) is the standard error of a
# mean.


# %%
def said(values):
    """Accuracies, one per seed -> "mean ± spread" in per cent."""
    return f"{100 * values.mean():.1f} ± {100 * values.std():.1f} %"


def points(differences):
    """Differences of accuracies, one per seed -> "mean ± spread" in points."""
    return f"{100 * differences.mean():+.1f} ± {100 * differences.std():.1f} points"


def sure(differences):
    """Is the mean of d, one number per seed, above 0 by over two standard errors? sure(d - 0.05): above 5 points?"""
    return differences.mean() > 2 * differences.std() / len(differences) ** 0.5


# %% [markdown]
# ## 1. Words: domain, task, transfer
#
# A **domain** is $D = \{X, p(X)\}$: what kind of input, and how often each input comes. A **task** is
# $T = \{Y, f\}$: which labels, and the function from input to label that is to be learned. **Transfer learning** uses
# what was learned on a source $(D_S, T_S)$ to learn $f$ on a target $(D_T, T_T)$ better, where $D_S \neq D_T$ or
# $T_S \neq T_T$. Learning *from scratch* uses the target alone.
#
# Take digits, scenes (if they are here) and solar cells, all as gray images of 64×64 pixels: X is the same. *Are they
# one domain? Predict: is p(X) the same, too?*

# %%
sets = {}
for name in ("digits", "15-scene", "solar-cells"):
    with contextlib.suppress(datasets.NotHere):  # a line says so, and the lesson goes on without
        sets[name] = datasets.load(name, size=64)
{name: (tuple(image_set.images.shape), len(image_set.classes)) for name, image_set in sets.items()}

# %% tags=["item-32"]
shown = [(image_set, i) for image_set in sets.values() for i in (7, len(image_set) // 2)]
titles = [f"{image_set.name}:\n{image_set.classes[image_set.labels[i]]}" for image_set, i in shown]
plots.images([image_set.images[i] for image_set, i in shown], titles, title="Gray images, several domains", size=1.7)


# %% tags=["item-32"]
def gray_levels(image_set):
    """The share of the pixels, in per cent, in each of 16 steps from black to white: (16,)."""
    grays = image_set.images[::10].float()
    return 100 * torch.histc(grays, 16, 0, 256) / grays.numel()


# %% tags=["item-32"]
levels = {name: gray_levels(image_set) for name, image_set in sets.items()}
title, ylabel = "p(X) differs already in the gray levels", "share of the pixels, %"
plots.curves(range(8, 256, 16), levels, title=title, xlabel="gray level", ylabel=ylabel)

# %% tags=["item-32"]
differ = (levels["digits"] - levels["solar-cells"]).abs().sum().item() / 2
assert differ > 30, "more than 30 % of the pixels would have to change their gray level"
f"{differ:.0f} % of the pixels of one set must change their gray level to give the other's curve (digits, solar cells)"

# %% [markdown]
# One domain can have many **tasks**. *Which digit? Even or odd? Has it a loop?* Here Y and f change, and X and p(X)
# do not:

# %% tags=["item-32"]
digits = datasets.load("digits")  # in their own size, 28×28
loop = torch.isin(digits.labels, torch.tensor([0, 6, 8, 9])).long()
tasks = {"which digit": digits.labels, "odd": digits.labels % 2, "has a loop": loop}
{name: labels[::625].tolist() for name, labels in tasks.items()}

# %% [markdown]
# Three questions come with every transfer. **What** is carried over: which layers (section 2)? **When** does it pay,
# and when does it harm (sections 3 to 5)? **How**: frozen, fine-tuned, or only with a new classifier (sections 2 and
# 6)?
#
# Pan and Yang (2010) sort transfer by what is labelled:
#
# | kind | source labels | target labels | what differs |
# |---|---|---|---|
# | **inductive** | yes or no | yes (a few) | the task |
# | **transductive** | yes | no | the domain only; the task is the same |
# | **unsupervised** | no | no | the task |
#
# Sections 2 to 7 are all inductive. Here is one small example of each of the others.
#
# **Transductive.** A linear classifier has learned labelled digits. Now come faded photocopies of digits, without
# labels: same task, other p(X). *Predict its accuracy on the copies. What could be repaired without a single label?*

# %% tags=["item-32"]
train, test = datasets.split(digits, seed=0)
pixels = digits.images.flatten(1).float()
copies = 0.3 * pixels[test] + 120  # little contrast, gray paper
plots.images(
    [digits.images[test[40]], copies[40].reshape(28, 28)], ["digit", "its faded copy"], limits=(0, 255), size=1.8
)


# %% tags=["item-32"]
def standard(x, like):
    """Pixels with the mean and spread of the set ``like`` taken out."""
    return (x - like.mean()) / like.std()


reader = linear.fit(standard(pixels[train], like=pixels[train]), digits.labels[train], kind="logistic", C=1.0)

# %% tags=["item-32"]
read_as = {
    "digits": standard(pixels[test], like=pixels[train]),
    "copies": standard(copies, like=pixels[train]),
    "copies, with their own mean and spread": standard(copies, like=copies),
}
{name: round(reader.accuracy(x, digits.labels[test]), 3) for name, x in read_as.items()}

# %% tags=["item-32"]
own, faded, repaired = (reader.accuracy(x, digits.labels[test]) for x in read_as.values())
assert faded < 0.7 * own and repaired > 0.95 * own, "unlabelled images of the target are enough for the repair"

# %% [markdown]
# Two numbers from *unlabelled* target images, their mean and spread, repair everything *here*, because two numbers
# (the factor 0.3 and the 120 added) made the copies.
# (Networks with BatchNorm can do the same with each channel's mean and variance.)
#
# **Unsupervised.** No labels anywhere. We learn 20 directions of large variance (PCA) from unlabelled images of the
# digits 0 to 4. Then we look for five groups among images of 5 to 9. *Do directions from other digits help more than
# 20 random ones?* The adjusted Rand index compares the groups with the true classes, which are used for this only: 0 is
# chance, 1 is perfect.

# %% tags=["item-32"]
low, high = pixels[digits.labels < 5], pixels[digits.labels >= 5]
learned = torch.linalg.svd(low[::2] - low.mean(0), full_matrices=False)[2][:20]


def group_quality(directions, seed):
    """Adjusted Rand index of five groups found by k-means along the directions (20, 784)."""
    groups = KMeans(5, n_init=3, random_state=seed).fit_predict(((high - low.mean(0)) @ directions.T).numpy())
    return adjusted_rand_score(digits.labels[digits.labels >= 5], groups)


# %% tags=["item-32"]
torch.manual_seed(0)
by_pca = torch.tensor([group_quality(learned, seed) for seed in SEEDS])
by_chance = torch.tensor([group_quality(torch.randn(20, 784), seed) for seed in SEEDS])
by_pixels = torch.tensor([group_quality(torch.eye(784), seed) for seed in SEEDS])  # nothing transferred
assert by_pixels.mean() > by_pca.mean() > by_chance.max(), "better than random ones, not than all pixels"
found = {"PCA of 0 to 4": by_pca, "random": by_chance, "all pixels": by_pixels}
{name: f"{values.mean():.2f} ± {values.std():.2f}" for name, values in found.items()}

# %% [markdown]
# Directions from other digits beat random ones: something was transferred. But the target's own 784 pixels, without any
# transfer, do a little better still. So this shows what unsupervised transfer *is*, not that it pays here.
# (It does save room: 20 numbers an image.)
#
# ### Exercise 1 · which kind? (2 points)
# Write `setting(source_labels, target_labels, same_task)`. The arguments are True or False; the result is
# `"inductive"`, `"transductive"`, `"unsupervised"`, or `"no transfer"` when no row of the table fits.
# Target labels for the *same* task as the source's count as inductive here. Example: `setting(True, False, True)` is
# `"transductive"`.


# %% nbgrader={"grade": false, "grade_id": "setting", "locked": false, "schema_version": 3, "solution": true, "task": false}
def setting(source_labels, target_labels, same_task):
    """Which kind of transfer: are there labels in the source, in the target, and is the task the same?

    setting(True, False, True) is "transductive".
    """
    ### BEGIN SOLUTION
    if target_labels:
        return "inductive"
    if source_labels:
        return "transductive" if same_task else "no transfer"
    return "no transfer" if same_task else "unsupervised"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "setting_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(setting, points=2)
check.equal(True, False, True, expected="transductive", slips={"inductive": "the target has no labels."})
check.equal(True, True, False, expected="inductive", slips={"transductive": "the target has labels."})
check.equal(False, False, False, expected="unsupervised")
check.equal(True, False, False, expected="no transfer", slips={"transductive": "that kind needs the same task."})
check.equal(False, True, False, expected="inductive", hint="The target's labels decide, the source's may be missing.")
check.equal(True, True, True, expected="inductive", hint="Target labels: inductive, even for the same task.")
### BEGIN HIDDEN TESTS
check.equal(False, True, True, expected="inductive")
check.equal(False, False, True, expected="no transfer")
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 2. The first n layers
#
# First layers find edges, which every task needs. Last layers know their own classes. *Where does "general" end?*
# Yosinski and others (2014) measured it. Take a network trained on A. Keep its first n layers, put random layers
# behind them, and learn B. The kept layers are either **frozen** (they call the network *AnB*) or **fine-tuned**
# (*AnB⁺*). Two controls: keep n layers of a network trained on **B itself** (*BnB*), or n **random** layers.
#
# They cut ImageNet's classes in two halves, and trained for days. We cut the digits in two halves, 0 to 4 (A) and 5 to
# 9 (B), and train a network of five convolutions in seconds. As a dissimilar source we take the solar cells: is a cell
# broken or not?

# %% tags=["item-38"]
network, x, sizes = layers.SmallNet(classes=5).eval(), digits.images[:1], []
for layer in network.layers:
    x = layer(x.float())
    sizes.append(tuple(x.shape[1:]))
sizes, sum(weights.numel() for weights in network.parameters())

# %% [markdown]
# Apart from size, one difference to the paper matters. Their target had as many images as their source. Ours has
# **20 images a class**, as in most practical cases. The source has 200 a class (solar cells: 500 a class).

# %% tags=["item-38"]
lower, upper = (layers.only(digits, classes) for classes in (range(5), range(5, 10)))
pool, test = (upper.subset(rows) for rows in datasets.hold_out(upper.labels, 0.3, seed=0))
small = F.interpolate(sets["solar-cells"].images.float(), (28, 28), mode="area").round().byte()
small_cells = dataclasses.replace(sets["solar-cells"], images=small, soft=None, strata=None)
len(lower), len(small_cells), len(pool), len(test)

# %% [markdown]
# `learned_after(source, n=3)` does this for each seed: train on the source, keep the first three layers, train on 20
# images a class of the digits 5 to 9 (the seed draws them), and measure on the test images. It returns one accuracy
# for each seed. Without a source it starts from scratch.

# %% tags=["item-38"]
learned_after = partial(layers.accuracies, pool, test, SEEDS)
scratch = learned_after()
said(scratch)

# %% [markdown]
# *Predict, before you run the next cells: how will the curve over n go for each source, frozen? Which will fall, and
# where? Will fine-tuning repair it?*

# %% tags=["item-38"]
sources = {
    "digits 0-4 (similar)": partial(learned_after, few(lower, 200), source_epochs=5),
    "solar cells (dissimilar)": partial(learned_after, few(small_cells, 500), source_epochs=5),
    "the target itself": partial(learned_after, lambda seed: few(pool, 20, seed), source_epochs=12),
    "random layers": learned_after,
}

# %% tags=["item-38"]
ALL, SOME = range(6), (0, 3, 5)
EPOCHS = {5: 60}  # then only the head learns; in the usual 12 epochs it would not get far
frozen = {
    name: torch.stack([learn(n=n, frozen=True, epochs=EPOCHS.get(n, 12)) for n in ALL], 1)
    for name, learn in sources.items()
}

# %% tags=["item-38"]
tuned = {name: torch.stack([sources[name](n=n) for n in SOME], 1) for name in list(sources)[:2]}
{name: [round(value, 2) for value in found.mean(0).tolist()] for name, found in frozen.items()}

# %% tags=["item-38"]
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")  # each with its own scale
titles = ("Frozen: four similar layers serve, the fifth less", "Fine-tuned: what was lost comes back")
for axis, places, found, title in zip(axes, (ALL, SOME), (frozen, tuned), titles, strict=True):
    per_cent = {name: 100 * values for name, values in found.items()}
    plots.curves(places, per_cent, title=title, xlabel="n, layers that are kept (0: from scratch)", axis=axis)
    axis.set_ylabel("accuracy on the digits 5 to 9, %")
figure

# %% [markdown]
# (Bars: the spread over the seeds. The right figure's scale is finer.) Read it from left to right, frozen first.

# %% tags=["item-38"]
similar, other, itself, chance = (found.T for found in frozen.values())
assert similar[2:5].mean() > scratch.mean(), (
    "2 to 4 frozen layers of a similar task beat learning from scratch, on average"
)
assert sure(similar[4] - similar[5] - 0.05), "the fifth layer is specific to the digits 0 to 4"
assert sure(similar[4] - other[4]), "dissimilar: the fourth layer serves worse already"
assert sure(similar[5] - other[5] - 0.1), "and the fifth far worse"
assert (other[1:4] - scratch).mean(1).min() > -0.06, "yet three layers of the solar cells do little harm"
assert (chance[1:4] - scratch).mean(1).min() > -0.08, "nor do three of random filters"
assert (other[1:5] - chance[1:5]).mean() < 0.04, "hardly more than the solar cells' layers, up to the fourth"
assert max(other[5].mean(), chance[5].mean()) < 0.8 * scratch.mean(), "five layers of either spoil it"
{f"0 to 4, {n} layers frozen, minus scratch": points(similar[n] - scratch) for n in (2, 3, 4)}

# %% [markdown]
# - **Similar source:** with two to four kept layers the accuracy lies above scratch on average, by the few points that
#   are printed above. (Is that more than two standard errors? One is spread / √seeds.) The fifth layer is good at
#   telling 0 to 4 apart, and less good for 5 to 9.
# - **Dissimilar source:** the first three layers do little harm. All five spoil it, as five random ones do.
# - **Random filters** do hardly more harm than those of the solar cells, up to the fourth layer. So the fall of the
#   solar cells' curve doesn't show that something *specific* was learned, only that little useful was. The digits 0 to
#   4 do show something specific: four layers that help, and a fifth that falls below scratch. Compare with random
#   layers before you praise (or blame) a pretrained one! (In the paper's deeper network random layers failed already
#   from the third on.)
#
# (With all five layers frozen only the last, linear layer learns. It has 60 epochs for that. *What if it had only 12,
# as all the others?*)

# %% tags=["item-38"]
hurried = torch.stack([learn(n=5, frozen=True) for learn in sources.values()])
falls = scratch - torch.stack([similar[5], other[5], chance[5]])
assert (scratch - hurried)[[0, 1, 3]].mean() > 1.3 * falls.mean(), "the head had not finished learning"
short = dict(zip(sources, map(said, hurried), strict=True))
{name: f"12 epochs {short[name]}, 60 epochs {said(frozen[name][:, 5])}" for name in sources}

# %% [markdown]
# The falls would look one and a half times to twice as deep: a head that has not finished learning looks like layers
# that don't transfer. *Give each way of learning the schedule that it needs before you compare them.*
#
# Now with all five layers fine-tuned. *Does the accuracy recover? Does it beat learning from scratch?*

# %% tags=["item-38"]
repaired, other_repaired = (found[:, -1] for found in tuned.values())
assert sure(repaired - similar[5] - 0.05), "fine-tuning repairs what the fifth layer had lost"
assert sure(repaired - scratch), "and it beats learning from scratch"
assert (other_repaired - scratch).mean().abs() < 0.08, "dissimilar: no great gain or loss"
f"more than scratch: similar {points(repaired - scratch)}, dissimilar {points(other_repaired - scratch)}"

# %% [markdown]
# In the paper the gain over learning B alone was 1.6 points, with plenty of target images. Ours, with 20 a class, is
# above 0; whether it is larger than the paper's, the quick budget's three seeds can't tell. Fine-tuned on the solar
# cells, too, the network does no worse than from scratch; whether it does better, they can't tell either.
#
# **Co-adaptation.** In the paper *BnB* fell in the middle layers. The authors' explanation: neighbouring layers had
# learned to work together, and new upper layers did not find that team-work again. *Has "the target itself" such a
# dip?*

# %% tags=["item-38"]
dips = itself[2:5] - scratch  # (layers 2 to 4, seeds)
noise = dips.std(1) / len(SEEDS) ** 0.5
assert (dips.mean(1) > -2 * noise - 0.01).all(), "no layer with a clear dip"
[f"{dip:+.1%} ± {error:.1%}" for dip, error in zip(dips.mean(1).tolist(), noise.tolist(), strict=True)]

# %% [markdown]
# Not clearly: the lowest of the three values may lie a point or two below scratch, within about two of its standard
# errors. With three seeds, and three values looked at, chance makes such a dip often. Perhaps five layers with
# BatchNorm are easier to train again than eight without. An honest small experiment shows what it shows: two of the
# paper's three findings
# (late layers are specific; fine-tuning what was carried over beats learning from scratch), and not the dip.
#
# ### Exercise 2 · carry layers over (3 points)
# `keep_first(source, target, n)` gets two `nn.Sequential` of the same layers. Make the first n layers of `target`
# *copies* of the source's, and freeze them: no gradient, and evaluation mode (so that BatchNorm statistics rest).
# Return `target`. The source and the other layers of the target don't change. Example: after
# `keep_first(a, b, 1)`, `b[0].weight` has the values of `a[0].weight` and `requires_grad` False; `b[1]` is as before.
# (Beware: a later `target.train()` wakes the statistics again. `SmallNet.train` in `helpers/layers.py` prevents it.)


# %% nbgrader={"grade": false, "grade_id": "keep_first", "locked": false, "schema_version": 3, "solution": true, "task": false}
def keep_first(source, target, n):
    """The target with copies of the source's first n layers, frozen and in evaluation mode. Both: nn.Sequential."""
    ### BEGIN SOLUTION
    for i in range(n):
        target[i].load_state_dict(source[i].state_dict())
        target[i].requires_grad_(False)
        target[i].eval()
    return target
    ### END SOLUTION


# %% tags=["setup"]
def pair():
    """Two small networks of the same layers; the first has seen a batch, so its BatchNorm statistics have moved."""
    torch.manual_seed(5)
    a, b = (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, bias=False), nn.BatchNorm2d(2))
        for _ in "ab"
    )
    for norm in (a[1], a[3]):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    a(3 * torch.randn(4, 1, 9, 9) + 1)
    return a, b


def same(a, b):
    """For each layer: are all weights and statistics of the two networks equal? (The count of batches is neither.)"""
    return [
        all(torch.equal(v, y.state_dict()[k]) for k, v in x.state_dict().items() if k != "num_batches_tracked")
        for x, y in zip(a, b, strict=True)
    ]


# %% tags=["setup"]
def learns(network):
    """For each layer: (which of its parameters learn: all, none or some; is it in training mode)."""
    return [({value.requires_grad for value in layer.parameters()}, layer.training) for layer in network]


RESTS, LEARNS = ({False}, False), ({True}, True)


def source_is_safe(f):
    """After f(source, target, 4): is the source as before, its weights, statistics and modes?"""
    source, target = pair()
    f(source, target, 4)
    return all(same(pair()[0], source)) and learns(source) == [LEARNS] * 4


def share_nothing(f):
    """After f(source, target, 4): does no tensor of the target lie in the source's memory?"""
    source, target = pair()
    f(source, target, 4)
    first, second = ({value.data_ptr() for value in one.state_dict().values()} for one in (source, target))
    return not first & second


# %% nbgrader={"grade": true, "grade_id": "keep_first_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = Check(keep_first, points=3)
check.that("n = 2 returns a network", lambda f: None if (r := f(*pair(), 2)) is None else isinstance(r, nn.Sequential))
hint = "The first n, no more and no less. (BatchNorm's statistics are in the state_dict, not in the parameters.)"
check.that(
    "n = 2: layers 0 and 1 are copied", lambda f: same(pair()[0], f(*pair(), 2)) == [True] * 2 + [False] * 2, hint=hint
)
gradients = "n = 2: the parameters of layers 0 and 1, and no others, have requires_grad False"
wanted = [{False}] * 2 + [{True}] * 2
check.that(gradients, lambda f: [grad for grad, _ in learns(f(*pair(), 2))] == wanted, weight=2)
modes = "n = 2: layers 0 and 1, and no others, are in evaluation mode"
check.that(modes, lambda f: [mode for _, mode in learns(f(*pair(), 2))] == [False] * 2 + [True] * 2)
check.that("the other layers are as before", lambda f: same(pair()[1], f(*pair(), 2))[2:] == [True] * 2)
check.that("target itself is changed, and returned", lambda f: (lambda a, b: f(a, b, 2) is b)(*pair()))
check.that("the source's weights, statistics and modes are as before", source_is_safe)
check.that("source and target share no weight and no statistic", share_nothing, hint="Copy them.")
### BEGIN HIDDEN TESTS
text = "n = 4: all layers are copied and rest"
check.that(text, lambda f: same(pair()[0], r := f(*pair(), 4)) == [True] * 4 and learns(r) == [RESTS] * 4, weight=2)
check.that("n = 0 changes nothing", lambda f: all(same(pair()[1], r := f(*pair(), 0))) and learns(r) == [LEARNS] * 4)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 3. What makes a good source?
#
# ImageNet has 1.2 million images in 1,000 classes. *Which of the two matters for transfer?* Huh and others (2016) took
# subsets: half the images, or fewer classes, cost little. We ask the same of our small source: the digits 0 to 4, in
# subsets. Four layers are kept and fine-tuned with 20 images a class of 5 to 9.
#
# *Predict: what happens with 5 source images a class?* (Small sources are repeated in more epochs.)


# %%
def differences(found, title):
    """Bars of mean ± spread in points, for name -> accuracies minus those from scratch, one per seed."""
    figure, axis = plt.subplots(figsize=(7.5, 1.1 + 0.4 * len(found)), layout="constrained")
    for i, values in enumerate(found.values()):
        colour = plots.COLOURS["blue" if values.mean() > 0 else "vermilion"]
        axis.barh(i, 100 * values.mean().item(), xerr=100 * values.std().item(), color=colour, capsize=4)
    axis.axvline(0, color="black", linewidth=1)
    axis.set_yticks(range(len(found)), list(found))
    axis.invert_yaxis()
    axis.set_xlabel("accuracy - accuracy from scratch, points")
    figure.suptitle(title)
    plt.close(figure)
    return figure


# %% tags=["item-41"]
SIZES = {5: 20, 25: 16, 100: 8, 250: 5}  # source images a class: epochs
by_size = {n: learned_after(partial(few, lower, n), n=4, source_epochs=epochs) for n, epochs in SIZES.items()}
{n: said(found) for n, found in by_size.items()}

# %% [markdown]
# And now the classes: 250 images of each of two digits (the seed chooses which), in place of 100 of each of the five.


# %% tags=["item-41"]
def two_classes(seed):
    """250 images of each of two of the digits 0 to 4."""
    chosen = torch.randperm(5, generator=torch.Generator().manual_seed(seed))[:2].tolist()
    return few(layers.only(lower, chosen), 250, seed)


two = learned_after(two_classes, n=4, source_epochs=8)

# %% tags=["item-41"]
found = {f"{n} images of each of 5 classes": values - scratch for n, values in by_size.items()}
found["250 images of each of 2 classes"] = two - scratch
differences(found, "The largest source helps by some points, and one of only two classes helps, too")

# %% tags=["item-41"]
gained = {n: (values - scratch).mean() for n, values in by_size.items()}
assert gained[250] > 0.01, "a source helps"
assert -0.01 < gained[250] - gained[5] < 0.06, "50 times as many images: a few points at most"
assert (two - scratch).mean() > 0.01, "as many images of fewer classes help, too"
pairs = {"250 of each - 5 of each": by_size[250] - by_size[5], "250 of two - 100 of five": two - by_size[100]}
{name: points(values) for name, values in (found | pairs).items()}

# %% [markdown]
# 50 times as many source images (250 a class, not 5) add a few points at most. Two classes help, too. Do they help as
# much as the same number of images of five classes? The last line compares them, but so few seeds can't tell. The
# paper, with much more of everything, shows it clearly: the target's accuracy grows slowly with the source's size, and
# the number of classes matters less than one thinks.
#
# ## 4. From scratch, but longer
#
# He and others (2019) trained detectors from random weights. These became as good as pretrained ones, **if** they were
# trained longer, even with a tenth of COCO's images (ten thousand). With much fewer, scratch stayed far behind.
# *What do you expect for 5 and for 100 images a class, with a short schedule and one three times as long?* All layers
# are fine-tuned.

# %% tags=["item-41"]
CASES = ((5, 12), (5, 36), (100, 3), (100, 9))  # target images a class, epochs
ahead = {}  # pretrained - scratch, one per seed
for n, epochs in CASES:
    started = sources["digits 0-4 (similar)"](n=5, per_class=n, epochs=epochs)
    ahead[n, epochs] = started - learned_after(per_class=n, epochs=epochs)

# %% tags=["item-41"]
found = {f"{n} images a class, {epochs} epochs": values for (n, epochs), values in ahead.items()}
differences(found, "With 5 images a class a gap stays; with 100, scratch nearly catches up")

# %% tags=["item-41"]
means = {case: values.mean().item() for case, values in ahead.items()}
assert sure((ahead[5, 12] + ahead[5, 36]) / 2), "5 images a class: a gap, with few epochs and with many"
assert means[5, 36] > 0, "also with three times the epochs"
assert means[100, 9] < 0.03, "100 images a class: from scratch has nearly caught up"
assert max(means[100, 3], means[100, 9]) < min(means[5, 12], means[5, 36]), (
    "more images: a smaller gap than with more time"
)

# %% tags=["item-41"]
longer = {"5 a class, 36 epochs - 12 epochs": ahead[5, 36] - ahead[5, 12]}
{case: points(values) for case, values in (ahead | longer).items()}

# %% [markdown]
# Here more target images nearly close the gap. Do three times the epochs make it smaller, with 5 images a class (the
# last line)? Three seeds can't tell: we have seen it grow with one CPU thread and shrink with two, by rounding alone.
# So where target images are few, pretraining makes the result not only faster, but *better*.
#
# ### Exercise 3 · a fair verdict (2 points)
# `verdict(new, old)` gets two lists of accuracies, seed by seed. With $d$ the list of differences new - old, $m$ its
# mean and $e$ its standard error (the sample standard deviation, divided by $\sqrt{\text{number of seeds}}$), return
# `"helps"` if $m > 2e$, `"harms"` if $m < -2e$, and else `"can't tell"` (so for equal lists, too). Example:
# `verdict([0.82, 0.84, 0.86], [0.80, 0.81, 0.84])` is `"helps"`. (Two standard errors are the usual 5 % only with
# many seeds. With three, chance alone goes beyond them in 18 % of comparisons, with five in 12 %: a verdict from few
# seeds is a hint.)


# %% nbgrader={"grade": false, "grade_id": "verdict", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verdict(new, old):
    """ "helps", "harms" or "can't tell", from two lists of accuracies with the same seeds (at least two)."""
    ### BEGIN SOLUTION
    difference = torch.tensor(new) - torch.tensor(old)
    mean, error = difference.mean(), difference.std() / len(difference) ** 0.5
    if mean.abs() <= 2 * error:
        return "can't tell"
    return "helps" if mean > 0 else "harms"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "verdict_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(verdict, points=2)
check.equal([0.82, 0.84, 0.86], [0.80, 0.81, 0.84], expected="helps")
check.equal([0.6, 0.7, 0.5, 0.6], [0.7, 0.82, 0.59, 0.72], expected="harms", slips={"helps": "it is new - old."})
check.equal(
    [0.7, 0.9, 0.8], [0.8, 0.8, 0.79], expected="can't tell", slips={"helps": "is the difference beyond 2 errors?"}
)
hint = "m is 0.03 and 2e is 0.04. (The sample standard deviation divides by n - 1.)"
check.equal([0.61, 0.65], [0.60, 0.60], expected="can't tell", hint=hint)
nine, hint = [0.60, 0.65, 0.62, 0.67, 0.60, 0.65, 0.62, 0.67, 0.6], "m is 0.031 and 2e is 0.020: e divides by √9."
check.equal(nine, [0.6] * 9, expected="helps", hint=hint)
### BEGIN HIDDEN TESTS
check.equal([0.5, 0.9], [0.48, 0.87], expected="helps")  # the pairs agree although the accuracies differ widely
check.equal([0.55, 0.72, 0.92], [0.70, 0.50, 0.90], expected="can't tell", hint="Seed by seed: don't sort.")
check.equal([0.625, 0.625, 0.68], [0.6, 0.6, 0.6], expected="helps", hint="m is 0.043 and 2e is 0.037.")
check.equal([0.24, 0.82], [0.2, 0.8], expected="helps", hint="The difference, not the relative gain.")
check.equal([0.6329, 0.7], [0.6, 0.6], expected="can't tell", hint="m is 1.98 e.")
check.equal([0.5, 0.75], [0.5, 0.75], expected="can't tell", hint="m and e are 0.")
check.equal([0.60, 0.64, 0.60, 0.64], [0.60, 0.60, 0.60, 0.60], expected="can't tell")  # 0.02 to 2 * 0.0115
check.equal([0.60, 0.56, 0.58, 0.54, 0.60, 0.55, 0.6, 0.56, 0.6], [0.6] * 9, expected="harms")
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 5. When transfer harms
#
# A source can be *worse than nothing*: **negative transfer**. Two sources with the same 500 images of the digits 0 to
# 4: once with their true labels, once with **random labels**. *Predict for each: does it help or harm, frozen and
# fine-tuned?*


# %% tags=["item-32"]
def random_labels(seed):
    """100 images of each of the digits 0 to 4, labelled at random."""
    labels = torch.randint(0, 5, (500,), generator=torch.Generator().manual_seed(seed))
    return dataclasses.replace(few(lower, 100, seed), labels=labels)


# %% tags=["item-32"]
harm = {}
for name, source in (("true labels", partial(few, lower, 100)), ("random labels", random_labels)):
    harm[f"{name}, 4 layers frozen"] = learned_after(source, n=4, frozen=True, source_epochs=8) - scratch
    harm[f"{name}, 5 layers fine-tuned"] = learned_after(source, n=5, source_epochs=8) - scratch

# %% tags=["item-32"]
differences(harm, "Random labels at the source harm the target, even after fine-tuning")

# %% tags=["item-32"]
frozen_harm, tuned_harm = harm["random labels, 4 layers frozen"], harm["random labels, 5 layers fine-tuned"]
assert sure(-frozen_harm - 0.05) and tuned_harm.mean() < -0.015, "random labels harm, frozen and fine-tuned"
assert frozen_harm.mean() < (chance[4] - scratch).mean(), "worse than four random layers"
assert (harm["true labels, 5 layers fine-tuned"] > tuned_harm).all(), "the images are the same: the labels did it"
{name: points(values) for name, values in harm.items()}

# %% [markdown]
# Frozen, these layers are worse than four *random* ones: it isn't only that nothing useful was learned. Probably the
# filters had to tell apart images that belong together, and learned to look at what the target should ignore. That is
# so *here*, where the source is small and most layers are carried over. Maennel and others (2020) found that early
# layers learned from random labels can even make later training faster, an effect that late, too specific layers can
# hide. Always keep the run *from scratch* as a baseline: without it, nobody would notice the harm.
#
# ## 6. The decision table
#
# The usual advice has two questions. *How many images have you? How similar are they to the source's?*
#
# | | similar | very different |
# |---|---|---|
# | **little** | linear classifier on the last codes | trouble: linear classifier on an **earlier** stage |
# | **a lot** | fine-tune a few or all layers | fine-tune more or all layers, from the pretrained weights |
#
# We don't quote it, we *measure* it, with EfficientNet-Lite0 and ImageNet's weights. Similar: 15-Scene. (Without it the
# digits take its place, though they are no photographs.) Very different: solar cells. Lesson 6 measured such a table
# with an SVM on two stages; here a softmax classifier is tried on three. (In the code, `LITTLE` and `LOT` are training
# images a class, `TESTED` test images a class; they are drawn `DRAWS` times for the linear ones, `TUNED` times for
# fine-tuning.)
#
# *Predict: in which of the four cells will an earlier stage win?*

# %% tags=["item-36"]
SIMILAR = "15-scene" if "15-scene" in sets else "digits"
SIZE, DRAWS, TUNED = (64, 5, 2) if QUICK else (224, 5, 3)
LITTLE, LOT = {SIMILAR: 4, "solar-cells": 10}, {SIMILAR: 15 if QUICK else 60, "solar-cells": 60 if QUICK else 400}
TESTED = {SIMILAR: 20 if QUICK else 40, "solar-cells": 150 if QUICK else 200}


# %% tags=["item-36"]
def prepare(name):
    """The image set and its split, with no more images of each class than the table needs."""
    whole = datasets.load(name, size=SIZE)
    train, test = datasets.split(whole)
    if QUICK:
        train = train[datasets.few_shot(whole.labels[train], 3 * LOT[name])]
    test = test[datasets.few_shot(whole.labels[test], TESTED[name])]
    return whole.subset(torch.cat([train, test])), datasets.Split(
        *torch.arange(len(train) + len(test)).split(len(train))
    )


prepared = {name: prepare(name) for name in (SIMILAR, "solar-cells")}

# %% [markdown]
# We take the **codes** (the mean of each map of a stage; lesson 5) of three stages: after block 4, after block 6, and
# the network's last maps (the stage that Lite0 calls "head"; their mean is "penultimate" in lesson 7). Where the text
# says *head first*, it means the new classifier.

# %% tags=["item-36"]
lite0, STAGES = backbones.load(), ("block4", "block6", "head")
stage_codes = {
    name: {stage: codes.extract(lite0, images, stage, progress=False) for stage in STAGES}
    for name, (images, _) in prepared.items()
}
{stage: tuple(values.shape) for stage, values in stage_codes["solar-cells"].items()}


# %% tags=["item-36"]
def linear_on(stage, name, per_class):
    """Test accuracies of a linear classifier on the codes of this stage, one for each draw of the images."""
    (images, split), values, found = prepared[name], stage_codes[name][stage], []
    for seed in range(DRAWS):
        rows = split.train[datasets.few_shot(images.labels[split.train], per_class, seed)]
        head = linear.fit(values[rows], images.labels[rows], kind="logistic", C=10.0)
        found.append(head.accuracy(values[split.test], images.labels[split.test]))
    return found


# %% tags=["item-36"]
QUICKLY = {"size": 64, "batch": 16, "epochs": 3, "epochs_last": 0, "all_from": "block5"} if QUICK else {}


def fine_tuned(name, per_class):
    """Test accuracies after fine-tuning, the head first (``helpers.transfer``, as in lesson 6), one per seed."""
    (images, split), seeds = prepared[name], range(TUNED)
    options = {
        "methods": ["fine_tune"],
        "per_class": [per_class],
        "seeds": seeds,
        "split": split,
        "progress": not QUICK,
    }
    return [run.accuracy for run in transfer.compare(images, **options, **QUICKLY)]


# %% tags=["item-36"]
table = {}  # table[set, images a class][method]: accuracies; the cheapest method (the least of the network) first
for name, per_class in [(name, images[name]) for name in prepared for images in (LITTLE, LOT)]:
    cell = {f"linear, {stage}": linear_on(stage, name, per_class) for stage in STAGES}
    table[name, per_class] = cell | {"fine-tuned": fine_tuned(name, per_class)}

# %% tags=["item-36"]
rows = {f"{name}, {n} a class: {method}": torch.tensor(v) for (name, n), c in table.items() for method, v in c.items()}
means, spreads = zip(*((values.mean(), values.std()) for values in rows.values()), strict=True)
title = "With few images, fine-tuning wins nothing over a linear classifier"
plots.bars(list(rows), means, spreads, title=title, colours=["blue", "sky", "green", "vermilion"])

# %% [markdown]
# ± is the spread: over five draws of the training images (linear), or over only two (quick budget) or three (full) of
# them (fine-tuned). The spread of two values is a very rough one. *Which of the usual advice do you see?*

# %% tags=["item-36"]
mean = {cell: {method: torch.tensor(v).mean().item() for method, v in row.items()} for cell, row in table.items()}
for name in prepared:
    head, tuned_ones = (torch.tensor(table[name, LITTLE[name]][m]) for m in ("linear, head", "fine-tuned"))
    lead = tuned_ones - head[:TUNED]  # of the same draws
    assert lead.mean() < 0.03, f"{name}, little data: a linear classifier is about as good, or better"


# %% tags=["item-36"]
def more(method):
    """What more images add to the accuracy of a method: the mean over the two sets."""
    return sum(mean[name, LOT[name]][method] - mean[name, LITTLE[name]][method] for name in prepared) / 2


assert min(more("fine-tuned"), more("linear, head")) > 0.03, "more images help, with and without fine-tuning"
{method: f"{100 * more(method):+.1f} points" for method in table["solar-cells", LITTLE["solar-cells"]]}

# %% [markdown]
# - **Little data:** a linear classifier is about as good as fine-tuning, or better, on both sets. As advised; but in
#   the quick budget fine-tuning has six to twelve steps, and may end below the linear classifier that it starts from.
#   That says more of these settings than of the advice: the full budget, with twelve epochs, is the fair comparison.
#   *Trouble* fits the solar cells well: 10 images a class leave every method far from the best.
# - **More data** helps every method by many points. In the quick budget, "a lot" is 15 or 60 images a class and three
#   epochs: not enough to make fine-tuning the winner. The full budget has 60 and 400, at 224 pixels.
# - **An earlier stage?** That is the usual advice for images of *another* kind. Compare the stages draw by draw:

# %% tags=["item-36"]
earlier = {
    (*cell, f"{stage} - head"): torch.tensor(row[f"linear, {stage}"]) - torch.tensor(row["linear, head"])
    for cell, row in table.items()
    for stage in ("block4", "block6")
}

# %% tags=["item-36"]
if "15-scene" in sets:
    gain = earlier["15-scene", 4, "block6 - head"].mean()
    assert gain > 0.01 if QUICK else gain < 0, "for scenes, block 6 is better at 64 pixels, the last stage at 224"
{cell: points(difference) for cell, difference in earlier.items()}

# %% [markdown]
# At the quick budget's 64 pixels, block 6 is the better stage even for the scenes, which are similar to ImageNet; at
# the full budget's 224 the last stage is. A likely reason: Lite0 was trained on 224 pixels. In a small image all
# things have an unusual size, and the last stage is the most specific one. So "different" is not only *what* the
# images show. (Digits, where they stand in for scenes, are of another kind anyway.) And where ± is larger than the
# difference, nothing is decided. So a rule in a table is a guess about *your* data: measure.
#
# ### Exercise 4 · a rule from the table (3 points)
# Of two methods that are equally good we take the cheaper. Write `choose(results)`: `results` is a dictionary from a
# method's name to its list of accuracies (two or more seeds; the lists may differ in length), **the cheapest method
# first**. Find the method with the highest mean (of equal ones, the first). Return the name of the *first* method
# whose mean is at least this mean minus the best method's spread (its sample standard deviation). Example:
# `choose({"linear": [0.80, 0.82], "fine-tune": [0.80, 0.84]})` is `"linear"`: the best mean is 0.82 with a spread of
# 0.028, and 0.81 is above 0.792.


# %% nbgrader={"grade": false, "grade_id": "choose", "locked": false, "schema_version": 3, "solution": true, "task": false}
def choose(results):
    """The first (cheapest) method that is at most one spread of the best method below the best mean."""
    ### BEGIN SOLUTION
    means = {method: torch.tensor(found).mean() for method, found in results.items()}
    best = max(means, key=means.get)
    for method in results:
        if means[method] >= means[best] - torch.tensor(results[best]).std():
            return method
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "choose_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = Check(choose, points=3)
slips = {"fine-tune": "it is the best, but is the cheaper one clearly worse?"}
check.equal({"linear": [0.80, 0.82], "fine-tune": [0.80, 0.84]}, expected="linear", slips=slips)
slips = {"linear": "it is more than one spread below the best.", "scratch": "the first one, not the last."}
check.equal(
    {"linear": [0.70, 0.72], "fine-tune": [0.83, 0.84], "scratch": [0.83, 0.835]}, expected="fine-tune", slips=slips
)
slips = {"a": "the spread is the best method's, not a's own."}
check.equal({"a": [0.4, 0.8], "b": [0.86, 0.87]}, expected="b", slips=slips)
slips = {"b": "the limit is 0.75 - 0.0707 (the sample standard deviation)."}
check.equal({"a": [0.69, 0.69], "b": [0.70, 0.80]}, expected="a", slips=slips)
slips = {"cheap": "its mean is 0.80; the limit is 0.905 - 0.007.", "lucky": "the highest *mean*, not the best seed."}
results = {"cheap": [0.80, 0.80, 0.80], "lucky": [0.70, 0.95, 0.70], "steady": [0.90, 0.91]}
check.equal(results, expected="steady", slips=slips)
### BEGIN HIDDEN TESTS
check.equal({"a": [0.66, 0.66], "b": [0.70, 0.80]}, expected="b", hint="One spread, not two.")
check.equal({"a": [0.6, 0.74, 0.74], "b": [0.72, 0.72, 0.72]}, expected="b")  # the mean, not the median
check.equal({"a": [0.73, 0.73], "b": [0.74, 0.76], "c": [0.76, 0.80, 0.78, 0.70]}, expected="a")
check.equal({"a": [0.725, 0.725], "b": [0.70, 0.80]}, expected="a")  # sample standard deviation: 0.0707
check.equal({"only": [0.5, 0.6]}, expected="only")
check.equal({"cheap": [0.84, 0.84], "best": [0.90, 0.92], "dear": [0.60, 0.95]}, expected="best")
check.equal({"a": [0.5, 0.5, 0.5, 0.5], "b": [0.90, 0.92]}, expected="b", hint="The mean, not the sum.")
check.equal({"a": [0.60, 0.88], "b": [0.70, 0.80]}, expected="a")
check.equal({"a": [0.5, 0.5], "b": [0.5, 0.75, 1.0]}, expected="a", hint="At least: just there is enough.")
check.equal({"a": [0.896, 0.896], "b": [0.904, 0.904]}, expected="b", hint="Don't round the means.")
### END HIDDEN TESTS
check.score()

# %% [markdown]
# `helpers.layers.simplest` does the same. Applied to the measured table, it gives *our* rule:

# %% tags=["item-36"]
rule = {cell: layers.simplest(row) for cell, row in table.items()}
rule

# %% [markdown]
# Read it as a sentence: *with so few images a class, on this kind of image, the simplest method that is not clearly
# worse is ...* With other images, another size or more epochs it may be another one. In the quick budget it is often
# the same in all four cells: where few draws spread widely, a cheap method is soon within one spread. Such a table is
# no word on 50,000 images.
#
# ## 7. Transfer is the norm: a backbone in a detector
#
# Detectors, segmenters and captioners start from a pretrained backbone, too. A captioner lets a language model read its
# codes. A detector must say **where** something is: the map before the average still knows it. We build the smallest
# detector: Lite0's map after block 5, frozen, and **one** 1×1 convolution. At each place of the map it gives 5 numbers:
# a score, the shift of the box's centre, and the logarithms of its width and height.
#
# We make the scenes ourselves: a piece of a photograph, pasted on brick, grass or gravel. The test scenes show pieces
# of *other* photographs (cat and coffee), which the detector's head has never seen, on the same three grounds.

# %% tags=["item-43"]
SEEN = ("astronaut", "rocket", "china", "flower", "camera", "hubble", "retina", "coins")
images, boxes = detector.scenes(SEEN, 200)
test_images, test_boxes = detector.scenes(("cat", "coffee"), 80, first=1000)
titles, title = ["to learn"] * 4 + ["to test"] * 4, "Find the piece that doesn't belong here"
plots.images([*images[:4], *test_images[:4]], titles, title=title, size=1.5)

# %% tags=["item-43"]
maps, test_maps = detector.maps(lite0, images), detector.maps(lite0, test_images)
assert maps.shape[-1] == images.shape[-1] // detector.CELL, "a place of the map for each 16×16 pixels"
maps.shape

# %% [markdown]
# A place of the map is responsible for a box when the box's *centre* lies in it. Its score must be the highest
# (cross-entropy over all places), and it learns the box relative to itself. The first YOLO (2016) gave each box to its
# centre's place, too. Detectors in use have many more places, and decide at *each* of them by itself whether something
# is there: a photograph may hold many things. `helpers/detector.py` has ours in two functions, `boxes_of` and `loss`.
#
# How good is a box? **Intersection over union** (IoU): the area that found and true box share, divided by the area that
# at least one of them covers. 1 is perfect, 0 is a miss.
#
# ### Exercise 5 · intersection over union (2 points)
# Write `iou(a, b)` for two boxes `(x1, y1, x2, y2)` with x1 < x2 and y1 < y2; the result is a number. Example:
# `iou((0, 0, 2, 2), (1, 0, 3, 2))` is 1/3: they share 2, and cover 6 together.


# %% nbgrader={"grade": false, "grade_id": "iou", "locked": false, "schema_version": 3, "solution": true, "task": false}
def iou(a, b):
    """Intersection over union of two boxes (x1, y1, x2, y2), a number from 0 to 1."""
    ### BEGIN SOLUTION
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    covered = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / covered
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "iou_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(iou, points=2)
check.equal(
    (0, 0, 2, 2),
    (1, 0, 3, 2),
    expected=1 / 3,
    slips={1 / 4: "what both share is counted once in the union.", 1 / 2: "divide by the union; no side has a + 1."},
)
check.equal((0, 0, 4, 4), (1, 1, 3, 3), expected=0.25)
slips = {6 / 48: "what the two cover is less than the smallest box around both.", 6 / 34: "subtract what they share."}
check.equal((1, 2, 7, 5), (3, 1, 5, 9), expected=6 / 28, slips=slips)
hint = "Boxes that lie apart share nothing: a width or height is never below 0."
check.equal((0, 0, 1, 1), (5, 0, 6, 1), expected=0, hint=hint)
check.equal((0, 0, 1, 1), (0, 5, 1, 6), expected=0, hint=hint)
### BEGIN HIDDEN TESTS
check.equal((0, 0, 2, 1), (0, 0, 2, 1), expected=1)
check.equal((0, 0, 4, 4), (5, 6, 9, 9), expected=0, hint=hint)  # apart in both directions: two negative factors
check.equal((0.0, 0.0, 0.5, 1.0), (0.25, 0.0, 0.75, 1.0), expected=1 / 3, hint="Sides may be fractions.")
check.equal((2, 1, 8, 4), (4, 0, 6, 8), expected=6 / 28)
check.equal((-3, -2, 1, 0), (-1, -1, 4, 3), expected=2 / 26)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# Now train. There are two controls. The same head learns on maps of a Lite0 with *random* weights. And a box that
# doesn't look at all: always the same, in the middle, as large as serves the training scenes best. *Predict the mean
# IoU on unseen things, for all three.*


# %% tags=["item-43"]
def middle(side):
    """A box (1, 4) in the middle of a scene of 128×128 pixels."""
    return torch.tensor([[64 - side / 2, 64 - side / 2, 64 + side / 2, 64 + side / 2]])


side = max(range(30, 110, 2), key=lambda side: box_iou(middle(side), boxes).mean().item())
fixed = box_iou(middle(side), test_boxes).mean().item()
f"{side} pixels wide: mean IoU {fixed:.2f}"

# %% tags=["item-43"]
overlap, heads = {"pretrained": [], "random": []}, []
for seed in SEEDS:
    head, history = detector.learn(maps, boxes, (test_maps, test_boxes), seed=seed)
    heads.append(head)
    overlap["pretrained"].append(history)


# %% tags=["item-43"]
def on_random_weights(seed):
    """The overlaps of the same head on the maps of a network that has learned nothing."""
    torch.manual_seed(seed)
    blind = backbones.load(pretrained=False)
    return detector.learn(
        detector.maps(blind, images), boxes, (detector.maps(blind, test_images), test_boxes), seed=seed
    )[1]


overlap["random"] = [on_random_weights(seed) for seed in SEEDS]

# %% tags=["item-43"]
title = "One convolution learns to localise; a trained backbone helps"
curves = overlap | {"always the middle": [[fixed] * 7]}
plots.curves(range(0, 31, 5), curves, title=title, xlabel="epoch", ylabel="mean IoU on test scenes")

# %% tags=["item-43"]
trained, blind = (torch.tensor(overlap[name]) for name in ("pretrained", "random"))
assert (trained[:, -1] > trained[:, 0] + 0.25).all(), "the boxes get better"
assert trained[:, -1].mean() > blind[:, -1].max(), "the trained backbone is better than any of the random ones"
assert trained[:, -1].min() > fixed + 0.05, "and than a box that doesn't look"

# %% tags=["item-43"]
with torch.inference_mode():
    found = detector.detect(heads[0](test_maps[:6]))
title = "Found (blue) and true (yellow, dashed) boxes of things that its head has never seen"
detector.show(test_images[:6], found, test_boxes[:6], title=title)

# %% [markdown]
# Nobody told Lite0 where things are, in ImageNet or here: only the one convolution saw boxes. The map of a random
# network serves no better than a box that is always in the middle; that of the trained one does. (The things are made
# gray, as the grounds are: else their colour alone would give them away.)
#
# ### The same in a full detector
# torchvision's Faster R-CNN takes any backbone that returns a map. In the original (Girshick 2015, Ren 2015), too, the
# backbone came from ImageNet classification. One pass forward and backward, to see that gradients reach Lite0:

# %% tags=["item-43"]
torch.manual_seed(0)
faster = FasterRCNN(
    detector.MapOnly(copy.deepcopy(lite0).cpu()),
    num_classes=2,  # background, thing
    rpn_anchor_generator=AnchorGenerator(sizes=((32, 64),), aspect_ratios=((0.5, 1.0, 2.0),)),
    min_size=128,
    image_mean=[0.0] * 3,  # Lite0 normalises by itself
    image_std=[1.0] * 3,
)

# %% tags=["item-43"]
targets = [{"boxes": box[None], "labels": torch.ones(1, dtype=torch.int64)} for box in boxes[:4]]
losses = faster.train()(list(images[:4].float() / 255), targets)
sum(losses.values()).backward()
{name: round(loss.item(), 3) for name, loss in losses.items()}

# %% tags=["item-43"]
gradients = [weights.grad for weights in faster.backbone.parameters() if weights.grad is not None]
reached = sum(bool((gradient != 0).any()) for gradient in gradients)
assert reached > 0.9 * len(gradients) > 50, "Lite0 learns, too"
f"gradients reach {reached} weight tensors of Lite0, up to block 5"

# %% [markdown]
# *What has the lesson shown?* Its numbers in one place:

# %% tags=["item-38", "item-41"]
shown = {"from scratch": scratch, "0-4, 5 layers frozen": similar[5], "0-4, 5 layers fine-tuned": repaired}
shown |= {"solar cells, 5 layers frozen": other[5], "random, 5 layers frozen": chance[5]}
shown |= {"solar cells, 3 layers frozen, minus scratch": other[3] - scratch}
shown |= {"random, 3 layers frozen, minus scratch": chance[3] - scratch}
shown |= {f"0-4 minus scratch, {n} a class, {epochs} epochs": gap for (n, epochs), gap in ahead.items()}
shown |= {f"{name}, minus scratch": gap for name, gap in harm.items()}
{name: (points if "minus" in name else said)(values) for name, values in shown.items()}

# %% [markdown]
# ### Exercise 6 · advise (2 points, marked by hand)
# Two classmates ask you. One has 40 labelled X-ray images, 20 a class. The other has 50,000 labelled photographs of
# shops. Both have a network with ImageNet's weights. What do you advise to each, and why? Use at least two *results of
# this lesson* (with numbers), and say what each must measure besides. Five to eight sentences.

# %% [markdown] nbgrader={"grade": true, "grade_id": "advise", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# 40 X-ray images: very little, and very different from photographs. I would neither train from scratch (with 5 images
# a class it stayed 5 to 11 points behind, also with a schedule three times as long) nor fine-tune at once (with few
# images the linear classifier was at least as good in our table, and costs a second). So: a linear classifier on
# frozen codes, of an earlier block *and* of the last stage, for the last layers are the specific ones: all five
# layers of the solar cells, frozen, spoiled it as random ones did (about 60 %, 89 % from scratch), the first three
# did little harm (about 3 points, as random ones did). With 40 images the spread over draws is several points:
# measure by cross-validation, with several splits. 50,000 photographs of shops: a lot, and similar. Fine-tune all
# layers from the pretrained weights: in our runs that repaired what was specific (80 % frozen, 92 % fine-tuned; 89 %
# from scratch). From scratch nearly catches up with many images (the lead fell from 7 points to about one). Measure
# the linear classifier first: if it is within the spread, it is enough. Both keep a simple baseline, because a source
# can harm (random labels: 4 or 5 points below scratch, even fine-tuned). (Other machines give numbers some points
# apart.)
#
# Marking: 1 point for a fitting advice to each (little + different: linear on frozen codes, also of an earlier stage;
# a lot + similar: fine-tune, or linear first and then compared with fine-tuning), with a reason. 1 point for two
# results of the lesson with numbers, and for what to measure (several seeds or splits, a baseline).
# ### END SOLUTION

# %% [markdown]
# ## What to remember
# - Domain: what inputs, how often. Task: which labels, which function. Say which of the two changes.
# - Last layers are specific: on five frozen layers that had learned the digits 0 to 4, the digits 5 to 9 fell below
#   scratch. Fine-tuning repairs it. Four layers of a very different source served hardly better than four random ones;
#   five of either spoiled the result. The first three, even random, did little harm here.
# - Pretraining pays most where target images are few. With many, scratch nearly catches up (in He et al. it did, given
#   a long schedule).
# - A source can harm. Keep the baseline from scratch, several seeds, and compare seed by seed.
# - Of methods that are equally good within the spread, take the cheapest; a rule is only as good as its table.
#
# **Papers.** Pan, Yang, *A survey on transfer learning*, 2010. Yosinski, Clune, Bengio, Lipson, *How transferable are
# features in deep neural networks?*, 2014. Huh, Agrawal, Efros, *What makes ImageNet good for transfer learning?*,
# 2016. He, Girshick, Dollár, *Rethinking ImageNet pre-training*, 2019. Maennel and others, *What do neural networks
# learn when trained with random labels?*, 2020. Girshick, *Fast R-CNN*, 2015. Ren, He, Girshick, Sun, *Faster R-CNN*,
# 2015. Redmon, Divvala, Girshick, Farhadi, *You only look once*, 2016.
