# %% setting | right | a table
def setting(source_labels, target_labels, same_task):
    if target_labels:
        return "inductive"
    return {(True, True): "transductive", (False, False): "unsupervised"}.get((source_labels, same_task), "no transfer")


# %% setting | right | asks in another order
def setting(source_labels, target_labels, same_task):
    if source_labels and same_task and not target_labels:
        return "transductive"
    if not source_labels and not same_task and not target_labels:
        return "unsupervised"
    return "inductive" if target_labels else "no transfer"


# %% setting | wrong | inductive and transductive exchanged
def setting(source_labels, target_labels, same_task):
    if target_labels:
        return "transductive"
    if source_labels:
        return "inductive" if same_task else "no transfer"
    return "no transfer" if same_task else "unsupervised"


# %% setting | wrong | inductive needs source labels
def setting(source_labels, target_labels, same_task):
    if source_labels and target_labels:
        return "inductive"
    if source_labels:
        return "transductive" if same_task else "no transfer"
    return "no transfer" if same_task else "unsupervised"


# %% setting | wrong | ignores the task
def setting(source_labels, target_labels, same_task):
    if target_labels:
        return "inductive"
    return "transductive" if source_labels else "unsupervised"


# %% setting | wrong | inductive only for another task
def setting(source_labels, target_labels, same_task):
    if target_labels:
        return "no transfer" if same_task else "inductive"
    if source_labels:
        return "transductive" if same_task else "no transfer"
    return "no transfer" if same_task else "unsupervised"


# %% setting | wrong | unsupervised also for the same task
def setting(source_labels, target_labels, same_task):
    if target_labels:
        return "inductive"
    if source_labels:
        return "transductive" if same_task else "no transfer"
    return "unsupervised"


# %% keep_first | right | deep copies
def keep_first(source, target, n):
    for i in range(n):
        target[i] = copy.deepcopy(source[i]).eval()
        for weights in target[i].parameters():
            weights.requires_grad = False
    return target


# %% keep_first | right | slices
def keep_first(source, target, n):
    kept = target[:n]
    kept.load_state_dict(source[:n].state_dict())
    kept.requires_grad_(False).eval()
    return target


# %% keep_first | wrong | the same modules in both
def keep_first(source, target, n):
    for i in range(n):
        target[i] = source[i].requires_grad_(False).eval()
    return target


# %% keep_first | wrong | forgets the BatchNorm statistics
def keep_first(source, target, n):
    for i in range(n):
        for mine, theirs in zip(target[i].parameters(), source[i].parameters(), strict=True):
            mine.data.copy_(theirs.data)
        target[i].requires_grad_(False).eval()
    return target


# %% keep_first | wrong | freezes without evaluation mode
def keep_first(source, target, n):
    for i in range(n):
        target[i].load_state_dict(source[i].state_dict())
        target[i].requires_grad_(False)
    return target


# %% keep_first | wrong | the bias goes on learning
def keep_first(source, target, n):
    for i in range(n):
        target[i].load_state_dict(source[i].state_dict())
        target[i].weight.requires_grad_(False)
        target[i].eval()
    return target


# %% keep_first | wrong | a new network, the target as before
def keep_first(source, target, n):
    kept = copy.deepcopy(source[:n]).requires_grad_(False).eval()
    return nn.Sequential(*kept, *target[n:])


# %% keep_first | wrong | doesn't freeze
def keep_first(source, target, n):
    for i in range(n):
        target[i].load_state_dict(source[i].state_dict())
        target[i].eval()
    return target


# %% keep_first | wrong | one layer too many
def keep_first(source, target, n):
    for i in range(min(n + 1, len(target))):
        target[i].load_state_dict(source[i].state_dict())
        target[i].requires_grad_(False)
        target[i].eval()
    return target


# %% keep_first | wrong | copies everything, freezes n
def keep_first(source, target, n):
    target.load_state_dict(source.state_dict())
    for i in range(n):
        target[i].requires_grad_(False).eval()
    return target


# %% keep_first | wrong | the whole network in evaluation mode
def keep_first(source, target, n):
    for i in range(n):
        target[i].load_state_dict(source[i].state_dict())
        target[i].requires_grad_(False)
    return target.eval()


# %% keep_first | wrong | returns nothing useful
def keep_first(source, target, n):
    for i in range(n):
        target[i].load_state_dict(source[i].state_dict())
        target[i].requires_grad_(False).eval()
    return source


