/** The state machine by hand: one host, and what others are made to say to it. Fleets are in `sim/`. */
import { describe, expect, test } from "bun:test";
import type { Body, Message } from "./message.ts";
import type { News } from "./member.ts";
import { type Effects, Membership, type MembershipOptions } from "./membership.ts";
import { randomOf } from "./sim/random.ts";
import { ADDRESS_INTERVAL_MS, STATES_PER_S_MAX, TIMING } from "./timing.ts";

const at = (port: number) => ({ address: "10.0.0.1", port });
const news = (id: string, port: number, fields: Partial<News> = {}): News => ({
  id,
  state: "alive",
  incarnation: 100,
  at: at(port),
  from: null,
  ageS: 0,
  ...fields,
});
const say = (id: string, body: Body, ...said: News[]): Message => ({
  ...body,
  id,
  incarnation: 100,
  news: said,
});

function start(options: Partial<MembershipOptions> = {}): Membership {
  const membership = new Membership({
    id: "me",
    at: at(1),
    seeds: [],
    incarnation: 50,
    random: randomOf(1),
    ...options,
  });
  membership.start(0);
  return membership;
}
const gossip = (membership: Membership, nowMs: number, ...said: News[]): Effects =>
  membership.receive(say("one", { kind: "gossip" }, ...said), at(2), nowMs);
const meet = (membership: Membership, ...ids: [string, number][]) =>
  gossip(membership, 0, ...ids.map(([id, port]) => news(id, port)));
const states = ({ changes }: Effects) => changes.map(({ id, state }) => `${id} ${state}`);
/** Lets time pass; nobody answers. */
function pass(membership: Membership, untilMs: number): string[] {
  const told: string[] = [];
  for (let nowMs = membership.nextMs(); nowMs <= untilMs; nowMs = membership.nextMs()) {
    told.push(...states(membership.advance(nowMs)));
  }
  return told;
}

