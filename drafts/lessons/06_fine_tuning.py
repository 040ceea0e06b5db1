# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 6 · Fine-tuning
#
# After this lesson you can
# - choose between training from scratch, extracting codes and fine-tuning, and show with seeds that the choice is right;
# - fine-tune without destroying what the network knows: head first, small rates for the body;
# - explain, and avoid, the trap that BatchNorm sets for "frozen" layers.
#
# **You need** Python, some PyTorch, and the idea of a CNN code (lesson 5). Solar cells come with the packages. 15-Scene
# is used when it is there or can be downloaded; without it the lesson goes on with the solar cells.
# **Time:** MINUTES

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
import statistics

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from helpers import backbones, codes, datasets, linear, plots, training, transfer
from helpers.checks import Check

# %% [markdown]
# ## 1. Two sets, three ways
#
# Two kinds of images. For both we want a classifier:
# - **15-Scene**: photographs of 15 kinds of places. *Similar* to ImageNet, which is made of photographs, too.
# - **Solar cells**: 2 classes, whole and defective, in infrared light. *Very different* from ImageNet.
#
# In the quick budget, images are 64×64 pixels and we train for a few seconds; in the full one 224×224. To save time we
# test on a fixed part of the test images, as many of each class, so guessing gives 1/15 and 1/2.

# %%
QUICK = machine.budget() == "quick"
SIZE, SEEDS = (64, range(2)) if QUICK else (224, range(3))
TESTED = {"15-scene": 25 if QUICK else 100, "solar-cells": 200, "pets": 400}  # images a class


def prepare(name):
    """The image set without the test images that we leave out, and its split."""
    whole = datasets.load(name, size=SIZE)
    train, test = datasets.split(whole)
    test = test[datasets.few_shot(whole.labels[test], TESTED[name], seed=0)]
    kept = torch.cat([train, test])
    return whole.subset(kept), datasets.Split(torch.arange(len(train)), torch.arange(len(train), len(kept)))


# %%
sets = {}
for name in ("15-scene", "solar-cells"):
    with contextlib.suppress(datasets.NotHere):  # it has said so in one line
        sets[name] = prepare(name)
{name: (len(split.train), len(split.test)) for name, (_, split) in sets.items()}

# %%
shown = [images.images[i] for images, _ in sets.values() for i in range(0, 1400, 200)]
kinds = " and ".join(sets)
plots.images(shown, columns=7, size=1.2, title=f"{kinds}: photographs, or something that ImageNet never showed")

# %% [markdown]
# The three ways, all with the same network (EfficientNet-Lite0):
#
# | | starts from | learns |
# |---|---|---|
# | **scratch** | random weights | everything |
# | **extract** | ImageNet's weights | a linear classifier on the codes; the network stays as it is |
# | **fine-tune** | ImageNet's weights and a fitted head | everything, with small steps |
#
# *Predict: which way is best with a handful of images a class? Which one with many? How many images until training from
# scratch catches up?*

# %%
NUMBERS = {"15-scene": (4, 10, 25), "solar-cells": (10, 40, 150)}  # images a class to learn from
HOW = {"size": 64, "batch": 16, "epochs": 4, "epochs_last": 0, "epochs_scratch": 3, "all_from": "block3"}
if not QUICK:
    NUMBERS = {"15-scene": (5, 20, 50, 100), "solar-cells": (10, 50, 200, 600)}
    HOW = {}  # the full budget's own settings


def measure(name):
    """Runs of the three methods over numbers of images and seeds."""
    (images, split), (least, *_, most) = sets[name], NUMBERS[name]
    options = {"split": split, "seeds": SEEDS, "progress": False} | HOW
    found = transfer.compare(images, methods=("extract", "fine_tune"), per_class=NUMBERS[name], **options)
    return found + transfer.compare(images, methods=("scratch",), per_class=(least, most), **options)


# %% tags=["item-34", "item-36"]
results = {name: measure(name) for name in sets}
[str(line) for name in sets for line in transfer.summary(results[name])]

# %% [markdown]
# Each number is a mean over seeds; ± is the standard deviation. A seed changes which images we learn from, and all that
# is random in training. Rates and epochs were chosen on *training* images that the few-shot choice had left over, never
# on the test images.


