/**
 * States an invariant. It never guards input: faults of a client get an answer, not an assertion.
 */

/**
 * Thrown when ringq has broken one of its own promises. Always a defect in ringq, never a client's
 * mistake.
 */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** Throws {@link InvariantError} with `sentence` unless `condition` holds. */
export function assert(condition: boolean, sentence: string): asserts condition {
  if (!condition) throw new InvariantError(sentence);
}
