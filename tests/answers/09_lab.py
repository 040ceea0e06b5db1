# %% pred | right | two passes
def pred(path, top=3):
    network.eval()
    pixels = network.preprocess(datasets.photograph(path))
    with torch.no_grad():
        a = torch.softmax(network(pixels), dim=1)[0]
        b = torch.softmax(network(torch.flip(pixels, dims=[3])), dim=1)[0]
    mean = ((a + b) / 2).numpy()
    names = backbones.imagenet_classes()
    return [(names[i], float(mean[i])) for i in mean.argsort()[::-1][:top]]


# %% pred | right | sorts the list
def pred(path, top=3):
    pixels = network.preprocess(datasets.photograph(path))
    with torch.inference_mode():
        p = sum(network(view).softmax(1)[0] for view in (pixels, pixels.flip(3))) / 2
    names = backbones.imagenet_classes()
    order = sorted(range(1000), key=lambda i: -float(p[i]))
    return [(names[i], p[i].item()) for i in order[:top]]


# %% pred | wrong | no mirror image
def pred(path, top=3):
    return backbones.predict(network, path, top)


# %% pred | wrong | mean of the logits
def pred(path, top=3):
    pixels = network.preprocess(datasets.photograph(path))
    with torch.inference_mode():
        p = network(torch.cat([pixels, pixels.flip(-1)])).mean(0).softmax(0)
    names = backbones.imagenet_classes()
    return [(names[i], float(v)) for v, i in zip(*p.topk(top))]


# %% pred | wrong | upside down
def pred(path, top=3):
    pixels = network.preprocess(datasets.photograph(path))
    with torch.inference_mode():
        p = network(torch.cat([pixels, pixels.flip(-2)])).softmax(1).mean(0)
    names = backbones.imagenet_classes()
    return [(names[i], float(v)) for v, i in zip(*p.topk(top))]


# %% pred | wrong | logits instead of probabilities
def pred(path, top=3):
    pixels = network.preprocess(datasets.photograph(path))
    with torch.inference_mode():
        p = network(torch.cat([pixels, pixels.flip(-1)])).mean(0)
    names = backbones.imagenet_classes()
    return [(names[i], float(v)) for v, i in zip(*p.topk(top))]


# %% pred | wrong | ignores top
def pred(path, top=3):
    pixels = network.preprocess(datasets.photograph(path))
    with torch.inference_mode():
        p = network(torch.cat([pixels, pixels.flip(-1)])).softmax(1).mean(0)
    names = backbones.imagenet_classes()
    return [(names[i], float(v)) for v, i in zip(*p.topk(3))]


# %% spoilt | right | one by one
spoilt = dict.fromkeys("ABCDEF", True)
spoilt["B"] = spoilt["D"] = False

# %% spoilt | right | by comparison
spoilt = {letter: letter not in "BD" for letter in "ABCDEF"}

# %% spoilt | wrong | everything is spoilt
spoilt = dict.fromkeys("ABCDEF", True)

# %% spoilt | wrong | nothing is spoilt
spoilt = dict.fromkeys("ABCDEF", False)

# %% spoilt | wrong | the epoch is no choice
spoilt = {"A": True, "B": False, "C": False, "D": False, "E": True, "F": True}

# %% spoilt | wrong | normalising is harmless
spoilt = {"A": True, "B": False, "C": True, "D": False, "E": False, "F": True}

# %% spoilt | wrong | many tries on a validation part
spoilt = {"A": True, "B": False, "C": True, "D": True, "E": True, "F": True}

# %% spoilt | wrong | mirror images are other images
spoilt = {"A": True, "B": False, "C": True, "D": False, "E": True, "F": False}


# %% ladder | right | steps counted as whole numbers
def ladder(scores, step=0.01):
    best, out = 0, []
    for s in scores:
        if s / step - best > 1:
            best = int(s / step + 0.5)
        out.append(best * step)
    return out


# %% ladder | right | recursion over the list
def ladder(scores, step=0.01):
    shown = [0.0]
    for s in scores:
        shown.append(shown[-1] if s <= shown[-1] + step else step * round(s / step))
    return shown[1:]


# %% ladder | wrong | not rounded
def ladder(scores, step=0.01):
    best, shown = 0.0, []
    for s in scores:
        if s > best + step:
            best = s
        shown.append(best)
    return shown


