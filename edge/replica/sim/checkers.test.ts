/** A checker that finds nothing proves nothing unless it finds what is wrong. */
import { describe, expect, test } from "bun:test";
import type { RowOf } from "../../../control/contract/rows.ts";
import { checkAcknowledged } from "./check-acknowledged.ts";
import { checkResurrection } from "./check-resurrection.ts";
import { checkVersions } from "./check-versions.ts";
import { checkGone, checkWithdrawal } from "./check-withdrawal.ts";
import { nameOf, OwnerState } from "./owner-state.ts";
import type { ReplicaView, SeenRow } from "./replica-view.ts";
import { ShownRows } from "./shown-rows.ts";
import { Truth } from "./truth.ts";

const place = { table: "hostnames", key: "a.test" } as const;
const row: RowOf<"hostnames"> = { hostname: "a.test", app_id: "a".repeat(20) };

/** A replica with one row at most. */
function view(seq: number, isLive = true): ReplicaView {
  const json = isLive ? JSON.stringify(row) : null;
  const seen: SeenRow = { ...place, owner: "api", version: { epoch: 1, seq }, row: json };
  return new Map([[nameOf(place), seen]]);
}
function shown(...views: ReplicaView[]): ShownRows {
  const rows = new ShownRows();
  for (const each of views) rows.see(each);
  return rows;
}
/** An owner that did this: sets and deletes in turn, versions 1.1, 1.2, … */
function owner(changes: number) {
  const state = new OwnerState("api");
  for (let n = 0; n < changes; n++) state.change(place, n % 2 === 0 ? row : null, 0);
  return new Truth([{ state, stream: "godwit:state:global" }]);
}
const nothing: ReplicaView = new Map();

describe("checkVersions()", () => {
  test("finds a version that went back, and none that grew", () => {
    expect(checkVersions(view(1), shown(view(3)))).toContain("was 1.3 and is 1.1");
    expect(checkVersions(view(2, false), shown(view(3, false)))).toBe(null);
    expect(checkVersions(view(3), shown(view(1), view(3)))).toBe(null);
  });
});

describe("checkResurrection()", () => {
  test("finds a deleted row that is live again, also where its tombstone is gone", () => {
    expect(checkResurrection(view(2), shown(view(3, false)))).toContain("deleted at 1.3 and is live at 1.2");
    expect(checkResurrection(view(3), shown(view(3, false), nothing))).toContain("live at 1.3");
    expect(checkResurrection(view(4), shown(view(3, false)))).toBe(null);
  });
});

describe("checkWithdrawal()", () => {
  test("finds a row that went though its owner has it", () => {
    expect(checkWithdrawal(nothing, shown(view(1)), owner(1))).toContain("never deleted it");
    expect(checkWithdrawal(view(2, false), shown(view(1)), owner(1))).toContain("never deleted it");
    expect(checkWithdrawal(nothing, shown(view(3)), owner(3))).toContain("deleted it last at 1.2");
    expect(checkGone("hostnames", "a.test", shown(view(1)), owner(1))).toContain("was withdrawn");
  });
  test("finds nothing where its owner has deleted it", () => {
    expect(checkWithdrawal(nothing, shown(view(1)), owner(2))).toBe(null);
    expect(checkWithdrawal(view(2, false), shown(view(1)), owner(2))).toBe(null);
    expect(checkGone("hostnames", "a.test", shown(view(1)), owner(2))).toBe(null);
  });
});

describe("checkAcknowledged()", () => {
  test("finds a row that is not there, or not as it was committed", () => {
    expect(checkAcknowledged([], nothing, owner(1))).toContain("is not there");
    expect(checkAcknowledged([], view(1), owner(3))).toContain("committed as 1.3 and is there as 1.1");
    expect(checkAcknowledged([], view(3), owner(3))).toBe(null);
  });
});
