/**
 * What a number was measured on and with. No names and no paths of the machine: only what decides about the number.
 */

import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";

const ROOT = new URL("../..", import.meta.url);

/** Facts by name, in the order in which they are shown. */
export type Facts = Readonly<Record<string, string>>;

export function machineFacts(): Facts {
  const cpu = /^model name\s*:\s*(.+)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1];
  const memoryKib = /^MemTotal:\s*(\d+)/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
  return {
    cpu: cpu ?? "unknown",
    cores: String(navigator.hardwareConcurrency),
    memory: `${Math.round(Number(memoryKib ?? 0) / 1024 ** 2)} GiB`,
    // Without what a host adds to it after the version: that may be a name.
    kernel: `Linux ${/^[\d.]+/.exec(release())?.[0] ?? "unknown"}`,
  };
}

export function versionFacts(peers: readonly string[]): Facts {
  const versions: Record<string, string> = {
    ringq: versionIn(new URL("package.json", ROOT)) ?? "unknown",
    bun: Bun.version,
  };
  for (const peer of peers) {
    const version = peerVersion(peer);
    if (version !== null) versions[peer] = version;
  }
  return versions;
}

/** The version of a package of bench/package.json, or null when it is not installed. */
export function peerVersion(name: string): string | null {
  return versionIn(new URL(`bench/node_modules/${name}/package.json`, ROOT));
}

/** The commit that was measured; `+` says that something of it was changed since. */
export function commit(): string {
  const git = (...args: readonly string[]): string | null => {
    const { exitCode, stdout } = Bun.spawnSync(["git", ...args], { cwd: ROOT.pathname });
    return exitCode === 0 ? stdout.toString().trim() : null;
  };
  const head = git("rev-parse", "--short=10", "HEAD");
  if (head === null) return "unknown";
  // The results of the benchmark before this one are no change of what is measured.
  const changes = git("status", "--porcelain", "--", ".", ":!bench/results", ":!docs");
  return changes === "" ? head : `${head}+`;
}

function versionIn(file: URL): string | null {
  if (!existsSync(file)) return null;
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { readonly version?: unknown };
  return typeof version === "string" ? version : null;
}

/** The version of the Redis that is installed, if one is. */
export function redisVersion(): Facts {
  if (Bun.which("redis-server") === null) return {};
  const told = Bun.spawnSync(["redis-server", "--version"]).stdout.toString();
  return { redis: /v=([\d.]+)/.exec(told)?.[1] ?? "unknown" };
}
