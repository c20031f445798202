/**
 * The contract suite on real Firecracker and jailer, on a host with KVM: `bun run check --driver firecracker`. Not a
 * `.test.ts`: nowhere else can it do anything but fail.
 */
import { driverContract } from "../driver.contract.ts";
import { run } from "../driver.fixture.ts";
import { damage } from "./damage.fixture.ts";
import { FirecrackerDriver } from "./firecracker-driver.ts";

driverContract({
  name: "firecracker",
  make: (guest) => new FirecrackerDriver(guest),
  record: "firecracker.json",
  makeLink: async (name) => void await run(["ip", "tuntap", "add", "dev", name, "mode", "tap"]),
  damage: (spec) => damage(spec, "firecracker"),
});
