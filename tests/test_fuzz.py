"""A few seconds of tests/fuzz.py, always the same ones; and its readers, which must not be easily pleased."""

import asyncio

import pytest
from fuzz import Asked, Fault, Fuzz, answers_in, check_conversation, messages_in, requests_in

DATE = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
GET, OK = b"GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + DATE
JSON, STREAM = b"Content-Type: application/json\r\n", b"Content-Type: text/event-stream\r\n"
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


def sent(body: bytes) -> bytes:
    return b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def json_answer(body: bytes) -> bytes:
    return OK + JSON + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


POST = sent(PING)


def test_whatever_a_stranger_sends_is_answered_by_sound_http_and_harms_nobody():
    """[answers.nothing-internal] [answers.json] [http.close-said] [session.end-frees]

    Two seconds, a thousand connections; `python tests/fuzz.py --seconds 600` for more, and for other ones.
    """
    fuzz = Fuzz(seed=1)
    asyncio.run(asyncio.wait_for(fuzz.run(seconds=60, cases=960), 90))
    assert fuzz.cases == 960
    assert {"end 200", "end 202", "end 204", "end 400", "end 404", "bad 400", "bad 413"} <= set(fuzz.statistics)


@pytest.mark.parametrize("data, whole, ending", [
    (GET + POST, 2, "end"),
    (GET + b"\r\n" + GET, 2, "end"),
    (GET + GET[:-1], 1, "cut"),
    (POST[:-1], 0, "cut"),
    (GET + b"GET /mcp HTTP/1.1\r\nHost: localhost\n\r\n\r\n", 1, "bad"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "bad"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", 0, "bad"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nX: y\r\n\r\n" + GET, 2, "end"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: b\r\nOrigin: b, b\r\nMcp-X: c\r\nMcp-X: c\r\n\r\n", 1, "end"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: b\r\nOrigin: c\r\n\r\n", 0, "bad"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 0, "bad"),
])  # fmt: skip
def test_reader_of_requests_tells_where_each_ends(data, whole, ending):
    """What it says decides how many answers there may be."""
    asked, how, _ = requests_in(data)
    assert (len(asked), how) == (whole, ending)


