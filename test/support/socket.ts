/**
 * A bare TCP connection, for what no HTTP client would send.
 */

export interface Answer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export class RawSocket implements Disposable {
  #socket: Bun.Socket<undefined> | null = null;
  #received = "";
  #isClosed = false;
  #onNews = Promise.withResolvers<void>();

  /** Opens a connection: `using socket = await RawSocket.open(port)`. */
  static async open(port: number): Promise<RawSocket> {
    const raw = new RawSocket();
    raw.#socket = await Bun.connect<undefined>({
      hostname: "127.0.0.1",
      port,
      socket: {
        data: (_, bytes) => raw.#hear(bytes.toString("latin1")),
        close: () => raw.#close(),
        error: () => raw.#close(),
      },
    });
    return raw;
  }

  /** Sends this text as it is, byte for byte. */
  send(text: string): void {
    this.#socket?.write(Buffer.from(text, "latin1"));
  }

  /** From now on what comes is left unread, until the system's buffers are full. */
  stopReading(): void {
    this.#socket?.pause();
  }

  /** Closes the connection as a client does that has what it wants. */
  close(): void {
    this.#socket?.end();
  }

  /** Breaks the connection off without a goodbye. */
  abort(): void {
    this.#socket?.terminate();
  }

  /** The next answer, whole. Rejects when the connection closes before. */
  async answer(): Promise<Answer> {
    while (true) {
      const parsed = parseAnswer(this.#received);
      if (parsed !== null) {
        this.#received = this.#received.slice(parsed.length);
        return parsed.answer;
      }
      if (this.#isClosed) throw new Error("the connection closed before there was an answer");
      await this.#onNews.promise;
    }
  }

  /** Resolves once the other side has closed the connection. */
  async closed(): Promise<void> {
    while (!this.#isClosed) await this.#onNews.promise;
  }

  [Symbol.dispose](): void {
    this.#socket?.terminate();
  }

  #hear(text: string): void {
    this.#received += text;
    this.#tell();
  }

  #close(): void {
    this.#isClosed = true;
    this.#tell();
  }

  #tell(): void {
    this.#onNews.resolve();
    this.#onNews = Promise.withResolvers<void>();
  }
}

/** The answer at the start of what was received, and how long it is; null while it is not whole. */
function parseAnswer(
  received: string,
): { readonly answer: Answer; readonly length: number } | null {
  const headEnd = received.indexOf("\r\n\r\n");
  if (headEnd === -1) return null;
  const [statusLine = "", ...lines] = received.slice(0, headEnd).split("\r\n");
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const bodyStart = headEnd + 4;
  const length = bodyStart + Number(headers["content-length"] ?? 0);
  if (received.length < length) return null;
  const status = Number(statusLine.split(" ")[1]);
  return { answer: { status, headers, body: received.slice(bodyStart, length) }, length };
}

/** A whole request as text. A body gets its Content-Length and the type application/json. */
export function requestText(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  body?: string,
): string {
  const all = {
    host: "localhost",
    ...(body === undefined
      ? {}
      : { "content-type": "application/json", "content-length": String(body.length) }),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body ?? ""}`;
}
