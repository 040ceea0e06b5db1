# Right and wrong answers to the exercises of lesson 03. The test tries each against the check, hidden tests included.

# %% gradients | right | autograd
def gradients(x, y, w1, w2):
    a = torch.tensor(float(w1), requires_grad=True)
    b = torch.tensor(float(w2), requires_grad=True)
    ((b * (a * x).relu() - y) ** 2).backward()
    return a.grad.item(), b.grad.item()


# %% gradients | right | two cases
def gradients(x, y, w1, w2):
    if w1 * x <= 0:
        return 0, 0
    error = w2 * w1 * x - y
    return 2 * error * w2 * x, 2 * error * w1 * x


# %% gradients | wrong | forgets the 2 of the square
def gradients(x, y, w1, w2):
    h = max(0, w1 * x)
    return ((w2 * h - y) * w2 * x if w1 * x > 0 else 0, (w2 * h - y) * h)


# %% gradients | wrong | no ReLU on the way back
def gradients(x, y, w1, w2):
    h = max(0, w1 * x)
    return 2 * (w2 * h - y) * w2 * x, 2 * (w2 * h - y) * h


# %% gradients | wrong | no ReLU at all
def gradients(x, y, w1, w2):
    return 2 * (w2 * w1 * x - y) * w2 * x, 2 * (w2 * w1 * x - y) * w1 * x


# %% gradients | wrong | exchanged
def gradients(x, y, w1, w2):
    h = max(0, w1 * x)
    return 2 * (w2 * h - y) * h, (2 * (w2 * h - y) * w2 * x if w1 * x > 0 else 0)


# %% gradients | wrong | the sign of w1 decides
def gradients(x, y, w1, w2):
    h = max(0, w1 * x)
    return (2 * (w2 * h - y) * w2 * x if w1 > 0 else 0, 2 * (w2 * h - y) * h)


# %% gradients | wrong | forgets w2 on the way to w1
def gradients(x, y, w1, w2):
    h = max(0, w1 * x)
    return (2 * (w2 * h - y) * x if w1 * x > 0 else 0, 2 * (w2 * h - y) * h)


# %% gradients | wrong | error the other way round
def gradients(x, y, w1, w2):
    h = max(0, w1 * x)
    return (2 * (y - w2 * h) * w2 * x if w1 * x > 0 else 0, 2 * (y - w2 * h) * h)


# %% diagnosis | right | as it was made
diagnosis = dict(LETTERS)

# %% diagnosis | right | spelled out
diagnosis = {
    "E": "overfit",
    "D": "rate too low",
    "C": "network too small",
    "B": "good",
    "A": "overfit, rate too high",
}

# %% diagnosis | wrong | the two underfit ones exchanged
diagnosis = dict(LETTERS) | {"C": "rate too low", "D": "network too small"}

# %% diagnosis | wrong | the two overfit ones exchanged
diagnosis = dict(LETTERS) | {"A": "overfit", "E": "overfit, rate too high"}

# %% diagnosis | wrong | good and overfit exchanged
diagnosis = dict(LETTERS) | {"B": "overfit", "E": "good"}

# %% diagnosis | wrong | all good
diagnosis = {letter: "good" for letter in "ABCDE"}

# %% diagnosis | wrong | in the order of CASES
diagnosis = dict(zip("ABCDE", CASES))

# %% diagnosis | wrong | one is missing
diagnosis = {letter: LETTERS[letter] for letter in "ABCD"}


# %% diagnose | right | loops
def diagnose(train, validation, target=0.3):
    jumps = 0
    for i in range(1, len(validation)):
        if validation[i] > validation[i - 1] * 1.2:
            jumps += 1
    if jumps >= 3:
        return "overfit, rate too high"
    elif train[-1] > target and train[-1] < 0.9 * train[-6]:
        return "rate too low"
    elif train[-1] > target:
        return "network too small"
    elif validation[-1] > train[-1] + target:
        return "overfit"
    return "good"


# %% diagnose | right | tensors
def diagnose(train, validation, target=0.3):
    train, validation = torch.tensor(train).double(), torch.tensor(validation).double()
    if (validation[1:] / validation[:-1] > 1.2).sum() > 2:
        return "overfit, rate too high"
    if train[-1] <= target:
        return "good" if validation[-1] - train[-1] <= target else "overfit"
    return "network too small" if train[-1] >= 0.9 * train[-6] else "rate too low"


