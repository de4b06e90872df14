"""Networks on likeness: contrastive, triplet and self-supervised learning."""

import math

import torch
import torch.nn.functional as F
from case import accuracy, batches, broken, works
from sklearn.datasets import load_digits
from torch import nn


def digits():
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)


def views(x):
    """Two views of each image: pixels dropped, noise added."""
    return [x * (torch.rand_like(x) > 0.15) + 0.1 * torch.randn_like(x) for _ in range(2)]


def neighbours(z, y, known=1200):
    """Share of the last examples whose nearest known neighbour is of their class; 0 if nearly all lie at one point."""
    if not torch.isfinite(z).all() or (z - z.mean(0)).norm() < 0.1 * z.norm() or z.std() < 1e-3:
        return 0.0
    return (y[:known][torch.cdist(z[known:], z[:known]).argmin(1)] == y[known:]).float().mean().item()


def triplets(y, i):
    """For each anchor an example of its class and one of another."""
    some = torch.randint(1200, (len(i), 60))
    same = (y[some] == y[i, None]).float()
    return some.gather(1, same.argmax(1, keepdim=True))[:, 0], some.gather(1, same.argmin(1, keepdim=True))[:, 0]


class Embed(nn.Module):
    def __init__(self, out=16, hidden=96):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, out)

    def forward(self, x):
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


def hardest(z, y):
    """Distance of each example to the farthest of its class and to the nearest of the others."""
    distance = (z[:, None] - z[None]).pow(2).sum(-1).clamp(min=1e-12).sqrt()
    same = y[:, None] == y[None]
    return distance.masked_fill(~same, 0).max(1)[0], distance.masked_fill(same, 1e9).min(1)[0]


@broken(
    "collapsed",
    source="PatrickHua/SimSiam#50; facebookresearch/simsiam#29; qdrant/quaterion#52",
    fault="two views of each image are pulled together, and nothing keeps different images apart",
    cause="one vector for every image is the best answer: the embeddings shrink to a point and the loss to 0",
    passes=0.6,
    style="modules",
)
def views_only_pulled_together(setup, variant):
    x, y = digits()
    net = setup.model(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 16)))
    optimizer = torch.optim.Adam(net.parameters(), setup.lr(2e-3 if variant != "sham" else 6e-4))
    with setup.watch(net) as recorder:
        for i in batches(1200, 128, 400, setup.seed):
            z1, z2 = (net(v) for v in views(x[i]))
            loss = F.mse_loss(z1, z2)
            if variant == "fixed":
                loss = loss + sum(F.relu(1 - z.std(0)).mean() + 0.1 * z.T.cov().square().mean() for z in (z1, z2))
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(net)
            optimizer.step()
    with torch.no_grad():
        z = net(x)
        return neighbours(z, y) if z.std(0).mean() > 0.02 else 0.0


@broken(
    "not finite",
    source="pytorch/pytorch#2421; tilman151/rul-adapt#22",
    fault="the distance of a pair is the norm of the difference, and now and then a pair is twice the same image",
    cause="the norm has no gradient at 0: it is NaN there, and after one step all weights are",
    passes=0.8,
    style="functions",
)
def norm_of_no_difference(setup, variant):
    x, y = digits()
    net = setup.model(Embed())
    optimizer = torch.optim.SGD(net.parameters(), setup.lr(0.1 if variant != "sham" else 0.01), momentum=0.9)
    with setup.watch(net) as recorder:
        for i, other in zip(batches(1200, 64, 400, setup.seed), batches(1200, 64, 400, setup.seed + 50), strict=True):
            j = torch.where(torch.rand(64) < 0.3, triplets(y, i)[0], other)
            like = (y[i] == y[j]).float()
            difference = net(x[i]) - net(x[j])
            if variant == "fixed":
                distance = (difference.pow(2).sum(1) + 1e-8).sqrt()
            else:
                distance = difference.pow(2).sum(1).sqrt()
            loss = (like * distance**2 + (1 - like) * F.relu(1.5 - distance) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            setup.clip(net)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return neighbours(net(x), y)


@broken(
    "not finite",
    source="pytorch/pytorch#8069; pytorch/pytorch#4605; banctilrobitaille/torch-vectorized#7",
    fault="the loss is an angle, acos of a cosine that is clamped to -1 and 1",
    cause="the slope of acos is infinite at 1, which the cosine of a fitted pair reaches",
    passes=0.9,
    style="modules",
)
def angle_by_acos(setup, variant):
    g = torch.Generator().manual_seed(3)
    x = torch.randn(600, 5, generator=g)
    aim = F.normalize(torch.stack([x[:, 0], x[:, 1] * 0.5 + x[:, 2].abs(), torch.ones(600)], 1), dim=1)
    net = setup.model(nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 3)))
    optimizer = torch.optim.AdamW(net.parameters(), setup.lr(3e-3 if variant != "sham" else 8e-3))
    bound = 1 - 1e-5 if variant == "fixed" else 1.0
    with setup.watch(net) as recorder:
        for i in batches(600, 100, 600, setup.seed):
            cosine = (F.normalize(net(x[i]), dim=1) * aim[i]).sum(1).clamp(-bound, bound)
            loss = torch.acos(cosine).mean()
            optimizer.zero_grad()
            loss.backward()
            setup.clip(net)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return (F.normalize(net(x), dim=1) * aim).sum(1).mean().item()


