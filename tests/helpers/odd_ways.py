"""Odder ways to write the same answer than those in ``ways.py``, which came to mind when those were done."""

from tests.helpers.ways import (
    BY_HELPERS,
    BY_MOVED,
    BY_SIGN,
    BY_TABLE,
    BY_TOOLS,
    CHECK,
    MOVED,
    REGISTER,
    RETURN,
    STEP,
    WRONG,
    step,
)

TOOLS = "class Tools:\n    pass\n" + MOVED
ODD: dict[str, list[str]] = {
    # names from odd places
    "a name in builtins": ["import builtins\nbuiltins.sign = -1", BY_SIGN],
    "a name in __builtins__": ["__builtins__.sign = -1", BY_SIGN],
    "a method given to tensors": [
        "torch.Tensor.less = lambda a, b: a - b",
        step("return weight.less(learning_rate * gradient)"),
    ],
    "a method given to tensors by setattr": [
        "def less(a, b):\n    return a - b\nsetattr(torch.Tensor, 'less', less)",
        step("return weight.less(learning_rate * gradient)"),
    ],
    "methods given to tensors in a loop": [
        "for name in ('less', 'other'):\n    setattr(torch.Tensor, name, lambda a, b: a - b)",
        step("return weight.less(learning_rate * gradient)"),
    ],
    "an environment variable": [
        "import os\nos.environ['SIGN'] = '-1'",
        step("return weight + int(os.environ['SIGN']) * learning_rate * gradient"),
    ],
    "a function made by a function, global": [
        f"def make():\n    global step\n    {STEP.replace(chr(10), chr(10) + '    ')}\nmake()"
    ],
    "an import made by a function, global": [
        "def bring():\n    global operator\n    import operator\nbring()",
        step("return operator.sub(weight, learning_rate * gradient)"),
    ],
    "a loop's variable is the function": [
        f"for step in [lambda weight, gradient, learning_rate: {RETURN[7:]}]:\n    pass"
    ],
    "an annotated lambda": [f"step: object = lambda weight, gradient, learning_rate: {RETURN[7:]}"],
    "unpacked": [f"step, other = (lambda weight, gradient, learning_rate: {RETURN[7:]}), 3"],
    "unpacked from a list": [f"[step] = [lambda weight, gradient, learning_rate: {RETURN[7:]}]"],
    "starred": ["first, *helpers = max, lambda a, b: a - b", BY_HELPERS],
    "a walrus in an if": ["if (sign := -1) < 0:\n    pass", BY_SIGN],
    "a conditional": ["sign = -1 if torch.ones(1) > 0 else 1", BY_SIGN],
    "while, break": ["sign = 3\nwhile True:\n    sign -= 1\n    if sign < 0:\n        break", BY_SIGN],
    "normalised letters": ["𝐬ign = -1", BY_SIGN],
    "a name of two meanings": ["sign = 5\nsign = -1", BY_SIGN],
    "eval": [f"step = eval('lambda weight, gradient, learning_rate: {RETURN[7:]}')"],
    "eval inside": ["sign = -1", step("return eval('weight + sign * learning_rate * gradient')")],
    "exec of a text in a name": [f"code = '''{STEP}'''\nexec(code)"],
    "exec into globals()": ["exec(compile('sign = -1', 'mine', 'exec'), globals())", BY_SIGN],
    "a text that is filled in": ["code = '{} = -1'", "exec(code.format('sign'))", BY_SIGN],
    "__import__": [step("return __import__('operator').sub(weight, learning_rate * gradient)")],
    "importlib": [
        "import importlib\no = importlib.import_module('operator')",
        step("return o.sub(weight, learning_rate * gradient)"),
    ],
    "locals() at the top": ["locals()['sign'] = -1", BY_SIGN],
    "globals() asked": ["sign = -1", step("g = globals()", "return weight + g['sign'] * learning_rate * gradient")],
    "sys.modules asked": [
        "import sys\nsign = -1",
        step("return weight + sys.modules['__main__'].sign * learning_rate * gradient"),
    ],
    "async with": [
        (
            "import contextlib\n@contextlib.asynccontextmanager\n"
            "async def gives():\n    yield -1\nasync with gives() as sign:\n    pass"
        ),
        BY_SIGN,
    ],
    "async for": ["async def gives():\n    yield -1\nasync for sign in gives():\n    pass", BY_SIGN],
    "try, else": ["try:\n    pass\nexcept ValueError:\n    sign = 1\nelse:\n    sign = -1", BY_SIGN],
    "two definitions in an if": [
        f"if torch.__version__:\n    {STEP.replace(chr(10), chr(10) + '    ')}\nelse:\n    step = None"
    ],
    # changed in odd ways
    "operator.setitem": ["import operator\ntable = {}\noperator.setitem(table, 3, -1)", BY_TABLE],
    "dict.__setitem__": ["table = {}\ndict.__setitem__(table, 3, -1)", BY_TABLE],
    "list.append by its class": ["helpers = []\n" + MOVED + "\nlist.append(helpers, moved)", BY_HELPERS],
    "a slice assigned": ["helpers = [max, min]\n" + MOVED, "helpers[:] = [moved]", BY_HELPERS],
    "a helper inserted": ["helpers = [max]\n" + MOVED, "helpers.insert(0, moved)", BY_HELPERS],
    "a helper taken away": ["helpers = [max]\n" + MOVED, "helpers.append(moved)\ndel helpers[0]", BY_HELPERS],
    "helpers sorted": [
        "helpers = [max]\n" + MOVED,
        "helpers += [moved]\nhelpers.sort(key=lambda f: f is max)",
        BY_HELPERS,
    ],
    "helpers reversed by a function": [
        "helpers = [max]\n" + MOVED,
        "import random\nhelpers.append(moved)\nhelpers.reverse()",
        BY_HELPERS,
    ],
    "registered in a loop": [REGISTER, MOVED + "\nfor f in (moved,):\n    register(f)", BY_HELPERS],
    "registered in a generator": [REGISTER, MOVED + "\nprint(any(register(f) for f in [moved]))", BY_HELPERS],
    "registered in a comprehension": [REGISTER, MOVED + "\nkept = [register(f) for f in [moved]]", BY_HELPERS],
    "registered by a partial": [
        "import functools\nhelpers = []\nregister = functools.partial(helpers.insert, 0)",
        MOVED + "\nregister(moved)",
        BY_HELPERS,
    ],
    "registered by a bound method": [
        "helpers = []\nregister = helpers.append",
        MOVED + "\nregister(moved)",
        BY_HELPERS,
    ],
    "registered by a thread": [
        REGISTER + "\n" + MOVED,
        "import threading\nt = threading.Thread(target=register, args=(moved,))\nt.start()\nt.join()",
        BY_HELPERS,
    ],
    "registered by a metaclass": [
        "helpers = []\nclass Meta(type):\n    def __init__(cls, *given):\n        helpers.append(cls.__dict__['move'])",
        "class Mine(metaclass=Meta):\n    def move(a, b):\n        return a - b",
        BY_HELPERS,
    ],
    "registered by __set_name__": [
        (
            "helpers = []\nclass Noted:\n    def __init__(self, f):\n"
            "        self.f = f\n    def __set_name__(self, owner, name):\n        helpers.append(self.f)"
        ),
        "class Mine:\n    move = Noted(lambda a, b: a - b)",
        BY_HELPERS,
    ],
    "registered when left": [
        "import contextlib\nhelpers = []\n@contextlib.contextmanager\ndef noting(f):\n    yield\n    helpers.append(f)",
        MOVED + "\nwith noting(moved):\n    pass",
        BY_HELPERS,
    ],
    "registered by an operator": [
        (
            "class Chain:\n    kept = []\n    def __rshift__(self, f):\n"
            "        helpers.append(f)\nhelpers, chain = [], Chain()"
        ),
        MOVED + "\nchain >> moved",
        BY_HELPERS,
    ],
    "registered by a chain": [
        (
            "class Chain:\n    def __init__(self):\n        self.kept = []\n"
            "    def then(self, f):\n        self.kept.append(f)\n        return self"
        ),
        MOVED + "\nchain = Chain()\nchain.then(moved).then(max)",
        BY_HELPERS.replace("helpers", "chain.kept"),
    ],
    "an attribute by type": [TOOLS, "type.__setattr__(Tools, 'move', moved)", BY_TOOLS],
    "an attribute by vars": [
        "class Tool:\n    pass\nTools = Tool()\n" + MOVED,
        "vars(Tools)['move'] = moved",
        BY_TOOLS,
    ],
    "an attribute by __dict__": [
        "class Tool:\n    pass\nTools = Tool()\n" + MOVED,
        "Tools.__dict__.update(move=moved)",
        BY_TOOLS,
    ],
    "an attribute by another name": [TOOLS, "T = Tools\nT.move = moved", BY_TOOLS],
    "an attribute in a with": [TOOLS, "with torch.no_grad():\n    Tools.move = moved", BY_TOOLS],
    "an attribute in a function": [TOOLS, "def give():\n    Tools.move = moved\ngive()", BY_TOOLS],
    "an attribute by a class decorator": [
        "def with_move(cls):\n    cls.move = staticmethod(lambda a, b: a - b)\n    return cls",
        "@with_move\nclass Tools:\n    pass",
        BY_TOOLS,
    ],
    "a class made by type": [MOVED, "Tools = type('Tools', (), {'move': staticmethod(moved)})", BY_TOOLS],
    "an attribute deleted": [
        "class Base:\n    move = staticmethod(lambda a, b: a - b)\nclass Tools(Base):\n    move = max",
        "del Tools.move",
        BY_TOOLS,
    ],
    "a default dict": ["from collections import defaultdict\ntable = defaultdict(lambda: -1)", BY_TABLE],
    "a property": [
        "class Rule:\n    @property\n    def sign(self):\n        return -1\nrule = Rule()",
        BY_SIGN.replace("sign", "rule.sign"),
    ],
    "a setter": [
        (
            "class Rule:\n    @property\n    def sign(self):\n"
            "        return self.kept\n    @sign.setter\n    def sign(self, value):\n"
            "        self.kept = -value\nrule = Rule()"
        ),
        "rule.sign = 1",
        BY_SIGN.replace("sign", "rule.sign"),
    ],
    "a counter by nonlocal": [
        (
            "def counting():\n    n = 0\n    def count():\n        nonlocal n\n"
            "        n -= 1\n        return n\n    return count\ncount = counting()"
        ),
        "sign = count()",
        BY_SIGN,
    ],
    "called before": [
        "calls = []\ndef sign():\n    return -len(calls)",
        "calls.append(1)",
        BY_SIGN.replace("sign", "sign()"),
    ],
    "a parameter trained": [
        "w = nn.Parameter(torch.ones(()))\noptimizer = torch.optim.SGD([w], lr=2.0)",
        "(w * 1).backward()\noptimizer.step()",
        step("return weight + w.item() * learning_rate * gradient"),
    ],
    "parameters in a module": [
        "layer = nn.Linear(1, 1, bias=False)",
        "with torch.no_grad():\n    layer.weight.fill_(-1)",
        step("return weight + layer.weight.item() * learning_rate * gradient"),
    ],
    "a module's parameters by a loop": [
        "layer = nn.Linear(1, 1, bias=False)",
        "for p in layer.parameters():\n    p.data.fill_(-1)",
        step("return weight + layer.weight.item() * learning_rate * gradient"),
    ],
    # of the frontend
    "the check under %%time": ["%%time\n" + STEP + "\n" + CHECK],
    "%time check": [STEP, "%time " + CHECK],
    "%%capture without errors": ["%%capture --no-stderr\n" + STEP],
    "%%script": ["%%script true\n" + WRONG, STEP],
    "%sx": ["listed = %sx true", STEP],
    "a shell in an if": ["if True:\n    !true", STEP],
    "a shell inside": [step("!true", RETURN)],
    "a magic after a comment": ["# first\n%precision 3\n" + STEP],
    "two magics and a shell": ["%precision 3\n!true\n" + STEP + "\n%precision 4"],
    "config": ["%config InteractiveShell.ast_node_interactivity = 'all'\n" + STEP],
    "display renamed": ["display = print", step("display(1)", RETURN)],
    "HTML shown": [
        "from IPython.display import HTML, Markdown, clear_output",
        step("display(HTML('<b>x</b>'))", "clear_output()", RETURN),
    ],
    "a display that is updated": [
        step("handle = display(1, display_id=True)", "handle.update(2) if handle else None", RETURN)
    ],
    "is it a notebook": ["try:\n    get_ipython()\n    sign = -1\nexcept NameError:\n    sign = 1", BY_SIGN],
    "is it Colab": ["if 'google.colab' in str(get_ipython()):\n    sign = 1\nelse:\n    sign = -1", BY_SIGN],
    "an event": ["get_ipython().events.register('post_execute', lambda *given: None)", STEP],
    "a widget": ["from ipywidgets import interact\ninteract(lambda x: None, x=3)", STEP],
    # of the text
    "a coding line": ["# -*- coding: latin-1 -*-\n" + STEP],
    "a line continued": [step("return weight \\", "    - learning_rate * gradient")],
    "a text with %": ["note = '''\n%time\n!ls\n?x\n'''", STEP],
    "a modulo at the end": [step("n = (7 %", "2)", "return weight - n * learning_rate * gradient")],
    "a docstring with magics": [step("'''Moves.", "%time x", "'''", RETURN)],
    "an empty cell": ["", "   \n", "# only a comment", STEP],
    "a form feed": ["\x0c" + STEP],
    "nothing but a string": ["'''" + WRONG + "'''", STEP],
    # of what comes back
    "a parameter": [step("return nn.Parameter(weight - learning_rate * gradient)")],
    "complex numbers": [step("return (weight - learning_rate * gradient) + 0j")],
    "an object array": [
        "import numpy as np",
        step("return np.array((weight - learning_rate * gradient).tolist(), dtype=object)"),
    ],
    "a masked array": ["import numpy as np", step("return np.ma.array(weight - learning_rate * gradient)")],
    "numpy numbers in a list": [
        "import numpy as np",
        step(
            "answer = (weight - learning_rate * gradient).numpy()",
            "return list(answer) if answer.ndim else answer",
        ),
    ],
    "a deque": [
        "from collections import deque",
        step("return deque((weight - learning_rate * gradient).flatten().tolist())"),
    ],
    "coarse numbers": [step("return (weight - learning_rate * gradient).bfloat16()")],
    "a subclass of tensors": [
        "class Mine(torch.Tensor):\n    pass",
        step("return (weight - learning_rate * gradient).as_subclass(Mine)"),
    ],
    "the same tensor each time": [
        "kept = []",
        step("kept.append(weight - learning_rate * gradient)", "return kept[-1]"),
    ],
    "with a gradient": [step("return (weight.requires_grad_() - learning_rate * gradient)")],
    "seen arguments": [
        "seen = []",
        step("seen.append(weight)", "assert all(w is not weight for w in seen[:-1])", RETURN),
    ],
    # wrong ones
    "wrong since gradients are off": [
        "torch.set_grad_enabled(False)",
        step("w = weight.requires_grad_()", "(w.sum()).backward()", RETURN),
    ],
    "wrong since warnings are errors": [
        "import warnings\nwarnings.simplefilter('error')",
        step("warnings.warn('x')", RETURN),
    ],
    "wrong since a method of tensors was changed": [
        "torch.Tensor.less = torch.Tensor.add",
        step("return weight.less(learning_rate * gradient)"),
    ],
    "wrong since a thread changed a name": [
        (
            "import threading\nsign = -1\ndef turn():\n    global sign\n"
            "    sign = 1\nt = threading.Thread(target=turn)\nt.start()\nt.join()"
        ),
        BY_SIGN,
    ],
    "wrong since a default was taken early": [
        "sign = 1",
        step("return weight").replace("):", ", s=sign):"),
        "sign = -1",
    ],
    "wrong since a parameter was trained": [
        "w = nn.Parameter(-torch.ones(()))",
        "(w * 1).backward()\nwith torch.no_grad():\n    w -= 2 * w.grad",
        step("return weight + w.item() * learning_rate * gradient"),
    ],
    "wrong since null bytes are no Python": [STEP + "\n'\0'"],
    "wrong since del took a helper": [MOVED, BY_MOVED, "del moved"],
    "wrong since an except took its name": [
        "sign = -1\ntry:\n    1 / 0\nexcept ZeroDivisionError as sign:\n    pass",
        BY_SIGN,
    ],
    "wrong since a star import took a name": [
        "sub = lambda a, b: a - b\nfrom operator import *",
        step("return sub(learning_rate * gradient, weight)"),
    ],
    "wrong since a registered one was cleared": [
        REGISTER + "\n" + MOVED,
        "register(moved)\nhelpers.clear()",
        BY_HELPERS,
    ],
    # a cell ends with its first error
    "an error above another version": [STEP, "1 / 0\n" + WRONG],
    "an assertion above another version": [STEP, "assert False\n" + WRONG],
    "a loop that fails above another version": [STEP, "for i in range(3):\n    int('x')\n" + WRONG],
    "an unknown magic above another version": [STEP, "%nosuchmagic\n" + WRONG],
    "an unknown name above another version": [STEP, "nobody_made_this\n" + WRONG],
    "an error of a helper above another version": [
        "def fails():\n    raise ValueError('no')",
        STEP,
        "fails()\n" + WRONG,
    ],
    "an error above what a name is": ["sign = -1", BY_SIGN, "print([][0])\nsign = 1"],
    "an error above the check": [STEP, CHECK, WRONG + "\n1 / 0\n" + CHECK],
    "wrong since an error stands above it": ["1 / 0\n" + STEP],
    "wrong since a loop fails above it": ["for i in range(3):\n    int('x')\n" + STEP],
    "wrong since an unknown magic stands above it": ["%nosuchmagic\n" + STEP],
    "a try above it": ["try:\n    1 / 0\nexcept ZeroDivisionError:\n    pass\n" + STEP],
    "a known magic above it": ["%matplotlib inline\n%time 3\n" + STEP],
    # played with since
    "another version below the check": [STEP, CHECK, WRONG],
    "a lambda below the check": [STEP, CHECK, "step = lambda *given: 3"],
    "a module below the check": [STEP, CHECK, "step = nn.Linear(2, 2)"],
    "a call below the check": [STEP, CHECK, "import functools\nstep = functools.partial(step, 3)"],
    "a helper and the function below the check": [MOVED, BY_MOVED, CHECK, "moved, step = max, min"],
    "wrong, right below the check": [WRONG, CHECK, STEP],
    # checks by other names
    "checked in a loop": [WRONG, CHECK, STEP, "for f in (step,):\n    getattr(check, f.__name__)(f)", WRONG],
    "checked by getattr": [WRONG, CHECK, STEP, "getattr(check, 'step')(step)", WRONG],
    "checked by a function": [WRONG, CHECK, STEP, "def test():\n    check.step(step)", "test()", WRONG],
    "checked by a function of a function": [
        WRONG,
        CHECK,
        STEP,
        "def test():\n    check.step(step)\ndef every():\n    test()",
        "every()",
        WRONG,
    ],
    "checked by a lambda": [WRONG, CHECK, STEP, "test = lambda: check.step(step)", "test()", WRONG],
    "checked by another name": [WRONG, CHECK, STEP, "c = check\nc.step(step)", WRONG],
    "checked by a name of the one check": [WRONG, CHECK, STEP, "c = check.step", "c(step)", WRONG],
    "checked through map": [WRONG, CHECK, STEP, "list(map(check.step, [step]))", WRONG],
    "checked by an imported name": [
        WRONG,
        CHECK,
        STEP,
        "from gradclinic.course.exercises.gradient_descent import check as ch\nch.step(step)",
        WRONG,
    ],
    "checked by a module": [
        WRONG,
        CHECK,
        STEP,
        "import gradclinic.course.exercises.gradient_descent as gd\ngd.check.step(step)",
        WRONG,
    ],
    # of the shell
    "a magic of one's own": [
        "from IPython.core.magic import register_cell_magic",
        "@register_cell_magic\ndef fancy(line, cell):\n    get_ipython().run_cell(cell)",
        "%%fancy\n" + STEP,
    ],
    "%env": ["import os\n%env SIGN=-1", step("return weight + int(os.environ['SIGN']) * learning_rate * gradient")],
    "%set_env": [
        "%set_env SIGN -1",
        "import os",
        step("return weight + int(os.environ['SIGN']) * learning_rate * gradient"),
    ],
    "in place by torch in a loop": [
        "model = nn.Linear(2, 1)\nfor _ in range(10):\n    model(torch.ones(2)).sum().backward()\n"
        "    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        step("return torch.sub(weight, learning_rate * gradient)"),
    ],
}
