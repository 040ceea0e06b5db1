# %% freeze | right | two loops and a sum at the end
def freeze(net, first):
    for part in net[:first]:
        for parameter in part.parameters():
            parameter.requires_grad = False
    for part in net[first:]:
        for parameter in part.parameters():
            parameter.requires_grad = True
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


# %% freeze | right | everything frozen, then freed from first on
def freeze(net, first):
    net.requires_grad_(False)
    for part in list(net)[first:]:
        part.requires_grad_(True)
    return sum(p.numel() for part in list(net)[first:] for p in part.parameters())


# %% freeze | wrong | freezes the wrong side
def freeze(net, first):
    for i, part in enumerate(net):
        part.requires_grad_(i < first)
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


# %% freeze | wrong | never frees again
def freeze(net, first):
    for part in list(net)[:first]:
        part.requires_grad_(False)
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


# %% freeze | wrong | counts tensors
def freeze(net, first):
    for i, part in enumerate(net):
        part.requires_grad_(i >= first)
    return sum(p.requires_grad for p in net.parameters())


# %% freeze | wrong | freezes net[first], too
def freeze(net, first):
    for i, part in enumerate(net):
        part.requires_grad_(i > first)
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


# %% freeze | wrong | counts, but freezes nothing
def freeze(net, first):
    return sum(p.numel() for part in list(net)[first:] for p in part.parameters())


# %% freeze | wrong | counts parameters, not parts
def freeze(net, first):
    for i, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(i >= first)
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


# %% rate_groups | right | from the head backwards
def rate_groups(net, head_rate, body_rate, decay):
    groups, rate = [], head_rate
    for part in reversed(net):
        parameters = list(part.parameters())
        if not parameters:
            continue
        learn = [p for p in parameters if p.requires_grad]
        if learn:
            groups.insert(0, {"params": learn, "lr": rate})
        rate = body_rate if rate is head_rate and part is net[-1] else rate * decay
    return groups


# %% rate_groups | right | powers
def rate_groups(net, head_rate, body_rate, decay):
    parts = [part for part in net if sum(1 for _ in part.parameters())]
    groups = []
    for i, part in enumerate(parts):
        below = len(parts) - 1 - i
        rate = head_rate if below == 0 else body_rate * decay ** (below - 1)
        if any(p.requires_grad for p in part.parameters()):
            groups.append({"params": [p for p in part.parameters() if p.requires_grad], "lr": rate})
    return groups


# %% rate_groups | wrong | from the head to the input
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    rates = [head_rate] + [body_rate * decay**i for i in range(len(parts) - 1)]
    return [{"params": part, "lr": rate} for part, rate in zip(reversed(parts), rates)]


# %% rate_groups | wrong | the first layer learns fastest
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)] + [head_rate]
    return [{"params": part, "lr": rate} for part, rate in zip(parts, rates)]


# %% rate_groups | wrong | a ReLU counts
def rate_groups(net, head_rate, body_rate, decay):
    n = len(net)
    rates = [body_rate * decay ** (n - 2 - i) for i in range(n - 1)] + [head_rate]
    pairs = [([p for p in part.parameters() if p.requires_grad], rate) for part, rate in zip(net, rates)]
    return [{"params": part, "lr": rate} for part, rate in pairs if part]


# %% rate_groups | wrong | frozen parts are kept
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    return [{"params": part, "lr": rate} for part, rate in zip(parts, rates)]


# %% rate_groups | wrong | frozen parts don't count
def rate_groups(net, head_rate, body_rate, decay):
    parts = [[p for p in part.parameters() if p.requires_grad] for part in net]
    parts = [part for part in parts if part]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    return [{"params": part, "lr": rate} for part, rate in zip(parts, rates)]


# %% rate_groups | wrong | the body decays from the head's rate
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    return [{"params": part, "lr": head_rate * decay**i} for i, part in enumerate(reversed(parts))][::-1]


# %% rate_groups | wrong | a part that is frozen in part is kept whole
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    return [{"params": p, "lr": rate} for p, rate in zip(parts, rates) if any(q.requires_grad for q in p)]