# %% diagnose | wrong | jumps of the training loss
def diagnose(train, validation, target=0.3):
    if sum(b > 1.2 * a for a, b in zip(train, train[1:])) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% diagnose | wrong | asks for underfitting first
def diagnose(train, validation, target=0.3):
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    if sum(b > 1.2 * a for a, b in zip(validation, validation[1:])) >= 3:
        return "overfit, rate too high"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% diagnose | wrong | any rise is a jump
def diagnose(train, validation, target=0.3):
    if sum(b > a for a, b in zip(validation, validation[1:])) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% diagnose | wrong | one jump is enough
def diagnose(train, validation, target=0.3):
    if any(b > 1.2 * a for a, b in zip(validation, validation[1:])):
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% diagnose | wrong | ignores the target
def diagnose(train, validation, target=0.3):
    if sum(b > 1.2 * a for a, b in zip(validation, validation[1:])) >= 3:
        return "overfit, rate too high"
    if train[-1] > 0.3:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > 0.3 else "good"


# %% diagnose | wrong | falls since the first epoch
def diagnose(train, validation, target=0.3):
    if sum(b > 1.2 * a for a, b in zip(validation, validation[1:])) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[0] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% diagnose | wrong | four epochs back
def diagnose(train, validation, target=0.3):
    if sum(b > 1.2 * a for a, b in zip(validation, validation[1:])) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-5] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% diagnose | wrong | the validation loss alone
def diagnose(train, validation, target=0.3):
    if sum(b > 1.2 * a for a, b in zip(validation, validation[1:])) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] > target else "good"


