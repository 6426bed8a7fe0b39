/** Finds Node 20 or newer, for what must run there too. */

import { delimiter } from "node:path";

/** The path of Node, or null. `bun --bun` puts itself in front of the path by that name. */
export function findNode(): string | null {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = Bun.which("node", { PATH: folder });
    if (path === null) continue;
    const { stdout } = Bun.spawnSync([path, "-p", "process.versions.bun + process.version"]);
    const [, major] = /^undefinedv(\d+)\./.exec(stdout.toString()) ?? [];
    if (Number(major) >= 20) return path;
  }
  return null;
}