# %% rate_groups | wrong | the right rates, the second layer's parameters in all groups after it
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    learns = [(min(i, 1), rate) for i, (part, rate) in enumerate(zip(parts, rates)) if part[0].requires_grad]
    return [{"params": parts[i], "lr": rate} for i, rate in learns]


# %% rate_groups | wrong | weights only
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters())[:1] for part in net if list(part.parameters())]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    groups = [{"params": [p for p in part if p.requires_grad], "lr": rate} for part, rate in zip(parts, rates)]
    return [group for group in groups if group["params"]]


# %% rate_at | right | counted from the end
def rate_at(step, steps, warm, highest):
    if step + 1 <= warm:
        return (step + 1) / warm * highest
    left = (steps - 1 - step) / (steps - warm)
    return highest * math.sin(math.pi * left / 2) ** 2


# %% rate_at | right | the smaller one of both parts
def rate_at(step, steps, warm, highest):
    rising = min((step + 1) / warm, 1)
    t = max((step + 1 - warm) / (steps - warm), 0)
    return highest * rising * (1 + math.cos(math.pi * t)) / 2


# %% rate_at | wrong | begins with 0
def rate_at(step, steps, warm, highest):
    if step < warm:
        return highest * step / warm
    return highest * (1 + math.cos(math.pi * (step - warm) / (steps - 1 - warm))) / 2


# %% rate_at | wrong | no warm-up
def rate_at(step, steps, warm, highest):
    return highest * (1 + math.cos(math.pi * step / (steps - 1))) / 2


# %% rate_at | wrong | falls in a straight line
def rate_at(step, steps, warm, highest):
    if step < warm:
        return highest * (step + 1) / warm
    return highest * (steps - 1 - step) / (steps - warm)


# %% rate_at | wrong | never comes to 0
def rate_at(step, steps, warm, highest):
    if step < warm:
        return highest * (step + 1) / warm
    return highest * (1 + math.cos(math.pi * (step - warm + 1) / (steps - warm + 1))) / 2


# %% rate_at | wrong | a whole cosine wave
def rate_at(step, steps, warm, highest):
    if step < warm:
        return highest * (step + 1) / warm
    return highest * (1 + math.cos(2 * math.pi * (step - warm + 1) / (steps - warm))) / 2


# %% rate_at | wrong | degrees for radians
def rate_at(step, steps, warm, highest):
    if step < warm:
        return highest * (step + 1) / warm
    return highest * (1 + math.cos(180 * (step - warm + 1) / (steps - warm))) / 2


# %% update | right | through (C, values)
def update(running_mean, running_var, batch, momentum=0.1):
    values = batch.transpose(0, 1).flatten(1)
    mean = running_mean + momentum * (values.mean(1) - running_mean)
    var = running_var + momentum * (values.var(1) - running_var)
    return mean, var


# %% update | right | the library's layer
def update(running_mean, running_var, batch, momentum=0.1):
    layer = nn.BatchNorm2d(len(running_mean), momentum=momentum)
    layer.running_mean.copy_(running_mean)
    layer.running_var.copy_(running_var)
    layer(batch)
    return layer.running_mean, layer.running_var


# %% update | wrong | the biased variance
def update(running_mean, running_var, batch, momentum=0.1):
    mean, var = batch.mean((0, 2, 3)), batch.var((0, 2, 3), correction=0)
    return (1 - momentum) * running_mean + momentum * mean, (1 - momentum) * running_var + momentum * var


# %% update | wrong | momentum weighs the old value
def update(running_mean, running_var, batch, momentum=0.1):
    mean, var = batch.mean((0, 2, 3)), batch.var((0, 2, 3))
    return momentum * running_mean + (1 - momentum) * mean, momentum * running_var + (1 - momentum) * var


# %% update | wrong | standard deviation
def update(running_mean, running_var, batch, momentum=0.1):
    mean, std = batch.mean((0, 2, 3)), batch.std((0, 2, 3))
    return (1 - momentum) * running_mean + momentum * mean, (1 - momentum) * running_var + momentum * std


# %% update | wrong | one mean for all channels
def update(running_mean, running_var, batch, momentum=0.1):
    mean, var = batch.mean(), batch.var()
    return (1 - momentum) * running_mean + momentum * mean, (1 - momentum) * running_var + momentum * var


