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
# with packages. **Time:** about MINUTES of computing on two CPU cores; reading and exercises take two to three hours.
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
import copy
import dataclasses

import matplotlib.pyplot as plt
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou
from torchvision.transforms.functional import pil_to_tensor

from helpers import backbones, codes, datasets, layers, linear, plots, transfer
from helpers.checks import Check

QUICK = machine.budget() == "quick"
SEEDS = range(3 if QUICK else 5)

# %% [markdown]
# Each experiment is repeated with several **seeds**: other random weights, and other training images where only a few
# are drawn. To compare two ways, we look at their *difference* seed by seed, for both had the same images. A mean
# difference is believed when it is larger than two standard errors.


# %% tags=["setup"]
def said(values):
    """Accuracies of several seeds -> "mean ± spread" in per cent."""
    return f"{100 * values.mean():.1f} ± {100 * values.std():.1f} %"


def gain(new, old):
    """Accuracies (seeds,) and (seeds,) -> mean of new - old, and twice its standard error."""
    difference = new - old
    return difference.mean(), 2 * difference.std() / len(difference) ** 0.5


# %% [markdown]
# ## 1. Words: domain, task, transfer
#
# A **domain** is $D = \{X, p(X)\}$: what kind of input, and how often each input comes. A **task** is
# $T = \{Y, f\}$: which labels, and the function from input to label that is to be learned. **Transfer learning** uses
# what was learned on a source $(D_S, T_S)$ to learn $f$ on a target $(D_T, T_T)$ better, where $D_S \neq D_T$ or
# $T_S \neq T_T$. Learning *from scratch* uses the target alone.
#
# *Are these sets one domain? All are gray images of 64×64 pixels: X is the same. Predict: is p(X)?*

# %%
digits = datasets.load("digits")
cells = datasets.load("solar-cells", size=64 if QUICK else 224)
try:
    scenes = datasets.load("15-scene", size=64 if QUICK else 224)
except datasets.NotHere as reason:
    print(reason, "This lesson goes on with what is here.")
    scenes = None
sets = {image_set.name: image_set for image_set in (digits, scenes, cells) if image_set is not None}
{name: (tuple(image_set.images.shape), len(image_set.classes)) for name, image_set in sets.items()}

