"""urllib_request.py PORT: a connection for each request, every answer compared."""

import sys
import urllib.error
import urllib.request

url = f"http://127.0.0.1:{sys.argv[1]}"
data = bytes(i % 251 for i in range(50_000))

for _ in range(20):
    with urllib.request.urlopen(url + "/bytes/50000", timeout=30) as response:
        assert response.read() == data
        assert response.getheader("Connection") == "close"
    with urllib.request.urlopen(url + "/echo", data=data, timeout=30) as response:
        assert response.read() == data

try:
    urllib.request.urlopen(url + "/missing", timeout=30)
    raise AssertionError("found")
except urllib.error.HTTPError as error:
    assert error.code == 404
