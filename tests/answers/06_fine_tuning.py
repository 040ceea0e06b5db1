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


# %% freeze | right | enumerate over the parameters of a dictionary of parts
def freeze(net: nn.Sequential, first: int) -> int:
    by_part = {i: list(part.parameters()) for i, part in enumerate(net.children())}
    for i, parameters in by_part.items():
        for p in parameters:
            p.requires_grad = not i < first
    return sum(math.prod(p.shape) for i, ps in by_part.items() if i >= first for p in ps)


# %% freeze | right | recursion from the end
def freeze(net, first, here=None):
    here = len(net) - 1 if here is None else here
    if here < 0:
        return 0
    net[here].requires_grad_(here >= first)
    own = sum(p.numel() for p in net[here].parameters()) if here >= first else 0
    return own + freeze(net, first, here - 1)


# %% freeze | right | slices, NumPy's sum
import numpy as np


def freeze(net, first):
    net[:first].requires_grad_(False)
    net[first:].requires_grad_(True)
    return np.sum([p.numel() for p in net.parameters() if p.requires_grad], dtype=np.int64)


# %% freeze | right | a tensor comes back
def freeze(net, first):
    net.requires_grad_(True)
    for part in net[:first]:
        part.requires_grad_(False)
    return sum((torch.tensor(p.numel()) for p in net.parameters() if p.requires_grad), torch.tensor(0))


# %% freeze | right | a class that counts
class _Counter:
    def __init__(self):
        self.total = 0

    def visit(self, part, learns):
        for p in part.parameters():
            p.requires_grad_(learns)
            self.total += p.nelement() if learns else 0


def freeze(net, first):
    counter = _Counter()
    for i in range(len(net)):
        counter.visit(net[i], i >= first)
    return counter.total


# %% freeze | wrong | counted from 1
def freeze(net, first):
    for i, part in enumerate(net, start=1):
        part.requires_grad_(i >= first)
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


# %% freeze | wrong | the number that is frozen
def freeze(net, first):
    for i, part in enumerate(net):
        part.requires_grad_(i >= first)
    return sum(p.numel() for p in net.parameters() if not p.requires_grad)


# %% freeze | wrong | takes the frozen parts out
def freeze(net, first):
    for i in range(first):
        net[i] = nn.Identity()
    return sum(p.numel() for p in net.parameters())


# %% rate_groups | right | a running rate from the end, a deque
from collections import deque


def rate_groups(net, head_rate, body_rate, decay):
    groups, with_numbers = deque(), [part for part in net if any(True for _ in part.parameters())]
    *body, head = with_numbers
    rate = body_rate
    for part in body[::-1]:
        learns = [p for p in part.parameters() if p.requires_grad]
        if learns:
            groups.appendleft(dict(params=learns, lr=rate))
        rate *= decay
    if last := [p for p in head.parameters() if p.requires_grad]:
        groups.append(dict(params=last, lr=head_rate))
    return list(groups)


# %% rate_groups | right | recursion over the parts, NumPy rates
import numpy as np


def rate_groups(net, head_rate, body_rate, decay):
    def below(parts, rate):
        if not parts:
            return []
        rest = below(parts[:-1], rate * decay)
        learns = [p for p in parts[-1].parameters() if p.requires_grad]
        return rest + ([{"params": learns, "lr": np.float64(rate)}] if learns else [])

    parts = [part for part in net if list(part.parameters())]
    head = [p for p in parts[-1].parameters() if p.requires_grad]
    return below(parts[:-1], body_rate) + ([{"params": head, "lr": head_rate}] if head else [])


# %% rate_groups | right | more keys than asked for
def rate_groups(net, head_rate, body_rate, decay):
    parts = [(name, list(part.parameters())) for name, part in net.named_children()]
    parts = [(name, ps) for name, ps in parts if ps]
    groups = []
    for i, (name, ps) in enumerate(parts):
        rate = head_rate if i == len(parts) - 1 else body_rate * decay ** (len(parts) - 2 - i)
        ps = [p for p in ps if p.requires_grad]
        if ps:
            groups.append({"name": name, "lr": rate, "params": ps, "weight_decay": 0.0})
    return groups


# %% rate_groups | right | tuples of parameters, itertools.accumulate
import itertools


