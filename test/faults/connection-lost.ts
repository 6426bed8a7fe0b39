/** Whether it says that the server is gone, as the clients of a killed one see it. */
export function isConnectionLost(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return ["ECONNRESET", "ECONNREFUSED", "ConnectionRefused", "ConnectionClosed", "EPIPE"].includes(
    code,
  );
}