# %%
def draw(axis, name):
    """One panel: accuracy over the number of images a class."""
    marks = {"extract": ("blue", "o"), "fine_tune": ("vermilion", "s"), "scratch": ("green", "^")}
    for method, (colour, marker) in marks.items():
        lines = [line for line in transfer.summary(results[name]) if line.method == method]
        x, mean, spread = zip(*[(line.per_class, 100 * line.mean, 100 * line.spread) for line in lines], strict=True)
        axis.errorbar(x, mean, spread, color=plots.COLOURS[colour], marker=marker, capsize=3, label=method)
    chance = 100 / len(sets[name][0].classes)
    axis.axhline(chance, color="gray", linestyle=":", label="guessing")
    axis.set(xscale="log", xlabel="training images a class", title=name, ylim=(0, 100))
    axis.set_xticks(NUMBERS[name], NUMBERS[name])
    axis.minorticks_off()


# %% tags=["item-34", "item-36"]
figure, axes = plt.subplots(1, len(sets), figsize=(4.6 * len(sets), 3.6), sharey=True, layout="constrained", squeeze=False)
for axis, name in zip(axes[0], sets, strict=True):
    draw(axis, name)
axes[0, 0].set_ylabel("test accuracy, %")
axes[0, -1].legend(loc="lower right")
figure.suptitle("TITLE1")
plt.close(figure)
figure

# %%
def gain(name, method, over, number):
    """By how much one method beats another with the same images: a difference for each seed, in points."""
    runs = {(run.method, run.seed): 100 * run.accuracy for run in results[name] if run.per_class == number}
    return [round(runs[method, seed] - runs[over, seed], 1) for seed in SEEDS]


# %% tags=["item-34", "item-36"]
for name in sets:
    lines = {line.method: line for line in transfer.summary(results[name]) if line.per_class == NUMBERS[name][-1]}
    worst_code = lines["extract"].mean - lines["extract"].spread
    assert lines["scratch"].mean + lines["scratch"].spread < worst_code, f"{name}: codes beat scratch, spreads apart"
{name: gain(name, "extract", "scratch", NUMBERS[name][-1]) for name in sets}

# %% [markdown]
# Training from scratch is far behind: 4.7 million weights can't be found from some hundred images. He et al. (2019) show
# that it does catch up, with a hundred times our images and a long schedule.
#
# *And does fine-tuning pay?* Compare it with the codes seed by seed, on the same images:

# %% tags=["item-36"]
pays = {name: {n: gain(name, "fine_tune", "extract", n) for n in NUMBERS[name]} for name in sets}
pays

# %% tags=["item-36"]
for name in sets:
    least, most = (statistics.mean(pays[name][n]) for n in (NUMBERS[name][0], NUMBERS[name][-1]))
    assert least < 0, f"{name}: with a handful of images, fine-tuning loses to the codes"
    assert most > least, f"{name}: more images are worth more to fine-tuning than to the codes"
if "15-scene" in sets:
    assert min(pays["15-scene"][NUMBERS["15-scene"][-1]]) > 0, "scenes: with many images it wins, for each seed"

# %% [markdown]
# With a handful of images, fine-tuning *loses*: it moves millions of weights to please a few pictures. With more images
# it gains on the codes, and on the scenes it passes them. On solar cells at 64 pixels, some seconds of fine-tuning are
# not enough to pass them. (In the full budget we use 224 pixels, 600 images a class and 10 epochs.)
#
# The rest of the lesson asks *how* to fine-tune, and what can go wrong.
#
# ## 2. Freezing
#
# A weight is **frozen** when it gets no gradient: `requires_grad` is `False`. *Predict: what part of Lite0's 4.7 million
# weights is left to learn when all but a new last layer for 15 classes is frozen?*

# %% tags=["item-34"]
network = backbones.load("efficientnet_lite0", classes=15)
head_only = backbones.freeze(network)
last_blocks = backbones.freeze(network, "block6")
everything = backbones.unfreeze(network)
assert head_only == 1280 * 15 + 15 and head_only < 0.01 * everything, "the head is less than one per cent"
head_only, last_blocks, everything

# %% [markdown]
# The last blocks (block6, block7, and the widening to 1,280 channels) hold most of the weights: many channels. The early
# ones are small, but their maps are large, so they take most of the time.
#
# ### Exercise 1 · freeze (2 points)
# Write `freeze(net, first)`: `net` is an `nn.Sequential`. The weights of `net[0]` ... `net[first - 1]` must not learn,
# those of `net[first]` and all later parts must. It may be called several times with other values of `first`. Return how
# many numbers can learn. Example: for `nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))`, `freeze(net, 2)` is 8.


