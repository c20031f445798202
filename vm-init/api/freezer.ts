/**
 * Holds the machine's disks still while somebody takes a snapshot of them: FIFREEZE writes out what is dirty and lets no
 * write begin until FITHAW (ioctl_fifreeze(2)). A worker that never comes back must not leave the app hanging, so each
 * freeze has an end of its own. Overlays cannot be frozen; what lies below them can.
 */
import { FREEZE_TIMEOUT_S_MAX } from "../../control/contract/guest-limits.ts";
import { messageOf } from "../system/error.ts";
import { freezeFilesystem, thawFilesystem } from "../system/freeze.ts";
import { Refusal } from "./answer.ts";

export interface Freezing {
  freeze(fd: number): void;
  thaw(fd: number): void;
}

export class Freezer {
  readonly #freezing: Freezing;
  /** A descriptor in each file system. */
  #disks: readonly number[] = [];
  #frozen: number[] = [];
  #timer: Timer | null = null;
  #cameTooLate = false;

  constructor(freezing: Freezing = { freeze: freezeFilesystem, thaw: thawFilesystem }) {
    this.#freezing = freezing;
  }

  /** What there is to freeze; the descriptors stay open as long as they are named here. */
  set disks(fds: readonly number[]) {
    this.#disks = fds;
  }

  /** How many were frozen. @throws Refusal; nothing is frozen then */
  freeze(timeoutS: number): number {
    if (this.#frozen.length > 0) {
      throw new Refusal("guest.frozen", "Cannot freeze the disks: they are frozen already", { status: 409 });
    }
    if (this.#disks.length === 0) {
      throw new Refusal(
        "guest.freeze_unsupported",
        "Cannot freeze the disks: the machine has none of its own",
        {
          status: 409,
          hint: "a container writes to a disk of its host",
        },
      );
    }
    this.#cameTooLate = false;
    try {
      for (const fd of this.#disks) {
        this.#freezing.freeze(fd);
        this.#frozen.push(fd);
      }
    } catch (error) {
      this.#thawAll();
      throw new Refusal("guest.freeze_failed", `Cannot freeze the disks: ${messageOf(error)}`, {
        fault: "us",
        status: 500,
      });
    }
    const boundS = Math.min(Math.max(timeoutS, 1), FREEZE_TIMEOUT_S_MAX);
    this.#timer = setTimeout(() => {
      this.#cameTooLate = true;
      this.#thawAll();
    }, boundS * 1_000);
    return this.#frozen.length;
  }

  /** Of disks that nobody froze it says so by `thawed` 0. */
  thaw(): { thawed: number; too_late: boolean } {
    return { thawed: this.#thawAll(), too_late: this.#cameTooLate };
  }

  /** The machine ends: what is frozen is thawed, and nothing will be frozen again. */
  close(): void {
    this.#thawAll();
    this.#disks = [];
  }

  #thawAll(): number {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const frozen = this.#frozen.splice(0);
    for (const fd of frozen.reverse()) this.#freezing.thaw(fd);
    return frozen.length;
  }
}
