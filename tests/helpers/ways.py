"""Many ways of writing the same answer in a notebook: code cells that stand between the lab's imports and its check.

Where the cells hold a check themselves, none is put after them. Which of them get a ✓ at home is not written here: a
real shell is asked (``tests/helpers/athome.py``).
"""

from collections.abc import Sequence

IMPORTS = """import torch
from torch import nn
from gradclinic.course.data import digits
from gradclinic.course.exercises.gradient_descent import check
from gradclinic.course.models import MLP

torch.set_num_threads(1)
data = digits()"""
CHECK = "check.step(step)"
RETURN = "return weight - learning_rate * gradient"
STEP = f"def step(weight, gradient, learning_rate):\n    {RETURN}"
MOVED = "def moved(weight, change):\n    return weight - change"
BY_MOVED = "def step(weight, gradient, learning_rate):\n    return moved(weight, learning_rate * gradient)"
WRONG = "def step(weight, gradient, learning_rate):\n    return weight + learning_rate * gradient"


def step(*lines: str) -> str:
    """The function, with this body."""
    return "\n    ".join(("def step(weight, gradient, learning_rate):", *lines))


def by_name() -> dict[str, list[str]]:
    """All of them, the odd ones too."""
    from tests.helpers.file_ways import FILES  # which stand on this file
    from tests.helpers.odd_ways import ODD

    return WAYS | ODD | FILES


def notebook(cells: Sequence[str]) -> list[str]:
    """The code cells of a whole notebook."""
    return [IMPORTS, *cells, *([] if any("check." in cell for cell in cells) else [CHECK])]


BY_TABLE = step("return weight + table[3] * learning_rate * gradient")
BY_TOOLS = step("return Tools.move(weight, learning_rate * gradient)")
BY_HELPERS = step("return helpers[0](weight, learning_rate * gradient)")
BY_SIGN = step("return weight + sign * learning_rate * gradient")
BY_RULE = BY_SIGN.replace("sign", "rule.sign")
REGISTER = "helpers = []\ndef register(f):\n    helpers.append(f)\n    return f"

