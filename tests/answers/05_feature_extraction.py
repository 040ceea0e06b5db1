# %% preprocess | right | torchvision's transforms
def preprocess(picture, size=224, crop=0.875):
    from torchvision.transforms import v2

    steps = [v2.Resize(round(size / crop), v2.InterpolationMode.BICUBIC), v2.CenterCrop(size), v2.PILToTensor()]
    return (v2.Compose(steps)(picture)[None].float() - 127) / 128


# %% preprocess | right | cuts in NumPy
def preprocess(picture, size=224, crop=0.875):
    width, height = picture.size
    short = size / crop
    factor = short / min(width, height)
    array = np.array(picture.resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC))
    top, left = (array.shape[0] - size) // 2, (array.shape[1] - size) // 2
    array = array[top : top + size, left : left + size].transpose(2, 0, 1)
    return torch.from_numpy((array.astype(np.float32) - 127) / 128).unsqueeze(0)


# %% preprocess | wrong | squashes
def preprocess(picture, size=224, crop=0.875):
    array = np.array(picture.resize((size, size), Image.Resampling.BICUBIC))
    return (torch.tensor(array).permute(2, 0, 1)[None].float() - 127) / 128


# %% preprocess | wrong | forgets to normalise
def preprocess(picture, size=224, crop=0.875):
    scale = size / crop / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    picture = picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return torch.tensor(np.array(picture)).permute(2, 0, 1)[None].float()


# %% preprocess | wrong | divides by 255
def preprocess(picture, size=224, crop=0.875):
    scale = size / crop / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    picture = picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return (torch.tensor(np.array(picture)).permute(2, 0, 1)[None].float() - 127) / 255


# %% preprocess | wrong | channels last
def preprocess(picture, size=224, crop=0.875):
    scale = size / crop / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    picture = picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return (torch.tensor(np.array(picture))[None].float() - 127) / 128


# %% preprocess | wrong | no batch axis
def preprocess(picture, size=224, crop=0.875):
    scale = size / crop / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    picture = picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return (torch.tensor(np.array(picture)).permute(2, 0, 1).float() - 127) / 128


# %% preprocess | wrong | cuts the top left corner
def preprocess(picture, size=224, crop=0.875):
    scale = size / crop / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC).crop((0, 0, size, size))
    return (torch.tensor(np.array(picture)).permute(2, 0, 1)[None].float() - 127) / 128


# %% preprocess | wrong | ignores crop
def preprocess(picture, size=224, crop=0.875):
    scale = size / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    picture = picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return (torch.tensor(np.array(picture)).permute(2, 0, 1)[None].float() - 127) / 128


# %% preprocess | wrong | size and crop are fixed
def preprocess(picture, size=224, crop=0.875):
    scale = size / 0.875 / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    picture = picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return (torch.tensor(np.array(picture)).permute(2, 0, 1)[None].float() - 127) / 128


# %% nearest | right | distances
def nearest(queries, bank, k):
    queries = queries / queries.norm(dim=1, keepdim=True)
    bank = bank / bank.norm(dim=1, keepdim=True)
    return torch.cdist(queries, bank).topk(k, largest=False).indices


# %% nearest | right | loops and sorting
def nearest(queries, bank, k):
    found = []
    for query in queries:
        cosines = [float(F.cosine_similarity(query, row, dim=0)) for row in bank]
        found.append(sorted(range(len(bank)), key=lambda i: -cosines[i])[:k])
    return torch.tensor(found)


# %% nearest | wrong | no scaling
def nearest(queries, bank, k):
    return torch.cdist(queries, bank).topk(k, largest=False).indices


# %% nearest | wrong | largest product without scaling the bank
def nearest(queries, bank, k):
    return (F.normalize(queries) @ bank.T).topk(k).indices


# %% nearest | wrong | the farthest
def nearest(queries, bank, k):
    return torch.cdist(F.normalize(queries), F.normalize(bank)).topk(k).indices


# %% nearest | wrong | distances, not row numbers
def nearest(queries, bank, k):
    return torch.cdist(F.normalize(queries), F.normalize(bank)).topk(k, largest=False).values