# %% nbgrader={"grade": false, "grade_id": "freeze", "locked": false, "schema_version": 3, "solution": true, "task": false}
def freeze(net, first):
    """Let only net[first] and what follows learn; return the number of weights (numbers) that can learn.

    net: nn.Sequential; first: 0 (everything learns) to len(net) (nothing does).
    """
    ### BEGIN SOLUTION
    learns = 0
    for i, part in enumerate(net):
        for parameter in part.parameters():
            parameter.requires_grad_(i >= first)
            learns += parameter.numel() * (i >= first)
    return learns
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "freeze_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
def tiny():
    parts = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.Linear(5, 2)]
    return nn.Sequential(*parts)  # 112 + 8 + 0 + 25 + 12 numbers


check = Check(freeze, points=2)
slips = {120: "that is what you froze.", 157: "nothing was frozen.", 12: "net[3] must learn, too.", 37.0: "?"}
slips = {120: "that is what you froze.", 157: "was anything frozen?", 12: "net[first] learns, too.", 4: "numbers, not tensors."}
check.equal(tiny(), 3, expected=37, slips=slips, show="net, 3")
net = tiny()
text = "after freeze(net, 3) the parameters learn: no no no no yes yes yes yes"
check.that(text, lambda f: f(net, 3) and [p.requires_grad for p in net.parameters()] == [False] * 4 + [True] * 4)
### BEGIN HIDDEN TESTS
check.that("a second call frees again", lambda f: f(net, 4) == 12 and f(net, 0) == 157 and f(net, 1) == 45)
check.that("all learn after freeze(net, 0)", lambda f: f(net, 5) == 0 and f(net, 0) and all(p.requires_grad for p in net.parameters()))
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 3. Head first
#
# The old head names 1,000 things. We replace it by a new one, with **random** weights. In the first steps it sends random
# gradients down into the body, which was good before. So the recipe has two steps:
# 1. **head first**: train the new head with all else frozen, until it is good;
# 2. **then** unfreeze the last blocks, or everything, with a rate for the body of about a tenth.
#
# Step 1 costs nearly nothing: as the body stands still, we compute its codes once and fit a linear classifier on them.
# `transfer.fit_head` puts that one in the place of the head.
#
# *Predict: what is left of the body after a single epoch, in one step and in two?* We measure three things on test images:
# the accuracy; how much each code has turned (cosine between old and new code: 1 is unchanged, 0 has nothing in common);
# and how good the moved codes still are, when a *fresh* head is fitted on them.

# %%
main = "15-scene" if "15-scene" in sets else "solar-cells"
FEW = {"15-scene": 8, "solar-cells": 60}[main]


def few_images(seed):
    """(train, test): a few images of each class, drawn with the seed, and the test images."""
    images, split = sets[main]
    train = split.train[datasets.few_shot(images.labels[split.train], FEW, seed)]
    return images.subset(train), images.subset(split.test)


# %%
def starting_network(train, seed, head_first):
    """ImageNet's body with a new head: random, or fitted on the codes of ``train``. BatchNorm is kept still."""
    torch.manual_seed(seed)
    network = backbones.load()
    if head_first:
        transfer.fit_head(network, train, progress=False)
    else:
        backbones.replace_head(network, len(train.classes))
    backbones.freeze_norms(network)
    return network


# %%
def damage(network, train, test):
    """What became of the body: how its codes turned, and the test accuracy of a fresh head on them."""
    options = {"progress": False, "cache": False}
    before = codes.extract(backbones.load(), test, progress=False)
    after = codes.extract(network, test, **options)
    fresh = linear.fit(codes.extract(network, train, **options), train.labels, kind="logistic", C=10.0)
    return {
        "accuracy": training.evaluate(network, test).accuracy,
        "cosine": F.cosine_similarity(before, after).mean().item(),
        "fresh_head": fresh.accuracy(after, test.labels),
    }


# %%
def moved_weights(network):
    """How far the weights of each stage are from ImageNet's, relative to their size."""
    ratios = {}
    pairs = zip(network.stage_of_parameters(), backbones.load().parameters(), strict=True)
    for (stage, _, new), old in pairs:
        if stage != "logits" and new.ndim > 1:
            ratios.setdefault(stage, []).append(((new - old).norm() / old.norm()).item())
    return {stage: statistics.mean(values) for stage, values in ratios.items()}


