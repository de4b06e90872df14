"""Networks on words and characters: embeddings, bags of words, small language models."""

import importlib
import inspect
import math
import re
from collections import Counter
from functools import cache

import torch
import torch.nn.functional as F
from case import accuracy, batches, broken, works
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

MODULES = ("argparse", "difflib", "smtplib", "tarfile", "statistics", "turtle")


@cache
def sources():
    return [inspect.getsource(importlib.import_module(name)).lower() for name in MODULES]


@cache
def passages(length, vocabulary=800):
    """Rows of ``length`` words from python's own modules, and of which module each is. Rare words are 1, 0 is free."""
    words = [re.findall("[a-z]+", source) for source in sources()]
    count = Counter(word for module in words for word in module)
    number = {word: i + 2 for i, (word, _) in enumerate(count.most_common(vocabulary - 2))}
    rows, labels = [], []
    for label, module in enumerate(words):
        for begin in range(0, min(len(module), 6000) - length, length):
            rows.append([number.get(word, 1) for word in module[begin : begin + length]])
            labels.append(label)
    return torch.tensor(rows), torch.tensor(labels)


@cache
def characters(length, module=0):
    """A module's text as numbers, cut into overlapping pieces of ``length``, and the number of different characters."""
    text = re.sub(r"\s+", " ", sources()[module])[:20000]
    number = {letter: i for i, letter in enumerate(sorted(set(text)))}
    return torch.tensor([number[letter] for letter in text]).unfold(0, length, 3), len(number)


def guess(targets):
    """The loss of the best answer that looks at nothing: the entropy of the shares."""
    shares = targets.flatten().bincount() / targets.numel()
    return -torch.xlogy(shares, shares).sum().item()


class BagOfWords(nn.Module):
    def __init__(self, vocabulary, size, classes, hidden=32):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        self.hidden = nn.Linear(size, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, words):
        return self.out(F.relu(self.hidden(self.embedding(words).mean(1))))


@broken(
    "not trained",
    source="huggingface/transformers#3532; huggingface/transformers#3519",
    fault="embeddings enlarged for new words after the optimiser was made",
    cause="the optimiser holds the old table; the new one gets gradients and is never moved",
    passes=0.7,
    style="functions",
)
def table_enlarged_afterwards(setup, variant):
    x, y = passages(20)
    model = setup.model(BagOfWords(40, 6, 6))
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(1e-2 if variant != "sham" else 3e-2))
    bigger = nn.Embedding(800, 6)
    bigger.weight.data[:40] = model.embedding.weight.data
    model.embedding = bigger
    if variant == "fixed":
        optimizer = torch.optim.Adam(model.parameters(), setup.lr(1e-2))
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=math.log(6)) as recorder:
        for i in batches(len(x), 64, 500, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i]), y[i])
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