# %% nearest | wrong | scales the columns
def nearest(queries, bank, k):
    return (F.normalize(queries, dim=0) @ F.normalize(bank, dim=0).T).topk(k).indices


# %% nearest | wrong | only one neighbour
def nearest(queries, bank, k):
    return (F.normalize(queries) @ F.normalize(bank).T).argmax(1, keepdim=True)


# %% decide | right | F.linear
def decide(values, weight, bias):
    return F.linear(values / values.norm(dim=1, keepdim=True), weight, bias).max(1).indices


# %% decide | right | loops
def decide(values, weight, bias):
    found = []
    for code in values:
        code = code / code.square().sum().sqrt()
        found.append(int(torch.stack([(code * w).sum() + b for w, b in zip(weight, bias)]).argmax()))
    return torch.tensor(found)


# %% decide | wrong | codes not scaled
def decide(values, weight, bias):
    return (values @ weight.T + bias).argmax(1)


# %% decide | wrong | no bias
def decide(values, weight, bias):
    return (F.normalize(values) @ weight.T).argmax(1)


# %% decide | wrong | over the images
def decide(values, weight, bias):
    return (F.normalize(values) @ weight.T + bias).argmax(0)


# %% decide | wrong | first positive score
def decide(values, weight, bias):
    return (F.normalize(values) @ weight.T + bias > 0).int().argmax(1)


# %% decide | wrong | largest absolute score
def decide(values, weight, bias):
    return (F.normalize(values) @ weight.T + bias).abs().argmax(1)


# %% decide | wrong | weights scaled as well
def decide(values, weight, bias):
    return (F.normalize(values) @ F.normalize(weight).T + bias).argmax(1)


# %% mean_class_accuracy | right | scikit-learn
def mean_class_accuracy(truth, predicted):
    from sklearn.metrics import recall_score

    return recall_score(truth, predicted, average="macro", labels=truth.unique())


# %% mean_class_accuracy | right | loops
def mean_class_accuracy(truth, predicted):
    right, number = {}, {}
    for t, p in zip(truth.tolist(), predicted.tolist()):
        number[t] = number.get(t, 0) + 1
        right[t] = right.get(t, 0) + (t == p)
    return sum(right[t] / number[t] for t in number) / len(number)


# %% mean_class_accuracy | wrong | plain accuracy
def mean_class_accuracy(truth, predicted):
    return float((truth == predicted).float().mean())


# %% mean_class_accuracy | wrong | precision
def mean_class_accuracy(truth, predicted):
    shares = [(truth[predicted == label] == label).float().mean() for label in predicted.unique()]
    return float(torch.stack(shares).mean())


# %% mean_class_accuracy | wrong | counts absent classes as zero
def mean_class_accuracy(truth, predicted):
    classes = int(max(truth.max(), predicted.max())) + 1
    shares = [float((predicted[truth == k] == k).float().mean()) if (truth == k).any() else 0.0 for k in range(classes)]
    return sum(shares) / classes


# %% mean_class_accuracy | wrong | predicted classes count, too
def mean_class_accuracy(truth, predicted):
    classes = set(truth.tolist()) | set(predicted.tolist())
    shares = [float((predicted[truth == k] == k).float().mean()) if (truth == k).any() else 0.0 for k in classes]
    return sum(shares) / len(classes)


# %% mean_class_accuracy | wrong | divides by all images
def mean_class_accuracy(truth, predicted):
    return sum(float(((predicted == k) & (truth == k)).sum()) / len(truth) for k in truth.unique())


# %% choose_C | right | scikit-learn's folds, and a loop
def choose_C(score, train, test, choices, folds=5):
    from sklearn.model_selection import KFold

    best, best_mean = None, -1
    for C in sorted(choices):
        scores = [score(train[a], train[b], C) for a, b in KFold(folds, shuffle=True, random_state=3).split(train)]
        if sum(scores) / folds > best_mean + 1e-12:
            best, best_mean = C, sum(scores) / folds
    return best


