/** The contract suite on real runc. */
import { driverContract } from "../driver.contract.ts";
import { run } from "../driver.fixture.ts";
import { RuncDriver } from "./runc-driver.ts";

driverContract({
  name: "runc",
  make: (guest) => new RuncDriver(guest),
  record: "runc.json",
  makeLink: async (name) =>
    void await run(["ip", "link", "add", "dev", name, "type", "veth", "peer", "name", `${name}p`]),
});
