"""Pipelines over raw sockets and compares every response with the one to the same request alone.

Argument: the port on 127.0.0.1.
"""

import itertools
import socket
import sys
import threading

ADDRESS = ("127.0.0.1", int(sys.argv[1]))


def request(method, path, fields="", body=""):
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}".encode()


# No bodies: the examples do not read them, and then a server may close the connection.
REQUESTS = [
    ("GET", request("GET", "/")),
    ("GET", request("GET", "/missing")),
    ("HEAD", request("HEAD", "/")),
    ("GET", request("GET", "/?a=b", "User-Agent: pipeline\r\nAccept: */*\r\n")),
    ("POST", request("POST", "/", "Content-Length: 0\r\n")),
    ("GET", request("GET", "/")),
    ("DELETE", request("DELETE", "/x")),
    ("OPTIONS", request("OPTIONS", "/")),
]


class Connection:
    def __init__(self):
        self.socket = socket.create_connection(ADDRESS, timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def response(self, method):
        """Status line, fields without Date, body."""
        start = self.file.readline()
        assert start.startswith(b"HTTP/1.1 "), start
        fields = []
        length = 0
        while (line := self.file.readline()) != b"\r\n":
            assert line.endswith(b"\r\n"), line
            name, _, value = line.partition(b":")
            assert name.lower() != b"transfer-encoding", line
            if name.lower() == b"content-length":
                length = int(value)
            if name.lower() != b"date":
                fields.append(line)
        body = b"" if method == "HEAD" else self.file.read(length)
        assert len(body) == length or method == "HEAD", (start, body)
        return start, fields, body

    def ends(self):
        rest = self.file.read()
        assert rest == b"", rest


def alone(method, data):
    connection = Connection()
    connection.send(data)
    return connection.response(method)


EXPECTED = [alone(method, data) for method, data in REQUESTS]
assert EXPECTED[0][2] == b"hello\n", EXPECTED[0]
assert EXPECTED[1][0].startswith(b"HTTP/1.1 404"), EXPECTED[1]
assert len({str(answer) for answer in EXPECTED}) >= 4, EXPECTED


def check(connection, indexes):
    for at, index in enumerate(indexes):
        answer = connection.response(REQUESTS[index][0])
        assert answer == EXPECTED[index], (at, REQUESTS[index], answer, EXPECTED[index])


def burst():
    """Many at once, in an order that does not repeat soon."""
    count = len(REQUESTS)
    indexes = [(step * 5 + step // count) % count for step in range(800)]
    connection = Connection()
    data = b"".join(REQUESTS[index][1] for index in indexes)
    sender = threading.Thread(target=connection.send, args=(data,))
    sender.start()
    check(connection, indexes)
    sender.join()


def byte_by_byte():
    connection = Connection()
    indexes = list(range(len(REQUESTS)))
    for byte in b"".join(data for _, data in REQUESTS):
        connection.send(bytes([byte]))
    check(connection, indexes)


def split_anywhere():
    connection = Connection()
    indexes = [0, 1, 4, 0]
    data = b"".join(REQUESTS[index][1] for index in indexes)
    for at in range(len(data) + 1):
        connection.send(data[:at])
        connection.send(data[at:])
        check(connection, indexes)


def answered_before_the_rest_is_here():
    for index, tail in itertools.product([0, 2], [b"\r\n", b"GET /miss"]):
        connection = Connection()
        connection.send(REQUESTS[index][1] + tail)
        check(connection, [index])
        connection.send(b"ing HTTP/1.1\r\nHost: x\r\n\r\n" if tail != b"\r\n" else REQUESTS[1][1])
        check(connection, [1])


def nothing_behind_the_last():
    last = request("GET", "/", "Connection: close\r\n")
    connection = Connection()
    connection.send(REQUESTS[1][1] + last + REQUESTS[0][1] * 3)
    check(connection, [1])
    assert connection.response("GET")[2] == b"hello\n"
    connection.ends()


for test in [
    burst,
    byte_by_byte,
    split_anywhere,
    answered_before_the_rest_is_here,
    nothing_behind_the_last,
]:
    test()
    print(test.__name__)