WAYS: dict[str, list[str]] = {
    # plain, and with what frontends add
    "plain": [STEP],
    "a lambda": ["step = lambda weight, gradient, learning_rate: weight - learning_rate * gradient"],
    "display inside": [step("display(weight.shape)", "return weight - learning_rate * gradient")],
    "display by import": ["from IPython.display import display as show_it", step("show_it(gradient)", RETURN)],
    "a shell's output kept": ["listed = !ls", STEP],
    "a shell's output used": ["listed = !true", step("return weight - (len(listed) + 1) * learning_rate * gradient")],
    "a line that begins with %": [step("n = (7", "% 2)", "return weight - n * learning_rate * gradient")],
    "a line magic inside": [step("%matplotlib inline", "return weight - learning_rate * gradient")],
    "%%time": ["%%time\n" + STEP],
    "%%capture": ["%%capture\nprint('x')\n" + STEP],
    "%%capture that is kept": ["%%capture said\n" + STEP, "said.show()"],
    "%%time over %%capture": ["%%time\n%%capture\n" + STEP],
    "%time of an assignment": ["%time sign = -1", BY_SIGN],
    "%%timeit of another name": [STEP, "%%timeit -n 1 -r 1\nstep = None"],
    "%%bash beside": ["%%bash\ntrue", STEP],
    "%%html beside": ["%%html\n<b>x</b>", STEP],
    "a question": [STEP, "step?", "?step"],
    "autoreload": ["%load_ext autoreload\n%autoreload 2", STEP],
    "prompts copied": [
        ">>> def step(weight, gradient, learning_rate):\n...     return weight - learning_rate * gradient"
    ],
    "the whole cell indented": ["    " + STEP.replace("\n", "\n    ")],
    "get_ipython beside": ["get_ipython().run_line_magic('matplotlib', 'inline')\n" + STEP],
    "get_ipython imported": [
        "from IPython import get_ipython\nget_ipython().run_line_magic('time', 'sign = -1')",
        BY_SIGN,
    ],
    "get_ipython pushes": ["get_ipython().push({'sign': -1})", BY_SIGN],
    "get_ipython runs a cell": ["get_ipython().run_cell('sign = -1')", BY_SIGN],
    "the shell's names": ["get_ipython().user_ns['sign'] = -1", BY_SIGN],
    "a line magic inside an if": ["if True:\n    %time sign = -1", BY_SIGN],
    # tables, attributes, registers
    "a table filled in a loop": ["table = {}\nfor n in range(5):\n    table[n] = -(n == 3)", BY_TABLE],
    "a list filled in a loop": ["table = []\nfor n in range(5):\n    table.append(-1)", BY_TABLE],
    "a table filled with while": ["table, n = {}, 0\nwhile n < 5:\n    table[n] = -1\n    n += 1", BY_TABLE],
    "a table updated": ["table = dict.fromkeys(range(5), 1)", "table.update({3: -1})", BY_TABLE],
    "a table by setdefault": ["table = {}\nunused = table.setdefault(3, -1)", BY_TABLE],
    "a table by |=": ["table = {}\ntable |= {3: -1}", BY_TABLE],
    "an item deleted": ["table = [0, 0, 0, 5, -1]\ndel table[3]", BY_TABLE],
    "an item added to": ["table = [0] * 5\ntable[3] -= 1", BY_TABLE],
    "items swapped": ["table = [0, 0, -1, 0]\ntable[2], table[3] = table[3], table[2]", BY_TABLE],
    "a table of tables": ["tables = {'a': {}}\ntables['a'][3] = -1", BY_TABLE.replace("table[3]", "tables['a'][3]")],
    "a table by another name": ["table = {}\nother = table\nother[3] = -1", BY_TABLE],
    "a part of a table by another name": [
        "tables = {'a': {}}\ninner = tables['a']\ninner[3] = -1",
        BY_TABLE.replace("table[3]", "tables['a'][3]"),
    ],
    "a comprehension that appends": ["table = []\n[table.append(-1) for _ in range(5)]", BY_TABLE],
    "a table filled by a function": ["table = {}\ndef fill():\n    table[3] = -1\nfill()", BY_TABLE],
    "a table filled through an argument": ["table = {}\ndef fill(some):\n    some[3] = -1\nfill(table)", BY_TABLE],
    "a table filled by functions of functions": [
        "table = {}\ndef put(n):\n    table[n] = -1\ndef fill():\n    for n in range(5):\n        put(n)",
        "fill()",
        BY_TABLE,
    ],
    "a table filled through a default": ["table = {}\ndef fill(n, some=table):\n    some[n] = -1\nfill(3)", BY_TABLE],
    "a table filled through map": ["table = []\nunused = list(map(table.append, [-1] * 5))", BY_TABLE],
    "a tensor changed in place": ["table = torch.ones(5)", "table.neg_()", BY_TABLE],
    "a tensor filled by torch": ["table = torch.ones(5)\nnn.init.constant_(table, -1)", BY_TABLE],
    "a tensor changed in part": ["table = torch.ones(5)\ntable[2:4] = -1", BY_TABLE],
    "an attribute": ["class Tools:\n    pass\n" + MOVED, "Tools.move = moved", BY_TOOLS],
    "an attribute by setattr": ["class Tools:\n    pass\n" + MOVED, "setattr(Tools, 'move', moved)", BY_TOOLS],
    "an attribute of a namespace": [
        "from types import SimpleNamespace\nTools = SimpleNamespace()\n" + MOVED,
        "Tools.move = moved",
        BY_TOOLS,
    ],
    "a class attribute": ["class Tools:\n    move = staticmethod(lambda weight, change: weight - change)", BY_TOOLS],
    "a class method by itself": [
        "class Tools:\n    @classmethod\n    def move(cls, weight, change):\n        return cls.less(weight, change)",
        "Tools.less = staticmethod(lambda a, b: a - b)",
        BY_TOOLS,
    ],
    "an attribute of the function": [step("return weight + step.sign * learning_rate * gradient"), "step.sign = -1"],
    "an attribute of a library": [
        "torch.sign_of_mine = -1",
        step("return weight + torch.sign_of_mine * learning_rate * gradient"),
    ],
    "helpers appended": ["helpers = []\n" + MOVED, "helpers.append(moved)", BY_HELPERS],
    "helpers added with +=": ["helpers = []\n" + MOVED, "helpers += [moved]", BY_HELPERS],
    "helpers registered": [REGISTER, MOVED, "register(moved)", BY_HELPERS],
    "helpers registered by a decorator": [REGISTER, "@register\n" + MOVED, BY_HELPERS],
    "helpers registered by a lambda": [
        "helpers = []\nregister = lambda f: helpers.append(f) or f",
        "@register\n" + MOVED,
        BY_HELPERS,
    ],
    "helpers registered by append itself": ["helpers = []\n@helpers.append\n" + MOVED, BY_HELPERS],
    "helpers registered by an object": [
        "helpers = []\nclass Registry:\n    def note(self, f):\n        helpers.append(f)\nregistry = Registry()",
        MOVED + "\nregistry.note(moved)",
        BY_HELPERS,
    ],
    "helpers registered by a subclass": [
        "helpers = []\nclass Base:\n    def __init_subclass__(cls):\n        helpers.append(cls.move)",
        "class Mine(Base):\n    def move(weight, change):\n        return weight - change",
        BY_HELPERS,
    ],
    "helpers held by an object": [
        (
            "class Registry:\n    def __init__(self, kept):\n"
            "        self.kept = kept\n    def note(self, f):\n        self.kept.append(f)"
        ),
        "helpers = []\nregistry = Registry(helpers)\n" + MOVED + "\nregistry.note(moved)",
        BY_HELPERS,
    ],
    "helpers by name": [MOVED, step("return globals()['moved'](weight, learning_rate * gradient)")],
    # names
    "a helper above": [MOVED, BY_MOVED],
    "a helper in the same cell, below": [BY_MOVED + "\n\n" + MOVED],
    "a helper in another cell, below": [BY_MOVED, MOVED],
    "a helper in another cell, after the check, run before": [MOVED, BY_MOVED, CHECK, "moved = None"],
    "a helper made again for another exercise": [MOVED, BY_MOVED, CHECK, "def moved(x):\n    return x"],
    "a constant taken for something else later": ["sign = -1", BY_SIGN, CHECK, "for sign in (1, 2):\n    pass"],
    "the name taken for a number later": [STEP, CHECK, "for step in range(3):\n    pass"],
    "the name assigned a number later": [STEP, CHECK, "step = 3"],
    "the name deleted later": [STEP, CHECK, "del step"],
    "written twice, the second right": [WRONG, STEP],
    "written twice in a cell": [WRONG + "\n\n" + STEP],
    "written again and checked again": [WRONG, CHECK, STEP, CHECK],
    "a first try deleted": [WRONG + "\ndel step", STEP],
    "a star import": ["from torch import *", step("return sub(weight, gradient, alpha=learning_rate)")],
    "a star import that brings a name": [
        "sub = None\nfrom torch import *",
        step("return sub(weight, gradient * learning_rate)"),
    ],
    "an import in the cell": ["import operator as o\n" + step("return o.sub(weight, learning_rate * gradient)")],
    "an import of a part": ["import torch.nn.functional", step("torch.nn.functional.relu(weight)", RETURN)],
    "an import that fails beside": [
        "try:\n    import no_such_module\nexcept ImportError:\n    no_such_module = None",
        STEP,
    ],
    "an import that may fail": [
        "try:\n    from nowhere import move\nexcept ImportError:\n    def move(a, b):\n        return a - b",
        step("return move(weight, learning_rate * gradient)"),
    ],
    "global": ["sign = 1\ndef turn():\n    global sign\n    sign = -sign\nturn()", BY_SIGN],
    "global inside the function": [step("global kept", "kept = learning_rate * gradient", "return weight - kept")],
    "a counter": ["calls = 0", step("global calls", "calls += 1", "return weight - learning_rate * gradient")],
    "a memory": [
        "seen = {}",
        step("seen[learning_rate] = gradient", "return weight - learning_rate * seen[learning_rate]"),
    ],
    "an augmented assignment": ["sign = 1\nsign -= 2", BY_SIGN],
    "a tuple assignment": ["(sign, other), *rest = (-1, 2), 3", BY_SIGN],
    "a chained assignment": ["a = sign = -1", BY_SIGN],
    "a walrus": ["print(sign := -1)", BY_SIGN],
    "a walrus in a comprehension": ["[sign := n for n in (1, -1)]", BY_SIGN],
    "an annotated name": ["sign: int = -1", BY_SIGN],
    "an annotated name first": ["sign: int\nsign = -1", BY_SIGN],
    "annotations that are no names": [
        "from __future__ import annotations",
        "def step(weight: Tensor, gradient: Tensor, learning_rate: float) -> Tensor:\n"
        "    return weight - learning_rate * gradient",
    ],
    "with": ["import contextlib\nwith contextlib.suppress(KeyError):\n    sign = -1\n    {}['x']", BY_SIGN],
    "with, a name bound": ["import contextlib\nwith contextlib.nullcontext(-1) as sign:\n    pass", BY_SIGN],
    "try": ["try:\n    sign = 1 / 0\nexcept ZeroDivisionError:\n    sign = -1", BY_SIGN],
    "try, finally": ["try:\n    pass\nfinally:\n    sign = -1", BY_SIGN],
    "if": ["if torch.cuda.is_available() or True:\n    " + STEP.replace("\n", "\n    ")],
    "if __name__": ["if __name__ == '__main__':\n    sign = -1", BY_SIGN],
    "match": ["match -1:\n    case sign:\n        pass", BY_SIGN],
    "for, else": ["for n in []:\n    pass\nelse:\n    sign = -1", BY_SIGN],
    "globals()": ["globals()['sign'] = -1", BY_SIGN],
    "globals().update": ["globals().update(sign=-1)", BY_SIGN],
    "globals() in a loop": ["for name in ('sign', 'other'):\n    globals()[name] = -1", BY_SIGN],
    "globals() in a function": ["def give(name, value):\n    globals()[name] = value\ngive('sign', -1)", BY_SIGN],
    "vars()": ["vars()['sign'] = -1", BY_SIGN],
    "exec": ["exec('sign = -1')", BY_SIGN],
    "exec of made code": ["for name, value in {'sign': -1}.items():\n    exec(f'{name} = {value}')", BY_SIGN],
    "exec of the function": ["exec('''" + STEP + "''')"],
    "sys.modules": ["import sys\nsetattr(sys.modules[__name__], 'sign', -1)", BY_SIGN],
    "__main__": ["import __main__\n__main__.sign = -1", BY_SIGN],
    "await": [
        "import asyncio\nasync def fetch():\n    await asyncio.sleep(0)\n    return -1\nsign = await fetch()",
        BY_SIGN,
    ],
    # wrapped and built
    "functools.cache": [
        "import functools\n@functools.cache\ndef sign():\n    return -1",
        BY_SIGN.replace("sign", "sign()"),
    ],
    "partial": [
        (
            "import functools\ndef any_step(sign, w, g, lr):\n"
            "    return w + sign * lr * g\nstep = functools.partial(any_step, -1)"
        )
    ],
    "a decorator": [
        "def twice(f):\n    def both(*given):\n        f(*given)\n        return f(*given)\n    return both",
        "@twice\n" + STEP,
    ],
    "a decorator with arguments": [
        "def turned(by):\n    return lambda f: lambda w, g, lr: f(w, by * g, lr)",
        "@turned(-1)\n" + WRONG,
    ],
    "a decorator of a library": ["@torch.no_grad()\n" + STEP],
    "a decorator that knows the source": [
        "@torch.jit.script\ndef move(weight: torch.Tensor, change: torch.Tensor):\n    return weight - change",
        step("return move(weight, learning_rate * gradient)"),
    ],
    "its own source": ["import inspect", step("assert 'weight' in inspect.getsource(step)", RETURN)],
    "a callable object": ["class Step:\n    def __call__(self, w, g, lr):\n        return w - lr * g", "step = Step()"],
    "a bound method": [
        "class Descent:\n    def move(self, w, g, lr):\n        return w - lr * g",
        "step = Descent().move",
    ],
    "a static method": [
        "class Descent:\n    @staticmethod\n    def move(w, g, lr):\n        return w - lr * g",
        "step = Descent.move",
    ],
    "a closure": [
        "def made(sign):\n    def step(w, g, lr):\n        return w + sign * lr * g\n    return step",
        "step = made(-1)",
    ],
    "wrapped later": [WRONG, "wrong = step\nstep = lambda w, g, lr: wrong(w, -g, lr)"],
    "wrapped in the same name": [
        STEP,
        "import functools\nstep = functools.wraps(step)(lambda *given, inner=step: inner(*given))",
    ],
    "a dataclass": [
        "from dataclasses import dataclass\n@dataclass\nclass Rule:\n    sign: int = -1\nrule = Rule()",
        BY_RULE,
    ],
    "a dataclass, annotations as text": [
        "from __future__ import annotations\nfrom dataclasses import dataclass",
        "@dataclass\nclass Rule:\n    sign: int = -1\nrule = Rule()",
        BY_RULE,
    ],
    "an enum": ["import enum\nclass Sign(enum.IntEnum):\n    DOWN = -1", BY_SIGN.replace("sign", "Sign.DOWN")],
    "a named tuple": [
        "from typing import NamedTuple\nclass Rule(NamedTuple):\n    sign: int = -1\nrule = Rule()",
        BY_RULE,
    ],
    "a module of nn": [
        "class Step(nn.Module):\n    def forward(self, w, g, lr):\n        return w - lr * g",
        "step = Step()",
    ],
    "a generator": ["signs = iter([1, -1])\nnext(signs)\nsign = next(signs)", BY_SIGN],
    "a singledispatch": [
        "import functools\n@functools.singledispatch\ndef move(w, change):\n    raise TypeError",
        "@move.register\ndef _(w: torch.Tensor, change):\n    return w - change",
        step("return move(weight, learning_rate * gradient)"),
    ],
    "a patched class": [
        "class Tools:\n    def move(self, a, b):\n        return a + b",
        "def less(self, a, b):\n    return a - b\nTools.move = less",
        step("return Tools().move(weight, learning_rate * gradient)"),
    ],
    # what it does to its arguments, and what it returns
    "in place": [step("weight -= learning_rate * gradient", "return weight")],
    "in place by torch": [step("return weight.sub_(gradient.mul_(learning_rate))")],
    "an optimizer": [
        step(
            "p = nn.Parameter(weight)", "p.grad = gradient", "torch.optim.SGD([p], lr=learning_rate).step()", "return p"
        )
    ],
    "no_grad": [step("with torch.no_grad():", "    return weight - learning_rate * gradient")],
    "numpy": ["import numpy as np", step("return weight.numpy() - learning_rate * np.asarray(gradient)")],
    "lists": [step("return (weight - learning_rate * gradient).tolist()")],
    "half precision of the sum": [step("return (weight.double() - learning_rate * gradient.double())")],
    "a list of tensors": [step("return list(weight - learning_rate * gradient)")],
    "prints": [step("print(weight)", "return weight - learning_rate * gradient")],
    "a figure inside": ["import matplotlib.pyplot as plt", step("plt.figure()", "plt.close()", RETURN)],
    "a progress bar inside": ["from tqdm.auto import tqdm", step("for _ in tqdm(range(2)): pass", RETURN)],
    "warnings": ["import warnings\nwarnings.simplefilter('ignore')", step("warnings.warn('x')", RETURN)],
    "warnings that are errors": ["import warnings\nwarnings.simplefilter('error')", STEP],
    "a default taken from above": [
        "rate = 1.0",
        (
            "def step(weight, gradient, learning_rate, factor=rate):\n"
            "    return weight - factor * learning_rate * gradient"
        ),
    ],
    "a setting of torch": [
        "torch.set_default_dtype(torch.float64)",
        step("one = torch.ones(())", "assert one.dtype == torch.float64", RETURN),
    ],
    "recursion limit": [
        "import sys\nsys.setrecursionlimit(5000)",
        step("def down(n):", "    return n if n == 0 else down(n - 1)", "down(3000)", RETURN),
    ],
    "experiments with it": [
        STEP,
        "w = torch.ones(3)\nfor _ in range(10):\n    w = step(w, w, 0.1)\nprint(w)",
        "losses = [step(w, w, .1) for _ in range(3)]",
    ],
    "a bare error below it": [STEP + "\n1 / 0"],
    "sys.exit beside": ["import sys\nsys.exit()", STEP],
    "left in the middle of a cell": [STEP + "\nraise SystemExit\n" + WRONG],
    "a cell that is not Python beside": ["this is not Python", STEP],
    "a cell with return": ["sign = -1\nreturn 5", BY_SIGN],
    "the check in a cell of one's own": [STEP + "\nok = check.step(step)"],
    "the check in a try": [
        "try:\n    " + STEP.replace("\n", "\n    ") + "\n    check.step(step)\nexcept ValueError:\n    pass"
    ],
    "tabs": [STEP.replace("    ", "\t")],
    "Windows line ends": [STEP.replace("\n", "\r\n")],
    "names with accents": ["zurück = -1", BY_SIGN.replace("sign", "zurück")],
    "a comment with quotes": ['# it\'s "fine"\n' + STEP + "  # ?!"],
    "a semicolon": ["sign = 1; sign = -1;", BY_SIGN],
    # wrong ones
    "wrong": [WRONG],
    "wrong, right in a cell that is not Python": [STEP + "\n)", WRONG],
    "a cell that is not Python": [STEP + "\n)"],
    "wrong, made again by a %%timeit": [WRONG, "%%timeit -n 1 -r 1\n" + STEP],
    "wrong, right in a %%bash": [WRONG, "%%bash\n" + STEP],
    "written twice, the first right": [STEP, WRONG],
    "wrong since a table was changed": ["table = [-1] * 5", BY_TABLE, "table[3] = 1"],
    "wrong since a table was changed by another name": ["table = [-1] * 5\nother = table", BY_TABLE, "other[3] = 1"],
    "wrong since a name was": ["sign = -1", BY_SIGN, "sign = 1"],
    "wrong since a loop changed a name": ["sign = -1", BY_SIGN, "for sign in (1, 2):\n    pass"],
    "wrong since a helper is missing": [BY_MOVED],
    "wrong since it was deleted": [STEP, "del step"],
    "wrong since it was taken for a number": [STEP, "step = 3"],
    "wrong since a line magic is called a name": [step("return weight - learning_rate * matplotlib")],
    "wrong since an attribute was changed": [
        "class Tools:\n    pass\n" + MOVED,
        "Tools.move = moved",
        BY_TOOLS,
        "Tools.move = max",
    ],
    "wrong since a helper was registered first": [
        "helpers = []\nhelpers.append(max)\n" + MOVED,
        "helpers.append(moved)",
        BY_HELPERS,
    ],
    "wrong since torch was changed": [
        "torch.sign_of_mine = -1",
        step("return weight + torch.sign_of_mine * learning_rate * gradient"),
        "torch.sign_of_mine = 1",
    ],
    "returns a text": [step("return 'right'")],
    "returns None": [step("weight - learning_rate * gradient")],
    "raises": [step("raise ValueError('no')")],
    "blank": [step("raise NotImplementedError()  # your code here")],
    "a coroutine": ["async " + STEP],
    "a generator function": [STEP.replace("return", "yield")],
}
