"""What a page or a measurement stands on: the names of the package that its code can reach, read without running it.

The unit is a name at the top of a module: a function, a class, a constant. ``figures.phase_diagram(...)`` reaches the
function, what its body names, and so on; a figure beside it in the same file counts only if it is reached as well.
Where a name cannot be told from the source (``from figures import *``, ``getattr(figures, name)``, ``importlib``),
everything below that package counts: a page is rather executed once too often than shown with an old figure.
Docstrings and comments do not count.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

DYNAMIC = {"importlib", "pkgutil", "__import__", "eval", "exec", "globals"}  # what may reach anything near it
CHANGING = {"add", "append", "extend", "insert", "setdefault", "update"}  # methods by which a registry is filled


class Place(NamedTuple):
    """A name at the top of a module; without a name, what the module does when it is imported."""

    module: str
    name: str


def texts(cells: Iterable[str]) -> set[str]:
    """Every string constant in the code cells of a page; none if they are no Python."""
    try:
        return _texts([ast.parse(python(cells))])
    except SyntaxError:
        return set()


class Module:
    """One source file, or the code of a page: what it defines, and what it imports.

    Args:
        source: Python.
        dotted: its name; empty for a page, which belongs to no package.
        is_package: whether it is an ``__init__.py``.
    """

    def __init__(self, source: str, dotted: str = "", is_package: bool = False):
        self.package = dotted if is_package else dotted.rpartition(".")[0]
        self.defined: dict[str, list[ast.stmt]] = {"": []}
        tree = ast.parse(source)
        self.aliases, self.stars = self.imported([tree], inside_functions=False)
        for statement in tree.body:
            names = set(_bound(statement))
            for name in names:
                self.defined.setdefault(name, []).append(statement)
            if _acts(statement) or not (names or _is_import(statement) or _is_text(statement) or _is_main(statement)):
                self.defined[""].append(statement)

    def imported(
        self, nodes: Iterable[ast.AST], inside_functions: bool = True
    ) -> tuple[dict[str, tuple[str, ...]], list[str]]:
        """What is imported: by local name, a module and perhaps a name in it; and modules of which all is imported."""
        aliases: dict[str, tuple[str, ...]] = {}
        stars = []
        for node in _walk(nodes, inside_functions):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    aliases[alias.asname or first] = (alias.name if alias.asname else first,)
            elif isinstance(node, ast.ImportFrom):
                base = self.package.split(".")[: len(self.package.split(".")) - node.level + 1] if node.level else []
                source = ".".join([*base, *filter(None, [node.module])])
                for alias in node.names:
                    if alias.name == "*":
                        stars.append(source)
                    else:
                        aliases[alias.asname or alias.name] = (source, alias.name)
        return aliases, stars


class Sources:
    """The packages in a folder, as text.

    Args:
        root: the folder that holds them.
        packages: their names; imports of anything else are what pins are for.
    """

    def __init__(self, root: Path, packages: Iterable[str] = ("gradclinic",)):
        self.root, self.packages = root, tuple(packages)
        self.module = cache(self._module)  # this object lives as long as what it has read
        self.used = cache(self._used)
        self.written = cache(self._written)

    def of_page(self, cells: Iterable[str]) -> set[Place]:
        """All that the code cells of a page can reach."""
        try:
            page = Module(python(cells))
        except SyntaxError:
            return set().union(*map(self._everything, self.packages))
        statements = [statement for found in page.defined.values() for statement in found]
        return self.closed(self._found(page, statements) | self._on_import(page))

    def of_name(self, module: str, name: str) -> set[Place]:
        """All that one function, class or constant can reach, itself included.

        Raises:
            ValueError: if the module does not define it.
        """
        defining = self.module(module)
        if defining is None or name not in defining.defined:
            raise ValueError(f"{module} defines no {name!r}")
        return self.closed({Place(module, name)})

    def decorated(self, by: Place) -> list[Place]:
        """Every function of the packages that is decorated by a place, or by a method of what is there."""
        found = []
        for dotted in (name for package in self.packages for name in self.modules(package)):
            module = self.module(dotted)
            for name, statements in module.defined.items() if module else ():
                chains = _chains(part for statement in statements for part in getattr(statement, "decorator_list", []))
                if any(by in (self._meant(module, chain, dotted) or ()) for chain in chains):
                    found.append(Place(dotted, name))
        return found

    def digest(self, places: Iterable[Place]) -> str:
        """A hash of these places, which a docstring or a comment leaves as it is."""
        lines = sorted(f"{' '.join(place)} {self.written(place)}" for place in places if self._statements(place))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def texts(self, places: Iterable[Place]) -> set[str]:
        """Every string constant in these places: among them are the names of files that they read."""
        return set().union(*(_texts(self._statements(place)) for place in places))

    def closed(self, places: set[Place]) -> set[Place]:
        """With all that these places reach in turn."""
        reached: set[Place] = set()
        new = places
        while new:
            reached |= new
            new = set().union(*(self.used(place) for place in new)) - reached
        return reached

    def modules(self, below: str) -> list[str]:
        """The dotted names of a module and of all that lies in its folder."""
        folder = self.root.joinpath(*below.split("."))
        inside = (path.relative_to(self.root).with_suffix("").parts for path in sorted(folder.rglob("*.py")))
        names = {".".join(parts).removesuffix(".__init__") for parts in inside}
        return sorted(names | ({below} if self.module(below) else set()))

    def _module(self, dotted: str) -> Module | None:
        if dotted.partition(".")[0] not in self.packages:
            return None
        path = self.root.joinpath(*dotted.split("."))
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.exists():
                return Module(file.read_text(), dotted, file.name == "__init__.py")
        return None

    def _statements(self, place: Place) -> list[ast.stmt]:
        module = self.module(place.module)
        return module.defined.get(place.name, []) if module else []

    def _written(self, place: Place) -> str:
        """A hash of the statements of a place, and of what the imported names in them stand for."""
        module, statements = self.module(place.module), self._statements(place)
        named = {name: module.aliases[name] for name, *_ in _chains(statements) if name in module.aliases}
        return hashlib.sha256(f"{sorted(named.items())} {_plain(statements)}".encode()).hexdigest()

    def _used(self, place: Place) -> set[Place]:
        """What a place needs directly: what it names, its module's own doings, and who registers there."""
        module = self.module(place.module)
        if module is None:
            return set()
        found = self._found(module, self._statements(place), place.module)
        parts = place.module.split(".")
        found |= {Place(".".join(parts[:n]), "") for n in range(1, len(parts) + 1)}
        if not place.name:
            found |= self._on_import(module)
        return found | self.registered.get(place, set())

    def _on_import(self, module: Module) -> set[Place]:
        """The doings of the modules that are executed when this one is."""
        targets = [*module.aliases.values(), *((star,) for star in module.stars)]
        names = {name for target in targets for name in (target[0], ".".join(target))}
        return {Place(name, "") for name in names if self.module(name)}

    def _found(self, module: Module, statements: list[ast.stmt], dotted: str = "") -> set[Place]:
        """What these statements of a module name."""
        local, stars = module.imported(statements)
        found = {Place(source, "") for source, *_ in local.values() if self.module(source)}
        found |= set().union(*(self._everything(star) for star in [*stars, *(() if dotted else module.stars)]))
        for chain in _chains(statements):
            if chain[0] in local:
                source, *names = local[chain[0]]
                found |= self._below(source, [*names, *chain[1:]])
            if chain[0] in DYNAMIC:
                for package in [module.package] if dotted else self.packages:
                    found |= self._everything(package)
            found |= self._meant(module, chain, dotted) or set()
        said = _texts(statements)
        for package in self.packages:  # code in a text, or a command
            if any(re.search(rf"(?:import|from)\s+{package}\b|-m\s+{package}\.", text) for text in said):
                found |= self._everything(package)
            if {"-m", package} <= said or any(re.search(rf"-m\s+{package}\b", text) for text in said):
                found |= self._everything(f"{package}.__main__")
        return found

    def _meant(self, module: Module, chain: list[str], dotted: str, seen: frozenset = frozenset()) -> set[Place] | None:
        """What ``a.b.c`` means in a module; None if the module does not know ``a``."""
        name, *rest = chain
        if name in module.aliases:
            source, *names = module.aliases[name]
            return self._below(source, [*names, *rest], seen)
        if name in module.defined:
            return {Place(dotted, name)} if dotted else set()
        for star in module.stars:
            inner = self.module(star)
            if inner and (found := self._meant(inner, chain, star, seen)) is not None:
                return found
        return None

    def _below(self, dotted: str, names: list[str], seen: frozenset = frozenset()) -> set[Place]:
        """What attributes of a module mean: ``names`` one after the other, none for the module as a whole."""
        module = self.module(dotted)
        if module is None:
            return self._everything(dotted)
        if names and (dotted, names[0]) not in seen:
            seen |= {(dotted, names[0])}
            found = self._meant(module, names, dotted, seen)
            if found is not None:
                return found
        inner = f"{dotted}.{names[0]}" if names else ""
        return self._below(inner, names[1:], seen) if self.module(inner) else self._everything(dotted)

    def _everything(self, dotted: str) -> set[Place]:
        """Every name of a module and of all that lies in its folder; of another package, nothing."""
        if dotted.partition(".")[0] not in self.packages:
            return set()
        modules = {name: self.module(name) for name in self.modules(dotted)}
        return {Place(name, own) for name, module in modules.items() if module for own in module.defined}

    @cached_property
    def registered(self) -> dict[Place, set[Place]]:
        """Of each registry, such as the dictionary behind a decorator, the places that enter themselves there."""
        modules = {name: self.module(name) for package in self.packages for name in self.modules(package)}
        filled: dict[Place, set[Place]] = {}  # a function -> the variables of its module that it fills
        for dotted, module in modules.items():
            for name, statements in module.defined.items():
                own = {Place(dotted, other) for other in _filled(statements) if other in module.defined}
                if own:
                    filled[Place(dotted, name)] = own
        entered: dict[Place, set[Place]] = {}
        for dotted, module in modules.items():
            for name, statements in module.defined.items():
                for chain in _chains(part for statement in statements for part in _at_import(statement)):
                    for place in self._meant(module, chain, dotted) or set():
                        for registry in filled.get(place, set()) if name else set():
                            entered.setdefault(registry, set()).add(Place(dotted, name))
        return entered


