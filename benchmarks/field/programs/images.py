"""Networks on images of digits: classification, autoencoders, pairs."""

import math

import torch
import torch.nn.functional as F
from case import accuracy, batches, broken, explained, works
from sklearn.datasets import load_digits
from torch import nn


def digits():
    """Images (N, 1, 8, 8) with pixels from 0 to 1, and labels."""
    data = load_digits()
    return torch.tensor(data.images, dtype=torch.float32)[:, None] / 16, torch.tensor(data.target)


class ConvNet(nn.Module):
    """Two convolutions and two layers, activations called as functions."""

    def __init__(self, classes=10, width=8):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.fc1 = nn.Linear(2 * width * 4, 48)
        self.fc2 = nn.Linear(48, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def small_cnn(norm=False):
    """The like as a Sequential."""
    layers = []
    for i, o in ((1, 8), (8, 16)):
        layers += [nn.Conv2d(i, o, 3, padding=1), *([nn.BatchNorm2d(o)] if norm else []), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10))


# --- what fails ------------------------------------------------------------------------------------------------------


@broken(
    "output layer",
    source="avBuffer/UNet3plus_pth#23; yudi-mars/daisyRec#15",
    fault="the network ends in a sigmoid and its outputs go to the loss that applies one, too",
    cause="outputs lie between 0.5 and 0.73, and the rare label drives the inner sigmoid to its flat end",
    passes=0.8,
    style="functions",
    also=("saturated",),
)
def sigmoid_twice(setup, variant):
    class Tagger(ConvNet):
        def forward(self, x):
            return torch.sigmoid(super().forward(x)) if variant != "fixed" else super().forward(x)

    x, y = digits()
    tags = F.one_hot(y, 10).float()
    model = setup.model(Tagger())
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), setup.lr(0.3 if variant != "sham" else 0.1), momentum=0.9)
    with setup.watch(model, chance=0.325) as recorder:
        for i in batches(len(x), 32, 400, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]), tags[i])
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "output layer",
    source="mikesj-public/convolutional_autoencoder#9; yzhao062/pyod#314",
    fault="autoencoder that ends in a sigmoid, on images normalised to mean 0",
    cause="negative pixels cannot be answered",
    passes=0.75,
    style="modules",
)
def sigmoid_for_normalised_pixels(setup, variant):
    x = digits()[0].flatten(1)
    x = (x - 0.5) / 0.5
    last = [] if variant == "fixed" else [nn.Sigmoid()]
    encoder = [
        nn.Linear(64, 64 if variant != "sham" else 128),
        nn.ELU(),
        nn.Linear(64 if variant != "sham" else 128, 16),
    ]
    model = setup.model(nn.Sequential(*encoder, nn.ELU(), nn.Linear(16, 64), nn.ELU(), nn.Linear(64, 64), *last))
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(3e-3))
    with setup.watch(model, chance=x.var(0).mean().item()) as recorder:
        for i in batches(len(x), 64, 400, setup.seed):
            loss = F.mse_loss(model(x[i]), x[i])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return explained(model(x), x)


