# %% squared_distances | right | torch.cdist
def squared_distances(x, y):
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist") ** 2


# %% squared_distances | right | the square of a difference, multiplied out
def squared_distances(x, y):
    return (x**2).sum(1, keepdim=True) + (y**2).sum(1) - 2 * x @ y.T


# %% squared_distances | right | two loops
def squared_distances(x, y):
    return torch.tensor([[float(((a - b) ** 2).sum()) for b in y] for a in x])


# %% squared_distances | wrong | not squared
def squared_distances(x, y):
    return torch.cdist(x, y)


# %% squared_distances | wrong | absolute values
def squared_distances(x, y):
    return (x[:, None] - y[None]).abs().sum(2)


# %% squared_distances | wrong | transposed
def squared_distances(x, y):
    return torch.cdist(y, x) ** 2


# %% squared_distances | wrong | mean in place of the sum
def squared_distances(x, y):
    return (x[:, None] - y[None]).square().mean(2)


# %% squared_distances | wrong | plus in place of minus in the product
def squared_distances(x, y):
    return (x**2).sum(1, keepdim=True) + (y**2).sum(1) + 2 * x @ y.T


# %% squared_distances | wrong | only equal rows
def squared_distances(x, y):
    n = min(len(x), len(y))
    return (x[:n] - y[:n]).square().sum(1)


# %% explained | right | eigenvalues of the covariance
def explained(x, k):
    values = torch.linalg.eigvalsh(torch.cov(x.T)).flip(0)
    return values[:k].sum() / values.sum()


# %% explained | right | scikit-learn
def explained(x, k):
    from sklearn.decomposition import PCA

    return float(PCA(k).fit(x.numpy()).explained_variance_ratio_.sum())


# %% explained | wrong | not centred
def explained(x, k):
    variances = torch.linalg.svdvals(x).square()
    return float(variances[:k].sum() / variances.sum())


# %% explained | wrong | singular values, not squared
def explained(x, k):
    values = torch.linalg.svdvals(x - x.mean(0))
    return float(values[:k].sum() / values.sum())


# %% explained | wrong | only the k-th
def explained(x, k):
    variances = torch.linalg.svdvals(x - x.mean(0)).square()
    return float(variances[k - 1] / variances.sum())


# %% explained | wrong | the columns with the largest variance
def explained(x, k):
    variances = x.var(0).sort(descending=True).values
    return float(variances[:k].sum() / variances.sum())


# %% explained | wrong | the mean of each row taken away
def explained(x, k):
    variances = torch.linalg.svdvals(x - x.mean(1, keepdim=True)).square()
    return float(variances[:k].sum() / variances.sum())


# %% explained | wrong | the sum, not the share
def explained(x, k):
    return float(torch.linalg.svdvals(x - x.mean(0)).square()[:k].sum())


# %% conditional | right | softmax
def conditional(x, i, sigma):
    logits = -(torch.cdist(x[i : i + 1], x)[0] ** 2) / (2 * sigma**2)
    logits[i] = -math.inf
    return logits.softmax(0)


# %% conditional | right | a loop
def conditional(x, i, sigma):
    p = torch.zeros(len(x))
    for j in range(len(x)):
        if j != i:
            p[j] = math.exp(-float(((x[i] - x[j]) ** 2).sum()) / (2 * sigma**2))
    return p / p.sum()


# %% conditional | wrong | the point itself included
def conditional(x, i, sigma):
    return (-(x - x[i]).square().sum(1) / (2 * sigma**2)).softmax(0)


# %% conditional | wrong | distance not squared
def conditional(x, i, sigma):
    weights = torch.exp(-(x - x[i]).norm(dim=1) / (2 * sigma**2))
    weights[i] = 0
    return weights / weights.sum()


# %% conditional | wrong | sigma not squared
def conditional(x, i, sigma):
    weights = torch.exp(-(x - x[i]).square().sum(1) / (2 * sigma))
    weights[i] = 0
    return weights / weights.sum()


# %% conditional | wrong | without the 2
def conditional(x, i, sigma):
    weights = torch.exp(-(x - x[i]).square().sum(1) / sigma**2)
    weights[i] = 0
    return weights / weights.sum()


# %% conditional | wrong | doesn't sum to 1
def conditional(x, i, sigma):
    weights = torch.exp(-(x - x[i]).square().sum(1) / (2 * sigma**2))
    weights[i] = 0
    return weights


