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
# - choose between training from scratch, extracting codes and fine-tuning, and check the choice over several seeds;
# - fine-tune without destroying what the network knows: head first, small rates for the body;
# - explain, and avoid, the trap that BatchNorm sets for "frozen" layers.
#
# **You need** Python, some PyTorch, and the idea of a CNN code (lesson 5). Solar cells come with the packages. 15-Scene
# is used when it is there or can be downloaded; without it the lesson goes on with the solar cells.
# **Time:** about two minutes of computing on two CPU cores the first time, half of it after that (results are kept).

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

import numpy as np
import torch
from torch import nn

from helpers import backbones, codes, datasets, layers, linear, plots, training, transfer, tuning
from helpers.checks import Check

# %% [markdown]
# ## 1. Two sets, three ways
#
# Two kinds of images. For both we want a classifier:
# - **15-Scene**: photographs of 15 kinds of places. *Similar* to ImageNet, which is made of photographs, too.
# - **Solar cells**: 2 classes, whole and defective, in infrared light. *Very different* from ImageNet.
#
# The quick budget, for a CPU, uses images of 64×64 pixels and trains for seconds; the full one, for a GPU, takes
# 224×224 and trains for minutes (on a CPU it would be hours). To save time we test on a fixed part of the test images,
# equally many of each class, so guessing gives 1/15 and 1/2.

# %%
QUICK = machine.budget() == "quick"
SIZE, SEEDS = (64, range(2)) if QUICK else (224, range(3))
TESTED = {"15-scene": 25 if QUICK else 100, "solar-cells": 150 if QUICK else 200, "pets": 400}  # images of each class

# %%
sets = {}
for name in ("15-scene", "solar-cells"):
    with contextlib.suppress(datasets.NotHere):  # it has said so in one line
        sets[name] = tuning.prepare(name, size=SIZE, tested=TESTED[name])
{name: f"{len(split.train)} to train, {len(split.test)} to test" for name, (_, split) in sets.items()}

# %%
shown = [images.images[i] for images, _ in sets.values() for i in range(0, 1400, 200)]
title = "\n".join(
    {"15-scene": "Photographs, as in ImageNet", "solar-cells": "Something ImageNet has never shown"}[n] for n in sets
)
plots.images(shown, columns=7, size=1.2, title=title)

# %% [markdown]
# The three ways, all with the same network (EfficientNet-Lite0). Its last, linear layer is the **head**; all that comes
# before it is the **body**:
#
# | | starts from | learns |
# |---|---|---|
# | **scratch** | random weights | everything |
# | **extract** | ImageNet's weights | a linear classifier on the codes; the network stays as it is |
# | **fine-tune** | ImageNet's weights and a fitted head | the head and the body, in small steps |
#
# *Predict: which way is best with a handful of images a class? Which one with many? Does training from scratch catch
# up?*

# %%
NUMBERS = {"15-scene": (4, 10, 25), "solar-cells": (10, 40, 150)}  # images a class to learn from
# To save time "everything" is from block4 on: the first blocks, with the largest maps, stay as they are.
HOW = {"size": SIZE, "batch": 16, "epochs": 4, "epochs_last": 0, "epochs_scratch": 3, "views": "one"}
HOW |= {"head_rate": 1e-3, "body_rate": 5e-4, "decay": 0.9, "all_from": "block4", "norms_still": True}

# %%
if not QUICK:
    NUMBERS = {"15-scene": (5, 20, 50, 100), "solar-cells": (10, 50, 200, 600)}
    HOW = {}  # the full budget's own settings: see helpers/transfer.py
LEAST, MOST = ({name: NUMBERS[name][i] for name in NUMBERS} for i in (0, -1))


# %%
def runs(name, method, numbers, **changes):
    """A result for each number of images a class and each seed."""
    images, split = sets[name]
    options = {"split": split, "seeds": SEEDS, "progress": not QUICK} | HOW | changes
    return transfer.compare(images, methods=[method], per_class=numbers, **options)


# %% tags=["item-34", "item-36"]
results = {}
for name in sets:
    results[name] = runs(name, "extract", NUMBERS[name]) + runs(name, "fine_tune", NUMBERS[name])
    results[name] += runs(name, "scratch", [MOST[name]], **({"batch": 32} if QUICK else {}))
    for method in ("extract", "fine_tune"):  # a handful of images says little: three draws of them
        results[name] += runs(name, method, [LEAST[name]], seeds=range(len(SEEDS), 3))
{name: [str(line) for line in transfer.summary(found)] for name, found in results.items()}

# %% [markdown]
# Each number is a mean over seeds; ± is the standard deviation. A seed changes which images we learn from, and all that
# is random in training. (Where a number takes every training image there is, as the full budget's 100 scenes a class do,
# only training is random.) The test images are always the same. They are few, too: 300 of them alone make a mean
# uncertain by 2 to 3 points, however small its ± is. So we compare methods on the *same* draws and the same test images.
# Rates and epochs were chosen on *training* images, not on the test images.

# %% tags=["item-34", "item-36"]
guessing = {name: 1 / len(sets[name][0].classes) for name in sets}
title = "Codes are better than training from scratch;\nfine-tuning gains most from more images"
tuning.by_number(results, guessing, title=title)


# %%
def gain(name, method, over, number):
    """By how many points one method beats another on the same images: a difference for each seed."""
    found = {(run.method, run.seed): 100 * run.accuracy for run in results[name] if run.per_class == number}
    return [round(found[method, seed] - found[over, seed], 1) for kind, seed in found if kind == method]


# %% tags=["item-34", "item-36"]
for name in sets:
    ends = {line.method: line for line in transfer.summary(results[name]) if line.per_class == MOST[name]}
    scratch, extract = ends["scratch"], ends["extract"]
    # With the full budget's 1,200 cells, training from scratch comes nearer: there any lead will do.
    spreads = scratch.spread + extract.spread if QUICK or name == "15-scene" else 0
    assert scratch.mean + spreads < extract.mean, f"{name}: codes win"
{name: gain(name, "extract", "scratch", MOST[name]) for name in sets}

# %% [markdown]
# Training from scratch is behind: millions of weights can't be found from so few images in so few steps. (With the full
# budget's 1,200 solar cells a run reached 76 %, codes 84 %.) Mind that in the quick budget the steps are *very* few:
# three epochs, 30 to 40 steps, fewer than fine-tuning takes. So the point in the figure shows what a short training
# reaches, not all that the images allow: in section 7 a small network, trained for longer, halves the gap to the
# codes. With 100 scenes a class, 40 epochs at 224 pixels gave 81 %, codes 92 % (one split): still behind, but not
# hopeless. He et al. (2019) show for the detection of objects that training from scratch can catch up: with a long
# schedule, and from about ten thousand images on.
#
# *And does fine-tuning pay?* Compare it with the codes seed by seed, on the same images, in points:

