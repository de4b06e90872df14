"""Networks on graphs and sets, message passing written by hand."""

import math

import torch
import torch.nn.functional as F
from case import accuracy, batches, broken, explained, works
from torch import nn


def communities(noise=2.0):
    """Features, labels and averaging matrix of 300 nodes in 4 communities; nodes from 150 on are for tests."""
    g = torch.Generator().manual_seed(7)
    y = torch.randint(4, (300,), generator=g)
    links = torch.rand(300, 300, generator=g) < torch.where(y[:, None] == y[None], 0.1, 0.01)
    links = (links | links.T | torch.eye(300, dtype=torch.bool)).float()
    x = torch.randn(4, 8, generator=g)[y] + noise * torch.randn(300, 8, generator=g)
    return x, y, links / links.sum(1, keepdim=True)


def neighbourhoods():
    """600 graphs of 10 nodes, and for each the mean of a function of its linked pairs."""
    g = torch.Generator().manual_seed(8)
    x = torch.randn(600, 10, 3, generator=g)
    links = (torch.cdist(x, x) < 2.0).float()
    mean = links / links.sum(2, keepdim=True)
    y = (torch.sin(2 * x[..., :1]) * (mean @ x[..., 1:2]) + (mean @ x[..., 2:3]).abs()).mean(1)
    return x, mean, (y - y.mean()) / y.std()


class Conv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.own, self.others = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs, bias=False)

    def forward(self, h, mean):
        return self.own(h) + self.others(mean @ h)


class GraphNet(nn.Module):
    """Two rounds of messages, then the mean of the nodes."""

    def __init__(self, width=32):
        super().__init__()
        self.convs = nn.ModuleList([Conv(3, width), Conv(width, width)])
        self.out = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, x, mean):
        for conv in self.convs:
            x = F.relu(conv(x, mean))
        return self.out(x.mean(1))


@broken(
    "not trained",
    source="pytorch/pytorch#54765; pytorch/pytorch#14467",
    fault="the layers for messages are replaced, by narrower ones, after the optimiser was made",
    cause="the optimiser goes on moving the old layers, which are in no network any more",
    passes=0.69,
    style="functions",
)
def layers_replaced_late(setup, variant):
    x, mean, y = neighbourhoods()
    model = setup.model(GraphNet())
    if variant == "fixed":
        model.convs = setup.model(nn.ModuleList([Conv(3, 6), Conv(6, 32)]))
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(1e-2 if variant != "sham" else 4e-3))
    if variant != "fixed":
        model.convs = setup.model(nn.ModuleList([Conv(3, 6), Conv(6, 32)]))
    with setup.watch(model, chance=1.0) as recorder:
        for i in batches(450, 50, 500, setup.seed):
            loss = F.mse_loss(model(x[i], mean[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return explained(model(x[450:], mean[450:]), y[450:])


@broken(
    "no gradient",
    source="FlyingGiraffe/vnn#11",
    fault="a layer scores the members of a set, and argmax of the scores picks the one that is used",
    cause="an index has no gradient: the scoring layers stay as they are and the choice stays random",
    passes=0.6,
    style="functions",
)
def member_picked_by_argmax(setup, variant):
    class Pick(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.score1, self.score2 = nn.Linear(5, 48), nn.Linear(5, 48), nn.Linear(48, 1)
            self.out1, self.out2 = nn.Linear(48, 48), nn.Linear(48, 1)

        def forward(self, x):
            h = self.embed(x).relu()
            score = 3 * self.score2(self.score1(x).relu())[..., 0]
            if variant == "fixed":
                h = (score.softmax(1)[..., None] * h).sum(1)
            else:
                top = score.topk(1 if variant == "faulty" else 2, dim=1).indices
                h = h.gather(1, top[..., None].expand(-1, -1, 48)).mean(1)
            return self.out2(self.out1(h).relu())

    g = torch.Generator().manual_seed(9)
    x = torch.randn(1500, 8, 5, generator=g)
    best = (x[..., 0] - x[..., 1]).argmax(1)
    y = x[torch.arange(1500), best][:, 2:3] + 0.5 * x[torch.arange(1500), best][:, 3:4]
    model = setup.model(Pick())
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(5e-3))
    with setup.watch(model, chance=y.var().item()) as recorder:
        for i in batches(1200, 64, 500, setup.seed):
            loss = F.smooth_l1_loss(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(model(x[1200:]), y[1200:])


@broken(
    "dying ReLU",
    source="facebookresearch/dlrm#358; jvargasmu/population_estimation#68",
    fault="the biases of the layers of a graph network are started far below 0",
    cause="all ReLU units of the later rounds are at 0 for every node and send no gradient",
    passes=0.7,
    style="modules",
)
def biases_far_below_zero(setup, variant):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList([Conv(8, 32), Conv(32, 32)])
            self.act, self.out = nn.ReLU(), nn.Linear(32, 4)
            for conv in self.convs:
                nn.init.normal_(conv.own.bias, 0.0 if variant == "fixed" else -6.0, 0.5)

        def forward(self, x, mean):
            for conv in self.convs:
                x = self.act(conv(x, mean))
            return self.out(x)

    x, y, mean = communities(1.0)
    model = setup.model(Net())
    optimizer = torch.optim.SGD(model.parameters(), setup.lr(0.1 if variant != "sham" else 0.5), momentum=0.9)
    with setup.watch(model, chance=math.log(4)) as recorder:
        for _ in range(200):
            loss = F.cross_entropy(model(x, mean)[:150], y[:150])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x, mean)[150:], y[150:])


@broken(
    "gradients not cleared",
    source="yueliu1999/HSAN#6; salesforce/corr_based_prediction#1; pytorch/pytorch#47175",
    fault="zero_grad stands before the loop over batches and not in it",
    cause="each step goes along the sum of all gradients so far: it swings ever further around the goal",
    passes=0.6,
    style="functions",
)
def zero_grad_before_the_loop(setup, variant):
    x, mean, y = neighbourhoods()
    model = setup.model(GraphNet())
    optimizer = torch.optim.SGD(model.parameters(), setup.lr(0.05 if variant != "sham" else 0.02), momentum=0.8)
    with setup.watch(model, chance=1.0) as recorder:
        optimizer.zero_grad()
        for i in batches(450, 50, 500, setup.seed):
            if variant == "fixed":
                optimizer.zero_grad()
            loss = (model(x[i], mean[i]) - y[i]).abs().mean()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(model(x[450:], mean[450:]), y[450:])


@broken(
    "collapsed",
    source="RS-KR/GNN-RS-Beginner#7; kenziyuliu/MS-G3D#53; yl-1993/learn-to-cluster#23",
    fault="forty rounds of averaging over the neighbours in front of the layers",
    cause="averaging so often makes all nodes alike: they get one answer",
    passes=0.7,
    style="functions",
)
def averaged_too_often(setup, variant):
    class Smoothed(nn.Module):
        def __init__(self, rounds):
            super().__init__()
            self.rounds, self.hidden, self.out = rounds, nn.Linear(8, 32), nn.Linear(32, 4)

        def forward(self, x, mean):
            for _ in range(self.rounds):
                x = mean @ x
            return self.out(torch.relu(self.hidden(x)))

    x, y, mean = communities()
    model = setup.model(Smoothed({"faulty": 40, "sham": 30, "fixed": 2}[variant]))
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(1e-2), weight_decay=5e-4)
    with setup.watch(model, chance=math.log(4)) as recorder:
        for _ in range(250):
            loss = F.nll_loss(model(x, mean)[:150].log_softmax(1), y[:150])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x, mean)[150:], y[150:])