# %% conditional | wrong | set to 0 after the division
def conditional(x, i, sigma):
    p = (-(x - x[i]).square().sum(1) / (2 * sigma**2)).softmax(0)
    p[i] = 0
    return p


# %% conditional | wrong | N - 1 numbers
def conditional(x, i, sigma):
    others = torch.cat([x[:i], x[i + 1 :]])
    return (-(others - x[i]).square().sum(1) / (2 * sigma**2)).softmax(0)


# %% perplexity | right | natural logarithm and exp
def perplexity(p):
    return torch.special.entr(p).sum().exp()


# %% perplexity | right | a loop
def perplexity(p):
    bits = 0.0
    for value in p.tolist():
        if value > 0:
            bits -= value * math.log2(value)
    return 2**bits


# %% perplexity | wrong | the entropy
def perplexity(p):
    some = p[p > 0]
    return float(-(some * some.log2()).sum())


# %% perplexity | wrong | NaN at zeros
def perplexity(p):
    return float(2 ** -(p * p.log2()).sum())


# %% perplexity | wrong | natural logarithm with base 2
def perplexity(p):
    some = p[p > 0]
    return float(2 ** -(some * some.log()).sum())


# %% perplexity | wrong | counts the neighbours
def perplexity(p):
    return int((p > 0).sum())


# %% perplexity | wrong | one over the sum of squares
def perplexity(p):
    return float(1 / p.square().sum())


# %% perplexity | wrong | sign forgotten
def perplexity(p):
    some = p[p > 0]
    return float(2 ** (some * some.log2()).sum())


# %% kept | right | topk and comparison of all pairs
def kept(high, low, k):
    a, b = (torch.cdist(v, v).fill_diagonal_(math.inf).topk(k, largest=False).indices for v in (high, low))
    return (a[:, :, None] == b[:, None, :]).float().sum((1, 2)).mean() / k


# %% kept | right | tables of neighbours, multiplied
def kept(high, low, k):
    tables = []
    for v in (high, low):
        near = torch.cdist(v, v).fill_diagonal_(math.inf).topk(k, largest=False).indices
        tables.append(torch.zeros(len(v), len(v)).scatter_(1, near, 1.0))
    return float((tables[0] * tables[1]).sum() / (k * len(high)))


# %% kept | wrong | each point counts as its own neighbour
def kept(high, low, k):
    a, b = (torch.cdist(v, v).argsort(1)[:, :k].tolist() for v in (high, low))
    return sum(len(set(i) & set(j)) for i, j in zip(a, b)) / (k * len(high))


# %% kept | wrong | the order must be the same
def kept(high, low, k):
    a, b = (torch.cdist(v, v).fill_diagonal_(math.inf).topk(k, largest=False).indices for v in (high, low))
    return float((a == b).float().mean())


# %% kept | wrong | the number, not the share
def kept(high, low, k):
    a, b = (torch.cdist(v, v).fill_diagonal_(math.inf).argsort(1)[:, :k].tolist() for v in (high, low))
    return sum(len(set(i) & set(j)) for i, j in zip(a, b)) / len(high)


# %% kept | wrong | the share of the union
def kept(high, low, k):
    a, b = (torch.cdist(v, v).fill_diagonal_(math.inf).argsort(1)[:, :k].tolist() for v in (high, low))
    return sum(len(set(i) & set(j)) / len(set(i) | set(j)) for i, j in zip(a, b)) / len(high)


# %% kept | wrong | the farthest points
def kept(high, low, k):
    a, b = (torch.cdist(v, v).argsort(1, descending=True)[:, :k].tolist() for v in (high, low))
    return sum(len(set(i) & set(j)) for i, j in zip(a, b)) / (k * len(high))


# %% kept | wrong | the nearest only
def kept(high, low, k):
    a, b = (torch.cdist(v, v).fill_diagonal_(math.inf).argmin(1) for v in (high, low))
    return float((a == b).float().mean())


# %% claims | right | written another way
claims = dict(zip("abcdefgh", [True, False, False, True, False, False, True, True]))

# %% claims | right | from the true ones
claims = {letter: letter in "adgh" for letter in "hgfedcba"}

# %% claims | wrong | distances of islands believed
claims = {"a": True, "b": False, "c": True, "d": True, "e": False, "f": False, "g": True, "h": True}

# %% claims | wrong | axes taken for PCA's
claims = {"a": True, "b": False, "c": False, "d": True, "e": True, "f": False, "g": True, "h": True}