# %% tags=["item-36"]
pays = {name: {number: gain(name, "fine_tune", "extract", number) for number in NUMBERS[name]} for name in sets}
pays

# %% tags=["item-36"]
few, many = (torch.tensor([pays[name][number[name]] for name in sets]).mean(0) for number in (LEAST, MOST))
assert few.mean() < -few.std() / len(few) ** 0.5, "with a handful of images, fine-tuning loses to the codes, on average"
assert many.mean() > few.mean(), "with more images the balance moves towards fine-tuning"
assert QUICK or "15-scene" not in sets or sum(pays["15-scene"][MOST["15-scene"]]) > 0, "224 pixels: fine-tuning wins"
said = {"a handful": few, "many": many}  # points, the mean over the sets, for each seed
{name: [round(points, 1) for points in values.tolist()] for name, values in said.items()}

# %% [markdown]
# In the quick budget fine-tuning *loses* with a handful of images (on average over the sets and the draws), and with
# more images the balance moves to its side. *Why? Are a few pictures too few for millions of weights? Or are four
# epochs of 20 cells, in batches of 16, too few steps?* Above we can't tell: more images also meant more steps. So we
# take the same few images, and three times as many epochs (as many as the full budget has):

# %% tags=["item-36"]
PATIENT = {"epochs": 12} if QUICK else {}
patient = {name: runs(name, "fine_tune", [LEAST[name]], seeds=range(3), **PATIENT) for name in sets}
by_codes = {(name, run.per_class, run.seed): run for name in sets for run in results[name] if run.method == "extract"}
ahead = {n: [100 * (r.accuracy - by_codes[n, LEAST[n], r.seed].accuracy) for r in patient[n]] for n in sets}
{name: [round(points, 1) for points in values] for name, values in ahead.items()}

# %% tags=["item-36"]
patience = torch.tensor([ahead[name] for name in sets]).mean(0) - few  # the same draws
assert not QUICK or patience.mean() > 2 * patience.std() / len(patience) ** 0.5, "more steps: that is what was missing"
f"more epochs bring {patience.mean():+.1f} ± {patience.std():.1f} points"

# %% [markdown]
# In the quick budget it was the steps: with three times as many, fine-tuning is about as good as the codes (within the
# noise of three draws). But it must start over for each draw, while codes are computed once: more steps alone don't
# make it the clear winner. The full budget has twelve epochs from the start, at 224 pixels; even so, with a handful of
# images (4 scenes or 10 cells a class, lesson 8) it stayed 3 to 5 points behind a linear classifier. Small images, few
# steps and few draws leave much noise here. With 224 pixels, all training images and some epochs it wins on both sets:
# 93.6 ± 0.1 % against 92.3 ± 0.6 % on the scenes, 89.3 ± 0.8 % against 86.1 ± 1.2 % on the cells (three splits).
#
# The rest of the lesson asks *how* to fine-tune, and what can go wrong.
#
# ## 2. Freezing
#
# A weight is **frozen** when it gets no gradient: its `requires_grad` is `False`. *Predict: which share of Lite0's
# weights is left to learn when all but a new last layer for 15 classes is frozen? And when block6 and all after it
# learn, too?*

# %% tags=["item-34"]
network = backbones.load("efficientnet_lite0", classes=15)
# Each call returns how many weights can learn: the last layer's; those from block6 on; all.
head_only, last_blocks = backbones.freeze(network), backbones.freeze(network, "block6")
everything = backbones.unfreeze(network)
assert head_only == 1280 * 15 + 15 < 0.01 * everything, "the head is less than one per cent"
assert 0.5 * everything < last_blocks < everything, "the last blocks have most of the weights"
head_only, last_blocks, everything

# %% [markdown]
# The last blocks hold most of the weights: they have many channels. The early blocks have few weights, but large maps.
#
# ### Exercise 1 · freeze (2 points)
# Write `freeze(net, first)`: `net` is an `nn.Sequential`. The weights of `net[0]` ... `net[first - 1]` must not learn,
# those of `net[first]` and all later parts must. It may be called several times with other values of `first`. Return how
# many numbers can learn. Example: for `nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))`, `freeze(net, 2)` is
# 8.


# %% tags=["setup"]
def tiny():
    parts = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.Linear(5, 2)]
    return nn.Sequential(*parts)  # 112 + 8 + 0 + 25 + 12 numbers


def learning(net):
    """Which of its parameters learn, in order."""
    return [p.requires_grad for p in net.parameters()]


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
check = Check(freeze, points=2)
slips = {
    120: "that is what you froze.",
    157: "that is the whole network: freeze first, then count.",
    12: "net[first] learns, too, and a ReLU is a part like others.",
    4: "numbers, not tensors.",
}
check.equal(tiny(), 3, expected=37, slips=slips, show="net, 3")
slips = {157: slips[157], 37: slips[12], 54: "running statistics are no weights."}
check.equal(tiny(), 1, expected=45, slips=slips, show="net, 1")
net = tiny()
text = "after freeze(net, 3) the parameters learn: no no no no yes yes yes yes"
check.that(text, lambda f: f(net, 3) and learning(net) == [False] * 4 + [True] * 4, weight=2)
### BEGIN HIDDEN TESTS
block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
deep = nn.Sequential(block, nn.ReLU(), nn.Linear(4, 3), nn.Linear(3, 2))  # 112 + 8 + 0 + 15 + 8 numbers
for first, count in ((3, 8), (2, 23), (4, 0), (1, 23), (0, 143)):  # each call frees what the one before has frozen
    right = [i >= first for i, part in enumerate(deep) for _ in part.parameters()]
    text = f"freeze(net, {first}) of a network with a block inside, after other calls"
    check.that(text, lambda f, n=first, c=count, r=right: f(deep, n) == c and learning(deep) == r)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 3. Head first
#
# The old head names 1,000 things. We replace it by a new one, with **random** weights. At first a random head
# sends random gradients down into a body that was good before. So the recipe has two steps:
# 1. **head first**: train the new head with all else frozen, until it is good;
# 2. **then** unfreeze the last blocks, or everything, with about a tenth of the rate for the body.
#
# Step 1 costs next to nothing: as the body stands still, we compute its codes once and fit a linear classifier on them.
# `transfer.fit_head` puts that classifier in the place of the head.
#
# "In one step" means below that head and body learn together from the start (not: one update of the optimiser).
# *Predict: how much of what the body knew is left after one epoch, in one step and in two?* We measure three things:
# - **accuracy** on the test images;
# - **cosine** between each test image's old code and its new one: 1 is unmoved, 0 means that they have nothing in
#   common;
# - **fresh head**: the test accuracy of a new linear classifier on the new codes. It tells what the body is still worth.
#
# (From here to section 6, the images have 64×64 pixels in both budgets: these are many short runs.)