# %% choose_C | right | chunks
def choose_C(score, train, test, choices, folds=5):
    parts = train.tensor_split(folds)
    means = torch.zeros(len(choices), dtype=torch.float64)
    for i in range(folds):
        others = torch.cat([parts[j] for j in range(folds) if j != i])
        means += torch.tensor([score(others, parts[i], C) for C in choices], dtype=torch.float64)
    best = [C for C, mean in zip(choices, means) if mean > means.max() - 1e-9]
    return min(best)


# %% choose_C | wrong | the test part decides
def choose_C(score, train, test, choices, folds=5):
    return max(sorted(choices), key=lambda C: score(train, test, C))


# %% choose_C | wrong | learns and scores on the same rows
def choose_C(score, train, test, choices, folds=5):
    return max(sorted(choices), key=lambda C: score(train, train, C))


# %% choose_C | wrong | held-out rows are learnt as well
def choose_C(score, train, test, choices, folds=5):
    return max(sorted(choices), key=lambda C: sum(score(train, train[i::folds], C) for i in range(folds)))


# %% choose_C | wrong | one fold only
def choose_C(score, train, test, choices, folds=5):
    cut = len(train) // folds
    return max(sorted(choices), key=lambda C: score(train[cut:], train[:cut], C))


# %% choose_C | wrong | always five parts
def choose_C(score, train, test, choices, folds=5):
    part = torch.arange(len(train)) % 5
    means = {C: sum(score(train[part != i], train[part == i], C) for i in range(5)) / 5 for C in choices}
    return min(choices, key=lambda C: (-means[C], C))


# %% choose_C | wrong | folds of train and test together
def choose_C(score, train, test, choices, folds=5):
    rows = torch.cat([train, test])
    part = torch.arange(len(rows)) % folds
    return max(sorted(choices), key=lambda C: sum(score(rows[part != i], rows[part == i], C) for i in range(folds)))


# %% choose_C | wrong | the last rows are never held out
def choose_C(score, train, test, choices, folds=5):
    n = len(train) // folds

    def mean(C):
        cut = [slice(i * n, (i + 1) * n) for i in range(folds)]
        return sum(score(torch.cat([train[: c.start], train[c.stop :]]), train[c], C) for c in cut)

    return max(sorted(choices), key=mean)


# %% choose_C | wrong | the largest of equals
def choose_C(score, train, test, choices, folds=5):
    part = torch.arange(len(train)) % folds
    means = {C: sum(score(train[part != i], train[part == i], C) for i in range(folds)) for C in choices}
    return max(choices, key=lambda C: (means[C], C))


# %% choose_C | wrong | a test row for the final say
def choose_C(score, train, test, choices, folds=5):
    part = torch.arange(len(train)) % folds
    means = {C: sum(score(train[part != i], train[part == i], C) for i in range(folds)) for C in choices}
    two = sorted(choices, key=lambda C: (-means[C], C))[:2]
    return max(two, key=lambda C: score(train, test, C))


# %% most_confused | right | a dictionary
def most_confused(truth, predicted):
    counts = {}
    for pair in zip(truth.tolist(), predicted.tolist()):
        if pair[0] != pair[1]:
            counts[pair] = counts.get(pair, 0) + 1
    return max(counts, key=counts.get)


# %% most_confused | right | the confusion matrix
def most_confused(truth, predicted):
    matrix = confusion_matrix(truth, predicted, labels=range(int(max(truth.max(), predicted.max())) + 1))
    np.fill_diagonal(matrix, 0)
    return [int(i) for i in np.unravel_index(matrix.argmax(), matrix.shape)]


# %% most_confused | wrong | with the diagonal
def most_confused(truth, predicted):
    pairs, counts = torch.stack([truth, predicted]).unique(dim=1, return_counts=True)
    return tuple(pairs[:, counts.argmax()].tolist())


# %% most_confused | wrong | predicted first
def most_confused(truth, predicted):
    wrong = truth != predicted
    pairs, counts = torch.stack([predicted[wrong], truth[wrong]]).unique(dim=1, return_counts=True)
    return tuple(pairs[:, counts.argmax()].tolist())


