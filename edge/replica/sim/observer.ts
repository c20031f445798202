/** Looks at every replica all the time: what it says, what its file holds, and in the end whether all is as it should be. */
import type { RowChange } from "../../routes/route-table.ts";
import { checkAcknowledged } from "./check-acknowledged.ts";
import { checkConvergence } from "./check-convergence.ts";
import { checkLiveness } from "./check-liveness.ts";
import { checkEdgeMemory, checkOutboxes, checkServerMemory } from "./check-memory.ts";
import { checkResurrection } from "./check-resurrection.ts";
import { checkRoutes, GONE_MS_MAX } from "./check-routes.ts";
import { checkVersions } from "./check-versions.ts";
import { checkGone, checkWithdrawal } from "./check-withdrawal.ts";
import type { EdgeModel } from "./edge-model.ts";
import type { FakeRedis } from "./fake-redis.ts";
import { quarantined, readView, type ReplicaView } from "./replica-view.ts";
import { ShownRows } from "./shown-rows.ts";
import type { Truth } from "./truth.ts";
import type { World } from "./world.ts";

export class Observer {
  readonly #world: World;
  readonly #truth: Truth;
  readonly #shown = new Map<EdgeModel, ShownRows>();

  constructor(world: World, truth: Truth) {
    this.#world = world;
    this.#truth = truth;
  }

  /** An edge tells its relay what changed. */
  rows(edge: EdgeModel, changes: readonly RowChange[]): void {
    for (const { table, key, row } of changes) {
      if (row === null) this.#found("withdrawal", edge, checkGone(table, key, this.#of(edge), this.#truth));
    }
  }

  /** An edge begins with a file, or with another one. */
  file(edge: EdgeModel): void {
    this.#look(edge);
  }

  /** Its disk no longer has all that it had. */
  forget(edge: EdgeModel): void {
    this.#of(edge).forget();
  }

  tick(edges: readonly EdgeModel[], redis: FakeRedis, clients: number): void {
    for (const edge of edges) if (edge.isUp) this.#look(edge);
    this.#found("memory", null, checkServerMemory(redis, clients));
  }

  quiet(edges: readonly EdgeModel[], ms: number): void {
    if (ms < GONE_MS_MAX) return;
    for (const edge of edges) if (edge.isUp) this.#found("routes", edge, checkRoutes(edge, this.#truth));
  }

  end(edges: readonly EdgeModel[]): void {
    for (const edge of edges) {
      this.#found("liveness", edge, checkLiveness(edge));
      const view = edge.disk.observe(readView) ?? new Map();
      this.#found("acknowledged", edge, checkAcknowledged(edge.regions, view, this.#truth));
      this.#found("convergence", edge, checkConvergence(edge, view, this.#truth));
    }
    this.#found("memory", null, checkOutboxes(this.#truth.followedBy([])));
  }

  #look(edge: EdgeModel): void {
    const seen = edge.disk.observe((database) => ({
      view: readView(database),
      refused: quarantined(database),
    }));
    const view: ReplicaView = seen?.view ?? new Map();
    const shown = this.#of(edge);
    this.#found("resurrection", edge, checkResurrection(view, shown));
    this.#found("versions", edge, checkVersions(view, shown));
    this.#found("withdrawal", edge, checkWithdrawal(view, shown, this.#truth));
    this.#found("memory", edge, checkEdgeMemory(edge, seen?.refused ?? 0));
    shown.see(view);
  }

  #of(edge: EdgeModel): ShownRows {
    const shown = this.#shown.get(edge) ?? new ShownRows();
    this.#shown.set(edge, shown);
    return shown;
  }

  #found(checker: string, edge: EdgeModel | null, finding: string | null): void {
    if (finding === null) return;
    this.#world.violate(
      checker,
      edge === null || finding.startsWith(edge.name) ? finding : `${edge.name}: ${finding}`,
    );
  }
}
