# %% hand_result | right | tuples
hand_result = ((3, 8), (0, 3))

# %% hand_result | right | computed
image, kernel = torch.tensor([[1.0, 2, 0], [0, 1, 3], [4, 0, 1]]), torch.tensor([[1.0, 0], [0, 2]])
hand_result = F.conv2d(image[None, None], kernel[None, None])[0, 0].tolist()

# %% hand_result | wrong | flips the kernel
hand_result = [[3, 7], [2, 3]]

# %% hand_result | wrong | one slip in the second row
hand_result = [[3, 8], [0, 2]]

# %% hand_result | wrong | rows and columns exchanged
hand_result = [[3, 0], [8, 3]]

# %% hand_result | wrong | pads the image
hand_result = [[2, 4, 0], [0, 3, 8], [0, 0, 3]]


# %% output_size | right | division and floor
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    span = dilation * (kernel - 1) + 1
    return math.floor((n + 2 * padding - span) / stride) + 1


# %% output_size | right | counts the places
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    last = n + 2 * padding - dilation * (kernel - 1)
    return len(range(0, last, stride))


# %% output_size | wrong | forgets the padding
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    return (n - dilation * (kernel - 1) - 1) // stride + 1


# %% output_size | wrong | pads one side only
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    return (n + padding - dilation * (kernel - 1) - 1) // stride + 1


# %% output_size | wrong | no floor
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    return (n + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1


# %% output_size | wrong | dilation times the whole kernel
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    return (n + 2 * padding - dilation * kernel) // stride + 1


# %% output_size | wrong | rounds to the nearest
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    return round((n + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1


# %% output_size | wrong | rounds up
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    return math.ceil((n + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1


# %% conv_plain | right | sums shifted images
def conv_plain(x, kernel):
    kh, kw = kernel.shape
    rows, columns = x.shape[0] - kh + 1, x.shape[1] - kw + 1
    out = torch.zeros(rows, columns)
    for a in range(kh):
        for b in range(kw):
            out += kernel[a, b] * x[a : a + rows, b : b + columns]
    return out


# %% conv_plain | right | four loops
def conv_plain(x, kernel):
    kh, kw = kernel.shape
    rows, columns = x.shape[0] - kh + 1, x.shape[1] - kw + 1
    out = torch.zeros(rows, columns)
    for i in range(rows):
        for j in range(columns):
            for a in range(kh):
                for b in range(kw):
                    out[i, j] += x[i + a, j + b] * kernel[a, b]
    return out


# %% conv_plain | wrong | flips the kernel
def conv_plain(x, kernel):
    kernel = kernel.flip(0, 1)
    kh, kw = kernel.shape
    out = torch.zeros(x.shape[0] - kh + 1, x.shape[1] - kw + 1)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = (kernel * x[i : i + kh, j : j + kw]).sum()
    return out


# %% conv_plain | wrong | square inputs only
def conv_plain(x, kernel):
    n, k = x.shape[0], kernel.shape[0]
    out = torch.zeros(n - k + 1, n - k + 1)
    for i in range(n - k + 1):
        for j in range(n - k + 1):
            out[i, j] = (kernel * x[i : i + k, j : j + k]).sum()
    return out


# %% conv_plain | wrong | one row and column too few
def conv_plain(x, kernel):
    kh, kw = kernel.shape
    out = torch.zeros(x.shape[0] - kh, x.shape[1] - kw)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = (kernel * x[i : i + kh, j : j + kw]).sum()
    return out


# %% conv_plain | wrong | the library's function
def conv_plain(x, kernel):
    return F.conv2d(x[None, None], kernel[None, None])[0, 0]


# %% conv_plain | wrong | the course's own loops
def conv_plain(x, kernel):
    return arithmetic.conv2d_naive(x[None, None], kernel[None, None], None)[0, 0]


# %% conv_plain | wrong | zeros of the right shape
def conv_plain(x, kernel):
    return torch.zeros(x.shape[0] - kernel.shape[0] + 1, x.shape[1] - kernel.shape[1] + 1)


# %% conv_layer | right | filters by a matrix product
def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, (padding,) * 4)
    filters, _, kh, kw = weight.shape
    rows, columns = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = torch.zeros(filters, rows, columns)
    for i in range(rows):
        for j in range(columns):
            patch = x[:, i * stride : i * stride + kh, j * stride : j * stride + kw].flatten()
            out[:, i, j] = weight.flatten(1) @ patch + bias
    return out


# %% conv_layer | right | stride taken from the full result
def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, (padding,) * 4)
    filters, channels, kh, kw = weight.shape
    rows, columns = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    out = torch.zeros(filters, rows, columns) + bias[:, None, None]
    for k in range(filters):
        for c in range(channels):
            for a in range(kh):
                for b in range(kw):
                    out[k] += weight[k, c, a, b] * x[c, a : a + rows, b : b + columns]
    return out[:, ::stride, ::stride]


# %% conv_layer | wrong | no bias
def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, (padding,) * 4)
    filters, _, kh, kw = weight.shape
    rows, columns = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = torch.zeros(filters, rows, columns)
    for i in range(rows):
        for j in range(columns):
            out[:, i, j] = (weight * x[:, i * stride : i * stride + kh, j * stride : j * stride + kw]).sum((1, 2, 3))
    return out


# %% conv_layer | wrong | the bias is added once a channel
def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, (padding,) * 4)
    filters, channels, kh, kw = weight.shape
    rows, columns = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    out = torch.zeros(filters, rows, columns)
    for k in range(filters):
        for c in range(channels):
            out[k] += bias[k]
            for a in range(kh):
                for b in range(kw):
                    out[k] += weight[k, c, a, b] * x[c, a : a + rows, b : b + columns]
    return out[:, ::stride, ::stride]


# %% conv_layer | wrong | the first channel only
def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, (padding,) * 4)
    filters, _, kh, kw = weight.shape
    rows, columns = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    out = torch.zeros(filters, rows, columns) + bias[:, None, None]
    for k in range(filters):
        for a in range(kh):
            for b in range(kw):
                out[k] += weight[k, 0, a, b] * x[0, a : a + rows, b : b + columns]
    return out[:, ::stride, ::stride]