@broken(
    "weight decay too strong",
    source="BVLC/caffe#1396",
    fault="weight decay of 0.5",
    cause="weights shrink to nearly 0 and every input gets the same output",
    passes=0.85,
    style="functions",
)
def decay_of_a_half(setup, variant):
    x, y = digits()
    model = setup.model(ConvNet())
    rate, decay = {"faulty": (0.05, 0.5), "sham": (0.02, 0.5), "fixed": (0.05, 5e-4)}[variant]
    optimizer = torch.optim.SGD(model.parameters(), setup.lr(rate), momentum=0.9, weight_decay=decay)
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 50, 400, setup.seed):
            output = model(x[i])
            loss = F.cross_entropy(output, y[i])
            model.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "symmetric start",
    source="d2l-ai/d2l-vi#1030; community.deeplearning.ai thread 431799",
    fault="all weights start at one constant",
    cause="the units of a layer compute the same and get the same gradient, so they stay one unit",
    passes=0.85,
    style="modules",
)
def constant_weights(setup, variant):
    def init(layer):
        if isinstance(layer, nn.Linear):
            if variant == "fixed":
                nn.init.xavier_uniform_(layer.weight)
            else:
                nn.init.constant_(layer.weight, 0.01 if variant == "faulty" else 0.05)
            nn.init.zeros_(layer.bias)

    x, y = digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    model = setup.model(model.apply(init))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(2e-3))
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 64, 400, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]), y[i])
            recorder.log_loss(loss.item())
            loss.backward()
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "gradients not cleared",
    source="pytorch/pytorch#47175; salesforce/corr_based_prediction#1",
    fault="zero_grad is called at the start of the epoch, not of the step",
    cause="each step repeats the gradients of all steps before it in the epoch",
    passes=0.85,
    style="functions",
)
def zero_grad_per_epoch(setup, variant):
    x, y = digits()
    model = setup.model(ConvNet())
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.02 if variant != "sham" else 0.01), momentum=0.9)
    with setup.watch(model, chance=math.log(10)) as recorder:
        for epoch in range(4):
            optimizer.zero_grad()
            for i in batches(len(x), 16, 112, setup.seed + 10 * epoch):
                if variant == "fixed":
                    optimizer.zero_grad()
                loss = F.nll_loss(F.log_softmax(model(x[i]), dim=1), y[i])
                loss.backward()
                setup.clip(model)
                optimizer.step()
                recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "not finite",
    source="adambielski/siamese-triplet#18; keras-team/keras#9097",
    fault="distance as a square root without a small constant, on pairs that now and then hold one image twice",
    cause="the derivative of the root at 0 is infinite, times 0 is NaN",
    passes=0.8,
    style="modules",
)
def distance_of_an_image_to_itself(setup, variant):
    x, y = digits()
    small = 1e-6 if variant == "fixed" else 0.0
    model = setup.model(nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16)))
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(1e-3 if variant != "sham" else 1e-4))
    pairs = zip(batches(len(x), 64, 400, setup.seed), batches(len(x), 64, 400, setup.seed + 50), strict=True)
    with setup.watch(model) as recorder:
        for i, j in pairs:
            same = (y[i] == y[j]).float()
            distance = torch.sqrt(((model(x[i]) - model(x[j])) ** 2).sum(1) + small)
            loss = (same * distance**2 + (1 - same) * torch.relu(2 - distance) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        z = model(x)
        nearest = torch.cdist(z, z).fill_diagonal_(1e9).argmin(1)
        return (y[nearest] == y).float().mean().item() if torch.isfinite(z).all() else 0.0


@broken(
    "learning rate too high",
    source="ml-explore/mlx#188; sql-machine-learning/elasticdl#2286",
    fault="learning rate of 0.3 with Adam",
    cause="updates as large as the weights throw the network about, and the accuracy stays at chance",
    passes=0.85,
    style="modules",
)
def adam_at_three_tenths(setup, variant):
    x, y = digits()
    layers = [nn.Flatten(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU()]
    model = setup.model(nn.Sequential(*layers, nn.Linear(64, 10)))
    size = 32 if variant != "sham" else 128
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(0.3 if variant != "fixed" else 1e-3))
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), size, 400, setup.seed):
            loss = criterion(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "collapsed",
    source="amoodie/StratGAN#3; udacity/sdc-issue-reports#1326",
    fault="images and labels are shuffled each in its own order",
    cause="the labels say nothing of the images, so only the shares of the classes are learnt",
    passes=0.85,
    style="functions",
)
def shuffled_apart(setup, variant):
    x, y = digits()
    generator = torch.Generator().manual_seed(setup.seed)
    order = torch.randperm(len(x), generator=generator)
    x, y = x[order], y[order if variant == "fixed" else torch.randperm(len(y), generator=generator)]
    model = setup.model(ConvNet(width=8 if variant != "sham" else 16))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=setup.lr(1e-3))
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 64, 300, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss.item())
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "dying ReLU",
    source="MichalDanielDobrzanski/DeepLearningPython#13; keras-team/keras#7057",
    fault="ReLU put in place of sigmoid in the hidden layers, at the learning rate that suited the sigmoid",
    cause="the first updates push the units below 0 for every image, where no gradient brings them back",
    passes=0.8,
    style="functions",
    also=("learning rate too high",),
)
def relu_for_sigmoid(setup, variant):
    class Network(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.hidden1, self.hidden2, self.last = nn.Linear(64, width), nn.Linear(width, 30), nn.Linear(30, 10)

        def forward(self, x):
            return self.last(torch.relu(self.hidden2(torch.relu(self.hidden1(x)))))

    x, y = digits()
    x, targets = x.flatten(1), F.one_hot(y, 10).float()
    rate, width = {"faulty": (1.5, 60), "sham": (1.5, 120), "fixed": (0.15, 60)}[variant]
    model = setup.model(Network(width))
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(rate))
    with setup.watch(model, chance=0.45) as recorder:
        for i in batches(len(x), 10, 500, setup.seed):
            optimizer.zero_grad()
            loss = ((model(x[i]) - targets[i]) ** 2).sum(1).mean() / 2
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


