# %% ignore | right | made from two lists
yes = ["digit, moved by one pixel", "street, mirrored", "solar cell, turned by 180°", "cat, darker"]
no = ["digit, mirrored", "street, upside down", "traffic light, another hue", "on which side is the heart, mirrored"]
ignore = {key: True for key in yes} | {key: False for key in no}

# %% ignore | right | other order, comparisons
ignore = {
    "on which side is the heart, mirrored": 1 > 2,
    "cat, darker": 2 > 1,
    "traffic light, another hue": False,
    "solar cell, turned by 180°": True,
    "street, upside down": False,
    "street, mirrored": True,
    "digit, moved by one pixel": True,
    "digit, mirrored": False,
}

# %% ignore | wrong | everything may be ignored
ignore = dict.fromkeys(
    [
        "digit, mirrored",
        "digit, moved by one pixel",
        "street, mirrored",
        "street, upside down",
        "solar cell, turned by 180°",
        "traffic light, another hue",
        "cat, darker",
        "on which side is the heart, mirrored",
    ],
    True,
)

# %% ignore | wrong | nothing may be ignored
ignore = dict.fromkeys(
    [
        "digit, mirrored",
        "digit, moved by one pixel",
        "street, mirrored",
        "street, upside down",
        "solar cell, turned by 180°",
        "traffic light, another hue",
        "cat, darker",
        "on which side is the heart, mirrored",
    ],
    False,
)

# %% ignore | wrong | colours never matter
ignore = {
    "digit, mirrored": False,
    "digit, moved by one pixel": True,
    "street, mirrored": True,
    "street, upside down": False,
    "solar cell, turned by 180°": True,
    "traffic light, another hue": True,
    "cat, darker": True,
    "on which side is the heart, mirrored": False,
}

# %% ignore | wrong | a mirror image never matters but for digits
ignore = {
    "digit, mirrored": False,
    "digit, moved by one pixel": True,
    "street, mirrored": True,
    "street, upside down": False,
    "solar cell, turned by 180°": True,
    "traffic light, another hue": False,
    "cat, darker": True,
    "on which side is the heart, mirrored": True,
}

# %% ignore | wrong | only the one of the example
ignore = {"cat, darker": True}


# %% pca_lighting | right | a loop over the directions
def pca_lighting(images, values, directions, alphas):
    out = images.clone()
    for i in range(3):
        out += (alphas[:, i] * values[i])[:, None, None, None] * directions[:, i].view(1, 3, 1, 1)
    return out


# %% pca_lighting | right | einsum
def pca_lighting(images, values, directions, alphas):
    return images + torch.einsum("ni,i,ci->nc", alphas, values, directions).reshape(-1, 3, 1, 1)


# %% pca_lighting | wrong | directions as rows
def pca_lighting(images, values, directions, alphas):
    return images + ((alphas * values) @ directions)[:, :, None, None]


# %% pca_lighting | wrong | forgets the variances
def pca_lighting(images, values, directions, alphas):
    return images + (alphas @ directions.T)[:, :, None, None]


# %% pca_lighting | wrong | standard deviations in place of variances
def pca_lighting(images, values, directions, alphas):
    return images + ((alphas * values.sqrt()) @ directions.T)[:, :, None, None]


# %% pca_lighting | wrong | the same offset for all images
def pca_lighting(images, values, directions, alphas):
    return images + ((alphas[:1] * values) @ directions.T)[:, :, None, None]


# %% pca_lighting | wrong | clips
def pca_lighting(images, values, directions, alphas):
    return (images + ((alphas * values) @ directions.T)[:, :, None, None]).clamp(0, 1)


# %% pca_lighting | wrong | changes the caller's images
def pca_lighting(images, values, directions, alphas):
    images += ((alphas * values) @ directions.T)[:, :, None, None]
    return images


# %% pca_lighting | wrong | only the first direction
def pca_lighting(images, values, directions, alphas):
    return images + (alphas[:, :1] * values[0] * directions[:, 0])[:, :, None, None]


