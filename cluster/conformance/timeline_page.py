"""The picture of a run as one HTML file that needs nothing else: no network, no fonts. Pure."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Final

from cluster.conformance.timeline import timeline
from cluster.conformance.timeline_script import SCRIPT
from cluster.conformance.timeline_style import STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.conformance.faults import Schedule
    from cluster.conformance.history import History
    from cluster.conformance.verdict import Violation

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The page can load nothing, whatever stands in a message."""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title} <small>{subtitle}</small></h1>
{violations}
<nav aria-label="View">
<button id="whole" title="key 0">whole run</button>
<button id="first" title="key v">first violation</button>
<button id="in" title="key +">+</button>
<button id="out" title="key -">&minus;</button>
<input id="find" type="search" placeholder="find in events: a row id, a table, an error"
 aria-label="Find in events">
<span id="found"></span>
<button id="theme">light/dark</button>
</nav>
<p class="key"><i class="ok"></i>ok <i class="fail"></i>refused <i class="info"></i>nobody knows
<i class="open"></i>gate open <i class="closed"></i>closed <i class="down"></i>process down
<i class="fault"></i>fault <i class="violation"></i>violation.
Drag to move, Ctrl and wheel or double click to zoom.</p>
<svg id="overview" role="img" aria-label="The whole run; click to go there"></svg>
<svg id="axis" role="img" aria-label="Seconds since the run began"></svg>
</header>
<main>
<noscript><p>The picture is drawn by a script in this page; it loads nothing.</p></noscript>
<svg id="lanes" role="img" aria-label="Processes, gates, replication and clients"></svg>
<details open><summary>Events in view</summary><ol id="events"></ol></details>
</main>
<div id="tip" role="tooltip" hidden></div>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def timeline_page(
    history: History,
    schedule: Schedule,
    violations: Sequence[Violation],
    *,
    title: str,
) -> str:
    """The page. It opens at the first violation if there is one, else with the whole run."""
    data = timeline(history, schedule, violations)
    seconds, faults = data["end"], len(data["faults"])
    subtitle = f"{data['events']:,} events, {seconds:,.1f} s, {faults} faults"
    return _PAGE.format(
        policy=html.escape(_POLICY),
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        violations=_violations(violations),
        style=STYLE,
        script=SCRIPT,
        data=_embedded(data),
    )


def _embedded(data: object) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _violations(violations: Sequence[Violation]) -> str:
    if not violations:
        return '<p class="passed">No rule is violated.</p>'
    items = "".join(
        f'<li><button data-violation="{number}">{html.escape(violation.rule)} at '
        f"{violation.at:.3f} s</button> {html.escape(violation.message)}</li>"
        for number, violation in enumerate(violations)
    )
    return f'<ul class="violations">{items}</ul>'