# %% diagnose | wrong | underfit by the validation loss
def diagnose(train, validation, target=0.3):
    if sum(b > 1.2 * a for a, b in zip(validation, validation[1:])) >= 3:
        return "overfit, rate too high"
    if validation[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% standardise | right | flattened by channel
def standardise(train, test):
    flat = train.transpose(0, 1).reshape(train.shape[1], -1)
    mean, deviation = flat.mean(1), flat.std(1, unbiased=False)
    change = lambda x: (x - mean[None, :, None, None]) / deviation[None, :, None, None]
    return change(train), change(test)


# %% standardise | right | channel by channel, on copies
def standardise(train, test):
    train, test = train.clone(), test.clone()
    for c in range(train.shape[1]):
        mean, deviation = train[:, c].mean(), train[:, c].std(correction=0)
        train[:, c], test[:, c] = (train[:, c] - mean) / deviation, (test[:, c] - mean) / deviation
    return [train, test]


# %% standardise | wrong | test by its own statistics
def standardise(train, test):
    change = lambda x: (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True, correction=0)
    return change(train), change(test) if len(test) > 1 else test - 2


# %% standardise | wrong | one mean for all channels
def standardise(train, test):
    mean, deviation = train.mean(), train.std(correction=0)
    return (train - mean) / deviation, (test - mean) / deviation


# %% standardise | wrong | each pixel by itself
def standardise(train, test):
    mean, deviation = train.mean(0, keepdim=True), train.std(0, keepdim=True, correction=0)
    return (train - mean) / deviation, (test - mean) / deviation


# %% standardise | wrong | only centred
def standardise(train, test):
    mean = train.mean((0, 2, 3), keepdim=True)
    return train - mean, test - mean


# %% standardise | wrong | divides by the variance
def standardise(train, test):
    mean, variance = train.mean((0, 2, 3), keepdim=True), train.var((0, 2, 3), keepdim=True, correction=0)
    return (train - mean) / variance, (test - mean) / variance


# %% standardise | wrong | in place
def standardise(train, test):
    mean, deviation = train.mean((0, 2, 3), keepdim=True), train.std((0, 2, 3), keepdim=True, correction=0)
    train -= mean
    train /= deviation
    return train, (test - mean) / deviation


# %% standardise | wrong | test is left as it is
def standardise(train, test):
    mean, deviation = train.mean((0, 2, 3), keepdim=True), train.std((0, 2, 3), keepdim=True, correction=0)
    return (train - mean) / deviation, test


# %% adam_step | right | with lerp
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m, s = m.lerp(g, 1 - beta1), s.lerp(g * g, 1 - beta2)
    return w - rate * (m / (1 - beta1**t)) / ((s / (1 - beta2**t)).sqrt() + eps), m, s


# %% adam_step | right | the correction in the rate
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    new_m, new_s = beta1 * m + g - beta1 * g, beta2 * s + (1 - beta2) * g.pow(2)
    root = (1 - beta2**t) ** 0.5
    return [w - rate / (1 - beta1**t) * new_m * root / (new_s.sqrt() + eps * root), new_m, new_s]


# %% adam_step | wrong | no correction
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
    return w - rate * m / (s.sqrt() + eps), m, s


# %% adam_step | wrong | returns the corrected means
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m = (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)
    s = (beta2 * s + (1 - beta2) * g**2) / (1 - beta2**t)
    return w - rate * m / (s.sqrt() + eps), m, s


# %% adam_step | wrong | the first step's correction always
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
    return w - rate * (m / (1 - beta1)) / ((s / (1 - beta2)).sqrt() + eps), m, s


# %% adam_step | wrong | no root
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
    return w - rate * (m / (1 - beta1**t)) / (s / (1 - beta2**t) + eps), m, s


# %% adam_step | wrong | eps under the root
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
    return w - rate * (m / (1 - beta1**t)) / (s / (1 - beta2**t) + eps).sqrt(), m, s


# %% adam_step | wrong | betas exchanged
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m, s = beta2 * m + (1 - beta2) * g, beta1 * s + (1 - beta1) * g**2
    return w - rate * (m / (1 - beta2**t)) / ((s / (1 - beta1**t)).sqrt() + eps), m, s


# %% adam_step | wrong | changes what was given
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m *= beta1
    m += (1 - beta1) * g
    s *= beta2
    s += (1 - beta2) * g**2
    return w - rate * (m / (1 - beta1**t)) / ((s / (1 - beta2**t)).sqrt() + eps), m, s


# %% dropout | right | torch.where
def dropout(x, p, training):
    return torch.where(torch.rand(x.shape) < p, 0.0, x / (1 - p)) if training else x


# %% dropout | right | a Bernoulli mask
def dropout(x, p, training):
    if training:
        mask = torch.bernoulli(torch.full(x.shape, 1.0 - p))
        x = x * mask / (1 - p)
    return x


# %% dropout | wrong | no factor
def dropout(x, p, training):
    return x * (torch.rand(x.shape) >= p) if training else x


# %% dropout | wrong | p is what stays
def dropout(x, p, training):
    return x * (torch.rand(x.shape) < p) / p if training else x


# %% dropout | wrong | also when testing
def dropout(x, p, training):
    return x * (torch.rand(x.shape) >= p) / (1 - p)


# %% dropout | wrong | scales in test mode instead
def dropout(x, p, training):
    return x * (torch.rand(x.shape) >= p) if training else x * (1 - p)


# %% dropout | wrong | one mask for all rows
def dropout(x, p, training):
    return x * (torch.rand(x.shape[-1]) >= p) / (1 - p) if training else x


# %% dropout | wrong | whole rows
def dropout(x, p, training):
    return x * (torch.rand(len(x), *[1] * (x.ndim - 1)) >= p) / (1 - p) if training else x


# %% dropout | wrong | always the same mask
def dropout(x, p, training):
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) >= p
    return x * mask / (1 - p) if training else x


# %% dropout | wrong | in place
def dropout(x, p, training):
    if training:
        x *= (torch.rand(x.shape) >= p) / (1 - p)
    return x


# %% batch_norm | right | the library's own
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    mean, var = mean.clone(), var.clone()
    return F.batch_norm(x, mean, var, gamma, beta, training, momentum, eps), mean, var


# %% batch_norm | right | flattened by channel
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    flat = x.transpose(0, 1).flatten(1)
    m, v = (flat.mean(1), ((flat - flat.mean(1, keepdim=True)) ** 2).mean(1)) if training else (mean, var)
    out = (flat - m[:, None]) * (gamma / torch.sqrt(v + eps))[:, None] + beta[:, None]
    out = out.view(x.shape[1], x.shape[0], *x.shape[2:]).transpose(0, 1)
    if training:
        mean, var = mean + momentum * (m - mean), var + momentum * (flat.var(1) - var)
    return [out, mean, var]


# %% batch_norm | wrong | running variance by n
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    m, v = mean, var
    if training:
        m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        mean, var = (1 - momentum) * mean + momentum * m, (1 - momentum) * var + momentum * v
    out = (x - m[:, None, None]) / (v[:, None, None] + eps).sqrt() * gamma[:, None, None] + beta[:, None, None]
    return out, mean, var