# %% tags=["item-32"]
shown = [image_set.images[i, 0] for image_set in sets.values() for i in (7, len(image_set) // 2)]
titles = [f"{name}: {image_set.classes[image_set.labels[i]]}" for name, image_set in sets.items() for i in (7, len(image_set) // 2)]
plots.images(shown, titles, title="All are gray images, but from different domains", size=1.7)

# %% tags=["item-32"]
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for (name, image_set), colour in zip(sets.items(), ("blue", "green", "vermilion"), strict=False):
    grays = image_set.images[::10].float().flatten()
    axis.plot(torch.linspace(0, 255, 32), torch.histc(grays, 32, 0, 256) / len(grays), label=name, color=plots.COLOURS[colour])
axis.set(title="p(X) differs already in the gray levels", xlabel="gray level", ylabel="share of the pixels", yscale="log")
axis.legend()
plt.show()

# %% [markdown]
# One domain can have many **tasks**. *Which digit? Even or odd? Has it a loop?* Here Y and f change, and X and p(X)
# do not:

# %% tags=["item-32"]
tasks = {
    "which digit": digits.labels,
    "odd": digits.labels % 2,
    "has a loop": torch.isin(digits.labels, torch.tensor([0, 6, 8, 9])).long(),
}
{name: labels[::625].tolist() for name, labels in tasks.items()}

# %% [markdown]
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


def standard(x, like):
    """Pixels with the mean and spread of the set ``like`` taken out."""
    return (x - like.mean()) / like.std()


reader = linear.fit(standard(pixels[train], like=pixels[train]), digits.labels[train], kind="logistic", C=1.0)

# %% tags=["item-32"]
read = {
    "digits": reader.accuracy(standard(pixels[test], like=pixels[train]), digits.labels[test]),
    "copies": reader.accuracy(standard(copies, like=pixels[train]), digits.labels[test]),
    "copies, with their own mean and spread": reader.accuracy(standard(copies, like=copies), digits.labels[test]),
}
assert read["copies"] < 0.6 < 0.85 < read["copies, with their own mean and spread"], "unlabelled images are enough"
read

# %% [markdown]
# Two numbers, taken from *unlabelled* target images, repair everything. (Networks with BatchNorm can do the same with
# each channel's mean and variance.)
#
# **Unsupervised.** No labels anywhere. We learn 20 directions of large variance (PCA) from unlabelled images of the
# digits 0 to 4. Then we look for five groups among images of 5 to 9. *Do directions from other digits help more than
# 20 random ones?* The adjusted Rand index compares the groups with the true classes, which are used for this only: 0 is
# chance, 1 is perfect.

# %% tags=["item-32"]
low, high = (pixels[(digits.labels < 5) == side] for side in (True, False))
mean = low.mean(0)
learned = torch.linalg.svd(low[::2] - mean, full_matrices=False)[2][:20]


def group_quality(directions, seed):
    """Adjusted Rand index of five groups found by k-means along the directions (20, 784)."""
    groups = KMeans(5, n_init=3, random_state=seed).fit_predict(((high - mean) @ directions.T).numpy())
    return adjusted_rand_score(digits.labels[digits.labels >= 5], groups)


# %% tags=["item-32"]
by_pca = torch.tensor([group_quality(learned, seed) for seed in SEEDS])
torch.manual_seed(0)
by_chance = torch.tensor([group_quality(torch.randn(20, 784), seed) for seed in SEEDS])
assert (by_pca > by_chance).all(), "directions of other digits serve better than random ones"
[f"{values.mean():.2f} ± {values.std():.2f}" for values in (by_pca, by_chance)]

# %% [markdown]
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
### BEGIN HIDDEN TESTS
check.equal(False, True, False, expected="inductive")
check.equal(False, True, True, expected="inductive")
check.equal(True, True, True, expected="inductive")
check.equal(False, False, True, expected="no transfer")
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 2. The first n layers
#
# First layers find edges, which every task needs. Last layers know their own classes. *Where does "general" end?*
# Yosinski and others (2014) measured it. Take a network trained on A. Keep its first n layers, put random layers
# behind them, and learn B. The kept layers are either **frozen** (they call the network *AnB*) or **fine-tuned**
# (*AnB⁺*). Two controls: keep n layers of a network trained on **B itself** (*BnB*, *BnB⁺*), or n **random** layers.
#
# They cut ImageNet's classes in two halves, and trained for days. We cut the digits in two halves, 0 to 4 (A) and 5 to 9
# (B), and train a network of five convolutions in seconds. As a dissimilar source we take the solar cells: is a cell
# broken or not?

# %% tags=["item-38"]
network = layers.SmallNet(classes=5)
sizes, x = [], digits.images[:1]
for layer in network.layers:
    x = layer(x.float())
    sizes.append(tuple(x.shape[1:]))
sizes, sum(weights.numel() for weights in network.parameters())

# %% [markdown]
# There is one difference to the paper, and it matters. Their target had as many images as their source. Ours has
# **20 images a class**, as in most practical cases. The source has 300 a class (solar cells: 700 a class).

# %%
upper = layers.only(digits, range(5, 10))
pool, test = (upper.subset(rows) for rows in datasets.hold_out(upper.labels, 0.3, seed=0))
small = F.interpolate(cells.images.float(), (28, 28), mode="area").round().byte()
small_cells = dataclasses.replace(cells, images=small, soft=None, strata=None, digest=None)


def few(image_set, per_class, seed=0):
    """So many images of each class, drawn with this seed."""
    return image_set.subset(datasets.few_shot(image_set.labels, per_class, seed))


# %%
lower = few(layers.only(digits, range(5)), 300)
broken = few(small_cells, 700)
len(lower), len(broken), len(pool), len(test)


# %%
def learned_after(source, per_class=20, **options):
    """Accuracies on the digits 5 to 9, one a seed. ``source(seed)`` is the source's image set, or None."""
    return torch.tensor(
        [
            layers.accuracy(few(pool, per_class, seed), test, source=source(seed), seed=seed, **options)
            for seed in SEEDS
        ]
    )


def nothing(seed):
    """No source: the layers that are kept are random."""
    return None


scratch = learned_after(nothing)
said(scratch)

# %% [markdown]
# *Predict, before you run the next cells: how will the curve over n go for each source, frozen? Which will fall, and
# where? Will fine-tuning repair it?*

# %% tags=["item-38"]
sources = {
    "digits 0-4 (similar)": (lambda seed: lower, 5),
    "solar cells (dissimilar)": (lambda seed: broken, 5),
    "the target itself": (lambda seed: few(pool, 20, seed), 12),
    "random layers": (nothing, 0),
}
KEPT = range(1, 6)


def curve(name, frozen):
    """Accuracies (n, seeds) with the first 1 to 5 layers of this source."""
    source, epochs = sources[name]
    return torch.stack([learned_after(source, n=n, frozen=frozen, source_epochs=epochs) for n in KEPT])


# %% tags=["item-38"]
frozen = {name: curve(name, frozen=True) for name in sources}
tuned = {name: curve(name, frozen=False) for name in sources if name != "random layers"}
{name: [round(value, 3) for value in found.mean(1).tolist()] for name, found in frozen.items()}

# %% tags=["item-38"]
figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for axis, curves in zip(axes, (frozen, tuned), strict=True):
    axis.axhline(100 * scratch.mean(), color="black", ls=":", label="from scratch (n = 0)")
    for (name, found), colour in zip(curves.items(), ("blue", "vermilion", "green", "purple"), strict=False):
        axis.errorbar(
            KEPT, 100 * found.mean(1), 100 * found.std(1), color=plots.COLOURS[colour], marker="o", capsize=3, label=name
        )
    axis.set(xlabel="n, layers that are kept", xticks=KEPT)
axes[0].set(title="Frozen: the last layers are specific", ylabel="accuracy on the digits 5 to 9, %")
axes[1].set_title("Fine-tuned: the loss is repaired, and more")
axes[0].legend(loc="lower left")
plt.show()

# %% [markdown]
# (Bars: the spread over the seeds.) Read it from left to right, frozen first.

# %% tags=["item-38"]
similar, other, itself, chance = frozen.values()
best, error = gain(similar[3], scratch)
assert best > error, "four layers of a similar task, frozen, beat learning from scratch"
assert similar[3].mean() - similar[4].mean() > 0.08, "the fifth layer is specific to the digits 0 to 4"
assert (similar[3] > other[3]).all() and other[4].mean() < similar[4].mean() - 0.2, "dissimilar: specific earlier"
assert chance[4].mean() < chance[3].mean() < chance[0].mean(), "random filters will do, but only at the start"
f"{best:+.1%} ± {error:.1%}"

# %% [markdown]
# - **Similar source:** each kept layer helps, up to the fourth. The fifth tells 0 to 4 apart, and 5 to 9 badly.
# - **Dissimilar source:** the first layers serve as well as the target's own. The last ones are as bad as random ones.
#   (With all five layers frozen only the last, linear layer learns.)
# - **Random filters** do no harm in the first layer. Compare with them before you praise a pretrained first layer!
#
# Now fine-tuned. *Does it recover? Does it beat learning from scratch?*

# %% tags=["item-38"]
recovered, error = gain(tuned["digits 0-4 (similar)"][4], similar[4])
better, doubt = gain(tuned["digits 0-4 (similar)"][2:].mean(0), scratch)
assert recovered > error and better > doubt, "fine-tuning repairs the last layer, and beats learning from scratch"
assert (tuned["solar cells (dissimilar)"][4].mean() - scratch.mean()).abs() < 0.05, "dissimilar: no great gain or loss"
f"recovered {recovered:+.1%} ± {error:.1%}, beyond scratch {better:+.1%} ± {doubt:.1%}"

# %% [markdown]
# In the paper the gain over learning B alone was 1.6 points, with plenty of target images. With 20 a class we gain more.
#
# **Co-adaptation.** In the paper *BnB* fell in the middle layers: neighbouring layers had learned to work together, and
# new upper layers did not find the same team-work again. *Is there such a dip in our green curve?*

# %% tags=["item-38"]
dip = itself.mean(1).min() - scratch.mean()
assert dip.abs() < 0.03, "no dip that exceeds the noise"
f"{dip:+.1%}"

# %% [markdown]
# No: nothing beyond the noise. Five layers with BatchNorm are easier to train again than eight without. An honest
# small experiment shows what it shows: two of the paper's three findings.
#
# ### Exercise 2 · carry layers over (3 points)
# `keep_first(source, target, n)` gets two `nn.Sequential` of the same layers. Make the first n layers of `target`
# *copies* of the source's, and freeze them: no gradient, and evaluation mode (so that BatchNorm statistics rest).
# Return `target`. The source and the other layers of the target don't change. Example: after
# `keep_first(a, b, 1)`, `b[0].weight` has the values of `a[0].weight` and `requires_grad` False; `b[1]` is as before.


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


# %% nbgrader={"grade": true, "grade_id": "keep_first_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
def pair():
    """Two small networks of the same layers; the first has seen a batch, so its BatchNorm statistics have moved."""
    torch.manual_seed(5)
    made = [
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
        for _ in range(2)
    ]
    made[0](3 * torch.randn(4, 1, 9, 9) + 1)
    return made


def equal_layers(a, b):
    """For each layer: are all weights and statistics equal?"""
    return [all(torch.equal(v, w[k]) for k, v in x.state_dict().items()) for x, y in zip(a, b, strict=True) for w in [y.state_dict()]]


def free(network):
    """For each layer with weights: do they learn?"""
    return [layer.weight.requires_grad for layer in network if hasattr(layer, "weight")]


check = Check(keep_first, points=3)
check.that("n = 2 returns the target", lambda f: None if (r := f(*pair(), 2)) is None else isinstance(r, nn.Sequential))
hint = "Statistics of BatchNorm are in the state_dict, not in the parameters."
check.that("n = 2: layers 0 and 1 are copied", lambda f: equal_layers((p := pair())[0], f(*p, 2))[:2] == [True] * 2, hint=hint)
check.that("n = 2: these don't learn, the others do", lambda f: free(f(*pair(), 2)) == [False, False, True, True])
check.that("n = 2: evaluation mode for these only", lambda f: [m.training for m in f(*pair(), 2)] == [False] * 2 + [True] * 3)
### BEGIN HIDDEN TESTS
check.that("the other layers are as before", lambda f: equal_layers(pair()[1], f(*pair(), 2))[3:] == [False] * 0 + [True] * 2)
check.that("n = 4", lambda f: free(f(*pair(), 4)) == [False] * 3 + [True] and equal_layers((p := pair())[0], f(*p, 4))[3])
check.that("n = 0 changes nothing", lambda f: free(f(*pair(), 0)) == [True] * 4 and all(equal_layers(pair()[1], f(*pair(), 0))))


def source_is_safe(f):
    source, target = pair()
    f(source, target, 5)
    shared = {id(value) for value in source.parameters()} & {id(value) for value in target.parameters()}
    whole = all(equal_layers(pair()[0], source)) and all(free(source)) and all(m.training for m in source)
    return whole and not shared


check.that("the source stays as it is, and shares no weight with the target", source_is_safe, hint="Copy them.")
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

# %% tags=["item-41"]
whole = layers.only(digits, range(5))
by_size = {
    n: learned_after(lambda seed, n=n: few(whole, n, seed), n=4, source_epochs=max(4, min(40, 1000 // n)))
    for n in (5, 20, 80, 320)
}
{n: said(found) for n, found in by_size.items()}


# %% tags=["item-41"]
def subset_of_classes(k, total):
    """A source with ``total`` images of k classes, drawn with the seed."""

    def source(seed):
        chosen = torch.randperm(5, generator=torch.Generator().manual_seed(seed))[:k].tolist()
        return few(layers.only(whole, chosen), total // k, seed)

    return source


by_classes = {k: learned_after(subset_of_classes(k, 960), n=4) for k in (2, 3, 5)}
{k: said(found) for k, found in by_classes.items()}

# %% tags=["item-41"]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for axis, found, colour in zip(axes, (by_size, by_classes), ("blue", "green"), strict=True):
    means, spreads = zip(*((100 * v.mean(), 100 * v.std()) for v in found.values()), strict=True)
    axis.errorbar(list(found), means, spreads, marker="o", capsize=4, color=plots.COLOURS[colour])
    axis.axhline(100 * scratch.mean(), color="black", ls=":", label="no source")
axes[0].set(title="More source images help, slowly", xlabel="source images a class (5 classes)", xscale="log")
axes[0].set(xticks=list(by_size), xticklabels=list(by_size), ylabel="accuracy on the digits 5 to 9, %")
axes[1].set(title="960 images of 2 or of 5 classes: much the same", xlabel="source classes", xticks=list(by_classes))
axes[0].legend()
plt.show()

# %% tags=["item-41"]
more, error = gain(by_size[320], by_size[5])
cost, doubt = gain(by_size[80], by_size[320])
assert more > error, "64 times as many source images help"
assert cost.abs() < gain(by_size[320], scratch)[0], "a quarter of the source still keeps part of the gain"
assert by_classes[2].mean() > scratch.mean(), "two source classes are better than none"
f"320 instead of 5: {more:+.1%} ± {error:.1%};  80 instead of 320: {cost:+.1%} ± {doubt:.1%}"

# %% [markdown]
# So it was in the paper: accuracy grows about with the *logarithm* of the source's size, and the number of classes
# matters less than one thinks.
#
# ## 4. From scratch, but longer
#
# He and others (2019) trained detectors from random weights. They reached the pretrained ones, **if** they trained longer
# and had enough images. With a tenth of the images they didn't. *What do you expect for 5 and for 100 images a class,
# with a short schedule and one four times as long?* All layers are fine-tuned.

# %% tags=["item-41"]
SCHEDULES = {5: (12, 48), 100: (3, 12)}  # images a class: epochs
raced = {
    (n, epochs): {
        "from scratch": learned_after(nothing, per_class=n, epochs=epochs),
        "pretrained": learned_after(lambda seed: lower, per_class=n, epochs=epochs, n=5),
    }
    for n, schedules in SCHEDULES.items()
    for epochs in schedules
}
{case: {way: said(found) for way, found in ways.items()} for case, ways in raced.items()}

# %% tags=["item-41"]
gaps = {case: gain(ways["pretrained"], ways["from scratch"]) for case, ways in raced.items()}
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
names = [f"{n} images a class\n{epochs} epochs" for n, epochs in gaps]
colours = [plots.COLOURS["vermilion" if n == 5 else "blue"] for n, _ in gaps]
axis.bar(names, [100 * mean for mean, _ in gaps.values()], yerr=[100 * e for _, e in gaps.values()], color=colours, capsize=4)
axis.set_title("A longer schedule closes the gap where there are images")
axis.set_ylabel("pretrained - scratch, points")
plt.show()

# %% tags=["item-41"]
closed, _ = gain(raced[100, 3]["pretrained"] - raced[100, 3]["from scratch"], raced[100, 12]["pretrained"] - raced[100, 12]["from scratch"])
assert closed > 0, "with 100 images a class, the longer schedule closes part of the gap"
assert gaps[5, 48][0] > 2 * gaps[100, 12][0], "with 5 images a class, a large gap stays, however long one trains"
{case: f"{100 * mean:+.1f} ± {100 * error:.1f} points" for case, (mean, error) in gaps.items()}

# %% [markdown]
# Pretraining makes learning *faster*, always. It makes the result *better* where target images are few.
#
# ### Exercise 3 · a fair verdict (2 points)
# `verdict(new, old)` gets two lists of accuracies, seed by seed. With $d$ the list of differences new - old, $m$ its
# mean and $e$ its standard error (the sample standard deviation, divided by $\sqrt{\text{number of seeds}}$), return `"helps"` if
# $m > 2e$, `"harms"` if $m < -2e$, and else `"can't tell"`. Example: `verdict([0.82, 0.84, 0.86], [0.80, 0.81, 0.84])` is
# `"helps"`.


# %% nbgrader={"grade": false, "grade_id": "verdict", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verdict(new, old):
    """"helps", "harms" or "can't tell", from two lists of accuracies with the same seeds (at least two)."""
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
check.equal([0.7, 0.9, 0.8], [0.8, 0.8, 0.79], expected="can't tell", slips={"helps": "is the difference beyond 2 errors?"})
### BEGIN HIDDEN TESTS
check.equal([0.5, 0.9], [0.48, 0.87], expected="helps")  # the pairs agree although the accuracies differ widely
check.equal([0.60, 0.64, 0.60, 0.64], [0.60, 0.60, 0.60, 0.60], expected="can't tell")  # 0.02 to 2 * 0.0115
check.equal([0.60, 0.65, 0.62, 0.67, 0.60, 0.65, 0.62, 0.67, 0.6], [0.6] * 9, expected="helps")  # one standard deviation, more seeds
check.equal([0.60, 0.56, 0.58, 0.54, 0.60, 0.55, 0.6, 0.56, 0.6], [0.6] * 9, expected="harms")
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 5. When transfer harms
#
# A source can be *worse than nothing*: **negative transfer**. Three sources with the same 500 images (digits 0 to 4):
# with their true labels; with the pixels of all images shuffled in one fixed order (no strokes are left); and with
# **random labels**, which the network learns by heart. *Predict for each: does it help or harm, frozen and fine-tuned?*


# %% tags=["item-32"]
def true_labels(seed):
    return few(whole, 100, seed)


def shuffled_pixels(seed):
    images = true_labels(seed).images
    order = torch.randperm(28 * 28, generator=torch.Generator().manual_seed(seed))
    mixed = images.flatten(1)[:, order].reshape(images.shape)
    return dataclasses.replace(true_labels(seed), images=mixed, digest=None)


def random_labels(seed):
    labels = torch.randint(0, 5, (500,), generator=torch.Generator().manual_seed(seed))
    return dataclasses.replace(true_labels(seed), labels=labels)


# %% tags=["item-32"]
harm = {}
for source in (true_labels, shuffled_pixels, random_labels):
    for n, still in ((4, True), (5, False)):
        harm[source.__name__, still] = learned_after(source, n=n, frozen=still, source_epochs=10)
{case: said(found) for case, found in harm.items()}

# %% tags=["item-32"]
figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
names = ("true_labels", "shuffled_pixels", "random_labels")
for still, shift, colour in ((True, -0.2, "sky"), (False, 0.2, "blue")):
    found = [gain(harm[name, still], scratch) for name in names]
    places = [i + shift for i in range(3)]
    label = "4 layers, frozen" if still else "5 layers, fine-tuned"
    axis.bar(places, [100 * m for m, _ in found], 0.38, yerr=[100 * e for _, e in found], color=plots.COLOURS[colour], capsize=4, label=label)
axis.axhline(0, color="black", lw=1)
axis.set_xticks(range(3), [name.replace("_", " ") for name in names])
axis.set(title="Random labels at the source harm the target, even after fine-tuning", xlabel="source task")
axis.set_ylabel("accuracy - from scratch, points")
axis.legend()
plt.show()

# %% tags=["item-32"]
for still in (True, False):
    loss, error = gain(harm["random_labels", still], scratch)
    assert loss < -error, "random labels harm, frozen and fine-tuned"
assert (harm["true_labels", False] > harm["random_labels", False]).all(), "the images are the same: the labels did it"
f"fine-tuned after random labels: {loss:+.1%} ± {error:.1%}"

# %% [markdown]
# To learn random labels by heart, the filters must tell apart images that belong together. This is the opposite of what
# the target needs, and 12 epochs of fine-tuning don't undo it. Always keep the run *from scratch* as a baseline: without
# it, nobody would notice the harm.

# %% [markdown]
# ## 6. The decision table
#
# The usual advice has two questions. *How many images have you? How similar are they to the source's?*
#
# | | similar | very different |
# |---|---|---|
# | **little** | linear classifier on the last codes | trouble: linear classifier on an **earlier** stage |
# | **a lot** | fine-tune a few or all layers | fine-tune more or all layers, from the pretrained weights |
#
# We don't quote it, we *measure* it, with EfficientNet-Lite0 and ImageNet's weights. Similar: 15-Scene. Very different:
# solar cells. Lesson 6 compared fine-tuning, codes and scratch (the same runs here). We add the earlier stages.
#
# *Predict: in which of the four cells will an earlier stage win?*

# %% tags=["item-36"]
SIMILAR = "15-scene" if scenes is not None else "digits"
if scenes is None:
    print("15-Scene isn't here: the digits take its place, though they are no photographs.")
TESTED = {"15-scene": 25 if QUICK else 100, "digits": 40, "solar-cells": 200}  # images a class
NUMBERS = {"15-scene": (4, 25), "digits": (4, 25), "solar-cells": (10, 150)}  # little, a lot: images a class
if not QUICK:
    NUMBERS = {"15-scene": (5, 100), "digits": (5, 100), "solar-cells": (10, 600)}


def prepare(name):
    """The image set without the test images that we leave out to save time, and its split."""
    all_images = datasets.load(name, size=64 if QUICK else 224)
    learn, tests = datasets.split(all_images)
    tests = tests[datasets.few_shot(all_images.labels[tests], TESTED[name], seed=0)]
    kept = torch.cat([learn, tests])
    return all_images.subset(kept), datasets.Split(torch.arange(len(learn)), torch.arange(len(learn), len(kept)))


prepared = {name: prepare(name) for name in (SIMILAR, "solar-cells")}
{name: (len(split.train), len(split.test)) for name, (_, split) in prepared.items()}

# %% [markdown]
# The codes of three stages come from one pass: after block 4, after block 6, and before the last layer.


# %% tags=["item-36"]
def three_stages(images, stage, pool):
    """The mean of each map after block 4, block 6 and the last convolution, side by side: (N, 80 + 192 + 1280)."""
    net, found = lite0.net, []
    maps = net.bn1(net.conv_stem(lite0.normalise(images)))
    for block in net.blocks:
        maps = block(maps)
        found.append(maps.mean((2, 3)))
    return torch.cat([found[3], found[5], net.bn2(net.conv_head(maps)).mean((2, 3))], dim=1)


lite0 = backbones.load()
staged = copy.copy(lite0)  # the same weights, other codes
staged.codes = three_stages
STAGES = {"block4": 80, "block6": 192, "penultimate": 1280}

# %% tags=["item-36"]
stage_codes = {}
for name, (images, _) in prepared.items():
    values = codes.extract(staged, images, "block4+block6+penultimate", progress=False)
    stage_codes[name] = dict(zip(STAGES, values.split(list(STAGES.values()), dim=1), strict=True))
{stage: tuple(values.shape) for stage, values in stage_codes["solar-cells"].items()}


# %% tags=["item-36"]
def linear_on(stage, name, per_class):
    """Test accuracies of a linear classifier on codes of this stage, one for each of five draws of the images."""
    (images, split), values, found = prepared[name], stage_codes[name][stage], []
    for seed in range(5):
        rows = split.train[datasets.few_shot(images.labels[split.train], per_class, seed)]
        head = linear.fit(values[rows], images.labels[rows], kind="logistic", C=10.0)
        found.append(head.accuracy(values[split.test], images.labels[split.test]))
    return found


# %% tags=["item-36"]
HOW = {"size": 64, "batch": 16, "epochs": 4, "epochs_last": 0, "epochs_scratch": 3, "all_from": "block3"} if QUICK else {}


def trained(method, name, per_class):
    """Test accuracies of "fine_tune" or "scratch" (helpers.transfer), one a seed."""
    images, split = prepared[name]
    seeds = range(2 if QUICK else 3)
    runs = transfer.compare(
        images, methods=[method], per_class=[per_class], seeds=seeds, split=split, progress=False, **HOW
    )
    return [run.accuracy for run in runs]


# %% tags=["item-36"]
table = {}  # table[set, images a class][method]: accuracies; the cheapest method first
for name in prepared:
    for per_class in NUMBERS[name]:
        table[name, per_class] = {f"linear, {stage}": linear_on(stage, name, per_class) for stage in reversed(STAGES)}
        table[name, per_class]["fine-tune"] = trained("fine_tune", name, per_class)
        table[name, per_class]["scratch"] = trained("scratch", name, per_class)
{cell: {method: said(torch.tensor(found)) for method, found in row.items()} for cell, row in table.items()}

# %% tags=["item-36"]
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
methods = list(table["solar-cells", NUMBERS["solar-cells"][0]])
for axis, name in zip(axes, prepared, strict=True):
    for per_class, colour, shift in zip(NUMBERS[name], ("orange", "blue"), (-0.1, 0.1), strict=True):
        found = [torch.tensor(table[name, per_class][method]) for method in methods]
        means, spreads = [100 * v.mean() for v in found], [100 * v.std() for v in found]
        places = [i + shift for i in range(len(methods))]
        label = f"{per_class} images a class"
        axis.errorbar(means, places, xerr=spreads, fmt="o", capsize=4, color=plots.COLOURS[colour], label=label)
    axis.axvline(100 / len(prepared[name][0].classes), color="gray", ls=":", label="guessing")
    axis.set(title=name, xlabel="test accuracy, %", yticks=range(len(methods)), yticklabels=methods)
    axis.legend()
axes[0].invert_yaxis()
figure.suptitle("TABLETITLE")
plt.close(figure)
figure

# %% [markdown]
# ### Exercise 4 · a rule from the table (3 points)
# Of two methods that are equally good we take the cheaper. Write `choose(results)`: `results` is a dictionary from a
# method's name to its list of accuracies (two or more seeds), **the cheapest method first**. Find the method with the
# highest mean. Return the name of the *first* method whose mean is at least this mean minus the best method's spread (its
# sample standard deviation). Example: `choose({"linear": [0.80, 0.82], "fine-tune": [0.80, 0.84]})` is `"linear"`: the
# best mean is 0.82 with a spread of 0.028, and 0.81 is above 0.792.


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
check.equal({"linear": [0.70, 0.72], "fine-tune": [0.83, 0.84], "scratch": [0.83, 0.835]}, expected="fine-tune", slips=slips)
### BEGIN HIDDEN TESTS
check.equal({"a": [0.4, 0.8], "b": [0.86, 0.87]}, expected="b")  # the spread is the best method's, not a's own
check.equal({"a": [0.73, 0.73], "b": [0.74, 0.76], "c": [0.76, 0.80, 0.78, 0.70]}, expected="a")
check.equal({"a": [0.725, 0.725], "b": [0.70, 0.80]}, expected="a")  # sample standard deviation: 0.0707
check.equal({"a": [0.69, 0.69], "b": [0.70, 0.80]}, expected="a")
check.equal({"only": [0.5, 0.6]}, expected="only")
### END HIDDEN TESTS
check.score()

# %% [markdown]
# `helpers.layers.simplest` does the same. Applied to the measured table, it gives *our* rule:

# %% tags=["item-36"]
rule = {cell: layers.simplest(row) for cell, row in table.items()}
rule

RULETEXT
# %% [markdown]
# ## 7. Transfer is the norm: a backbone in a detector
#
# Detectors, segmenters and captioners start from a pretrained backbone, too. A detector must say **where** something is.
# The map before the average still knows it. We build the smallest detector: Lite0's map after block 5, frozen, and
# **one** 1×1 convolution. At each place of the map it gives 5 numbers: a score, the shift of the box's centre, and the
# logarithms of its width and height.
#
# The scenes are made: a piece of a photograph, pasted on brick, grass or gravel. The test scenes show pieces of *other*
# photographs (cat and coffee), which the detector has never seen.

# %% tags=["item-43"]
known = ("astronaut", "rocket", "china", "flower", "camera", "hubble", "retina", "coins")
photo = {n: pil_to_tensor(datasets.photograph(n)).float() for n in (*known, "cat", "coffee", "brick", "grass", "gravel")}


def made_scene(names, seed, size=128):
    """An image (3, size, size), uint8, and the box (x1, y1, x2, y2) of the piece in it."""
    torch.manual_seed(seed)

    def pick(low, high):
        return int(torch.randint(low, high + 1, ()))

    ground = photo[("brick", "grass", "gravel")[seed % 3]]
    top, left = pick(0, ground.shape[1] - size), pick(0, ground.shape[2] - size)
    canvas = ground[:, top : top + size, left : left + size].clone()
    width, height = pick(32, 72), pick(32, 72)
    x, y = pick(0, size - width), pick(0, size - height)
    thing = photo[names[pick(0, len(names) - 1)]]
    side = pick(min(thing.shape[1:]) // 2, min(thing.shape[1:]))
    top, left = pick(0, thing.shape[1] - side), pick(0, thing.shape[2] - side)
    piece = thing[None, :, top : top + side, left : left + side]
    canvas[:, y : y + height, x : x + width] = F.interpolate(piece, (height, width), mode="bilinear", antialias=True)[0]
    return canvas.byte(), torch.tensor([x, y, x + width, y + height])


def made_scenes(names, n, first):
    """n scenes: images (n, 3, 128, 128) and boxes (n, 4)."""
    images, boxes = zip(*(made_scene(names, first + i) for i in range(n)), strict=True)
    return torch.stack(images), torch.stack(boxes).float()


# %% tags=["item-43"]
train_images, train_boxes = made_scenes(known, n=240, first=0)
test_images, test_boxes = made_scenes(("cat", "coffee"), n=90, first=1000)
plots.images([*train_images[:4], *test_images[:4]], ["to learn"] * 4 + ["to test"] * 4, columns=8, size=1.5, title="Find the piece that doesn't belong here")


# %% tags=["item-43"]
@torch.inference_mode()
def feature_maps(network, images):
    """What the network's block 5 sees: (N, 112, 8, 8). Frozen, so each image is needed once."""
    return torch.cat([network.maps(part, "block5") for part in images.split(30)]).clone()


CELL = 16  # pixels of the image for each place of the map
maps = feature_maps(lite0, train_images), feature_maps(lite0, test_images)
[tuple(part.shape) for part in maps]

# %% [markdown]
# A place of the map is responsible for a box when the box's *centre* lies in it. It learns the box relative to itself;
# the other places learn a low score. (So do the one-stage detectors that you find in use, with many more places.)


# %% tags=["item-43"]
def boxes_of(out, places):
    """Boxes (N, 4) that the given places (row, column) of the output (N, 5, 8, 8) say."""
    (i, j), n = places, torch.arange(len(out))
    dx, dy, width, height = out[n, 1:, i, j].T
    x, y = (j + 0.5 + dx) * CELL, (i + 0.5 + dy) * CELL
    width, height = 64 * width.exp(), 64 * height.exp()
    return torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=1)


def detect(out):
    """The box with the highest score in each image: (N, 4)."""
    best = out[:, 0].flatten(1).argmax(1)
    return boxes_of(out, (best // out.shape[3], best % out.shape[3]))


# %% tags=["item-43"]
def detection_loss(out, boxes):
    """Cross-entropy of the scores (which place?), and the error of the box at the right place, in half boxes."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    j, i = (centre / CELL).long().T
    wrong = (boxes_of(out, (i, j)) - boxes) / 32
    return F.cross_entropy(out[:, 0].flatten(1), i * out.shape[3] + j) + F.smooth_l1_loss(wrong, torch.zeros_like(wrong))


def mean_overlap(head, features, boxes):
    """Mean intersection over union of found and true boxes."""
    with torch.inference_mode():
        return box_iou(detect(head.eval()(features)), boxes).diag().mean().item()


# %% tags=["item-43"]
def train_head(features, tests, seed, epochs=30):
    """One 1×1 convolution on normalised maps. Returns it, and the mean overlap on the test scenes over the epochs."""
    torch.manual_seed(seed)
    head = nn.Sequential(nn.BatchNorm2d(112, affine=False), nn.Conv2d(112, 5, kernel_size=1))
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.05)
    overlaps = [mean_overlap(head, tests, test_boxes)]
    for epoch in range(1, epochs + 1):
        head.train()
        for rows in torch.randperm(len(features)).split(40):
            loss = detection_loss(head(features[rows]), train_boxes[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if epoch % 5 == 0:
            overlaps.append(mean_overlap(head, tests, test_boxes))
    return head, overlaps


# %% [markdown]
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
check.equal((0, 0, 2, 2), (1, 0, 3, 2), expected=1 / 3, slips={1 / 4: "what both share is counted once in the union.", 1 / 2: "divide by the union."})
check.equal((0, 0, 4, 4), (1, 1, 3, 3), expected=0.25)
check.equal((0, 0, 1, 1), (5, 0, 6, 1), expected=0, slips={-2 / 3: "widths can't be negative."})
### BEGIN HIDDEN TESTS
check.equal((0, 0, 2, 1), (0, 0, 2, 1), expected=1)
check.equal((0, 0, 1, 1), (3, 4, 5, 6), expected=0)  # apart in both directions: two negative factors
check.equal((1, 2, 7, 5), (3, 1, 5, 9), expected=6 / 28)
check.equal((-3, -2, 1, 0), (-1, -1, 4, 3), expected=2 / 26)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# Now train. As a control, the same head learns on maps of a Lite0 with *random* weights. *Predict the mean IoU on unseen
# things, for both.*

# %% tags=["item-43"]
heads, overlap = {}, {"pretrained": [], "random": []}
for seed in SEEDS:
    torch.manual_seed(seed)
    blind = backbones.load(pretrained=False)
    blind_maps = feature_maps(blind, train_images), feature_maps(blind, test_images)
    for name, (features, tests) in {"pretrained": maps, "random": blind_maps}.items():
        heads[name, seed], history = train_head(features, tests, seed)
        overlap[name].append(history)
overlap = {name: torch.tensor(histories) for name, histories in overlap.items()}
{name: (f"{v[:, 0].mean():.2f} before", f"{v[:, -1].mean():.2f} ± {v[:, -1].std():.2f} after") for name, v in overlap.items()}

# %% tags=["item-43"]
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for (name, found), colour in zip(overlap.items(), ("blue", "vermilion"), strict=True):
    axis.errorbar(range(0, 31, 5), found.mean(0), found.std(0), marker="o", capsize=3, color=plots.COLOURS[colour], label=f"{name} backbone")
axis.set(title="One convolution learns to localise; a trained backbone helps", xlabel="epoch", ylabel="mean IoU, test scenes")
axis.legend()
plt.show()

# %% tags=["item-43"]
assert (overlap["pretrained"][:, -1] > overlap["pretrained"][:, 0] + 0.3).all(), "the boxes get better"
assert (overlap["pretrained"][:, -1] > overlap["random"][:, -1]).all(), "on each seed, the trained backbone is better"
found = detect(heads["pretrained", 0](maps[1])).detach()
found[:2].round().tolist(), test_boxes[:2].tolist()

# %% tags=["item-43"]
figure, axes = plt.subplots(1, 6, figsize=(11, 2.4), layout="constrained")
for axis, image, box, true in zip(axes, test_images, found, test_boxes, strict=False):
    axis.imshow(image.permute(1, 2, 0))
    for (x1, y1, x2, y2), colour, style in ((true, "yellow", "--"), (box, "sky", "-")):
        axis.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=plots.COLOURS[colour], ls=style, lw=2)
    axis.set_title(f"IoU {box_iou(box[None], true[None]).item():.2f}", fontsize=10)
    axis.axis("off")
figure.suptitle("Found (blue) and true (yellow, dashed) boxes of things that it has never seen")
plt.show()

# %% [markdown]
# Nobody told Lite0 where things are, in ImageNet or here. Its map knew.
#
# ### The same in a full detector
# torchvision's Faster R-CNN takes any backbone that returns a map. In the original (Girshick 2015, Ren 2015), too, the
# backbone came from ImageNet classification. One step of training, to see that gradients reach Lite0:


# %% tags=["item-43"]
class MapOnly(nn.Module):
    """A backbone as torchvision's detectors want it: images -> one map, and the number of its channels."""

    out_channels = 112

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network.maps(255 * images, "block5")


# %% tags=["item-43"]
torch.manual_seed(0)
detector = FasterRCNN(
    MapOnly(copy.deepcopy(lite0)),
    num_classes=2,  # background, thing
    rpn_anchor_generator=AnchorGenerator(sizes=((32, 64),), aspect_ratios=((0.5, 1.0, 2.0),)),
    min_size=128,
    image_mean=[0.0] * 3,  # Lite0 normalises by itself
    image_std=[1.0] * 3,
)
targets = [{"boxes": box[None], "labels": torch.ones(1, dtype=torch.int64)} for box in train_boxes[:4]]
losses = detector.train()(list(train_images[:4].float() / 255), targets)
sum(losses.values()).backward()
{name: round(loss.item(), 3) for name, loss in losses.items()}

# %% tags=["item-43"]
reached = [p.grad.abs().sum().item() > 0 for p in detector.backbone.parameters() if p.grad is not None]
assert sum(reached) > 100 and all(loss.isfinite() for loss in losses.values()), "the detector trains Lite0, too"
sum(reached)

# %% [markdown]
# ### Exercise 6 · advise (2 points, marked by hand)
# Two classmates ask you. One has 40 labelled X-ray images, 20 a class. The other has 50,000 labelled photographs of shops.
# Both have a network with ImageNet's weights. What do you advise to each, and why? Use at least two *results of this
# lesson* (with numbers), and say what each must measure besides. Five to eight sentences.

# %% [markdown] nbgrader={"grade": true, "grade_id": "advise", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# ADVICE
# ### END SOLUTION

# %% [markdown]
# ## What to remember
# - Domain: what inputs, how often. Task: which labels, which function. Say which of the two changes.
# - First layers are general, last layers specific; the less similar the source, the earlier "specific" begins. Fine-tuning
#   repairs it.
# - Pretraining pays most where target images are few. With many images and a long schedule, scratch catches up.
# - A source can harm. Keep the baseline from scratch, several seeds, and compare seed by seed.
# - Of methods that are equally good within the spread, take the cheapest; a rule is only as good as its table.
#
# **Papers.** Pan, Yang, *A survey on transfer learning*, 2010. Yosinski, Clune, Bengio, Lipson, *How transferable are
# features in deep neural networks?*, 2014. Huh, Agrawal, Efros, *What makes ImageNet good for transfer learning?*, 2016.
# He, Girshick, Dollár, *Rethinking ImageNet pre-training*, 2019. Maennel and others, *What do neural networks learn when
# trained with random labels?*, 2020. Girshick, *Fast R-CNN*, 2015. Ren, He, Girshick, Sun, *Faster R-CNN*, 2015.
