"""Wrong answers made from a right one: its code with one thing changed, or what it is given, or what it returns."""

import ast
import copy
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import torch

from tests.helpers import ROOT

Mutant = tuple[str, Callable[..., Any]]

OPERATORS = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
}
COMPARISONS = {
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Eq: (ast.NotEq,),
}
NAMES = {
    "mean": "sum",
    "sum": "mean",
    "max": "min",
    "min": "max",
    "all": "any",
    "any": "all",
    "argmax": "argmin",
    "sqrt": "exp",
    "square": "abs",
    "log": "log10",
    "floor": "ceil",
    "tanh": "sigmoid",
    "sigmoid": "tanh",
    "zeros": "ones",
    "ones": "zeros",
    "svdvals": "eigvalsh",
    "std": "var",
    "var": "std",
    "bincount": "unique",
    "quantile": "nanmean",
    "isfinite": "isnan",
    "square_": "abs_",
}


# --- of its code -----------------------------------------------------------------------------------------------------


@functools.cache
def _code(lab: str) -> list[ast.stmt]:
    notebook = json.loads((ROOT / "solutions" / lab / f"{lab}.ipynb").read_text())
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [statement for source in sources if "%" not in source[:300] for statement in ast.parse(source).body]


def model_answer(lab: str, name: str) -> tuple[ast.FunctionDef, dict[str, Any]]:
    """The function in the lab's solution, and the names that it may use: imports, and what is computed for it."""
    (function,) = (s for s in _code(lab) if isinstance(s, ast.FunctionDef) and s.name == name)
    used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    world: dict[str, Any] = {}
    for statement in _code(lab):
        named = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        numbers = (
            isinstance(statement, (ast.Assign, ast.AugAssign)) and {"gauss_points", "gauss_weights"} & named & used
        )
        if isinstance(statement, (ast.Import, ast.ImportFrom)) or numbers:
            exec(compile(ast.Module([statement], []), "solution", "exec"), world)
    return function, world


class Endless(Exception):
    """A mutant goes on and on."""


class Turns:
    """Of the loops in one call: how many there may be, and the most that there were."""

    def __init__(self) -> None:
        self.allowed, self.most, self._taken = 20_000, 0, 0

    def begin(self) -> None:
        self._taken = 0

    def turn(self) -> None:
        self._taken += 1
        self.most = max(self.most, self._taken)
        if self._taken > self.allowed:
            raise Endless


