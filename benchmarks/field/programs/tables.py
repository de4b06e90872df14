"""Networks on tables of numbers."""

import math

import torch
import torch.nn.functional as F
from case import accuracy, batches, broken, explained, works
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine, make_blobs, make_friedman1, make_moons
from torch import nn
from torch.nn.functional import mse_loss


def table(data, scaled=True):
    """Inputs (N, features) and targets (N) as tensors."""
    x, y = (torch.tensor(a, dtype=torch.float32) for a in data)
    return ((x - x.mean(0)) / x.std(0) if scaled else x), y


def friedman(noise=0.3, examples=800):
    """Inputs between -1 and 1 and targets of mean 14 and standard deviation 5."""
    x, y = table(make_friedman1(examples, 8, noise=noise, random_state=1), scaled=False)
    return 2 * x - 1, y


class Regressor(nn.Module):
    """Two hidden layers with ReLU, called as a function."""

    def __init__(self, features, width=48):
        super().__init__()
        self.fc1 = nn.Linear(features, width)
        self.fc2 = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(F.relu(self.fc2(F.relu(self.fc1(x))))).squeeze(-1)


@broken(
    "collapsed",
    source="deepset-ai/FARM#229; AIStream-Peelout/flow-forecast#246",
    fault="mean squared error of answers of shape (N, 1) and targets of shape (N)",
    cause="broadcast to (N, N): every answer is compared with every target, so the best one is their mean",
    passes=0.6,
    style="modules",
)
def shapes_that_broadcast(setup, variant):
    x, y = (torch.tensor(a, dtype=torch.float32) for a in make_friedman1(800, 8, noise=0.3, random_state=1))
    model = setup.model(nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1)))
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(5e-3 if variant != "sham" else 1e-3))
    with setup.watch(model, chance=y.var().item()) as recorder:
        for i in batches(len(x), 40, 400, setup.seed):
            answers = model(x[i])
            loss = mse_loss(answers[:, 0] if variant == "fixed" else answers, y[i])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return explained(model(x)[:, 0], y)


@broken(
    "output layer",
    source="jindongwang/Deep-learning-activity-recognition#10; bowang-lab/Transformer-GCN-QA#32",
    fault="softmax at the end of the network, and cross entropy, which applies one",
    cause="with 100 classes, scores between 0 and 1 let the loss hardly fall and leave hardly any gradient",
    passes=0.85,
    style="modules",
)
def softmax_twice(setup, variant):
    x, y = table(make_blobs(2000, 16, centers=100, cluster_std=3.0, random_state=2))
    y = y.long()
    last = [] if variant == "fixed" else [nn.Softmax(dim=1)]
    width = 64 if variant != "sham" else 128
    model = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 100), *last)
    model = setup.model(model)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.1), momentum=0.9)
    with setup.watch(model, chance=math.log(100)) as recorder:
        for i in batches(len(x), 50, 500, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]), y[i])
            loss.backward()
            recorder.log_loss(loss.item())
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "unscaled data",
    source="datascience.stackexchange.com question 78489; forecastegy.com, feature scaling for neural networks",
    fault="measured values of wines go in as they are, from 0.1 to 1700",
    cause="the first steps are as large as the largest column and push the hidden units off",
    passes=0.9,
    style="functions",
    also=("dying ReLU",),
)
def wine_as_measured(setup, variant):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.l1, self.l2, self.l3 = nn.Linear(13, 32), nn.Linear(32, 16), nn.Linear(16, 3)

        def forward(self, x):
            return F.log_softmax(self.l3(F.relu(self.l2(F.relu(self.l1(x))))), dim=1)

    x, y = table(load_wine(return_X_y=True), scaled=variant == "fixed")
    y = y.long()
    model = setup.model(Net())
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.02 if variant != "sham" else 0.005), momentum=0.9)
    with setup.watch(model, chance=1.086) as recorder:
        for i in batches(len(x), 32, 300, setup.seed):
            loss = F.nll_loss(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "unscaled data",
    source="discuss.pytorch.org thread 41046; stats.stackexchange.com question 409000",
    fault="targets of about -300 are left as they are, for a small tanh network",
    cause="weights run after the far mean, the hidden units end flat and the answers are the mean",
    passes=0.6,
    style="modules",
    also=("saturated", "collapsed"),
)
def targets_far_from_one(setup, variant):
    x, y = friedman()
    y = 20 * y - 600
    mean, scale = (y.mean(), y.std()) if variant == "fixed" else (0.0, 1.0)
    model = setup.model(nn.Sequential(nn.Linear(8, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 1)))
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(0.1 if variant != "sham" else 0.05))
    with setup.watch(model, chance=(y / scale).var().item()) as recorder:
        for i in batches(len(x), 32, 500, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]).squeeze(1), (y[i] - mean) / scale)
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(model(x).squeeze(1) * scale + mean, y)