# %% conv_layer | wrong | the stride sets the size but not the step
def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, (padding,) * 4)
    filters, _, kh, kw = weight.shape
    rows, columns = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = torch.zeros(filters, rows, columns)
    for i in range(rows):
        for j in range(columns):
            out[:, i, j] = (weight * x[:, i : i + kh, j : j + kw]).sum((1, 2, 3)) + bias
    return out


# %% conv_layer | wrong | pads the rows only
def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, (0, 0, padding, padding))
    filters, _, kh, kw = weight.shape
    rows, columns = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = torch.zeros(filters, rows, columns)
    for i in range(rows):
        for j in range(columns):
            patch = x[:, i * stride : i * stride + kh, j * stride : j * stride + kw]
            out[:, i, j] = (weight * patch).sum((1, 2, 3)) + bias
    return out


# %% conv_full | right | unfold
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n, _, height, width = x.shape
    filters, _, kh, kw = weight.shape
    rows = (height + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    columns = (width + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    parts = []
    for part, own in zip(x.chunk(groups, 1), weight.chunk(groups, 0)):
        patches = F.unfold(part, (kh, kw), dilation=dilation, padding=padding, stride=stride)
        parts.append((own.flatten(1) @ patches).reshape(n, -1, rows, columns))
    out = torch.cat(parts, 1)
    return out if bias is None else out + bias.view(1, -1, 1, 1)


# %% conv_full | right | every index by itself
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n, channels, height, width = x.shape
    filters, depth, kh, kw = weight.shape
    rows = (height + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    columns = (width + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    out = torch.zeros(n, filters, rows, columns)
    for k in range(filters):
        group = k * groups // filters
        for i in range(rows):
            for j in range(columns):
                for a in range(kh):
                    for b in range(kw):
                        r, s = i * stride + a * dilation - padding, j * stride + b * dilation - padding
                        if 0 <= r < height and 0 <= s < width:
                            seen = x[:, group * depth : (group + 1) * depth, r, s]
                            out[:, k, i, j] += (seen * weight[k, :, a, b]).sum(1)
        if bias is not None:
            out[:, k] += bias[k]
    return out


# %% conv_full | wrong | ignores the dilation
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return arithmetic.conv2d_naive(x, weight, bias, stride=stride, padding=padding, groups=groups)


# %% conv_full | wrong | every filter sees the first group
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    return arithmetic.conv2d_naive(x[:, : weight.shape[1]], weight, bias, **options)


# %% conv_full | wrong | groups taken in turn
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    depth, filters = weight.shape[1], weight.shape[0]
    out = []
    for k in range(filters):
        first = (k % groups) * depth
        own = None if bias is None else bias[k : k + 1]
        seen = x[:, first : first + depth]
        out.append(
            arithmetic.conv2d_naive(seen, weight[k : k + 1], own, stride=stride, padding=padding, dilation=dilation)
        )
    return torch.cat(out, 1)


# %% conv_full | wrong | the first image only
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return arithmetic.conv2d_naive(x[:1], weight, bias, **options)


# %% conv_full | wrong | needs a bias
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return arithmetic.conv2d_naive(x, weight, **options) + bias.view(1, -1, 1, 1)


# %% conv_full | wrong | changes the caller's x
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    out = arithmetic.conv2d_naive(x, weight, bias, **options)
    x *= 0
    return out


# %% conv_full | wrong | the library's function
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


# %% conv_full | wrong | the library's function, in a comprehension
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    pairs = zip(x.chunk(groups, 1), weight.chunk(groups, 0))
    out = torch.cat([F.conv2d(a, b, None, stride, padding, dilation) for a, b in pairs], 1)
    return out if bias is None else out + bias[:, None, None]


# %% count_parameters | right | asks the library
def count_parameters(channels, filters, kernel, groups=1, bias=True):
    layer = nn.Conv2d(channels, filters, kernel, groups=groups, bias=bias, device="meta")
    return sum(p.numel() for p in layer.parameters())


# %% count_parameters | right | weights, then biases
def count_parameters(channels, filters, kernel, groups=1, bias=True):
    weights = filters * (channels // groups) * kernel**2
    return weights + filters if bias else weights


# %% count_parameters | wrong | no biases
def count_parameters(channels, filters, kernel, groups=1, bias=True):
    return kernel * kernel * channels // groups * filters


# %% count_parameters | wrong | always a bias
def count_parameters(channels, filters, kernel, groups=1, bias=True):
    return (kernel * kernel * channels // groups + 1) * filters


# %% count_parameters | wrong | ignores the groups
def count_parameters(channels, filters, kernel, groups=1, bias=True):
    return (kernel * kernel * channels + bias) * filters


# %% count_parameters | wrong | divides the filters too
def count_parameters(channels, filters, kernel, groups=1, bias=True):
    return (kernel * kernel * channels // groups + bias) * filters // groups


# %% count_parameters | wrong | forgets the depth
def count_parameters(channels, filters, kernel, groups=1, bias=True):
    return (kernel * kernel + bias) * filters


# %% count_parameters | wrong | one bias for the layer
def count_parameters(channels, filters, kernel, groups=1, bias=True):
    return kernel * kernel * channels // groups * filters + bias


# %% receptive_field | right | from the last layer down
def receptive_field(layers):
    size = 1
    for kernel, stride, dilation in reversed(layers):
        size = (size - 1) * stride + dilation * (kernel - 1) + 1
    return size


# %% receptive_field | right | product of the strides before
def receptive_field(layers):
    return 1 + sum(d * (k - 1) * math.prod(s for _, s, _ in layers[:i]) for i, (k, _, d) in enumerate(layers))


# %% receptive_field | wrong | ignores the strides
def receptive_field(layers):
    return 1 + sum(dilation * (kernel - 1) for kernel, _, dilation in layers)


# %% receptive_field | wrong | a stride acts on its own layer
def receptive_field(layers):
    size, jump = 1, 1
    for kernel, stride, dilation in layers:
        jump *= stride
        size += dilation * (kernel - 1) * jump
    return size


# %% receptive_field | wrong | ignores the dilation
def receptive_field(layers):
    size, jump = 1, 1
    for kernel, stride, dilation in layers:
        size += (kernel - 1) * jump
        jump *= stride
    return size


# %% receptive_field | wrong | kernel, not kernel - 1
def receptive_field(layers):
    size, jump = 0, 1
    for kernel, stride, dilation in layers:
        size += dilation * kernel * jump
        jump *= stride
    return size


# %% receptive_field | wrong | the stride of the layer before only
def receptive_field(layers):
    size, before = 1, 1
    for kernel, stride, dilation in layers:
        size += dilation * (kernel - 1) * before
        before = stride
    return size


# %% receptive_field | wrong | starts with the first kernel, so needs a layer
def receptive_field(layers):
    size, jump = layers[0][0], layers[0][1]
    for kernel, stride, dilation in layers[1:]:
        size += dilation * (kernel - 1) * jump
        jump *= stride
    return size


# %% shift_right | right | a tensor
shift_right = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 0, 0]])

# %% shift_right | right | tuples of floats
shift_right = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 0.0))

# %% shift_right | wrong | to the left
shift_right = [[0, 0, 0], [0, 0, 1], [0, 0, 0]]

# %% shift_right | wrong | down
shift_right = [[0, 1, 0], [0, 0, 0], [0, 0, 0]]

# %% shift_right | wrong | up
shift_right = [[0, 0, 0], [0, 0, 0], [0, 1, 0]]

# %% shift_right | wrong | identity
shift_right = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]

# %% shift_right | wrong | adds the image itself
shift_right = [[0, 0, 0], [1, 1, 0], [0, 0, 0]]

# %% wrong | right | lists
wrong = {"response": [(3, 0), (3, 2)], "pooled": [(1, 1), (2, 1)]}

# %% wrong | right | other order, lists of lists
wrong = {"pooled": [[2, 1], [1, 1]], "response": [[3, 2], [3, 0]]}

# %% wrong | wrong | counted from 1
wrong = {"response": {(4, 1), (4, 3)}, "pooled": {(2, 2), (3, 2)}}

# %% wrong | wrong | columns first
wrong = {"response": {(0, 3), (2, 3)}, "pooled": {(1, 1), (1, 2)}}

# %% wrong | wrong | trusts the second table
wrong = {"response": {(3, 0), (3, 2)}, "pooled": set()}

# %% wrong | wrong | the whole row
wrong = {"response": {(3, 0), (3, 1), (3, 2)}, "pooled": {(1, 1), (2, 1)}}

# %% wrong | wrong | trusts the first table
wrong = {"response": set(), "pooled": {(1, 1), (2, 1)}}


# %% to_convolution | right | parameters replaced
def to_convolution(linear, channels, height, width):
    layer = nn.Conv2d(channels, linear.out_features, (height, width))
    layer.weight = nn.Parameter(linear.weight.detach().view(linear.out_features, channels, height, width))
    layer.bias = nn.Parameter(linear.bias.detach())
    return layer


# %% to_convolution | right | load_state_dict
def to_convolution(linear, channels, height, width):
    layer = nn.Conv2d(channels, linear.out_features, kernel_size=(height, width))
    weight = linear.weight.unflatten(1, (channels, height, width))
    layer.load_state_dict({"weight": weight, "bias": linear.bias})
    return layer


# %% to_convolution | wrong | random weights
def to_convolution(linear, channels, height, width):
    return nn.Conv2d(channels, linear.out_features, kernel_size=(height, width))


# %% to_convolution | wrong | channels last
def to_convolution(linear, channels, height, width):
    layer = nn.Conv2d(channels, linear.out_features, kernel_size=(height, width))
    weight = linear.weight.detach().reshape(-1, height, width, channels).permute(0, 3, 1, 2)
    layer.weight = nn.Parameter(weight.contiguous())
    layer.bias = linear.bias
    return layer


# %% to_convolution | wrong | no bias
def to_convolution(linear, channels, height, width):
    layer = nn.Conv2d(channels, linear.out_features, kernel_size=(height, width), bias=False)
    layer.weight = nn.Parameter(linear.weight.detach().reshape(-1, channels, height, width))
    return layer


# %% to_convolution | wrong | bias left random
def to_convolution(linear, channels, height, width):
    layer = nn.Conv2d(channels, linear.out_features, kernel_size=(height, width))
    layer.weight = nn.Parameter(linear.weight.detach().reshape(-1, channels, height, width))
    return layer


# %% to_convolution | wrong | height and width exchanged
def to_convolution(linear, channels, height, width):
    layer = nn.Conv2d(channels, linear.out_features, kernel_size=(width, height))
    layer.weight = nn.Parameter(linear.weight.detach().reshape(-1, channels, width, height))
    layer.bias = linear.bias
    return layer


# %% to_convolution | wrong | pads, so that the size is kept
def to_convolution(linear, channels, height, width):
    layer = nn.Conv2d(channels, linear.out_features, kernel_size=(height, width), padding=(height // 2, width // 2))
    layer.weight = nn.Parameter(linear.weight.detach().reshape(-1, channels, height, width))
    layer.bias = linear.bias
    return layer


# %% conv_plain | wrong | a scalar
def conv_plain(x, kernel):
    return kernel.sum()


# %% hand_result | wrong | extra third row
hand_result = [[3, 8], [0, 3], [4, 0]]


# %% conv_plain | right | list of lists
def conv_plain(x, kernel):
    kh, kw = kernel.shape
    return [
        [torch.sum(x[i : i + kh, j : j + kw] * kernel).item() for j in range(x.shape[1] - kw + 1)]
        for i in range(x.shape[0] - kh + 1)
    ]


# %% conv_plain | right | helper named correlate
def correlate(patch, kernel):
    return (patch * kernel).sum()


def conv_plain(x, kernel):
    kh, kw = kernel.shape
    out = torch.empty(x.shape[0] - kh + 1, x.shape[1] - kw + 1)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = correlate(x[i : i + kh, j : j + kw], kernel)
    return out


# %% conv_plain | wrong | the library through getattr F alias
from torch.nn.functional import conv2d as c2


def conv_plain(x, kernel):
    return c2(x[None, None], kernel[None, None])[0, 0]


# %% conv_plain | wrong | scipy.ndimage / signal alias
from scipy.signal import correlate2d as slide


def conv_plain(x, kernel):
    return torch.from_numpy(slide(x.numpy(), kernel.numpy(), mode="valid"))


# %% conv_plain | wrong | helper function calls the library
def helper(x, kernel):
    return F.conv2d(x, kernel)


def conv_plain(x, kernel):
    return helper(x[None, None], kernel[None, None])[0, 0]


# %% conv_plain | wrong | fftconvolve
def conv_plain(x, kernel):
    return torch.from_numpy(scipy.signal.fftconvolve(x.numpy(), kernel.flip(0, 1).numpy(), mode="valid"))


# %% conv_layer | right | uses conv_plain of own notebook
def _plain(x, kernel):
    kh, kw = kernel.shape
    out = torch.zeros(x.shape[0] - kh + 1, x.shape[1] - kw + 1)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = (x[i : i + kh, j : j + kw] * kernel).sum()
    return out


def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, (padding, padding, padding, padding))
    return torch.stack(
        [sum(_plain(x[c], w[c]) for c in range(len(w)))[::stride, ::stride] + b for w, b in zip(weight, bias)]
    )


# %% conv_layer | wrong | padding one side
def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, (padding, 0, padding, 0))
    K, C, kh, kw = weight.shape
    H, W = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = torch.zeros(K, H, W)
    for k in range(K):
        for i in range(H):
            for j in range(W):
                out[k, i, j] = (
                    x[:, i * stride : i * stride + kh, j * stride : j * stride + kw] * weight[k]
                ).sum() + bias[k]
    return out


# %% conv_layer | wrong | forgets floor+1
def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, [padding] * 4)
    K, C, kh, kw = weight.shape
    H, W = (x.shape[1] - kh + 1) // stride, (x.shape[2] - kw + 1) // stride
    out = torch.zeros(K, H, W)
    for k in range(K):
        for i in range(H):
            for j in range(W):
                out[k, i, j] = (
                    x[:, i * stride : i * stride + kh, j * stride : j * stride + kw] * weight[k]
                ).sum() + bias[k]
    return out