# %% ladder | wrong | any improvement counts
def ladder(scores, step=0.01):
    best, shown = 0.0, []
    for s in scores:
        if s > best:
            best = round(s / step) * step
        shown.append(best)
    return shown


# %% ladder | wrong | goes down
def ladder(scores, step=0.01):
    return [round(s / step) * step for s in scores]


# %% ladder | wrong | compares with the submission before
def ladder(scores, step=0.01):
    shown, before = [], 0.0
    for s in scores:
        shown.append(round(s / step) * step if s > before + step else (shown[-1] if shown else 0.0))
        before = s
    return shown


# %% ladder | wrong | compares with the hidden score
def ladder(scores, step=0.01):
    best, shown = 0.0, []
    for s in scores:
        if s > best + step:
            best = s
        shown.append(round(best / step) * step)
    return shown


# %% ladder | wrong | ignores the step
def ladder(scores, step=0.01):
    best, shown = 0.0, []
    for s in scores:
        if s > best + 0.01:
            best = round(s, 2)
        shown.append(best)
    return shown


# %% ladder | wrong | rounds down
def ladder(scores, step=0.01):
    best, shown = 0.0, []
    for s in scores:
        if s > best + step:
            best = int(s / step) * step
        shown.append(best)
    return shown


# %% ladder | wrong | shows only the improvements
def ladder(scores, step=0.01):
    best, shown = 0.0, []
    for s in scores:
        if s > best + step:
            best = round(s / step) * step
            shown.append(best)
    return shown


# %% choose | right | a loop over numpy values
def choose(results):
    import numpy as np

    best = max(results.values(), key=np.mean)
    limit = np.mean(best) - np.std(best, ddof=1) / np.sqrt(len(best))
    for name, values in results.items():
        if np.mean(values) >= limit:
            return name


# %% choose | right | in torch
def choose(results):
    names = list(results)
    means = torch.tensor([sum(results[n]) / len(results[n]) for n in names], dtype=torch.float64)
    top = torch.tensor(results[names[int(means.argmax())]], dtype=torch.float64)
    good = means >= means.max() - top.std() / len(top) ** 0.5
    return names[int(good.nonzero()[0])]


# %% choose | wrong | the best mean
def choose(results):
    return max(results, key=lambda name: statistics.mean(results[name]))


# %% choose | wrong | the standard deviation
def choose(results):
    best = max(results.values(), key=statistics.mean)
    limit = statistics.mean(best) - statistics.stdev(best)
    return next(n for n, v in results.items() if statistics.mean(v) >= limit)


# %% choose | wrong | divides by n in s
def choose(results):
    best = max(results.values(), key=statistics.mean)
    limit = statistics.mean(best) - statistics.pstdev(best) / len(best) ** 0.5
    return next(n for n, v in results.items() if statistics.mean(v) >= limit)


# %% choose | wrong | each option's own error
def choose(results):
    limit = max(statistics.mean(v) for v in results.values())
    return next(n for n, v in results.items() if statistics.mean(v) + statistics.stdev(v) / len(v) ** 0.5 >= limit)


# %% choose | wrong | compares with the dearest
def choose(results):
    best = list(results.values())[-1]
    limit = statistics.mean(best) - statistics.stdev(best) / len(best) ** 0.5
    return next(n for n, v in results.items() if statistics.mean(v) >= limit)


# %% choose | wrong | the dearest within the error
def choose(results):
    best = max(results.values(), key=statistics.mean)
    limit = statistics.mean(best) - statistics.stdev(best) / len(best) ** 0.5
    return [n for n, v in results.items() if statistics.mean(v) >= limit][-1]


# %% choose | wrong | the best is the one with the best single value
def choose(results):
    means = {name: statistics.mean(values) for name, values in results.items()}
    best = max(results, key=lambda name: max(results[name]))
    error = statistics.stdev(results[best]) / len(results[best]) ** 0.5
    return next(name for name, mean in means.items() if mean >= means[best] - error)


# %% choose | wrong | the best single value
def choose(results):
    best = max(results.values(), key=max)
    limit = max(best) - statistics.stdev(best) / len(best) ** 0.5
    return next(n for n, v in results.items() if max(v) >= limit)


# %% with_views | right | stacked views
def with_views(views, labels, train, held):
    stack = torch.stack(views)
    inside = stack[:, train]
    return inside.flatten(0, 1), labels[train].expand(len(views), -1).flatten(), stack[:, held].mean(dim=0)