# %%
main = "15-scene" if "15-scene" in sets else "solar-cells"
FEW = {"15-scene": 6, "solar-cells": 45}[main]
small = tuning.prepare(main, size=64, tested={"15-scene": 25, "solar-cells": 150}[main])
parts = {seed: tuning.few_images(*small, FEW, seed) for seed in range(3)}
{seed: (len(train), len(test)) for seed, (train, test) in parts.items()}


# %%
def one_epoch(seed, head_first, body_rate, decay=1.0, norms_still=True):
    """Fine-tune every stage for one epoch at constant rates; the head's rate is 0.001. Returns the network."""
    train, _ = parts[seed]
    network = tuning.starting_network(train, head_first=head_first, seed=seed)
    if norms_still:
        backbones.freeze_norms(network)  # section 6 says why
    groups = backbones.parameter_groups(network, head_rate=1e-3, body_rate=body_rate, decay=decay)
    options = {"epochs": 1, "batch": 16, "schedule": "constant", "precision": "float32", "progress": False}
    training.fit(network, train, groups=groups, seed=seed, augment=transfer.default_augment(train), **options)
    return network


# %%
# The variants that we compare, the "arms" of the experiment.
arms = {
    "one step, one rate": {"head_first": False, "body_rate": 1e-3},
    "one step, body 1/10": {"head_first": False, "body_rate": 1e-4},
    "head first, one rate": {"head_first": True, "body_rate": 1e-3},
    "head first, body 1/10": {"head_first": True, "body_rate": 1e-4},
    "head first, discriminative": {"head_first": True, "body_rate": 1e-3, "decay": 0.5},  # section 4
}

# %% tags=["item-34"]
damage, moved = {}, {}
for arm, options in arms.items():
    networks = [one_epoch(seed, **options) for seed in parts]
    damage[arm] = [tuning.damage(network, *parts[seed]) for seed, network in enumerate(networks)]
    moved[arm] = [tuning.moved_weights(network) for network in networks]

# %%
fitted = [tuning.starting_network(train, head_first=True, seed=seed) for seed, (train, _) in parts.items()]
damage["head fitted, body untouched"] = [tuning.damage(network, *parts[seed]) for seed, network in enumerate(fitted)]


# %%
def over_seeds(arm, key):
    """Mean and standard deviation of one measure."""
    return tuning.mean_spread([getattr(run, key) for run in damage[arm]])


{key: {arm: "{:.2f} ± {:.2f}".format(*over_seeds(arm, key)) for arm in damage} for key in ("accuracy", "cosine")}

# %% tags=["item-34"]
order = ["head fitted, body untouched", *reversed(list(arms)[:4])]  # without the last arm, which is section 4's
means, spreads = zip(*[over_seeds(arm, "fresh_head") for arm in order], strict=True)
title = f"{main}, one epoch: a large rate spoils the body"
label = "test accuracy of a fresh head on the new codes, %"
plots.bars(order, means, spreads, title=title, label=label, colours=["black", "blue", "orange", "sky", "vermilion"])

# %% tags=["item-34"]
hasty, _, fast, careful = (over_seeds(arm, "cosine") for arm in list(arms)[:4])
assert careful[0] - careful[1] > max(hasty[0] + hasty[1], fast[0] + fast[1]), "a tenth of the rate turns the codes less"
pairs = zip(damage["head first, body 1/10"], damage["one step, body 1/10"], strict=True)  # by seed
less, spread = tuning.mean_spread([after.cosine - before.cosine for after, before in pairs])
assert less > spread / len(parts) ** 0.5, "head first turns them less, at the same rate"
f"head first turns the codes less: cosine {less:+.2f} ± {spread:.2f}"


# %% tags=["item-34"]
def lost(arm):
    """Points of a fresh head's accuracy that the body has lost, seed by seed: the same images, the same test."""
    pairs = zip(damage["head fitted, body untouched"], damage[arm], strict=True)
    return [100 * (before.fresh_head - after.fresh_head) for before, after in pairs]


{arm: "{:.1f} ± {:.1f} points lost".format(*tuning.mean_spread(lost(arm))) for arm in arms}

# %% tags=["item-34"]
both = zip(lost("one step, one rate"), lost("head first, one rate"), strict=True)
spoilt, spread = tuning.mean_spread([(a + b) / 2 for a, b in both])  # one number a seed
assert spoilt > spread / len(parts) ** 0.5, "what the large rate has destroyed, a fresh head can't bring back"
assert tuning.mean_spread(lost("head first, body 1/10"))[0] < 5, "a tenth of the rate spares the body"

# %% [markdown]
# When the body learns at the head's rate, its codes turn away from what they were (the cosine falls), even with a
# fitted head, and a fresh head finds less in them. (Where the points lost are about as many as their spread, the cosine
# is the evidence.) A tenth of the rate saves the body, and *then* head first helps, too: the codes turn less. (Here the
# rate is constant. In sections 1, 7 and 8 it rises and then falls to 0 within a run; its peak is half of the head's for
# the last stage, and a tenth less for each stage before it.)
#
# Now look at the *accuracies* of the first table: after this one epoch they all are below that of the fitted head on
# the untouched body. In so few steps fine-tuning doesn't pay (section 1), least of all at a rate that never falls: the
# codes turn, and the head, which was fitted to the old ones, doesn't follow. But in the careful arms a fresh head shows
# that the body has lost hardly anything.
#
# The optimiser here is AdamW. Its steps have about the size of the rate, however small the gradient is. So a large rate
# moves every weight a lot, even when the head is good. And with a random head the first gradients mean nothing.
#
# ## 4. Discriminative rates
#
# Early stages find edges, which are good everywhere; late ones find what ImageNet needs. So the later the stage, the
# more it should change. **Discriminative rates** (Howard & Ruder 2018): each stage learns at a fraction, `decay`, of
# the rate of the next one. Lite0's body has nine stages: `stem`, `block1` to `block7`, and its last convolution, here
# called `head`; the new last layer is `logits`. *Predict: `logits` and the last stage learn at 0.001, and decay is 0.5.
# What is the rate of the stem?*

# %% tags=["item-34"]
groups = backbones.parameter_groups(backbones.load(), head_rate=1e-3, body_rate=1e-3, decay=0.5)
rates = {group["name"]: group["lr"] for group in groups}
assert math.isclose(rates["stem"], 1e-3 * 0.5**8), "eight halvings between the last stage and the stem"
{stage: f"{rate:.1e}" for stage, rate in rates.items()}

# %% [markdown]
# (`parameter_groups` does one thing more: norms and biases get no weight decay. There is nothing to gain from pulling a
# scale of 1 towards 0.)
#
# We already have runs with these rates: the last arm of section 3. *Which stages have moved, and how far?* (The figure
# shows the body only, without `logits`.)

# %% tags=["item-34"]
stages = list(moved["head first, body 1/10"][0])
shares = {arm: [[run[stage] for stage in stages] for run in moved[arm]] for arm in list(arms)[2:]}
title = "Discriminative rates: the last stages move freely, the first hardly"
labels = {"xlabel": "stage", "ylabel": "|new - old| / |old|, weights"}
figure = plots.curves(range(len(stages)), shares, title=title, log="y", **labels)
figure.axes[0].set_xticks(range(len(stages)), stages)
figure

