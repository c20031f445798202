import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { connect } from "node:net";
import { join } from "node:path";
import { MemberLine, MembersLine } from "../contract/membership.ts";
import { Feed, UNREAD_BYTES_MAX } from "./feed.ts";
import { FeedReader } from "./feed.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-feed-"));
const path = join(folder, "membership.sock");
const line = (host_id: string, state: MemberLine["state"]): MemberLine => ({
  host_id,
  state,
  incarnation: 1,
  at_ms: 2,
});
let members = [line("one", "alive")];
const feed = new Feed(() => members);
beforeAll(async () => {
  // What a killed agent left.
  writeFileSync(path, "");
  await feed.start(path);
});
afterAll(async () => {
  await feed.stop();
  rmSync(folder, { recursive: true });
});

describe("Feed", () => {
  test("is for its owner alone", () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
  test("tells first of all members, then of each change, in the lines of the contract", async () => {
    const reader = await FeedReader.open(path);
    await reader.until(({ one }) => one === "alive");
    feed.changed(line("one", "suspect"));
    feed.changed(line("two", "alive"));
    await reader.until(({ one, two }) => one === "suspect" && two === "alive");
    expect(MembersLine.safeParse(reader.lines[0]).success).toBe(true);
    expect(MemberLine.safeParse(reader.lines[1]).success).toBe(true);
    reader.close();
  });
  test("cuts off a reader that does not read, and goes on telling the others", async () => {
    const deaf = connect({ path });
    deaf.on("error", () => {});
    await new Promise((resolve) => deaf.once("connect", resolve));
    deaf.pause();
    const reader = await FeedReader.open(path);
    await reader.until(({ one }) => one === "alive");
    members = Array.from({ length: 1_000 }, (_, i) => line(`host-${i}`, "alive"));
    let told = 0;
    while (feed.counts.slow === 0 && told++ < 4 * UNREAD_BYTES_MAX / 60) {
      feed.changed(line(`host-${told}`, "dead"));
      if (told % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(feed.counts.slow).toBe(1);
    await reader.until((states) => states[`host-${told}`] === "dead");
    reader.close();
    deaf.destroy();
  });
});
