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
    ratio = statistics.mean(d) / (statistics.stdev(d) / len(d) ** 0.5)
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
