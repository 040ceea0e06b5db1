# %% colour_share | right | variance over the channels
def colour_share(filters):
    colour = filters.var(dim=1, correction=0).sum(dim=(1, 2)) * 3
    total = (filters**2).sum(dim=(1, 2, 3))
    return torch.where(total > 0, colour / total.clamp_min(1e-30), torch.zeros_like(total))


# %% colour_share | right | a loop
def colour_share(filters):
    shares = []
    for one in filters:
        total = one.square().sum()
        gray = one.mean(0).square().sum() * 3
        shares.append(1 - gray / total if total > 0 else torch.tensor(0.0))
    return torch.stack(shares)


# %% colour_share | wrong | the gray part is counted once, not in three channels
def colour_share(filters):
    total = filters.square().sum(dim=(1, 2, 3)).clamp_min(1e-12)
    return (1 - filters.mean(dim=1).square().sum(dim=(1, 2)) / total) * (total > 1e-12)


# %% colour_share | wrong | takes the root
def colour_share(filters):
    rest = filters - filters.mean(dim=1, keepdim=True)
    return rest.flatten(1).norm(dim=1) / filters.flatten(1).norm(dim=1).clamp_min(1e-12)


# %% colour_share | wrong | divides zero by zero
def colour_share(filters):
    rest = filters - filters.mean(dim=1, keepdim=True)
    return rest.square().sum(dim=(1, 2, 3)) / filters.square().sum(dim=(1, 2, 3))


# %% colour_share | wrong | takes the mean of the whole filter away
def colour_share(filters):
    rest = filters - filters.mean(dim=(1, 2, 3), keepdim=True)
    return rest.square().sum(dim=(1, 2, 3)) / filters.square().sum(dim=(1, 2, 3)).clamp_min(1e-12)


# %% colour_share | wrong | one number for all filters
def colour_share(filters):
    rest = filters - filters.mean(dim=1, keepdim=True)
    return rest.square().sum() / filters.square().sum().clamp_min(1e-12)


# %% unit_box | right | a helper for one axis
def unit_box(size, jump, start, row, column, side):
    def span(unit):
        first = start + unit * jump
        return max(0, first), min(side, first + size)

    (top, bottom), (left, right) = span(row), span(column)
    return [top, left, bottom, right]


# %% unit_box | right | counts the pixels
def unit_box(size, jump, start, row, column, side):
    rows = [p for p in range(start + row * jump, start + row * jump + size) if 0 <= p < side]
    columns = [p for p in range(start + column * jump, start + column * jump + size) if 0 <= p < side]
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


# %% unit_box | wrong | doesn't cut at the border
def unit_box(size, jump, start, row, column, side):
    top, left = start + row * jump, start + column * jump
    return top, left, top + size, left + size


# %% unit_box | wrong | the last pixel, not one past it
def unit_box(size, jump, start, row, column, side):
    top, left = start + row * jump, start + column * jump
    return max(top, 0), max(left, 0), min(top + size - 1, side), min(left + size - 1, side)


# %% unit_box | wrong | forgets the start
def unit_box(size, jump, start, row, column, side):
    return row * jump, column * jump, min(row * jump + size, side), min(column * jump + size, side)


# %% unit_box | wrong | rows and columns exchanged
def unit_box(size, jump, start, row, column, side):
    top, left = start + row * jump, start + column * jump
    return max(left, 0), max(top, 0), min(left + size, side), min(top + size, side)


# %% unit_box | wrong | cuts at the top and left only
def unit_box(size, jump, start, row, column, side):
    top, left = start + row * jump, start + column * jump
    return max(top, 0), max(left, 0), top + size, left + size


# %% unit_box | wrong | keeps the size after the cut
def unit_box(size, jump, start, row, column, side):
    top, left = max(start + row * jump, 0), max(start + column * jump, 0)
    return top, left, min(top + size, side), min(left + size, side)


# %% strongest_places | right | a loop over the images
def strongest_places(maps, channel, k):
    found = []
    for i in range(len(maps)):
        one = maps[i, channel]
        row, column = divmod(int(one.argmax()), one.shape[1])
        found.append((float(one.max()), i, row, column))
    found.sort(reverse=True)
    return [(i, row, column) for _, i, row, column in found[:k]]


# %% strongest_places | right | numpy
def strongest_places(maps, channel, k):
    values = np.asarray(maps[:, channel])
    order = np.argsort(-values.max((1, 2)))[:k]
    return [(int(i), *map(int, np.unravel_index(values[i].argmax(), values[i].shape))) for i in order]


