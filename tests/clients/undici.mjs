// undici.mjs URL hello|bytes: undici over two connections, eight requests deep, every answer compared.

import assert from "node:assert/strict";
import { Pool } from "undici";

const [url, what] = process.argv.slice(2);
const pool = new Pool(new URL(url).origin, { connections: 2, pipelining: 8 });
const pattern = (size) => Buffer.from(Array.from({ length: size }, (_, i) => i % 251));

async function exchange(method, path, body) {
  const response = await pool.request({ method, path, body });
  const got = Buffer.from(await response.body.arrayBuffer());
  assert.equal(response.statusCode, 200);
  return got;
}

if (what === "hello") {
  const answers = Array.from({ length: 200 }, () => exchange("GET", "/"));
  for (const body of await Promise.all(answers)) {
    assert.equal(body.toString(), "hello\n");
  }
} else {
  // Different sizes, so that answers in the wrong order are seen.
  const gets = Array.from({ length: 200 }, async (_, i) => {
    const got = await exchange("GET", `/bytes/${1000 + i}`);
    assert.ok(got.equals(pattern(1000 + i)), `${got.length} bytes for ${1000 + i}`);
  });
  const data = pattern(50_000);
  const posts = Array.from({ length: 20 }, async () => {
    assert.ok((await exchange("POST", "/echo", data)).equals(data));
  });
  await Promise.all([...gets, ...posts]);
}
await pool.close();