# %% update | wrong | changes what it was given
def update(running_mean, running_var, batch, momentum=0.1):
    running_mean.mul_(1 - momentum).add_(momentum * batch.mean((0, 2, 3)))
    running_var.mul_(1 - momentum).add_(momentum * batch.var((0, 2, 3)))
    return running_mean, running_var


# %% update | wrong | momentum is always 0.1
def update(running_mean, running_var, batch, momentum=0.1):
    mean, var = batch.mean((0, 2, 3)), batch.var((0, 2, 3))
    return 0.9 * running_mean + 0.1 * mean, 0.9 * running_var + 0.1 * var


# %% update | wrong | adds, without taking from the old
def update(running_mean, running_var, batch, momentum=0.1):
    return running_mean + momentum * batch.mean((0, 2, 3)), running_var + momentum * batch.var((0, 2, 3))


# %% advise | right | a dictionary
def advise(per_class, similar, enough=50):
    return {
        (False, True): "linear on top codes",
        (False, False): "linear on an earlier stage",
        (True, True): "fine-tune a few layers or all",
        (True, False): "fine-tune all",
    }[per_class >= enough, similar]


# %% advise | right | early returns
def advise(per_class, similar, enough=50):
    if per_class >= enough and similar:
        return "fine-tune a few layers or all"
    if per_class >= enough:
        return "fine-tune all"
    if similar:
        return "linear on top codes"
    return "linear on an earlier stage"


# %% advise | wrong | similar the wrong way round
def advise(per_class, similar, enough=50):
    if per_class < enough:
        return "linear on an earlier stage" if similar else "linear on top codes"
    return "fine-tune all" if similar else "fine-tune a few layers or all"


# %% advise | wrong | enough is still little
def advise(per_class, similar, enough=50):
    if per_class <= enough:
        return "linear on top codes" if similar else "linear on an earlier stage"
    return "fine-tune a few layers or all" if similar else "fine-tune all"


# %% advise | wrong | the limit is fixed
def advise(per_class, similar, enough=50):
    if per_class < 50:
        return "linear on top codes" if similar else "linear on an earlier stage"
    return "fine-tune a few layers or all" if similar else "fine-tune all"


# %% advise | wrong | similarity is not used for a lot of data
def advise(per_class, similar, enough=50):
    if per_class < enough:
        return "linear on top codes" if similar else "linear on an earlier stage"
    return "fine-tune all"


# %% advise | wrong | always top codes when there is little
def advise(per_class, similar, enough=50):
    if per_class < enough:
        return "linear on top codes"
    return "fine-tune a few layers or all" if similar else "fine-tune all"


# %% cheapest_good | right | a loop
def cheapest_good(row):
    best = row[0]
    for entry in row:
        if entry[1] > best[1]:
            best = entry
    for method, mean, spread in row:
        if mean >= best[1] - best[2]:
            return method


# %% cheapest_good | right | a list of the good ones
def cheapest_good(row):
    means = [mean for _, mean, _ in row]
    where = means.index(max(means))
    limit = means[where] - row[where][2]
    return [method for method, mean, _ in row if mean >= limit][0]


# %% cheapest_good | wrong | the highest mean
def cheapest_good(row):
    return max(row, key=lambda entry: entry[1])[0]


# %% cheapest_good | wrong | each one's own spread
def cheapest_good(row):
    best = max(mean for _, mean, _ in row)
    return next(method for method, mean, spread in row if mean + spread >= best)


# %% cheapest_good | wrong | always the cheapest
def cheapest_good(row):
    return row[0][0]


# %% cheapest_good | wrong | the best is taken to be the last
def cheapest_good(row):
    _, best, spread = row[-1]
    return next(method for method, mean, _ in row if mean >= best - spread)


# %% cheapest_good | wrong | the dearest good one
def cheapest_good(row):
    _, best, spread = max(row, key=lambda entry: entry[1])
    return [method for method, mean, _ in row if mean >= best - spread][-1]


# %% cheapest_good | wrong | above the limit, where at least the limit is asked for
def cheapest_good(row):
    _, best, spread = max(row, key=lambda entry: entry[1])
    return next(method for method, mean, _ in row if mean > best - spread or mean == best)