@cache
def sources(root: Path) -> Sources:
    """The package below ``root``, read once: it should not change while pages are executed."""
    return Sources(root)


def _walk(nodes: Iterable[ast.AST], inside_functions: bool = True) -> Iterator[ast.AST]:
    for node in nodes:
        yield node
        if inside_functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _walk(ast.iter_child_nodes(node), inside_functions)


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top of a module defines; imported ones are found by ``Module.imported``."""
    for node in _walk([statement], inside_functions=False):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(node, ast.ClassDef) and node is statement:
            return  # what its body defines are attributes


def _is_import(statement: ast.stmt) -> bool:
    inner = [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt)]
    guard = isinstance(statement, (ast.If, ast.Try)) and bool(inner) and all(map(_is_import, inner))
    return guard or isinstance(statement, (ast.Import, ast.ImportFrom, ast.Pass))


def _is_text(node: ast.AST) -> bool:
    """A docstring, or a text that stands where one would."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _acts(statement: ast.stmt) -> bool:
    """Whether it may do something besides defining the names in it: a loop, a block; but not a guarded import."""
    blocks = (ast.For, ast.While, ast.If, ast.With, ast.Try, ast.Match)
    return isinstance(statement, blocks) and not _is_import(statement) and not _is_main(statement)


def _is_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__name__" in {name for name, *_ in _chains([statement.test])}


