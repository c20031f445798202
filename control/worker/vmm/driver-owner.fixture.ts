/** A process that starts a VM and holds it until it is killed, as an agent does: `driver-owner.fixture.ts qemu|runc`, input on stdin. */
import { QemuDriver } from "./qemu/qemu-driver.ts";
import { RuncDriver } from "./runc/runc-driver.ts";

const { guest, spec } = JSON.parse(await Bun.stdin.text());
const driver = process.argv[2] === "qemu" ? new QemuDriver(guest) : new RuncDriver(guest);
const vm = await driver.start(spec);
console.log(vm.pid);
await vm.exited;