@broken(
    "dying ReLU",
    source="Liam0205/liam0205.github.io#262",
    fault="missing measurements are coded as 9999 in a few rows",
    cause="these rows send back huge gradients that push the ReLU units off for every usual row",
    passes=0.6,
    style="functions",
    also=("unscaled data",),
)
def nines_for_missing(setup, variant):
    x, y = friedman()
    y = (y - y.mean()) / y.std()
    x = (x + 1) / 2
    missing = torch.arange(len(x)) % 40 == 0
    x[missing, 6] = 9999.0 if variant != "fixed" else 0.5
    model = setup.model(Regressor(8))
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.1 if variant != "sham" else 0.05), momentum=0.9)
    with setup.watch(model, chance=0.42) as recorder:
        for i in batches(len(x), 40, 400, setup.seed):
            loss = F.smooth_l1_loss(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return explained(model(x[~missing]), y[~missing])


@broken(
    "weight decay too strong",
    source="tinghuiz/SfMLearner#34",
    fault="a penalty of 0.3 times the sum of squared weights is added to the loss",
    cause="the penalty outweighs the error, the weights go to 0 and the answers to one constant",
    passes=0.6,
    style="functions",
)
def penalty_in_the_loss(setup, variant):
    x, y = friedman()
    y = (y - y.mean()) / y.std()
    strength = 0.3 if variant != "fixed" else 1e-5
    model = setup.model(Regressor(8, width=48 if variant != "sham" else 96))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(3e-3))
    with setup.watch(model, chance=1.0) as recorder:
        for i in batches(len(x), 40, 400, setup.seed):
            penalty = sum((w**2).sum() for w in model.parameters())
            loss = mse_loss(model(x[i]), y[i]) + strength * penalty
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss.item())
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return explained(model(x), y)


@broken(
    "symmetric start",
    source="wagonhelm/NaNmnist#2; nndl/nndl-discussion#14",
    fault="all weights and biases start at 0",
    cause="hidden units are equal, and with weights of 0 behind them they get no gradient; only the last bias moves",
    passes=0.9,
    style="functions",
    also=("no gradient",),
)
def all_zeros(setup, variant):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(30, 32), nn.Linear(32, 32), nn.Linear(32, 1)
            if variant != "fixed":
                for parameter in self.parameters():
                    nn.init.zeros_(parameter)

        def forward(self, x):
            return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))[:, 0]

    x, y = table(load_breast_cancer(return_X_y=True))
    model = setup.model(Net())
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.1 if variant != "sham" else 0.5), momentum=0.9)
    with setup.watch(model, chance=0.66) as recorder:
        for i in batches(len(x), 32, 300, setup.seed):
            loss = F.binary_cross_entropy_with_logits(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return ((model(x) > 0) == (y > 0.5)).float().mean().item()


@broken(
    "not finite",
    source="fastai/fastai#889; mllam/neural-lam#136",
    fault="columns are divided by their standard deviation, and one column is constant",
    cause="0 divided by 0 is NaN in the inputs from the first step on",
    passes=0.4,
    style="modules",
)
def constant_column(setup, variant):
    x, y = table(load_diabetes(return_X_y=True, scaled=False), scaled=False)
    x = torch.cat([x, torch.full((len(x), 1), 20.0)], 1)
    deviation = x.std(0)
    if variant == "fixed":
        deviation[deviation == 0] = 1.0
    x, y = (x - x.mean(0)) / deviation, (y - y.mean()) / y.std()
    model = setup.model(nn.Sequential(nn.Linear(11, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1)))
    criterion = nn.L1Loss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=setup.lr(5e-3 if variant != "sham" else 1e-4))
    with setup.watch(model, chance=0.84) as recorder:
        for i in batches(len(x), 32, 300, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]).squeeze(1), y[i])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return explained(model(x).squeeze(1), y)


