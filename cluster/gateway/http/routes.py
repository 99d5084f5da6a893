"""Which handler answers which path. Pure: values in, a handler or a typed error out.

A pattern is a path whose segments in braces take any value: ``/v1/rest/ingest/{database}/{table}``;
a last segment ``{path*}`` takes all that is left, at least one character. Paths are percent-decoded
before they are matched, as clients expect that encode the slash between account and queue. Of two
patterns that fit, the one that names more segments wins; names compare exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cluster.errors import MethodNotAllowedError, RouteNotFoundError
from cluster.gateway.http.messages import HttpResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.gateway.http.messages import Handler, HttpRequest

_SHOWN_CHARACTERS: Final = 256
_REST: Final = "*"


@dataclass(frozen=True, slots=True)
class Route:
    """``method`` is upper case. ``handler`` gets the path's values as ``request.values``.

    ``body_bytes`` is the largest body it takes; 0: ``limits.http_body_bytes``.
    """

    method: str
    pattern: str
    handler: Handler
    body_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """A pattern that fits a path: its routes by method, and the values in the path."""

    routes: Mapping[str, Route]
    values: Mapping[str, str]

    @property
    def methods(self) -> tuple[str, ...]:
        """What may be asked, as ``Allow`` names it."""
        known = {"OPTIONS", *self.routes}
        if "GET" in known:
            known.add("HEAD")
        return tuple(sorted(known))

    def route(self, method: str) -> Route | None:
        """The route of a method; HEAD is answered as GET."""
        found = self.routes.get(method)
        return self.routes.get("GET") if found is None and method == "HEAD" else found


class _Pattern:
    """One pattern, taken apart. ``names`` has a name where the segment is a value, else ''."""

    def __init__(self, text: str) -> None:
        if not text.startswith("/"):
            raise ValueError(f"a pattern starts with a slash: {text!r}")
        self.segments = text[1:].split("/")
        self.names = [
            segment[1:-1] if segment.startswith("{") and segment.endswith("}") else ""
            for segment in self.segments
        ]
        self.takes_rest = self.names[-1].endswith(_REST)
        self.routes: dict[str, Route] = {}
        self.literal_count = sum(not name for name in self.names)

    def match(self, segments: list[str]) -> dict[str, str] | None:
        count = len(self.segments)
        if self.takes_rest:
            if len(segments) < count:
                return None
            segments = [*segments[: count - 1], "/".join(segments[count - 1 :])]
        elif len(segments) != count:
            return None
        values: dict[str, str] = {}
        for literal, name, segment in zip(self.segments, self.names, segments, strict=True):
            if not name:
                if literal != segment:
                    return None
            elif not segment:
                return None
            else:
                values[name.removesuffix(_REST)] = segment
        return values


class Routes:
    """A table of routes. Filled when the node is wired, then only read."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._exact: dict[str, _Pattern] = {}
        # By first segment; "" has those whose first segment is a value.
        self._patterns: dict[str, list[_Pattern]] = {"": []}
        self.add(*routes)

    def add(self, *routes: Route) -> None:
        """Adds routes. Raises ValueError for a method and pattern that is there already."""
        for route in routes:
            pattern = self._pattern(route.pattern)
            if route.method in pattern.routes:
                raise ValueError(f"{route.method} {route.pattern} has two handlers")
            pattern.routes[route.method] = route

    def find(self, path: str) -> Match | None:
        """The pattern that fits a percent-decoded path; None: there is none."""
        exact = self._exact.get(path)
        if exact is not None:
            return Match(exact.routes, {})
        segments = path[1:].split("/")
        for pattern in (*self._patterns.get(segments[0], ()), *self._patterns[""]):
            values = pattern.match(segments)
            if values is not None:
                return Match(pattern.routes, values)
        return None

    def body_bytes(self, method: str, path: str, default: int) -> int:
        """The largest body that a request to ``path`` may have."""
        found = self.find(path)
        route = None if found is None else found.route(method)
        return default if route is None or not route.body_bytes else route.body_bytes

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Finds the request's handler and passes it on; see :meth:`dispatch`."""
        found = self.find(request.path)
        if found is not None:
            request = replace(request, values=found.values)
        return await self.dispatch(request, found)

    async def dispatch(self, request: HttpRequest, found: Match | None) -> HttpResponse:
        """Passes the request to its handler. ``found`` is what :meth:`find` has for its path.

        The request has the values of the match already. Raises RouteNotFoundError,
        MethodNotAllowedError (``allow`` in its metadata), and whatever the handler raises.
        """
        if found is None:
            path = request.path[:_SHOWN_CHARACTERS]
            raise RouteNotFoundError(f"there is nothing at {path}")
        route = found.route(request.method)
        if route is not None:
            return await route.handler(request)
        allow = ", ".join(found.methods)
        if request.method == "OPTIONS":
            return HttpResponse(status=200, content_type="", headers={"Allow": allow})
        raise MethodNotAllowedError(
            f"{request.path[:_SHOWN_CHARACTERS]} does not take {request.method[:32]}",
            metadata={"allow": allow},
        )

    def _pattern(self, text: str) -> _Pattern:
        pattern = _Pattern(text)
        if not any(pattern.names):
            return self._exact.setdefault(text, pattern)
        first = "" if pattern.names[0] else pattern.segments[0]
        alike = self._patterns.setdefault(first, [])
        for known in alike:
            if known.segments == pattern.segments:
                return known
        alike.append(pattern)
        alike.sort(key=lambda item: (item.takes_rest, -item.literal_count))
        return pattern