# %%
def one_epoch(seed, head_first, body_rate, decay=1.0):
    """Fine-tune all layers for one epoch at constant rates; the head's rate is always 1e-3."""
    train, test = few_images(seed)
    network = starting_network(train, seed, head_first)
    groups = backbones.parameter_groups(network, head_rate=1e-3, body_rate=body_rate, decay=decay)
    options = {"epochs": 1, "batch": 16, "schedule": "constant", "augment": transfer.default_augment(train)}
    training.fit(network, train, groups=groups, seed=seed, progress=False, **options)
    return damage(network, train, test) | {"moved": moved_weights(network)}


# %% tags=["item-34"]
arms = {
    "random head, body rate as the head's": {"head_first": False, "body_rate": 1e-3},
    "random head, body rate 1/10": {"head_first": False, "body_rate": 1e-4},
    "head first, body rate as the head's": {"head_first": True, "body_rate": 1e-3},
    "head first, body rate 1/10": {"head_first": True, "body_rate": 1e-4},
    "head first, discriminative rates": {"head_first": True, "body_rate": 1e-3, "decay": 0.5},
}
epochs = {arm: [one_epoch(seed, **options) for seed in range(3)] for arm, options in arms.items()}

# %%
def mean_spread(arm, key):
    """(mean, standard deviation) over the seeds."""
    values = [run[key] for run in epochs[arm]]
    return statistics.mean(values), statistics.stdev(values)


untouched = []
for seed in range(3):
    train, test = few_images(seed)
    untouched.append(damage(starting_network(train, seed, head_first=True), train, test))
epochs["before: head fitted, body untouched"] = untouched

# %% tags=["item-34"]
table = {arm: [f"{m:.2f} ± {s:.2f}" for m, s in (mean_spread(arm, k) for k in ("accuracy", "cosine"))] for arm in epochs}
table

# %% tags=["item-34"]
order = ["before: head fitted, body untouched", *list(arms)[3::-1]]
means, spreads = zip(*[mean_spread(arm, "fresh_head") for arm in order], strict=True)
title = f"{main}: after one epoch, a random head and a large rate have spoilt the body"
label = "test accuracy of a fresh head on the moved codes, %"
plots.bars(order, means, spreads, title=title, label=label, colours=["black", "blue", "orange", "sky", "vermilion"])

# %% tags=["item-34"]
one_step, gentle, fast, two_steps = (mean_spread(arm, "cosine") for arm in list(arms)[:4])
assert two_steps[0] - two_steps[1] > gentle[0] + gentle[1], "head first: the codes turn less, at the same rate"
assert two_steps[0] - two_steps[1] > fast[0] + fast[1], "a tenth of the rate: the codes turn less"
spoilt, kept = (mean_spread(list(arms)[i], "fresh_head") for i in (0, 3))
assert spoilt[0] + spoilt[1] < kept[0] - kept[1], "what one step destroys, a fresh head can't bring back"

# %% [markdown]
# In one step, at one rate, the body is spoilt: even a fresh head finds little in its codes. Both halves of the recipe
# help, and they help together: head first, *and* a tenth of the rate.
#
# The optimiser here is AdamW, whose steps have about the size of the rate, however small the gradient is. So even behind
# a good head, a large rate moves every weight by much. A random head makes it worse, as its gradients point nowhere.
#
# ## 4. Discriminative rates
#
# Early stages find edges, which are good everywhere; late ones find what ImageNet needs. So the later the stage, the more
# it should change. **Discriminative rates** (Howard & Ruder 2018): each stage learns at a fraction, `decay`, of the rate
# of the next one. *Predict: with a head rate of 0.001, a body rate of 0.001 and decay 0.5, at which rate do the seven
# blocks and the stem learn?*

# %% tags=["item-34"]
groups = backbones.parameter_groups(backbones.load(), head_rate=1e-3, body_rate=1e-3, decay=0.5)
rates = {group["name"]: group["lr"] for group in groups}
assert math.isclose(rates["stem"], 1e-3 * 0.5**8), "nine stages below the head: the stem is eight halvings away"
{stage: f"{rate:.1e}" for stage, rate in rates.items()}

# %% [markdown]
# We already have a run with these rates: the last arm of section 3. *Which stages have moved, and how far?*

# %% tags=["item-34"]
compared = dict(list(arms.items())[2:])
stages = list(epochs["head first, body rate 1/10"][0]["moved"])
shares = {arm: [[run["moved"][stage] for stage in stages] for run in epochs[arm]] for arm in compared}
title = "Discriminative rates: the last stages move freely, the first ones hardly"
figure = plots.curves(range(len(stages)), shares, title=title, xlabel="stage", ylabel="moved / size of the weights")
figure.axes[0].set_xticks(range(len(stages)), stages, fontsize=8)
figure.axes[0].set_yscale("log")
figure

