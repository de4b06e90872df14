"""The one that is told of passes and steps, and has the observers measure them."""

from collections.abc import Sequence

import torch
from torch import distributed, nn

from gradclinic.recording.answers import Answers
from gradclinic.recording.clearing import Clearing
from gradclinic.recording.entering import Entering
from gradclinic.recording.finite import Finite, layers_not_finite
from gradclinic.recording.hooks import ModelHooks, in_backward
from gradclinic.recording.idle import Idle
from gradclinic.recording.layers import Layer, layers_of
from gradclinic.recording.looks import Alarm
from gradclinic.recording.losses import Losses
from gradclinic.recording.notes import Notes
from gradclinic.recording.observer import Observer, Order
from gradclinic.recording.optimizers import LISTENERS
from gradclinic.recording.order import ForwardOrder
from gradclinic.recording.outputs import Outputs
from gradclinic.recording.parameters import Parameters, Reading
from gradclinic.recording.ranks import Ranks, active, ranks_of
from gradclinic.recording.rows import Rows
from gradclinic.recording.schedule import due
from gradclinic.recording.settings import Settings
from gradclinic.recording.step import AT_WORK, State, Step
from gradclinic.recording.units import Units, activations_of


class Watch:
    """What a ``Recorder`` does behind its door. README.md says who is who here.

    Args:
        model, activations, updates, histograms, every: as a ``Recorder`` takes them, checked.
        alarm: looks at the record now and then, if somebody wants to be told.
    Attributes:
        layers, activations: what is watched, as the model defines them.
        step: the one that goes on.
        rows: what was recorded.
        losses: what the training has told.
        answers: the model's own input and output.
        finite: since when something is not.
        notes: what could not be measured.
        idle: whether the model ever changes.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        activations: bool,
        updates: bool,
        histograms: bool,
        every: int | None,
        alarm: Alarm | None,
    ):
        self._model, self._every, self._alarm = model, every, alarm
        self.layers = layers_of(model)
        self.activations = activations_of(model) if activations else []
        self.step, self.notes, self.losses = Step(), Notes(), Losses()
        self._parameters = Parameters(self.layers, self.notes, updates, histograms)
        self._clearing = Clearing()
        self._outputs = Outputs(self.layers, self.notes, activations, self._backward_begins)
        self.answers = Answers(self.notes, activations)
        self.finite = Finite(self.notes, lambda: layers_not_finite(self._known))
        self._settings = Settings(self.layers, self.notes)
        units = Units(self.activations, self.notes)
        entering = Entering(self.layers, self.notes, activations)
        self._observers: Sequence[Observer] = (
            *(self._outputs, entering, units, self._parameters),
            *(self._settings, self._clearing, self.answers, self.losses),
        )
        self.rows = Rows(self._observers)
        self._order, self._hooks = ForwardOrder(self.notes), ModelHooks(model, self.notes)
        self._outputs_watched = activations
        self._open = False
        self._ranks: Ranks | None = None
        self._reading: Reading | None = None
        self._stamp: tuple[int, int] | None = None  # of the gradients that the last step has used
        self._news = False  # whether a row was added since the alarm looked
        self.idle = Idle()
        self._know(self.layers)

    def _know(self, layers: Sequence[Layer]) -> None:
        self._find_ranks()
        self._parameters.know(layers, self._ranks)
        self._settings.know(layers)
        self._known = layers

    def _find_ranks(self) -> None:
        self._ranks = None
        with self.notes.guard("what the other ranks saw"):
            self._ranks = ranks_of(self._model)

    @property
    def order(self) -> Order:
        """The layers and activations as the forward pass goes through them."""
        modules = [activation.module for activation in self.activations]
        return Order(self._order.layers(self.layers), self._order.modules(modules))

    # --- the block -----------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Begin to listen.

        Raises:
            ValueError: if it listens already.
        """
        if self._open:
            raise ValueError("this Recorder is already recording; leave its with-block before entering it again")
        layers = layers_of(self._model)
        if [layer.name for layer in layers] == [layer.name for layer in self.layers]:
            self._know(layers)  # fully_shard puts others into the place of those that were there
        self._open = True
        self.idle.begin(layers, self.notes)
        self.step.fresh()
        self.rows.take_back()
        self.rows.new_block()
        self._forget()
        self._put_hooks_on(layers)
        LISTENERS.add(self)
        self._listen()

    def _put_hooks_on(self, layers: Sequence[Layer]) -> None:
        modules = [layer.module for layer in self.layers if layer.module is not None]
        modules += [activation.module for activation in self.activations]
        pairs = [pair for observer in self._observers for pair in observer.hooks()]
        self._hooks.put_on(self._new_pass, self._passed, pairs, modules if self._outputs_watched else ())
        self._order.watch(module for module in modules if self._hooks.reach(module))
        own = [parameter for layer in layers if layer.whole for parameter in layer.parameters]
        if self._outputs_watched and self.step.number == 0 and self._hooks.reach(self._model):
            self._order.watch_use(own, self._outputs.reached)

    def leave(self, failed: bool) -> None:
        """Stop listening; ``failed`` if an exception has ended the block. A collective, unless it has."""
        LISTENERS.remove(self)
        ran = self._outputs.went_back or self.step.passes_seen
        self._forget()
        self.finite.fetch()
        self.finite.look(self.step.number)
        with self.notes.guard("the last step"), torch.no_grad():
            self._add_last_row()
        self._hooks.take_off()
        self._order.unwatch()
        self._parameters.let_go()
        self._reading, self._open = None, False
        if failed:
            return
        if self._ranks is not None and distributed.is_initialized():
            with self.notes.guard("what the other ranks saw"):
                self.rows.join(self._ranks, [layer.name for layer in self.layers])
        if ran and self.step.number == 0:
            self.idle.tell(self.notes)

    # --- passes --------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Have hooks on the layers if the coming step is recorded, and none otherwise."""
        self._hooks.turn(due(self.step.number + 1, self._every))

    def _new_pass(self, module: nn.Module, _inputs: object) -> None:
        if torch.compiler.is_compiling() or module is not self._model or not torch.is_grad_enabled():
            return
        self.step.forward_pass()
        if self._ranks is None and active() is not None:
            self._find_ranks()  # from the module inside, what is around it can only be seen while it runs
        if not self._hooks.on or in_backward():
            return
        if self._outputs.went_back and not self._parameters.any_gradient():
            self._forget()  # its gradients were thrown away, so no step came of that pass: a loss scaler saw inf
        for observer in self._observers:
            observer.new_pass()

    def _backward_begins(self) -> None:
        self._clearing.backward_begins()
        if self.step.number == 0:
            self.idle.backward_begins()

    def _passed(self, module: nn.Module, inputs: object, keywords: object, output: object) -> None:
        if module is not self._model or not torch.is_grad_enabled() or torch.compiler.is_compiling() or in_backward():
            return
        self.finite.see(self.step.number + 1, inputs, keywords, output)
        if self._hooks.on:
            self.answers.passed(self.step.number + 1, inputs, keywords, output)

    def _forget(self) -> None:
        for observer in self._observers:
            observer.forget()

    # --- steps ---------------------------------------------------------------------------------------------------

    def before_step(self, optimizer: torch.optim.Optimizer, closure: bool) -> None:
        if not self._parameters.concern(optimizer):
            return
        self.idle.concerned, self._reading = True, None
        # a fused optimiser unscales, and leaves a step out, by itself
        found_inf = getattr(optimizer, "found_inf", None)
        self.step.begins(id(optimizer), left_out=found_inf is not None and bool(found_inf))
        if self.step.state is State.SKIPPING:
            return
        joins = self.step.state is State.JOINING
        wanted = joins and self.rows.has(self.step.number)
        if not joins or closure:  # a closure may run a pass, and the step is one of its own then
            wanted = wanted or due(self.step.number + 1, self._every)
        if wanted:
            with self.notes.guard("a step"), torch.no_grad():
                self._reading = self._parameters.before(optimizer, joins, closure)
                self._settings.see(optimizer)
                self._clearing.know(optimizer, self._parameters.given(self._reading))
        else:
            self._stamp = self._parameters.gradient_stamp()

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        if not self._parameters.concern(optimizer):
            return
        was = self.step.ends(id(optimizer))
        if was is State.SKIPPING:
            self._forget()
            return
        reading, self._reading = self._reading, None
        joins, number = was is State.JOINING, self.step.number
        if reading is not None and (self.rows.has(number) if joins else due(number, self._every)):
            with self.notes.guard("a step"), torch.no_grad():
                self._parameters.after(reading, joins)
                self._clearing.stepped(optimizer)
                if joins:
                    self.rows.change_last(self._parameters, self._ranks)
                    self.rows.change_last(self._settings, self._ranks)
                else:
                    self._add_row()
        self._listen()

    def capture(self) -> None:
        """Count a step without an optimiser.

        Raises:
            ValueError: if no parameter has a gradient.
        """
        if not self._parameters.any_gradient():
            raise ValueError(
                f"no parameter of {type(self._model).__name__} has a gradient: call loss.backward() before capture()"
            )
        self.step.captured()
        if due(self.step.number, self._every):
            with self.notes.guard("a captured step"), torch.no_grad():
                self._parameters.stand()
                self._add_row()
        else:
            self._stamp = self._parameters.gradient_stamp()
        if self._open:
            self._listen()
        self.speak()

    def speak(self) -> None:
        """Sound the alarm if it is time to: of several processes in the first only. What a handler raises goes on."""
        news, self._news = self._news, False
        if not news or self._alarm is None or (self._ranks is not None and not self._ranks.chief):
            return
        broken = self.rows.broken() or self.losses.first_bad is not None
        self._alarm.speak(self.step.number, broken, self.notes)

    # --- rows ----------------------------------------------------------------------------------------------------

    def _add_row(self) -> None:
        self.finite.fetch()
        self.rows.add(self.step.number, self._ranks)
        self.losses.written()
        self._order.settled()
        self._forget()
        self._news = True

    def _add_last_row(self) -> None:
        """The last step of a block gets a row in any case, of what can still be read: it may be the last of all."""
        if self.step.number == 0 or self.rows.has(self.step.number) or self.step.state in AT_WORK:
            return
        unchanged = self._stamp is not None and self._stamp == self._parameters.gradient_stamp()
        self._parameters.stand(gradients=unchanged and self.step.state is not State.PASSED)
        self.rows.add(self.step.number, self._ranks, provisional=True)