def rate_groups(net: nn.Sequential, head_rate: float, body_rate: float, decay: float) -> list[dict]:
    parts = [part for part in net if sum(p.numel() for p in part.parameters()) > 0]
    steps = itertools.chain([head_rate, body_rate], itertools.repeat(decay))
    rates = [head_rate, *itertools.accumulate([body_rate] + [decay] * (len(parts) - 2), lambda a, b: a * b)]
    made = (
        {"params": tuple(p for p in part.parameters() if p.requires_grad), "lr": rate}
        for part, rate in zip(parts[::-1], rates)
    )
    return [group for group in made if len(group["params"])][::-1]


# %% rate_groups | right | filter objects, as an optimiser takes them, too
def rate_groups(net, head_rate, body_rate, decay):
    parts = [part for part in net if list(part.parameters())]
    groups = []
    for i, part in enumerate(parts[::-1]):
        rate = head_rate if i == 0 else body_rate * decay ** (i - 1)
        if any(p.requires_grad for p in part.parameters()):
            groups.append({"params": list(filter(lambda p: p.requires_grad, part.parameters())), "lr": rate})
    groups.reverse()
    return groups


# %% rate_groups | wrong | only a ReLU is passed over
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if not isinstance(part, nn.ReLU)]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    groups = [{"params": [p for p in part if p.requires_grad], "lr": rate} for part, rate in zip(parts, rates)]
    return [group for group in groups if group["params"]]


# %% rate_groups | wrong | a frozen head is taken out before the rates are counted
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    while parts and not any(p.requires_grad for p in parts[-1]):
        parts.pop()
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    groups = [{"params": [p for p in part if p.requires_grad], "lr": rate} for part, rate in zip(parts, rates)]
    return [group for group in groups if group["params"]]


# %% rate_groups | wrong | the rate of a frozen part's neighbour: counts only after a learning one
def rate_groups(net, head_rate, body_rate, decay):
    groups, rate = [], body_rate
    parts = [part for part in net if list(part.parameters())]
    for part in parts[-2::-1]:
        learns = [p for p in part.parameters() if p.requires_grad]
        if learns:
            groups.insert(0, {"params": learns, "lr": rate})
            rate *= decay
    head = [p for p in parts[-1].parameters() if p.requires_grad]
    return groups + ([{"params": head, "lr": head_rate}] if head else [])


# %% rate_at | right | a whole table, and one of its places
def rate_at(step, steps, warm, highest):
    up = [highest * (i + 1) / warm for i in range(warm)]
    down = [highest * 0.5 * (1 + math.cos(math.pi * i / (steps - warm))) for i in range(1, steps - warm + 1)]
    return (up + down)[step]


# %% rate_at | right | a tensor
def rate_at(step: int, steps: int, warm: int, highest: float) -> torch.Tensor:
    s = torch.arange(steps, dtype=torch.float64)
    up = highest * (s + 1) / warm
    t = (s - warm + 1) / (steps - warm)
    return torch.where(s < warm, up, highest * (1 + torch.cos(torch.pi * t)) / 2)[step]


# %% rate_at | right | np.float32
def rate_at(step, steps, warm, highest):
    if step < warm:
        return np.float32(highest * (step + 1) / warm)
    t = np.float32((step - warm + 1) / (steps - warm))
    return np.float32(highest) * (1 + np.cos(np.pi * t, dtype=np.float32)) / np.float32(2)


# %% rate_at | right | PyTorch's schedulers do it
def rate_at(step, steps, warm, highest):
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=highest)
    up = torch.optim.lr_scheduler.LinearLR(optimiser, 1 / warm, 1.0, warm - 1)
    down = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps - warm)
    both = torch.optim.lr_scheduler.SequentialLR(optimiser, [up, down], [warm - 1])
    for _ in range(step):
        optimiser.step()
        both.step()
    return optimiser.param_groups[0]["lr"]


# %% rate_at | right | np.interp and a double angle
def rate_at(step, steps, warm, highest):
    last_warm = warm - 1
    if step <= last_warm:
        return float(np.interp(step, [-1, last_warm], [0.0, highest]))
    t = np.interp(step, [last_warm, steps - 1], [0, 1])
    return highest * math.cos(math.pi * t / 2) ** 2


# %% update | right | a loop over the channels, Python's own statistics
def update(running_mean, running_var, batch, momentum=0.1):
    import statistics

    mean, var = running_mean.clone(), running_var.clone()
    for c in range(batch.shape[1]):
        values = batch[:, c].flatten().tolist()
        mean[c] = (1 - momentum) * mean[c] + momentum * statistics.fmean(values)
        var[c] = (1 - momentum) * var[c] + momentum * statistics.variance(values)
    return mean, var


