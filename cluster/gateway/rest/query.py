"""``/v1/rest/query``, ``/v2/rest/query`` and ``/v1/rest/mgmt``: queries and commands over HTTP.

A query endpoint answers commands that show, as the service does (Grafana sends them there), in its
own encoding; it refuses all others in the service's words. The management endpoint takes commands,
and queries behind a ``.show`` command.

Guarantees: those of :class:`cluster.gateway.answering.Answering`; a GET changes nothing; an error
is raised before there is a response, but for a result that is larger than allowed: its first rows
are answered, and behind them the error, as the service does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from cluster.catalog.model import DEFAULT_DATABASE
from cluster.errors import InvalidRequestError, LimitExceededError, TimedOutError
from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.http.routes import Route
from cluster.gateway.rest.app import ServiceFacts
from cluster.gateway.rest.batches import is_command, shows, statements
from cluster.gateway.rest.bodies import command_seconds, encoding_of, read_request
from cluster.gateway.rest.command_tables import command_table
from cluster.gateway.rest.dataset import Completion, Dataset, Failure
from cluster.gateway.rest.dataset_v1 import encode_command_v1, encode_v1
from cluster.gateway.rest.dataset_v2 import encode_v2
from cluster.gateway.rest.errors import ErrorContext, error_values
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cluster.clock import Clock
    from cluster.commands.service import CommandService
    from cluster.gateway.answering import Answering, Results
    from cluster.gateway.http.messages import HttpRequest
    from cluster.gateway.rest.bodies import RestRequest
    from cluster.gateway.rest.headers import Authenticate
    from cluster.limits import Limits
    from cluster.query.binding import QueryResult

    Encode = Callable[[Dataset], bytes]

_NO_FACTS: Final = ServiceFacts("", "", 0)
_CLIENT_VERSION: Final = "x-ms-client-version"
_JAVA: Final = "kusto.java.client"
_IDENTITY: Final = {"Content-Encoding": "identity"}
_ENCODED_INLINE_BYTES: Final = 256 * 1024
"""Larger answers are encoded in a worker thread; Arrow's kernels do not hold the interpreter."""


@dataclass(frozen=True, slots=True)
class RestQueryStatistics:
    """Requests since the start; ``answered`` with a dataset, ``refused`` with an error."""

    answered: int
    refused: int
    encoded_bytes: int
    encoded_in_threads: int
    """Answers that were too large to be encoded in the thread that owns all state."""


