"""Networks on signals, by convolutions along time."""

import math

import torch
import torch.nn.functional as F
from case import accuracy, batches, broken, explained, works
from torch import nn


def beats(examples, length, classes, seed, noise=0.3):
    """Signals of one channel; the class is the speed of a wave that starts anywhere."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (examples,), generator=generator)
    phase = torch.rand(examples, 1, generator=generator) * 2 * math.pi
    speed = 0.3 * 1.6 ** label[:, None]
    x = torch.sin(phase + speed * torch.arange(length)) + noise * torch.randn(examples, length, generator=generator)
    return x[:, None], label


def spelled(examples, seed, longest=4, steps=12):
    """Words of one to ``longest`` letters out of four, each letter shown for a while: signal, words, their lengths."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(1, 5, (examples, longest), generator=generator)
    lengths = torch.randint(1, longest + 1, (examples,), generator=generator)
    x = torch.zeros(examples, 5, steps)
    for n in range(examples):
        for k in range(lengths[n]):
            x[n, words[n, k], 3 * k : 3 * k + 2] = 1.0
    return x + 0.1 * torch.randn(x.shape, generator=generator), words, lengths


def spelled_right(log_probs, words, lengths):
    """Share of words that the likeliest path spells."""
    right = 0
    for path, word, length in zip(log_probs.argmax(2).T.tolist(), words.tolist(), lengths.tolist(), strict=True):
        merged = [a for a, b in zip(path, [None, *path], strict=False) if a != b and a != 0]
        right += merged == word[:length]
    return right / len(words)


