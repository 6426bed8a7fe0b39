/**
 * Stops a worker on SIGTERM and SIGINT, where the platform has them. The process then ends as it
 * would have without this: by the signal, unless the program handles it itself.
 */

const SIGNALS = ["SIGTERM", "SIGINT"];

/** The part of `process` of Node, Bun and Deno that is used here. */
interface Process {
  readonly pid: number;
  on(event: string, listener: (signal: string) => void): void;
  off(event: string, listener: (signal: string) => void): void;
  listenerCount(event: string): number;
  kill(pid: number, signal: string): void;
}

/** Calls `stop` at the first signal. Returns a function that ends this. */
export function onStopSignal(stop: () => Promise<unknown>): () => void {
  const { process } = globalThis as { process?: Partial<Process> };
  if (!isProcess(process)) return () => undefined;
  let isStopping = false;
  const leave = (): void => {
    for (const signal of SIGNALS) process.off(signal, listener);
  };
  const pass = (signal: string): void => {
    leave();
    // Another listener was called too, and decides what happens.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  const listener = (signal: string): void => {
    // A second signal means: now.
    const isSecond = isStopping;
    isStopping = true;
    if (isSecond) pass(signal);
    else void stop().then(() => pass(signal));
  };
  for (const signal of SIGNALS) process.on(signal, listener);
  return () => {
    if (!isStopping) leave();
  };
}

/** Browsers have no `process`, and bundlers put an empty one in its place. */
function isProcess(process: Partial<Process> | undefined): process is Process {
  return typeof process?.on === "function" && typeof process.kill === "function";
}
