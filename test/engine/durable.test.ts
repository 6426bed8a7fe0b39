import { afterAll } from "bun:test";
import { DurableEngine } from "../../src/engine/durable.ts";
import { describeEngine } from "./contract.ts";
import { makeDataFolder } from "./data-folder.ts";

const folder = makeDataFolder();
afterAll(() => folder.remove());

describeEngine(
  "on disk",
  { tasks: "stay" },
  (settings) => new DurableEngine({ ...settings, path: folder.newFile(), durability: "full" }),
);
