/** The uncompressed ELF kernel inside a vmlinuz (x86 boot protocol, Documentation/arch/x86/boot.rst). */
import { GodwitError } from "../../control/contract/errors.ts";
import { decompressLegacy, LZ4_LEGACY_MAGIC } from "./lz4.ts";

const SETUP_SECTS = 0x1f1;
const HEADER_MAGIC = { offset: 0x202, value: 0x53726448 };
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const SECTOR_BYTES = 512;
const ELF_MAGIC = 0x464c457f;
const GZIP_MAGIC = 0x8b1f;
const ZSTD_MAGIC = 0xfd2fb528;

export function extractVmlinux(vmlinuz: Uint8Array, file: string): Uint8Array {
  const view = new DataView(vmlinuz.buffer, vmlinuz.byteOffset, vmlinuz.byteLength);
  if (vmlinuz.length < SECTOR_BYTES * 2 || view.getUint32(HEADER_MAGIC.offset, true) !== HEADER_MAGIC.value) {
    throw unusable(file, "it is no x86 bzImage (no HdrS at 0x202)");
  }
  const start = (vmlinuz[SETUP_SECTS]! + 1) * SECTOR_BYTES + view.getUint32(PAYLOAD_OFFSET, true);
  const payload = vmlinuz.subarray(start, start + view.getUint32(PAYLOAD_LENGTH, true));
  const vmlinux = unpack(payload, file);
  if (new DataView(vmlinux.buffer, vmlinux.byteOffset).getUint32(0, true) !== ELF_MAGIC) {
    throw unusable(file, "what it holds is no ELF file");
  }
  return vmlinux;
}

function unpack(payload: Uint8Array, file: string): Uint8Array {
  const magic = new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
  // The last four bytes are the length, which the kernel's build appends.
  const packed = payload.subarray(0, -4);
  if (magic === LZ4_LEGACY_MAGIC) return decompressLegacy(packed);
  if (magic === ZSTD_MAGIC) return Bun.zstdDecompressSync(packed as Uint8Array<ArrayBuffer>);
  if ((magic & 0xffff) === GZIP_MAGIC) return Bun.gunzipSync(packed as Uint8Array<ArrayBuffer>);
  throw unusable(file, `its compression (magic 0x${magic.toString(16)}) is none of lz4, zstd, gzip`);
}

function unusable(file: string, reason: string): GodwitError {
  return new GodwitError("images.kernel_unusable", `Cannot extract vmlinux from ${file}: ${reason}`, {
    fault: "us",
  });
}