# %% tags=["item-34"]
ratio = {arm: mean_of["head"] / mean_of["stem"] for arm, mean_of in [(arm, epochs[arm][0]["moved"]) for arm in compared]}
turning, quality = (mean_spread("head first, discriminative rates", key) for key in ("cosine", "fresh_head"))
assert ratio["head first, discriminative rates"] > 20 * ratio["head first, body rate 1/10"], "late stages move, early don't"
assert turning[0] - turning[1] > fast[0] + fast[1], "the same rate at the top, but the codes turn less"
assert quality[0] > mean_spread("head first, body rate as the head's", "fresh_head")[0], "and stay more useful"
{arm: round(value, 1) for arm, value in ratio.items()}

# %% [markdown]
# With discriminative rates the last stage may learn as fast as the head, and the body survives.
#
# One thing more in `parameter_groups`: norms and biases get no weight decay, since there is nothing to gain from pulling
# a scale of 1 to 0.
#
# ### Exercise 2 · parameter groups (3 points)
# Write `rate_groups(net, head_rate, body_rate, decay)` for an `nn.Sequential` whose last part is the head. Return a list
# of groups for an optimiser, in the order of the network: one dictionary `{"params": [...], "lr": rate}` for each part
# that has parameters *that can learn*. The head gets `head_rate`; the last part with parameters before it gets
# `body_rate`; each part with parameters before that `decay` times the rate of the next such part. A frozen part gives no
# group, but counts for the rates.
# Example: three linear layers with `rate_groups(net, 0.1, 0.01, 0.5)` have the rates 0.005, 0.01 and 0.1.


# %% nbgrader={"grade": false, "grade_id": "rate_groups", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rate_groups(net, head_rate, body_rate, decay):
    """Groups [{"params": [parameters], "lr": rate}, ...] with discriminative rates, from the input to the head.

    net: nn.Sequential, its last part is the head; parts without parameters (ReLU) have no group and no rate.
    """
    ### BEGIN SOLUTION
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    body = [body_rate * decay**i for i in range(len(parts) - 1)][::-1]
    pairs = zip(parts, [*body, head_rate], strict=True)
    groups = [{"params": [p for p in part if p.requires_grad], "lr": rate} for part, rate in pairs]
    return [group for group in groups if group["params"]]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rate_groups_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
def rates_of(groups):
    return [group["lr"] for group in groups]


net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
relu = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 1))
check = Check(rate_groups, points=3)
same = lambda found, wanted: len(found) == len(wanted) and all(map(math.isclose, found, wanted))  # noqa: E731
hint = "From the input to the head: 0.005, 0.01, 0.1. The smallest rate belongs to the first layer."
check.that("three layers: 0.005, 0.01, 0.1", lambda f: same(rates_of(f(net, 0.1, 0.01, 0.5)), [0.005, 0.01, 0.1]), hint=hint)
check.that("each group holds its layer's weight and bias", lambda f: [len(g["params"]) for g in f(net, 0.1, 0.01, 0.5)] == [2, 2, 2] and f(net, 0.1, 0.01, 0.5)[0]["params"][0] is net[0].weight)
### BEGIN HIDDEN TESTS
check.that("a ReLU has no rate", lambda f: same(rates_of(f(relu, 1.0, 0.1, 0.1)), [0.001, 0.01, 0.1, 1.0]))
for p in relu[2].parameters():
    p.requires_grad_(False)
check.that("a frozen part has no group, but counts", lambda f: same(rates_of(f(relu, 1.0, 0.1, 0.1)), [0.001, 0.1, 1.0]))
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 5. Warm up, then cool down
#
# In its first steps an optimiser knows little of the sizes of the gradients, and the head is new. So rates start small,
# **warm up**, and then fall, so that the weights come to rest. *One cycle* (Smith & Topin 2018) does both, and is the
# default of `training.fit`. *Predict: do the ratios between stages stay the same during the cycle?*

# %% tags=["item-34"]
kept_groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rates[stage]} for stage in ("block1", "block4", "head", "logits")]
optimiser = torch.optim.AdamW(kept_groups)
cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, [group["lr"] for group in kept_groups], total_steps=100)
rows = []
for _ in range(100):
    rows.append([group["lr"] for group in optimiser.param_groups])
    optimiser.step()
    cycle.step() if len(rows) < 100 else None

