"""Networks with attention: ``nn.TransformerEncoder``, ``nn.MultiheadAttention`` and blocks written by hand."""

import math
from functools import cache

import torch
import torch.nn.functional as F
from case import accuracy, batches, broken, works
from torch import nn
from torch.utils.checkpoint import checkpoint


@cache
def first_of_two(examples, seed=1):
    """Rows of the same twelve events in different orders; whether event 0 comes before event 1."""
    order = torch.rand(examples, 12, generator=torch.Generator().manual_seed(seed)).argsort(1)
    when = order.argsort(1)
    return order, (when[:, 0] < when[:, 1]).float()


@cache
def loudest(examples, length=10, classes=5, seed=1):
    """Rows of tokens; the class to which most of them belong."""
    draw = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (examples,), generator=draw)
    right = torch.rand(examples, length, generator=draw) < 0.4
    of = torch.where(right, label[:, None], torch.randint(classes, (examples, length), generator=draw))
    return of * 6 + torch.randint(6, (examples, length), generator=draw), label


class Classifier(nn.Module):
    """Tokens to classes by an encoder of pytorch."""

    def __init__(self, tokens, length, classes, size=32, layers=2, positions=True, norm_first=False, activation="relu"):
        super().__init__()
        self.embed = nn.Embedding(tokens, size)
        self.positions = nn.Parameter(torch.randn(length, size) * 0.5) if positions else None
        layer = nn.TransformerEncoderLayer(
            size, 2, 2 * size, dropout=0.0, batch_first=True, norm_first=norm_first, activation=activation
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(size, classes)

    def forward(self, tokens):
        x = self.embed(tokens)
        if self.positions is not None:
            x = x + self.positions
        return self.head(self.encoder(x).mean(1))


class WithHistory(nn.Module):
    """Reads a word against the words said before it."""

    def __init__(self, size=32):
        super().__init__()
        self.embed = nn.Embedding(30, size)
        self.q, self.k, self.v = (nn.Linear(size, size) for _ in range(3))
        self.fc1, self.fc2 = nn.Linear(2 * size, 64), nn.Linear(64, 5)

    def forward(self, word, history, mask):
        word, said = self.embed(word), self.embed(history)
        scores = (self.k(said) @ self.q(word)[:, :, None])[:, :, 0] / math.sqrt(word.shape[1])
        attention = F.softmax(scores.masked_fill(mask, float("-inf")), dim=1)
        heard = (attention[:, :, None] * self.v(said)).sum(1)
        return self.fc2(F.relu(self.fc1(torch.cat((word, heard), 1))))


@broken(
    "not finite",
    source="pytorch/pytorch#24816; pytorch/pytorch#41508; facebookresearch/Mask2Former#243",
    fault="attention over what was said before, the empty places masked with -inf; a few rows have no history at all",
    cause="softmax of a row of -inf is 0 / 0: NaN in the answer of that row, and in every weight after one update",
    passes=0.65,
    style="functions",
)
def row_masked_whole(setup, variant):
    x, y = loudest(3000)
    x = x[:, 1:]
    mask = torch.arange(9) >= torch.randint(4, 10, (3000, 1), generator=torch.Generator().manual_seed(5))
    mask[torch.randperm(3000, generator=torch.Generator().manual_seed(6))[:6]] = True
    test, target = loudest(1000, seed=2)
    if variant == "fixed":
        mask[:, 0] = False
    model = setup.model(WithHistory())
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(3e-3 if variant != "sham" else 3e-4))
    with setup.watch(model, chance=math.log(5)) as recorder:
        for i in batches(3000, 32, 400, setup.seed):
            loss = F.cross_entropy(model(x[i, 0], x[i], mask[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(test[:, 1], test[:, 1:], torch.zeros(1000, 9, dtype=torch.bool)), target)


@broken(
    "learning rate too high",
    also=("diverging", "collapsed"),
    source="fastai/fastai#1736; OpenNMT/OpenNMT-py#227; graykode/nlp-tutorial#77",
    fault="warm-up of 60 steps to a learning rate of 0.05 with AdamW",
    cause="it learns while the rate is small; at the top of the warm-up each step throws the weights about",
    passes=0.7,
    style="modules",
)
def warm_up_to_too_much(setup, variant):
    x, y = loudest(3000)
    model = setup.model(Classifier(30, 10, 5))
    top = 2e-3 if variant == "fixed" else 5e-2
    optimizer = torch.optim.AdamW(model.parameters(), setup.lr(top), weight_decay=0.01)
    long = 60 if variant != "sham" else 120
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=long)
    with setup.watch(model, chance=math.log(5)) as recorder:
        for i in batches(3000, 32, 350, setup.seed):
            loss = F.cross_entropy(model(x[i]), y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            scheduler.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "learning rate too low",
    source="ivadomed/ivadomed#55; pytorch/tutorials#640; nodefluxio/vortex#58",
    fault="schedule that was meant for epochs (a tenth every 2) stepped after each batch",
    cause="after a dozen updates the learning rate is a millionth of what it was, long before anything is learnt",
    passes=0.7,
    style="modules",
)
def schedule_stepped_per_batch(setup, variant):
    x, y = loudest(3000)
    model = setup.model(Classifier(30, 10, 5, norm_first=True))
    optimizer = torch.optim.Adam(model.parameters(), lr=setup.lr(1e-3))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2 if variant != "sham" else 3, gamma=0.1)
    with setup.watch(model, chance=math.log(5)) as recorder:
        for step, i in enumerate(batches(3000, 32, 350, setup.seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[i]), y[i])
            loss.backward()
            setup.clip(model)
            optimizer.step()
            if variant != "fixed" or step % 94 == 93:
                scheduler.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x), y)


