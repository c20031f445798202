import { describe, expect, test } from "bun:test";
import { judgeGeneration, type OwnerState, SILENCE_GRACE_MS } from "./judge-generation.ts";

const owners = (of: Record<string, [rows: number, digest: OwnerState["digest"]]>) =>
  new Map(
    Object.entries(of).map(([owner, [rows, digest]]) => [owner, { rows, digest, digestMs: 5, newestMs: 5 }]),
  );
const judge = (serving: Parameters<typeof owners>[0], next: Parameters<typeof owners>[0], followedMs = 0) =>
  judgeGeneration(owners(serving), owners(next), followedMs);

describe("judgeGeneration()", () => {
  test("takes over at once where every owner's digest agrees, or where there is nothing to lose", () => {
    expect(judge({ api: [5, "differs"] }, { api: [6, "agrees"] }).verdict).toBe("take_over");
    expect(judge({}, { api: [6, "none"] }).verdict).toBe("take_over");
    expect(judge({ api: [0, "none"] }, {}).verdict).toBe("take_over");
  });
  test("takes no digest for true that is older than what the serving one has", () => {
    const serving = owners({ api: [5, "agrees"] });
    const next = new Map([["api", { rows: 4, digest: "agrees" as const, digestMs: 4, newestMs: 5 }]]);
    expect(judgeGeneration(serving, next, 0).verdict).toBe("wait");
    expect(judgeGeneration(serving, next, SILENCE_GRACE_MS)).toEqual({
      ...{ verdict: "take_over", silent: new Set(["api"]) },
    });
  });
  test("waits for an owner that has said nothing, then keeps its rows", () => {
    const serving = { api: [5, "none"], "worker:h1": [2, "agrees"] } as const;
    expect(judge({ ...serving } as never, { api: [5, "agrees"] })).toEqual({
      verdict: "wait",
      owner: "worker:h1",
    });
    const late = judge({ ...serving } as never, { api: [5, "agrees"] }, SILENCE_GRACE_MS);
    expect(late).toEqual({ verdict: "take_over", silent: new Set(["worker:h1"]) });
  });
  test("gives up one whose digests differ where the serving one's agree", () => {
    expect(judge({ api: [5, "agrees"] }, { api: [5, "differs"] }).verdict).toBe("wait");
    expect(judge({ api: [5, "agrees"] }, { api: [5, "differs"] }, SILENCE_GRACE_MS).verdict).toBe("give_up");
    expect(judge({ api: [5, "differs"] }, { api: [5, "differs"] }, SILENCE_GRACE_MS).verdict).toBe(
      "take_over",
    );
  });
});