# %% claims | wrong | islands taken for a proof
claims = {"a": True, "b": False, "c": False, "d": True, "e": False, "f": True, "g": True, "h": True}

# %% claims | wrong | the seed taken for harmless
claims = {"a": True, "b": False, "c": False, "d": False, "e": False, "f": False, "g": True, "h": True}

# %% claims | wrong | the map taken for the space of codes
claims = {"a": True, "b": False, "c": False, "d": True, "e": False, "f": False, "g": False, "h": True}

# %% claims | wrong | all false
claims = dict.fromkeys("abcdefgh", False)

# %% claims | wrong | texts
claims = {letter: str(letter in "adgh") for letter in "abcdefgh"}

# %% claims | wrong | a letter is missing
claims = {"a": True, "b": False, "c": False, "d": True, "e": False, "f": False, "g": True}


# %% suspects | right | a loop
def suspects(values, labels, k, n):
    shares = []
    for i in range(len(values)):
        order = [j for j in (values - values[i]).norm(dim=1).argsort().tolist() if j != i][:k]
        shares.append(sum(int(labels[j] != labels[i]) for j in order) / k)
    return sorted(range(len(values)), key=lambda i: -shares[i])[:n]


# %% suspects | right | the fewest friends, a tensor
def suspects(values, labels, k, n):
    friends = (labels[embedding.neighbours(values, k)] == labels[:, None]).sum(1)
    return friends.topk(n, largest=False).indices


# %% suspects | wrong | the image itself among its neighbours
def suspects(values, labels, k, n):
    near = torch.cdist(values, values).topk(k, largest=False).indices
    return (labels[near] != labels[:, None]).float().mean(1).argsort(descending=True, stable=True)[:n].tolist()


# %% suspects | wrong | the least suspicious
def suspects(values, labels, k, n):
    share = (labels[embedding.neighbours(values, k)] != labels[:, None]).float().mean(1)
    return share.argsort(stable=True)[:n].tolist()


# %% suspects | wrong | shares, not indices
def suspects(values, labels, k, n):
    share = (labels[embedding.neighbours(values, k)] != labels[:, None]).float().mean(1)
    return share.sort(descending=True).values[:n]


# %% suspects | wrong | the vote only, not the share
def suspects(values, labels, k, n):
    votes = F.one_hot(labels[embedding.neighbours(values, k)]).sum(1).argmax(1)
    return torch.nonzero(votes != labels).flatten()[:n].tolist()


# %% suspects | wrong | the farthest images
def suspects(values, labels, k, n):
    near = torch.cdist(values, values).topk(k).indices
    return (labels[near] != labels[:, None]).float().mean(1).argsort(descending=True, stable=True)[:n].tolist()


# %% suspects | wrong | the nearest neighbour only
def suspects(values, labels, k, n):
    near = embedding.neighbours(values, 1)[:, 0]
    return torch.nonzero(labels[near] != labels).flatten()[:n].tolist()


# %% suspects | wrong | strange images in place of wrong labels
def suspects(values, labels, k, n):
    distances = torch.cdist(values, values).sort(1).values[:, 1 : k + 1].mean(1)
    return distances.argsort(descending=True)[:n].tolist()


# %% explained | right | eigvals, sorted
def explained(x, k):
    xc = x - x.mean(0)
    w = torch.linalg.eigvals(xc.T @ xc / (len(x) - 1)).real.sort(descending=True).values
    return w[:k].sum() / w.sum()


# %% conditional | right | delete and insert
def conditional(x, i, sigma):
    d = torch.sum((x - x[i]) ** 2, 1)
    rest = torch.cat([d[:i], d[i + 1 :]])
    p = torch.softmax(-rest / 2 / sigma**2, 0)
    return torch.cat([p[:i], torch.zeros(1), p[i:]])


# %% kept | right | KDTree
from scipy.spatial import cKDTree


def kept(high, low, k):
    n = len(high)
    _, a = cKDTree(high).query(high, k + 1)
    _, b = cKDTree(low).query(low, k + 1)
    return sum(len((set(a[i]) & set(b[i])) - {i}) for i in range(n)) / (n * k)


# %% claims | right | numpy bools
claims = {k: np.bool_(v) for k, v in zip("abcdefgh", [1, 0, 0, 1, 0, 0, 1, 1])}


# %% suspects | right | heapq
import heapq


