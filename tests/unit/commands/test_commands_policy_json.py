"""The streaming ingestion policy object: the rules of its page as a table."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.catalog.model import StreamingIngestionPolicy as Policy
from cluster.commands.policy_json import merged, policy_text, replaced, switched
from cluster.errors import InvalidRequestError


@pytest.mark.fidelity(
    "streaming-ingestion-policy.md", "The policy is shown as IsEnabled and HintAllocatedRate"
)
@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (None, "null"),
        (Policy(True), '{"IsEnabled": true, "HintAllocatedRate": null}'),
        (Policy(False, 2.5), '{"IsEnabled": false, "HintAllocatedRate": 2.5}'),
        (Policy(True, 2.0), '{"IsEnabled": true, "HintAllocatedRate": 2.0}'),
    ],
)
def test_text_as_shown(policy, text):
    assert policy_text(policy) == text


@pytest.mark.fidelity(
    "alter-table-streaming-ingestion-policy-command.md", ".alter replaces the whole policy"
)
@pytest.mark.parametrize(
    ("present", "text", "policy"),
    [
        # .alter: the whole object; what is left out takes its default.
        (Policy(False, 3.0), '{"IsEnabled": true}', Policy(True)),
        (None, '{"IsEnabled": false}', Policy(False)),
        (None, ' {"HintAllocatedRate": 2, "IsEnabled": true}\n', Policy(True, 2.0)),
        (Policy(True, 1.0), '{"IsEnabled": true, "HintAllocatedRate": null}', Policy(True)),
        (None, '{"IsEnabled": true, "HintAllocatedRate": 0}', Policy(True, 0.0)),
    ],
)
def test_alter_replaces(present, text, policy):
    assert replaced(text) == policy


@pytest.mark.fidelity(
    "alter-merge-table-streaming-ingestion-policy-command.md",
    ".alter-merge changes the given properties only",
)
@pytest.mark.parametrize(
    ("present", "text", "policy"),
    [
        (Policy(True, 3.0), '{"IsEnabled": false}', Policy(False, 3.0)),
        (Policy(True), '{"HintAllocatedRate": 2.1}', Policy(True, 2.1)),
        (Policy(True, 2.1), '{"HintAllocatedRate": null}', Policy(True)),
        (Policy(False, 2.1), "{}", Policy(False, 2.1)),
        (None, '{"IsEnabled": true}', Policy(True)),
        (None, '{"IsEnabled": true, "HintAllocatedRate": 1}', Policy(True, 1.0)),
    ],
)
def test_alter_merge_changes_what_is_given(present, text, policy):
    assert merged(present, text) == policy


@pytest.mark.fidelity(
    "alter-table-streaming-ingestion-policy-command.md",
    "enable and disable change IsEnabled and keep the rest",
)
@pytest.mark.parametrize(
    ("present", "enabled", "policy"),
    [
        (None, True, Policy(True)),
        (None, False, Policy(False)),
        (Policy(False, 2.0), True, Policy(True, 2.0)),
        (Policy(True, 2.0), False, Policy(False, 2.0)),
    ],
)
def test_enable_and_disable_keep_the_rest(present, enabled, policy):
    assert switched(present, enabled=enabled) == policy


MISSING = "mandatory property 'IsEnabled' is missing"


@pytest.mark.fidelity("streaming-ingestion-policy.md", "IsEnabled is mandatory and has no default")
@pytest.mark.parametrize("text", ["{}", '{"HintAllocatedRate": 2.1}'])
def test_is_enabled_has_no_default(text):
    with pytest.raises(InvalidRequestError, match=MISSING):
        replaced(text)
    with pytest.raises(InvalidRequestError, match=MISSING):
        merged(None, text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("null", "one JSON object"),
        ('[{"IsEnabled": true}]', "one JSON object"),
        ('{"IsEnabled": "true"}', "must be true or false"),
        ('{"IsEnabled": 1}', "must be true or false"),
        ('{"IsEnabled": null}', "must be true or false"),
        ('{"isEnabled": true}', "'isEnabled' is not a property"),
        ('{"IsEnabled": true, "NumberOfRowStores": 4}', "'NumberOfRowStores' is not a property"),
        ('{"IsEnabled": true, "IsEnabled": false}', "twice"),
        ('{"IsEnabled": true, "HintAllocatedRate": "2"}', "GB/hour or null"),
        ('{"IsEnabled": true, "HintAllocatedRate": true}', "GB/hour or null"),
        ('{"IsEnabled": true, "HintAllocatedRate": -0.1}', "zero or more"),
        ('{"IsEnabled": true, "HintAllocatedRate": 1e999}', "finite"),
        ('{"IsEnabled": true, "HintAllocatedRate": NaN}', "not a number"),
        ('{"IsEnabled": true, "HintAllocatedRate": ' + "9" * 400 + "}", "finite"),
        ('{"IsEnabled": true, "HintAllocatedRate": ' + "9" * 5000 + "}", "not JSON"),
        ('{"IsEnabled": ' + "[" * 100_000, "nested too deeply"),
        ('{"' + "x" * 1000 + '": 1}', r"x'\.\.\. is not a property"),
    ],
)
def test_texts_that_are_refused(text, problem):
    for edit in (replaced, lambda text: merged(Policy(True), text)):
        with pytest.raises(InvalidRequestError, match=problem):
            edit(text)


@given(
    st.text(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.dictionaries(
            st.sampled_from(["IsEnabled", "HintAllocatedRate", "x"]), inner, max_size=3
        ),
    ).map(lambda value: json.dumps(value))
)
def test_any_text_is_a_policy_or_one_error(text):
    try:
        policy = replaced(text)
    except InvalidRequestError:
        return
    assert replaced(policy_text(policy)) == policy
