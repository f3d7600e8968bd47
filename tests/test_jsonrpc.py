"""Section 4, JSON-RPC: text to message and back. What is refused is an RPCError: -32700 or -32600."""

import json
import math
from typing import Any

import pytest

from streamhttp_mcp import (
    INVALID_REQUEST,
    MAX_NESTING,
    PARSE_ERROR,
    RPCError,
    check_envelope,
    encode,
    encode_error,
    encode_notification,
    encode_result,
    error_object,
    parse_message,
)


def refusal(body: bytes) -> tuple[int, str]:
    """The RPCError that a body is refused with."""
    with pytest.raises(RPCError) as refused:
        parse_message(body)
    return refused.value.code, refused.value.message


def ping(**members: str) -> bytes:
    """A request, with members given as JSON text: ping(id='1.5')."""
    members = {"jsonrpc": '"2.0"', "id": "1", "method": '"ping"'} | members
    return ("{" + ",".join(f'"{name}":{text}' for name, text in members.items() if text) + "}").encode()


# ---- Text to JSON


@pytest.mark.parametrize("text, value", [
    (r'"caf\u00e9"', "café"),
    ('"café"', "café"),
    ('"\u2028\U0001f600"', "\u2028\U0001f600"),
    (r'"\ud83d\ude00"', "\U0001f600"),  # a pair of surrogates is one character
    (r'"\\ud83d"', r"\ud83d"),  # an escaped backslash and four letters
    (r'"\u0000\n"', "\0\n"),
    ("1e3", 1000.0),
    ("-0", 0),
    (str(2**64), 2**64),
    ("-" + "9" * 20, 1 - 10**20),
    (' [\t1 ,\r\n null ] ', [1, None]),
    ('{"a": 1, "A": 2, "": 3}', {"a": 1, "A": 2, "": 3}),
])  # fmt: skip
def test_json_is_read_as_it_was_meant(text: str, value: object) -> None:
    """[message.utf-8] [json.strict]"""
    message = parse_message(ping(params=f'{{"value":{text}}}'))
    assert message == {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"value": value}}


@pytest.mark.parametrize("body, message", [
    (ping(method='"p\xff"').decode().encode("latin-1"), "the body is not UTF-8: invalid start byte at byte 35"),
    (b'"\xc3"', "the body is not UTF-8: invalid continuation byte at byte 1"),
    (b'"\xc0\xaf"', "the body is not UTF-8: invalid start byte at byte 1"),  # '/' in an overlong form
    (b'"\xed\xa0\x80"', "the body is not UTF-8: invalid continuation byte at byte 1"),  # half of a surrogate pair
    (ping().decode().encode("utf-16"), "the body is not UTF-8: invalid start byte at byte 0"),
    (ping().decode().encode("utf-16-le"), "the body is not JSON: "),
    (ping().decode().encode("utf-32-be"), "the body is not JSON: "),
    (b"\xef\xbb\xbf" + ping(), "the body is not JSON: "),  # RFC 8259 section 8.1: no byte order mark
])  # fmt: skip
def test_body_in_another_encoding_is_a_parse_error(body: bytes, message: str) -> None:
    """[message.utf-8] [jsonrpc.parse-error]"""
    code, text = refusal(body)
    assert code == PARSE_ERROR == -32700
    assert text.startswith(message)


@pytest.mark.parametrize("body", [
    b"", b" ", b"{", b"}", b"[", b"hello", b"'a'", b'"a', b"{} {}", ping() + b",", ping() + b"\x00", b"\x00", b"[1,]",
    b'{"a":1,}', b"{a:1}", b'{"a" 1}', b'{1:"a"}', b"01", b"+1", b".5", b"5.", b"0x5", b"1_0", b"1e", b"True",
    b"// a\n1",
    b'"a\nb"', b'"\x00"', b'"\x1f"', rb'"\x41"', rb'"\u12"', rb'"\u+123"', b"\xc2\xa01", b"\x0c1",
])  # fmt: skip
def test_text_that_is_not_json_is_a_parse_error(body: bytes) -> None:
    """[jsonrpc.parse-error] RFC 8259, and nothing that a lenient parser would add to it."""
    code, message = refusal(body)
    assert code == PARSE_ERROR
    assert message.startswith("the body is not JSON: ")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[1, NaN]"])
