import { expect, test } from "bun:test";
import { addElements, deleteElements, elementsOf, readTable } from "./elements.ts";
import { linkOf, type LinkRequest } from "./link.ts";

const range = { prefix: "gw0a1b2c", range4: "172.20.16.0/20", range6: "fd12:3456:789a::/48" };
const request: LinkRequest = { index: 3, machineId: "9080e6f3a12b04", orgId: "", orgNetwork: 7, kind: "tap" };
const elements = elementsOf(linkOf(range, request), request);

test("readTable() finds in nft's JSON what elementsOf() wrote", () => {
  // As nft 1.0.6 prints it.
  const objects = [
    { table: { name: "gw0a1b2c" } },
    { set: { name: "sources4", elem: [{ concat: ["gw0a1b2ct3", "172.20.16.7"] }] } },
    { set: { name: "sources6", elem: [{ concat: ["gw0a1b2ct3", "fd12:3456:789a:7:90:80e6:f3a1:2b04"] }] } },
    { map: { name: "network_of", elem: [["gw0a1b2ct3", 65_543]] } },
    { set: { name: "members", elem: [{ concat: [65_543, "gw0a1b2ct3"] }] } },
    { set: { name: "opened4", elem: ["eth0"] } },
    { set: { name: "opened6" } },
  ];
  const content = readTable(objects);
  expect(content.elements).toEqual(elements);
  expect([...content.memory.opened4]).toEqual(["eth0"]);
});

test("readTable() reads a missing table as an empty one", () => {
  expect(readTable(null).elements).toEqual([]);
});

test("addElements() and deleteElements() name a map's key alike", () => {
  expect(addElements("t", elements)).toContain('add element inet t network_of { "gw0a1b2ct3" : 65543 }');
  expect(deleteElements("t", elements)).toContain('delete element inet t network_of { "gw0a1b2ct3" }');
});
