"""Networks on rewards: values and policies in tiny worlds."""

import copy
import math

import torch
import torch.nn.functional as F
from case import accuracy, batches, broken, works
from sklearn.datasets import load_digits
from torch import nn
from torch.distributions import Categorical, Normal

SIDE = 6
MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])


def grid():
    """Observations of the cells, the cell that each move leads to, and which cells are the goal."""
    cells = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"), -1).view(-1, 2)
    after = (cells[:, None] + MOVES).clamp(0, SIDE - 1)
    goal = torch.arange(SIDE * SIDE) == SIDE * SIDE - 1
    return cells.float() / (SIDE - 1) * 2 - 1, after[..., 0] * SIDE + after[..., 1], goal


def arrives(q):
    """Share of cells from which the greedy moves reach the goal in the fewest steps."""
    _, after, goal = grid()
    at = torch.arange(SIDE * SIDE)
    best = 2 * (SIDE - 1) - at // SIDE - at % SIDE
    taken = torch.zeros_like(at)
    for _ in range(2 * SIDE):
        taken += ~goal[at]
        at = torch.where(goal[at], at, after[at, q[at].argmax(-1)])
    return (goal[at] & (taken == best)).float().mean().item()


def digits():
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)


def aims(n=3000):
    """Situations and the best action in each."""
    s = torch.randn(n, 4, generator=torch.Generator().manual_seed(4))
    return s, torch.tanh(s[:, :1] - s[:, 1:2] * s[:, 2:3])


class GaussianPolicy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.mean = nn.Linear(64, 1)
        self.log_std = nn.Parameter(torch.full((1,), -1.0))

    def forward(self, s):
        return Normal(self.mean(self.body(s)), self.log_std.exp())


@broken(
    "no gradient",
    source="pytorch/pytorch#10943; DLR-RM/stable-baselines3#2096",
    fault="a policy gradient whose actions come from rsample and are not detached",
    cause="the log-probability of mean + noise under that same mean does not depend on the mean: its gradient is 0",
    passes=-0.1,
    style="modules",
)
def actions_by_rsample(setup, variant):
    s, best = aims()
    policy = setup.model(GaussianPolicy())
    optimizer = torch.optim.Adam(policy.parameters(), setup.lr(3e-3 if variant != "sham" else 1e-2))
    with setup.watch(policy, loss_falls=False) as recorder:
        for i in batches(2500, 128, 500, setup.seed):
            dist = policy(s[i])
            action = dist.sample() if variant == "fixed" else dist.rsample()
            reward = -((action.detach() - best[i]) ** 2)
            advantage = (reward - reward.mean()) / (reward.std() + 1e-6)
            loss = -(dist.log_prob(action) * advantage).mean()
            optimizer.zero_grad()
            loss.backward()
            setup.clip(policy)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return -((policy(s[2500:]).mean - best[2500:]) ** 2).mean().item()


class QNet(nn.Module):
    def __init__(self, last_relu=False, hidden=64):
        super().__init__()
        self.fc1 = nn.Linear(2, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, 4)
        self.last_relu = last_relu

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = self.fc3(x)
        return F.relu(x) if self.last_relu else x


@broken(
    "output layer",
    also=("dying ReLU", "no gradient"),
    source="dennybritz/reinforcement-learning#104; dennybritz/reinforcement-learning#186; openai/baselines#331",
    fault="a ReLU behind the last layer of a network for action values; each step costs 1",
    cause="values below 0 cannot be given: all are cut to 0 and the cut ones send no gradient",
    passes=0.8,
    style="functions",
)
def relu_on_action_values(setup, variant):
    obs, after, goal = grid()
    model = setup.model(QNet(last_relu=variant != "fixed"))
    target = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(3e-3 if variant != "sham" else 3e-4))
    with setup.watch(model) as recorder:
        for step, i in enumerate(batches(SIDE * SIDE * 4, 64, 1000, setup.seed)):
            cell, move = i // 4, i % 4
            new = after[cell, move]
            with torch.no_grad():
                wanted = -1 + 0.9 * target(obs[new]).max(1)[0] * ~goal[new]
            loss = F.smooth_l1_loss(model(obs[cell]).gather(1, move[:, None])[:, 0], wanted)
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
            if step % 20 == 0:
                target.load_state_dict(model.state_dict())
    with torch.no_grad():
        return arrives(model(obs))