def test_number_that_json_does_not_have_is_a_parse_error(text: str) -> None:
    """[json.strict] Python's parser takes these unless told otherwise."""
    name = text.strip("[]1, ")
    expected = PARSE_ERROR, f"the body is not JSON: {name} is no JSON number, or out of range"
    assert refusal(ping(params=f'{{"x":{text}}}')) == expected


@pytest.mark.parametrize("body", [
    ping(params='{"a":1,"a":2}'),
    ping(params='{"a":1,"a":1}'),
    ping(params=r'{"a":1,"\u0061":2}'),
    ping(params='[{"b":{"a":{},"":{},"a":{}}}]'),
    b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
    b'[{"id":1,"id":2}]',
])  # fmt: skip
def test_member_name_that_comes_twice_is_a_parse_error(body: bytes) -> None:
    """[json.strict] A gateway that judges the first one would let the second one through."""
    assert refusal(body) == (PARSE_ERROR, "the body is not JSON: a member name appears twice in one object")


@pytest.mark.parametrize("text", [
    r'"\ud83d"', r'"\uDE00"', r'"\ude00\ud83d"', r'"\ud83d\ud83d\ude00"', r'{"\udc00":1}', r'[["a\uDBFFb"]]',
])  # fmt: skip
def test_half_of_a_surrogate_pair_is_a_parse_error(text: str) -> None:
    """[json.strict] It is no character, and could never be written back as UTF-8."""
    message = "a string holds half of a surrogate pair"
    assert refusal(ping(params=f'{{"x":{text}}}')) == (PARSE_ERROR, message)
    assert refusal(f"[{text}]".encode()) == (PARSE_ERROR, message)


@pytest.mark.parametrize("text, reason", [
    ("9" * 21, "an integer has more than 20 digits"),
    ("-" + "1" * 21, "an integer has more than 20 digits"),
    ("9" * 1_000_000, "an integer has more than 20 digits"),
    ("1e400", "1e400 is no JSON number, or out of range"),
    ("-1" + "0" * 400 + ".5", "-1" + "0" * 38 + " is no JSON number, or out of range"),
])  # fmt: skip
def test_number_that_no_peer_could_hold_is_a_parse_error(text: str, reason: str) -> None:
    """[json.integers] [json.strict] [answers.nothing-internal] It would come back as Infinity, or with other digits.

    To turn digits into a number takes time that grows with their square.
    """
    for body in (ping(params=f'{{"x":{text}}}'), ping(id=text), ping(id="", params=f'{{"x":[{{"y":{text}}}]}}')):
        assert refusal(body) == (PARSE_ERROR, f"the body is not JSON: {reason}")


@pytest.mark.parametrize("start, end", [("[", "]"), ('{"a":', "}"), ("[", ""), ('[{"a":', "")])
def test_deep_nesting_is_a_parse_error(start: str, end: str) -> None:
    """[json.nesting] 70,000 levels fit into a small body."""
    body = (start * 70_000 + (end and "1") + end * 70_000).encode()
    assert refusal(body) == (PARSE_ERROR, "the JSON is nested too deeply")
    assert refusal(ping(params=body.decode())) == (PARSE_ERROR, "the JSON is nested too deeply")


