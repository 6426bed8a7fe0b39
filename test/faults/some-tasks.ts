/**
 * Tasks to ask for, drawn by dice. A suite brings the types that its workers know.
 */

import type { Dice } from "./dice.ts";
import type { AskedTask } from "./ledger.ts";

/** The queue that is paused, resumed and purged. */
export const STEERED = "side";

const QUEUES = ["default", "default", STEERED] as const;

/** So many tasks, with numbers from `first` on. */
export function someTasks(
  dice: Dice,
  count: number,
  first: number,
  types: readonly string[],
): readonly AskedTask[] {
  return Array.from({ length: count }, (_, index) => ({
    number: first + index,
    type: dice.pick(types),
    queue: dice.pick(QUEUES),
    priority: dice.below(3),
    maxRetries: 1 + dice.below(3),
  }));
}