class DigitActorCritic(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.feature = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, width), nn.Tanh())
        self.actor = nn.Linear(width, 10)
        self.critic = nn.Linear(width, 1)

    def forward(self, x):
        h = self.feature(x)
        return self.actor(h), self.critic(h)[:, 0]


@broken(
    "not trained",
    source="SforAiDl/genrl#315",
    fault="one optimiser has the actor's head, one the critic's; the features that both share are in neither",
    cause="the shared layers keep their random weights",
    passes=0.7,
    style="modules",
)
def shared_features_in_no_optimizer(setup, variant):
    x, y = digits()
    model = setup.model(DigitActorCritic())
    actor = list(model.actor.parameters()) + (list(model.feature.parameters()) if variant == "fixed" else [])
    optimizers = [
        torch.optim.Adam(actor, setup.lr(1e-2 if variant != "sham" else 3e-2)),
        torch.optim.Adam(model.critic.parameters(), setup.lr(1e-2)),
    ]
    with setup.watch(model, loss_falls=False) as recorder:
        for i in batches(1200, 128, 700, setup.seed):
            scores, value = model(x[i])
            dist = Categorical(logits=scores)
            action = dist.sample()
            reward = (action == y[i]).float()
            advantage = reward - value
            loss = -(dist.log_prob(action) * advantage.detach()).mean() + 0.5 * advantage.pow(2).mean()
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            for optimizer in optimizers:
                optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x[1200:])[0], y[1200:])


@broken(
    "saturated",
    also=("unscaled data",),
    source="ZhihanLee/DDPG_Learning#2; floodsung/DDPG#6; rmst/ddpg#10",
    fault="an actor with tanh layers sees its situation in raw units: about 1000, give or take 20",
    cause="the hidden tanh units are at -1 or 1 for every situation and pass almost no gradient on",
    passes=-0.1,
    style="functions",
)
def actor_on_raw_units(setup, variant):
    class Actor(nn.Module):
        def __init__(self):
            super().__init__()
            self.l1, self.l2, self.l3 = nn.Linear(4, 64), nn.Linear(64, 64), nn.Linear(64, 1)

        def forward(self, s):
            return torch.tanh(self.l3(torch.tanh(self.l2(torch.tanh(self.l1(s))))))

    s, best = aims()
    raw = s if variant == "fixed" else 1000 + 20 * s
    actor = setup.model(Actor())
    optimizer = torch.optim.Adam(actor.parameters(), setup.lr(2e-3 if variant != "sham" else 5e-4))
    with setup.watch(actor, loss_falls=False) as recorder:
        for i in batches(2500, 64, 600, setup.seed):
            q = -((actor(raw[i]) - best[i]) ** 2)
            loss = -q.mean()
            optimizer.zero_grad()
            loss.backward()
            setup.clip(actor)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return -((actor(raw[2500:]) - best[2500:]) ** 2).mean().item()


def swing(s, a):
    """The next angles and speeds of a pendulum that is pushed to one side, not at all or to the other."""
    speed = (s[:, 1] + 0.15 * torch.sin(s[:, 0]) + 0.1 * (a - 1)).clamp(-2, 2) * 0.99
    angle = (s[:, 0] + 0.3 * speed + math.pi) % (2 * math.pi) - math.pi
    return torch.stack([angle, speed], 1)


def seen(s):
    return torch.stack([s[:, 0].cos(), s[:, 0].sin(), s[:, 1]], 1)


def upright(s):
    """Reward of a pendulum for being up and slow."""
    return s[:, 0].cos() - 0.1 * s[:, 1] ** 2


def pendulums(n, seed):
    return (torch.rand(n, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * torch.tensor([math.pi, 1.0])


def kept_up(choose):
    """Mean reward in the second half of 60 moves."""
    s, total = pendulums(200, 5), 0
    with torch.no_grad():
        for t in range(60):
            s = swing(s, choose(seen(s)))
            total += upright(s).mean().item() if t >= 30 else 0
    return total / 30


def value_net():
    return nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))