# %% with_views | right | loops
def with_views(views, labels, train, held):
    rows, kinds = [], []
    for view in views:
        for i in train.tolist():
            rows.append(view[i])
            kinds.append(labels[i])
    mean = [sum(view[i] for view in views) / len(views) for i in held.tolist()]
    return torch.stack(rows), torch.stack(kinds), torch.stack(mean)


# %% with_views | wrong | labels image by image
def with_views(views, labels, train, held):
    rows = torch.cat([view[train] for view in views])
    return rows, labels[train].repeat_interleave(len(views)), torch.stack([view[held] for view in views]).mean(0)


# %% with_views | wrong | held-out views side by side
def with_views(views, labels, train, held):
    rows = torch.cat([view[train] for view in views])
    return rows, labels[train].repeat(len(views)), torch.cat([view[held] for view in views])


# %% with_views | wrong | first view only when held out
def with_views(views, labels, train, held):
    rows = torch.cat([view[train] for view in views])
    return rows, labels[train].repeat(len(views)), views[0][held]


# %% with_views | wrong | the other views of held-out images are in training
def with_views(views, labels, train, held):
    rows = torch.cat([views[0][train], *views[1:]])
    kinds = torch.cat([labels[train], *[labels] * (len(views) - 1)])
    return rows, kinds, torch.stack([view[held] for view in views]).mean(0)


# %% with_views | wrong | the mean of the training views, too
def with_views(views, labels, train, held):
    mean = torch.stack(views).mean(0)
    return mean[train], labels[train], mean[held]


# %% with_views | wrong | two views always
def with_views(views, labels, train, held):
    rows = torch.cat([views[0][train], views[1][train]])
    return rows, labels[train].repeat(2), (views[0][held] + views[1][held]) / 2


# %% fold | right | one filter at a time
def fold(conv, norm):
    weight, bias = conv.weight.detach().clone(), torch.zeros(conv.out_channels)
    for k in range(conv.out_channels):
        deviation = (norm.running_var[k] + norm.eps) ** 0.5
        weight[k] *= norm.weight[k] / deviation
        old = conv.bias[k] if conv.bias is not None else 0.0
        bias[k] = norm.weight[k] * (old - norm.running_mean[k]) / deviation + norm.bias[k]
    return weight, bias.detach()


# %% fold | right | by asking the layers
def fold(conv, norm):
    still = copy.deepcopy(norm).eval()
    zero = still(torch.zeros(1, conv.out_channels, 1, 1))[0, :, 0, 0]
    scale = still(torch.ones(1, conv.out_channels, 1, 1))[0, :, 0, 0] - zero
    old = torch.zeros_like(zero) if conv.bias is None else conv.bias
    return conv.weight * scale.view(-1, 1, 1, 1), old * scale + zero


