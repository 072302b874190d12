"""The protocol of two controllers, an operator and a store, in every order of events: exhaustive, breadth first.

Store: one document (revision, step of the ramp, an operator's setting), a lease, and rules that are the
implementation's own (`core.lease`). Controllers: acquire, check the lease, read, decide, send, hear; each may pause
anywhere and for ever (others and time go on), crash anywhere and come back without its memory. The wire: a write may
arrive late, twice, never; its answer may be lost; acquiring, renewing and giving back may happen without the controller
hearing of it. Time is told relative to now and a token by whether it is the newest, so the states are finite without a
bound on time or on crashes. States that differ only in what can never matter again are one.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from rollout.core import lease as rules
from rollout.core.lease import Held, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAST_STEP, TTL, WIRE_MAX, EDITS_MAX = 2, 1, 2, 1
NAMES = ("a", "b")


class Document(NamedTuple):
    revision: int = 0
    step: int = 0
    setting: int = 0


class Write(NamedTuple):
    """`document` was made from the one of `expected`; `token` None: an operator's."""

    token: int | None
    expected: int
    document: Document


class Actor(NamedTuple):
    """A controller or, without a token, the operator. `phase`: dead, idle, leased, decided, sent."""

    phase: str = "idle"
    token: int | None = None
    left: int = 0
    """How long it believes to hold the lease."""
    read: Document | None = None


class World(NamedTuple):
    held: Held
    document: Document
    advances: tuple[int, ...]
    """Steps that were entered, in the order of the commits."""
    controllers: tuple[Actor, Actor]
    operator: Actor
    wire: frozenset[Write]


class ProtocolError(AssertionError):
    """An invariant does not hold."""


START = World(Held(), Document(), (), (Actor(), Actor()), Actor(), frozenset())
ANYBODY = -1
"""A move of time or the wire; moves of a controller carry its number, those of bad luck None."""
Move = tuple[int | None, World]


def deliver(world: World, write: Write, judge: Callable[[Held, int | None, int, int], Verdict]) -> World:
    """Let a write take effect, or not, and hold the store to what it promises."""
    if judge(world.held, write.token, world.document.revision, write.expected) is not Verdict.DONE:
        return world
    new = write.document
    if write.token is not None and write.token != world.held.token:
        raise ProtocolError("a stale writer has written")
    if new.setting < world.document.setting:
        raise ProtocolError("an operator's change was overwritten")
    advances = world.advances + ((new.step,) if write.token is not None else ())
    if advances != tuple(range(1, len(advances) + 1)):
        raise ProtocolError(f"transitions {advances}: one was made twice, or left out")
    return world._replace(document=new, advances=advances)


def with_actor(world: World, number: int, actor: Actor) -> World:
    first, second = world.controllers
    return world._replace(controllers=(actor, second) if number == 0 else (first, actor))


def acquired(world: World, number: int) -> World:
    """The store hands the lease to this controller, if it does."""
    held = rules.acquire(world.held, NAMES[number], TTL, 0)
    return world if held is None else world._replace(held=held)


def moves_of_lease(world: World, number: int) -> Iterator[Move]:
    actor = world.controllers[number]
    after = acquired(world, number)
    if after is not world:
        yield None, after  # the answer was lost, or the question came twice
        if actor.phase == "idle":
            yield number, with_actor(after, number, Actor("leased", after.held.token, TTL))
    if actor.token is not None:
        renewed = rules.renew(world.held, actor.token, TTL, 0)
        released = rules.release(world.held, actor.token)
        for held in (renewed, released):
            if held is not None:
                yield None, world._replace(held=held)  # heard of by nobody
        if actor.phase == "leased":
            if renewed is not None:
                yield None, with_actor(world._replace(held=renewed), number, actor._replace(left=TTL))
            if released is not None:
                yield None, with_actor(world._replace(held=released), number, Actor())


def moves_of_controller(world: World, number: int) -> Iterator[Move]:
    actor = world.controllers[number]
    yield None, with_actor(world, number, Actor())  # crashed, and back
    yield from moves_of_lease(world, number)
    if actor.phase == "leased" and actor.left == 0:
        yield number, with_actor(world, number, Actor())
    if actor.phase == "leased" and actor.left > 0 and world.document.step < LAST_STEP:
        yield number, with_actor(world, number, actor._replace(phase="decided", read=world.document))
    if actor.phase == "decided" and len(world.wire) < WIRE_MAX:
        write = advance(actor)
        sent = world._replace(wire=world.wire | {write})
        yield number, with_actor(sent, number, actor._replace(phase="sent"))
    if actor.phase == "sent":  # no answer within its time: read anew
        yield number, with_actor(world, number, Actor("leased", actor.token, actor.left))


def advance(actor: Actor) -> Write:
    read = actor.read
    assert read is not None
    document = Document(read.revision + 1, read.step + 1, read.setting)
    return Write(actor.token, read.revision, document)


def moves_of_operator(world: World) -> Iterator[Move]:
    actor = world.operator
    if actor.phase == "idle" and world.document.setting < EDITS_MAX:
        yield None, world._replace(operator=Actor("decided", read=world.document))
    elif actor.read is not None and len(world.wire) < WIRE_MAX:
        read = actor.read
        write = Write(None, read.revision, Document(read.revision + 1, read.step, read.setting + 1))
        yield None, world._replace(operator=Actor(), wire=world.wire | {write})