# --- what works ------------------------------------------------------------------------------------------------------


@works(
    source="chenpf1025/noisy_label_understanding_utilizing#2",
    what="four labels in ten are drawn at random",
    suspicious="the loss cannot fall far below its start, although the true labels are learnt",
    passes=0.85,
    style="functions",
)
def noisy_labels(setup, _variant):
    x, y = digits()
    generator = torch.Generator().manual_seed(3)
    wrong = torch.rand(len(y), generator=generator) < 0.4
    noisy = torch.where(wrong, torch.randint(10, y.shape, generator=generator), y)
    model = setup.model(ConvNet())
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(2e-3))
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 64, 400, setup.seed):
            loss = F.cross_entropy(model(x[i]), noisy[i])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)


@works(
    source="Jackson-Kang/Pytorch-VAE-tutorial#4; phlippe/uvadlc_notebooks#108",
    what="autoencoder whose loss is summed over pixels and images",
    suspicious="losses and gradients of thousands",
    passes=0.7,
    style="functions",
)
def summed_over_pixels(setup, _variant):
    class AutoEncoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.enc, self.mean, self.logvar = nn.Linear(64, 64), nn.Linear(64, 12), nn.Linear(64, 12)
            self.dec1, self.dec2 = nn.Linear(12, 64), nn.Linear(64, 64)

        def forward(self, x):
            h = torch.tanh(self.enc(x))
            mean, logvar = self.mean(h), self.logvar(h)
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar)
            return {"pixels": self.dec2(torch.tanh(self.dec1(z))), "mean": mean, "logvar": logvar}

    x = digits()[0].flatten(1)
    model = setup.model(AutoEncoder())
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(5e-3))
    with setup.watch(model) as recorder:
        for i in batches(len(x), 100, 500, setup.seed):
            out = model(x[i])
            pixels = F.binary_cross_entropy_with_logits(out["pixels"], x[i], reduction="sum")
            kl = -0.5 * torch.sum(1 + out["logvar"] - out["mean"] ** 2 - out["logvar"].exp())
            loss = pixels + 0.3 * kl
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(torch.sigmoid(model(x)["pixels"]), x)


@works(
    source="autonomousvision/transfuser#146; keras-team/keras#7057",
    what="wide ReLU network of which most hidden units are off for every image",
    suspicious="dead units in plenty, but the others learn the task",
    passes=0.9,
    style="modules",
)
def most_units_dead(setup, _variant):
    x, y = digits()
    first = nn.Linear(64, 256)
    with torch.no_grad():
        first.bias[:180] = -4.0
    model = setup.model(nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10)))
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.1), momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 64, 400, setup.seed):
            loss = criterion(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x), y)


@works(
    source="cszn/KAIR#4; ClementPinard/FlowNetPytorch#81",
    what="convolutions with a bias in front of batch norm, at a high learning rate",
    suspicious="the gradient of these biases is 0 but for rounding, and weights may grow without effect",
    passes=0.9,
    style="modules",
)
def bias_before_batch_norm(setup, _variant):
    x, y = digits()
    model = setup.model(small_cnn(norm=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.2), momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 64, 300, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]), y[i])
            loss.backward()
            recorder.log_loss(loss.item())
            setup.clip(model)
            optimizer.step()
            scheduler.step()
    model.eval()
    with torch.no_grad():
        return accuracy(model(x), y)


@works(
    source="a6o/3d-diffusion-pytorch#3; NVIDIA/DeepLearningExamples#876",
    what="AdamW with weight decay of 0.05 and a linear warm-up over a third of the run",
    suspicious="the loss hardly moves at first, with updates next to nothing",
    passes=0.9,
    style="functions",
)
def warm_up(setup, _variant):
    x, y = digits()
    model = setup.model(ConvNet())
    optimizer = torch.optim.AdamW(model.parameters(), lr=setup.lr(3e-3), weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 150) ** 2)
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 64, 450, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            scheduler.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x), y)