# %% cheapest_good | wrong | twice the spread
def cheapest_good(row):
    _, best, spread = max(row, key=lambda entry: entry[1])
    return next(method for method, mean, _ in row if mean >= best - 2 * spread)


# %% freeze | right | named_parameters
def freeze(net, first):
    n = 0
    for name, p in net.named_parameters():
        p.requires_grad = int(name.split(".")[0]) >= first
        if p.requires_grad:
            n += p.numel()
    return n


# %% freeze | wrong | attribute on the module, counts by parts
def freeze(net, first):
    n = 0
    for i, part in enumerate(net):
        part.requires_grad = i >= first
        if part.requires_grad:
            n += sum(p.numel() for p in part.parameters())
    return n


# %% freeze | wrong | flat parts only (weight and bias), a block inside is missed
def freeze(net, first):
    n = 0
    for i, part in enumerate(net):
        for name in ("weight", "bias"):
            if hasattr(part, name):
                getattr(part, name).requires_grad = i >= first
                n += getattr(part, name).numel() * (i >= first)
    return n


# %% rate_groups | right | float32 rates
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    n = len(parts)
    rates = torch.tensor([body_rate * decay ** (n - 2 - i) for i in range(n - 1)] + [head_rate])
    groups = [{"params": [p for p in part if p.requires_grad], "lr": float(rate)} for part, rate in zip(parts, rates)]
    return [group for group in groups if group["params"]]


# %% rate_groups | wrong | empty groups for ReLU
def rate_groups(net, head_rate, body_rate, decay):
    rates, rate = [head_rate], body_rate
    for part in list(net)[-2::-1]:
        rates.insert(0, rate)
        if list(part.parameters()):
            rate *= decay
    return [{"params": [p for p in part.parameters() if p.requires_grad], "lr": r} for part, r in zip(net, rates)]


# %% rate_groups | wrong | only Linear
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if isinstance(part, nn.Linear)]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    groups = [{"params": [p for p in part if p.requires_grad], "lr": rate} for part, rate in zip(parts, rates)]
    return [group for group in groups if group["params"]]


# %% rate_groups | wrong | net.modules() with weight (a block inside is split)
def rate_groups(net, head_rate, body_rate, decay):
    parts = [[m.weight, m.bias] for m in net.modules() if hasattr(m, "weight")]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    groups = [{"params": [p for p in part if p.requires_grad], "lr": rate} for part, rate in zip(parts, rates)]
    return [group for group in groups if group["params"]]


# %% rate_groups | wrong | a frozen head: the last learning part gets head_rate
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    groups = [{"params": [p for p in part if p.requires_grad], "lr": rate} for part, rate in zip(parts, rates)]
    groups = [group for group in groups if group["params"]]
    groups[-1]["lr"] = head_rate
    return groups


# %% rate_groups | wrong | frozen judged by the weight
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    return [
        {"params": [p for p in part if p.requires_grad], "lr": rate}
        for part, rate in zip(parts, rates)
        if part[0].requires_grad
    ]


# %% rate_at | right | numpy interp
def rate_at(step, steps, warm, highest):
    import numpy as np

    if step <= warm - 1:
        return np.linspace(highest / warm, highest, warm)[step]
    t = np.linspace(0, 1, steps - warm + 1)[step - warm + 1]
    return highest * (1 + np.cos(np.pi * t)) / 2


# %% rate_at | wrong | step <= warm
def rate_at(step, steps, warm, highest):
    if step <= warm:
        return highest * (step + 1) / warm
    t = (step - (warm - 1)) / (steps - 1 - (warm - 1))
    return highest * (1 + math.cos(math.pi * t)) / 2


# %% rate_at | wrong | step <= warm, capped
def rate_at(step, steps, warm, highest):
    if step <= warm:
        return min(highest, highest * (step + 1) / warm)
    t = (step - (warm - 1)) / (steps - 1 - (warm - 1))
    return highest * (1 + math.cos(math.pi * t)) / 2


# %% update | right | lists
def update(running_mean, running_var, batch, momentum=0.1):
    means, vars = [], []
    for c in range(batch.shape[1]):
        x = batch[:, c]
        means.append((1 - momentum) * running_mean[c] + momentum * x.mean())
        vars.append((1 - momentum) * running_var[c] + momentum * x.var())
    return means, vars