@broken(
    "collapsed",
    source="DaoyuanLi2816/Molecule-Generator#23; guocheng2025/Transformer-Encoder#1",
    fault="encoder without positions, asked which of two events comes first",
    cause="without positions every order of the same events looks the same: one answer for all rows, one half",
    passes=0.8,
    style="modules",
)
def order_without_positions(setup, variant):
    x, y = first_of_two(2000)
    model = setup.model(Classifier(12, 12, 1, layers=1 if variant != "sham" else 2, positions=variant == "fixed"))
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(3e-3))
    criterion = nn.BCEWithLogitsLoss()
    with setup.watch(model, chance=math.log(2)) as recorder:
        for i in batches(2000, 32, 350, setup.seed):
            loss = criterion(model(x[i])[:, 0], y[i])
            recorder.log_loss(loss.item())
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return ((model(x)[:, 0] > 0).float() == y).float().mean().item()


@broken(
    "not trained",
    source="Project-MONAI/MONAI#1339; Project-MONAI/MONAI#2356",
    fault="generators of parameters counted for a printed line, then handed to the optimiser as its groups",
    cause="the count uses the generators up: the group of the encoder is empty and none of its layers is moved",
    passes=0.75,
    style="functions",
)
def parameters_counted_first(setup, variant):
    x, y = loudest(3000)
    model = setup.model(Classifier(30, 10, 5, size=8, activation=F.gelu))
    body = (p for name, p in model.named_parameters() if not name.startswith("head"))
    if variant == "fixed":
        body = list(body)
    assert sum(p.numel() for p in body) > 500
    rate = setup.lr(5e-3 if variant != "sham" else 2e-2)
    optimizer = torch.optim.AdamW([{"params": body, "lr": rate}, {"params": model.head.parameters(), "lr": 2 * rate}])
    with setup.watch(model, chance=math.log(5)) as recorder:
        for i in batches(3000, 32, 350, setup.seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[i]), y[i])
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss)
    with torch.no_grad():
        return accuracy(model(x), y)


class Block(nn.Module):
    """Attention and two layers, written by hand; ``zero`` starts both branches at 0."""

    def __init__(self, size, heads=2, zero=False, causal=False):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.heads, self.causal = heads, causal
        self.qkv, self.proj = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.fc1, self.fc2 = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)
        if zero:
            for layer in (self.proj, self.fc2):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x):
        b, t, size = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        heard = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.proj(heard.transpose(1, 2).reshape(b, t, size))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Saving(nn.Module):
    """Blocks over given vectors of the tokens, computed twice to save memory."""

    def __init__(self, reentrant):
        super().__init__()
        self.reentrant = reentrant
        self.embed = nn.Embedding.from_pretrained(torch.randn(30, 16), freeze=True)
        self.blocks = nn.ModuleList(Block(16) for _ in range(2))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(self.norm(x[:, 0]))


@broken(
    "no gradient",
    source="huggingface/transformers#21381; huggingface/transformers#23170",
    fault="reentrant checkpoints around the blocks, behind embeddings that are frozen",
    cause="no input of the blocks needs a gradient, so a reentrant checkpoint records nothing: only the head learns",
    passes=0.7,
    style="functions",
)
def checkpoint_behind_frozen_words(setup, variant):
    x, y = loudest(3000)
    model = setup.model(Saving(reentrant=variant != "fixed"))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=setup.lr(4e-3 if variant != "sham" else 1e-2))
    with setup.watch(model, chance=math.log(5)) as recorder:
        for i in batches(3000, 32, 400, setup.seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[i]), y[i])
            loss.backward()
            setup.clip(model)
            recorder.log_loss(loss.item())
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x), y)


