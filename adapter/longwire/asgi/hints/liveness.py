"""Which variables of a suspended function will it still read?

Only those can be missed. What is assigned anew before it is read again, as a received message is,
or what only one part of a loop needs, is no state. It is told from the function's bytecode:
https://docs.python.org/3/library/dis.html
"""

from __future__ import annotations

import bisect
import dis
import functools
import re
from typing import TYPE_CHECKING, Any

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

_JUMPS = {*dis.hasjrel, *dis.hasjabs}
_ENDS = re.compile(r"JUMP_(FORWARD|BACKWARD|NO_INTERRUPT)|RETURN_|RAISE_|RERAISE")
_AWAITS = re.compile(r"SEND|JUMP_BACKWARD_NO_INTERRUPT")
_ACCESS = re.compile(r"(LOAD|STORE)_(?:FAST|DEREF)")


class _Step(NamedTuple):
    """An instruction: what it reads and assigns, and what may come after it."""

    reads: frozenset[str]
    assigns: frozenset[str]
    next: tuple[int, ...]


def read_later(frame: FrameType) -> frozenset[str]:
    """Return the variables that a suspended frame will read before it assigns them."""
    return _read_later(frame.f_code, frame.f_lasti)


@functools.lru_cache(1024)
def _read_later(code: CodeType, at: int) -> frozenset[str]:
    instructions = list(dis.get_instructions(code))
    offsets = [one.offset for one in instructions]
    here = max(0, bisect.bisect_right(offsets, at) - 1)
    received, line = _assigned_by_statement(instructions, here)
    # Who else reads a variable that functions share is not known.
    elsewhere = frozenset((*code.co_cellvars, *code.co_freevars))
    later = _live(code, instructions, offsets)[here] | elsewhere
    # Where an error may be handled, what is being received just now is its last value at best.
    return (later - received) | _on_stack(instructions, here, line) | _loops(instructions, here)


def _live(
    code: CodeType, instructions: list[dis.Instruction], offsets: list[int]
) -> list[frozenset[str]]:
    """Return for each instruction what it and its successors read before it is assigned."""
    handlers: list[list[int]] = [[] for _ in instructions]
    bytecode: Any = dis.Bytecode(code)  # no stub knows its exception table
    for entry in bytecode.exception_entries:
        target = bisect.bisect_left(offsets, entry.target)
        for number in range(*(bisect.bisect_left(offsets, o) for o in (entry.start, entry.end))):
            handlers[number].append(target)
    steps = [
        _step(instructions, offsets, number, handlers[number])
        for number in range(len(instructions))
    ]
    live: list[frozenset[str]] = [frozenset()] * (len(steps) + 1)
    changed = True
    while changed:
        changed = False
        for number in reversed(range(len(steps))):
            step = steps[number]
            after = frozenset().union(*(live[one] for one in step.next))
            now = step.reads | (after - step.assigns)
            if now != live[number]:
                live[number], changed = now, True
    return live


def _step(
    instructions: list[dis.Instruction], offsets: list[int], number: int, handlers: list[int]
) -> _Step:
    instruction = instructions[number]
    following = list(handlers)
    if instruction.opcode in _JUMPS:
        following.append(bisect.bisect_left(offsets, instruction.argval))
    if not _ENDS.match(instruction.opname):
        following.append(number + 1)
    reads: set[str] = set()
    assigns: set[str] = set()
    for what, name in _accesses(instruction):
        if what == "STORE":
            assigns.add(name)
        elif name not in assigns:
            reads.add(name)
    return _Step(frozenset(reads), frozenset(assigns), tuple(following))


def _accesses(instruction: dis.Instruction) -> Iterator[tuple[str, str]]:
    """Walk what an instruction reads and assigns; some do two things at once."""
    # Around a comprehension, a variable of the same name is only put aside.
    if instruction.opname != "LOAD_FAST_AND_CLEAR":
        told = instruction.argval
        names = told if isinstance(told, tuple) else (told,)
        yield from zip(_ACCESS.findall(instruction.opname), names, strict=False)


def _assigned_by_statement(
    instructions: list[dis.Instruction], here: int
) -> tuple[frozenset[str], int | None]:
    """Return what the statement that waits assigns, and on which line."""
    names: set[str] = set()
    for instruction in instructions[here:]:
        stored = {name for what, name in _accesses(instruction) if what == "STORE"}
        names |= stored
        if names and not stored:
            break
        if instruction.opname == "POP_TOP" or (
            instruction.opcode in _JUMPS and not _AWAITS.match(instruction.opname)
        ):
            break
        if stored:
            line = _line(instruction)
    return frozenset(names), line if names else None


def _on_stack(instructions: list[dis.Instruction], here: int, line: int | None) -> frozenset[str]:
    """Return what the statement that waits has read already: `n += int(await receive())`."""
    lines = {line, _line(instructions[here])} - {None}
    return frozenset(
        name
        for instruction in instructions[:here]
        if _line(instruction) in lines
        for what, name in _accesses(instruction)
        if what == "LOAD"
    )


def _loops(instructions: list[dis.Instruction], here: int) -> frozenset[str]:
    """Return the variables of the `for` loops around: they tell how far a loop has come."""
    at = instructions[here].offset
    names: set[str] = set()
    for number, instruction in enumerate(instructions[:here]):
        if instruction.opname == "FOR_ITER" and instruction.argval > at:
            stored = _assigned_by_statement(instructions, number + 1)[0]
            names.update(name for name in stored if not name.startswith("_"))
    return frozenset(names)


def _line(instruction: dis.Instruction) -> int | None:
    return None if instruction.positions is None else instruction.positions.lineno


def attributes_assigned_next(frame: FrameType) -> frozenset[str]:
    """Return the attributes that a suspended frame assigns as soon as it goes on."""
    return _attributes_assigned_from(frame.f_code, frame.f_lasti)


def attributes_assigned_first(code: CodeType) -> frozenset[str]:
    """Return the attributes that a function assigns in any case, and before it reads them."""
    return _attributes_assigned_from(code, 0)


@functools.lru_cache(1024)
def _attributes_assigned_from(code: CodeType, at: int) -> frozenset[str]:
    read: set[str] = set()
    assigned: set[str] = set()
    for instruction in dis.get_instructions(code):
        if instruction.offset <= at:
            continue
        if instruction.opcode in _JUMPS and not _AWAITS.match(instruction.opname):
            break
        if instruction.opname == "STORE_ATTR" and instruction.argval not in read:
            assigned.add(instruction.argval)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            read.add(instruction.argval)
    return frozenset(assigned)


# Where attributes get their first value.
_BEGINNINGS = {"__init__", "connect", "on_connect", "websocket_connect"}


def line_of_attribute(codes: Iterator[CodeType], name: str) -> tuple[str, int] | None:
    """Return the file and line where code changes an attribute, as far as can be seen."""
    found: list[tuple[bool, bool, str, int]] = []
    for code in codes:
        for instruction in dis.get_instructions(code):
            if instruction.argval == name and instruction.opname.endswith(("_ATTR", "_METHOD")):
                line = _line(instruction) or code.co_firstlineno
                begins, reads = code.co_name in _BEGINNINGS, instruction.opname != "STORE_ATTR"
                found.append((begins, reads, code.co_filename, line))
    return min(found)[2:] if found else None