# %% update | right | numpy ddof
def update(running_mean, running_var, batch, momentum=0.1):
    import numpy as np

    b = batch.detach().numpy()
    mean, var = b.mean(axis=(0, 2, 3)), b.var(axis=(0, 2, 3), ddof=1)
    return running_mean.numpy() * (1 - momentum) + momentum * mean, running_var.numpy() * (
        1 - momentum
    ) + momentum * var


# %% update | wrong | mutates the mean by mul_ only
def update(running_mean, running_var, batch, momentum=0.1):
    mean, var = batch.mean((0, 2, 3)), batch.var((0, 2, 3))
    running_mean *= 1 - momentum
    return running_mean + momentum * mean, (1 - momentum) * running_var + momentum * var


# %% update | wrong | mutates the batch
def update(running_mean, running_var, batch, momentum=0.1):
    mean = batch.mean((0, 2, 3))
    n = batch.numel() / batch.shape[1]
    batch -= mean[None, :, None, None]
    var = (batch**2).sum((0, 2, 3)) / (n - 1)
    return (1 - momentum) * running_mean + momentum * mean, (1 - momentum) * running_var + momentum * var


# %% update | wrong | mean only
def update(running_mean, running_var, batch, momentum=0.1):
    return (1 - momentum) * running_mean + momentum * batch.mean((0, 2, 3))


# %% advise | wrong | > enough for different only
def advise(per_class, similar, enough=50):
    if similar:
        return "linear on top codes" if per_class < enough else "fine-tune a few layers or all"
    return "linear on an earlier stage" if per_class <= enough else "fine-tune all"


# %% advise | wrong | enough fixed for similar
def advise(per_class, similar, enough=50):
    if similar:
        return "linear on top codes" if per_class < 50 else "fine-tune a few layers or all"
    return "linear on an earlier stage" if per_class < enough else "fine-tune all"


# %% cheapest_good | right | numpy
def cheapest_good(row):
    import numpy as np

    names = [r[0] for r in row]
    m, s = np.array([r[1:] for r in row]).T
    b = m.argmax()
    return names[np.flatnonzero(m >= m[b] - s[b])[0]]


# %% cheapest_good | wrong | spreads overlap
def cheapest_good(row):
    _, best, spread = max(row, key=lambda e: e[1])
    return next(m for m, mean, s in row if mean + s >= best - spread)


# %% cheapest_good | wrong | the best taken by mean - spread
def cheapest_good(row):
    _, best, spread = max(row, key=lambda e: e[1] - e[2])
    return next(m for m, mean, s in row if mean >= best - spread)


# %% cheapest_good | wrong | neighbour by neighbour
def cheapest_good(row):
    chosen = row[0]
    for entry in row[1:]:
        if entry[1] - entry[2] > chosen[1]:
            chosen = entry
    return chosen[0]


# %% rate_groups | right | lr as 0-d float64 tensors
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    n = len(parts)
    rates = torch.tensor([body_rate * decay ** (n - 2 - i) for i in range(n - 1)] + [head_rate], dtype=torch.float64)
    groups = [{"params": [p for p in part if p.requires_grad], "lr": rate} for part, rate in zip(parts, rates)]
    return [group for group in groups if group["params"]]


# %% rate_groups | right | a tuple of groups
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    groups = [{"params": [p for p in part if p.requires_grad], "lr": rate} for part, rate in zip(parts, rates)]
    return tuple(group for group in groups if group["params"])


# %% freeze | wrong | counts well, frees only from 0 on
def freeze(net, first):
    for i, part in enumerate(net):
        if i < first:
            part.requires_grad_(False)
        elif first == 0:
            part.requires_grad_(True)
    return sum(p.numel() for part in net[first:] for p in part.parameters())


# %% cheapest_good | wrong | only the best and the cheapest are compared
def cheapest_good(row):
    _, best, spread = max(row, key=lambda e: e[1])
    if row[0][1] >= best - spread:
        return row[0][0]
    return row[1][0] if row[1][1] >= best - spread else row[2][0]
