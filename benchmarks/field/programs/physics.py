"""Networks on functions: differential equations, curves, pictures as functions."""

import math

import torch
import torch.nn.functional as F
from case import batches, broken, explained, works
from torch import nn


def slope(u, x):
    return torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0]


def curve(n=600):
    """Points of a curve on -1 to 1, values of size 1."""
    x = torch.linspace(-1, 1, n)[:, None]
    return x, torch.sin(6 * x) + 0.5 * torch.cos(11 * x)


def picture(side=24):
    """Coordinates from -1 to 1 and brightness of a pattern of rings and stripes."""
    grid = torch.linspace(-1, 1, side)
    xy = torch.cartesian_prod(grid, grid)
    return xy, torch.sin(10 * xy.norm(dim=1, keepdim=True)) + 0.5 * torch.sin(12 * xy[:, :1])


class Tanh3(nn.Module):
    def __init__(self, inputs=1, width=32):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, x):
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


class Siren(nn.Module):
    """Sine activations, started as their authors do."""

    def __init__(self, inputs, width=64, omega=15.0):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, 1)])
        self.omega = omega
        for k, layer in enumerate(self.layers):
            bound = 1 / inputs if k == 0 else math.sqrt(6 / width) / omega
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.sin(self.omega * layer(x))
        return self.layers[-1](x)


@broken(
    "not finite",
    source="prateekbhustali/Physics-Informed-Neural-Networks#1; lululxvi/deepxde#428",
    fault="a physics-informed network for a diffusion whose coefficient is the answer to the power 1.2",
    cause="the answer is below 0 somewhere at the start, and its power is NaN",
    passes=0.9,
    style="modules",
)
def power_of_a_negative_answer(setup, variant):
    # (u^1.2 u')' = 0 with u(-1) = 0.3 and u(1) = 2 has u^2.2 linear in x
    net = setup.model(nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)))
    optimizer = torch.optim.Adam(net.parameters(), setup.lr(5e-3 if variant != "sham" else 5e-4))
    ends = torch.tensor([[-1.0], [1.0]])
    with setup.watch(net) as recorder:
        for _ in range(600):
            x = (2 * torch.rand(64, 1) - 1).requires_grad_()
            u = net(x)
            flow = (u.clamp(min=1e-3) if variant == "fixed" else u) ** 1.2 * slope(u, x)
            loss = slope(flow, x).pow(2).mean() + 10 * F.mse_loss(net(ends), torch.tensor([[0.3], [2.0]]))
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(net)
            optimizer.step()
    x = torch.linspace(-1, 1, 100)[:, None]
    with torch.no_grad():
        return explained(net(x), (0.3**2.2 + (x + 1) / 2 * (2**2.2 - 0.3**2.2)) ** (1 / 2.2))