# %% conv_layer | wrong | bias in wrong axis
def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, [padding] * 4)
    K, C, kh, kw = weight.shape
    H, W = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = torch.zeros(K, H, W)
    for k in range(K):
        for i in range(H):
            for j in range(W):
                out[k, i, j] = (x[:, i * stride : i * stride + kh, j * stride : j * stride + kw] * weight[k]).sum()
    return out + bias


# %% conv_full | right | numpy loops
import numpy as np


def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    N, C, H, W = x.shape
    K, Cg, kh, kw = weight.shape
    xp = np.pad(x.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    w = weight.numpy()
    Ho = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    Wo = (W + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    out = np.zeros((N, K, Ho, Wo))
    kpg = K // groups
    for n in range(N):
        for k in range(K):
            g = k // kpg
            for i in range(Ho):
                for j in range(Wo):
                    for a in range(kh):
                        for b in range(kw):
                            out[n, k, i, j] += np.dot(
                                w[k, :, a, b],
                                xp[n, g * Cg : (g + 1) * Cg, i * stride + a * dilation, j * stride + b * dilation],
                            )
            if bias is not None:
                out[n, k] += bias[k].item()
    return torch.from_numpy(out)


# %% conv_full | wrong | bias broadcast over last axis
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    K, Cg, kh, kw = weight.shape
    big = torch.zeros(K, Cg, dilation * (kh - 1) + 1, dilation * (kw - 1) + 1)
    big[:, :, ::dilation, ::dilation] = weight
    kh, kw = big.shape[2:]
    p = F.pad(x, [padding] * 4).unfold(2, kh, stride).unfold(3, kw, stride)
    outs = [torch.einsum("ncijab,kcab->nkij", a, b) for a, b in zip(p.chunk(groups, 1), big.chunk(groups, 0))]
    out = torch.cat(outs, 1)
    return out if bias is None else out + bias


# %% receptive_field | wrong | dilation multiplies stride in jump
def receptive_field(layers):
    size, jump = 1, 1
    for k, s, d in layers:
        size += d * (k - 1) * jump
        jump *= s * d
    return size


# %% receptive_field | wrong | jump adds
def receptive_field(layers):
    size, jump = 1, 1
    for k, s, d in layers:
        size += d * (k - 1) * jump
        jump += s - 1
    return size


# %% wrong | right | nonzero tensors
wrong = {"response": torch.tensor([[3, 0], [3, 2]]), "pooled": torch.tensor([[1, 1], [2, 1]])}


# %% wrong | wrong | the zero rounding: full column of pooled
wrong = {"response": {(3, 0), (3, 2)}, "pooled": {(0, 1), (1, 1), (2, 1), (3, 1)}}


# %% wrong | wrong | only the first key
wrong = {"response": {(3, 0), (3, 2)}}


# %% to_convolution | wrong | stride = window
def to_convolution(linear, channels, height, width):
    conv = nn.Conv2d(channels, linear.out_features, (height, width), stride=(height, width))
    conv.weight.data = linear.weight.data.view(-1, channels, height, width)
    conv.bias.data = linear.bias.data
    return conv


# %% to_convolution | wrong | returns the function
def to_convolution(linear, channels, height, width):
    def conv(x):
        return F.conv2d(x, linear.weight.view(-1, channels, height, width), linear.bias)

    return conv


# %% to_convolution | wrong | Sequential with Flatten+linear
def to_convolution(linear, channels, height, width):
    return nn.Sequential(nn.Flatten(), linear, nn.Unflatten(1, (linear.out_features, 1, 1)))


# %% conv_plain | wrong | kernel sum everywhere, x's values not read
def conv_plain(x, kernel):
    return kernel.sum() * torch.ones(x.shape[0] - kernel.shape[0] + 1, x.shape[1] - kernel.shape[1] + 1)


# %% conv_layer | right | helper named convolution
def convolution(x, kernel, stride):
    kh, kw = kernel.shape[1:]
    H, W = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = torch.zeros(H, W)
    for i in range(H):
        for j in range(W):
            out[i, j] = (x[:, i * stride : i * stride + kh, j * stride : j * stride + kw] * kernel).sum()
    return out


def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, [padding] * 4)
    return torch.stack([convolution(x, w, stride) + b for w, b in zip(weight, bias)])


# %% conv_layer | wrong | built on a conv_plain that is the library
def conv_plain(x, kernel):
    return F.conv2d(x[None, None], kernel[None, None])[0, 0]


def conv_layer(x, weight, bias, stride=1, padding=0):
    x = F.pad(x, (padding,) * 4)
    return torch.stack(
        [sum(conv_plain(a, b) for a, b in zip(x, w))[::stride, ::stride] + c for w, c in zip(weight, bias)]
    )


# %% conv_full | wrong | every real case wrong (bias only)
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    N, C, H, W = x.shape
    K, Cg, kh, kw = weight.shape
    out = torch.zeros(N, K, H - kh + 1, W - kw + 1)
    for n in range(N):
        for k in range(K):
            for i in range(H - kh + 1):
                for j in range(W - kw + 1):
                    out[n, k, i, j] = (x[n, :, i : i + kh, j : j + kw] * weight[k]).sum()
    return out


# %% wrong | right | set of tuples of nonzero tensors
response = F.conv2d(nine_1[None, None], loop_kernel[None, None])[0, 0]
p1 = torch.tensor(
    [[-0.11, 1, -0.11], [-0.56, 0.11, -0.33], [-0.33, 0.33, -0.33], [-0.22, -0.11, -0.22], [-0.33, -0.56, -0.33]]
)
pooled = F.max_pool2d(F.relu(F.conv2d(nine_2[None, None], loop_kernel[None, None])), 2, 1)[0, 0]
p2 = torch.tensor([[1, 0], [0.33, 0.33], [0.33, 0.33], [0, 0]])
wrong = {
    "response": {tuple(p) for p in ((response - p1).abs() > 0.01).nonzero()},
    "pooled": {tuple(p) for p in ((pooled - p2).abs() > 0.01).nonzero()},
}


# %% hand_result | right | a numpy array
import numpy as np

hand_result = np.array([[3, 8], [0, 3]])


# %% hand_result | right | a torch tensor
hand_result = torch.tensor([[3, 8], [0, 3]])


# %% output_size | right | ceiling of the number of starts
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    return -(-(n + 2 * padding - dilation * (kernel - 1)) // stride)


# %% output_size | right | asks an empty convolution
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    x = torch.zeros(1, 1, n, device="meta")
    return F.conv1d(x, torch.zeros(1, 1, kernel, device="meta"), None, stride, padding, dilation).shape[2]


# %% output_size | right | walks
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    places, start = 0, -padding
    while start + dilation * (kernel - 1) < n + padding:
        places, start = places + 1, start + stride
    return places


# %% output_size | wrong | dilation formula for 3x3 only
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    return (n + 2 * padding - kernel - 2 * (dilation - 1)) // stride + 1


# %% output_size | wrong | floor of N/S before subtracting
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    return (n + 2 * padding) // stride - (dilation * (kernel - 1) + 1) // stride + 1


# %% conv_plain | right | unfold and einsum
def conv_plain(x, kernel):
    windows = x.unfold(0, kernel.shape[0], 1).unfold(1, kernel.shape[1], 1)
    return torch.einsum("ijab,ab->ij", windows, kernel)


# %% conv_plain | right | sliding_window_view in NumPy
import numpy as np


def conv_plain(x, kernel):
    windows = np.lib.stride_tricks.sliding_window_view(x.numpy(), tuple(kernel.shape))
    return torch.from_numpy((windows * kernel.numpy()).sum((2, 3)))


# %% conv_plain | right | a Toeplitz matrix
def conv_plain(x, kernel):
    (h, w), (kh, kw) = x.shape, kernel.shape
    rows, cols = h - kh + 1, w - kw + 1
    matrix = torch.zeros(rows * cols, h * w)
    for i in range(rows):
        for j in range(cols):
            for a in range(kh):
                for b in range(kw):
                    matrix[i * cols + j, (i + a) * w + j + b] = kernel[a, b]
    return (matrix @ x.flatten()).reshape(rows, cols)


# %% conv_plain | right | pure Python numbers
def conv_plain(x, kernel):
    X, K = x.tolist(), kernel.tolist()
    return torch.tensor(
        [
            [
                sum(K[a][b] * X[i + a][j + b] for a in range(len(K)) for b in range(len(K[0])))
                for j in range(len(X[0]) - len(K[0]) + 1)
            ]
            for i in range(len(X) - len(K) + 1)
        ]
    )


# %% conv_plain | wrong | a lazy library layer
def conv_plain(x, kernel):
    layer = nn.LazyConv2d(1, tuple(kernel.shape), bias=False)
    layer(x[None, None])
    layer.weight.data = kernel[None, None]
    return layer(x[None, None])[0, 0].detach()


# %% conv_plain | wrong | a linear layer turned into a convolution by a helper
def conv_plain(x, kernel):
    line = nn.Linear(kernel.numel(), 1, bias=True)
    line.weight.data = kernel.reshape(1, -1)
    line.bias.data = torch.zeros(1)
    return arithmetic.as_convolution(line, 1, *kernel.shape)(x[None, None])[0, 0].detach()


# %% conv_plain | wrong | torchvision's deformable convolution without deformation
def conv_plain(x, kernel):
    from torchvision.ops import deform_conv2d

    rows, columns = x.shape[0] - kernel.shape[0] + 1, x.shape[1] - kernel.shape[1] + 1
    return deform_conv2d(x[None, None], torch.zeros(1, 2 * kernel.numel(), rows, columns), kernel[None, None])[0, 0]


# %% conv_layer | right | einsum over windows
def conv_layer(x, weight, bias, stride=1, padding=0):
    kh, kw = weight.shape[2:]
    windows = F.pad(x, [padding] * 4).unfold(1, kh, stride).unfold(2, kw, stride)
    return torch.einsum("cijab,kcab->kij", windows, weight) + bias.view(-1, 1, 1)


# %% conv_layer | right | starts listed by range
import numpy as np


def conv_layer(x, weight, bias, stride=1, padding=0):
    p = np.pad(x.numpy(), ((0, 0), (padding, padding), (padding, padding)))
    k, _, kh, kw = weight.shape
    tops, lefts = range(0, p.shape[1] - kh + 1, stride), range(0, p.shape[2] - kw + 1, stride)
    return np.array(
        [
            [[(p[:, i : i + kh, j : j + kw] * w.numpy()).sum() + b.item() for j in lefts] for i in tops]
            for w, b in zip(weight, bias)
        ]
    )


# %% conv_full | right | dilated kernel, strided slices
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    p = F.pad(x, (padding,) * 4)
    rows = (p.shape[2] - dilation * (weight.shape[2] - 1) - 1) // stride + 1
    cols = (p.shape[3] - dilation * (weight.shape[3] - 1) - 1) // stride + 1
    x5 = p.reshape(p.shape[0], groups, -1, *p.shape[2:])
    w5 = weight.reshape(groups, -1, *weight.shape[1:])
    out = 0
    for a in range(weight.shape[2]):
        for b in range(weight.shape[3]):
            view = x5[
                ...,
                a * dilation : a * dilation + stride * (rows - 1) + 1 : stride,
                b * dilation : b * dilation + stride * (cols - 1) + 1 : stride,
            ]
            out = out + torch.einsum("ngchw,gkc->ngkhw", view, w5[..., a, b])
    out = out.flatten(1, 2)
    return out if bias is None else out + bias.reshape(-1, 1, 1)


# %% count_parameters | right | by division with a remainder
def count_parameters(channels, filters, kernel, groups=1, bias=True):
    depth, rest = divmod(channels, groups)
    return sum(kernel * kernel * depth + int(bias) for _ in range(filters))


# %% receptive_field | right | recursion
def receptive_field(layers):
    if not layers:
        return 1
    kernel, stride, dilation = layers[0]
    return (receptive_field(layers[1:]) - 1) * stride + dilation * (kernel - 1) + 1


# %% receptive_field | right | measured by marking pixels
def receptive_field(layers):
    seen = {0}
    for kernel, stride, dilation in reversed(layers):
        seen = {s * stride + a * dilation for s in seen for a in range(kernel)}
    return max(seen) - min(seen) + 1


# %% receptive_field | wrong | the number of pixels seen, gaps left out
def receptive_field(layers):
    seen = {0}
    for kernel, stride, dilation in reversed(layers):
        seen = {s * stride + a * dilation for s in seen for a in range(kernel)}
    return len(seen)


# %% receptive_field | wrong | stride and dilation exchanged
def receptive_field(layers):
    size, jump = 1, 1
    for kernel, dilation, stride in layers:
        size += dilation * (kernel - 1) * jump
        jump *= stride
    return size


# %% receptive_field | wrong | from the last layer, order forgotten
def receptive_field(layers):
    size, jump = 1, 1
    for kernel, stride, dilation in reversed(layers):
        size += dilation * (kernel - 1) * jump
        jump *= stride
    return size


# %% shift_right | right | a numpy array of whole numbers
import numpy as np

shift_right = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0]])


