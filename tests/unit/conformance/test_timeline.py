"""The picture of a run: everything of the history is in it, and nothing can get out of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from campaign_worlds import drawn, record

from cluster.conformance.calls import Answer, Ingest, Read, Unknown
from cluster.conformance.faults import Schedule
from cluster.conformance.history import History
from cluster.conformance.notes import Acknowledged, Delivered, FaultBegan
from cluster.conformance.timeline import timeline
from cluster.conformance.timeline_page import timeline_page
from cluster.conformance.timeline_text import LONGEST, cut, describe, ranges, short
from cluster.conformance.values import At
from cluster.conformance.verdict import Violation

LOST = Violation(rule="R5", at=3.1, message="rows <stay>: 'row' & </script> is lost", events=(4,))
GATE = "gate-reported session 1 sequence 1 epoch 3 open True position 1.2 @ 7:2"


def picture(history=None, schedule=None, violations=(LOST,)):
    return timeline(history or record(5, drawn(5), ""), schedule or drawn(5), violations)


def lane(data, group, name):
    (found,) = [item for item in data["lanes"] if (item["group"], item["name"]) == (group, name)]
    return found


def test_lanes_are_grouped():
    names = [(item["group"], item["name"]) for item in picture()["lanes"]]
    assert names == [
        ("process", "leader/0"),
        ("gate", "leader → follower1 D"),
        ("follow", "leader → follower1 D"),
        ("client", "client1"),
        ("client", "client2"),
    ]


def test_calls_are_bars_in_the_colour_of_their_outcome():
    data = picture()
    first, second = lane(data, "client", "client1")["bars"]
    assert first[:4] == [1.0, 1.25, "ok", "ingest 1-3 9"]
    assert first[4].startswith("ingest cluster leader database D table T source s5 ids (4) 1-3 9 →")
    assert first[4].endswith("→ ok position 1.2 @ 7:2")
    assert second[:3] == [71.0, 72.0, "info"]
    refused, unended = lane(data, "client", "client2")["bars"]
    assert refused[2] == "fail"
    assert unended[:3] == [73.0, 80.0, "info"]
    assert unended[4].endswith("→ never ended")


def test_every_event_of_a_client_and_of_a_stream_can_be_found():
    history = record(4, drawn(4), "")
    data = timeline(history, drawn(4), ())
    shown = {number for item in data["lanes"] for bar in item["bars"] for number in bar[5:]}
    shown |= {tick[3] for item in data["lanes"] for tick in item["ticks"]}
    hidden = {type(event.what).__name__ for event in history if event.number not in shown}
    assert hidden == {"Phase", "FaultBegan", "FaultEnded", "ProcessBegan", "ProcessEnded"}


def test_a_gate_is_a_strip_of_spans():
    assert lane(picture(), "gate", "leader → follower1 D")["spans"] == [[2.0, 80.0, "open", GATE]]


def test_a_process_is_up_then_down():
    spans = lane(picture(), "process", "leader/0")["spans"]
    assert [span[:3] for span in spans] == [[0.0, 70.0, "up"], [70.0, 80.0, "down"]]


def test_faults_are_bands_with_their_strength():
    faults = picture()["faults"]
    assert len(faults) == 12
    assert faults[3]["detail"] == "fault 3: partition leader->follower1 for 40 s"
    assert faults[0]["detail"] == "fault 0: delay leader->follower2 for 3.5 s seconds 1"
    assert (faults[3]["from"], faults[3]["to"]) == (14.25, 14.75)


def test_a_fault_that_never_ended_lasts_to_the_end():
    history = History()
    history.add(1.0, "faults", FaultBegan(number=7, kind="kill", target="leader/0"))
    history.add(9.0, "client1", Read(cluster="leader", database="D", table="T"), 1)
    (fault,) = timeline(history, Schedule(), ())["faults"]
    assert (fault["from"], fault["to"], fault["detail"]) == (1.0, 9.0, "fault 7: kill leader/0")


def test_what_does_not_belong_together_is_shown_all_the_same():
    history = History()
    history.add(1.0, "client1", Unknown(code="Timeout"), 9)
    rows = Delivered(session=4, key=1, first=0, end=1, checksum=1, epoch=1, sequence=1)
    history.add(2.0, "follower1", rows)
    data = timeline(history, Schedule(), ())
    assert lane(data, "client", "client1")["ticks"][0][1] == "outcome"
    assert lane(data, "follow", "session 4")["ticks"][0][1] == "rows"


def test_an_empty_history_has_a_picture():
    data = timeline(History(), Schedule(), ())
    assert (data["end"], data["lanes"], data["events"]) == (0.0, [], 0)
    assert "No rule is violated." in timeline_page(History(), Schedule(), (), title="t")


def test_ranges():
    assert ranges([]) == ""
    assert ranges([1, 2, 3, 7, 9, 10]) == "1-3 7 9-10"
    assert ranges([3, 2]) == "3 2"


@pytest.mark.parametrize(("length", "shown"), [(LONGEST - 1, 0), (LONGEST, 0), (LONGEST + 1, 1)])
def test_descriptions_are_cut(length, shown):
    text = cut("x" * length)
    assert text.count("…") == shown
    assert len(text) == min(length, LONGEST)


def test_descriptions():
    at = At(version=(2, 5), keys={1: (7, 3), 2: (0, 0)})
    assert (
        describe(Acknowledged(session=1, position=at))
        == "acknowledged session 1 position 2.5 @ 1:7 2:0"
    )
    answer = Answer(ids=(1, 2), filled={"C1": (2,)}, staleness_seconds=0.5)
    assert describe(answer) == "answer ids (2) 1-2 filled C1:(2,) staleness seconds 0.5"
    assert (
        short(Ingest(cluster="l", database="D", table="T", source="s", ids=(4, 5))) == "ingest 4-5"
    )


class Parser(HTMLParser):
    """What a browser would load, and the elements that are open."""

    VOID = frozenset({"meta", "input", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.links, self.data, self.ids = [], [], "", []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag not in self.VOID:
            self.open.append((tag, attributes.get("id")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == ("script", "data"):
            self.data += data


def parsed(page):
    parser = Parser()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def page_of(history=None, violations=(LOST,)):
    history = history or record(5, drawn(5), "</script><script>alert(1)</script>")
    return timeline_page(history, drawn(5), violations, title="seed <5>")


def test_the_page_is_one_well_formed_file_that_loads_nothing():
    page = page_of()
    parser = parsed(page)
    assert parser.links == []
    assert not re.search(r"https?://|@import|url\(", page)
    assert "default-src &#x27;none&#x27;" in page
    assert len(parser.ids) == len(set(parser.ids))


def test_the_data_of_the_page_are_the_picture_whatever_they_hold():
    history = record(5, drawn(5), "</script><!-- \u2028")
    parser = parsed(page_of(history))
    assert json.loads(parser.data) == json.loads(json.dumps(timeline(history, drawn(5), [LOST])))
    assert "<" not in parser.data


def test_the_script_knows_no_element_that_is_not_there():
    page = page_of()
    assert set(re.findall(r"\$\('(\w+)'\)", page)) <= set(parsed(page).ids)


def long_history(events):
    history = History()
    for number in range(events // 2):
        read = Read(cluster="follower1", database="D", table="T")
        history.add(number / 10, f"client{number % 5}", read, number + 1)
        history.add(number / 10 + 0.05, f"client{number % 5}", Answer(ids=(1,)), number + 1)
    return history


def test_twenty_thousand_events_are_a_page_of_a_few_megabytes():
    assert len(page_of(long_history(20_000))) < 3_000_000


BROWSER = r"""
const fs = require('fs');
const page = fs.readFileSync(0, 'utf8');
const data = /id="data">(.*?)<\/script>/s.exec(page)[1];
const script = /<script>(.*)<\/script>/s.exec(page)[1];
const made = {};
const element = id => made[id] ||= {id, dataset: {}, style: {}, innerHTML: '', value: '',
  textContent: id === 'data' ? data : '', clientWidth: 1200, offsetTop: 0,
  addEventListener() {}, setAttribute() {},
  classList: {add() {}, remove() {}}, click() { this.onclick(); }};