@pytest.mark.parametrize("start, end", [("[", "]"), ('{"a":', "}"), ('[0,{"a":1,"b":', "}]")])
@pytest.mark.parametrize("inner", ["0", "[]", "{}"])
def test_nesting_has_a_bound_that_does_not_depend_on_the_parser(start: str, end: str, inner: str) -> None:
    """[json.nesting] A tool that gets the value, and whatever writes it again, has as much room as the parser had."""
    most = MAX_NESTING - 2 - (inner != "0")  # the message and its params are the first two levels
    each = len(end)
    fits = start * (most // each) + inner + end * (most // each)
    assert parse_message(ping(params=f'{{"x":{fits}}}'))["params"]["x"]
    deep = start * (most // each + 1) + inner + end * (most // each + 1)
    assert refusal(ping(params=f'{{"x":{deep}}}')) == (PARSE_ERROR, "the JSON is nested too deeply")


def test_many_arrays_beside_one_another_are_not_deep() -> None:
    """[json.nesting]"""
    wide = "[" + "[[]]," * 10_000 + "[]]"
    assert len(parse_message(ping(params=f'{{"x":{wide}}}'))["params"]["x"]) == 10_001


def deepest() -> int:
    """How many arrays within one another this Python's parser takes, here and now."""
    taken, refused = 1, 200_000
    while refused - taken > 1:
        depth = (taken + refused) // 2
        try:
            json.loads("[" * depth + "]" * depth)
            taken = depth
        except RecursionError:
            refused = depth
    return taken


@pytest.mark.parametrize("members", [
    {"params": '{"x":DEEP,"y":1}'},
    {"params": r'{"x":DEEP,"y":"\ud83d\ude00"}'},
    {"id": "DEEP"},
    {"method": "DEEP"},
])  # fmt: skip
def test_nesting_near_what_the_parser_takes_is_read_or_refused(members: dict[str, str]) -> None:
    """[json.nesting] There is no depth between the two at which something else happens."""
    edge = deepest()
    for depth in range(edge - 60, edge + 20):
        deep = "[" * depth + "]" * depth
        try:
            parse_message(ping(**{name: text.replace("DEEP", deep) for name, text in members.items()}))
        except RPCError as error:
            assert error.code in (PARSE_ERROR, INVALID_REQUEST)


# ---- JSON to message


@pytest.mark.parametrize("body", [
    ping(),
    ping(params="{}"),
    ping(id=""),  # a notification
    ping(id="", params='{"a":[null]}'),
    ping(method="", result="{}"),
    ping(method="", error='{"code":-1,"message":"no"}'),
    ping(extra="1"),
    b" \r\n" + ping() + b"\n",
])  # fmt: skip
def test_sound_envelope_is_a_message(body: bytes) -> None:
    """[jsonrpc.format] [post.single-message] A message is the dict that was on the wire."""
    assert parse_message(body) == json.loads(body)


@pytest.mark.parametrize("id", ["1", ""])
def test_params_that_are_null_count_as_left_out(id: str) -> None:
    """[message.null-is-absent] Clients whose language has no absent members send null."""
    assert parse_message(ping(id=id, params="null")) == json.loads(ping(id=id))


@pytest.mark.parametrize("body", [b"[]", b"[1]", b'[{"jsonrpc":"2.0","method":"a"},null]'])
def test_batch_is_a_list_that_is_not_looked_into(body: bytes) -> None:
    """[batch.receive] Whether it is wanted depends on the revision, which this section does not know."""
    assert parse_message(body) == json.loads(body)


ONE_MESSAGE = 'expected one JSON-RPC message: an object with "jsonrpc": "2.0"'
ONE_OF = "expected a method, or an id and either a result or an error"
METHOD = "method must be a string of at most 1024 characters"


@pytest.mark.parametrize("body, message", [
    (b"null", ONE_MESSAGE),
    (b"1", ONE_MESSAGE),
    (b'"ping"', ONE_MESSAGE),
    (b"{}", ONE_MESSAGE),
    (ping(jsonrpc=""), ONE_MESSAGE),
    (ping(jsonrpc='"1.0"'), ONE_MESSAGE),
    (ping(jsonrpc="2.0"), ONE_MESSAGE),
    (ping(jsonrpc="null"), ONE_MESSAGE),
    (ping(method="1"), METHOD),
    (ping(method="null"), METHOD),
    (ping(method='["ping"]'), METHOD),
    (ping(method=f'"{"m" * 1025}"'), METHOD),
    (ping(params="[]"), "params must be an object"),
    (ping(params="0"), "params must be an object"),
    (ping(params='"a"'), "params must be an object"),
    (ping(id="", params="[1]"), "params must be an object"),
    (b'{"jsonrpc":"2.0"}', ONE_OF),
    (ping(method=""), ONE_OF),
    (ping(method="", id="", result="{}"), ONE_OF),
    (ping(method="", result="{}", error="{}"), ONE_OF),  # [response.one-of]
])  # fmt: skip
def test_json_that_is_no_message_is_an_invalid_request(body: bytes, message: str) -> None:
    """[jsonrpc.invalid-request] [response.one-of] [request.id-present]"""
    assert refusal(body) == (INVALID_REQUEST, message)
    with pytest.raises(RPCError, match="expected|must be"):  # within a batch, the same
        check_envelope(json.loads(body))


@pytest.mark.parametrize("text", ["null", "true", "false", "1.5", "-0.5", "[]", "[1]", "{}", '{"a":1}'])
def test_id_that_is_neither_string_nor_integer_is_an_invalid_request(text: str) -> None:
    """[request.id-present] [request.id-not-null] Of a request and of a response alike."""
    for body in (ping(id=text), ping(id=text, method="", result="{}")):
        code, message = refusal(body)
        assert code == INVALID_REQUEST
        assert message.startswith("id must be a string or an integer, got ")


def test_id_and_method_may_have_1024_characters() -> None:
    """[limits.text] Both are echoed, and a megabyte sent shall not be a megabyte answered."""
    most = f'"{"x" * 1024}"'
    assert parse_message(ping(id=most, method=most)) == json.loads(ping(id=most, method=most))
    longer = f'"{"x" * 1025}"'
    for body in (ping(id=longer), ping(id=longer, method="", result="{}")):
        assert refusal(body) == (INVALID_REQUEST, "id is longer than 1024 characters")
    assert len(refusal(ping(id=f'["{"x" * 1_000_000}"]'))[1]) < 200


# ---- Message to text

IDS = ["0", "1", "-1", '"1"', '""', '"a b"', str(2**53 + 1), str(-(2**64)), "9" * 20, r'"\"\\\u0000\u00e9\u2028"']


@pytest.mark.parametrize("text", IDS)
def test_id_is_echoed_type_and_all(text: str) -> None:
    """[result.same-id] [error.same-id] `1` is not `"1"`, and large numbers keep their last digit."""
    request = parse_message(ping(id=text))
    assert isinstance(request, dict)
    assert encode_result(request["id"], {}) == f'{{"jsonrpc":"2.0","id":{text},"result":{{}}}}'.encode()
    assert encode_error(request["id"], RPCError(-1, "no")) == (
        f'{{"jsonrpc":"2.0","id":{text},"error":{{"code":-1,"message":"no"}}}}'.encode()
    )


def test_result_that_is_json_already_is_copied() -> None:
    """[result.field]"""
    assert encode_result(1, b'{"tools":[]}') == b'{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}'


@pytest.mark.parametrize("error, written", [
    (RPCError(-32601, "Method not found: x"), {"code": -32601, "message": "Method not found: x"}),
    (RPCError(-1, "", {"a": [1]}), {"code": -1, "message": "", "data": {"a": [1]}}),
    (RPCError(-1, "no", 0), {"code": -1, "message": "no", "data": 0}),
])  # fmt: skip
def test_error_has_a_code_and_a_message_and_data_if_there_is_any(error: RPCError, written: dict[str, Any]) -> None:
    """[error.code-message]"""
    assert json.loads(encode_error("a", error)) == {"jsonrpc": "2.0", "id": "a", "error": written}
    assert error_object(error.code, error.message, error.data) == written


def test_notification_has_no_id_and_params_only_if_there_are_any() -> None:
    """[notification.no-id] [jsonrpc.format]"""
    assert encode_notification("notifications/a") == b'{"jsonrpc":"2.0","method":"notifications/a"}'
    assert encode_notification("b", {"c": 1}) == b'{"jsonrpc":"2.0","method":"b","params":{"c":1}}'


@pytest.mark.parametrize("value, text", [
    ({"a": [1, 2.5, True, None]}, b'{"a":[1,2.5,true,null]}'),
    ("caf\xe9 \u2028\u2029\x85\x7f \U0001f600", rb'"caf\u00e9 \u2028\u2029\u0085\u007f \ud83d\ude00"'),
    ("a\n\r\t\0", rb'"a\n\r\t\u0000"'),
    ("half \ud83d", rb'"half \ud83d"'),  # a handler may make one: the text is still JSON
    (2**70, b"1180591620717411303424"),
])  # fmt: skip
def test_json_is_written_in_ascii_on_one_line(value: object, text: bytes) -> None:
    """[json.ascii] Real clients hang on a raw U+2028, because it ends a line for them."""
    assert encode(value) == text
    assert json.loads(text) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {"a": [0, math.nan]}])
def test_number_that_json_does_not_have_is_not_written(value: object) -> None:
    """[json.ascii] It would make the whole message unreadable."""
    with pytest.raises(ValueError, match="(?i)nan|inf|compliant"):
        encode(value)
    with pytest.raises(ValueError, match="(?i)nan|inf|compliant"):
        encode_result(1, {"value": value})
