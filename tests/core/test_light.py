"""Values behave as the standard library's frozen dataclasses do."""

import copy
import dataclasses
import pickle

import pytest

import synthon as sy


def test_values_are_equal_hashed_and_shown_by_their_fields() -> None:
    one, two = sy.Message("user", "hi"), sy.Message(role="user", content="hi")
    assert one == two
    assert hash(one) == hash(two)
    assert one != sy.Message("user", "ho")
    other: object = ("user", "hi")
    assert one != other
    assert repr(one) == "Message(role='user', content='hi')"
    assert [field.name for field in dataclasses.fields(one)] == ["role", "content"]


def test_values_cannot_be_changed_but_replaced() -> None:
    message = sy.Message("user", "hi")
    with pytest.raises(dataclasses.FrozenInstanceError, match="Message is a frozen value and its 'role'"):
        message.role = "system"  # type: ignore[misc]  # the mistake under test
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot be changed"):
        del message.role
    assert dataclasses.replace(message, content="ho") == sy.Message("user", "ho")


def test_values_are_made_like_functions_are_called() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'content'"):
        sy.Message("user")  # type: ignore[call-arg]  # the mistake under test
    with pytest.raises(TypeError, match="unexpected keyword argument 'word'"):
        sy.Message("user", "hi", word=1)  # type: ignore[call-arg]  # same
    assert sy.Passage("a").metadata is not sy.Passage("b").metadata


def test_values_are_copied_pickled_and_matched() -> None:
    request = sy.Request((sy.Message("user", (sy.Text("hi"), sy.Image("AA"))),), stop=(".",))
    assert pickle.loads(pickle.dumps(request)) == copy.deepcopy(request) == request  # noqa: S301 - our own
    match request.messages[0]:
        case sy.Message("user", (sy.Text(said), *_)):
            assert said == "hi"
        case _:
            pytest.fail("a value matches by position")


def test_a_value_that_changes_has_no_hash() -> None:
    span = sy.Span("1", "run", "", "name", "step", 0.0)
    span.end = 1.0
    with pytest.raises(TypeError, match="unhashable"):
        hash(span)
