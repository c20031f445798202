import { expect, test } from "bun:test";
import { join } from "node:path";
import { RequestIds } from "./request-id.ts";

test("RequestIds are unique, sortable and have the reference's form", () => {
  const ids = new RequestIds("ams");
  const made = Array.from({ length: 5_000 }, (_, i) => ids.next(1_700_000_000_000 + Math.floor(i / 1_500)));
  expect(new Set(made).size).toBe(made.length);
  for (const id of made) expect(id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}-ams$/);
  const times = made.map((id) => id.slice(0, 10));
  expect(times).toEqual([...times].sort());
  // The time is readable again.
  const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  expect([...times[0]!].reduce((ms, digit) => ms * 32 + digits.indexOf(digit), 0)).toBe(1_700_000_000_000);
});

test("RequestIds stay unique when the counter wraps and when the clock goes back", () => {
  const drawn = new Uint8Array(16).fill(255);
  const ids = new RequestIds("ams", drawn);
  const made = Array.from({ length: 3_000 }, (_, i) => ids.next(1_700_000_000_000 - (i % 3)));
  expect(new Set(made).size).toBe(made.length);
});

test("RequestIds of processes that start together and see the same millisecond never meet", async () => {
  const file = JSON.stringify(join(import.meta.dir, "request-id.ts"));
  const script = `const { RequestIds } = await import(${file}); const ids = new RequestIds("ams");
    for (let i = 0; i < 500; i++) console.log(ids.next(1700000000000));`;
  const outputs = await Promise.all(Array.from({ length: 4 }, () => {
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
    return new Response(child.stdout).text();
  }));
  const made = outputs.flatMap((text) => text.trim().split("\n"));
  expect(made.length).toBe(2_000);
  expect(new Set(made).size).toBe(2_000);
  // Not by the luck of their counters: the drawn parts differ.
  expect(new Set(made.map((id) => id.slice(10, 20))).size).toBe(4);
});
