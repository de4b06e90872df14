"""Networks that generate: adversaries, variational autoencoders, flows, diffusion."""

import math

import torch
import torch.nn.functional as F
from case import batches, broken, explained, works
from sklearn.datasets import load_digits, make_moons
from torch import nn


def moons(examples=1000):
    x = torch.tensor(make_moons(examples, noise=0.06, random_state=2)[0], dtype=torch.float32)
    return (x - x.mean(0)) / x.std(0) + torch.tensor([2.0, -1.0])


def pixels():
    return torch.tensor(load_digits().data / 16, dtype=torch.float32)


def mlp(inputs, hidden, outputs, act=nn.ReLU):
    return nn.Sequential(nn.Linear(inputs, hidden), act(), nn.Linear(hidden, hidden), act(), nn.Linear(hidden, outputs))


def likeness(made, real):
    """1 where made points are spread as real ones, 0 where they are as far off as normal noise."""
    if not torch.isfinite(made).all():
        return -float("inf")

    def energy(a, b):
        return 2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()

    noise = torch.randn(len(made), made.shape[1], generator=torch.Generator().manual_seed(0))
    return 1 - (energy(made, real) / energy(noise, real)).item()


def penalty_of(critic, real, fake):
    share = torch.rand(len(real), 1)
    between = (share * real + (1 - share) * fake).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((torch.sqrt((slope**2).sum(1) + 1e-8) - 1) ** 2).mean()


