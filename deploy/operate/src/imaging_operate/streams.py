"""Sorted streams side by side: millions of keys are compared with only a page of them in memory."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

L = TypeVar("L")
R = TypeVar("R")


def side_by_side(
    left: Iterable[L], right: Iterable[R], left_key: Callable[[L], str], right_key: Callable[[R], str]
) -> Iterator[tuple[L | None, R | None]]:
    """Pairs of equal keys; None where the other side has none. Both must be in ascending order of their keys.

    >>> list(side_by_side("ac", "bc", str, str))
    [('a', None), (None, 'b'), ('c', 'c')]
    """
    lefts, rights = iter(left), iter(right)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and left_key(one) < right_key(other)):
            yield one, None
            one = next(lefts, None)
        elif one is None or left_key(one) > right_key(other):
            yield None, other
            other = next(rights, None)
        else:
            yield one, other
            one, other = next(lefts, None), next(rights, None)


def pages(source: Iterable[L], size: int) -> Iterator[list[L]]:
    """Lists of at most `size`."""
    page: list[L] = []
    for one in source:
        page.append(one)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
