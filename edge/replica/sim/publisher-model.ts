/**
 * An owner's publisher: carries its outbox to the stream, at least once and in no order; writes a digest every 15 s; and
 * publishes all rows again when the stream has lost what it needs. It follows what every publisher promises
 * (control/contract/README.md); the real ones are control's, which an edge's folder may not import.
 */
import { DIGEST_INTERVAL_MS } from "../../../control/contract/events.ts";
import type { SigningKey } from "../../../control/contract/signing.ts";
import { batchFields, digestFields } from "../../../control/contract/stream-entry.ts";
import { compareIds, type StreamInfo } from "../stream-gap.ts";
import type { FakeRedis } from "./fake-redis.ts";
import { connectFake, type FakeSession, type NetworkFaults } from "./fake-session.ts";
import { eventOf, type OwnedRow, type OwnerState } from "./owner-state.ts";
import { makeRow, pickPlace } from "./row-model.ts";
import type { World } from "./world.ts";

const BATCH_ROWS_MAX = 8;
const FULL_BATCH_ROWS_MAX = 20;
const EARLIER_ROWS_MAX = 30;
const BACKOFF_MS_MAX = 1_000;

export interface PublisherOptions {
  readonly world: World;
  readonly redis: FakeRedis;
  readonly faults: NetworkFaults;
  readonly state: OwnerState;
  readonly stream: string;
  readonly region: string;
  readonly key: SigningKey | null;
  readonly streamEntriesMax: number;
  /**
   * When it looks whether the stream has lost something: only at its digests, or after each connect too, before it
   * appends. The former misses a lost tail that it has appended behind since; `sim.test.ts` shows it.
   */
  readonly looks: "at_digests" | "at_connects_too";
}

interface Life {
  isOver: boolean;
  session: FakeSession | null;
}

