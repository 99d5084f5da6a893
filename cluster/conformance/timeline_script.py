"""What draws the picture of a run, in the reader's browser.

Only what is in view is drawn, and whatever would be narrower than :data:`BIN` pixels is drawn
together with its neighbours: a page of 20,000 events has some thousands of elements.
"""

from __future__ import annotations

from typing import Final

SCRIPT: Final = r"""
'use strict';
const D = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);
const GUTTER = 220, BAR = 16, SUB = 9, GAP = 4, BIN = 3, LISTED = 300;
const END = D.end || 1, SHORTEST = END / 1e5;
const NAMES = {process: 'processes', gate: 'gates', follow: 'replication', client: 'clients',
  other: 'notes'};
const WORST = {ok: 0, info: 1, fail: 2};
const proof = new Set(D.violations.flatMap(v => v.events));
const isProof = bar => proof.has(bar[5]) || proof.has(bar[6]);  // the call, or its outcome
let from = 0, to = END, width = 1000, needle = '', queued = false;

// Concurrent calls of one lane lie below each other, as few rows as can be.
function rows(items) {
  const ends = [];
  for (const item of items) {
    let row = ends.findIndex(end => end <= item[0]);
    if (row < 0) row = ends.length;
    ends[row] = item[1];
    item.row = row;
  }
  return Math.max(1, ends.length);
}
for (const lane of D.lanes) {
  lane.bars.sort((p, q) => p[0] - q[0] || p[5] - q[5]);
  lane.rows = lane.bars.length ? rows(lane.bars) : 0;
  lane.kinds = D.kinds.filter(kind => lane.ticks.some(tick => tick[1] === kind));
  lane.height = GAP + (lane.spans.length ? BAR : 0) + lane.rows * BAR + lane.kinds.length * SUB;
  lane.height = Math.max(lane.height, BAR + GAP);
}
const faults = D.faults.map((fault, index) => Object.assign([fault.from, fault.to], {index}));
const faultRows = faults.length ? rows(faults) : 0;

const x = at => GUTTER + (at - from) / (to - from) * (width - GUTTER);
const at = pixel => from + (pixel - GUTTER) / (width - GUTTER) * (to - from);
const escape = text => String(text).replace(/[&<>"]/g, c => '&#' + c.charCodeAt(0) + ';');
const rect = (a, b, y, height, kind, tip) => {
  const left = Math.max(GUTTER, a), right = Math.min(width, b);
  return right < left ? '' : `<rect x="${left.toFixed(1)}" y="${y}" height="${height}" ` +
    `width="${Math.max(1, right - left).toFixed(1)}" class="${kind}" data-tip="${tip}"/>`;
};
const line = (pixel, y, end, kind) => pixel < GUTTER || pixel > width ? '' :
  `<line x1="${pixel}" x2="${pixel}" y1="${y}" y2="${end}" class="${kind}"/>`;
const label = (pixel, y, text, kind = '') =>
  `<text x="${pixel}" y="${y}" class="${kind}">${escape(text)}</text>`;
const dim = text => needle && !text.toLowerCase().includes(needle) ? ' dim' : '';
const touches = (fault, lane) => {
  const hosts = fault.target.split('->').map(name => name.split('/')[0]);
  if (lane.group === 'process') return fault.target === lane.name ||
    (hosts.length === 1 && lane.name.split('/')[0] === hosts[0]);
  const words = lane.name.split(/[ \/]/);
  return (lane.group === 'follow' || lane.group === 'gate') && hosts.every(h => words.includes(h));
};

function drawBars(lane, index, y) {
  let out = '', bins = new Map();
  lane.bars.forEach((bar, number) => {
    if (bar[1] < from || bar[0] > to) return;
    const a = x(bar[0]), b = x(bar[1]), top = y + bar.row * BAR;
    if (b - a < BIN) {
      const key = bar.row * 1e6 + Math.floor(a / BIN), bin = bins.get(key);
      if (!bin) bins.set(key, {a, top, first: number, last: number, count: 1, worst: bar[2],
        hit: !dim(bar[4]), proof: isProof(bar)});
      else {
        bin.count++; bin.last = number; bin.hit ||= !dim(bar[4]); bin.proof ||= isProof(bar);
        if (WORST[bar[2]] > WORST[bin.worst]) bin.worst = bar[2];
      }
      return;
    }
    out += rect(a, b, top, BAR - 2, bar[2] + dim(bar[4]), `b,${index},${number},${number}`);
    if (isProof(bar)) out += rect(a, b, top, BAR - 2, 'proof', '');
    const space = Math.min(b, width) - Math.max(a, GUTTER);
    if (space > 8 * bar[3].length)
      out += label(Math.max(a, GUTTER) + 3, top + BAR - 5, bar[3], 'inside');
  });
  for (const bin of bins.values()) {
    out += rect(bin.a, bin.a + BIN, bin.top, BAR - 2, bin.worst + (bin.hit ? '' : ' dim'),
      `b,${index},${bin.first},${bin.last}`);
    if (bin.proof) out += rect(bin.a - 1, bin.a + BIN + 1, bin.top, BAR - 2, 'proof', '');
  }
  return out;
}

function drawTicks(lane, index, y) {
  let out = '', bins = new Map();
  lane.ticks.forEach((tick, number) => {
    if (tick[0] < from || tick[0] > to) return;
    const a = x(tick[0]), row = lane.kinds.indexOf(tick[1]);
    const key = row * 1e6 + Math.floor(a / BIN), bin = bins.get(key);
    if (!bin) bins.set(key, {a, row, first: number, last: number, count: 1, kind: tick[1],
      hit: !dim(tick[2]), proof: proof.has(tick[3])});
    else { bin.count++; bin.last = number; bin.hit ||= !dim(tick[2]);
      bin.proof ||= proof.has(tick[3]); }
  });
  for (const bin of bins.values()) {
    const top = y + bin.row * SUB, wide = bin.count > 1 ? BIN : 1.5;
    out += rect(bin.a, bin.a + wide, top, SUB - 1, `tick ${bin.kind}` + (bin.hit ? '' : ' dim'),
      `t,${index},${bin.first},${bin.last}`);
    if (bin.proof) out += rect(bin.a - 2, bin.a + wide + 2, top - 1, SUB + 1, 'proof', '');
  }
  return out;
}

function drawLanes() {
  let y = 6, out = '';
  if (faults.length) {
    out += label(0, y + 12, 'faults', 'group');
    for (const item of faults) {
      const fault = D.faults[item.index], a = x(item[0]), b = x(item[1]), top = y + item.row * BAR;
      const text = `${fault.kind} ${fault.target}`;
      out += rect(a, Math.max(b, a + 2), top, BAR - 2, 'fault' + dim(fault.detail),
        `f,${item.index},0,0`);
      if (Math.min(b, width) - Math.max(a, GUTTER) > 6.5 * text.length)
        out += label(Math.max(a, GUTTER) + 3, top + BAR - 5, text, 'inside');
    }
    y += faultRows * BAR + 8;
  }
  const top = y;
  let group = '';
  D.lanes.forEach((lane, index) => {
    if (lane.group !== group) {
      group = lane.group; y += 4; out += label(0, y + 11, NAMES[group], 'group faint'); y += 16;
    }
    lane.y = y;
    out += rect(GUTTER, width, y, lane.height, 'lane', '') + label(8, y + 12, lane.name);
    D.faults.forEach((fault, number) => {
      if (touches(fault, lane)) out += rect(x(fault.from), Math.max(x(fault.to), x(fault.from) + 1),
        y, lane.height, `band n${number}`, `f,${number},0,0`);
    });
    let inner = y + GAP / 2;
    lane.spans.forEach((span, number) => {
      out += rect(x(span[0]), x(span[1]), inner + 3, BAR - 8, span[2], `s,${index},${number},0`);
    });
    if (lane.spans.length) inner += BAR;
    out += drawBars(lane, index, inner);
    out += drawTicks(lane, index, inner + lane.rows * BAR);
    lane.kinds.forEach((kind, row) => out +=
      label(GUTTER - 4, inner + lane.rows * BAR + (row + 1) * SUB - 2, kind, 'kind'));
    y += lane.height + 3;
  });
  for (const [time] of D.phases) out += line(x(time), top, y, 'phase');
  D.violations.forEach((v, i) => out += line(x(v.at), 0, y, 'violation' + (i ? '' : ' first')));
  $('lanes').setAttribute('height', y + 4);
  $('lanes').innerHTML = out;
}

function drawAxis() {
  const rough = (to - from) / Math.max(2, (width - GUTTER) / 90);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  let out = '';
  for (let n = Math.ceil(from / step); n * step <= to; n++)
    out += line(x(n * step), 26, 34, 'grid') +
      label(x(n * step) + 2, 32, (n * step).toFixed(digits) + ' s', 'faint');
  let free = 0;
  for (const [time, name] of D.phases) if (time >= from && time <= to) {
    if (x(time) >= free) out += label(x(time) + 2, 12, name, 'faint');
    free = x(time) + 7 * name.length;
    out += line(x(time), 2, 34, 'phase');
  }
  D.violations.forEach(v => { if (v.at >= from && v.at <= to)
    out += `<path class="flag" d="M${x(v.at)} 22 l-5 -9 h10 z"/>` +
      label(x(v.at) + 7, 21, v.rule); });
  $('axis').innerHTML = out;
}

function drawOverview() {
  const scale = t => GUTTER + t / END * (width - GUTTER), high = 26;
  const cells = new Float64Array(Math.ceil((width - GUTTER) / BIN) + 1);
  for (const lane of D.lanes) for (const item of [...lane.bars, ...lane.ticks])
    cells[Math.floor((scale(item[0]) - GUTTER) / BIN)]++;
  const most = Math.max(1, ...cells);
  let out = label(0, 16, 'events, whole run', 'faint');
  for (const fault of D.faults)
    out += `<rect class="band" x="${scale(fault.from)}" y="0" height="${high}" ` +
      `width="${Math.max(1, scale(fault.to) - scale(fault.from))}"/>`;
  cells.forEach((count, n) => { if (count) {
    const tall = Math.max(2, high * Math.sqrt(count / most));
    out += `<rect class="tick" x="${GUTTER + n * BIN}" y="${(high - tall).toFixed(1)}" ` +
      `width="${BIN - .5}" height="${tall.toFixed(1)}"/>`; } });
  for (const v of D.violations) out += line(scale(v.at), 0, high, 'violation first');
  out += `<rect class="window" x="${scale(from)}" y="0" height="${high}" ` +
    `width="${Math.max(2, scale(to) - scale(from))}"/>`;
  $('overview').innerHTML = out;
}

function listEvents() {
  let found = [];
  for (const lane of D.lanes) {
    for (const b of lane.bars) if (b[0] <= to && b[1] >= from && !dim(b[4]))
      found.push([b[0], b[5], lane.name, b[4] + ` (${(b[1] - b[0]).toFixed(3)} s)`, isProof(b)]);
    for (const t of lane.ticks) if (t[0] >= from && t[0] <= to && !dim(t[2]))
      found.push([t[0], t[3], lane.name, t[2], proof.has(t[3])]);
  }
  found.sort((p, q) => p[0] - q[0] || p[1] - q[1]);
  $('found').textContent = needle ? `${found.length} in view` : '';
  // Of too many, those around the first violation in view.
  const mark = D.violations.find(v => v.at >= from && v.at <= to);
  const middle = mark ? found.findIndex(e => e[0] > mark.at) : 0;
  const start = Math.max(0, Math.min(middle < 0 ? found.length : middle - 2 * LISTED / 3,
    found.length - LISTED));
  const shown = found.slice(start, start + LISTED).map(e =>
    `<li${e[4] ? ' class="proof"' : ''}>${e[0].toFixed(3).padStart(10)}  #${e[1]}  ` +
    `${escape(e[2])}: ${escape(e[3])}</li>`);
  if (start) shown.unshift(`<li>${start} more before: zoom in</li>`);
  const rest = found.length - start - LISTED;
  if (rest > 0) shown.push(`<li>${rest} more after: zoom in</li>`);
  $('events').innerHTML = shown.join('');
  const guilty = document.querySelector('#events .proof');
  if (guilty) $('events').scrollTop = guilty.offsetTop - $('events').offsetTop - 40;
}

function draw() {
  queued = false;
  width = Math.max(400, $('lanes').clientWidth || 1000);
  drawOverview(); drawAxis(); drawLanes(); listEvents();
}
function queue() { if (!queued) { queued = true; requestAnimationFrame(draw); } }
function show(a, b) {
  const span = Math.min(END, Math.max(SHORTEST, b - a));
  from = Math.min(Math.max(0, a), END - span); to = from + span; queue();
}
function zoom(factor, centre = (from + to) / 2) {
  show(centre - (centre - from) * factor, centre + (to - centre) * factor);
}
function visit(v) {
  const span = Math.min(END, Math.max(END / 20, 5));
  show(v.at - span * .7, v.at + span * .3);
  draw();
  const guilty = D.lanes.find(lane => [...lane.bars.flatMap(b => [b[5], b[6]]),
    ...lane.ticks.map(t => t[3])].some(number => v.events.includes(number)));
  if (guilty) window.scrollTo({top: Math.max(0, guilty.y - 60)});
}

function tipText(code) {
  const [kind, lane, first, last] = code.split(','), L = D.lanes[lane];
  if (kind === 'f') { const f = D.faults[lane];
    return `${f.detail}\n${f.from.toFixed(3)} s to ${f.to.toFixed(3)} s`; }
  if (kind === 's') { const s = L.spans[first];
    return `${L.name}: ${s[2]}, ${s[0].toFixed(3)} s to ${s[1].toFixed(3)} s\n${s[3]}`; }
  const bars = kind === 'b', all = bars ? L.bars : L.ticks;
  let items = all.slice(+first, +last + 1);
  if (!bars) items = items.filter(t => t[1] === all[first][1]);
  const text = items.slice(0, 8).map(i => bars
    ? `${i[0].toFixed(3)} s to ${i[1].toFixed(3)} s  ${i[4]}` : `${i[0].toFixed(3)} s  ${i[2]}`);
  if (items.length > 8) text.push(`and ${items.length - 8} more: zoom in`);
  return text.join('\n');
}
addEventListener('mousemove', e => {
  const code = e.target.dataset && e.target.dataset.tip, tip = $('tip');
  document.querySelectorAll('.lit').forEach(b => b.classList.remove('lit'));
  tip.hidden = !code;
  if (!code) return;
  if (code[0] === 'f')
    document.querySelectorAll('.n' + code.split(',')[1]).forEach(b => b.classList.add('lit'));
  tip.textContent = tipText(code);
  tip.style.left = Math.min(e.clientX + 12, innerWidth - tip.offsetWidth - 8) + 'px';
  tip.style.top = Math.min(e.clientY + 14, innerHeight - tip.offsetHeight - 8) + 'px';
});

const inside = e => e.clientX - $('lanes').getBoundingClientRect().left;
let grip = null;
$('lanes').addEventListener('pointerdown', e => { grip = {x: e.clientX, from, to};
  $('lanes').setPointerCapture(e.pointerId); $('lanes').classList.add('drag'); });
$('lanes').addEventListener('pointermove', e => { if (!grip) return;
  const moved = (e.clientX - grip.x) / (width - GUTTER) * (grip.to - grip.from);
  show(grip.from - moved, grip.to - moved); });
for (const name of ['pointerup', 'pointercancel']) $('lanes').addEventListener(name, () => {
  grip = null; $('lanes').classList.remove('drag'); });
$('lanes').addEventListener('dblclick', e => zoom(.4, at(inside(e))));
$('lanes').addEventListener('wheel', e => {
  if (e.ctrlKey || e.metaKey) { e.preventDefault(); zoom(e.deltaY > 0 ? 1.25 : .8, at(inside(e))); }
  else if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) { e.preventDefault();
    const moved = e.deltaX / (width - GUTTER) * (to - from); show(from + moved, to + moved); }
}, {passive: false});
$('overview').addEventListener('click', e => {
  const left = $('overview').getBoundingClientRect().left;
  const centre = (e.clientX - left - GUTTER) / (width - GUTTER) * END;
  show(centre - (to - from) / 2, centre + (to - from) / 2); });
$('whole').onclick = () => show(0, END);
$('first').onclick = () => { if (D.violations.length) visit(D.violations[0]); };
$('first').disabled = !D.violations.length;
$('in').onclick = () => zoom(.5);
$('out').onclick = () => zoom(2);
$('find').oninput = () => { needle = $('find').value.trim().toLowerCase(); queue(); };
$('theme').onclick = () => { const root = document.documentElement;
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const now = root.dataset.theme || (dark ? 'dark' : 'light');
  root.dataset.theme = now === 'dark' ? 'light' : 'dark'; };
document.querySelectorAll('[data-violation]').forEach(button =>
  button.onclick = () => visit(D.violations[button.dataset.violation]));
addEventListener('keydown', e => {
  if (e.target.tagName === 'INPUT' || e.ctrlKey || e.metaKey || e.altKey) return;
  const step = (to - from) / 5;
  const action = {'+': () => zoom(.5), '=': () => zoom(.5), '-': () => zoom(2),
    '0': () => show(0, END), 'v': () => $('first').click(),
    'ArrowLeft': () => show(from - step, to - step),
    'ArrowRight': () => show(from + step, to + step)}[e.key];
  if (action) { e.preventDefault(); action(); }
});
addEventListener('resize', queue);
// #410-420 opens at these seconds.
const wanted = /^#([\d.]+)-([\d.]+)$/.exec(location.hash);
if (wanted) { show(+wanted[1], +wanted[2]); draw(); }
else if (D.violations.length) visit(D.violations[0]);
else draw();
"""