@pytest.mark.parametrize("answer, words", [
    (b"HTTP/1.1 500 Internal Server Error\r\n" + DATE + b"Content-Length: 0\r\n\r\n", "status 500"),
    (b"HTTP/1.1 299 Odd\r\n" + DATE + b"Content-Length: 0\r\n\r\n", "status 299"),
    (b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "status line"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n", "nobody waits"),
    (b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 0\r\n\r\n", "Date"),
    (OK + b"\r\n", "no length"),
    (OK + b"Content-Length: 00\r\n\r\n", "Content-Length"),
    (OK + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n", "repeated field"),
    (OK + b"Content-Length : 0\r\n\r\n", "malformed"),
    (OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n", "malformed"),
    (OK + b"Content-Length: 5\r\n\r\n1234", "4 bytes of a body of 5"),
    (OK + STREAM + b"Transfer-Encoding: chunked\r\n\r\n05\r\nhello\r\n", "chunk size"),
    (OK + STREAM + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n", "CRLF"),
    (OK + STREAM + b"Transfer-Encoding: chunked\r\n\r\n3\r\n:\n\n\r\n", "cut off"),
    (OK + STREAM + b"Transfer-Encoding: chunked\r\n\r\n4\r\n:a\n\n\r\n0\r\n\r\n", "malformed event"),
    (OK + STREAM + b"Transfer-Encoding: chunked\r\n\r\n2\r\n:\n\r\n0\r\n\r\n", "without an end"),
    (OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n", "closed after a sound request"),
    (OK + JSON + b'Content-Length: 15\r\n\r\n{"a":1,"a":NaN}', "NaN"),
    (OK + JSON + b'Content-Length: 13\r\n\r\n{"a":1,"a":1}', "twice"),
    (OK + JSON + b'Content-Length: 34\r\n\r\n{"jsonrpc":"2.0","id":2,"result":{', "Expecting"),
    (OK + JSON + b'Content-Length: 36\r\n\r\n{"jsonrpc":"2.0","id":2,"result":{}}', "not sent: 2"),
    (OK + JSON + b'Content-Length: 38\r\n\r\n{"jsonrpc":"2.0","id":"1","result":{}}', "not sent: '1'"),
    (OK + JSON + b'Content-Length: 38\r\n\r\n{"jsonrpc":"2.0","id":1.0,"result":{}}', "not sent: 1.0"),
    (OK + JSON + b'Content-Length: 38\r\n\r\n{"jsonrpc":"2.0","id":true,"result":1}', "odd result"),
    (OK + JSON + b'Content-Length: 49\r\n\r\n{"jsonrpc":"2.0","id":1,"result":{"a":"tok3x"}}  ', "hears of others"),
    (json_answer(b'[{"jsonrpc":"2.0","id":1,"result":{}}]'), "no envelope"),
    (OK.replace(b"200 OK", b"403 Forbidden") + b"Content-Length: 0\r\n\r\n", "a body is read although"),
    (b"", "0 answers to 1"),
    (2 * (OK + b"Content-Length: 0\r\n\r\n"), "2 answers to 1"),
])  # fmt: skip
def test_reader_of_answers_finds_each_fault(answer, words):
    """A fuzzer that is pleased with anything finds nothing."""
    with pytest.raises((Fault, ValueError), match=words):
        check_conversation(POST, answer, ended=True)


@pytest.mark.parametrize("body, words", [
    (b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"a":%b}}' % (b"1" * 21), "no JSON"),
    (b'{"jsonrpc":"2.0","id":1,"method":"%b"}' % (b"a" * 1025), "long id or method"),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"a"}}', "cursor"),
])  # fmt: skip
def test_reader_of_answers_knows_what_must_not_be_taken(body, words):
    """Sent well, and wrong: a result is a fault, and to the last one an error is none."""
    with pytest.raises(Fault, match=words):
        check_conversation(sent(body), json_answer(b'{"jsonrpc":"2.0","id":1,"result":{}}'), ended=True)
    good = sent(body.replace(b"1" * 21, b"1" * 20).replace(b"a" * 1025, b"a" * 1024).replace(b'"cursor":"a"', b'"cursor":null'))
    assert check_conversation(good, json_answer(b'{"jsonrpc":"2.0","id":1,"result":{}}'), ended=True) == "end 200"


def test_reader_of_answers_lets_the_gate_close_before_a_body():
    """And only then."""
    refused = b"HTTP/1.1 404 Not Found\r\n" + DATE + b"Connection: close\r\nContent-Length: 0\r\n\r\n"
    assert check_conversation(POST, refused, ended=True) == "end 404"
    with pytest.raises(Fault, match="closed after a sound request"):
        check_conversation(GET, refused, ended=True)


@pytest.mark.parametrize("told", ["Traceback (most recent", "KeyError", "<class 'int'>", "object at 0x7f", "fuzz.py"])
def test_reader_of_answers_finds_words_from_the_inside(told):
    body = b'{"jsonrpc":"2.0","id":1,"result":{"a":"%b"}}' % told.encode()
    with pytest.raises(Fault, match="insides"):
        check_conversation(POST, OK + JSON + b"Content-Length: %d\r\n\r\n%b" % (len(body), body), ended=True)


def test_reader_of_answers_reads_a_sound_one():
    """Whole, and as an event stream that goes on."""
    body = b'{"jsonrpc":"2.0","id":1,"result":{}}'
    sound = OK + JSON + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    assert check_conversation(POST, sound, ended=True) == "end 200"
    event = b'id: 0123456789abcdef-1\ndata: {"jsonrpc":"2.0","method":"a"}\n\n'
    open_stream = OK + STREAM + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(event), event)
    assert check_conversation(GET, open_stream, ended=False) == "end 200"
    (answer,) = answers_in(open_stream, [Asked(b"GET")], None, ended=False)
    assert (answer.complete, messages_in(answer)) == (False, [{"jsonrpc": "2.0", "method": "a"}])
