"""Watch any ``nn.Module`` while it trains: norms per layer and step, and what the activations do.

The recorder only reads. It draws no random number and writes to no tensor of the training, so a watched run ends
in the same weights, bit for bit, as an unwatched one.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradclinic.arguments import number, whole
from gradclinic.diagnosis import Diagnosis, diagnose
from gradclinic.record import Record, Summary
from gradclinic.recording.layers import kind
from gradclinic.recording.looks import Alarm
from gradclinic.recording.schedule import FIRST_STEPS, INTERVAL
from gradclinic.recording.units import SATURATED_BELOW
from gradclinic.recording.watch import Watch

__all__ = ["FIRST_STEPS", "INTERVAL", "SATURATED_BELOW", "Recorder", "probe"]


class Recorder:
    """Context manager that records what happens to ``model`` while it trains, whoever runs the loop::

        with Recorder(model) as recorder:
            for x, y in batches:
                optimizer.zero_grad()
                loss = cross_entropy(model(x), y)
                recorder.log_loss(loss)
                loss.backward()
                optimizer.step()
        recorder.record.gradient_norm        # (steps, layers)

    A step is one of an optimiser that holds parameters of the model. Several that step after one pass share it, and one
    that a loss scaler leaves out is not counted. A loop without an optimiser calls ``capture``.

    Gradients of parameters are read when ``optimizer.step`` is called: after accumulation, after a loss scaler has
    divided, after clipping. Gradients at outputs are those of the backward pass: before clipping, and still multiplied
    by a scaler's factor. If the last step of a block was not one to record, it gets a row all the same when the block
    ends, of what can be read then: the loss, the weights as they stand and, if nothing has changed them, the gradients.
    The next block takes that row back.

    Layers have the names that the model gives them: ``model.get_submodule(name)`` is the layer. What belongs to the
    model itself has the name of its class. Layers stand in the order in which the first forward pass finished them,
    and the model's own parameters where they are first used; if that is not seen, before the layer that is defined
    first. A parameter that several modules share is counted for the first that the model defines.

    Inside ``torch.compile`` and ``torch.jit`` only parameters are watched, so ``output_rms`` and the like are NaN.

    Several processes that train one model (DistributedDataParallel, or ``fully_shard``) each have a recorder, and every
    one of them has to leave the block: only there do they put together what they saw. Then each holds the same record:
    that of one process with the whole batch, if each rank has equally many examples and its loss is their mean; what is
    looked at on a few examples only (what enters a layer, the model's answers) is the ranks' mean. Until
    then, or if a rank breaks off, ``record`` is what this rank alone can tell.

    The hooks on the model are gone when the block ends, by an exception too. Two hooks on torch's optimisers, put in
    when the first recorder of a process begins, stay and do nothing.

    While it records it holds one copy of the weights, or of the rank's own shards. A recorded step takes
    ``147 L + 24 A + 89`` bytes for L layers and A activation modules, ``59 L + 17`` without activations, ``16 L`` less
    without updates, and ``804 L`` more with histograms; each told loss takes 24. By the usual schedule a network of 100
    layers and 100 activations takes 26 MB for 100,000 steps. With several processes a step takes 8 bytes more for each
    ReLU, and one bit a unit where one of its units died or woke.

    Args:
        model: any module with at least one parameter.
        activations: also watch layer outputs and activation modules (tanh and sigmoid: saturation; ReLU: dead units).
        updates: also measure the weights and what each step changes. For that the weights are copied before it.
        histograms: also count the gradient entries of each layer by size. Costs a pass over all gradients.
        every: record one step in ``every``, the first included. With None, which costs almost nothing, the first 50
            steps, then one in 25; one in 250 from step 25,000 on, one in 2,500 from step 250,000 on, and so forth.
        chance_loss: loss of the best answer that ignores the input, if known: the entropy of the labels in nats, or
            the variance of the targets; ``chance_loss(targets, loss)`` computes it.
        loss_falls: False where the loss is of a kind that need not fall: that of a policy, a generator, a critic. Then
            ``diagnose`` tells only what is certain without it.
        on_alarm: called once, with the ``Diagnosis``, when a fault is found while the training goes on. It is looked
            for after recorded steps: at first every 100 steps, later less often, and at once if something is not
            finite. What it raises comes out of ``optimizer.step``, and so stops the training. Of several processes the
            first calls it; to stop all, it has to tell the others.
    Attributes:
        notes: what could not be measured in this model, a sentence each. It is NaN in the record, and the training
            goes on.
    Raises:
        TypeError: if ``model`` is no ``nn.Module``, ``every`` neither None nor an integer, ``chance_loss`` neither None
            nor a number, ``loss_falls`` no truth value, or ``on_alarm`` cannot be called.
        ValueError: if the model has no parameters, ``every`` is below 1, or a recorder is entered twice.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        activations: bool = True,
        updates: bool = True,
        histograms: bool = False,
        every: int | None = None,
        chance_loss: float | None = None,
        loss_falls: bool = True,
        on_alarm: Callable[[Diagnosis], object] | None = None,
    ):
        if not isinstance(model, nn.Module):
            raise TypeError(f"Recorder needs a torch.nn.Module, got {model!r}")
        if next(model.parameters(), None) is None:
            raise ValueError(f"{type(model).__name__} has no parameters, so there is no gradient to record")
        if on_alarm is not None and not callable(on_alarm):
            raise TypeError(f"on_alarm must be a function of a Diagnosis, or None, got {on_alarm!r}")
        if not isinstance(loss_falls, bool):
            raise TypeError(f"loss_falls must be True or False, got {loss_falls!r}")
        self.model, self.loss_falls = model, loss_falls
        self.every = None if every is None else whole("every", every)
        unknown = chance_loss is None or chance_loss != chance_loss  # a record has NaN where none was told
        self.chance_loss = None if unknown else number("chance_loss", chance_loss, -math.inf)
        self._watch = Watch(
            model,
            activations=activations,
            updates=updates,
            histograms=histograms,
            every=self.every,
            alarm=None if on_alarm is None else Alarm(on_alarm, lambda: self.record),
        )
        self.notes = self._watch.notes.said

    def __enter__(self) -> "Recorder":
        self._watch.enter()
        return self

    def __exit__(self, *exception: object) -> None:
        self._watch.leave(failed=any(exception))

    @property
    def record(self) -> Record:
        """Everything recorded so far, as arrays; with several processes, of this one's share until the block ends."""
        watch = self._watch
        order = watch.order
        modules = [watch.activations[i] for i in order.activations]
        fields: dict[str, Any] = watch.rows.fields(order)
        loss_kind, guessing = watch.answers.revealed.verdict(fields["told_step"], fields["told_loss"])
        ends = watch.answers.revealed.target_ends(loss_kind, fields["told_step"], fields["told_loss"])
        names = [watch.layers[i].name for i in order.layers]
        finite = watch.finite
        return Record(
            layers=tuple(names),
            activations=tuple(activation.name for activation in modules),
            activation_kinds=tuple(kind(activation.module) for activation in modules),
            chance_loss=math.nan if self.chance_loss is None else float(self.chance_loss),
            last_step=watch.step.number,
            first_bad_loss=watch.losses.first_bad,
            first_bad_input=finite.input,
            first_bad_answer=finite.answer,
            first_bad_weights=finite.weights,
            bad_weights=tuple(name for name in names if name in finite.layers),
            layer_kinds=tuple(kind(watch.layers[i].module or self.model) for i in order.layers),
            answer_rms_before=finite.before,
            loss_kind=loss_kind,
            guessing_loss=guessing,
            target_low=ends[0],
            target_high=ends[1],
            loss_falls=self.loss_falls,
            idle_passes=0 if watch.step.number else watch.idle.passes(),
            **fields,
        )

    def log_loss(self, loss: Tensor | float) -> None:
        """Tell the loss of the coming step. Kept is the mean of all that was told since the last recorded step, and the
        number of the first step whose loss was inf or NaN, recorded or not.

        A loss that is told when the step is done, before the next forward pass, counts for that step there.

        Args:
            loss: a number, or a tensor with one entry.
        Raises:
            TypeError: for what is no real number.
            ValueError: for a tensor with no entry, or with several.
        """
        self._watch.losses.tell(loss, self._watch.step.of_a_loss())

    def capture(self) -> None:
        """Count one step that has no optimiser, and record the gradients as they stand; its update is NaN.

        Raises:
            ValueError: if no parameter has a gradient.
        """
        self._watch.capture()

    @property
    def step(self) -> int:
        """How many training steps were seen, recorded or not."""
        return self._watch.step.number

    _step = step  # what it was called before it was public

    def check(self) -> Diagnosis:
        """The diagnosis so far, in a loop as after it."""
        return diagnose(self.record)

    def __repr__(self) -> str:
        return str(self._summary())

    def _repr_html_(self) -> str:
        return self._summary()._repr_html_()

    def _summary(self) -> Summary:
        return Summary.of(self.record, f"Recorder of {kind(self.model)}", self.notes)


