# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 1 · Convolution arithmetic
#
# After this lesson you can
# - say what a convolutional layer computes, and write one yourself that agrees with the library;
# - predict output sizes, parameters, work and receptive fields, and check a printed table;
# - turn a fully connected layer into a convolution, and run a trained network on a larger image.
#
# **You need** Python and a little PyTorch (tensors and their shapes). No data has to be downloaded.
# **Time:** about 20 seconds of computing on two CPU cores; reading and exercises take two to three hours.
#
# How it works: the text asks you to *predict*. Write your guess down, run the cell, compare. Exercises have a cell for
# your answer (with `...`) and a check that tells you at once what it finds. Marking tries further cases of the same kind,
# so test your answer on examples of your own, too. Nothing later depends on your answers.

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
import math
import operator
import re

import matplotlib.pyplot as plt
import scipy.signal
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import pil_to_tensor

from helpers import arithmetic, backbones, datasets, explorers, plots
from helpers.checks import Check, difference, names_used


# %% tags=["setup"]
def agrees(result, right):
    """Whether a result has the right shape and values."""
    return difference(result, right, atol=1e-4) is None


OWN = {"conv_plain", "conv_layer", "conv_full"}  # the exercises themselves


def library_hint(function):
    """What to say to a function that calls a library's convolution, itself or through another one; else ""."""
    called = [name for name in names_used(function) - OWN if re.search("(?i)conv(?!ert)|correlate", name)]
    return f"Write the sum yourself, without the library's convolution ({', '.join(sorted(called))})." if called else ""


# %% [markdown]
# ## 1. From a fully connected layer to a convolution
#
# An image of 32×32 pixels in three colours holds 32·32·3 numbers. A **fully connected** layer stretches them into
# one long vector. Each of its outputs is one dot product with that vector.
#
# *Predict: how long is the vector, and how many weights does one output have?*

# %% tags=["item-2"]
torch.manual_seed(0)
image = torch.randn(1, 3, 32, 32)  # (images, channels, height, width)
dense = nn.Linear(3 * 32 * 32, 10)
dense.weight[0].shape, dense(image.flatten(1)).shape

# %% [markdown]
# A **convolution** keeps the image an image. A small filter, here 5×5, slides over it. The filter spans the full depth,
# all the channels: 5×5×**3** (texts put the channels last, PyTorch's tensors first). At each place it gives one number:
# a dot product of 75 weights with the 75 values below the filter, plus a bias.
#
# *Predict the shape of the output: at how many places does a 5-wide filter fit on 32 pixels?*

# %% tags=["item-2"]
one_filter = nn.Conv2d(3, 1, kernel_size=5)
one_filter.weight[0].numel(), one_filter(image).shape

# %% tags=["item-2"]
by_hand = (image[0, :, 10:15, 20:25] * one_filter.weight[0]).sum() + one_filter.bias[0]
by_library = one_filter(image)[0, 0, 10, 20]
assert torch.allclose(by_hand, by_library, atol=1e-5), "one output value is one 75-long dot product + bias"
by_hand.item(), by_library.item()

# %% [markdown]
# One filter gives one **activation map**. Six filters give six maps. They need 6·75 weights and 6 biases.
#
# *Predict three shapes: of the weights, of the bias, and of the output for a batch of two images.*

# %% tags=["item-2"]
six = nn.Conv2d(3, 6, kernel_size=5)
maps = six(torch.randn(2, 3, 32, 32))
assert maps.shape == (2, 6, 28, 28), "images × Cin × H × W becomes images × Cout × H' × W'"
six.weight.shape, six.bias.shape, maps.shape

# %% [markdown]
# The output can be read in two ways: as 6 maps of 28×28, or as a 28×28 grid of vectors, each 6 long.

# %% tags=["item-2"]
one_map, one_vector = maps[0, 4], maps[0, :, 10, 20]
one_map.shape, one_vector.shape

# %% [markdown]
# ### The neuron view
# The second reading is the one of neurons. Five filters make a 28×28×5 grid of neurons. The five neurons at one place
# look at the same 5×5×3 patch (**local connectivity**), and look for five different things. All neurons of one map
# have the same weights (**shared weights**).
#
# So at one place, the convolution *is* a small fully connected layer of 75 inputs and 5 outputs:

# %% tags=["item-8"]
five = nn.Conv2d(3, 5, kernel_size=5)
patch = image[0, :, 10:15, 20:25].flatten()
neurons = F.linear(patch, five.weight.flatten(1), five.bias)
assert torch.allclose(neurons, five(image)[0, :, 10, 20], atol=1e-5), "five neurons look at one patch"
neurons.shape

# %% [markdown]
# *What do locality and sharing save? Predict the order of magnitude of three numbers of parameters: everything
# connected; local, but every neuron has weights of its own; local and shared.*

# %% tags=["item-8"]
neurons = 28 * 28 * 5
connected, local, shared = neurons * (3072 + 1), neurons * (75 + 1), arithmetic.parameters(five)
assert (connected, local, shared) == (12_046_160, 297_920, 380), "three ways to make 28×28×5 outputs"
connected, local, shared

# %% [markdown]
# From 12 million to 380. The price is a belief: *what is worth finding in one place is worth finding anywhere.*
#
# ## 2. Convolution or cross-correlation?
#
# In signal processing, the convolution of $f$ and $g$ is
# $(f * g)[x, y] = \sum_{n_1, n_2} f[n_1, n_2] \; g[x - n_1, y - n_2]$.
# The indices of $g$ run backwards: the kernel is **flipped**, up-down and left-right. Deep-learning libraries don't
# flip. What they call a convolution is a **cross-correlation**.
#
# *Predict: the image below is black with one white pixel. What does each of the two give?*

# %% tags=["item-1"]
impulse = torch.zeros(5, 5)
impulse[2, 2] = 1
kernel = torch.arange(1.0, 10).reshape(3, 3)
kernel

# %% tags=["item-1"]
library = F.conv2d(impulse[None, None], kernel[None, None], padding=1)[0, 0]
signal = torch.from_numpy(scipy.signal.convolve2d(impulse, kernel, mode="same"))
assert torch.equal(signal, F.conv2d(impulse[None, None], kernel.flip(0, 1)[None, None], padding=1)[0, 0])

# %% tags=["item-1"]
plots.images(
    [impulse, kernel, library, signal],
    ["one white pixel", "kernel", "torch: cross-correlation", "scipy: convolution"],
    title="A true convolution copies the kernel onto each pixel; what torch computes turns it by 180°",
    numbers=True,
)

# %% [markdown]
# *When do the two agree?* When the kernel looks the same after a half turn. A blur does; the Sobel edge detector (left
# minus right) does not.

# %% tags=["item-1"]
blur, edge = torch.ones(3, 3) / 9, torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
same = [torch.equal(k, k.flip(0, 1)) for k in (blur, edge)]
assert same == [True, False], "a symmetric kernel doesn't notice the flip"
same

# %% [markdown]
# For *learned* kernels it makes no difference: the network learns the flipped kernel. It matters when you carry a
# kernel from one library to another.
#
# ### Exercise 1 · by hand (1 point)
# Without running code: what does `F.conv2d` give for this image and this kernel? (No padding, stride 1: the kernel
# moves by one pixel at a time and stays inside the image.)
# ```
# image   1 2 0      kernel   1 0
#         0 1 3               0 2
#         4 0 1
# ```
# Write the 2×2 result as a list of two rows, for example `[[1, 2], [3, 4]]`.

# %% nbgrader={"grade": false, "grade_id": "hand_result", "locked": false, "schema_version": 3, "solution": true, "task": false}
hand_result = ...
### BEGIN SOLUTION
hand_result = [[3, 8], [0, 3]]
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "hand_result_check", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
hand_image = torch.tensor([[1.0, 2, 0], [0, 1, 3], [4, 0, 1]])
hand_kernel = torch.tensor([[1.0, 0], [0, 2]])
correlated = F.conv2d(hand_image[None, None], hand_kernel[None, None])[0, 0]
check = Check(hand_result, points=1, name="hand_result")
hint = "The second number: 1·2 + 0·0 + 0·1 + 2·3. No flip."
check.that(
    "two rows of two numbers", lambda rows: [len(row) for row in rows] == [2, 2], hint="[[a, b], [c, d]]", weight=0
)
check.that("the first row is right", lambda rows: list(rows[0]) == correlated[0].tolist(), hint=hint)
### BEGIN HIDDEN TESTS
check.that("the second row is right", lambda rows: list(rows[1]) == correlated[1].tolist() and len(rows) == 2)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 3. The size of the output
#
# A 3×3 filter on a 7×7 image. The **stride** is the step, in pixels, from one place of the filter to the next. *Predict
# the width of the output for stride 1, 2 and 3.*