# %% strongest_places | wrong | many places of one image
def strongest_places(maps, channel, k):
    values = maps[:, channel]
    order = values.flatten().topk(k).indices.tolist()
    return [tuple(int(n) for n in np.unravel_index(i, values.shape)) for i in order]


# %% strongest_places | wrong | the weakest first
def strongest_places(maps, channel, k):
    values, places = maps[:, channel].flatten(1).max(dim=1)
    width = maps.shape[3]
    return [(i, int(places[i]) // width, int(places[i]) % width) for i in values.topk(k).indices.tolist()][::-1]


# %% strongest_places | wrong | divides by the height
def strongest_places(maps, channel, k):
    values, places = maps[:, channel].flatten(1).max(dim=1)
    height = maps.shape[2]
    return [(i, int(places[i]) // height, int(places[i]) % height) for i in values.topk(k).indices.tolist()]


# %% strongest_places | wrong | always channel 0
def strongest_places(maps, channel, k):
    values, places = maps[:, 0].flatten(1).max(dim=1)
    width = maps.shape[3]
    return [(i, int(places[i]) // width, int(places[i]) % width) for i in values.topk(k).indices.tolist()]


# %% strongest_places | wrong | the images in their own order
def strongest_places(maps, channel, k):
    places = maps[:, channel].flatten(1).argmax(dim=1)
    width = maps.shape[3]
    return [(i, int(p) // width, int(p) % width) for i, p in enumerate(places)][:k]


# %% strongest_places | wrong | the largest absolute value
def strongest_places(maps, channel, k):
    values, places = maps[:, channel].abs().flatten(1).max(dim=1)
    width = maps.shape[3]
    return [(i, int(places[i]) // width, int(places[i]) % width) for i in values.topk(k).indices.tolist()]


# %% class_map | right | einsum
def class_map(maps, weight, label):
    return torch.einsum("chw,c->hw", maps, weight[label])


# %% class_map | right | matrix product
def class_map(maps, weight, label):
    return (weight[label] @ maps.flatten(1)).view(maps.shape[1:])


# %% class_map | wrong | the mean over the channels
def class_map(maps, weight, label):
    return (maps * weight[label][:, None, None]).mean(dim=0)


# %% class_map | wrong | ignores the label
def class_map(maps, weight, label):
    return (maps * weight[0][:, None, None]).sum(dim=0)


# %% class_map | wrong | with a ReLU
def class_map(maps, weight, label):
    return (maps * weight[label][:, None, None]).sum(dim=0).relu()


# %% class_map | wrong | the score, not the map
def class_map(maps, weight, label):
    return (maps.mean(dim=(1, 2)) * weight[label]).sum()


# %% class_map | wrong | without the sum
def class_map(maps, weight, label):
    return maps * weight[label][:, None, None]


# %% gram | right | einsum
def gram(maps):
    return torch.einsum("ahw,bhw->ab", maps, maps) / (maps.shape[1] * maps.shape[2])


# %% gram | right | two loops
def gram(maps):
    out = torch.zeros(len(maps), len(maps))
    for i in range(len(maps)):
        for j in range(len(maps)):
            out[i, j] = (maps[i] * maps[j]).mean()
    return out


# %% gram | wrong | doesn't divide
def gram(maps):
    flat = maps.flatten(1)
    return flat @ flat.T


# %% gram | wrong | divides by the channels too
def gram(maps):
    flat = maps.flatten(1)
    return flat @ flat.T / flat.numel()


# %% gram | wrong | places by places
def gram(maps):
    flat = maps.flatten(1)
    return flat.T @ flat / flat.shape[1]


# %% gram | wrong | the covariance: means taken away
def gram(maps):
    flat = maps.flatten(1) - maps.flatten(1).mean(dim=1, keepdim=True)
    return flat @ flat.T / flat.shape[1]


# %% gram | wrong | divides by the height only
def gram(maps):
    flat = maps.flatten(1)
    return flat @ flat.T / maps.shape[1]


# %% not_beaten | right | by sorting
def not_beaten(networks):
    kept, best = [], None
    for name, (accuracy, cost) in sorted(networks.items(), key=lambda item: (item[1][1], -item[1][0])):
        if best is None or accuracy > best[0] or (accuracy, cost) == best:
            kept.append(name)
            best = (accuracy, cost)
    return sorted(kept)


# %% not_beaten | right | two loops
def not_beaten(networks):
    kept = set(networks)
    for name, (accuracy, cost) in networks.items():
        for other, (a, c) in networks.items():
            if (a > accuracy and c <= cost) or (a >= accuracy and c < cost):
                kept.discard(name)
    return sorted(kept)


# %% not_beaten | wrong | must be better in both
def not_beaten(networks):
    return sorted(n for n, (x, y) in networks.items() if not any(a > x and c < y for a, c in networks.values()))


# %% not_beaten | wrong | equal networks beat each other
def not_beaten(networks):
    kept = []
    for name, (accuracy, cost) in networks.items():
        others = [value for other, value in networks.items() if other != name]
        if not any(a >= accuracy and c <= cost for a, c in others):
            kept.append(name)
    return sorted(kept)


# %% not_beaten | wrong | not sorted
def not_beaten(networks):
    kept = []
    for name, (x, y) in networks.items():
        if not any(a >= x and c <= y and (a > x or c < y) for a, c in networks.values()):
            kept.append(name)
    return kept


# %% not_beaten | wrong | only the most accurate
def not_beaten(networks):
    best = max(accuracy for accuracy, _ in networks.values())
    return sorted(name for name, (accuracy, _) in networks.items() if accuracy == best)


# %% not_beaten | wrong | the larger cost wins
def not_beaten(networks):
    kept = []
    for name, (x, y) in networks.items():
        if not any(a >= x and c >= y and (a > x or c > y) for a, c in networks.values()):
            kept.append(name)
    return sorted(kept)


# %% not_beaten | wrong | accuracy for cost
def not_beaten(networks):
    ratio = {name: accuracy / cost for name, (accuracy, cost) in networks.items()}
    return sorted(name for name in ratio if ratio[name] >= sorted(ratio.values())[len(ratio) // 2])


# %% colour_share | wrong | the mean of each place's share
def colour_share(filters):
    rest = filters - filters.mean(dim=1, keepdim=True)
    return (rest.square().sum(1) / filters.square().sum(1).clamp_min(1e-12)).mean((1, 2))


# %% strongest_places | wrong | divides by the height
def strongest_places(maps, channel, k):
    values, places = maps[:, channel].flatten(1).max(dim=1)
    height = maps.shape[2]
    return [(i, int(places[i]) // height, int(places[i]) % height) for i in values.topk(k).indices.tolist()]


# %% colour_share | wrong | mean over all of filter (channels and places)
def colour_share(filters):
    c = filters - filters.mean(dim=(1, 2, 3), keepdim=True)
    t = (filters**2).sum(dim=(1, 2, 3))
    return torch.where(t > 0, (c**2).sum(dim=(1, 2, 3)) / t, 0.0)


# %% colour_share | wrong | zero filters give 1
def colour_share(filters):
    g = filters.mean(dim=1)
    t = (filters**2).sum(dim=(1, 2, 3)).clamp_min(1e-12)
    return 1 - 3 * (g**2).sum(dim=(1, 2)) / t


# %% colour_share | wrong | mean of per-place shares
def colour_share(filters):
    c = filters - filters.mean(dim=1, keepdim=True)
    t = (filters**2).sum(1)
    s = (c**2).sum(1) / t.clamp_min(1e-12)
    return s.mean((1, 2))


# %% colour_share | wrong | abs instead of squares
def colour_share(filters):
    c = filters - filters.mean(dim=1, keepdim=True)
    return c.abs().sum(dim=(1, 2, 3)) / filters.abs().sum(dim=(1, 2, 3)).clamp_min(1e-12)


# %% colour_share | wrong | unbiased variance
def colour_share(filters):
    return filters.var(1).sum((1, 2)) / filters.square().mean(1).sum((1, 2)).clamp_min(1e-12)


# %% colour_share | wrong | unbiased variance clamped to 1
def colour_share(filters):
    return (filters.var(1).sum((1, 2)) / filters.square().mean(1).sum((1, 2)).clamp_min(1e-12)).clamp(0, 1)


# %% colour_share | wrong | zeros handled only when all are zero
def colour_share(filters):
    if filters.abs().sum() == 0:
        return torch.zeros(len(filters))
    c = filters - filters.mean(1, keepdim=True)
    return (c**2).sum((1, 2, 3)) / (filters**2).sum((1, 2, 3))


# %% colour_share | wrong | every weak filter (sum of sizes below 0.5) gets 0
def colour_share(filters):
    c = filters - filters.mean(1, keepdim=True)
    s = (c**2).sum((1, 2, 3)) / (filters**2).sum((1, 2, 3))
    s[filters.flatten(1).abs().sum(1) < 0.5] = 0
    return s


# %% colour_share | wrong | only the first place
def colour_share(filters):
    f = filters[:, :, 0, 0]
    c = f - f.mean(1, keepdim=True)
    return ((c**2).sum(1) / (f**2).sum(1)).nan_to_num(0)


# %% colour_share | wrong | rounds to 2 digits
def colour_share(filters):
    c = filters - filters.mean(1, keepdim=True)
    return ((c**2).sum((1, 2, 3)) / (filters**2).sum((1, 2, 3))).nan_to_num(0).round(decimals=2)


# %% colour_share | wrong | keepdim result (K,1,1,1)
def colour_share(filters):
    c = filters - filters.mean(1, keepdim=True)
    return ((c**2).sum((1, 2, 3), keepdim=True) / (filters**2).sum((1, 2, 3), keepdim=True)).nan_to_num(0)


# %% unit_box | wrong | the right border is not cut
def unit_box(size, jump, start, row, column, side):
    y, x = start + row * jump, start + column * jump
    return max(y, 0), max(x, 0), min(y + size, side), x + size


# %% unit_box | wrong | side hard-coded 224
def unit_box(size, jump, start, row, column, side):
    y, x = start + row * jump, start + column * jump
    return max(y, 0), max(x, 0), min(y + size, 224), min(x + size, 224)


# %% unit_box | wrong | last pixel included
def unit_box(size, jump, start, row, column, side):
    y, x = start + row * jump, start + column * jump
    return max(y, 0), max(x, 0), min(y + size - 1, side), min(x + size - 1, side)


# %% unit_box | wrong | last pixel included, side-1
def unit_box(size, jump, start, row, column, side):
    y, x = start + row * jump, start + column * jump
    return max(y, 0), max(x, 0), min(y + size - 1, side - 1), min(x + size - 1, side - 1)


# %% unit_box | wrong | start ignored
def unit_box(size, jump, start, row, column, side):
    y, x = row * jump, column * jump
    return max(y, 0), max(x, 0), min(y + size, side), min(x + size, side)


# %% unit_box | wrong | row and column swapped, all
def unit_box(size, jump, start, row, column, side):
    y, x = start + jump * column, start + jump * row
    return max(y, 0), max(x, 0), min(y + size, side), min(x + size, side)


# %% strongest_places | wrong | best k images by MEAN answer
def strongest_places(maps, channel, k):
    m = maps[:, channel]
    top = m.mean((1, 2)).topk(k).indices.tolist()
    return [(i, *divmod(int(m[i].argmax()), m.shape[2])) for i in top]


# %% strongest_places | wrong | starts from max 0 (negatives ignored)
def strongest_places(maps, channel, k):
    out = []
    for i in range(len(maps)):
        best, place = 0, (i, 0, 0)
        for r in range(maps.shape[2]):
            for c in range(maps.shape[3]):
                if maps[i, channel, r, c] > best:
                    best, place = maps[i, channel, r, c].item(), (i, r, c)
        out.append((best, place))
    out.sort(key=lambda t: -t[0])
    return [p for _, p in out[:k]]


# %% strongest_places | wrong | k ignored: all images
def strongest_places(maps, channel, k):
    m = maps[:, channel]
    top = m.amax((1, 2)).argsort(descending=True).tolist()
    return [(i, *divmod(int(m[i].argmax()), m.shape[2])) for i in top]


# %% strongest_places | wrong | k hard coded 2
def strongest_places(maps, channel, k):
    m = maps[:, channel]
    top = m.amax((1, 2)).topk(2).indices.tolist()
    return [(i, *divmod(int(m[i].argmax()), m.shape[2])) for i in top]


# %% strongest_places | wrong | global topk 2k then dedupe
def strongest_places(maps, channel, k):
    m = maps[:, channel]
    n, h, w = m.shape
    out, seen = [], set()
    for p in m.flatten().topk(min(2 * k, m.numel())).indices.tolist():
        i, rest = divmod(p, h * w)
        if i not in seen:
            seen.add(i)
            out.append((i, rest // w, rest % w))
    return out[:k]


# %% strongest_places | wrong | mutates: sets 0
def strongest_places(maps, channel, k):
    m = maps[:, channel].clone()
    n, h, w = m.shape
    out = []
    for _ in range(k):
        p = int(m.argmax())
        i, r, c = p // (h * w), p % (h * w) // w, p % w
        out.append((i, r, c))
        m[i] = 0
    return out


# %% strongest_places | wrong | dict value -> place loses equal maxima
def strongest_places(maps, channel, k):
    best = {}
    for i in range(len(maps)):
        m = maps[i, channel]
        best[float(m.max())] = (i, *divmod(int(m.argmax()), m.shape[1]))
    return [best[v] for v in sorted(best, reverse=True)[:k]]


# %% strongest_places | wrong | ReLU/only positive places
def strongest_places(maps, channel, k):
    m = maps[:, channel].clamp_min(0)
    top = m.amax((1, 2)).topk(k).indices.tolist()
    return [(i, *divmod(int(m[i].argmax()), m.shape[2])) for i in top]


# %% strongest_places | wrong | integer truncation of values
def strongest_places(maps, channel, k):
    m = maps[:, channel].int()
    top = m.amax((1, 2)).topk(k).indices.tolist()
    return [(i, *divmod(int(m[i].argmax()), m.shape[2])) for i in top]


# %% class_map | wrong | label 1 hard-coded
def class_map(maps, weight, label):
    return torch.tensordot(weight[1], maps, dims=1)


# %% class_map | wrong | last class
def class_map(maps, weight, label):
    return torch.tensordot(weight[-1], maps, dims=1)


# %% class_map | wrong | two channels only
def class_map(maps, weight, label):
    return weight[label][0] * maps[0] + weight[label][1] * maps[1]


# %% class_map | wrong | divided by HW
def class_map(maps, weight, label):
    return torch.tensordot(weight[label], maps, dims=1) / (maps.shape[1] * maps.shape[2])


# %% class_map | wrong | the class with the largest score, not label
def class_map(maps, weight, label):
    scores = weight @ maps.mean((1, 2))
    return torch.tensordot(weight[scores.argmax()], maps, dims=1)


# %% gram | wrong | covariance
def gram(maps):
    return torch.cov(maps.flatten(1), correction=0)


# %% gram | wrong | unbiased covariance
def gram(maps):
    return torch.cov(maps.flatten(1))


# %% gram | wrong | divided by W only
def gram(maps):
    m = maps.flatten(1)
    return m @ m.T / maps.shape[2]


# %% gram | wrong | divided by 2
def gram(maps):
    m = maps.flatten(1)
    return m @ m.T / 2


# %% gram | wrong | divided by C
def gram(maps):
    m = maps.flatten(1)
    return m @ m.T / maps.shape[0]


# %% gram | wrong | sum over rows only
def gram(maps):
    m = maps.mean(1)
    return m @ m.T / m.shape[1]


# %% gram | wrong | first row only
def gram(maps):
    m = maps[:, 0]
    return m @ m.T / m.shape[1]


# %% gram | wrong | 2 channels hard-coded
def gram(maps):
    a, b = maps[0].flatten(), maps[1].flatten()
    n = a.numel()
    return torch.tensor([[a @ a, a @ b], [a @ b, b @ b]]) / n


# %% gram | wrong | divide by count of nonzero
def gram(maps):
    m = maps.flatten(1)
    return m @ m.T / (m != 0).any(0).sum()


# %% gram | wrong | relu first
def gram(maps):
    m = maps.flatten(1).relu()
    return m @ m.T / m.shape[1]


# %% gram | wrong | squared wrong: divides by HW squared
def gram(maps):
    m = maps.flatten(1) / maps[0].numel()
    return m @ m.T


# %% not_beaten | wrong | at least in both, itself excluded by name (equal networks beat each other)
def not_beaten(networks):
    return sorted(
        n for n, (a, c) in networks.items() if not any(x >= a and y <= c for m, (x, y) in networks.items() if m != n)
    )


# %% not_beaten | wrong | strict accuracy, cost at most
def not_beaten(networks):
    return sorted(n for n, (a, c) in networks.items() if not any(x > a and y <= c for x, y in networks.values()))


# %% not_beaten | wrong | best accuracy and lowest cost only
def not_beaten(networks):
    best = max(networks, key=lambda n: networks[n][0])
    cheap = min(networks, key=lambda n: networks[n][1])
    return sorted({best, cheap})


# %% not_beaten | wrong | all with best accuracy or lowest cost
def not_beaten(networks):
    A = max(a for a, _ in networks.values())
    C = min(c for _, c in networks.values())
    return sorted(n for n, (a, c) in networks.items() if a == A or c == C)


# %% not_beaten | wrong | the ratio accuracy/cost
def not_beaten(networks):
    m = sorted(networks, key=lambda n: -networks[n][0] / networks[n][1])
    return sorted(m[:2])


# %% not_beaten | wrong | compares rounded/int values
def not_beaten(networks):
    r = {n: (round(a), round(c)) for n, (a, c) in networks.items()}
    return sorted(
        n for n, (a, c) in r.items() if not any(x >= a and y <= c and (x, y) != (a, c) for x, y in r.values())
    )


# %% colour_share | wrong | floor 1
def colour_share(filters):
    c = filters - filters.mean(dim=1, keepdim=True)
    return (c**2).sum(dim=(1, 2, 3)) / (filters**2).sum(dim=(1, 2, 3)).clamp_min(1)


# %% colour_share | wrong | zeros handled for the whole batch (any zero filter makes NaN elsewhere kept)
def colour_share(filters):
    t = (filters**2).sum((1, 2, 3))
    if (t == 0).any():
        return torch.zeros(len(filters))
    c = filters - filters.mean(1, keepdim=True)
    return (c**2).sum((1, 2, 3)) / t


# %% colour_share | wrong | removes the spatial mean of each channel first (DC)
def colour_share(filters):
    f = filters
    c = f.mean((2, 3))
    g = c.mean(1, keepdim=True)
    return (((c - g) ** 2).sum(1) / (c**2).sum(1)).nan_to_num(0)


# %% colour_share | wrong | mean of three channels after summing places
def colour_share(filters):
    f = filters.sum((2, 3))
    c = f - f.mean(1, keepdim=True)
    return ((c**2).sum(1) / (f**2).sum(1)).nan_to_num(0)


# %% unit_box | right | namedtuple
def unit_box(size, jump, start, row, column, side):
    import collections

    Box = collections.namedtuple("Box", "top left bottom right")
    y, x = start + row * jump, start + column * jump
    return Box(max(y, 0), max(x, 0), min(y + size, side), min(x + size, side))


# %% unit_box | wrong | cuts bottom only if top was not cut (elif)
def unit_box(size, jump, start, row, column, side):
    def span(u):
        a = start + u * jump
        b = a + size
        if a < 0:
            a = 0
        elif b > side:
            b = side
        return a, b

    (t, b), (left, r) = span(row), span(column)
    return t, left, b, r


# %% unit_box | wrong | right edge is never cut (bottom is)
def unit_box(size, jump, start, row, column, side):
    y, x = start + row * jump, start + column * jump
    return max(y, 0), max(x, 0), min(y + size, side), x + size


# %% strongest_places | wrong | top k images by the SUM over the channel's map
def strongest_places(maps, channel, k):
    m = maps[:, channel]
    top = m.sum((1, 2)).argsort(descending=True)[:k].tolist()
    return [(i, *divmod(int(m[i].argmax()), m.shape[2])) for i in top]


# %% gram | wrong | divides by max(H, W)
def gram(maps):
    m = maps.flatten(1)
    return m @ m.T / max(maps.shape[1], maps.shape[2])


# %% gram | wrong | transposes the places
def gram(maps):
    m = maps.flatten(1)
    n = maps.transpose(1, 2).flatten(1)
    return m @ n.T / m.shape[1]


# %% not_beaten | wrong | only compares with the next name
def not_beaten(networks):
    names = sorted(networks)
    out = []
    for i, n in enumerate(names):
        if i + 1 < len(names):
            (a, c), (x, y) = networks[n], networks[names[i + 1]]
            if x >= a and y <= c and (x, y) != (a, c):
                continue
        out.append(n)
    return out


# %% not_beaten | wrong | duplicates lost: dictionary by value
def not_beaten(networks):
    inv = {v: n for n, v in networks.items()}
    return sorted(n for v, n in inv.items() if not any(x >= v[0] and y <= v[1] and (x, y) != v for x, y in inv))


# %% not_beaten | wrong | sweeping from the best accuracy, dropping equal cost
def not_beaten(networks):
    out, cheapest = [], float("inf")
    for n, (a, c) in sorted(networks.items(), key=lambda kv: -kv[1][0]):
        if c < cheapest:
            out.append(n)
            cheapest = c
    return sorted(out)