def moves_of_wire(world: World, judge: Callable[[Held, int | None, int, int], Verdict]) -> Iterator[Move]:
    for write in world.wire:
        rest = world.wire - {write}
        yield None, world._replace(wire=rest)
        after = deliver(world, write, judge)
        yield None, after  # it will arrive again
        yield ANYBODY, after._replace(wire=rest)
        for number, actor in enumerate(world.controllers):
            if actor.phase == "sent" and advance(actor) == write:
                stale = write.token != world.held.token
                heard = Actor() if stale else Actor("leased", actor.token, actor.left)
                yield ANYBODY, with_actor(after._replace(wire=rest), number, heard)


def later(world: World) -> World:
    held = world.held._replace(until_ms=max(world.held.until_ms - 1, 0))
    first, second = (actor._replace(left=max(actor.left - 1, 0)) for actor in world.controllers)
    return world._replace(held=held, controllers=(first, second))


def canonical(world: World, *, drop_late: bool = True) -> World:
    """Forget a holder whose lease lapsed, which of the older tokens one is, and writes that came too late.

    Tokens only grow, so no older one counts again (1: the newest, 0: an older one). Revisions only grow, so a write for
    an older one can't take effect any more (`drop_late`: where the rule that is tried says so).
    """
    held, document, advances, controllers, operator, wire = world
    newest = held.token
    if not rules.is_live(held, 0):
        held = Held(newest)
    held = held._replace(token=min(newest, 1))
    first, second = (actor._replace(token=renamed(actor.token, newest)) for actor in controllers)
    timely = (write for write in wire if write.expected >= document.revision or not drop_late)
    kept = frozenset(write._replace(token=renamed(write.token, newest)) for write in timely)
    return World(held, document, advances, (first, second), operator, kept)


def renamed(token: int | None, newest: int) -> int | None:
    return None if token is None else int(token == newest)


def moves(world: World, judge: Callable[[Held, int | None, int, int], Verdict]) -> Iterator[Move]:
    yield ANYBODY, later(world)
    for number in (0, 1):
        yield from moves_of_controller(world, number)
    yield from moves_of_operator(world)
    yield from moves_of_wire(world, judge)


def explore(
    judge: Callable[[Held, int | None, int, int], Verdict] = rules.judge_write,
    reduced: Callable[[World], World] = canonical,
) -> dict[World, list[Move]]:
    """Every reachable state with its moves; ProtocolError where an invariant doesn't hold."""
    edges: dict[World, list[Move]] = {}
    waiting = deque([START])
    seen = {START}
    while waiting:
        world = waiting.popleft()
        edges[world] = [(who, reduced(after)) for who, after in moves(world, judge)]
        for _, after in edges[world]:
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return edges


def able_alone(edges: dict[World, list[Move]], number: int) -> set[World]:
    """States from which this controller, time and the wire can make the next step, whatever the others leave undone."""
    before: dict[World, list[World]] = {}
    able = set()
    for world, made in edges.items():
        for who, after in made:
            if who in {number, ANYBODY}:
                before.setdefault(after, []).append(world)
                if after.document.step > world.document.step:
                    able.add(world)
    waiting = deque(able)
    while waiting:
        for earlier in before.get(waiting.popleft(), ()):
            if earlier not in able:
                able.add(earlier)
                waiting.append(earlier)
    return able


@pytest.fixture(scope="module")
def edges() -> dict[World, list[Move]]:
    return explore()


def test_no_order_of_events_breaks_an_invariant(edges: dict[World, list[Move]]) -> None:
    """Each transition at most once, no stale writer, no operator's change lost: `deliver` checks at every commit."""
    print(f"{len(edges)} states, {sum(map(len, edges.values()))} moves")  # noqa: T201  shown with -s
    ends = {(world.document.step, world.document.setting) for world in edges}
    assert ends == {(step, setting) for step in range(LAST_STEP + 1) for setting in range(EDITS_MAX + 1)}
    assert any(
        world.controllers[0].token != world.held.token for world in edges if world.controllers[0].phase == "sent"
    )


@pytest.mark.parametrize("number", [0, 1])
def test_any_live_controller_alone_can_always_make_the_next_step(edges: dict[World, list[Move]], number: int) -> None:
    able = able_alone(edges, number)
    stuck = [world for world in edges if world.document.step < LAST_STEP and world not in able]
    assert stuck == []


def without_fencing(held: Held, token: int | None, stored: int, expected: int) -> Verdict:
    del token
    return rules.judge_write(held, None, stored, expected)


def without_comparing(held: Held, token: int | None, stored: int, expected: int) -> Verdict:
    del expected
    return rules.judge_write(held, token, stored, stored)


@pytest.mark.parametrize(
    ("judge", "broken"),
    [(without_fencing, "a stale writer"), (without_comparing, "overwritten|twice")],
)
def test_the_model_sees_what_each_rule_is_for(
    judge: Callable[[Held, int | None, int, int], Verdict], broken: str
) -> None:
    with pytest.raises(ProtocolError, match=broken):
        explore(judge, partial(canonical, drop_late=False))