def made(function: ast.FunctionDef, world: dict[str, Any], turns: Turns) -> Callable[..., Any]:
    """The function, with an end to each of its loops."""

    guarded = copy.deepcopy(function)
    for node in ast.walk(guarded):
        if isinstance(node, (ast.While, ast.For)):
            node.body.insert(0, ast.parse("_turn()").body[0])
    namespace = {**world, "_turn": turns.turn}
    exec(compile(ast.fix_missing_locations(ast.Module([guarded], [])), "mutant", "exec"), namespace)

    def call(*arguments: Any) -> Any:
        turns.begin()
        return namespace[function.name](*arguments)

    return call


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of one expression."""
    if isinstance(node, ast.BinOp):
        for other in OPERATORS.get(type(node.op), ()):
            yield ast.BinOp(node.left, other(), node.right)
        yield node.left
        yield node.right
        if isinstance(node.op, (ast.Sub, ast.Div, ast.Pow, ast.MatMult)):
            yield ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.Compare):
        for other in COMPARISONS.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [other()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield from node.values
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)
        if node.value not in (0, 1):
            yield ast.Constant(node.value / 2)
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):
            if node.func.attr in NAMES:
                yield ast.Call(
                    ast.Attribute(node.func.value, NAMES[node.func.attr], ast.Load()), node.args, node.keywords
                )
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "math", "nn")):
                yield node.func.value
        if node.args:
            yield node.args[0]
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value


def _statements(body: list[ast.stmt]) -> Iterator[tuple[list[ast.stmt], int]]:
    for i, statement in enumerate(body):
        yield body, i
        for field in ("body", "orelse"):
            yield from _statements(getattr(statement, field, []))


def of_code(function: ast.FunctionDef, world: dict[str, Any], turns: Turns) -> Iterator[Mutant]:
    """The function with one expression changed, one statement left out, or one element fewer in a loop."""
    places = [
        (number, field, index)
        for number, node in enumerate(ast.walk(function))
        for field, value in ast.iter_fields(node)
        for index in (range(len(value)) if isinstance(value, list) else (None,))
        if isinstance(value[index] if index is not None else value, ast.expr)
    ]
    for number, field, index in places:
        node = list(ast.walk(function))[number]
        value = getattr(node, field)
        for change in _changes(value if index is None else value[index]):
            twin = copy.deepcopy(function)
            place = list(ast.walk(twin))[number]
            old = getattr(place, field) if index is None else getattr(place, field)[index]
            label = f"{ast.unparse(old)} becomes {ast.unparse(change)}"
            if index is None:
                setattr(place, field, copy.deepcopy(change))
            else:
                getattr(place, field)[index] = copy.deepcopy(change)
            yield label, made(twin, world, turns)
    for number in range(len(list(_statements(function.body)))):
        twin = copy.deepcopy(function)
        body, i = list(_statements(twin.body))[number]
        label = f"without {ast.unparse(body[i]).splitlines()[0]}"
        body[i] = ast.Pass()
        yield label, made(twin, world, turns)
    for number in range(sum(isinstance(node, ast.For) for node in ast.walk(function))):
        for piece in ("1:", ":-1", "::-1"):
            twin = copy.deepcopy(function)
            loop = [node for node in ast.walk(twin) if isinstance(node, ast.For)][number]
            label = f"loop over ({ast.unparse(loop.iter)})[{piece}]"
            loop.iter = ast.parse(f"list({ast.unparse(loop.iter)})[{piece}]", mode="eval").body
            yield label, made(twin, world, turns)


# --- of what it is given, and of what it returns ---------------------------------------------------------------------


def _each(change: Callable[[torch.Tensor], Any], value: Any) -> Any:
    """Of each tensor and number in a nested list."""
    if isinstance(value, (list, tuple)):
        return [_each(change, part) for part in value]
    return change(torch.as_tensor(value).detach())


def _averaged(answer: Any) -> Any:
    """The mean in the place of each number: of a list of numbers, or of each tensor in it."""
    if isinstance(answer, list) and all(torch.as_tensor(part).ndim == 0 for part in answer):
        return [sum(float(part) for part in answer) / len(answer)] * len(answer)
    return _each(lambda part: part.double().mean().expand(part.shape), answer)


GIVEN: dict[str, tuple[tuple[type, ...], Callable[[Any], Any]]] = {
    "absolute": ((int, float, torch.Tensor), abs),
    "rounded": ((float,), lambda value: round(value, 1)),
    "held below 1": ((int, float), lambda value: min(value, 1.0)),
    "held above 0.1": ((int, float), lambda value: max(value, 0.1)),
    "half of it": ((list, torch.Tensor), lambda value: value[: (len(value) + 1) // 2]),
    "without its last": ((list, torch.Tensor), lambda value: value[:-1]),
    "without its first": ((list, torch.Tensor), lambda value: value[1:]),
    "backwards": ((list, torch.Tensor), lambda value: value[::-1] if isinstance(value, list) else value.flip(0)),
}
RETURNED: dict[str, Callable[[Any], Any]] = {
    "negated": lambda answer: _each(lambda part: -part.double(), answer),
    "absolute": lambda answer: _each(lambda part: part.abs(), answer),
    "plus one": lambda answer: _each(lambda part: part + 1, answer),
    "twice": lambda answer: _each(lambda part: 2 * part, answer),
    "squared": lambda answer: _each(lambda part: part.double() ** 2, answer),
    "root": lambda answer: _each(lambda part: part.double().abs().sqrt(), answer),
    "backwards": lambda answer: answer[::-1] if isinstance(answer, list) else answer.flip(0),
    "mean of it": _averaged,
    "rounded": lambda answer: _each(lambda part: part.double().round(decimals=1), answer),
    "at most 1": lambda answer: _each(lambda part: part.clamp_max(1), answer),
}


def of_values(right: Callable[..., Any], first: tuple[Any, ...]) -> Iterator[Mutant]:
    """``first`` are the arguments of some try: an argument that is taken from there is one that is not looked at."""
    answer = right(*copy.deepcopy(first))
    single = not isinstance(answer, list) and torch.as_tensor(answer).ndim == 0
    for place in range(len(first)):
        for name, (kinds, change) in GIVEN.items():
            if not isinstance(first[place], kinds):
                continue

            def given(*arguments: Any, place: int = place, change: Callable[[Any], Any] = change) -> Any:
                return right(*arguments[:place], change(arguments[place]), *arguments[place + 1 :])

            yield f"argument {place + 1} {name}", given

        def elsewhere(*arguments: Any, place: int = place) -> Any:
            return right(*arguments[:place], copy.deepcopy(first[place]), *arguments[place + 1 :])

        yield f"argument {place + 1} not looked at", elsewhere
    for name, change in RETURNED.items():
        if single and name in ("backwards", "mean of it"):
            continue  # of one number that is the number
        yield f"answer {name}", lambda *arguments, change=change: change(right(*arguments))


def of_writing(right: Callable[..., Any]) -> Iterator[Mutant]:
    """Answers after everything that was given has been written over: what is compared with must not move along."""

    def emptied(value: Any) -> None:
        for tensor in value.parameters() if isinstance(value, torch.nn.Module) else [value]:
            if isinstance(tensor, torch.Tensor):
                tensor.detach().zero_()
                if tensor.is_leaf and tensor.grad is not None:
                    tensor.grad.zero_()
        for part in value if isinstance(value, list) else ():
            emptied(part)

    def cleared(*arguments: Any) -> Any:
        for argument in arguments:
            emptied(argument)
        return right(*arguments)

    def zeros(*arguments: Any) -> Any:
        answer = right(*copy.deepcopy(arguments))
        for argument in arguments:
            emptied(argument)
        return _each(torch.zeros_like, answer)

    yield "everything that was given set to 0", cleared
    yield "everything set to 0, and 0 returned", zeros
