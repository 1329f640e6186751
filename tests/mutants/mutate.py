"""What a mutant is: a module with one small change, made on its syntax tree."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
COMPARISONS = {  # the neighbour, and the opposite
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}


@dataclass(frozen=True)
class Mutant:
    """One change, told by the statement it was made in; of a compound statement only the head is told."""

    line: int
    function: str  # the function or method it is in; "" for the module
    before: str
    after: str
    code: CodeType


def mutants(source: str, functions: tuple[str, ...] = (), path: str = "") -> Iterator[Mutant]:
    """All mutants of a module that stands at `path`, or of some of its functions."""
    tree = ast.parse(source)
    for function, parent, statement in list(_statements(tree, "")):
        if functions and function not in functions:
            continue
        for old in list(_expressions(statement)):
            for new in _changes(old):
                _Swap(old, ast.fix_missing_locations(new)).visit(parent)
                after = _told(new if old is statement else statement)
                code = compile(tree, path, "exec")
                _Swap(new, old).visit(parent)
                yield Mutant(old.lineno, function, _told(statement), after, code)


class _Swap(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _statements(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST, ast.stmt]]:
    """Every statement with the function and the node it is in; but what is raised is text for people, and no matter."""
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            inside = f"{function}.{child.name}".removeprefix(".")
        if isinstance(child, ast.stmt) and not isinstance(child, ast.Raise):
            yield inside, node, child
        yield from _statements(child, inside)


def _expressions(node: ast.AST) -> Iterator[ast.AST]:
    """The statement and its own expressions: not those of statements within it, annotations, decorators, texts."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.stmt | ast.ExceptHandler | ast.JoinedStr):
                yield from _expressions(child)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
        yield _with(node, op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)]:
                yield _with(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])
    elif isinstance(node, ast.IfExp):
        yield _with(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.If | ast.While) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Slice):
        for bound in "lower", "upper":
            if getattr(node, bound):
                yield _with(node, **{bound: None})
    elif isinstance(node, ast.Constant):
        for value in _other_values(node.value):
            yield _with(node, value=value)


def _other_values(value: object) -> list[object]:
    """0 and 1 for each other, n + 1 for n, the double of a float, the other truth value; nothing for a text."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [0, 2] if value == 1 else [value + 1]
    if isinstance(value, float):
        return [2 * value or 1.0]
    return []


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """The node with other fields."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _told(statement: ast.AST) -> str:
    """The statement in one line, without what stands within it."""
    head = _with(statement, **{name: [] for name in ("body", "orelse", "decorator_list") if name in statement._fields})
    return " ".join(ast.unparse(head).split())