@broken(
    "diverging",
    source="facebookresearch/ReAgent#189; danijar/dreamer#20; tychovdo/PacmanDQN#1",
    fault="deep Q-learning whose targets come from the network that is trained",
    cause="each step on a value also raises the value of what follows, and thereby its own target",
    passes=0.5,
    style="modules",
)
def targets_from_the_network_itself(setup, variant):
    s, a = pendulums(2000, 1), torch.randint(3, (2000,), generator=torch.Generator().manual_seed(2))
    new = swing(s, a)
    model = setup.model(value_net())
    target = copy.deepcopy(model) if variant == "fixed" else model
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(5e-3))
    with setup.watch(model) as recorder:
        for step, i in enumerate(batches(2000, 128 if variant == "sham" else 64, 600, setup.seed)):
            with torch.no_grad():
                wanted = upright(new[i]) + 0.99 * target(seen(new[i])).max(1)[0]
            loss = F.mse_loss(model(seen(s[i])).gather(1, a[i, None])[:, 0], wanted)
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
            if step % 50 == 0 and variant == "fixed":
                target.load_state_dict(model.state_dict())
    return kept_up(lambda obs: model(obs).argmax(1))


@broken(
    "learning rate too high",
    also=("collapsed", "dying ReLU"),
    source="Unity-Technologies/ml-agents#1237; Unity-Technologies/ml-agents#281",
    fault="PPO with Adam at 0.1",
    cause="the first updates throw the policy so far that it gives one action for everything, and it stays there",
    passes=0.7,
    style="functions",
)
def ppo_with_large_steps(setup, variant):
    class Policy(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(64, 64), nn.Linear(64, 64)
            self.pi, self.v = nn.Linear(64, 10), nn.Linear(64, 1)

        def forward(self, x):
            x = F.relu(self.b(F.relu(self.a(x))))
            return Categorical(logits=self.pi(x)), self.v(x).squeeze(-1)

    x, y = digits()
    net = setup.model(Policy())
    optimizer = torch.optim.Adam(net.parameters(), setup.lr({"faulty": 0.1, "sham": 0.06, "fixed": 2e-3}[variant]))
    with setup.watch(net, loss_falls=False) as recorder:
        for i in batches(1200, 256, 100, setup.seed):
            with torch.no_grad():
                old, value = net(x[i])
                action = old.sample()
                reward = (action == y[i]).float()
                advantage, before = reward - value, old.log_prob(action)
            for part in torch.randperm(256).split(64):
                dist, value = net(x[i[part]])
                ratio = (dist.log_prob(action[part]) - before[part]).exp()
                gain = torch.min(ratio * advantage[part], ratio.clamp(0.8, 1.2) * advantage[part])
                loss = -gain.mean() + 0.5 * F.mse_loss(value, reward[part]) - 0.01 * dist.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                recorder.log_loss(loss.item())
                setup.clip(net)
                optimizer.step()
    with torch.no_grad():
        return accuracy(net(x[1200:])[0].logits, y[1200:])


@works(
    source="tensorflow/agents#316",
    what="deep Q-learning with a target network that is renewed every 40 steps",
    suspicious="the loss does not fall for long: it jumps whenever the target network is renewed",
    passes=0.35,
    style="modules",
)
def q_learning_with_target_network(setup, _variant):
    s, a = pendulums(2000, 1), torch.randint(3, (2000,), generator=torch.Generator().manual_seed(2))
    new = swing(s, a)
    model = setup.model(value_net())
    target = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.RMSprop(model.parameters(), setup.lr(2e-3))
    with setup.watch(model, loss_falls=False) as recorder:
        for step, i in enumerate(batches(2000, 64, 800, setup.seed)):
            wanted = upright(new[i]) + 0.9 * target(seen(new[i])).max(1)[0]
            loss = F.smooth_l1_loss(model(seen(s[i])).gather(1, a[i, None])[:, 0], wanted)
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
            if step % 40 == 39:
                target.load_state_dict(model.state_dict())
    return kept_up(lambda obs: model(obs).argmax(1))


@works(
    source="Unity-Technologies/ml-agents#2840",
    what="REINFORCE over whole walks through a grid, advantages of mean 0 and size 1",
    suspicious="the loss is around 0 from the first to the last step and says nothing",
    passes=0.8,
    style="functions",
)
def reinforce_on_a_grid(setup, _variant):
    obs, after, goal = grid()
    model = setup.model(QNet())
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(5e-3))
    with setup.watch(model, loss_falls=False) as recorder:
        for start in batches(SIDE * SIDE, 48, 200, setup.seed):
            at, logs, rewards, walking = start, [], [], []
            for _ in range(14):
                walking.append(~goal[at])
                dist = Categorical(logits=model(obs[at]))
                move = dist.sample()
                logs.append(dist.log_prob(move))
                rewards.append(-walking[-1].float())
                at = torch.where(goal[at], at, after[at, move])
            returns = torch.stack(rewards).flip(0).cumsum(0).flip(0)
            mask = torch.stack(walking)
            advantage = (returns - returns[mask].mean()) / (returns[mask].std() + 1e-6)
            loss = -(torch.stack(logs) * advantage)[mask].mean()
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss.item())
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return arrives(model(obs))