# %% batch_norm | wrong | x̂ by n - 1
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    m, v = mean, var
    if training:
        m, v = x.mean((0, 2, 3)), x.var((0, 2, 3))
        mean, var = (1 - momentum) * mean + momentum * m, (1 - momentum) * var + momentum * v
    out = (x - m[:, None, None]) / (v[:, None, None] + eps).sqrt() * gamma[:, None, None] + beta[:, None, None]
    return out, mean, var


# %% batch_norm | wrong | momentum the other way round
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    m, v = mean, var
    if training:
        m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        mean, var = momentum * mean + (1 - momentum) * m, momentum * var + (1 - momentum) * x.var((0, 2, 3))
    out = (x - m[:, None, None]) / (v[:, None, None] + eps).sqrt() * gamma[:, None, None] + beta[:, None, None]
    return out, mean, var


# %% batch_norm | wrong | the batch's statistics in both modes
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    out, new_mean, new_var = F.batch_norm(x, None, None, gamma, beta, True, momentum, eps), mean, var
    if training:
        new_mean = (1 - momentum) * mean + momentum * x.mean((0, 2, 3))
        new_var = (1 - momentum) * var + momentum * x.var((0, 2, 3))
    return out, new_mean, new_var


# %% batch_norm | wrong | the running statistics in both modes
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    out = F.batch_norm(x, mean, var, gamma, beta, False, momentum, eps)
    if training:
        mean, var = 0.9 * mean + 0.1 * x.mean((0, 2, 3)), 0.9 * var + 0.1 * x.var((0, 2, 3))
    return out, mean, var


# %% batch_norm | wrong | running statistics move in both modes
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    out = F.batch_norm(x, mean.clone(), var.clone(), gamma, beta, training, momentum, eps)
    new_mean = (1 - momentum) * mean + momentum * x.mean((0, 2, 3))
    return out, new_mean, (1 - momentum) * var + momentum * x.var((0, 2, 3))


# %% batch_norm | wrong | ignores gamma and beta
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    mean, var = mean.clone(), var.clone()
    return F.batch_norm(x, mean, var, None, None, training, momentum, eps), mean, var


# %% batch_norm | wrong | fixed eps and momentum
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    mean, var = mean.clone(), var.clone()
    return F.batch_norm(x, mean, var, gamma, beta, training, 0.1, 1e-5), mean, var


# %% batch_norm | wrong | each pixel by itself
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    new_mean, new_var = mean.clone(), var.clone()
    out = F.batch_norm(x, new_mean, new_var, gamma, beta, training, momentum, eps)
    if training:
        normal = (x - x.mean(0)) / (x.var(0, correction=0) + eps).sqrt()
        out = normal * gamma[:, None, None] + beta[:, None, None]
    return out, new_mean, new_var


# %% batch_norm | wrong | moves the caller's statistics
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    return F.batch_norm(x, mean, var, gamma, beta, training, momentum, eps), mean, var


# %% diagnosis | wrong | both pairs exchanged
diagnosis = dict(LETTERS) | {
    "C": "rate too low",
    "D": "network too small",
    "A": "overfit",
    "E": "overfit, rate too high",
}

# %% diagnosis | wrong | a list
diagnosis = list(LETTERS.values())


# %% diagnose | wrong | a jump is a difference
def diagnose(train, validation, target=0.3):
    if sum(later - now > 0.2 for now, later in pairwise(validation)) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% diagnose | wrong | the lowest training loss
def diagnose(train, validation, target=0.3):
    if sum(later > 1.2 * now for now, later in pairwise(validation)) >= 3:
        return "overfit, rate too high"
    if min(train) > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% diagnose | wrong | at the target
def diagnose(train, validation, target=0.3):
    if sum(later > 1.2 * now for now, later in pairwise(validation)) >= 3:
        return "overfit, rate too high"
    if train[-1] >= target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% standardise | right | numpy
def standardise(train, test):
    train, test = train.numpy(), test.numpy()
    mean, deviation = train.mean((0, 2, 3), keepdims=True), train.std((0, 2, 3), keepdims=True)
    return (train - mean) / deviation, (test - mean) / deviation