# %% update | right | F.batch_norm on copies
def update(running_mean, running_var, batch, momentum=0.1):
    from torch.nn import functional as F

    mean, var = running_mean.clone(), running_var.clone()
    F.batch_norm(batch, mean, var, training=True, momentum=momentum)
    return mean, var


# %% update | right | var_mean and lerp
def update(running_mean, running_var, batch, momentum=0.1):
    var, mean = torch.var_mean(batch, dim=(0, 2, 3))
    return running_mean.lerp(mean, momentum), running_var.lerp(var, momentum)


# %% update | right | sums of squares in float64, a named tuple
from typing import NamedTuple


class _Running(NamedTuple):
    mean: torch.Tensor
    var: torch.Tensor


def update(running_mean, running_var, batch, momentum=0.1):
    x = batch.double()
    n = x.numel() // x.size(1)
    mean = x.sum((0, 2, 3)) / n
    var = ((x - mean.view(1, -1, 1, 1)) ** 2).sum((0, 2, 3)) / (n - 1)
    return _Running(*(old * (1 - momentum) + new * momentum for old, new in ((running_mean, mean), (running_var, var))))


# %% update | right | einops-like: permute, reshape, biased times n / (n - 1)
def update(
    running_mean: torch.Tensor, running_var: torch.Tensor, batch: torch.Tensor, momentum: float = 0.1
) -> list[torch.Tensor]:
    x = batch.permute(1, 0, 2, 3).reshape(batch.shape[1], -1)
    n = x.shape[1]
    unbiased = x.var(dim=1, unbiased=False) * n / (n - 1)
    return [
        torch.add(running_mean * (1 - momentum), x.mean(1), alpha=momentum),
        running_var * (1 - momentum) + momentum * unbiased,
    ]


# %% update | right | a stacked tensor (2, C)
def update(running_mean, running_var, batch, momentum=0.1):
    old = torch.stack([running_mean, running_var])
    new = torch.stack([batch.mean((0, 2, 3)), batch.var((0, 2, 3))])
    return old + momentum * (new - old)


# %% update | wrong | only the variance in place
def update(running_mean, running_var, batch, momentum=0.1):
    running_var.lerp_(batch.var((0, 2, 3)), momentum)
    return running_mean.lerp(batch.mean((0, 2, 3)), momentum), running_var


# %% update | wrong | remembers the first running values
_state = {}


def update(running_mean, running_var, batch, momentum=0.1):
    mean, var = _state.setdefault(len(running_mean), (running_mean.clone(), running_var.clone()))
    new = (
        (1 - momentum) * mean + momentum * batch.mean((0, 2, 3)),
        (1 - momentum) * var + momentum * batch.var((0, 2, 3)),
    )
    _state[len(running_mean)] = new
    return new


# %% advise | right | match
def advise(per_class: int, similar: bool, enough: int = 50) -> str:
    match per_class < enough, bool(similar):
        case True, True:
            return "linear on top codes"
        case True, False:
            return "linear on an earlier stage"
        case False, True:
            return "fine-tune a few layers or all"
        case _:
            return "fine-tune all"


# %% advise | right | a table by whole numbers, keyword arguments
def advise(per_class, similar, enough=50):
    table = [
        ["fine-tune all", "fine-tune a few layers or all"],
        ["linear on an earlier stage", "linear on top codes"],
    ]
    return table[int(per_class < enough)][int(similar)]


# %% advise | right | NumPy's text
def advise(per_class, similar, enough=50):
    rows = np.array(
        [["linear on an earlier stage", "linear on top codes"], ["fine-tune all", "fine-tune a few layers or all"]]
    )
    return rows[int(per_class >= enough), int(similar)]


# %% advise | right | built of parts, in capitals
def advise(per_class, similar, enough=50):
    little = not per_class >= enough
    kind = "Linear on " if little else "Fine-tune "
    if little:
        return kind + ("top codes" if similar else "an earlier stage")
    return kind + ("a few layers or all" if similar else "all")


# %% advise | right | any keywords
def advise(*args, **kwargs):
    names = dict(zip(("per_class", "similar", "enough"), args)) | kwargs
    little = names["per_class"] < names.get("enough", 50)
    if little and names["similar"]:
        return "linear on top codes"
    elif little:
        return "linear on an earlier stage"
    elif names["similar"]:
        return "fine-tune a few layers or all"
    else:
        return "fine-tune all"


