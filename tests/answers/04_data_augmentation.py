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
