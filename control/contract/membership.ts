/**
 * What a membership agent tells the processes of its host about the other hosts: JSON lines over a unix socket (0600),
 * from the agent to whoever connects; nothing is sent the other way.
 *
 *   {"schema":1,"members":[MEMBER, …]}    all of them: the first line, and again every MEMBERS_INTERVAL_MS
 *   MEMBER                                one that has changed
 *
 * A reader that gets no line for MEMBERS_SILENCE_MS_MAX takes the agent for gone. A reader that does not read is
 * disconnected; on its next connection it gets everything anew.
 */
import { z } from "zod";
import { HostId } from "./names.ts";

export const MEMBERS_INTERVAL_MS = 5_000;
export const MEMBERS_SILENCE_MS_MAX = 15_000;
/** Hosts of a fleet, those dead and not yet forgotten included. */
export const MEMBERS_MAX = 1_024;
/** Room for `MEMBERS_MAX` of them, and a line feed. */
export const MEMBERS_LINE_BYTES_MAX = 256 * 1_024;

/**
 * `alive`: it answers. `suspect`: it did not answer, and may still; or it has come back, after going away too often to be
 * trusted at once. `dead`: it does not answer, and nobody reaches it. `left`: it is no member any more, because its agent
 * said good-bye or because it has been dead for so long that it was forgotten; nothing follows for its machines.
 */
export const MemberState = z.enum(["alive", "suspect", "dead", "left"]);
export type MemberState = z.infer<typeof MemberState>;

export const MemberLine = z.object({
  host_id: HostId,
  state: MemberState,
  /** Grows with each life of the host's agent, and with each suspicion that it refutes. */
  incarnation: z.number().int().min(0),
  /** When the agent that says so saw it come into this state, milliseconds since 1970. */
  at_ms: z.number().int(),
});
export type MemberLine = z.infer<typeof MemberLine>;

export const MembersLine = z.object({
  schema: z.literal(1),
  members: z.array(MemberLine).max(MEMBERS_MAX + 1),
});
export type MembersLine = z.infer<typeof MembersLine>;