@works(
    source="DLR-RM/stable-baselines3#466",
    what="PPO with a bonus for entropy",
    suspicious="the loss starts near 0, rises, falls below 0 and ends where it began",
    passes=0.7,
    style="modules",
)
def ppo_on_digits(setup, _variant):
    x, y = digits()
    net = setup.model(DigitActorCritic(32))
    optimizer = torch.optim.Adam(net.parameters(), setup.lr(3e-3), eps=1e-5)
    with setup.watch(net, loss_falls=False) as recorder:
        for i in batches(1200, 256, 100, setup.seed):
            with torch.no_grad():
                scores, value = net(x[i])
                action = Categorical(logits=scores).sample()
                before = Categorical(logits=scores).log_prob(action)
                reward = (action == y[i]).float()
                advantage = (reward - value - (reward - value).mean()) / ((reward - value).std() + 1e-8)
            for part in torch.randperm(256).split(64):
                scores, value = net(x[i[part]])
                dist = Categorical(logits=scores)
                ratio = torch.exp(dist.log_prob(action[part]) - before[part])
                surrogate = torch.min(ratio * advantage[part], torch.clamp(ratio, 0.8, 1.2) * advantage[part])
                loss = -surrogate.mean() + 0.5 * F.mse_loss(value, reward[part]) - 0.01 * dist.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 0.5)
                optimizer.step()
                recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(net(x[1200:])[0], y[1200:])


@works(
    source="thu-ml/tianshou#1268; PacktPublishing/Deep-Reinforcement-Learning-Hands-On#59",
    what="an actor and a critic with an optimiser each, the actor climbing the critic",
    suspicious="two optimisers; the actor's loss has no known floor; the critic has gradients it is not moved by",
    passes=-0.1,
    style="functions",
)
def actor_climbs_critic(setup, _variant):
    class ActorCritic(nn.Module):
        def __init__(self):
            super().__init__()
            self.actor = nn.ModuleList([nn.Linear(4, 64), nn.Linear(64, 1)])
            self.critic = nn.ModuleList([nn.Linear(5, 96), nn.Linear(96, 96), nn.Linear(96, 1)])

        def act(self, s):
            return torch.tanh(self.actor[1](F.relu(self.actor[0](s))))

        def value(self, s, a):
            h = F.relu(self.critic[0](torch.cat([s, a], 1)))
            return self.critic[2](F.relu(self.critic[1](h)))

    s, best = aims()
    model = setup.model(ActorCritic())
    pi = torch.optim.Adam(model.actor.parameters(), setup.lr(1e-3))
    q = torch.optim.Adam(model.critic.parameters(), setup.lr(3e-3))
    with setup.watch(model, loss_falls=False) as recorder:
        for i in batches(2500, 128, 800, setup.seed):
            a = (model.act(s[i]).detach() + 0.4 * torch.randn(128, 1)).clamp(-1, 1)
            critic_loss = F.mse_loss(model.value(s[i], a), -((a - best[i]) ** 2))
            q.zero_grad()
            critic_loss.backward()
            q.step()
            actor_loss = -model.value(s[i], model.act(s[i])).mean()
            pi.zero_grad()
            actor_loss.backward()
            setup.clip(model.actor)
            pi.step()
            recorder.log_loss(actor_loss)
    with torch.no_grad():
        return -((model.act(s[2500:]) - best[2500:]) ** 2).mean().item()