# %% five_crops | right | loops over the corners
def five_crops(height, width, crop):
    places = [(y, x) for y in (0, height - crop) for x in (0, width - crop)]
    return [*places, ((height - crop) // 2, (width - crop) // 2)]


# %% five_crops | right | lists
def five_crops(height, width, crop):
    h, w = height - crop, width - crop
    return [[0, 0], [0, w], [h, 0], [h, w], [int(h / 2), int(w / 2)]]


# %% five_crops | wrong | columns first
def five_crops(height, width, crop):
    h, w = height - crop, width - crop
    return [(0, 0), (w, 0), (0, h), (w, h), (w // 2, h // 2)]


# %% five_crops | wrong | bottom left before top right
def five_crops(height, width, crop):
    h, w = height - crop, width - crop
    return [(0, 0), (h, 0), (0, w), (h, w), (h // 2, w // 2)]


# %% five_crops | wrong | the centre of the image
def five_crops(height, width, crop):
    h, w = height - crop, width - crop
    return [(0, 0), (0, w), (h, 0), (h, w), (height // 2, width // 2)]


# %% five_crops | wrong | one pixel too few
def five_crops(height, width, crop):
    h, w = height - crop - 1, width - crop - 1
    return [(0, 0), (0, w), (h, 0), (h, w), (h // 2, w // 2)]


# %% five_crops | wrong | the centre is rounded up
def five_crops(height, width, crop):
    h, w = height - crop, width - crop
    return [(0, 0), (0, w), (h, 0), (h, w), ((h + 1) // 2, (w + 1) // 2)]


# %% five_crops | wrong | both halves of the centre rounded
def five_crops(height, width, crop):
    bottom, right = height - crop, width - crop
    centre = height // 2 - crop // 2, width // 2 - crop // 2
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), centre]


# %% five_crops | wrong | takes the image for a square
def five_crops(height, width, crop):
    h = height - crop
    return [(0, 0), (0, h), (h, 0), (h, h), (h // 2, h // 2)]


# %% mixup | right | by index
def mixup(images, labels, share, classes):
    other = [i - 1 for i in range(len(images))]
    table = torch.eye(classes)
    return images * share + images[other] * (1 - share), table[labels] * share + table[labels[other]] * (1 - share)


# %% mixup | right | lerp
def mixup(images, labels, share, classes):
    targets = F.one_hot(labels, classes).float()
    return images.roll(1, 0).lerp(images, share), targets.roll(1, 0).lerp(targets, share)


# %% mixup | wrong | share and rest exchanged
def mixup(images, labels, share, classes):
    targets = F.one_hot(labels, classes).float()
    return (1 - share) * images + share * images.roll(1, 0), (1 - share) * targets + share * targets.roll(1, 0)


# %% mixup | wrong | hard labels
def mixup(images, labels, share, classes):
    return share * images + (1 - share) * images.roll(1, 0), F.one_hot(labels, classes).float()


# %% mixup | wrong | the next image, not the one before
def mixup(images, labels, share, classes):
    targets = F.one_hot(labels, classes).float()
    return share * images + (1 - share) * images.roll(-1, 0), share * targets + (1 - share) * targets.roll(-1, 0)


# %% mixup | wrong | always half and half
def mixup(images, labels, share, classes):
    targets = F.one_hot(labels, classes).float()
    return (images + images.roll(1, 0)) / 2, (targets + targets.roll(1, 0)) / 2


# %% mixup | wrong | changes the images given
def mixup(images, labels, share, classes):
    targets, other = F.one_hot(labels, classes).float(), images.roll(1, 0)
    images *= share
    images += (1 - share) * other
    return images, share * targets + (1 - share) * targets.roll(1, 0)


# %% mixup | wrong | as many classes as the labels show
def mixup(images, labels, share, classes):
    targets = F.one_hot(labels).float()
    return share * images + (1 - share) * images.roll(1, 0), share * targets + (1 - share) * targets.roll(1, 0)


# %% consistency | right | entropy of the mean minus the mean entropy
def consistency(p, q, r):
    def entropy(x):
        return -(x * x.log()).sum(1)

    return (entropy((p + q + r) / 3) - (entropy(p) + entropy(q) + entropy(r)) / 3).mean()


# %% consistency | right | with kl_div
def consistency(p, q, r):
    log_m = ((p + q + r) / 3).log()
    return torch.stack([F.kl_div(log_m, x, reduction="batchmean") for x in (p, q, r)]).mean()


# %% consistency | wrong | the KL the other way round
def consistency(p, q, r):
    m = (p + q + r) / 3
    return sum((m * (m / x).log()).sum(1).mean() for x in (p, q, r)) / 3


# %% consistency | wrong | the sum, not a third of it
def consistency(p, q, r):
    m = (p + q + r) / 3
    return sum((x * (x / m).log()).sum(1).mean() for x in (p, q, r))


# %% consistency | wrong | mean over the classes
def consistency(p, q, r):
    m = (p + q + r) / 3
    return sum((x * (x / m).log()).mean() for x in (p, q, r)) / 3


# %% consistency | wrong | sum over the images
def consistency(p, q, r):
    m = (p + q + r) / 3
    return sum((x * (x / m).log()).sum() for x in (p, q, r)) / 3


# %% consistency | wrong | in bits
def consistency(p, q, r):
    m = (p + q + r) / 3
    return sum((x * (x / m).log2()).sum(1).mean() for x in (p, q, r)) / 3


# %% consistency | wrong | distance to the first view
def consistency(p, q, r):
    return sum((x * (x / p).log()).sum(1).mean() for x in (p, q, r)) / 3


# %% consistency | wrong | a float: no gradient
def consistency(p, q, r):
    m = (p + q + r) / 3
    return float(sum((x * (x / m).log()).sum(1).mean() for x in (p, q, r)) / 3)


# %% consistency | wrong | detached
def consistency(p, q, r):
    m = (p + q + r) / 3
    return (sum((x * (x / m).log()).sum(1).mean() for x in (p, q, r)) / 3).detach()


# %% consistency | wrong | squared distances
def consistency(p, q, r):
    m = (p + q + r) / 3
    return sum((x - m).square().sum(1).mean() for x in (p, q, r)) / 3


# %% straight_through | right | the order of the terms changed
def straight_through(soft):
    return soft + ((soft > 0.5).float() - soft).detach()


# %% straight_through | right | an autograd function
class _Hard(torch.autograd.Function):
    @staticmethod
    def forward(ctx, soft):
        return (soft > 0.5).float()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def straight_through(soft):
    return _Hard.apply(soft)


# %% straight_through | wrong | no gradient
def straight_through(soft):
    return (soft > 0.5).float()


# %% straight_through | wrong | a new leaf, which gradients don't pass
def straight_through(soft):
    return (soft > 0.5).float().requires_grad_()


# %% straight_through | wrong | soft, not hard
def straight_through(soft):
    return soft


# %% straight_through | wrong | cut off wholly
def straight_through(soft):
    return ((soft > 0.5).float() - soft + soft).detach()


# %% straight_through | wrong | rounds: its gradient is zero
def straight_through(soft):
    return soft.round()


# %% straight_through | wrong | a steep sigmoid
def straight_through(soft):
    return ((soft - 0.5) * 200).sigmoid()


# %% straight_through | wrong | forgets detach
def straight_through(soft):
    return (soft > 0.5).float() - soft + soft


# %% ignore | right | np.bool_
import numpy as np

ignore = {
    "digit, mirrored": np.bool_(False),
    "digit, moved by one pixel": np.bool_(True),
    "street, mirrored": np.bool_(True),
    "street, upside down": np.bool_(False),
    "solar cell, turned by 180°": np.bool_(True),
    "traffic light, another hue": np.bool_(False),
    "cat, darker": np.bool_(True),
    "on which side is the heart, mirrored": np.bool_(False),
}


# %% ignore | wrong | a typo in one key
ignore = {
    "digit, mirrored": False,
    "digit, moved by 1 pixel": True,
    "street, mirrored": True,
    "street, upside down": False,
    "solar cell, turned by 180°": True,
    "traffic light, another hue": False,
    "cat, darker": True,
    "on which side is the heart, mirrored": False,
}


# %% ignore | wrong | seven keys
ignore = {
    "digit, mirrored": False,
    "digit, moved by one pixel": True,
    "street, mirrored": True,
    "street, upside down": False,
    "solar cell, turned by 180°": True,
    "traffic light, another hue": False,
    "cat, darker": True,
}


# %% ignore | wrong | a list
ignore = [False, True, True, False, True, False, True, False]


# %% pca_lighting | right | numpy
import numpy as np


def pca_lighting(images, values, directions, alphas):
    im, v, d, a = images.numpy(), values.numpy(), directions.numpy(), alphas.numpy()
    off = (d @ (a * v).T).T
    return torch.from_numpy(im + off[:, :, None, None])


# %% pca_lighting | wrong | values scaled in place
def pca_lighting(images, values, directions, alphas):
    alphas *= values
    return images + (alphas @ directions.T)[:, :, None, None]


# %% pca_lighting | wrong | values in place at directions
def pca_lighting(images, values, directions, alphas):
    directions *= values
    return images + (alphas @ directions.T)[:, :, None, None]


# %% five_crops | right | numpy array
import numpy as np


def five_crops(height, width, crop):
    h, w = height - crop, width - crop
    return np.array([[0, 0], [0, w], [h, 0], [h, w], [h // 2, w // 2]])


# %% five_crops | wrong | round half even
def five_crops(height, width, crop):
    h, w = height - crop, width - crop
    return [(0, 0), (0, w), (h, 0), (h, w), (round(h / 2), round(w / 2))]


# %% five_crops | wrong | true division
def five_crops(height, width, crop):
    h, w = height - crop, width - crop
    return [(0, 0), (0, w), (h, 0), (h, w), (h / 2, w / 2)]


# %% five_crops | wrong | hard-coded crop 224
def five_crops(height, width, crop):
    h, w = height - 224, width - 224
    return [(0, 0), (0, w), (h, 0), (h, w), (h // 2, w // 2)]


# %% mixup | right | numpy all
import numpy as np


def mixup(images, labels, share, classes):
    x, y = images.numpy(), np.eye(classes)[labels]
    return share * x + (1 - share) * np.roll(x, 1, axis=0), share * y + (1 - share) * np.roll(y, 1, axis=0)


# %% mixup | wrong | roll without dims, images only
def mixup(images, labels, share, classes):
    y = F.one_hot(labels, classes).float()
    return share * images + (1 - share) * images.roll(1), share * y + (1 - share) * y.roll(1, 0)


# %% mixup | wrong | overwriting loop: same labels collide
def mixup(images, labels, share, classes):
    probs = torch.zeros(len(labels), classes)
    for i in range(len(labels)):
        probs[i, labels[i]] = share
        probs[i, labels[i - 1]] = 1 - share
    return share * images + (1 - share) * images.roll(1, 0), probs


# %% mixup | wrong | changes labels (in place roll)
def mixup(images, labels, share, classes):
    y = F.one_hot(labels, classes).float()
    labels += 0
    images.copy_(share * images + (1 - share) * images.roll(1, 0))
    return images, share * y + (1 - share) * y.roll(1, 0)


# %% consistency | right | stacked
def consistency(p, q, r):
    v = torch.stack([p, q, r])
    m = v.mean(0, keepdim=True)
    return (v * (v / m).log()).sum(-1).mean()


# %% consistency | wrong | kl_div sum
def consistency(p, q, r):
    m = (p + q + r) / 3
    return sum(F.kl_div(m.log(), x, reduction="sum") for x in (p, q, r)) / 3


# %% consistency | wrong | gradient to p only
def consistency(p, q, r):
    q, r = q.detach(), r.detach()
    m = (p + q + r) / 3
    return sum((x * (x / m).log()).sum(1).mean() for x in (p, q, r)) / 3


# %% straight_through | right | where
def straight_through(soft: torch.Tensor) -> torch.Tensor:
    hard = torch.where(soft > 0.5, 1.0, 0.0)
    return hard.detach() + soft - soft.detach()


# %% straight_through | wrong | >= 0.5
def straight_through(soft):
    hard = (soft >= 0.5).float()
    return hard - soft.detach() + soft


# %% ignore | right | zip and a string of bits
ignore = dict(
    zip(
        (
            "digit, mirrored",
            "digit, moved by one pixel",
            "street, mirrored",
            "street, upside down",
            "solar cell, turned by 180°",
            "traffic light, another hue",
            "cat, darker",
            "on which side is the heart, mirrored",
        ),
        (bit == "1" for bit in "01101010"),
    )
)


# %% ignore | right | filled key by key, with a helper of its own
def _may(key):
    if key.startswith("solar") or key.endswith(("darker", "one pixel")):
        return True
    return key == "street, mirrored"


ignore = {}
for _key in ("digit, mirrored", "digit, moved by one pixel", "street, mirrored", "street, upside down"):
    ignore[_key] = _may(_key)
for _key in ("solar cell, turned by 180°", "traffic light, another hue", "cat, darker"):
    ignore[_key] = _may(_key)
ignore.update({"on which side is the heart, mirrored": not True})


# %% ignore | right | an OrderedDict
from collections import OrderedDict

ignore = OrderedDict()
ignore["digit, mirrored"] = False
ignore["digit, moved by one pixel"] = True
ignore["street, mirrored"] = True
ignore["street, upside down"] = False
ignore["solar cell, turned by 180°"] = True
ignore["traffic light, another hue"] = False
ignore["cat, darker"] = True
ignore["on which side is the heart, mirrored"] = False


# %% ignore | right | a defaultdict
from collections import defaultdict

ignore = defaultdict(bool)
for _key in ("digit, moved by one pixel", "street, mirrored", "solar cell, turned by 180°", "cat, darker"):
    ignore[_key] = True
for _key in (
    "digit, mirrored",
    "street, upside down",
    "traffic light, another hue",
    "on which side is the heart, mirrored",
):
    ignore[_key]


# %% ignore | wrong | ones and zeros
ignore = {
    "digit, mirrored": 0,
    "digit, moved by one pixel": 1,
    "street, mirrored": 1,
    "street, upside down": 0,
    "solar cell, turned by 180°": 1,
    "traffic light, another hue": 0,
    "cat, darker": 1,
    "on which side is the heart, mirrored": 0,
}


# %% ignore | wrong | one left open with None
ignore = {
    "digit, mirrored": False,
    "digit, moved by one pixel": True,
    "street, mirrored": True,
    "street, upside down": False,
    "solar cell, turned by 180°": None,
    "traffic light, another hue": False,
    "cat, darker": True,
    "on which side is the heart, mirrored": False,
}


# %% pca_lighting | right | a matrix product with a diagonal matrix, type-annotated
def pca_lighting(
    images: torch.Tensor, values: torch.Tensor, directions: torch.Tensor, alphas: torch.Tensor
) -> torch.Tensor:
    scaled: torch.Tensor = directions @ torch.diag(values)
    shift = torch.matmul(scaled, alphas.t()).t()
    return torch.add(images, shift.unsqueeze(-1).unsqueeze(-1))


# %% pca_lighting | right | four loops over images, channels and directions
def pca_lighting(images, values, directions, alphas):
    result = torch.empty_like(images)
    for n in range(images.shape[0]):
        for c in range(3):
            total = 0.0
            for i in range(3):
                total += float(alphas[n, i]) * float(values[i]) * float(directions[c, i])
            result[n, c] = images[n, c] + total
    return result


# %% pca_lighting | right | in float64
def pca_lighting(images, values, directions, alphas):
    offsets = torch.tensordot(alphas.double() * values.double(), directions.double(), dims=([1], [1]))
    return images.double() + offsets.reshape(len(images), 3, 1, 1)


# %% pca_lighting | right | a stack of images, one by one, with a helper
def _shift(direction_table, weights):
    return torch.stack([(row * weights).sum() for row in direction_table])


def pca_lighting(images, values, directions, alphas):
    return torch.stack([im + _shift(directions, a * values).view(3, 1, 1) for im, a in zip(images, alphas)])


# %% pca_lighting | right | recursion over the images
def pca_lighting(images, values, directions, alphas):
    if len(images) == 0:
        return images
    first = images[:1] + (directions @ (alphas[0] * values)).view(1, 3, 1, 1)
    return torch.cat([first, pca_lighting(images[1:], values, directions, alphas[1:])])


# %% pca_lighting | right | in place on its own copy, a NumPy array comes back
import numpy as np


def pca_lighting(images, values, directions, alphas):
    out = np.array(images, dtype=np.float32)
    out += np.asarray((alphas * values) @ directions.T)[..., None, None]
    return out


# %% pca_lighting | right | squeezes, and a view that broadcasts again
def pca_lighting(images, values, directions, alphas):
    offset = ((alphas * values) @ directions.T).squeeze(0)
    return images + offset.view(*offset.shape, 1, 1)


# %% five_crops | right | a named tuple
from collections import namedtuple

_Corner = namedtuple("_Corner", "top left")


def five_crops(height, width, crop):
    free_rows, free_columns = height - crop, width - crop
    return [
        _Corner(top=0, left=0),
        _Corner(top=0, left=free_columns),
        _Corner(top=free_rows, left=0),
        _Corner(top=free_rows, left=free_columns),
        _Corner(left=free_columns // 2, top=free_rows // 2),
    ]


# %% five_crops | right | itertools.product and divmod
import itertools


def five_crops(height, width, crop):
    ends = [(0, side - crop) for side in (height, width)]
    centre = tuple(divmod(end, 2)[0] for _, end in ends)
    return list(itertools.product(*ends)) + [centre]


# %% five_crops | right | a tuple of tuples, shifts of bits
def five_crops(height: int, width: int, crop: int) -> tuple[tuple[int, int], ...]:
    y, x = height - crop, width - crop
    return (0, 0), (0, x), (y, 0), (y, x), (y >> 1, x >> 1)


# %% five_crops | right | a tensor
def five_crops(height, width, crop):
    free = torch.tensor([height, width]) - crop
    corners = torch.cartesian_prod(torch.tensor([0, 1]), torch.tensor([0, 1])) * free
    return torch.cat([corners, (free // 2)[None]])


# %% five_crops | right | NumPy's whole numbers in tuples
import numpy as np


def five_crops(height, width, crop):
    h, w = np.int64(height - crop), np.int64(width - crop)
    return [(np.int64(0), np.int64(0)), (0, w), (h, 0), (h, w), (np.floor_divide(h, 2), np.floor_divide(w, 2))]


# %% five_crops | right | math.floor
import math


def five_crops(height, width, crop):
    out = []
    for fy, fx in ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)):
        out.append((math.floor(fy * (height - crop)), math.floor(fx * (width - crop))))
    return out


# %% five_crops | wrong | clockwise
def five_crops(height, width, crop):
    h, w = height - crop, width - crop
    return [(0, 0), (0, w), (h, w), (h, 0), (h // 2, w // 2)]


# %% mixup | right | a loop over the images, lists at first
def mixup(images, labels, share, classes):
    pictures, probabilities = [], []
    for i, (picture, label) in enumerate(zip(images, labels)):
        pictures.append(share * picture + (1.0 - share) * images[i - 1])
        row = [0.0] * classes
        row[int(label)] += share
        row[int(labels[i - 1])] += 1 - share
        probabilities.append(row)
    return torch.stack(pictures), torch.tensor(probabilities)


# %% mixup | right | a matrix that mixes, a named tuple comes back
from typing import NamedTuple


class _Mixed(NamedTuple):
    images: torch.Tensor
    labels: torch.Tensor


def mixup(images, labels, share, classes):
    n = len(labels)
    mix = share * torch.eye(n) + (1 - share) * torch.eye(n).roll(1, 0)
    return _Mixed(torch.tensordot(mix, images, dims=1), mix @ torch.eye(classes)[labels])


# %% mixup | right | torch.cat, scatter_add on its own tensor
def mixup(images, labels, share, classes):
    before = torch.cat((images[-1:], images[:-1]))
    table = images.new_zeros(len(images), classes)
    table.scatter_add_(1, labels[:, None], torch.full((len(images), 1), float(share)))
    table.scatter_add_(1, torch.cat((labels[-1:], labels[:-1]))[:, None], torch.full((len(images), 1), 1.0 - share))
    return images.mul(share).add(before, alpha=1 - share), table


# %% mixup | right | in place on copies, float64 labels, a list comes back
def mixup(images, labels, share, classes):
    blended = images.clone()
    blended *= share
    blended += (1 - share) * torch.roll(images, shifts=1, dims=0)
    targets = torch.zeros((len(labels), classes), dtype=torch.float64)
    targets[torch.arange(len(labels)), labels] += share
    targets[torch.arange(len(labels)), labels.roll(1)] += 1 - share
    return [blended, targets]


# %% mixup | right | a helper for both, whole-number one-hot
def _blend(x, share):
    return x * share + torch.cat([x[-1:], x[:-1]]) * (1 - share)


def mixup(images: torch.Tensor, labels: torch.Tensor, share: float, classes: int) -> tuple:
    return tuple(_blend(x, share) for x in (images, F.one_hot(labels, num_classes=classes)))


# %% mixup | wrong | a share of 0.75 whatever is asked
def mixup(images, labels, share, classes):
    y = F.one_hot(labels, classes).float()
    return 0.75 * images + 0.25 * images.roll(1, 0), 0.75 * y + 0.25 * y.roll(1, 0)


# %% consistency | right | the lesson's helper, which wants logits
def consistency(p, q, r):
    return augmentation.jensen_shannon(p.log(), q.log(), r.log())


# %% consistency | right | distributions and their KL
def consistency(p, q, r):
    from torch.distributions import Categorical, kl_divergence

    middle = Categorical(probs=(p + q + r) / 3)
    return torch.stack([kl_divergence(Categorical(probs=x), middle) for x in (p, q, r)]).mean()


# %% consistency | right | loops over images, views and classes
def consistency(p, q, r):
    total = torch.zeros(())
    for i in range(len(p)):
        for view in (p, q, r):
            for k in range(p.shape[1]):
                m = (p[i, k] + q[i, k] + r[i, k]) / 3
                total = total + view[i, k] * torch.log(view[i, k] / m)
    return total / (3 * len(p))


# %% consistency | right | float64, xlogy
def consistency(p: torch.Tensor, q: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    views = torch.stack((p, q, r)).double()
    m = views.mean(0)
    return (torch.special.xlogy(views, views) - torch.special.xlogy(views, m)).sum() / (3 * p.size(0))


# %% consistency | right | kl_div with log_target, a nested helper
def consistency(p, q, r):
    log_m = torch.logsumexp(torch.stack([p.log(), q.log(), r.log()]), 0) - torch.tensor(3.0).log()

    def kl(view):
        return F.kl_div(log_m, view.log(), reduction="none", log_target=True).sum(dim=1)

    return (kl(p) + kl(q) + kl(r)).div(3).mean(dim=0)


# %% consistency | right | entropies with torch.special.entr
def consistency(p, q, r):
    h = lambda x: torch.special.entr(x).sum(-1)
    return h((p + q + r) / 3).sub(torch.stack([h(p), h(q), h(r)]).mean(0)).mean()


# %% consistency | right | m held fixed: behind a softmax the gradient is the same
def consistency(p, q, r):
    m = ((p + q + r) / 3).detach()
    return sum((x * (x / m).log()).sum(1).mean() for x in (p, q, r)) / 3


# %% consistency | wrong | the helper, which wants logits, given probabilities
def consistency(p, q, r):
    return augmentation.jensen_shannon(p, q, r)


# %% consistency | wrong | softmax once more
def consistency(p, q, r):
    p, q, r = p.softmax(1), q.softmax(1), r.softmax(1)
    m = (p + q + r) / 3
    return sum((x * (x / m).log()).sum(1).mean() for x in (p, q, r)) / 3


# %% consistency | wrong | the sign: the logarithm of m / p
def consistency(p, q, r):
    m = (p + q + r) / 3
    return sum((x * (m / x).log()).sum(1).mean() for x in (p, q, r)) / 3


# %% consistency | wrong | decimal logarithm
def consistency(p, q, r):
    m = (p + q + r) / 3
    return sum((x * (x / m).log10()).sum(1).mean() for x in (p, q, r)) / 3


# %% straight_through | right | rounding: a half goes to the even 0
def straight_through(soft):
    return soft + (soft.round() - soft).detach()


# %% straight_through | right | heaviside, no_grad
def straight_through(soft):
    with torch.no_grad():
        step = torch.heaviside(soft - 0.5, torch.zeros((), dtype=soft.dtype)) - soft
    return soft + step


# %% straight_through | right | a hook on a new leaf's place
def straight_through(soft: torch.Tensor) -> torch.Tensor:
    correction = torch.where(soft > 0.5, 1 - soft, -soft).detach_()
    return torch.add(soft, correction)


# %% straight_through | right | a loop over the numbers
def straight_through(soft):
    rest = torch.zeros_like(soft).flatten()
    for i, value in enumerate(soft.detach().flatten().tolist()):
        rest[i] = (1.0 if value > 0.5 else 0.0) - value
    return soft + rest.view(soft.shape)


# %% straight_through | right | data
def straight_through(soft):
    hard = soft.data.gt(0.5).type_as(soft)
    return hard + (soft - soft.data)


# %% straight_through | right | ceil
def straight_through(soft):
    return (torch.ceil(soft - 0.5) - soft).detach() + soft * 1


# %% straight_through | right | in float64
def straight_through(soft):
    x = soft.double()
    return (x > 0.5).double() - x.detach() + x


# %% straight_through | wrong | above the mean in place of above 0.5
def straight_through(soft):
    hard = (soft > soft.mean()).float()
    return hard - soft.detach() + soft


# %% straight_through | wrong | the largest of a row in place of above 0.5 (as for classes)
def straight_through(soft):
    hard = F.one_hot(soft.argmax(-1), soft.shape[-1]).float()
    return hard - soft.detach() + soft


# %% straight_through | wrong | above the median
def straight_through(soft):
    hard = (soft > soft.median()).float()
    return hard - soft.detach() + soft


# %% straight_through | wrong | changes soft
def straight_through(soft):
    with torch.no_grad():
        soft.copy_((soft > 0.5).to(soft.dtype))
    return soft


# %% consistency | wrong | each prediction held fixed as a target: the gradient through m is the same for all classes
def consistency(p, q, r):
    log_m = ((p + q + r) / 3).log()
    return sum(F.kl_div(log_m, x.detach(), reduction="batchmean") for x in (p, q, r)) / 3


# %% consistency | wrong | the value is right, the gradient is 0
def consistency(p, q, r):
    with torch.no_grad():
        m = (p + q + r) / 3
        value = sum((x * (x / m).log()).sum(1).mean() for x in (p, q, r)) / 3
    return value + 0 * (p + q + r).sum()


# %% straight_through | wrong | in place at the hard one's place: soft is changed
def straight_through(soft):
    hard = (soft > 0.5).to(soft.dtype)
    with torch.no_grad():
        soft.sub_(soft).add_(hard)
    return soft * 1


# %% five_crops | right | whole numbers as floats of NumPy
import numpy as np


def five_crops(height, width, crop):
    free = np.array([height - crop, width - crop])
    return [tuple(np.floor(free * f)) for f in ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5))]


# %% ignore | right | from a table of text
_table = """
no|digit, mirrored
yes|digit, moved by one pixel
yes|street, mirrored
no|street, upside down
yes|solar cell, turned by 180°
no|traffic light, another hue
yes|cat, darker
no|on which side is the heart, mirrored
"""
ignore = {line.split("|")[1]: line.startswith("yes") for line in _table.strip().splitlines()}
