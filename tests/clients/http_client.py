"""http_client.py PORT 10|11 hello|bytes: one http.client connection, every answer compared."""

import http.client
import sys

port, version, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
headers = {}
if version == "10":
    http.client.HTTPConnection._http_vsn = 10
    http.client.HTTPConnection._http_vsn_str = "HTTP/1.0"
    headers["Connection"] = "keep-alive"
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def pattern(size):
    return bytes(i % 251 for i in range(size))


def exchange(method, path, body=None, chunked=False, status=200):
    connection.request(method, path, body=body, headers=headers, encode_chunked=chunked)
    response = connection.getresponse()
    got = response.read()
    assert response.status == status, (method, path, response.status)
    return response, got


if what == "hello":
    for _ in range(20):
        assert exchange("GET", "/")[1] == b"hello\n"
    sys.exit()

data = pattern(50_000)
for _ in range(20):
    assert exchange("GET", "/bytes/10000")[1] == pattern(10_000)
    if version == "11":
        response, got = exchange("GET", "/stream/100000")
        assert got == pattern(100_000), len(got)
        # A body of unknown length goes out in chunks.
        assert exchange("POST", "/echo", body=iter([data[:7], data[7:]]), chunked=True)[1] == data
    else:
        exchange("GET", "/bytes/0")
    assert exchange("PUT", "/echo", body=data)[1] == data
    response, got = exchange("HEAD", "/bytes/1234")
    assert response.getheader("Content-Length") == "1234" and got == b""
