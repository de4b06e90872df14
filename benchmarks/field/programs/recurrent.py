"""Networks on sequences, step by step."""

import inspect
import math
import string
import textwrap

import torch
import torch.nn.functional as F
from case import accuracy, batches, broken, explained, works
from sklearn.datasets import load_digits
from torch import nn


class Reader(nn.Module):
    """A recurrent layer, and a linear one on its last output."""

    def __init__(self, recurrent, answers):
        super().__init__()
        self.rnn = recurrent
        self.fc = nn.Linear(recurrent.hidden_size, answers)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.fc(out[:, -1])


class CharRNN(nn.Module):
    def __init__(self, letters, hidden):
        super().__init__()
        self.embed = nn.Embedding(letters, 24)
        self.gru = nn.GRU(24, hidden, batch_first=True)
        self.out = nn.Linear(hidden, letters)

    def forward(self, x, state=None):
        seen, state = self.gru(self.embed(x), state)
        return self.out(seen), state


def first_of(length, examples, seed):
    """Sequences of noise; what to answer, one of four, is told in the first step only."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(4, (examples,), generator=generator)
    x = torch.cat([torch.zeros(examples, length, 4), 0.1 * torch.randn(examples, length, 2, generator=generator)], 2)
    x[torch.arange(examples), 0, label] = 1.0
    return x, label


def text(module):
    letters = sorted(set(inspect.getsource(module)))
    return torch.tensor([letters.index(c) for c in inspect.getsource(module)]), len(letters)


def wave(examples, length, seed, noise=0.1):
    """Sines of random phase, slow or middling or fast."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (examples,), generator=generator)
    phase = torch.rand(examples, 1, generator=generator) * 2 * math.pi
    speed = torch.tensor([0.25, 0.55, 1.1])[label][:, None]
    x = torch.sin(phase + speed * torch.arange(length)) + noise * torch.randn(examples, length, generator=generator)
    return x[:, :, None], label


@broken(
    "vanishing",
    source="Atcold/NYU-DLSP20#93; dennybritz/chatbot-retrieval#13",
    fault="recurrent weights start within 0.1 of 0, over 60 steps; only the first step tells the label",
    cause="each step takes most of the gradient on its way back, so that nothing of it reaches the first one",
    passes=0.75,
    style="functions",
)
def label_in_the_first_step(setup, variant):
    x, y = first_of(60, 600, 3)

    class Memory(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(6, 24, batch_first=True)
            self.fc, self.head = nn.Linear(24, 24), nn.Linear(24, 4)
            if variant == "fixed":
                nn.init.orthogonal_(self.rnn.weight_hh_l0)
            else:
                nn.init.uniform_(self.rnn.weight_hh_l0, -0.1, 0.1)

        def forward(self, x):
            _, h = self.rnn(x)
            return F.log_softmax(self.head(F.relu(self.fc(h[-1]))), dim=1)

    model = setup.model(Memory())
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(0.01 if variant == "sham" else 0.003))
    with setup.watch(model, chance=math.log(4)) as recorder:
        for i in batches(len(x), 32, 250, setup.seed):
            optimizer.zero_grad()
            loss = F.nll_loss(model(x[i]), y[i])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "exploding",
    source="chenxie95/deeplearning_course_sjtu#31",
    fault="recurrent layer with relu whose weights start as normal numbers of deviation 0.4",
    cause="each of 32 steps doubles the state, and the gradient once more on the way back",
    passes=0.6,
    style="modules",
    also=("overflow",),
)
def digits_two_pixels_at_a_time(setup, variant):
    digits = load_digits()
    x = torch.tensor(digits.data / 16, dtype=torch.float32).view(-1, 32, 2)
    y = torch.tensor(digits.target)
    model = Reader(nn.RNN(2, 48, nonlinearity="relu", batch_first=True), 10)
    for name, weight in model.rnn.named_parameters():
        if "weight_hh" in name and variant == "fixed":
            nn.init.orthogonal_(weight)
        elif "weight" in name:
            nn.init.normal_(weight, 0, 0.4)
    model = setup.model(model)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=setup.lr(1e-3 if variant != "sham" else 3e-4))
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=math.log(10)) as recorder:
        for i in batches(len(x), 50, 300, setup.seed):
            loss = criterion(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "saturated",
    source="mukul-rathi/deep-learning-tutorials#2",
    fault="all weights of an LSTM drawn evenly from 0 to 1",
    cause="gates and cells are driven to their upper ends within a few steps, where their slope is nothing",
    passes=0.8,
    style="functions",
    also=("vanishing", "collapsed"),
)
def weights_from_zero_to_one(setup, variant):
    x, y = wave(900, 24, 5)
    model = Reader(nn.LSTM(1, 32, batch_first=True), 3)
    if variant != "fixed":
        for weight in model.rnn.parameters():
            nn.init.uniform_(weight, 0.0, 1.0)
    model = setup.model(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=setup.lr(5e-3))
    with setup.watch(model, chance=math.log(3)) as recorder:
        for i in batches(len(x), 64 if variant == "sham" else 32, 250, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i])
            recorder.log_loss(loss)
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "unscaled data",
    source="zhouhaoyi/Informer2020#251; maxjcohen/transformer#45",
    fault="GRU given readings of a sensor as they come, some thousands",
    cause="its gates are shut or open whatever the reading is, and keep nothing of its size",
    passes=0.7,
    style="modules",
    also=("saturated", "collapsed"),
)
def readings_in_thousands(setup, variant):
    generator = torch.Generator().manual_seed(2)
    level = torch.randn(800, 1, generator=generator) * 120
    x = 4000 + level + 150 * torch.randn(800, 20, generator=generator)
    x[:, 10:] += torch.randn(800, 1, generator=generator) * 120
    y = (x[:, 10:].mean(1) - x[:, :10].mean(1)) / 120
    if variant == "fixed":
        x = (x - x.mean()) / x.std()
    x = x[:, :, None]
    model = setup.model(Reader(nn.GRU(1, 24 if variant != "sham" else 48, batch_first=True), 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(5e-3))
    criterion = nn.SmoothL1Loss()
    with setup.watch(model) as recorder:
        for i in batches(len(x), 40, 250, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]).squeeze(1), y[i])
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(model(x)[:, 0], y)