# %% tags=["item-34"]
rows = torch.tensor(rows)
names = ("block1", "block4", "last stage = head", "")[:3]
figure, axis = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for i, (name, colour) in enumerate(zip(names, ("sky", "green", "vermilion"), strict=True)):
    axis.semilogy(rows[:, i], color=plots.COLOURS[colour], label=name)
axis.set(xlabel="step", ylabel="learning rate", title="All stages warm up and cool down together; their ratios stay")
axis.legend()
plt.close(figure)
figure

# %% tags=["item-34"]
ratios = rows[:, 2] / rows[:, 0]
assert torch.allclose(ratios, ratios[:1], rtol=1e-3), "the ratio between stages doesn't change"
assert 20 < rows[:, 2].argmax() < 40, "the top is reached after about 30 % of the steps"
ratios[0].item(), int(rows[:, 2].argmax())

# %% [markdown]
# ### Exercise 3 · a schedule (2 points)
# Write `rate_at(step, steps, warm, highest)`: the rate at a step (0, 1, ... `steps` - 1). During the first `warm` steps it
# rises in a straight line, so that step 0 has `highest / warm` and step `warm - 1` has `highest`. After that it falls
# along half a cosine wave: `highest` · (1 + cos(π·t)) / 2, where t grows evenly from 0 at step `warm - 1` to 1 at the last
# step. Example: `rate_at(0, 10, 4, 0.1)` is 0.025 and `rate_at(3, 10, 4, 0.1)` is 0.1.


# %% nbgrader={"grade": false, "grade_id": "rate_at", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rate_at(step, steps, warm, highest):
    """The learning rate (a float) at a step: a linear warm-up of ``warm`` steps, then half a cosine down to 0."""
    ### BEGIN SOLUTION
    if step < warm:
        return highest * (step + 1) / warm
    t = (step - (warm - 1)) / (steps - 1 - (warm - 1))
    return highest * (1 + math.cos(math.pi * t)) / 2
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rate_at_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(rate_at, points=2)
check.equal(0, 10, 4, 0.1, expected=0.025, slips={0.0: "step 0 has highest / warm already.", 0.1: "there is a warm-up."})
check.equal(3, 10, 4, 0.1, expected=0.1, slips={0.075: "step warm - 1 has the highest rate."})
check.equal(6, 10, 4, 0.1, expected=0.05, slips={0.04: "a cosine, not a straight line.", 0.0654508: "t is 0 at warm - 1."})
### BEGIN HIDDEN TESTS
check.equal(9, 10, 4, 0.1, expected=0.0)
check.equal(5, 11, 3, 2.0, expected=2.0 * (1 + math.cos(math.pi * 3 / 8)) / 2)
check.equal(1, 11, 3, 2.0, expected=4 / 3)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 6. The BatchNorm trap
#
# BatchNorm subtracts a mean and divides by a standard deviation, channel by channel. *Which ones?*
# - In **training mode**: those of the batch. On the way it updates its **running** mean and variance.
# - In **evaluation mode**: the running ones, which it has gathered in training.
#
# The running statistics are *no parameters*: they get no gradient, and `requires_grad_(False)` doesn't touch them.
# *Predict: we freeze every weight of the body, call `train()`, and only show it images. No loss, no optimiser. Will the
# codes be the same afterwards?*


# %%
@torch.no_grad()
def only_look(network, images, passes=2, batch=16):
    """Show the images in training mode. Nothing is learnt: there is no loss, no gradient, no optimiser."""
    network.train()
    for part in images.split(batch) * passes:
        network(part.float().to(next(network.parameters()).device))
    network.eval()


# %%
def norms(network):
    """Every BatchNorm layer, from the image on."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def shifts(network):
    """How far the running means of each layer are from ImageNet's, in standard deviations."""
    pairs = zip(norms(network), norms(backbones.load()), strict=True)
    return [((new.running_mean.cpu() - old.running_mean) / old.running_var.sqrt()).abs().mean().item() for new, old in pairs]


# %%
def trap(seed, keep_norms_still):
    """Accuracy before and after looking, with all of the body frozen; the shifts of the means."""
    train, test = few_images(seed)
    network = backbones.load()
    transfer.fit_head(network, train, progress=False)
    network.keep_norms_still = keep_norms_still
    backbones.freeze(network)
    before = training.evaluate(network, test).accuracy
    weights = [p.detach().clone() for p in network.parameters()]
    only_look(network, train.images)
    assert all(torch.equal(old, new) for old, new in zip(weights, network.parameters(), strict=True)), "no weight moved"
    return damage(network, train, test) | {"before": before, "shifts": shifts(network)}


