"""What a mutant is: one defect, planted from outside into the code that runs."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


@dataclass(frozen=True, slots=True)
class Mutant:
    """One defect. ``rule`` is the rule it breaks, ``story`` what a programmer might have done.

    ``apply`` plants it in this process until the context is left. ``real``: clients can see it from
    outside, so that runs on real processes must catch it too.
    """

    name: str
    rule: str
    story: str
    apply: Callable[[], AbstractContextManager[object]]
    real: bool = False


@contextmanager
def replaced(owner: object, name: str, value: Any) -> Iterator[None]:
    """Has ``owner.name`` be ``value``. AttributeError if there is no such attribute.

    A name that has moved must not make a mutant of nothing: it would survive, and hide why.
    """
    # From the class itself, so that what is inherited, static or a property is put back as it was.
    is_own = name in vars(owner)
    before = vars(owner)[name] if is_own else getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if is_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


@contextmanager
def all_of(*plants: AbstractContextManager[object]) -> Iterator[None]:
    """Several changes that are one defect."""
    with ExitStack() as stack:
        for plant in plants:
            stack.enter_context(plant)
        yield
