"""`typing.NamedTuple` at a fifth of what it costs, for a cold start, which makes forty of them.

That one, and `collections.namedtuple`, compile a constructor for each class and make the same five
methods anew. Here a class inherits those, and its constructor is one that came compiled with this
module, with the arguments renamed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from _collections import _tuplegetter  # what finds a field for `collections.namedtuple`
    from types import FunctionType

    _new = tuple.__new__
    # By the number of fields, from one on.
    _CONSTRUCTORS = (
        lambda cls, a: _new(cls, (a,)),
        lambda cls, a, b: _new(cls, (a, b)),
        lambda cls, a, b, c: _new(cls, (a, b, c)),
        lambda cls, a, b, c, d: _new(cls, (a, b, c, d)),
        lambda cls, a, b, c, d, e: _new(cls, (a, b, c, d, e)),
        lambda cls, a, b, c, d, e, f: _new(cls, (a, b, c, d, e, f)),
        lambda cls, a, b, c, d, e, f, g: _new(cls, (a, b, c, d, e, f, g)),
        lambda cls, a, b, c, d, e, f, g, h: _new(cls, (a, b, c, d, e, f, g, h)),
        lambda cls, a, b, c, d, e, f, g, h, i: _new(cls, (a, b, c, d, e, f, g, h, i)),
    )

    class _Tuple(tuple):
        """What is the same for all."""

        __slots__ = ()

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _replace(self, /, **changes):
            made = _new(type(self), map(changes.pop, self._fields, self))
            if changes:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(changes)}")
            return made

        __replace__ = _replace  # for `copy.replace`, from Python 3.13 on

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({fields})"

        def __getnewargs__(self):
            return tuple(self)  # for copies and pickles

    class _Maker(type):
        """Makes a class of what looks like one of `typing`'s."""

        def __new__(cls, name, bases, body):
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = tuple(body["__annotations__"])
            defaults = {field: body[field] for field in fields if field in body}
            body |= {field: _tuplegetter(index, None) for index, field in enumerate(fields)}
            body |= {"__slots__": (), "__match_args__": fields, "_fields": fields}
            body |= {"_field_defaults": defaults, "__new__": _constructor(name, fields)}
            body["__new__"].__defaults__ = tuple(defaults.values())
            return type(name, (_Tuple,), body)

    def _constructor(name, fields):
        if len(fields) <= len(_CONSTRUCTORS):
            compiled = _CONSTRUCTORS[len(fields) - 1]
        else:
            arguments = ", ".join(fields)
            compiled = eval(f"lambda cls, {arguments}: _new(cls, ({arguments}))")
        code = compiled.__code__.replace(
            co_varnames=("cls", *fields), co_name="__new__", co_qualname=f"{name}.__new__"
        )
        return FunctionType(code, globals())

    class NamedTuple(metaclass=_Maker):
        """What the classes are written as sub-classes of; they are none."""
