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
