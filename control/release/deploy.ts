/**
 * The life of a deploy, top to bottom. Every stage can be repeated: it looks at what is recorded, asks workers for what
 * may already be, and records before it goes on. So a runner that died is replaced by one that calls `deploy` again.
 * Until `published` any failure undoes all that this release made, and the previous release serves on untouched;
 * from `published` on the new release is the truth, and what is left is to clear the old one away.
 *
 *   accepted ──resolve──place──▶ placed ──boot──gate──publish──▶ published ──retire──▶ finished (succeeded)
 *       └───────────────┴──────────┴───────┴──────▶ undoing ──▶ finished (failed)
 */
import { GodwitError } from "../contract/errors.ts";
import { bootMachines } from "./boot-machines.ts";
import { ClaimLost, type Deployment } from "./deployment.ts";
import { passHealthGate } from "./health-gate.ts";
import { placeMachines } from "./place-machines.ts";
import { publishRelease } from "./publish-release.ts";
import { resolveImage } from "./resolve-image.ts";
import { retirePrevious } from "./retire-previous.ts";
import { failAndUndo } from "./undo.ts";

/** The reason of an abort that must leave the release as it stands, for the next runner to resume. */
export class RunnerStopped extends Error {}

/** Returns how it ended; rejects where the release is left as it stands. */
export async function deploy(deployment: Deployment): Promise<"succeeded" | "failed"> {
  try {
    const { step, error } = deployment.release;
    if (step === "undoing") return await failAndUndo(deployment, GodwitError.fromWire(error!));
    if (step !== "published") {
      await resolveImage(deployment);
      await placeMachines(deployment);
      await bootMachines(deployment);
      await passHealthGate(deployment);
      await publishRelease(deployment);
    }
    await retirePrevious(deployment);
    await deployment.record({ step: "finished", status: "succeeded" });
    return "succeeded";
  } catch (error) {
    if (mustBeLeft(error)) throw error;
    if (deployment.release.step !== "published") return await failAndUndo(deployment, error);
    // The deletion of the app, which came in between, clears away the rest.
    if (!(error instanceof GodwitError) || error.code !== "release.app_deleted") throw error;
    await deployment.record({ step: "finished", status: "succeeded" });
    return "succeeded";
  }
}

/** Nothing was wrong with the deploy: this runner cannot go on with it. */
export function mustBeLeft(error: unknown): boolean {
  return error instanceof RunnerStopped || error instanceof ClaimLost ||
    (error instanceof GodwitError && error.code === "store.unavailable");
}
