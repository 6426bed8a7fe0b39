/** The planted defects still fit the code: a plant whose code is gone would be found by nothing. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FAULT_PLANTS } from "../faults/plants.ts";
import { PLANTS as CORE_PLANTS } from "../sim/plants.ts";

const SRC = join(import.meta.dir, "../../src");

describe.each([
  ["core", CORE_PLANTS],
  ["engine", FAULT_PLANTS],
] as const)("the planted defects of src/%s", (folder, plants) => {
  test("each stand for one place in the code", () => {
    const misplaced = plants.filter(({ file, code }) => {
      return readFileSync(join(SRC, folder, file), "utf8").split(code).length !== 2;
    });

    expect(misplaced.map(({ defect }) => defect)).toEqual([]);
  });
});