def _chains(nodes: Iterable[ast.AST]) -> Iterator[list[str]]:
    """Each ``a.b.c`` that is read or written, as long as it is; a bare name has one part."""
    for node in nodes:
        names, base = [], node
        while isinstance(base, ast.Attribute):
            names.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            yield [base.id, *reversed(names)]
        else:
            yield from _chains(ast.iter_child_nodes(base) if base is node else [base])


def _texts(nodes: Iterable[ast.AST]) -> set[str]:
    """Every string constant, but no docstring."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif not _is_text(node):
            found |= _texts(ast.iter_child_nodes(node))
    return found


def _filled(statements: Iterable[ast.AST]) -> Iterator[str]:
    """The names that a function changes from inside: ``name[...] = ...``, ``name.append(...)``, ``global name``."""
    for node in _walk(statements):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            yield from _name(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
            yield from _name(node.func.value)


def _name(node: ast.AST) -> list[str]:
    return [node.id] if isinstance(node, ast.Name) else []


def _at_import(statement: ast.stmt) -> list[ast.AST]:
    """The parts of a statement that run when its module is imported."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return list(statement.decorator_list)
    if isinstance(statement, ast.ClassDef):
        return [*statement.decorator_list, *statement.bases]
    return [statement]


def _plain(node: object) -> str:
    """A node as text: the same in every version of Python, and without docstrings."""
    if isinstance(node, list):
        return f"[{', '.join(_plain(part) for part in node if not (isinstance(part, ast.AST) and _is_text(part)))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if name not in ("ctx", "kind", "type_comment"))
    return f"{type(node).__name__}({', '.join(f'{n}={_plain(v)}' for n, v in fields if v is not None and v != [])})"


def python(cells: Iterable[str]) -> str:
    """Cells as Python: magics left out, and what goes to the shell as a text, so that the names in it are seen."""
    code = "\n".join(re.sub(r"\A%%.*", "", cell) for cell in cells)
    code = re.sub(r"(?m)^(\s*)%(?:time|timeit|prun) +", r"\1", code)
    return re.sub(r"(?m)^(\s*)[!%](.*)", lambda found: f"{found[1]}print({found[2]!r})", code)
