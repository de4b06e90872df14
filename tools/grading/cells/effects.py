"""What code does: which names it reads, what it changes, and what it hands to a check. Nothing is run."""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

# Methods that change what they belong to. In an expression whose value is used, no other is taken to do so for sure.
CHANGING = frozenset(
    {"add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop", "popitem", "popleft"}
    | {"register", "remove", "reverse", "setdefault", "sort", "subtract", "update"}
    | {"__setattr__", "__setitem__", "__delitem__", "__delattr__"}
)
# What only looks at its arguments.
LOOKING = frozenset(
    {"print", "display", "len", "repr", "str", "type", "isinstance", "issubclass", "callable", "id", "hash", "format"}
    | {"round", "abs", "sum", "min", "max", "any", "all", "sorted", "list", "tuple", "set", "dict", "frozenset"}
    | {"enumerate", "zip", "range", "reversed", "int", "float", "bool", "hasattr", "getattr", "dir"}
)
# What can give a name a meaning that is not to be seen in the code.
DYNAMIC = frozenset(
    {"exec", "eval", "globals", "vars", "locals", "get_ipython", "__main__"} | {"builtins", "__builtins__"}
)


# --- what a statement does --------------------------------------------------------------------------------------------


@dataclass
class Effects:
    """What code does beyond giving names a meaning.

    Attributes:
        loads: the names that it reads.
        changes: names of what it changes: an attribute or item is set, or a method called that changes.
        passes: names that it hands to a call, or calls another method of.
        words: names that stand in its strings, and after dots.
        dynamic: whether it uses something of ``DYNAMIC``.
    """

    loads: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    passes: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    dynamic: bool = False

    def without(self, names: set[str]) -> "Effects":
        return Effects(self.loads - names, self.changes - names, self.passes - names, self.words, self.dynamic)

    def add(self, other: "Effects") -> None:
        self.loads |= other.loads
        self.changes |= other.changes
        self.passes |= other.passes
        self.words |= other.words
        self.dynamic |= other.dynamic


def root(node: ast.AST) -> str | None:
    """The name at the start of ``a.b[c].d()``; of what ``getattr`` and its like give, that of their argument."""
    while True:
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.Call):
            plain_call = isinstance(node.func, ast.Name) and node.func.id in ("getattr", "type", "vars", "iter")
            node = node.args[0] if plain_call and node.args else node.func
        elif isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
            node = node.value
        else:
            return None


@dataclass
class Checks:
    """What the checks are called in one notebook.

    Attributes:
        labs: names that stand for ``check``, from which each exercise's check is taken.
        single: names that stand for the check of one exercise, and its name.
    """

    labs: set[str] = field(default_factory=lambda: {"check"})
    single: dict[str, str] = field(default_factory=dict)

    def lab(self, node: ast.AST) -> bool:
        """Whether this is ``check`` by any of its names."""
        if isinstance(node, ast.Call):
            return ast.unparse(node.func).rpartition(".")[2] == "find_lab"
        return (isinstance(node, ast.Name) and node.id in self.labs) or (
            isinstance(node, ast.Attribute) and node.attr == "check"
        )

    def of(self, node: ast.AST) -> str | None:
        """The exercise whose check this is; "*" if it may be any's."""
        match node:
            case ast.Name(name):
                return self.single.get(name)
            case ast.Attribute(value, name) if self.lab(value):
                return name
            case ast.Call(ast.Name("getattr"), [value, name, *_]) if self.lab(value):
                return str(name.value) if isinstance(name, ast.Constant) else "*"
        return None

    def read(self, nodes: Iterable[ast.AST]) -> "Checks":
        """Learn the names that these give to checks."""
        pairs: list[tuple[str, ast.AST]] = []
        for part in (part for node in nodes for part in ast.walk(node)):
            if isinstance(part, ast.ImportFrom):
                self.labs |= {alias.asname or alias.name for alias in part.names if alias.name == "check"}
            elif isinstance(part, ast.Assign):
                pairs += [(target.id, part.value) for target in part.targets if isinstance(target, ast.Name)]
            elif isinstance(part, ast.NamedExpr):
                pairs.append((part.target.id, part.value))
        for _ in range(5):  # a name of a name of a name
            for name, value in pairs:
                if self.lab(value):
                    self.labs.add(name)
                elif (exercise := self.of(value)) is not None:
                    self.single[name] = exercise
        return self


