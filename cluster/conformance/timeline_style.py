"""Looks of the picture of a run. Colours are told apart by colour-blind people (Okabe and Ito)."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ground: light-dark(#fff, #16181c);
  --ink: light-dark(#1d2126, #e3e6ea); --faint: light-dark(#6a727c, #98a1ac);
  --line: light-dark(#d8dce1, #343a42); --lane: light-dark(#f5f6f8, #1e2126);
  --ok: #009e73; --fail: #e69f00; --info: #cc79a7; --open: light-dark(#0072b2, #56b4e9);
  --closed: light-dark(#c4cad1, #454c55); --down: light-dark(#3c434b, #9aa4af);
  --fault: #d55e00; --violation: light-dark(#c8001e, #ff5468); }
:root[data-theme=light] { color-scheme: light } :root[data-theme=dark] { color-scheme: dark }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 13px/1.45 system-ui, sans-serif }
header { position: sticky; top: 0; z-index: 1; background: var(--ground); padding: 10px 12px 0;
  border-bottom: 1px solid var(--line) }
h1 { font-size: 16px; margin: 0 0 4px } h1 small { font-weight: normal; color: var(--faint) }
ul.violations { margin: 0 0 6px; padding: 0; list-style: none; max-height: 9em; overflow: auto }
ul.violations li { margin: 2px 0; overflow-wrap: anywhere }
ul.violations button { border-color: var(--violation); color: var(--violation); font-weight: 600 }
p { margin: 0 0 6px } p.passed { color: var(--ok) } p.key { color: var(--faint) }
p.key i { display: inline-block; width: 14px; height: 9px; margin: 0 4px 0 10px }
nav { display: flex; flex-wrap: wrap; gap: 6px; margin-bottom: 6px; align-items: center }
button, input { font: inherit; color: inherit; background: var(--lane); padding: 1px 8px;
  border: 1px solid var(--line); border-radius: 4px }
button { cursor: pointer } button:disabled { color: var(--faint) }
input { flex: 0 1 26em } #theme { margin-left: auto }
button:focus-visible, input:focus-visible { outline: 2px solid var(--open) }
svg { display: block; width: 100%; font: 11px system-ui, sans-serif }
#overview { height: 26px; cursor: pointer } #axis { height: 34px }
main { padding: 0 12px 24px } #lanes { cursor: grab; touch-action: pan-y }
#lanes.drag { cursor: grabbing }
text { fill: var(--ink) } text.faint { fill: var(--faint) }
text.inside { fill: #fff; pointer-events: none } text.group { font-weight: 600 }
text.kind { font-size: 8px; text-anchor: end; fill: var(--faint) }
.lane { fill: var(--lane) } .grid { stroke: var(--line) }
.phase { stroke: var(--faint); stroke-dasharray: 4 3 }
.ok { fill: var(--ok); background: var(--ok) } .fail { fill: var(--fail); background: var(--fail) }
.info { fill: var(--info); background: var(--info) }
.open { fill: var(--open); background: var(--open) }
.closed { fill: var(--closed); background: var(--closed) }
.up { fill: var(--line) } .down { fill: var(--down); background: var(--down) }
.fault { fill: var(--fault); background: var(--fault) } .band { fill: var(--fault); opacity: .16 }
.band.lit { opacity: .45 } .tick { fill: var(--open) } .tick.gate { fill: var(--violation) }
.tick.metadata { fill: var(--info) } .tick.bookmark { fill: var(--faint) }
.tick.acknowledged { fill: var(--ok) } .tick.opened { fill: var(--fail) }
.violation { stroke: var(--violation); background: var(--violation); stroke-width: 1 }
.violation.first { stroke-width: 2.5 } .flag { fill: var(--violation) }
.proof { fill: none; stroke: var(--violation); stroke-width: 2 } .dim { opacity: .15 }
.window { fill: var(--open); opacity: .2; stroke: var(--open) }
#tip { position: fixed; z-index: 2; max-width: 46em; padding: 4px 8px; pointer-events: none;
  background: var(--ink); color: var(--ground); border-radius: 4px; white-space: pre-wrap;
  overflow-wrap: anywhere }
#events { max-height: 24em; overflow: auto; font: 12px/1.5 ui-monospace, monospace;
  list-style: none; padding: 0; margin: 4px 0 }
#events li { white-space: pre-wrap; overflow-wrap: anywhere }
#events li.proof { color: var(--violation); font-weight: 600 } summary { margin-top: 10px }
"""