# %% verdict | right | plain Python
def verdict(new, old):
    differences = [a - b for a, b in zip(new, old, strict=True)]
    count = len(differences)
    mean = sum(differences) / count
    error = (sum((d - mean) ** 2 for d in differences) / (count - 1) / count) ** 0.5
    return "helps" if mean > 2 * error else "harms" if mean < -2 * error else "can't tell"


# %% verdict | right | the statistics module
def verdict(new, old):
    import statistics

    d = [a - b for a, b in zip(new, old, strict=True)]
    ratio = statistics.mean(d) / (statistics.stdev(d) / len(d) ** 0.5 or 1)
    if ratio > 2:
        return "helps"
    return "harms" if ratio < -2 else "can't tell"


# %% verdict | wrong | only looks at the means
def verdict(new, old):
    return "helps" if sum(new) > sum(old) else "harms"


# %% verdict | wrong | old minus new
def verdict(new, old):
    d = torch.tensor(old) - torch.tensor(new)
    mean, error = d.mean(), d.std() / len(d) ** 0.5
    return "helps" if mean > 2 * error else "harms" if mean < -2 * error else "can't tell"


# %% verdict | wrong | the spread, not the standard error
def verdict(new, old):
    d = torch.tensor(new) - torch.tensor(old)
    mean, error = d.mean(), d.std()
    return "helps" if mean > 2 * error else "harms" if mean < -2 * error else "can't tell"


# %% verdict | wrong | not in pairs
def verdict(new, old):
    new, old = torch.tensor(new), torch.tensor(old)
    error = ((new.var() + old.var()) / len(new)) ** 0.5
    mean = new.mean() - old.mean()
    return "helps" if mean > 2 * error else "harms" if mean < -2 * error else "can't tell"


# %% verdict | wrong | the population's standard deviation
def verdict(new, old):
    difference = torch.tensor(new) - torch.tensor(old)
    mean, error = difference.mean(), difference.std(correction=0) / len(difference) ** 0.5
    return "can't tell" if mean.abs() <= 2 * error else "helps" if mean > 0 else "harms"


# %% verdict | wrong | one standard error
def verdict(new, old):
    d = torch.tensor(new) - torch.tensor(old)
    mean, error = d.mean(), d.std() / len(d) ** 0.5
    return "helps" if mean > error else "harms" if mean < -error else "can't tell"


# %% verdict | wrong | never says harm
def verdict(new, old):
    d = torch.tensor(new) - torch.tensor(old)
    return "helps" if d.mean() > 2 * d.std() / len(d) ** 0.5 else "can't tell"


# %% choose | right | statistics
def choose(results):
    import statistics

    best = max(results.values(), key=statistics.mean)
    limit = statistics.mean(best) - statistics.stdev(best)
    return next(name for name, found in results.items() if statistics.mean(found) >= limit)


# %% choose | right | two loops
def choose(results):
    best = None
    for name, found in results.items():
        if best is None or sum(found) / len(found) > sum(results[best]) / len(results[best]):
            best = name
    found = results[best]
    mean = sum(found) / len(found)
    spread = (sum((v - mean) ** 2 for v in found) / (len(found) - 1)) ** 0.5
    for name, found in results.items():
        if sum(found) / len(found) >= mean - spread:
            return name


# %% choose | wrong | simply the best
def choose(results):
    return max(results, key=lambda name: sum(results[name]) / len(results[name]))


# %% choose | wrong | simply the cheapest
def choose(results):
    return next(iter(results))


# %% choose | wrong | each method's own spread
def choose(results):
    means = {name: torch.tensor(found).mean() for name, found in results.items()}
    top = max(means.values())
    return next(name for name in results if means[name] + torch.tensor(results[name]).std() >= top)


# %% choose | wrong | the best is the one with the best single seed
def choose(results):
    means = {method: torch.tensor(found).mean() for method, found in results.items()}
    best = max(results, key=lambda method: max(results[method]))
    return next(method for method in results if means[method] >= means[best] - torch.tensor(results[best]).std())


# %% choose | wrong | spread without n - 1
def choose(results):
    means = {name: torch.tensor(found).mean() for name, found in results.items()}
    best = max(means, key=means.get)
    limit = means[best] - torch.tensor(results[best]).std(correction=0)
    return next(name for name in results if means[name] >= limit)


