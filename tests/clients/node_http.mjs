// node_http.mjs URL hello|bytes: node's http over two kept connections, every answer compared.

import assert from "node:assert/strict";
import http from "node:http";

const [url, what] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
const pattern = (size) => Buffer.from(Array.from({ length: size }, (_, i) => i % 251));

function exchange(method, path, { body, chunked } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(new URL(path, url), { method, agent, timeout: 30_000 });
    request.on("error", reject);
    request.on("timeout", () => request.destroy(new Error(`${method} ${path} timed out`)));
    request.on("response", (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => {
        assert.ok(response.complete, `${method} ${path} was cut`);
        assert.equal(response.statusCode, 200);
        resolve({ response, body: Buffer.concat(pieces) });
      });
    });
    if (chunked) {
      request.write(body.subarray(0, 7));
      request.end(body.subarray(7));
    } else {
      request.end(body);
    }
  });
}

if (what === "hello") {
  const answers = Array.from({ length: 100 }, () => exchange("GET", "/"));
  for (const { body } of await Promise.all(answers)) {
    assert.equal(body.toString(), "hello\n");
  }
} else {
  const data = pattern(50_000);
  const exchanges = Array.from({ length: 20 }, async () => {
    const got = await Promise.all([
      exchange("GET", "/bytes/50000"),
      exchange("GET", "/stream/50000"),
      exchange("POST", "/echo", { body: data }),
      exchange("PUT", "/echo", { body: data, chunked: true }),
    ]);
    for (const { body } of got) {
      assert.ok(body.equals(data), `${body.length} bytes`);
    }
    const { response, body } = await exchange("HEAD", "/bytes/1234");
    assert.equal(response.headers["content-length"], "1234");
    assert.equal(body.length, 0);
  });
  await Promise.all(exchanges);
}
agent.destroy();