# %% standardise | wrong | by the variance
def standardise(train, test):
    mean, variance = train.mean((0, 2, 3), keepdim=True), train.var((0, 2, 3), keepdim=True, correction=0)
    return (train - mean) / variance, (test - mean) / variance


# %% adam_step | wrong | t is always 1
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * g**2
    return w - rate * m / (1 - beta1) / ((s / (1 - beta2)).sqrt() + eps), m, s


# %% dropout | right | numpy
def dropout(x, p, training):
    if not training:
        return x
    return x.numpy() * (torch.rand(x.shape).numpy() >= p) / (1 - p)


# %% dropout | wrong | always the same number
def dropout(x, p, training):
    if not training:
        return x
    keep = torch.ones(x.numel())
    keep[torch.randperm(x.numel())[: int(p * x.numel())]] = 0
    return x * keep.view(x.shape) / (1 - p)


# %% dropout | wrong | changes what was given
def dropout(x, p, training):
    if training:
        x *= (torch.rand(x.shape) >= p) / (1 - p)
    return x


# %% gradients | wrong | if any of the inputs is negative, 0
def gradients(x, y, w1, w2):
    if w1 < 0:
        return 0, 0
    h = w1 * x
    e = 2 * (w2 * h - y)
    return e * w2 * x, e * h


# %% gradients | wrong | no relu at all
def gradients(x, y, w1, w2):
    h = w1 * x
    e = 2 * (w2 * h - y)
    return e * w2 * x, e * h


# %% gradients | wrong | gate on the output w2*h > 0
def gradients(x, y, w1, w2):
    h = max(0, w1 * x)
    e = 2 * (w2 * h - y)
    return e * w2 * x * (w2 * h > 0), e * h


# %% gradients | wrong | |w1 x|
def gradients(x, y, w1, w2):
    if w1 * x < 0:
        return 0, 0
    h = abs(w1) * x
    e = 2 * (w2 * h - y)
    return e * w2 * abs(x), e * h


# %% gradients | wrong | dw1 with w2 missing
def gradients(x, y, w1, w2):
    h = max(0, w1 * x)
    e = 2 * (w2 * h - y)
    return e * x * (h > 0), e * h


# %% gradients | wrong | hard-coded
def gradients(x, y, w1, w2):
    if w1 < 0:
        return (0, 0)
    return (24, 4) if w2 == 3 else (-4, -8)


# %% diagnosis | right | a small slip in typing: capital and a trailing space
diagnosis = {k: v.capitalize() for k, v in LETTERS.items()}


# %% diagnosis | wrong | name -> letter
diagnosis = {v: k for k, v in LETTERS.items()}


# %% diagnosis | wrong | misspelt names
diagnosis = {k: v.replace("overfit, rate too high", "overfit with oscillation") for k, v in LETTERS.items()}


# %% diagnose | wrong | 2 jumps suffice
def diagnose(train, validation, target=0.3):
    jumps = sum(b > 1.2 * a for a, b in zip(validation, validation[1:]))
    if jumps >= 2:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    if validation[-1] - train[-1] > target:
        return "overfit"
    return "good"


# %% diagnose | wrong | jump question asked last
def diagnose(train, validation, target=0.3):
    jumps = sum(b > 1.2 * a for a, b in zip(validation, validation[1:]))
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    if validation[-1] - train[-1] > target:
        return "overfit, rate too high" if jumps >= 3 else "overfit"
    return "good"


# %% diagnose | wrong | train[1]
def diagnose(train, validation, target=0.3):
    jumps = sum(b > 1.2 * a for a, b in zip(validation, validation[1:]))
    if jumps >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[1] else "network too small"
    if validation[-1] - train[-1] > target:
        return "overfit"
    return "good"


# %% diagnose | wrong | fell by more than 0.1 absolute
def diagnose(train, validation, target=0.3):
    jumps = sum(b > 1.2 * a for a, b in zip(validation, validation[1:]))
    if jumps >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-6] - train[-1] > 0.1 else "network too small"
    if validation[-1] - train[-1] > target:
        return "overfit"
    return "good"


# %% diagnose | wrong | target ignored in the gap
def diagnose(train, validation, target=0.3):
    jumps = sum(b > 1.2 * a for a, b in zip(validation, validation[1:]))
    if jumps >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    if validation[-1] - train[-1] > 0.3:
        return "overfit"
    return "good"


