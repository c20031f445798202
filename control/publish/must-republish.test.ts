import { describe, expect, test } from "bun:test";
import {
  compareIds,
  type Marks,
  mustRepublish,
  newerId,
  nextId,
  type StreamFacts,
} from "./must-republish.ts";

const there = (id: string) => ({ id, isThere: true });
const gone = (id: string) => ({ id, isThere: false });

describe("mustRepublish()", () => {
  const cases: [string, Marks, StreamFacts | null, ReturnType<typeof mustRepublish>][] = [
    ["nothing was ever published", { fullFrom: null, last: [] }, null, null],
    ["a whole stream", { fullFrom: there("5-0"), last: [there("9-1")] }, facts("5-0", "9-1"), null],
    ["others' entries around", { fullFrom: there("5-0"), last: [there("9-1")] }, facts("2-0", "30-0"), null],
    ["no stream any more", { fullFrom: there("5-0"), last: [there("9-1")] }, null, "emptied"],
    [
      "a stream without entries",
      { fullFrom: there("5-0"), last: [gone("9-1")] },
      facts(null, "9-1"),
      "emptied",
    ],
    ["emptied before the first page", { fullFrom: null, last: [gone("9-1")] }, null, "emptied"],
    [
      "trimmed past the full publication",
      { fullFrom: gone("5-0"), last: [there("9-1")] },
      facts("5-1", "9-1"),
      "trimmed",
    ],
    ["trimmed past all", { fullFrom: gone("5-0"), last: [gone("9-1")] }, facts("10-0", "11-0"), "trimmed"],
    [
      "a tail that is lost",
      { fullFrom: there("5-0"), last: [gone("9-1")] },
      facts("5-0", "9-0"),
      "tail_lost",
    ],
    [
      "a lost tail, and others went on",
      { fullFrom: there("5-0"), last: [gone("9-1")] },
      facts("5-0", "20-0"),
      "tail_lost",
    ],
    [
      "of two processes one has lost",
      { fullFrom: there("5-0"), last: [there("9-1"), gone("8-0")] },
      facts("5-0", "20-0"),
      "tail_lost",
    ],
    [
      "a new stream with an earlier clock",
      { fullFrom: gone("5-0"), last: [gone("9-1")] },
      facts("1-0", "2-0"),
      "tail_lost",
    ],
    [
      "a new stream whose clock has caught up",
      { fullFrom: gone("5-0"), last: [there("9-1")] },
      facts("4-0", "9-1"),
      "tail_lost",
    ],
    ["a republication whose first page is to come", { fullFrom: null, last: [] }, facts("7-0", "9-0"), null],
  ];
  for (const [name, marks, stream, expected] of cases) {
    test(`says ${expected ?? "no"} for ${name}`, () => expect(mustRepublish(marks, stream)).toBe(expected));
  }

  test("leaves no loss unfound, whatever happens to a stream that others write to: 2,000 seeded histories", () => {
    for (let seed = 1; seed <= 2_000; seed++) {
      const world = new World(seed);
      for (let step = 0; step < 40; step++) world.step();
      world.look();
      expect({ seed, held: world.held() }).toEqual({ seed, held: world.rows });
    }
  });
});

/** A stream, an owner of rows that looks as the publishers do, and what befalls a Redis. */
class World {
  #entries: { id: string; isMine: boolean; rows: readonly string[] }[] = [];
  #lastGeneratedId: string | null = null;
  #clock = 1_000_000;
  #marks: { fullFromId: string | null; lastId: string | null } = {
    fullFromId: null,
    lastId: null,
  };
  #state: number;
  readonly rows: string[] = [];

  constructor(seed: number) {
    this.#state = seed;
  }

  step(): void {
    const dice = this.#random(100);
    if (dice < 30) this.#change();
    else if (dice < 60) this.#append(false, []);
    else if (dice < 70) this.look();
    else if (dice < 80) this.#entries.splice(0, this.#random(this.#entries.length + 1)); // XTRIM
    else if (dice < 85) [this.#entries, this.#lastGeneratedId] = [[], null]; // DEL
    else if (dice < 90) this.#loseTail();
    // A clock that is set back never shows the same millisecond twice here; a real one hardly does.
    this.#clock += (1 + this.#random(3)) * 1_000 - (dice === 99 ? 49_999 : 0);
  }

  /** As at each tick and on each new connection. */
  look(): void {
    const { fullFromId, lastId } = this.#marks;
    const mark = (id: string) => ({
      id,
      isThere: this.#entries.some((entry) => entry.id === id && entry.isMine),
    });
    const marks = {
      fullFrom: fullFromId === null ? null : mark(fullFromId),
      last: lastId === null ? [] : [mark(lastId)],
    };
    const stream = this.#lastGeneratedId === null
      ? null
      : { firstId: this.#entries[0]?.id ?? null, lastGeneratedId: this.#lastGeneratedId };
    if (mustRepublish(marks, stream) === null) return;
    const id = this.#append(true, this.rows);
    this.#marks = { fullFromId: id, lastId: id };
  }

  held(): string[] {
    const held = new Set(this.#entries.flatMap((entry) => entry.rows));
    return this.rows.filter((row) => held.has(row));
  }

  #change(): void {
    const row = `row-${this.rows.length}`;
    this.rows.push(row);
    const id = this.#append(true, [row]);
    this.#marks = { fullFromId: this.#marks.fullFromId ?? id, lastId: newerId(this.#marks.lastId, id) };
  }

  /** Redis comes back without its last entries; others go on; the owner looks before it appends on the new connection. */
  #loseTail(): void {
    this.#entries.splice(this.#random(this.#entries.length + 1));
    this.#lastGeneratedId = this.#entries.at(-1)?.id ?? null;
    while (this.#random(3) === 0) this.#append(false, []);
    this.look();
  }

  #append(isMine: boolean, rows: readonly string[]): string {
    const now = `${this.#clock}-0`;
    const last = this.#lastGeneratedId;
    const id = last === null || compareIds(now, last) > 0 ? now : nextId(last);
    this.#entries.push({ id, isMine, rows: [...rows] });
    this.#lastGeneratedId = id;
    return id;
  }

  #random(below: number): number {
    this.#state = (this.#state * 48_271) % 2_147_483_647;
    return this.#state % below;
  }
}

function facts(firstId: string | null, lastGeneratedId: string): StreamFacts {
  return { firstId, lastGeneratedId };
}

test("compareIds() compares numbers, not text", () => {
  expect(compareIds("9-10", "10-0")).toBeLessThan(0);
  expect(compareIds("10-10", "10-9")).toBeGreaterThan(0);
  expect(compareIds("10-9", "10-9")).toBe(0);
  expect(newerId("9-1", "10-0")).toBe("10-0");
  expect(newerId(null, "1-0")).toBe("1-0");
  expect(nextId("10-9")).toBe("10-10");
});