# %% choose | wrong | the last that is good enough
def choose(results):
    means = {name: torch.tensor(found).mean() for name, found in results.items()}
    best = max(means, key=means.get)
    limit = means[best] - torch.tensor(results[best]).std()
    return [name for name in results if means[name] >= limit][-1]


# %% choose | wrong | the best single seed
def choose(results):
    best = max(results, key=lambda name: max(results[name]))
    limit = max(results[best]) - torch.tensor(results[best]).std()
    return next(name for name in results if max(results[name]) >= limit)


# %% iou | right | torchvision
def iou(a, b):
    from torchvision.ops import box_iou

    return box_iou(torch.tensor([a], dtype=torch.float), torch.tensor([b], dtype=torch.float)).item()


# %% iou | right | axis by axis
def iou(a, b):
    shared = 1
    for low, high in ((0, 2), (1, 3)):
        shared *= max(min(a[high], b[high]) - max(a[low], b[low]), 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (areas - shared)


# %% iou | wrong | the shared part counted twice
def iou(a, b):
    w = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]))


# %% iou | wrong | divides by the first box
def iou(a, b):
    w = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]))


# %% iou | wrong | negative widths
def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


# %% iou | wrong | no overlap noticed only if both factors are negative
def iou(a, b):
    shared = max(0, (min(a[2], b[2]) - max(a[0], b[0])) * (min(a[3], b[3]) - max(a[1], b[1])))
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


# %% iou | wrong | pixels counted inclusively
def iou(a, b):
    w = max(0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    h = max(0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    area = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return w * h / (sum(area) - w * h)


# %% iou | wrong | divides by the box around both
def iou(a, b):
    w = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return w * h / ((max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1])))


# %% choose | wrong | two spreads
def choose(results):
    means = {method: torch.tensor(found).mean() for method, found in results.items()}
    best = max(means, key=means.get)
    return next(m for m in results if means[m] >= means[best] - 2 * torch.tensor(results[best]).std())


# %% choose | wrong | the median
def choose(results):
    middle = {method: torch.tensor(found).median() for method, found in results.items()}
    best = max(middle, key=middle.get)
    return next(m for m in results if middle[m] >= middle[best] - torch.tensor(results[best]).std())


# %% keep_first | wrong | one layer too many
def keep_first(source, target, n):
    for i in range(min(n + 1, len(target))):
        target[i].load_state_dict(source[i].state_dict())
        target[i].requires_grad_(False)
        target[i].eval()
    return target