# %% diagnose | wrong | max gap rather than the last
def diagnose(train, validation, target=0.3):
    jumps = sum(b > 1.2 * a for a, b in zip(validation, validation[1:]))
    if jumps >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    if max(v - t for t, v in zip(train, validation)) > target:
        return "overfit"
    return "good"


# %% diagnose | wrong | misses the last pair
def diagnose(train, validation, target=0.3):
    jumps = sum(validation[i + 1] > 1.2 * validation[i] for i in range(len(validation) - 2))
    if jumps >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    if validation[-1] - train[-1] > target:
        return "overfit"
    return "good"


# %% diagnose | wrong | jumps where the rise is 20 % of the later value
def diagnose(train, validation, target=0.3):
    jumps = sum(b - a > 0.2 * b for a, b in zip(validation, validation[1:]))
    if jumps >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    if validation[-1] - train[-1] > target:
        return "overfit"
    return "good"


# %% standardise | right | pure python lists
def standardise(train, test):
    out = []
    C = train.shape[1]
    ms = []
    for c in range(C):
        vals = train[:, c].flatten().tolist()
        m = sum(vals) / len(vals)
        ms.append((m, (sum((v - m) ** 2 for v in vals) / len(vals)) ** 0.5))
    for a in (train, test):
        out.append(
            [[[[(v - ms[c][0]) / ms[c][1] for v in row] for row in img[c]] for c in range(C)] for img in a.tolist()]
        )
    return tuple(out)


# %% standardise | wrong | test by its own (nan in the example)
def standardise(train, test):
    f = lambda a: (a - a.mean((0, 2, 3), keepdim=True)) / a.std((0, 2, 3), keepdim=True, correction=0)
    return f(train), f(test)


# %% standardise | wrong | correction=1
def standardise(train, test):
    m, s = train.mean((0, 2, 3), keepdim=True), train.std((0, 2, 3), keepdim=True)
    return (train - m) / s, (test - m) / s


# %% standardise | wrong | train and test together
def standardise(train, test):
    a = torch.cat([train, test])
    m, s = a.mean((0, 2, 3), keepdim=True), a.std((0, 2, 3), keepdim=True, correction=0)
    return (train - m) / s, (test - m) / s


# %% standardise | wrong | mutates
def standardise(train, test):
    m, s = train.mean((0, 2, 3), keepdim=True), train.std((0, 2, 3), keepdim=True, correction=0)
    train -= m
    train /= s
    test -= m
    test /= s
    return train, test


# %% adam_step | right | uses torch.optim.Adam with state
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    p = nn.Parameter(w.clone())
    p.grad = g.clone()
    o = torch.optim.Adam([p], lr=rate, betas=(beta1, beta2), eps=eps)
    o.state[p] = {"step": torch.tensor(float(t - 1)), "exp_avg": m.clone(), "exp_avg_sq": s.clone()}
    o.step()
    return p.detach(), o.state[p]["exp_avg"], o.state[p]["exp_avg_sq"]


# %% adam_step | wrong | constants ignore beta arguments
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m = 0.9 * m + 0.1 * g
    s = 0.999 * s + 0.001 * g**2
    return w - rate * (m / (1 - 0.9**t)) / ((s / (1 - 0.999**t)).sqrt() + eps), m, s


# %% adam_step | wrong | eps ignored
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * g**2
    return w - rate * (m / (1 - beta1**t)) / (s / (1 - beta2**t)).sqrt(), m, s


# %% adam_step | wrong | in place
def adam_step(w, g, m, s, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    m *= beta1
    m += (1 - beta1) * g
    s *= beta2
    s += (1 - beta2) * g**2
    w -= rate * (m / (1 - beta1**t)) / ((s / (1 - beta2**t)).sqrt() + eps)
    return w, m, s


# %% dropout | right | F.dropout
def dropout(x, p, training):
    return F.dropout(x, p, training)


# %% dropout | wrong | p is keep
def dropout(x, p, training):
    if not training:
        return x
    return x * (torch.rand(x.shape) < p) / p


# %% dropout | wrong | no scaling
def dropout(x, p, training):
    if not training:
        return x
    return x * (torch.rand(x.shape) > p)


# %% dropout | wrong | one mask for rows
def dropout(x, p, training):
    if not training:
        return x
    return x * (torch.rand(x.shape[:1] + (1,) * (x.ndim - 1)) > p) / (1 - p)


# %% dropout | wrong | every 1/p-th value (no randomness)
def dropout(x, p, training):
    if not training:
        return x
    out = x.clone() / (1 - p)
    out.view(-1)[:: round(1 / p)] = 0
    return out


# %% dropout | wrong | training ignored
def dropout(x, p, training):
    return x * (torch.rand(x.shape) > p) / (1 - p)


# %% batch_norm | wrong | momentum reversed
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    s = lambda a: a.view(1, -1, 1, 1)
    mu, v = mean, var
    if training:
        mu, v, u = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0), x.var((0, 2, 3))
        mean, var = momentum * mean + (1 - momentum) * mu, momentum * var + (1 - momentum) * u
    return s(gamma) * (x - s(mu)) / (s(v) + eps).sqrt() + s(beta), mean, var