# %% tags=["item-3"]
seven = torch.zeros(1, 1, 7, 7)
small = torch.zeros(1, 1, 3, 3)
[F.conv2d(seven, small, stride=stride).shape[-1] for stride in (1, 2, 3)]

# %% [markdown]
# For $N$ pixels, a filter $F$ wide and stride $S$, the rule $(N - F)/S + 1$ gives 5, 3 and **2.33**. With stride 3 the
# filter doesn't fit. Some texts call this an error. The library takes the **floor**: 2. *What happens to the pixels
# that are left over?* With a filter of ones, the gradient of the sum of all outputs counts how often each pixel is
# used:

# %% tags=["item-3"]
pixels = torch.zeros(1, 1, 7, 7, requires_grad=True)
F.conv2d(pixels, torch.ones(1, 1, 3, 3), stride=3).sum().backward()
unused = pixels.grad[0, 0] == 0
assert unused[6].all() and unused[:, 6].all() and unused.sum() == 13, "the last row and column are never looked at"
plots.images([pixels.grad[0, 0]], title="Stride 3 on 7×7:\nthe last row and column are never used", numbers=True)

# %% [markdown]
# **Zero padding** adds $P$ zeros on each side: $(N + 2P - F)/S + 1$. *Which padding keeps 7×7 with a 3×3 filter? With
# 5×5? With 7×7?*