def probe(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss_function: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
) -> Record:
    """One forward and one backward pass, recorded, without a trace. If several processes train the model, all call it.

    Weights, their ``.grad``, the statistics of a batch normalisation and the random generator stay as they were.

    Args:
        model: any module with parameters.
        inputs: what the model takes, first dimension the batch.
        targets: what ``loss_function(model(inputs), targets)`` takes.
    Returns:
        A ``Record`` with one step. Its update norms are NaN.
    Raises:
        TypeError: if ``model`` is no ``nn.Module``.
        ValueError: if the batch is empty, or the model has no parameters.
    """
    recorder = Recorder(model, every=1)  # refuses what has no gradient
    if len(inputs) == 0:
        raise ValueError("probe needs at least one example, got an empty batch")
    gradients = [(p, p.grad) for p in model.parameters()]
    buffers = [(b, b.clone()) for b in model.buffers()]
    gpus = list({p.device for p, _ in gradients if p.is_cuda})
    with recorder, torch.random.fork_rng(devices=gpus):
        try:
            for p, _ in gradients:
                p.grad = None
            loss_function(model(inputs), targets).backward()
            recorder.capture()
        finally:
            for p, gradient in gradients:
                p.grad = gradient
            with torch.no_grad():
                for b, before in buffers:
                    b.copy_(before)
    return recorder.record