# %% tags=["item-34"]
even, falling = (tuning.mean_spread([run["head"] / run["stem"] for run in moved[arm]]) for arm in list(arms)[3:])
assert falling[0] - falling[1] > 20 * even[0], "the last stage moves far more than the stem"
f"last stage / stem: {even[0]:.0f} with one rate for the body, {falling[0]:.0f} with discriminative rates"

# %% tags=["item-34"]
turned, worth = (over_seeds("head first, discriminative", key) for key in ("cosine", "fresh_head"))
assert turned[0] - turned[1] > fast[0] + fast[1], "the same rate at the top, but the codes turn less"
assert worth[0] > over_seeds("head first, one rate", "fresh_head")[0], "and stay more useful"
assert tuning.mean_spread(lost("head first, discriminative"))[0] < 5, "hardly less than before"
{arm: "{:.2f} ± {:.2f}".format(*over_seeds(arm, "fresh_head")) for arm in list(arms)[2:]}

# %% [markdown]
# With discriminative rates the last stage may learn as fast as the head, and the body survives: a fresh head finds its
# codes about as good as before.
#
# ### Exercise 2 · parameter groups (3 points)
# Write `rate_groups(net, head_rate, body_rate, decay)` for an `nn.Sequential` whose last part is the head. Return a list
# of groups for an optimiser, in the order of the network: one dictionary `{"params": [...], "lr": rate}` for each part
# that has parameters *that can learn*. The head gets `head_rate`; the last part with parameters before it gets
# `body_rate`; each part with parameters before that `decay` times the rate of the next such part. A frozen part gives no
# group, but counts for the rates.
# Example: three linear layers with `rate_groups(net, 0.1, 0.01, 0.5)` have the rates 0.005, 0.01 and 0.1.


# %% tags=["setup"]
def rates_are(groups, wanted):
    rates = groups and [float(group["lr"]) for group in groups]
    return rates and len(rates) == len(wanted) and np.allclose(rates, wanted, rtol=1e-4, atol=0)


def parameters_are(groups, wanted):
    found = groups and [{id(p) for p in group["params"]} for group in groups]
    return found and found == [{id(p) for p in part} for part in wanted]


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
net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
between = zip((1, 2, 2), (nn.ReLU(), nn.Tanh(), nn.Dropout()), strict=True)
mixed = nn.Sequential(*[layer for i, plain in between for layer in (nn.Linear(i, 2), plain)], nn.Linear(2, 3))
check = Check(rate_groups, points=3)
hint = "One group for each part with parameters, from the input to the head: 0.005, 0.01, 0.1."
check.that("three layers: 0.005, 0.01, 0.1", lambda f: rates_are(f(net, 0.1, 0.01, 0.5), [0.005, 0.01, 0.1]), hint=hint)
text = "each group holds the weight and the bias of its own layer"
check.that(text, lambda f: parameters_are(f(net, 1, 1, 1), [part.parameters() for part in net]))
text = "four layers, ReLU, Tanh or Dropout after the first three: four groups, 0.001 to 1"
check.that(text, lambda f: rates_are(f(mixed, 1.0, 0.1, 0.1), [0.001, 0.01, 0.1, 1.0]))
net[0].requires_grad_(False)
check.that("a frozen first layer: 0.01, 0.1", lambda f: rates_are(f(net, 0.1, 0.01, 0.5), [0.01, 0.1]))
### BEGIN HIDDEN TESTS
deep = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)]
deep = nn.Sequential(*deep)
check.that("a block is one part", lambda f: parameters_are(f(deep, 1, 1, 1), [deep[i].parameters() for i in (0, 2, 3)]))
deep[3].requires_grad_(False)
deep[2].weight.requires_grad_(False)
check.that("a frozen head has no group", lambda f: rates_are(f(deep, 1.0, 0.1, 0.1), [0.01, 0.1]))
mixed[4].bias.requires_grad_(False)
left = [[p for p in mixed[i].parameters() if p.requires_grad] for i in (0, 2, 4, 6)]
check.that("a frozen bias is in no group", lambda f: parameters_are(f(mixed, 1, 1, 1), left))
mixed[2].requires_grad_(False)
check.that("a frozen part has no group, but counts", lambda f: rates_are(f(mixed, 1.0, 0.1, 0.1), [0.001, 0.1, 1.0]))
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 5. Warm up, then cool down
#
# In its first steps an optimiser knows little of the size of the gradients. So rates start small, **warm up**, and then
# fall, so that the weights come to rest. *One cycle* (Smith & Topin 2017) does both; it is the default of
# `training.fit`. *Predict: do the ratios between the stages stay the same during the cycle?*

# %% tags=["item-34"]
chosen = ("block1", "block4", "logits")
optimiser = torch.optim.AdamW([{"params": [nn.Parameter(torch.zeros(1))], "lr": rates[stage]} for stage in chosen])
cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, [rates[stage] for stage in chosen], total_steps=100)

# %% tags=["item-34"]
rows = [cycle.get_last_lr()]
while len(rows) < 100:
    optimiser.step()
    cycle.step()
    rows.append(cycle.get_last_lr())

# %% tags=["item-34"]
series = dict(zip(chosen, torch.tensor(rows).T, strict=True))
title = "All stages warm up and cool down together; their ratios stay"
every = {name: values[::3] for name, values in series.items()}
plots.curves(range(0, 100, 3), every, title=title, xlabel="step", ylabel="learning rate", log="y")

# %% tags=["item-34"]
ratio = series["logits"] / series["block1"]
assert torch.allclose(ratio, ratio[:1], rtol=1e-3), "the ratio of two stages never changes"
assert 20 < series["logits"].argmax() < 40, "the top is reached after about 30 % of the steps"
ratio[0].item(), int(series["logits"].argmax())