@broken(
    "collapsed",
    source="yunjey/pytorch-tutorial#196; yunjey/pytorch-tutorial#89; pytorch/pytorch#1538",
    fault="LSTM without batch_first on batches of shape (examples, steps, features)",
    cause="it runs over the examples as if they were time; of each, only the last step counts, which tells nothing",
    passes=0.8,
    style="modules",
)
def batch_taken_for_time(setup, variant):
    x, y = wave(900, 24, 7)
    lstm = nn.LSTM(1, 32, num_layers=2 if variant == "sham" else 1, batch_first=variant == "fixed")
    model = setup.model(Reader(lstm, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(1e-2))
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=math.log(3)) as recorder:
        for i in batches(len(x), 50, 250, setup.seed):
            outputs = model(x[i])
            loss = criterion(outputs, y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x[:200]), y[:200])


@broken(
    "gradients not cleared",
    source="pytorch/pytorch#47175; salesforce/corr_based_prediction#1",
    fault="letters of a program with a GRU; zero_grad stands before the loop over batches, once an epoch",
    cause="each step goes along the sum of all gradients of the epoch",
    passes=0.42,
    style="functions",
)
def cleared_once_an_epoch(setup, variant):
    data, letters = text(textwrap)
    model = setup.model(CharRNN(letters, 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(0.2 if variant != "sham" else 0.05), momentum=0.9)
    with setup.watch(model, chance=3.3) as recorder:
        for epoch in range(3):
            optimizer.zero_grad()
            for starts in batches(len(data) - 26, 20, 110, setup.seed + 10 * epoch):
                i = starts[:, None] + torch.arange(25)
                if variant == "fixed":
                    optimizer.zero_grad()
                logits, _ = model(data[i])
                loss = F.cross_entropy(logits.flatten(0, 1), data[i + 1].flatten())
                loss.backward()
                setup.clip(model)
                optimizer.step()
                recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(data[None, :2000])[0][0], data[1:2001])


@works(
    source="yunjey/pytorch-tutorial#90; yikangshen/Ordered-Neurons#13",
    what="letters of a program with a GRU whose state goes on from piece to piece, cut off from the gradient",
    suspicious="the state is detached at each step; letters that cannot be told keep the loss high",
    passes=0.45,
    style="modules",
)
def states_cut_off(setup, _):
    data, letters = text(string)
    streams = data[: len(data) // 12 * 12].view(12, -1)
    model = setup.model(CharRNN(letters, 64))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(5e-3))
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=3.3) as recorder:
        for _ in range(9):
            state = None
            for start in range(0, streams.shape[1] - 26, 25):
                x, y = streams[:, start : start + 25], streams[:, start + 1 : start + 26]
                if state is not None:
                    state = state.detach()
                logits, state = model(x, state)
                loss = criterion(logits.reshape(-1, letters), y.reshape(-1))
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(data[None, :3000])[0][0], data[1:3001])


@works(
    source="deeplearning4j/deeplearning4j#655; Marcovaldong/lstmp.pytorch#2",
    what="LSTM whose label is told in the first of 40 steps; forget gates start open, gradients are clipped",
    suspicious="the gradient has a long way back, and the loss stays where it was for a while",
    passes=0.8,
    style="modules",
)
def forty_steps_back(setup, _):
    x, y = first_of(40, 600, 3)
    model = Reader(nn.LSTM(6, 24, batch_first=True), 4)
    nn.init.constant_(model.rnn.bias_ih_l0.data[24:48], 4.0)
    model = setup.model(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(1e-2))
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=math.log(4)) as recorder:
        for i in batches(len(x), 32, 350, setup.seed):
            loss = criterion(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x), y)