describe("Membership", () => {
  test("suspects who does not answer, then tells that it is dead", () => {
    const membership = start();
    expect(states(meet(membership, ["one", 2]))).toEqual(["one alive"]);
    expect(pass(membership, 3_000)).toEqual(["one suspect", "one dead"]);
  });
  test("asks others to try before it suspects", () => {
    const membership = start();
    meet(membership, ["one", 2], ["two", 3], ["three", 4]);
    const asked: string[] = [];
    for (let nowMs = membership.nextMs(); nowMs < 600; nowMs = membership.nextMs()) {
      for (const { message } of membership.advance(nowMs).sends) {
        if (message.kind === "ask") asked.push(message.target);
      }
    }
    expect(asked.length).toBeGreaterThanOrEqual(2);
    expect(new Set(asked.slice(0, 2)).size).toBe(1);
  });
  test("takes an answer by way of another for an answer", () => {
    const membership = start();
    meet(membership, ["one", 2], ["two", 3]);
    const told: string[] = [];
    for (let nowMs = membership.nextMs(); nowMs < 3_000; nowMs = membership.nextMs()) {
      const effects = membership.advance(nowMs);
      told.push(...states(effects));
      for (const { message } of effects.sends) {
        // `two` answers nobody; `one` answers for both.
        if (message.kind === "ping" && message.target === "two") continue;
        if (message.kind !== "ping" && message.kind !== "ask") continue;
        const ack = say("one", { kind: "ack", sequence: message.sequence });
        told.push(...states(membership.receive(ack, at(2), nowMs)));
      }
    }
    expect(told).toEqual([]);
  });
  test("heeds no answer from somebody else, and none to another question", () => {
    const membership = start();
    meet(membership, ["one", 2]);
    const told: string[] = [];
    for (let nowMs = membership.nextMs(); nowMs < 3_000; nowMs = membership.nextMs()) {
      const effects = membership.advance(nowMs);
      told.push(...states(effects));
      for (const { message } of effects.sends) {
        if (message.kind !== "ping") continue;
        membership.receive(say("stranger", { kind: "ack", sequence: message.sequence }), at(9), nowMs);
        membership.receive(say("one", { kind: "ack", sequence: message.sequence + 7 }), at(2), nowMs);
      }
    }
    expect(told).toEqual(["one suspect", "one dead"]);
  });
  test("answers a ping with an ack to where the sender is known to be, and none that is for another", () => {
    const membership = start();
    meet(membership, ["one", 2]);
    const ping = (target: string) =>
      membership.receive(say("one", { kind: "ping", sequence: 7, target }), at(99), 1);
    expect(ping("me").sends[0]).toMatchObject({ to: at(2), message: { kind: "ack", sequence: 7 } });
    expect(ping("other").sends).toEqual([]);
    expect(membership.counts.misdirected).toBe(1);
  });
  test("tells a stranger nothing but an ack, and asks who it is", () => {
    const membership = start();
    const { sends } = membership.receive(say("x", { kind: "ping", sequence: 7, target: "me" }), at(9), 1);
    expect(sends.map(({ message }) => message.kind)).toEqual(["ack", "compare"]);
    expect(sends[0]!.message.news).toEqual([]);
  });
  test("objects to its own death with a higher incarnation, at once and to who said it", () => {
    const membership = start();
    meet(membership, ["one", 2]);
    const { sends } = gossip(membership, 5, news("me", 1, { state: "dead", incarnation: 50 }));
    expect(membership.incarnation).toBe(51);
    expect(sends[0]).toMatchObject({ to: at(2) });
    expect(sends[0]!.message.news).toContainEqual(news("me", 1, { incarnation: 51 }));
    // What it was in a life before, with a clock that ran ahead.
    gossip(membership, 6, news("me", 1, { state: "left", incarnation: 700 }));
    expect(membership.incarnation).toBe(701);
    expect(membership.stateOf("me")).toBe("alive");
  });
  test("keeps its incarnation where somebody is late with old news, and says again which one it is", () => {
    const membership = start();
    meet(membership, ["one", 2]);
    const { sends } = gossip(membership, 5, news("me", 1, { state: "dead", incarnation: 49 }));
    expect(membership.incarnation).toBe(50);
    expect(sends[0]!.message.news).toContainEqual(news("me", 1, { incarnation: 50 }));
  });
  test("tells a host that it does not hold for alive so, before anything else", () => {
    const membership = start();
    meet(membership, ["one", 2]);
    gossip(membership, 1, news("one", 2, { state: "dead" }));
    const { sends } = membership.receive(say("one", { kind: "ping", sequence: 1, target: "me" }), at(2), 2);
    expect(sends[0]!.message.news[0]).toMatchObject({ id: "one", state: "dead", incarnation: 100 });
  });
  test("lets a dead host back with a higher incarnation alone", () => {
    const membership = start();
    meet(membership, ["one", 2]);
    gossip(membership, 1, news("one", 2, { state: "dead" }));
    expect(states(gossip(membership, 2, news("one", 2)))).toEqual([]);
    expect(states(gossip(membership, 3, news("one", 2, { state: "suspect" })))).toEqual([]);
    expect(states(gossip(membership, 4, news("one", 2, { incarnation: 101 })))).toEqual(["one alive"]);
  });
  test("does not believe a death that a comparison brings up: it probes, and says what is said", () => {
    const membership = start();
    meet(membership, ["one", 2], ["two", 3]);
    const state = say("one", { kind: "state" }, news("two", 3, { state: "dead" }));
    const { sends, changes } = membership.receive(state, at(2), 5);
    expect(changes).toEqual([]);
    expect(sends[0]).toMatchObject({ to: at(3), message: { kind: "ping", target: "two" } });
    expect(sends[0]!.message.news[0]).toMatchObject({ id: "two", state: "dead" });
  });
  test("forgets the dead after their time, not before, and takes none over that are as old", () => {
    const timing = { ...TIMING, forgetMs: 60_000 };
    const membership = start({ timing });
    gossip(
      membership,
      0,
      news("old", 3, { state: "dead", ageS: 55 }),
      news("new", 4, { state: "dead", ageS: 20 }),
    );
    expect([membership.stateOf("old"), membership.stateOf("new")]).toEqual([null, "dead"]);
    expect(pass(membership, 39_000)).toEqual([]);
    expect(pass(membership, 46_000)).toEqual(["new left"]);
    expect(membership.table.size).toBe(0);
  });
  test("tells a host that comes and goes as suspect for longer each time, and then as alive", () => {
    const membership = start();
    let nowMs = 1;
    const told: string[] = [];
    for (let life = 0; life < 3; life++) {
      const incarnation = 100 + life;
      told.push(...states(gossip(membership, nowMs++, news("one", 2, { incarnation }))));
      told.push(...states(gossip(membership, nowMs++, news("one", 2, { incarnation, state: "dead" }))));
    }
    gossip(membership, nowMs, news("one", 2, { incarnation: 200 }));
    expect(told).toEqual(["one alive", "one dead", "one alive", "one dead", "one suspect", "one dead"]);
    expect(membership.stateOf("one")).toBe("suspect");
  });
  test("leaves by saying so, and answers nobody any more", () => {
    const membership = start();
    meet(membership, ["one", 2]);
    membership.leave(10);
    const { sends } = membership.advance(membership.nextMs());
    expect(sends[0]!.message.news).toContainEqual(news("me", 1, { state: "left", incarnation: 50 }));
    expect(membership.receive(say("one", { kind: "ping", sequence: 1, target: "me" }), at(2), 20).sends)
      .toEqual([]);
  });
  test("a process that stood still accuses nobody: the answers may lie in its socket", () => {
    const membership = start();
    meet(membership, ["one", 2]);
    let ping: number | null = null;
    while (ping === null) {
      const { sends } = membership.advance(membership.nextMs());
      for (const { message } of sends) if (message.kind === "ping") ping = message.sequence;
    }
    const nowMs = membership.nextMs() + 60_000;
    expect(states(membership.advance(nowMs))).toEqual([]);
    expect(membership.counts.stalls).toBe(1);
    expect(states(membership.receive(say("one", { kind: "ack", sequence: ping }), at(2), nowMs + 1))).toEqual(
      [],
    );
  });

  test("is bounded: members, of whom the longest gone make room", () => {
    const membership = start({ membersMax: 3 });
    meet(membership, ["a", 2], ["b", 3], ["c", 4], ["d", 5]);
    expect([membership.table.size, membership.counts.membersRefused]).toEqual([3, 1]);
    gossip(membership, 10, news("a", 2, { state: "dead" }));
    gossip(membership, 20, news("b", 3, { state: "dead" }));
    gossip(membership, 30, news("d", 5));
    expect(["a", "b", "c", "d"].map((id) => membership.stateOf(id))).toEqual([
      null,
      "dead",
      "alive",
      "alive",
    ]);
  });
  test("is bounded: addresses of a live host change only so often", () => {
    const membership = start();
    meet(membership, ["one", 2]);
    const move = (nowMs: number, port: number, incarnation: number) =>
      gossip(membership, nowMs, news("one", port, { incarnation }));
    move(10, 20, 101);
    move(20, 21, 102);
    expect(membership.table.get("one")).toMatchObject({ at: at(20), incarnation: 101 });
    expect(membership.counts.addressesRefused).toBe(1);
    move(10 + ADDRESS_INTERVAL_MS, 22, 103);
    expect(membership.table.get("one")).toMatchObject({ at: at(22), incarnation: 103 });
  });
  test("is bounded: whole states that it sends in a second", () => {
    const membership = start();
    meet(membership, ["one", 2]);
    let sent = 0;
    for (let i = 0; i < 100; i++) {
      const { sends } = membership.receive(say("one", { kind: "compare", sum: i, back: true }), at(2), 1_000);
      sent += sends.filter(({ message }) => message.kind === "state").length;
    }
    expect(sent).toBe(STATES_PER_S_MAX);
  });
});