# %% iou | wrong | pixels counted with both ends
def iou(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


# %% keep_first | wrong | BatchNorm: only the statistics, not its weight and bias
def keep_first(source, target, n):
    for i in range(n):
        if isinstance(source[i], nn.BatchNorm2d):
            for name, value in source[i].named_buffers():
                getattr(target[i], name).copy_(value)
        else:
            target[i].load_state_dict(source[i].state_dict())
        target[i].requires_grad_(False).eval()
    return target


# %% keep_first | wrong | assumes that each layer has weight and bias
def keep_first(source, target, n):
    for i in range(n):
        s, t = source[i], target[i]
        t.weight = nn.Parameter(s.weight.detach().clone(), requires_grad=False)
        t.bias = nn.Parameter(s.bias.detach().clone(), requires_grad=False)
        if hasattr(s, "running_mean"):
            t.running_mean, t.running_var = s.running_mean.clone(), s.running_var.clone()
            t.num_batches_tracked = s.num_batches_tracked.clone()
        t.eval()
    return target


# %% keep_first | wrong | freezes source first then deep copy
def keep_first(source, target, n):
    source.requires_grad_(False).eval()
    for i in range(n):
        target[i] = copy.deepcopy(source[i])
    return target


# %% keep_first | wrong | source set to eval() for copying
def keep_first(source, target, n):
    source.eval()
    for i in range(n):
        target[i] = copy.deepcopy(source[i])
        for p in target[i].parameters():
            p.requires_grad = False
    return target


# %% keep_first | wrong | weight and bias only, no running statistics, by load of named params
def keep_first(source, target, n):
    for i in range(n):
        target[i].weight = nn.Parameter(source[i].weight.clone().detach(), requires_grad=False)
        target[i].bias = nn.Parameter(source[i].bias.clone().detach(), requires_grad=False)
        target[i].eval()
    return target


# %% keep_first | wrong | last n
def keep_first(source, target, n):
    for i in range(len(target) - n, len(target)):
        target[i] = copy.deepcopy(source[i]).eval().requires_grad_(False)
    return target


# %% verdict | wrong | differences sorted lists
def verdict(new, old):
    import numpy as np

    d = np.sort(new) - np.sort(old)
    m, e = d.mean(), d.std(ddof=1) / np.sqrt(len(d))
    return "helps" if m > 2 * e else "harms" if m < -2 * e else "can't tell"


# %% verdict | wrong | median
def verdict(new, old):
    import numpy as np

    d = np.array(new) - np.array(old)
    m, e = np.median(d), d.std(ddof=1) / np.sqrt(len(d))
    return "helps" if m > 2 * e else "harms" if m < -2 * e else "can't tell"


# %% verdict | wrong | error divided by sqrt(n-1) on top
def verdict(new, old):
    import numpy as np

    d = np.array(new) - np.array(old)
    m, e = d.mean(), d.std(ddof=1) / np.sqrt(len(d) - 1)
    return "helps" if m > 2 * e else "harms" if m < -2 * e else "can't tell"


# %% verdict | wrong | relative gain
def verdict(new, old):
    import numpy as np

    d = (np.array(new) - np.array(old)) / np.array(old)
    m, e = d.mean(), d.std(ddof=1) / np.sqrt(len(d))
    return "helps" if m > 2 * e else "harms" if m < -2 * e else "can't tell"


# %% verdict | wrong | 1.96
def verdict(new, old):
    import numpy as np

    d = np.array(new) - np.array(old)
    m, e = d.mean(), d.std(ddof=1) / np.sqrt(len(d))
    return "helps" if m > 1.96 * e else "harms" if m < -1.96 * e else "can't tell"


# %% verdict | wrong | >=
def verdict(new, old):
    import numpy as np

    d = np.array(new) - np.array(old)
    m, e = d.mean(), d.std(ddof=1) / np.sqrt(len(d))
    return "helps" if m >= 2 * e else "harms" if m <= -2 * e else "can't tell"


# %% verdict | wrong | sum, not mean
def verdict(new, old):
    import numpy as np

    d = np.array(new) - np.array(old)
    m, e = d.sum(), d.std(ddof=1) / np.sqrt(len(d))
    return "helps" if m > 2 * e else "harms" if m < -2 * e else "can't tell"


# %% verdict | wrong | variance instead of sd
def verdict(new, old):
    import numpy as np

    d = np.array(new) - np.array(old)
    m, e = d.mean(), d.var(ddof=1) / np.sqrt(len(d))
    return "helps" if m > 2 * e else "harms" if m < -2 * e else "can't tell"


# %% verdict | wrong | error divided by n, not sqrt n
def verdict(new, old):
    import numpy as np

    d = np.array(new) - np.array(old)
    m, e = d.mean(), d.std(ddof=1) / len(d)
    return "helps" if m > 2 * e else "harms" if m < -2 * e else "can't tell"


# %% verdict | wrong | 5 % margin
def verdict(new, old):
    import numpy as np

    d = np.array(new) - np.array(old)
    m = d.mean()
    return "helps" if m > 0.01 else "harms" if m < -0.01 else "can't tell"


# %% verdict | wrong | n = 3 hard-coded
def verdict(new, old):
    import numpy as np

    d = np.array(new) - np.array(old)
    m, e = d.mean(), d.std(ddof=1) / 3**0.5
    return "helps" if m > 2 * e else "harms" if m < -2 * e else "can't tell"


# %% verdict | wrong | numpy std default ddof=0
def verdict(new, old):
    import numpy as np

    d = np.array(new) - np.array(old)
    m, e = d.mean(), d.std() / np.sqrt(len(d))
    return "helps" if m > 2 * e else "harms" if m < -2 * e else "can't tell"


# %% verdict | wrong | all seeds better
def verdict(new, old):
    if all(a > b for a, b in zip(new, old)):
        return "helps"
    if all(a < b for a, b in zip(new, old)):
        return "harms"
    return "can't tell"


# %% choose | wrong | last one's spread (the most expensive)
def choose(results):
    import numpy as np

    names = list(results)
    m = np.array([np.mean(results[k]) for k in names])
    b = m.argmax()
    lim = m[b] - np.std(results[names[-1]], ddof=1)
    return names[int(np.argmax(m >= lim))]


# %% choose | wrong | last is the best
def choose(results):
    import numpy as np

    names = list(results)
    m = np.array([np.mean(results[k]) for k in names])
    lim = m[-1] - np.std(results[names[-1]], ddof=1)
    return names[int(np.argmax(m >= lim))]


# %% choose | wrong | the one with all seeds that reach
def choose(results):
    import numpy as np

    m = {k: np.mean(v) for k, v in results.items()}
    b = max(m, key=m.get)
    lim = m[b] - np.std(results[b], ddof=1)
    return next((k for k in m if min(results[k]) >= lim), b)


# %% choose | wrong | sum for best only
def choose(results):
    import numpy as np

    b = max(results, key=lambda k: sum(results[k]))
    lim = np.mean(results[b]) - np.std(results[b], ddof=1)
    return next(k for k in results if np.mean(results[k]) >= lim)


# %% choose | wrong | strictly greater
def choose(results):
    import statistics

    m = {k: sum(v) / len(v) for k, v in results.items()}
    b = max(m, key=m.get)
    lim = m[b] - statistics.stdev(results[b])
    return next((k for k in results if m[k] > lim), b)


# %% choose | wrong | rounds the means to two digits
def choose(results):
    import statistics

    m = {k: round(statistics.mean(v), 2) for k, v in results.items()}
    b = max(m, key=m.get)
    return next(k for k in m if m[k] >= m[b] - statistics.stdev(results[b]))


# %% choose | wrong | np std ddof 0
def choose(results):
    import numpy as np

    names = list(results)
    m = np.array([np.mean(results[k]) for k in names])
    b = m.argmax()
    lim = m[b] - np.std(results[names[b]])
    return names[int(np.argmax(m >= lim))]


# %% choose | wrong | standard error
def choose(results):
    import numpy as np

    names = list(results)
    m = np.array([np.mean(results[k]) for k in names])
    b = m.argmax()
    lim = m[b] - np.std(results[names[b]], ddof=1) / len(results[names[b]]) ** 0.5
    return names[int(np.argmax(m >= lim))]


# %% choose | wrong | sum not mean
def choose(results):
    import numpy as np

    m = {k: np.sum(v) for k, v in results.items()}
    b = max(m, key=m.get)
    lim = m[b] - np.std(results[b], ddof=1)
    return next(k for k in m if m[k] >= lim)


# %% choose | wrong | 1 point tolerance
def choose(results):
    import numpy as np

    m = {k: np.mean(v) for k, v in results.items()}
    b = max(m.values())
    return next(k for k in m if m[k] >= b - 0.01)


# %% choose | wrong | largest spread of all
def choose(results):
    import numpy as np

    names = list(results)
    m = np.array([np.mean(results[k]) for k in names])
    lim = m.max() - max(np.std(v, ddof=1) for v in results.values())
    return names[int(np.argmax(m >= lim))]


# %% iou | wrong | only x clamped
def iou(a, b):
    w = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    h = min(a[3], b[3]) - max(a[1], b[1])
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


# %% iou | wrong | clip the iou not the widths
def iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    return max(0, w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h))