export class PublisherModel {
  readonly state: OwnerState;
  readonly #options: PublisherOptions;
  #life: Life | null = null;
  #wake: (() => void) | null = null;
  #nextDigestMs = 0;
  /** Where it stands in the stream: the id of its last entry, and of the first one of its last full publication. */
  #lastId: string | null = null;
  #fullFromId: string | null = null;
  /** What another process of the same owner may append once more. */
  #earlier: OwnedRow[] = [];

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.state = options.state;
    // Publishers do not act in step.
    this.#nextDigestMs = options.world.chance.between(0, DIGEST_INTERVAL_MS);
  }

  get isRunning(): boolean {
    return this.#life !== null;
  }

  /** Commits a change, which will be published. */
  change(): void {
    const { world, region } = this.#options;
    const place = pickPlace(this.state.owner, world.chance);
    const row = world.chance.happens(0.35) ? null : makeRow(place, region, world.chance);
    const made = this.state.change(place, row, world.wallMs);
    if (made === null) return;
    const { epoch, seq } = made.version;
    world.tell(`${this.state.owner} ${row === null ? "deletes" : "sets"} ${place.key} ${epoch}.${seq}`);
    this.#wake?.();
  }

  start(): void {
    if (this.#life !== null) return;
    const life: Life = { isOver: false, session: null };
    this.#life = life;
    void this.#run(life);
  }

  /** What it had in memory is gone. */
  crash(): void {
    const life = this.#life;
    if (life === null) return;
    this.#options.world.tell(`${this.state.owner} crashes`);
    life.isOver = true;
    life.session?.close();
    this.#life = null;
    this.#wake?.();
  }

  /** Its database is as it was at the last backup. */
  restore(): void {
    const { world } = this.#options;
    this.crash();
    if (!this.state.restore(world.wallMs)) return;
    world.tell(`${this.state.owner} is restored`);
    world.trace.sometimes("an owner was restored from its backup");
    this.#lastId = this.#fullFromId = null;
    this.#earlier = [];
  }

  // ── the loop ───────────────────────────────────────────────────────────────────────────────────────────────────

  async #run(life: Life): Promise<void> {
    const { world, redis, faults, looks } = this.#options;
    for (let failures = 0; !life.isOver; failures++) {
      try {
        const session = await connectFake(world, redis, faults, (made) => life.session = made);
        if (looks === "at_connects_too") await this.#look(session);
        failures = 0;
        while (!life.isOver) await this.#step(session);
      } catch {
        // Lost, as connections are, or a digest came too late; what was under way is done again.
        life.session?.close();
      }
      if (!life.isOver) {
        await world.sleep(world.chance.random() * Math.min(BACKOFF_MS_MAX, 50 * 2 ** failures));
      }
    }
  }

  async #step(session: FakeSession): Promise<void> {
    const { world } = this.#options;
    if (world.nowMs >= this.#nextDigestMs) {
      if (!await this.#look(session)) {
        while (this.state.outbox.length > 0) await this.#appendSome(session);
        await this.#appendDigest(session);
      }
    } else if (this.state.outbox.length > 0) {
      await this.#appendSome(session);
    } else {
      await this.#orWake(this.#nextDigestMs - world.nowMs);
    }
  }

  #orWake(ms: number): Promise<void> {
    const { world } = this.#options;
    return new Promise((resolve) => {
      const wake = () => {
        this.#wake = null;
        world.cancel(timer);
        resolve();
      };
      const timer = world.after(ms, wake);
      this.#wake = wake;
    });
  }

  // ── appends ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Some lines of the outbox, in any order; at times two batches at once, at times a batch twice. */
  async #appendSome(session: FakeSession): Promise<void> {
    const { chance, trace } = this.#options.world;
    const lines = chance.shuffle([...this.state.outbox]);
    const first = lines.splice(0, chance.between(1, BATCH_ROWS_MAX));
    const second = chance.happens(0.2) ? lines.splice(0, chance.between(0, BATCH_ROWS_MAX)) : [];
    await Promise.all([first, second].map((batch) => this.#append(session, batch)));
    if (chance.happens(0.05)) {
      trace.sometimes("a batch was appended twice");
      await this.#append(session, first);
    }
    if (chance.happens(0.03) && this.#earlier.length > 0) {
      trace.sometimes("an earlier event was appended again");
      await this.#append(session, [chance.pick(this.#earlier)]);
    }
    this.#earlier.push(...first);
    this.#earlier.splice(0, this.#earlier.length - EARLIER_ROWS_MAX);
  }

  async #append(session: FakeSession, rows: readonly OwnedRow[]): Promise<string | null> {
    if (rows.length === 0) return null;
    const { stream, key, streamEntriesMax } = this.#options;
    const { state } = this;
    const fields = batchFields(stream, state.owner, rows.map((row) => eventOf(state.owner, row)), key);
    const id = await session.append(stream, fields, streamEntriesMax);
    this.#appended(id);
    for (const row of rows) state.published(row);
    state.outbox = state.outbox.filter((line) => !rows.includes(line));
    return id;
  }

  async #appendDigest(session: FakeSession): Promise<string> {
    const { world, stream, key, streamEntriesMax } = this.#options;
    // Under the very next id: one that is carried out late, behind other entries, would be wrong there, and is refused.
    const lastId = (await session.info(stream))?.lastId ?? null;
    const fields = digestFields(stream, this.state.digest(world.wallMs), key);
    const id = await session.append(
      stream,
      fields,
      streamEntriesMax,
      lastId === null ? null : nextId(lastId),
    );
    this.#appended(id);
    this.#nextDigestMs = world.nowMs + DIGEST_INTERVAL_MS;
    return id;
  }

  #appended(id: string): void {
    if (this.#lastId === null || compareIds(id, this.#lastId) > 0) this.#lastId = id;
  }

  // ── what the stream has lost ───────────────────────────────────────────────────────────────────────────────────

  /** Publishes everything again where the stream alone would no longer do. @returns whether it did */
  async #look(session: FakeSession): Promise<boolean> {
    const { world, stream } = this.#options;
    const why = await this.#lost(session, await session.info(stream));
    if (why === null) return false;
    world.tell(`${this.state.owner} publishes everything: ${why}`);
    world.trace.sometimes(`an owner published everything: ${why}`);
    this.#lastId = this.#fullFromId = null;
    const rows = world.chance.shuffle(this.state.all());
    let firstId: string | null = null;
    for (let from = 0; from < rows.length; from += FULL_BATCH_ROWS_MAX) {
      const id = await this.#append(session, rows.slice(from, from + FULL_BATCH_ROWS_MAX));
      firstId ??= id;
    }
    const digestId = await this.#appendDigest(session);
    this.#fullFromId = firstId ?? digestId;
    return true;
  }

  async #lost(session: FakeSession, info: StreamInfo | null): Promise<string | null> {
    const { stream } = this.#options;
    const [lastId, fullFromId] = [this.#lastId, this.#fullFromId];
    if (lastId === null || fullFromId === null) return "not yet";
    if (info === null || info.firstId === null) return "the stream is empty";
    if (compareIds(lastId, info.lastId) > 0) return "the tail is lost";
    const isTrimmed = compareIds(lastId, info.firstId) < 0;
    if (!isTrimmed && !await session.holds(stream, lastId)) return "the tail is lost";
    return compareIds(info.firstId, fullFromId) > 0 ? "the stream was trimmed" : null;
  }
}

/** The lowest id that the stream would still take. */
function nextId(id: string): string {
  const [ms, sequence] = id.split("-");
  return `${ms}-${Number(sequence) + 1}`;
}
