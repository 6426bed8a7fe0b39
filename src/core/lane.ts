/**
 * A lane is a kind of place where tasks run. Tasks of one lane never wait behind those of another: every queue has a ready
 * list for each.
 */

/** `loop`: the event loop. `thread`: a thread of the process. `remote`: a program elsewhere, which holds a lease. */
export const LANES = ["loop", "thread", "remote"] as const;

export type Lane = (typeof LANES)[number];