# %% [markdown]
# ### Exercise 3 · a schedule (2 points)
# Write `rate_at(step, steps, warm, highest)`: the rate at a step (0, 1, ... `steps` - 1; 1 ≤ `warm` < `steps`). During
# the first `warm` steps it rises in a straight line, so that step 0 has `highest / warm` and step `warm - 1` has
# `highest`. After that it falls along half a cosine wave: `highest` · (1 + cos(π·t)) / 2, where t grows evenly from 0
# at step `warm - 1` to 1 at the last step. Example: `rate_at(0, 10, 4, 0.1)` is 0.025 and `rate_at(3, 10, 4, 0.1)` is
# 0.1.


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
check.equal(
    0, 10, 4, 0.1, expected=0.025, slips={0.0: "step 0 has highest / warm already.", 0.1: "there is a warm-up."}
)
check.equal(3, 10, 4, 0.1, expected=0.1, slips={0.075: "step warm - 1 has the highest rate."})
check.equal(
    5, 10, 4, 0.1, expected=0.075, slips={0.2 / 3: "a cosine, not a straight line.", 0.0904508: "t is 0 at warm - 1."}
)
slips = {0.125: "the warm-up has the steps 0 ... warm - 1.", 0.1: "after the warm-up the rate falls at once."}
check.equal(4, 10, 4, 0.1, expected=0.1 * (1 + math.cos(math.pi / 6)) / 2, slips=slips)
### BEGIN HIDDEN TESTS
check.equal(9, 10, 4, 0.1, expected=0.0)
check.equal(5, 11, 3, 2.0, expected=2.0 * (1 + math.cos(math.pi * 3 / 8)) / 2)
check.equal(1, 11, 3, 2.0, expected=4 / 3)
check.equal(0, 5, 1, 0.1, expected=0.1)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 6. The BatchNorm trap
#
# BatchNorm subtracts a mean and divides by a standard deviation, channel by channel. *Which ones?*
# - In **training mode**: those of the batch. On the way, it updates a **running** mean and a running variance.
# - In **evaluation mode**: the running ones, gathered during training.
#
# The running statistics are *no parameters*: they get no gradient, and `requires_grad_(False)` doesn't touch them.
# *Predict: we freeze every weight, call `train()`, and only show images to the network: no loss, no optimiser. Is it the
# same network afterwards?*


# %%
@torch.no_grad()
def only_look(network, images, passes=2, batch=16):
    """Show the images in training mode. Nothing is learnt: there is no loss, no gradient, no optimiser."""
    network.train()
    for part in images.split(batch) * passes:
        network(part.float().to(network.head.weight.device))
    network.eval()


# %%
def trap(seed, keep_norms_still):
    """A frozen network with a fitted head, after it has looked at its training images."""
    network = tuning.starting_network(parts[seed][0], head_first=True, seed=seed)
    network.keep_norms_still = keep_norms_still  # on by default: only here we want the trap
    backbones.freeze(network)
    only_look(network, parts[seed][0].images)
    return network


# %% tags=["item-35"]
trapped = [trap(seed, keep_norms_still=False) for seed in parts]
for network, before in zip(trapped, fitted, strict=True):
    pairs = zip(network.parameters(), before.parameters(), strict=True)
    assert all(torch.equal(new.cpu(), old.cpu()) for new, old in pairs), "not one weight has moved"

# %% tags=["item-35"]
damage["after looking"] = [tuning.damage(network, *parts[seed]) for seed, network in enumerate(trapped)]
names = ("head fitted, body untouched", "after looking")
[(f"before {old.accuracy:.1%}", f"after {new.accuracy:.1%}") for old, new in zip(*map(damage.get, names), strict=True)]

# %% tags=["item-35"]
before, after = (over_seeds(arm, "accuracy") for arm in names)
assert before[0] - before[1] > after[0] + after[1], "the frozen network has become worse, far beyond the spread"
f"{100 * (before[0] - after[0]):.0f} points lost"

# %% tags=["item-35"]
shifts = [tuning.moved_norms(network) for network in trapped]
title = "Not one weight has changed,\nbut the running means have"
options = {"xlabel": "BatchNorm layer, from the image on", "ylabel": "shift, standard deviations"}
plots.curves(range(1, len(shifts[0]) + 1), {"running means": shifts}, title=title, **options)

# %% [markdown]
# (Every third layer stays where it was. Between the BatchNorm layers before it and itself there are only sums and a 1×1
# convolution, no ReLU. In training mode the layers before it give every batch the same mean. Sums and a 1×1 convolution
# are linear: so its own input has the same mean for every batch, ours and ImageNet's.)
#
# That is the trap. The head was fitted to codes made with the *old* statistics; then these slid away under it. It is a
# silent one: a head that is *trained* meanwhile sees the batch's own statistics, and its training loss looks fine.
# *Predict: a new head learns on the frozen body, in training mode. How good is it on its own training images, while it
# learns and then in evaluation mode?*


# %% tags=["item-35"]
def deceived(seed):
    """The last accuracy on the training images in training mode, and the one in evaluation mode."""
    train, _ = parts[seed]
    network = tuning.starting_network(train, head_first=False, seed=seed)
    network.keep_norms_still = False
    backbones.freeze(network)
    options = {"epochs": 6, "batch": 16, "rate": 1e-2, "precision": "float32", "progress": False}
    history = training.fit(network, train, seed=seed, **options)
    return history["train_accuracy"][-1], training.evaluate(network, train).accuracy


# %% tags=["item-35"]
looks, real = map(tuning.mean_spread, zip(*map(deceived, parts), strict=True))
assert looks[0] - real[0] > looks[1] + real[1], "training looks fine; in evaluation mode the same images are not"
"training mode {:.0%} ± {:.0%}, evaluation mode {:.0%} ± {:.0%}, of the same images".format(*looks, *real)

# %% [markdown]
# While it learns, all looks well. In evaluation mode the same head is much worse on the same images.
#
# Now back to the networks that only looked at images. *Is it only that their old head no longer fits?* Give the moved
# codes a fresh head:

# %% tags=["item-35"]
old, new = (over_seeds(arm, "fresh_head") for arm in names)
assert after[0] + after[1] < new[0], "a fresh head repairs a part of it, or all"
assert (old[0] - new[0] > old[1]) == (main == "15-scene"), "of fifteen classes a part, of two about all"
"body untouched {:.2f} ± {:.2f}; ".format(*old) + "after looking, fresh head {:.2f} ± {:.2f}".format(*new)

# %% [markdown]
# With two classes (solar cells) a fresh head repairs about all of it. With fifteen (scenes) only a part: probably
# because statistics from a few small batches are poor estimates, and the errors of many layers add up.
#
# **The way out**: keep a frozen BatchNorm in evaluation mode, also while the rest trains. Our `Backbone.train()` does so
# (`keep_norms_still`, on by default). In plain PyTorch, call `layer.eval()` on these layers after each `model.train()`.

# %% tags=["item-35"]
safe = trap(0, keep_norms_still=True)
assert max(tuning.moved_norms(safe)) == 0, "the running means stay where they were"
accuracy = tuning.damage(safe, *parts[0]).accuracy  # measured as before: training.evaluate rounds more on a GPU
assert accuracy == damage["head fitted, body untouched"][0].accuracy, "and the accuracy, too"
accuracy

# %% [markdown]
# *Should BatchNorm keep still when the weights learn, too?* Section 3 and the runs of section 1 keep *all* its layers
# still (`backbones.freeze_norms`). Here is section 3's arm "head first, body 1/10" without that:

# %% tags=["item-35"]
loose = [one_epoch(seed, head_first=True, body_rate=1e-4, norms_still=False) for seed in parts]
damage["norms move"] = [tuning.damage(network, *parts[seed]) for seed, network in enumerate(loose)]
pairs = list(zip(damage["head first, body 1/10"], damage["norms move"], strict=True))
assert min(still.cosine - moving.cosine for still, moving in pairs) > 0, "still norms: the codes turn less"