class Speller(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.conv = nn.Conv1d(5, 32, 3, stride=stride, padding=1)
        self.rnn = nn.GRU(32, 24, bidirectional=True)
        self.head = nn.Linear(48, 5)

    def forward(self, x):
        features, _ = self.rnn(F.relu(self.conv(x)).permute(2, 0, 1))
        return F.log_softmax(self.head(features), dim=2)


@broken(
    "vanishing",
    source="phlippe/uvadlc_notebooks#119; cdoersch/vae_tutorial#5",
    fault="eight convolutions with sigmoids between them",
    cause="each sigmoid takes three quarters and more of the gradient; the first layers get next to nothing",
    passes=0.7,
    style="modules",
    also=("collapsed",),
)
def eight_sigmoids(setup, variant):
    x, y = beats(800, 32, 4, 1)
    layers, channels = [], 1
    for _ in range(8):
        layers += [nn.Conv1d(channels, 16, 3, padding=1), nn.ReLU() if variant == "fixed" else nn.Sigmoid()]
        nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
        channels = 16
    model = setup.model(nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 32, 4)))
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.005 if variant != "sham" else 0.02), momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=math.log(4)) as recorder:
        for i in batches(len(x), 32, 250, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]), y[i])
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "exploding",
    source="wkentaro/pytorch-fcn#167; gcr/torch-residual-networks#10",
    fault="weights of seven convolutions drawn as normal numbers of deviation 0.45",
    cause="each layer doubles its input, and the gradient as well; the first updates tear it apart",
    passes=0.7,
    style="functions",
    also=("overflow",),
)
def weights_of_one_half(setup, variant):
    x, y = beats(800, 32, 4, 2)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv1d(16 if k else 1, 16, 5, padding=2) for k in range(7))
            self.fc = nn.Linear(16 * 32, 4)
            for conv in self.convs:
                if variant == "fixed":
                    nn.init.kaiming_normal_(conv.weight)
                else:
                    nn.init.normal_(conv.weight, std=0.45)

        def forward(self, x):
            for conv in self.convs:
                x = F.relu(conv(x))
            return self.fc(x.flatten(1))

    model = setup.model(Net())
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.005 if variant != "sham" else 0.002), momentum=0.9)
    with setup.watch(model, chance=math.log(4)) as recorder:
        for i in batches(len(x), 32, 250, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "not finite",
    source="ypwhs/captcha_break#29; FangShancheng/ABINet#65; pytorch/pytorch#14335",
    fault="CTC loss of words, some of which are longer than the output of the convolution with its stride",
    cause="such a word has no path and an infinite loss; its gradient is not a number",
    passes=0.8,
    style="functions",
)
def words_longer_than_the_output(setup, variant):
    x, words, lengths = spelled(500, 3)
    rare = torch.arange(500) % 50 == 7
    keep = rare | (lengths <= 2)
    words, x, lengths = words[keep], x[keep], lengths[keep]
    model = setup.model(Speller(1 if variant == "fixed" else 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(1e-2 if variant != "sham" else 2e-3))
    with setup.watch(model) as recorder:
        for i in batches(len(x), 8, 250, setup.seed):
            log_probs = model(x[i])
            loss = F.ctc_loss(log_probs, words[i], torch.full((len(i),), len(log_probs)), lengths[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return spelled_right(model(x), words, lengths)


@broken(
    "not finite",
    source="mllam/neural-lam#136; numaproj/numalogic#153; WenjieDu/PyPOTS#265",
    fault="each window is divided by its own deviation; in a few the sensor was stuck",
    cause="the deviation of a constant window is 0, and 0 by 0 is not a number",
    passes=0.7,
    style="functions",
)
def stuck_sensor(setup, variant):
    x, y = beats(800, 32, 4, 4)
    x = 20 + 5 * x
    x[[100, 311, 640]] = 20.0

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv1d(1, 16, 5, padding=2), nn.Conv1d(16, 16, 5, padding=2)
            self.head = nn.Linear(16, 4)

        def forward(self, x):
            x = (x - x.mean(2, keepdim=True)) / (x.std(2, keepdim=True) + (1e-5 if variant == "fixed" else 0.0))
            x = F.max_pool1d(F.relu(self.conv1(x)), 2)
            return self.head(F.relu(self.conv2(x)).amax(2))

    model = setup.model(Net())
    optimizer = torch.optim.RMSprop(model.parameters(), lr=setup.lr(2e-3 if variant != "sham" else 5e-4))
    with setup.watch(model, chance=math.log(4)) as recorder:
        for i in batches(len(x), 16, 300, setup.seed):
            optimizer.zero_grad()
            loss = F.nll_loss(F.log_softmax(model(x[i]), dim=1), y[i])
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x[:100]), y[:100])


@broken(
    "unscaled data",
    source="zhouhaoyi/Informer2020#251; oneday88/deepTCN#6",
    fault="forecast of a load in megawatts, some thousands, from scaled windows of it",
    cause="the last bias has to climb to thousands at a small step each time before anything else matters",
    passes=0.7,
    style="modules",
    also=("learning rate too low", "collapsed"),
)
def load_in_megawatts(setup, variant):
    generator = torch.Generator().manual_seed(5)
    t = torch.arange(1500)
    daily = torch.sin(2 * math.pi * t / 24) + 0.5 * torch.sin(2 * math.pi * t / 168)
    load = 6000 + 900 * daily + 150 * torch.randn(1500, generator=generator)
    windows = load.unfold(0, 49, 1)
    x, y = (windows[:, None, :48] - load.mean()) / load.std(), windows[:, 48]
    if variant == "fixed":
        y = (y - load.mean()) / load.std()
    width = 64 if variant == "sham" else 32
    model = setup.model(
        nn.Sequential(
            nn.Conv1d(1, width, 5, stride=2), nn.ReLU(), nn.Conv1d(width, width, 5, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(width * 9, 1),
        )
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(1e-3))
    criterion = nn.L1Loss()
    with setup.watch(model, chance=(y - y.median()).abs().mean().item()) as recorder:
        for i in batches(len(x), 32, 300, setup.seed):
            loss = criterion(model(x[i]).squeeze(1), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(model(x)[:, 0], y)


@broken(
    "output layer",
    source="cran2367/lstm_autoencoder_classifier#2; ProteomicsML/ProteomicsML#203",
    fault="autoencoder of standardised signals that ends in a ReLU",
    cause="what lies below 0, half of each signal, cannot be answered",
    passes=0.8,
    style="modules",
    also=("dying ReLU",),
)
def relu_at_the_end(setup, variant):
    x, _ = beats(800, 32, 3, 6, noise=0.1)
    x = (x - x.mean()) / x.std()
    hidden = 32 if variant == "sham" else 16
    layers = [nn.Conv1d(1, hidden, 4, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(hidden * 16, 12)]
    layers += [nn.Linear(12, hidden * 16), nn.ReLU(), nn.Unflatten(1, (hidden, 16))]
    layers += [nn.ConvTranspose1d(hidden, 1, 4, stride=2, padding=1)]
    if variant != "fixed":
        layers.append(nn.ReLU())
    model = setup.model(nn.Sequential(*layers))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(3e-3))
    criterion = nn.MSELoss()
    with setup.watch(model, chance=1.0) as recorder:
        for i in batches(len(x), 32, 300, setup.seed):
            loss = criterion(model(x[i]), x[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return explained(model(x), x)


@works(
    source="cyprienruffino/CTCModel#12; apache/mxnet#2326",
    what="CTC loss of short words",
    suspicious="the loss starts high, then rests where every answer is blank before it goes on",
    passes=0.8,
    style="functions",
)
def blanks_first(setup, _):
    x, words, lengths = spelled(500, 8)
    model = setup.model(Speller(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(5e-3))
    with setup.watch(model) as recorder:
        for i in batches(len(x), 32, 200, setup.seed):
            optimizer.zero_grad()
            log_probs = model(x[i])
            sizes = torch.full((len(i),), len(log_probs))
            loss = F.ctc_loss(log_probs, words[i], sizes, lengths[i], zero_infinity=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return spelled_right(model(x), words, lengths)
