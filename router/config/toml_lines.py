"""Where in a TOML file each key and each list item stands; only asked when something there is wrong."""

import tomllib
from typing import Any

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

#: A place in a document: keys of tables and positions in lists, from the root on.
Loc = tuple[str | int, ...]


class TomlLines:
    """The lines of one document, which must be valid TOML."""

    def __init__(self, source: str) -> None:
        self._lines: dict[Loc, int] = {(): 0}
        self._last: dict[Loc, int] = {}
        tree = Parser(Language(tree_sitter_toml.language())).parse(source.encode())
        for node in tree.root_node.named_children:
            if node.type == "pair":
                self._pair((), node)
            elif node.type in ("table", "table_array_element"):
                self._table(node)

    def line(self, loc: Loc) -> int:
        """The line of `loc`, counted from 1; of the nearest table around it if it is not in the file; else 0."""
        while loc not in self._lines:
            loc = loc[:-1]
        return self._lines[loc]

    def _table(self, node: Node) -> None:
        header, *pairs = [child for child in node.named_children if child.type != "comment"]
        loc: Loc = ()
        *parents, key = _path(header)
        for parent in parents:
            loc += (parent,)
            # Below an array of tables, a header speaks of the last table in it.
            loc += (self._last[loc],) if loc in self._last else ()
        loc += (key,)
        if node.type == "table_array_element":
            self._last[loc] = self._last.get(loc, -1) + 1
            loc += (self._last[loc],)
        self._note(loc, node)
        for pair in pairs:
            self._pair(loc, pair)

    def _pair(self, loc: Loc, node: Node) -> None:
        key, value = (child for child in node.named_children if child.type != "comment")
        loc += _path(key)
        self._note(loc, node)
        self._value(loc, value)

    def _value(self, loc: Loc, node: Node) -> None:
        children = [child for child in node.named_children if child.type != "comment"]
        if node.type == "inline_table":
            for pair in children:
                self._pair(loc, pair)
        elif node.type == "array":
            for position, item in enumerate(children):
                self._note((*loc, position), item)
                self._value((*loc, position), item)

    def _note(self, loc: Loc, node: Node) -> None:
        line = node.start_point.row + 1
        self._lines[loc] = line
        # [a.b] makes a table a too; it stands here unless it has a header of its own.
        for length in range(1, len(loc)):
            self._lines.setdefault(loc[:length], line)


def _path(key: Node) -> tuple[str, ...]:
    """The parts of a key as TOML reads them: `a."b c"` → `("a", "b c")`."""
    found: Any = tomllib.loads((key.text or b"").decode() + " = 0")
    path: list[str] = []
    while isinstance(found, dict):
        ((part, found),) = found.items()
        path.append(part)
    return tuple(path)
