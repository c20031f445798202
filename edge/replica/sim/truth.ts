/** What the owners' databases say: what every replica should hold in the end. */
import { regionStream } from "../../../control/contract/events.ts";
import { type TableName, TABLES } from "../../../control/contract/rows.ts";
import type { OwnedRow, OwnerState } from "./owner-state.ts";

export interface Owner {
  readonly state: OwnerState;
  readonly stream: string;
}

export class Truth {
  readonly #owners: readonly Owner[];

  constructor(owners: readonly Owner[]) {
    this.#owners = owners;
  }

  /** The database of whoever may write a key. */
  ownerOf(table: string, key: string): OwnerState | null {
    const isGlobal = TABLES[table as TableName].scope === "global";
    const host = table === "machines" ? key.slice(0, key.indexOf("/")) : key;
    const name = isGlobal ? "api" : `worker:${host}`;
    return this.#owners.find(({ state }) => state.owner === name)?.state ?? null;
  }

  /** @param regions empty: all */
  followedBy(regions: readonly string[]): OwnerState[] {
    return this.#owners.filter(({ state, stream }) =>
      state.owner === "api" || regions.length === 0 || regions.some((each) => regionStream(each) === stream)
    ).map(({ state }) => state);
  }

  live(regions: readonly string[]): OwnedRow[] {
    return this.followedBy(regions).flatMap((state) => state.live());
  }
}