class Reader(ast.NodeVisitor):
    """Reads one top-level statement: what it does at once, and what the functions in it do when they are called."""

    def __init__(self, known: Checks | None = None) -> None:
        self.now, self.later = Effects(), Effects()
        self.known = known or Checks()
        self.checks: set[str] = set()  # names that are handed to a check
        self.checks_later: set[str] = set()  # in its functions
        self.tried: dict[str, ast.expr] = {}  # what is handed to the check of each
        self.inplace: set[str] = set()  # names with a method that ends with _: a library's own changes its arguments
        self.bare: set[str] = set()  # names that a whole statement is a call of: only its effect can be meant
        self.sets: set[str] = set()  # names of what it sets something in; for a library, that is a setting
        self.walrus: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.now.loads.add(node.id)
            self.now.dynamic |= node.id in DYNAMIC

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.now.words |= set("".join(c if c.isidentifier() or c.isdigit() else " " for c in node.value).split())

    def visit_keyword(self, node: ast.keyword) -> None:
        self.now.words |= {node.arg} if node.arg else set()
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.now.words.add(node.attr)
        self.now.dynamic |= node.attr == "modules"  # of sys
        self._stored(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._stored(node)

    def _stored(self, node: ast.Attribute | ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load) and (name := root(node)):
            self.now.changes.add(name)
            self.sets.add(name)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and (name := root(node.value)):
            self.bare.add(name)
            if isinstance(node.value.func, ast.Attribute) and node.value.func.attr.startswith("set"):
                self.sets.add(name)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.walrus.add(node.target.id)
        self.generic_visit(node)

    def _looped(self, node: ast.AST) -> None:
        bare = set(self.bare)
        self.generic_visit(node)
        self.bare = bare

    visit_For = visit_While = visit_AsyncFor = _looped

    def visit_Call(self, node: ast.Call) -> None:
        if (exercise := self.known.of(node.func)) is not None:
            self.checks.add(exercise)
            if node.args:
                self.tried[exercise] = node.args[0]
        handed_on = (self.known.of(part) for part in node.args if isinstance(part, ast.Attribute))
        self.checks |= {exercise for exercise in handed_on if exercise is not None}
        match node:
            case ast.Call(ast.Attribute(_, "run_line_magic"), [ast.Constant("env" | "set_env"), *_]):
                self.now.changes |= {"os", "environ", "getenv"}
                self.sets |= {"os", "environ", "getenv"}
        self._called(node.func, [*node.args, *(keyword.value for keyword in node.keywords)])
        self.generic_visit(node)

    def _called(self, function: ast.expr, arguments: Sequence[ast.expr]) -> None:
        given = set().union(*map(handed, arguments))
        if isinstance(function, ast.Name):
            if function.id in ("setattr", "delattr") and arguments and (name := root(arguments[0])):
                self.now.changes.add(name)
                self.sets.add(name)
            if function.id not in LOOKING:
                self.now.passes |= given
            return
        self.now.passes |= given
        if not isinstance(function, ast.Attribute):
            return
        if (name := root(function)) is None:  # of something that is just being made, as in (a + b).backward()
            self.now.passes |= handed(function)
            return
        inplace = function.attr.endswith("_") and not function.attr.endswith("__") and function.attr not in CHANGING
        (self.now.changes if inplace or function.attr in CHANGING else self.now.passes).add(name)
        self.inplace |= {name} if inplace else set()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._decorated(node)
        for part in (node.args, node.returns):
            if part is not None:
                self.visit(part)
        self._postponed(node, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.args)
        self._postponed(node, [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._decorated(node)
        inner = Reader(self.known)
        for part in (*node.bases, *node.keywords, *node.body):
            inner.visit(part)
        own = {part.name for part in node.body if isinstance(part, (ast.FunctionDef, ast.ClassDef))}
        self.now.add(inner.now.without(own | stored(node.body)))
        self.later.add(inner.later)
        self.checks |= inner.checks
        self.checks_later |= inner.checks_later

    def _decorated(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        for decorator in node.decorator_list:  # is called with what it stands above
            self._called(decorator, [ast.Name(node.name, ast.Load())])
            self.visit(decorator)

    def _postponed(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, body: Sequence[ast.AST]) -> None:
        inner = Reader(self.known)
        for part in body:
            inner.visit(part)
        self.checks_later |= inner.checks | inner.checks_later
        shared = {n for part in body for g in ast.walk(part) if isinstance(g, ast.Global) for n in g.names}
        names = stored(body) | {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
        known = aliases(body)
        for argument, value in defaults(node.args):
            known.setdefault(argument.arg, set()).update(handed(value))
        for effects in (inner.now, inner.later):
            effects.changes = also(effects.changes, known)
            self.later.add(effects.without(names - shared))
        self.later.changes |= shared


def handed(node: ast.expr) -> set[str]:
    """The names in an argument that are not only called there."""
    called = {id(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)}
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and id(part) not in called}


def stored(nodes: Iterable[ast.AST]) -> set[str]:
    """The plain names that are assigned anywhere in these."""
    parts = (part for node in nodes for part in ast.walk(node))
    return {part.id for part in parts if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load)}


def defaults(arguments: ast.arguments) -> list[tuple[ast.arg, ast.expr]]:
    """The arguments that have a default, each with it."""
    plain_ones = [*arguments.posonlyargs, *arguments.args]
    late = list(zip(reversed(plain_ones), reversed(arguments.defaults), strict=False))
    return late + [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is not None]


def aliases(nodes: Iterable[ast.AST]) -> dict[str, set[str]]:
    """For names that are assigned in these, the names of what they may be, hold, or be a part of."""
    found: dict[str, set[str]] = {}
    for part in (part for node in nodes for part in ast.walk(node)):
        pairs: list[tuple[ast.AST, ast.AST | None]] = []
        if isinstance(part, ast.Assign):
            pairs = [(target, part.value) for target in part.targets]
        elif isinstance(part, (ast.AnnAssign, ast.NamedExpr)):
            pairs = [(part.target, part.value)]
        elif isinstance(part, (ast.For, ast.AsyncFor, ast.comprehension)):
            pairs = [(part.target, part.iter)]
        elif isinstance(part, ast.withitem) and part.optional_vars is not None:
            pairs = [(part.optional_vars, part.context_expr)]
        for target, value in pairs:
            if isinstance(value, ast.expr):
                for name in stored([target]):
                    found.setdefault(name, set()).update(handed(value) - {name})
    return found


def also(names: set[str], known: dict[str, set[str]]) -> set[str]:
    """The names, and all that they may stand for."""
    names, new = set(names), set(names)
    while new:
        new = set().union(*(known.get(name, set()) for name in new)) - names
        names |= new
    return names