# %% fold | wrong | forgets the bias of the convolution
def fold(conv, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


# %% fold | wrong | variance without the root
def fold(conv, norm):
    scale = norm.weight / (norm.running_var + norm.eps)
    old = 0 if conv.bias is None else conv.bias
    return conv.weight * scale[:, None, None, None], norm.bias + (old - norm.running_mean) * scale


# %% fold | wrong | forgets eps
def fold(conv, norm):
    scale = norm.weight / norm.running_var.sqrt()
    old = 0 if conv.bias is None else conv.bias
    return conv.weight * scale[:, None, None, None], norm.bias + (old - norm.running_mean) * scale


# %% fold | wrong | eps of the default norm
def fold(conv, norm):
    scale = norm.weight / (norm.running_var + 1e-3).sqrt()
    old = 0 if conv.bias is None else conv.bias
    return conv.weight * scale[:, None, None, None], norm.bias + (old - norm.running_mean) * scale


# %% fold | wrong | the bias isn't scaled
def fold(conv, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    old = 0 if conv.bias is None else conv.bias
    return conv.weight * scale[:, None, None, None], norm.bias + old - norm.running_mean * scale


# %% fold | wrong | the mean isn't divided
def fold(conv, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    old = 0 if conv.bias is None else conv.bias
    return conv.weight * scale[:, None, None, None], norm.bias + old * scale - norm.running_mean


# %% fold | wrong | fails without a bias
def fold(conv, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight * scale[:, None, None, None], norm.bias + (conv.bias - norm.running_mean) * scale


# %% fold | wrong | forgets gamma
def fold(conv, norm):
    scale = 1 / (norm.running_var + norm.eps).sqrt()
    old = 0 if conv.bias is None else conv.bias
    return conv.weight * scale[:, None, None, None], norm.bias + (old - norm.running_mean) * scale


# %% my_classifier | right | a new head on block6
def my_classifier(labelled):
    def codes_of(images):
        return codes.extract(network, images, "block6", size=96, cache=False, progress=False)

    head = linear.fit(codes_of(labelled), labelled.labels, kind="logistic", C=3.0, classes=len(labelled.classes))
    return lambda images: head.predict(codes_of(images))


# %% my_classifier | right | fine-tunes the last layer
def my_classifier(labelled):
    model = backbones.load(classes=len(labelled.classes))
    backbones.freeze(model)
    training.fit(model, labelled, epochs=20, rate=1e-2, batch=8, size=64, schedule="constant", progress=False)
    return lambda images: training.evaluate(model, images, size=64).probabilities.argmax(1)


# %% my_classifier | right | nearest neighbour
def my_classifier(labelled):
    known = F.normalize(codes.extract(network, labelled, size=64, cache=False, progress=False))

    def predict(images):
        new = F.normalize(codes.extract(network, images, size=64, cache=False, progress=False))
        return labelled.labels[(new @ known.T).argmax(1)]

    return predict


# %% my_classifier | wrong | returns scores
def my_classifier(labelled):
    def codes_of(images):
        return codes.extract(network, images, size=64, cache=False, progress=False)

    head = linear.fit(codes_of(labelled), labelled.labels, C=3.0)
    return lambda images: head.scores(codes_of(images))


# %% my_classifier | wrong | reads the labels
def my_classifier(labelled):
    return lambda images: images.labels


# %% my_classifier | wrong | returns the accuracy
def my_classifier(labelled):
    def codes_of(images):
        return codes.extract(network, images, size=64, cache=False, progress=False)

    head = linear.fit(codes_of(labelled), labelled.labels, C=3.0)
    return lambda images: head.accuracy(codes_of(images), images.labels)


# %% my_classifier | wrong | returns the head
def my_classifier(labelled):
    values = codes.extract(network, labelled, size=64, cache=False, progress=False)
    return linear.fit(values, labelled.labels, C=3.0)


# %% my_classifier | wrong | always the commonest class
def my_classifier(labelled):
    most = int(labelled.labels.bincount().argmax())
    return lambda images: torch.full((len(images),), most)


# %% my_classifier | wrong | the notebook's images instead of its argument
def my_classifier(labelled):
    values = codes.extract(network, board.labelled, size=64, cache=False, progress=False)
    head = linear.fit(values, board.labelled.labels, C=3.0)
    return lambda images: head.predict(codes.extract(network, images, size=64, cache=False, progress=False))


# %% my_classifier | wrong | the batch decides: normalised by its own mean
def my_classifier(labelled):
    def codes_of(images):
        values = codes.extract(network, images, size=64, cache=False, progress=False)
        return values - values.mean(0)

    head = linear.fit(codes_of(labelled), labelled.labels, C=3.0)
    return lambda images: head.predict(codes_of(images))


# %% my_classifier | wrong | class numbers from one
def my_classifier(labelled):
    def codes_of(images):
        return codes.extract(network, images, size=64, cache=False, progress=False)

    head = linear.fit(codes_of(labelled), labelled.labels, C=3.0)
    return lambda images: head.predict(codes_of(images)) + 1


# %% pred | right | np.array of names (np.str_)
import numpy as np


def pred(path, top=3):
    x = network.preprocess(datasets.photograph(path))
    with torch.no_grad():
        p = ((network(x).softmax(1) + network(x.flip(3)).softmax(1)) / 2)[0].numpy()
    names = np.array(backbones.imagenet_classes())
    order = np.argsort(p)[::-1][:top]
    return list(zip(names[order], p[order]))


# %% pred | right | np.flip
import numpy as np


def pred(path, top=3):
    x = network.preprocess(datasets.photograph(path))
    m = torch.from_numpy(np.flip(x.numpy(), axis=3).copy())
    with torch.no_grad():
        p = 0.5 * torch.softmax(network(x), dim=-1) + 0.5 * torch.softmax(network(m), dim=-1)
    d = dict(zip(backbones.imagenet_classes(), p.flatten().tolist()))
    return sorted(d.items(), key=lambda t: t[1], reverse=True)[:top]


# %% pred | wrong | train mode
def pred(path, top=3):
    network.train()
    x = network.preprocess(datasets.photograph(path))
    with torch.no_grad():
        p = network(torch.cat([x, x.flip(-1)])).softmax(1).mean(0)
    v, i = p.topk(top)
    return [(backbones.imagenet_classes()[j], float(q)) for q, j in zip(v, i)]


# %% spoilt | wrong | list
spoilt = [True, False, True, False, True, True]


# %% spoilt | wrong | one left open
spoilt = {"A": True, "B": False, "C": True, "D": False, "E": True, "F": ...}


# %% ladder | right | Decimal
from decimal import Decimal


def ladder(scores, step=0.01):
    best, out, st = Decimal(0), [], Decimal(str(step))
    for s in map(lambda v: Decimal(str(v)), scores):
        if s > best + st:
            best = round(s / st) * st
        out.append(float(best))
    return out


# %% ladder | wrong | >= a step
def ladder(scores, step=0.01):
    best, shown = 0.0, []
    for s in scores:
        if s >= best + step:
            best = round(s / step) * step
        shown.append(best)
    return shown


# %% choose | right | np names
import numpy as np


def choose(results):
    names = np.array(list(results))
    means = np.array([np.mean(v) for v in results.values()])
    b = means.argmax()
    v = list(results.values())[b]
    return names[means >= means[b] - np.std(v, ddof=1) / np.sqrt(len(v))][0]


# %% choose | wrong | n is number of options
def choose(results):
    means = {n: statistics.mean(v) for n, v in results.items()}
    best = max(means, key=means.get)
    e = statistics.stdev(results[best]) / len(results) ** 0.5
    return next(n for n in results if means[n] >= means[best] - e)


# %% choose | wrong | n always 3
def choose(results):
    means = {n: statistics.mean(v) for n, v in results.items()}
    best = max(means, key=means.get)
    e = statistics.stdev(results[best]) / 3**0.5
    return next(n for n in results if means[n] >= means[best] - e)


# %% choose | wrong | n-1 twice: s/sqrt(n-1)
def choose(results):
    means = {n: statistics.mean(v) for n, v in results.items()}
    best = max(means, key=means.get)
    e = statistics.stdev(results[best]) / (len(results[best]) - 1) ** 0.5
    return next(n for n in results if means[n] >= means[best] - e)


# %% choose | wrong | lowest mean within
def choose(results):
    means = {n: statistics.mean(v) for n, v in results.items()}
    best = max(means, key=means.get)
    e = statistics.stdev(results[best]) / len(results[best]) ** 0.5
    return min((n for n in results if means[n] >= means[best] - e), key=means.get)


# %% choose | wrong | median
def choose(results):
    means = {n: statistics.median(v) for n, v in results.items()}
    best = max(means, key=means.get)
    e = statistics.stdev(results[best]) / len(results[best]) ** 0.5
    return next(n for n in results if means[n] >= means[best] - e)


# %% fold | right | double kept
def fold(conv, norm):
    s = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    b = torch.zeros(conv.out_channels).double() if conv.bias is None else conv.bias.double()
    return conv.weight.double() * s.reshape(-1, 1, 1, 1), (b - norm.running_mean) * s + norm.bias


# %% fold | right | numpy arrays
def fold(conv, norm):
    s = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
    b = 0 if conv.bias is None else conv.bias.detach().numpy()
    return conv.weight.detach().numpy() * s[:, None, None, None], norm.bias.detach().numpy() + (
        b - norm.running_mean.numpy()
    ) * s


# %% fold | wrong | only the weight returned
def fold(conv, norm):
    s = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight * s[:, None, None, None]


# %% fold | wrong | returns nn.Conv2d
def fold(conv, norm):
    s = norm.weight / (norm.running_var + norm.eps).sqrt()
    b = 0 if conv.bias is None else conv.bias
    new = copy.deepcopy(conv)
    new.weight.data = conv.weight * s[:, None, None, None]
    new.bias = nn.Parameter(norm.bias + (b - norm.running_mean) * s)
    return new


# %% fold | wrong | library
def fold(conv, norm):
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    return fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )


# %% fold | wrong | library eval
def fold(conv, norm):
    f = nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), norm.eval())
    return f.weight, f.bias


# %% my_classifier | right | numpy int64 array
def my_classifier(labelled):
    from sklearn.linear_model import LogisticRegression

    f = lambda s: codes.extract(network, s, size=96, progress=False, cache=False).numpy()
    clf = LogisticRegression(max_iter=500).fit(f(labelled), labelled.labels.numpy())
    return lambda s: clf.predict(f(s))


# %% my_classifier | right | python list
def my_classifier(labelled):
    head = linear.fit(codes.extract(network, labelled, size=96, progress=False, cache=False), labelled.labels, C=3.0)
    return lambda s: head.predict(codes.extract(network, s, size=96, progress=False, cache=False)).tolist()


# %% my_classifier | wrong | colour, nothing learnt
def my_classifier(labelled):
    return lambda s: s.images.float().mean((2, 3)).argmax(1)


# %% my_classifier | wrong | reads file names
def my_classifier(labelled):
    table = {f: int(k) for f, k in zip(labelled.files, labelled.labels)}
    return lambda s: torch.tensor([int(f.split("-")[1]) % 3 for f in s.files])


# %% my_classifier | wrong | (N,1)
def my_classifier(labelled):
    head = linear.fit(codes.extract(network, labelled, size=64, progress=False, cache=False), labelled.labels, C=3.0)
    return lambda s: head.predict(codes.extract(network, s, size=64, progress=False, cache=False))[:, None]


# %% pred | right | log_softmax, logaddexp, with gradients
def pred(path, top=3):
    pixels = network.preprocess(datasets.photograph(path))
    a, b = network(pixels)[0].log_softmax(0), network(pixels.fliplr().flip(1).flip(-1))[0].log_softmax(0)
    p = torch.logaddexp(a, b).exp() / 2
    names = backbones.imagenet_classes()
    return [[names[int(i)], p[i].item()] for i in p.sort(descending=True).indices[:top]]


# %% pred | wrong | the larger probability of the two
def pred(path, top=3):
    pixels = network.preprocess(datasets.photograph(path))
    with torch.inference_mode():
        p = network(torch.cat([pixels, pixels.flip(-1)])).softmax(1).amax(0)
    names = backbones.imagenet_classes()
    return [(names[i], float(v)) for v, i in zip(*p.topk(top))]


# %% pred | wrong | the sum, not the mean
def pred(path, top=3):
    pixels = network.preprocess(datasets.photograph(path))
    with torch.inference_mode():
        p = network(torch.cat([pixels, pixels.flip(-1)])).softmax(1).sum(0)
    names = backbones.imagenet_classes()
    return [(names[i], float(v)) for v, i in zip(*p.topk(top))]


# %% spoilt | right | NumPy's booleans
import numpy as np

spoilt = dict(zip("ABCDEF", np.array([1, 0, 1, 0, 1, 1], dtype=bool)))


# %% spoilt | right | an ordered dictionary
from collections import OrderedDict

spoilt = OrderedDict(A=True, B=False, C=True, D=False, E=True, F=True)


# %% ladder | right | np.round and a running maximum
import numpy as np


def ladder(scores, step=0.01):
    out = np.zeros(len(scores) + 1)
    for i, s in enumerate(scores):
        out[i + 1] = np.round(s / step) * step if s > out[i] + step else out[i]
    return out[1:]


# %% ladder | right | the board's own class
def ladder(scores, step=0.01):
    board = lab.Ladder(torch.zeros(1), step)
    out = []
    for s in scores:
        if s > board.best + step:
            board.best = round(round(s / step) * step, 6)
        out.append(board.best)
    return out


# %% ladder | right | accumulate
from itertools import accumulate


def ladder(scores, step=0.01):
    return list(accumulate(scores, lambda b, s: step * round(s / step) if s > b + step else b, initial=0.0))[1:]


# %% ladder | wrong | the first score is always shown
def ladder(scores, step=0.01):
    shown = []
    for s in scores:
        if not shown or s > shown[-1] + step:
            shown.append(round(s / step) * step)
        else:
            shown.append(shown[-1])
    return shown


# %% ladder | wrong | the best so far is remembered between calls
best_so_far = [0.0]


def ladder(scores, step=0.01):
    shown = []
    for s in scores:
        if s > best_so_far[0] + step:
            best_so_far[0] = round(s / step) * step
        shown.append(best_so_far[0])
    return shown


# %% ladder | wrong | better than the last shown by a step of percent, step ignored in the comparison
def ladder(scores, step=0.01):
    best, shown = 0.0, []
    for s in scores:
        if s > best + 0.01:
            best = round(s / step) * step
        shown.append(best)
    return shown


# %% ladder | right | rounds by floor of half a step more
def ladder(scores, step=0.01):
    best, shown = 0.0, []
    for s in scores:
        if s > best + step:
            best = (s + step / 2) // step * step
        shown.append(best)
    return shown


# %% choose | right | sorted by cost already, dictionary comprehension
def choose(results):
    from math import sqrt

    mean = {n: sum(v) / len(v) for n, v in results.items()}
    top = sorted(mean, key=mean.get)[-1]
    var = sum((x - mean[top]) ** 2 for x in results[top]) / (len(results[top]) - 1)
    return [n for n in results if mean[n] + sqrt(var / len(results[top])) >= mean[top]][0]


# %% choose | right | scipy's standard error
def choose(results):
    import scipy.stats

    means = [np.mean(v) for v in results.values()]
    best = int(np.argmax(means))
    error = scipy.stats.sem(list(results.values())[best])
    return list(results)[next(i for i, m in enumerate(means) if m >= means[best] - error)]


# %% choose | wrong | walks down from the best until one isn't within
def choose(results):
    names = list(results)
    mean = {n: statistics.mean(v) for n, v in results.items()}
    best = max(names, key=mean.get)
    limit = mean[best] - statistics.stdev(results[best]) / len(results[best]) ** 0.5
    i = names.index(best)
    while i > 0 and mean[names[i - 1]] >= limit:
        i -= 1
    return names[i]


# %% choose | wrong | two standard errors
def choose(results):
    mean = {n: statistics.mean(v) for n, v in results.items()}
    best = max(mean, key=mean.get)
    limit = mean[best] - 2 * statistics.stdev(results[best]) / len(results[best]) ** 0.5
    return next(n for n in mean if mean[n] >= limit)


# %% choose | wrong | rounds to whole percent
def choose(results):
    mean = {n: round(statistics.mean(v), 2) for n, v in results.items()}
    best = max(mean, key=mean.get)
    limit = mean[best] - statistics.stdev(results[best]) / len(results[best]) ** 0.5
    return next(n for n in mean if mean[n] >= limit)


# %% with_views | right | numpy inside
def with_views(views, labels, train, held):
    stack = np.stack([v.numpy() for v in views])
    return (
        np.concatenate(stack[:, train.numpy()]),
        np.tile(labels.numpy()[train.numpy()], len(views)),
        stack.mean(0)[held.numpy()],
    )


# %% with_views | right | index_select and tile
def with_views(views, labels, train, held):
    x = torch.vstack([v.index_select(0, train) for v in views])
    y = torch.tile(torch.index_select(labels, 0, train), (len(views),))
    return [x, y, sum(v.index_select(0, held) for v in views) / len(views)]


# %% with_views | wrong | adds up in the first view
def with_views(views, labels, train, held):
    rows = torch.cat([view[train] for view in views])
    mean = views[0]
    for view in views[1:]:
        mean += view
    mean /= len(views)
    return rows, labels[train].repeat(len(views)), mean[held]


# %% with_views | wrong | held-out images by a mask, in their old order
def with_views(views, labels, train, held):
    mask = torch.zeros(len(labels), dtype=torch.bool)
    mask[held] = True
    rows = torch.cat([view[train] for view in views])
    return rows, labels[train].repeat(len(views)), torch.stack([view[mask] for view in views]).mean(0)


# %% with_views | wrong | all that isn't in train is held out
def with_views(views, labels, train, held):
    rest = torch.tensor([i for i in range(len(labels)) if i not in train.tolist()])
    rows = torch.cat([view[train] for view in views])
    return rows, labels[train].repeat(len(views)), torch.stack([view[rest] for view in views]).mean(0)


# %% with_views | wrong | the median of the views
def with_views(views, labels, train, held):
    rows = torch.cat([view[train] for view in views])
    return rows, labels[train].repeat(len(views)), torch.stack([view[held] for view in views]).quantile(0.5, dim=0)


# %% fold | right | einsum, a list
def fold(conv, norm):
    s = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    b = torch.zeros_like(s) if conv.bias is None else conv.bias
    return [torch.einsum("kcab,k->kcab", conv.weight, s), torch.addcmul(norm.bias, b - norm.running_mean, s)]


# %% fold | right | a diagonal matrix
def fold(conv, norm):
    s = torch.diag(norm.weight / torch.sqrt(norm.eps + norm.running_var))
    b = norm.running_mean * 0 if conv.bias is None else conv.bias
    return (s @ conv.weight.flatten(1)).view_as(conv.weight), s @ (b - norm.running_mean) + norm.bias


# %% fold | wrong | folds in place: conv is another layer afterwards
def fold(conv, norm):
    s = norm.weight / (norm.running_var + norm.eps).sqrt()
    b = 0 if conv.bias is None else conv.bias
    bias = norm.bias + (b - norm.running_mean) * s
    conv.weight.data *= s.data.view(-1, 1, 1, 1)
    return conv.weight, bias


# %% fold | wrong | eps behind the root
def fold(conv, norm):
    s = norm.weight / (norm.running_var.sqrt() + norm.eps)
    b = 0 if conv.bias is None else conv.bias
    return conv.weight * s.view(-1, 1, 1, 1), norm.bias + (b - norm.running_mean) * s


# %% fold | wrong | PyTorch's default eps
def fold(conv, norm):
    s = norm.weight / (norm.running_var + 1e-5).sqrt()
    b = 0 if conv.bias is None else conv.bias
    return conv.weight * s.view(-1, 1, 1, 1), norm.bias + (b - norm.running_mean) * s


# %% my_classifier | right | nearest class mean of the colours, nothing else
def my_classifier(labelled):
    tiny = lambda s: F.adaptive_avg_pool2d(s.images.float(), 4).flatten(1)
    x = tiny(labelled)
    centres = torch.stack([x[labelled.labels == k].mean(0) for k in range(len(labelled.classes))])
    return lambda s: torch.cdist(tiny(s), centres).argmin(1)


# %% my_classifier | right | an object that can be called
class Nearest:
    def __init__(self, labelled):
        self.x, self.y = labelled.images.float().flatten(1), labelled.labels

    def __call__(self, s):
        return self.y[torch.cdist(s.images.float().flatten(1), self.x).argmin(1)]


def my_classifier(labelled):
    return Nearest(labelled)


# %% my_classifier | wrong | three classes always
def my_classifier(labelled):
    x = F.adaptive_avg_pool2d(labelled.images.float(), 4).flatten(1)
    centres = torch.stack([x[labelled.labels == k].mean(0) for k in range(3)])
    return lambda s: torch.cdist(F.adaptive_avg_pool2d(s.images.float(), 4).flatten(1), centres).argmin(1)


# %% my_classifier | wrong | remembers labels that it was shown with images
def my_classifier(labelled):
    seen = {image.numpy().tobytes(): int(k) for image, k in zip(labelled.images, labelled.labels)}
    x, y = labelled.images.float().flatten(1), labelled.labels

    def predict(s):
        out = []
        for image, label in zip(s.images, s.labels.tolist()):
            out.append(seen.setdefault(image.numpy().tobytes(), label))
        return torch.tensor(out)

    return predict


# %% my_classifier | wrong | reads the labels where there are any
def my_classifier(labelled):
    x, y = labelled.images.float().flatten(1), labelled.labels
    return lambda s: (
        s.labels if len(s.labels.unique()) > 1 else y[torch.cdist(s.images.float().flatten(1), x).argmin(1)]
    )


# %% my_classifier | right | int32
def my_classifier(labelled):
    x, y = labelled.images.float().flatten(1), labelled.labels
    return lambda s: y[torch.cdist(s.images.float().flatten(1), x).argmin(1)].to(torch.int32)


# %% fold | wrong | asks the network's own layer by unit impulses, and forgets groups
def fold(conv, norm):
    still = nn.Sequential(copy.deepcopy(conv), copy.deepcopy(norm)).eval()
    k = conv.kernel_size[0]
    x = torch.eye(conv.in_channels * k * k).reshape(-1, conv.in_channels, k, k)
    with torch.no_grad():
        bias = still(torch.zeros(1, conv.in_channels, k, k))[0, :, 0, 0]
        w = still(x)[:, :, 0, 0] - bias
    return w.T.reshape(conv.out_channels, conv.in_channels, k, k), bias