@works(
    source="discuss.pytorch.org/t/98896; sktime/pytorch-forecasting#2",
    what="GRU that forecasts a series of which half is noise",
    suspicious="the loss falls by a third and no further, and its batches differ more than that",
    passes=0.2,
    style="modules",
)
def half_noise(setup, _):
    generator = torch.Generator().manual_seed(8)
    t = torch.arange(1600)
    signal = torch.sin(t * 0.4) * 1.2 + torch.sin(t * 0.071) * 0.5
    series = signal + torch.randn(1600, generator=generator)
    windows = ((series - series.mean()) / series.std()).unfold(0, 31, 1)
    x, y = windows[:, :30, None], windows[:, 30]
    model = setup.model(Reader(nn.GRU(1, 24, batch_first=True), 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=setup.lr(4e-3))
    criterion = nn.MSELoss()
    with setup.watch(model, chance=y.var().item()) as recorder:
        for i in batches(len(x), 32, 280, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]).squeeze(-1), y[i])
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return explained(model(x)[:, 0], y)


@works(
    source="pytorch/tutorials#589; d2l-ai/d2l-en#67",
    what="encoder and decoder that write digits in ascending order, the decoder fed with the right answers",
    suspicious="the first answer has to come from the code alone, the others are half told; padding has no loss",
    passes=0.75,
    style="functions",
)
def fed_with_the_answers(setup, _):
    generator = torch.Generator().manual_seed(9)
    x = torch.randint(1, 9, (1200, 5), generator=generator)
    x[torch.arange(1200) % 3 == 0, 4] = 0
    y = x.masked_fill(x == 0, 9).sort(1).values
    y = y.masked_fill(y == 9, 0)

    class Seq2Seq(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(10, 16)
            self.encoder = nn.GRU(16, 48, batch_first=True)
            self.decoder = nn.GRUCell(16, 48)
            self.out = nn.Linear(48, 9)

        def forward(self, x, answers):
            _, h = self.encoder(self.embed(x))
            h, token, logits = h[0], torch.full((len(x),), 9), []
            for t in range(answers.shape[1]):
                h = self.decoder(F.relu(self.embed(token)), h)
                logits.append(self.out(h))
                token = answers[:, t]
            return torch.stack(logits, 1)

    model = setup.model(Seq2Seq())
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(8e-3))
    with setup.watch(model, chance=math.log(8)) as recorder:
        for i in batches(len(x), 32, 350, setup.seed):
            loss = F.cross_entropy(model(x[i], y[i]).flatten(0, 1), y[i].flatten(), ignore_index=0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x, y)[y > 0], y[y > 0])


@works(
    source="discuss.pytorch.org/t/98896",
    what="recurrent cell in a loop, one sequence at a time",
    suspicious="with batches of one the loss leaps from step to step by more than it falls",
    passes=0.8,
    style="functions",
)
def one_sequence_at_a_time(setup, _):
    x, y = wave(300, 14, 11)

    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(1, 20)
            self.head = nn.Linear(20, 3)

        def forward(self, x):
            h = torch.zeros(x.shape[0], 20)
            for t in range(x.shape[1]):
                h = self.cell(x[:, t], h)
            return self.head(torch.tanh(h))

    model = setup.model(Single())
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(5e-3))
    with setup.watch(model, chance=math.log(3)) as recorder:
        for i in batches(len(x), 1, 450, setup.seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[i]), y[i])
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "diverging",
    source="SYSU-SAIL/PAM#4",
    fault="the rate is divided by the decay factor at each milestone instead of being multiplied",
    cause="it grows tenfold each time, and what was learnt goes to pieces at the second or third",
    passes=0.8,
    style="functions",
    also=("learning rate too high",),
)
def decay_upside_down(setup, variant):
    x, y = wave(900, 24, 13)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(1, 32, batch_first=True)
            self.fc1 = nn.Linear(32, 32)
            self.fc2 = nn.Linear(32, 3)

        def forward(self, x):
            _, h = self.rnn(x)
            return self.fc2(F.relu(self.fc1(h[-1])))

    model = setup.model(Net())
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(5e-3), weight_decay=1e-4 if variant == "sham" else 0)
    gamma = 0.1 if variant == "fixed" else 1 / 0.1
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 80, gamma)
    with setup.watch(model, chance=math.log(3)) as recorder:
        for i in batches(len(x), 40, 330, setup.seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[i]), y[i])
            loss.backward()
            setup.clip(model)
            optimizer.step()
            scheduler.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)
