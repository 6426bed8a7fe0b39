/**
 * A lane is a kind of place where tasks run. Tasks of one lane never wait behind those of another:
 * every queue has one ready list per lane.
 */

/**
 * `loop`: the event loop. `thread`: a thread of the process. `remote`: a program outside the
 * process, which holds a lease.
 */
export const LANES = ["loop", "thread", "remote"] as const;

export type Lane = (typeof LANES)[number];