# %% batch_norm | wrong | biased running variance
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    s = lambda a: a.view(1, -1, 1, 1)
    mu, v = mean, var
    if training:
        mu, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        mean, var = (1 - momentum) * mean + momentum * mu, (1 - momentum) * var + momentum * v
    return s(gamma) * (x - s(mu)) / (s(v) + eps).sqrt() + s(beta), mean, var


# %% batch_norm | wrong | n/(n-1) with n = number of images
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    s = lambda a: a.view(1, -1, 1, 1)
    mu, v = mean, var
    if training:
        n = len(x)
        mu, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        mean, var = (1 - momentum) * mean + momentum * mu, (1 - momentum) * var + momentum * v * n / (n - 1)
    return s(gamma) * (x - s(mu)) / (s(v) + eps).sqrt() + s(beta), mean, var


# %% batch_norm | wrong | axis 0 only
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    s = lambda a: a.view(1, -1, 1, 1)
    if training:
        mu, v, u = x.mean(0, keepdim=True), x.var(0, keepdim=True, correction=0), x.var((0, 2, 3))
        mean, var = (1 - momentum) * mean + momentum * x.mean((0, 2, 3)), (1 - momentum) * var + momentum * u
        return s(gamma) * (x - mu) / (v + eps).sqrt() + s(beta), mean, var
    return s(gamma) * (x - s(mean)) / (s(var) + eps).sqrt() + s(beta), mean, var


# %% batch_norm | wrong | all channels together
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    s = lambda a: a.view(1, -1, 1, 1)
    if training:
        mu, v, u = x.mean(), x.var(correction=0), x.var()
        mean, var = (1 - momentum) * mean + momentum * mu, (1 - momentum) * var + momentum * u
        return s(gamma) * (x - mu) / (v + eps).sqrt() + s(beta), mean, var
    return s(gamma) * (x - s(mean)) / (s(var) + eps).sqrt() + s(beta), mean, var


# %% batch_norm | wrong | eps outside the root
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    s = lambda a: a.view(1, -1, 1, 1)
    mu, v = mean, var
    if training:
        mu, v, u = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0), x.var((0, 2, 3))
        mean, var = (1 - momentum) * mean + momentum * mu, (1 - momentum) * var + momentum * u
    return s(gamma) * (x - s(mu)) / (s(v).sqrt() + eps) + s(beta), mean, var


# %% batch_norm | wrong | mutates running in place
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    return F.batch_norm(x, mean, var, gamma, beta, training, momentum, eps), mean, var


# %% batch_norm | wrong | constant 2 = n/(n-1)
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    s = lambda a: a.view(1, -1, 1, 1)
    mu, v = mean, var
    if training:
        mu, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        mean, var = (1 - momentum) * mean + momentum * mu, (1 - momentum) * var + momentum * 2 * v
    return s(gamma) * (x - s(mu)) / (s(v) + eps).sqrt() + s(beta), mean, var


# %% diagnose | right | one array of both curves (they are as long as each other, says the text)
import numpy as np


def diagnose(train, validation, target=0.3):
    t, v = np.array([train, validation], dtype=float)
    if (v[1:] > 1.2 * v[:-1]).sum() >= 3:
        return "overfit, rate too high"
    if t[-1] > target:
        return "rate too low" if t[-1] < 0.9 * t[-6] else "network too small"
    return "overfit" if v[-1] - t[-1] > target else "good"