# %% tags=["item-35"]
fallen = [trap(seed, keep_norms_still=False) for seed in range(3)]
[(f"before {run['before']:.1%}", f"after {run['accuracy']:.1%}") for run in fallen]

# %% tags=["item-35"]
drops = [run["before"] - run["accuracy"] for run in fallen]
assert statistics.mean(drops) > 2 * statistics.stdev(drops) and min(drops) > 0.02, "the frozen network got worse, each time"
assert max(run["cosine"] for run in fallen) < 0.95, "its codes have turned"
f"{100 * statistics.mean(drops):.1f} ± {100 * statistics.stdev(drops):.1f} points lost"

# %% tags=["item-35"]
layers = range(1, len(fallen[0]["shifts"]) + 1)
title = "Not one weight has changed, but the means of all BatchNorm layers have"
shown = {"running means": [run["shifts"] for run in fallen]}
plots.curves(layers, shown, title=title, xlabel="BatchNorm layer, from the image on", ylabel="shift, standard deviations")

# %% [markdown]
# The trap: the head was fitted to codes of the *old* statistics, and then the statistics slid away under it. It works
# silently: the training loss looks fine, as training mode normalises by the batch.
#
# *Is it only the head that no longer fits?* Fit a fresh one on the moved codes:

# %% tags=["item-35"]
refitted = [(round(run["before"], 3), round(run["fresh_head"], 3)) for run in fallen]
refitted

# %% [markdown]
# REFIT
#
# **The way out**: keep a frozen BatchNorm in evaluation mode, also while the rest trains. Our `Backbone.train()` does
# that (`keep_norms_still`, on by default). In plain PyTorch, call `layer.eval()` on those layers after each
# `model.train()`.

# %% tags=["item-35"]
still = [trap(seed, keep_norms_still=True) for seed in range(3)]
assert all(run["accuracy"] == run["before"] and max(run["shifts"]) == 0 for run in still), "nothing moves at all"
[(f"before {run['before']:.1%}", f"after {run['accuracy']:.1%}") for run in still]

# %% [markdown]
# With few images and small batches it pays to keep *all* BatchNorm layers still while the other weights learn: that is
# `backbones.freeze_norms`, which section 3 and the runs of section 1 use.
#
# ### Exercise 4 · running statistics by hand (3 points)
# Write `update(running_mean, running_var, batch, momentum=0.1)`. `batch` is (N, C, H, W); the running values are (C,).
# Return the new (running_mean, running_var), and leave the given ones as they are. PyTorch's rule:
# new = (1 - momentum) · old + momentum · batch's, channel by channel over N, H and W. The variance that goes *into the
# running one* is the unbiased one (divided by the number of values minus 1).
# Example: one channel, running mean 0 and variance 1, the batch's values 1, 3: the mean becomes 0.2, the variance 1.1.


# %% nbgrader={"grade": false, "grade_id": "update", "locked": false, "schema_version": 3, "solution": true, "task": false}
def update(running_mean, running_var, batch, momentum=0.1):
    """One BatchNorm update. batch: (N, C, H, W); returns (mean, variance), each (C,)."""
    ### BEGIN SOLUTION
    mean, var = batch.mean((0, 2, 3)), batch.var((0, 2, 3), correction=1)
    return (1 - momentum) * running_mean + momentum * mean, (1 - momentum) * running_var + momentum * var
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "update_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = Check(update, points=3)
two_values = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
example = [torch.zeros(1), torch.ones(1), two_values]
slips = [(([0.2], [1.0]), "the unbiased variance: divide by n - 1."), (([1.8], [1.9]), "momentum weighs the *new* value.")]
check.equal(*example, expected=([0.2], [1.1]), slips=slips, show="0, 1, values 1 and 3")
torch.manual_seed(0)
cases = [(3, 0.1)]
### BEGIN HIDDEN TESTS
cases += [(2, 0.01), (5, 1.0)]
### END HIDDEN TESTS
for channels, momentum in cases:
    layer, batch = nn.BatchNorm2d(channels, momentum=momentum), torch.randn(4, channels, 2, 3) * 5 + 2
    old = layer.running_mean.clone() + 1, layer.running_var.clone() * 2
    layer.running_mean.copy_(old[0]), layer.running_var.copy_(old[1])
    layer(batch)
    expected = [layer.running_mean, layer.running_var]
    check.equal(*old, batch, momentum, expected=expected, show=f"mean, var, batch of {channels} channels, {momentum}")
    check.that("the given tensors are not changed", lambda f: old[0][0].item() == 1 and old[1][0].item() == 2, weight=0.5)