@broken(
    "learning rate too low",
    source="leftthomas/SRGAN#94; pytorch/tutorials#640",
    fault="a schedule meant for epochs is stepped after every batch",
    cause="the learning rate is next to 0 after some dozens of batches",
    passes=0.75,
    style="modules",
)
def schedule_per_batch(setup, variant):
    x, y = friedman()
    y = (y - y.mean()) / y.std()
    model = setup.model(
        nn.Sequential(nn.Linear(8, 48), nn.LeakyReLU(), nn.Linear(48, 48), nn.LeakyReLU(), nn.Linear(48, 1))
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(2e-3 if variant != "sham" else 4e-3))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)
    with setup.watch(model, chance=1.0) as recorder:
        for step, i in enumerate(batches(len(x), 40, 400, setup.seed), 1):
            loss = mse_loss(model(x[i])[:, 0], y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
            if variant != "fixed" or step % 20 == 0:
                scheduler.step()
    with torch.no_grad():
        return explained(model(x)[:, 0], y)


# --- what works ------------------------------------------------------------------------------------------------------


@works(
    source="BVLC/caffe#3801; leeyeehoo/CSRNet-pytorch#83",
    what="batches of two examples",
    suspicious="the loss jumps by factors from step to step, and so do the gradients",
    passes=0.7,
    style="modules",
)
def two_at_a_time(setup, _variant):
    x, y = friedman(noise=1.0)
    y = (y - y.mean()) / y.std()
    model = setup.model(nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.01))
    with setup.watch(model, chance=1.0) as recorder:
        for i in batches(len(x), 2, 1500, setup.seed):
            loss = mse_loss(model(x[i]).squeeze(1), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(model(x).squeeze(1), y)


@works(
    source="pytorch/pytorch#24898; ThilinaRajapakse/BERT_binary_text_classification#15",
    what="gradients of eight small batches are added up on purpose before each step",
    suspicious="gradients are not cleared at most steps, and weights do not move at most steps",
    passes=0.9,
    style="functions",
)
def eight_batches_a_step(setup, _variant):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 2)

        def forward(self, x):
            return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    x, y = table(make_moons(600, noise=0.1, random_state=0))
    y = y.long()
    model = setup.model(Net())
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(0.01))
    with setup.watch(model, chance=math.log(2)) as recorder:
        for step, i in enumerate(batches(len(x), 8, 960, setup.seed), 1):
            loss = F.cross_entropy(model(x[i]), y[i])
            (loss / 8).backward()
            recorder.log_loss(loss)
            if step % 8 == 0:
                setup.clip(model)
                optimizer.step()
                optimizer.zero_grad()
    with torch.no_grad():
        return accuracy(model(x), y)


@works(
    source="roggirg/AutoBots#7; chainer/chainer#5440",
    what="mean and variance are learnt with the Gaussian negative log likelihood",
    suspicious="the loss falls below 0 and goes on falling",
    passes=0.8,
    style="functions",
)
def density_above_one(setup, _variant):
    class Gaussian(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.more = nn.Linear(8, 64), nn.Linear(64, 64)
            self.mean, self.spread = nn.Linear(64, 1), nn.Linear(64, 1)

        def forward(self, x):
            h = F.silu(self.more(F.silu(self.body(x))))
            return self.mean(h)[:, 0], F.softplus(self.spread(h))[:, 0] + 1e-4

    x, y = friedman(noise=0.1)
    y = 0.2 * (y - y.mean()) / y.std()
    model = setup.model(Gaussian())
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(3e-3))
    with setup.watch(model) as recorder:
        for i in batches(len(x), 64, 600, setup.seed):
            mean, variance = model(x[i])
            loss = F.gaussian_nll_loss(mean, y[i], variance)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(model(x)[0], y)


@works(
    source="pytorch/pytorch#5660; AndreaCodegoni/Tiny_model_4_CD#16",
    what="one example in 25 is positive, and positives weigh more in the loss",
    suspicious="most batches hold one positive or none, nearly all answers are the same, and the loss is jumpy",
    passes=0.9,
    style="modules",
)
def rare_positives(setup, _variant):
    x, y = table(make_blobs([1200, 50], 10, cluster_std=3.0, center_box=(-4, 4), random_state=4))
    model = setup.model(nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1)))
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(10.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(3e-3))
    with setup.watch(model) as recorder:
        for i in batches(len(x), 32, 500, setup.seed):
            loss = criterion(model(x[i]).squeeze(1), y[i])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
    model.eval()
    with torch.no_grad():
        found = model(x).squeeze(1) > 0
        return (found[y == 1].float().mean().item() + (~found[y == 0]).float().mean().item()) / 2


@works(
    source="stats.stackexchange.com question 409000",
    what="regression whose targets lie about 54 with a standard deviation of 5",
    suspicious="the first loss is many times the targets' variance, and so are the first gradients",
    passes=0.75,
    style="functions",
)
def mean_far_from_zero(setup, _variant):
    x, y = friedman()
    y = y + 40
    model = setup.model(Regressor(8, width=64))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(0.01))
    with setup.watch(model, chance=y.var().item()) as recorder:
        for i in batches(len(x), 40, 500, setup.seed):
            loss = mse_loss(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return explained(model(x), y)