# %% diagnose | right | asserts the lengths
def diagnose(train, validation, target=0.3):
    assert len(train) == len(validation) >= 6, "one number an epoch"
    if sum(b > 1.2 * a for a, b in pairwise(validation)) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% diagnose | right | zip strict
def diagnose(train, validation, target=0.3):
    epochs = list(zip(train, validation, strict=True))
    if sum(b[1] > 1.2 * a[1] for a, b in pairwise(epochs)) >= 3:
        return "overfit, rate too high"
    t, v = epochs[-1]
    if t > target:
        return "rate too low" if t < 0.9 * epochs[-6][0] else "network too small"
    return "overfit" if v - t > target else "good"


# %% diagnose | wrong | a jump is 40 %
def diagnose(train, validation, target=0.3):
    if sum(b > 1.4 * a for a, b in pairwise(validation)) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% diagnose | wrong | the fall has to be 20 %
def diagnose(train, validation, target=0.3):
    if sum(b > 1.2 * a for a, b in pairwise(validation)) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.8 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% diagnose | wrong | the lowest validation loss in place of the last
def diagnose(train, validation, target=0.3):
    if sum(b > 1.2 * a for a, b in pairwise(validation)) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if min(validation) - train[-1] > target else "good"


# %% diagnose | wrong | the lowest training loss in the gap
def diagnose(train, validation, target=0.3):
    if sum(b > 1.2 * a for a, b in pairwise(validation)) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - min(train) > target else "good"


# %% diagnose | wrong | gap >= target
def diagnose(train, validation, target=0.3):
    if sum(b > 1.2 * a for a, b in pairwise(validation)) >= 3:
        return "overfit, rate too high"
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] >= target else "good"


# %% diagnose | wrong | sorts
def diagnose(train, validation, target=0.3):
    if sum(b > 1.2 * a for a, b in pairwise(validation)) >= 3:
        return "overfit, rate too high"
    train.sort(reverse=True)
    if train[-1] > target:
        return "rate too low" if train[-1] < 0.9 * train[-6] else "network too small"
    return "overfit" if validation[-1] - train[-1] > target else "good"


# %% standardise | wrong | three channels by hand
def standardise(train, test):
    if train.shape[1] == 1:
        return (train - train.mean()) / train.std(correction=0), (test - train.mean()) / train.std(correction=0)
    r, g, b = (train[:, c] for c in range(3))
    mean = torch.tensor([r.mean(), g.mean(), b.mean()]).view(1, 3, 1, 1)
    deviation = torch.stack([a.std(correction=0) for a in (r, g, b)]).view(1, 3, 1, 1)
    return (train - mean) / deviation, (test - mean) / deviation


# %% standardise | wrong | test in place
def standardise(train, test):
    mean, deviation = train.mean((0, 2, 3), keepdim=True), train.std((0, 2, 3), keepdim=True, correction=0)
    train = (train - mean) / deviation
    test -= mean
    test /= deviation
    return train, test


# %% dropout | wrong | for (N, D) only
def dropout(x, p, training):
    if not training:
        return x
    rows, columns = x.shape
    return x * (torch.rand(rows, columns) >= p) / (1 - p)


# %% dropout | wrong | the ReLU's: only positive values stay
def dropout(x, p, training):
    if not training:
        return x
    keep = (torch.rand(x.shape) >= p) & (x > 0)
    return x * keep / (1 - p)


# %% batch_norm | wrong | nothing: x and the statistics as they are
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    return x, mean, var


# %% batch_norm | wrong | running statistics in place, mul_ and add_
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    s = lambda a: a.view(1, -1, 1, 1)
    if training:
        mu, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        out = s(gamma) * (x - s(mu)) / (s(v) + eps).sqrt() + s(beta)
        mean *= 1 - momentum
        mean += momentum * mu
        var *= 1 - momentum
        var += momentum * x.var((0, 2, 3))
        return out, mean, var
    return s(gamma) * (x - s(mean)) / (s(var) + eps).sqrt() + s(beta), mean, var


# %% batch_norm | wrong | no view at all (C,) against (N, C, H, W)
def batch_norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    if not training:
        return gamma * (x - mean) / (var + eps) ** 0.5 + beta, mean, var
    mu, v, u = x.mean(), x.var(correction=0), x.var()
    return (
        gamma * (x - mu) / (v + eps) ** 0.5 + beta,
        (1 - momentum) * mean + momentum * mu,
        (1 - momentum) * var + momentum * u,
    )