# %% tags=["item-35"]
gained = tuning.mean_spread([100 * (still.accuracy - moving.accuracy) for still, moving in pairs])
assert main != "15-scene" or gained[0] > gained[1] / len(parts) ** 0.5, "scenes: and the accuracy is better"
"still norms: {:+.0f} ± {:.0f} points of accuracy".format(*gained)

# %% [markdown]
# With few images and small batches the codes turn less when all norms keep still. On the scenes that pays in accuracy
# (on the solar cells it is within the noise).
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
example = torch.zeros(1), torch.ones(1), two_values.clone()
slips = [(([1.8], [1.9]), "momentum weighs the *new* value.")]
check.equal(*example, expected=([0.2], [1.1]), slips=slips, show="0, 1, values 1 and 3")
slips = [
    (([2.9], [4.6]), "the unbiased variance: divide by n - 1."),
    (([2.9], [5.0]), "the variance moves, too."),
]
given = torch.full((1,), 3.0), torch.full((1,), 5.0)
check.equal(*given, two_values, expected=([2.9], [4.7]), slips=slips, show="3, 5, values 1 and 3")
check.unchanged(weight=0.5)
torch.manual_seed(0)
cases = [(3, 0.1)]
### BEGIN HIDDEN TESTS
cases += [(2, 0.01), (5, 1.0)]
### END HIDDEN TESTS
for channels, momentum in cases:
    layer, batch = nn.BatchNorm2d(channels, momentum=momentum), torch.randn(4, channels, 2, 3) * 5 + 2
    old = layer.running_mean.add_(1).clone(), layer.running_var.mul_(2).clone()
    layer(batch)
    expected = [layer.running_mean, layer.running_var]
    check.equal(*old, batch, momentum, expected=expected, show=f"mean, var, batch of {channels} channels, {momentum}")
check.score()

# %% [markdown]
# ## 7. Little data: three methods
#
# A well-known exercise (Chollet 2016, cats against dogs): 2,000 images to learn from, 1,000 a class, and 800 to
# validate, 400 a class. His results, as a lecture quotes them:
# - a small ConvNet from scratch, with augmentation: 0.79-0.81;
# - "bottleneck features" (the last maps of VGG16, and a small network on them), no augmentation: 0.90-0.91;
# - the last block of VGG16 fine-tuned: 0.94.
#
# Solar cells have two classes, too. Of the 2,624 cells 821 are defective, so 1,000 a class can't be had. We hold out
# 200 a class to test and can learn from 600 a class (the quick budget: 150 to test, 150 to learn from). Our bottleneck
# features are Lite0's codes, with a linear classifier; in place of the last block we fine-tune all from Lite0's block6
# on. *Predict the three accuracies.*


