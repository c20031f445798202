/** A process that starts a VM and holds it until it is killed, as an agent does: `driver-owner.fixture.ts qemu|runc|firecracker JAILER FIRECRACKER`, input on stdin. */
import { FirecrackerDriver } from "./firecracker/firecracker-driver.ts";
import { QemuDriver } from "./qemu/qemu-driver.ts";
import { RuncDriver } from "./runc/runc-driver.ts";

const { guest, spec } = JSON.parse(await Bun.stdin.text());
const [name, jailer, firecracker] = process.argv.slice(2);
const driver = name === "qemu"
  ? new QemuDriver(guest)
  : name === "firecracker"
  ? new FirecrackerDriver(guest, jailer && firecracker ? { jailer, firecracker } : undefined)
  : new RuncDriver(guest);
const vm = await driver.start(spec);
console.log(vm.pid);
await vm.exited;