# %% iou | wrong | counts pixels on a grid (only ints)
def iou(a, b):
    A = {(x, y) for x in range(a[0], a[2]) for y in range(a[1], a[3])}
    B = {(x, y) for x in range(b[0], b[2]) for y in range(b[1], b[3])}
    return len(A & B) / len(A | B)


# %% iou | wrong | integer coordinates by int()
def iou(a, b):
    a, b = [int(v) for v in a], [int(v) for v in b]
    w = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    i = w * h
    return i / max(1, (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - i)


# %% iou | wrong | abs instead of max 0
def iou(a, b):
    w = abs(min(a[2], b[2]) - max(a[0], b[0]))
    h = abs(min(a[3], b[3]) - max(a[1], b[1]))
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


# %% iou | wrong | x,y,w,h
def iou(a, b):
    w = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    h = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


# %% setting | wrong | same task with target labels = transductive
def setting(source_labels, target_labels, same_task):
    if source_labels and same_task:
        return "transductive"
    if target_labels:
        return "inductive"
    if not source_labels and not same_task:
        return "unsupervised"
    return "no transfer"


# %% keep_first | right | everything but num_batches_tracked
def keep_first(source, target, n):
    with torch.no_grad():
        for s, t in zip(source[:n], target[:n]):
            for p, q in zip(s.parameters(), t.parameters()):
                q.copy_(p)
            if isinstance(s, nn.BatchNorm2d):
                t.running_mean.copy_(s.running_mean)
                t.running_var.copy_(s.running_var)
            t.requires_grad_(False)
            t.eval()
    return target