# %% most_confused | wrong | both directions together
def most_confused(truth, predicted):
    matrix = confusion_matrix(truth, predicted, labels=range(8))
    matrix = np.triu(matrix + matrix.T, 1)
    return tuple(int(i) for i in np.unravel_index(matrix.argmax(), matrix.shape))


# %% most_confused | wrong | as a share of the class
def most_confused(truth, predicted):
    matrix = confusion_matrix(truth, predicted, labels=range(8)).astype(float)
    matrix /= matrix.sum(1, keepdims=True).clip(1)
    np.fill_diagonal(matrix, 0)
    return tuple(int(i) for i in np.unravel_index(matrix.argmax(), matrix.shape))


# %% most_confused | wrong | numbers of a shortened list of classes
def most_confused(truth, predicted):
    matrix = confusion_matrix(truth, predicted)
    np.fill_diagonal(matrix, 0)
    return tuple(int(i) for i in np.unravel_index(matrix.argmax(), matrix.shape))


# %% preprocess | right | ImageOps.cover
def preprocess(picture, size=224, crop=0.875):
    s = round(size / crop)
    p = ImageOps.cover(picture, (s, s), Image.Resampling.BICUBIC)
    from torchvision.transforms.functional import center_crop, pil_to_tensor

    return pil_to_tensor(center_crop(p, [size, size])).float().sub(127).div(128)[None]


# %% preprocess | right | F.interpolate float antialias
def preprocess(picture, size=224, crop=0.875):
    x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    h, w = x.shape[-2:]
    s = size / crop / min(h, w)
    x = F.interpolate(x, size=(round(h * s), round(w * s)), mode="bicubic", antialias=True).clamp(0, 255)
    h, w = x.shape[-2:]
    top, left = (h - size) // 2, (w - size) // 2
    return (x[..., top : top + size, left : left + size] - 127) / 128