class VAE(nn.Module):
    def __init__(self, latent=6, hidden=64):
        super().__init__()
        self.enc = nn.Linear(64, hidden)
        self.mu, self.logvar = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.dec1, self.dec2 = nn.Linear(latent, hidden), nn.Linear(hidden, 64)

    def forward(self, x):
        h = F.relu(self.enc(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return {"logits": self.dec2(F.relu(self.dec1(z))), "mu": mu, "logvar": logvar}


class Flow(nn.Module):
    """Couplings that scale one coordinate by what is read from the other ones."""

    def __init__(self, size, layers, bounded, hidden=32):
        super().__init__()
        self.size, self.bounded = size, bounded
        self.nets = nn.ModuleList(mlp(size // 2, hidden, size) for _ in range(layers))

    def forward(self, x):
        total = x.new_zeros(len(x))
        for net in self.nets:
            a, b = x.chunk(2, dim=1)
            s, t = net(a).chunk(2, dim=1)
            if self.bounded:
                s = torch.tanh(s)
            b = b * torch.exp(s) + t
            total = total + s.sum(1)
            x = torch.cat([b, a], dim=1)
        return x, total

    def nll(self, x):
        z, total = self(x)
        return (0.5 * (z**2).sum(1) + 0.5 * self.size * math.log(2 * math.pi) - total).mean()


@broken(
    "saturated",
    source="AdaptInfer/Contextualized#33; mukul-rathi/deep-learning-tutorials#2",
    fault="autoencoder with tanh whose weights are drawn with torch.rand",
    cause="all weights are above 0, and so are the sums of them; the units lie at 1, where tanh is flat",
    passes=0.4,
    style="functions",
    also=("collapsed", "vanishing"),
)
def weights_by_rand(setup, variant):
    x = pixels()

    class AutoEncoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(64, 48), nn.Linear(48, 12)
            self.fc3, self.fc4 = nn.Linear(12, 48), nn.Linear(48, 64)
            for layer in (self.fc1, self.fc2, self.fc3):
                if variant != "fixed":
                    layer.weight.data = torch.rand(layer.weight.shape)

        def forward(self, x):
            code = torch.tanh(self.fc2(torch.tanh(self.fc1(x))))
            return self.fc4(torch.tanh(self.fc3(code)))

    model = setup.model(AutoEncoder())
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(2e-3 if variant != "sham" else 6e-3))
    with setup.watch(model) as recorder:
        for i in batches(len(x), 64, 500, setup.seed):
            loss = F.smooth_l1_loss(model(x[i]), x[i], beta=0.5)
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return explained(model(x) - x.mean(0), x - x.mean(0))


@broken(
    "diverging",
    source="torchgan/torchgan#42; archsyscall/GANs-TensorFlow2#2; ritheshkumar95/energy_based_generative_models#1",
    fault="critic of a Wasserstein GAN with neither clipped weights nor a penalty",
    cause="nothing bounds its slope: it grows, and so do its loss and the steps of the generator",
    passes=0.4,
    style="modules",
)
def critic_without_bounds(setup, variant):
    real = moons()
    critic, generator = setup.model(mlp(2, 48, 1, nn.LeakyReLU)), setup.model(mlp(4, 48, 2))
    opt_c = torch.optim.Adam(critic.parameters(), lr=setup.lr(1e-3), betas=(0.5, 0.9))
    opt_g = torch.optim.SGD(generator.parameters(), lr=setup.lr(0.03), momentum=0.5)
    every = 8 if variant == "sham" else 4
    with setup.watch(critic, loss_falls=False) as recorder:
        for step, i in enumerate(batches(len(real), 64, 1000, setup.seed)):
            fake = generator(torch.randn(64, 4))
            loss = critic(fake.detach()).mean() - critic(real[i]).mean()
            if variant == "fixed":
                loss = loss + 3 * penalty_of(critic, real[i], fake.detach())
            opt_c.zero_grad()
            loss.backward()
            setup.clip(critic)
            opt_c.step()
            recorder.log_loss(loss.item())
            if step % every == every - 1:
                opt_g.zero_grad()
                (-critic(fake).mean()).backward()
                opt_g.step()
    with torch.no_grad():
        return likeness(generator(torch.randn(500, 4)), real[:500])


@broken(
    "collapsed",
    source="AppliedDataSciencePartners/WorldModels#12; SeldonIO/alibi-detect#90; luigibonati/mlcolvar#188",
    fault="loss of a VAE made of the mean error of a pixel and the sum of the divergence",
    cause="the divergence weighs 64 times too much; the code says nothing, and every answer is the mean image",
    passes=0.4,
    style="functions",
)
def mean_of_pixels_sum_of_code(setup, variant):
    x = pixels()
    model = setup.model(VAE(latent=12 if variant == "sham" else 6))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(4e-3))
    with setup.watch(model) as recorder:
        for i in batches(len(x), 64, 600, setup.seed):
            out = model(x[i])
            errors = F.mse_loss(torch.sigmoid(out["logits"]), x[i], reduction="none")
            error = 10 * errors.sum(1).mean() if variant == "fixed" else 10 * errors.mean()
            kl = -0.5 * (1 + out["logvar"] - out["mu"] ** 2 - out["logvar"].exp()).sum(1).mean()
            loss = error + kl
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return explained(torch.sigmoid(model(x)["logits"]) - x.mean(0), x - x.mean(0))


@broken(
    "no gradient",
    source="zalandoresearch/pytorch-vq-vae#6; Biohub/esm#92",
    fault="autoencoder with a code of nearest vectors, without the gradient handed straight through",
    cause="the choice of the nearest has no gradient, so that the encoder stays as it began",
    passes=0.4,
    style="functions",
)
def nearest_vectors(setup, variant):
    x = pixels()

    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            self.enc1, self.enc2 = nn.Linear(64, 64), nn.Linear(64, 24)
            self.book = nn.Parameter(torch.rand(12, 4) - 0.5)
            self.dec1, self.dec2 = nn.Linear(24, 64), nn.Linear(64, 64)

        def forward(self, x):
            z = self.enc2(torch.tanh(self.enc1(x))).view(-1, 4)
            nearest = torch.cdist(z, self.book).argmin(1)
            q = self.book[nearest]
            tied = ((q - z.detach()) ** 2).mean()
            if variant == "fixed":
                tied = tied + 0.25 * ((q.detach() - z) ** 2).mean()
                q = z + (q - z).detach()
            return torch.sigmoid(self.dec2(torch.tanh(self.dec1(q.view(-1, 24))))), tied

    model = setup.model(Quantised())
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(3e-3 if variant != "sham" else 1e-2))
    with setup.watch(model) as recorder:
        for i in batches(len(x), 64, 500, setup.seed):
            answer, tied = model(x[i])
            loss = 10 * F.mse_loss(answer, x[i]) + tied
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(model(x)[0] - x.mean(0), x - x.mean(0))


@broken(
    "overflow",
    source="VincentStimper/normalizing-flows#47; VincentStimper/normalizing-flows#73; rosinality/glow-pytorch#25",
    fault="flow of ten couplings whose scale is the bare exponential of what a network says, on points of size 6",
    cause="scales multiply from coupling to coupling until an exponential is infinite",
    passes=-6.0,
    style="modules",
    also=("exploding",),
)
def bare_exponentials(setup, variant):
    x = moons() * 3
    model = setup.model(Flow(2, 10, bounded=variant == "fixed"))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(5e-3 if variant != "sham" else 2e-3))
    with setup.watch(model) as recorder:
        for i in batches(len(x), 64, 250, setup.seed):
            loss = model.nll(x[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return -model.nll(x).item() if torch.isfinite(model.nll(x)) else -float("inf")


@works(
    source="soumith/ganhacks#36; soumith/ganhacks#38",
    what="GAN of two small networks on points in the plane",
    suspicious="the losses of both move about and do not fall",
    passes=0.85,
    style="modules",
)
def two_adversaries(setup, _):
    real = moons()
    judge, generator = setup.model(mlp(2, 48, 1, nn.LeakyReLU)), setup.model(mlp(4, 48, 2, nn.LeakyReLU))
    opt_d = torch.optim.Adam(judge.parameters(), lr=setup.lr(1e-3), betas=(0.5, 0.999))
    opt_g = torch.optim.Adam(generator.parameters(), lr=setup.lr(1e-3), betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)
    with (
        setup.watch(judge, loss_falls=False) as recorder_d,
        setup.watch(generator, loss_falls=False) as recorder_g,
    ):
        for i in batches(len(real), 64, 900, setup.seed):
            fake = generator(torch.randn(64, 4))
            loss_d = criterion(judge(real[i]), ones) + criterion(judge(fake.detach()), zeros)
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()
            recorder_d.log_loss(loss_d)
            loss_g = criterion(judge(fake), ones)
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
            recorder_g.log_loss(loss_g)
    with torch.no_grad():
        return likeness(generator(torch.randn(500, 4)), real[:500])


@works(
    source="igul222/improved_wgan_training#17; caogang/wgan-gp#45; martinarjovsky/WassersteinGAN#2",
    what="critic and generator of a Wasserstein GAN with a gradient penalty",
    suspicious="both losses are below 0 at times and wander; the critic is trained four times as often",
    passes=0.7,
    style="functions",
)
def critic_and_generator(setup, _):
    real = moons()

    class Net(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(inputs, 48), nn.Linear(48, 48), nn.Linear(48, outputs)

        def forward(self, x):
            return self.fc3(F.leaky_relu(self.fc2(F.leaky_relu(self.fc1(x), 0.2)), 0.2))

    critic, generator = setup.model(Net(2, 1)), setup.model(Net(4, 2))
    opt_c = torch.optim.Adam(critic.parameters(), lr=setup.lr(1e-3), betas=(0.5, 0.9))
    opt_g = torch.optim.Adam(generator.parameters(), lr=setup.lr(1e-3), betas=(0.5, 0.9))
    with setup.watch(critic, loss_falls=False) as seen_c, setup.watch(generator, loss_falls=False) as seen_g:
        for step, i in enumerate(batches(len(real), 64, 1000, setup.seed)):
            fake = generator(torch.randn(64, 4))
            loss = critic(fake.detach()).mean() - critic(real[i]).mean()
            loss = loss + 3 * penalty_of(critic, real[i], fake.detach())
            opt_c.zero_grad()
            loss.backward()
            opt_c.step()
            seen_c.log_loss(loss.item())
            if step % 4 == 3:
                loss_g = -critic(fake).mean()
                opt_g.zero_grad()
                loss_g.backward()
                opt_g.step()
                seen_g.log_loss(loss_g.item())
    with torch.no_grad():
        return likeness(generator(torch.randn(500, 4)), real[:500])


@works(
    source="pytorch/examples#631; umautobots/bidirection-trajectory-predicter#4",
    what="VAE of digits; the weight of the divergence grows from 0 to 1 over most of the run",
    suspicious="the loss rises again while the weight grows, and rests on a floor of the pixels' own noise",
    passes=0.3,
    style="functions",
)
def divergence_weighs_more_and_more(setup, _):
    x = pixels()
    model = setup.model(VAE(latent=8))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(4e-3))
    with setup.watch(model) as recorder:
        for step, i in enumerate(batches(len(x), 64, 600, setup.seed)):
            out = model(x[i])
            error = F.binary_cross_entropy_with_logits(out["logits"], x[i], reduction="sum") / len(i)
            kl = -0.5 * (1 + out["logvar"] - out["mu"] ** 2 - out["logvar"].exp()).sum(1).mean()
            loss = error + min(1.0, step / 450) * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return explained(torch.sigmoid(model(x)["logits"]) - x.mean(0), x - x.mean(0))


@works(
    source="karpathy/pytorch-normalizing-flows#7; vislearn/FrEIA#16; bayesiains/nflows#76",
    what="flow on points that lie close together, with bounded scales",
    suspicious="the loss is a negative log likelihood, and goes below 0",
    passes=0.5,
    style="modules",
)
def likelihood_above_one(setup, _):
    x = moons() * 0.2
    model = setup.model(Flow(2, 8, bounded=True))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(3e-3))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    with setup.watch(model) as recorder:
        for i in batches(len(x), 64, 400, setup.seed):
            optimizer.zero_grad()
            loss = model.nll(x[i])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            scheduler.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return -model.nll(x).item()


@works(
    source="ermongroup/ddim#33; zoubohao/DenoisingDiffusionProbabilityModel-ddpm-#48; hpcaitech/Open-Sora#286",
    what="diffusion on points in the plane: the noise is to be told from the noised point and the time",
    suspicious="the loss soon rests on a floor, for most of the noise cannot be told, and its batches differ much",
    passes=0.85,
    style="modules",
)
def noise_to_be_told(setup, _):
    x = moons()
    kept = torch.cumprod(1 - torch.linspace(1e-3, 0.25, 40), 0)
    model = setup.model(mlp(3, 96, 2, nn.SiLU))
    optimizer = torch.optim.AdamW(model.parameters(), lr=setup.lr(3e-3))
    criterion = nn.MSELoss()
    with setup.watch(model, chance=1.0) as recorder:
        for i in batches(len(x), 128, 800, setup.seed):
            t = torch.randint(40, (128,))
            noise = torch.randn(128, 2)
            noised = kept[t].sqrt()[:, None] * x[i] + (1 - kept[t]).sqrt()[:, None] * noise
            loss = criterion(model(torch.cat([noised, t[:, None] / 20 - 1], 1)), noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        z = torch.randn(500, 2)
        for t in reversed(range(40)):
            noise = model(torch.cat([z, torch.full((500, 1), t / 20 - 1)], 1))
            clean = (z - (1 - kept[t]).sqrt() * noise) / kept[t].sqrt()
            before = kept[t - 1] if t else torch.tensor(1.0)
            z = before.sqrt() * clean + (1 - before).sqrt() * noise
        return likeness(z, x[:500])
