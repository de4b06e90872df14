"""Lab 11: the references, against the package's recorder, autograd, and what was broken on purpose."""

import copy
import math

import pytest
import torch
from torch import nn

from gradclinic import Recorder
from gradclinic.course.data import digits
from gradclinic.course.exercises import instrument
from gradclinic.recorder import probe
from tests.helpers.seeds import every_seed


def _names(model):
    return [name for name, module in model.named_modules() if list(module.parameters(recurse=False))]


def _watched(model, run):
    """What the recorder saw of one step, by the name of the layer."""
    recorder = Recorder(model, every=1)
    with recorder:
        run()
        recorder.capture()
    return recorder.record


@every_seed
def test_outputs_have_the_place_and_the_size_that_the_recorder_finds(seed):
    for model, x in instrument.OUTPUTS.cases(seed):
        rows = instrument.OUTPUTS.reference(*copy.deepcopy((model, x)))
        record = _watched(model, lambda model=model, x=x: model(x).double().square().sum().backward())
        size = dict(zip(record.layers, record.output_rms[0], strict=True))
        order = [name for name in record.layers if not math.isnan(size[name])]
        for name, (place, rms) in zip(_names(model), rows, strict=True):
            if place == 0:
                assert math.isnan(size[name])
                assert rms == 0
            else:
                assert order[place - 1] == name
                assert rms == pytest.approx(size[name], rel=1e-5)


@every_seed
def test_gradients_are_those_that_the_recorder_finds_in_that_pass(seed):
    for model, passes, watched in instrument.GRADIENTS.cases(seed):
        norms = instrument.GRADIENTS.reference(*copy.deepcopy((model, passes, watched)))
        for run in passes[: watched - 1]:
            run(model)
        record = _watched(model, lambda run=passes[watched - 1], model=model: run(model))
        found = dict(zip(record.layers, record.output_gradient_norm[0], strict=True))
        expected = [0.0 if math.isnan(found[name]) else found[name] for name in _names(model)]
        assert norms == pytest.approx(expected, rel=1e-5, abs=0)


@every_seed
def test_gradients_agree_with_autograd_where_each_layer_is_called_once(seed):
    model = instrument.blocks(seed, ill=False)
    data = digits(seed)
    x, y = data.x_train[:8], data.y_train[:8]

    def run(model):
        nn.functional.cross_entropy(model(x), y).backward()

    norms = instrument.GRADIENTS.reference(model, [run], 1)
    outputs = {}
    handles = [
        model.get_submodule(name).register_forward_hook(lambda *call, name=name: outputs.__setitem__(name, call[2]))
        for name in _names(model)
    ]
    loss = nn.functional.cross_entropy(model(x), y)
    for handle in handles:
        handle.remove()
    found = torch.autograd.grad(loss, [outputs[name] for name in _names(model)])
    assert norms == pytest.approx([gradient.norm().item() for gradient in found], rel=1e-4)


@every_seed
def test_updates_are_those_of_the_weights_and_of_the_recorder(seed):
    for model, step in instrument.UPDATES.cases(seed):
        ratios = instrument.UPDATES.reference(*copy.deepcopy((model, step)))
        before = copy.deepcopy(model)
        step(model)
        for name, ratio in zip(_names(model), ratios, strict=True):
            own = [
                torch.cat([p.detach().double().flatten() for p in m.get_submodule(name).parameters(recurse=False)])
                for m in (before, model)
            ]
            moved, size = torch.dist(*own).item(), own[0].square().sum().sqrt().item()
            assert ratio == pytest.approx(0 if moved == 0 else math.inf if size == 0 else moved / size)


@every_seed
def test_who_is_cut_off_is_found_by_looking_at_all_layers_at_once(seed):
    for norms, share in instrument.CUT_OFF.cases(seed):
        lost = norms[:-1] < share * norms[1:]
        if lost.any():
            layer = int(lost.nonzero().max()) + 1
            reached = int((norms[: layer - 1] >= share * norms[layer]).sum())
            assert instrument.CUT_OFF.reference(norms, share) == [layer, reached]
        else:
            assert instrument.CUT_OFF.reference(norms, share) == [0, 0]


@every_seed
def test_the_ill_layer_of_each_patient_is_found_and_a_skip_goes_round_it(seed):
    data = digits(seed)
    x, y = data.x_train[:256], data.y_train[:256]

    def found(model):
        record = probe(model, x, y)
        layer, reached = instrument.CUT_OFF.reference(torch.tensor(record.output_gradient_norm[0]), 0.01)
        return record.layers[layer - 1] if layer else None, reached, layer - 1

    ill = instrument.convolutions(seed)
    (broken,) = [name for name, p in ill.named_parameters() if name.endswith("bias") and (p == 4).all()]
    assert found(ill) == (broken.removesuffix(".bias"), 0, int(broken.removeprefix("layer").removesuffix(".bias")) - 1)
    for norm in ("post", "pre"):
        ill = instrument.blocks(seed, norm=norm)
        (shut,) = [name for name, p in ill.named_parameters() if name.endswith("bias") and (p == -20).all()]
        name, reached, before = found(ill)
        assert name == shut.removesuffix(".bias")
        # in front of the branch, its own normalisation may stand, and has no gradient either
        assert reached == before - (norm == "pre")
    for healthy in (instrument.convolutions(seed, ill=False), instrument.blocks(seed, ill=False)):
        assert found(healthy)[0] is None