def suspects(values: torch.Tensor, labels: torch.Tensor, k: int, n: int) -> list[int]:
    share = {}
    for i, v in enumerate(values):
        d = [(float((v - w).norm()), j) for j, w in enumerate(values) if j != i]
        share[i] = sum(labels[j].item() != labels[i].item() for _, j in heapq.nsmallest(k, d)) / k
    return heapq.nlargest(n, share, key=share.get)


# %% explained | wrong | eigvalsh ascending not flipped
def explained(x, k):
    w = torch.linalg.eigvalsh(torch.cov(x.T))
    return float(w[:k].sum() / w.sum())


# %% explained | wrong | np.linalg.eig not sorted
def explained(x, k):
    w, _ = np.linalg.eig(np.cov(x.numpy().T))
    return float(w[:k].sum() / w.sum())


# %% explained | wrong | global mean taken away
def explained(x, k):
    v = torch.linalg.svdvals(x - x.mean()).square()
    return float(v[:k].sum() / v.sum())


# %% conditional | wrong | precedence / 2 * sigma**2
def conditional(x, i, sigma):
    w = torch.exp(-(x - x[i]).square().sum(1) / 2 * sigma**2)
    w[i] = 0
    return w / w.sum()


# %% conditional | wrong | all duplicates zeroed (w==1)
def conditional(x, i, sigma):
    w = torch.exp(-(x - x[i]).square().sum(1) / (2 * sigma**2))
    w[w == 1] = 0
    return w / w.sum()


# %% conditional | wrong | only first column
def conditional(x, i, sigma):
    w = torch.exp(-(x - x[i])[:, 0].square() / (2 * sigma**2))
    w[i] = 0
    return w / w.sum()


# %% conditional | wrong | ignores sigma
def conditional(x, i, sigma):
    w = torch.exp(-(x - x[i]).square().sum(1) / 2)
    w[i] = 0
    return w / w.sum()


# %% suspects | wrong | ignores n, one
def suspects(values, labels, k, n):
    near = embedding.neighbours(values, k)
    share = (labels[near] != labels[:, None]).float().mean(1)
    return share.nonzero().flatten()[share[share > 0].argsort(descending=True)].tolist()


# %% suspects | wrong | all with the max share
def suspects(values, labels, k, n):
    near = embedding.neighbours(values, k)
    share = (labels[near] != labels[:, None]).float().mean(1)
    return (share == share.max()).nonzero().flatten().tolist()


# %% suspects | wrong | integer sum by label difference
def suspects(values, labels, k, n):
    near = embedding.neighbours(values, k)
    share = (labels[near] - labels[:, None]).abs().float().mean(1)
    return share.argsort(descending=True)[:n].tolist()


# %% kept | wrong | embedding.preservation
def kept(high, low, k):
    return embedding.preservation(high, low, k)


# %% squared_distances | right | SciPy
def squared_distances(x, y):
    from scipy.spatial.distance import cdist

    return cdist(x.numpy(), y.numpy(), "sqeuclidean")


# %% squared_distances | right | einsum of the differences, keywords, typed
def squared_distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    difference = x.unsqueeze(dim=1).sub(y.unsqueeze(dim=0))
    return torch.einsum("nmd,nmd->nm", difference, difference)


# %% squared_distances | right | column by column into its own tensor, float64
def squared_distances(x, y):
    out = torch.zeros(len(x), len(y), dtype=torch.float64)
    for column in range(x.shape[1]):
        out += (x[:, column, None].double() - y[None, :, column].double()) ** 2
    return out


# %% squared_distances | right | scikit-learn
def squared_distances(x, y):
    from sklearn.metrics import pairwise_distances

    return torch.from_numpy(pairwise_distances(x, y, metric="sqeuclidean"))


# %% squared_distances | right | vmap over rows
def squared_distances(x, y):
    return torch.stack([torch.vmap(lambda b: torch.dot(a - b, a - b))(y) for a in x])


# %% explained | right | trace in place of the sum, float64
def explained(x, k):
    centred = x.double() - x.double().mean(dim=0, keepdim=True)
    scatter = centred.T @ centred
    return torch.linalg.eigvalsh(scatter)[-k:].sum() / torch.trace(scatter)


# %% explained | right | projections
def explained(x, k):
    centred = (x - x.mean(0)).numpy()
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return np.var(centred @ axes[:k].T, axis=0).sum() / np.var(centred, axis=0).sum()