check.score()

# %% [markdown]
# ## 7. Little data: three methods
#
# A well-known exercise (cats against dogs): 2,000 images to learn from, 1,000 a class, and 800 to test, 400 a class.
# The lecture's results:
# - a small ConvNet from scratch, with augmentation: 0.79-0.81;
# - "bottleneck features" (codes of VGG16), no augmentation: 0.90-0.91;
# - the last block of VGG16 fine-tuned: 0.94.
#
# Solar cells are two classes, too. Of 2,624 cells, 821 are defective, so 1,000 a class can't be had. We hold out 200 a
# class to test, and could learn from 600 a class; the quick budget takes 150. *Predict the three accuracies.*

# %% tags=["item-37"]
def small_convnet(channels, classes):
    """Three convolutions, two fully connected layers. The first BatchNorm only brings pixels to the size of 1."""
    layers = [nn.BatchNorm2d(channels, affine=False)]
    for width_in, width in ((channels, 32), (32, 32), (32, 64)):
        layers += [nn.Conv2d(width_in, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(64 * 36, 64), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(64, classes))


# %%
def from_scratch(name, per_class, seed):
    """Test accuracy of the small ConvNet."""
    images, split = sets[name]
    train = split.train[datasets.few_shot(images.labels[split.train], per_class, seed)]
    train, test = images.subset(train), images.subset(split.test)
    torch.manual_seed(seed)
    model = small_convnet(images.images.shape[1], len(images.classes))
    options = {"augment": transfer.default_augment(images), "batch": 32, "seed": seed, "progress": False}
    training.fit(model, train, epochs=25 if QUICK else 60, rate=2e-3, **options)
    return training.evaluate(model, test).accuracy


# %%
FEW_LAYERS = HOW | ({"epochs": 0, "epochs_last": 4} if QUICK else {"epochs": 0, "epochs_last": 12}) | {"last_from": "block6"}


def protocol(name, per_class):
    """Three methods -> accuracies over the seeds."""
    options = {"split": sets[name][1], "per_class": [per_class], "seeds": SEEDS, "progress": False}
    bottleneck = transfer.compare(sets[name][0], methods=["extract"], **options, **HOW)
    last_block = transfer.compare(sets[name][0], methods=["fine_tune"], **options, **FEW_LAYERS)
    return {
        "small ConvNet from scratch": [from_scratch(name, per_class, seed) for seed in SEEDS],
        "bottleneck features": [run.accuracy for run in bottleneck],
        "last block fine-tuned": [run.accuracy for run in last_block],
    }


# %% tags=["item-37"]
little = {"solar-cells": protocol("solar-cells", NUMBERS["solar-cells"][-1])}
if not QUICK or (machine.data_dir() / "oxford-iiit-pet").exists():
    with contextlib.suppress(datasets.NotHere):
        sets["pets"] = prepare("pets")
        little["pets"] = protocol("pets", 1000 if not QUICK else 150)
else:
    print("Cats and dogs (Oxford-IIIT Pet, 800 MB) are fetched in the full budget only.")

# %% tags=["item-37"]
lecture = {"small ConvNet from scratch": 0.80, "bottleneck features": 0.905, "last block fine-tuned": 0.94}
rows = [(f"lecture, cats/dogs: {method}", [value]) for method, value in lecture.items()]
rows += [(f"{name}: {method}", values) for name in little for method, values in little[name].items()]
means = [statistics.mean(values) for _, values in rows]
spreads = [statistics.stdev(values) if len(values) > 1 else 0.0 for _, values in rows]
title = "TITLE7"
plots.bars([text for text, _ in rows], means, spreads, title=title, colours=["sky"] * 3 + ["blue"] * 6, lowest=40)

# %% tags=["item-37"]
for name, found in little.items():
    scratch, bottleneck, last_block = found.values()
    assert max(scratch) < min(bottleneck), f"{name}: ImageNet's codes beat the ConvNet from scratch, for each seed"
[round(statistics.mean(last_block) - statistics.mean(bottleneck), 3)]
