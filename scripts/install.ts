// Ends every install, by npm or by Bun, with exactly the packages that bun.lock names. npm does not
// read bun.lock: it may have chosen newer versions, and have nested what the lock does not.

import { readFileSync, rmSync } from "node:fs";

// A lock that fits package.json stays as it is. After `npm install x` it does not fit: then it
// takes x in, except where a change of the lock would go unseen.
const frozen = process.env["CI"] === undefined ? [] : ["--frozen-lockfile"];
// --ignore-scripts: this is itself the script that an install ends with.
const { exitCode } = Bun.spawnSync([process.execPath, "install", "--ignore-scripts", ...frozen], {
  stdio: ["ignore", "inherit", "inherit"],
});
if (exitCode !== 0) process.exit(exitCode ?? 1);

// bun install mends what the lock names and leaves alone what it does not name. Such a leftover,
// nested deeper, would win over the locked version above it. The lock's keys are paths: "a/b" is b
// inside of a.
const lock = Bun.JSONC.parse(readFileSync("bun.lock", "utf8")) as { packages: object };
const locked = new Set(Object.keys(lock.packages));
const installed = new Bun.Glob("node_modules/**/package.json").scanSync({ dot: true });
for (const file of installed) {
  const folder = file.replaceAll("\\", "/").slice(0, -"/package.json".length);
  // Only the root of a package stands right below a node_modules, or below a scope in one.
  if (!/(^|\/)node_modules\/(@[^/]+\/)?[^@./][^/]*$/.test(folder)) continue;
  const key = folder.slice("node_modules/".length).replaceAll("/node_modules/", "/");
  if (locked.has(key)) continue;
  rmSync(folder, { recursive: true, force: true });
  console.log(`removed ${folder}: bun.lock does not name it`);
}