# %% explained | right | one minus what is left over
def explained(x: torch.Tensor, k: int) -> float:
    c = x - torch.mean(x, 0)
    u, s, v = torch.linalg.svd(c, full_matrices=False)
    rest = c - u[:, :k] * s[:k] @ v[:k]
    return 1.0 - (rest.norm() ** 2 / c.norm() ** 2).item()


# %% explained | right | scikit-learn, all components, cumulated
def explained(x, k):
    from sklearn.decomposition import PCA

    return np.cumsum(PCA(svd_solver="full").fit(x).explained_variance_ratio_)[k - 1]


# %% explained | right | power iteration and deflation
def explained(x, k):
    c = torch.cov(x.double().T)
    total, found = c.trace(), 0.0
    for _ in range(k):
        v = torch.ones(len(c), dtype=torch.float64) + torch.arange(len(c)) / 7
        for _ in range(3000):
            v = F.normalize(c @ v, dim=0)
        value = v @ c @ v
        found, c = found + value, c - value * torch.outer(v, v)
    return found / total


# %% explained | wrong | pca_lowrank looks at six directions only
def explained(x, k):
    torch.manual_seed(0)
    _, s, _ = torch.pca_lowrank(x)
    return float(s[:k].square().sum() / s.square().sum())


# %% conditional | right | log-sum-exp, NumPy out
def conditional(x, i, sigma):
    from scipy.special import logsumexp

    a = x.double().numpy()
    logits = -((a - a[i]) ** 2).sum(1) / (2 * sigma**2)
    logits[i] = -np.inf
    return np.exp(logits - logsumexp(logits))


# %% conditional | right | a mask in place of an assignment
def conditional(x: torch.Tensor, i: int, sigma: float) -> torch.Tensor:
    others = torch.arange(len(x)) != i
    weights = torch.exp(-0.5 * ((x - x[i]) / sigma).pow(2).sum(-1)) * others
    return torch.div(weights, weights.sum())


# %% conditional | right | SciPy's normal density, product over the columns
def conditional(x, i, sigma):
    from scipy.stats import norm

    d = np.prod(norm.pdf(x.double().numpy(), loc=x[i].double().numpy(), scale=sigma), axis=1)
    d[i] = 0
    return torch.tensor(d / d.sum())


# %% conditional | right | a Python list
def conditional(x, i, sigma):
    w = [
        0.0 if j == i else math.exp(-(math.dist(a, x[i].tolist()) ** 2) / 2 / sigma / sigma)
        for j, a in enumerate(x.tolist())
    ]
    total = math.fsum(w)
    return [v / total for v in w]


# %% perplexity | right | SciPy's entropy
def perplexity(p):
    from scipy.stats import entropy

    return 2 ** entropy(p.numpy(), base=2)


# %% perplexity | right | a product of powers
def perplexity(p: torch.Tensor) -> torch.Tensor:
    return 1 / torch.prod(p.double() ** p.double())


# %% perplexity | right | xlogy
def perplexity(p):
    return torch.exp(-torch.xlogy(p, p).sum())


# %% perplexity | right | nan_to_num, np.float32
def perplexity(p):
    return np.float32(2.0 ** float((-p * torch.log2(p)).nan_to_num(nan=0.0).sum()))


# %% perplexity | right | recursion
def perplexity(p):
    def bits(rest):
        return 0.0 if not rest else bits(rest[1:]) - (rest[0] * math.log(rest[0], 2) if rest[0] else 0.0)

    return math.pow(2, bits(p.tolist()))


# %% kept | right | NumPy argpartition, np.isin
def kept(high, low, k):
    def near(points):
        p = points.double().numpy()
        d = ((p[:, None] - p[None]) ** 2).sum(-1)
        np.fill_diagonal(d, np.inf)
        return np.argpartition(d, k - 1, axis=1)[:, :k]

    return np.mean([np.isin(a, b).mean() for a, b in zip(near(high), near(low))])


# %% kept | right | embedding.neighbours and sets
def kept(high, low, k):
    pairs = zip(embedding.neighbours(high, k).tolist(), embedding.neighbours(low, k).tolist())
    shares = [len({*a} & {*b}) / k for a, b in pairs]
    return torch.tensor(shares).mean()


# %% kept | right | a helper of one's own called preservation
def preservation(a, b):
    return (a[:, :, None] == b[:, None]).any(2).double().mean().item()


def kept(high, low, k):
    near = lambda v: torch.cdist(v, v).fill_diagonal_(math.inf).argsort()[:, :k]
    return preservation(near(high), near(low))