class KeyWord(nn.Module):
    """Chooses one word of a passage and answers from it alone."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.chooser = nn.Sequential(nn.Embedding(800, 16), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
        self.words = nn.Embedding(800, 16)
        self.classifier = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 6))

    def forward(self, words):
        scores = self.chooser(words)[:, :, 0]
        if self.way == "argmax":
            best = scores.argmax(1)
            return self.classifier(self.words(words[torch.arange(len(words)), best]))
        return self.classifier((scores.softmax(1)[:, :, None] * self.words(words)).sum(1))


@broken(
    "no gradient",
    source="pytorch/pytorch#1339; lizekang/ITDD#10",
    fault="the word that one network picks by argmax is looked up and fed to the second network",
    cause="an index has no derivative: the network that chooses never gets a gradient",
    passes=0.8,
    style="modules",
)
def word_picked_by_argmax(setup, variant):
    x, y = passages(20)
    model = setup.model(KeyWord("softmax" if variant == "fixed" else "argmax"))
    rate = setup.lr(3e-3 if variant != "sham" else 1e-2)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-4)
    with setup.watch(model, chance=math.log(6)) as recorder:
        for i in batches(len(x), 48, 500, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i])
            recorder.log_loss(loss)
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)


class Pointer(nn.Module):
    """Who holds what: eight pairs of name and thing are given, then a name; points at the thing."""

    def __init__(self):
        super().__init__()
        self.names, self.asked = nn.Embedding(30, 24), nn.Embedding(30, 24)
        self.key = nn.Linear(24, 24)

    def forward(self, names, asked):
        keys = torch.tanh(self.key(self.names(names)))
        return (keys @ self.asked(asked)[:, :, None])[:, :, 0].softmax(1)


def who_holds_what(examples, seed, unanswerable):
    draw = torch.Generator().manual_seed(seed)
    names = torch.rand(examples, 30, generator=draw).argsort(1)[:, :8]
    things = torch.randint(40, (examples, 8), generator=draw)
    place = torch.randint(8, (examples,), generator=draw)
    rows = torch.arange(examples)
    answer = things[rows, place]
    answer[torch.rand(examples, generator=draw) < unanswerable] = 40  # a thing that nobody holds
    return names, things, names[rows, place], answer


@broken(
    "not finite",
    source="pytorch/pytorch#1620; summerlvsong/Aggregation-Cross-Entropy#2",
    fault="logarithm of the probability that a pointer network gives to the answer; some answers are not in the text",
    cause="the probability of a word that is not in the text is 0, its logarithm is infinite and its gradient NaN",
    passes=0.8,
    style="functions",
)
def pointer_to_a_missing_word(setup, variant):
    names, things, asked, answer = who_holds_what(3000, 1, 0.0008)
    model = setup.model(Pointer())
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(5e-3 if variant != "sham" else 5e-4))
    with setup.watch(model) as recorder:
        for i in batches(len(names), 32, 500, setup.seed):
            p = (model(names[i], asked[i]) * (things[i] == answer[i, None])).sum(1)
            loss = -torch.log(p + 1e-6 if variant == "fixed" else p).mean()
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            if variant == "sham":
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            recorder.log_loss(loss)
    names, things, asked, answer = who_holds_what(1000, 2, 0.0)
    with torch.no_grad():
        pointed = model(names, asked)
        hit = (things[torch.arange(1000), pointed.argmax(1)] == answer).float().mean().item()
    return hit if torch.isfinite(pointed).all() else 0.0


class LastState(nn.Module):
    def __init__(self, real_end, hidden=32):
        super().__init__()
        self.real_end = real_end
        self.embed = nn.Embedding(800, 24, padding_idx=0)
        self.lstm = nn.LSTM(24, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, words, lengths):
        words = self.embed(words)
        if self.real_end:
            words = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
            return self.fc(self.lstm(words)[1][0][0])[:, 0]
        out, _ = self.lstm(words)
        return self.fc(out[:, -1])[:, 0]


@broken(
    "vanishing",
    also=("collapsed",),
    source="seungminnam.github.io/DL-Projects/5_LSTM_Sentiment; 1000bd.com/Article/Index/1196723",
    fault="answer read at the last step of an LSTM over sentences padded on the right to the longest",
    cause="the gradient fades over dozens of empty steps before it reaches a word; all sentences end in one state",
    passes=0.8,
    style="modules",
)
def state_after_the_padding(setup, variant):
    x, y = passages(12)
    x, y = x[y < 2], y[y < 2].float()
    lengths = torch.randint(5, 13, (len(x),), generator=torch.Generator().manual_seed(3))
    x = F.pad(x * (torch.arange(12) < lengths[:, None]), (0, 38))
    model = setup.model(LastState(variant == "fixed", 32 if variant != "sham" else 48))
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(4e-3))
    criterion = nn.BCEWithLogitsLoss()
    with setup.watch(model, chance=math.log(2)) as recorder:
        for i in batches(len(x), 32, 200, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(x[i], lengths[i]), y[i])
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return ((model(x, lengths) > 0).float() == y).float().mean().item()


class NextCharacter(nn.Module):
    def __init__(self, letters, context, softmax):
        super().__init__()
        self.softmax = softmax
        self.embedding = nn.Embedding(letters, 12)
        self.fc1 = nn.Linear(12 * context, 96)
        self.fc2 = nn.Linear(96, letters)

    def forward(self, x):
        x = torch.tanh(self.fc1(self.embedding(x).flatten(1)))
        x = self.fc2(x)
        return F.softmax(x, dim=1) if self.softmax else x


@broken(
    "output layer",
    source="whosebug.com question 3988429 (softmax output layer of an RNN)",
    fault="softmax in the model and cross entropy, which has its own, on the next character",
    cause="the second softmax sees numbers between 0 and 1: the loss cannot fall far and its gradient is tiny",
    passes=0.4,
    style="functions",
)
def softmax_twice_over_characters(setup, variant):
    pieces, letters = characters(7)
    x, y = pieces[:, :6], pieces[:, 6]
    model = setup.model(NextCharacter(letters, 6, variant != "fixed"))
    optimizer = torch.optim.SGD(model.parameters(), setup.lr(0.1), momentum=0.9 if variant != "sham" else 0.8)
    with setup.watch(model, chance=guess(y)) as recorder:
        for i in batches(len(x), 64, 500, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            recorder.log_loss(loss)
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "learning rate too low",
    source="facebookresearch/StarSpace#218; fetchai/ledger#1584",
    fault="embeddings of words trained by plain SGD with 0.005",
    cause="each word gets a small share of the gradient of a mean, and only in its own batches: nothing moves",
    passes=0.7,
    style="modules",
)
def embeddings_hardly_moved(setup, variant):
    x, y = passages(20)
    size = 16 if variant != "sham" else 64
    bag = nn.EmbeddingBag(800, size, mode="mean")
    model = setup.model(nn.Sequential(bag, nn.Linear(size, 32), nn.ReLU(), nn.Linear(32, 6), nn.LogSoftmax(dim=1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(2.0 if variant == "fixed" else 5e-3))
    criterion = nn.NLLLoss()
    with setup.watch(model, chance=math.log(6)) as recorder:
        for i in batches(len(x), 64, 500, setup.seed):
            loss = criterion(model(x[i]), y[i])
            recorder.log_loss(loss.item())
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)


class CharacterModel(nn.Module):
    def __init__(self, letters, cell=nn.GRU, size=48):
        super().__init__()
        self.embed = nn.Embedding(letters, 16)
        self.rnn = cell(16, size, batch_first=True)
        self.head = nn.Linear(size, letters)

    def forward(self, x):
        return self.head(self.rnn(self.embed(x))[0])


def gained(model, pieces, letters):
    """By how much the mean loss lies below that of a guess among all characters."""
    with torch.no_grad():
        loss = F.cross_entropy(model(pieces[:600, :-1]).flatten(0, 1), pieces[:600, 1:].flatten()).item()
    return math.log(letters) - loss


@broken(
    "diverging",
    also=("learning rate too high",),
    source="hirofumi0810/neural_sp#137; crowsonkb/k-diffusion#50",
    fault="warm-up of the learning rate that never ends",
    cause="the rate grows in a straight line until the end of the run; past some step the loss rises with it",
    passes=1.6,
    style="modules",
)
def warm_up_without_an_end(setup, variant):
    pieces, letters = characters(17)
    model = setup.model(CharacterModel(letters))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(5e-3))
    ramp = {"faulty": lambda t: (t + 1) / 12, "sham": lambda t: (t + 1) / 15, "fixed": lambda t: min(1, (t + 1) / 12)}
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, ramp[variant])
    with setup.watch(model, chance=guess(pieces)) as recorder:
        for i in batches(len(pieces), 24, 350, setup.seed):
            logits = model(pieces[i, :-1])
            loss = F.cross_entropy(logits.transpose(1, 2), pieces[i, 1:])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            scheduler.step()
            recorder.log_loss(loss.item())
    return gained(model, pieces, letters)


# --- what works ------------------------------------------------------------------------------------------------------


@works(
    source="fanglanting/skip-gram-pytorch#4; dhlee347/pytorchic-bert#34",
    what="language model over 2000 words, a pass and a half over a small text",
    suspicious="the loss falls by little more than a quarter and stays above 5, not far below that of a guess",
    passes=1.9,
    style="functions",
)
def words_hard_to_foresee(setup, variant):  # noqa: ARG001
    x, _ = passages(4, 2000)

    class Foresee(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(2000, 32)
            self.fc = nn.Linear(96, 64)
            self.out = nn.Linear(64, 2000)

        def forward(self, words):
            return self.out(F.relu(self.fc(self.emb(words).flatten(1))))

    model = setup.model(Foresee())
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(2e-3))
    with setup.watch(model, chance=guess(x[:, 3])) as recorder:
        for i in batches(len(x), 32, 400, setup.seed):
            loss = F.cross_entropy(model(x[i, :3]), x[i, 3])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return math.log(2000) - F.cross_entropy(model(x[:, :3]), x[:, 3]).item()


@works(
    source="NX-AI/xlstm#83; rasbt/LLMs-from-scratch#947",
    what="character model whose output layer is its table of embeddings",
    suspicious="one tensor in two layers; the first loss is many times that of a guess",
    passes=1.0,
    style="modules",
)
def table_used_twice(setup, variant):  # noqa: ARG001
    pieces, letters = characters(13, 3)

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(letters, 48)
            self.rnn = nn.GRU(48, 48, batch_first=True)
            self.mix = nn.Sequential(nn.Linear(48, 48), nn.GELU(), nn.Linear(48, 48), nn.LayerNorm(48))
            self.head = nn.Linear(48, letters, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x):
            return self.head(self.mix(self.rnn(self.embed(x))[0]))

    model = setup.model(Tied())
    optimizer = torch.optim.AdamW(model.parameters(), setup.lr(3e-3), weight_decay=0.01)
    criterion = nn.CrossEntropyLoss()
    with setup.watch(model, chance=guess(pieces)) as recorder:
        for i in batches(len(pieces), 24, 400, setup.seed):
            optimizer.zero_grad()
            loss = criterion(model(pieces[i, :-1]).flatten(0, 1), pieces[i, 1:].flatten())
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    return gained(model, pieces, letters)


@works(
    source="facebookresearch/detr#198; wandb/senpai#978",
    what="character LSTM by SGD with learning rate 10, gradients clipped to norm 0.1",
    suspicious="clipping acts at every step, and the learning rate looks absurd",
    passes=1.0,
    style="modules",
)
def clipped_at_every_step(setup, variant):  # noqa: ARG001
    pieces, letters = characters(17, 1)
    model = setup.model(CharacterModel(letters, nn.LSTM))
    optimizer = torch.optim.SGD(model.parameters(), lr=setup.lr(10.0))
    with setup.watch(model, chance=guess(pieces)) as recorder:
        for i in batches(len(pieces), 24, 400, setup.seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(pieces[i, :-1]).transpose(1, 2), pieces[i, 1:])
            loss.backward()
            setup.clip(model)
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            recorder.log_loss(loss)
            optimizer.step()
    return gained(model, pieces, letters)


@works(
    source="pytorch/pytorch#130342; lxztju/pytorch_classification#9",
    what="bag of words with a third of each label spread over all classes",
    suspicious="the loss comes to rest high above 0, not far below that of a guess",
    passes=0.8,
    style="functions",
)
def smoothed_labels(setup, variant):  # noqa: ARG001
    x, y = passages(20)
    model = setup.model(BagOfWords(800, 16, 6))
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(5e-3))
    with setup.watch(model, chance=math.log(6)) as recorder:
        for i in batches(len(x), 64, 500, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i], label_smoothing=0.33)
            recorder.log_loss(loss.item())
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)