# %% wrong | right | arrays of places
import numpy as np

wrong = {"response": np.array([[3, 0], [3, 2]]), "pooled": np.array([[2, 1], [1, 1]])}


# %% wrong | right | frozensets
wrong = {"response": frozenset({(3, 0), (3, 2)}), "pooled": frozenset({(1, 1), (2, 1)})}


# %% wrong | wrong | rounding counts as wrong
def marked(printed, computed):
    return {tuple(place) for place in ((torch.tensor(printed) - computed).abs() > 1e-4).nonzero().tolist()}


wrong = {
    "response": marked(
        [[-0.11, 1, -0.11], [-0.56, 0.11, -0.33], [-0.33, 0.33, -0.33], [-0.22, -0.11, -0.22], [-0.33, -0.56, -0.33]],
        F.conv2d(nine_1[None, None], loop_kernel[None, None])[0, 0],
    ),
    "pooled": {(1, 1), (2, 1)},
}


# %% wrong | wrong | text of two digits
wrong = {"response": {"30", "32"}, "pooled": {"11", "21"}}


# %% wrong | wrong | halves
wrong = {"response": {(3.4, 0.2), (3.9, 2.5)}, "pooled": {(1.1, 1.9), (2.2, 1.7)}}


# %% to_convolution | right | unflatten and no_grad in place
def to_convolution(linear, channels, height, width):
    layer = nn.Conv2d(channels, linear.out_features, (height, width))
    layer.weight.data[:] = linear.weight.data.unflatten(1, (channels, height, width))
    layer.bias.data[:] = linear.bias.data
    return layer


