import { expect, test } from "bun:test";
import { firstByte } from "./first-byte.ts";

test("firstByte() asks until the answer is good, one question at a time", async () => {
  let asked = 0;
  let open = 0;
  let openMost = 0;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      openMost = Math.max(openMost, ++open);
      expect(request.headers.get("host")).toBe("app.localhost");
      await Promise.resolve();
      open--;
      return new Response("x", { status: ++asked < 4 ? 503 : 200 });
    },
  });
  const target = { address: "127.0.0.1", port: server.port!, host: "app.localhost" };
  expect(await firstByte(target, 10_000)).toBeLessThanOrEqual(performance.now());
  expect(asked).toBe(4);
  expect(openMost).toBe(1);
  await server.stop(true);
  const error = await firstByte(target, 50).catch((reason) => reason);
  expect(error.code).toBe("bench.no_answer");
});