# %% preprocess | wrong | uint8 torch wraps round
def preprocess(picture, size=224, crop=0.875):
    s = size / crop / min(picture.size)
    w, h = (round(a * s) for a in picture.size)
    left, top = (w - size) // 2, (h - size) // 2
    p = picture.resize((w, h), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    a = (torch.tensor(np.array(p)) - 127) / 128
    return a.float().permute(2, 0, 1)[None]


# %% preprocess | wrong | ToTensor and Normalize(0.5, 0.5)
def preprocess(picture, size=224, crop=0.875):
    from torchvision import transforms as T

    return T.Compose(
        [
            T.Resize(round(size / crop), T.InterpolationMode.BICUBIC),
            T.CenterCrop(size),
            T.ToTensor(),
            T.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )(picture)[None]


# %% preprocess | wrong | minus 128 over 128
def preprocess(picture, size=224, crop=0.875):
    s = size / crop / min(picture.size)
    w, h = (round(a * s) for a in picture.size)
    left, top = (w - size) // 2, (h - size) // 2
    p = picture.resize((w, h), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return (torch.tensor(np.array(p)).float().permute(2, 0, 1)[None] - 128) / 128


# %% preprocess | wrong | minus 127 over 127
def preprocess(picture, size=224, crop=0.875):
    s = size / crop / min(picture.size)
    w, h = (round(a * s) for a in picture.size)
    left, top = (w - size) // 2, (h - size) // 2
    p = picture.resize((w, h), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return (torch.tensor(np.array(p)).float().permute(2, 0, 1)[None] - 127) / 127


# %% preprocess | wrong | reshape instead of permute
def preprocess(picture, size=224, crop=0.875):
    s = size / crop / min(picture.size)
    w, h = (round(a * s) for a in picture.size)
    left, top = (w - size) // 2, (h - size) // 2
    p = picture.resize((w, h), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return (torch.tensor(np.array(p)).float().reshape(1, 3, size, size) - 127) / 128


# %% nearest | right | cosine_similarity broadcast, list
def nearest(queries, bank, k):
    return [F.cosine_similarity(q[None], bank).argsort(descending=True)[:k] for q in queries]


# %% nearest | wrong | skips the nearest itself
def nearest(queries, bank, k):
    return torch.cdist(F.normalize(queries), F.normalize(bank)).argsort(1)[:, 1 : k + 1]


# %% decide | right | numpy
def decide(values, weight, bias):
    v = values.numpy()
    v = v / np.sqrt((v**2).sum(1, keepdims=True))
    return np.argmax(v @ weight.numpy().T + bias.numpy(), axis=1)


# %% decide | wrong | subtracts the bias
def decide(values, weight, bias):
    return (F.normalize(values) @ weight.T - bias).argmax(1)


# %% decide | wrong | smallest
def decide(values, weight, bias):
    return (F.normalize(values) @ weight.T + bias).argmin(1)


# %% mean_class_accuracy | right | numpy confusion
def mean_class_accuracy(truth, predicted):
    m = confusion_matrix(truth, predicted)
    s = m.sum(1)
    return (m.diagonal()[s > 0] / s[s > 0]).mean()


# %% choose_C | right | numpy array_split, permuted, lists
def choose_C(score, train, test, choices, folds=5):
    rng = np.random.default_rng(0)
    parts = np.array_split(rng.permutation(train.numpy()), folds)
    result = {}
    for C in sorted(choices):
        result[C] = np.mean([score(np.concatenate(parts[:i] + parts[i + 1 :]), parts[i], C) for i in range(folds)])
    return max(result, key=result.get)


# %% choose_C | right | python lists, keyword
def choose_C(score, train, test, choices, folds=5):
    rows = train.tolist()
    best_C, best = None, -float("inf")
    for C in sorted(choices):
        total = 0.0
        for f in range(folds):
            held = rows[f::folds]
            fit = [r for r in rows if r not in held]
            total += score(fit_rows=fit, held_rows=held, C=C)
        if total / folds > best:
            best_C, best = C, total / folds
    return best_C


# %% choose_C | wrong | chunk
def choose_C(score, train, test, choices, folds=5):
    parts = train.chunk(folds)
    mean = {}
    for C in sorted(choices):
        mean[C] = sum(score(torch.cat(parts[:i] + parts[i + 1 :]), parts[i], C) for i in range(len(parts))) / len(parts)
    return max(mean, key=mean.get)


# %% choose_C | wrong | positions not row numbers
def choose_C(score, train, test, choices, folds=5):
    part = torch.arange(len(train)) % folds
    rows = torch.arange(len(train))
    m = {C: sum(score(rows[part != i], rows[part == i], C) for i in range(folds)) for C in sorted(choices)}
    return max(m, key=m.get)


# %% choose_C | wrong | fit and held swapped
def choose_C(score, train, test, choices, folds=5):
    part = torch.arange(len(train)) % folds
    m = {C: sum(score(train[part == i], train[part != i], C) for i in range(folds)) for C in sorted(choices)}
    return max(m, key=m.get)


# %% choose_C | wrong | first of equals
def choose_C(score, train, test, choices, folds=5):
    part = torch.arange(len(train)) % folds
    m = {C: sum(score(train[part != i], train[part == i], C) for i in range(folds)) for C in choices}
    return max(m, key=m.get)


# %% choose_C | wrong | last of equals >=
def choose_C(score, train, test, choices, folds=5):
    part = torch.arange(len(train)) % folds
    best, bm = None, 0
    for C in choices:
        m = sum(score(train[part != i], train[part == i], C) for i in range(folds)) / folds
        if m >= bm:
            best, bm = C, m
    return best


# %% choose_C | wrong | leave-one-out, folds ignored
def choose_C(score, train, test, choices, folds=5):
    m = {C: sum(score(train[train != r], r[None], C) for r in train) for C in sorted(choices)}
    return max(m, key=m.get)


# %% most_confused | right | numpy, mode of rows
def most_confused(truth, predicted):
    a = np.stack([truth, predicted], 1)
    a = a[a[:, 0] != a[:, 1]]
    u, c = np.unique(a, axis=0, return_counts=True)
    return tuple(u[c.argmax()])


# %% most_confused | wrong | mode of each separately
def most_confused(truth, predicted):
    w = truth != predicted
    return int(truth[w].mode().values), int(predicted[w].mode().values)


# %% most_confused | wrong | first mistake
def most_confused(truth, predicted):
    w = truth != predicted
    return int(truth[w][0]), int(predicted[w][0])


# %% most_confused | wrong | mode of truth then mode of its predictions
def most_confused(truth, predicted):
    w = truth != predicted
    t = truth[w].mode().values
    return int(t), int(predicted[w][truth[w] == t].mode().values)


# %% preprocess | right | ImageOps.fit on a widened box, NumPy float64
def preprocess(picture, size=224, crop=0.875):
    w, h = picture.size
    short = size / crop
    new = (round(short * w / min(w, h)), round(short * h / min(w, h)))
    a = np.asarray(picture.resize(new, Image.Resampling.BICUBIC), dtype=np.float64)
    r, c = (a.shape[0] - size) // 2, (a.shape[1] - size) // 2
    a = np.moveaxis(a[r : r + size, c : c + size], -1, 0)[np.newaxis]
    return torch.tensor((a - 127) / 128)


# %% preprocess | right | resize with a box, helper, typed
def _middle(n: int, size: int) -> slice:
    start = (n - size) // 2
    return slice(start, start + size)


def preprocess(picture: Image.Image, size: int = 224, crop: float = 0.875) -> torch.Tensor:
    width, height = picture.size
    factor = (size / crop) / min(width, height)
    big = picture.copy().resize((int(width * factor + 0.5), int(height * factor + 0.5)), resample=3)
    tensor = torch.from_numpy(np.array(big, dtype="float32")).permute(2, 0, 1)
    tensor = tensor[:, _middle(tensor.shape[1], size), _middle(tensor.shape[2], size)]
    tensor -= 127
    tensor /= 128
    return tensor.unsqueeze(0)


# %% preprocess | right | torchvision Normalize with 0-1 numbers
def preprocess(picture, size=224, crop=0.875):
    from torchvision import transforms as T

    steps = [T.Resize(round(size / crop), T.InterpolationMode.BICUBIC), T.CenterCrop(size), T.ToTensor()]
    return T.Normalize([127 / 255] * 3, [128 / 255] * 3)(T.Compose(steps)(picture)).unsqueeze(0)


# %% preprocess | right | a stack of bands, a branch on orientation
def preprocess(picture, size=224, crop=0.875):
    w, h = picture.size
    s = round(size / crop)
    if w <= h:
        new = s, round(h * s / w)
    else:
        new = round(w * s / h), s
    left, top = (new[0] - size) // 2, (new[1] - size) // 2
    p = picture.resize(new, Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    bands = [torch.from_numpy(np.array(b)).float() for b in p.split()]
    return (torch.stack(bands)[None] - 127) / 128


# %% preprocess | wrong | interpolate without antialias
def preprocess(picture, size=224, crop=0.875):
    x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    h, w = x.shape[-2:]
    s = size / crop / min(h, w)
    x = F.interpolate(x, size=(round(h * s), round(w * s)), mode="bicubic").clamp(0, 255)
    h, w = x.shape[-2:]
    top, left = (h - size) // 2, (w - size) // 2
    return (x[..., top : top + size, left : left + size] - 127) / 128


# %% nearest | right | queries not scaled, which changes no order
def nearest(queries, bank, k):
    return torch.argsort(queries @ (bank / bank.norm(dim=1, keepdim=True)).T, dim=1, descending=True)[:, :k]


# %% nearest | right | scikit-learn, cosine
def nearest(queries, bank, k):
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=k, metric="cosine").fit(bank.numpy()).kneighbors(queries, return_distance=False)


# %% nearest | right | NumPy, in place on copies
def nearest(queries, bank, k):
    q, b = queries.numpy().copy(), bank.numpy().copy()
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    distances = ((q[:, None] - b[None]) ** 2).sum(-1)
    return torch.from_numpy(distances.argsort(1)[:, :k].copy())


# %% nearest | right | a search that takes the best away, k times
def nearest(queries, bank, k):
    def one(query, left):
        if len(left) == len(bank) - k:
            return []
        best = max(left, key=lambda j: float(query @ unit[j]))
        return [best, *one(query, left - {best})]

    unit = torch.stack([row / row.pow(2).sum().sqrt() for row in bank])
    return torch.tensor([one(query, frozenset(range(len(bank)))) for query in queries], dtype=torch.int32)


# %% nearest | right | angles in double
def nearest(queries: torch.Tensor, bank: torch.Tensor, k: int) -> torch.Tensor:
    q, b = F.normalize(queries.double(), dim=-1), F.normalize(bank.double(), dim=-1)
    return torch.einsum("qd,nd->qn", q, b).clamp(-1, 1).acos().sort(dim=1).indices[:, :k]


# %% decide | right | einsum, double, softmax before the argmax
def decide(values, weight, bias):
    v = values.double() / values.double().pow(2).sum(-1, keepdim=True).sqrt()
    return (torch.einsum("nd,kd->nk", v, weight.double()) + bias).softmax(-1).argmax(-1)


# %% decide | right | bias as one more weight, a column of one row
def decide(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    unit = torch.cat([F.normalize(values), torch.ones(len(values), 1)], 1)
    return (unit @ torch.cat([weight, bias[:, None]], 1).T).sort(dim=1, descending=True).indices[:, 0]


# %% decide | right | the scores times the length: bias times the length
def decide(values, weight, bias):
    return (values @ weight.T + values.norm(dim=1, keepdim=True) * bias).argmax(1)


# %% decide | right | LinearHead
def decide(values, weight, bias):
    return linear.LinearHead(weight, bias, 1.0, "svm").predict(values)


# %% decide | right | list of NumPy ints
def decide(values, weight, bias):
    return [np.argmax(weight.numpy() @ (v / np.linalg.norm(v)) + bias.numpy()) for v in values.numpy()]


# %% mean_class_accuracy | right | balanced_accuracy_score
def mean_class_accuracy(truth, predicted):
    return balanced_accuracy_score(truth.numpy(), predicted.numpy())


# %% mean_class_accuracy | right | weights an image, np.float64
def mean_class_accuracy(truth, predicted):
    classes, where, counts = torch.unique(truth, return_inverse=True, return_counts=True)
    weight = 1 / counts.double()[where]
    return np.float64(((truth == predicted) * weight).sum() / len(classes))


# %% mean_class_accuracy | right | fractions
def mean_class_accuracy(truth, predicted):
    from collections import Counter
    from fractions import Fraction

    n, hits = Counter(truth.tolist()), Counter(t for t, p in zip(truth.tolist(), predicted.tolist()) if t == p)
    return float(sum(Fraction(hits[c], n[c]) for c in n) / len(n))


# %% mean_class_accuracy | right | bincount
def mean_class_accuracy(truth: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    n = truth.bincount()
    hits = truth[truth == predicted].bincount(minlength=len(n))
    return (hits[n > 0] / n[n > 0]).mean()


# %% mean_class_accuracy | right | recursion over the classes
def mean_class_accuracy(truth, predicted):
    def total(classes):
        if not classes:
            return 0.0
        mask = truth == classes[0]
        return (predicted[mask] == classes[0]).double().mean().item() + total(classes[1:])

    classes = sorted(set(truth.tolist()))
    return total(classes) / len(classes)


# %% choose_C | right | a generator of folds, named tuple inside, running best
def choose_C(score, train, test, choices, folds=5):
    from typing import NamedTuple

    class Best(NamedTuple):
        C: float
        mean: float

    def pieces():
        edges = [round(i * len(train) / folds) for i in range(folds + 1)]
        for a, b in zip(edges, edges[1:]):
            yield torch.cat([train[:a], train[b:]]), train[a:b]

    best = Best(max(choices), -1.0)
    for C in sorted(choices, reverse=True):
        mean = float(np.mean([score(fit, held, C) for fit, held in pieces()]))
        if mean >= best.mean:
            best = Best(C, mean)
    return best.C


# %% choose_C | right | random folds of its own, new ones for each C
def choose_C(score, train, test, choices, folds=5):
    results = []
    for C in choices:
        order = train[torch.randperm(len(train))]
        total = 0
        for i in range(folds):
            mask = torch.zeros(len(train), dtype=torch.bool)
            mask[i::folds] = True
            total += score(order[~mask], order[mask], C=C)
        results.append((-total / folds, C))
    return min(results)[1]


# %% choose_C | right | table with NumPy, tuples given to score
def choose_C(score, train, test, choices, folds=5):
    rows = np.asarray(train)
    table = np.zeros((folds, len(choices)))
    for i, held in enumerate(np.array_split(rows, folds)):
        fit = np.setdiff1d(rows, held)
        for j, C in enumerate(choices):
            table[i, j] = score(tuple(fit.tolist()), tuple(held.tolist()), C)
    means = table.mean(0)
    return min(C for C, m in zip(choices, means) if np.isclose(m, means.max()))


# %% choose_C | right | the last part takes the rest, np.float64
def choose_C(score, train, test, choices, folds=5):
    n = len(train) // folds
    cuts = [(i * n, (i + 1) * n if i < folds - 1 else len(train)) for i in range(folds)]
    order = np.sort(np.array(choices, dtype=float))
    means = [np.mean([score(torch.cat((train[:a], train[b:])), train[a:b], C) for a, b in cuts]) for C in order]
    return order[int(np.argmax(means))]


# %% choose_C | wrong | an empty part: the parts are rounded up
def choose_C(score, train, test, choices, folds=5):
    n = -(-len(train) // folds)
    means = {}
    for C in sorted(choices):
        found = []
        for i in range(folds):
            held = train[i * n : (i + 1) * n]
            found.append(score(torch.cat([train[: i * n], train[(i + 1) * n :]]), held, C))
        means[C] = sum(found) / folds
    return max(means, key=means.get)


# %% choose_C | wrong | the worst fold counts
def choose_C(score, train, test, choices, folds=5):
    part = torch.arange(len(train)) % folds
    m = {C: min(score(train[part != i], train[part == i], C) for i in range(folds)) for C in sorted(choices)}
    return max(m, key=m.get)


# %% choose_C | wrong | the parts of the folds: rows wherever part is i, of the numbers themselves
def choose_C(score, train, test, choices, folds=5):
    m = {C: sum(score(train[train % folds != i], train[train % folds == i], C) for i in range(folds)) for C in choices}
    return min(m, key=lambda C: (-m[C], C))


# %% choose_C | wrong | the median over the folds
def choose_C(score, train, test, choices, folds=5):
    part = torch.arange(len(train)) % folds
    m = {C: np.median([score(train[part != i], train[part == i], C) for i in range(folds)]) for C in sorted(choices)}
    return max(m, key=m.get)


# %% most_confused | right | Counter of Python pairs
def most_confused(truth, predicted):
    from collections import Counter

    pairs = Counter((t, p) for t, p in zip(truth.tolist(), predicted.tolist()) if t != p)
    (pair, _), *_ = pairs.most_common(1)
    return pair


# %% most_confused | right | one number a pair
def most_confused(truth, predicted):
    base = int(torch.maximum(truth.max(), predicted.max())) + 1
    code = (truth * base + predicted)[truth != predicted]
    return divmod(int(code.bincount().argmax()), base)


# %% most_confused | right | pandas, NumPy ints
def most_confused(truth: torch.Tensor, predicted: torch.Tensor) -> tuple:
    import pandas as pd

    frame = pd.DataFrame({"t": truth.numpy(), "p": predicted.numpy()}).query("t != p")
    return frame.value_counts().idxmax()


# %% most_confused | right | named tuple of 0-d tensors
def most_confused(truth, predicted):
    from collections import namedtuple

    pair = namedtuple("pair", "true predicted")
    n = int(torch.cat([truth, predicted]).max()) + 1
    m = torch.zeros(n, n)
    m.index_put_((truth, predicted), torch.ones(len(truth)), accumulate=True)
    m.fill_diagonal_(0)
    return pair(*torch.unravel_index(m.argmax(), m.shape))


# %% most_confused | right | double loop, early continue
def most_confused(truth, predicted):
    best, most = None, 0
    for a in truth.unique():
        for b in predicted.unique():
            if a == b:
                continue
            n = int(((truth == a) & (predicted == b)).sum())
            if n > most:
                best, most = (a.item(), b.item()), n
    return best
