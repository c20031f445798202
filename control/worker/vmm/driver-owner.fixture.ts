/**
 * A process that holds a VM until it is killed, as an agent does: `driver-owner.fixture.ts qemu|runc|firecracker
 * [suspend|resume]`, input on stdin. Starts the VM, or adopts it to suspend it, or resumes it; says the VM's pid, or that
 * it is saved.
 */
import { FirecrackerDriver } from "./firecracker/firecracker-driver.ts";
import { QemuDriver } from "./qemu/qemu-driver.ts";
import { RuncDriver } from "./runc/runc-driver.ts";

const { guest, spec, programs } = JSON.parse(await Bun.stdin.text());
const [, , name, what] = process.argv;
const driver = name === "qemu"
  ? new QemuDriver(guest)
  : name === "firecracker"
  ? new FirecrackerDriver(guest, programs)
  : new RuncDriver(guest);
if (what === "suspend") {
  await (await driver.adopt(spec))!.suspend(new AbortController().signal);
  console.log("saved");
} else {
  const vm = what === "resume" ? await driver.resume(spec) : await driver.start(spec);
  console.log(vm.pid);
  await vm.exited;
}