class RestQueries:
    """The endpoints of queries and commands."""

    def __init__(
        self,
        answering: Answering,
        commands: CommandService,
        *,
        authenticate: Authenticate,
        clock: Clock,
        limits: Limits = LIMITS,
        facts: ServiceFacts = _NO_FACTS,
    ) -> None:
        self._answering = answering
        self._commands = commands
        self._authenticate = authenticate
        self._clock = clock
        self._limits = limits
        self._facts = facts
        self._answered = self._refused = self._encoded_bytes = self._in_threads = 0

    def routes(self) -> tuple[Route, ...]:
        """All of them."""
        return (
            Route("POST", "/v1/rest/mgmt", partial(self._counted, self._manage)),
            Route("GET", "/v1/rest/query", partial(self._counted, self._query_v1)),
            Route("POST", "/v1/rest/query", partial(self._counted, self._query_v1)),
            Route("GET", "/v2/rest/query", partial(self._counted, self._query_v2)),
            Route("POST", "/v2/rest/query", partial(self._counted, self._query_v2)),
        )

    def statistics(self) -> RestQueryStatistics:
        """Counters since the start."""
        return RestQueryStatistics(
            self._answered, self._refused, self._encoded_bytes, self._in_threads
        )

    async def _counted(
        self, answer: Callable[[HttpRequest], Awaitable[bytes]], request: HttpRequest
    ) -> HttpResponse:
        try:
            body = await answer(request)
        except BaseException:
            self._refused += 1
            raise
        self._answered += 1
        self._encoded_bytes += len(body)
        return HttpResponse(body=body, headers=_headers_for(request))

    async def _manage(self, request: HttpRequest) -> bytes:
        asked = read_request(request, self._authenticate(request.headers))
        return await self._respond(asked, encode_v1, encode_command_v1)

    async def _query_v1(self, request: HttpRequest) -> bytes:
        asked = read_request(request, self._authenticate(request.headers))
        return await self._query(asked, encode_v1, encode_command_v1)

    async def _query_v2(self, request: HttpRequest) -> bytes:
        asked = read_request(request, self._authenticate(request.headers))
        encoding = encoding_of(asked.client, request.headers.get(_CLIENT_VERSION, ""))
        encode = partial(encode_v2, encoding=encoding)
        return await self._query(asked, encode, encode)

    async def _query(self, asked: RestRequest, encode: Encode, encode_command: Encode) -> bytes:
        if not is_command(asked.text):
            return await self._answer(asked, asked.text, (), encode, self._clock.monotonic())
        if any(is_command(part) and not shows(part) for part in statements(asked.text)):
            raise InvalidRequestError(
                "Control commands (starting with a dot '.') cannot be served from the query "
                "endpoint unless they are .show control commands.",
                remedy="Send the command to /v1/rest/mgmt.",
            )
        return await self._respond(asked, encode, encode_command)

    async def _respond(self, asked: RestRequest, encode: Encode, encode_command: Encode) -> bytes:
        """Runs a batch within its time: commands, and queries behind them in its last part."""
        seconds = command_seconds(asked.client, self._limits)
        with trio.move_on_after(seconds):
            return await self._respond_untimed(asked, encode, encode_command)
        raise TimedOutError(
            f"The command ran longer than {seconds:g} seconds. What it had done by then is done.",
            metadata={"limit": "command_seconds"},
        )

    async def _respond_untimed(
        self, asked: RestRequest, encode: Encode, encode_command: Encode
    ) -> bytes:
        began = self._clock.monotonic()
        *first, last = statements(asked.text)
        if first and is_command(last) and not shows(last):
            raise InvalidRequestError(
                "Behind a command only queries and commands that show can follow.",
                remedy="Send the commands one by one, or in .execute database script.",
            )
        results = [await self._command(asked, text) for text in first]
        if first and not is_command(last):
            return await self._answer(asked, last, tuple(results), encode, began)
        results.append(await self._command(asked, last))
        dataset = self._dataset(asked, tuple(results), began)
        return await self._encoded(dataset, encode if first else encode_command)

    async def _command(self, asked: RestRequest, text: str) -> QueryResult:
        return command_table(await self._commands.execute(asked.database, text, asked.client))

    async def _answer(
        self, asked: RestRequest, text: str, before: Results, encode: Encode, began: float
    ) -> bytes:
        try:
            return await self._answer_once(asked, text, before, encode, began, None)
        except LimitExceededError as error:
            kept = _rows_kept(error)
            if kept is None:
                raise
            # As the service does: the first rows, and behind them why there are no more.
            options = {**asked.client.options, "query_take_max_records": kept}
            again = replace(asked, client=replace(asked.client, options=options))
            failure = Failure(error_values(error, self._context(asked)), error.message)
            return await self._answer_once(again, text, before, encode, began, failure)

    async def _answer_once(
        self,
        asked: RestRequest,
        text: str,
        before: Results,
        encode: Encode,
        began: float,
        failure: Failure | None,
    ) -> bytes:
        async def encoded(results: Results) -> bytes:
            dataset = self._dataset(asked, before + results, began)
            return await self._encoded(replace(dataset, failure=failure), encode)

        database = asked.database or DEFAULT_DATABASE
        answered = await self._answering.answer(database, text, asked.client, encoded)
        return answered.encoded

    def _context(self, asked: RestRequest) -> ErrorContext:
        return ErrorContext(
            service=self._facts.cluster,
            machine=self._facts.node,
            process_id=self._facts.process_id,
            now_ns=self._clock.now_ns(),
            client_request_id=asked.client.request_id,
            activity_id=asked.client.activity_id,
        )

    def _dataset(self, asked: RestRequest, results: Results, began: float) -> Dataset:
        completion = Completion(
            asked.client.request_id,
            asked.client.activity_id,
            self._clock.now_ns(),
            self._clock.monotonic() - began,
        )
        return Dataset(results, completion)

    async def _encoded(self, dataset: Dataset, encode: Encode) -> bytes:
        size = sum(result.table.get_total_buffer_size() for result in dataset.results)
        if size <= _ENCODED_INLINE_BYTES:
            return encode(dataset)
        self._in_threads += 1
        return await trio.to_thread.run_sync(encode, dataset)


def _rows_kept(error: LimitExceededError) -> int | None:
    """How many rows of a result that is too large are answered; None: that was not the matter."""
    if error.metadata.get("limit") == "query_rows":
        return int(error.metadata["limit_value"])
    return 0 if error.metadata.get("limit") == "query_result_bytes" else None


def _headers_for(request: HttpRequest) -> Mapping[str, str]:
    """Java's ``executeStreamingQuery`` fails if there is no ``Content-Encoding`` (kusto-data 7)."""
    version = request.headers.get(_CLIENT_VERSION, "")
    return _IDENTITY if version.lower().startswith(_JAVA) else {}
