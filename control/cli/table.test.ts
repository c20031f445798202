import { expect, test } from "bun:test";
import { table } from "./table.ts";

test("table() is as wide as its widest cells and says when there is nothing", () => {
  expect(table([{ id: "1", private_ip: null }, { id: "1000", private_ip: "::1" }], "none"))
    .toBe("ID    PRIVATE IP\n1     -\n1000  ::1");
  expect(table([], "none")).toBe("none");
});