# %% kept | right | a method called preservation in a class of one's own
class Score:
    def __init__(self, k):
        self.k = k

    def near(self, v):
        return torch.cdist(v, v).fill_diagonal_(math.inf).argsort()[:, : self.k].tolist()

    def preservation(self, high, low):
        return sum(len(set(a) & set(b)) for a, b in zip(self.near(high), self.near(low))) / self.k / len(high)


def kept(high, low, k):
    return Score(k).preservation(high, low)


# %% kept | right | scikit-learn's NearestNeighbors
def kept(high, low, k):
    from sklearn.neighbors import NearestNeighbors

    tables = [NearestNeighbors(n_neighbors=k).fit(v.numpy()).kneighbors_graph().toarray() for v in (high, low)]
    return (tables[0] * tables[1]).sum() / (k * len(high))


# %% kept | right | point by point, sorted
def kept(high: torch.Tensor, low: torch.Tensor, k: int) -> float:
    total, n = 0, len(high)
    for i in range(n):
        a, b = (sorted((float((v[i] - v[j]).norm()), j) for j in range(n) if j != i)[:k] for v in (high, low))
        total += len({j for _, j in a}.intersection(j for _, j in b))
    return total / n / k


# %% kept | wrong | the nearest of high among the k of low [2.36 of 3 today, by a coincidence]
def kept(high, low, k):
    a, b = (torch.cdist(v, v).fill_diagonal_(math.inf).argsort(1).tolist() for v in (high, low))
    return sum(i[0] in j[:k] for i, j in zip(a, b)) / len(high)


# %% claims | right | comparisons
claims = {letter: letter not in {"b", "c", "e", "f"} for letter in list("abcdefgh")}


# %% claims | right | torch bools as Python ones
claims = {k: v for k, v in zip("abcdefgh", torch.tensor([1, 0, 0, 1, 0, 0, 1, 1]).bool().tolist())}


# %% claims | right | built step by step
claims = dict(a=True, b=False)
claims.update(c=False, d=True, e=False, f=False)
claims |= {"g": True, "h": True}


# %% suspects | right | NumPy, lexsort, int array
def suspects(values, labels, k, n):
    v, own = values.double().numpy(), labels.numpy()
    d = np.sqrt(((v[:, None] - v[None]) ** 2).sum(-1))
    np.fill_diagonal(d, np.inf)
    share = (own[d.argsort(1)[:, :k]] != own[:, None]).mean(1)
    return np.lexsort((np.arange(len(own)), -share))[:n]


# %% suspects | right | sorted, without the first
def suspects(values, labels, k, n):
    order = torch.cdist(values, values).sort(dim=1).indices[:, 1 : k + 1]
    other = labels[order].ne(labels.unsqueeze(1)).sum(dim=1)
    return torch.topk(other, n).indices


# %% suspects | right | scikit-learn's neighbours
def suspects(values, labels, k, n):
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=k).fit(values.numpy()).kneighbors(return_distance=False)
    share = (labels.numpy()[near] != labels.numpy()[:, None]).mean(axis=1)
    return set(np.argsort(-share, kind="stable")[:n].tolist())


# %% suspects | right | recursion: the worst, then the worst of the rest
def suspects(values: torch.Tensor, labels: torch.Tensor, k: int, n: int) -> list:
    def share(i):
        d = (values - values[i]).pow(2).sum(1)
        d[i] = float("inf")
        return (labels[d.argsort()[:k]] != labels[i]).double().mean().item()

    def worst(left, n):
        if n == 0:
            return []
        i = max(left, key=left.get)
        return [i] + worst({j: s for j, s in left.items() if j != i}, n - 1)

    return worst({i: share(i) for i in range(len(labels))}, n)


# %% suspects | right | friends in a table
def suspects(values, labels, k, n):
    near = torch.cdist(values, values).fill_diagonal_(math.inf).topk(k, largest=False).indices
    table = torch.zeros(len(values), len(values)).scatter_(1, near, 1)
    friends = (table * (labels[:, None] == labels)).sum(1)
    return torch.as_tensor(friends.argsort(stable=True)[:n], dtype=torch.int32)


# %% suspects | wrong | first column only
def suspects(values, labels, k, n):
    near = embedding.neighbours(values[:, :1], k)
    return (labels[near] != labels[:, None]).float().mean(1).argsort(descending=True, stable=True)[:n].tolist()