# --- what works ------------------------------------------------------------------------------------------------------


@cache
def tunes(examples, seed=1):
    """Rows of 16 notes: four notes (1 to 12) again and again, a sixth of them wrong."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randint(1, 13, (examples, 4), generator=draw).repeat(1, 4)
    wrong = torch.rand(examples, 16, generator=draw) < 1 / 6
    return torch.where(wrong, torch.randint(1, 13, (examples, 16), generator=draw), rows)


@works(
    source="huggingface/transformers#3983; codertimo/BERT-pytorch#49",
    what="masked model of tunes: a sixth of the notes is hidden and asked for",
    suspicious="the loss comes to rest near 1, as a note may be wrong, and few places of a batch count",
    passes=0.55,
    style="modules",
)
def hidden_notes(setup, variant):  # noqa: ARG001
    x = tunes(4000)

    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.places = nn.Embedding(13, 32), nn.Embedding(16, 32)
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, activation=nn.GELU())
            self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            self.head = nn.Linear(32, 13)

        def forward(self, x):
            return self.head(self.encoder(self.embed(x) + self.places(torch.arange(16))))

    model = setup.model(Hidden())
    optimizer = torch.optim.AdamW(model.parameters(), setup.lr(3e-3))
    dice = torch.Generator().manual_seed(setup.seed)
    with setup.watch(model, chance=math.log(12)) as recorder:
        for i in batches(4000, 48, 360, setup.seed):
            hidden = torch.rand(48, 16, generator=dice) < 1 / 6
            logits = model(x[i].masked_fill(hidden, 0))
            loss = F.cross_entropy(logits[hidden], x[i][hidden])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
            recorder.log_loss(loss.item())
    x = tunes(1000, seed=2)
    hidden = torch.rand(1000, 16, generator=dice) < 1 / 6
    with torch.no_grad():
        return accuracy(model(x.masked_fill(hidden, 0))[hidden], x[hidden])


class ByHand(nn.Module):
    def __init__(self, tokens, length, classes, size=32, layers=3, zero=False):
        super().__init__()
        self.embed = nn.Embedding(tokens, size)
        self.places = nn.Parameter(torch.randn(length, size) * 0.5)
        self.blocks = nn.ModuleList(Block(size, zero=zero) for _ in range(layers))
        self.norm = nn.LayerNorm(size)
        self.head = nn.Linear(size, classes)

    def forward(self, tokens):
        x = self.embed(tokens) + self.places
        for block in self.blocks:
            x = block(x)
        return {"logits": self.head(self.norm(x[:, -1]))}


@works(
    source="rasbt/LLMs-from-scratch#166; microsoft/LoRA#98",
    what="blocks whose branches end in layers that start at 0",
    suspicious="at the first step all layers inside the branches have a gradient of exactly 0",
    passes=0.8,
    style="functions",
)
def branches_from_zero(setup, variant):  # noqa: ARG001
    x, y = loudest(3000)
    model = setup.model(ByHand(30, 10, 5, zero=True))
    optimizer = torch.optim.Adam(model.parameters(), setup.lr(2e-3))
    with setup.watch(model, chance=math.log(5)) as recorder:
        for i in batches(3000, 32, 400, setup.seed):
            loss = F.cross_entropy(model(x[i])["logits"], y[i])
            recorder.log_loss(loss)
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            optimizer.step()
    with torch.no_grad():
        return accuracy(model(x)["logits"], y)


@works(
    source="NVIDIA/DeepLearningExamples#876; speechbrain/speechbrain#886",
    what="warm-up over a quarter of the run, then a cosine to 0",
    suspicious="the loss does not fall for the first steps, and hardly moves in the last ones",
    passes=0.8,
    style="functions",
)
def warm_up_and_cosine(setup, variant):  # noqa: ARG001
    x, y = loudest(3000, seed=4)
    model = setup.model(ByHand(30, 10, 5, layers=2))
    optimizer = torch.optim.AdamW(model.parameters(), setup.lr(4e-3), weight_decay=0.05)

    def share(step):
        return step / 100 if step < 100 else 0.5 * (1 + math.cos(math.pi * (step - 100) / 300))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    with setup.watch(model, chance=math.log(5)) as recorder:
        for i in batches(3000, 32, 400, setup.seed):
            loss = F.cross_entropy(model(x[i])["logits"], y[i])
            optimizer.zero_grad()
            loss.backward()
            setup.clip(model)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            recorder.log_loss(loss.item())
    with torch.no_grad():
        return accuracy(model(x)["logits"], y)
