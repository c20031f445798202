import { expect, test } from "bun:test";
import type { StreamSession } from "../replica/ports.ts";
import { CountedStreams } from "./counted-streams.ts";

const session: StreamSession = {
  regionStreams: () => Promise.resolve([]),
  info: () => Promise.resolve(null),
  read: () => Promise.resolve([]),
  close() {},
};

test("CountedStreams counts an answer as taken when the next thing is asked for, and not before", async () => {
  const streams = new CountedStreams({ connect: () => Promise.resolve(session) });
  const one = await streams.connect();
  expect(streams.progress).toEqual({ answered: 0, taken: 0 });
  await one.read(new Map(), 1, 0);
  expect(streams.progress).toEqual({ answered: 1, taken: 0 });
  await one.info("stream");
  expect(streams.progress).toEqual({ answered: 1, taken: 1 });
  await one.read(new Map(), 1, 0);
  one.close();
  // What the next connection asks says nothing of an answer that the one before got.
  const other = await streams.connect();
  await other.regionStreams();
  expect(streams.progress).toEqual({ answered: 2, taken: 1 });
});

test("CountedStreams counts no read that fails", async () => {
  const streams = new CountedStreams({
    connect: () => Promise.resolve({ ...session, read: () => Promise.reject(new Error("lost")) }),
  });
  const one = await streams.connect();
  await one.read(new Map(), 1, 0).catch(() => {});
  expect(streams.progress).toEqual({ answered: 0, taken: 0 });
});
