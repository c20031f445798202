import { describe, expect, test } from "bun:test";
import { chooseOffer } from "./choose.ts";

const offer = (host_id: string, cost: number) => ({ id: `o-${host_id}`, host_id, cost, expires_at_ms: 0 });

describe("chooseOffer()", () => {
  test("takes the cheapest", () => {
    expect(chooseOffer([offer("a", 0.7), offer("b", 0.2), offer("c", 0.5)], new Map())!.host_id).toBe("b");
  });
  test("spreads an app among equals, and then goes by name", () => {
    const equals = [offer("b", 0.5), offer("a", 0.5)];
    expect(chooseOffer(equals, new Map([["a", 1]]))!.host_id).toBe("b");
    expect(chooseOffer(equals, new Map())!.host_id).toBe("a");
  });
  test("has no answer to no offer", () => {
    expect(chooseOffer([], new Map())).toBeNull();
  });
});
