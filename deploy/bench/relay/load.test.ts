import { expect, test } from "bun:test";
import { parseH2load } from "./load.ts";

const output = `starting benchmark...
Application protocol: h2
finished in 1.00s, 20000.00 req/s, 2.00MB/s
requests: 20100 total, 20050 started, 20000 done, 19990 succeeded, 10 failed, 0 errored, 0 timeout
status codes: 19980 2xx, 0 3xx, 10 4xx, 10 5xx
traffic: 2.00MB (2000123) total, 1.00MB (1000000) headers (space savings 50.00%), 0.10MB (100000) data
`;

test("parseH2load() counts what is done, and everything but 2xx as failed", () => {
  expect(parseH2load(output, 1)).toEqual({ requests: 20_000, seconds: 1, bytes: 2_000_123, failures: 20 });
});

test("parseH2load() takes no HTTP/1.1 for HTTP/2", () => {
  expect(() => parseH2load(output.replace("h2\n", "http/1.1\n"), 1)).toThrow("no HTTP/2 was negotiated");
});
