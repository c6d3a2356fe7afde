"""Declare the graph of a run: its stages, and how the items of one follow from the records of another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage
from tasks.engine.store.outcomes import Record


@dataclass(frozen=True)
class Done:
    """A finished item with its record, from which items of later stages are made."""

    item: Item
    record: Record

    @property
    def id(self) -> str:
        """The id of the item."""
        return self.item.id

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of each output, by its path."""
        return {output.path: output.sha256 for output in self.record.outputs}


@dataclass(frozen=True)
class Whole:
    """An item that is put together from parts.

    make_parts   returns the items of its parts; called only if the whole is not done
    parts_bytes  estimated disk space of all parts, and also of the whole
    """

    item: Item
    make_parts: Callable[[], Sequence[Item]]
    parts_bytes: int = 0


Each = Callable[[Done], Item | Whole]
Split = Callable[[Done], Iterable[Item]]
Collect = Callable[[Iterable[Record]], Iterable[Item]]


@dataclass(frozen=True, eq=False)
class Node:
    """A stage in a graph, with the source of its items. Created by the methods of :class:`Graph`.

    items      items given as input
    after      node from whose records further items are made
    each       makes one item from a finished item of ``after``, or a whole with its parts
    split      makes any number of items from a finished item of ``after``
    collect    makes items from the records of all finished items of ``after``, once no more will come
    parts      node of the parts of the wholes that ``each`` makes
    prunes     remove the results of items that do not exist any more
    depth      distance from the input: items of deeper nodes run first
    keeps      keep the outputs once all items that were made from them are done
    """

    stage: Stage
    items: Sequence[Item | Whole] = ()
    after: Node | None = None
    each: Each | None = None
    split: Split | None = None
    collect: Collect | None = None
    parts: Node | None = None
    prunes: bool = False
    depth: int = 0
    keeps: bool = True

    @property
    def name(self) -> str:
        """The name of the stage."""
        return self.stage.name


@dataclass
class Graph:
    """The stages of a run. Each stage appears once.

    Functions passed in are pure: they turn records into items. Everything that affects the result of an item must be in
    its payload or its inputs, so an item that is made from another one's outputs has their digests in its payload.

    scratch_bytes  maximum disk space for outputs that wait for the items made from them; None for half of the free
                   space
    """

    scratch_bytes: int | None = None
    nodes: list[Node] = field(default_factory=list)

    def node(
        self,
        stage: Stage,
        items: Sequence[Item] | Sequence[Whole] = (),
        *,
        after: Node | None = None,
        each: Each | None = None,
        split: Split | None = None,
        parts: Node | None = None,
        prunes: bool = False,
        keeps: bool = True,
    ) -> Node:
        """Add a stage with items given as input, items made from those of ``after``, or both.

        each   one to one: makes the item that follows a finished item of ``after``
        split  one to many: makes all items that follow it
        prunes remove the results of items that do not exist any more
        parts  many to one: ``items`` and ``each`` give wholes, whose parts are items of this node (see :meth:`parts`)
        keeps  False: remove the outputs of an item once all items that were made from it are done
        """
        if (after is None) != (each is None and split is None) or (each and split):
            raise ValueError(f"{stage.name}: give after with one of each and split")
        depth = max([after.depth + 1 if after else 0, parts.depth + 1 if parts else 0])
        return self._add(Node(stage, items, after, each, split, parts=parts, prunes=prunes, depth=depth, keeps=keeps))

    def parts(self, stage: Stage, *, after: Node | None = None, keeps: bool = False) -> Node:
        """Add the stage of the parts of wholes, which a later node makes from items of ``after``.

        The parts of a whole are removed when it is done, unless ``keeps``.
        """
        depth = after.depth + 1 if after else 0
        return self._add(Node(stage, after=after, prunes=not keeps, depth=depth, keeps=keeps))

    def table(self, stage: Stage, *, after: Node, collect: Collect) -> Node:
        """Add a stage whose items need all items of ``after``, for example one table of all results (all to one).

        Failed items are left out. If items of ``after`` are left for a later run, no item is made. Results of items
        that ``collect`` no longer makes are removed.
        """
        return self._add(Node(stage, after=after, collect=collect, prunes=True, depth=after.depth + 1))

    @property
    def multiplies(self) -> bool:
        """True if one item may lead to many."""
        return any(node.split or node.parts for node in self.nodes)

    def followers(self, node: Node) -> list[Node]:
        """Return the nodes whose items are made from single items of ``node``."""
        return [other for other in self.nodes if other.after is node and (other.each or other.split)]

    def tables(self, node: Node) -> list[Node]:
        """Return the nodes whose items are made from all items of ``node``."""
        return [other for other in self.nodes if other.after is node and other.collect]

    def _add(self, node: Node) -> Node:
        if any(other.name == node.name for other in self.nodes):
            raise ValueError(f"the graph has two stages named {node.name}")
        self.nodes.append(node)
        return node