# %% tags=["item-3"]
padding = {f: (f - 1) // 2 for f in (3, 5, 7)}
kept = [arithmetic.output_size(7, f, padding=p) for f, p in padding.items()]
assert kept == [7, 7, 7], "with stride 1, padding (F - 1)/2 keeps the size"
padding

# %% [markdown]
# Without padding, each 5×5 convolution takes 4 pixels away. *How many such layers until 32 pixels are used up?*

# %% tags=["item-3"]
shrinking = [32]
while shrinking[-1] >= 5:
    shrinking.append(arithmetic.output_size(shrinking[-1], 5))
assert shrinking == [32, 28, 24, 20, 16, 12, 8, 4]
shrinking

# %% [markdown]
# **Dilation** $D$ (*à trous*, "with holes") spreads the filter: its taps stand $D$ pixels apart, so that it spans
# $D(F-1)+1$ pixels with no more weights. The full rule of the library:
#
# $$\text{output} = \left\lfloor \frac{N + 2P - D(F-1) - 1}{S} \right\rfloor + 1$$
#
# *Predict: which undilated filter gives the same size as a 3×3 filter with dilation 2?*

# %% tags=["item-3", "item-6"]
dilated = F.conv2d(seven, small, dilation=2).shape[-1]
undilated = {f"{f}×{f}": arithmetic.output_size(7, f) for f in (3, 5, 7)}
assert dilated == arithmetic.output_size(7, 3, dilation=2) == undilated["5×5"], "it spans 5 pixels"
dilated, undilated

# %% [markdown]
# **Try it.** Drag the window, or press *Play*. Then change a setting, and predict the size *before* you look at the
# formula. *Can you find a setting where the middle pixel is never used? One where a padding of 2 keeps all outputs and
# only adds new ones around them?* Under *Layer* you find pooling (section 7), and the transposed convolution: it makes
# small maps larger, and its size rule is this one, solved for $N$.

# %% tags=["item-3", "item-6", "item-9"]
explorers.convolution()

# %% [markdown]
# ### Exercise 2 · the rule (2 points)
# Write `output_size(n, kernel, stride=1, padding=0, dilation=1)`: all are whole numbers, and so is the result.
# For example `output_size(7, 3, stride=2)` is 3, and `output_size(7, 3, stride=3)` is 2.


# %% nbgrader={"grade": false, "grade_id": "output_size", "locked": false, "schema_version": 3, "solution": true, "task": false}
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    """How many places a window takes along one axis, as the library counts (an int).

    output_size(32, 5) is 28; output_size(7, 3, stride=3) is 2.
    """
    ### BEGIN SOLUTION
    return (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "output_size_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(output_size, points=2)
check.equal(7, 3, expected=5, slips={4: "did you forget the + 1?"})
check.equal(7, 3, stride=2, expected=3, slips={5: "did you forget the stride?"})
check.equal(7, 3, stride=3, expected=2, slips={7 / 3: "take the floor, as the library does.", 3: "down, not up."})
check.equal(32, 5, padding=2, expected=32, slips={28: "did you forget the padding?", 30: "padding is on both sides."})
check.equal(
    7,
    3,
    dilation=2,
    expected=3,
    slips={5: "did you forget the dilation?", 2: "F taps have F - 1 gaps (or is it the + 1?)."},
)
### BEGIN HIDDEN TESTS
for n, kernel, options in [
    (224, 11, {"stride": 4, "padding": 2}),
    (50, 4, {"stride": 3, "padding": 1, "dilation": 5}),
    (9, 1, {"stride": 2, "padding": 3, "dilation": 4}),
    (224, 7, {"stride": 2, "padding": 3}),
]:
    expected = F.conv1d(torch.zeros(1, 1, n), torch.zeros(1, 1, kernel), **options).shape[-1]
    check.equal(n, kernel, **options, expected=expected)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 4. Your own convolution, in three steps
#
# Now write what `F.conv2d` computes, with loops, and without a library's convolution or correlation (the check refuses
# them). It will be slow. It will be *right*: the checks compare it with the library on many sizes. Each exercise goes a
# little further; start from your answer to the one before.
#
# ### Exercise 3 · one channel (2 points)
# `conv_plain(x, kernel)`: `x` is (H, W), `kernel` is (KH, KW), the result is (H-KH+1, W-KW+1). No padding, stride 1,
# no flip. Example: `x = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]` and `kernel = [[1, 0], [0, 1]]` give `[[4, 6], [10, 12]]`.


# %% nbgrader={"grade": false, "grade_id": "conv_plain", "locked": false, "schema_version": 3, "solution": true, "task": false}
def conv_plain(x, kernel):
    """Slide the kernel over x. x: (H, W); kernel: (KH, KW); returns a tensor (H-KH+1, W-KW+1).

    out[i, j] = sum over a, b of kernel[a, b] * x[i + a, j + b]
    """
    ### BEGIN SOLUTION
    (height, width), (kh, kw) = x.shape, kernel.shape
    out = torch.zeros(height - kh + 1, width - kw + 1)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = (kernel * x[i : i + kh, j : j + kw]).sum()
    return out
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "conv_plain_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
torch.manual_seed(1)
check = Check(conv_plain, points=2)
check.refuse(library_hint(conv_plain))
check.equal(torch.arange(9.0).reshape(3, 3), torch.eye(2), expected=[[4, 6], [10, 12]], show="the example")
cases = [(5, 5, 3, 3), (4, 7, 3, 2)]
### BEGIN HIDDEN TESTS
cases += [(6, 3, 1, 3), (3, 3, 3, 3), (9, 4, 2, 4)]
### END HIDDEN TESTS
for height, width, kh, kw in cases:
    x, kernel = torch.randn(height, width), torch.randn(kh, kw)
    right = F.conv2d(x[None, None], kernel[None, None])[0, 0]
    flipped = F.conv2d(x[None, None], kernel.flip(0, 1)[None, None])[0, 0]
    slips = [(flipped, "you flipped the kernel."), (right.T, "rows and columns are exchanged.")]
    check.equal(x, kernel, expected=right, slips=slips, show=f"x {height}×{width}, kernel {kh}×{kw}", atol=1e-5)
check.score()

# %% [markdown]
# ### Exercise 4 · depth, bias, stride and padding (3 points)
# `conv_layer(x, weight, bias, stride=1, padding=0)`: `x` is (C, H, W), `weight` is (K, C, KH, KW), `bias` is (K,). The
# result is (K, H', W'), with H' and W' from the size rule. Example: an `x` of ones, (3, 4, 4), one filter of ones,
# (1, 3, 3, 3), bias 1, stride 2, padding 1 give `[[[13, 19], [19, 28]]]`: at the corner, 2·2·3 ones and the bias.


# %% nbgrader={"grade": false, "grade_id": "conv_layer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def conv_layer(x, weight, bias, stride=1, padding=0):
    """One image through a layer. x: (C, H, W); weight: (K, C, KH, KW); bias: (K,); returns (K, H', W').

    out[k, i, j] = bias[k] + sum over c, a, b of weight[k, c, a, b] * padded[c, i*stride + a, j*stride + b]
    """
    ### BEGIN SOLUTION
    (channels, height, width), (filters, _, kh, kw) = x.shape, weight.shape
    padded = torch.zeros(channels, height + 2 * padding, width + 2 * padding)
    padded[:, padding : padding + height, padding : padding + width] = x
    out = torch.zeros(filters, (padded.shape[1] - kh) // stride + 1, (padded.shape[2] - kw) // stride + 1)
    for k in range(filters):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                patch = padded[:, i * stride : i * stride + kh, j * stride : j * stride + kw]
                out[k, i, j] = (weight[k] * patch).sum() + bias[k]
    return out
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "conv_layer_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
torch.manual_seed(2)
check = Check(conv_layer, points=3)
check.refuse(library_hint(conv_layer))
cases = [(3, 5, 5, 2, 3, 3, 1, 0), (2, 5, 7, 3, 3, 2, 2, 0), (3, 5, 4, 2, 3, 3, 1, 1), (3, 7, 6, 4, 3, 2, 3, 2)]
### BEGIN HIDDEN TESTS
cases += [(1, 8, 3, 1, 5, 1, 2, 1), (4, 4, 9, 2, 2, 4, 3, 1), (2, 3, 3, 3, 1, 1, 2, 3)]
### END HIDDEN TESTS
for channels, height, width, filters, kh, kw, stride, padding in cases:
    x, weight, bias = torch.randn(channels, height, width), torch.randn(filters, channels, kh, kw), torch.randn(filters)
    right = F.conv2d(x[None], weight, bias, stride, padding)[0]
    slips = [(right - bias[:, None, None], "did you add the bias?")]
    if padding:
        slips.append((F.conv2d(x[None], weight, bias, stride)[0], "did you pad?"))
    show = f"x {channels}×{height}×{width}, {filters} filters {kh}×{kw}, stride={stride}, padding={padding}"
    check.equal(x, weight, bias, stride, padding, expected=right, slips=slips, show=show, atol=1e-4)
ones = torch.ones(3, 4, 4), torch.ones(1, 3, 3, 3), torch.ones(1)
check.equal(*ones, 2, 1, expected=[[[13, 19], [19, 28]]], show="the worked example")
check.score()

# %% [markdown]
# ### Exercise 5 · the whole of `conv2d` (4 points)
# `conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1)` takes a batch: `x` is (N, C, H, W),
# `weight` is (K, C/groups, KH, KW), the result is (N, K, H', W').
#
# With groups, the C input channels are cut into `groups` equal parts, and so are the K filters. A filter of part
# number g sees only the channels of part number g. Example: C = 4, K = 6, groups = 2: filters 0, 1, 2 see the channels
# 0, 1; filters 3, 4, 5 see the channels 2, 3. Don't change `x`.


# %% nbgrader={"grade": false, "grade_id": "conv_full", "locked": false, "schema_version": 3, "solution": true, "task": false}
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """What torch.nn.functional.conv2d computes. x: (N, C, H, W); weight: (K, C/groups, KH, KW); bias: (K,) or None.

    out[n, k, i, j] = bias[k] + sum over c, a, b of
        weight[k, c, a, b] * padded[n, first + c, i*stride + a*dilation, j*stride + b*dilation]
    where first is the first channel of the part that filter k belongs to.
    """
    ### BEGIN SOLUTION
    (n, _, height, width), (filters, depth, kh, kw) = x.shape, weight.shape
    padded = torch.zeros(*x.shape[:2], height + 2 * padding, width + 2 * padding)
    padded[:, :, padding : padding + height, padding : padding + width] = x
    rows = (height + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    columns = (width + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    out = torch.zeros(n, filters, rows, columns)
    for k in range(filters):
        first = k // (filters // groups) * depth
        for i in range(rows):
            for j in range(columns):
                top, left = i * stride, j * stride
                bottom, right = top + dilation * (kh - 1) + 1, left + dilation * (kw - 1) + 1
                patch = padded[:, first : first + depth, top:bottom:dilation, left:right:dilation]
                out[:, k, i, j] = (weight[k] * patch).sum(dim=(1, 2, 3))
    return out if bias is None else out + bias[:, None, None]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "conv_full_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
torch.manual_seed(3)
check = Check(conv_full, points=4)
check.refuse(library_hint(conv_full))
#        n, groups, depth, filters of a group, height, width, kh, kw, stride, padding, dilation
cases = [(2, 1, 3, 2, 5, 6, 3, 3, 1, 0, 1), (2, 1, 2, 2, 8, 7, 3, 2, 2, 1, 1), (1, 1, 2, 1, 9, 8, 3, 3, 1, 0, 2)]
cases += [(1, 2, 2, 3, 5, 5, 3, 3, 1, 1, 1), (2, 3, 1, 2, 7, 6, 2, 3, 2, 2, 2)]
### BEGIN HIDDEN TESTS
cases += [(1, 4, 1, 1, 6, 6, 3, 3, 1, 1, 1), (2, 2, 3, 1, 9, 11, 4, 2, 3, 2, 3), (3, 1, 1, 1, 4, 4, 1, 1, 3, 1, 2)]
### END HIDDEN TESTS
for n, groups, depth, filters, height, width, kh, kw, stride, padding, dilation in cases:
    x, weight = torch.randn(n, groups * depth, height, width), torch.randn(groups * filters, depth, kh, kw)
    options = {"bias": torch.randn(groups * filters), "stride": stride, "padding": padding}
    options |= {"dilation": dilation, "groups": groups}
    show = f"x {tuple(x.shape)}, weight {tuple(weight.shape)}, {stride=}, {padding=}, {dilation=}, {groups=}"
    check.equal(x, weight, **options, expected=F.conv2d(x, weight, **options), show=show, atol=1e-4)
x, weight, bias = torch.randn(2, 2, 6, 7), torch.randn(4, 2, 2, 3), torch.randn(4)
check.equal(x, weight, expected=F.conv2d(x, weight), show="without a bias", atol=1e-4)
options = {"bias": bias, "dilation": 2, "groups": 2}
right = F.conv2d(x, weight[:, :1], **options)
check.equal(x, weight[:, :1], **options, expected=right, show="dilation 2 and two groups", atol=1e-4)
check.unchanged(hint="x is only read.")
check.score()

# %% [markdown]
# The same function stands in `helpers/arithmetic.py` as `conv2d_naive`, and agrees with the library. *Why does nobody
# train with it?* Work is counted in **multiply-adds**: one product, added to a sum. *Predict how many of them the small
# layer below needs for one image.*

# %% tags=["item-6"]
x, layer = torch.randn(1, 8, 20, 20), nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2)
naive = arithmetic.conv2d_naive(x, layer.weight, layer.bias, stride=2, padding=1, groups=2)
assert torch.allclose(naive, layer(x), atol=1e-4), "loops and library agree"
naive.shape, arithmetic.multiply_adds(layer, x.shape, naive.shape)

# %% [markdown]
# 16·10·10 output values, each from 3·3·4 products. Written as plain Python loops, that is nearly sixty thousand steps.
# The second layer of VGG16 (section 11) needs 1.8 thousand million. Libraries do the same sums, in compiled code, many
# at a time.
#
# ## 5. Counting parameters
#
# Input 32×32×3, ten 5×5 filters, stride 1, padding 2. *Predict the output shape and the number of parameters. (Many
# people forget one thing.)*

# %% tags=["item-4"]
ten = nn.Conv2d(3, 10, kernel_size=5, stride=1, padding=2)
assert arithmetic.parameters(ten) == (5 * 5 * 3 + 1) * 10 == 760, "F·F·C weights and 1 bias per filter"
ten(torch.randn(1, 3, 32, 32)).shape, arithmetic.parameters(ten)

# %% [markdown]
# In general $K$ filters of size $F$ over $C$ channels have $F^2 \cdot C \cdot K$ weights and $K$ biases. Common
# choices: $K$ a power of two (32, 64, 128, 512); and these $(F, S, P)$. *Which of them keep 32 pixels?*

# %% tags=["item-4"]
common = [(3, 1, 1), (5, 1, 2), (5, 2, 2), (1, 1, 0)]
{(f, s, p): arithmetic.output_size(32, f, stride=s, padding=p) for f, s, p in common}

# %% [markdown]
# ### 1×1 convolutions
# A 1×1 filter sees one pixel. *Is that of any use?* Yes, for it spans the depth: at each pixel it computes a dot
# product over all the channels. It is a small fully connected layer, applied to every pixel.

# %% tags=["item-5"]
volume = torch.randn(1, 64, 56, 56)
mix = nn.Conv2d(64, 32, kernel_size=1)
as_linear = F.linear(volume.permute(0, 2, 3, 1), mix.weight[:, :, 0, 0], mix.bias).permute(0, 3, 1, 2)
assert torch.allclose(mix(volume), as_linear, atol=1e-5), "a 1×1 convolution is a linear layer at each pixel"
mix(volume).shape

# %% [markdown]
# ### Groups
# `nn.Conv2d(..., groups=1)` connects every input channel to every output channel. *What does `groups=2` do?* It puts
# two half-depth convolutions side by side, and concatenates their results:

# %% tags=["item-6"]
grouped = nn.Conv2d(64, 32, kernel_size=3, groups=2)
first = F.conv2d(volume[:, :32], grouped.weight[:16], grouped.bias[:16])
second = F.conv2d(volume[:, 32:], grouped.weight[16:], grouped.bias[16:])
assert torch.allclose(grouped(volume), torch.cat([first, second], dim=1), atol=1e-4), "two half convolutions"
grouped.weight.shape, arithmetic.parameters(grouped)

# %% [markdown]
# With `groups` equal to $C_{in}$ the convolution is **depthwise**: each channel has its own $C_{out}/C_{in}$ filters
# and never meets the others. A 1×1 convolution behind it mixes the channels. The two take the place of one full
# convolution (but can't compute all that it can). *Predict how many times fewer parameters they have (3×3, 64 to 64
# channels).*

# %% tags=["item-6"]
full = nn.Conv2d(64, 64, 3, bias=False)
depthwise, pointwise = nn.Conv2d(64, 64, 3, groups=64, bias=False), nn.Conv2d(64, 64, 1, bias=False)
alone = F.conv2d(volume[:, 5:6], depthwise.weight[5:6])
assert torch.allclose(depthwise(volume)[:, 5:6], alone, atol=1e-5), "map 5 depends on channel 5 only"
arithmetic.parameters(full), arithmetic.parameters(depthwise) + arithmetic.parameters(pointwise)

# %% [markdown]
# About eight times fewer. MobileNet and EfficientNet are made of such pairs.
#
# ### Exercise 6 · count (2 points)
# Write `count_parameters(channels, filters, kernel, groups=1, bias=True)` for a convolution with a square kernel.
# Example: `count_parameters(3, 10, 5)` is 760.


# %% nbgrader={"grade": false, "grade_id": "count_parameters", "locked": false, "schema_version": 3, "solution": true, "task": false}
def count_parameters(channels, filters, kernel, groups=1, bias=True):
    """Weights and biases of nn.Conv2d(channels, filters, kernel, groups=groups, bias=bias), as an int."""
    ### BEGIN SOLUTION
    return (kernel * kernel * channels // groups + bias) * filters
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "count_parameters_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check = Check(count_parameters, points=2)
slips = {750: "did you count the biases?", 751: "one bias for each filter.", 260: "the filter spans the depth."}
check.equal(3, 10, 5, expected=760, slips=slips, rtol=0)
check.equal(64, 32, 1, expected=2080, slips={2048: "did you count the biases?"})
check.equal(3, 10, 5, bias=False, expected=750, slips={760: "there is no bias here."})
check.equal(64, 32, 3, groups=2, expected=9248, slips={18464: "a filter sees only C/groups channels."})
### BEGIN HIDDEN TESTS
check.equal(64, 64, 3, groups=64, bias=False, expected=576)
check.equal(512, 4096, 7, expected=102_764_544, rtol=0)
check.equal(6, 4, 3, groups=2, expected=112)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 6. The receptive field: what a unit can see
#
# A **unit** is one value of an activation map. Behind one 3×3 convolution it depends on 3×3 pixels. *And behind two of
# them? Behind four?* We can measure it: the gradient of one unit in the middle is non-zero exactly at the pixels that
# it sees. (All weights are positive here, so that nothing cancels.)


# %% tags=["item-7"]
def seen_by_the_middle(layers, size=15):
    """How much each of size×size input pixels moves the middle unit of a stack of 3×3 convolutions."""
    x = torch.ones(1, 1, size, size, requires_grad=True)
    y = x
    for _ in range(layers):
        y = F.conv2d(y, torch.full((1, 1, 3, 3), 1 / 9), padding=1)
    return torch.autograd.grad(y[0, 0, size // 2, size // 2], x)[0][0, 0]


# %% tags=["item-7"]
stacks = [seen_by_the_middle(layers) for layers in (1, 2, 3, 4)]
widths = [int((stack > 0).any(0).sum()) for stack in stacks]
assert widths == [1 + layers * (3 - 1) for layers in (1, 2, 3, 4)], "L layers with stride 1 see 1 + L(F - 1)"
titles = [f"{layers + 1} × (3×3): {width} pixels" for layers, width in enumerate(widths)]
plots.images(stacks, titles, title="Each 3×3 layer lets a unit see 2 pixels more; the middle counts most")

# %% [markdown]
# So $L$ layers of size $F$ and stride 1 see $1 + L(F-1)$ pixels **of the input**. In the *previous layer* a unit still
# sees $F$×$F$. Say which one you mean.
#
# Two 3×3 layers see as much as one 5×5 layer, with 18 weights instead of 25 (and a ReLU, $\max(0, x)$, between them).
#
# *How many 3×3 layers with stride 1 until one unit sees 224 pixels?*

# %% tags=["item-7"]
layers_needed = math.ceil((224 - 1) / (3 - 1))
assert arithmetic.receptive_field([(3,)] * layers_needed).size >= 224
layers_needed

# %% [markdown]
# Too many. So networks **downsample** inside: by strided convolutions or by pooling. Behind a stride of 2, one step in
# the map is two steps in the image. This distance is the **jump** $j$; the width of the field is $r$. Both begin as 1.
# Each layer, with size $F$, stride $S$ and dilation $D$, changes first $r$, then $j$:
#
# $$r \leftarrow r + D(F-1) \cdot j \qquad\qquad j \leftarrow j \cdot S$$
#
# *Predict: how many 3×3 layers with stride 2 see 224 pixels?*

# %% tags=["item-7"]
fields = [arithmetic.receptive_field([(3, 2)] * layers).size for layers in range(1, 8)]
assert fields[-1] >= 224 > fields[-2], "seven strided layers do what 112 others do"
fields

# %% [markdown]
# **Try it.** Choose a unit of the last layer, and see what it depends on. *What does a stride in the first layer do to
# the field of the third? And a stride in the last layer? Which dilations leave pixels inside the field that the unit
# doesn't see?*

# %% tags=["item-7"]
explorers.receptive_field([(3, 2), (3,), (3,)])

# %% [markdown]
# Now a real network: EfficientNet-Lite0, with weights learned on ImageNet (1.28 million photographs of 1,000 classes).
# `helpers.arithmetic` makes a table of the layers of any model. Here is the width of the field from it, behind the
# first convolution (the **stem**) and behind the second, third and fourth **block** (group of layers):

# %% tags=["item-7"]
lite0 = backbones.load("efficientnet_lite0")
table = arithmetic.layer_table(lite0, (1, 3, 256, 256))
stages = {"stem": "net.conv_stem", "block2": "net.blocks.1", "block3": "net.blocks.2", "block4": "net.blocks.3"}
fields = {stage: table.fields[module][0] for stage, module in stages.items()}  # along one axis
theory = {stage: field.size for stage, field in fields.items()}
theory

# %% [markdown]
# *Does the gradient agree? And does a unit use all that it can see?* We take an image of noise, and the gradient of the
# middle unit: how wide is the part that isn't zero (`measured`), and the middle part with 95 % of it (`effective`)?

# %% tags=["item-7"]
noise = (127 + 60 * torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))).requires_grad_()


def gradient_of_the_middle(stage):
    """How much each pixel of the noise moves the middle unit of a stage of Lite0: (256, 256)."""
    stage_maps = lite0.maps(noise, stage)
    middle = stage_maps.shape[-1] // 2
    return torch.autograd.grad(stage_maps[0, :, middle, middle].sum(), noise)[0][0].abs().sum(0)


# %% tags=["item-7"]
gradients = {stage: gradient_of_the_middle(stage) for stage in theory}
measured = {stage: int((gradient > 0).any(0).sum()) for stage, gradient in gradients.items()}
assert all(0.9 * theory[stage] <= measured[stage] <= theory[stage] for stage in theory), (measured, theory)
measured


# %% tags=["item-7"]
def central_width(gradient, share=0.95):
    """The width of the middle columns that hold this share of the gradient."""
    columns = (gradient.sum(0) / gradient.sum()).cumsum(0)
    return int((columns > (1 + share) / 2).nonzero()[0] - (columns > (1 - share) / 2).nonzero()[0]) + 1


# %% tags=["item-7"]
effective = {stage: central_width(gradient) for stage, gradient in gradients.items()}
assert effective["block4"] < 0.6 * theory["block4"], "deep units use mostly the middle of their field"
effective

# %% tags=["item-7"]
# The square root of each gradient, so that faint parts show; the middle of the image, as far as block4 sees.
titles = [f"{s}: sees {theory[s]:g}, 95 % in {effective[s]}" for s in gradients]
first, end = fields["block4"].span(round(128 / fields["block4"].jump))
seen = slice(first - 5, end + 5)
shown = [(gradient / gradient.max()).sqrt()[seen, seen] for gradient in gradients.values()]
figure = plots.images(
    shown, titles, title="A unit sees the blue square, but mostly uses the middle of it", cmap="magma"
)
for axis, field in zip(figure.axes, fields.values(), strict=True):
    first, end = (edge - seen.start for edge in field.span(round(128 / field.jump)))
    axis.add_patch(plt.Rectangle((first, first), end - first, end - first, fill=False, color=plots.COLOURS["sky"]))
figure

# %% [markdown]
# The field by arithmetic is the outer border. Within it, a pixel's influence falls off like a bell: the **effective**
# receptive field is smaller (Luo 2016).
#
# ### Exercise 7 · receptive field (3 points)
# Write `receptive_field(layers)`: `layers` is a list of `(kernel, stride, dilation)`, from the input upwards. The
# result is the width, along one axis, from the first to the last input pixel that one unit of the last layer sees (gaps
# count). Example: `receptive_field([(3, 2, 1), (3, 1, 1)])` is 7.


# %% nbgrader={"grade": false, "grade_id": "receptive_field", "locked": false, "schema_version": 3, "solution": true, "task": false}
def receptive_field(layers):
    """Width of the field of one unit, in input pixels (an int). layers: [(kernel, stride, dilation), ...]."""
    ### BEGIN SOLUTION
    size, jump = 1, 1
    for kernel, stride, dilation in layers:
        size += dilation * (kernel - 1) * jump
        jump *= stride
    return size
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "receptive_field_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check = Check(receptive_field, points=3)
check.equal([(3, 1, 1), (3, 1, 1)], expected=5, slips={6: "F - 1 a layer, and start at 1.", 4: "start at 1."})
slips = {5: "did you use the stride (of the layer before)? The order is kernel, stride, dilation."}
slips |= {9: "a stride acts on the layers *behind* it.", 11: "stride too early."}
check.equal([(3, 2, 1), (3, 1, 1)], expected=7, slips=slips)
check.equal([(3, 1, 1), (3, 1, 2)], expected=7, slips={5: "did you use the dilation (the third number)?"})
check.equal([(3, 1, 2), (3, 1, 1)], expected=7, slips={9: "a dilation spreads its own layer only."})
check.equal(
    [(3, 2, 1)] * 3, expected=15, slips={13: "the jumps multiply: 1, 2, 4 (and the third number is the dilation)."}
)
### BEGIN HIDDEN TESTS
check.equal([], expected=1)
check.equal([(3, 1, 4), (1, 2, 1), (2, 2, 3), (5, 1, 2)], expected=47)
check.equal([(11, 4, 1), (3, 2, 1), (5, 1, 1), (3, 2, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 1)], expected=195)
check.equal([(3, 2, 1)] * 7, expected=255)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 7. Pooling
#
# Pooling makes each activation map smaller, one map at a time: **max pooling** keeps the largest value in each window,
# average pooling the mean. It has no parameters. *Predict the 2×2 max pooling with stride 2 of the map below.*

# %% tags=["item-9"]
four = torch.tensor([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])
pool = nn.MaxPool2d(kernel_size=2, stride=2)
assert pool(four[None])[0].tolist() == [[6, 8], [3, 4]] and arithmetic.parameters(pool) == 0
assert arithmetic.output_size(4, 2, stride=2) == 2, "the size rule is the same, without padding: (N - F)/S + 1"
pool(four[None])[0]

# %% [markdown]
# Pooling also gives *some* **translation invariance**: when the image moves a little, many maxima stay as they are. We
# measure it on edge maps of four photographs (section 8 explains the kernel), before and after a move by one pixel.
# *Which share of the values stays exactly the same, without pooling and with 2×2, 4×4, 8×8 pooling?* And how much is
# chance? For that we compare with quite another place of the photograph.

# %% tags=["item-9"]
photographs = {
    name: pil_to_tensor(datasets.photograph(name))[None] for name in ("cat", "coffee", "rocket", "astronaut")
}
laplacian = torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]])
[tuple(photograph.shape) for photograph in photographs.values()]


# %% tags=["item-9"]
def stayed(photograph, window, moved):
    """The share of the values of a pooled edge map that stay as they are when the photograph moves (up, left)."""
    (up, left), gray = moved, photograph.float().sum(1, keepdim=True)  # whole numbers: == is exact
    places = gray[..., :194, :242], gray[..., up : up + 194, left : left + 242]
    a, b = (F.max_pool2d(F.relu(F.conv2d(x, laplacian[None, None])), window) for x in places)
    return float((a == b)[a > 0].float().mean())


# %% tags=["item-9"]
windows = [1, 2, 4, 8]
moves = {"moved by one pixel": (0, 1), "another place": (100, 150)}
same = {
    name: torch.tensor([[stayed(photograph, w, move) for w in windows] for photograph in photographs.values()])
    for name, move in moves.items()
}
mean, chance = (shares.mean(0) for shares in same.values())
assert (same["moved by one pixel"].diff(dim=1) > 0).all(), "on every photograph, more stays with a larger window"
assert mean[3] > 0.5 and chance.max() < 0.1, "it isn't chance: another place has hardly any value in common"
mean, chance

# %% tags=["item-9"]
title = "The larger the pool, the more maxima\na shift of 1 pixel leaves as they are"
plots.curves(windows, same, title=title, xlabel="window of the pooling (1: none)", ylabel="share of equal values")

# %% [markdown]
# *Some* invariance, not all. The marks show the mean and the spread (standard deviation) over four photographs.
#
# ## 8. Kernels that people made
#
# Long before they were learned, kernels were designed. *Which of these give black on an even, bright area? Look at the
# sum of each kernel.*

# %% tags=["item-10"]
cat = photographs["cat"].float().mean(1, keepdim=True) / 255
kernels = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "diagonal edges": [[1, 0, -1], [0, 0, 0], [-1, 0, 1]],
    "edges, 4 neighbours": [[0, -1, 0], [-1, 4, -1], [0, -1, 0]],
    "edges, 8 neighbours": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "box blur": [[1 / 9] * 3] * 3,
    "Gaussian blur": [[1 / 16, 2 / 16, 1 / 16], [2 / 16, 4 / 16, 2 / 16], [1 / 16, 2 / 16, 1 / 16]],
}
kernels = {name: torch.tensor(values, dtype=torch.float) for name, values in kernels.items()}
{name: round(kernel.sum().item(), 3) for name, kernel in kernels.items()}

# %% tags=["item-10"]
filtered = {name: F.conv2d(cat, kernel[None, None])[0, 0] for name, kernel in kernels.items()}
flat = {name: F.conv2d(torch.ones(1, 1, 5, 5), kernel[None, None]).mean() for name, kernel in kernels.items()}
assert all(abs(flat[name]) < 1e-6 for name in kernels if "edges" in name), "kernels of sum 0 ignore even areas"

# %% tags=["item-10"]
shown = [v.abs() / v.abs().quantile(0.99) if "edges" in name else v for name, v in filtered.items()]
plots.images(
    [picture[60:260, 80:340].clamp(0, 1) for picture in shown],
    [f"{name} (sum {kernel.sum():.0f})" for name, kernel in kernels.items()],
    title="Sum 0: only changes remain (absolute values, brightened).  Sum 1: the brightness stays",
    columns=4,
    limits=(0, 1),
)

# %% [markdown]
# **Try it.** Change single weights, and point at places of the picture. *What does a kernel of sum 0 show when you add
# 1 to its middle? Which edges does a kernel with one row of -1, one of 0 and one of 1 find?*

# %% tags=["item-10"]
explorers.kernels(datasets.photograph("cat"), kernels, start="edges, 8 neighbours")

# %% [markdown]
# ### Exercise 8 · a kernel of your own (1 point)
# Find the 3×3 kernel that moves the image **one pixel to the right** (with `padding=1`): the output at column $j$ is
# the input at column $j-1$. Write it as a list of three rows.

# %% nbgrader={"grade": false, "grade_id": "shift_right", "locked": false, "schema_version": 3, "solution": true, "task": false}
shift_right = ...
### BEGIN SOLUTION
shift_right = [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "shift_right_check", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
def moved(kernel, x):
    """x, (H, W), through a 3×3 kernel."""
    return F.conv2d(x[None, None], torch.as_tensor(kernel, dtype=torch.float).reshape(1, 1, 3, 3), padding=1)[0, 0]


ramp = torch.arange(12.0).reshape(3, 4)
right, left, down = F.pad(ramp, (1, -1)), F.pad(ramp, (-1, 1)), F.pad(ramp, (0, 0, 1, -1))
check = Check(shift_right, points=1, name="shift_right")
check.that(
    "it doesn't move to the left", lambda k: not torch.equal(moved(k, ramp), left), hint="torch doesn't flip.", weight=0
)
check.that("it doesn't move down", lambda k: not torch.equal(moved(k, ramp), down), hint="Rows come first.", weight=0)
check.that("the image moves one pixel to the right", lambda k: torch.equal(moved(k, ramp), right))
### BEGIN HIDDEN TESTS
noise = torch.randn(6, 5)
check.that("any image moves", lambda k: torch.equal(moved(k, noise), F.pad(noise, (1, -1))))
### END HIDDEN TESTS
check.score()

# %% [markdown]
# ## 9. The loopy pattern
#
# A kernel is a small template. This one looks for a *loop*: ink (+1) all around one point of paper (-1). It slides over
# two drawings of the digit nine, which stand in different places. Then ReLU, then 2×2 max pooling with stride 1.

# %% tags=["setup"]
loop_kernel = torch.tensor([[1, 1, 1], [1, -1, 1], [1, 1, 1]]) / 9


def drawing(text):
    """ "#" is ink, +1; "." is paper, -1: a tensor (rows, columns)."""
    return torch.tensor([[1.0 if sign == "#" else -1.0 for sign in row] for row in text.split()])


nine_1 = drawing(".###. .#.#. .###. ...#. ...#. ..#.. .#...")
nine_2 = drawing("###.. #.#.. ###.. ..#.. ..#.. .#... #....")

# %% [markdown]
# ### Exercise 9 · find the slips (2 points)
# The following two tables were printed on a slide, rounded to two decimals. Some of their numbers are wrong. Compute
# both with code, from `nine_1`, `nine_2` and `loop_kernel` above (the response is what `F.conv2d` gives), and find
# which.
# ```
# response of nine 1 (before ReLU)      nine 2 after ReLU and pooling
#      -0.11   1.00  -0.11                  1.00   0.00
#      -0.56   0.11  -0.33                  0.33   0.33
#      -0.33   0.33  -0.33                  0.33   0.33
#      -0.22  -0.11  -0.22                  0.00   0.00
#      -0.33  -0.56  -0.33
# ```
# Write a dictionary with the keys `"response"` (first table) and `"pooled"` (second). Each value is the set of the wrong
# places `(row, column)`, counted from 0. If only the first row of the second table were wrong:
# `wrong = {"response": set(), "pooled": {(0, 0), (0, 1)}}`.

# %% nbgrader={"grade": false, "grade_id": "wrong", "locked": false, "schema_version": 3, "solution": true, "task": false}
wrong = ...
### BEGIN SOLUTION
wrong = {"response": {(3, 0), (3, 2)}, "pooled": {(1, 1), (2, 1)}}
### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "wrong_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
def differing(printed, computed):
    """The places (row, column) where a printed table is wrong by more than its rounding."""
    return {tuple(place) for place in ((torch.tensor(printed) - computed).abs() > 0.006).nonzero().tolist()}


def answered(answer, key):
    """The places that the answer gives, as a set of pairs of ints."""
    return {tuple(map(operator.index, place)) for place in answer[key]}  # whole numbers only


printed = [[-0.11, 1, -0.11], [-0.56, 0.11, -0.33], [-0.33, 0.33, -0.33], [-0.22, -0.11, -0.22], [-0.33, -0.56, -0.33]]
places = differing(printed, F.conv2d(nine_1[None, None], loop_kernel[None, None])[0, 0])
check = Check(wrong, points=2, name="wrong")
hint = "Compute the table and compare it place by place, up to the rounding; (row, column), counted from 0."
check.that("the wrong places of 'response'", lambda answer: answered(answer, "response") == places, hint=hint)
text = "'pooled' has a set of places (row, column), too"
check.that(text, lambda answer: {len(place) for place in answered(answer, "pooled")} == {2}, weight=0.5)
### BEGIN HIDDEN TESTS
pooled = F.max_pool2d(F.relu(F.conv2d(nine_2[None, None], loop_kernel[None, None])), 2, 1)[0, 0]
slips = differing([[1, 0], [0.33, 0.33], [0.33, 0.33], [0, 0]], pooled)
check.that("the wrong places of 'pooled'", lambda answer: answered(answer, "pooled") == slips, hint=hint)
### END HIDDEN TESTS
check.score()

# %% [markdown]
# Here are all the steps, computed:


# %% tags=["item-11"]
def loop_steps(nine):
    """The drawing, the response, after ReLU, after pooling: four (rows, columns) tensors."""
    response = F.conv2d(nine[None, None], loop_kernel[None, None])
    pooled = F.max_pool2d(F.relu(response), kernel_size=2, stride=1)
    return [nine, response[0, 0], F.relu(response)[0, 0], pooled[0, 0]]


# %% tags=["item-11"]
steps = [loop_steps(nine_1), loop_steps(nine_2)]
assert [round(v, 2) for v in steps[0][1][3].tolist()] == [-0.56, -0.11, -0.56], "the slide's fourth row is wrong"
assert (steps[1][3][:, 1] == 0).all(), "nothing of the second nine's loop is in the right-hand column"
steps[1][3]

# %% tags=["item-11"]
plots.images(
    steps[0] + steps[1],
    ["drawing", "response", "after ReLU", "after max pooling"] * 2,
    title="The loop is found (1 = a perfect match) wherever it stands.  Ink is white",
    columns=4,
    limits=(-1, 1),
    numbers=True,
)

# %% tags=["item-11"]
best = [response.max().item() for _, response, _, _ in steps]
assert torch.allclose(torch.tensor(best), torch.ones(2)), "both nines hold one perfect loop"
[divmod(int(response.argmax()), 3) for _, response, _, _ in steps]  # (row, column) of the loop

# %% [markdown]
# The template is the same, the place differs: the loop is one column further left in the second nine.
#
# ## 10. The pattern of a ConvNet
#
# Most classic networks follow **[(CONV-ReLU)·N - POOL?]·M - (FC-ReLU)·K - FC - softmax**. Here ·N means N times in a
# row, POOL? a pooling that may be left out, and FC fully connected. N is up to about 5, M may be large, K is 0 to 2.
# (Softmax makes probabilities of the last layer's scores.) *Predict the size of the last map for 32 pixels, N = 2, M =
# 3, with all poolings.*


# %% tags=["item-12"]
def convnet(n, m, k, classes=10, width=16, size=32):
    """[(CONV-ReLU)*n - POOL]*m - (FC-ReLU)*k - FC; the softmax is part of the loss. For (N, 3, size, size) images."""
    layers, channels = [], 3
    for block in range(m):
        for _ in range(n):
            layers += [nn.Conv2d(channels, width * 2**block, 3, padding=1), nn.ReLU()]
            channels = width * 2**block
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    features = channels * (size // 2**m) ** 2
    for _ in range(k):
        layers += [nn.Linear(features, 128), nn.ReLU()]
        features = 128
    return nn.Sequential(*layers, nn.Linear(features, classes))


# %% tags=["item-12"]
arithmetic.layer_table(convnet(n=2, m=3, k=1), (1, 3, 32, 32), skip=(nn.ReLU, nn.Flatten))

# %% [markdown]
# The trend went to smaller filters, more layers, less pooling and fewer fully connected layers. GoogLeNet (branches)
# and ResNet (shortcuts) broke the pattern: their layers are no longer one chain. *How many fully connected layers has a
# ResNet-18, and what share of the parameters?*

# %% tags=["item-12"]
with torch.device("meta"):  # shapes without values: no memory is needed
    resnet = torchvision.models.resnet18(weights=None)
dense_layers = [module for module in resnet.modules() if isinstance(module, nn.Linear)]
dense_share = sum(map(arithmetic.parameters, dense_layers)) / arithmetic.parameters(resnet)
assert len(dense_layers) == 1 and dense_share < 0.05, "ResNet has only its last layer fully connected"
len(dense_layers), f"{dense_share:.1%}"

# %% [markdown]
# ## 11. VGG16, layer by layer
#
# *Before you look: where are most of VGG16's 138 million parameters: in its 13 convolutions, or in its 3 fully
# connected layers? And most of the work?*

# %% tags=["item-13"]
with torch.device("meta"):
    vgg16 = torchvision.models.vgg16(weights=None)
vgg = arithmetic.layer_table(vgg16, (1, 3, 224, 224), skip=(nn.ReLU, nn.Dropout, nn.AdaptiveAvgPool2d))
vgg

# %% [markdown]
# Printed tables of VGG16 are not all right. One says "2× conv 256". *Find out: how many convolutions with 256 filters
# does the network have, and how many parameters would it have with one less?*

# %% tags=["item-13"]
with_256 = [row for row in vgg.rows if row.kind == "Conv2d" and row.output[0] == 256]
assert len(with_256) == 3 and vgg.parameters == 138_357_544, "three convolutions with 256 filters"
len(with_256), vgg.parameters, vgg.parameters - with_256[-1].parameters

# %% [markdown]
# Only three such layers give the published total of 138,357,544. And where do the parameters sit, and where the work?

# %% tags=["item-13"]
share = {row.name: (row.parameters / vgg.parameters, row.multiply_adds / vgg.multiply_adds) for row in vgg.rows}
assert share["classifier.0"][0] > 0.7 and share["classifier.0"][1] < 0.01, "first FC: most parameters, hardly any work"
[f"{part:.1%}" for part in share["classifier.0"]]  # of the parameters, of the work

# %% tags=["item-13"]
rows = [row for row in vgg.rows if row.parameters]
names = [f"conv {row.output[0]} @{row.output[1]}" if row.kind == "Conv2d" else f"FC {row.output[0]}" for row in rows]
figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for axis, kind, colour in zip(axes, (0, 1), ("vermilion", "blue"), strict=True):
    axis.barh(range(len(rows)), [100 * share[row.name][kind] for row in rows], color=plots.COLOURS[colour])
axes[0].set_yticks(range(len(rows)), names)
axes[0].invert_yaxis()
axes[0].set(title="Most parameters: the first FC layer", xlabel="parameters, % of the network")
axes[1].set(title="Most work: the convolutions", xlabel="multiply-adds, % of the network")
plt.show()

# %% [markdown]
# **AlexNet** (2012) has 5 convolutions, 3 max poolings and 3 fully connected layers. It was trained with ReLU, SGD with
# momentum and batches of 128. Its paper says "60 million parameters". torchvision's AlexNet is a later variant with
# other widths. *Count both.* (The original cut some layers in two groups, one per GPU.)

# %% tags=["item-13"]
original = [(3, 96, 11, 1), (96, 256, 5, 2), (256, 384, 3, 1), (384, 384, 3, 2), (384, 256, 3, 2)]
with torch.device("meta"):
    convolutions = [nn.Conv2d(c, k, f, groups=g) for c, k, f, g in original]
    dense = [nn.Linear(6 * 6 * 256, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 1000)]
counted = sum(map(arithmetic.parameters, convolutions + dense))
assert counted == 60_965_224, "the paper rounds to 60 million"
counted

# %% tags=["item-13"]
with torch.device("meta"):
    variant = torchvision.models.alexnet(weights=None)
kinds = [type(module).__name__ for module in variant.modules()]
assert (kinds.count("Conv2d"), kinds.count("MaxPool2d"), kinds.count("Linear")) == (5, 3, 3)
arithmetic.parameters(variant)

# %% [markdown]
# ## 12. A fully connected layer is a convolution
#
# A slide prints AlexNet's last map as 6×6×512. The layer behind it, FC6 (its first fully connected one), takes 9,216
# values. *Can both be right?* No: 9,216 = 6·6·**256**. A filter that is 6×6 large and spans all 256 channels takes the
# same 9,216 values. It fits in one place only. *So how does FC6 differ from a convolution with a 6×6 window and no
# padding?*

# %% tags=["item-14"]
alexnet = torchvision.models.alexnet(weights=None).eval()  # random weights: the equality is what counts
fc6 = alexnet.classifier[1]
fc6_as_convolution = arithmetic.as_convolution(fc6, 256, 6, 6)
fc6.weight.shape, fc6_as_convolution.weight.shape

# %% tags=["item-14"]
with torch.inference_mode():
    last_maps = alexnet.features(torch.randn(1, 3, 224, 224))
    dense_out, convolution_out = fc6(last_maps.flatten(1)), fc6_as_convolution(last_maps)
assert last_maps.shape == (1, 256, 6, 6) and torch.allclose(dense_out, convolution_out.flatten(1), atol=1e-5)
dense_out.shape, convolution_out.shape

# %% [markdown]
# Not at all: FC6 and the convolution give the same numbers. But the convolution also takes a larger image. *Predict the
# shape of its output for 320×448 pixels. (Along an axis, the last map has 6 places for 224 pixels, and one more for
# each 32 more.)*

# %% tags=["item-14"]
with torch.inference_mode():
    larger = alexnet.features(torch.randn(1, 3, 320, 448))
    grid = fc6_as_convolution(larger)
    corner = fc6(larger[:, :, :6, :6].flatten(1))
assert torch.allclose(grid[:, :, 0, 0], corner, atol=1e-5), "the grid's corner is the FC layer on the first 6×6 window"
larger.shape, grid.shape

# %% [markdown]
# ### Exercise 10 · convert a layer (3 points)
# Write `to_convolution(linear, channels, height, width)`: it returns an `nn.Conv2d` that gives, on a volume of
# (channels, height, width), what `linear` gives on the flattened volume. The linear layer has a bias.
# Example: `to_convolution(nn.Linear(256 * 6 * 6, 4096), 256, 6, 6)` has a weight of shape (4096, 256, 6, 6).


# %% nbgrader={"grade": false, "grade_id": "to_convolution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def to_convolution(linear, channels, height, width):
    """An nn.Conv2d that computes on (N, channels, height, width) what linear computes on (N, channels*height*width)."""
    ### BEGIN SOLUTION
    layer = nn.Conv2d(channels, linear.out_features, kernel_size=(height, width))
    with torch.no_grad():
        layer.weight.copy_(linear.weight.reshape(-1, channels, height, width))
        layer.bias.copy_(linear.bias)
    return layer
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "to_convolution_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
torch.manual_seed(4)
check = Check(to_convolution, points=3)
shapes = [(3, 2, 2, 5), (4, 3, 2, 6)]
### BEGIN HIDDEN TESTS
shapes += [(8, 1, 1, 10), (2, 4, 3, 1)]
### END HIDDEN TESTS
kind = nn.Linear(12, 5), 3, 2, 2
check.that("it returns an nn.Conv2d", lambda f: f(*kind) and type(f(*kind)) is nn.Conv2d, weight=0)
for channels, height, width, outputs in shapes:
    linear, x = nn.Linear(channels * height * width, outputs), torch.randn(2, channels, height, width)
    wanted = linear(x.flatten(1))[:, :, None, None]

    def same(f, linear=linear, x=x, wanted=wanted):
        """The converted layer gives the linear layer's values, as (N, outputs, 1, 1); that one stays as it is."""
        given = copy.deepcopy(linear)
        layer = f(given, *x.shape[1:])
        right = type(layer) is nn.Conv2d and torch.allclose(layer(x), wanted, atol=1e-5)
        return right and torch.equal(given.weight, linear.weight) and torch.equal(given.bias, linear.bias)

    hint = "In the order channels, height, width? And the bias? (The linear layer itself stays as it is.)"
    check.that(f"the same values on {channels}×{height}×{width}, {outputs} outputs", same, hint=hint)
wide = torch.randn(1, channels, height + 1, width + 2)
right = F.conv2d(wide, linear.weight.reshape(outputs, channels, height, width), linear.bias)
text = "a grid on a larger volume"
check.that(text, lambda f: agrees(f(copy.deepcopy(linear), channels, height, width)(wide), right))
check.score()

# %% [markdown]
# ### A real network on a larger image
# EfficientNet-Lite0 averages each of its 1,280 last maps and then applies one fully connected layer: 1,280 values to
# 1,000 classes. As a 1×1 convolution, this layer can act **before** the average, at every place. Let us give it one
# wide picture: a cat, a cup of coffee and a rocket.
#
# *Predict: where will the map of "espresso" be bright?* (In the maps, black is probability 0 and pale yellow is 1.)

# %% tags=["item-14"]
names = ("cat", "coffee", "rocket")
squares = [F.interpolate(photographs[name].float(), (256, 384), mode="bicubic", antialias=True) for name in names]
wide = torch.cat(squares, dim=3).clamp(0, 255)
wide.shape

# %% tags=["item-14"]
classifier = arithmetic.as_convolution(lite0.head, 1280, 1, 1)
with torch.inference_mode():
    scores = classifier(lite0.maps(wide, "head"))
    usual = lite0(wide)
assert torch.allclose(scores.mean((2, 3)), usual, atol=1e-4), "the mean of the grid is the network's usual answer"
scores.shape

# %% tags=["item-14"]
index = {name: backbones.imagenet_classes().index(name) for name in ("Egyptian cat", "espresso", "missile")}
probability = scores.softmax(dim=1)[0]
third = {  # in which third of the width (0, 1, 2) each map is highest
    name: int(probability[i].argmax() % probability.shape[2]) * 3 // probability.shape[2] for name, i in index.items()
}
assert list(third.values()) == [0, 1, 2], f"each class is strongest in its own third of the picture: {third}"
third

# %% tags=["item-14"]
plots.images(
    [wide[0].byte(), *(probability[i] for i in index.values())],
    ["one picture, 256 × 1152", *(f"probability of “{name}”" for name in index)],
    title="Without any change of its weights, the classifier says what is where",
    columns=1,
    size=1.7,
    cmap="magma",
    limits=(0, 1),
)

# %% [markdown]
# The network was trained on 224×224 images with one label each, and nobody told it where things are. One pass over the
# wide picture gives an 8×36 grid of 1,000 scores: far less work than 288 separate crops.
#
# ## 13. Text: a convolution in one dimension
#
# Convolution isn't only for images. A sentence is a line of words, and a word is a vector. The filter slides along the
# line only. This one is made by hand to find "not" followed by "good". *Predict the length of the output for 6 words
# and a filter of width 2.*

# %% tags=["item-15"]
words = ["not", "good", "the", "film", "was", "long"]
sentences = ["the film was not good the", "good film the not was long"]
vectors = torch.stack([F.one_hot(torch.tensor([words.index(w) for w in s.split()]), 6).T.float() for s in sentences])
vectors.shape  # (sentences, length of a word vector, words)

# %% tags=["item-15"]
not_good = torch.zeros(1, 6, 2)  # (filters, length of a word vector, width)
not_good[0, words.index("not"), 0] = not_good[0, words.index("good"), 1] = 1
response = F.conv1d(vectors, not_good, bias=torch.tensor([-1.0])).relu()
found = response.amax(dim=2)[:, 0].tolist()  # max pooling over the sentence: found anywhere?
assert found == [1, 0], "the order of the words matters, the place doesn't"
response.shape, found

# %% [markdown]
# Both sentences hold "not" and "good". Only the first holds "not good". Real networks of this kind take word vectors
# that were learned from much text, and learn about a hundred filters of each width from 3 to 5 (Kim 2014).
#
# ### Exercise 11 · explain (2 points, marked by hand)
# A classmate says: "VGG16 has 138 million parameters because it has 13 convolutions with up to 512 filters. I shall
# throw away the fully connected layers. Then it runs ten times faster." In three to five sentences, with numbers from
# the table of section 11: what is right, what is wrong, and what would it really buy?

# %% [markdown] nbgrader={"grade": true, "grade_id": "explain_vgg", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# The total is right, the reason is wrong. The 13 convolutions have only 14.7 million parameters. The three fully
# connected layers have 123.6 million (89 %), and 102.8 million of these are in the first one (25,088 × 4,096).
# The work is the other way round: the convolutions need 15.35 of the 15.47 thousand million multiply-adds, because each
# filter is used again at every place. So without the fully connected layers it has less than 1 % less work to do,
# nowhere near ten times. (The time for a single image may fall by more, as half a gigabyte of weights need not be read.)
# But it needs about nine times less memory for its weights, and it takes images of any size.
#
#
# Marking: 1 point for where the parameters are, with a number. 1 point for where the work is, and so for no large gain of
# speed, but of memory.
# ### END SOLUTION

# %% [markdown]
# ## What to remember
# - A filter spans the full depth. Its weights are shared over all places: $F^2 C K$ weights and $K$ biases.
# - Output size: floor of $(N + 2P - D(F-1) - 1)/S$, plus 1. What doesn't fit is dropped, without a word.
# - Receptive field: $r \leftarrow r + D(F-1)j$, $j \leftarrow jS$. It is an outer border; the middle counts most.
# - In VGG16 the parameters are in the first fully connected layer, and the work is in the convolutions.
# - A fully connected layer is a convolution with a window as large as the map. So a network runs on larger images.
#
# **Papers.** Krizhevsky, Sutskever, Hinton, *ImageNet classification with deep convolutional neural networks*, 2012
# (AlexNet). Simonyan, Zisserman, *Very deep convolutional networks for large-scale image recognition*, 2015 (VGG).
# Dumoulin, Visin, *A guide to convolution arithmetic for deep learning*, 2016. Luo, Li, Urtasun, Zemel, *Understanding
# the effective receptive field in deep convolutional neural networks*, 2016. Araujo, Norris, Sim, *Computing receptive
# fields of convolutional neural networks*, Distill 2019. Long, Shelhamer, Darrell, *Fully convolutional networks for
# semantic segmentation*, 2015. Kim, *Convolutional neural networks for sentence classification*, 2014.