# %% to_convolution | right | tells the weights one by one by unit vectors
def to_convolution(linear, channels, height, width):
    layer = nn.Conv2d(channels, linear.out_features, (height, width))
    with torch.no_grad():
        bias = linear(torch.zeros(1, linear.in_features))[0]
        columns = linear(torch.eye(linear.in_features)) - bias
        layer.weight[:], layer.bias[:] = columns.T.reshape(layer.weight.shape), bias
    return layer


# %% to_convolution | right | the linear layer's own parameters, reshaped
def to_convolution(linear, channels, height, width):
    layer = nn.Conv2d(channels, linear.out_features, (height, width))
    layer.weight, layer.bias = nn.Parameter(linear.weight.view(-1, channels, height, width)), linear.bias
    return layer


# %% to_convolution | wrong | spoils the linear layer
def to_convolution(linear, channels, height, width):
    layer = nn.Conv2d(channels, linear.out_features, (height, width))
    layer.weight.data = linear.weight.data.clone().reshape(-1, channels, height, width)
    layer.bias.data = linear.bias.data.clone()
    linear.weight.data.zero_()
    linear.bias.data.zero_()
    return layer


# %% conv_full | wrong | a lazy library layer
def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    layer = nn.LazyConv2d(
        weight.shape[0], tuple(weight.shape[2:]), stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    with torch.no_grad():
        layer(x)
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
        return layer(x)


# %% conv_layer | wrong | a lazy library layer
def conv_layer(x, weight, bias, stride=1, padding=0):
    layer = nn.LazyConv2d(weight.shape[0], tuple(weight.shape[2:]), stride=stride, padding=padding)
    with torch.no_grad():
        layer(x[None])
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
        return layer(x[None])[0]


# %% conv_full | right | built on own conv_layer-like helper named conv2d
def conv2d(patch, w):
    return (patch * w).sum()


def conv_full(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    K, D, kh, kw = weight.shape
    x = F.pad(x, [padding] * 4)
    H, W = (x.shape[2] - dilation * (kh - 1) - 1) // stride + 1, (x.shape[3] - dilation * (kw - 1) - 1) // stride + 1
    out = x.new_zeros(x.shape[0], K, H, W)
    for n in range(x.shape[0]):
        for k in range(K):
            g = k // (K // groups)
            for i in range(H):
                for j in range(W):
                    out[n, k, i, j] = conv2d(
                        x[
                            n,
                            g * D : (g + 1) * D,
                            i * stride : i * stride + dilation * (kh - 1) + 1 : dilation,
                            j * stride : j * stride + dilation * (kw - 1) + 1 : dilation,
                        ],
                        weight[k],
                    )
    if bias is not None:
        out += bias[None, :, None, None]
    return out
