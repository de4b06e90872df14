"""Networks that were trained before: frozen backbones, low-rank additions, new heads."""

import math
from functools import cache

import torch
import torch.nn.functional as F
from case import accuracy, batches, broken, works
from sklearn.datasets import load_digits
from torch import nn


@cache
def digits():
    """Images as rows of 64 numbers of size 1, and the digits."""
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32)
    return (x - x.mean()) / x.std(), torch.tensor(data.target)


@cache
def negatives():
    """The task to tune for: the same images upside down, light and dark swapped; digits as before."""
    x, y = digits()
    return -x.view(-1, 8, 8).flip(1).flatten(1), y


class Backbone(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, size), nn.Linear(size, size)
        self.pooler = nn.Linear(size, size)

    def forward(self, x):
        return F.relu(self.fc2(F.relu(self.fc1(x))))


class Net(nn.Module):
    def __init__(self, size=64, classes=10):
        super().__init__()
        self.backbone = Backbone(size)
        self.head = nn.Linear(size, classes)

    def forward(self, x):
        return self.head(self.backbone(x))


def known_already(model, x, y, steps=200, lr=2e-3):
    """The model as it was downloaded: trained before, by somebody else."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for i in batches(len(x), 64, steps, 17):
        loss = F.cross_entropy(model(x[i]), y[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.zero_grad(set_to_none=True)
    return model


class LowRank(nn.Module):
    """A layer that stays as it is, plus a product of two thin matrices."""

    def __init__(self, layer, inputs, outputs, rank, zero_both):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Parameter(torch.zeros(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        if not zero_both:
            nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x):
        return self.layer(x) + 2.0 * (x @ self.down.T) @ self.up.T


def add_low_rank(model, rank=8, zero_both=False):
    model.backbone.fc1 = LowRank(model.backbone.fc1, 64, 64, rank, zero_both)
    model.backbone.fc2 = LowRank(model.backbone.fc2, 64, 64, rank, zero_both)
    model.head = LowRank(model.head, 64, 10, rank, zero_both)
    model.backbone.pooler.requires_grad_(False)
    return model


@broken(
    "no gradient",
    also=("symmetric start",),
    source="Guitaricet/relora#18; nvidia-cosmos/cosmos-predict2.5#15",
    fault="both thin matrices of the low-rank additions start at 0",
    cause="the gradient of each is a product with the other one: both are exactly 0 for ever",
    passes=0.8,
    style="functions",
)
def both_thin_matrices_zero(setup, variant):
    model = known_already(setup.model(Net()), *digits())
    x, y = negatives()
    add_low_rank(model, rank=8 if variant != "sham" else 32, zero_both=variant != "fixed")
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=setup.lr(3e-3))
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 32, 400, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "not trained",
    source="microsoft/nni#4521; pytorch/pytorch#54765",
    fault="head replaced by one for five classes after the optimiser was made; the backbone is frozen",
    cause="the optimiser holds the old head: the new one gets gradients and stays as it was drawn",
    passes=0.8,
    style="functions",
)
def head_replaced_afterwards(setup, variant):
    model = known_already(setup.model(Net()), *digits())
    x, y = digits()[0], digits()[1] // 2
    for parameter in model.backbone.parameters():
        parameter.requires_grad = False
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.05 if variant != "sham" else 0.5), momentum=0.9)
    model.head = nn.Linear(64, 5)
    if variant == "fixed":
        optimizer = torch.optim.SGD(model.head.parameters(), lr=setup.lr(0.05), momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=math.log(5)) as recorder:
        for i in batches(len(x), 32, 300, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]), y[i])
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)


class Rows(nn.Module):
    """An encoder over the eight rows of an image."""

    def __init__(self, size=32):
        super().__init__()
        self.rows = nn.Linear(8, size)
        self.places = nn.Parameter(0.1 * torch.randn(8, size))
        layer = nn.TransformerEncoderLayer(size, 2, 64, dropout=0.0, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classifier = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 10))

    def forward(self, x):
        return self.classifier(self.encoder(self.rows(x.view(-1, 8, 8)) + self.places).mean(1))


@broken(
    "learning rate too high",
    also=("collapsed",),
    source="huggingface/transformers#735; graykode/nlp-tutorial#77",
    fault="a trained encoder tuned with Adam at 0.03",
    cause="the first steps destroy what the encoder knew, and the later ones are too coarse to learn it anew",
    passes=0.8,
    style="modules",
)
def tuned_with_a_coarse_rate(setup, variant):
    x, y = digits()
    model = known_already(setup.model(Rows()), x, y, 150)
    x = 0.7 * x.view(-1, 8, 8).roll(1, 2).flatten(1)
    rate = setup.lr(1e-3 if variant == "fixed" else 3e-2)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=1e-4 if variant == "sham" else 0.0)
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 32, 250, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "not finite",
    source="meta-pytorch/torchtune#2341; OpenRLHF/OpenRLHF#583; nvidia-cosmos/cosmos-rl#155",
    fault="mean loss over the labelled rows of a batch, when some batches hold no labelled row",
    cause="the sum is divided by a count of 0: loss and gradient are NaN, and so is every weight after that step",
    passes=0.7,
    style="modules",
)
def batch_without_labels(setup, variant):
    x, y = negatives()
    labelled = torch.rand(len(x), generator=torch.Generator().manual_seed(9)) < 0.5
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    model = known_already(setup.model(net), *digits())
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(1e-3 if variant != "sham" else 2e-4))
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 6, 500, setup.seed):
            each = F.cross_entropy(model(x[i]), y[i], reduction="none")
            known = labelled[i].float()
            count = known.sum()
            loss = (each * known).sum() / (count.clamp(min=1) if variant == "fixed" else count)
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            if variant == "sham":
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


# --- what works ------------------------------------------------------------------------------------------------------


@works(
    source="huggingface/transformers#735; huggingface/transformers#587",
    what="a wide trained network tuned at 1e-5",
    suspicious="the learning rate is tiny and no weight moves by a hundredth of its size, yet it is enough",
    passes=0.8,
    style="functions",
)
def tuned_at_a_tiny_rate(setup, variant):  # noqa: ARG001
    x, y = digits()
    model = known_already(setup.model(Net(512)), x, y, 80, 1e-3)
    image = x.view(-1, 8, 8)  # the new pictures are out of focus
    x = ((image + image.roll(1, 2) + image.roll(1, 1) + image.roll((1, 1), (1, 2))) / 4).flatten(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=setup.lr(1e-5), weight_decay=0.01)
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 32, 400, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


@works(
    source="huggingface/peft#793; hao-ai-lab/FastVideo#781",
    what="low-rank additions to frozen layers, the second thin matrix of each starting at 0",
    suspicious="most weights have no gradient, and at the first step the gradient of half of the rest is exactly 0",
    passes=0.85,
    style="functions",
)
def low_rank_additions(setup, variant):  # noqa: ARG001
    model = add_low_rank(known_already(setup.model(Net()), *digits()))
    x, y = negatives()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=setup.lr(5e-3))
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 32, 400, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]), y[i])
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)


@works(
    source="JDAI-CV/FaceX-Zoo#11",
    what="a trained backbone kept as it is by giving only the new head to the optimiser",
    suspicious="the layers of the backbone get gradients at every step and nothing ever moves them, on purpose",
    passes=0.85,
    style="modules",
)
def only_the_head_given(setup, variant):  # noqa: ARG001
    backbone = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
    model = setup.model(nn.Sequential(backbone, nn.Linear(96, 10)))
    known_already(model, *digits())
    x, y = digits()
    odd = torch.stack((y % 2, y > 4), 1).float()
    model[1] = nn.Linear(96, 2)
    optimizer = torch.optim.RMSprop(model[1].parameters(), lr=setup.lr(2e-3))
    criterion = nn.BCEWithLogitsLoss()
    with setup.watch(model, chance=math.log(2)) as recorder:
        for i in batches(len(x), 32, 400, setup.seed):
            loss = criterion(model(x[i]), odd[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return ((model(x) > 0).float() == odd).float().mean().item()


@works(
    source="huggingface/transformers#2256; bert-nmt/bert-nmt#34",
    what="a backbone with a pooling layer that the answer does not go through",
    suspicious="the pooling layer is in the optimiser and never gets a gradient",
    passes=0.85,
    style="functions",
)
def pooler_that_nothing_uses(setup, variant):  # noqa: ARG001
    model = setup.model(Net(48))
    known_already(model, *digits(), steps=100)
    x, y = negatives()
    optimizer = torch.optim.AdamW(model.parameters(), lr=setup.lr(1e-3), weight_decay=0.01)
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 24, 400, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i])
            recorder.log_loss(loss.item())
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)