@works(
    source="tkipf/gcn#130",
    what="a graph network trained slowly, by SGD without momentum",
    suspicious="the learning rate is small and the loss creeps; half of the nodes have no label",
    passes=0.8,
    style="modules",
)
def slow_graph_network(setup, _variant):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.act = Conv(8, 32), Conv(32, 4), nn.ReLU()

        def forward(self, x, mean):
            return self.two(self.act(self.one(x, mean)), mean)

    x, y, mean = communities(1.5)
    model = setup.model(Net())
    optimizer = torch.optim.SGD(model.parameters(), setup.lr(0.02))
    with setup.watch(model, chance=math.log(4)) as recorder:
        for _ in range(500):
            loss = F.cross_entropy(model(x, mean)[:150], y[:150])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x, mean)[150:], y[150:])


@works(
    source="DLR-RM/stable-baselines3#1946",
    what="sets of tokens: a sparse embedding with its own optimiser, the rest with another",
    suspicious="most rows of the embedding have no gradient in a step; two optimisers; the last layer starts at 0",
    passes=0.8,
    style="functions",
)
def sparse_tokens_two_optimizers(setup, _variant):
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(400, 16, sparse=True)
            self.hidden, self.out = nn.Linear(16, 32), nn.Linear(32, 1)
            nn.init.zeros_(self.out.weight)

        def forward(self, tokens):
            return self.out(F.relu(self.hidden(self.embed(tokens).mean(1))))[:, 0]

    g = torch.Generator().manual_seed(11)
    tokens = torch.randint(400, (3000, 6), generator=g)
    y = (torch.randn(400, generator=g)[tokens].sum(1) > 0).float()
    model = setup.model(Bag())
    slow = torch.optim.SparseAdam(list(model.embed.parameters()), setup.lr(2e-2))
    rest = torch.optim.AdamW([*model.hidden.parameters(), *model.out.parameters()], setup.lr(5e-3))
    with setup.watch(model, chance=math.log(2)) as recorder:
        for i in batches(2500, 32, 500, setup.seed):
            loss = F.binary_cross_entropy_with_logits(model(tokens[i]), y[i])
            slow.zero_grad()
            rest.zero_grad()
            loss.backward()
            setup.clip(model.hidden)
            slow.step()
            rest.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return ((model(tokens[2500:]) > 0) == (y[2500:] > 0)).float().mean().item()