@broken(
    "learning rate too high",
    source="vsitzmann/siren#19; vsitzmann/siren#46",
    fault="a network of sines for a picture, trained by Adam at 0.03",
    cause="a step of that size turns the phase of the sines by whole radians: each step undoes the one before",
    passes=0.8,
    style="functions",
)
def sines_with_large_steps(setup, variant):
    xy, shade = picture()
    net = setup.model(Siren(2))
    optimizer = torch.optim.Adam(net.parameters(), setup.lr({"faulty": 0.03, "sham": 0.02, "fixed": 1e-3}[variant]))
    with setup.watch(net, chance=shade.var().item()) as recorder:
        for i in batches(len(xy), 200, 400, setup.seed):
            loss = F.mse_loss(net(xy[i]), shade[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(net)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(net(xy), shade)


@broken(
    "unscaled data",
    also=("saturated",),
    source="stackoverflow.com 46995209; discuss.pytorch.org 96648",
    fault="tanh units are given x from 0 to 1000 as it is",
    cause="nearly all units are flat over nearly the whole range; the curve cannot be formed",
    passes=0.8,
    style="functions",
)
def curve_over_a_thousand(setup, variant):
    x, y = curve()
    given = x if variant == "fixed" else 500 + 500 * x
    net = setup.model(Tanh3())
    optimizer = torch.optim.Adam(net.parameters(), setup.lr(1e-2 if variant != "sham" else 2e-3))
    with setup.watch(net, chance=y.var().item()) as recorder:
        for i in batches(len(x), 100, 600, setup.seed):
            loss = F.mse_loss(net(given[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(net)
            optimizer.step()
    with torch.no_grad():
        return explained(net(given), y)


@broken(
    "symmetric start",
    source="wagonhelm/NaNmnist#2; nndl/nndl-discussion#14",
    fault="all weights start at the same small constant",
    cause="the units of a layer are equal and get equal gradients: the network has one unit per layer",
    passes=0.8,
    style="modules",
)
def constant_start(setup, variant):
    x, y = curve()
    net = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
    if variant != "fixed":
        for layer in net[::2]:
            nn.init.constant_(layer.weight, 0.05 if variant == "faulty" else 0.1)
            nn.init.zeros_(layer.bias)
    net = setup.model(net)
    optimizer = torch.optim.Adam(net.parameters(), setup.lr(1e-2))
    with setup.watch(net, chance=y.var().item()) as recorder:
        for i in batches(len(x), 64, 600, setup.seed):
            loss = (net(x[i]) - y[i]).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            setup.clip(net)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return explained(net(x), y)


@broken(
    "diverging",
    also=("learning rate too high",),
    source="levimcclenny/SA-PINNs#5; levimcclenny/SA-PINNs#1",
    fault="a physics-informed network whose loss weights are trained to be large, without any bound",
    cause="the weights of the residuals grow on and on and drown the data: the loss rises for ever",
    passes=0.8,
    style="functions",
)
def weights_that_climb(setup, variant):
    # u'' = -9 u, u(0) = 0, u'(0) = 3 has u = sin(3x)
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Tanh3()
            self.weight = nn.Parameter(torch.zeros(64, 1))

        def forward(self, x):
            return self.net(x)

    model = setup.model(Weighted())
    fit = torch.optim.Adam(model.net.parameters(), setup.lr(5e-3))
    climb = torch.optim.Adam(
        [model.weight], setup.lr({"faulty": 0.05, "sham": 0.03, "fixed": 0.0}[variant]), maximize=True
    )
    x = torch.linspace(0, 2, 64)[:, None].requires_grad_()
    with setup.watch(model) as recorder:
        for _ in range(600):
            u = model(x)
            du = slope(u, x)
            residual = slope(du, x) + 9 * u
            loss = (model.weight.exp() * residual**2).mean() + 10 * (u[0] ** 2 + (du[0] - 3) ** 2).sum()
            fit.zero_grad()
            climb.zero_grad()
            loss.backward()
            setup.clip(model)
            fit.step()
            climb.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(model(x), torch.sin(3 * x))


@works(
    source="ComputationalDomain/PINNs#1; pytorch/pytorch#5953",
    what="LBFGS with a line search, the loss logged in its closure",
    suspicious="the loss jumps up in trial steps, gradients are cleared inside the closure and steps are large",
    passes=0.9,
    style="modules",
)
def lbfgs_with_closure(setup, _variant):
    x, y = curve(200)
    net = setup.model(nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1)))
    optimizer = torch.optim.LBFGS(net.parameters(), setup.lr(1.0), max_iter=10, line_search_fn="strong_wolfe")
    with setup.watch(net, chance=y.var().item()) as recorder:

        def closure():
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            recorder.log_loss(loss)
            return loss

        for _ in range(30):
            optimizer.step(closure)
    with torch.no_grad():
        return explained(net(x), y)


@works(
    source="lululxvi/deepxde#33; mariusmerkle/TL-PINNs#1",
    what="a physics-informed network for an oscillation",
    suspicious="the loss starts above 50, its parts differ by orders, and its gradient goes through second derivatives",
    passes=0.8,
    style="functions",
)
def oscillation_by_its_equation(setup, _variant):
    net = setup.model(Tanh3())
    optimizer = torch.optim.Adam(net.parameters(), setup.lr(5e-3))
    with setup.watch(net) as recorder:
        for _ in range(900):
            x = torch.cat([torch.zeros(1, 1), 2 * torch.rand(63, 1)]).requires_grad_()
            u = net(x)
            du = slope(u, x)
            loss = (slope(du, x) + 9 * u).pow(2).mean() + 10 * (u[0] ** 2 + (du[0] - 3) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            setup.clip(net)
            optimizer.step()
            recorder.log_loss(loss)
    x = torch.linspace(0, 2, 100)[:, None]
    with torch.no_grad():
        return explained(net(x), torch.sin(3 * x))


@works(
    source="vsitzmann/siren#31; scart97/Siren-fastai2#1",
    what="a network of sines fitted to a picture",
    suspicious="units swing over many periods, so that their slopes are 0 at many points; the weights are tiny",
    passes=0.85,
    style="functions",
)
def sines_of_a_picture(setup, _variant):
    xy, shade = picture()
    net = setup.model(Siren(2))
    optimizer = torch.optim.Adam(net.parameters(), setup.lr(1e-3))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    with setup.watch(net, chance=shade.var().item()) as recorder:
        for i in batches(len(xy), 200, 400, setup.seed):
            loss = F.l1_loss(net(xy[i]), shade[i])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(net)
            optimizer.step()
            scheduler.step()
    with torch.no_grad():
        return explained(net(xy), shade)
