/** The kernel modules of a guest, in the order in which they depend on each other; ext4 is built in. */

const BUS = {
  mmio: ["virtio_mmio"],
  pci: ["virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"],
} as const;

export type Bus = keyof typeof BUS;
export const BUSES: readonly Bus[] = ["mmio", "pci"];

/** What stage 0 loads on a machine whose devices are on this bus. */
export function moduleOrder(bus: Bus): readonly string[] {
  const devices = ["virtio_blk", "failover", "net_failover", "virtio_net", "virtio_console"];
  return ["virtio_ring", "virtio", ...BUS[bus], ...devices, "libcrc32c", "erofs", "overlay", "binfmt_misc"];
}

/**
 * What stage 0 loads for a virtio device that not every VMM gives, by its number in /sys/bus/virtio/devices (virtio 1.2,
 * section 5): entropy, balloon, vsock.
 */
export const DEVICE_MODULES: Readonly<Record<string, readonly string[]>> = {
  "0x0004": ["virtio-rng"],
  "0x0005": ["virtio_balloon"],
  "0x0013": ["vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport"],
};

/** Not in the initramfs: with it a guest's test can speak to itself where no VMM gives a vsock device. */
export const TEST_MODULES: readonly string[] = ["vsock_loopback"];

/** All of an initramfs. */
export const MODULES: readonly string[] = [
  ...new Set([...BUSES.flatMap(moduleOrder), ...Object.values(DEVICE_MODULES).flat()]),
];