# %% tags=["item-37"]
def small_convnet(channels, classes):
    """Three convolutions, two fully connected layers. The first BatchNorm only brings pixels to the size of 1."""
    layers = [nn.BatchNorm2d(channels, affine=False)]
    for before, after in ((channels, 32), (32, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(64 * 36, 64), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(64, classes))


# %% tags=["item-37"]
def from_scratch(name, per_class, seed):
    """Test accuracy of the small ConvNet."""
    train, test = tuning.few_images(*sets[name], per_class, seed)
    torch.manual_seed(seed)
    model = small_convnet(train.images.shape[1], len(train.classes))
    options = {"epochs": 10 if QUICK else 60, "rate": 2e-3, "batch": 32, "seed": seed, "progress": not QUICK}
    training.fit(model, train, augment=transfer.default_augment(train), **options)
    return training.evaluate(model, test).accuracy


# %% tags=["item-37"]
LAST_BLOCKS = {"epochs": 0, "epochs_last": 4 if QUICK else 12, "last_from": "block6"}


def protocol(name, per_class):
    """Three methods -> accuracies over the seeds."""
    return {
        "small ConvNet from scratch": [from_scratch(name, per_class, seed) for seed in SEEDS],
        "bottleneck features": [run.accuracy for run in runs(name, "extract", [per_class])],
        "last blocks fine-tuned": [run.accuracy for run in runs(name, "fine_tune", [per_class], **LAST_BLOCKS)],
    }


# %% tags=["item-37"]
little = {"solar-cells": protocol("solar-cells", MOST["solar-cells"])}
{
    name: {method: "{:.2f} ± {:.2f}".format(*tuning.mean_spread(v)) for method, v in little[name].items()}
    for name in little
}

# %% [markdown]
# The same on cats and dogs themselves: Oxford-IIIT Pet, photographs of both. It is a download of 800 MB, so the quick
# budget takes it only when it is here already.

# %% tags=["item-37"]
if QUICK and not (machine.data_dir() / "oxford-iiit-pet").exists():
    print("Cats and dogs are not here: the full budget (COURSE_BUDGET=full) fetches them.")
else:
    with contextlib.suppress(datasets.NotHere):
        sets["pets"] = tuning.prepare("pets", size=SIZE, tested=TESTED["pets"])
        little["pets"] = protocol("pets", 150 if QUICK else 1000)

# %% tags=["item-37"]
rows = {"lecture: small ConvNet": [0.80], "lecture: bottleneck": [0.905], "lecture: last block": [0.94]}
rows |= {f"{name}: {method}": values for name, found in little.items() for method, values in found.items()}
means, spreads = zip(*map(tuning.mean_spread, rows.values()), strict=True)
title = "Codes beat a small ConvNet:\non the lecture's cats and dogs, and on solar cells"
plots.bars(list(rows), means, spreads, title=title, colours=["sky"] * 3 + ["blue"] * 6, lowest=40)

# %% tags=["item-37"]
for name, found in little.items():
    own, theirs = found["small ConvNet from scratch"], found["bottleneck features"]
    each_time = QUICK or name == "pets"  # with the full budget's 1,200 solar cells it may come near
    assert max(own) < min(theirs) if each_time else sum(own) < sum(theirs), f"{name}: codes win"
{
    name: round(sum(f["last blocks fine-tuned"]) / len(SEEDS) - sum(f["bottleneck features"]) / len(SEEDS), 3)
    for name, f in little.items()
}

# %% [markdown]
# The order of the first two is the lecture's: codes of a pretrained network beat a small network of one's own, even on
# pictures that ImageNet has never shown. The third step, from codes to fine-tuned blocks, isn't there in the quick
# budget: it needs larger images and more steps (section 1 has the figures).
#
# ## 8. The decision table
#
# Four cases: little or a lot of data, similar to ImageNet or very different. The lecture says:
#
# | | similar | very different |
# |---|---|---|
# | **little data** | a linear classifier on the top codes | trouble; a linear classifier on codes of an *earlier* stage |
# | **a lot of data** | fine-tune a few layers, or all | fine-tune more layers, or all |
#
# *Is it so here? Write your guess for each case before you go on.* In the quick budget "little" is 4 scenes or 10 solar
# cells a class, "a lot" is 25 or 150 (25 is still little by most standards: read "less" and "more"). One method is
# still missing: a linear classifier on the codes of an earlier stage. We take block6 (the best of three stages on
# these very test images at 64 pixels, so its gain may look a little too large). Fine-tuning gets twelve epochs where
# data is little, because section 1 has shown that it needs them. In the quick budget "all" is from block4 on, "a few"
# from block6 on.


# %% tags=["item-33", "item-36"]
def linear_on(stage, name, per_class, draws):
    """Test accuracies of a linear classifier on the codes of a stage, one for each draw of the images."""
    images, split = sets[name]
    network, found = backbones.load(), []
    views = codes.VIEWS[:1] if QUICK else codes.VIEWS  # as many as in section 1
    values = torch.stack([codes.extract(network, images, stage, progress=False, **view) for view in views]).mean(0)
    for seed in draws:
        train = split.train[datasets.few_shot(images.labels[split.train], per_class, seed)]
        found.append(
            linear.fit(values[train], images.labels[train]).accuracy(values[split.test], images.labels[split.test])
        )
    return found


# %% tags=["item-36"]
def case(name, number):
    """Four methods, in the order in which one would try them -> accuracies, all over the same draws."""
    little = number == LEAST[name]
    how = {"seeds": range(3), **PATIENT} if little else {"seeds": SEEDS}
    last = LAST_BLOCKS | ({"epochs_last": 12} if little else {})
    return {
        "linear, top codes": linear_on("penultimate", name, number, how["seeds"]),
        "linear, earlier stage": linear_on("block6", name, number, how["seeds"]),
        "fine-tune a few": [run.accuracy for run in runs(name, "fine_tune", [number], **how | last)],
        "fine-tune all": [run.accuracy for run in runs(name, "fine_tune", [number], **how)],
    }


# %% tags=["item-36"]
kinds = {"15-scene": "similar: 15-Scene", "solar-cells": "very different: solar cells"}
measured, AMOUNTS = {}, ("little", "a lot")
for amount, number in zip(AMOUNTS, (LEAST, MOST), strict=True):
    for name in results:
        measured[amount, kinds[name]] = case(name, number[name])

# %% tags=["item-36"]
tuning.decision_table(measured, title="The decision table, measured: the best mean of each case is red")

# %% [markdown]
# ± is the spread over two or three draws of the images; all methods of a case have the same draws. (Where there is no
# ±, the results of the draws agree: with two by chance, with a linear classifier also where every draw has all
# images.)


# %% tags=["item-36"]
def best(case, methods):
    """The highest mean of some methods."""
    return max(tuning.mean_spread(measured[case][method])[0] for method in methods)


# %% tags=["item-36"]
linear_ones, tuned = ("linear, top codes", "linear, earlier stage"), ("fine-tune a few", "fine-tune all")
for name in results:
    where, error = ("little", kinds[name]), 0.03  # the standard error that the test images alone make
    assert best(where, linear_ones) > best(where, tuned) - error, f"{name}, little data: as good as any fine-tuning"
    assert best(("a lot", kinds[name]), tuned) > best(("a lot", kinds[name]), linear_ones) - error, f"{name}: as good"
behind = [[best((n, kinds[name]), linear_ones) - best((n, kinds[name]), tuned) for name in results] for n in AMOUNTS]
assert QUICK or sum(behind[1]) < min(0, sum(behind[0])), "a lot of data, 224 pixels: fine-tuning wins"

# %% [markdown]
# *Is the earlier stage better than the top?* As codes cost little, we draw the images five times. Draw by draw, in
# points:


# %% tags=["item-33", "item-36"]
def earlier(name, number):
    """The earlier stage's accuracy minus that of the top codes: mean and spread over five draws."""
    top, early = (linear_on(stage, name, number, range(5)) for stage in ("penultimate", "block6"))
    return tuning.mean_spread([100 * (b - a) for a, b in zip(top, early, strict=True)])


{
    f"{name}, {n[name]} a class": "{:+.1f} ± {:.1f}".format(*earlier(name, n[name]))
    for n in (LEAST, MOST)
    for name in results
}

# %% tags=["item-33", "item-36"]
for name in results:
    mean, spread = earlier(name, LEAST[name])
    if QUICK:
        assert mean > spread / 5**0.5, f"{name}, little data, small images: the earlier stage is better on average"
    elif name == "15-scene":
        assert mean < 0, "little data, 224 pixels: for photographs the top codes are better"

# %% [markdown]
# What our table says, and what it doesn't:
# - **Little data**: a linear classifier, on the better stage, is as good as any fine-tuning, with codes that are
#   computed once for all draws. In the quick budget the earlier stage has the higher mean, and not only for the solar
#   cells: at 64 pixels even a photograph is not what ImageNet's top layers were trained on. (At the full budget's 224
#   the scenes' top codes are the better ones.) For the solar cells the gain is about as large as its spread (lesson 8
#   asks again, with another classifier).
# - **A lot of data**: fine-tuning is as good as any linear classifier, and at the full budget's 224 pixels it wins (first
#   draws: 94.3 % against 91.8 % on 100 scenes a class, 87.3 % against 84.3 % on 600 cells a class). Where bars are within
#   each other's spread, the table doesn't decide.
#
# ### Exercise 5 · the table as a rule (2 points)
# Write the *lecture's* table as a function `advise(per_class, similar, enough=50)`. `per_class` is the number of images
# a class; fewer than `enough` count as little data. `similar` is `True` or `False`. Return one of
# `"linear on top codes"`, `"linear on an earlier stage"`, `"fine-tune a few layers or all"`, `"fine-tune all"`. Take the
# last one for a lot of very different data.
# Example: `advise(10, similar=True)` is `"linear on top codes"`.


# %% nbgrader={"grade": false, "grade_id": "advise", "locked": false, "schema_version": 3, "solution": true, "task": false}
def advise(per_class, similar, enough=50):
    """The lecture's advice (a string) for so many images a class, similar to ImageNet or not."""
    ### BEGIN SOLUTION
    if per_class < enough:
        return "linear on top codes" if similar else "linear on an earlier stage"
    return "fine-tune a few layers or all" if similar else "fine-tune all"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "advise_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(advise, points=2)
check.equal(10, similar=True, expected="linear on top codes")
check.equal(
    10,
    similar=False,
    expected="linear on an earlier stage",
    slips={"linear on top codes": "the top knows ImageNet only."},
)
check.equal(400, similar=True, expected="fine-tune a few layers or all")
check.equal(400, similar=False, expected="fine-tune all")
### BEGIN HIDDEN TESTS
check.equal(50, similar=True, expected="fine-tune a few layers or all")
check.equal(50, similar=False, expected="fine-tune all")
check.equal(49, similar=False, expected="linear on an earlier stage")
check.equal(60, similar=False, enough=100, expected="linear on an earlier stage")
check.equal(60, similar=True, enough=100, expected="linear on top codes")
check.equal(30, similar=True, enough=20, expected="fine-tune a few layers or all")
check.equal(200, similar=False, enough=100, expected="fine-tune all")
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ### Exercise 6 · the rule that looks at the numbers (3 points)
# A more expensive method should win *clearly*, or why pay for it? Write `cheapest_good(row)`: `row` is a list of
# `(method, mean, spread)`, from the cheapest method to the most expensive. Find the best method, with the highest mean
# (of equal ones, the first). Return the name of the *cheapest* method whose mean is at least the best method's mean
# minus the best method's spread. Example: for `[("linear", 0.91, 0.02), ("few", 0.90, 0.01), ("all", 0.92, 0.015)]`
# the limit is 0.92 - 0.015 = 0.905, and the answer is `"linear"`.


# %% nbgrader={"grade": false, "grade_id": "cheapest_good", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cheapest_good(row):
    """The first method of row [(method, mean, spread), ...] whose mean is within the best one's spread of the best."""
    ### BEGIN SOLUTION
    _, best, spread = max(row, key=lambda entry: entry[1])
    return next(method for method, mean, _ in row if mean >= best - spread)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "cheapest_good_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = Check(cheapest_good, points=3)
row = [("linear", 0.91, 0.02), ("few", 0.90, 0.01), ("all", 0.92, 0.015)]
check.equal(row, expected="linear", slips={"all": "is a cheaper one within the spread?"}, show="the example")
row = [("linear", 0.80, 0.02), ("few", 0.89, 0.01), ("all", 0.90, 0.02)]
check.equal(row, expected="few", slips={"linear": "0.80 is below the limit of 0.88."}, show="0.80, 0.89, 0.90 ± 0.02")
row = [("a", 0.80, 0.15), ("b", 0.85, 0.01), ("c", 0.90, 0.04)]
slips = {"a": "take the spread of the best one only.", "b": "take the spread of the best one only."}
check.equal(row, expected="c", slips=slips, show="0.80 ± 0.15, 0.85 ± 0.01, 0.90 ± 0.04")
### BEGIN HIDDEN TESTS
row = [("a", 0.30, 0.01), ("b", 0.40, 0.01), ("c", 0.50, 0.08), ("d", 0.90, 0.3), ("e", 0.95, 0.1)]
check.equal(row, expected="d", show="five methods")
row = [("a", 0.80, 0.01), ("b", 0.85, 0.10), ("c", 0.86, 0.02)]
check.equal(row, expected="b", show="0.80, 0.85, 0.86 ± 0.02")
row = [("a", 0.83, 0.01), ("b", 0.86, 0.01), ("c", 0.90, 0.08)]
check.equal(row, expected="a", show="0.83, 0.86, 0.90 ± 0.08")
check.equal([("a", 0.85, 0.01), ("b", 0.90, 0.06), ("c", 0.70, 0.3)], expected="a", show="the best isn't the last")
check.equal([("a", 0.87, 0.01), ("b", 0.90, 0.02)], expected="b", show="0.87, 0.90 ± 0.02")
check.equal([("a", 0.75, 0.0), ("b", 1.0, 0.25)], expected="a", show="0.75, 1 ± 0.25: just at the limit")
check.equal([("a", 0.33, 0.01), ("b", 0.40, 0.10)], expected="a", show="0.33, 0.40 ± 0.10")
check.equal([("a", 0.888, 0.01), ("b", 0.90, 0.014)], expected="a", show="0.888, 0.900 ± 0.014")
check.equal(
    [("a", 0.40, 0.01), ("b", 0.90, 0.04), ("c", 0.87, 0.5)], expected="b", show="0.40, 0.90 ± 0.04, 0.87 ± 0.5"
)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# The same rule on our own table:


# %% tags=["item-36"]
{case: layers.simplest(found) for case, found in measured.items()}

# %% [markdown]
# ### Exercise 7 · in your own words (3 points)
# A friend has 200 X-ray images, 100 a class. He loads a pretrained network, freezes all of its weights, gives it a new
# head, calls `model.train()` and trains the head with batches of 16. On the training batches it is right in 90 % of the
# cases; in evaluation mode, on new images, it is hardly better than guessing. Say in five to eight sentences what
# probably went wrong and why the training loss doesn't show it, how to test your idea, and which of the methods of this
# lesson you would try first on such data, and why.

# %% [markdown] nbgrader={"grade": true, "grade_id": "explain_trap", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# The weights are frozen, but BatchNorm's running means and variances are no weights: in training mode every batch moves
# them, and batches of 16 give poor estimates. The head is trained on codes that are normalised by each batch's own
# statistics, while in evaluation mode the codes are made with the running ones, so the head meets other codes than
# those it has learnt. The training loss is computed in training mode and can't show the difference. Test: compare
# running means before and after, or evaluate the *training* images in evaluation mode; if that is bad as well, it isn't
# overfitting. Way out: keep those layers in evaluation mode (`layer.eval()` after each `train()`), or extract the codes
# once. With 100 images a class of a very different kind I would first try a linear classifier on codes of the top and
# of an earlier stage, as that has few weights to fit and can't destroy anything. Then I would fine-tune, head first
# with a small rate for the body, and believe a gain only when it is larger than the spread over seeds.
#
# Marking: 1 point for BatchNorm's statistics, which move in training mode though the weights are frozen, and for the
# loss that is computed with the batch's own. 1 point for a test that would tell (running means, or the training images
# in evaluation mode). 1 point for a method that fits 100 images a class, with its reason.
# ### END SOLUTION

# %% [markdown]
# ## What to remember
# - With few images, take codes and a linear classifier. Fine-tuning needs images, steps, and images large enough to
#   show what tells the classes apart.
# - Head first; then the body with a tenth of the rate, or rates that fall from stage to stage.
# - `requires_grad = False` doesn't freeze BatchNorm's statistics. Keep those layers in evaluation mode.
# - A table of advice is a hypothesis. Measure it on your data, with seeds, and prefer the cheaper method within the
#   spread.
#
# **Papers.** Yosinski et al. 2014, *How transferable are features in deep neural networks?* · Howard & Ruder 2018,
# *Universal language model fine-tuning* (discriminative rates, section 3.2) · Smith & Topin 2017, *Super-convergence* ·
# Ioffe & Szegedy 2015, *Batch normalization* · Kumar et al. 2022, *Fine-tuning can distort pretrained features* (head
# first) · He, Girshick & Dollár 2019, *Rethinking ImageNet pre-training* · Chollet 2016, *Building powerful image
# classification models using very little data* (the 2,000 cats and dogs) · Deitsch et al. 2019 (the solar cells) ·
# Lazebnik, Schmid & Ponce 2006 (15-Scene).