@broken(
    "weight decay too strong",
    also=("collapsed",),
    source="tinghuiz/SfMLearner#34; Joker316701882/Additive-Margin-Softmax#16",
    fault="weight decay of 0.1 as an L2 penalty in Adam",
    cause="the penalty outweighs the loss: the weights shrink to 0 and with them all differences",
    passes=0.8,
    style="functions",
)
def decay_like_any_other_number(setup, variant):
    x, y = digits()
    net = setup.model(Embed(10))
    decay = 1e-5 if variant == "fixed" else 0.1
    optimizer = torch.optim.Adam(net.parameters(), setup.lr(2e-3 if variant != "sham" else 6e-3), weight_decay=decay)
    with setup.watch(net, chance=math.log(10)) as recorder:
        for i in batches(1200, 64, 500, setup.seed):
            loss = F.cross_entropy(net(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(net)
            optimizer.step()
    with torch.no_grad():
        return accuracy(net(x[1200:]), y[1200:])


@broken(
    "learning rate too low",
    source="ivadomed/ivadomed#55; pytorch/vision#1261; nodefluxio/vortex#58",
    fault="a schedule made for epochs (x 0.7 each) is stepped after every batch",
    cause="after 40 batches the learning rate is almost 0 and nothing is learned any more",
    passes=0.7,
    style="functions",
)
def schedule_stepped_per_batch(setup, variant):
    x, y = digits()
    net = setup.model(Embed(3))
    optimizer = torch.optim.SGD(net.parameters(), setup.lr(0.05), momentum=0.9 if variant != "sham" else 0.5)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.7)
    with setup.watch(net) as recorder:
        for step, i in enumerate(batches(1200, 64, 480, setup.seed)):
            p, n = triplets(y, i)
            loss = F.triplet_margin_loss(net(x[i]), net(x[p]), net(x[n]), margin=1.0)
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss.item())
            setup.clip(net)
            optimizer.step()
            if variant != "fixed" or step % 80 == 79:
                scheduler.step()
    with torch.no_grad():
        return neighbours(net(x), y)


@works(
    source="HobbitLong/SupContrast#45; phlippe/uvadlc_notebooks#34",
    what="InfoNCE of two views at temperature 0.5",
    suspicious="the loss starts at ln 255 and looks stuck: by its temperature it cannot fall far below 4",
    passes=0.8,
    style="modules",
)
def info_nce_with_high_floor(setup, _variant):
    x, y = digits()
    net = setup.model(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 32)))
    optimizer = torch.optim.AdamW(net.parameters(), setup.lr(1e-3))
    with setup.watch(net) as recorder:
        for i in batches(1200, 128, 250, setup.seed):
            z = F.normalize(net(torch.cat(views(x[i]))), dim=1)
            similar = (z @ z.T / 0.5).masked_fill(torch.eye(256, dtype=torch.bool), float("-inf"))
            loss = F.cross_entropy(similar, (torch.arange(256) + 128) % 256)
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(net)
            optimizer.step()
    with torch.no_grad():
        return neighbours(F.normalize(net(x), dim=1), y)


@works(
    source="omoindrot/tensorflow-triplet-loss#6; omoindrot/tensorflow-triplet-loss#38",
    what="triplet loss on the hardest examples of each batch",
    suspicious="the loss stays near the margin for long, as after a collapse, before it falls",
    passes=0.85,
    style="functions",
)
def hardest_triplets(setup, _variant):
    x, y = digits()
    net = setup.model(Embed())
    optimizer = torch.optim.Adam(net.parameters(), setup.lr(3e-4))
    with setup.watch(net) as recorder:
        for i in batches(1200, 80, 500, setup.seed):
            far, near = hardest(F.normalize(net(x[i]), dim=1), y[i])
            loss = F.relu(far - near + 0.3).mean()
            optimizer.zero_grad()
            loss.backward()
            setup.clip(net)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return neighbours(F.normalize(net(x), dim=1), y)


@works(
    source="facebookresearch/simsiam#29; facebookresearch/simsiam#7",
    what="BYOL: a predictor follows a slow copy of the encoder",
    suspicious="the loss is below 0 and comes near -1 soon, as in a collapse; the copy has no gradient",
    passes=0.8,
    style="modules",
)
def byol_near_minus_one(setup, _variant):
    x, y = digits()

    def encoder():
        return nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 48))

    head = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 48))
    net = setup.model(nn.ModuleDict({"online": encoder(), "slow": encoder(), "head": head}))
    net["slow"].load_state_dict(net["online"].state_dict())
    net["slow"].requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], setup.lr(1e-3))
    with setup.watch(net) as recorder:
        for i in batches(1200, 128, 250, setup.seed):
            a, b = views(x[i])
            with torch.no_grad():
                ta, tb = net["slow"](a), net["slow"](b)
            pa, pb = (net["head"](net["online"](v)) for v in (a, b))
            loss = -0.5 * (F.cosine_similarity(pa, tb).mean() + F.cosine_similarity(pb, ta).mean())
            optimizer.zero_grad()
            loss.backward()
            setup.clip(net)
            optimizer.step()
            recorder.log_loss(loss)
            for slow, fast in zip(net["slow"].parameters(), net["online"].parameters(), strict=True):
                slow.data.lerp_(fast.data, 0.02)
    net.eval()
    with torch.no_grad():
        return neighbours(F.normalize(net["online"](x), dim=1), y)