global.document = {getElementById: element, querySelectorAll: () => [], querySelector: () => null,
  documentElement: {dataset: {}}};
global.addEventListener = () => {};
global.requestAnimationFrame = draw => draw();
global.location = {hash: ''};
global.window = {scrollTo() {}};
const counts = [];
const count = () => counts.push((element('lanes').innerHTML.match(/<rect/g) || []).length);
eval(script); count();
element('whole').onclick(); count();
element('find').value = 'no such thing'; element('find').oninput(); count();
console.log(JSON.stringify({counts, lanes: element('lanes').innerHTML,
  axis: element('axis').innerHTML, events: element('events').innerHTML}));
"""


@pytest.fixture(scope="module")
def node():
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    return found


def drawn_by(node, page):
    done = subprocess.run(
        [node, "-e", BROWSER], input=page, capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_the_script_draws_the_first_violation_and_escapes_what_it_shows(node):
    out = drawn_by(node, page_of())
    assert "R5" in out["axis"]
    assert 'class="proof"' in drawn_by(node, page_of())["lanes"] + out["events"]
    assert "<b>" not in out["lanes"]
    assert "<table>" not in out["events"]


def test_twenty_thousand_events_are_drawn_as_a_few_thousand_elements(node):
    out = drawn_by(node, page_of(long_history(20_000), ()))
    assert 500 < max(out["counts"]) < 6_000