# %% cheapest_good | right | sorted, then a filter
def cheapest_good(row):
    by_mean = sorted(row, key=lambda entry: -entry[1])
    limit = by_mean[0][1] - by_mean[0][2]
    return next(filter(lambda entry: entry[1] >= limit, row))[0]


# %% cheapest_good | right | operator.itemgetter, unpacking, an early return
from operator import itemgetter


def cheapest_good(row: list[tuple[str, float, float]]) -> str:
    name, top, spread = max(row, key=itemgetter(1))
    for method, mean, _ in row:
        if method == name:
            return method
        if not mean < top - spread:
            return method


# %% cheapest_good | right | recursion from the cheap end
def cheapest_good(row, limit=None):
    if limit is None:
        _, top, spread = max(row, key=lambda e: e[1])
        limit = top - spread
    (method, mean, _), *dearer = row
    return method if mean >= limit else cheapest_good(dearer, limit)


# %% cheapest_good | right | a tensor of means, argmax of a mask
def cheapest_good(row):
    names, means, spreads = zip(*row)
    means, spreads = torch.tensor(means, dtype=torch.float64), torch.tensor(spreads, dtype=torch.float64)
    best = means.argmax()
    return names[(means >= means[best] - spreads[best]).int().argmax()]


# %% cheapest_good | right | NumPy's text comes back
def cheapest_good(row):
    names = np.array([entry[0] for entry in row])
    means, spreads = np.array([entry[1:] for entry in row]).T
    good = means >= means.max() - spreads[means.argmax()]
    return names[good][0]


# %% cheapest_good | right | the difference to the best against its spread
def cheapest_good(row):
    _, top, spread = max((entry for entry in row), key=lambda entry: entry[1])
    behind = {method: top - mean for method, mean, _ in row}
    return [method for method in behind if behind[method] <= spread][0]


# %% cheapest_good | wrong | a spread in per cent of the best
def cheapest_good(row):
    _, best, spread = max(row, key=lambda e: e[1])
    return next(method for method, mean, _ in row if mean >= best * (1 - spread))


# %% advise | wrong | an `enough` below 50 is not believed
def advise(per_class, similar, enough=50):
    if per_class < max(enough, 50):
        return "linear on top codes" if similar else "linear on an earlier stage"
    return "fine-tune a few layers or all" if similar else "fine-tune all"


# %% advise | wrong | `enough` is only looked at when it is given
def advise(per_class, similar, enough=50):
    little = per_class < 50 or enough != 50
    if little:
        return "linear on top codes" if similar else "linear on an earlier stage"
    return "fine-tune a few layers or all" if similar else "fine-tune all"


# %% rate_at | wrong | a warm-up of one step divides by 0
def rate_at(step, steps, warm, highest):
    if step < warm:
        return highest / warm + (highest - highest / warm) * step / (warm - 1)
    t = (step - (warm - 1)) / (steps - warm)
    return highest * (1 + math.cos(math.pi * t)) / 2


# %% cheapest_good | wrong | the limit rounded to whole points
def cheapest_good(row):
    _, best, spread = max(row, key=lambda e: e[1])
    limit = round(best - spread, 2)
    return next(method for method, mean, _ in row if mean >= limit)


# %% rate_groups | wrong | activations and pooling are known by name, others count
def rate_groups(net, head_rate, body_rate, decay):
    parts = [part for part in net if type(part).__name__ not in ("ReLU", "MaxPool2d", "AvgPool2d")]
    groups = []
    for i, part in enumerate(parts):
        rate = head_rate if i == len(parts) - 1 else body_rate * decay ** (len(parts) - 2 - i)
        learns = [p for p in part.parameters() if p.requires_grad]
        if learns:
            groups.append({"params": learns, "lr": rate})
    return groups


# %% rate_groups | wrong | a part that is frozen in part has no group
def rate_groups(net, head_rate, body_rate, decay):
    parts = [list(part.parameters()) for part in net if list(part.parameters())]
    rates = [body_rate * decay**i for i in range(len(parts) - 1)][::-1] + [head_rate]
    return [{"params": part, "lr": r} for part, r in zip(parts, rates) if all(p.requires_grad for p in part)]


# %% update | wrong | the variance in place, on a view
def update(running_mean, running_var, batch, momentum=0.1):
    x = batch.transpose(0, 1).flatten(1)
    running_var += momentum * (x.var(1) - running_var)
    return running_mean + momentum * (x.mean(1) - running_mean), running_var
