/**
 * The contract suite on the driver with a fake behind it (fake/): all that can be shown where no Firecracker boots. What a
 * host with KVM must still confirm is in deploy/notes/0009-firecracker.md.
 */
import { afterAll } from "bun:test";
import { closeSync, openSync, writeSync } from "node:fs";
import { driverContract } from "../driver.contract.ts";
import { run } from "../driver.fixture.ts";
import { installFake } from "./fake/install.fixture.ts";
import { FirecrackerDriver } from "./firecracker-driver.ts";
import { firecrackerPaths } from "./firecracker-paths.ts";

const fake = installFake();
afterAll(() => fake.remove());

driverContract({
  name: "firecracker",
  make: (guest) => new FirecrackerDriver(guest, fake.programs),
  ownerArguments: [fake.programs.jailer, fake.programs.firecracker],
  record: "firecracker.json",
  makeLink: async (name) => void await run(["ip", "tuntap", "add", "dev", name, "mode", "tap"]),
  damage: (spec) => {
    const file = openSync(firecrackerPaths(spec, fake.programs.firecracker).saved, "r+");
    writeSync(file, "x", 2_000);
    closeSync(file);
  },
});
